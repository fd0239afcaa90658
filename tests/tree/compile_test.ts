import assert from "node:assert/strict";
import { below, SeededRandom } from "../../src/core/random.ts";
import { nodesOf, type Policy, type Predicate, type Tree } from "../../src/tree/ast.ts";
import * as build from "../../src/tree/build.ts";
import { compile, newPositions } from "../../src/tree/compile.ts";
import { walker } from "../../src/tree/walk.ts";
import { Pdu } from "../../src/wire/pdu.ts";
import { bindingsOf, REFUSED_BY_TRACK } from "./bindings.ts";

const { always, drop, dstAddrs, echo, filter, firstMatch, forward, not, policy } = build;

/** Few values each, so that random questions often meet random answers. */
const ADDRESSES = [0, 1, -1, 0x7fff_ffff, -0x8000_0000, 7, 8, 9, 10, 11, 12, 13, 14];
const PORTS = [0, 80, 65_535];
const PROTOCOLS = [1, 6, 17];

class Maker {
  readonly #random: SeededRandom;

  constructor(seed: number) {
    this.#random = new SeededRandom(seed);
  }

  one<T>(values: readonly T[]): T {
    return values[below(this.#random, values.length)]!;
  }

  addresses(): number[] {
    return ADDRESSES.filter(() => this.one([true, false]));
  }

  policy(): Policy {
    return policy(this.one(["drop", "forward", "echo-reply"]), this.tree(6));
  }

  tree(depth: number): Tree {
    if (depth === 0) return this.one([drop, forward, echo]);
    const some = [1, 2, 3].slice(0, this.one([1, 2, 3]));
    switch (below(this.#random, 8)) {
      case 0:
      case 1:
        return firstMatch(some.map(() => [this.predicate(2), this.tree(depth - 1)]));
      case 2:
        return filter(this.predicate(2), this.tree(depth - 1));
      case 3:
      case 4:
        return build.roundRobin(some.map(() => this.tree(depth - 1)));
      case 5:
        return this.one([build.track, build.aToB, build.bToA])(this.tree(depth - 1));
      default:
        return this.tree(depth - 2 > 0 ? depth - 2 : 0);
    }
  }

  predicate(depth: number): Predicate {
    const kinds = [
      () => always,
      () => this.one([build.isIcmp, build.isTcp, build.isUdp]),
      () => this.one([build.src, build.dst]).oneOf(dstAddrs),
      () =>
        this.one([build.tcpSport, build.tcpDport, build.udpSport, build.udpDport]).eq(
          this.one(PORTS),
        ),
      () => build.isEchoRequest,
      () => not(depth > 0 ? this.predicate(depth - 1) : always),
    ];
    return this.one(kinds)();
  }

  pdu(): Pdu {
    return Object.assign(new Pdu(), {
      protocol: this.one(PROTOCOLS),
      src: this.one(ADDRESSES),
      dst: this.one(ADDRESSES),
      srcPort: this.one(PORTS),
      dstPort: this.one(PORTS),
      icmpType: this.one([0, 8]),
      state: this.one([0, 0, 0, 0].concat([0, 1, 2].map((i) => REFUSED_BY_TRACK + i))),
    });
  }
}

Deno.test("compile agrees with the walker on 2,000 random trees and 20 PDUs each", () => {
  const results = new Map<number, number>();
  let [longLists, nodes] = [0, 0];
  for (let seed = 1; seed <= 2000; seed++) {
    const maker = new Maker(seed);
    const [tree, addresses] = [maker.policy(), maker.addresses()];
    const walked = bindingsOf(addresses, newPositions(tree));
    const compiled = bindingsOf(addresses, newPositions(tree));
    const [walk, run] = [walker(tree, walked), compile(tree, compiled)];
    if (addresses.length > 8) longLists++;
    nodes += walked.positions.length;
    for (let i = 0; i < 20; i++) {
      const pdu = maker.pdu();
      const copy = Object.assign(new Pdu(), pdu);
      const expected = walk(pdu);
      assert.equal(run(copy), expected, `seed ${seed}, PDU ${i}: ${JSON.stringify(tree)}`);
      assert.deepEqual(copy, pdu, `steps with seed ${seed}, PDU ${i}`);
      results.set(expected, (results.get(expected) ?? 0) + 1);
    }
    assert.deepEqual(compiled.positions, walked.positions, `positions with seed ${seed}`);
  }
  // Every decision and every step's refusal has been met, and both forms of a list.
  assert.deepEqual([...results.keys()].sort((a, b) => a - b), [-9, -8, -7, 0, 1, 2]);
  assert.ok(Math.min(...results.values()) > 50, JSON.stringify([...results]));
  assert.ok(longLists > 100 && nodes > 10_000, `${longLists} long lists, ${nodes} nodes`);
});

Deno.test("compile knows lists of every length around the one that is written out", () => {
  const tree = policy("drop", filter(build.src.oneOf(dstAddrs), forward));
  for (let length = 0; length <= 40; length++) {
    const addresses = Array.from({ length }, (_, i) => Math.imul(i - 3, 0x1234_5677));
    const evaluate = compile(tree, bindingsOf(addresses, newPositions(tree)));
    for (let i = 0; i < 50; i++) {
      const src = Math.imul(i - 5, 0x1234_5677);
      const found = evaluate(Object.assign(new Pdu(), { src })) === 1;
      assert.equal(found, addresses.includes(src), `${src} of ${length}`);
    }
  }
});

Deno.test("compile takes not of a list of several addresses, and of none", () => {
  const tree = policy("drop", filter(not(build.src.oneOf(dstAddrs)), forward));
  for (const addresses of [[], [1], [1, 2], ADDRESSES]) {
    const evaluate = compile(tree, bindingsOf(addresses, newPositions(tree)));
    for (const src of [1, 2, 3]) {
      const found = evaluate(Object.assign(new Pdu(), { src })) === 1;
      assert.equal(found, !addresses.includes(src), `${src} of [${addresses}]`);
    }
  }
});

Deno.test("newPositions has a 0 for every node", () => {
  const tree = policy(
    "drop",
    firstMatch([[always, build.roundRobin([drop, echo])], [always, drop]]),
  );
  assert.deepEqual(newPositions(tree), new Int32Array([...nodesOf(tree.next)].length));
  assert.equal(newPositions(tree).length, 5);
});

/** What would run if it reached the function's text. */
const HOSTILE = ["1;globalThis.hostile=1", "0)||(globalThis.hostile=1", "*/globalThis.hostile=1/*"];

Deno.test("compile refuses numbers that are no integers, and text in their place", () => {
  for (const value of [NaN, Infinity, -Infinity, 1.5, undefined, null, {}, ...HOSTILE]) {
    const number = value as number;
    const predicates: Predicate[] = [
      { test: "protocol", number },
      { test: "port", protocol: number, field: "dstPort", equals: 1 },
      { test: "port", protocol: 6, field: "srcPort", equals: number },
      { test: "icmp-type", equals: number },
      not({ test: "icmp-type", equals: number }),
    ];
    for (const predicate of predicates) {
      const tree = policy("drop", filter(predicate, drop));
      assert.throws(() => compile(tree, bindingsOf([], newPositions(tree))), {
        name: "TypeError",
        message: `Cannot compile "${value}": expected an integer`,
      });
    }
    const listed = policy("drop", filter(build.src.oneOf(dstAddrs), drop));
    assert.throws(() => compile(listed, bindingsOf([1, number], newPositions(listed))), TypeError);
  }
  assert.equal("hostile" in globalThis, false);
});

Deno.test("compile lets no text of a policy become code", () => {
  for (const text of HOSTILE) {
    const policies = [
      { default: text, next: drop },
      { default: "drop", next: { node: "decide", decision: text } },
      { default: "drop", next: { node: text, then: drop } },
      { default: "drop", next: filter({ test: text } as unknown as Predicate, drop) },
      {
        default: "drop",
        next: filter({ test: "address", field: text, list: "$dst-addrs" } as never, drop),
      },
      {
        default: "drop",
        next: filter({ test: "address", field: "src", list: text } as never, drop),
      },
      {
        default: "drop",
        next: filter({ test: "port", protocol: 6, field: text, equals: 1 } as never, drop),
      },
    ] as unknown as Policy[];
    for (const hostile of policies) {
      try {
        compile(hostile, bindingsOf([1], new Int32Array(9)))(new Pdu());
      } catch (error) {
        assert.ok(error instanceof TypeError, `${error}`);
      }
      assert.equal("hostile" in globalThis, false, JSON.stringify(hostile));
    }
  }
});
