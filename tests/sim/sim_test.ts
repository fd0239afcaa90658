/**
 * The simulator's runs that belong to every test run: of each mode (`modes.ts`) 200 seeds over
 * IPv4, 50 over IPv6, 50 of both, and 50 in which families are translated, every other one
 * two-sided; few of those with a kernel, whose program an interpreter runs. `deno task soak` makes
 * 2,000.
 * `SIM_SEED=7 deno test -A tests/sim` repeats one.
 */
import assert from "node:assert/strict";
import { type Mode, MODES } from "./modes.ts";
import { CALM, type Family, Sim } from "./sim.ts";

const SEEDS: readonly [family: Family, seeds: number][] = [
  ["IPv4", 200],
  ["IPv6", 50],
  ["mixed", 50],
  ["crossed", 50],
];
const CARRIED_SEEDS: typeof SEEDS = [
  ["IPv4", 6],
  ["IPv6", 3],
  ["mixed", 4],
];
const SEEDS_PER_TEST = 50;
/** Of a run in which backends die, of the mode `returning`. */
const MORTAL_SEED = 2;

/** What each mode's runs show. */
const SHOWS: readonly [mode: Mode, what: string][] = [
  ["usual", "every connection gets what was sent"],
  ["preserving", "backends see whose it is, and one port to two services is two"],
  ["returning", "a port that comes round opens as on a wire, and never a dead backend's"],
  ["failing", "nobody who opens a connection hears of a service that refuses or is silent"],
  ["attacked", "who knows no number does no harm"],
  ["carried", "what overtakes and what is overtaken arrives, and nothing else"],
];

function seedOf(): number | null {
  const { state } = Deno.permissions.querySync({ name: "env", variable: "SIM_SEED" });
  const text = state === "granted" ? Deno.env.get("SIM_SEED") : undefined;
  return text === undefined ? null : Number(text);
}

const only = seedOf();

for (const [mode, what] of SHOWS) {
  for (const [family, seeds] of mode === "carried" ? CARRIED_SEEDS : SEEDS) {
    if (mode === "preserving" && family === "crossed") continue; // no such thing
    const [from, to] = only === null ? [1, seeds] : [only, only];
    for (let first = from; first <= to; first += SEEDS_PER_TEST) {
      const last = Math.min(to, first + SEEDS_PER_TEST - 1);
      Deno.test(`sim: ${mode}, ${family}, seeds ${first} to ${last}: ${what}`, () => {
        for (let seed = first; seed <= last; seed++) MODES[mode](seed, family);
      });
    }
  }
}

Deno.test("sim: the same seed gives the same run, frame by frame", () => {
  const runs = [1, 2].map(() => new Sim({ seed: 3, connections: 40 }).run());
  assert.deepEqual(runs[0], runs[1]);
  assert.ok(runs[0]!.cutUp > 0, "hosts leave work to interfaces");
});

Deno.test("sim: the same seed gives the same run where the kernel carries most of it", () => {
  const runs = [1, 2].map(() => MODES.carried(1));
  assert.deepEqual(runs[0], runs[1]);
  assert.ok(runs[0]!.carried > 200, `${runs[0]!.carried} packets carried`);
});

Deno.test("sim: where backends die, datagrams are owed an answer in either family", () => {
  const counts = SEEDS.map(([family]) => MODES.returning(MORTAL_SEED, family).datagrams);
  assert.ok(counts.every((count) => count > 100), counts.join());
});

Deno.test("sim: a calm LAN, nothing is dropped but what is blocked or left of something aborted", () => {
  // An RST about data that was under way when its sender gave up lies behind the window by then.
  const expected = new Set([
    "policy",
    "out-of-window",
    "invalid",
    "no-mapping",
    "stray",
    "retried",
  ]);
  for (const [family] of SEEDS) {
    for (let seed = 1; seed <= 10; seed++) {
      const { drops } = new Sim({ seed, family, twoSided: seed % 2 === 0, impairments: CALM })
        .run();
      assert.deepEqual(Object.keys(drops).filter((reason) => !expected.has(reason)), []);
    }
  }
});
