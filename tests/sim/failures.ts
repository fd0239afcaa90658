/**
 * Services that fail while their hosts still answer ARP: one refuses, says nothing at all, or has
 * just begun again without a memory. One of the backends of each family, the same for the whole
 * run, is well at every moment: nobody who opens a connection may notice the others, but for the
 * time that it takes to find them silent.
 */
import { below, type Random } from "../../src/core/random.ts";
import type { SimHost } from "./host.ts";
import type { Connection } from "./plan.ts";

const LONGEST_WELL_MS = 10_000;
const LONGEST_ILL_MS = 20_000;
/** `--connect-timeout` for each other backend: a client sends its SYN again 1, 3 and 7 s later. */
const MOST_SYNS_AGAIN = 3;

export interface FailuresOptions {
  readonly random: Random;
  readonly backends: readonly SimHost[];
  readonly at: (inMs: number, run: () => void) => void;
  /** No frame is lost or changed on the way. */
  readonly isCalm: boolean;
}

export class Failures {
  readonly #options: FailuresOptions;

  constructor(options: FailuresOptions) {
    this.#options = options;
  }

  start(): void {
    const { random, backends } = this.#options;
    for (const isIpv6 of [false, true]) {
      const family = backends.filter(({ at }) => at.isIpv6 === isIpv6);
      if (family.length === 0) continue;
      const well = below(random, family.length);
      family.forEach((backend, i) => {
        if (i !== well) this.#later(LONGEST_WELL_MS, () => this.#fail(backend));
      });
    }
  }

  /**
   * True for a connection that reached nobody because frames were lost: the proxy took those that
   * were well for silent, or for dead, until nobody was left to ask.
   */
  excuses({ clientEnd }: Connection): boolean {
    const { deliveredBytes, end, eof } = clientEnd!;
    const isUnanswered = (end === "reset" || end === "timeout") && deliveredBytes === 0 && !eof;
    return !this.#options.isCalm && isUnanswered;
  }

  /** What is wrong with how the connection was opened, or "". */
  fault({ kind, struck, clientEnd, excusedRetries }: Connection): string {
    if (kind === "blocked" || kind === "refused" || struck || !this.#options.isCalm) return "";
    const { openRetries } = clientEnd!;
    return openRetries <= MOST_SYNS_AGAIN + excusedRetries
      ? ""
      : `was answered after ${openRetries} SYNs sent again`;
  }

  #fail(backend: SimHost): void {
    const kind = below(this.#options.random, 3);
    if (kind === 0) backend.service = "refuses";
    else {
      for (const connection of backend.die()) {
        if (!connection.over) connection.struck = true;
      }
      backend.isDead = false;
      if (kind === 1) backend.service = "silent";
    }
    this.#later(LONGEST_ILL_MS, () => {
      backend.service = "well";
      this.#later(LONGEST_WELL_MS, () => this.#fail(backend));
    });
  }

  #later(longestMs: number, run: () => void): void {
    this.#options.at(1 + below(this.#options.random, longestMs), run);
  }
}
