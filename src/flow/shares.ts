/**
 * How many connections a source address has: in all, and towards each (backend, port), the *pool*
 * whose ports they take. Counted are those that can't be evicted at once: live ones, and *pending*
 * ones, which wait for an answer.
 *
 * It is a count-min sketch (Cormode and Muthukrishnan 2005): each count is kept in one cell of each
 * of two rows, shared with other counts, and read as the lower of the two, so it is never too low.
 * It takes eight bytes for each entry of the table, however many sources there are. The hashes are
 * keyed (simple tabulation of the address, as in `keyed_hash.ts`), so nobody can choose addresses
 * that collide. With a full table a count is too high by a few.
 */
import type { Random } from "../core/random.ts";
import { HALF_OPEN, LIVE, UNANSWERED } from "./eviction.ts";
import { type FlowTable, SIDE_A, SIDE_B } from "./table.ts";

const MIN_CELLS = 1024;

/** Words of one row's hash: a table for each byte of an address. */
const HASH_WORDS = 4 * 256;

/** All of a source's connections, whatever pool they are in. */
export const ALL = 0;

export class Shares {
  readonly #table: FlowTable;
  readonly #hash: Int32Array<ArrayBuffer> = new Int32Array(2 * HASH_WORDS);
  readonly #salt: number;
  /** Cells of a row, and what scales a hash to them. */
  readonly #cells: number;
  readonly #scale: number;
  /** A cell is two words: pending ones, live ones. */
  readonly #counts: Int32Array<ArrayBuffer>;

  constructor(table: FlowTable, random: Random) {
    this.#table = table;
    for (let i = 0; i < this.#hash.length; i++) this.#hash[i] = random.uint32();
    this.#salt = random.uint32();
    this.#cells = Math.max(MIN_CELLS, table.capacity >> 1);
    this.#scale = this.#cells / 0x1_0000_0000;
    this.#counts = new Int32Array(4 * this.#cells);
  }

  /** Key of the pool of `port` of `backend`; never ALL. */
  poolOf(protocol: number, backend: number, port: number): number {
    return (Math.imul(backend ^ this.#salt, 0x9e3779b1) ^
      Math.imul((port << 8) | protocol, 0x85ebca6b)) | 1;
  }

  /** The connection's class changed from `from` to `to`; -1: it begins or ends. */
  move(entry: number, from: number, to: number, isPooled: boolean): void {
    const less = counterOf(from);
    const more = counterOf(to);
    if (less === more) return;
    const table = this.#table;
    const src = table.src(entry, SIDE_A);
    const first = this.#first(src);
    const second = this.#second(src);
    this.#change(this.#cellOf(first), less, more);
    this.#change(this.#cellOf(second) + this.#cells, less, more);
    if (!isPooled) return;
    const backend = table.src(entry, SIDE_B);
    const pool = this.poolOf(table.protocol(entry), backend, table.srcPort(entry, SIDE_B));
    this.#change(this.#cellOf(first ^ pool), less, more);
    this.#change(this.#cellOf(second ^ pool) + this.#cells, less, more);
  }

  /** Pending connections of `src` in that pool, or in ALL. */
  pending(src: number, pool: number): number {
    const first = this.#cellOf(this.#first(src) ^ pool);
    const second = this.#cellOf(this.#second(src) ^ pool) + this.#cells;
    return Math.min(this.#counts[2 * first]!, this.#counts[2 * second]!);
  }

  /** Pending and live ones. */
  total(src: number, pool: number): number {
    const first = 2 * this.#cellOf(this.#first(src) ^ pool);
    const second = 2 * (this.#cellOf(this.#second(src) ^ pool) + this.#cells);
    const counts = this.#counts;
    return Math.min(counts[first]! + counts[first + 1]!, counts[second]! + counts[second + 1]!);
  }

  #change(cell: number, less: number, more: number): void {
    if (less >= 0) this.#counts[2 * cell + less]!--;
    if (more >= 0) this.#counts[2 * cell + more]!++;
  }

  #cellOf(hash: number): number {
    return ((hash >>> 0) * this.#scale) | 0;
  }

  #first(src: number): number {
    const t = this.#hash;
    return t[src & 255]! ^ t[256 | ((src >>> 8) & 255)]! ^ t[512 | ((src >>> 16) & 255)]! ^
      t[768 | (src >>> 24)]!;
  }

  #second(src: number): number {
    const t = this.#hash;
    return t[1024 | (src & 255)]! ^ t[1280 | ((src >>> 8) & 255)]! ^
      t[1536 | ((src >>> 16) & 255)]! ^ t[1792 | (src >>> 24)]!;
  }
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
