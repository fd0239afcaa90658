import assert from "node:assert/strict";
import { SIDE_A as A, SIDE_B as B } from "../../src/flow/table.ts";
import * as tcpState from "../../src/flow/tcp_state.ts";
import { ACK, FIN, PSH, RST, SYN, URG } from "../../src/wire/tcp.ts";

const { SYN_SENT, SYN_BOTH, SYN_RECEIVED, ESTABLISHED, FIN_A, FIN_B, CLOSED } = tcpState;
const { RESET_A, RESET_B, ABORTED, INVALID } = tcpState;
const STATES = {
  ...{ SYN_SENT, SYN_BOTH, SYN_RECEIVED, ESTABLISHED, FIN_A, FIN_B, CLOSED },
  ...{ RESET_A, RESET_B, ABORTED },
};
const HALF_OPEN = [SYN_SENT, SYN_BOTH, SYN_RECEIVED];
const DATA = PSH | ACK;
const SYN_ACK = SYN | ACK;
const FIN_ACK = FIN | ACK;

/** Everything but RST that changes a state or fits none: [from, side, flags, to]. */
const MOVES: [number, number, number, number][] = [
  // Nobody has said anything but SYN.
  [SYN_SENT, A, SYN_ACK, INVALID],
  [SYN_SENT, A, ACK, INVALID],
  [SYN_SENT, A, FIN_ACK, INVALID],
  [SYN_SENT, B, SYN, SYN_BOTH],
  [SYN_SENT, B, SYN_ACK, SYN_RECEIVED],
  [SYN_SENT, B, FIN_ACK, INVALID],
  // A simultaneous open, RFC 9293 §3.5 figure 7: either answers first.
  [SYN_BOTH, A, SYN_ACK, ESTABLISHED],
  [SYN_BOTH, B, SYN_ACK, SYN_RECEIVED],
  [SYN_BOTH, A, ACK, ESTABLISHED],
  [SYN_BOTH, A, FIN_ACK, INVALID],
  [SYN_BOTH, B, FIN_ACK, INVALID],
  // What B sends, a forged SYN may have made it send: only A shows that A is there.
  [SYN_RECEIVED, A, SYN_ACK, ESTABLISHED],
  [SYN_RECEIVED, A, ACK, ESTABLISHED],
  [SYN_RECEIVED, A, FIN_ACK, FIN_A],
  [ESTABLISHED, A, FIN_ACK, FIN_A],
  [ESTABLISHED, B, FIN_ACK, FIN_B],
  [FIN_A, B, FIN_ACK, CLOSED],
  [FIN_B, A, FIN_ACK, CLOSED],
  // RFC 7857 §2.1: traffic of the side that "has sent" the RST takes it back.
  [RESET_A, A, ACK, ESTABLISHED],
  [RESET_A, A, FIN_ACK, FIN_A],
  [RESET_A, B, SYN, INVALID],
  [RESET_B, B, SYN, INVALID],
  [RESET_B, B, ACK, ESTABLISHED],
  [RESET_B, B, FIN_ACK, FIN_B],
  [ABORTED, B, SYN, INVALID],
];

Deno.test("nextState makes these moves and no other, from every state and side", () => {
  for (const [name, state] of Object.entries(STATES)) {
    for (const side of [A, B]) {
      for (const flags of [SYN, SYN_ACK, ACK, FIN_ACK]) {
        const move = MOVES.find((m) => m[0] === state && m[1] === side && m[2] === flags);
        const found = tcpState.nextState(state, side, flags);
        assert.equal(found, move?.[3] ?? state, `${name}, side ${side}, flags ${flags}`);
        assert.equal(tcpState.nextState(state, side, flags | PSH | URG | 0xc0), found);
      }
    }
  }
});

Deno.test("nextState notes an RST: before the connection was open, or whose it was after that", () => {
  for (const [name, state] of Object.entries(STATES)) {
    for (const side of [A, B]) {
      // Whoever hears the other's RST after its own does not make it the other's.
      const reset = state === RESET_A || state === RESET_B ? state : side === A ? RESET_A : RESET_B;
      const expected = [...HALF_OPEN, ABORTED].includes(state) ? ABORTED : reset;
      for (const flags of [RST, RST | ACK, RST | PSH]) {
        assert.equal(tcpState.nextState(state, side, flags), expected, `${name}, side ${side}`);
      }
    }
  }
});

Deno.test("nextState knows no segment that fits no connection at all", () => {
  for (const side of [A, B]) {
    for (const flags of [SYN, SYN_ACK, ACK, FIN_ACK, RST]) {
      assert.equal(tcpState.nextState(0, side, flags), INVALID);
    }
  }
});

const OPEN: [number, number][] = [[A, SYN], [B, SYN_ACK], [A, ACK]];

const LIVES: [string, [number, number][], number][] = [
  ["opened", OPEN, ESTABLISHED],
  ["opened after retransmissions", [
    [A, SYN],
    [A, SYN],
    [B, SYN_ACK],
    [A, SYN],
    [B, SYN_ACK],
    [A, ACK],
  ], ESTABLISHED],
  ["opened, with an ACK that was lost and data in its place", [
    [A, SYN],
    [B, SYN_ACK],
    [B, SYN_ACK],
    [A, DATA],
  ], ESTABLISHED],
  ["opened and hears the SYN and the SYN ACK once more", [
    ...OPEN,
    [A, SYN],
    [B, SYN_ACK],
    [A, ACK],
  ], ESTABLISHED],
  ["opened from both sides at once (RFC 5382 REQ-2)", [
    [A, SYN],
    [B, SYN],
    [A, SYN_ACK],
    [B, SYN_ACK],
    [A, ACK],
  ], ESTABLISHED],
  ["opened from both sides at once, B first", [
    [A, SYN],
    [B, SYN],
    [B, SYN_ACK],
    [A, SYN_ACK],
    [B, ACK],
    [A, ACK],
  ], ESTABLISHED],
  ["answered by a host that remembers another connection, reset, opened again", [
    [A, SYN],
    [B, ACK],
    [A, SYN],
    [B, SYN_ACK],
    [A, ACK],
  ], ESTABLISHED],
  ["closed by the client", [
    ...OPEN,
    [A, FIN_ACK],
    [B, ACK],
    [B, FIN_ACK],
    [A, ACK],
  ], CLOSED],
  ["closed by the backend", [...OPEN, [B, FIN_ACK], [A, FIN_ACK], [B, ACK]], CLOSED],
  ["closed by both at once", [
    ...OPEN,
    [A, FIN_ACK],
    [B, FIN_ACK],
    [A, ACK],
    [B, ACK],
  ], CLOSED],
  ["closed, with FINs that had to be sent again", [
    ...OPEN,
    [A, FIN_ACK],
    [A, FIN_ACK],
    [B, FIN_ACK],
    [B, FIN_ACK],
    [A, ACK],
  ], CLOSED],
  ["closed before its first data", [[A, SYN], [B, SYN_ACK], [A, FIN_ACK], [B, FIN_ACK]], CLOSED],
  ["half-closed by the client, the backend goes on", [
    ...OPEN,
    [A, FIN_ACK],
    [B, ACK],
    [B, DATA],
    [A, ACK],
    [B, DATA],
  ], FIN_A],
  ["half-closed by the backend, the client goes on", [
    ...OPEN,
    [B, FIN_ACK],
    [A, DATA],
    [B, ACK],
    [A, DATA],
  ], FIN_B],
  ["refused", [[A, SYN], [B, RST | ACK]], ABORTED],
  ["probed: SYN, SYN ACK, RST", [[A, SYN], [B, SYN_ACK], [A, RST]], ABORTED],
  ["aborted before it was answered", [[A, SYN], [A, RST]], ABORTED],
  ["asked for by two forged SYNs, of which the backend answers the second with an ACK", [
    [A, SYN],
    [B, SYN_ACK],
    [A, SYN],
    [B, ACK],
    [B, DATA],
  ], SYN_RECEIVED],
  ["unanswered", [[A, SYN], [A, SYN], [A, SYN]], SYN_SENT],
  ["reset by the client", [...OPEN, [A, RST]], RESET_A],
  ["reset by the backend, whose client goes on unaware", [
    ...OPEN,
    [B, RST],
    [A, DATA],
    [A, FIN_ACK],
    [A, RST],
  ], RESET_B],
  ["reset by the backend, which goes on", [...OPEN, [B, RST], [A, ACK], [B, DATA]], ESTABLISHED],
  ["reset when half-closed", [...OPEN, [A, FIN_ACK], [A, RST]], RESET_A],
  ["reset when closed", [...OPEN, [A, FIN_ACK], [B, FIN_ACK], [B, RST]], RESET_B],
];

for (const [name, segments, expected] of LIVES) {
  Deno.test(`nextState follows a connection that is ${name}`, () => {
    const [, ...rest] = segments; // the first SYN makes the entry
    const end = rest.reduce((state, [side, flags]) => {
      return tcpState.nextState(state, side, flags);
    }, SYN_SENT);
    assert.equal(end, expected);
  });
}

Deno.test("isOver is true where the next SYN begins another connection", () => {
  for (const [name, state] of Object.entries(STATES)) {
    assert.equal(tcpState.isOver(state), [CLOSED, RESET_A, RESET_B, ABORTED].includes(state), name);
  }
});

Deno.test("isFirstSyn is true for a SYN without ACK, whatever else it carries", () => {
  for (const flags of [SYN, SYN | PSH, SYN | URG, SYN | 0xc0]) {
    assert.ok(tcpState.isFirstSyn(flags));
    assert.ok(!tcpState.isFirstSyn(flags | ACK));
    assert.ok(!tcpState.isFirstSyn(flags & ~SYN));
  }
});
