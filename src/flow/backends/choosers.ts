/** Who of a pool's members of one family gets the next connection. */
import { below, type Random } from "../../core/random.ts";
import type { PickMethod } from "../../policy/language/ast.ts";
import { type Health, isActive } from "../../policy/language/health.ts";
import { type HashKey, keyedSourceHash, keyedTupleHash } from "../../wire/keyed_hash.ts";
import type { Pdu } from "../../wire/pdu.ts";
import {
  addressesHash,
  destinationHash,
  mix,
  sourceHash,
  stableHash,
} from "../../wire/stable_hash.ts";
import { ByWeight } from "./by_weight.ts";
import { InTurn } from "./in_turn.ts";
import { Least } from "./least.ts";
import { ConsistentTable } from "./maglev.ts";
import type { Member } from "./member.ts";

/** A member's share of its weight is told apart by this much. */
const SHARE_STEPS = 20;

/** How often a method is asked for a member that has not been tried. */
const DRAWS = 8;

/** Members of both families, in the order given, and how they are checked; live. */
export interface MembersOfPool {
  readonly members: readonly Member[];
  readonly health: Health;
}

export class Choosers {
  readonly #pool: MembersOfPool;
  readonly #isIpv6: boolean;
  readonly #key: HashKey;
  #isStale = true;
  /**
   * Those that may be chosen, full ones among them, in the order given; this and below unless
   * stale.
   */
  #usable: readonly Member[] = [];
  /** One of them has a limit. */
  #isLimited = false;
  /** What methods keep; null: not asked for since the usable members changed. */
  #byWeight: ByWeight | null = null;
  /** As `#byWeight`, with the share of each. */
  #byShare: ByWeight | null = null;
  #inTurn: InTurn | null = null;
  #least: Least | null = null;
  #earlierTurns: InTurn | null = null;
  /** Of all members that are backups, and of all that are none. */
  readonly #backups: ConsistentTable;
  readonly #others: ConsistentTable;

  constructor(pool: MembersOfPool, isIpv6: boolean, key: HashKey) {
    this.#pool = pool;
    this.#isIpv6 = isIpv6;
    this.#key = key;
    this.#backups = new ConsistentTable(key);
    this.#others = new ConsistentTable(key);
  }

  /** The status of a member has changed. */
  changed(): void {
    this.#isStale = true;
  }

  /** Members have come or gone, or what the policy says of them has changed. */
  rearrange(): void {
    this.#isStale = true;
    this.#backups.isStale = true;
    this.#others.isStale = true;
  }

  /** A member has more or fewer connections. */
  loadChanged(member: Member): void {
    if (this.#isStale || member.place < 0) return;
    if (this.#isLimited) {
      this.#byWeight?.setFree(member);
      this.#byShare?.setFree(member);
      this.#inTurn?.setFree(member);
    }
    this.#least?.changed(member);
  }

  /** Members of the family, usable or not. */
  get members(): readonly Member[] {
    return this.#pool.members.filter(({ isIpv6 }) => isIpv6 === this.#isIpv6);
  }

  /** Those that new connections may go to: full ones, too. */
  get usable(): readonly Member[] {
    if (this.#isStale) this.#refresh();
    return this.#usable;
  }

  /** How well they can serve: 2, or 1 where only those can that are down; 0: nobody can. */
  get readiness(): number {
    const { usable } = this;
    const isAnyFree = usable.length > 0 &&
      (!this.#isLimited || usable.some(({ isFull }) => !isFull));
    if (!isAnyFree) return 0;
    return usable[0]!.status === "down" ? 1 : 2;
  }

  /** True if new connections may go to this one of its members. */
  canUse(member: Member): boolean {
    if (this.#isStale) this.#refresh();
    return member.place >= 0;
  }

  /**
   * A member for the connection that `pdu` opens, or null if none can take it.
   */
  pick(method: PickMethod, pdu: Readonly<Pdu>, random: Random): Member | null {
    if (this.#isStale) this.#refresh();
    const usable = this.#usable;
    if (usable.length === 0) return null;
    if (usable.length === 1) return usable[0]!.isFull ? null : usable[0]!;
    return this.#draw(method, pdu, random, 0);
  }

  /**
   * As `pick`, a member that is none of the `excluded`, or null. The method is asked a few times;
   * where few members are left, they are looked for one by one.
   */
  pickOther(
    method: PickMethod,
    pdu: Readonly<Pdu>,
    random: Random,
    excluded: (member: Member) => boolean,
  ): Member | null {
    const { usable } = this;
    if (usable.length < 2) return usable.find((one) => isFree(one, excluded)) ?? null;
    if (method === "by least connections") return leastLoaded(usable, excluded);
    for (let draw = 1; draw <= DRAWS; draw++) {
      const member = this.#draw(method, pdu, random, draw);
      if (member === null) return null;
      if (!excluded(member)) return member;
    }
    return usable.find((one) => isFree(one, excluded)) ?? null;
  }

  /** True if `pickOther` would find one. */
  hasOther(excluded: (member: Member) => boolean): boolean {
    return this.usable.some((member) => isFree(member, excluded));
  }

  /**
   * What the method says when it is asked for the first time (`draw` 0) or again, of two or more
   * members.
   */
  #draw(method: PickMethod, pdu: Readonly<Pdu>, random: Random, draw: number): Member | null {
    const usable = this.#usable;
    switch (method) {
      case "at random":
        return this.#atRandom(random);
      case "in turn":
        this.#inTurn ??= new InTurn(usable, this.#earlierTurns);
        return usable[this.#inTurn.next()] ?? null;
      case "by hash":
        return this.#byHash(again(stableHash(pdu), draw));
      case "by hash of addresses":
        return this.#byHash(again(addressesHash(pdu), draw));
      case "by hash of source":
        return this.#byHash(again(sourceHash(pdu), draw));
      case "by hash of destination":
        return this.#byHash(again(destinationHash(pdu), draw));
      case "by least connections":
        this.#least ??= new Least(usable);
        return usable[this.#least.next()] ?? null;
      case "by source":
        return this.#consistent(again(keyedSourceHash(this.#key, pdu), draw));
      case "by maglev":
        return this.#consistent(again(keyedTupleHash(this.#key, pdu), draw));
    }
  }

  #atRandom(random: Random): Member | null {
    const weights = this.#byShare ??= this.#withShares();
    const { freeTotal } = weights;
    if (freeTotal === 0) return null;
    const place = this.#isLimited
      ? weights.freePlaceAt(below(random, freeTotal))
      : weights.placeAt(below(random, weights.total));
    return this.#usable[place]!;
  }

  #withShares(): ByWeight {
    const scale = this.#usable.some(({ share }) => share < 1) ? SHARE_STEPS : 1;
    return new ByWeight(
      this.#usable,
      this.#isLimited,
      ({ currentWeight }) => Math.max(1, Math.round(currentWeight * scale)),
    );
  }

  /** Who is full changes nothing for those whose choice is not. */
  #byHash(hash: number): Member | null {
    const weights = this.#byWeight ??= new ByWeight(this.#usable, this.#isLimited);
    const member = this.#usable[weights.placeAt((hash >>> 0) % weights.total)]!;
    return member.isFull ? this.#instead(hash, weights) : member;
  }

  #consistent(hash: number): Member | null {
    const { isBackup } = this.#usable[0]!;
    const table = isBackup ? this.#backups : this.#others;
    if (table.isStale) table.renew(this.#lasting(isBackup));
    const place = table.placeOf(hash);
    if (place < 0) return this.#byHash(hash);
    const member = this.#usable[place]!;
    if (!member.isFull) return member;
    return this.#instead(hash, this.#byWeight ??= new ByWeight(this.#usable, true));
  }

  /** Those that a consistent hash gives slots to, whether they are there or not. */
  #lasting(isBackup: boolean): readonly Member[] {
    return this.members.filter((member) =>
      member.weight > 0 && member.isBackup === isBackup && !member.isLeaving
    );
  }

  /** The member whose it is is full. */
  #instead(hash: number, weights: ByWeight): Member | null {
    const { freeTotal } = weights;
    if (freeTotal === 0) return null;
    return this.#usable[weights.freePlaceAt((mix(hash, 1) >>> 0) % freeTotal)]!;
  }

  /**
   * Members of weight 0 and those that are draining, in maintenance or down are out of the
   * question.
   */
  #refresh(): void {
    for (const member of this.#usable) member.place = -1;
    const { check, allDown } = this.#pool.health;
    // Where checks tell, one is used until its first result; where ARP does, while nobody has
    // answered.
    const isUnknownUp = isActive(check);
    const isUp = ({ status }: Member) => status === "up" || (isUnknownUp && status === "unknown");
    const ranks = [
      (member: Member) => isUp(member) && !member.isBackup,
      (member: Member) => member.status === "unknown" && !member.isBackup,
      isUp,
      (member: Member) => member.status === "unknown",
      (member: Member) => member.status === "down" && allDown === "any",
    ];
    const weighty = this.members.filter(({ weight }) => weight > 0);
    this.#usable = ranks.map((isOf) => weighty.filter(isOf)).find(({ length }) => length > 0) ?? [];
    for (const [place, member] of this.#usable.entries()) member.place = place;
    this.#isLimited = this.#usable.some(({ maxconn }) => maxconn > 0);
    this.#earlierTurns = this.#inTurn ?? this.#earlierTurns;
    this.#byWeight = this.#byShare = null;
    this.#inTurn = this.#least = null;
    this.#isStale = false;
  }
}

/** The hash, or for a later draw another one that follows from it. */
function again(hash: number, draw: number): number {
  return draw === 0 ? hash : mix(hash, draw + 1);
}

function isFree(member: Member, excluded: (member: Member) => boolean): boolean {
  return !member.isFull && !excluded(member);
}

function leastLoaded(
  members: readonly Member[],
  excluded: (member: Member) => boolean,
): Member | null {
  let least: Member | null = null;
  for (const member of members) {
    if (!isFree(member, excluded)) continue;
    const load = member.load / member.currentWeight;
    if (least === null || load < least.load / least.currentWeight) least = member;
  }
  return least;
}
