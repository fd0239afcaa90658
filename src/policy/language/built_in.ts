/**
 * The built-in policy, exactly the one of the demo that this project descends from: every other ping is
 * answered, HTTP is blocked naively, all other TCP is spread over the backends.
 *
 * With one interface for both sides a packet's source address tells which it comes from; with one for
 * each, the interface does.
 */
import type { Policy, Predicate } from "./ast.ts";
import {
  always,
  aToB,
  bToA,
  drop,
  dstAddrs,
  echo,
  filter,
  firstMatch,
  forward,
  fromSide,
  isEchoRequest,
  isIcmp,
  isTcp,
  not,
  policy,
  roundRobin,
  src,
  tcpDport,
  track,
} from "./build.ts";

/** The policy of a program that brings its own, by the number of interfaces. */
export type BuiltIn = (interfaces: number) => Policy;

/** For one interface. */
export const demo: Policy = demoOf(not(src.oneOf(dstAddrs)));

/** For an interface on each side. */
export const demoTwoSided: Policy = demoOf(fromSide("a"));

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
          [isIcmp, filter(isEchoRequest, roundRobin([drop, track(echo)]))],
          [isTcp, firstMatch([[tcpDport.eq(80), drop], [always, aToB(forward)]])],
        ]),
      ],
      [always, bToA(forward)], // side B -> A
    ]),
  );
}
