import assert from "node:assert/strict";
import { SeededRandom } from "../../src/core/random.ts";
import { reasonName } from "../../src/core/reason.ts";
import { AddressDigest } from "../../src/wire/address_digest.ts";
import { formatAddress6 } from "../../src/wire/address6.ts";
import { OVER_IPV6 } from "../../src/wire/pdu.ts";
import { decodeQuoted6, Quoted6, quotesPacket6 } from "../../src/wire/quoted6.ts";
import { buildIcmp6, buildIp6, buildTcp6, buildUdp6, type Icmp6 } from "../support/frames6.ts";
import { decoded6 } from "./place6.ts";

const SENT = { src: "2001:db8::64", dst: "2001:db8::1", srcPort: 5000, dstPort: 2000 };
const ECHO = { src: SENT.src, dst: SENT.dst, rest: [0x4a, 0x49, 0, 7] };
const DIGEST = new AddressDigest(new SeededRandom(7));
const PADDING = [0, [0, 0, 1, 4, 0, 0, 0, 0]] as const;

/** A fragment header. */
function fragment(flagsAndOffset: number): readonly [number, readonly number[]] {
  return [44, [0, 0, flagsAndOffset >> 8, flagsAndOffset & 255, 0, 0, 0, 9]];
}

/** Decodes what an error with this payload quotes: "ok" or the reason's name. */
function quote(payload: Uint8Array, fields: Partial<Icmp6> = {}): [string, Quoted6] {
  const { arena, pdu } = decoded6(buildIcmp6({ type: 2, rest: [0, 0, 5, 0], ...fields, payload }));
  const quoted = new Quoted6();
  const reason = decodeQuoted6(arena.view, pdu, DIGEST, quoted);
  return [reason === 0 ? "ok" : reasonName(reason), quoted];
}

/** The IP packet in a frame, or its first bytes. */
function packet(frame: Uint8Array, lengthBytes = frame.length - 14): Uint8Array {
  return frame.slice(14, 14 + lengthBytes);
}

Deno.test("decodeQuoted6 finds addresses, ports and the quote's end", () => {
  const cases: [string, Uint8Array, [number, number, number], [number, number]][] = [
    ["TCP, 8 bytes", packet(buildTcp6(SENT), 48), [6, 5000, 2000], [40, 48]],
    ["TCP, whole", packet(buildTcp6(SENT)), [6, 5000, 2000], [40, 60]],
    [
      "TCP behind options",
      packet(buildTcp6({ ...SENT, headers: [PADDING] }), 56),
      [6, 5000, 2000],
      [
        48,
        56,
      ],
    ],
    ["UDP", packet(buildUdp6(SENT)), [17, 5000, 2000], [40, 48]],
    ["echo request", packet(buildIcmp6(ECHO), 48), [58, 0x4a49, 0], [40, 48]],
    ["echo reply", packet(buildIcmp6({ ...ECHO, type: 129 }), 48), [58, 0, 0x4a49], [40, 48]],
    [
      "first fragment",
      packet(buildTcp6({ ...SENT, headers: [fragment(1)], payload: [1, 2, 3, 4] })),
      [
        6,
        5000,
        2000,
      ],
      [48, 72],
    ],
    [
      "trailing bytes that are not the packet's",
      Uint8Array.from([...packet(buildUdp6(SENT)), ...new Uint8Array(16)]),
      [17, 5000, 2000],
      [40, 48],
    ],
  ];
  for (const [name, payload, [protocol, srcPort, dstPort], [l4, end]] of cases) {
    const [verdict, quoted] = quote(payload);
    assert.equal(verdict, "ok", name);
    assert.deepEqual(
      [quoted.protocol, quoted.srcPort, quoted.dstPort],
      [protocol | OVER_IPV6, srcPort, dstPort],
      name,
    );
    assert.deepEqual([quoted.l4 - quoted.ip, quoted.end - quoted.ip], [l4, end], name);
    assert.equal(formatAddress6(quoted.answer, 0), SENT.dst, name);
    assert.equal(formatAddress6(quoted.answer, 4), SENT.src, name);
    assert.equal(quoted.dst, DIGEST.ofWords(quoted.answer, 0), name);
    assert.equal(quoted.src, DIGEST.ofWords(quoted.answer, 4), name);
    assert.equal(quoted.hasTuple, 1, name);
  }
});

Deno.test("decodeQuoted6 knows what has no tuple: later fragments, messages that are no echo", () => {
  const cases: [string, Uint8Array][] = [
    ["a later fragment", packet(buildTcp6({ ...SENT, headers: [fragment(8)] }))],
    ["an error", packet(buildIcmp6({ ...ECHO, type: 1 }))],
    ["a solicitation", packet(buildIcmp6({ ...ECHO, type: 135 }))],
    ["nothing", packet(buildIp6({ ...SENT, protocol: 59 }, new Array(8).fill(0)))],
  ];
  for (const [name, payload] of cases) {
    const [verdict, quoted] = quote(payload);
    assert.deepEqual([verdict, quoted.hasTuple], ["ok", 0], name);
  }
});

Deno.test("decodeQuoted6 ends the quote where extensions begin, in errors that have them", () => {
  const whole = packet(buildTcp6({ ...SENT, payload: new Uint8Array(100) }));
  for (const type of [1, 3]) {
    const [, quoted] = quote(whole, { type, rest: [8, 0, 0, 0] });
    assert.equal(quoted.end - quoted.ip, 64, `type ${type}`);
  }
  for (const type of [2, 4]) {
    const [, quoted] = quote(whole, { type, rest: [8, 0, 0, 0] });
    assert.equal(quoted.end - quoted.ip, 160, `type ${type}`);
  }
});

Deno.test("decodeQuoted6 refuses what is no packet of IPv6, too short, or of no known chain", () => {
  const patched = (at: number, value: number) => packet(buildTcp6(SENT)).with(at, value);
  const cases: [string, Uint8Array][] = [
    ["39 bytes", packet(buildTcp6(SENT), 39)],
    ["47 bytes", packet(buildTcp6(SENT), 47)],
    ["IPv4", patched(0, 0x45)],
    ["a payload length of 7", patched(5, 7)],
    ["an unknown next header", patched(6, 200)],
    ["a chain that goes on beyond it", packet(buildTcp6({ ...SENT, headers: [PADDING] }), 47)],
  ];
  for (const [name, payload] of cases) assert.equal(quote(payload)[0], "icmp-quote", name);
});

Deno.test("quotesPacket6 is true of errors that are about a connection", () => {
  const types = Array.from({ length: 256 }, (_, type) => type);
  assert.deepEqual(types.filter(quotesPacket6), [1, 2, 3, 4]);
});
