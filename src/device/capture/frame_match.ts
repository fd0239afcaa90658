/**
 * Compares the frames that a replay sends with those that a capture has, byte by byte. Each frame
 * of one side is matched with the first equal unmatched one of the other; the rest are missing or
 * unexpected. Only unmatched frames are kept.
 */

/** A frame and its record. */
export interface Sighting {
  readonly frame: Uint8Array;
  /** Number of the record in the capture from 1: its own, or that of the frame that caused it. */
  readonly record: number;
  readonly timeUs: number;
}

export interface MatchResult {
  readonly equal: number;
  /** Of the equal ones, those that a later one was sent before. */
  readonly outOfOrder: number;
  /** In the capture only, in order. */
  readonly missing: readonly Sighting[];
  /** Sent here only, in order. */
  readonly unexpected: readonly Sighting[];
}

interface Waiting extends Sighting {
  /** Number of frames of its side before it. */
  readonly order: number;
}

export class FrameMatch {
  readonly #captured = new Side();
  readonly #sent = new Side();
  #equal = 0;
  #outOfOrder = 0;
  /** Greatest order among the frames sent that were matched, going through the capture. */
  #furthest = -1;

  captured(sighting: Sighting): void {
    this.#add(this.#captured, this.#sent, sighting);
  }

  sent(sighting: Sighting): void {
    this.#add(this.#sent, this.#captured, sighting);
  }

  result(): MatchResult {
    return {
      equal: this.#equal,
      outOfOrder: this.#outOfOrder,
      missing: this.#captured.left(),
      unexpected: this.#sent.left(),
    };
  }

  #add(side: Side, other: Side, sighting: Sighting): void {
    const order = side.count++;
    const twin = other.take(sighting.frame);
    if (twin === undefined) return side.keep({ ...sighting, order });
    this.#equal++;
    const place = side === this.#sent ? order : twin.order;
    if (place < this.#furthest) this.#outOfOrder++;
    else this.#furthest = place;
  }
}

/** The unmatched frames of one side, found by their bytes. */
class Side {
  count = 0;
  readonly #waiting = new Map<number, Waiting[]>();

  keep(waiting: Waiting): void {
    const hash = hashOf(waiting.frame);
    const bucket = this.#waiting.get(hash);
    if (bucket === undefined) this.#waiting.set(hash, [waiting]);
    else bucket.push(waiting);
  }

  take(frame: Uint8Array): Waiting | undefined {
    const hash = hashOf(frame);
    const bucket = this.#waiting.get(hash) ?? [];
    const index = bucket.findIndex((waiting) => firstDifference(waiting.frame, frame) < 0);
    if (index < 0) return undefined;
    const [taken] = bucket.splice(index, 1);
    if (bucket.length === 0) this.#waiting.delete(hash);
    return taken;
  }

  left(): readonly Waiting[] {
    return [...this.#waiting.values()].flat().sort((a, b) => a.order - b.order);
  }
}

/**
 * Offset of the first byte that differs, or that one of the two does not have; -1 if they are
 * equal.
 */
export function firstDifference(a: Uint8Array, b: Uint8Array): number {
  const lengthBytes = Math.min(a.length, b.length);
  for (let i = 0; i < lengthBytes; i++) if (a[i] !== b[i]) return i;
  return a.length === b.length ? -1 : lengthBytes;
}

/** FNV-1a. */
function hashOf(frame: Uint8Array): number {
  let hash = 0x811c9dc5;
  for (const byte of frame) hash = Math.imul(hash ^ byte, 0x01000193);
  return hash;
}
