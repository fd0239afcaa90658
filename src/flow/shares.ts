/**
 * How many connections a source address has: in all, and towards each (backend, port), the *pool* whose
 * ports they take. Counted are those that deny others room: live ones, and *pending* ones, which wait
 * for an answer.
 *
 * It is a count-min sketch (Cormode and Muthukrishnan 2005): each count is kept in a cell of two rows,
 * which it may share with others, and read as the lower of the two. So it is never too low; it takes
 * eight bytes for each connection that the table has room for, whoever sends; and as the hashes are keyed
 * (simple tabulation of the address, as in `keyed_hash.ts`), nobody can choose addresses that meet. A count is
 * too high by a handful when the table is full.
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

  /** What tells the pool of `port` of `backend` from others here; never ALL. */
  poolOf(protocol: number, backend: number, port: number): number {
    return (Math.imul(backend ^ this.#salt, 0x9e3779b1) ^
      Math.imul((port << 8) | protocol, 0x85ebca6b)) | 1;
  }

  /** The connection is of class `to` now, after `from`; -1: it begins or ends. */
  move(entry: number, from: number, to: number, isPooled: boolean): void {
    const less = counterOf(from);
    const more = counterOf(to);
    if (less === more) return;
    const table = this.#table;
    const src = table.src(entry, SIDE_A);
    const first = this.#first(src);
    const second = this.#second(src);
    this.#change(this.#place(first), less, more);
    this.#change(this.#place(second) + this.#cells, less, more);
    if (!isPooled) return;
    const backend = table.src(entry, SIDE_B);
    const pool = this.poolOf(table.protocol(entry), backend, table.srcPort(entry, SIDE_B));
    this.#change(this.#place(first ^ pool), less, more);
    this.#change(this.#place(second ^ pool) + this.#cells, less, more);
  }

  /** Connections of `src` in that pool, or ALL, that wait for an answer. */
  pending(src: number, pool: number): number {
    const first = this.#place(this.#first(src) ^ pool);
    const second = this.#place(this.#second(src) ^ pool) + this.#cells;
    return Math.min(this.#counts[2 * first]!, this.#counts[2 * second]!);
  }

  /** Those and the live ones. */
  total(src: number, pool: number): number {
    const first = 2 * this.#place(this.#first(src) ^ pool);
    const second = 2 * (this.#place(this.#second(src) ^ pool) + this.#cells);
    const counts = this.#counts;
    return Math.min(counts[first]! + counts[first + 1]!, counts[second]! + counts[second + 1]!);
  }

  #change(cell: number, less: number, more: number): void {
    if (less >= 0) this.#counts[2 * cell + less]!--;
    if (more >= 0) this.#counts[2 * cell + more]!++;
  }

  #place(hash: number): number {
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
export function counts(kind: number): boolean {
  return counterOf(kind) >= 0;
}

/** Word of a cell; -1: none. */
function counterOf(kind: number): number {
  return kind === LIVE ? 1 : kind === UNANSWERED || kind === HALF_OPEN ? 0 : -1;
}
