/**
 * A change that is made ready while packets go through: none waits for it, none is lost or
 * miscounted.
 */
import assert from "node:assert/strict";
import { SeededRandom } from "../../src/core/random.ts";
import { finish, type Slices } from "../../src/core/slices.ts";
import { compile, evaluatorInSlices } from "../../src/policy/engine/compile.ts";
import { addChoosers, makePlan, type Plan, planInSlices } from "../../src/policy/engine/plan.ts";
import type { Policy } from "../../src/policy/language/ast.ts";
import { print } from "../../src/policy/printing/print.ts";
import { parse, parseInSlices } from "../../src/policy/notation/parse.ts";
import { DEFAULT_TIMEOUTS } from "../../src/flow/lifetimes.ts";
import { Pdu } from "../../src/wire/pdu.ts";
import { buildIcmp } from "../support/frames.ts";
import { randomPolicy } from "../support/random_policy.ts";
import { packetsOf, World } from "../support/world.ts";
import { environmentOf } from "../policy/engine/environment.ts";
import { constantsOf, fillNear } from "../policy/engine/random_pdu.ts";

/** Does several works a step each in turn: what each gives. */
function interleaved<T>(works: readonly Slices<T>[]): readonly T[] {
  const results: T[] = [];
  for (const left = new Set(works.keys()); left.size > 0;) {
    for (const i of left) {
      const { done, value } = works[i]!.next();
      if (!done) continue;
      results[i] = value;
      left.delete(i);
    }
  }
  return results;
}

Deno.test("policies that are parsed and compiled in slices, five at a time, are those made at once", () => {
  for (let seed = 1; seed <= 100; seed++) {
    const random = new SeededRandom(seed);
    const texts = Array.from({ length: 5 }, () => print(randomPolicy(random, { maxNodes: 120 })));
    const options = { file: "random.policy" };
    const parsed = interleaved(texts.map((text) => parseInSlices(text, options)));
    const atOnce = texts.map((text) => parse(text, options));
    assert.deepEqual(parsed, atOnce, `seed ${seed}`);
    const policies = atOnce.flatMap(({ policy }) => policy === null ? [] : [policy]);
    const plans = interleaved(policies.map(planned));
    const evaluates = interleaved(plans.map((plan) => evaluatorInSlices(plan)));
    for (const [i, policy] of policies.entries()) {
      const [expected, plan] = [makePlan(policy, environmentOf()), plans[i]!];
      const evaluate = compile(expected);
      const constants = constantsOf(expected);
      for (let k = 0; k < 50; k++) {
        const [one, other] = [new Pdu(), new Pdu()];
        for (const pdu of [one, other]) fillNear(pdu, constants, new SeededRandom(k));
        assert.equal(evaluates[i]!(one), evaluate(other), `seed ${seed}, policy ${i}`);
        assert.equal(one.exit, other.exit);
      }
      assert.deepEqual(plan.exits, expected.exits);
    }
  }
});

function* planned(policy: Policy): Slices<Plan> {
  const plan = yield* planInSlices(policy, environmentOf());
  yield* addChoosers(plan);
  return plan;
}

const RULES = 300;

/** Answers every other ping, after rules that nothing comes to. */
function policyOf(extra: string) {
  const rules = Array.from(
    { length: RULES },
    (_, i) => `  icmp and ip.src = 10.9.${i >> 8}.${i & 255} -> drop`,
  );
  const text = [
    "default drop",
    "not ip.src in $dst-addrs",
    "  echo-request -> in turn: drop | track, echo",
    ...rules,
    extra,
    "otherwise -> translate-b-to-a, forward",
  ].join("\n");
  const parsed = finish(parseInSlices(text, { file: "long.policy" }));
  assert.deepEqual(parsed.errors, []);
  return parsed.policy!;
}

Deno.test("Appliance.prepare: what comes between two slices is served and counted, the turn goes on", () => {
  const world = World.settled({ policy: policyOf("  tcp -> drop") });
  const work = world.appliance.prepare({ policy: policyOf("  tcp -> reject") });
  let sent = 0;
  const ping = (): number => {
    const answers = packetsOf(world.send(buildIcmp({ rest: [1, ++sent & 0xffff] }))).length;
    assert.equal(answers, sent % 2 === 0 ? 1 : 0, `ping ${sent}`);
    return sent;
  };
  const pingsOf = () =>
    world.appliance.snapshot().policy.lines.find(({ text }) => text.startsWith("echo-request"))
      ?.pdus;
  let step = work.next();
  for (; !step.done; step = work.next()) ping();
  assert.ok(sent > RULES, `${sent} slices`);
  assert.equal(pingsOf(), sent);
  step.value();
  assert.equal(pingsOf(), sent, "the counts of the old policy, to the last");
  ping();
  ping();
  assert.equal(pingsOf(), sent);
});

Deno.test("Appliance.prepare that is given up, or fails, leaves no trace", () => {
  const world = World.settled({ policy: policyOf("  tcp -> drop") });
  const before = world.appliance.snapshot().policy;
  for (const steps of [0, 1, 10, 500]) {
    const work = world.appliance.prepare({ policy: policyOf("  tcp -> reject") });
    for (let i = 0; i < steps; i++) work.next();
  }
  const depth = 30;
  const subtrees = Array.from(
    { length: depth },
    (_, i) =>
      i === 0
        ? "define t0\n  -> drop"
        : `define t${i}\n  tcp -> use t${i - 1}\n  udp -> use t${i - 1}`,
  );
  const parsed = parse(`default drop\n${subtrees.join("\n")}\n-> use t${depth - 1}\n`, {
    file: "x",
  });
  assert.deepEqual(parsed.errors, []);
  assert.throws(() => finish(world.appliance.prepare({ policy: parsed.policy! })), {
    message: "Cannot run policy: more than 1000000 nodes",
  });
  assert.deepEqual(world.appliance.snapshot().policy, before);
});

Deno.test("Appliance.prepare changes timeouts for the connections that there are", () => {
  const world = World.settled({ policy: policyOf("  tcp -> drop") });
  world.send(buildIcmp({ rest: [1, 1] }));
  world.send(buildIcmp({ rest: [1, 2] }));
  assert.equal(world.appliance.connections.table.count, 1);
  finish(world.appliance.prepare({ timeouts: { ...DEFAULT_TIMEOUTS, icmp: 1 } }))();
  world.advance(30_000);
  assert.equal(world.appliance.connections.table.count, 0);
});
