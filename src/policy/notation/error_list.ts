/** The errors of a policy text, as its readers find them. */
import { placeOf, type Report } from "./lines.ts";
import type { PolicyError } from "./policy_error.ts";

/** Thrown when there are so many errors that reading on helps nobody. */
export class TooManyErrors extends Error {}

const MAX_ERRORS = 100;

/** Collects errors up to a bound, and throws TooManyErrors at it. */
export class ErrorList {
  readonly #errors: PolicyError[] = [];

  get empty(): boolean {
    return this.#errors.length === 0;
  }

  readonly report: Report = (line, start, end, { found, expected, hint = null }) => {
    const place = placeOf(line, start);
    const most = place.source.length + 1 - place.column;
    this.#errors.push({
      ...place,
      length: Math.max(1, Math.min(end - start, most)),
      found,
      expected,
      hint,
    });
    if (this.#errors.length === MAX_ERRORS) throw new TooManyErrors();
  };

  /**
   * In the order of the text; of several files, in the order in which the first error was found.
   */
  sorted(): PolicyError[] {
    const files = [...new Set(this.#errors.map(({ file }) => file))];
    const errors = this.#errors.toSorted((a, b) =>
      files.indexOf(a.file) - files.indexOf(b.file) || a.line - b.line || a.column - b.column
    );
    if (errors.length < MAX_ERRORS) return errors;
    const last = errors.pop()!;
    const stop = `this is error ${MAX_ERRORS}; further errors are not shown`;
    return [...errors, { ...last, hint: last.hint === null ? stop : `${last.hint}; ${stop}` }];
  }
}
