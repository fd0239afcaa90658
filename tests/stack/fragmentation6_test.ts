/** Fragments of IPv6: what differs from IPv4, whose tests are in `fragmentation_test.ts`. */
import assert from "node:assert/strict";
import type { Arena } from "../../src/core/arena.ts";
import { SeededRandom } from "../../src/core/random.ts";
import { Reason } from "../../src/core/reason.ts";
import {
  dontFragment,
  Fragmenter,
  leavesWhole,
  MAX_PACKET_FRAGMENTS,
} from "../../src/stack/fragmentation.ts";
import { leaveChecksum } from "../../src/wire/vnet.ts";
import { join6, readFragment6 } from "../support/fragments6.ts";
import { buildIcmp6, buildTcp6, buildUdp6, type Ip6, ROUTER_ALERT } from "../support/frames6.ts";
import { judge, tsharkTest } from "../support/tshark.ts";
import { takeSent } from "../wire/place.ts";
import { decoded6 } from "../wire/place6.ts";

type Header = Ip6["headers"][number];

const DESTINATION: Header = [60, [0, 0, 1, 4, 0, 0, 0, 0]];
const ROUTED: Header = [43, [0, 1, 0, 0, ...Array<number>(12).fill(0)]];

function bytes(length: number): Uint8Array {
  return Uint8Array.from({ length }, (_, i) => i * 7);
}

function queue(arena: Arena): (frame: number, lengthBytes: number) => number {
  return (frame, lengthBytes) => arena.send(frame, lengthBytes) ? 0 : Reason["no-buffer"];
}

/** The packet's fragments for that MTU, as if it had come in fragments of up to `longestBytes`. */
function split(
  frame: Uint8Array,
  mtuBytes: number,
  longestBytes = 9000,
  fragmenter = new Fragmenter(new SeededRandom(1)),
): Uint8Array<ArrayBuffer>[] {
  const { arena, pdu } = decoded6(frame);
  pdu.fragmentBytes = longestBytes;
  assert.equal(fragmenter.split(arena, pdu, mtuBytes, queue(arena)), 0);
  return takeSent(arena);
}

const PACKETS: Record<string, Uint8Array<ArrayBuffer>> = {
  "UDP": buildUdp6({ payload: bytes(4000), trafficClass: 0x12, hopLimit: 33, flowLabel: 7 }),
  "TCP": buildTcp6({ payload: bytes(4001) }),
  "echo request": buildIcmp6({ payload: bytes(5003) }),
  "the longest": buildUdp6({ payload: bytes(65_527) }),
};

for (const [name, frame] of Object.entries(PACKETS)) {
  Deno.test(`Fragmenter.split cuts ${name} over IPv6 into pieces that fit and make the same packet`, () => {
    for (const mtu of [1280, 1281, 1287, 1288, 1499, 1500, 9000, frame.length - 15]) {
      if (frame.length - 14 <= mtu) continue;
      const fragments = split(frame, mtu, 65_575);
      const total = frame.length - 54;
      const each = (mtu - 48) & ~7;
      assert.equal(fragments.length, Math.ceil((total - (mtu - 48)) / each) + 1, `MTU ${mtu}`);
      for (const one of fragments.slice(0, -1)) assert.equal(one.length, 14 + 48 + each);
      assert.ok(fragments.at(-1)!.length <= 14 + mtu);
      assert.deepEqual(join6(fragments), frame, `MTU ${mtu}`);
      assert.ok(fragments.length <= MAX_PACKET_FRAGMENTS);
    }
  });
}

Deno.test("Fragmenter.split over IPv6 gives each fragment the headers up to the routing header", () => {
  const cases: [Header[], number][] = [
    [[], 0],
    [[ROUTER_ALERT], 1],
    [[DESTINATION], 0],
    [[ROUTER_ALERT, DESTINATION], 1],
    [[DESTINATION, ROUTED], 2],
    [[ROUTER_ALERT, DESTINATION, ROUTED, DESTINATION], 3],
  ];
  for (const [headers, count] of cases) {
    const frame = buildUdp6({ headers, payload: bytes(3000) });
    const fragments = split(frame, 1500);
    assert.deepEqual(join6(fragments), frame);
    const numbers = headers.map(([number]) => number);
    for (const { ip } of fragments.map(readFragment6)) {
      assert.deepEqual(ip.headers.map(([number]) => number), numbers.slice(0, count));
    }
  }
});

Deno.test("Fragmenter.split over IPv6 keeps to the longest fragment that came, but takes 1,280 bytes", () => {
  const longest = (came: number) =>
    Math.max(...split(PACKETS.UDP!, 1500, came).map((one) => one.length - 14));
  assert.deepEqual([1280, 1400, 1401, 1500, 9000].map(longest), [1280, 1400, 1400, 1496, 1496]);
  assert.deepEqual([100, 1279].map(longest), [1280, 1280]);
});

Deno.test("Fragmenter.split draws a number for each packet of IPv6, the same for all its fragments", () => {
  const fragmenter = new Fragmenter(new SeededRandom(3));
  const numbers = Array.from({ length: 50 }, () => {
    const ids = split(PACKETS.UDP!, 1500, 9000, fragmenter).map((one) => readFragment6(one).id);
    assert.equal(new Set(ids).size, 1);
    return ids[0]!;
  });
  const twin = new SeededRandom(3);
  assert.deepEqual(numbers, Array.from({ length: 50 }, () => twin.uint32()));
});

Deno.test("Fragmenter.split over IPv6 completes a checksum that was left to the interface", () => {
  const { arena, pdu } = decoded6(PACKETS.UDP!);
  const expected = arena.view.getUint16(pdu.l4 + 6);
  leaveChecksum(arena.view, pdu.frame, pdu.l4, 17);
  // The sum of the pseudo-header alone, as a sender leaves it.
  const pseudoHeader = Array.from(
    { length: 16 },
    (_, i) => arena.view.getUint16(pdu.ip + 8 + 2 * i),
  );
  let sum = pseudoHeader.reduce((a, b) => a + b, 17 + 4008);
  while (sum > 0xffff) sum = (sum & 0xffff) + (sum >>> 16);
  arena.view.setUint16(pdu.l4 + 6, sum);
  pdu.fragmentBytes = 1500;
  assert.equal(new Fragmenter(new SeededRandom(1)).split(arena, pdu, 1500, queue(arena)), 0);
  const offsets = [...arena.tx.subarray(0, 2 * arena.txCount)].filter((_, i) => i % 2 === 0);
  for (const offset of offsets) {
    assert.deepEqual([...arena.bytes.subarray(offset - 10, offset)], Array(10).fill(0));
  }
  const joined = join6(takeSent(arena));
  assert.equal((joined[60]! << 8) | joined[61]!, expected);
  assert.deepEqual(joined, PACKETS.UDP);
});

Deno.test("Fragmenter.split over IPv6 stops at the first reason, and without room", () => {
  for (const taken of [0, 1, 2]) {
    const { arena, pdu } = decoded6(PACKETS.UDP!);
    let calls = 0;
    const send = () => calls++ < taken ? 0 : Reason["arp-queue-full"];
    const reason = new Fragmenter(new SeededRandom(1)).split(arena, pdu, 1500, send);
    assert.deepEqual([reason, calls], [Reason["arp-queue-full"], taken + 1]);
  }
  const { arena, pdu } = decoded6(PACKETS.UDP!);
  while (arena.scratch(1000) >= 0);
  const reason = new Fragmenter(new SeededRandom(1)).split(arena, pdu, 1500, queue(arena));
  assert.equal(reason, Reason["no-buffer"]);
});

Deno.test("leavesWhole over IPv6 is true up to the MTU and the longest fragment, 1,280 bytes at least", () => {
  const cases: [boolean, { totalLength: number; fragmentBytes?: number }][] = [
    [true, { totalLength: 1500 }],
    [false, { totalLength: 1501 }],
    [true, { totalLength: 1400, fragmentBytes: 1500 }],
    [true, { totalLength: 1400, fragmentBytes: 1400 }],
    [false, { totalLength: 1401, fragmentBytes: 1400 }],
    [false, { totalLength: 1501, fragmentBytes: 9000 }],
    [true, { totalLength: 1280, fragmentBytes: 100 }],
    [false, { totalLength: 1281, fragmentBytes: 100 }],
  ];
  for (const [expected, fields] of cases) {
    const { arena, pdu } = decoded6(buildTcp6());
    Object.assign(pdu, fields);
    assert.equal(leavesWhole(arena, pdu, 1500), expected, JSON.stringify(fields));
  }
});

Deno.test("dontFragment over IPv6 is true of all that did not come in fragments", () => {
  const { arena, pdu } = decoded6(buildTcp6());
  assert.equal(dontFragment(arena.view, pdu), true);
  pdu.fragmentBytes = 1280;
  assert.equal(dontFragment(arena.view, pdu), false);
});

tsharkTest(
  "Fragmenter.split makes fragments of IPv6 that tshark puts together without a complaint",
  async () => {
    const fragmenter = new Fragmenter(new SeededRandom(9));
    const frames = Object.values(PACKETS).flatMap((frame) =>
      [1500, 1280].flatMap((mtu) => split(frame, mtu, 9000, fragmenter))
    );
    assert.deepEqual(await judge(frames), []);
  },
);
