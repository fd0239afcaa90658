import assert from "node:assert/strict";
import {
  childrenOf,
  DECISION_NAMES,
  DECISION_NUMBERS,
  DROP,
  ECHO_REPLY,
  FORWARD,
  nodesOf,
} from "../../src/tree/ast.ts";
import { always, drop, echo, filter, firstMatch, isTcp, roundRobin } from "../../src/tree/build.ts";
import { aToB, forward, track } from "../../src/tree/build.ts";

Deno.test("DECISION_NUMBERS and DECISION_NAMES number the decisions alike", () => {
  assert.deepEqual({ ...DECISION_NUMBERS }, {
    "drop": DROP,
    "forward": FORWARD,
    "echo-reply": ECHO_REPLY,
  });
  assert.equal(DECISION_NAMES[DROP], "Drop");
  assert.equal(DECISION_NAMES[FORWARD], "Forward");
  assert.equal(DECISION_NAMES[ECHO_REPLY], "Echo_reply");
});

Deno.test("childrenOf gives the trees directly below, in order", () => {
  const cases = [
    [drop, []],
    [track(echo), [echo]],
    [aToB(forward), [forward]],
    [filter(isTcp, echo), [echo]],
    [roundRobin([drop, echo, drop]), [drop, echo, drop]],
    [firstMatch([[isTcp, echo], [always, drop]]), [echo, drop]],
  ] as const;
  for (const [tree, children] of cases) assert.deepEqual(childrenOf(tree), children);
});

Deno.test("nodesOf counts depth first, in writing order, a subtree used twice as two nodes", () => {
  const shared = track(echo);
  const turns = roundRobin([drop, shared]);
  const tree = firstMatch([[isTcp, turns], [always, shared]]);
  assert.deepEqual([...nodesOf(tree)], [tree, turns, drop, shared, echo, shared, echo]);
});
