import assert from "node:assert/strict";
import { Arena, VNET_BYTES } from "../../src/core/arena.ts";
import { SeededRandom } from "../../src/core/random.ts";
import { translate6, Translation } from "../../src/flow/translate.ts";
import { formatAddress6, parseAddress6 } from "../../src/wire/address6.ts";
import { bytesOf, word16 } from "../support/frames.ts";
import {
  buildIcmp6,
  buildTcp6,
  buildUdp6,
  readTcp6,
  readUdp6,
  ROUTER_ALERT,
} from "../support/frames6.ts";
import { leaveToNic, transmit } from "../support/nic.ts";
import { frameOf } from "../wire/place.ts";
import { decodeInto6, decodeOpen6, DIGEST } from "../wire/place6.ts";

interface Target {
  src: string;
  dst: string;
  srcPort: number;
  dstPort: number;
}

const TO: Target = { src: "2001:db8:b::64", dst: "2001:db8:b::1", srcPort: 5000, dstPort: 2001 };

function translation({ src, dst, srcPort, dstPort }: Target): Translation {
  const to = Object.assign(new Translation(), { srcPort, dstPort });
  to.addresses.set([...parseAddress6(src), ...parseAddress6(dst)]);
  to.src = DIGEST.ofWords(to.addresses, 0);
  to.dst = DIGEST.ofWords(to.addresses, 4);
  return to;
}

function translated(frame: Uint8Array, to: Target, arena: Arena = new Arena()): Uint8Array {
  const pdu = decodeInto6(arena, frame);
  translate6(arena.view, pdu, translation(to), pdu.ttl);
  return frameOf(arena, pdu);
}

Deno.test("translate6 gives the frame that is built with the new addresses and ports", () => {
  const fields = { trafficClass: 0xb9, flowLabel: 0x12345, payload: bytesOf("odd") };
  for (const headers of [[], [ROUTER_ALERT]]) {
    for (const build of [buildTcp6, buildUdp6]) {
      const frame = build({ ...fields, headers });
      assert.deepEqual(translated(frame, TO), build({ ...fields, headers, ...TO }));
    }
  }
});

Deno.test("translate6 writes the hop limit, and changes nothing else for it", () => {
  const arena = new Arena();
  const pdu = decodeInto6(arena, buildTcp6({ hopLimit: 7 }));
  translate6(arena.view, pdu, translation(TO), 254);
  assert.deepEqual(frameOf(arena, pdu), buildTcp6({ ...TO, hopLimit: 254 }));
});

Deno.test("translate6 of an echo gives the frame that is built with the new identifier", () => {
  for (const [type, port] of [[128, "srcPort"], [129, "dstPort"]] as const) {
    // A request goes from a port to none, a reply back from none to it.
    const to = { ...TO, srcPort: 0, dstPort: 0, [port]: 5000 };
    const fields = { type, code: 0, payload: bytesOf("odd") };
    const rest = (identifier: number) => [...word16(identifier), 0, 7];
    const frame = buildIcmp6({ ...fields, rest: rest(0x4a49) });
    const expected = buildIcmp6({ ...fields, src: TO.src, dst: TO.dst, rest: rest(5000) });
    assert.deepEqual(translated(frame, to), expected, `type ${type}`);
  }
});

Deno.test("translate6 of 20,000 random packets leaves every checksum right", () => {
  const seed = 8200;
  const random = new SeededRandom(seed);
  const edges = [0, 1, 0x7fff, 0x8000, 0xfffe, 0xffff];
  const half = () => random.uint32() & 1 ? random.uint32() & 0xffff : edges[random.uint32() % 6]!;
  const address = () =>
    formatAddress6(Int32Array.from({ length: 4 }, () => (half() << 16) | half()));
  const target = (): Target => ({
    src: address(),
    dst: address(),
    srcPort: half() || 1,
    dstPort: half() || 1,
  });
  const arena = new Arena();
  for (let round = 0; round < 20_000; round++) {
    const payload = Uint8Array.from({ length: random.uint32() % 6 }, () => random.uint32());
    const to = target();
    const fields = { ...target(), payload };
    const build = round % 2 === 0 ? buildTcp6 : buildUdp6;
    const frame = translated(build(fields), to, arena);
    assert.deepEqual(frame, build({ ...fields, ...to }), `round ${round} of seed ${seed}`);
  }
});

Deno.test("translate6 sends a UDP checksum that comes out as 0 as 0xffff", () => {
  let seen = 0;
  for (let srcPort = 1; srcPort < 65_536; srcPort++) {
    const to = { ...TO, srcPort };
    const expected = buildUdp6(to);
    if (expected[60] !== 0xff || expected[61] !== 0xff) continue;
    seen++;
    assert.deepEqual(translated(buildUdp6(), to), expected);
    readUdp6(expected);
  }
  assert.equal(seen, 1);
});

Deno.test("translate6 there and back gives the first frame again", () => {
  for (const build of [buildTcp6, buildUdp6]) {
    const frame = build({ payload: bytesOf("x") });
    const { src, dst, srcPort, dstPort } = build === buildTcp6 ? readTcp6(frame) : readUdp6(frame);
    assert.deepEqual(translated(translated(frame, TO), { src, dst, srcPort, dstPort }), frame);
  }
});

Deno.test("translate6 adjusts a partial checksum for the addresses, never for the ports", () => {
  const random = new SeededRandom(3);
  const arena = new Arena();
  for (let round = 0; round < 1000; round++) {
    const build = round % 2 === 0 ? buildTcp6 : buildUdp6;
    const payload = Uint8Array.from({ length: random.uint32() % 9 }, () => random.uint32());
    const to = { ...TO, srcPort: 1 + random.uint32() % 65_535 };
    const open = leaveToNic(build({ payload }));
    const pdu = decodeOpen6(arena, open.frame, open.vnet);
    assert.notEqual(pdu.partialChecksum, 0);
    translate6(arena.view, pdu, translation(to), pdu.ttl);
    const [frame] = transmit(frameOf(arena, pdu), arena.bytes.subarray(0, VNET_BYTES));
    assert.deepEqual(frame, build({ payload, ...to }), `round ${round}`);
  }
});
