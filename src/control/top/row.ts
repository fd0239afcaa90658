/** One line of the picture: pieces one after the other, never wider than the terminal. */
import { cellsOf, clip } from "./cells.ts";

/** How a piece is marked; without colours none is. */
export type Style = "plain" | "dim" | "bold" | "heading" | "good" | "bad" | "fair" | "bar";

/** ECMA-48, SGR. */
const SGR: Readonly<Record<Style, string>> = {
  plain: "",
  dim: "2",
  bold: "1",
  heading: "7",
  good: "32",
  bad: "31",
  fair: "33",
  bar: "36",
};

export class Row {
  readonly columns: number;
  readonly #hasColor: boolean;
  #text = "";
  #cells = 0;

  constructor(columns: number, hasColor: boolean) {
    this.columns = columns;
    this.#hasColor = hasColor;
  }

  /** Cells that are free. */
  get left(): number {
    return this.columns - this.#cells;
  }

  /** Adds as much of the text as there is room for. */
  add(text: string, style: Style = "plain"): this {
    const shown = clip(text, this.left);
    this.#cells += cellsOf(shown);
    this.#text += style === "plain" || !this.#hasColor || shown === ""
      ? shown
      : `\x1b[${SGR[style]}m${shown}\x1b[0m`;
    return this;
  }

  toString(): string {
    return this.#hasColor ? this.#text : this.#text.trimEnd();
  }
}
