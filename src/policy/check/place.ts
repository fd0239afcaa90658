/**
 * A place in the text of a policy, and what was found there. A tree that is used by name in two
 * places is checked twice, with different PDUs; what is wrong in one use may be right in the other.
 * So a place counts how often it was checked, and how often each finding was made.
 */
import { type CheckName, type Finding, formatPath, type Path } from "./finding.ts";

interface Mark {
  readonly finding: Finding;
  readonly path: Path;
  /** The message where the reason differs from use to use. */
  readonly plain: string;
  /** Whether one use is enough, or every use must be wrong. */
  readonly needs: "one" | "every";
  count: number;
  differs: boolean;
}

/** A finding at one use; its path is formatted only if it is reported. */
export interface Note extends Omit<Finding, "path"> {
  readonly path: Path;
  /** The message without the reason; default: the message. */
  readonly plain?: string;
  readonly needs: "one" | "every";
}

export class Place {
  /** How often it was looked at. */
  looks = 0;
  // Most places are leaves, and nothing is wrong with them.
  #children: Place[] | null = null;
  #marks: Map<string, Mark> | null = null;

  child(index: number): Place {
    return (this.#children ??= [])[index] ??= new Place();
  }

  /** Notes what was found at this look; `key` tells notes of one check apart. */
  note({ needs, plain, ...finding }: Note, key: string = finding.check): void {
    const marks = this.#marks ??= new Map();
    const mark = marks.get(key);
    if (mark === undefined) {
      marks.set(key, {
        finding: { ...finding, path: "" },
        path: finding.path,
        plain: plain ?? finding.message,
        needs,
        count: 1,
        differs: false,
      });
    } else {
      mark.count++;
      mark.differs ||= finding.message !== mark.finding.message;
    }
  }

  /** Adds what counts, here and below, in writing order. */
  collect(findings: Finding[]): void {
    for (const [key, mark] of this.#marks ?? []) {
      if (mark.needs === "every" && this.#countOf(key, mark) < this.looks) continue;
      const message = mark.differs ? mark.plain : mark.finding.message;
      findings.push({ ...mark.finding, message, path: formatPath(mark.path) });
    }
    for (const child of this.#children ?? []) child?.collect(findings);
  }

  /** An arm that is unreachable at one use and never holds at the others is unreachable. */
  #countOf(key: string, mark: Mark): number {
    const never: CheckName = "never-holds";
    return key !== "unreachable" ? mark.count : mark.count + (this.#marks?.get(never)?.count ?? 0);
  }
}
