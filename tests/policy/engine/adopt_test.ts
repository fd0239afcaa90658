import assert from "node:assert/strict";
import {
  DROP,
  ECHO_REPLY,
  FORWARD,
  type Predicate,
  type Tree,
} from "../../../src/policy/language/ast.ts";
import * as build from "../../../src/policy/language/build.ts";
import { compile } from "../../../src/policy/engine/compile.ts";
import { adopt } from "../../../src/policy/engine/adopt.ts";
import { makePlan, type Plan } from "../../../src/policy/engine/plan.ts";
import { walker } from "../../../src/policy/engine/walk.ts";
import { type Pdu, STATE_ESTABLISHED } from "../../../src/wire/pdu.ts";
import { environmentOf, pduOf } from "./environment.ts";

const { otherwise, drop, echo, filter, firstMatch, forward, isIcmp, isTcp, isUdp } = build;
const { policy, inTurn, tcpDport, track } = build;

const environment = environmentOf();

function planOf(next: Tree, definitions: build.Definitions = {}): Plan {
  return makePlan(policy("drop", next, definitions), environment);
}

/** A plan whose counter at each node is 100 and the node's number. */
function counted(next: Tree, definitions: build.Definitions = {}): Plan {
  const plan = planOf(next, definitions);
  plan.exits.forEach((_, number) => plan.exits[number] = 100 + number);
  return plan;
}

/** Where the counters of the new plan's nodes were in the old one; `-`: nowhere. */
function adopted(old: Tree, next: Tree, definitions: build.Definitions = {}): string {
  const plan = planOf(next, definitions);
  adopt(plan, counted(old, definitions));
  return [...plan.exits].map((count) => count === 0 ? "-" : `${count - 100}`).join(" ");
}

const turns = inTurn([drop, echo]);
const web = tcpDport.eq(80);

/** Name, old tree, new tree, where each of the new tree's counters comes from. */
const CASES: [string, Tree, Tree, string][] = [
  [
    "the same tree",
    firstMatch([[isTcp, turns], [otherwise, drop]]),
    firstMatch([
      [build.protocol(6), inTurn([drop, echo])],
      [otherwise, drop],
    ]),
    "0 1 2 3 4",
  ],
  [
    "an arm put in front",
    firstMatch([[isTcp, turns], [isUdp, drop]]),
    firstMatch([[isIcmp, echo], [isTcp, turns], [isUdp, drop]]),
    "0 - 1 2 3 4",
  ],
  [
    "an arm put at the end",
    firstMatch([[isTcp, turns], [isUdp, drop]]),
    firstMatch([[isTcp, turns], [isUdp, drop], [otherwise, drop]]),
    "0 1 2 3 4 -",
  ],
  [
    "an arm put between",
    firstMatch([[isTcp, turns], [isUdp, drop]]),
    firstMatch([[isTcp, turns], [isIcmp, turns], [isUdp, drop]]),
    "0 1 2 3 - - - 4",
  ],
  [
    "an arm taken away",
    firstMatch([[isIcmp, echo], [isTcp, turns], [isUdp, drop]]),
    firstMatch([[isTcp, turns], [isUdp, drop]]),
    "0 2 3 4 5",
  ],
  [
    "the last arm moved to the front",
    firstMatch([[isIcmp, echo], [isTcp, turns], [isUdp, drop]]),
    firstMatch([[isUdp, drop], [isIcmp, echo], [isTcp, turns]]),
    "0 5 1 2 3 4",
  ],
  [
    "a second arm",
    filter(isTcp, turns),
    firstMatch([[isUdp, drop], [isTcp, turns]]),
    "0 - 1 2 3",
  ],
  ["one arm of two", firstMatch([[isUdp, drop], [isTcp, turns]]), filter(isTcp, turns), "0 2 3 4"],
  [
    "two arms that ask the same",
    firstMatch([[isTcp, drop], [isTcp, echo]]),
    firstMatch([[isTcp, drop], [isTcp, echo]]),
    "0 1 2",
  ],
  ["another predicate of a filter", filter(isTcp, turns), filter(isUdp, turns), "- - - -"],
  [
    "another predicate of an arm",
    firstMatch([[isTcp, turns], [otherwise, drop]]),
    firstMatch([[isUdp, turns], [otherwise, drop]]),
    "0 - - - 4",
  ],
  [
    "a nested predicate that says the same",
    filter(build.and(isTcp, build.not(web)), drop),
    filter(build.and(isTcp, build.not(tcpDport.eq(80))), drop),
    "0 1",
  ],
  [
    "a nested predicate that says something else",
    filter(build.and(isTcp, build.not(web)), drop),
    filter(build.and(isTcp, build.not(tcpDport.eq(81))), drop),
    "- -",
  ],
  ["another decision", track(drop), track(forward), "0 -"],
  ["another label", track(build.decide("drop", "a")), track(build.decide("drop", "b")), "0 -"],
  ["no label any more", track(build.decide("drop", "")), track(drop), "0 -"],
  ["other weights", inTurn([drop, echo]), inTurn([[2, drop], echo]), "- - -"],
  ["other methods", inTurn([drop, echo]), build.atRandom([drop, echo]), "- - -"],
  [
    "per connection instead of per PDU",
    inTurn([drop, echo]),
    inTurn([drop, echo], { per: "connection" }),
    "- - -",
  ],
  ["one branch more", inTurn([drop, echo]), inTurn([drop, echo, drop]), "- - - -"],
  ["another branch", inTurn([drop, echo]), inTurn([drop, forward]), "0 1 -"],
  ["another backend", build.translateAToB(forward), build.translateAToB(forward, "by hash"), "- -"],
  ["another TTL", build.setTtl(1, forward), build.setTtl(2, forward), "- -"],
  ["raise", build.setTtl(1, forward), build.setTtl(1, forward, { raise: true }), "- -"],
  [
    "another rate",
    build.limit({ perSecond: 1, burst: 1 }, drop),
    build.limit({ perSecond: 2, burst: 1 }, drop),
    "- -",
  ],
  ["a step in between", filter(isTcp, echo), filter(isTcp, track(echo)), "0 - -"],
];

for (const [what, old, next, expected] of CASES) {
  Deno.test(`adopt with ${what} keeps the counters of unchanged nodes`, () => {
    assert.equal(adopted(old, next), expected);
  });
}

Deno.test("adopt knows users' functions by themselves, not by their names", () => {
  const [one, other] = [() => true, () => false];
  const [first, second] = [() => 0, () => 1];
  const predicate = (holds: () => boolean) => filter(build.customPredicate("mine", holds), drop);
  const select = (index: () => number) => build.customSelector("mine", index, [drop, echo]);
  assert.equal(adopted(predicate(one), predicate(one)), "0 1");
  assert.equal(adopted(predicate(one), predicate(other)), "- -");
  assert.equal(adopted(select(first), select(first)), "0 1 2");
  assert.equal(adopted(select(first), select(second)), "- - -");
  const arms = (a: () => boolean, b: () => boolean) =>
    firstMatch([[build.customPredicate("mine", a), drop], [
      build.customPredicate("mine", b),
      echo,
    ]]);
  assert.equal(adopted(arms(one, other), arms(other, one)), "0 - -");
});

Deno.test("adopt sees through definitions", () => {
  const definitions = { subtrees: { mine: turns } };
  assert.equal(adopted(track(turns), track(build.use("mine")), definitions), "0 1 2 3");
});

for (const [name, make] of [["walker", walker], ["compile", compile]] as const) {
  Deno.test(`adopt lets a round robin go on where it was, run by ${name}`, () => {
    const [one, other] = [
      inTurn([drop, echo, forward]),
      firstMatch([[isIcmp, drop], [isTcp, inTurn([drop, echo, forward])]]),
    ];
    const old = planOf(firstMatch([[isTcp, one], [isUdp, one]]));
    const before = make(old);
    const tcp = pduOf({ protocol: 6 });
    assert.deepEqual([before(tcp), before(tcp)], [DROP, ECHO_REPLY]);
    const plan = planOf(other);
    adopt(plan, old);
    const after = make(plan);
    assert.deepEqual([after(tcp), after(tcp)], [FORWARD, DROP]);
  });

  Deno.test(`adopt keeps buckets as empty as they were, run by ${name}`, () => {
    const limit = (burst: number) => build.limit({ perSecond: 1, burst, per: "source" }, forward);
    const old = planOf(limit(2));
    const before = make(old);
    assert.deepEqual([1, 2, 3].map(() => before(pduOf({ src: 9 }))), [FORWARD, FORWARD, DROP]);
    const same = planOf(limit(2));
    adopt(same, old);
    assert.deepEqual([9, 8].map((src) => make(same)(pduOf({ src }))), [DROP, FORWARD]);
    const larger = planOf(limit(3));
    adopt(larger, old);
    assert.equal(make(larger)(pduOf({ src: 9 })), FORWARD);
  });

  Deno.test(`adopt keeps what connections were given, run by ${name}`, () => {
    const balance = inTurn([drop, echo, forward], { per: "connection" });
    const old = planOf(track(balance));
    const { affinity } = environment;
    const before = make(old);
    const known = (entry: number): Pdu => pduOf({ flow: entry << 1, state: STATE_ESTABLISHED });
    assert.deepEqual([before(pduOf()), before(pduOf())], [DROP, ECHO_REPLY]);
    affinity.opened(5);
    affinity.settle(5);
    const plan = planOf(track(inTurn([drop, echo, forward], { per: "connection" })));
    adopt(plan, old);
    const after = make(plan);
    assert.deepEqual([known(5), known(6), known(5)].map(after), [ECHO_REPLY, FORWARD, ECHO_REPLY]);
    affinity.settle(-1);
    const changed = planOf(track(inTurn([[2, drop], echo, forward], { per: "connection" })));
    adopt(changed, old);
    assert.equal(make(changed)(known(5)), DROP);
  });
}

Deno.test("adopt finds 10,000 arms among 10,000, or not, and looks at each a few times", () => {
  let looks = 0;
  const get = (predicate: Predicate, name: keyof Predicate) => {
    looks++;
    return predicate[name];
  };
  const watched = (predicate: Predicate) =>
    new Proxy(predicate, { get } as ProxyHandler<Predicate>);
  const table = (network: number, watch = (predicate: Predicate) => predicate) =>
    firstMatch(Array.from({ length: 10_000 }, (_, i) =>
      [
        watch(build.ipSrc.eq(`10.${network}.${i >> 8}.${i & 255}`)),
        drop,
      ] as const));
  const old = counted(table(1, watched));
  const [same, other] = [planOf(table(1)), planOf(table(2))];
  looks = 0;
  adopt(same, old);
  adopt(other, old);
  assert.deepEqual(same.exits, old.exits);
  assert.deepEqual([other.exits[0], Math.max(...other.exits.subarray(1))], [100, 0]);
  assert.ok(looks >= 20_000 && looks < 1_000_000, `${looks} looks at 10,000 old arms, twice`);
});
