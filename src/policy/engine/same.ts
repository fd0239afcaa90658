/** Whether two predicates ask the same. */
import type { Predicate } from "../language/ast.ts";

export function samePredicate(a: Predicate, b: Predicate): boolean {
  if (a === b) return true;
  if (a.test === "custom" || b.test === "custom") {
    return a.test === "custom" && b.test === "custom" && a.name === b.name && a.holds === b.holds;
  }
  if (a.test === "not" && b.test === "not") return samePredicate(a.of, b.of);
  if ((a.test === "all" || a.test === "any") && a.test === b.test) {
    return a.of.length === b.of.length && a.of.every((part, i) => samePredicate(part, b.of[i]!));
  }
  return a.test === b.test && JSON.stringify(a) === JSON.stringify(b);
}
