/** Numbers in few cells: `0`, `0.4`, `12`, `999`, `1.2k`, `98M`. */

const UNITS = ["", "k", "M", "G", "T", "P"];

/** At most five cells below 10^17. */
export function short(value: number): string {
  let [scaled, unit] = [value, 0];
  while (scaled >= 999.5 && unit < UNITS.length - 1) [scaled, unit] = [scaled / 1000, unit + 1];
  const digits = scaled < 9.95 && !(unit === 0 && Number.isInteger(scaled)) ? 1 : 0;
  const text = scaled.toFixed(digits);
  return `${text === "0.0" && value > 0 ? "<0.1" : text}${UNITS[unit]}`;
}

/** A second's; `-` where nothing is known of the time before. */
export function rateText(rate: number | null): string {
  return rate === null ? "-" : short(rate);
}

/** `0%`, `<1%`, `37%`. */
export function percent(share: number): string {
  return share > 0 && share < 0.01 ? "<1%" : `${Math.floor(100 * share + 1e-9)}%`;
}

/**
 * A share as a bar of so many cells, to half a cell: the blocks that the Linux console has, too.
 * Something is never shown as nothing.
 */
export function bar(share: number, cells: number): string {
  const halves = share > 0 ? Math.max(1, Math.round(2 * cells * share)) : 0;
  return ("█".repeat(halves >> 1) + (halves % 2 === 1 ? "▌" : "")).padEnd(cells);
}
