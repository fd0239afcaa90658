/**
 * The parameters of a request by name, each asked for by what knows it; what nobody asks for is
 * refused.
 */
import { closest, oneOf, printable, quote } from "../core/text.ts";

export class Parameters {
  readonly #values: ReadonlyMap<string, readonly string[]>;
  readonly #known = new Set<string>();

  constructor(values: ReadonlyMap<string, readonly string[]>) {
    this.#values = values;
  }

  /**
   * The parameter's value as `parse` reads it, with its name in front of what is wrong; null: not
   * given.
   */
  read<T>(name: string, parse: (text: string) => T): T | null {
    const values = this.all(name, parse);
    if (values.length > 1) {
      throw new RangeError(`${name}: expected one value, found ${values.length}`);
    }
    return values[0] ?? null;
  }

  /** As `read`, of a parameter that must be given. */
  need<T>(name: string, parse: (text: string) => T): T {
    const value = this.read(name, parse);
    if (value === null) throw new RangeError(`${name}: required`);
    return value;
  }

  /** The values of one that may be given several times. */
  all<T>(name: string, parse: (text: string) => T): readonly T[] {
    this.#known.add(name);
    return (this.#values.get(name) ?? []).map((text) => {
      try {
        return parse(text);
      } catch (error) {
        if (!(error instanceof SyntaxError || error instanceof RangeError)) throw error;
        throw new RangeError(`${name}: ${printable(error.message)}`);
      }
    });
  }

  /** Throws a RangeError if something is given that nobody has asked for. */
  done(): void {
    const odd = [...this.#values.keys()].find((name) => !this.#known.has(name));
    if (odd === undefined) return;
    const known = [...this.#known];
    const near = closest(odd, known);
    const hint = near === null ? "" : `; did you mean ${quote(near)}?`;
    const expected = known.length === 0 ? "none" : oneOf(known);
    throw new RangeError(`Unknown parameter ${quote(odd)}: expected ${expected}${hint}`);
  }
}

/** A whole number in these bounds, for `Parameters.read`. */
export function integer(min: number, max: number): (text: string) => number {
  return (text) => {
    const value = /^\d{1,9}$/.test(text) ? Number(text) : NaN;
    if (value >= min && value <= max) return value;
    throw new RangeError(`Cannot use ${quote(text)}: expected an integer ${min} to ${max}`);
  };
}
