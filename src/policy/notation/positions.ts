/**
 * Where each node of a policy text is written. A text of a hundred thousand lines has half a
 * million nodes, and few are ever asked for: so they are kept small, and searched.
 */
import type { Position } from "./policy_error.ts";

/** Nodes in one part: no array grows by being copied. */
const PART_LENGTH = 4096;

/** Numbers for each node: its file, line and column. */
const WORDS = 3;

interface Part {
  readonly nodes: object[];
  readonly words: Uint32Array<ArrayBuffer>;
}

export class Positions {
  readonly #files: string[] = [];
  readonly #parts: Part[] = [];

  /** Of a node that has been added before, too. */
  add(node: object, { file, line, column }: Position): void {
    if (this.#files.at(-1) !== file) this.#files.push(file);
    let part = this.#parts.at(-1);
    if (part === undefined || part.nodes.length === PART_LENGTH) {
      part = { nodes: [], words: new Uint32Array(WORDS * PART_LENGTH) };
      this.#parts.push(part);
    }
    const at = WORDS * (part.nodes.push(node) - 1);
    part.words[at] = this.#files.length - 1;
    part.words[at + 1] = line;
    part.words[at + 2] = column;
  }

  /** The one that was added last. */
  get(node: object): Position | undefined {
    for (let i = this.#parts.length - 1; i >= 0; i--) {
      const { nodes, words } = this.#parts[i]!;
      const place = nodes.lastIndexOf(node);
      if (place < 0) continue;
      const [file, line, column] = words.subarray(WORDS * place);
      return { file: this.#files[file!]!, line: line!, column: column! };
    }
    return undefined;
  }
}
