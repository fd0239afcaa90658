/** The backends: the pools, and all their members by number and by address. */
import { DST_ADDRS } from "../../policy/language/ast.ts";
import { type Health, healthOf } from "../../policy/language/health.ts";
import { type Member, type MemberStatus, plainMember } from "./member.ts";
import { Pool, type PoolOptions } from "./pool.ts";

/** Most members of all pools together: their numbers have two bytes. */
export const MAX_MEMBERS = 65_536;

export class Backends {
  /** `$dst-addrs` first: it always exists. */
  readonly pools: readonly Pool[];
  /** All members of all pools; each stands at its number. */
  readonly all: readonly Member[];
  /** How many of them are down. */
  down = 0;
  readonly #byAddress = new Map<number, Member[]>();

  /** `health` is that of `$dst-addrs`. Throws a RangeError for more than MAX_MEMBERS. */
  constructor(
    dstAddrs: readonly number[],
    pools: readonly PoolOptions[] = [],
    health: Health = healthOf(),
  ) {
    let first = 0;
    const own = { name: DST_ADDRS, members: dstAddrs.map(plainMember), health };
    this.pools = [own, ...pools].map((pool) => {
      const made = new Pool(pool, first);
      first += made.members.length;
      return made;
    });
    if (first > MAX_MEMBERS) {
      throw new RangeError(`Cannot use ${first} backends: expected at most ${MAX_MEMBERS}`);
    }
    this.all = this.pools.flatMap(({ members }) => members);
    for (const member of this.all) {
      const known = this.#byAddress.get(member.address);
      if (known === undefined) this.#byAddress.set(member.address, [member]);
      else known.push(member);
    }
  }

  /** True if a member of any pool has this address. */
  has(address: number): boolean {
    return this.#byAddress.has(address);
  }

  /** The members that have this address, of all pools. */
  at(address: number): readonly Member[] {
    return this.#byAddress.get(address) ?? [];
  }

  setStatus(member: Member, status: MemberStatus): void {
    if (member.status === status) return;
    this.down += Number(status === "down") - Number(member.status === "down");
    member.status = status;
    member.pool.changed();
  }
}
