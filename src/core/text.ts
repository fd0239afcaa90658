/** Text for messages: quoting, lists of words, what a terminal may show, the likeliest spelling. */

/** Quotes a piece of a text for a message of one line, cut when long. */
export function quote(text: string): string {
  return `"${printable(text.length <= 60 ? text : `${text.slice(0, 57)}…`)}"`;
}

/** `"a", "b" or "c"`. */
export function oneOf(words: readonly string[]): string {
  if (words.length === 1) return quote(words[0]!);
  return `${words.slice(0, -1).map(quote).join(", ")} or ${quote(words.at(-1)!)}`;
}

/**
 * The text with everything that isn't plainly visible as `\u....`: controls, line separators,
 * spaces other than the common one, direction marks, halves of surrogate pairs.
 */
export function printable(text: string): string {
  return text.replace(/[\p{C}\p{Z}]/gu, (char) => {
    if (char === " ") return char;
    let escaped = "";
    for (let i = 0; i < char.length; i++) {
      escaped += `\\u${char.charCodeAt(i).toString(16).padStart(4, "0")}`;
    }
    return escaped;
  });
}

/** The candidate that a word is most likely a misspelling of, or null: the first among equals. */
export function closest(word: string, candidates: Iterable<string>): string | null {
  if (word.length > 64) return null;
  let best: string | null = null;
  let bestDistance = word.length < 3 ? 1 : word.length < 6 ? 2 : word.length < 10 ? 3 : 4;
  for (const candidate of candidates) {
    if (Math.abs(candidate.length - word.length) >= bestDistance) continue;
    const distance = editDistance(word.toLowerCase(), candidate);
    if (distance < bestDistance) {
      best = candidate;
      bestDistance = distance;
    }
  }
  return best;
}

/** Characters to insert, delete, replace or swap with their neighbour to get from `a` to `b`. */
function editDistance(a: string, b: string): number {
  let twoUp: number[] = [];
  let up = Array.from({ length: b.length + 1 }, (_, column) => column);
  for (let row = 1; row <= a.length; row++) {
    const here = [row];
    for (let column = 1; column <= b.length; column++) {
      const same = a[row - 1] === b[column - 1];
      let distance = Math.min(
        up[column]! + 1,
        here[column - 1]! + 1,
        up[column - 1]! + (same ? 0 : 1),
      );
      if (row > 1 && column > 1 && a[row - 1] === b[column - 2] && a[row - 2] === b[column - 1]) {
        distance = Math.min(distance, twoUp[column - 2]! + 1);
      }
      here.push(distance);
    }
    twoUp = up;
    up = here;
  }
  return up[b.length]!;
}

/** `1 error`, `2 errors`; null for none. */
export function counted(n: number, what: string): string | null {
  return n === 0 ? null : `${n} ${what}${n === 1 ? "" : "s"}`;
}
