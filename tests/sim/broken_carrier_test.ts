/**
 * The test of the test, third part: ways of the kernel that are broken on purpose must be caught by
 * the runs in which it carries connections.
 */
import assert from "node:assert/strict";
import { Reason } from "../../src/core/reason.ts";
import type { FlowTable } from "../../src/flow/table.ts";
import { END, MAX_WIN, OLD_ACK_BYTES, WORDS_PER_SIDE } from "../../src/flow/tcp_window.ts";
import { isTcp, type Pdu, STATE_ESTABLISHED, STATE_INVALID } from "../../src/wire/pdu.ts";
import { carriedOptions } from "./modes.ts";
import { Sim } from "./sim.ts";

const SEEDS = 12;

const BROKEN: [name: string, caught: RegExp, sabotage: (sim: Sim) => void][] = [
  [
    "no barrier: an entry serves again at once",
    /may serve again, and a program is at work on it/,
    ({ carrier }) => {
      carrier!.kernel.memory.setBarrier = () => {};
    },
  ],
  [
    "a new policy demotes nothing",
    /that the policy (drops|limits)/,
    ({ carrier }) => {
      carrier!.kernel.memory.demoteAll = () => {};
    },
  ],
  [
    "what the kernel has carried is counted twice",
    /as carried/,
    ({ carrier }) => {
      const { memory } = carrier!.kernel;
      const packets = memory.packets.bind(memory);
      memory.packets = (counter) => 2 * packets(counter);
    },
  ],
  [
    "segments that the kernel has overtaken by a window are refused",
    /never sent on|is incomplete/,
    ({ world: { appliance: { connections } } }) => {
      const classify = connections.classify.bind(connections);
      connections.classify = (view, pdu, nowMs) => {
        classify(view, pdu, nowMs);
        if (pdu.state !== STATE_ESTABLISHED || !isOvertaken(connections.table, pdu)) return;
        pdu.state = STATE_INVALID;
        pdu.invalid = Reason["out-of-window"];
      };
    },
  ],
];

for (const [name, caught, sabotage] of BROKEN) {
  Deno.test(`sim: the kernel carries: ${name}: is caught`, () => {
    assert.match(firstFault(sabotage), caught);
  });
}

/** What the first seed says that fails. */
function firstFault(sabotage: (sim: Sim) => void): string {
  for (let seed = 1; seed <= SEEDS; seed++) {
    try {
      new Sim({ ...carriedOptions(seed, seed % 4 === 1 ? "mixed" : "IPv4"), sabotage }).run();
    } catch (error) {
      assert.ok(error instanceof Error);
      return error.message.split("\n")[0]!;
    }
  }
  return "";
}

/** It acknowledges less than a window ago the other side had sent. */
function isOvertaken(table: FlowTable, { flow, protocol, ack }: Pdu): boolean {
  if (flow < 0 || !isTcp(protocol)) return false;
  const [own, peer] = [flow & 1, 1 - (flow & 1)].map((side) => side * WORDS_PER_SIDE);
  const behind = (table.data(flow >>> 1, peer! + END) - ack) | 0;
  return behind > Math.max(OLD_ACK_BYTES, table.data(flow >>> 1, own! + MAX_WIN));
}
