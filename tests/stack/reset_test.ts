import assert from "node:assert/strict";
import { Arena } from "../../src/core/arena.ts";
import { SeededRandom } from "../../src/core/random.ts";
import {
  makeReset,
  RESET6_FRAME_BYTES,
  RESET_FRAME_BYTES,
  sendReset,
} from "../../src/stack/reset.ts";
import { parseAddress } from "../../src/wire/address.ts";
import { parseAddress6 } from "../../src/wire/address6.ts";
import { buildTcp, bytesOf, readTcp, type Tcp } from "../support/frames.ts";
import { buildTcp6, readTcp6, ROUTER_ALERT } from "../support/frames6.ts";
import { judge, tsharkTest } from "../support/tshark.ts";
import { decoded, decodeInto, FRAME_OFFSET, takeSent } from "../wire/place.ts";
import { decoded6 } from "../wire/place6.ts";

/** What every RST has of the default segment: turned around, and no more than it needs. */
const TURNED: Partial<Tcp> = {
  dstMac: "02:00:00:00:00:fe",
  srcMac: "02:00:00:00:01:00",
  src: "192.168.0.100",
  dst: "192.168.0.254",
  srcPort: 2000,
  dstPort: 40_000,
  ttl: 64,
  tos: 0,
  fragment: 0x4000,
  options: [],
  window: 0,
  tcpOptions: [],
  payload: new Uint8Array(),
};

/** The RST that answers the segment; null: none. */
function answer(segment: Partial<Tcp>): Uint8Array | null {
  const { arena, pdu } = decoded(buildTcp(segment));
  const sent = sendReset(arena, pdu, new SeededRandom(1));
  const frames = takeSent(arena);
  assert.equal(frames.length, sent ? 1 : 0);
  return frames[0] ?? null;
}

// RFC 9293 §3.10.7.1: what arrives for a connection that does not exist.
const data = bytesOf("twelve bytes");
const CASES: [string, Partial<Tcp>, Partial<Tcp>][] = [
  ["a SYN", { flags: "S", seq: 1000 }, { flags: "RA", seq: 0, ack: 1001 }],
  ["a SYN with data", { flags: "S", seq: 1000, payload: data }, { flags: "RA", ack: 1013 }],
  ["a SYN with options", { flags: "S", seq: 7, tcpOptions: [2, 4, 5, 180] }, { ack: 8 }],
  ["a SYN at the last number", { flags: "S", seq: 0xffff_ffff }, { flags: "RA", ack: 0 }],
  [
    "a SYN across the last number",
    { flags: "S", seq: 0xffff_fffe, payload: data },
    { flags: "RA", seq: 0, ack: 11 },
  ],
  ["a SYN beyond the sign", { flags: "S", seq: 0x7fff_ffff }, { ack: 0x8000_0000 }],
  ["an ACK", { flags: "A", seq: 5, ack: 77 }, { flags: "R", seq: 77, ack: 0 }],
  ["data", { flags: "PA", seq: 5, ack: 77, payload: data }, { flags: "R", seq: 77, ack: 0 }],
  ["a SYN ACK", { flags: "SA", seq: 5, ack: 78 }, { flags: "R", seq: 78, ack: 0 }],
  ["a FIN", { flags: "FA", seq: 5, ack: 0xffff_ffff }, { flags: "R", seq: 0xffff_ffff, ack: 0 }],
  ["an ACK of 0", { flags: "A", seq: 5, ack: 0 }, { flags: "R", seq: 0, ack: 0 }],
];

for (const [what, segment, expected] of CASES) {
  Deno.test(`sendReset answers ${what} as a closed port does`, () => {
    const frame = answer(segment)!;
    assert.partialDeepStrictEqual(readTcp(frame), { ...TURNED, ...expected });
    assert.equal(frame.length, 14 + 20 + 20);
  });

  Deno.test(`sendReset answers ${what} over IPv6 likewise`, () => {
    const { fragment: _, options: __, tos: ___, ttl: ____, ...fields } = TURNED;
    const own = {
      src: "2001:db8::64",
      dst: "2001:db8::fe",
      hopLimit: 64,
      trafficClass: 0,
      flowLabel: 0,
      headers: [],
    };
    for (const more of [{}, { headers: [ROUTER_ALERT], trafficClass: 255, flowLabel: 9 }]) {
      const { flags, seq, ack, payload, tcpOptions } = segment;
      const given = Object.entries({ flags, seq, ack, payload, tcpOptions, ...more });
      const frame = buildTcp6(Object.fromEntries(given.filter(([, value]) => value !== undefined)));
      const { arena, pdu } = decoded6(frame);
      assert.ok(sendReset(arena, pdu, { uint32: () => assert.fail("draws nothing") }));
      const [sent, ...others] = takeSent(arena);
      assert.partialDeepStrictEqual(readTcp6(sent!), { ...fields, ...own, ...expected });
      assert.deepEqual([sent!.length, others.length], [14 + 40 + 20, 0]);
    }
  });
}

Deno.test("makeReset makes the frame of either family, but for Ethernet addresses", () => {
  const { arena } = decoded(buildTcp());
  const numbers = { srcPort: 2000, dstPort: 40_000, seq: -5, ack: 77 };
  const random = new SeededRandom(1);
  const families: [Partial<Tcp>, number][] = [
    [{ src: "192.168.0.100", dst: "192.168.0.254" }, RESET_FRAME_BYTES],
    [{ src: "2001:db8::64", dst: "fe80::7" }, RESET6_FRAME_BYTES],
  ];
  for (const [{ src, dst }, lengthBytes] of families) {
    const isIpv6 = lengthBytes === RESET6_FRAME_BYTES;
    const parse = (text: string) => isIpv6 ? parseAddress6(text) : parseAddress(text);
    const addresses = { src: parse(src!), dst: parse(dst!) };
    const at = makeReset(arena, { ...addresses, ...numbers }, random);
    const frame = arena.bytes.slice(at, at + lengthBytes);
    const expected = { src, dst, ...numbers, seq: 0xffff_fffb, flags: "RA", window: 0 };
    assert.partialDeepStrictEqual((isIpv6 ? readTcp6 : readTcp)(frame), expected);
  }
});

tsharkTest("tshark finds nothing wrong with an RST over IPv6", async () => {
  const { arena, pdu } = decoded6(buildTcp6({ flags: "S", payload: data }));
  sendReset(arena, pdu, new SeededRandom(1));
  assert.deepEqual(await judge(takeSent(arena)), []);
});

Deno.test("sendReset never answers an RST", () => {
  for (const flags of ["R", "RA", "RP"]) assert.equal(answer({ flags }), null);
});

Deno.test("sendReset takes neither padding nor IP options for data", () => {
  const frame = buildTcp({ flags: "S", seq: 1000, options: [1, 1, 1, 0] });
  const padded = new Uint8Array(frame.length + 9).fill(0xa5);
  padded.set(frame);
  const { arena, pdu } = decoded(padded);
  assert.ok(sendReset(arena, pdu, new SeededRandom(1)));
  const [sent] = takeSent(arena);
  assert.partialDeepStrictEqual(readTcp(sent!), { ...TURNED, flags: "RA", ack: 1001 });
});

Deno.test("sendReset leaves the segment as it was, and the RST's checksums complete", () => {
  const arena = new Arena();
  const frame = buildTcp({ payload: data });
  const pdu = decodeInto(arena, frame);
  // A segment whose checksum the kernel has left to the device.
  arena.view.setUint8(FRAME_OFFSET - 10, 1);
  assert.ok(sendReset(arena, pdu, new SeededRandom(1)));
  assert.deepEqual(arena.bytes.slice(pdu.frame, pdu.end), frame);
  const offset = arena.tx[0]!;
  assert.deepEqual([...arena.bytes.subarray(offset - 10, offset)], Array(10).fill(0));
  readTcp(takeSent(arena)[0]!);
});

Deno.test("sendReset draws a new IP identification for each, from the source given", () => {
  const arena = new Arena();
  const random = new SeededRandom(1);
  const pdu = decodeInto(arena, buildTcp());
  for (let i = 0; i < 50; i++) assert.ok(sendReset(arena, pdu, random));
  const twin = new SeededRandom(1);
  for (const frame of takeSent(arena)) assert.equal(readTcp(frame).id, twin.uint32() & 0xffff);
});

Deno.test("sendReset keeps checksums right, whatever they come to", () => {
  const arena = new Arena();
  const random = new SeededRandom(2);
  for (let i = 0; i < 20_000; i++) {
    const word = random.uint32();
    const flags = i % 2 === 0 ? "S" : "A";
    const pdu = decodeInto(arena, buildTcp({ seq: word, ack: word, flags, srcPort: 1 + i }));
    assert.ok(sendReset(arena, pdu, random));
    const { seq, ack, dstPort } = readTcp(takeSent(arena)[0]!);
    const expected = flags === "S" ? [0, (word + 1) % 2 ** 32] : [word, 0];
    assert.deepEqual([seq, ack, dstPort], [...expected, 1 + i]);
  }
});

Deno.test("sendReset is false when there is no room", () => {
  const { arena, pdu } = decoded(buildTcp());
  const random = new SeededRandom(1);
  while (arena.scratch(1000) >= 0);
  while (arena.scratch(10) >= 0);
  assert.equal(sendReset(arena, pdu, random), false);
  arena.sent();
  assert.equal(sendReset(arena, pdu, random), true);
  arena.sent();
  while (arena.send(0, 0));
  assert.equal(sendReset(arena, pdu, random), false);
});
