/** A named set of members, and who of them gets the next connection. */
import { below, type Random } from "../../core/random.ts";
import type { BalanceMethod } from "../../policy/language/ast.ts";
import { type Health, healthOf, isActive } from "../../policy/language/health.ts";
import type { Pdu } from "../../wire/pdu.ts";
import { tupleHash } from "../../wire/stable_hash.ts";
import type { Member, MemberOptions, MemberStatus } from "./member.ts";

/** What a policy or the command line says of a pool. */
export interface PoolOptions {
  readonly name: string;
  readonly members: readonly MemberOptions[];
  /** Default: ARP tells whether they are there. */
  readonly health?: Health;
}

export class Pool {
  readonly name: string;
  readonly health: Health;
  /** In the order given. */
  readonly members: readonly Member[];
  /** Those that new connections go to, in the order given; valid unless stale. */
  #usable: readonly Member[] = [];
  #isStale = true;
  #turn = 0;

  /** Its members get the numbers from `first` on. */
  constructor({ name, members, health = healthOf() }: PoolOptions, first: number) {
    this.name = name;
    this.health = health;
    this.members = members.map((member, i) => ({
      ...member,
      pool: this,
      index: first + i,
      status: health.check.kind === "off" ? "up" : "unknown",
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
    const { check, allDown } = this.health;
    const withStatus = (...statuses: readonly MemberStatus[]) =>
      this.members.filter(({ status }) => statuses.includes(status));
    // Where checks tell, one is used until its first result; where ARP does, while nobody has answered.
    const up = isActive(check) ? withStatus("up", "unknown") : withStatus("up");
    const known = up.length > 0 ? up : withStatus("unknown");
    this.#usable = known.length === 0 && allDown === "any" ? withStatus("down") : known;
    this.#isStale = false;
  }
}
