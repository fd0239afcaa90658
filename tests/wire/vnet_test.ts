import assert from "node:assert/strict";
import { Arena, VNET_BYTES } from "../../src/core/arena.ts";
import { below, SeededRandom } from "../../src/core/random.ts";
import { reasonName } from "../../src/core/reason.ts";
import { Pdu } from "../../src/wire/pdu.ts";
import { clear, GSO_TCPV4, GSO_TCPV6, leaveChecksum, leaveSegments } from "../../src/wire/vnet.ts";
import { buildIcmp, buildIp, buildTcp, buildUdp, tagged } from "../support/frames.ts";
import { buildTcp6 } from "../support/frames6.ts";
import { leaveToNic, readVnet, refusalOf, transmit, type Vnet, vnetBytes } from "../support/nic.ts";
import { decodeAll, FRAME_OFFSET, frameOf, place } from "./place.ts";

const L4 = 34;
const L4_6 = 54;
const payload = Uint8Array.from({ length: 4000 }, (_, i) => i * 31);
const TCP = buildTcp({ flags: "A", ack: 1, payload });
const TCP6 = buildTcp6({ payload });
const UDP = buildUdp({ payload: payload.subarray(0, 99) });
const ICMP = buildIcmp({ payload: payload.subarray(0, 33) });
const CUT: Partial<Vnet> = {
  ...{ flags: 1, gsoType: 1, headerLength: 54, gsoSize: 1460, csumStart: L4, csumOffset: 16 },
};

/** The frame behind that header, decoded. */
function decoded(
  frame: Uint8Array,
  vnet: Uint8Array,
  arena = new Arena(),
): { arena: Arena; pdu: Pdu; reason: string } {
  const pdu = new Pdu();
  place(arena, frame);
  arena.bytes.set(vnet);
  return { arena, pdu, reason: reasonName(decodeAll(arena, frame.length, pdu)) };
}

function vnetOf(arena: Arena): Uint8Array<ArrayBuffer> {
  return arena.bytes.slice(0, VNET_BYTES);
}

const refused: [name: string, frame: Uint8Array, vnet: Partial<Vnet>][] = [
  ["segments without a checksum", TCP, { ...CUT, flags: 0 }],
  ["segments of no bytes", TCP, { ...CUT, gsoSize: 0 }],
  ["segments of 7 bytes", TCP, { ...CUT, gsoSize: 7 }],
  ["segments of 65,535 bytes", TCP, { ...CUT, gsoSize: 0xffff }],
  ["UDP fragments (UFO)", UDP, { ...CUT, gsoType: 3, csumOffset: 6 }],
  ["UDP segments (USO)", UDP, { ...CUT, gsoType: 5, csumOffset: 6 }],
  ["TCP segments of UDP", UDP, { ...CUT, csumOffset: 6 }],
  ["UDP segments of TCP", TCP, { ...CUT, gsoType: 5 }],
  ["IPv6 segments", TCP, { ...CUT, gsoType: 4 }],
  ["an unknown kind", TCP, { ...CUT, gsoType: 2 }],
  ["ECN of no kind", TCP, { ...CUT, gsoType: 0x80 }],
  ["segments of ICMP", ICMP, { ...CUT, csumOffset: 2 }],
  ["segments with a checksum elsewhere", TCP, { ...CUT, csumOffset: 14 }],
  ["a header longer than the frame", TCP, { ...CUT, headerLength: TCP.length + 1 }],
  ["a sum from the Ethernet header on", TCP, { flags: 1, csumStart: 13, csumOffset: 16 }],
  ["a sum from the IP header on", TCP, { flags: 1, csumStart: 14, csumOffset: 10 }],
  ["a sum that begins one byte early", TCP, { flags: 1, csumStart: 33, csumOffset: 17 }],
  ["a checksum beyond the end", TCP, { flags: 1, csumStart: L4, csumOffset: TCP.length - L4 - 1 }],
  ["a sum from beyond the end", TCP, { flags: 1, csumStart: 0xffff, csumOffset: 0xffff }],
];
for (const [name, frame, fields] of refused) {
  Deno.test(`decode gives vnet-header for ${name}`, () => {
    assert.equal(decoded(frame, vnetBytes(fields)).reason, "vnet-header");
  });
}

Deno.test("decode moves the header with the frame when it takes a priority tag out", () => {
  for (const open of [leaveToNic(TCP), leaveToNic(UDP), leaveToNic(TCP, 1460, true)]) {
    const fields = readVnet(open.vnet);
    const { csumStart, headerLength } = fields;
    const vnet = vnetBytes({
      ...fields,
      csumStart: csumStart + 4,
      headerLength: headerLength === 0 ? 0 : headerLength + 4,
    });
    const { arena, pdu, reason } = decoded(tagged(open.frame, 0xe000), vnet);
    assert.deepEqual([reason, pdu.partialChecksum, pdu.frame], ["none", 1, FRAME_OFFSET + 4]);
    assert.deepEqual(arena.bytes.slice(4, 4 + VNET_BYTES), open.vnet);
    assert.deepEqual(frameOf(arena, pdu), open.frame);
  }
});

Deno.test("decode gives vnet-header for a sum that begins in the priority tag", () => {
  for (const csumStart of [0, 3, 4, 14, 17]) {
    const vnet = vnetBytes({ flags: 1, csumStart, csumOffset: 16 });
    assert.equal(decoded(tagged(TCP, 0), vnet).reason, "vnet-header", `${csumStart}`);
  }
});

Deno.test("decode keeps the header of a segment that is to be cut up, ECN and all", () => {
  for (const ecn of [false, true]) {
    const { frame, vnet } = leaveToNic(TCP, 1460, ecn);
    const { arena, pdu, reason } = decoded(frame, vnet);
    assert.deepEqual([reason, pdu.partialChecksum], ["none", 1]);
    assert.deepEqual(vnetOf(arena), vnet);
    assert.deepEqual(frameOf(arena, pdu), frame);
  }
});

Deno.test("decode clears a header that leaves nothing to do, and lengths that nobody looks at", () => {
  const nothing = vnetBytes({
    flags: 2,
    headerLength: 9000,
    gsoSize: 7,
    csumStart: 9,
    csumOffset: 9,
  });
  for (const frame of [TCP, UDP, ICMP]) {
    const { arena, reason } = decoded(frame, nothing);
    assert.equal(reason, "none");
    assert.deepEqual(vnetOf(arena), vnetBytes({}));
  }
  const { frame, vnet } = leaveToNic(TCP);
  const odd = vnetBytes({ ...CUT, gsoType: 0, headerLength: 9000 });
  assert.deepEqual(vnetOf(decoded(frame, odd).arena), vnet);
});

Deno.test("decode completes a checksum that is not that of TCP or UDP, as an interface does", () => {
  // ICMP, whose sum has no pseudo-header, and the inner checksum of a tunnel.
  const icmp = Uint8Array.from(ICMP);
  icmp.fill(0, L4 + 2, L4 + 4);
  const tunnel = buildIp({ protocol: 47 }, [...new Uint8Array(24), ...payload.subarray(0, 51)]);
  const cases: [Uint8Array, Partial<Vnet>][] = [
    [icmp, { flags: 1, csumStart: L4, csumOffset: 2 }],
    [tunnel, { flags: 1, csumStart: L4 + 24, csumOffset: 16 }],
  ];
  for (const [frame, fields] of cases) {
    const { arena, pdu, reason } = decoded(frame, vnetBytes(fields));
    assert.deepEqual([reason, pdu.partialChecksum], ["none", 0]);
    assert.deepEqual(vnetOf(arena), vnetBytes({}));
    if (frame === icmp) assert.deepEqual(frameOf(arena, pdu), ICMP);
    else assert.notDeepEqual(frameOf(arena, pdu), frame);
  }
});

Deno.test("decode judges a UDP datagram by its own checksum if an inner one is left open", () => {
  const at = L4 + 8 + 20;
  const open = Uint8Array.from(UDP);
  const inner = decoded(open, vnetBytes({ flags: 1, csumStart: at, csumOffset: 16 }));
  assert.equal(inner.reason, "udp-checksum"); // the field has changed, and the outer one did not foresee it
  const none = buildUdp({ payload: payload.subarray(0, 99), noChecksum: true });
  assert.equal(
    decoded(none, vnetBytes({ flags: 1, csumStart: at, csumOffset: 16 })).reason,
    "none",
  );
});

Deno.test("decode gives udp-checksum for an open checksum of a datagram that ends before its packet", () => {
  const longer = buildIp({ protocol: 17 }, [...UDP.subarray(L4), 0xde, 0xad]);
  const { vnet } = leaveToNic(longer);
  assert.equal(decoded(longer, vnet).reason, "udp-checksum");
});

Deno.test("leaveChecksum and leaveSegments write what a sender would", () => {
  const { view, bytes } = new Arena();
  for (const [frame, protocol] of [[TCP, 6], [UDP, 17]] as const) {
    leaveChecksum(view, FRAME_OFFSET, FRAME_OFFSET + L4, protocol);
    assert.deepEqual(bytes.subarray(0, VNET_BYTES), leaveToNic(frame).vnet);
  }
  leaveChecksum(view, FRAME_OFFSET, FRAME_OFFSET + L4, 1);
  assert.deepEqual(bytes.subarray(0, VNET_BYTES), vnetBytes({}));
  leaveChecksum(view, FRAME_OFFSET, FRAME_OFFSET + L4, 6);
  leaveSegments(view, FRAME_OFFSET, FRAME_OFFSET + 54, 1460, GSO_TCPV4);
  assert.deepEqual(bytes.subarray(0, VNET_BYTES), leaveToNic(TCP, 1460).vnet);
  leaveChecksum(view, FRAME_OFFSET, FRAME_OFFSET + L4_6, 6);
  leaveSegments(view, FRAME_OFFSET, FRAME_OFFSET + L4_6 + 20, 1440, GSO_TCPV6);
  assert.deepEqual(bytes.subarray(0, VNET_BYTES), leaveToNic(TCP6, 1440).vnet);
  bytes.fill(0xff, 0, VNET_BYTES + 1);
  clear(view, FRAME_OFFSET);
  assert.deepEqual([...bytes.subarray(0, VNET_BYTES + 1)], [...vnetBytes({}), 0xff]);
});

Deno.test("decode accepts 20,000 random headers only if the kernel takes what is left of them", () => {
  const random = new SeededRandom(0x7e7);
  const place = new Arena();
  const pick = (...values: number[]): number => values[below(random, values.length)]!;
  let accepted = 0;
  let cut = 0;
  for (let round = 0; round < 20_000; round++) {
    const given = [TCP, UDP, ICMP][below(random, 3)]!;
    const vnet = vnetBytes({
      flags: pick(0, 1, 1, 1, 2, 3, 255),
      gsoType: pick(0, 0, 1, 1, 1, 0x81, 3, 4, 5, below(random, 256)),
      headerLength: pick(0, 54, 54, 9000, below(random, 65_536)),
      gsoSize: pick(0, 1, 8, 1460, 1460, 65_535, below(random, 65_536)),
      csumStart: pick(0, 14, L4, L4, L4, L4 + 1, below(random, 65_536)),
      csumOffset: pick(0, 2, 6, 16, 16, 16, below(random, 65_536)),
    });
    const { arena, pdu, reason } = decoded(given, vnet, place);
    if (reason !== "none") continue;
    accepted++;
    const left = vnetOf(arena);
    const frame = frameOf(arena, pdu);
    assert.equal(refusalOf(frame, left), "", `${vnet.toHex()} left ${left.toHex()}`);
    assert.equal(pdu.partialChecksum, left[0]! & 1);
    if (pdu.partialChecksum === 0) transmit(frame, left);
    if (left[1] !== 0) cut++;
  }
  assert.ok(accepted > 1000 && cut > 100, `${accepted} accepted, ${cut} to be cut`);
});
