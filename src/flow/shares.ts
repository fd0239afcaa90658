/**
 * How many connections a source address has: in all, and towards each (backend, port), the *pool* whose
 * ports they take. Counted are those that deny others room: live ones, and *pending* ones, which wait
 * for an answer.
 *
 * It is a count-min sketch (Cormode and Muthukrishnan 2005): each count is kept in a cell of two rows,
 * which it may share with others, and read as the lower of the two. So it is never too low; it takes
 * eight bytes for each connection that the table has room for, whoever sends; and as the hash is keyed,
 * nobody can choose addresses that meet. A count is too high by a handful when the table is full.
 */
import { HALF_OPEN, LIVE, UNANSWERED } from "./population.ts";
import { type FlowTable, SIDE_A, SIDE_B } from "./table.ts";

const MIN_CELLS = 1024;

export class Shares {
  readonly #table: FlowTable;
  /** Cells of a row. */
  readonly #cells: number;
  readonly #pending: Int32Array<ArrayBuffer>;
  readonly #live: Int32Array<ArrayBuffer>;

  constructor(table: FlowTable) {
    this.#table = table;
    this.#cells = Math.max(MIN_CELLS, table.capacity >> 1);
    this.#pending = new Int32Array(2 * this.#cells);
    this.#live = new Int32Array(2 * this.#cells);
  }

  /** `change` (1 or -1) connections of class `kind` more: `entry`, which takes a port if `isPooled`. */
  note(entry: number, kind: number, change: number, isPooled: boolean): void {
    if (!counts(kind)) return;
    const table = this.#table;
    const cells = kind === LIVE ? this.#live : this.#pending;
    const src = table.src(entry, SIDE_A);
    this.#add(cells, change, 0, src, 0, 0);
    if (!isPooled) return;
    const port = table.srcPort(entry, SIDE_B);
    this.#add(cells, change, table.protocol(entry), src, table.src(entry, SIDE_B), port);
  }

  /** Pending connections of `src` towards that port of `backend`; in all if these and the protocol are 0. */
  pending(protocol: number, src: number, backend: number, port: number): number {
    const first = this.#first(protocol, src, backend, port);
    const second = this.#second(protocol, src, backend, port);
    return Math.min(this.#pending[first]!, this.#pending[second]!);
  }

  /** Pending and live ones. */
  total(protocol: number, src: number, backend: number, port: number): number {
    const first = this.#first(protocol, src, backend, port);
    const second = this.#second(protocol, src, backend, port);
    return Math.min(
      this.#pending[first]! + this.#live[first]!,
      this.#pending[second]! + this.#live[second]!,
    );
  }

  #add(
    cells: Int32Array,
    change: number,
    protocol: number,
    src: number,
    backend: number,
    port: number,
  ): void {
    cells[this.#first(protocol, src, backend, port)]! += change;
    cells[this.#second(protocol, src, backend, port)]! += change;
  }

  #first(protocol: number, src: number, backend: number, port: number): number {
    return this.#place(this.#table.hashOf(protocol, src, backend, port));
  }

  /** The hash has tables of their own for each byte: the other way round it is another one. */
  #second(protocol: number, src: number, backend: number, port: number): number {
    return this.#cells + this.#place(this.#table.hashOf(protocol, backend, src, port));
  }

  #place(hash: number): number {
    return Math.floor((hash >>> 0) * (this.#cells / 0x1_0000_0000));
  }
}

/** True for a class whose connections are counted. */
export function counts(kind: number): boolean {
  return kind === LIVE || kind === UNANSWERED || kind === HALF_OPEN;
}
