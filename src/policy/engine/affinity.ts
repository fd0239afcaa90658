/**
 * What all balancers per connection share: which of them the PDU at hand has asked, and how often
 * each entry of the connection table has been opened. Those that were not asked are not told
 * anything; by the number of openings they see that what they hold of an entry is an earlier
 * connection's.
 */
export interface Sticky {
  /** The PDU at hand has this entry; -1: none. */
  settle(entry: number): void;
}

export class Affinity {
  /** By entry, modulo 256: what is remembered is marked with it. */
  readonly openings: Uint8Array<ArrayBuffer>;
  /** As many as one PDU has ever asked, of which the first `#count` count. */
  readonly #asked: Sticky[] = [];
  #count = 0;

  constructor(maxConnections: number) {
    this.openings = new Uint8Array(maxConnections);
  }

  /** The PDU at hand has asked `balancer`, and not before. */
  ask(balancer: Sticky): void {
    this.#asked[this.#count++] = balancer;
  }

  /** An entry has been given to a new connection. */
  opened(entry: number): void {
    this.openings[entry]!++;
  }

  /** Tells those that were asked which entry the PDU has, after `opened`; -1: none. */
  settle(entry: number): void {
    while (this.#count > 0) this.#asked[--this.#count]!.settle(entry);
  }
}
