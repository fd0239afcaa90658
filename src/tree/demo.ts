/**
 * The built-in policy, exactly the one of the demo that this project descends from: every other ping is
 * answered, HTTP is blocked naively, all other TCP is spread over the backends.
 */
import type { Policy } from "./ast.ts";
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

export const demo: Policy = policy(
  "drop",
  firstMatch([
    [
      not(src.oneOf(dstAddrs)), // side A -> B
      firstMatch([
        [isIcmp, filter(isEchoRequest, roundRobin([drop, track(echo)]))],
        [isTcp, firstMatch([[tcpDport.eq(80), drop], [always, aToB(forward)]])],
      ]),
    ],
    [always, bToA(forward)], // side B -> A
  ]),
);
