import assert from "node:assert/strict";
import { ManualClock } from "../../../src/core/clock.ts";
import { SeededRandom } from "../../../src/core/random.ts";
import type { Tree } from "../../../src/policy/language/ast.ts";
import type { Packet } from "../../../src/policy/language/packet.ts";
import * as build from "../../../src/policy/language/build.ts";
import { balancer, type Chooser, limiter, selector } from "../../../src/policy/engine/chooser.ts";
import type { Environment } from "../../../src/policy/engine/environment.ts";
import {
  OVER_IPV6,
  type Pdu,
  STATE_ESTABLISHED,
  STATE_INVALID,
  STATE_NEW,
} from "../../../src/wire/pdu.ts";
import { parseAddress6 } from "../../../src/wire/address6.ts";
import { mix } from "../../../src/wire/stable_hash.ts";
import { environmentOf, pduOf, type TestEnvironment } from "./environment.ts";

const { drop } = build;

type Make = typeof build.inTurn;

/** A balancer with branches of these weights. */
function balance(
  make: Make,
  weights: readonly number[],
  per: "pdu" | "connection" = "pdu",
  environment: Environment = environmentOf(),
): Chooser {
  const tree = make(weights.map((weight) => [weight, drop] as const), { per });
  return balancer(tree as Extract<Tree, { node: "balance" }>, environment);
}

function choices(chooser: Chooser, count: number, pdu: Pdu = pduOf()): number[] {
  return Array.from({ length: count }, () => chooser.choose(pdu));
}

// Per PDU

Deno.test("balancer in turn starts at the first branch and gives each its share", () => {
  const cases: [number[], number[]][] = [
    [[1], [0, 0, 0]],
    [[1, 1], [0, 1, 0, 1]],
    [[1, 1, 1], [0, 1, 2, 0, 1, 2, 0]],
    [[2, 1], [0, 0, 1, 0, 0, 1]],
    [[1, 3, 2], [0, 1, 1, 1, 2, 2, 0, 1]],
  ];
  for (const [weights, expected] of cases) {
    const found = choices(balance(build.inTurn, weights), expected.length);
    assert.deepEqual(found, expected, `${weights}`);
  }
});

Deno.test("balancer in turn has a turn of its own for each node", () => {
  const [one, other] = [balance(build.inTurn, [1, 1]), balance(build.inTurn, [1, 1])];
  assert.deepEqual([one.choose(pduOf()), one.choose(pduOf()), other.choose(pduOf())], [0, 1, 0]);
});

Deno.test("balancer at random gives each branch its share, whatever the largest weights", () => {
  const cases = [[1], [1, 1], [1, 2, 3], [65_535, 65_535, 65_535], [65_535, 1, 32_768]];
  for (const weights of cases) {
    const random = new SeededRandom(11);
    const chooser = balance(build.atRandom, weights, "pdu", environmentOf({ random }));
    const counts = weights.map(() => 0);
    for (const branch of choices(chooser, 20_000)) counts[branch]!++;
    const total = weights.reduce((sum, weight) => sum + weight, 0);
    weights.forEach((weight, i) => {
      const expected = 20_000 * weight / total;
      // The standard deviation is at most 71.
      assert.ok(Math.abs(counts[i]! - expected) < 400, `${counts} for ${weights}`);
    });
  }
});

Deno.test("balancer at random draws one number a PDU, from the environment's source", () => {
  const random = new SeededRandom(5);
  const twin = new SeededRandom(5);
  const chooser = balance(build.atRandom, [1, 1, 1, 1], "pdu", environmentOf({ random }));
  for (const branch of choices(chooser, 100)) assert.equal(branch, twin.uint32() >>> 30);
});

Deno.test("balancer by hash depends on the tuple only, and gives each branch its share", () => {
  const [one, other] = [1, 2].map((seed) =>
    balance(build.byHash, [1, 2, 1], "pdu", environmentOf({ random: new SeededRandom(seed) }))
  );
  const counts = [0, 0, 0];
  for (let i = 0; i < 8000; i++) {
    const tuple = {
      src: 0x0a00_0000 + (i >> 4),
      dst: 0xc0a8_0064 | 0,
      protocol: 6,
      srcPort: 1024 + i,
      dstPort: 80,
    };
    const branch = one!.choose(pduOf(tuple));
    const same = pduOf({ ...tuple, ttl: 9, totalLength: i, tcpFlags: i & 255, seq: i, flow: 6 });
    assert.deepEqual([one!.choose(same), other!.choose(same)], [branch, branch]);
    counts[branch]!++;
  }
  [2000, 4000, 2000].forEach((expected, i) => {
    assert.ok(Math.abs(counts[i]! - expected) < 250, `${counts}`);
  });
});

Deno.test("balancer by hash heeds every field of the tuple", () => {
  const chooser = balance(build.byHash, Array.from({ length: 64 }, () => 1));
  const fields = ["src", "dst", "protocol", "srcPort", "dstPort"] as const;
  for (const field of fields) {
    const values = Array.from({ length: 200 }, (_, i) => chooser.choose(pduOf({ [field]: i })));
    assert.ok(new Set(values).size > 40, `${field}: ${new Set(values).size}`);
  }
});

// Per connection

/**
 * A balancer, and what the appliance does after each PDU: `opened`: it got the entry from this PDU.
 */
function perConnection(
  weights: readonly number[],
  make: Make = build.inTurn,
  environment: Environment = environmentOf(),
): { chooser: Chooser; settle: (entry: number, opened: boolean) => void } {
  const { affinity } = environment;
  return {
    chooser: balance(make, weights, "connection", environment),
    settle: (entry, opened) => {
      if (opened) affinity.opened(entry);
      affinity.settle(entry);
    },
  };
}

/** A PDU of the connection with this entry. */
function of(entry: number, state: number = STATE_ESTABLISHED): Pdu {
  return pduOf({ flow: entry << 1, state });
}

Deno.test("balancer per connection keeps the branch that the opening PDU was given", () => {
  const { chooser, settle } = perConnection([1, 1, 1]);
  for (const entry of [4, 2, 7]) {
    chooser.choose(pduOf());
    settle(entry, true);
  }
  for (let round = 0; round < 3; round++) {
    for (const [entry, branch] of [[7, 2], [4, 0], [2, 1]] as const) {
      assert.equal(chooser.choose(of(entry)), branch);
      settle(entry, false);
      const answer = pduOf({ flow: entry << 1 | 1, state: STATE_ESTABLISHED });
      assert.equal(chooser.choose(answer), branch, "from the other side");
      settle(entry, false);
    }
  }
  assert.equal(chooser.choose(pduOf()), 0, "the next one in turn");
});

Deno.test("balancer per connection chooses each time for what is not tracked", () => {
  const { chooser, settle } = perConnection([1, 1]);
  for (const expected of [0, 1, 0, 1]) {
    assert.equal(chooser.choose(pduOf({ state: STATE_INVALID })), expected);
    settle(-1, false);
  }
});

Deno.test("balancer per connection gives a connection that it had not met a branch, and keeps it", () => {
  const { chooser, settle } = perConnection([1, 1]);
  chooser.choose(pduOf());
  settle(-1, false);
  assert.equal(chooser.choose(of(3)), 1);
  settle(3, false);
  assert.deepEqual([chooser.choose(of(3)), chooser.choose(of(3))], [1, 1]);
});

Deno.test("balancer per connection remembers nothing of a PDU that was dropped", () => {
  const { chooser, settle } = perConnection([1, 1]);
  assert.equal(chooser.choose(of(3)), 0);
  settle(-1, false);
  assert.equal(chooser.choose(of(3)), 1);
});

Deno.test("balancer per connection chooses anew when an entry is opened again", () => {
  const { chooser, settle } = perConnection([1, 1, 1]);
  chooser.choose(pduOf());
  settle(3, true);
  assert.equal(chooser.choose(of(3, STATE_NEW)), 1, "a SYN on a tuple that is over");
  settle(3, true);
  assert.equal(chooser.choose(of(3)), 1);
});

Deno.test("balancer per connection forgets what an entry's earlier connection had", () => {
  const { chooser, settle } = perConnection([1, 1, 1]);
  chooser.choose(pduOf());
  settle(3, true);
  settle(3, true); // opened by a PDU that did not come here
  assert.deepEqual([chooser.choose(of(3)), chooser.choose(of(3))], [1, 2]);
});

Deno.test("balancer per connection keeps what it knows of connections that pass elsewhere", () => {
  const { chooser, settle } = perConnection([1, 1, 1]);
  chooser.choose(pduOf());
  settle(3, true);
  settle(3, false);
  settle(4, true);
  assert.equal(chooser.choose(of(3)), 0);
});

Deno.test("balancer per connection takes the methods and weights of one per PDU", () => {
  const random = new SeededRandom(3);
  const environment = environmentOf({ random, maxConnections: 300 });
  for (const make of [build.inTurn, build.atRandom, build.byHash]) {
    const { chooser, settle } = perConnection([1, 2], make, environment);
    const counts = [0, 0];
    for (let entry = 0; entry < 300; entry++) {
      const opening = pduOf({ srcPort: entry });
      const branch = chooser.choose(opening);
      settle(entry, true);
      counts[branch]!++;
      const later = Object.assign(of(entry), { srcPort: 7, dstPort: entry });
      assert.equal(chooser.choose(later), branch);
      settle(entry, false);
    }
    assert.ok(Math.abs(counts[0]! - 100) < 40, `${counts}`);
  }
});

Deno.test("balancer per connection with more branches than a byte holds keeps each one", () => {
  for (const branches of [254, 255, 256, 300]) {
    const environment = environmentOf({ maxConnections: branches });
    const weights = Array.from({ length: branches }, () => 1);
    const { chooser, settle } = perConnection(weights, build.inTurn, environment);
    for (let entry = 0; entry < branches; entry++) {
      for (let times = 0; times < 200; times++) settle(entry, true);
      assert.equal(chooser.choose(pduOf()), entry);
      settle(entry, true);
    }
    for (let entry = 0; entry < branches; entry++) {
      assert.equal(chooser.choose(of(entry)), entry, `of ${branches}`);
      settle(entry, false);
    }
  }
});

Deno.test("affinity tells the balancers that a PDU has asked, each once, and no others", () => {
  const { affinity } = environmentOf();
  const told: string[] = [];
  const named = (name: string) => ({
    settle: (entry: number) => void told.push(`${name} ${entry}`),
  });
  const [a, b] = [named("a"), named("b")];
  affinity.settle(1);
  affinity.ask(a);
  affinity.ask(b);
  affinity.settle(2);
  affinity.settle(3);
  affinity.ask(a);
  affinity.settle(-1);
  assert.deepEqual(told, ["b 2", "a 2", "a -1"]);
});

// Limits

function limit(perSecond: number, burst: number, per: "rule" | "source", clock: ManualClock) {
  const tree = build.limit({ perSecond, burst, per }, drop) as Extract<Tree, { node: "limit" }>;
  return limiter(tree, { ...environmentOf(), clock });
}

for (const per of ["rule", "source"] as const) {
  Deno.test(`limiter per ${per} lets a burst pass, then as many as its rate`, () => {
    const clock = new ManualClock(123_456);
    const chooser = limit(10, 3, per, clock);
    assert.deepEqual(choices(chooser, 5), [0, 0, 0, -1, -1]);
    clock.advance(99);
    assert.deepEqual(choices(chooser, 1), [-1]);
    clock.advance(1);
    assert.deepEqual(choices(chooser, 2), [0, -1]);
    clock.advance(250);
    assert.deepEqual(choices(chooser, 3), [0, 0, -1]);
    clock.advance(50);
    assert.deepEqual(choices(chooser, 2), [0, -1], "the half that was left counts");
    clock.advance(1e9);
    assert.deepEqual(choices(chooser, 4), [0, 0, 0, -1], "never more than a burst");
  });

  Deno.test(`limiter per ${per} does not punish those who ask again and again`, () => {
    const clock = new ManualClock();
    const chooser = limit(1, 1, per, clock);
    let passed = 0;
    for (let ms = 0; ms < 10_000; ms++, clock.advance(1)) passed += 1 + chooser.choose(pduOf());
    assert.equal(passed, 10);
  });

  Deno.test(`limiter per ${per} takes the largest rate and burst, and a clock at 0`, () => {
    const clock = new ManualClock(0);
    const chooser = limit(1_000_000_000, 1_000_000_000, per, clock);
    assert.deepEqual(choices(chooser, 3), [0, 0, 0]);
    clock.advance(1e12);
    assert.deepEqual(choices(chooser, 3), [0, 0, 0]);
  });
}

Deno.test("limiter per rule has one bucket for all sources, per source one for each", () => {
  const clock = new ManualClock(5);
  const from = (src: number) => pduOf({ src });
  const rule = limit(1, 2, "rule", clock);
  const source = limit(1, 2, "source", clock);
  const sources = [1, 2, 1, 0, -1, 2, 1, 0];
  assert.deepEqual(sources.map((src) => rule.choose(from(src))), [0, 0, -1, -1, -1, -1, -1, -1]);
  assert.deepEqual(sources.map((src) => source.choose(from(src))), [0, 0, 0, 0, 0, 0, -1, 0]);
});

Deno.test("limiter per source has buckets of its own, though all limits share one table", () => {
  const clock = new ManualClock(5);
  const environment = { ...environmentOf({ maxLimitSources: 64 }), clock };
  const [one, other] = [1, 2].map((burst) =>
    limiter(
      build.limit({ perSecond: 1, burst, per: "source" }, drop) as Extract<Tree, { node: "limit" }>,
      environment,
    )
  );
  assert.deepEqual(choices(one!, 2), [0, -1]);
  assert.deepEqual(choices(other!, 3), [0, 0, -1]);
  clock.advance(1000);
  assert.deepEqual([...choices(one!, 2), ...choices(other!, 2)], [0, -1, 0, -1]);
});

Deno.test("limiter per source counts the first 64 bits of an IPv6 address, apart from IPv4", () => {
  const environment = environmentOf({ maxLimitSources: 64, isIpv6On: true });
  const tree = build.limit({ perSecond: 1, burst: 1, per: "source" }, drop);
  const chooser = limiter(tree as Extract<Tree, { node: "limit" }>, environment);
  const from6 = (text: string) => {
    const pdu = pduOf({ protocol: OVER_IPV6 | 6, src: 7 });
    pdu.addresses.set(parseAddress6(text));
    return pdu;
  };
  const pdus = [
    from6("2001:db8::1"),
    from6("2001:db8::2"),
    from6("2001:db8:0:1::1"),
    from6("2001:db9::1"),
    pduOf({ src: 0x2001_0db8 }),
    pduOf({ src: 0x2001_0db8 }),
  ];
  assert.deepEqual(pdus.map((pdu) => chooser.choose(pdu)), [0, -1, 0, 0, 0, -1]);
});

Deno.test("limiter per source keeps thousands of sources apart", () => {
  const clock = new ManualClock(1);
  const chooser = limit(1, 1, "source", clock);
  const sources = Array.from({ length: 4000 }, (_, i) => pduOf({ src: 0x0a00_0000 + i }));
  const passed = () => sources.filter((pdu) => chooser.choose(pdu) === 0).length;
  assert.equal(passed(), 4000);
  assert.equal(passed(), 0, "all sources are still known");
  clock.advance(1000);
  assert.equal(passed(), 4000);
});

Deno.test("limiter per source is not passed by four addresses that meet in a fixed hash", () => {
  // MurmurHash3's finalizer, modulo 16,384: with sets of four places, a fifth pushes out the first.
  const sets = new Map<number, number[]>();
  let meeting: number[] = [];
  for (let src = 0x0a00_0000; meeting.length < 5; src++) {
    const set = mix(src, 0) & 16_383;
    meeting = sets.get(set) ?? [];
    meeting.push(src);
    sets.set(set, meeting);
  }
  const clock = new ManualClock(1000);
  const chooser = limit(10, 5, "source", clock);
  let passed = 0;
  for (let ms = 0; ms < 1000; ms++, clock.advance(1)) {
    for (const src of meeting) passed += 1 + chooser.choose(pduOf({ src }));
  }
  assert.equal(passed, meeting.length * (5 + 9));
});

// Users' selectors

function select(index: (packet: Packet) => unknown, environment: TestEnvironment): Chooser {
  const tree = build.customSelector("mine", index as () => number, [drop, drop, drop]);
  return selector(tree as Extract<Tree, { node: "select" }>, environment);
}

Deno.test("selector takes an index for what it is, and anything else for no branch", () => {
  const environment = environmentOf();
  const cases: [unknown, number][] = [
    ...[0, 1, 2].map((index): [unknown, number] => [index, index]),
    ...[-1, 3, 1e9, -1e9, 0.5, NaN, Infinity, -Infinity].map((bad): [unknown, number] => [bad, -1]),
    ...["1", "__proto__", null, undefined, true, {}, [1], 1n].map((bad): [unknown, number] => [
      bad,
      -1,
    ]),
  ];
  for (const [returned, expected] of cases) {
    const chooser = select(() => returned, environment);
    assert.equal(chooser.choose(pduOf()), expected, `${String(returned)}`);
  }
  assert.deepEqual(environment.failed, []);
});

Deno.test("selector sees the packet", () => {
  const chooser = select((packet) => Number(packet.src) % 3, environmentOf());
  assert.deepEqual([3, 4, 5, -1].map((src) => chooser.choose(pduOf({ src }))), [0, 1, 2, -1]);
});

Deno.test("selector that throws chooses no branch, tells it once and goes on", () => {
  const environment = environmentOf();
  const chooser = select(({ src }) => {
    if (src < 0) throw new Error("of the user");
    return src;
  }, environment);
  assert.deepEqual([-5, 1, -6, 2].map((src) => chooser.choose(pduOf({ src }))), [-1, 1, -1, 2]);
  assert.deepEqual(environment.failed, ["mine"]);
});
