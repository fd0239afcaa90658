/**
 * The backends: `--dst-addrs`, whether each can be reached, and how many connections it has had.
 */
import { below, type Random } from "../../core/random.ts";
import type { BalanceMethod } from "../../policy/language/ast.ts";
import type { Pdu } from "../../wire/pdu.ts";
import { stableHash } from "../../wire/stable_hash.ts";

/** No ARP reply yet / answers ARP / does not answer. */
export type BackendStatus = "resolving" | "up" | "unanswered";

export interface Backend {
  readonly address: number;
  status: BackendStatus;
  /** Connections in the flow table. */
  active: number;
  /** Connections ever opened. */
  opened: number;
}

export class Backends {
  readonly all: readonly Backend[];
  /** How many have not answered. */
  unanswered = 0;
  readonly #byAddress: ReadonlyMap<number, Backend>;
  /** Index in `all`. */
  readonly #indexOf: ReadonlyMap<Backend, number>;
  /** Those that answer and those that have not replied yet, each in the order given. */
  readonly #up: Backend[] = [];
  readonly #resolving: Backend[];
  #turn = 0;

  constructor(addresses: readonly number[]) {
    this.all = addresses.map((address) => ({
      address,
      status: "resolving",
      active: 0,
      opened: 0,
    }));
    this.#byAddress = new Map(this.all.map((backend) => [backend.address, backend]));
    this.#indexOf = new Map(this.all.map((backend, index) => [backend, index]));
    this.#resolving = [...this.all];
  }

  get(address: number): Backend | undefined {
    return this.#byAddress.get(address);
  }

  /**
   * New connections go to backends that answer; while none does, to those that have not replied
   * yet; else to none.
   */
  setStatus(backend: Backend, status: BackendStatus): void {
    if (backend.status === status) return;
    const from = this.#withStatus(backend.status);
    const to = this.#withStatus(status);
    backend.status = status;
    from?.splice(this.#indexIn(from, backend), 1);
    to?.splice(this.#indexIn(to, backend), 0, backend);
    this.unanswered = this.all.length - this.#up.length - this.#resolving.length;
  }

  #withStatus(status: BackendStatus): Backend[] | null {
    return status === "up" ? this.#up : status === "resolving" ? this.#resolving : null;
  }

  /** Index of the backend in a part of `all`, or where to insert it. */
  #indexIn(part: readonly Backend[], backend: Backend): number {
    const index = this.#indexOf.get(backend)!;
    let low = 0;
    for (let high = part.length; low < high;) {
      const middle = (low + high) >>> 1;
      if (this.#indexOf.get(part[middle]!)! < index) low = middle + 1;
      else high = middle;
    }
    return low;
  }

  /** A backend for the connection that `pdu` opens, or null if none is eligible. */
  pick(method: BalanceMethod, pdu: Readonly<Pdu>, random: Random): Backend | null {
    const eligible = this.#up.length > 0 ? this.#up : this.#resolving;
    const count = eligible.length;
    if (count <= 1) return eligible[0] ?? null;
    switch (method) {
      case "at random":
        return eligible[below(random, count)]!;
      case "in turn":
        return eligible[this.#turn++ % count]!;
      case "by hash":
        return eligible[(stableHash(pdu) >>> 0) % count]!;
    }
  }
}
