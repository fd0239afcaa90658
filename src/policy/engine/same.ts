/** Whether two predicates ask the same. */
import type { AddressTerm, Interval, Predicate } from "../language/ast.ts";

export function samePredicate(a: Predicate, b: Predicate): boolean {
  if (a === b) return true;
  if (a.test === "custom" || b.test === "custom") {
    return a.test === "custom" && b.test === "custom" && a.name === b.name && a.holds === b.holds;
  }
  if (a.test === "not" && b.test === "not") return samePredicate(a.of, b.of);
  if ((a.test === "all" || a.test === "any") && a.test === b.test) {
    return a.of.length === b.of.length && a.of.every((part, i) => samePredicate(part, b.of[i]!));
  }
  if (a.test !== b.test) return false;
  if (!("in" in a) || !("in" in b)) return JSON.stringify(a) === JSON.stringify(b);
  return a.in.length === b.in.length && withoutList(a) === withoutList(b) &&
    a.in.every((part, i) => samePart(part, b.in[i]!));
}

function withoutList(predicate: Predicate): string {
  return JSON.stringify({ ...predicate, in: null });
}

function samePart(a: AddressTerm | Interval, b: AddressTerm | Interval): boolean {
  if ("first" in a) return "first" in b && a.first === b.first && a.last === b.last;
  if ("list" in a) return "list" in b && a.list === b.list;
  return "network" in b && a.network === b.network && a.prefixLength === b.prefixLength;
}
