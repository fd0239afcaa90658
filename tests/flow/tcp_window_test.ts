/**
 * Which segments lie in their connection's window. Sequence numbers are relative to the side's first one,
 * as Wireshark shows them; every case runs from several first ones, across 2³¹ and 2³².
 */
import assert from "node:assert/strict";
import { Arena } from "../../src/core/arena.ts";
import { SeededRandom } from "../../src/core/random.ts";
import { FlowTable, SIDE_A as A, SIDE_B as B } from "../../src/flow/table.ts";
import { advanceWindow, inWindow, openWindow } from "../../src/flow/tcp_window.ts";
import type { Pdu } from "../../src/wire/pdu.ts";
import { SYN } from "../../src/wire/tcp.ts";
import { buildTcp } from "../support/frames.ts";
import { decodeInto } from "../wire/place.ts";

interface Segment {
  readonly flags?: string;
  readonly seq: number;
  readonly ack?: number;
  readonly window?: number;
  readonly bytes?: number;
  readonly options?: number[];
}

const FIRST_NUMBERS: [number, number][] = [
  [0, 0],
  [1000, 4_000_000_000],
  [2 ** 31 - 3, 2 ** 32 - 3],
  [2 ** 32 - 1, 2 ** 31 - 1],
  [2 ** 31 - 50_000, 2 ** 32 - 50_000],
];

/** Window scale 7 and SACK permitted, after the usual options before them. */
const SCALE_7 = [2, 4, 5, 180, 4, 2, 1, 3, 3, 7, 0, 0];

const ARENA = new Arena();

/** A connection's two ends, seen from the middle. */
class Wire {
  readonly #arena = ARENA;
  readonly #table = new FlowTable(4, new SeededRandom(1));
  readonly #entry: number;
  readonly #first: [number, number];

  constructor(first: [number, number]) {
    this.#first = first;
    this.#table.insert(6, 9, 9, 9, 9, 9, 9); // so that the entry is not the first
    this.#entry = this.#table.insert(6, 1, 2, 3, 4, 5, 6);
  }

  /** True if the segment of `side` is in the window; then the window moves on. */
  takes(side: number, segment: Segment): boolean {
    const pdu = this.#pdu(side, segment);
    if (!inWindow(this.#table, this.#entry, side, pdu, false)) return false;
    if ((pdu.tcpFlags & SYN) !== 0) {
      openWindow(this.#arena.view, this.#table, this.#entry, side, pdu);
    } else if (segment.flags?.includes("R") !== true) {
      advanceWindow(this.#table, this.#entry, side, pdu);
    }
    return true;
  }

  /** As `takes`, and changes nothing. */
  wouldTake(side: number, segment: Segment, proves = false): boolean {
    return inWindow(this.#table, this.#entry, side, this.#pdu(side, segment), proves);
  }

  #pdu(side: number, { flags = "A", seq, ack, window = 1000, bytes = 0, options }: Segment): Pdu {
    return decodeInto(
      this.#arena,
      buildTcp({
        flags,
        window,
        seq: (this.#first[side]! + seq) % 2 ** 32,
        ack: ack === undefined ? 0 : (this.#first[1 - side]! + ack) % 2 ** 32,
        payload: new Uint8Array(bytes),
        tcpOptions: options ?? [],
      }),
    );
  }
}

interface Handshake {
  readonly a?: number[];
  readonly b?: number[];
  /** Windows announced by the SYN and the SYN ACK, which are never scaled. */
  readonly windowA?: number;
  readonly windowB?: number;
}

function opened(first: [number, number], handshake: Handshake = {}): Wire {
  const { a, b, windowA = 1000, windowB = 1000 } = handshake;
  const wire = new Wire(first);
  const syn = { flags: "S", seq: 0, window: windowA, options: a ?? [] };
  assert.ok(wire.takes(A, syn));
  assert.ok(wire.takes(B, { flags: "SA", seq: 0, ack: 1, window: windowB, options: b ?? [] }));
  assert.ok(wire.takes(A, { seq: 1, ack: 1 }));
  return wire;
}

type Step = [side: number, segment: Segment, taken: boolean];

/** After the handshake, where either side has announced 1000 bytes. */
const CASES: [string, Step[], Handshake?][] = [
  ["data in order, both ways", [
    [A, { seq: 1, ack: 1, bytes: 500 }, true],
    [B, { seq: 1, ack: 501, bytes: 300 }, true],
    [A, { seq: 501, ack: 301, bytes: 1000 }, true],
  ]],
  ["a full window, and no more before it is acknowledged", [
    [A, { seq: 1, ack: 1, bytes: 1000 }, true],
    [A, { seq: 1002, ack: 1, bytes: 1 }, false],
    [B, { seq: 1, ack: 1001 }, true],
    [A, { seq: 1002, ack: 1, bytes: 1 }, true],
  ]],
  ["a segment that begins where the window ends, as a FIN may", [
    [A, { seq: 1, ack: 1, bytes: 1000 }, true],
    [A, { flags: "FA", seq: 1001, ack: 1 }, true],
  ]],
  ["segments out of order", [
    [A, { seq: 501, ack: 1, bytes: 400 }, true],
    [A, { seq: 1, ack: 1, bytes: 500 }, true],
    [B, { seq: 1, ack: 901 }, true],
  ]],
  ["a retransmission", [
    [A, { seq: 1, ack: 1, bytes: 500 }, true],
    [A, { seq: 1, ack: 1, bytes: 500 }, true],
    [B, { seq: 1, ack: 501 }, true],
    [A, { seq: 1, ack: 1, bytes: 500 }, true],
  ]],
  ["an old duplicate, up to a window back and no further", [
    [A, { seq: 1, ack: 1, bytes: 1000 }, true],
    [B, { seq: 1, ack: 1001 }, true],
    [A, { seq: 1001, ack: 1, bytes: 1000 }, true],
    [A, { seq: 901, ack: 1, bytes: 99 }, false],
    [A, { seq: 901, ack: 1, bytes: 100 }, true],
    [A, { seq: 1001, ack: 1 }, true],
    [A, { seq: 1000, ack: 1 }, false],
  ]],
  ["data beyond the window, far and near, and half the sequence space away", [
    [A, { seq: 1002, ack: 1, bytes: 1 }, false],
    [A, { seq: 70_000, ack: 1, bytes: 1 }, false],
    [A, { seq: 2 ** 31 - 2000, ack: 1, bytes: 1 }, false],
    [A, { seq: 2 ** 31, ack: 1, bytes: 1 }, false],
    [A, { seq: 2 ** 31 + 2000, ack: 1, bytes: 1 }, false],
    [B, { seq: 1002, ack: 1, bytes: 1 }, false],
  ]],
  ["an acknowledgment of what was never sent", [
    [A, { seq: 1, ack: 2 }, false],
    [B, { seq: 1, ack: 2 }, false],
    [A, { seq: 1, ack: 1, bytes: 10 }, true],
    [B, { seq: 1, ack: 11 }, true],
    [B, { seq: 1, ack: 12 }, false],
  ]],
  ["an acknowledgment that is old, but not too old", [
    [B, { seq: 1, ack: 1, bytes: 1000 }, true],
    [A, { seq: 1, ack: 1001 }, true],
    [A, { seq: 1, ack: 1 }, true],
    [A, { seq: 1, ack: 1001 - 66_000 }, true],
    [A, { seq: 1, ack: 1001 - 66_001 }, false],
    [A, { seq: 1, ack: 1001 - 2 ** 31 + 1 }, false],
  ]],
  ["a keep-alive with and without a byte, and its answer", [
    [A, { seq: 1, ack: 1, bytes: 500 }, true],
    [B, { seq: 1, ack: 501 }, true],
    [A, { seq: 500, ack: 1 }, true],
    [A, { seq: 500, ack: 1, bytes: 1 }, true],
    [B, { seq: 1, ack: 501 }, true],
    [B, { seq: 0, ack: 501 }, true],
  ]],
  ["zero windows, probes of them, and windows that open again", [
    [A, { seq: 1, ack: 1, bytes: 1000 }, true],
    [B, { seq: 1, ack: 1001, window: 0 }, true],
    [A, { seq: 1001, ack: 1, bytes: 1 }, true],
    [B, { seq: 1, ack: 1001, window: 0 }, true],
    [A, { seq: 1003, ack: 1, bytes: 1 }, false],
    [B, { seq: 1, ack: 1002, window: 500 }, true],
    [A, { seq: 1002, ack: 1, bytes: 500 }, true],
  ]],
  ["a window that shrinks: what was allowed stays allowed", [
    [B, { seq: 1, ack: 1, window: 10 }, true],
    [A, { seq: 1, ack: 1, bytes: 1000 }, true],
  ]],
  ["a window announced as 0 from the first", [
    [A, { seq: 1, ack: 1, bytes: 1 }, true],
    [A, { seq: 3, ack: 1, bytes: 1 }, false],
    [B, { seq: 1, ack: 2, window: 100 }, true],
    [A, { seq: 2, ack: 1, bytes: 100 }, true],
  ], { windowB: 0 }],
  ["scaled windows", [
    [B, { seq: 1, ack: 1, window: 1000 }, true],
    [A, { seq: 1 + 128_000, ack: 1, bytes: 1 }, true],
    [A, { seq: 2 + 128_000, ack: 1, bytes: 1 }, false],
    // B may send one window of A's, which announced 1000 × 128 with its ACK.
    [B, { seq: 1 + 128_000, ack: 2 + 128_000, bytes: 1 }, true],
    [B, { seq: 2 + 128_000, ack: 2 + 128_000, bytes: 1 }, false],
  ], { a: SCALE_7, b: SCALE_7 }],
  ["no scaling where only one side offers it", [
    [A, { seq: 1001, ack: 1, bytes: 1 }, true],
    [A, { seq: 1002, ack: 1, bytes: 1 }, false],
  ], { a: SCALE_7 }],
  ["no scaling where only the other side offers it", [
    [A, { seq: 1002, ack: 1, bytes: 1 }, false],
    [B, { seq: 1002, ack: 1, bytes: 1 }, false],
  ], { b: SCALE_7 }],
  ["a scale above 14, which counts as 14", [
    [B, { seq: 1, ack: 1, window: 1 }, true],
    [A, { seq: 1 + 16_384, ack: 1, bytes: 1 }, true],
    [A, { seq: 2 + 16_384, ack: 1, bytes: 1 }, false],
  ], { a: [3, 3, 15, 0], b: [3, 3, 255, 0], windowB: 1 }],
  ["options that are malformed, up to where they are", [
    [B, { seq: 1, ack: 1, window: 1000 }, true],
    [A, { seq: 1002, ack: 1, bytes: 1 }, false],
  ], { a: SCALE_7, b: [3, 9, 7, 1] }],
  ["options of length 0", [
    [A, { seq: 1002, ack: 1, bytes: 1 }, false],
  ], { a: SCALE_7, b: [8, 0, 3, 3, 7, 0, 0, 0] }],
  ["an option whose length is cut off", [
    [A, { seq: 1002, ack: 1, bytes: 1 }, false],
  ], { a: SCALE_7, b: [1, 1, 1, 3] }],
  ["an RST in the window, at its start, in it, and at its end", [
    [A, { flags: "R", seq: 1 }, true],
    [A, { flags: "R", seq: 500 }, true],
    [A, { flags: "R", seq: 1001 }, true],
    [B, { flags: "RA", seq: 1, ack: 1 }, true],
  ]],
  ["an RST beyond the window, before it, and half the sequence space away", [
    [A, { flags: "R", seq: 1002 }, false],
    [A, { flags: "R", seq: 0 }, false],
    [A, { flags: "R", seq: 2 ** 31 }, false],
    [A, { flags: "R", seq: 2 ** 31 + 500 }, false],
    [B, { flags: "R", seq: 1002 }, false],
    [B, { flags: "R", seq: 0 }, false],
  ]],
  ["an old RST, of what has been acknowledged", [
    [A, { seq: 1, ack: 1, bytes: 1000 }, true],
    [B, { seq: 1, ack: 1001 }, true],
    [A, { flags: "R", seq: 1000 }, false],
    [A, { flags: "R", seq: 1001 }, true],
  ]],
  ["FINs, and what comes after them", [
    [A, { flags: "FA", seq: 1, ack: 1 }, true],
    [B, { seq: 1, ack: 2, bytes: 100 }, true],
    [A, { seq: 2, ack: 101 }, true],
    [B, { flags: "FA", seq: 101, ack: 2 }, true],
    [A, { seq: 2, ack: 102 }, true],
    [A, { seq: 2, ack: 103 }, false],
  ]],
  ["a SYN ACK once more", [
    [B, { flags: "SA", seq: 0, ack: 1 }, true],
  ]],
  ["a SYN ACK of another connection", [
    [B, { flags: "SA", seq: 5000, ack: 1 }, false],
    [B, { flags: "SA", seq: 0, ack: 7 }, false],
  ]],
];

for (const [name, steps, handshake] of CASES) {
  Deno.test(`inWindow knows ${name}`, () => {
    for (const first of FIRST_NUMBERS) {
      const wire = opened(first, handshake);
      steps.forEach(([side, segment, taken], i) => {
        const where = `step ${i} from ${first.join(", ")}`;
        assert.equal(wire.wouldTake(side, segment), taken, where);
        assert.equal(wire.takes(side, segment), taken, where);
      });
    }
  });
}

/** The SYN alone has been seen. */
const ANSWERS: [string, Segment, boolean][] = [
  ["a SYN ACK that acknowledges the SYN", { flags: "SA", seq: 0, ack: 1 }, true],
  ["a SYN ACK that acknowledges more", { flags: "SA", seq: 0, ack: 2 }, false],
  ["a SYN ACK that acknowledges something else", { flags: "SA", seq: 0, ack: 2 ** 31 }, false],
  ["a SYN ACK of long ago", { flags: "SA", seq: 0, ack: 1 - 0x1_0000 }, false],
  ["an RST that acknowledges the SYN", { flags: "RA", seq: 0, ack: 1 }, true],
  ["an RST that acknowledges something else", { flags: "RA", seq: 0, ack: 77 }, false],
  ["an RST that acknowledges nothing", { flags: "R", seq: 0 }, false],
  ["an ACK of a host that remembers another connection", { seq: 12_345, ack: 999_999 }, true],
  ["a SYN: both open at once", { flags: "S", seq: 0 }, true],
];

for (const [name, answer, taken] of ANSWERS) {
  Deno.test(`inWindow ${taken ? "takes" : "refuses"} as answer to a SYN ${name}`, () => {
    for (const first of FIRST_NUMBERS) {
      const wire = new Wire(first);
      assert.ok(wire.takes(A, { flags: "S", seq: 0 }));
      assert.equal(wire.wouldTake(B, answer), taken, `from ${first.join(", ")}`);
    }
  });
}

Deno.test("inWindow takes the SYN ACK of a SYN with data, whether it acknowledges the data or not", () => {
  for (const first of FIRST_NUMBERS) {
    for (const ack of [1, 101]) {
      const wire = new Wire(first);
      assert.ok(wire.takes(A, { flags: "S", seq: 0, bytes: 100 }));
      assert.ok(wire.takes(B, { flags: "SA", seq: 0, ack }));
    }
  }
});

Deno.test("inWindow wants the ACK that ends the handshake to be exact, so that nobody guesses it", () => {
  for (const first of FIRST_NUMBERS) {
    const wire = new Wire(first);
    assert.ok(wire.takes(A, { flags: "S", seq: 0 }));
    assert.ok(wire.takes(B, { flags: "SA", seq: 0, ack: 1 }));
    for (const ack of [0, 2, -1, -66_000, 2 ** 31]) {
      assert.ok(!wire.wouldTake(A, { seq: 1, ack }, true), `${ack} from ${first.join(", ")}`);
    }
    assert.ok(wire.wouldTake(A, { seq: 1, ack: 0 }, false), "later it may be old");
    assert.ok(wire.wouldTake(A, { seq: 1, ack: 1 }, true));
  }
});

Deno.test("inWindow takes what either side says when both have opened at once", () => {
  for (const first of FIRST_NUMBERS) {
    const wire = new Wire(first);
    assert.ok(wire.takes(A, { flags: "S", seq: 0 }));
    assert.ok(wire.takes(B, { flags: "S", seq: 0 }));
    assert.ok(!wire.wouldTake(A, { flags: "SA", seq: 0, ack: 2 }));
    assert.ok(wire.takes(A, { flags: "SA", seq: 0, ack: 1 }));
    assert.ok(wire.takes(B, { flags: "SA", seq: 0, ack: 1 }));
    assert.ok(wire.takes(A, { seq: 1, ack: 1, bytes: 1000 }));
    assert.ok(wire.takes(B, { seq: 1, ack: 1001, bytes: 1000 }));
    assert.ok(!wire.wouldTake(B, { seq: 1002, ack: 1001, bytes: 1 }));
  }
});

Deno.test("inWindow follows 10 GB in order, through every wrap of the sequence numbers", () => {
  const wire = opened([2 ** 32 - 1, 2 ** 31 - 1], { a: SCALE_7, b: SCALE_7, windowB: 65_535 });
  const step = 100;
  const jump = 8_000_000; // of a window of 65,535 × 128 bytes
  assert.ok(wire.takes(B, { seq: 1, ack: 1, window: 65_535 }));
  for (let seq = 1; seq < 10e9; seq += jump) {
    const there = { seq: seq + jump - step, ack: 1, bytes: step };
    assert.ok(wire.takes(A, there), `at ${seq}`);
    assert.ok(wire.takes(B, { seq: 1, ack: seq + jump, window: 65_535 }), `at ${seq}`);
    assert.ok(!wire.wouldTake(A, { ...there, seq: there.seq + 2 ** 31 }));
  }
});
