/**
 * How many connections a source address has: in all, and towards each (backend, port), the *pool*
 * whose ports they take. Counted are those that can't be evicted at once: live ones, and *pending*
 * ones, which wait for an answer.
 *
 * It is a count-min sketch (Cormode and Muthukrishnan 2005): each count is kept in two cells,
 * shared with other counts, and read as the lower of the two, so it is never too low. Both cells
 * are in one block, a cache line, so that a count costs one cache miss. It takes eight bytes for
 * each entry of the table, however many sources there are. The hash is keyed (simple tabulation of
 * the address, as in `keyed_hash.ts`), so nobody can choose addresses that collide. A count is too
 * high by a few when the table is full, and by all that another source has if that one's cells are
 * the same: at 262,144 connections one source in 900,000.
 *
 * Over IPv6 a source is a subnet of 64 bits, of which one host can have any number of addresses.
 */
import type { Address } from "../wire/address.ts";
import type { AddressDigest } from "../wire/address_digest.ts";
import { isIpv6 } from "../wire/pdu.ts";
import type { Random } from "../core/random.ts";
import { HALF_OPEN, LIVE, UNANSWERED } from "./eviction.ts";
import { type FlowTable, SIDE_A, SIDE_B } from "./table.ts";
import { WHOLE_WORDS } from "./whole_addresses.ts";
import type { Source } from "./victim.ts";

/** A cell is two words: pending ones, live ones. */
const CELL_SHIFT = 1;
const BLOCK_SHIFT = 4;
/** Words from one cell of a block to the next, and to the last. */
const CELL_MASK = (1 << BLOCK_SHIFT) - (1 << CELL_SHIFT);

const MIN_BLOCKS = 2048;

/** All of a source's connections, whatever pool they are in. */
export const ALL = 0;

export class Shares {
  readonly #table: FlowTable;
  readonly #digest: AddressDigest | null;
  /** A table for each byte of an address. */
  readonly #hash: Int32Array<ArrayBuffer> = new Int32Array(4 * 256);
  readonly #salt: number;
  /** What scales a hash to the blocks. */
  readonly #scale: number;
  readonly #counts: Int32Array<ArrayBuffer>;

  /** `digest`: of IPv6 addresses; null: there are none. */
  constructor(table: FlowTable, random: Random, digest: AddressDigest | null = null) {
    this.#table = table;
    this.#digest = digest;
    for (let i = 0; i < this.#hash.length; i++) this.#hash[i] = random.uint32();
    this.#salt = random.uint32();
    const blocks = Math.max(MIN_BLOCKS, table.capacity >> 3);
    this.#scale = blocks / 0x1_0000_0000;
    this.#counts = new Int32Array(blocks << BLOCK_SHIFT);
  }

  /** Key of the pool of `port` of `backend`; never ALL. */
  poolOf(protocol: number, backend: Address, port: number): number {
    return (Math.imul(backend ^ this.#salt, 0x9e3779b1) ^
      Math.imul((port << 8) | protocol, 0x85ebca6b)) | 1;
  }

  /** The connection's class changed from `from` to `to`; -1: it begins or ends. */
  move(entry: number, from: number, to: number, isPooled: boolean): void {
    const less = counterOf(from);
    const more = counterOf(to);
    if (less === more) return;
    const table = this.#table;
    const source = this.#digest === null ? table.src(entry, SIDE_A) : this.#sourceOfEntry(entry);
    const hash = this.#hashOf(source);
    this.#change(hash, less, more);
    if (!isPooled) return;
    const backend = table.src(entry, SIDE_B);
    const protocol = table.protocolOf((entry << 1) | SIDE_B);
    const pool = this.poolOf(protocol, backend, table.srcPort(entry, SIDE_B));
    this.#change(hash ^ pool, less, more);
  }

  /** What the source of a packet is counted under. */
  sourceOf({ protocol, src, addresses }: Source): number {
    return isIpv6(protocol) ? this.#subnet(addresses, 0) : src;
  }

  #sourceOfEntry(entry: number): number {
    const table = this.#table;
    return isIpv6(table.protocol(entry))
      ? this.#subnet(table.whole!.words, WHOLE_WORDS * entry)
      : table.src(entry, SIDE_A);
  }

  #subnet(words: Readonly<Int32Array>, at: number): number {
    return this.#digest!.of(words[at]!, words[at + 1]!, 0, 0);
  }

  /** Pending connections of `source` in that pool, or in ALL. */
  pending(source: number, pool: number): number {
    const hash = this.#hashOf(source) ^ pool;
    const block = this.#blockOf(hash);
    const cells = cellsOf(hash);
    const counts = this.#counts;
    return Math.min(counts[block + firstOf(cells)]!, counts[block + secondOf(cells)]!);
  }

  /** Pending and live ones. */
  total(source: number, pool: number): number {
    const hash = this.#hashOf(source) ^ pool;
    const block = this.#blockOf(hash);
    const cells = cellsOf(hash);
    const first = block + firstOf(cells);
    const second = block + secondOf(cells);
    const counts = this.#counts;
    return Math.min(counts[first]! + counts[first + 1]!, counts[second]! + counts[second + 1]!);
  }

  #change(hash: number, less: number, more: number): void {
    const block = this.#blockOf(hash);
    const cells = cellsOf(hash);
    const first = block + firstOf(cells);
    const second = block + secondOf(cells);
    const counts = this.#counts;
    if (less >= 0) {
      counts[first + less]!--;
      counts[second + less]!--;
    }
    if (more >= 0) {
      counts[first + more]!++;
      counts[second + more]!++;
    }
  }

  /** The first word of a count's block. */
  #blockOf(hash: number): number {
    return (((hash >>> 0) * this.#scale) | 0) << BLOCK_SHIFT;
  }

  #hashOf(source: number): number {
    const t = this.#hash;
    return t[source & 255]! ^ t[256 | ((source >>> 8) & 255)]! ^
      t[512 | ((source >>> 16) & 255)]! ^ t[768 | (source >>> 24)]!;
  }
}

/** Bits that choose a count's two cells in its block. */
function cellsOf(hash: number): number {
  return Math.imul(hash, 0x9e3779b1) >>> 24;
}

function firstOf(cells: number): number {
  return cells & CELL_MASK;
}

/** Any cell but the first. */
function secondOf(cells: number): number {
  return (cells + ((1 + (((cells >>> 4) * 7) >>> 4)) << CELL_SHIFT)) & CELL_MASK;
}

/** True for a class whose connections are counted. */
export function isCounted(evictionClass: number): boolean {
  return counterOf(evictionClass) >= 0;
}

/** The word of a cell that counts a class; -1: none. */
function counterOf(evictionClass: number): number {
  return evictionClass === LIVE
    ? 1
    : evictionClass === UNANSWERED || evictionClass === HALF_OPEN
    ? 0
    : -1;
}
