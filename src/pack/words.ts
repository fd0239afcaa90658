/** What may stand behind `deno task NAME`. */

/** Throws a RangeError if there is another word than the `known` ones. */
export function refuseOthers(
  task: string,
  words: readonly string[],
  known: readonly string[] = [],
): void {
  const others = words.filter((word) => !known.includes(word));
  if (others.length === 0) return;
  const expected = known.length === 0 ? "nothing behind it" : known.join(", ");
  throw new RangeError(
    `Cannot run "deno task ${task}" with "${others.join(" ")}": expected ${expected}`,
  );
}
