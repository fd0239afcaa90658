/**
 * What a predicate says of a PDU of which only the headers are known: whether it belongs to a
 * connection, and from which side it came, are found out later, and what a function of the user's
 * asks nobody knows.
 *
 * Read first: `unknown.ts`.
 */
import type { Predicate } from "../language/ast.ts";
import { bound, unknownTest } from "./unknown.ts";

/** Holds for the PDUs for which `predicate` may hold, once all is known of them. */
export function possiblyByHeaders(predicate: Predicate): Predicate {
  return bound(predicate, true, ofHeaders);
}

function ofHeaders(test: Predicate, upper: boolean): Predicate {
  const isUnknown = test.test === "state" || test.test === "side" || test.test === "custom";
  return isUnknown ? unknownTest(upper) : test;
}
