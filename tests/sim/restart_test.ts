/**
 * The proxy ends, or dies, in the middle of a run, and begins again with an empty table: every
 * connection that it has forgotten ends at both ends, and those that come later do not notice.
 */
import assert from "node:assert/strict";
import { CALM, Sim } from "./sim.ts";

const SEEDS = 25;
const CONNECTIONS = 100;
/** By then about half of the connections have begun. */
const RESTART_MS = 1_000_000 + 10_000;
/** A frame's way to a host, and its answer's way back. */
const ROUND_TRIP_MS = 4;

for (const ends of [true, false]) {
  const how = ends ? "ends, and resets what is open" : "dies in silence";
  Deno.test(`sim: the proxy ${how}: both ends of every connection hear of it`, () => {
    let reset = 0;
    for (let seed = 1; seed <= SEEDS; seed++) reset += runWithRestart(seed, ends);
    assert.ok(reset > 10 * SEEDS, `${reset} ends of connections were open`);
  });
}

/**
 * How many ends of connections the restart has reset; throws an Error where one did not hear of it.
 */
function runWithRestart(seed: number, ends: boolean): number {
  const open: { readonly isOver: () => string; readonly name: string }[] = [];
  const restart = (sim: Sim): void => {
    const { appliance } = sim.world;
    const { connections } = appliance;
    for (const connection of sim.connections) {
      if (connection.clientEnd === null || connection.over || connection.kind === "blocked") {
        continue;
      }
      connection.struck = true;
      for (
        const [who, end] of [
          ["client", connection.clientEnd],
          ...connection.serverEnds.map((server) => ["server", server] as const),
        ] as const
      ) {
        if (end.end !== "" || end.state === "time-wait") continue;
        const name = `${connection.kind} ${connection.number}, ${who}`;
        open.push({ name, isOver: () => ends ? lateBy(end.overAtMs) : end.end });
      }
    }
    sim.watch.restarted();
    if (ends) appliance.endings.resetAll(500);
    for (const entry of connections.table) connections.remove(entry);
  };
  const sim = new Sim({
    seed,
    connections: CONNECTIONS,
    impairments: CALM,
    twoSided: seed % 2 === 0,
    sabotage: (begun) => begun.at(RESTART_MS, () => restart(begun)),
  });
  sim.run();
  const deaf = open.filter(({ isOver }) => isOver() === "timeout").map(({ name }) => name);
  assert.deepEqual(deaf, [], `seed ${seed}`);
  return open.length;
}

/** `timeout` for an end that has not heard of the proxy's end with the next frame. */
function lateBy(overAtMs: number): string {
  return overAtMs - RESTART_MS > ROUND_TRIP_MS ? "timeout" : "";
}
