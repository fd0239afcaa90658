/**
 * Maglev hashing (Eisenbud et al. 2016, §3.4): a table of 65,537 slots, of which each member has as
 * many as it has weight: in an order of its own, each takes free slots in turn.
 *
 * The table is made of all members, whether they are there or not. A connection whose slot belongs
 * to one that can't be chosen now asks further slots, which its own hash names, until it finds one
 * that can. So a member that is lost and found moves nobody but its own clients, and nothing is
 * made for it. The choice depends on the members' addresses, ports and weights, on who can be
 * chosen, and on the key: not on the order in which they are written or were lost. Instances of the
 * proxy that know the same choose the same.
 */
import { finish, type Slices } from "../../core/slices.ts";
import { compareHostAddresses, isIpv6, wordsOf } from "../../wire/host_address.ts";
import { type HashKey, keyedHash } from "../../wire/keyed_hash.ts";
import { mix } from "../../wire/stable_hash.ts";
import type { Member } from "./member.ts";

/** A prime number, so that every step walks through all slots. */
export const SLOTS = 65_537;

const FREE = 65_535;

/** Slots that are looked at between two places where the making can be interrupted. */
const LOOKS_AT_ONCE = 16_384;

/** Slots that a connection asks: if half of the members are there, all but one in 2³² find one. */
const MOST_ASKED = 32;

export class Maglev {
  /** In the order of their addresses and ports. */
  readonly #members: readonly Member[];
  /** Number of the member in each slot. */
  readonly #slots: Uint16Array<ArrayBuffer>;

  private constructor(members: readonly Member[], slots: Uint16Array<ArrayBuffer>) {
    this.#members = members;
    this.#slots = slots;
  }

  /** Members of weight 1 or more, at most 65,535. */
  static *of(members: readonly Member[], key: HashKey): Slices<Maglev> {
    const sorted = members.toSorted((a, b) =>
      compareHostAddresses(a.address, b.address) || a.port - b.port
    );
    return new Maglev(sorted, yield* fill(sorted, key));
  }

  /** Place of the member for a hash; -1: too few of them can be chosen now. */
  placeOf(hash: number): number {
    let slot = (hash >>> 0) % SLOTS;
    for (let asked = 1; asked <= MOST_ASKED; asked++) {
      const { place } = this.#members[this.#slots[slot]!]!;
      if (place >= 0) return place;
      slot = (mix(hash, asked) >>> 0) % SLOTS;
    }
    return -1;
  }
}

function hashOf({ address, port }: Member, key: HashKey, salt: number): number {
  if (!isIpv6(address)) return keyedHash(key, address, port, salt, 0);
  const [word0, word1, word2, word3] = wordsOf(address);
  return keyedHash(key, keyedHash(key, word0!, word1!, word2!, word3!), port, salt, 1);
}

/** Gives each member, by weight, the next slot that is free in its order, until none is. */
function* fill(members: readonly Member[], key: HashKey): Slices<Uint16Array<ArrayBuffer>> {
  const hashes = (salt: number, range: number) =>
    Int32Array.from(members, (member) => (hashOf(member, key, salt) >>> 0) % range);
  const slots = new Uint16Array(SLOTS).fill(FREE);
  const next = hashes(1, SLOTS);
  const steps = hashes(2, SLOTS - 1).map((step) => step + 1);
  const weights = Int32Array.from(members, ({ weight }) => weight);
  const greatest = weights.reduce((most, weight) => Math.max(most, weight), 0);
  const credits = new Int32Array(members.length);
  let looks = 0;
  for (let left = SLOTS;;) {
    for (let number = 0; number < members.length; number++) {
      if (++looks > LOOKS_AT_ONCE) {
        yield;
        looks = 0;
      }
      credits[number]! += weights[number]!;
      if (credits[number]! < greatest) continue;
      credits[number]! -= greatest;
      const step = steps[number]!;
      let slot = next[number]!;
      for (; slots[slot] !== FREE; looks++) {
        slot = slot + step < SLOTS ? slot + step : slot + step - SLOTS;
      }
      slots[slot] = number;
      next[number] = slot;
      if (--left === 0) return slots;
    }
  }
}

/**
 * The table of a pool, whose members may change: while a new one is made, a slice with each
 * connection, the old one goes on. Only the first is made at once.
 */
export class ConsistentTable {
  /** Members may have come or gone or got another weight: `renew` is due. */
  isStale = true;
  readonly #key: HashKey;
  /** Of what the newest table is or is to be made. */
  #members: readonly Member[] = [];
  #weights: readonly number[] = [];
  #maglev: Maglev | null = null;
  #making: Slices<Maglev> | null = null;

  constructor(key: HashKey) {
    this.#key = key;
  }

  /** These should be in the table. */
  renew(members: readonly Member[]): void {
    this.isStale = false;
    const isSame = members.length === this.#members.length &&
      members.every((member, i) =>
        member === this.#members[i] && member.weight === this.#weights[i]
      );
    if (isSame) return;
    this.#members = members;
    this.#weights = members.map(({ weight }) => weight);
    this.#making = Maglev.of(members, this.#key);
    if (this.#maglev !== null) return;
    this.#maglev = finish(this.#making);
    this.#making = null;
  }

  /** Place of the member for a hash, or -1. */
  placeOf(hash: number): number {
    if (this.#making !== null) this.#advance(this.#making);
    return this.#maglev!.placeOf(hash);
  }

  #advance(making: Slices<Maglev>): void {
    const { done, value } = making.next();
    if (!done) return;
    this.#maglev = value;
    this.#making = null;
  }
}
