import assert from "node:assert/strict";
import { Arena, VNET_BYTES } from "../../src/core/arena.ts";
import { SeededRandom } from "../../src/core/random.ts";
import { Reason, type ReasonName, reasonName } from "../../src/core/reason.ts";
import { AddressDigest } from "../../src/wire/address_digest.ts";
import { formatAddress6 } from "../../src/wire/address6.ts";
import {
  chainFaultOf,
  decodeIpv6,
  decodeTransport6,
  hasExtensionHeaders,
} from "../../src/wire/decode6.ts";
import { Chain, ChainFault, SILENT } from "../../src/wire/extension_headers.ts";
import { Pdu } from "../../src/wire/pdu.ts";
import { bytesOf, naiveChecksum } from "../support/frames.ts";
import {
  address6Bytes,
  address6Words,
  buildIcmp6,
  buildIp6,
  buildTcp6,
  buildUdp6,
  pseudoHeader6,
  ROUTER_ALERT,
} from "../support/frames6.ts";
import { refusalOf, vnetBytes } from "../support/nic.ts";
import { judge, readFields, tsharkTest } from "../support/tshark.ts";
import { decodeAll, FRAME_OFFSET, place } from "./place.ts";

type Header = readonly [number, readonly number[]];
type FaultName = keyof typeof ChainFault;

const SRC = "2001:db8::fe";
const DST = "2001:db8::64";
const IP = 14;
const L4 = 54;
const DATA = bytesOf("hello");
const NOP4 = [1, 1, 1, 1];
const PADDING: Header = [0, [0, 0, 1, 4, 0, 0, 0, 0]];
const DESTINATION: Header = [60, [0, 0, 1, 4, 0, 0, 0, 0]];
const ROUTED: Header = [43, [0, 0, 0, 0, 0, 0, 0, 0]];
const ATOMIC: Header = [44, [0, 0, 0, 0, 1, 2, 3, 4]];
const ALL_HEADERS = [PADDING, DESTINATION, ROUTED, ATOMIC, DESTINATION];

const VALID: Record<string, Uint8Array<ArrayBuffer>> = {
  "TCP": buildTcp6({ flags: "S", payload: DATA, tcpOptions: [2, 4, 5, 180] }),
  "TCP behind headers": buildTcp6({ headers: ALL_HEADERS, payload: DATA }),
  "UDP": buildUdp6({ payload: DATA }),
  "UDP behind headers": buildUdp6({ headers: [PADDING, ROUTED], payload: DATA }),
  "echo request": buildIcmp6({ payload: DATA }),
  "neighbor solicitation": buildIcmp6({
    type: 135,
    hopLimit: 255,
    rest: [0, 0, 0, 0],
    payload: address6Bytes(DST),
  }),
  "ICMPv6 behind a router alert": buildIcmp6({ headers: [ROUTER_ALERT], payload: DATA }),
  "no next header": buildIp6({ protocol: 59 }, DATA),
};

const digest = new AddressDigest(new SeededRandom(60));

/** Fills the frame's fields as `decodeFrame` does, and decodes the rest. */
function decode(
  arena: Arena,
  lengthBytes: number,
  pdu: Pdu,
  chain = new Chain(),
  offset = FRAME_OFFSET,
): number {
  pdu.frame = offset;
  pdu.frameBytes = lengthBytes;
  pdu.ip = offset + IP;
  pdu.etherType = 0x86dd;
  const result = decodeIpv6(arena.view, pdu, digest, chain);
  return result !== 0 || pdu.fragment !== 0 ? result : decodeTransport6(arena.view, pdu);
}

function decoded(frame: Uint8Array): { result: number; arena: Arena; pdu: Pdu; chain: Chain } {
  const arena = new Arena();
  const chain = new Chain();
  // What an earlier packet has left must not matter.
  const pdu = Object.assign(new Pdu(), { srcPort: 7, dstPort: 7, fragment: 1, fragmentBytes: 7 });
  pdu.addresses.fill(7);
  place(arena, frame);
  return { result: decode(arena, frame.length, pdu, chain), arena, pdu, chain };
}

function nameOf(result: number): ReasonName | FaultName {
  const fault = chainFaultOf(result);
  if (fault === 0) return reasonName(result);
  return (Object.keys(ChainFault) as FaultName[]).find((name) => ChainFault[name] === fault)!;
}

Deno.test("decode6 reads a TCP segment", () => {
  const frame = buildTcp6({
    src: "fe80::1:2:3:4",
    dst: "2001:db8:ffff:ffff::ffff",
    flags: "FA",
    seq: 0xffff_ffff,
    ack: 0x8000_0001,
    window: 0xfffe,
    hopLimit: 3,
    tcpOptions: NOP4,
    payload: DATA,
  });
  const { pdu, result } = decoded(frame);
  assert.equal(result, 0);
  const src = address6Words("fe80::1:2:3:4");
  const dst = address6Words("2001:db8:ffff:ffff::ffff");
  assert.deepEqual([...pdu.addresses], [...src, ...dst]);
  assert.partialDeepStrictEqual({ ...pdu }, {
    l4: FRAME_OFFSET + L4,
    payload: FRAME_OFFSET + L4 + 24,
    end: FRAME_OFFSET + frame.length,
    src: digest.ofWords(src, 0),
    dst: digest.ofWords(dst, 0),
    protocol: 6 | 0x8000,
    ttl: 3,
    totalLength: frame.length - IP,
    fragment: 0,
    fragmentBytes: 0,
    srcPort: 40_000,
    dstPort: 2000,
    tcpFlags: 0x11,
    seq: -1,
    ack: 0x8000_0001 | 0,
    window: 0xfffe,
    partialChecksum: 0,
  });
});

Deno.test("decode6 reads a UDP datagram", () => {
  const { pdu, result } = decoded(buildUdp6({ srcPort: 0, dstPort: 65_535, payload: DATA }));
  assert.equal(result, 0);
  assert.partialDeepStrictEqual({ ...pdu }, {
    protocol: 17 | 0x8000,
    srcPort: 0,
    dstPort: 65_535,
    payload: FRAME_OFFSET + L4 + 8,
    end: FRAME_OFFSET + L4 + 13,
  });
});

Deno.test("decode6 reads ICMPv6, an echo's identifier as the asker's port", () => {
  const cases: [number, number, number][] = [
    [128, 0x4a49, 0],
    [129, 0, 0x4a49],
    [1, 0, 0],
    [135, 0, 0],
    [8, 0, 0],
  ];
  for (const [type, srcPort, dstPort] of cases) {
    const { pdu, result } = decoded(buildIcmp6({ type, code: 2 }));
    assert.equal(result, 0);
    assert.equal(pdu.payload, pdu.l4);
    const expected = { protocol: 58 | 0x8000, icmpType: type, icmpCode: 2, srcPort, dstPort };
    assert.partialDeepStrictEqual({ ...pdu }, expected);
  }
});

Deno.test("decode6 reads what follows extension headers, and tells that there are some", () => {
  for (const headers of [[], [PADDING], [ROUTER_ALERT, DESTINATION], ALL_HEADERS]) {
    const cases: [number, Uint8Array][] = [
      [6, buildTcp6({ headers, payload: DATA })],
      [17, buildUdp6({ headers, payload: DATA })],
      [58, buildIcmp6({ headers, payload: DATA })],
      [59, buildIp6({ headers, protocol: 59 }, DATA)],
    ];
    for (const [protocol, frame] of cases) {
      const { pdu, chain, result } = decoded(frame);
      assert.equal(result, 0);
      assert.equal(hasExtensionHeaders(pdu), headers.length > 0);
      const l4 = FRAME_OFFSET + L4 + 8 * headers.length;
      assert.deepEqual([pdu.l4, pdu.protocol, pdu.fragment], [l4, protocol | 0x8000, 0]);
      if (headers.length > 0) assert.deepEqual([chain.l4, chain.protocol], [l4, protocol]);
    }
  }
});

Deno.test("decodeIpv6 marks fragments, but no atomic ones", () => {
  // Offset and flags, and what the first 8 bytes of a datagram are, or of its middle.
  const cases: [number, number][] = [[0, 0], [1, 1], [8, 1], [9, 1], [6, 0]];
  for (const [word, fragment] of cases) {
    const header: Header = [44, [0, 0, word >> 8, word & 255, 1, 2, 3, 4]];
    const arena = new Arena();
    const pdu = Object.assign(new Pdu(), { fragment: 7, fragmentBytes: 7 });
    const frame = buildUdp6({ headers: [header], payload: new Uint8Array(8) });
    place(arena, frame);
    assert.equal(decode(arena, frame.length, pdu), 0);
    assert.deepEqual([pdu.fragment, pdu.fragmentBytes], [fragment, 0], `word ${word}`);
    assert.equal(pdu.l4, FRAME_OFFSET + L4 + 8);
  }
});

interface Refused {
  readonly reason: ReasonName | FaultName;
  readonly name: string;
  readonly frame: Uint8Array;
  /** Code and pointer of the ICMPv6 error about a fault of the chain. */
  readonly told?: readonly [number, number];
}

const drop = (reason: ReasonName, name: string, frame: Uint8Array): Refused => ({
  reason,
  name,
  frame,
});

const DROPS: readonly Refused[] = [
  drop("ip-truncated", "no byte of IP", VALID.TCP!.subarray(0, IP)),
  drop("ip-truncated", "39 bytes of IP", VALID.TCP!.subarray(0, L4 - 1)),
  drop("ip-truncated", "a payload one too long", edit(VALID.TCP!, [IP + 5, 30])),
  drop("ip-truncated", "a payload of 65,535 bytes", edit(VALID.TCP!, [IP + 4, 255], [IP + 5, 255])),
  drop("ip-version", "version 4", edit(VALID.TCP!, [IP, 0x45])),
  drop("ip-version", "version 7", edit(VALID.TCP!, [IP, 0x70])),
  drop("ip-version", "version 14", edit(VALID.TCP!, [IP, 0xe0])),
  drop("icmp-truncated", "no ICMPv6 at all", buildIp6({ protocol: 58 }, [])),
  drop("icmp-truncated", "7 bytes", buildIp6({ protocol: 58 }, [128, 0, 0, 0, 0, 0, 0])),
  drop("icmp-checksum", "a flipped bit in the data", edit(buildIcmp6(), [L4 + 20, 1])),
  drop("icmp-checksum", "checksum 0", edit(buildIcmp6(), [L4 + 2, 0], [L4 + 3, 0])),
  drop("icmp-checksum", "a sum without a pseudo-header", bareIcmp()),
  drop("tcp-truncated", "no TCP at all", buildIp6({ protocol: 6 }, [])),
  drop("tcp-truncated", "19 bytes", buildIp6({ protocol: 6 }, new Uint8Array(19))),
  drop("tcp-header-length", "data offset 4", edit(VALID.TCP!, [L4 + 12, 0x40])),
  drop("tcp-header-length", "an offset beyond the segment", edit(VALID.TCP!, [L4 + 12, 0xf0])),
  drop("tcp-flags", "none", buildTcp6({ flags: "" })),
  drop("tcp-flags", "SYN FIN", buildTcp6({ flags: "FS" })),
  drop("tcp-checksum", "a flipped bit in the data", edit(VALID.TCP!, [L4 + 25, 0])),
  drop("tcp-checksum", "checksum 0", edit(VALID.TCP!, [L4 + 16, 0], [L4 + 17, 0])),
  drop("tcp-checksum", "another source", edit(VALID.TCP!, [IP + 8, 0x21])),
  drop("udp-truncated", "no UDP at all", buildIp6({ protocol: 17 }, [])),
  drop("udp-truncated", "7 bytes", buildIp6({ protocol: 17 }, new Uint8Array(7))),
  drop("udp-truncated", "length 7", edit(VALID.UDP!, [L4 + 5, 7])),
  drop("udp-truncated", "length one beyond the packet", edit(VALID.UDP!, [L4 + 5, 14])),
  drop("udp-truncated", "length 0, a jumbogram's", edit(VALID.UDP!, [L4 + 5, 0])),
  drop("udp-checksum", "a flipped bit in the data", edit(VALID.UDP!, [L4 + 8, 0])),
  drop("udp-checksum", "none", edit(VALID.UDP!, [L4 + 6, 0], [L4 + 7, 0])),
  drop("udp-checksum", "none, with a sum that would be right", zeroSum()),
  drop("port-zero", "TCP source", buildTcp6({ srcPort: 0 })),
  drop("port-zero", "TCP destination", buildTcp6({ dstPort: 0 })),
  drop("port-zero", "UDP destination", buildUdp6({ dstPort: 0 })),
];

/** One of each: `extension_headers_test.ts` has many. */
const FAULTS: readonly Refused[] = [
  { reason: "truncated", name: "no header", frame: buildIp6({ protocol: 60 }, []), told: [0, 4] },
  {
    reason: "hop-by-hop-not-first",
    name: "behind others",
    frame: buildTcp6({ headers: [DESTINATION, PADDING] }),
    told: [1, 40],
  },
  {
    reason: "routing-header",
    name: "type 0",
    frame: buildTcp6({ headers: [[43, [0, 0, 0, 1, 0, 0, 0, 0]]] }),
    told: [0, 42],
  },
  {
    reason: "unknown-option",
    name: "a jumbogram's",
    frame: buildTcp6({ headers: [[0, [0, 0, 0xc2, 4, 0, 1, 0, 0]]] }),
    told: [2, 42],
  },
  {
    reason: "option-length",
    name: "beyond its header",
    frame: buildTcp6({ headers: [[0, [0, 0, 1, 5, 0, 0, 0, 0]]] }),
    told: [0, 42],
  },
  {
    reason: "unknown-next-header",
    name: "IPv4's ICMP",
    frame: buildIp6({ protocol: 1 }, DATA),
    told: [1, 6],
  },
  {
    reason: "unknown-next-header",
    name: "a protocol of IPv4 that differs from TCP in one bit",
    frame: buildIp6({ protocol: 0x86 }, VALID.TCP!.subarray(L4)),
    told: [1, 6],
  },
  {
    reason: "too-many-headers",
    name: "nine",
    frame: buildTcp6({ headers: new Array<Header>(9).fill(DESTINATION) }),
    told: [8, 104],
  },
  {
    reason: "chain-too-long",
    name: "264 bytes",
    frame: buildTcp6({ headers: [[60, [0, 32, ...new Array<number>(262).fill(0)]]] }),
    told: [7, 296],
  },
  {
    reason: "incomplete-chain",
    name: "half of TCP",
    frame: buildIp6({ protocol: 6, headers: [[44, [0, 0, 0, 1, 1, 2, 3, 4]]] }, NOP4.concat(NOP4)),
    told: [3, 0],
  },
  {
    reason: "fragment-twice",
    name: "two fragment headers",
    frame: buildTcp6({ headers: [ATOMIC, ATOMIC] }),
    told: [0, 40],
  },
  {
    reason: "fragment-length",
    name: "5 bytes more",
    frame: buildUdp6({ headers: [[44, [0, 0, 0, 1, 1, 2, 3, 4]]], payload: DATA }),
    told: [0, 4],
  },
  {
    reason: "fragment-end",
    name: "beyond 64 KiB",
    frame: buildUdp6({ headers: [[44, [0, 0, 255, 248, 1, 2, 3, 4]]] }),
    told: [0, 42],
  },
];

for (const { reason, name, frame } of DROPS) {
  Deno.test(`decode6 gives ${reason} for ${name}`, () => {
    const { result } = decoded(frame);
    assert.deepEqual([reasonName(result), chainFaultOf(result)], [reason, 0]);
  });
}

for (const { reason, name, frame, told } of FAULTS) {
  Deno.test(`decode6 gives the chain's ${reason} for ${name}, and what to tell`, () => {
    const { result, chain, pdu } = decoded(frame);
    assert.equal(nameOf(result), reason);
    assert.ok(result < 0 && Object.values(Reason).every((reason) => reason !== result));
    assert.deepEqual([chain.code, chain.pointer], told);
    // Enough to answer by.
    assert.deepEqual([...pdu.addresses], [...address6Words(SRC), ...address6Words(DST)]);
    assert.equal(pdu.src, digest.ofWords(address6Words(SRC), 0));
    assert.deepEqual([pdu.end, pdu.ttl], [FRAME_OFFSET + frame.length, 64]);
  });
}

Deno.test("decode6's tables have every reason that it can give", () => {
  const faults = new Set(FAULTS.map(({ reason }) => reason));
  assert.deepEqual(faults, new Set(Object.keys(ChainFault)));
  const met = new Set(DROPS.map(({ reason }) => reason));
  const names = Object.keys(Reason) as ReasonName[];
  const given = names.slice(names.indexOf("icmp-truncated"), names.indexOf("icmp-quote"));
  assert.deepEqual([...met], ["ip-truncated", "ip-version", ...given]);
  assert.equal(chainFaultOf(0), 0);
});

Deno.test("decode6 tells nothing of a fault to a group, and answers reasons as silently", () => {
  const { chain, result } = decoded(buildIp6({ protocol: 1, dst: "ff02::1" }, DATA));
  assert.equal(nameOf(result), "unknown-next-header");
  assert.equal(chain.code, SILENT);
});

Deno.test("decode6 notices a flipped bit in every byte that a checksum covers", () => {
  for (const [name, frame] of Object.entries(VALID)) {
    if (name === "no next header") continue;
    const l4 = decoded(frame).pdu.l4 - FRAME_OFFSET;
    const covered = Array.from({ length: frame.length }, (_, at) => at)
      .filter((at) => (at >= IP + 8 && at < L4) || at >= l4);
    for (const at of covered) {
      const changed = edit(frame, [at, frame[at]! ^ 0x10]);
      assert.notEqual(decoded(changed).result, 0, `${name}, byte ${at}`);
    }
  }
});

Deno.test("decode6 drops every frame that is cut short, whatever stands behind it", () => {
  const arena = new Arena();
  for (const [name, frame] of Object.entries(VALID)) {
    for (let lengthBytes = IP; lengthBytes < frame.length; lengthBytes++) {
      for (const behind of [0x00, 0xff]) {
        arena.bytes.fill(behind, 0, 4096);
        place(arena, frame.subarray(0, lengthBytes));
        const result = decode(arena, lengthBytes, new Pdu());
        assert.equal(nameOf(result), "ip-truncated", `${name} ${lengthBytes}`);
      }
      const atEnd = arena.buffer.byteLength - lengthBytes;
      place(arena, frame.subarray(0, lengthBytes), atEnd);
      const result = decode(arena, lengthBytes, new Pdu(), new Chain(), atEnd);
      assert.equal(nameOf(result), "ip-truncated", `${name} ${lengthBytes}`);
    }
  }
});

Deno.test("decode6 of a packet whose length cuts what it has short never reads behind it", () => {
  const arena = new Arena();
  for (const [name, frame] of Object.entries(VALID)) {
    for (let kept = 0; kept < frame.length - L4; kept++) {
      const cut = edit(frame.subarray(0, L4 + kept), [IP + 5, kept]);
      const results = [0x00, 0xff].map((behind) => {
        arena.bytes.fill(behind, 0, 4096);
        place(arena, cut);
        const pdu = new Pdu();
        return [nameOf(decode(arena, cut.length + 20, pdu)), { ...pdu }];
      });
      assert.deepEqual(results[0], results[1], `${name} ${kept}`);
      if (name !== "no next header") assert.notEqual(results[0]![0], "none", `${name} ${kept}`);
      const atEnd = arena.buffer.byteLength - cut.length;
      place(arena, cut, atEnd);
      const result = decode(arena, cut.length, new Pdu(), new Chain(), atEnd);
      assert.equal(nameOf(result), results[0]![0], `${name} ${kept}`);
    }
  }
});

Deno.test("decode6 ignores padding behind the payload length", () => {
  for (const [name, frame] of Object.entries(VALID)) {
    const arena = new Arena();
    const [plain, padded] = [new Pdu(), new Pdu()];
    arena.bytes.fill(0xa5);
    place(arena, frame);
    assert.equal(decode(arena, frame.length, plain), 0, name);
    assert.equal(decode(arena, frame.length + 100, padded), 0, name);
    assert.deepEqual({ ...padded, frameBytes: 0 }, { ...plain, frameBytes: 0 });
  }
});

Deno.test("decode6 takes UDP whose length is shorter than the packet, its checksum by the former", () => {
  const frame = edit(Uint8Array.from([...VALID.UDP!, 0xde, 0xad]), [IP + 5, 15]);
  assert.equal(decoded(frame).result, 0);
  assert.equal(nameOf(decoded(edit(frame, [L4 + 8, 0])).result), "udp-checksum");
});

Deno.test("decode6 verifies no checksum that is still partial, and notes it", () => {
  for (const name of ["TCP", "TCP behind headers", "UDP", "UDP behind headers"]) {
    const whole = VALID[name]!;
    const protocol = name.startsWith("TCP") ? 6 : 17;
    const { pdu: { l4 } } = decoded(whole);
    const csumStart = l4 - FRAME_OFFSET;
    const csumOffset = protocol === 6 ? 16 : 6;
    const sum = 0xffff -
      naiveChecksum(pseudoHeader6(SRC, DST, protocol, whole.length - csumStart));
    const at = csumStart + csumOffset;
    const frame = edit(whole, [at, sum >> 8], [at + 1, sum & 255]);
    const arena = new Arena();
    const pdu = new Pdu();
    place(arena, frame);
    assert.match(nameOf(decode(arena, frame.length, pdu)), /^(tcp|udp)-checksum$/);
    arena.bytes.set(vnetBytes({ flags: 1, csumStart, csumOffset }));
    assert.equal(decode(arena, frame.length, pdu), 0, name);
    assert.equal(pdu.partialChecksum, 1);
    arena.bytes[0] = 2; // VIRTIO_NET_HDR_F_DATA_VALID is no promise that the sum is there
    assert.match(nameOf(decode(arena, frame.length, pdu)), /^(tcp|udp)-checksum$/);
    assert.equal(pdu.partialChecksum, 0);
    // A sum that begins before layer 4.
    arena.bytes.set(vnetBytes({ flags: 1, csumStart: csumStart - 1, csumOffset }));
    assert.equal(nameOf(decode(arena, frame.length, pdu)), "vnet-header");
  }
});

Deno.test("decode6 completes a partial checksum of ICMPv6, as an interface does", () => {
  const whole = buildIcmp6({ payload: DATA });
  const sum = 0xffff - naiveChecksum(pseudoHeader6(SRC, DST, 58, whole.length - L4));
  const frame = edit(whole, [L4 + 2, sum >> 8], [L4 + 3, sum & 255]);
  const arena = new Arena();
  const pdu = new Pdu();
  place(arena, frame);
  arena.bytes.set(vnetBytes({ flags: 1, csumStart: L4, csumOffset: 2 }));
  assert.equal(decode(arena, frame.length, pdu), 0);
  assert.equal(pdu.partialChecksum, 0);
  assert.deepEqual(arena.bytes.slice(FRAME_OFFSET, pdu.end), whole);
});

Deno.test("decode6 takes segments that the interface cuts of its own family only", () => {
  const payload = new Uint8Array(4000);
  const segments = { flags: 1, headerLength: L4 + 20, gsoSize: 1440 };
  const cases: [Uint8Array, number, number, string][] = [
    [buildTcp6({ payload }), 4, 16, "none"],
    [buildTcp6({ payload }), 0x84, 16, "none"],
    [buildTcp6({ payload }), 1, 16, "vnet-header"],
    [buildTcp6({ payload }), 5, 16, "vnet-header"],
    [buildUdp6({ payload }), 4, 6, "vnet-header"],
    [buildIcmp6({ payload }), 4, 2, "vnet-header"],
  ];
  for (const [frame, gsoType, csumOffset, expected] of cases) {
    const arena = new Arena();
    place(arena, frame);
    arena.bytes.set(vnetBytes({ ...segments, gsoType, csumStart: L4, csumOffset }));
    assert.equal(nameOf(decode(arena, frame.length, new Pdu())), expected, `type ${gsoType}`);
  }
});

Deno.test("decode6 accepts 20,000 random vnet headers only if the kernel takes what is left", () => {
  const random = new SeededRandom(0x7e76);
  const arena = new Arena();
  const pick = (...values: number[]): number => values[random.uint32() % values.length]!;
  const frames = [buildTcp6, buildUdp6, buildIcmp6].map((build) =>
    build({ payload: new Uint8Array(4000) })
  );
  let accepted = 0;
  let cut = 0;
  for (let round = 0; round < 20_000; round++) {
    const frame = frames[random.uint32() % 3]!;
    const vnet = vnetBytes({
      flags: pick(0, 1, 1, 1, 2, 3, 255),
      gsoType: pick(0, 0, 4, 4, 4, 0x84, 1, 3, 5, random.uint32() & 255),
      headerLength: pick(0, 74, 74, 9000, random.uint32() & 0xffff),
      gsoSize: pick(0, 1, 8, 1440, 1440, 65_535, random.uint32() & 0xffff),
      csumStart: pick(0, 14, L4, L4, L4, L4 + 1, random.uint32() & 0xffff),
      csumOffset: pick(0, 2, 6, 16, 16, 16, random.uint32() & 0xffff),
    });
    const pdu = new Pdu();
    place(arena, frame);
    arena.bytes.set(vnet);
    if (decode(arena, frame.length, pdu) !== 0) continue;
    accepted++;
    const left = arena.bytes.slice(0, VNET_BYTES);
    const decoded = arena.bytes.slice(FRAME_OFFSET, pdu.end);
    assert.equal(refusalOf(decoded, left), "", `${vnet.toHex()} left ${left.toHex()}`);
    assert.equal(pdu.partialChecksum, left[0]! & 1);
    if (left[1] !== 0) cut++;
  }
  assert.ok(accepted > 1000 && cut > 100, `${accepted} accepted, ${cut} to be cut`);
});

Deno.test("decodeFrame drops IPv6 as before: nothing that runs takes it", () => {
  for (const frame of Object.values(VALID)) {
    const arena = new Arena();
    place(arena, frame);
    const reason = decodeAll(arena, frame.length, new Pdu());
    assert.equal(reasonName(reason), "unknown-ethertype");
  }
});

const FRAMES = 100_000;
const SEEDS = [
  ...Object.values(VALID),
  ...FAULTS.map(({ frame }) => frame),
  buildTcp6({ dstPort: 0 }),
  buildUdp6({ dstPort: 0 }),
];

/** A frame with a few bytes changed, or cut short, whose checksum is mostly made right again. */
function mutated(random: SeededRandom): Uint8Array {
  const frame = Uint8Array.from(SEEDS[random.uint32() % SEEDS.length]!);
  for (let changes = random.uint32() % 4; changes > 0; changes--) {
    const at = IP + random.uint32() % (frame.length - IP);
    const kinds = [random.uint32(), 0, 1, 255, frame[at]! ^ (1 << (random.uint32() & 7))];
    frame[at] = kinds[random.uint32() % kinds.length]!;
  }
  if (random.uint32() % 4 !== 0) repair(frame);
  return frame.subarray(0, frame.length - (random.uint32() % 8 === 0 ? random.uint32() % 20 : 0));
}

/** Makes the checksum right of what stands behind headers of 8 bytes, if they lead to any. */
function repair(frame: Uint8Array): void {
  let protocol = frame[IP + 6]!;
  let l4 = L4;
  while ([0, 43, 44, 60].includes(protocol) && l4 + 8 <= frame.length) {
    protocol = frame[l4]!;
    l4 += 8;
  }
  const field = l4 + new Map([[6, 16], [17, 6], [58, 2]]).get(protocol)!;
  const message = frame.subarray(l4, IP + 40 + frame[IP + 4]! * 256 + frame[IP + 5]!);
  if (!(field + 2 <= l4 + message.length)) return;
  const length = [0, 0, message.length >> 8, message.length & 255, 0, 0, 0, protocol];
  frame.fill(0, field, field + 2);
  const sum = naiveChecksum([...frame.subarray(IP + 8, L4), ...length, ...message]) || 0xffff;
  frame[field] = sum >> 8;
  frame[field + 1] = sum & 255;
}

Deno.test(`decode6 takes ${FRAMES} mutated frames at the buffer's very end`, () => {
  const random = new SeededRandom(0x5eed6);
  const arena = new Arena();
  const met = new Map<string, number>();
  const chain = new Chain();
  for (let round = 0; round < FRAMES; round++) {
    const frame = mutated(random);
    const at = arena.buffer.byteLength - frame.length;
    place(arena, frame, at);
    if (random.uint32() % 8 === 0) {
      const csumStart = [L4, L4 + 8, random.uint32() % 100][random.uint32() % 3]!;
      const csumOffset = [16, 6, 2, random.uint32() % 30][random.uint32() % 4]!;
      const gsoType = random.uint32() % 2 * 4;
      const vnet = { flags: 1, gsoType, gsoSize: 1440, csumStart, csumOffset };
      arena.bytes.set(vnetBytes(vnet), at - FRAME_OFFSET);
    }
    const pdu = new Pdu();
    const result = decode(arena, frame.length, pdu, chain, at);
    const name = nameOf(result);
    met.set(name, (met.get(name) ?? 0) + 1);
    if (chainFaultOf(result) !== 0) {
      assert.ok(chain.code === SILENT || chain.pointer <= pdu.end - pdu.ip, `round ${round}`);
    }
    if (result !== 0) continue;
    const payload = pdu.fragment === 0 ? pdu.payload : pdu.l4;
    const within = pdu.ip + 40 <= pdu.l4 && pdu.l4 <= payload && payload <= pdu.end;
    assert.ok(within && pdu.end <= at + frame.length, `round ${round}`);
  }
  const every = [...DROPS, ...FAULTS].map(({ reason }) => reason);
  const few = new Set([...every, "none"].filter((name) => (met.get(name) ?? 0) < 20));
  assert.deepEqual(few, new Set());
  assert.ok(met.get("none")! > FRAMES / 10, `${met.get("none")} accepted`);
});

const FIELDS = [
  "ipv6.src",
  "ipv6.dst",
  "ipv6.hlim",
  "tcp.srcport",
  "tcp.dstport",
  "tcp.flags",
  "tcp.window_size_value",
  "udp.srcport",
  "udp.dstport",
  "icmpv6.type",
  "icmpv6.code",
];

/** The same fields as the Pdu has them. */
function fieldsOf(pdu: Pdu): string[] {
  const of = (protocol: number, ...values: number[]) =>
    pdu.protocol === (protocol | 0x8000) ? values.map(String) : values.map(() => "");
  return [
    formatAddress6(pdu.addresses, 0),
    formatAddress6(pdu.addresses, 4),
    String(pdu.ttl),
    ...of(6, pdu.srcPort, pdu.dstPort, pdu.tcpFlags, pdu.window),
    ...of(17, pdu.srcPort, pdu.dstPort),
    ...of(58, pdu.icmpType, pdu.icmpCode),
  ];
}

tsharkTest("tshark finds nothing wrong with what decode6 accepts, and reads the same", async () => {
  const random = new SeededRandom(0x5ba4);
  const arena = new Arena();
  const frames: Uint8Array[] = [];
  const expected: string[][] = [];
  for (let i = 0; frames.length < 2000; i++) {
    const frame = i < SEEDS.length ? SEEDS[i]! : mutated(random);
    place(arena, frame);
    const pdu = new Pdu();
    const result = decode(arena, frame.length, pdu);
    if (result !== 0 || pdu.fragment !== 0) continue;
    frames.push(frame);
    expected.push(fieldsOf(pdu));
  }
  // Of what is mutated, which may be an odd packet by right, the checksums are judged.
  const valid = Object.keys(VALID).length;
  const faults = (await judge(frames)).flatMap(({ index, complaints }) =>
    complaints
      .filter((complaint) => index < valid || complaint.endsWith(" checksum"))
      .map((complaint) => `${complaint}: ${frames[index]!.toHex()}`)
  );
  assert.deepEqual(faults, []);
  const read = await readFields(frames, [...FIELDS, "ipv6.routing.type"]);
  // An ICMPv6 error quotes another packet, whose fields come second.
  const own = read.map((values) => values.map((value) => value.split("|")[0]!));
  let whole = 0;
  own.forEach((values, i) => {
    const routingType = values.pop()!;
    values[5] = values[5] === "" ? "" : String(Number(values[5]) & 0xff);
    // Behind a routing header whose type does not go with its length tshark reads no more, though
    // RFC 8200 §4.4 says to ignore what has no stations left.
    const known = routingType === "" || routingType === "0" ? FIELDS.length : 3;
    if (known === FIELDS.length) whole++;
    const frame = `frame ${i}: ${frames[i]!.toHex()}`;
    assert.deepEqual(values.slice(0, known), expected[i]!.slice(0, known), frame);
  });
  assert.ok(whole > 0.95 * frames.length, `${whole} read to their end`);
});

/** A copy with the bytes `[at, value]` changed. */
function edit(frame: Uint8Array, ...changes: [number, number][]): Uint8Array<ArrayBuffer> {
  const copy = Uint8Array.from(frame);
  for (const [at, value] of changes) copy[at] = value;
  return copy;
}

/** An echo request with IPv4's checksum. */
function bareIcmp(): Uint8Array {
  const frame = edit(buildIcmp6(), [L4 + 2, 0], [L4 + 3, 0]);
  const sum = naiveChecksum(frame.subarray(L4));
  return edit(frame, [L4 + 2, sum >> 8], [L4 + 3, sum & 255]);
}

/** A datagram that sums up to ffff with a checksum field of 0: its payload makes up for it. */
function zeroSum(): Uint8Array {
  const frame = edit(buildUdp6({ payload: [0, 0] }), [L4 + 6, 0], [L4 + 7, 0]);
  const sum = naiveChecksum([...pseudoHeader6(SRC, DST, 17, 10), ...frame.subarray(L4)]);
  return edit(frame, [L4 + 8, sum >> 8], [L4 + 9, sum & 255]);
}

Deno.test("decodeIpv6 takes digests that were computed before", () => {
  const arena = new Arena();
  const frame = buildTcp6({});
  place(arena, frame);
  const pdu = Object.assign(new Pdu(), { ip: FRAME_OFFSET + IP, frameBytes: frame.length });
  const ahead = Int32Array.of(1, 2, 0x7fff_ffff, -1);
  assert.equal(decodeIpv6(arena.view, pdu, digest, new Chain(), ahead, 2), 0);
  assert.deepEqual([pdu.src, pdu.dst], [0x7fff_ffff, -1]);
  assert.deepEqual([...pdu.addresses], [...address6Words(SRC), ...address6Words(DST)]);
});
