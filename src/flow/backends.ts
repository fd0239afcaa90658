/** The backends: `--dst-addrs`, whether each can be reached, and how many connections it has had. */
import { below, type Random } from "../core/random.ts";
import type { BalanceMethod } from "../tree/ast.ts";
import type { Pdu } from "../wire/pdu.ts";
import { tupleHash } from "../wire/tuple_hash.ts";

/** Not heard of yet / answers ARP / has not answered. */
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
  /** Those that new connections may get: kept whenever a status changes. */
  #eligible: readonly Backend[];
  #turn = 0;

  constructor(addresses: readonly number[]) {
    this.all = addresses.map((address) => ({
      address,
      status: "resolving",
      active: 0,
      opened: 0,
    }));
    this.#byAddress = new Map(this.all.map((backend) => [backend.address, backend]));
    this.#eligible = this.all;
  }

  get(address: number): Backend | undefined {
    return this.#byAddress.get(address);
  }

  /** Connections go to backends that answer; while none does, to those not heard of yet; else to none. */
  setStatus(backend: Backend, status: BackendStatus): void {
    backend.status = status;
    const withStatus = (wanted: BackendStatus) => this.all.filter((b) => b.status === wanted);
    const up = withStatus("up");
    this.#eligible = up.length > 0 ? up : withStatus("resolving");
    this.unanswered = withStatus("unanswered").length;
  }

  /** An eligible backend for the connection that `pdu` opens, or null if none has answered. */
  pick(method: BalanceMethod, pdu: Readonly<Pdu>, random: Random): Backend | null {
    const count = this.#eligible.length;
    if (count <= 1) return this.#eligible[0] ?? null;
    switch (method) {
      case "random":
        return this.#eligible[below(random, count)]!;
      case "round-robin":
        return this.#eligible[this.#turn++ % count]!;
      case "hash":
        return this.#eligible[(tupleHash(pdu) >>> 0) % count]!;
    }
  }
}
