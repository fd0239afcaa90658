import assert from "node:assert/strict";
import { Arena, VNET_BYTES } from "../../src/core/arena.ts";
import { SeededRandom } from "../../src/core/random.ts";
import { Reason } from "../../src/core/reason.ts";
import {
  dontFragment,
  Fragmenter,
  leavesWhole,
  MAX_PACKET_FRAGMENTS,
} from "../../src/stack/fragmentation.ts";
import { Pdu } from "../../src/wire/pdu.ts";
import { leaveChecksum } from "../../src/wire/vnet.ts";
import { join, whole } from "../support/fragments.ts";
import {
  buildIcmp,
  buildIp,
  buildTcp,
  buildUdp,
  naiveChecksum,
  readIp,
  readTcp,
  readUdp,
} from "../support/frames.ts";
import { leaveToNic, transmit } from "../support/nic.ts";
import { judge, tsharkTest } from "../support/tshark.ts";
import { decodeAll, decoded, place, takeSent } from "../wire/place.ts";

function bytes(length: number): Uint8Array {
  return Uint8Array.from({ length }, (_, i) => i * 7);
}

function queue(arena: Arena): (frame: number, lengthBytes: number) => number {
  return (frame, lengthBytes) => arena.send(frame, lengthBytes) ? 0 : Reason["no-buffer"];
}

/** The packet's fragments for that MTU. */
function split(
  frame: Uint8Array,
  mtuBytes: number,
  longestBytes = 0,
  fragmenter = new Fragmenter(new SeededRandom(1)),
): Uint8Array<ArrayBuffer>[] {
  const { arena, pdu } = decoded(frame);
  pdu.fragmentBytes = longestBytes;
  assert.equal(fragmenter.split(arena, pdu, mtuBytes, queue(arena)), 0);
  return takeSent(arena);
}

/** The joined packet with the identification that the whole one had. */
function joined(fragments: readonly Uint8Array[], id: number): Uint8Array {
  const { ip, l4 } = readIp(join(fragments));
  return buildIp({ ...ip, id }, l4);
}

const PACKETS: Record<string, Uint8Array<ArrayBuffer>> = {
  "UDP": buildUdp({ fragment: 0, payload: bytes(4000), tos: 0x12, ttl: 33 }),
  "TCP": buildTcp({ fragment: 0, payload: bytes(4001) }),
  "echo request": buildIcmp({ fragment: 0, payload: bytes(5003) }),
  "another protocol": buildIp({ fragment: 0, protocol: 47 }, bytes(4002)),
  "the longest": buildUdp({ fragment: 0, payload: bytes(65_507) }),
};

for (const [name, frame] of Object.entries(PACKETS)) {
  Deno.test(`Fragmenter.split cuts ${name} into pieces that fit and make the same packet`, () => {
    for (const mtu of [576, 577, 583, 584, 1280, 1499, 1500, 9000, frame.length - 15]) {
      if (frame.length - 14 <= mtu) continue;
      const fragments = split(frame, mtu);
      const total = frame.length - 34;
      const each = (mtu - 20) & ~7;
      assert.equal(fragments.length, Math.ceil((total - (mtu - 20)) / each) + 1, `MTU ${mtu}`);
      for (const one of fragments.slice(0, -1)) assert.equal(one.length, 14 + 20 + each);
      assert.ok(fragments.at(-1)!.length <= 14 + mtu);
      assert.deepEqual(joined(fragments, 0x1234), whole(frame), `MTU ${mtu}`);
      assert.ok(fragments.length <= MAX_PACKET_FRAGMENTS);
    }
  });
}

Deno.test("Fragmenter.split takes every length and small MTUs, which are 68 at least", () => {
  for (let length = 60; length < 300; length++) {
    const frame = buildIp({ fragment: 0, protocol: 47 }, bytes(length));
    for (const mtu of [0, 60, 68, 69, 75, 76, 100]) {
      if (length + 20 <= Math.max(68, mtu)) continue;
      const fragments = split(frame, mtu);
      assert.ok(fragments.every((one) => one.length <= 14 + Math.max(68, mtu)));
      assert.deepEqual(joined(fragments, 0x1234), frame);
    }
  }
});

Deno.test("Fragmenter.split keeps to the longest fragment that came, but takes 576 bytes", () => {
  const frame = PACKETS.UDP!;
  const cases = [[0, 1500], [1500, 1500], [9000, 1500], [1000, 1000], [576, 576], [28, 576]];
  for (const [longest, expected] of cases) {
    const fragments = split(frame, 1500, longest);
    const most = Math.max(...fragments.map((one) => one.length - 14));
    assert.ok(most <= expected! && most > expected! - 8, `${longest}: ${most}`);
  }
});

Deno.test("Fragmenter.split copies those options into later fragments that are to be", () => {
  const alert = [0x94, 4, 0, 0];
  const timestamp = [0x44, 8, 5, 0, 0, 0, 0, 0];
  const security = [0x82, 3, 7];
  const cases: [number[], number[]][] = [
    [[...alert], [...alert]],
    [[...timestamp], []],
    [[...timestamp, ...alert], [...alert]],
    [[1, ...security, ...timestamp, 1, ...alert, 1, 0, 0], [...security, ...alert, 0]],
    [[...security, 1], [...security, 0]],
    [[1, 1, 1, 1], []],
    [[0, 0x94, 4, 0], []],
    [[...Array(9).fill(alert).flat(), 1, 1, 0, 0], [...Array(9).fill(alert).flat()]],
  ];
  for (const [options, copied] of cases) {
    const frame = buildUdp({ fragment: 0, options, payload: bytes(1000) });
    for (const mtu of [68, 300, 576]) {
      const fragments = split(frame, mtu);
      assert.deepEqual(joined(fragments, 0x1234), frame, `${options}, MTU ${mtu}`);
      fragments.forEach((one, i) => {
        assert.deepEqual(readIp(one).ip.options, i === 0 ? options : copied);
        assert.ok(one.length <= 14 + mtu);
      });
    }
  }
});

Deno.test("Fragmenter.split gives every packet an identification of its own, none is 0", () => {
  const fragmenter = new Fragmenter(new SeededRandom(5));
  const { arena, pdu } = decoded(buildIp({ fragment: 0, protocol: 47 }, bytes(80)));
  const seen = new Set<number>();
  const steps = new Set<number>();
  let before = 0;
  for (let i = 0; i < 65_535; i++) {
    arena.view.setUint16(pdu.ip + 2, 100);
    let last = -1;
    fragmenter.split(arena, pdu, 68, (frame) => {
      const id = arena.view.getUint16(frame + 18);
      assert.ok(last === -1 || last === id);
      last = id;
      return 0;
    });
    arena.sent();
    seen.add(last);
    steps.add((last - before) & 0xffff);
    before = last;
  }
  assert.ok(!seen.has(0));
  assert.ok(seen.size >= 65_535 - 1);
  assert.ok(steps.size > 2, "a plain counter");
});

Deno.test("Fragmenter.split completes a checksum that was left to the interface", () => {
  const frame = buildUdp({ fragment: 0, payload: bytes(3000) });
  const { arena, pdu } = decoded(frame);
  const { view } = arena;
  const pseudo = [...frame.subarray(26, 34), 0, 17, ...frame.subarray(38, 40)];
  view.setUint16(pdu.l4 + 6, 0xffff - naiveChecksum(pseudo));
  leaveChecksum(view, pdu.frame, pdu.l4, 17);
  assert.equal(new Fragmenter(new SeededRandom(1)).split(arena, pdu, 1500, queue(arena)), 0);
  for (let i = 0; i < arena.txCount; i++) {
    const vnet = arena.tx[2 * i]! - VNET_BYTES;
    assert.ok(arena.bytes.subarray(vnet, vnet + VNET_BYTES).every((byte) => byte === 0));
  }
  const result = join(takeSent(arena));
  assert.deepEqual(readUdp(result).payload, bytes(3000));
});

Deno.test("Fragmenter.split stops at the first reason that it is given", () => {
  for (const taken of [0, 1, 2]) {
    const { arena, pdu } = decoded(PACKETS.UDP!);
    let calls = 0;
    const send = () => calls++ < taken ? 0 : Reason["arp-queue-full"];
    const reason = new Fragmenter(new SeededRandom(1)).split(arena, pdu, 1500, send);
    assert.deepEqual([reason, calls], [Reason["arp-queue-full"], taken + 1]);
  }
});

Deno.test("Fragmenter.split gives no-buffer when the scratch space is used up", () => {
  const { arena, pdu } = decoded(PACKETS.UDP!);
  while (arena.scratch(1000) >= 0);
  const reason = new Fragmenter(new SeededRandom(1)).split(arena, pdu, 1500, queue(arena));
  assert.equal(reason, Reason["no-buffer"]);
});

Deno.test("leavesWhole is true up to the MTU and the longest fragment", () => {
  const cases: [boolean, Partial<Pdu>][] = [
    [true, { totalLength: 1500 }],
    [false, { totalLength: 1501 }],
    [true, { totalLength: 1000, fragmentBytes: 1500 }],
    [true, { totalLength: 1000, fragmentBytes: 1000 }],
    [false, { totalLength: 1001, fragmentBytes: 1000 }],
    [false, { totalLength: 1501, fragmentBytes: 9000 }],
    [true, { totalLength: 576, fragmentBytes: 100 }],
    [false, { totalLength: 577, fragmentBytes: 100 }],
  ];
  for (const [expected, fields] of cases) {
    const { arena, pdu } = decoded(buildTcp());
    Object.assign(pdu, fields);
    assert.equal(leavesWhole(arena, pdu, 1500), expected, JSON.stringify(fields));
  }
});

/** A TCP segment of 9,000 bytes with 12 of options, to be cut up: in an arena, decoded. */
function segmented(gsoSize: number): { arena: Arena; pdu: Pdu; whole: Uint8Array<ArrayBuffer> } {
  const tcpOptions = [1, 1, 8, 10, 0, 0, 0, 1, 0, 0, 0, 2];
  const whole = buildTcp({ fragment: 0, flags: "PA", ack: 1, tcpOptions, payload: bytes(9000) });
  const { frame, vnet } = leaveToNic(whole, gsoSize);
  const arena = new Arena();
  const pdu = new Pdu();
  place(arena, frame);
  arena.bytes.set(vnet);
  assert.equal(decodeAll(arena, frame.length, pdu), 0);
  return { arena, pdu, whole };
}

Deno.test("leavesWhole of a segment that is to be cut up asks for the packets it becomes", () => {
  for (const gsoSize of [100, 1448, 1449, 8948, 8999, 9000]) {
    const { arena, pdu } = segmented(gsoSize);
    const longest = 52 + gsoSize;
    assert.equal(leavesWhole(arena, pdu, longest), true);
    assert.equal(leavesWhole(arena, pdu, longest - 1), false);
  }
});

Deno.test("Fragmenter.split cuts a segment that is to be cut up finer: no fragments", () => {
  for (const mtu of [68, 576, 1280, 1499]) {
    const { arena, pdu, whole } = segmented(1448);
    assert.equal(new Fragmenter(new SeededRandom(1)).split(arena, pdu, mtu, queue(arena)), 0);
    assert.deepEqual([...arena.tx.subarray(0, 2)], [pdu.frame, whole.length]);
    const vnet = arena.bytes.slice(pdu.frame - VNET_BYTES, pdu.frame);
    const [frame] = takeSent(arena);
    const packets = transmit(frame!, vnet);
    assert.ok(packets.every((one) => one.length <= 14 + mtu));
    assert.equal(packets.length, Math.ceil(9000 / (mtu - 52)));
    const parts = packets.map(readTcp);
    assert.deepEqual(parts.flatMap(({ payload }) => [...payload]), [...bytes(9000)]);
    assert.ok(parts.every(({ fragment }) => fragment === 0));
  }
});

Deno.test("Fragmenter.split gives mtu-exceeded where not even 8 bytes of data have room", () => {
  const { arena, pdu } = segmented(1448);
  const split = (mtu: number): number =>
    new Fragmenter(new SeededRandom(1)).split(arena, pdu, mtu, queue(arena));
  assert.equal(split(59), Reason["mtu-exceeded"]);
  assert.equal(arena.txCount, 0);
  assert.equal(split(60), 0);
});

Deno.test("dontFragment reads the flag", () => {
  for (const [word, expected] of [[0x4000, true], [0, false], [0x8000, false]] as const) {
    const { arena, pdu } = decoded(buildTcp({ fragment: word }));
    assert.equal(dontFragment(arena.view, pdu), expected);
  }
});

tsharkTest(
  "Fragmenter.split makes fragments that tshark puts together without a complaint",
  async () => {
    const fragmenter = new Fragmenter(new SeededRandom(9));
    const frames = Object.entries(PACKETS).flatMap(([name, frame]) =>
      name === "another protocol"
        ? []
        : [1500, 1280, 576].flatMap((mtu) => split(frame, mtu, 0, fragmenter))
    );
    assert.deepEqual(await judge(frames), []);
  },
);
