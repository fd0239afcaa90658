import assert from "node:assert/strict";
import { below, SeededRandom } from "../../src/core/random.ts";
import { reasonName } from "../../src/core/reason.ts";
import { faultAcross, mtuAcross, mustStayWhole } from "../../src/flow/across.ts";
import { formatAddress } from "../../src/wire/address.ts";
import { formatAddress6 } from "../../src/wire/address6.ts";
import type { Pdu } from "../../src/wire/pdu.ts";
import {
  buildIcmp,
  buildIp,
  buildTcp,
  buildUdp,
  bytesOf,
  naiveChecksum,
  readIcmp,
  readIp,
  readTcp,
  readUdp,
  word16,
} from "../support/frames.ts";
import {
  buildIcmp6,
  buildIp6,
  buildTcp6,
  buildUdp6,
  pseudoHeader6,
  readIcmp6,
  readIp6,
  readTcp6,
  ROUTER_ALERT,
} from "../support/frames6.ts";
import { leaveToNic, readVnet, refusalOf, transmit } from "../support/nic.ts";
import { judge, tsharkTest } from "../support/tshark.ts";
import { ARENA, crossed, crossedPdu, ID, placed, TTL, type Tuple } from "./across_place.ts";

const TO4: Tuple = { src: "192.168.0.100", dst: "192.168.0.1", srcPort: 5000, dstPort: 2001 };
const TO6: Tuple = { src: "2001:db8:b::64", dst: "2001:db8:b::1", srcPort: 5000, dstPort: 2001 };

/** What both families' builders take, and what each says of the header. */
const L4 = { flags: "PA", payload: bytesOf("odd"), tcpOptions: [1, 1, 1, 0], ack: 2000 };
const NEW6 = { ...TO6, hopLimit: TTL };
const NEW4 = { ...TO4, ttl: TTL, id: ID, fragment: 0 };

Deno.test("translateTo6: the frame that is built with the new header, TCP and UDP (RFC 7915 4.1)", () => {
  const fields = { ...L4, tos: 0xb9, ttl: 7 };
  const expected = { ...L4, ...NEW6, trafficClass: 0xb9 };
  assert.deepEqual(crossed(buildTcp(fields), TO6).frame, buildTcp6(expected));
  assert.deepEqual(crossed(buildUdp(fields), TO6).frame, buildUdp6(expected));
});

Deno.test("translateTo4: the frame that is built with the new header, TCP and UDP (RFC 7915 5.1)", () => {
  const fields = { ...L4, trafficClass: 0xb9, flowLabel: 0x12345, hopLimit: 7 };
  const expected = { ...L4, ...NEW4, tos: 0xb9 };
  assert.deepEqual(crossed(buildTcp6(fields), TO4).frame, buildTcp(expected));
  assert.deepEqual(crossed(buildUdp6(fields), TO4).frame, buildUdp(expected));
});

Deno.test("translateTo6 takes no option along, whatever it is (RFC 7915 4.1)", () => {
  for (let words = 1; words <= 10; words++) {
    const options = new Array<number>(4 * words).fill(1);
    for (const [build, build6] of [[buildTcp, buildTcp6], [buildUdp, buildUdp6]] as const) {
      const frame = build({ ...L4, options });
      assert.deepEqual(crossed(frame, TO6).frame, build6({ ...L4, ...NEW6 }), `${words} words`);
    }
  }
});

Deno.test("translateTo4 takes no extension header along (RFC 7915 5.1)", () => {
  const atomic: [number, number[]] = [44, [0, 0, 0, 0, 1, 2, 3, 4]];
  for (const headers of [[ROUTER_ALERT], [atomic], [ROUTER_ALERT, atomic]]) {
    const frame = buildTcp6({ ...L4, headers });
    assert.deepEqual(crossed(frame, TO4).frame, buildTcp({ ...L4, ...NEW4 }));
  }
});

/** Request and reply, whose identifier is the source's or the destination's. */
const ECHOES = [[8, 128, "srcPort"], [0, 129, "dstPort"]] as const;

Deno.test("translate of an echo: type, identifier and checksum with or without pseudo-header (RFC 7915 4.2, 5.2)", () => {
  for (const [type, type6, port] of ECHOES) {
    const to = { srcPort: 0, dstPort: 0, [port]: 5000 };
    const payload = bytesOf("odd");
    const echo = (id: number) => ({ type, payload, rest: [id, 7] as [number, number] });
    const echo6 = (id: number) => ({ type: type6, payload, rest: [...word16(id), 0, 7] });
    const { src, dst, ...header4 } = NEW4;
    assert.deepEqual(
      crossed(buildIcmp(echo(0x4a49)), { ...TO6, ...to }).frame,
      buildIcmp6({ ...echo6(5000), src: TO6.src, dst: TO6.dst, hopLimit: TTL }),
    );
    assert.deepEqual(
      crossed(buildIcmp6(echo6(0x4a49)), { ...TO4, ...to }).frame,
      buildIcmp({ ...echo(5000), ...header4, src, dst }),
    );
  }
});

Deno.test("translateTo4 of an echo reply of nothing but zeroes: its checksum is 0xffff", () => {
  const reply = buildIcmp6({ type: 129, rest: [0, 9, 0, 0], payload: new Uint8Array(56) });
  const { frame } = crossed(reply, { ...TO4, srcPort: 0, dstPort: 0 });
  assert.deepEqual([...frame.subarray(34, 42)], [0, 0, 0xff, 0xff, 0, 0, 0, 0]);
  readIcmp(frame);
});

Deno.test("translateTo6 computes the UDP checksum that was 0 (RFC 7915 4.5)", () => {
  for (const payload of [bytesOf(""), bytesOf("odd"), new Uint8Array(1000).fill(0xff)]) {
    const frame = buildUdp({ payload, noChecksum: true });
    assert.deepEqual(crossed(frame, TO6).frame, buildUdp6({ payload, ...NEW6 }));
  }
});

Deno.test("translate gives a UDP checksum that comes out as 0 as 0xffff", () => {
  let seen = 0;
  for (let srcPort = 1; srcPort < 65_536; srcPort++) {
    const [to4, to6] = [{ ...NEW4, srcPort }, { ...NEW6, srcPort }];
    const [expected4, expected6] = [buildUdp(to4), buildUdp6(to6)];
    if (expected4[40] === 0xff && expected4[41] === 0xff) {
      seen++;
      assert.deepEqual(crossed(buildUdp6(), to4).frame, expected4);
    }
    if (expected6[60] !== 0xff || expected6[61] !== 0xff) continue;
    seen++;
    for (const noChecksum of [false, true]) {
      assert.deepEqual(crossed(buildUdp({ noChecksum }), to6).frame, expected6);
    }
  }
  assert.equal(seen, 2);
});

Deno.test("translateTo4 sets DF above 1,260 bytes, and lets routers fragment the rest (RFC 7915 5.1)", () => {
  for (const [lengthBytes, fragment] of [[40, 0], [1259, 0], [1260, 0], [1261, 0x4000]] as const) {
    const payload = new Uint8Array(lengthBytes - 40);
    const { frame } = crossed(buildTcp6({ payload }), TO4);
    const { ip } = readIp(frame, 6);
    assert.deepEqual([frame.length - 14, ip.fragment, ip.id], [lengthBytes, fragment, ID]);
  }
});

Deno.test("translate: what came in fragments leaves in fragments of that length, header for header", () => {
  const long = new Uint8Array(3000);
  const cases: [frame: Uint8Array, to: Tuple, before: number, after: number][] = [
    [buildUdp({ payload: long, fragment: 0x4000 }), TO6, 1472, 1500],
    [buildUdp({ payload: long, fragment: 0x4000 }), TO6, 0, 0],
    [buildUdp({ fragment: 0 }), TO6, 1472, 1500],
    [buildUdp6({ payload: long }), TO4, 1500, 1472],
    [buildUdp6({ payload: long }), TO4, 0, 0],
  ];
  for (const [frame, to, before, after] of cases) {
    const { pdu } = placed(frame);
    pdu.fragmentBytes = before;
    const { out, frame: sent } = crossedPdu(pdu, to);
    assert.equal(out.fragmentBytes, after);
    if (to === TO4) assert.equal(readIp(sent).ip.fragment, before === 0 ? 0x4000 : 0);
  }
});

Deno.test("translateTo6: what may be fragmented leaves in at most 1,280 bytes (RFC 7915 4.1)", () => {
  for (const [lengthBytes, fragment, before, after] of FRAGMENTED) {
    const { pdu } = placed(buildUdp({ payload: new Uint8Array(lengthBytes - 28), fragment }));
    pdu.fragmentBytes = before;
    assert.equal(crossedPdu(pdu, TO6).out.fragmentBytes, after, `${lengthBytes} bytes`);
  }
});

/** Length as a packet of IPv4, flags, and the longest fragment that came and is to leave. */
const FRAGMENTED: readonly [number, number, number, number][] = [
  [1260, 0, 0, 0],
  [1261, 0, 0, 1280],
  [1261, 0x4000, 0, 0],
  [3000, 0, 1500, 1280],
  [3000, 0, 576, 1280],
];

Deno.test("translate: an open checksum holds the new addresses, a segment to be cut its new kind", () => {
  const payload = Uint8Array.from({ length: 4000 }, (_, i) => i * 31);
  const tcpOptions = [1, 1, 8, 10, 0, 0, 0, 1, 0, 0, 0, 2];
  const frames = [
    { frame: buildTcp({ ...L4, tcpOptions, payload }), to: TO6, want: buildTcp6, now: NEW6 },
    {
      frame: buildTcp({ ...L4, tcpOptions, payload, options: [1, 1, 1, 0] }),
      to: TO6,
      want: buildTcp6,
      now: NEW6,
    },
    { frame: buildTcp6({ ...L4, tcpOptions, payload }), to: TO4, want: buildTcp, now: NEW4 },
  ];
  for (const { frame, to, want, now } of frames) {
    const fragment = to === TO4 ? 0x4000 : 0;
    const expected = want({ ...L4, tcpOptions, payload, ...now, fragment } as never);
    for (const [gsoSize, ecn] of [[0, false], [1228, false], [1228, true]] as const) {
      const open = leaveToNic(frame, gsoSize, ecn);
      const wanted = leaveToNic(expected, gsoSize, ecn);
      const result = crossed(open.frame, to, open.vnet);
      assert.equal(refusalOf(result.frame, result.vnet), "");
      assert.deepEqual(readVnet(result.vnet), readVnet(wanted.vnet));
      assert.deepEqual(
        transmit(result.frame, result.vnet),
        transmit(wanted.frame, wanted.vnet),
      );
    }
  }
});

Deno.test("faultAcross: only echoes, TCP and UDP of at most 65,535 bytes have a counterpart", () => {
  const zeroes = (length: number) => new Uint8Array(length);
  const cases: [frame: Uint8Array, fault: string][] = [
    [buildTcp(), "none"],
    [buildUdp(), "none"],
    ...[0, 8].map((type) => [buildIcmp({ type }), "none"] as [Uint8Array, string]),
    ...[5, 9, 13, 14, 15, 17, 30].map((type) =>
      [buildIcmp({ type }), "no-counterpart"] as [Uint8Array, string]
    ),
    [buildIp({ protocol: 47 }, zeroes(20)), "no-counterpart"],
    [buildTcp6(), "none"],
    ...[128, 129].map((type) => [buildIcmp6({ type }), "none"] as [Uint8Array, string]),
    ...[127, 8, 0, 139, 160].map((type) =>
      [buildIcmp6({ type }), "no-counterpart"] as [Uint8Array, string]
    ),
    [buildIp6({ protocol: 59 }, []), "no-counterpart"],
    [buildUdp6({ payload: zeroes(65_507) }), "none"],
    [buildUdp6({ payload: zeroes(65_508) }), "no-counterpart"],
    [buildUdp({ payload: zeroes(65_507) }), "none"],
  ];
  for (const [frame, fault] of cases) {
    const { pdu, reason } = placed(frame);
    assert.equal(reason, 0);
    assert.equal(reasonName(faultAcross(pdu)), fault, `${frame.length} bytes`);
  }
});

Deno.test("mtuAcross and mustStayWhole say what fits in the other family, and what is to be fragmented", () => {
  const of = (frame: Uint8Array, fragmentBytes = 0): [Pdu, DataView] => {
    const { pdu } = placed(frame);
    pdu.fragmentBytes = fragmentBytes;
    return [pdu, ARENA.view];
  };
  const [pdu4] = of(buildTcp());
  const [pdu6] = of(buildTcp6());
  assert.deepEqual([1500, 1280].map((mtu) => mtuAcross(pdu4, mtu)), [1480, 1260]);
  assert.deepEqual([1500, 1260, 576].map((mtu) => mtuAcross(pdu6, mtu)), [1520, 1280, 1280]);
  const whole = ([pdu, view]: [Pdu, DataView]) => mustStayWhole(view, pdu);
  assert.equal(whole(of(buildUdp({ fragment: 0x4000 }))), true);
  assert.equal(whole(of(buildUdp({ fragment: 0 }))), false);
  assert.equal(whole(of(buildUdp6({ payload: new Uint8Array(1280 - 48) }))), false);
  assert.equal(whole(of(buildUdp6({ payload: new Uint8Array(1281 - 48) }))), true);
  assert.equal(whole(of(buildUdp6({ payload: new Uint8Array(3000) }), 1500)), false);
});

const TCP_OPTIONS = [[], [1, 1, 1, 0], [
  1,
  1,
  8,
  10,
  0,
  0,
  0,
  1,
  0,
  0,
  0,
  2,
]];

/** Dice for packets: random ones, often with what is special. */
class Packets {
  readonly #random: SeededRandom;

  constructor(seed: number) {
    this.#random = new SeededRandom(seed);
  }

  below(limit: number): number {
    return below(this.#random, limit);
  }

  word(): number {
    const edges = [0, 1, 0x7fff, 0x8000, 0xfffe, 0xffff];
    return this.below(2) === 0 ? edges[this.below(6)]! : this.below(0x1_0000);
  }

  bytes(most: number): Uint8Array {
    const fill = this.below(3) * 0xff;
    return Uint8Array.from(
      { length: this.below(most + 1) },
      () => fill < 0x100 ? fill : this.below(256),
    );
  }

  tuple(isIpv6: boolean): Tuple {
    const long = () => (this.word() << 16) | this.word();
    const address = () =>
      isIpv6 ? formatAddress6(Int32Array.from({ length: 4 }, long)) : formatAddress(long());
    return {
      src: address(),
      dst: address(),
      srcPort: this.word() || 1,
      dstPort: this.word() || 1,
    };
  }

  /** A packet of the family, and how that of the other one is to look with the tuple `to`. */
  pair(isIpv6: boolean, to: Tuple): [frame: Uint8Array, expected: Uint8Array] {
    const kind = this.below(3);
    const options = new Array<number>(4 * this.below(11)).fill(1);
    const headers = [[], [ROUTER_ALERT]][this.below(2)]!;
    const [tos, id, ttl] = [this.below(256), this.word(), 1 + this.below(255)];
    const noChecksum = this.below(4) === 0;
    const payload = this.bytes(40);
    const fields = {
      payload,
      ...{ seq: this.below(2 ** 32), ack: this.below(2 ** 32), window: this.word() },
      tcpOptions: TCP_OPTIONS[this.below(3)]!,
      flags: ["S", "A", "PA", "FA", "R", "SAEC"][this.below(6)]!,
    };
    const from = this.tuple(isIpv6);
    const [type, type6, port] = ECHOES[this.below(2)]!;
    const before = this.word();
    const { src, dst, srcPort } = to;
    const echoTo = { src, dst };
    const header4 = isIpv6
      ? { tos, ttl: TTL, id: ID, fragment: 0 }
      : { tos, id, ttl, fragment: 0x4000 * this.below(2), options };
    const header6 = isIpv6
      ? { trafficClass: tos, hopLimit: ttl, flowLabel: this.below(2 ** 20), headers }
      : { trafficClass: tos, hopLimit: TTL };
    if (kind === 2) {
      Object.assign(to, { srcPort: 0, dstPort: 0, [port]: srcPort });
      const { src, dst } = from;
      const [tuple4, tuple6] = isIpv6 ? [echoTo, { src, dst }] : [{ src, dst }, echoTo];
      const [id4, id6] = isIpv6 ? [srcPort, before] : [before, srcPort];
      const sequence = this.word();
      const rest: [number, number] = [id4, sequence];
      const rest6 = [...word16(id6), ...word16(sequence)];
      const echo = buildIcmp({ payload, ...header4, ...tuple4, type, rest });
      const echo6 = buildIcmp6({ payload, ...header6, ...tuple6, type: type6, rest: rest6 });
      return isIpv6 ? [echo6, echo] : [echo, echo6];
    }
    const [tuple4, tuple6] = isIpv6 ? [to, from] : [from, to];
    const [build, build6] = kind === 0 ? [buildTcp, buildTcp6] as const : [buildUdp, buildUdp6];
    const packet = build({
      ...fields,
      ...header4,
      ...tuple4,
      noChecksum: noChecksum && !isIpv6,
    });
    const packet6 = build6({ ...fields, ...header6, ...tuple6 });
    return isIpv6 ? [packet6, packet] : [packet, packet6];
  }
}

Deno.test("translate of 100,000 random packets each way gives what is built with the new header", () => {
  const seed = 7915;
  const packets = new Packets(seed);
  for (let round = 0; round < 200_000; round++) {
    const isIpv6 = round % 2 === 1;
    const to = packets.tuple(!isIpv6);
    const [frame, expected] = packets.pair(isIpv6, to);
    assert.deepEqual(crossed(frame, to).frame, expected, `round ${round} of seed ${seed}`);
  }
});

/** Overwrites up to three bytes, mostly of the headers, and makes the checksums right again. */
function mutate(packets: Packets, frame: Uint8Array): void {
  for (let i = packets.below(4); i > 0; i--) {
    const reach = packets.below(3) === 0 ? frame.length : Math.min(frame.length, 80);
    frame[14 + packets.below(reach - 14)] = packets.below(256);
  }
  const isIpv4 = frame[12] === 8;
  const l4 = isIpv4 ? 14 + (frame[14]! & 15) * 4 : 54;
  const protocol = isIpv4 ? frame[23]! : frame[20]!;
  const end = 14 + (isIpv4 ? 0 : 40) + frame[isIpv4 ? 16 : 18]! * 256 + frame[isIpv4 ? 17 : 19]!;
  const at = { 1: 2, 6: 16, 17: 6, 58: 2 }[protocol];
  if (at !== undefined && l4 + at + 2 <= Math.min(end, frame.length)) {
    frame.fill(0, l4 + at, l4 + at + 2);
    const segment = frame.subarray(l4, end);
    const addresses = frame.subarray(isIpv4 ? 26 : 22, isIpv4 ? 34 : 54);
    const pseudo = protocol === 1
      ? []
      : [...addresses, 0, protocol, 0, 0, ...word16(segment.length)];
    frame.set(word16(naiveChecksum([...pseudo, ...segment]) || 0xffff), l4 + at);
  }
  if (!isIpv4) return;
  frame.fill(0, 24, 26);
  frame.set(word16(naiveChecksum(frame.subarray(14, l4))), 24);
}

/** Reads it by what the tests know of headers: throws where a length or a checksum is wrong. */
function readAcross(frame: Uint8Array, out: Readonly<Pdu>): void {
  if (frame[12] === 8) {
    const { ip, l4 } = readIp(frame);
    assert.equal(ip.options.length, 0);
    assert.equal(l4.length + 20, frame.length - 14);
    if (ip.protocol === 6) readTcp(frame);
    else if (ip.protocol === 1) readIcmp(frame);
    else if (l4[4]! * 256 + l4[5]! === l4.length) readUdp(frame);
  } else {
    const { ip, l4 } = readIp6(frame);
    assert.equal(ip.headers.length + ip.flowLabel, 0);
    assert.equal(l4.length + 40, frame.length - 14);
    if (ip.protocol === 6) readTcp6(frame);
    else if (ip.protocol === 58) readIcmp6(frame);
    else {
      const datagram = l4.subarray(0, l4[4]! * 256 + l4[5]!);
      const pseudo = pseudoHeader6(ip.src, ip.dst, 17, datagram.length);
      assert.equal(naiveChecksum([...pseudo, ...datagram]), 0);
      assert.notEqual(l4[6]! * 256 + l4[7]!, 0);
    }
  }
  assert.equal(out.totalLength, frame.length - 14);
  assert.equal(out.frameBytes, frame.length);
}

Deno.test("translate of 100,000 mutated packets each way: what decodes crosses, lengths and checksums right", () => {
  const seed = 6146;
  const packets = new Packets(seed);
  const accepted = [0, 0];
  for (let round = 0; round < 200_000; round++) {
    const family = round % 2;
    const to = packets.tuple(family === 0);
    const [frame] = packets.pair(family === 1, to);
    mutate(packets, frame);
    const { pdu, reason } = placed(frame);
    if (reason !== 0 || pdu.fragment !== 0 || faultAcross(pdu) !== 0) continue;
    accepted[family]!++;
    const result = crossedPdu(pdu, to);
    try {
      readAcross(result.frame, result.out);
    } catch (error) {
      throw new Error(`round ${round} of seed ${seed}: ${error}`);
    }
  }
  assert.ok(accepted.every((count) => count > 20_000), accepted.join());
});

tsharkTest("tshark finds nothing wrong in 2,000 packets that crossed", async () => {
  const packets = new Packets(1);
  const frames = Array.from({ length: 2000 }, (_, i) => {
    const to = packets.tuple(i % 2 === 0);
    to.src = i % 2 === 0 ? TO6.src : TO4.src;
    to.dst = i % 2 === 0 ? TO6.dst : TO4.dst;
    const [frame] = packets.pair(i % 2 === 1, to);
    return crossed(frame, to).frame;
  });
  const complaints = await judge(frames);
  assert.deepEqual(complaints, []);
});
