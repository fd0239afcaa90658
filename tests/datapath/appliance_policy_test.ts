/**
 * What nodes with a memory cost the appliance, and what stays of them when a policy is read again.
 */
import assert from "node:assert/strict";
import { finish } from "../../src/core/slices.ts";
import { Affinity, type Sticky } from "../../src/policy/engine/affinity.ts";
import type { Predicate, Tree } from "../../src/policy/language/ast.ts";
import * as build from "../../src/policy/language/build.ts";
import { compile } from "../../src/policy/engine/compile.ts";
import { buildIcmp, buildTcp, readTcp, type Tcp } from "../support/frames.ts";
import { BACKENDS, from, packetsOf, World, type WorldOptions } from "../support/world.ts";

const {
  otherwise,
  translateAToB,
  translateBToA,
  drop,
  firstMatch,
  forward,
  isEchoRequest,
  limit,
  policy,
} = build;
const { inTurn, tcpDport, track, ipTtl } = build;

const BACKEND = BACKENDS[0]!;

function both(tree: Tree) {
  return policy(
    "drop",
    firstMatch([
      [build.not(build.ipSrc.oneOf(build.dstAddrs)), tree],
      [otherwise, translateBToA(forward)],
    ]),
  );
}

/** An established connection from this port: what its client sends. */
function connected(world: World, srcPort: number, dstPort: number): Partial<Tcp> {
  const [sent] = packetsOf(world.send(buildTcp({ srcPort, dstPort, flags: "S", seq: 999 })));
  const syn = readTcp(sent!);
  const there = { ...from(syn.dst), srcPort: syn.dstPort, dstPort: syn.srcPort };
  world.send(buildTcp({ ...there, flags: "SA", seq: 4999, ack: 1000 }));
  const fields = { srcPort, dstPort, flags: "A", seq: 1000, ack: 5000 };
  world.send(buildTcp(fields));
  return fields;
}

function worldOf(tree: Tree, options: WorldOptions = {}): World {
  return World.settled({ policy: both(tree), backends: [BACKEND], maxConn: 100, ...options });
}

Deno.test("Appliance tells a balancer per connection of its own PDUs, not 5,000 of each", () => {
  const arms = Array.from({ length: 5000 }, (_, i): [Predicate, Tree] => [
    tcpDport.eq(2000 + i),
    inTurn([translateAToB(forward), drop], { per: "connection" }),
  ]);
  const world = worldOf(firstMatch([[isEchoRequest, track(build.echo)], ...arms]));
  let told = 0;
  const ask = Affinity.prototype.ask;
  Affinity.prototype.ask = function (balancer: Sticky): void {
    const counting = { settle: (entry: number) => void (told++, balancer.settle(entry)) };
    return ask.call(this, counting);
  };
  try {
    const client = connected(world, 1024, 2007);
    assert.equal(told, 2, "a SYN and an ACK");
    for (let i = 0; i < 10; i++) {
      assert.equal(
        packetsOf(world.send(buildTcp({ ...client, payload: Uint8Array.of(i) }))).length,
        1,
      );
    }
    assert.equal(told, 12, "plain segments, too");
    for (let i = 0; i < 10; i++) world.send(buildIcmp({ rest: [1, i] }));
    world.send(buildTcp({ dstPort: 80, flags: "S" }));
    assert.equal(told, 12);
    for (const [srcPort, sent] of [[1025, 1], [1026, 0]] as const) {
      const syn = buildTcp({ srcPort, dstPort: 6999, flags: "S" });
      assert.equal(packetsOf(world.send(syn)).length, sent);
    }
    assert.equal(told, 14, "one that is dropped, too");
  } finally {
    Affinity.prototype.ask = ask;
  }
});

Deno.test("Appliance forgets what an evaluation that throws had asked", () => {
  let fails = false;
  const world = worldOf(
    firstMatch([
      [ipTtl.eq(9), inTurn([translateAToB(forward), drop], { per: "connection" })],
      [otherwise, translateAToB(forward)],
    ]),
    {
      evaluator: (plan) => {
        const evaluate = compile(plan);
        return (pdu) => {
          const value = evaluate(pdu);
          if (fails) throw new Error("of the user");
          return value;
        };
      },
    },
  );
  const client = connected(world, 1024, 2000);
  fails = true;
  assert.throws(() => world.send(buildTcp({ srcPort: 1025, flags: "S", ttl: 9 })), /of the user/);
  fails = false;
  assert.equal(packetsOf(world.send(buildTcp(client))).length, 1);
  assert.equal(packetsOf(world.send(buildTcp({ ...client, ttl: 9 }))).length, 0, "the second turn");
});

/** Lists that have half a million networks each. */
function tooLarge() {
  const lists: Record<string, string[]> = { l0: ["10.0.0.1"] };
  for (let i = 1; i <= 19; i++) lists[`l${i}`] = [`$l${i - 1}`, `$l${i - 1}`];
  for (let i = 0; i < 200; i++) lists[`m${i}`] = ["$l19"];
  return policy("forward", drop, { lists });
}

Deno.test("Appliance.prepare keeps buckets, and the old policy if the new one takes too much", () => {
  const tree = () => limit({ perSecond: 1, burst: 2, per: "source" }, track(build.echo));
  const world = worldOf(tree());
  const answers = (src: string, count: number) =>
    Array.from({ length: count }, (_, i) => packetsOf(world.send(buildIcmp({ src, rest: [1, i] }))))
      .flat().length;
  assert.equal(answers("192.168.0.254", 5), 2);
  assert.throws(() => finish(world.appliance.prepare({ policy: tooLarge() })), {
    name: "RangeError",
    message: /^Cannot run policy: it would hold up to \d\.\d GiB, /,
  });
  assert.equal(answers("192.168.0.254", 1), 0);
  finish(world.appliance.prepare({ policy: both(tree()) }))();
  assert.equal(answers("192.168.0.254", 1), 0);
  world.clock.advance(1000);
  assert.equal(answers("192.168.0.254", 2), 1);
});
