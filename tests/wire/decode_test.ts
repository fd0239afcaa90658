import assert from "node:assert/strict";
import { Arena } from "../../src/core/arena.ts";
import { SeededRandom } from "../../src/core/random.ts";
import { Reason, type ReasonName, reasonName } from "../../src/core/reason.ts";
import { parseAddress } from "../../src/wire/address.ts";
import { decodeFrame, decodeIpv4 } from "../../src/wire/decode.ts";
import { formatPdu } from "../../src/console/pdu_text.ts";
import { Pdu } from "../../src/wire/pdu.ts";
import {
  buildArp,
  buildEthernet,
  buildIcmp,
  buildIp,
  buildTcp,
  buildUdp,
  bytesOf,
  naiveChecksum,
  readIp,
  tagged,
} from "../support/frames.ts";
import { buildIp6 } from "../support/frames6.ts";
import { leaveToNic } from "../support/nic.ts";
import { decodeAll, decoded, FRAME_OFFSET, OWN_MAC, place } from "./place.ts";

const DATA = bytesOf("hello");
const NOP4 = [1, 1, 1, 1];
const IP = 14;
const L4 = 34;

const VALID: Record<string, Uint8Array<ArrayBuffer>> = {
  "TCP": buildTcp({ flags: "PA", payload: DATA, tcpOptions: [2, 4, 5, 180] }),
  "TCP behind IP options": buildTcp({ options: NOP4, payload: DATA }),
  "UDP": buildUdp({ payload: DATA }),
  "UDP without a checksum": buildUdp({ payload: DATA, noChecksum: true }),
  "echo request": buildIcmp({ payload: DATA }),
  "another protocol": buildIp({ protocol: 47 }, [0, 0, 8, 0]),
};

function reasonOf(frame: Uint8Array, arena = new Arena()): ReasonName {
  place(arena, frame);
  return reasonName(decodeAll(arena, frame.length, new Pdu()));
}

Deno.test("decode reads a TCP segment", () => {
  const frame = buildTcp({
    src: "10.255.0.1",
    flags: "FA",
    seq: 0xffff_ffff,
    ack: 0x8000_0001,
    ttl: 3,
    options: NOP4,
    tcpOptions: NOP4,
    payload: DATA,
  });
  const { pdu } = decoded(frame);
  assert.partialDeepStrictEqual({ ...pdu }, {
    frame: FRAME_OFFSET,
    frameBytes: frame.length,
    ip: FRAME_OFFSET + 14,
    l4: FRAME_OFFSET + 38,
    payload: FRAME_OFFSET + 62,
    end: FRAME_OFFSET + frame.length,
    etherType: 0x0800,
    broadcastFrame: 0,
    src: parseAddress("10.255.0.1"),
    dst: parseAddress("192.168.0.100"),
    protocol: 6,
    ttl: 3,
    totalLength: frame.length - 14,
    srcPort: 40_000,
    dstPort: 2000,
    tcpFlags: 0x11,
    seq: -1,
    ack: 0x8000_0001 | 0,
    partialChecksum: 0,
  });
});

Deno.test("decode reads a UDP datagram", () => {
  const { pdu } = decoded(buildUdp({ srcPort: 1, dstPort: 65_535, payload: DATA }));
  assert.partialDeepStrictEqual({ ...pdu }, {
    protocol: 17,
    srcPort: 1,
    dstPort: 65_535,
    payload: FRAME_OFFSET + L4 + 8,
    end: FRAME_OFFSET + L4 + 13,
  });
});

Deno.test("decode reads ICMP, an echo's identifier as the asker's port", () => {
  const cases: [number, number, number][] = [[8, 0x4a49, 0], [0, 0, 0x4a49], [3, 0, 0]];
  for (const [type, srcPort, dstPort] of cases) {
    const { pdu } = decoded(buildIcmp({ type, code: 2 }));
    const expected = { protocol: 1, icmpType: type, icmpCode: 2, srcPort, dstPort };
    assert.partialDeepStrictEqual({ ...pdu, payload: pdu.payload - pdu.l4 }, {
      ...expected,
      payload: 0,
    });
  }
});

Deno.test("decode reads another protocol without ports, whatever was decoded before", () => {
  const arena = new Arena();
  const pdu = new Pdu();
  for (const frame of [VALID.TCP!, VALID["another protocol"]!]) {
    place(arena, frame);
    assert.equal(decodeAll(arena, frame.length, pdu), 0);
  }
  assert.partialDeepStrictEqual({ ...pdu }, { protocol: 47, srcPort: 0, dstPort: 0 });
  assert.equal(pdu.payload, pdu.l4);
});

Deno.test("decode reads ARP for the proxy and for all, and notes which", () => {
  for (const [dstMac, broadcastFrame] of [["02:00:00:00:01:00", 0], ["ff:ff:ff:ff:ff:ff", 1]]) {
    const { pdu } = decoded(buildArp({ dstMac: dstMac as string }));
    assert.partialDeepStrictEqual({ ...pdu }, {
      etherType: 0x0806,
      broadcastFrame,
      ip: FRAME_OFFSET + 14,
    });
  }
});

Deno.test("decodeFrame takes IPv6, and the frames of its groups, only where there are groups", () => {
  const groups = { hears: (hi: number, lo: number) => hi === 0x3333 && lo === 1 };
  const outcome = (frame: Uint8Array, hears: typeof groups | null) => {
    const arena = new Arena();
    const pdu = new Pdu();
    place(arena, frame);
    const reason = decodeFrame(arena.view, FRAME_OFFSET, frame.length, OWN_MAC, pdu, hears);
    return [reasonName(reason), pdu.broadcastFrame];
  };
  const own = buildIp6({}, []);
  const group = buildIp6({ dstMac: "33:33:00:00:00:01" }, []);
  assert.deepEqual(outcome(own, null), ["unknown-ethertype", 0]);
  assert.deepEqual(outcome(own, groups), ["none", 0]);
  assert.deepEqual(outcome(group, null), ["multicast-mac", 0]);
  assert.deepEqual(outcome(group, groups), ["none", 1]);
  assert.deepEqual(outcome(tagged(group, 0), groups), ["none", 1]);
  assert.deepEqual(outcome(buildIp6({ dstMac: "33:33:00:00:00:02" }, []), groups), [
    "multicast-mac",
    0,
  ]);
  assert.equal(outcome(buildIp6({ srcMac: "33:33:00:00:00:01" }, []), groups)[0], "source-mac");
  assert.equal(outcome(buildIp6({ srcMac: "02:00:00:00:01:00" }, []), groups)[0], "source-mac");
  for (const frame of [buildUdp, buildArp]) {
    assert.equal(outcome(frame({ dstMac: "33:33:00:00:00:01" }), groups)[0], "multicast-mac");
  }
});

Deno.test("decodeIpv4 marks fragments, and nothing else", () => {
  const cases = [[0x0000, 0], [0x4000, 0], [0x8000, 0], [0x2000, 1], [0x0001, 1], [0x3fff, 1]];
  const arena = new Arena();
  const pdu = new Pdu();
  for (const [word, fragment] of cases) {
    const frame = buildUdp({ fragment: word! });
    place(arena, frame);
    pdu.fragmentBytes = 1;
    assert.equal(decodeFrame(arena.view, FRAME_OFFSET, frame.length, OWN_MAC, pdu), 0);
    assert.equal(decodeIpv4(arena.view, pdu), 0);
    assert.deepEqual([pdu.fragment, pdu.fragmentBytes], [fragment, 0], `word ${word}`);
  }
});

const DROPS: [ReasonName, string, Uint8Array][] = [
  ["frame-too-short", "no byte", new Uint8Array()],
  ["frame-too-short", "13 bytes", VALID.TCP!.subarray(0, 13)],
  ["multicast-mac", "an IPv4 group's MAC", buildIcmp({ dstMac: "01:00:5e:00:00:01" })],
  ["multicast-mac", "almost broadcast", buildIcmp({ dstMac: "ff:ff:ff:ff:ff:fe" })],
  ["foreign-mac", "one bit off in the last octet", buildIcmp({ dstMac: "02:00:00:00:01:01" })],
  ["foreign-mac", "one bit off in the first octet", buildIcmp({ dstMac: "00:00:00:00:01:00" })],
  ["vlan-tagged", "802.1Q", tagged(buildTcp(), 0x0001)],
  ["vlan-tagged", "802.1ad", tagged(buildTcp(), 0xefff, 0x88a8)],
  ["vlan-tagged", "a priority tag before a VLAN's", tagged(tagged(buildTcp(), 5), 0)],
  ["vlan-tagged", "two priority tags", tagged(tagged(buildTcp(), 0), 0)],
  ["vlan-tagged", "a tag that is cut short", ether(0x8100, 3)],
  ["ip-truncated", "a priority tag and nothing more", tagged(buildTcp(), 0).subarray(0, 18)],
  ["source-mac", "a group's", buildTcp({ srcMac: "01:00:5e:00:00:01" })],
  ["source-mac", "everybody's", buildUdp({ srcMac: "ff:ff:ff:ff:ff:ff" })],
  ["source-mac", "the proxy's own", buildIcmp({ srcMac: "02:00:00:00:01:00" })],
  [
    "source-mac",
    "the proxy's own behind a priority tag",
    tagged(buildIcmp({ srcMac: "02:00:00:00:01:00" }), 0),
  ],
  ["unknown-ethertype", "IPv6", ether(0x86dd)],
  ["unknown-ethertype", "an 802.3 length", ether(46)],
  ["unknown-ethertype", "no payload", ether(0x88cc, 0)],
  ["arp-malformed", "cut short by one byte", buildArp().subarray(0, 41)],
  ["arp-malformed", "operation 3", buildArp({ operation: 3 })],
  ["arp-malformed", "hardware type 6", edit(buildArp(), [IP + 1, 6])],
  ["ip-truncated", "19 bytes of IP", VALID.TCP!.subarray(0, 33)],
  ["ip-truncated", "total length one too long", header(VALID.TCP!, [3, VALID.TCP!.length - 13])],
  ["ip-truncated", "total length 65,535", header(VALID.TCP!, [2, 255], [3, 255])],
  ["ip-version", "version 6", header(VALID.TCP!, [0, 0x65])],
  ["ip-version", "version 0", header(VALID.TCP!, [0, 0x05])],
  ["ip-header-length", "IHL 4", header(VALID.TCP!, [0, 0x44])],
  ["ip-header-length", "IHL 0", header(VALID.TCP!, [0, 0x40])],
  ["ip-header-length", "IHL beyond the total length", header(VALID.TCP!, [0, 0x46], [3, 23])],
  ["ip-header-length", "total length 19", header(VALID.TCP!, [3, 19])],
  ["ip-header-length", "total length 0", header(VALID.TCP!, [3, 0])],
  ["ip-checksum", "a flipped bit in the source", edit(VALID.TCP!, [IP + 12, 193])],
  ["ip-checksum", "a flipped bit in the options", edit(VALID["TCP behind IP options"]!, [36, 0])],
  ["ip-options", "a loose source route", buildTcp({ options: [131, 7, 4, 1, 2, 3, 4, 0] })],
  ["ip-options", "a length of 0", buildTcp({ options: [7, 0, 0, 0] })],
  ["icmp-truncated", "no ICMP at all", buildIp({ protocol: 1 }, [])],
  ["icmp-truncated", "7 bytes", buildIp({ protocol: 1 }, [8, 0, 0xf7, 0xff, 0, 0, 0])],
  ["icmp-checksum", "a flipped bit in the data", edit(buildIcmp(), [L4 + 20, 1])],
  ["icmp-checksum", "checksum 0", edit(buildIcmp(), [L4 + 2, 0], [L4 + 3, 0])],
  ["tcp-truncated", "no TCP at all", buildIp({ protocol: 6 }, [])],
  ["tcp-truncated", "19 bytes", buildIp({ protocol: 6 }, new Uint8Array(19))],
  ["tcp-header-length", "data offset 4", edit(VALID.TCP!, [L4 + 12, 0x40])],
  ["tcp-header-length", "data offset beyond the segment", edit(VALID.TCP!, [L4 + 12, 0xf0])],
  ["tcp-flags", "none", buildTcp({ flags: "" })],
  ["tcp-flags", "Xmas", buildTcp({ flags: "FPU" })],
  ["tcp-flags", "SYN FIN", buildTcp({ flags: "SF" })],
  ["tcp-flags", "SYN RST", buildTcp({ flags: "SR" })],
  ["tcp-checksum", "a flipped bit in the data", edit(VALID.TCP!, [L4 + 25, 0])],
  ["tcp-checksum", "checksum 0", edit(VALID.TCP!, [L4 + 16, 0], [L4 + 17, 0])],
  ["udp-truncated", "no UDP at all", buildIp({ protocol: 17 }, [])],
  ["udp-truncated", "7 bytes", buildIp({ protocol: 17 }, new Uint8Array(7))],
  ["udp-truncated", "length 7", edit(VALID.UDP!, [L4 + 5, 7])],
  ["udp-truncated", "length one beyond the packet", edit(VALID.UDP!, [L4 + 5, 14])],
  ["udp-truncated", "length 0", edit(VALID.UDP!, [L4 + 5, 0])],
  ["udp-checksum", "a flipped bit in the data", edit(VALID.UDP!, [L4 + 8, 0])],
  ["port-zero", "TCP source", buildTcp({ srcPort: 0 })],
  ["port-zero", "TCP destination", buildTcp({ dstPort: 0 })],
  ["port-zero", "UDP destination", buildUdp({ dstPort: 0 })],
];

Deno.test("decode takes UDP source port 0: no answer is wanted (RFC 768)", () => {
  const { pdu } = decoded(buildUdp({ srcPort: 0 }));
  assert.deepEqual([pdu.srcPort, pdu.dstPort], [0, 2000]);
});

Deno.test("decode takes a priority tag out, and everything is as without it", () => {
  for (const [name, frame] of Object.entries({ ...VALID, ARP: buildArp() })) {
    for (const [word, etherType] of [[0, 0x8100], [0xf000, 0x8100], [0x6000, 0x88a8]]) {
      const plain = decoded(frame);
      const { arena, pdu } = decoded(tagged(frame, word!, etherType));
      assert.equal(pdu.frame, FRAME_OFFSET + 4);
      assert.deepEqual(arena.bytes.slice(pdu.frame, pdu.frame + frame.length), frame, name);
      const moved = ["frame", "ip", "l4", "end", "payload"] as const;
      for (const field of moved) if (pdu[field] !== 0) pdu[field] -= 4;
      assert.deepEqual({ ...pdu }, { ...plain.pdu }, name);
    }
  }
});

Deno.test("decode leaves a frame alone that is not for the proxy, tag and all", () => {
  const arena = new Arena();
  const frame = tagged(buildTcp({ dstMac: "02:00:00:00:00:77" }), 0);
  place(arena, frame);
  assert.equal(reasonName(decodeAll(arena, frame.length, new Pdu())), "foreign-mac");
  assert.deepEqual(arena.bytes.slice(FRAME_OFFSET, FRAME_OFFSET + frame.length), frame);
});

for (const [reason, name, frame] of DROPS) {
  Deno.test(`decode gives ${reason} for ${name}`, () => assert.equal(reasonOf(frame), reason));
}

Deno.test("decode's table of drops has every reason that decode can give", () => {
  const known = new Set(DROPS.map(([reason]) => reason));
  const names = Object.keys(Reason) as ReasonName[];
  const given = names.slice(names.indexOf("frame-too-short"), names.indexOf("icmp-quote"));
  // The rest is for `admit` to tell (whether the packet is for the proxy at all) and for
  // `Reassembly`; vnet headers have a test of their own, and only IPv6 has chains of headers.
  const admitted = new RegExp(
    "destination$|^broadcast-mac$|^own-source$|^martian-source$|^wrong-side$|^fragment-|^vnet-|" +
      "^header-|^routing-header$|^next-header$|^unusual-headers$",
  );
  assert.deepEqual(given.filter((name) => !known.has(name)).filter((n) => !admitted.test(n)), []);
});

Deno.test("decode notices a flipped bit in every byte of a packet that is summed", () => {
  for (const [name, frame] of Object.entries(VALID)) {
    if (frame[IP + 9] === 47 || name === "UDP without a checksum") continue;
    for (let at = IP; at < frame.length; at++) {
      const changed = edit(frame, [at, frame[at]! ^ 0x10]);
      assert.notEqual(reasonOf(changed), "none", `${name}, byte ${at}`);
    }
  }
});

Deno.test("decode drops every frame that is cut short, whatever stands behind it", () => {
  for (const [name, frame] of Object.entries({ ...VALID, "ARP": buildArp() })) {
    for (let lengthBytes = 0; lengthBytes < frame.length; lengthBytes++) {
      const expected = lengthBytes < 14
        ? "frame-too-short"
        : name === "ARP"
        ? "arp-malformed"
        : "ip-truncated";
      for (const behind of [0x00, 0xff]) {
        const arena = new Arena();
        arena.bytes.fill(behind, 0, 4096);
        assert.equal(reasonOf(frame.subarray(0, lengthBytes), arena), expected, name);
      }
      // With the rest of the frame still there, and with the buffer ending where the frame does.
      const arena = new Arena();
      place(arena, frame);
      const short = decodeAll(arena, lengthBytes, new Pdu());
      assert.equal(reasonName(short), expected);
      const atEnd = arena.buffer.byteLength - lengthBytes;
      place(arena, frame.subarray(0, lengthBytes), atEnd);
      assert.equal(reasonName(decodeAll(arena, lengthBytes, new Pdu(), atEnd)), expected);
    }
  }
});

Deno.test("decode of a packet whose total length cuts layer 4 short never reads behind it", () => {
  for (const [name, frame] of Object.entries(VALID)) {
    const { ip, l4 } = readIp(frame);
    for (let kept = 0; kept < l4.length; kept++) {
      const cut = buildIp(ip, l4.subarray(0, kept));
      const expected = cutReason(ip.protocol, l4, kept);
      const arena = new Arena();
      const pdus = [0x00, 0xff].map((behind) => {
        arena.bytes.fill(behind, 0, 4096);
        place(arena, cut);
        const pdu = new Pdu();
        assert.equal(
          reasonName(decodeAll(arena, cut.length + 20, pdu)),
          expected,
          `${name} ${kept}`,
        );
        return pdu;
      });
      assert.deepEqual(pdus[0], pdus[1]);
      const atEnd = arena.buffer.byteLength - cut.length;
      place(arena, cut, atEnd);
      assert.equal(reasonName(decodeAll(arena, cut.length, new Pdu(), atEnd)), expected);
    }
  }
});

Deno.test("decode ignores padding behind the total length", () => {
  for (const [name, frame] of Object.entries({ ...VALID, "ARP": buildArp() })) {
    const arena = new Arena();
    const [plain, padded] = [new Pdu(), new Pdu()];
    arena.bytes.fill(0xa5);
    place(arena, frame);
    assert.equal(decodeAll(arena, frame.length, plain), 0, name);
    assert.equal(decodeAll(arena, frame.length + 100, padded), 0, name);
    assert.equal(padded.frameBytes, frame.length + 100);
    assert.deepEqual({ ...padded, frameBytes: 0 }, { ...plain, frameBytes: 0 });
  }
});

Deno.test("decode takes UDP whose length is shorter than the IP packet, its checksum by the former", () => {
  const { ip, l4 } = readIp(VALID.UDP!);
  const frame = buildIp(ip, [...l4, 0xde, 0xad]);
  assert.equal(reasonOf(frame), "none");
  assert.equal(reasonOf(edit(frame, [L4 + 8, 0])), "udp-checksum");
});

Deno.test("decode verifies no checksum that is still partial, and notes it", () => {
  for (const name of ["TCP", "UDP"]) {
    const frame = edit(VALID[name]!, [L4 + (name === "TCP" ? 17 : 7), 0x12]);
    assert.equal(reasonOf(frame), `${name.toLowerCase()}-checksum`);
    const arena = new Arena();
    const pdu = new Pdu();
    place(arena, frame);
    arena.bytes.set(leaveToNic(frame).vnet);
    assert.equal(decodeAll(arena, frame.length, pdu), 0);
    assert.equal(pdu.partialChecksum, 1);
    arena.bytes[0] = 2; // VIRTIO_NET_HDR_F_DATA_VALID is no promise that the sum is there
    assert.equal(reasonName(decodeAll(arena, frame.length, pdu)), `${name.toLowerCase()}-checksum`);
  }
});

Deno.test("decode and formatPdu take 20,000 mutated frames at the buffer's very end", () => {
  const seed = 0x5eed;
  const random = new SeededRandom(seed);
  const frames = [...Object.values(VALID), buildArp()];
  const arena = new Arena();
  let accepted = 0;
  for (let round = 0; round < 20_000; round++) {
    const frame = Uint8Array.from(frames[random.uint32() % frames.length]!);
    for (let flips = random.uint32() % 4; flips > 0; flips--) {
      frame[IP + random.uint32() % (frame.length - IP)] = random.uint32();
    }
    if (random.uint32() % 4 !== 0) repair(frame);
    const kept = frame.subarray(0, frame.length - (random.uint32() % 8 === 0 ? 3 : 0));
    const at = arena.buffer.byteLength - kept.length;
    place(arena, kept, at);
    const pdu = new Pdu();
    const reason = decodeAll(arena, kept.length, pdu, at);
    if (reason !== 0 || pdu.etherType !== 0x0800) continue;
    accepted++;
    const within = pdu.ip < pdu.l4 && pdu.l4 <= pdu.payload && pdu.payload <= pdu.end;
    assert.ok(within && pdu.end <= at + kept.length, `round ${round} of seed ${seed}`);
    formatPdu(arena.view, pdu, 256);
  }
  assert.ok(accepted > 2000, `${accepted} accepted`);
});

/** A copy with the bytes `[at, value]` changed. */
function edit(frame: Uint8Array, ...changes: [number, number][]): Uint8Array<ArrayBuffer> {
  const copy = Uint8Array.from(frame);
  for (const [at, value] of changes) copy[at] = value;
  return copy;
}

/** As `edit`, counted from the IP header, whose checksum is then made right again. */
function header(frame: Uint8Array, ...changes: [number, number][]): Uint8Array<ArrayBuffer> {
  const copy = edit(frame, ...changes.map(([at, value]): [number, number] => [IP + at, value]));
  repair(copy);
  return copy;
}

/** Makes the IP header's checksum right for the header length that it claims. */
function repair(frame: Uint8Array): void {
  if (frame[12] !== 8 || frame[13] !== 0) return;
  const end = IP + Math.max(20, (frame[IP]! & 15) * 4);
  frame.fill(0, IP + 10, IP + 12);
  const checksum = naiveChecksum(frame.subarray(IP, end));
  frame[IP + 10] = checksum >> 8;
  frame[IP + 11] = checksum & 255;
}

function ether(etherType: number, lengthBytes = 46): Uint8Array {
  const macs = { dstMac: "02:00:00:00:01:00", srcMac: "02:00:00:00:00:fe" };
  return buildEthernet({ ...macs, etherType }, Array(lengthBytes).fill(0));
}

/** What is wrong with the first `kept` bytes of a right layer 4 packet. */
function cutReason(protocol: number, l4: Uint8Array, kept: number): ReasonName {
  switch (protocol) {
    case 6:
      return kept < 20
        ? "tcp-truncated"
        : kept < l4[12]! >> 2
        ? "tcp-header-length"
        : "tcp-checksum";
    case 17:
      return "udp-truncated";
    case 1:
      return kept < 8 ? "icmp-truncated" : "icmp-checksum";
    default:
      return "none";
  }
}
