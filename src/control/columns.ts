/**
 * Rows as columns that a person reads and `awk` splits: two spaces between, numbers to the right.
 */

/** A column's head; `>` in front of its name puts it to the right. */
export type Head = string;

/** The table, each line ended by a newline. The last column is as wide as it is. */
export function columns(heads: readonly Head[], rows: readonly (readonly string[])[]): string {
  const isRight = heads.map((head) => head.startsWith(">"));
  const names = heads.map((head) => head.replace(/^>/, ""));
  const widths = names.map((name, column) =>
    rows.reduce((widest, row) => Math.max(widest, row[column]!.length), name.length)
  );
  return [names, ...rows].map((row) => {
    const cells = row.map((cell, column) =>
      isRight[column] ? cell.padStart(widths[column]!) : cell.padEnd(widths[column]!)
    );
    return `${cells.join("  ").trimEnd()}\n`;
  }).join("");
}

/** `name : value` lines, as the summary has them. */
export function pairs(lines: readonly (readonly [name: string, value: string])[]): string {
  const width = lines.reduce((widest, [name]) => Math.max(widest, name.length), 0);
  return lines.map(([name, value]) => `${name.padEnd(width)} : ${value}\n`).join("");
}

/** A time as a clock has it: `0:07`, `14:57`, `2:04:00`; of a day and more `3d 02:04:00`. */
export function clock(ms: number): string {
  const seconds = Math.floor(ms / 1000);
  const two = (number: number) => String(number).padStart(2, "0");
  const [days, hours] = [Math.floor(seconds / 86_400), Math.floor(seconds / 3600) % 24];
  const minutes = Math.floor(seconds / 60) % 60;
  if (days > 0) return `${days}d ${two(hours)}:${two(minutes)}:${two(seconds % 60)}`;
  return hours > 0
    ? `${hours}:${two(minutes)}:${two(seconds % 60)}`
    : `${minutes}:${two(seconds % 60)}`;
}
