/**
 * Treegate as a library: the policy language, and `run`, which makes a whole program of a policy.
 * To import it starts nothing.
 *
 * A policy is a tree of frozen nodes. The functions that make them have the names of the text
 * notation (`src/policy/README.md`) in camel case, and throw for what can't be built. A user's own
 * functions see a `Packet`, with addresses as `parseAddress` gives them.
 *
 * @example A policy of one's own; `await run(own)` then makes a program of it
 * ```ts
 * import assert from "node:assert/strict";
 * import {
 *   customPredicate,
 *   drop,
 *   dstAddrs,
 *   firstMatch,
 *   forward,
 *   ipSrc,
 *   not,
 *   otherwise,
 *   policy,
 *   translateAToB,
 *   translateBToA,
 * } from "@treegate/proxy";
 *
 * const oddPort = customPredicate("odd-port", (packet) => packet.srcPort % 2 === 1);
 *
 * const own = policy(
 *   "drop",
 *   firstMatch([
 *     [
 *       not(ipSrc.oneOf(dstAddrs)),
 *       firstMatch([[oddPort, drop], [otherwise, translateAToB(forward)]]),
 *     ],
 *     [otherwise, translateBToA(forward)],
 *   ]),
 * );
 * assert.equal(own.next.node, "first-match");
 * ```
 *
 * @module
 */
import { sourcePlatform } from "./pack/source.ts";
import { main } from "./cli/main.ts";
import type { BuiltIn } from "./policy/language/built_in.ts";
import type { Policy } from "./policy/language/ast.ts";
import type { Customs } from "./policy/notation/parse.ts";

export * from "./policy/language/build.ts";
export { type BuiltIn, builtIn, demo, demoTwoSided } from "./policy/language/built_in.ts";
export type {
  AddressTerm,
  Arm,
  BalanceMethod,
  Branch,
  ConnectionState,
  CustomPredicate,
  CustomSelector,
  Decision,
  Family,
  Interval,
  PickMethod,
  Policy,
  PoolDefinition,
  PoolMember,
  Predicate,
  Tree,
} from "./policy/language/ast.ts";
export { type ActiveCheck, type Check, type Health, healthOf } from "./policy/language/health.ts";
export type { Packet } from "./policy/language/packet.ts";
export type { Customs } from "./policy/notation/parse.ts";
export { type Address, formatAddress, parseAddress } from "./wire/address.ts";
export {
  formatHostAddress,
  type HostAddress,
  type HostSubnet,
  parseHostAddress,
} from "./wire/host_address.ts";
export { PROTOCOL_ICMP, PROTOCOL_TCP, PROTOCOL_UDP } from "./wire/ipv4.ts";
export { ACK, CWR, ECE, FIN, PSH, RST, SYN, URG } from "./wire/tcp.ts";

/**
 * Runs the program with `policy` in place of the built-in one, or with one for each number of
 * interfaces: reads the command line, does what it says, and ends the process with the exit code.
 * It does not return. `customs` are what `custom NAME` means in policy files.
 *
 * It needs the permissions of `deno task proxy`. Failures are messages on standard error and exit
 * codes: 1 at run time, 2 for a wrong command line.
 */
export async function run(policy: Policy | BuiltIn, customs: Customs = {}): Promise<never> {
  const own = typeof policy === "function" ? policy : () => policy;
  Deno.exit(await main(Deno.args, sourcePlatform(), { policy: own, customs }));
}
