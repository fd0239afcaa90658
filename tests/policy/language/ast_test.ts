import assert from "node:assert/strict";
import {
  childrenOf,
  DECISION_NAMES,
  DECISION_NUMBERS,
  DROP,
  ECHO_REPLY,
  FORWARD,
  REJECT,
  type Tree,
} from "../../../src/policy/language/ast.ts";
import * as build from "../../../src/policy/language/build.ts";

const { otherwise, drop, echo, forward, isTcp } = build;

Deno.test("DECISION_NUMBERS and DECISION_NAMES number the decisions alike", () => {
  assert.deepEqual({ ...DECISION_NUMBERS }, {
    "drop": DROP,
    "forward": FORWARD,
    "echo-reply": ECHO_REPLY,
    "reject": REJECT,
  });
  assert.equal(DECISION_NAMES[DROP], "Drop");
  assert.equal(DECISION_NAMES[FORWARD], "Forward");
  assert.equal(DECISION_NAMES[ECHO_REPLY], "Echo_reply");
  assert.equal(DECISION_NAMES[REJECT], "Reject");
});

Deno.test("childrenOf gives the trees directly below, in order", () => {
  const cases: [Tree, Tree[]][] = [
    [drop, []],
    [build.decide("reject", "label"), []],
    [build.use("web"), []],
    [build.track(echo), [echo]],
    [build.translateAToB(forward), [forward]],
    [build.translateBToA(forward), [forward]],
    [build.setTtl(3, forward), [forward]],
    [build.limit({ perSecond: 1, burst: 1 }, echo), [echo]],
    [build.filter(isTcp, echo), [echo]],
    [build.inTurn([drop, [3, echo], drop]), [drop, echo, drop]],
    [build.customSelector("x", () => 0, [echo, drop]), [echo, drop]],
    [build.firstMatch([[isTcp, echo], [otherwise, drop]]), [echo, drop]],
  ];
  for (const [tree, children] of cases) {
    assert.deepEqual(childrenOf(tree), children, tree.node);
  }
});
