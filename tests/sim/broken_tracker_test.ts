/**
 * The test of the test, second part: trackers that are broken on purpose must be caught by the runs
 * in which ports come round and backends die, or by those with an attacker. Each is a right one
 * whose verdict about a packet is changed.
 */
import assert from "node:assert/strict";
import { Reason } from "../../src/core/reason.ts";
import type { Connections } from "../../src/flow/connections.ts";
import { SIDE_A, SIDE_B } from "../../src/flow/table.ts";
import { isFirstSyn, isHandshake, isOver } from "../../src/flow/tcp_state.ts";
import { UNTOUCHED } from "../../src/flow/tcp_tracker.ts";
import { type Pdu, STATE_ESTABLISHED, STATE_INVALID, STATE_NEW } from "../../src/wire/pdu.ts";
import { PROTOCOL_TCP, PROTOCOL_UDP } from "../../src/wire/ipv4.ts";
import { ACK, RST, SYN } from "../../src/wire/tcp.ts";
import { CALM, Sim } from "./sim.ts";
import { runUnderAttack } from "./under_attack.ts";

const SEEDS = 12;

/** Changes what the tracker has found out about `pdu`. */
type Misreading = (pdu: Pdu, connections: Connections) => void;

/** What a tracker remembers that is broken, by tuple. */
type Memory = Map<string, number>;

const AFTER_HOURS: [name: string, caught: RegExp, misread: (memory: Memory) => Misreading][] = [
  [
    "a SYN is known again by 9 bits",
    /SYNs sent again|is incomplete|timeout/,
    (memory) => (pdu, { table }) => {
      if (!isSynFromA(pdu)) return;
      const bits = Math.imul(pdu.seq, 0x9e37_79b1) >>> 23;
      const over = pdu.flow >= 0 && isOver(table.state(pdu.flow >>> 1));
      if (over && memory.get(tupleOf(pdu)) === bits) refuse(pdu);
      else memory.set(tupleOf(pdu), bits);
    },
  ],
  [
    "a SYN whose number is lower is an old one, however long ago the last connection ended",
    /SYNs sent again|is incomplete|timeout/,
    (memory) => (pdu, { table }) => {
      if (!isSynFromA(pdu)) return;
      const last = memory.get(tupleOf(pdu)) ?? pdu.seq;
      const over = pdu.flow >= 0 && isOver(table.state(pdu.flow >>> 1));
      if (over && ((pdu.seq - last) | 0) < 0) refuse(pdu);
      else memory.set(tupleOf(pdu), pdu.seq);
    },
  ],
  [
    "a late duplicate of a SYN opens its connection once more",
    /SYNs sent again|is incomplete|timeout|was reset|reset a living|not refused|never sent on|did not vanish|busy/,
    () => (pdu, connections) => {
      if (!isSynFromA(pdu) || pdu.flow < 0) return;
      connections.remove(pdu.flow >>> 1);
      pdu.flow = -1;
      pdu.state = STATE_NEW;
      pdu.invalid = 0;
    },
  ],
  [
    "a client's port stays with its dead backend",
    /SYNs sent again|is incomplete|timeout/,
    () => (pdu, { table }) => {
      const lives = isSynFromA(pdu) && pdu.flow >= 0 && !isOver(table.state(pdu.flow >>> 1));
      if (!lives || pdu.invalid !== 0) return;
      pdu.state = STATE_ESTABLISHED;
      pdu.verdict = UNTOUCHED;
    },
  ],
  [
    "a UDP client's socket stays with its dead backend",
    /a datagram of .* was not answered/,
    () => (pdu) => {
      if (pdu.protocol === PROTOCOL_UDP && pdu.flow >= 0) pdu.state = STATE_ESTABLISHED;
    },
  ],
];

/** What harm looks like. */
const HARM =
  /is incomplete|reset a living|not aborted|not refused|ended as|held up|times more|never sent on|has not ended|busy|missing/;

const UNDER_ATTACK: [name: string, caught: RegExp, misread: (memory: Memory) => Misreading][] = [
  [
    "an RST anywhere ends a handshake",
    HARM,
    () => (pdu, connections) => {
      if (opens(pdu, connections) && isReset(pdu)) forget(pdu, connections);
    },
  ],
  [
    "an RST ACK from a backend is taken 65,535 below the right acknowledgment",
    HARM,
    (memory) => (pdu, connections) => {
      const { table } = connections;
      if (isSynFromA(pdu)) memory.set(tupleOf(pdu), pdu.seq);
      if (!opens(pdu, connections) || !isReset(pdu) || (pdu.flow & 1) !== SIDE_B) return;
      const entry = pdu.flow >>> 1;
      const key = [table.src(entry, 0), table.srcPort(entry, 0), table.dstPort(entry, 0)].join();
      const below = ((memory.get(key) ?? 0) + 1 - pdu.ack) | 0;
      if (below >= 0 && below <= 0xffff) forget(pdu, connections);
    },
  ],
  [
    "a SYN from a backend stays what its SYN ACK is judged by",
    HARM,
    (memory) => (pdu, connections) => {
      if (pdu.flow < 0 || pdu.protocol !== PROTOCOL_TCP || (pdu.flow & 1) !== SIDE_B) return;
      if (isFirstSyn(pdu.tcpFlags) && opens(pdu, connections)) {
        memory.set(tupleOf(pdu), pdu.seq);
      }
      const noted = memory.get(tupleOf(pdu));
      const isAnswer = (pdu.tcpFlags & (SYN | ACK)) === (SYN | ACK);
      if (isAnswer && noted !== undefined && noted !== pdu.seq) refuse(pdu);
    },
  ],
  [
    "a SYN from a client is always one to begin with anew",
    HARM,
    () => (pdu, connections) => {
      if (!isSynFromA(pdu) || pdu.flow < 0) return;
      connections.remove(pdu.flow >>> 1);
      pdu.flow = -1;
      pdu.state = STATE_NEW;
      pdu.invalid = 0;
    },
  ],
  [
    "an RST inside the window ends a connection",
    HARM,
    () => (pdu, connections) => {
      if (pdu.flow >= 0 && isReset(pdu) && pdu.invalid === 0) forget(pdu, connections);
    },
  ],
];

for (const [name, caught, misread] of AFTER_HOURS) {
  Deno.test(`sim: ports come round: ${name}: is caught`, () => {
    assert.match(
      firstFault((seed, sabotage) => {
        const mortal = seed % 2 === 0;
        new Sim({ seed, returning: true, mortal, impairments: CALM, sabotage }).run();
      }, misread),
      caught,
    );
  });
}

for (const [name, caught, misread] of UNDER_ATTACK) {
  Deno.test(`sim: under attack: ${name}: is caught`, () => {
    assert.match(
      firstFault((seed, sabotage) => runUnderAttack({ seed, sabotage }), misread),
      caught,
    );
  });
}

function firstFault(
  run: (seed: number, sabotage: (sim: Sim) => void) => unknown,
  misread: (memory: Memory) => Misreading,
): string {
  for (let seed = 1; seed <= SEEDS; seed++) {
    try {
      run(seed, ({ world: { appliance: { connections } } }) => {
        const change = misread(new Map());
        const classify = connections.classify.bind(connections);
        connections.classify = (view, pdu, nowMs) => {
          classify(view, pdu, nowMs);
          change(pdu, connections);
        };
      });
    } catch (error) {
      assert.ok(error instanceof Error);
      return error.message.split("\n")[0]!;
    }
  }
  return "";
}

function refuse(pdu: Pdu): void {
  pdu.state = STATE_INVALID;
  pdu.invalid = Reason.invalid;
}

/** The connection is gone, and the segment passes no more. */
function forget(pdu: Pdu, connections: Connections): void {
  connections.remove(pdu.flow >>> 1);
  pdu.flow = -1;
  refuse(pdu);
}

function isSynFromA(pdu: Pdu): boolean {
  return pdu.protocol === PROTOCOL_TCP && isFirstSyn(pdu.tcpFlags) &&
    (pdu.flow < 0 || (pdu.flow & 1) === SIDE_A);
}

function isReset(pdu: Pdu): boolean {
  return pdu.protocol === PROTOCOL_TCP && (pdu.tcpFlags & RST) !== 0;
}

function opens(pdu: Pdu, { table }: Connections): boolean {
  return pdu.protocol === PROTOCOL_TCP && pdu.flow >= 0 && isHandshake(table.state(pdu.flow >>> 1));
}

/** Of a client's segment; of a backend's its own. */
function tupleOf(pdu: Pdu): string {
  return [pdu.src, pdu.srcPort, pdu.dstPort].join();
}
