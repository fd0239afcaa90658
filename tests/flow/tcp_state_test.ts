import assert from "node:assert/strict";
import { SIDE_A as A, SIDE_B as B } from "../../src/flow/table.ts";
import * as tcpState from "../../src/flow/tcp_state.ts";
import { ACK, FIN, PSH, RST, SYN } from "../../src/wire/tcp.ts";

const { SYN_SENT, SYN_RECEIVED, ESTABLISHED, FIN_A, FIN_B, CLOSED, RESET } = tcpState;
const STATES = { SYN_SENT, SYN_RECEIVED, ESTABLISHED, FIN_A, FIN_B, CLOSED, RESET };

/** The only moves there are, RST aside: [from, side, flags, to]. */
const MOVES: [number, number, number, number][] = [
  [SYN_SENT, B, SYN | ACK, SYN_RECEIVED],
  [SYN_RECEIVED, A, ACK, ESTABLISHED],
  [SYN_RECEIVED, A, FIN | ACK, FIN_A],
  [ESTABLISHED, A, FIN | ACK, FIN_A],
  [ESTABLISHED, B, FIN | ACK, FIN_B],
  [FIN_A, B, FIN | ACK, CLOSED],
  [FIN_B, A, FIN | ACK, CLOSED],
];

Deno.test("nextState makes the moves of the table and no other, from every state and side", () => {
  for (const [name, state] of Object.entries(STATES)) {
    for (const side of [A, B]) {
      for (const flags of [SYN, SYN | ACK, ACK, FIN | ACK]) {
        const move = MOVES.find((m) => m[0] === state && m[1] === side && m[2] === flags);
        const found = tcpState.nextState(state, side, flags);
        assert.equal(found, move?.[3] ?? state, `${name}, side ${side}, flags ${flags}`);
        assert.equal(tcpState.nextState(state, side, flags | PSH | 0xe0), found);
      }
      for (const flags of [RST, RST | ACK]) {
        assert.equal(tcpState.nextState(state, side, flags), RESET, `${name}, side ${side}`);
      }
    }
  }
});

const LIVES: [string, [number, number][], number][] = [
  ["opened", [[A, SYN], [B, SYN | ACK], [A, ACK]], ESTABLISHED],
  ["opened after retransmissions", [
    [A, SYN],
    [A, SYN],
    [B, SYN | ACK],
    [A, SYN],
    [B, SYN | ACK],
    [A, ACK],
  ], ESTABLISHED],
  ["opened from both sides at once", [
    [A, SYN],
    [B, SYN],
    [A, SYN | ACK],
    [B, SYN | ACK],
    [A, ACK],
  ], ESTABLISHED],
  ["closed by the client", [
    [A, SYN],
    [B, SYN | ACK],
    [A, ACK],
    [A, FIN | ACK],
    [B, ACK],
    [B, FIN | ACK],
    [A, ACK],
  ], CLOSED],
  ["closed by the backend", [
    [A, SYN],
    [B, SYN | ACK],
    [A, ACK],
    [B, FIN | ACK],
    [A, FIN | ACK],
    [B, ACK],
  ], CLOSED],
  [
    "half closed",
    [[A, SYN], [B, SYN | ACK], [A, ACK], [A, FIN | ACK], [B, ACK], [A, FIN | ACK]],
    FIN_A,
  ],
  ["refused", [[A, SYN], [B, RST | ACK]], RESET],
  ["probed", [[A, SYN], [B, SYN | ACK], [A, RST]], RESET],
  ["unanswered", [[A, SYN], [A, SYN], [A, ACK]], SYN_SENT],
];

for (const [name, segments, expected] of LIVES) {
  Deno.test(`nextState follows a connection that is ${name}`, () => {
    const [, ...rest] = segments;
    const end = rest.reduce((s, [side, flags]) => tcpState.nextState(s, side, flags), SYN_SENT);
    assert.equal(end, expected);
  });
}

Deno.test("isOver is true where the next SYN begins another connection", () => {
  for (const [name, state] of Object.entries(STATES)) {
    assert.equal(tcpState.isOver(state), state === CLOSED || state === RESET, name);
  }
});

Deno.test("defaultTimeouts keeps what RFC 5382, 7857, 4787 and 5508 ask for", () => {
  const minutes = [...tcpState.defaultTimeouts()].map((ms) => ms / 60_000);
  const cases: [string, number, number][] = [
    ["established", ESTABLISHED, 124],
    ["half-open", SYN_SENT, 4],
    ["half-open, answered", SYN_RECEIVED, 4],
    ["closing, A first", FIN_A, 4],
    ["closing, B first", FIN_B, 4],
    ["closed", CLOSED, 4],
    ["reset", RESET, 4],
    ["UDP", tcpState.UDP_FLOW, 5],
    ["ICMP query", tcpState.ICMP_QUERY, 1],
  ];
  for (const [name, state, expected] of cases) assert.equal(minutes[state], expected, name);
  assert.notEqual(tcpState.defaultTimeouts(), tcpState.defaultTimeouts());
});
