/**
 * The built-in policy, exactly the one of the demo that this project descends from: every other
 * ping is answered, HTTP is blocked naively, all other TCP is spread over the backends.
 *
 * With one interface for both sides a packet's source address tells which it comes from; with one
 * for each, the interface does.
 */
import type { Policy, Predicate } from "./ast.ts";
import {
  drop,
  dstAddrs,
  echo,
  filter,
  firstMatch,
  forward,
  fromSide,
  inTurn,
  ipSrc,
  isEchoRequest,
  isIcmp,
  isTcp,
  not,
  otherwise,
  policy,
  tcpDport,
  track,
  translateAToB,
  translateBToA,
} from "./build.ts";

/** The policy of a program that brings its own, by the number of interfaces. */
export type BuiltIn = (interfaces: number) => Policy;

/** For one interface. */
export const demo: Policy = demoOf(not(ipSrc.oneOf(dstAddrs)));

/** For an interface on each side. */
export const demoTwoSided: Policy = demoOf(fromSide("a"));

/** The program's own policy for one interface, or for two: `demo` or `demoTwoSided`. */
export function builtIn(interfaces: number): Policy {
  return interfaces === 1 ? demo : demoTwoSided;
}

function demoOf(isFromA: Predicate): Policy {
  return policy(
    "drop",
    firstMatch([
      [
        isFromA, // side A -> B
        firstMatch([
          [isIcmp, filter(isEchoRequest, inTurn([drop, track(echo)]))],
          [isTcp, firstMatch([[tcpDport.eq(80), drop], [otherwise, translateAToB(forward)]])],
        ]),
      ],
      [otherwise, translateBToA(forward)], // side B -> A
    ]),
  );
}
