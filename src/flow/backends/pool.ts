/** A named set of members, and who of them gets the next connection. */
import { below, type Random } from "../../core/random.ts";
import { Reason } from "../../core/reason.ts";
import type { PickMethod } from "../../policy/language/ast.ts";
import { type Health, healthOf, isActive } from "../../policy/language/health.ts";
import type { Pdu } from "../../wire/pdu.ts";
import type { HostAddress } from "../../wire/host_address.ts";
import { addressesHash, mix, stableHash } from "../../wire/stable_hash.ts";
import { type HashKey, keyedHash } from "../../wire/keyed_hash.ts";
import { ByWeight } from "./by_weight.ts";
import { InTurn } from "./in_turn.ts";
import { Least } from "./least.ts";
import { ConsistentTable } from "./maglev.ts";
import type { Member } from "./member.ts";

/** A member's share of its weight is told apart by this much. */
const SHARE_STEPS = 20;

/** How often a method is asked for a member that has not been tried. */
const DRAWS = 8;

export class Pool {
  readonly name: string;
  readonly #key: HashKey;
  /** How members are checked. Changed by `Backends` only. */
  health: Health = healthOf();
  /** In the order given; those that are leaving last. Changed by `Backends` only. */
  members: readonly Member[] = [];
  /**
   * Addresses of members that are leaving, as long as they have connections; no other member has
   * them.
   */
  readonly leaving: Set<HostAddress> = new Set();
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

  constructor(name: string, key: HashKey) {
    this.name = name;
    this.#backups = new ConsistentTable(key);
    this.#others = new ConsistentTable(key);
    this.#key = key;
  }

  /** The status of a member has changed. */
  changed(): void {
    this.#isStale = true;
  }

  /** Members have come or gone, or what the policy says of them has changed. */
  rearrange(members: readonly Member[]): void {
    this.members = members;
    this.#isStale = true;
    this.#backups.isStale = true;
    this.#others.isStale = true;
    this.leaving.clear();
    for (const { isLeaving, address } of members) if (isLeaving) this.leaving.add(address);
    for (const { isLeaving, address } of members) if (!isLeaving) this.leaving.delete(address);
  }

  /** A member that was leaving has gone. */
  forget(gone: Member): void {
    this.members = this.members.filter((member) => member !== gone);
    const isThere = this.members.some(({ address }) => address === gone.address);
    if (!isThere) this.leaving.delete(gone.address);
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

  /** Those that new connections may go to: full ones, too. */
  get usable(): readonly Member[] {
    if (this.#isStale) this.#refresh();
    return this.#usable;
  }

  /** True if new connections may go to this one of its members. */
  canUse(member: Member): boolean {
    if (this.#isStale) this.#refresh();
    return member.place >= 0;
  }

  /** Why `pick` gave none. */
  get refusal(): number {
    if (this.usable.length > 0) return Reason["backends-full"];
    return Reason[isActive(this.health.check) ? "all-down" : "no-backend"];
  }

  /**
   * A member for the connection that `pdu` opens, or null if none can take it: `refusal` says why.
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
        return this.#byHash(again(mix(pdu.src, 0), draw));
      case "by hash of destination":
        return this.#byHash(again(mix(pdu.dst, 0), draw));
      case "by least connections":
        this.#least ??= new Least(usable);
        return usable[this.#least.next()] ?? null;
      case "by source":
        return this.#consistent(again(keyedHash(this.#key, pdu.src, 0, 0, 1), draw));
      case "by maglev": {
        const { src, dst, protocol, srcPort, dstPort } = pdu;
        const hash = keyedHash(this.#key, src, dst, (srcPort << 16) | dstPort, protocol << 8 | 2);
        return this.#consistent(again(hash, draw));
      }
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
    const { check, allDown } = this.health;
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
