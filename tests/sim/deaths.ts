/**
 * Backends that lose their power, one at a time, and come back without a memory. The proxy learns
 * of it when it asks who has their addresses. What had a connection with it may fail in any way;
 * what begins while the proxy can't know yet may wait; all else must do as if nothing had happened.
 */
import type { MemberSnapshot } from "../../src/datapath/snapshot.ts";
import { below, type Random } from "../../src/core/random.ts";
import { formatHostAddress } from "../../src/wire/host_address.ts";
import type { Connection } from "./plan.ts";
import type { SimHost } from "./host.ts";

const LONGEST_LIFE_MS = 600_000;
const SHORTEST_DEATH_MS = 10_000;
const LONGEST_DEATH_MS = 240_000;

export interface DeathsOptions {
  readonly random: Random;
  readonly backends: readonly SimHost[];
  /** The backends as the proxy sees them. */
  readonly known: () => readonly MemberSnapshot[];
  readonly at: (inMs: number, run: () => void) => void;
  /** Someone has died, or come back. */
  readonly changed: () => void;
}

export class Deaths {
  readonly #options: DeathsOptions;

  constructor(options: DeathsOptions) {
    this.#options = options;
  }

  start(): void {
    const { random, at } = this.#options;
    at(1 + below(random, LONGEST_LIFE_MS), () => this.#die());
  }

  /** The proxy knows who is dead and who is not. */
  isKnown(): boolean {
    const status = new Map(
      this.#options.known().map(({ address, status }) => [formatHostAddress(address), status]),
    );
    return this.#options.backends.every(({ at, isDead }) =>
      status.get(at.text) === (isDead ? "down" : "up")
    );
  }

  #die(): void {
    const { random, backends, at, changed } = this.#options;
    const backend = backends[below(random, backends.length)]!;
    for (const connection of backend.die()) struck(connection);
    changed();
    at(SHORTEST_DEATH_MS + below(random, LONGEST_DEATH_MS - SHORTEST_DEATH_MS), () => {
      backend.isDead = false;
      changed();
      this.start();
    });
  }
}

function struck(connection: Connection): void {
  if (!connection.over) connection.struck = true;
}
