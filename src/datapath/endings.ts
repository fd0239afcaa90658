/**
 * Ends connections though no packet asks for it: when the proxy ends, when a backend has gone, and
 * when an operator says so. `reset_connections.ts` tells both ends.
 */
import type { Clock } from "../core/clock.ts";
import type { Random } from "../core/random.ts";
import type { Connections } from "../flow/connections.ts";
import type { Link } from "./link.ts";
import { ConnectionResets } from "./reset_connections.ts";

export interface Killed {
  readonly killed: number;
  /** Null: the end was reached. */
  readonly next: number | null;
}

export interface EndingsOptions {
  readonly connections: Connections;
  readonly links: readonly Link[];
  /** The link over which an end of a connection is reached, by its reference. */
  readonly linkTowards: (reference: number) => Link;
  readonly random: Random;
  readonly clock: Clock;
  /** Sends what is queued on the links. */
  readonly flush: () => void;
}

export class Endings {
  readonly #options: EndingsOptions;

  constructor(options: EndingsOptions) {
    this.#options = options;
  }

  /**
   * Resets those of the open TCP connections that `isMeant` names: a slice with each `step`, which
   * the next `poll` sends. They stay in the table, as connections that have been reset.
   */
  resets(isMeant: (entry: number) => boolean): ConnectionResets {
    const { connections } = this.#options;
    return this.#resets(isMeant, 0, (entry, nowMs) => connections.markReset(entry, nowMs));
  }

  /** Resets all open TCP connections and sends that at once, as many as `withinMs` allows. */
  resetAll(withinMs: number): ConnectionResets {
    const { clock, flush } = this.#options;
    const resets = this.resets(() => true);
    const endMs = clock.nowMs() + withinMs;
    for (let nowMs = clock.nowMs(); nowMs < endMs && resets.step(nowMs); nowMs = clock.nowMs()) {
      flush();
    }
    flush();
    return resets;
  }

  /**
   * Forgets the connections that `isMeant` names, in the slice of the table from entry `from` on;
   * both ends of an open TCP connection get an RST, at once. Returns how many, and where the next
   * slice begins, or null.
   */
  kill(isMeant: (entry: number) => boolean, from: number): Killed {
    const { clock, connections, flush } = this.#options;
    const resets = this.#resets(isMeant, from, (entry) => connections.remove(entry));
    const goesOn = resets.step(clock.nowMs());
    flush();
    let killed = resets.connections;
    for (let entry = from; entry < resets.next; entry++) {
      if (!connections.table.isUsed(entry) || !isMeant(entry)) continue;
      connections.remove(entry);
      killed++;
    }
    return { killed, next: goesOn ? resets.next : null };
  }

  #resets(
    isMeant: (entry: number) => boolean,
    from: number,
    told: (entry: number, nowMs: number) => void,
  ): ConnectionResets {
    const { connections, links, linkTowards, random } = this.#options;
    return new ConnectionResets({ connections, links, linkTowards, random, isMeant, from, told });
  }
}
