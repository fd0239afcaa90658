/** One predicate as text, apart from a policy, which may name a policy's lists. */
import type { Policy, Predicate } from "../language/ast.ts";
import { ErrorList, TooManyErrors } from "./error_list.ts";
import { Cursor } from "./lex.ts";
import { readLines } from "./lines.ts";
import { readPredicate } from "./parse_predicate.ts";
import { formatError } from "./policy_error.ts";
import { type Customs, Scope } from "./scope.ts";

/** Longest text, in characters. */
const MAX_LENGTH = 4096;

/**
 * Reads a predicate, one line. Lists and pools are those of the policy: only
 * their names count. Throws a SyntaxError
 * whose message says what is wrong, and where.
 */
export function parsePredicate(
  text: string,
  { lists, pools }: Pick<Policy, "lists" | "pools">,
  customs: Customs,
): Predicate {
  if (text.length > MAX_LENGTH) {
    throw new SyntaxError(`Cannot read predicate: expected at most ${MAX_LENGTH} characters`);
  }
  const errors = new ErrorList();
  const scope = new Scope({ file: "predicate", customs }, text, errors.report);
  for (const [name, terms] of Object.entries(lists)) {
    scope.lists.set(name, { terms, size: 1, depth: 1 });
  }
  for (const [name, pool] of Object.entries(pools)) scope.pools.set(name, pool);
  let predicate: Predicate | null = null;
  try {
    const [line, ...more] = readLines(text, "predicate", errors.report);
    if (line === undefined) throw new SyntaxError("Cannot read predicate: found nothing");
    if (more.length > 0) throw new SyntaxError("Cannot read predicate: expected one line");
    predicate = scope.attempt<Predicate | null>(line, () => {
      const cursor = new Cursor(line);
      const read = readPredicate(scope, cursor);
      if (!cursor.atEnd) cursor.fail(`"and", "or" or the end of the line`);
      return read;
    }, null);
  } catch (error) {
    if (!(error instanceof TooManyErrors)) throw error;
  }
  if (predicate !== null && errors.empty) return predicate;
  throw new SyntaxError(errors.sorted().map(formatError).join("\n"));
}
