/** Choices of a fuzzer, and what it does to bytes of which it knows nothing. */
import { below, type Random } from "../../src/core/random.ts";

export const EDGE_WORDS: readonly number[] = [
  ...[0, 1, 0x7f, 0x80, 0xff, 0x100, 0x7fff, 0x8000, 0xfffe, 0xffff],
];

export class Dice {
  readonly random: Random;

  constructor(random: Random) {
    this.random = random;
  }

  below(count: number): number {
    return below(this.random, count);
  }

  chance(oneIn: number): boolean {
    return this.below(oneIn) === 0;
  }

  pick<T>(values: readonly T[]): T {
    return values[this.below(values.length)]!;
  }

  bytes(max: number): Uint8Array {
    return new Uint8Array(this.below(max + 1)).map(() => this.below(256));
  }

  /** Changes some bytes of the frame, or its length; or has `changeField` change a field of it. */
  mutate(
    frame: Uint8Array<ArrayBuffer>,
    changeField: (view: DataView) => void,
  ): Uint8Array<ArrayBuffer> {
    if (frame.length === 0) return frame;
    const at = this.below(frame.length);
    const view = new DataView(frame.buffer, frame.byteOffset, frame.length);
    switch (this.below(10)) {
      case 0:
      case 1:
        frame[at]! ^= 1 << this.below(8);
        return frame;
      case 2:
        frame[at] = this.below(256);
        return frame;
      case 3:
        if (at + 2 <= frame.length) view.setUint16(at & ~1, this.pick(EDGE_WORDS));
        return frame;
      case 4:
        return frame.slice(0, at);
      case 5: {
        const longer = new Uint8Array(frame.length + 1 + this.below(60));
        longer.set(frame);
        for (let i = frame.length; i < longer.length; i++) longer[i] = this.below(256);
        return longer;
      }
      case 6:
        frame.copyWithin(at, this.below(frame.length), frame.length);
        return frame;
      default:
        changeField(view);
        return frame;
    }
  }
}
