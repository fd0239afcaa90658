/**
 * Which segments fit their connection, by their sequence numbers. These numbers are relative to the
 * side's first one, as Wireshark shows them; every case runs from several first ones, across 2³¹
 * and 2³².
 */
import assert from "node:assert/strict";
import { Arena } from "../../src/core/arena.ts";
import { SeededRandom } from "../../src/core/random.ts";
import { FlowTable, SIDE_A as A, SIDE_B as B } from "../../src/flow/table.ts";
import {
  ABORTED,
  CLOSED,
  ESTABLISHED,
  RESET_A,
  SYN_RECEIVED,
  SYN_SENT,
} from "../../src/flow/tcp_state.ts";
import { TcpTracker, UNTOUCHED } from "../../src/flow/tcp_tracker.ts";
import { resumeWindow } from "../../src/flow/tcp_window.ts";
import type { Pdu } from "../../src/wire/pdu.ts";
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

/** The segment passes, and leaves the connection as it was. */
const PASSES = "passes";

/** A connection's two ends, seen from the middle. */
class Wire {
  readonly #arena = ARENA;
  readonly #table = new FlowTable(4, new SeededRandom(1));
  readonly #tracker = new TcpTracker(this.#table);
  readonly #entry: number;
  readonly #first: [number, number];

  constructor(first: [number, number]) {
    this.#first = first;
    this.#table.insert(6, 9, 9, 9, 9, 9, 9); // so that the entry is not the first
    this.#entry = this.#table.insert(6, 1, 2, 3, 4, 5, 6);
    this.#table.setState(this.#entry, SYN_SENT);
  }

  get state(): number {
    return this.#table.state(this.#entry);
  }

  /**
   * Sends a segment of `side`: true if it fits, PASSES if it changes nothing, false if it is
   * dropped.
   */
  takes(side: number, segment: Segment): boolean | typeof PASSES {
    const pdu = this.#pdu(side, segment);
    if (this.#tracker.fault(pdu) !== 0) return false;
    const state = this.#tracker.advance(this.#arena.view, pdu);
    if (state === UNTOUCHED) return PASSES;
    this.#table.setState(this.#entry, state);
    return true;
  }

  /** Whether it would be passed on; changes nothing. */
  wouldTake(side: number, segment: Segment): boolean {
    return this.#tracker.fault(this.#pdu(side, segment)) === 0;
  }

  /** As if an earlier run had left it. */
  resume(): void {
    resumeWindow(this.#table, this.#entry);
  }

  /** Whether a SYN of side A on this connection, which is over, begins the next one. */
  beginsNext(segment: Segment, idleMs = 0): boolean {
    return this.#tracker.beginsNext(this.#arena.view, this.#pdu(A, segment), idleMs);
  }

  #pdu(side: number, { flags = "A", seq, ack, window = 1000, bytes = 0, options }: Segment): Pdu {
    const pdu = decodeInto(
      this.#arena,
      buildTcp({
        flags,
        window,
        seq: (this.#first[side]! + seq + 2 ** 32) % 2 ** 32,
        ack: ack === undefined ? 0 : (this.#first[1 - side]! + ack + 2 ** 32) % 2 ** 32,
        payload: new Uint8Array(bytes),
        tcpOptions: options ?? [],
      }),
    );
    pdu.flow = (this.#entry << 1) | side;
    return pdu;
  }
}

/**
 * A connection that an earlier run has left, with windows of `window` bytes and 500 bytes sent by
 * A.
 */
function left(first: [number, number], window: number): Wire {
  const wire = opened(first, { windowA: window, windowB: window });
  assert.ok(wire.takes(A, { seq: 1, ack: 1, bytes: 500, window }));
  assert.ok(wire.takes(B, { seq: 1, ack: 501, window }));
  wire.resume();
  return wire;
}

for (const first of FIRST_NUMBERS) {
  const name = `from ${first.join(" and ")}`;
  Deno.test(`TcpTracker, after a restart, goes on, ${name}`, () => {
    const wire = left(first, 1000);
    assert.equal(wire.takes(A, { seq: 501, ack: 1, bytes: 100 }), true);
    assert.equal(wire.takes(B, { seq: 1, ack: 601 }), true);
    assert.equal(wire.state, ESTABLISHED);
  });

  Deno.test(`TcpTracker, after a restart, takes what went on unseen until both sides were heard, ${name}`, () => {
    const wire = left(first, 1000);
    // 20,000 bytes of A and 10,000 of B have passed meanwhile.
    assert.equal(wire.takes(A, { seq: 20_501, ack: 10_001, bytes: 100 }), true);
    assert.equal(wire.takes(B, { seq: 10_001, ack: 20_601 }), true);
    // From now on both windows are known, and as narrow as ever.
    assert.equal(wire.takes(A, { seq: 20_601, ack: 10_001, bytes: 1000 }), true);
    assert.equal(wire.takes(A, { seq: 21_602, ack: 10_001, bytes: 1 }), false);
    assert.equal(wire.takes(B, { seq: 11_002, ack: 21_601 }), false);
    assert.equal(wire.takes(B, { seq: 10_001, ack: 21_602 }), false);
  });

  Deno.test(`TcpTracker, after a restart, takes nothing that is more than a window away, ${name}`, () => {
    for (const window of [1000, 65_000]) {
      const wire = left(first, window);
      const far = window + 66_000 + 1000;
      assert.equal(wire.takes(A, { seq: 501 + far, ack: 1, bytes: 1 }), false);
      assert.equal(wire.takes(A, { seq: 501, ack: 1 + far, bytes: 1 }), false);
      assert.equal(wire.takes(A, { seq: 501, ack: 1 - 2 * 66_000 - 1000, bytes: 1 }), false);
      assert.equal(wire.takes(B, { seq: 1 + far, ack: 501 }), false);
      assert.equal(wire.takes(A, { seq: 501 - far - window, ack: 1, bytes: 1 }), PASSES);
      assert.equal(wire.takes(A, { flags: "R", seq: 501 + far }), false);
      assert.equal(wire.takes(A, { flags: "R", seq: 501 }), true);
      assert.equal(wire.state, RESET_A);
    }
  });
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

type Step = [side: number, segment: Segment, taken: boolean | typeof PASSES];

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
  ["an old duplicate, which changes nothing if it is older than a window", [
    [A, { seq: 1, ack: 1, bytes: 1000 }, true],
    [B, { seq: 1, ack: 1001 }, true],
    [A, { seq: 1001, ack: 1, bytes: 1000 }, true],
    [A, { seq: 901, ack: 1, bytes: 99 }, PASSES],
    [A, { seq: 901, ack: 1, bytes: 100 }, true],
    [A, { seq: 1001, ack: 1 }, true],
    [A, { seq: 1000, ack: 1 }, PASSES],
    [A, { seq: 2001 - 2 ** 31, ack: 1 }, PASSES],
    [A, { seq: 1000, ack: 2 }, false],
  ]],
  ["data beyond the window, far and near, and half the sequence space away", [
    [A, { seq: 1002, ack: 1, bytes: 1 }, false],
    [A, { seq: 70_000, ack: 1, bytes: 1 }, false],
    [A, { seq: 2 ** 31 - 2000, ack: 1, bytes: 1 }, false],
    [A, { seq: 2 ** 31 + 1002, ack: 1, bytes: 1 }, PASSES],
    [A, { seq: 2 ** 31 + 2000, ack: 1, bytes: 1 }, PASSES],
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
  ["an RST at its side's end", [[A, { flags: "R", seq: 1 }, true]]],
  ["an RST elsewhere in the window, which its receiver challenges", [
    [A, { flags: "R", seq: 2 }, PASSES],
    [A, { flags: "R", seq: 500 }, PASSES],
    [A, { flags: "R", seq: 1001 }, PASSES],
    [B, { flags: "RA", seq: 1000, ack: 1 }, PASSES],
    [B, { flags: "RA", seq: 1, ack: 1 }, true],
  ]],
  ["an RST after data was lost before the proxy, which the challenge tells its number", [
    [A, { flags: "R", seq: 501 }, PASSES],
    [B, { seq: 1, ack: 1 }, true],
    [A, { flags: "R", seq: 1 }, true],
  ]],
  ["an RST after data was lost behind the proxy, which the challenge tells its number", [
    [A, { seq: 1, ack: 1, bytes: 200 }, true],
    [B, { seq: 1, ack: 201 }, true],
    [A, { seq: 201, ack: 1, bytes: 500 }, true],
    [A, { flags: "R", seq: 202 }, PASSES],
    [A, { flags: "R", seq: 201 }, true],
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
  Deno.test(`TcpTracker knows ${name}`, () => {
    for (const first of FIRST_NUMBERS) {
      const wire = opened(first, handshake);
      steps.forEach(([side, segment, taken], i) => {
        const where = `step ${i} from ${first.join(", ")}`;
        assert.equal(wire.wouldTake(side, segment), taken !== false, where);
        assert.equal(wire.takes(side, segment), taken, where);
      });
    }
  });
}

const SEQUENCE_SPACE = 2 ** 32;

/** What side B answers to a SYN, and the state after it. */
const ANSWERS: [string, Segment, boolean | typeof PASSES, number][] = [
  ["a SYN ACK that acknowledges it", { flags: "SA", seq: 0, ack: 1 }, true, SYN_RECEIVED],
  ["a SYN ACK that acknowledges more", { flags: "SA", seq: 0, ack: 2 }, false, SYN_SENT],
  ["a SYN ACK that acknowledges less", { flags: "SA", seq: 0, ack: 0 }, false, SYN_SENT],
  ["a SYN ACK of something else", { flags: "SA", seq: 0, ack: 2 ** 31 }, false, SYN_SENT],
  [
    "a SYN ACK of long ago",
    { flags: "SA", seq: 0, ack: SEQUENCE_SPACE + 1 - 0xffff },
    ...[false, SYN_SENT] as const,
  ],
  ["an RST that acknowledges it", { flags: "RA", seq: 0, ack: 1 }, true, ABORTED],
  ["an RST of something else", { flags: "RA", seq: 0, ack: 77 }, false, SYN_SENT],
  [
    "an RST that acknowledges 65,535 less",
    { flags: "RA", seq: 0, ack: SEQUENCE_SPACE + 1 - 0xffff },
    ...[false, SYN_SENT] as const,
  ],
  ["an RST that acknowledges nothing", { flags: "R", seq: 0 }, false, SYN_SENT],
  ["an ACK of an earlier connection", { seq: 12_345, ack: 999_999 }, PASSES, SYN_SENT],
];

for (const [name, answer, taken, state] of ANSWERS) {
  Deno.test(`TcpTracker ${taken ? "takes" : "refuses"} as answer to a SYN ${name}`, () => {
    for (const first of FIRST_NUMBERS) {
      const wire = new Wire(first);
      assert.ok(wire.takes(A, { flags: "S", seq: 0 }));
      assert.equal(wire.takes(B, answer), taken, `from ${first.join(", ")}`);
      assert.equal(wire.state, state);
    }
  });
}

/** What forges the handshake without knowing a number of it: nothing of it counts. */
const FORGED: [number, Segment][] = [
  [B, { flags: "S", seq: 1_000_000 }],
  [B, { flags: "SA", seq: 1_000_000, ack: 5000 }],
  [B, { flags: "RA", seq: 0, ack: SEQUENCE_SPACE - 60_000 }],
  [B, { flags: "R", seq: 0x5555_5555 }],
  [A, { flags: "R", seq: 0x5555_5555 }],
  [A, { flags: "R", seq: 700 }],
  [A, { flags: "FA", seq: 1, ack: 0x5555_5555 }],
  [A, { seq: 1, ack: 0x5555_5555 }],
];

Deno.test("TcpTracker lets no forgery without a number of the connection stop its handshake", () => {
  for (const first of FIRST_NUMBERS) {
    for (const [side, segment] of FORGED) {
      const what = `${segment.flags} from side ${side}, from ${first.join(", ")}`;
      const before = new Wire(first);
      assert.ok(before.takes(A, { flags: "S", seq: 0 }));
      before.takes(side, segment);
      assert.equal(before.takes(B, { flags: "SA", seq: 0, ack: 1 }), true, what);
      assert.equal(before.takes(A, { seq: 1, ack: 1 }), true, what);
      assert.equal(before.takes(B, { seq: 1, ack: 1, bytes: 1000 }), true, what);
      const between = new Wire(first);
      assert.ok(between.takes(A, { flags: "S", seq: 0 }));
      assert.ok(between.takes(B, { flags: "SA", seq: 0, ack: 1 }));
      between.takes(side, segment);
      assert.equal(between.state, SYN_RECEIVED, what);
      assert.equal(between.takes(A, { seq: 1, ack: 1 }), true, what);
      assert.equal(between.state, ESTABLISHED, what);
      assert.equal(between.takes(B, { seq: 1, ack: 1, bytes: 1000 }), true, what);
    }
  }
});

Deno.test("TcpTracker lets either side give up before the connection is open, by the exact number", () => {
  for (const first of FIRST_NUMBERS) {
    for (const [side, rst] of [[A, { flags: "R", seq: 1 }], [B, { flags: "R", seq: 1 }]] as const) {
      const wire = new Wire(first);
      wire.takes(A, { flags: "S", seq: 0 });
      wire.takes(B, { flags: "SA", seq: 0, ack: 1 });
      assert.equal(wire.takes(side, rst), true);
      assert.equal(wire.state, ABORTED);
      assert.equal(wire.takes(B, { flags: "SA", seq: 0, ack: 1 }), PASSES, "it was under way");
      assert.equal(wire.takes(A, { flags: "R", seq: 1 }), PASSES, "its answer");
      assert.equal(wire.takes(B, { flags: "SA", seq: 0, ack: 7 }), false);
      assert.equal(wire.state, ABORTED);
    }
  }
});

Deno.test("TcpTracker takes the SYN ACK of a SYN with data, whether it acknowledges the data or not", () => {
  for (const first of FIRST_NUMBERS) {
    for (const ack of [1, 101]) {
      const wire = new Wire(first);
      assert.ok(wire.takes(A, { flags: "S", seq: 0, bytes: 100 }));
      assert.ok(wire.takes(B, { flags: "SA", seq: 0, ack }));
    }
  }
});

Deno.test("TcpTracker takes any ACK of what side B has sent for the handshake's last (RFC 7413)", () => {
  for (const first of FIRST_NUMBERS) {
    for (const [ack, taken] of [[0, false], [1, true], [500, true], [1101, true], [1102, false]]) {
      const wire = new Wire(first);
      assert.ok(wire.takes(A, { flags: "S", seq: 0, bytes: 100 }));
      assert.ok(wire.takes(B, { flags: "SA", seq: 0, ack: 101, bytes: 100 })); // with data
      assert.ok(wire.takes(B, { seq: 101, ack: 101, bytes: 1000 })); // and more before the ACK
      const where = `${ack} from ${first.join(", ")}`;
      assert.equal(wire.takes(A, { seq: 101, ack: ack as number }), taken, where);
      assert.equal(wire.state, taken ? ESTABLISHED : SYN_RECEIVED, where);
    }
  }
});

Deno.test("TcpTracker opens side B's window anew for a SYN ACK with another number that fits", () => {
  for (const first of FIRST_NUMBERS) {
    const wire = new Wire(first);
    assert.ok(wire.takes(A, { flags: "S", seq: 0 }));
    assert.ok(wire.takes(B, { flags: "SA", seq: 0, ack: 1 })); // lost on its way to the client
    assert.equal(wire.takes(B, { flags: "SA", seq: 9_000_000, ack: 2 }), false);
    assert.equal(wire.takes(B, { flags: "SA", seq: 9_000_000, ack: 1 }), true);
    assert.equal(wire.takes(A, { seq: 1, ack: 1 }), false, "the first was lost");
    assert.equal(wire.takes(A, { seq: 1, ack: 9_000_001 }), true);
    assert.equal(wire.takes(B, { seq: 9_000_001, ack: 1, bytes: 1000 }), true);
  }
});

Deno.test("TcpTracker wants the ACK that ends the handshake to be exact, so that nobody guesses it", () => {
  for (const first of FIRST_NUMBERS) {
    const wire = new Wire(first);
    assert.ok(wire.takes(A, { flags: "S", seq: 0 }));
    assert.ok(wire.takes(B, { flags: "SA", seq: 0, ack: 1 }));
    for (const ack of [0, 2, SEQUENCE_SPACE - 1, SEQUENCE_SPACE - 66_000, 2 ** 31]) {
      assert.ok(!wire.wouldTake(A, { seq: 1, ack }), `${ack} from ${first.join(", ")}`);
    }
    assert.ok(wire.takes(A, { seq: 1, ack: 1 }));
    assert.ok(wire.wouldTake(A, { seq: 1, ack: 0 }), "later it may be old");
  }
});

Deno.test("TcpTracker does not take an RST that is challenged for the end", () => {
  const wire = opened(FIRST_NUMBERS[0]!);
  assert.equal(wire.takes(A, { flags: "R", seq: 500 }), PASSES);
  assert.equal(wire.state, ESTABLISHED);
  assert.equal(wire.takes(A, { flags: "R", seq: 1 }), true);
  assert.equal(wire.state, RESET_A);
});

/** [timestamp of A's last segment, of the SYN, whether the SYN is later] */
const TIMESTAMPS: [number | null, number | null, boolean][] = [
  [1000, 1001, true],
  [1000, 1000, false],
  [1000, 999, false],
  [2 ** 32 - 5, 3, true],
  [3, 2 ** 32 - 5, false],
  [2 ** 31 - 1, 2 ** 31, true],
  [null, 1001, false],
  [1000, null, false],
];

Deno.test("TcpTracker lets a SYN with a later timestamp begin the next connection (RFC 6191)", () => {
  const option = (timestamp: number | null): number[] => {
    if (timestamp === null) return [];
    const bytes = [24, 16, 8, 0].map((shift) => (timestamp >>> shift) & 0xff);
    return [1, 1, 8, 10, ...bytes, 0, 0, 0, 0];
  };
  for (const first of FIRST_NUMBERS) {
    for (const [last, syn, isLater] of TIMESTAMPS) {
      const endings: ((wire: Wire) => void)[] = [
        (wire) => {
          wire.takes(A, { flags: "FA", seq: 1, ack: 1, options: option(last) });
          wire.takes(B, { flags: "FA", seq: 1, ack: 2 });
          wire.takes(A, { seq: 2, ack: 2, options: option(last) });
        },
        (wire) => {
          wire.takes(B, { flags: "FA", seq: 1, ack: 1 });
          wire.takes(A, { flags: "FA", seq: 1, ack: 2, options: option(last) });
          wire.takes(B, { seq: 2, ack: 2 });
        },
      ];
      for (const end of endings) {
        const wire = opened(first);
        end(wire);
        assert.equal(wire.state, CLOSED);
        const lower = { flags: "S", seq: SEQUENCE_SPACE - 5000, options: option(syn) };
        assert.equal(wire.beginsNext(lower), isLater, `${last}, ${syn}`);
        assert.ok(wire.beginsNext({ ...lower, seq: 2 }), "by its number");
        assert.ok(wire.beginsNext(lower, 60_000), "by the time that has passed");
        // Once its backend has been asked about another SYN, that is who knows.
        assert.equal(wire.takes(A, { flags: "S", seq: SEQUENCE_SPACE - 9000 }), PASSES);
        assert.equal(wire.beginsNext(lower), false);
      }
    }
  }
});

Deno.test("TcpTracker takes what either side says when both have opened at once", () => {
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

Deno.test("TcpTracker follows 10 GB in order, through every wrap of the sequence numbers", () => {
  const wire = opened([2 ** 32 - 1, 2 ** 31 - 1], { a: SCALE_7, b: SCALE_7, windowB: 65_535 });
  const step = 100;
  const jump = 8_000_000; // of a window of 65,535 × 128 bytes
  assert.ok(wire.takes(B, { seq: 1, ack: 1, window: 65_535 }));
  for (let seq = 1; seq < 10e9; seq += jump) {
    const there = { seq: seq + jump - step, ack: 1, bytes: step };
    assert.ok(wire.takes(A, there), `at ${seq}`);
    assert.ok(wire.takes(B, { seq: 1, ack: seq + jump, window: 65_535 }), `at ${seq}`);
    assert.notEqual(wire.takes(A, { ...there, seq: there.seq + 2 ** 31 }), true);
  }
});
