import assert from "node:assert/strict";
import { reasonName } from "../../src/core/reason.ts";
import { below, SeededRandom } from "../../src/core/random.ts";
import { errorTo4, errorTo6 } from "../../src/flow/icmp_across.ts";
import { Pdu } from "../../src/wire/pdu.ts";
import { decodeQuoted, Quoted, quotesPacket } from "../../src/wire/quoted.ts";
import { decodeQuoted6, Quoted6, quotesPacket6 } from "../../src/wire/quoted6.ts";
import {
  buildIcmp,
  buildTcp,
  buildUdp,
  type Icmp,
  naiveChecksum,
  read16,
  readIcmp,
  readIp,
  word16,
  word32,
} from "../support/frames.ts";
import {
  buildIcmp6,
  buildTcp6,
  buildUdp6,
  type Icmp6,
  pseudoHeader6,
  readIcmp6,
  readIp6,
  ROUTER_ALERT,
} from "../support/frames6.ts";
import { judge, tsharkTest } from "../support/tshark.ts";
import { DIGEST } from "../wire/place6.ts";
import {
  ARENA,
  ID,
  placed,
  takenOut,
  translationTo4,
  translationTo6,
  TTL,
  type Tuple,
} from "./across_place.ts";

/** The connection in each family: from its client's side, or to its member's. */
const IN4: Tuple = { src: "192.168.0.100", dst: "192.168.0.1", srcPort: 5000, dstPort: 2001 };
const IN6: Tuple = { src: "2001:db8:c::1", dst: "2001:db8::64", srcPort: 40_000, dstPort: 2001 };
/** An error's way, in the family that it comes in and the one that it leaves in. */
const ERROR4 = { src: "192.168.0.77", dst: "192.168.0.100" };
const ERROR6 = { src: "2001:db8::64", dst: "2001:db8:c::1" };
const MTU4 = 1500;
const MTU6 = 1500;

interface Result {
  readonly reason: string;
  readonly frame: Uint8Array<ArrayBuffer>;
  readonly out: Pdu;
}

/** What becomes of an error of either family, about the connection's packet. */
function crossed(error: Uint8Array, mtu4 = MTU4, mtu6 = MTU6): Result {
  const { pdu, reason } = placed(error);
  assert.equal(reason, 0, "the error decodes");
  return crossedPdu(pdu, error, mtu4, mtu6)!;
}

/** Null: the quote can't be used. */
function crossedPdu(pdu: Pdu, error: Uint8Array, mtu4: number, mtu6: number): Result | null {
  const { view } = ARENA;
  const out = new Pdu();
  const before = JSON.stringify(pdu);
  const isIpv4 = error[12] === 8;
  const quoted = isIpv4 ? new Quoted() : new Quoted6();
  const unusable = quoted instanceof Quoted
    ? decodeQuoted(view, pdu, quoted)
    : decodeQuoted6(view, pdu, DIGEST, quoted);
  if (unusable !== 0 || quoted.hasTuple === 0) return null;
  const isEcho = quoted.srcPort === 0 || quoted.dstPort === 0;
  const ports = !isEcho
    ? {}
    : quoted.dstPort === 0
    ? { dstPort: 0 }
    : { srcPort: 0, dstPort: 5000 };
  const reason = quoted instanceof Quoted
    ? errorTo6(
      ARENA,
      pdu,
      quoted,
      translationTo6({ ...IN6, ...ERROR6 }),
      translationTo6({ ...IN6, ...ports }),
      TTL,
      mtu4,
      mtu6,
      out,
    )
    : errorTo4(
      ARENA,
      pdu,
      quoted,
      translationTo4({ ...IN4, ...ERROR4 }),
      translationTo4({ ...IN4, ...ports }),
      TTL,
      ID,
      mtu4,
      mtu6,
      out,
    );
  assert.equal(JSON.stringify(pdu), before, "the PDU as it came has changed");
  if (reason !== 0) {
    const left = ARENA.bytes.slice(pdu.frame, pdu.frame + error.length);
    assert.deepEqual(left, Uint8Array.from(error), "left alone");
    return { reason: reasonName(reason), frame: left, out };
  }
  return { reason: "none", ...takenOut(pdu, out) };
}

const DATA = Uint8Array.from({ length: 1600 }, (_, i) => i * 7);

type Kind = "tcp" | "udp" | "request" | "reply";
const KINDS: readonly Kind[] = ["tcp", "udp", "request", "reply"];

/** The connection's packet in IPv4. */
function packet4(kind: Kind, fields: Partial<Icmp> = {}): Uint8Array {
  const f = { payload: DATA.subarray(0, 200), tos: 0x28, ttl: 9, id: 0, fragment: 0, ...fields };
  if (kind === "tcp") return buildTcp({ ...f, ...IN4, flags: "PA" });
  if (kind === "udp") return buildUdp({ ...f, ...IN4 });
  const { src, dst } = IN4;
  return buildIcmp({ ...f, src, dst, type: kind === "request" ? 8 : 0, rest: [5000, 3] });
}

/** The same in IPv6. */
function packet6(kind: Kind, fields: Partial<Icmp6> = {}): Uint8Array {
  const f = { payload: DATA.subarray(0, 200), trafficClass: 0x28, hopLimit: 9, ...fields };
  if (kind === "tcp") return buildTcp6({ ...f, ...IN6, ack: 0, flags: "PA" });
  if (kind === "udp") return buildUdp6({ ...f, ...IN6 });
  const { src, dst, srcPort } = IN6;
  const rest = [...word16(kind === "request" ? srcPort : 5000), 0, 3];
  return buildIcmp6({ ...f, src, dst, type: kind === "request" ? 128 : 129, rest });
}

/** So much of a frame's IP packet. */
function quote(frame: Uint8Array, quoteBytes = frame.length - 14): Uint8Array {
  return frame.slice(14, 14 + quoteBytes);
}

function error4(payload: Uint8Array, fields: Partial<Icmp> = {}): Uint8Array {
  return buildIcmp({ type: 3, code: 1, rest: [0, 0], ...ERROR4, ...fields, payload });
}

function error6(payload: Uint8Array, fields: Partial<Icmp6> = {}): Uint8Array {
  return buildIcmp6({ type: 1, code: 0, rest: [0, 0, 0, 0], ...ERROR6, ...fields, payload });
}

const NEW4 = { ttl: TTL, id: ID, fragment: 0 };
const NEW6 = { hopLimit: TTL };

/** One byte of two can't be adjusted, and is nobody's to look at. */
function isHalfChecksum(kind: Kind, l4Bytes: number): boolean {
  return kind === "tcp" && l4Bytes === 17;
}

Deno.test("errorTo6 quotes what IPv6's end has sent, at every length (RFC 7915 4.3)", () => {
  for (const kind of KINDS) {
    const whole = packet4(kind);
    for (let l4Bytes = 8; 34 + l4Bytes <= whole.length; l4Bytes++) {
      if (isHalfChecksum(kind, l4Bytes)) continue;
      const { frame } = crossed(error4(quote(whole, 20 + l4Bytes), { tos: 0xc0 }));
      const quoted = quote(packet6(kind), 40 + l4Bytes);
      const expected = error6(quoted, { ...NEW6, trafficClass: 0xc0 });
      assert.deepEqual(frame, expected, `${kind}, ${l4Bytes} bytes`);
    }
  }
});

Deno.test("errorTo4 quotes what IPv4's end has sent, at every length (RFC 7915 5.3)", () => {
  for (const kind of KINDS) {
    const whole = packet6(kind);
    for (let l4Bytes = 8; 54 + l4Bytes <= whole.length; l4Bytes++) {
      if (isHalfChecksum(kind, l4Bytes)) continue;
      const { frame } = crossed(error6(quote(whole, 40 + l4Bytes), { trafficClass: 0xc0 }));
      const quoted = quote(packet4(kind), 20 + l4Bytes);
      const expected = error4(quoted, { ...NEW4, tos: 0xc0 });
      assert.deepEqual(frame, expected, `${kind}, ${l4Bytes} bytes`);
    }
  }
});

Deno.test("errors across: options and extension headers, inside and outside, are left behind", () => {
  for (const kind of KINDS) {
    for (const options of [[], [1, 1, 1, 0], new Array<number>(40).fill(1)]) {
      const { frame } = crossed(error4(quote(packet4(kind, { options })), { options }));
      assert.deepEqual(frame, error6(quote(packet6(kind)), NEW6), `${options.length} bytes`);
    }
    const fragment: [number, number[]] = [44, [0, 0, 0, 0, 9, 9, 9, 9]];
    for (const headers of [[ROUTER_ALERT], [fragment], [ROUTER_ALERT, fragment]]) {
      const { frame } = crossed(
        error6(quote(packet6(kind, { headers })), { headers: [ROUTER_ALERT] }),
      );
      assert.deepEqual(frame, error4(quote(packet4(kind)), NEW4));
    }
  }
});

Deno.test("errors across: a quoted first fragment is told as the packet that its sender sent", () => {
  const { frame } = crossed(error4(quote(packet4("udp", { fragment: 0x2000 }))));
  assert.deepEqual(frame, error6(quote(packet6("udp")), NEW6));
});

Deno.test("errors across: a quoted UDP checksum of 0 stays 0", () => {
  const { frame } = crossed(error4(quote(buildUdp({ ...IN4, noChecksum: true }))));
  assert.deepEqual([...frame.subarray(14 + 40 + 8 + 40 + 6, 14 + 40 + 8 + 40 + 8)], [0, 0]);
});

Deno.test("errors across: what is quoted of a long packet fits into 1,280 and 576 bytes", () => {
  for (const kind of KINDS) {
    const to6 = crossed(error4(quote(packet4(kind, { payload: DATA })))).frame;
    assert.equal(to6.length, 14 + 1280);
    const quoted6 = quote(packet6(kind, { payload: DATA }), 1280 - 48);
    assert.deepEqual(to6, error6(quoted6, NEW6), kind);
    const to4 = crossed(error6(quote(packet6(kind, { payload: DATA })))).frame;
    assert.equal(to4.length, 14 + 576);
    const fragment = 0x4000; // the quoted packet has more than 1,260 bytes
    const quoted4 = quote(packet4(kind, { payload: DATA, fragment }), 576 - 28);
    assert.deepEqual(to4, error4(quoted4, NEW4), kind);
  }
});

type Message = readonly [type: number, code: number];
const DROPPED = null;

/** RFC 7915 §4.2: type and code of ICMP, what they are in ICMPv6. */
const TO_6: readonly (readonly [...Message, Message | null])[] = [
  ...[0, 1, 5, 6, 7, 8, 11, 12].map((code) => [3, code, [1, 0]] as const),
  ...[9, 10, 13, 15].map((code) => [3, code, [1, 1]] as const),
  [3, 2, [4, 1]],
  [3, 3, [1, 4]],
  [3, 4, [2, 0]],
  [3, 14, DROPPED],
  [3, 16, DROPPED],
  [11, 0, [3, 0]],
  [11, 1, [3, 1]],
  [11, 2, DROPPED],
  [12, 0, [4, 0]],
  [12, 1, DROPPED],
  [12, 2, [4, 0]],
  [12, 3, DROPPED],
];

/** RFC 7915 §5.2. */
const TO_4: readonly (readonly [...Message, Message | null])[] = [
  ...[0, 2, 3].map((code) => [1, code, [3, 1]] as const),
  [1, 1, [3, 10]],
  [1, 4, [3, 3]],
  ...[5, 6, 7, 8, 255].map((code) => [1, code, DROPPED] as const),
  [2, 0, [3, 4]],
  [3, 0, [11, 0]],
  [3, 1, [11, 1]],
  [3, 2, DROPPED],
  [4, 0, [12, 0]],
  [4, 1, [3, 2]],
  ...[2, 3, 7, 8].map((code) => [4, code, DROPPED] as const),
];

Deno.test("errorTo6: types and codes (RFC 7915 4.2)", () => {
  for (const [type, code, now] of TO_6) {
    const result = crossed(error4(quote(packet4("tcp")), { type, code, rest: [0, 0] }));
    assert.equal(result.reason, now === null ? "no-counterpart" : "none", `${type}/${code}`);
    if (now === null) continue;
    const error = readIcmp6(result.frame);
    assert.deepEqual([error.type, error.code], now, `${type}/${code}`);
    assert.deepEqual([result.out.icmpType, result.out.icmpCode], now);
  }
});

Deno.test("errorTo4: types and codes (RFC 7915 5.2)", () => {
  for (const [type, code, now] of TO_4) {
    const result = crossed(error6(quote(packet6("tcp")), { type, code, rest: [0, 0, 5, 0] }));
    if (type === 4 && code === 0) continue; // by pointer, see below
    assert.equal(result.reason, now === null ? "no-counterpart" : "none", `${type}/${code}`);
    if (now === null) continue;
    const error = readIcmp(result.frame);
    assert.deepEqual([error.type, error.code], now, `${type}/${code}`);
    assert.deepEqual([result.out.icmpType, result.out.icmpCode], now);
  }
});

Deno.test("errorTo6: protocol unreachable points to the next header, pointers are as in Figure 3 (RFC 7915 4.2)", () => {
  const unreachable = crossed(error4(quote(packet4("udp")), { code: 2 }));
  assert.deepEqual(readIcmp6(unreachable.frame).rest, [0, 0, 0, 6]);
  const figure: [number, number][] = [
    ...[[0, 0], [1, 1], [2, 4], [3, 4], [8, 7], [9, 6]] as [number, number][],
    ...[12, 13, 14, 15].map((pointer) => [pointer, 8] as [number, number]),
    ...[16, 17, 18, 19].map((pointer) => [pointer, 24] as [number, number]),
  ];
  const known = new Map(figure);
  for (let pointer = 0; pointer < 256; pointer++) {
    for (const code of [0, 2]) {
      const fields: Partial<Icmp> = { type: 12, code, rest: [pointer << 8, 0] };
      const result = crossed(error4(quote(packet4("tcp")), fields));
      const now = known.get(pointer);
      assert.equal(result.reason, now === undefined ? "no-counterpart" : "none", `${pointer}`);
      if (now === undefined) continue;
      const { type, code: newCode, rest } = readIcmp6(result.frame);
      assert.deepEqual([type, newCode, ...rest], [4, 0, 0, 0, 0, now], `${pointer}`);
    }
  }
});

Deno.test("errorTo4: pointers are as in Figure 6 (RFC 7915 5.2)", () => {
  const known = new Map<number, number>([[0, 0], [1, 1], [4, 2], [5, 2], [6, 9], [7, 8]]);
  for (let i = 0; i < 16; i++) known.set(8 + i, 12).set(24 + i, 16);
  for (const pointer of [...Array(64).keys(), 256, 65_536, 0x1_0000_0000 - 1]) {
    const fields = { type: 4, code: 0, rest: word32(pointer) };
    const result = crossed(error6(quote(packet6("tcp")), fields));
    const now = known.get(pointer);
    assert.equal(result.reason, now === undefined ? "no-counterpart" : "none", `${pointer}`);
    if (now === undefined) continue;
    const { type, code, rest } = readIcmp(result.frame);
    assert.deepEqual([type, code, ...rest], [12, 0, now << 8, 0], `${pointer}`);
  }
});

Deno.test("errorTo6: the MTU is 20 more, at least 1,280 and at most those of the links (RFC 7915 4.2)", () => {
  const long = { payload: DATA };
  const cases: [told: number, mtu4: number, mtu6: number, quoted: number, now: number][] = [
    [1400, 1500, 1500, 1500, 1420],
    [1500, 1500, 1500, 1500, 1500],
    [1492, 1500, 9000, 1500, 1512],
    [9000, 1500, 9000, 1500, 1520],
    [9000, 1500, 1400, 1500, 1400],
    [1260, 1500, 1500, 1500, 1280],
    [576, 1500, 1500, 1500, 1280],
    [1, 1500, 1500, 1500, 1280],
    // RFC 1191 §7.1: an old router tells none, and the next plateau below the packet is likely
    [0, 9000, 9000, 1628, 1512],
    [0, 9000, 9000, 1492, 1280],
  ];
  for (const [told, mtu4, mtu6, lengthBytes, now] of cases) {
    const payload = quote(packet4("udp", { ...long, payload: DATA.subarray(0, lengthBytes - 28) }));
    const error = error4(payload, { code: 4, rest: [0, told] });
    const { type, code, rest } = readIcmp6(crossed(error, mtu4, mtu6).frame);
    assert.deepEqual([type, code, ...rest], [2, 0, ...word32(now)], `${told} of ${lengthBytes}`);
  }
});

Deno.test("errorTo4: the MTU is 20 less, at most those of the links (RFC 7915 5.2)", () => {
  const cases: [told: number, mtu4: number, mtu6: number, now: number][] = [
    [1280, 1500, 1500, 1260],
    [1400, 1500, 1500, 1380],
    [1500, 1500, 1500, 1480],
    [9000, 1500, 9000, 1500],
    [9000, 9000, 1500, 1480],
    [0xffff_ffff, 65_535, 65_575, 65_535],
    [0, 1500, 1500, 68],
  ];
  for (const [told, mtu4, mtu6, now] of cases) {
    const error = error6(quote(packet6("udp")), { type: 2, code: 0, rest: word32(told) });
    const { type, code, rest } = readIcmp(crossed(error, mtu4, mtu6).frame);
    assert.deepEqual([type, code, ...rest], [3, 4, 0, now], `${told}`);
  }
});

/** An MPLS label stack as RFC 4950 has it, in `bytes` bytes. */
function extensions(bytes: number): Uint8Array {
  const structure = Uint8Array.from({ length: bytes }, (_, i) => i);
  structure.set([0x20, 0, 0, 0, ...word16(bytes - 4), 1, 1]);
  structure.set(word16(naiveChecksum(structure)), 2);
  return structure;
}

/** Zeroes behind, or cut, so that it has so many bytes. */
function sized(bytes: Uint8Array, lengthBytes: number): Uint8Array {
  const result = new Uint8Array(lengthBytes);
  result.set(bytes.subarray(0, lengthBytes));
  return result;
}

function joined(...parts: Uint8Array[]): Uint8Array {
  return Uint8Array.from(parts.flatMap((part) => [...part]));
}

Deno.test("errorTo6: extensions follow the quote, whose length is counted anew (RFC 4884, RFC 7915 4.2)", () => {
  const cases: [quoted: number, packet: number, extension: number, now: number][] = [
    [128, 228, 12, 144],
    [132, 228, 12, 152],
    [128, 60, 12, 128], // the packet is short, zeroes follow it
    [128, 128, 400, 144],
    [528, 528, 12, 544],
    [1020, 1400, 400, 832], // cut, so that all has 1,280 bytes
    [1020, 1400, 1104, 128],
  ];
  for (const [quotedBytes, packetBytes, extensionBytes, now] of cases) {
    const payload = DATA.subarray(0, packetBytes - 28);
    const [whole4, whole6] = [packet4("udp", { payload }), packet6("udp", { payload })];
    const extension = extensions(extensionBytes);
    const error = error4(joined(sized(quote(whole4), quotedBytes), extension), {
      ...{ type: 11, code: 0, rest: [quotedBytes / 4, 0] },
    });
    const { frame } = crossed(error);
    const bytes = sized(quote(whole6, Math.min(packetBytes, quotedBytes) + 20), now);
    const expected = error6(joined(bytes, extension), {
      ...{ ...NEW6, type: 3, code: 0, rest: [now / 8, 0, 0, 0] },
    });
    assert.deepEqual(frame, expected, `${quotedBytes} of ${packetBytes}, ${extensionBytes}`);
    assert.ok(frame.length <= 14 + 1280);
  }
});

Deno.test("errorTo4: extensions follow the quote, whose length is counted anew (RFC 4884, RFC 7915 5.2)", () => {
  const cases: [quoted: number, packet: number, extension: number, now: number][] = [
    [128, 248, 12, 128],
    [136, 248, 12, 128],
    [152, 248, 12, 132],
    [128, 80, 12, 128],
    [568, 568, 12, 536], // cut, so that all has 576 bytes
    [568, 568, 420, 128],
  ];
  for (const [quotedBytes, packetBytes, extensionBytes, now] of cases) {
    const payload = DATA.subarray(0, packetBytes - 48);
    const [whole4, whole6] = [packet4("udp", { payload }), packet6("udp", { payload })];
    const extension = extensions(extensionBytes);
    const error = error6(joined(sized(quote(whole6), quotedBytes), extension), {
      rest: [quotedBytes / 8, 0, 0, 0],
    });
    const { frame } = crossed(error);
    const bytes = sized(quote(whole4, Math.min(packetBytes, quotedBytes) - 20), now);
    const expected = error4(joined(bytes, extension), { ...NEW4, rest: [now / 4, 0] });
    assert.deepEqual(frame, expected, `${quotedBytes} of ${packetBytes}, ${extensionBytes}`);
    assert.ok(frame.length <= 14 + 576);
  }
});

Deno.test("errors across: extensions that can't go along are left behind, the quote is not", () => {
  const quoted4 = quote(packet4("udp"));
  const quoted6 = quote(packet6("udp"));
  const behind4: Partial<Icmp>[] = [
    { code: 4, rest: [57, 1400] },
    { code: 2, rest: [57, 0] },
    { type: 12, code: 0, rest: [57, 0] },
  ];
  for (const fields of behind4) {
    const { frame } = crossed(error4(joined(quoted4, extensions(12)), fields));
    assert.deepEqual(
      Array.from(readIcmp6(frame).payload),
      [...quoted6],
      `${fields.type}/${fields.code}`,
    );
  }
  // More than an error holds beside 128 bytes of the packet, and less than 128 bytes before them.
  const many4 = error4(joined(quoted4, extensions(1108)), { rest: [57, 0] });
  assert.deepEqual(crossed(many4).frame, error6(quoted6, NEW6));
  const many6 = error6(joined(quoted6, extensions(424)), { rest: [31, 0, 0, 0] });
  assert.deepEqual(crossed(many6).frame, error4(quoted4, NEW4));
  const short4 = error4(joined(quoted4.slice(0, 28), extensions(12)), { rest: [7, 0] });
  assert.deepEqual(crossed(short4).frame, error6(quoted6.slice(0, 48), NEW6));
  const short6 = error6(joined(quoted6.slice(0, 48), extensions(12)), { rest: [6, 0, 0, 0] });
  assert.deepEqual(crossed(short6).frame, error4(quoted4.slice(0, 28), NEW4));
});

Deno.test("errors across: queries that the other family does not have are dropped", () => {
  for (const type of [13, 14, 15, 16, 17, 18]) {
    const query = buildIcmp({ src: IN4.src, dst: IN4.dst, type });
    assert.equal(crossed(error4(quote(query))).reason, "no-counterpart");
  }
});

/** An error, mostly right, with a quote of random length and kind and perhaps extensions. */
function randomError(random: SeededRandom, isIpv4: boolean): Uint8Array {
  const pick = <T>(of: readonly T[]): T => of[below(random, of.length)]!;
  const kind = pick(KINDS);
  const payload = DATA.subarray(0, below(random, 20) === 0 ? 1400 : pick([0, 8, 60, 120]));
  const options = new Array<number>(4 * below(random, 11)).fill(1);
  const headers = pick([[], [ROUTER_ALERT]]);
  const packet = isIpv4 ? packet4(kind, { payload, options }) : packet6(kind, { payload, headers });
  const least = isIpv4 ? 28 + options.length : 56;
  const most = packet.length - 14;
  const quoted = quote(packet, Math.min(most, least + below(random, most)));
  const isExtended = below(random, 2) === 0;
  const unit = isIpv4 ? 4 : 8;
  const words = Math.min(255, Math.ceil(Math.max(quoted.length, pick([0, 128])) / unit));
  const body = isExtended
    ? joined(
      sized(quoted, words * unit),
      extensions(below(random, 20) === 0 ? 900 : pick([8, 12, 20])),
    )
    : quoted;
  const [type, code] = pick(isIpv4 ? TO_6 : TO_4);
  const length = isExtended ? words : 0;
  if (isIpv4) {
    const rest: [number, number] = [pick([0, below(random, 24) << 8]) | length, random.uint32()];
    return error4(body, { type, code, rest, options });
  }
  const rest = type === 2 ? word32(1280 + below(random, 9000)) : [length, 0, 0, below(random, 50)];
  return error6(body, { type, code, rest, headers });
}

/** Overwrites up to four bytes and makes the outer checksums right again. */
function mutate(random: SeededRandom, frame: Uint8Array): void {
  const isIpv4 = frame[12] === 8;
  const icmp = isIpv4 ? 14 + (frame[14]! & 15) * 4 : frame[20] === 0 ? 62 : 54;
  for (let i = below(random, 5); i > 0; i--) {
    const reach = Math.min(frame.length, icmp + 110);
    frame[icmp + below(random, reach - icmp)] = random.uint32();
  }
  const message = frame.subarray(icmp);
  message.fill(0, 2, 4);
  const addresses = frame.subarray(22, 54);
  const pseudo = isIpv4 ? [] : [...addresses, 0, 0, ...word16(message.length), 0, 0, 0, 58];
  message.set(word16(naiveChecksum([...pseudo, ...message])), 2);
}

/** Reads it by what the tests know of headers, and what it quotes as far as that goes. */
function readAcross(frame: Uint8Array, out: Readonly<Pdu>): void {
  assert.equal(out.totalLength, frame.length - 14);
  assert.equal(out.frameBytes, frame.length);
  if (frame[12] === 8) {
    assert.ok(frame.length <= 14 + 576);
    const { payload, options, fragment, rest } = readIcmp(frame);
    const { l4 } = readIp(frame);
    assert.deepEqual([options.length, fragment, l4.length + 34], [0, 0, frame.length]);
    assert.equal(naiveChecksum(payload.subarray(0, 20)), 0, "quoted header");
    assert.equal(payload[0], 0x45);
    const words = rest[0] & 0xff;
    assert.ok(words === 0 || (words * 4 >= 128 && words * 4 < payload.length));
  } else {
    assert.ok(frame.length <= 14 + 1280);
    const { rest, payload, headers, type } = readIcmp6(frame);
    const { l4 } = readIp6(frame);
    assert.deepEqual([headers.length, l4.length + 54], [0, frame.length]);
    assert.equal(payload[0]! >> 4, 6);
    assert.ok(payload.length >= 48);
    if (type === 2) {
      assert.ok(rest[0] === 0 && rest[1] === 0 && read16(Uint8Array.from(rest), 2) >= 1280);
    }
    const words = type === 1 || type === 3 ? rest[0]! : 0;
    assert.ok(words === 0 || (words * 8 >= 128 && words * 8 < payload.length));
  }
}

Deno.test("errors across: 100,000 mutated errors each way, lengths and checksums right, nothing else written", () => {
  const seed = 792;
  const random = new SeededRandom(seed);
  const accepted = [0, 0];
  for (let round = 0; round < 200_000; round++) {
    const family = round % 2;
    const error = randomError(random, family === 0);
    mutate(random, error);
    const { pdu, reason } = placed(error);
    const isError = family === 0 ? quotesPacket : quotesPacket6;
    if (reason !== 0 || !isError(pdu.icmpType)) continue;
    try {
      const result = crossedPdu(pdu, error, 1500, 1400 + below(random, 2) * 200);
      if (result === null || result.reason !== "none") continue;
      accepted[family]!++;
      readAcross(result.frame, result.out);
    } catch (fault) {
      throw new Error(`round ${round} of seed ${seed}: ${fault}`);
    }
  }
  assert.ok(accepted.every((count) => count > 20_000), accepted.join());
});

Deno.test("errors across: what is quoted whole has a right checksum, whatever its length", () => {
  for (let length = 0; length < 300; length++) {
    const payload = DATA.subarray(0, length);
    for (const kind of KINDS) {
      const quoted6 = readIcmp6(crossed(error4(quote(packet4(kind, { payload })))).frame).payload;
      const l4 = Uint8Array.from(quoted6).subarray(40);
      const pseudo = pseudoHeader6(IN6.src, IN6.dst, quoted6[6]!, l4.length);
      assert.equal(naiveChecksum([...pseudo, ...l4]), 0, `${kind}, ${length} bytes`);
    }
  }
});

tsharkTest("tshark finds nothing wrong in 2,000 errors that crossed", async () => {
  const random = new SeededRandom(2);
  const frames: Uint8Array[] = [];
  while (frames.length < 2000) {
    const result = crossed(randomError(random, frames.length % 2 === 0));
    if (result.reason === "none") frames.push(result.frame);
  }
  assert.deepEqual(await judge(frames), []);
});
