/**
 * The station that opened each connection: the source MAC address of its first frame, where its
 * client is on the link.
 *
 * It is *unconfirmed*, since it can be spoofed: only packets of the connection itself may go there,
 * while ARP for the client is not answered yet, and only for one such wait.
 */

/** Flags above the MAC address's upper 16 bits: there is one; it has not been used yet. */
const GIVEN = 1 << 16;
const UNSPENT = 1 << 17;

export class Openers {
  /** Two words for each entry of the flow table. */
  readonly #words: Int32Array<ArrayBuffer>;

  constructor(maxConnections: number) {
    this.#words = new Int32Array(2 * maxConnections);
  }

  note(entry: number, hi: number, lo: number): void {
    this.#words[2 * entry] = hi | GIVEN | UNSPENT;
    this.#words[2 * entry + 1] = lo;
  }

  forget(entry: number): void {
    this.#words[2 * entry] = 0;
  }

  has(entry: number): boolean {
    return entry >= 0 && (this.#words[2 * entry]! & GIVEN) !== 0;
  }

  /** True the first time for each connection. */
  spend(entry: number): boolean {
    if (entry < 0 || (this.#words[2 * entry]! & UNSPENT) === 0) return false;
    this.#words[2 * entry]! &= ~UNSPENT;
    return true;
  }

  hi(entry: number): number {
    return this.#words[2 * entry]! & 0xffff;
  }

  lo(entry: number): number {
    return this.#words[2 * entry + 1]!;
  }
}
