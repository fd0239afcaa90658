import assert from "node:assert/strict";
import { Arena } from "../../src/core/arena.ts";
import { below, type Random, SeededRandom } from "../../src/core/random.ts";
import { HELD, type ReasonName, reasonName } from "../../src/core/reason.ts";
import {
  MAX_DATAGRAMS,
  MAX_HELD_BYTES,
  MAX_SOURCE_BYTES,
  MAX_SOURCE_DATAGRAMS,
  Reassembly,
} from "../../src/stack/reassembly.ts";
import { REASSEMBLY_TIMEOUT_MS } from "../../src/stack/fragment_format.ts";
import { decodeFrame, decodeIpv4 } from "../../src/wire/decode.ts";
import { Pdu } from "../../src/wire/pdu.ts";
import { cut, fragment, keyOf, permutations, shuffled, whole } from "../support/fragments.ts";
import { buildIcmp, buildIp, buildTcp, buildUdp, type Ip, readIp } from "../support/frames.ts";
import { FRAME_OFFSET, OWN_MAC, place } from "../wire/place.ts";

/** What `add` gave: a whole frame, "held", or the name of a reason. */
type Outcome = Uint8Array<ArrayBuffer> | "held" | ReasonName;

/** A Reassembly, what it told, and an account of every fragment. */
class Table {
  readonly arena = new Arena();
  readonly reassembly: Reassembly;
  readonly dropped: Partial<Record<ReasonName, number>> = {};
  readonly timedOut: (Uint8Array | null)[] = [];
  nowMs = 0;
  readonly #pdu = new Pdu();

  constructor() {
    this.reassembly = new Reassembly({
      dropped: (reason, fragments) => {
        assert.ok(fragments >= 0);
        const name = reasonName(reason);
        this.dropped[name] = (this.dropped[name] ?? 0) + fragments;
      },
      timedOut: (start) => this.timedOut.push(start),
    });
  }

  add(frame: Uint8Array): Outcome {
    const { arena } = this;
    const pdu = this.#pdu;
    place(arena, frame);
    assert.equal(decodeFrame(arena.view, FRAME_OFFSET, frame.length, OWN_MAC, pdu), 0);
    assert.equal(decodeIpv4(arena.view, pdu), 0);
    assert.equal(pdu.fragment, 1);
    const result = this.reassembly.add(arena, pdu, this.nowMs);
    if (result === HELD) return "held";
    if (result < 0) return reasonName(result);
    const lengthBytes = 14 + arena.view.getUint16(result + 16);
    const completed = arena.bytes.slice(result, result + lengthBytes);
    arena.sent();
    return completed;
  }

  /** What each frame came to; a whole datagram shows as "whole". */
  addAll(frames: readonly Uint8Array[]): string[] {
    return frames.map((frame) => {
      const outcome = this.add(frame);
      return typeof outcome === "string" ? outcome : "whole";
    });
  }

  assertEmpty(): void {
    assert.deepEqual([this.reassembly.count, this.reassembly.heldBytes], [0, 0]);
  }
}

function bytes(length: number, factor = 7): Uint8Array {
  return Uint8Array.from({ length }, (_, i) => i * factor);
}

Deno.test("Reassembly.add completes a datagram with its last missing fragment, in every order", () => {
  const frames = {
    UDP: buildUdp({ payload: bytes(88) }),
    TCP: buildTcp({ flags: "PA", payload: bytes(70) }),
    "echo request": buildIcmp({ payload: bytes(93) }),
    "another protocol": buildIp({ protocol: 47 }, bytes(90)),
  };
  for (const [name, frame] of Object.entries(frames)) {
    const table = new Table();
    for (const order of permutations(cut(frame, 24))) {
      assert.equal(order.length, 4 + (frame.length > 14 + 20 + 96 ? 1 : 0), name);
      const outcomes = order.map((one) => table.add(one));
      assert.deepEqual(outcomes.slice(0, -1), order.slice(1).map(() => "held"), name);
      assert.deepEqual(outcomes.at(-1), whole(frame), name);
      assert.equal(table.reassembly.longestBytes, 44);
      table.assertEmpty();
    }
    assert.deepEqual(table.dropped, {});
  }
});

Deno.test("Reassembly.add completes 65,507 bytes of ping in random orders", () => {
  const random = new SeededRandom(1);
  const frame = buildIcmp({ payload: bytes(65_507) });
  const expected = whole(frame);
  const table = new Table();
  for (const dataBytes of [1480, 1480, 1480, 552, 32_768, 65_504]) {
    const order = shuffled(random, cut(frame, dataBytes));
    const outcomes = order.map((one) => table.add(one));
    assert.ok(outcomes.slice(0, -1).every((outcome) => outcome === "held"));
    assert.deepEqual(outcomes.at(-1), expected, `${dataBytes} bytes each`);
    table.assertEmpty();
  }
});

Deno.test("Reassembly.add keeps datagrams apart by source, protocol and identification", () => {
  const random = new SeededRandom(2);
  const frames = [
    buildUdp({ payload: bytes(100), id: 1 }),
    buildUdp({ payload: bytes(100, 3), id: 2 }),
    buildUdp({ payload: bytes(100, 5), id: 1, src: "192.168.0.7" }),
    buildIcmp({ payload: bytes(100, 11), id: 1 }),
  ];
  const wholes = new Map(frames.map((frame) => [keyOf(readIp(frame).ip), whole(frame)]));
  for (let round = 0; round < 50; round++) {
    const table = new Table();
    let completed = 0;
    for (const one of shuffled(random, frames.flatMap((frame) => cut(frame, 16)))) {
      const outcome = table.add(one);
      if (outcome === "held") continue;
      assert.deepEqual(outcome, wholes.get(keyOf(readIp(one).ip)));
      completed++;
    }
    assert.equal(completed, frames.length);
    table.assertEmpty();
  }
});

Deno.test("Reassembly.add gives the first fragment's Ethernet and IP header", () => {
  const frame = buildUdp({ payload: bytes(56), tos: 0x10 });
  const options = [0x94, 4, 0, 0];
  const first = { srcMac: "02:00:00:00:00:01", ttl: 9, tos: 0x20, options };
  const [a, , c] = cut(frame, 24, first);
  const [, b] = cut(frame, 24, { srcMac: "02:00:00:00:00:02", ttl: 200 });
  const { ip, l4 } = readIp(frame);
  for (const order of permutations([a!, b!, c!])) {
    const table = new Table();
    const outcomes = order.map((one) => table.add(one));
    assert.deepEqual(outcomes.at(-1), buildIp({ ...ip, ...first, fragment: 0 }, l4));
  }
});

Deno.test("Reassembly.add keeps a router's congestion mark, whichever fragment bears it", () => {
  const frame = buildUdp({ payload: bytes(56) });
  for (const marked of [-1, 0, 1, 2]) {
    const table = new Table();
    const fragments = cut(frame, 24, { tos: 0xb8 | 2 }).map((one, i) => {
      const { ip, l4 } = readIp(one);
      return i === marked ? buildIp({ ...ip, tos: 0xb8 | 3 }, l4) : one;
    });
    const completed = fragments.map((one) => table.add(one)).at(-1) as Uint8Array;
    assert.equal(readIp(completed).ip.tos, 0xb8 | (marked < 0 ? 2 : 3), `fragment ${marked}`);
  }
});

Deno.test("Reassembly.add ignores exact duplicates, and padding behind a fragment", () => {
  const frame = buildUdp({ payload: bytes(40) });
  const [a, b, c] = cut(frame, 16);
  const padded = new Uint8Array(60).fill(0xa5);
  padded.set(b!);
  for (const order of [[a, a, b, b, c], [c, c, b, a], [b, padded, c, c, c, a], [padded, b, a, c]]) {
    const table = new Table();
    const outcomes = order.map((one) => table.add(one!));
    assert.deepEqual(outcomes.at(-1), whole(frame));
    assert.ok(outcomes.slice(0, -1).every((outcome) => outcome === "held"));
    assert.deepEqual(table.dropped, {});
    table.assertEmpty();
  }
});

const ALONE: [ReasonName | "held", string, Uint8Array][] = [
  ["fragment-length", "no data, first", fragment(0, [], false)],
  ["fragment-length", "no data, last", fragment(8, [], true)],
  ["fragment-length", "7 bytes and more to come", fragment(0, bytes(7), false)],
  ["fragment-length", "20 bytes and more to come", fragment(8, bytes(20), false)],
  ["fragment-length", "one byte beyond 65,535 (ping of death)", fragment(65_512, bytes(4), true)],
  ["held", "up to 65,535", fragment(65_512, bytes(3), true)],
  [
    "fragment-length",
    "beyond 65,535 by its options",
    fragment(65_512, bytes(3), true, {
      options: [1, 1, 1, 1],
    }),
  ],
  ["fragment-length", "the highest offset", fragment(65_528, bytes(8), false)],
  ["fragment-tiny", "8 bytes of TCP", fragment(0, bytes(8), false, { protocol: 6 })],
  ["fragment-tiny", "16 bytes of TCP", fragment(0, bytes(16), false, { protocol: 6 })],
  ["fragment-tiny", "TCP from byte 8 on (RFC 3128)", fragment(8, bytes(8), true, { protocol: 6 })],
  ["fragment-tiny", "TCP from byte 16 on", fragment(16, bytes(8), false, { protocol: 6 })],
  ["held", "TCP from byte 24 on", fragment(24, bytes(8), false, { protocol: 6 })],
  ["held", "24 bytes of TCP, header whole", fragment(0, cutHeader(0x50), false, { protocol: 6 })],
  [
    "fragment-tiny",
    "24 of 28 bytes of header",
    fragment(0, cutHeader(0x70), false, {
      protocol: 6,
    }),
  ],
  ["held", "8 bytes of UDP", fragment(0, bytes(8), false)],
  ["held", "8 bytes of ICMP", fragment(0, bytes(8), false, { protocol: 1 })],
];

/** 24 bytes of TCP with that data offset. */
function cutHeader(dataOffset: number): Uint8Array {
  const header = bytes(24);
  header[12] = dataOffset;
  return header;
}

for (const [expected, name, frame] of ALONE) {
  Deno.test(`Reassembly.add gives ${expected} for a fragment: ${name}`, () => {
    const table = new Table();
    assert.equal(table.add(frame), expected);
    assert.deepEqual(table.dropped, {});
    if (expected !== "held") table.assertEmpty();
  });
}

Deno.test("Reassembly.add lets a malformed fragment pass by the datagram that it names", () => {
  const frame = buildUdp({ payload: bytes(40) });
  const [a, b, c] = cut(frame, 16);
  const table = new Table();
  assert.deepEqual(table.addAll([a!, fragment(16, bytes(3), false), b!, c!]), [
    "held",
    "fragment-length",
    "held",
    "whole",
  ]);
});

type Piece = [start: number, end: number, last?: "last"];

/** Pieces of the same bytes; the last of each row is the one that contradicts the others. */
const CONTRADICTIONS: Record<string, Piece[]> = {
  "a tail within (teardrop)": [[0, 40], [24, 28, "last"]],
  "a fragment within another": [[0, 40], [8, 16]],
  "a fragment around another": [[8, 16], [0, 40]],
  "one that begins too early": [[0, 16], [8, 24]],
  "one that ends too late": [[16, 32], [8, 24]],
  "the same start, longer": [[8, 16], [8, 24]],
  "the same start, shorter": [[8, 24], [8, 16]],
  "the same end": [[8, 24], [16, 24]],
  "one over two": [[0, 8], [8, 16], [0, 16]],
  "a second end, further": [[0, 8], [16, 24, "last"], [24, 32, "last"]],
  "a second end, nearer": [[16, 24, "last"], [8, 16, "last"]],
  "more behind the end": [[16, 24, "last"], [24, 32]],
  "an end before what came": [[24, 32], [8, 16, "last"]],
  "the last, but not the last": [[16, 24, "last"], [16, 24]],
  "not the last, but the last": [[16, 24], [16, 24, "last"]],
};

for (const [name, pieces] of Object.entries(CONTRADICTIONS)) {
  Deno.test(`Reassembly.add drops the datagram for ${name}, and what is to come of it`, () => {
    const data = bytes(100);
    const frames = pieces.map(([start, end, last]) =>
      fragment(start, data.subarray(start, end), last !== undefined)
    );
    const table = new Table();
    const held = frames.length - 1;
    assert.deepEqual(table.addAll(frames), [...Array(held).fill("held"), "fragment-overlap"]);
    assert.deepEqual(table.dropped, { "fragment-overlap": held });
    const rest = cut(buildUdp({ payload: data.subarray(0, 92) }), 8);
    assert.deepEqual(new Set(table.addAll(rest)), new Set(["fragment-overlap"]));
    // The identification may be used again later; nobody is told about the time being over.
    table.nowMs += REASSEMBLY_TIMEOUT_MS;
    assert.equal(table.addAll(rest).at(-1), "whole");
    assert.deepEqual(table.timedOut, []);
    table.assertEmpty();
  });
}

Deno.test("Reassembly.add drops the datagram for other bytes in the same place", () => {
  for (const [at, isLast] of [[0, false], [16, false], [48, true]] as const) {
    const table = new Table();
    const data = bytes(16);
    assert.equal(table.add(fragment(at, data, isLast)), "held");
    data[15]! ^= 1;
    assert.equal(table.add(fragment(at, data, isLast)), "fragment-overlap");
    assert.deepEqual(table.dropped, { "fragment-overlap": 1 });
  }
});

/**
 * What RFC 791 and this project's rules make of fragments of one datagram: a slow, separate
 * opinion.
 */
class Twin {
  #seen: { start: number; data: Uint8Array; isLast: boolean }[] = [];
  #dead = false;

  add(start: number, data: Uint8Array, isLast: boolean): string {
    if (this.#dead) return "fragment-overlap";
    const same = this.#seen.some((one) =>
      one.start === start && one.isLast === isLast && String(one.data) === String(data)
    );
    if (same) return "held";
    this.#seen.push({ start, data, isLast });
    const map = new Uint8Array(200);
    for (const one of this.#seen) {
      for (let i = 0; i < one.data.length; i++) map[one.start + i]!++;
    }
    const last = this.#seen.filter((one) => one.isLast);
    const end = last.length === 0 ? Infinity : last[0]!.start + last[0]!.data.length;
    const beyond = this.#seen.some((one) => one.start + one.data.length > end);
    this.#dead = map.some((count) => count > 1) || last.length > 1 || beyond;
    if (this.#dead) return "fragment-overlap";
    if (end === Infinity || map.subarray(0, end).some((count) => count === 0)) return "held";
    this.#seen = [];
    return "whole";
  }
}

function randomPiece(random: Random, data: Uint8Array): [number, Uint8Array, boolean] {
  // Mostly pieces of one way to cut 28 bytes.
  const start = 8 * below(random, 4);
  const isLast = start === 24 ? below(random, 20) > 0 : start > 0 && below(random, 40) === 0;
  const usual = below(random, 30) > 0;
  const lengthBytes = isLast ? (usual ? 4 : 1 + below(random, 16)) : usual ? 8 : 16;
  const piece = data.slice(start, start + lengthBytes);
  if (below(random, 60) === 0) piece[0]! ^= 1;
  return [start, piece, isLast];
}

Deno.test("Reassembly.add agrees with a naive twin about random fragments", () => {
  const random = new SeededRandom(3);
  const data = bytes(100);
  const seen: Record<string, number> = {};
  for (let round = 0; round < 3000; round++) {
    const table = new Table();
    const twin = new Twin();
    const pieces: unknown[] = [];
    for (let i = 0; i < 12; i++) {
      const [start, piece, isLast] = randomPiece(random, data);
      pieces.push([start, piece.length, isLast]);
      const expected = twin.add(start, piece, isLast);
      const [outcome] = table.addAll([fragment(start, piece, isLast)]);
      assert.equal(outcome, expected, `round ${round}: ${JSON.stringify(pieces)}`);
      seen[expected] = (seen[expected] ?? 0) + 1;
    }
  }
  assert.ok(seen.whole! > 500 && seen["fragment-overlap"]! > 500, JSON.stringify(seen));
});

Deno.test("Reassembly gives a datagram up 30 s after the first of its fragments came", () => {
  const [a, b, c] = cut(buildUdp({ payload: bytes(40) }), 16);
  const table = new Table();
  table.add(b!);
  table.nowMs = REASSEMBLY_TIMEOUT_MS - 1;
  table.add(a!);
  table.reassembly.expire(table.nowMs);
  assert.equal(table.reassembly.count, 1);
  table.nowMs++;
  table.reassembly.expire(table.nowMs);
  table.assertEmpty();
  assert.deepEqual(table.dropped, { "fragment-timeout": 2 });
  assert.deepEqual(table.timedOut, [a]);
  assert.equal(table.add(c!), "held");
});

Deno.test("Reassembly.add looks at the time itself: no fragment meets one of 30 s ago", () => {
  const [a, b] = cut(buildUdp({ payload: bytes(20) }), 16);
  const table = new Table();
  table.add(a!);
  table.nowMs = REASSEMBLY_TIMEOUT_MS;
  assert.equal(table.add(b!), "held");
  assert.deepEqual(table.dropped, { "fragment-timeout": 1 });
});

Deno.test("Reassembly tells of a lost datagram's start as far as an ICMP error quotes it", () => {
  const options = [0x94, 4, 0, 0];
  const frames = [
    buildUdp({ payload: bytes(3000), id: 1 }),
    buildUdp({ payload: bytes(3000), id: 2, options }),
    buildUdp({ payload: bytes(3000), id: 3 }),
  ].map((frame) => cut(frame, 1480));
  const table = new Table();
  table.add(frames[0]![0]!);
  table.add(frames[1]![0]!);
  table.add(frames[2]![1]!);
  table.reassembly.expire(REASSEMBLY_TIMEOUT_MS);
  assert.deepEqual(table.timedOut, [
    frames[0]![0]!.slice(0, 14 + 548),
    frames[1]![0]!.slice(0, 14 + 548),
    null,
  ]);
});

Deno.test("Reassembly.expire gives up a bounded number a call, and all in the end", () => {
  const table = new Table();
  for (let id = 0; id < 200; id++) table.add(fragment(0, bytes(8), false, { id }));
  let calls = 0;
  while (table.reassembly.count > 0) {
    const before = table.reassembly.count;
    table.reassembly.expire(REASSEMBLY_TIMEOUT_MS);
    assert.ok(before - table.reassembly.count <= 64);
    calls++;
  }
  assert.equal(calls, 4);
  table.assertEmpty();
});

function randomSource(random: Random): string {
  return `10.${below(random, 256)}.${below(random, 256)}.${1 + below(random, 250)}`;
}

Deno.test("Reassembly keeps its bounds under a flood from everywhere, and gets datagrams through", () => {
  const random = new SeededRandom(4);
  const table = new Table();
  const frame = buildUdp({ payload: bytes(60_000) });
  const good = cut(frame, 1480);
  let sent = 0;
  let completed = 0;
  for (let round = 0; round < 12; round++) {
    for (const one of shuffled(random, good)) {
      const outcome = table.add(one);
      if (outcome !== "held") completed++;
      // Twenty halves for each fragment of a datagram that is meant well.
      for (let i = 0; i < 20; i++) {
        const ip = { src: randomSource(random), id: below(random, 65_536) };
        const data = new Uint8Array(round % 2 === 0 ? 8 : 1480);
        assert.equal(table.add(fragment(8 * below(random, 100), data, false, ip)), "held");
        sent++;
      }
      assert.ok(table.reassembly.count <= MAX_DATAGRAMS);
      assert.ok(table.reassembly.heldBytes <= MAX_HELD_BYTES);
    }
  }
  assert.equal(completed, 12);
  assert.deepEqual(Object.keys(table.dropped), ["fragment-limit"]);
  const held = sent - table.dropped["fragment-limit"]!;
  assert.ok(held > 1000 && held <= MAX_DATAGRAMS, `${held} held`);
  table.nowMs = REASSEMBLY_TIMEOUT_MS;
  while (table.reassembly.count > 0) table.reassembly.expire(table.nowMs);
  assert.equal(table.dropped["fragment-timeout"], held);
  table.assertEmpty();
});

const FLOODS: Record<string, (i: number) => Partial<Ip> & { start: number; lengthBytes: number }> =
  {
    "many datagrams": (i) => ({ id: i & 0xffff, start: 0, lengthBytes: 8 }),
    "long datagrams": (i) => ({ id: i >> 3, start: 1480 * (i & 7), lengthBytes: 1480 }),
    "one datagram in 8-byte pieces": (i) => ({ id: 1, start: 16 * (i % 4000), lengthBytes: 8 }),
  };

for (const [name, flood] of Object.entries(FLOODS)) {
  Deno.test(`Reassembly gives one source its share only, and no other's: ${name}`, () => {
    const table = new Table();
    const [a, b] = cut(buildUdp({ payload: bytes(2000) }), 1480);
    assert.equal(table.add(a!), "held");
    const before = table.reassembly.heldBytes;
    for (let i = 0; i < 6000; i++) {
      const { start, lengthBytes, ...ip } = flood(i);
      const data = new Uint8Array(lengthBytes);
      assert.equal(table.add(fragment(start, data, false, { src: "10.0.0.1", ...ip })), "held");
      assert.ok(table.reassembly.count <= MAX_SOURCE_DATAGRAMS + 1);
      assert.ok(table.reassembly.heldBytes - before <= MAX_SOURCE_BYTES);
    }
    assert.ok(typeof table.add(b!) !== "string");
    table.nowMs = REASSEMBLY_TIMEOUT_MS;
    while (table.reassembly.count > 0) table.reassembly.expire(table.nowMs);
    table.assertEmpty();
  });
}

Deno.test("Reassembly bounds what it remembers of datagrams that it has dropped", () => {
  const table = new Table();
  for (let i = 0; i < 5000; i++) {
    const ip = { src: `10.0.${i >> 8}.${i & 255}`, id: i };
    table.add(fragment(0, bytes(16), false, ip));
    assert.equal(table.add(fragment(8, bytes(16), false, ip)), "fragment-overlap");
    assert.ok(table.reassembly.count <= MAX_DATAGRAMS);
  }
  assert.ok(table.reassembly.heldBytes < MAX_DATAGRAMS * 1000);
});

Deno.test("Reassembly.add gives fragment-length where options make the whole too long", () => {
  const options = Array(40).fill(1);
  const table = new Table();
  assert.equal(table.add(fragment(65_504, bytes(8), true)), "held");
  for (let start = 8; start < 65_504; start += 8 * 1023) {
    const lengthBytes = Math.min(8 * 1023, 65_504 - start);
    assert.equal(table.add(fragment(start, new Uint8Array(lengthBytes), false)), "held");
  }
  const count = Math.ceil((65_504 - 8) / (8 * 1023)) + 1;
  assert.equal(table.add(fragment(0, bytes(8), false, { options })), "fragment-length");
  assert.deepEqual(table.dropped, { "fragment-length": count });
  table.assertEmpty();
});

Deno.test("Reassembly.add gives no-buffer and forgets the datagram when there is no room for it", () => {
  const [a, b, c] = cut(buildUdp({ payload: bytes(4000) }), 1480);
  const table = new Table();
  table.addAll([a!, b!]);
  while (table.arena.scratch(1000) >= 0);
  assert.equal(table.add(c!), "no-buffer");
  assert.deepEqual(table.dropped, { "no-buffer": 2 });
  table.assertEmpty();
});
