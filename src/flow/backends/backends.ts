/** The backends: the pools, and all their members by number and by address. */
import type { Address } from "../../wire/address.ts";
import { ADDRESS6_WORDS, isSameAddress6 } from "../../wire/address6.ts";
import type { AddressDigest } from "../../wire/address_digest.ts";
import {
  DST_ADDRS,
  type PickMethod,
  type Policy,
  type PoolDefinition,
  type PoolMember,
} from "../../policy/language/ast.ts";
import { type Health, healthOf } from "../../policy/language/health.ts";
import type { AddressSet } from "../../wire/address_set.ts";
import { formatEndpoint, type HostAddress, isIpv6, wordsOf } from "../../wire/host_address.ts";
import { type HashKey, NO_KEY } from "../../wire/keyed_hash.ts";
import { isInService, Member, type MemberStatus, plainMember } from "./member.ts";
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
  /**
   * `$dst-addrs` first: it always exists. Those that the policy does not have any more are last.
   */
  pools: readonly Pool[] = [];
  /**
   * All members of all pools; each stands at its number. One that has gone stays there until
   * another is given its number.
   */
  readonly all: Member[] = [];
  /** Four words of each IPv6 member, by its number; null: there is no IPv6. */
  readonly words: Int32Array<ArrayBuffer> | null;
  /** Targets of translators, by number. */
  readonly targets: Target[] = [];
  /** How many of them are down. */
  down = 0;
  #dstAddrs: PoolDefinition;
  readonly #key: HashKey;
  readonly #lost: () => void;
  readonly #nowMs: () => number;
  readonly #digest: AddressDigest | null;
  readonly #byAddress = new Map<HostAddress, Member[]>();
  /** IPv6 members by key, for `has6`. */
  readonly #byKey = new Map<number, Member[]>();
  readonly #targetNumbers = new Map<string, number>();
  /** Numbers of members that have gone. */
  readonly #freeNumbers: number[] = [];

  /**
   * `key`: of consistent hashes; `health`: of `$dst-addrs`; `lost` is called when connections may
   * have lost their member; `nowMs` tells the time of changes; `digest` makes the keys of IPv6
   * members, null: there are none. Throws a RangeError for more than MAX_MEMBERS.
   */
  constructor(
    dstAddrs: readonly HostAddress[],
    pools: Policy["pools"] = {},
    key: HashKey = NO_KEY,
    health: Health = healthOf(),
    lost: () => void = () => {},
    nowMs: () => number = () => 0,
    digest: AddressDigest | null = null,
  ) {
    this.#dstAddrs = { members: dstAddrs.map(plainMember), health };
    this.#key = key;
    this.#lost = lost;
    this.#nowMs = nowMs;
    this.#digest = digest;
    this.words = digest === null ? null : new Int32Array(ADDRESS6_WORDS * MAX_MEMBERS);
    this.check(pools);
    this.define(pools);
  }

  /** `$dst-addrs` as it is defined now. */
  get dstAddrs(): PoolDefinition {
    return this.#dstAddrs;
  }

  /**
   * Throws a RangeError if there can't be so many members beside those that still have connections.
   */
  check(pools: Policy["pools"]): void {
    const defined: Policy["pools"] = { [DST_ADDRS]: this.#dstAddrs, ...pools };
    const count = Object.values(defined).reduce((sum, { members }) => sum + members.length, 0);
    const busy = this.pools.flatMap(({ name, members }) => {
      const keys = new Set(defined[name]?.members.map(keyOf));
      return members.filter((member) => member.active > 0 && !keys.has(keyOf(member)));
    });
    if (count + busy.length > MAX_MEMBERS) {
      throw new RangeError(
        `Cannot use ${count + busy.length} backends: expected at most ${MAX_MEMBERS}`,
      );
    }
  }

  /**
   * These are the pools from now on, besides `$dst-addrs`, which they may define anew. A member
   * that was there before, by pool, address and port, stays what it is; one that is not there any
   * more gets no new connections, and goes with its last one. All targets are forgotten.
   */
  define(pools: Policy["pools"]): void {
    const before = new Map(this.pools.map((pool) => [pool.name, pool]));
    const defined = Object.entries({ [DST_ADDRS]: this.#dstAddrs, ...pools });
    this.#dstAddrs = defined[0]![1];
    this.pools = defined.map(([name]) => before.get(name) ?? new Pool(name, this.#key));
    for (const [i, [name, { members, health = healthOf() }]] of defined.entries()) {
      const pool = this.pools[i]!;
      pool.health = health;
      this.#arrange(pool, members);
      before.delete(name);
      if (health.check.kind !== "off") continue;
      for (const member of pool.members) if (isInService(member)) this.setStatus(member, "up");
    }
    for (const pool of before.values()) this.#arrange(pool, []);
    const leaving = [...before.values()].filter(({ members }) => members.length > 0);
    this.pools = [...this.pools, ...leaving];
    this.targets.length = 0;
    this.#targetNumbers.clear();
  }

  #arrange(pool: Pool, options: readonly PoolMember[]): void {
    const before = new Map(pool.members.map((member) => [keyOf(member), member]));
    const members = options.map((option) => {
      const member = before.get(keyOf(option));
      before.delete(keyOf(option));
      if (member === undefined) return this.#add(pool, option);
      this.#configure(member, option);
      return member;
    });
    const leaving = [...before.values()];
    for (const member of leaving) {
      member.isLeaving = true;
      this.setStatus(member, "draining");
    }
    pool.rearrange([...members, ...leaving]);
    for (const member of leaving) if (member.active === 0) this.#remove(member);
  }

  #add(pool: Pool, options: PoolMember): Member {
    const index = this.#freeNumbers.pop() ?? this.all.length;
    const member = new Member(pool, index, options, this.#keyOf(options.address));
    member.changedMs = this.#nowMs();
    this.all[index] = member;
    addTo(this.#byAddress, member.address, member);
    if (isIpv6(member.address)) {
      addTo(this.#byKey, member.key, member);
      this.words!.set(wordsOf(member.address), ADDRESS6_WORDS * index);
    }
    return member;
  }

  #keyOf(address: HostAddress): Address {
    if (!isIpv6(address)) return address;
    if (this.#digest === null) {
      throw new RangeError(`Cannot use ${formatEndpoint(address, 0)}: there is no IPv6`);
    }
    return this.#digest.ofWords(wordsOf(address), 0);
  }

  /** What the policy says differently now becomes so; what was changed otherwise stays. */
  #configure(member: Member, options: PoolMember): void {
    const { configured, isLeaving } = member;
    member.configured = options;
    member.isLeaving = false;
    if (options.weight !== configured.weight) member.weight = options.weight;
    member.isBackup = options.isBackup;
    member.maxconn = options.maxconn;
    if (options.state === configured.state && !isLeaving) return;
    this.setStatus(member, options.state === "drain" ? "draining" : "unknown");
  }

  #remove(member: Member): void {
    const { pool, address, index } = member;
    pool.forget(member);
    removeFrom(this.#byAddress, address, member);
    if (member.isIpv6) removeFrom(this.#byKey, member.key, member);
    this.#freeNumbers.push(index);
    const isGone = ({ name, members }: Pool) => members.length === 0 && name !== DST_ADDRS;
    if (isGone(pool)) this.pools = this.pools.filter((other) => other !== pool);
  }

  /** Addresses that members have, each once. */
  addresses(): Iterable<HostAddress> {
    return this.#byAddress.keys();
  }

  /** Number of the target; equal ones have one. Throws a RangeError for no such pool. */
  target(name: string, port: number, by: PickMethod): number {
    const key = `${name} ${port} ${by}`;
    let number = this.#targetNumbers.get(key);
    if (number === undefined) {
      const pool = this.pools.find((pool) => pool.name === name);
      if (pool === undefined) throw new RangeError(`Cannot use pool "$${name}": not defined`);
      number = this.targets.push({ pool, port, by }) - 1;
      this.#targetNumbers.set(key, number);
    }
    return number;
  }

  /**
   * Addresses of the pool's members that are leaving: live. Null if none is and none will be once
   * these are its `members`.
   */
  leaving(
    name: string,
    members: readonly Pick<PoolMember, "address" | "port">[],
  ): AddressSet | null {
    const pool = this.pools.find((pool) => pool.name === name);
    const keys = new Set(members.map(keyOf));
    const isAny = pool?.members.some((member) => member.isLeaving || !keys.has(keyOf(member)));
    return isAny ? pool!.leaving : null;
  }

  /** True if a member of any pool has this address. */
  has(address: HostAddress): boolean {
    return this.#byAddress.has(address);
  }

  /** As `has`, for an IPv6 address given by its key and words. */
  has6(key: number, words: Readonly<Int32Array>, at: number): boolean {
    const known = this.#byKey.get(key);
    if (known === undefined) return false;
    for (const { index } of known) {
      if (isSameAddress6(words, at, this.words!, ADDRESS6_WORDS * index)) return true;
    }
    return false;
  }

  /** The members that have this address, of all pools. */
  at(address: HostAddress): readonly Member[] {
    return this.#byAddress.get(address) ?? [];
  }

  setStatus(member: Member, status: MemberStatus): void {
    if (member.status === status) return;
    this.down += Number(status === "down") - Number(member.status === "down");
    member.status = status;
    member.changedMs = this.#nowMs();
    member.pool.changed();
    if (this.down > 0) this.#lost();
  }

  setWeight(member: Member, weight: number): void {
    if (member.weight === weight) return;
    member.weight = weight;
    member.pool.rearrange(member.pool.members);
    if (this.down > 0) this.#lost();
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

  /** The member has a connection that an earlier run has opened, which is over or not. */
  resumed(member: Member, isOver: boolean): void {
    member.active++;
    if (!isOver) this.changeLoad(member, 1);
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
    if (member.isLeaving && member.active === 0) this.#remove(member);
  }
}

function addTo<Key>(members: Map<Key, Member[]>, key: Key, member: Member): void {
  const known = members.get(key);
  if (known === undefined) members.set(key, [member]);
  else known.push(member);
}

function removeFrom<Key>(members: Map<Key, Member[]>, key: Key, member: Member): void {
  const others = members.get(key)!.filter((other) => other !== member);
  if (others.length > 0) members.set(key, others);
  else members.delete(key);
}

/** What tells a member from the others of its pool. */
function keyOf({ address, port }: Pick<PoolMember, "address" | "port">): string {
  return formatEndpoint(address, port);
}
