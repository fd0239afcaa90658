/** A named set of members, and who of them gets the next connection. */
import { below, type Random } from "../../core/random.ts";
import type { BalanceMethod } from "../../policy/language/ast.ts";
import type { Pdu } from "../../wire/pdu.ts";
import { tupleHash } from "../../wire/stable_hash.ts";
import type { Member, MemberOptions } from "./member.ts";

/** What a policy or the command line says of a pool. */
export interface PoolOptions {
  readonly name: string;
  readonly members: readonly MemberOptions[];
}

export class Pool {
  readonly name: string;
  /** In the order given. */
  readonly members: readonly Member[];
  /** Those that new connections go to, in the order given; valid unless stale. */
  #usable: readonly Member[] = [];
  #isStale = true;
  #turn = 0;

  /** Its members get the numbers from `first` on. */
  constructor({ name, members }: PoolOptions, first: number) {
    this.name = name;
    this.members = members.map((member, i) => ({
      ...member,
      pool: this,
      index: first + i,
      status: "unknown",
      active: 0,
      opened: 0,
    }));
  }

  /** The status of a member has changed. */
  changed(): void {
    this.#isStale = true;
  }

  /** A member for the connection that `pdu` opens, or null if none can take it. */
  pick(method: BalanceMethod, pdu: Readonly<Pdu>, random: Random): Member | null {
    if (this.#isStale) this.#refresh();
    const usable = this.#usable;
    const count = usable.length;
    if (count <= 1) return usable[0] ?? null;
    switch (method) {
      case "at random":
        return usable[below(random, count)]!;
      case "in turn":
        return usable[this.#turn++ % count]!;
      case "by hash":
        return usable[(tupleHash(pdu) >>> 0) % count]!;
    }
  }

  #refresh(): void {
    const up = this.members.filter(({ status }) => status === "up");
    this.#usable = up.length > 0 ? up : this.members.filter(({ status }) => status === "unknown");
    this.#isStale = false;
  }
}
