/** The backends: the pools, and all their members by number and by address. */
import {
  DST_ADDRS,
  type PickMethod,
  type Policy,
  type PoolDefinition,
  type PoolMember,
} from "../../policy/language/ast.ts";
import { type Health, healthOf } from "../../policy/language/health.ts";
import { type HashKey, NO_KEY } from "../../wire/keyed_hash.ts";
import { Member, type MemberStatus, plainMember } from "./member.ts";
import { Pool } from "./pool.ts";

/** Most members of all pools together: their numbers have two bytes. */
export const MAX_MEMBERS = 65_536;

/** Where a translator sends new connections. */
export interface Target {
  readonly pool: Pool;
  /** For members that have none of their own; 0: the connection's. */
  readonly port: number;
  readonly by: PickMethod;
}

export class Backends {
  /** `$dst-addrs` first: it always exists. */
  readonly pools: readonly Pool[];
  /** All members of all pools; each stands at its number. */
  readonly all: readonly Member[];
  /** Targets of translators, by number. */
  readonly targets: Target[] = [];
  /** How many of them are down. */
  down = 0;
  readonly #byAddress = new Map<number, Member[]>();
  readonly #byName: ReadonlyMap<string, Pool>;
  readonly #targetNumbers = new Map<string, number>();

  /**
   * `key`: of consistent hashes; `health`: of `$dst-addrs`. Throws a RangeError for more than MAX_MEMBERS.
   */
  constructor(
    dstAddrs: readonly number[],
    pools: Policy["pools"] = {},
    key: HashKey = NO_KEY,
    health: Health = healthOf(),
  ) {
    const own: PoolDefinition = { members: dstAddrs.map(plainMember), health };
    const all: Member[] = [];
    this.all = all;
    this.pools = [[DST_ADDRS, own] as const, ...Object.entries(pools)].map(
      ([name, { members, health }]) => {
        const pool = new Pool(name, key, health);
        pool.members = members.map((member) => this.#add(all, pool, member));
        return pool;
      },
    );
    this.#byName = new Map(this.pools.map((pool) => [pool.name, pool]));
    if (all.length > MAX_MEMBERS) {
      throw new RangeError(`Cannot use ${all.length} backends: expected at most ${MAX_MEMBERS}`);
    }
  }

  #add(all: Member[], pool: Pool, options: PoolMember): Member {
    const member = new Member(pool, all.length, options);
    all.push(member);
    const known = this.#byAddress.get(member.address);
    if (known === undefined) this.#byAddress.set(member.address, [member]);
    else known.push(member);
    return member;
  }

  /** Number of the target; equal ones have one. Throws a RangeError for no such pool. */
  target(name: string, port: number, by: PickMethod): number {
    const pool = this.#byName.get(name);
    if (pool === undefined) throw new RangeError(`Cannot use pool "$${name}": not defined`);
    const key = `${name} ${port} ${by}`;
    let number = this.#targetNumbers.get(key);
    if (number === undefined) {
      number = this.targets.push({ pool, port, by }) - 1;
      this.#targetNumbers.set(key, number);
    }
    return number;
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

  setShare(member: Member, share: number): void {
    if (member.share === share) return;
    member.share = share;
    member.pool.changed();
  }

  // Connections

  /** The member has got a new connection. */
  opened(member: Member): void {
    member.active++;
    member.opened++;
    this.changeLoad(member, 1);
  }

  /** A connection of the member is over, or again not over. */
  changeLoad(member: Member, change: number): void {
    member.load += change;
    member.pool.loadChanged(member);
  }

  /** The flow table has forgotten a connection of the member, which was over or not. */
  forgotten(member: Member, wasOver: boolean): void {
    member.active--;
    if (!wasOver) this.changeLoad(member, -1);
  }
}
