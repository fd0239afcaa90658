/**
 * What the simulator can be told to play: each makes one run of a seed, every other one two-sided.
 */
import { CALM, type Family, ROUGH, Sim, type SimOptions, type SimResult } from "./sim.ts";
import { runUnderAttack } from "./under_attack.ts";

export type Mode = "usual" | "preserving" | "returning" | "failing" | "attacked" | "carried";

export const MODES: Readonly<Record<Mode, (seed: number, family?: Family) => SimResult>> = {
  /** Everything at once on a bad network. */
  usual: (seed, family = "IPv4") => new Sim({ seed, family, twoSided: isTwoSided(seed) }).run(),
  /**
   * The same two-sided, with sources preserved: a client's port may be another there. Families are
   * not translated then.
   */
  preserving: (seed, family = "IPv4") =>
    new Sim({
      seed,
      family: family === "crossed" ? "mixed" : family,
      twoSided: true,
      preserving: true,
    }).run(),
  /** Hours of clients whose ports come round; backends die in half of the runs. */
  returning: (seed, family = "IPv4") =>
    new Sim({
      seed,
      family,
      connections: 70,
      twoSided: isTwoSided(seed),
      returning: true,
      mortal: (seed & 2) !== 0,
      impairments: (seed & 4) !== 0 ? CALM : ROUGH,
    }).run(),
  /** Services refuse, fall silent and begin again; on a calm network no client may notice. */
  failing: (seed, family = "IPv4") =>
    new Sim({
      seed,
      family,
      twoSided: isTwoSided(seed),
      failing: true,
      impairments: (seed & 2) !== 0 ? CALM : ROUGH,
    }).run(),
  /**
   * The kernel carries connections, and what it leaves waits for a slow proxy. Families are not
   * translated: it carries none that cross.
   */
  carried: (seed, family = "IPv4") => new Sim(carriedOptions(seed, family)).run(),
  /** A calm network with an attacker off the path, compared with the same one without. */
  attacked: (seed, family = "IPv4") =>
    runUnderAttack({ seed, family, connections: 50, twoSided: isTwoSided(seed) }),
};

export function carriedOptions(seed: number, family: Family): SimOptions {
  return {
    seed,
    family: family === "crossed" ? "mixed" : family,
    twoSided: isTwoSided(seed),
    connections: 30,
    carried: true,
    impairments: (seed & 4) !== 0 ? CALM : ROUGH,
  };
}

function isTwoSided(seed: number): boolean {
  return seed % 2 === 0;
}
