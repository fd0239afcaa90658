import assert from "node:assert/strict";
import { Arena, VNET_BYTES } from "../../src/core/arena.ts";
import { SeededRandom } from "../../src/core/random.ts";
import { setTtl, translate, Translation } from "../../src/flow/translate.ts";
import { formatAddress, parseAddress } from "../../src/wire/address.ts";
import { Pdu } from "../../src/wire/pdu.ts";
import { buildIcmp, buildIp, buildTcp, buildUdp, bytesOf, readIp } from "../support/frames.ts";
import { readTcp, readUdp } from "../support/frames.ts";
import { leaveToNic, transmit } from "../support/nic.ts";
import { decodeAll, decoded, decodeInto, frameOf, place } from "../wire/place.ts";

interface Target {
  src: string;
  dst: string;
  srcPort: number;
  dstPort: number;
}

const TO: Target = { src: "192.168.0.100", dst: "192.168.0.1", srcPort: 5000, dstPort: 2000 };

function translation(to: Target): Translation {
  return Object.assign(new Translation(), {
    ...to,
    src: parseAddress(to.src),
    dst: parseAddress(to.dst),
  });
}

function translated(frame: Uint8Array, to: Target, arena: Arena = new Arena()): Uint8Array {
  const pdu = decodeInto(arena, frame);
  translate(arena.view, pdu, translation(to), pdu.ttl);
  return frameOf(arena, pdu);
}

Deno.test("translate of TCP gives the frame that is built with the new addresses and ports", () => {
  const fields = { ttl: 7, tos: 3, flags: "PA", payload: bytesOf("odd"), tcpOptions: [1, 1, 1, 0] };
  assert.deepEqual(translated(buildTcp(fields), TO), buildTcp({ ...fields, ...TO }));
  assert.deepEqual(
    translated(buildTcp({ options: [1, 1, 1, 0] }), TO),
    buildTcp({ options: [1, 1, 1, 0], ...TO }),
  );
});

Deno.test("translate of UDP gives the frame that is built with the new addresses and ports", () => {
  const fields = { payload: bytesOf("odd") };
  assert.deepEqual(translated(buildUdp(fields), TO), buildUdp({ ...fields, ...TO }));
});

Deno.test("translate leaves a UDP checksum of 0 as it is: none", () => {
  const fields = { payload: bytesOf("odd"), noChecksum: true };
  assert.deepEqual(translated(buildUdp(fields), TO), buildUdp({ ...fields, ...TO }));
});

Deno.test("translate to what already stands there changes nothing", () => {
  const same = { src: "192.168.0.254", dst: "192.168.0.100", srcPort: 40_000, dstPort: 2000 };
  for (const frame of [buildTcp(), buildUdp(), buildUdp({ noChecksum: true })]) {
    assert.deepEqual(translated(frame, same), frame);
  }
});

Deno.test("translate there and back gives the first frame again", () => {
  const back = { src: "192.168.0.254", dst: "192.168.0.100", srcPort: 40_000, dstPort: 2000 };
  for (const frame of [buildTcp({ payload: bytesOf("x") }), buildUdp({ payload: bytesOf("x") })]) {
    assert.deepEqual(translated(translated(frame, TO), back), frame);
  }
});

Deno.test("translate of 20,000 random packets leaves every checksum right", () => {
  const seed = 1624;
  const random = new SeededRandom(seed);
  const edges = [0, 1, 0x7fff, 0x8000, 0xfffe, 0xffff];
  const word = () => random.uint32() & 1 ? random.uint32() & 0xffff : edges[random.uint32() % 6]!;
  const target = (): Target => ({
    src: formatAddress((word() << 16) | word()),
    dst: formatAddress((word() << 16) | word()),
    srcPort: word() || 1,
    dstPort: word() || 1,
  });
  const arena = new Arena();
  for (let round = 0; round < 20_000; round++) {
    const payload = Uint8Array.from({ length: random.uint32() % 6 }, () => random.uint32());
    const to = target();
    const fields = { ...target(), id: word(), payload };
    const build = round % 2 === 0 ? buildTcp : buildUdp;
    const frame = translated(build(fields), to, arena);
    assert.deepEqual(frame, build({ ...fields, ...to }), `round ${round} of seed ${seed}`);
  }
});

Deno.test("translate sends a UDP checksum that comes out as 0 as 0xffff", () => {
  let seen = 0;
  for (let srcPort = 1; srcPort < 65_536; srcPort++) {
    // One of all the ports makes the sum come out so: found by building, checked by translating.
    const to = { ...TO, srcPort };
    const expected = buildUdp(to);
    if (expected[40] !== 0xff || expected[41] !== 0xff) continue;
    seen++;
    assert.deepEqual(translated(buildUdp(), to), expected);
    assert.equal(readUdp(translated(buildUdp(), to)).noChecksum, false);
  }
  assert.equal(seen, 1);
});

/** The identifier is the source's in a request, the destination's in a reply. */
const QUERIES: [number, "srcPort" | "dstPort"][] = [
  [8, "srcPort"],
  [0, "dstPort"],
  [13, "srcPort"],
  [14, "dstPort"],
];

Deno.test("translate of an ICMP query gives the frame that is built with the new identifier", () => {
  for (const [type, port] of QUERIES) {
    const fields = { type, rest: [0x4a49, 7] as [number, number], payload: bytesOf("odd") };
    // A request goes from a port to none, a reply back from none to it.
    const to = { ...TO, srcPort: 0, dstPort: 0, [port]: 5000 };
    const expected = buildIcmp({ ...fields, src: TO.src, dst: TO.dst, rest: [5000, 7] });
    assert.deepEqual(translated(buildIcmp(fields), to), expected, `type ${type}`);
  }
});

Deno.test("translate of 20,000 random ICMP queries leaves every checksum right", () => {
  const seed = 5508;
  const random = new SeededRandom(seed);
  const edges = [0, 1, 0x7fff, 0x8000, 0xfffe, 0xffff];
  const word = () => random.uint32() & 1 ? random.uint32() & 0xffff : edges[random.uint32() % 6]!;
  const arena = new Arena();
  for (let round = 0; round < 20_000; round++) {
    const [type, port] = QUERIES[round % 4]!;
    const [before, after, sequence] = [word(), word(), word()];
    const payload = Uint8Array.from({ length: random.uint32() % 4 }, () => random.uint32() & 1);
    const address = () => formatAddress((word() << 16) | word());
    const [src, dst] = [address(), address()];
    const to = { src, dst, srcPort: 0, dstPort: 0, [port]: after };
    const frame = translated(buildIcmp({ type, rest: [before, sequence], payload }), to, arena);
    const expected = buildIcmp({ type, src, dst, rest: [after, sequence], payload });
    assert.deepEqual(frame, expected, `round ${round} of seed ${seed}`);
  }
});

Deno.test("translate gives a reply of nothing but zeroes the checksum 0xffff, and takes it back", () => {
  const zeroes = { type: 0, payload: new Uint8Array(56) };
  const named = buildIcmp({ ...zeroes, rest: [5000, 0] });
  const unnamed = buildIcmp({ ...zeroes, rest: [0, 0] });
  const same = { src: "192.168.0.254", dst: "192.168.0.100", srcPort: 0, dstPort: 0 };
  assert.deepEqual([...unnamed.subarray(36, 38)], [0xff, 0xff]);
  assert.deepEqual(translated(named, same), unnamed);
  assert.deepEqual(translated(unnamed, { ...same, dstPort: 5000 }), named);
});

Deno.test("translate adjusts a partial checksum for the addresses, never for the ports", () => {
  const random = new SeededRandom(3);
  const builders = [buildTcp, buildUdp];
  const arena = new Arena();
  for (let round = 0; round < 2000; round++) {
    const build = builders[round % 2]!;
    const payload = Uint8Array.from({ length: random.uint32() % 9 }, () => random.uint32());
    const to = {
      src: formatAddress(random.uint32() | 0),
      dst: formatAddress(random.uint32() | 0),
      srcPort: 1 + random.uint32() % 65_535,
      dstPort: 1 + random.uint32() % 65_535,
    };
    const open = leaveToNic(build({ payload }));
    place(arena, open.frame);
    arena.bytes.set(open.vnet);
    const pdu = new Pdu();
    assert.equal(decodeAll(arena, open.frame.length, pdu), 0);
    translate(arena.view, pdu, translation(to), pdu.ttl);
    const [frame] = transmit(frameOf(arena, pdu), arena.bytes.subarray(0, VNET_BYTES));
    assert.deepEqual(frame, build({ payload, ...to }), `round ${round}`);
  }
});

Deno.test("setTtl writes any TTL over any other and keeps the header checksum right", () => {
  const arena = new Arena();
  for (let ttl = 0; ttl <= 255; ttl++) {
    for (const to of [0, 1, ttl - 1 & 255, 255 - ttl, 255]) {
      for (const id of [0, 0x1234, 0xffff]) {
        const pdu = decodeInto(arena, buildTcp({ ttl, id }));
        setTtl(arena.view, pdu, to, 0);
        assert.deepEqual(frameOf(arena, pdu), buildTcp({ ttl: to, id }), `${ttl} to ${to}`);
      }
    }
  }
});

Deno.test("setTtl keeps the checksum right for every word that it can meet", () => {
  const arena = new Arena();
  for (let id = 0; id < 65_536; id += 7) {
    const pdu = decodeInto(arena, buildIp({ id, ttl: 1, protocol: 47 }, []));
    setTtl(arena.view, pdu, 0, 0);
    assert.equal(readIp(frameOf(arena, pdu)).ip.ttl, 0);
  }
});

Deno.test("translate with another TTL gives a frame that a reader accepts", () => {
  const { arena, pdu } = decoded(buildTcp({ payload: bytesOf("both") }));
  translate(arena.view, pdu, translation(TO), 63);
  assert.partialDeepStrictEqual(readTcp(frameOf(arena, pdu)), { ...TO, ttl: 63 });
});
