/**
 * The screen of a terminal, from what a program has written to it: as much of xterm as the proxy
 * uses, and an error for everything else. Cells are characters: wide ones take one here.
 */
export class Screen {
  readonly #cells: string[][];
  #row = 0;
  #column = 0;
  /** The alternate screen is shown. */
  isAlternate = false;
  hasCursor = true;
  wraps = true;
  hasColor = false;

  constructor(readonly columns: number, readonly rows: number) {
    this.#cells = Array.from({ length: rows }, () => []);
  }

  lines(): string[] {
    return this.#cells.map((cells) => Array.from(cells, (cell) => cell ?? " ").join("").trimEnd());
  }

  write(text: string): this {
    // deno-lint-ignore no-control-regex -- of terminals
    for (const [piece] of text.matchAll(/\x1b\[[?0-9;]*[a-zA-Z]|[^]/gu)) {
      if (piece.length > 1 && piece.startsWith("\x1b")) this.#control(piece.slice(2));
      else if (piece === "\r") this.#column = 0;
      else if (piece === "\n") this.#row = Math.min(this.#row + 1, this.rows - 1);
      else this.#put(piece);
    }
    return this;
  }

  #put(char: string): void {
    if (/\p{Cc}/u.test(char)) throw new Error(`A control character: ${JSON.stringify(char)}`);
    const cells = this.#cells[this.#row];
    if (cells === undefined) throw new Error(`Beyond the last row: ${this.#row}`);
    if (this.#column >= this.columns) throw new Error(`Beyond the last column: ${cells.join("")}`);
    while (cells.length < this.#column) cells.push(" ");
    cells[this.#column++] = char;
  }

  #control(sequence: string): void {
    const [, mode, set] = /^\?(\d+)([hl])$/.exec(sequence) ?? [];
    const [, row, column] = /^(\d+);(\d+)H$/.exec(sequence) ?? [];
    const isSet = set === "h";
    if (mode === "1049") this.isAlternate = isSet;
    else if (mode === "25") this.hasCursor = isSet;
    else if (mode === "7") this.wraps = isSet;
    else if (row !== undefined) [this.#row, this.#column] = [Number(row) - 1, Number(column) - 1];
    else if (sequence === "2J") { for (const cells of this.#cells) cells.length = 0; }
    else if (sequence === "K") this.#cells[this.#row]!.length = this.#column;
    else if (/^[0-9;]*m$/.test(sequence)) this.hasColor = true;
    else throw new Error(`Cannot understand the sequence "${sequence}"`);
  }
}
