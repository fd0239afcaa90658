/**
 * Treegate as a library: the policy language, and `run`, which makes a whole program of a policy.
 *
 * @example A policy of one's own; `await run(own)` then makes a program of it
 * ```ts
 * import assert from "node:assert/strict";
 * import { always, aToB, bToA, drop, dstAddrs, firstMatch, forward } from "./mod.ts";
 * import { not, policy, predicate, src } from "./mod.ts";
 *
 * const oddPort = predicate("odd-port", (pdu) => pdu.srcPort % 2 === 1);
 *
 * const own = policy("drop", firstMatch([
 *   [not(src.oneOf(dstAddrs)), firstMatch([[oddPort, drop], [always, aToB(forward)]])],
 *   [always, bToA(forward)],
 * ]));
 * assert.equal(own.next.node, "first-match");
 * ```
 */
import { sourcePlatform } from "./pack/source.ts";
import { main } from "./cli/main.ts";
import type { BuiltIn } from "./policy/language/built_in.ts";
import type { Policy } from "./policy/language/ast.ts";
import type { Customs } from "./policy/notation/parse.ts";

export * from "./policy/language/build.ts";
export { builtIn, demo, demoTwoSided } from "./policy/language/built_in.ts";
export type { Arm, Branch, Decision, Policy, Predicate, Tree } from "./policy/language/ast.ts";
export type { Customs } from "./policy/notation/parse.ts";
export type { Pdu } from "./wire/pdu.ts";

/**
 * Runs the program with `policy` in place of the built-in one, or one for each number of interfaces: reads the command line, does what it
 * says, and ends the process with the exit code. `customs` are what `custom NAME` means in policy files.
 */
export async function run(
  policy: Policy | BuiltIn,
  customs: Customs = { predicates: {}, selectors: {} },
): Promise<never> {
  const own = typeof policy === "function" ? policy : () => policy;
  Deno.exit(await main(Deno.args, sourcePlatform(), { policy: own, customs }));
}
