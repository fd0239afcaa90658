import assert from "node:assert/strict";
import { below, SeededRandom } from "../../../src/core/random.ts";
import {
  DROP,
  FORWARD,
  type Policy,
  type Predicate,
  type Tree,
} from "../../../src/policy/language/ast.ts";
import * as build from "../../../src/policy/language/build.ts";
import { compile } from "../../../src/policy/engine/compile.ts";
import { demo } from "../../../src/policy/language/built_in.ts";
import type { Packet } from "../../../src/policy/language/packet.ts";
import type { Evaluate } from "../../../src/policy/engine/environment.ts";
import { makePlan } from "../../../src/policy/engine/plan.ts";
import { MAX_DEPTH } from "../../../src/policy/language/limits.ts";
import { walker } from "../../../src/policy/engine/walk.ts";
import { formatAddress } from "../../../src/wire/address.ts";
import { OVER_IPV6, type Pdu } from "../../../src/wire/pdu.ts";
import { randomPolicy } from "../../support/random_policy.ts";
import { environmentOf, pduOf } from "./environment.ts";
import { randomTable } from "./random_table.ts";

const { otherwise, dstAddrs, drop, filter, firstMatch, forward, not, policy } = build;

/** Runs the policy in both ways, each with a plan of its own, and compares all that they do. */
class Pair {
  readonly #walked: ReturnType<typeof run>;
  readonly #compiled: ReturnType<typeof run>;

  constructor(policy: Policy, dstAddrs: readonly number[] = []) {
    this.#walked = run(policy, dstAddrs, walker);
    this.#compiled = run(policy, dstAddrs, (plan) => compile(plan));
  }

  /** The result and the node where the PDU ended. */
  send(fields: Partial<Pdu>): readonly [number, number] {
    const [expected, found] = [this.#walked, this.#compiled].map(({ evaluate, environment }) => {
      const pdu = pduOf(fields);
      const result = evaluate(pdu);
      const { exit, steps, newTtl } = pdu;
      return { result, exit, steps, newTtl, asked: environment.asked.splice(0) };
    });
    assert.deepEqual(found, expected, JSON.stringify(fields));
    return [found!.result, found!.exit];
  }

  /** Compares the counters, too. */
  end(): void {
    assert.deepEqual(this.#compiled.plan.exits, this.#walked.plan.exits);
  }
}

function run(policy: Policy, dstAddrs: readonly number[], make: typeof walker) {
  const environment = environmentOf({ dstAddrs });
  const plan = makePlan(policy, environment);
  return { environment, plan, evaluate: make(plan) };
}

// Lists

Deno.test("compile knows lists of every length around the one that is written out", () => {
  const tree = policy("drop", filter(build.ipSrc.oneOf(dstAddrs), forward));
  for (let length = 0; length <= 40; length++) {
    const addresses = Array.from({ length }, (_, i) => Math.imul(i - 3, 0x1234_5677));
    const evaluate = compile(makePlan(tree, environmentOf({ dstAddrs: addresses })));
    for (let i = 0; i < 50; i++) {
      const src = Math.imul(i - 5, 0x1234_5677);
      const found = evaluate(pduOf({ src })) === FORWARD;
      assert.equal(found, addresses.includes(src), `${src} of ${length}`);
    }
  }
});

Deno.test("compile takes not of a list of several addresses, and of none", () => {
  const tree = policy("drop", filter(not(build.ipSrc.oneOf(dstAddrs)), forward));
  for (const dstAddrs of [[], [1], [1, 2], [1, 2, 3, 4, 5, 6, -7]]) {
    const evaluate = compile(makePlan(tree, environmentOf({ dstAddrs })));
    for (const src of [1, 2, 3]) {
      const found = evaluate(pduOf({ src })) === FORWARD;
      assert.equal(found, !dstAddrs.includes(src), `${src} of [${dstAddrs}]`);
    }
  }
});

Deno.test("compile knows networks of every length, at both ends of the addresses", () => {
  for (let length = 0; length <= 32; length++) {
    for (const address of [0, 0x7fff_ffff, -0x8000_0000, 0x0a01_0203, -1]) {
      const network = length === 0 ? 0 : address & -(2 ** (32 - length));
      const term = `${formatAddress(network)}/${length}`;
      const few = new Pair(policy("drop", filter(build.ipDst.in(term), forward)));
      const terms = [term, "10.0.0.1", "10.0.0.3", "10.0.0.5", "10.0.0.7"];
      const many = new Pair(policy("drop", filter(build.ipDst.oneOf(terms), forward)));
      const last = network + 2 ** (32 - length) - 1;
      for (const dst of [network, last, network - 1, last + 1, 0, -1, 0x0a00_0003]) {
        few.send({ dst: dst | 0 });
        many.send({ dst: dst | 0 });
      }
    }
  }
});

Deno.test("compile knows sets of ports, lengths and TTLs, few and many", () => {
  for (const count of [1, 2, 4, 5, 30]) {
    const values = Array.from(
      { length: count },
      (_, i): [number, number] => [i * 8, i * 8 + i % 3],
    );
    const tree = firstMatch([
      [build.tcpDport.oneOf(values), drop],
      [build.udpSport.oneOf(values), drop],
      [build.ipLength.oneOf(values), drop],
      [build.ipTtl.oneOf(values), drop],
    ]);
    const pair = new Pair(policy("forward", tree));
    for (let value = 0; value < 256; value++) {
      const others = { dstPort: 7, srcPort: 7, totalLength: 7, ttl: 7 };
      pair.send({ ...others, protocol: 6, dstPort: value });
      pair.send({ ...others, protocol: 17, srcPort: value });
      pair.send({ ...others, protocol: 1, totalLength: value, dstPort: value });
      pair.send({ ...others, protocol: 1, ttl: value, srcPort: value });
    }
    pair.end();
  }
});

// Size

/** An arm for each address of 10.0.0.0/16, or for a port where `every` divides its number. */
function tableOf(
  count: number,
  every: number,
  then: (number: number) => Tree,
): Policy {
  const arms = Array.from({ length: count }, (_, i): readonly [Predicate, Tree] => {
    const isPort = i % every === every - 1;
    const address = `10.0.${i >> 8}.${i & 255}`;
    return [isPort ? build.tcpDport.eq(i) : build.ipSrc.eq(address), then(i)];
  });
  return policy("reject", firstMatch(arms));
}

const TABLES: readonly [string, (number: number) => Tree][] = [
  ["one decision behind them", () => drop],
  ["two", (i) => i % 2 === 0 ? drop : build.track(build.echo)],
  ["sixteen different trees", (i) => build.setTtl(1 + i % 16, forward)],
  ["200 different trees", (i) => build.setTtl(1 + i % 200, build.translateAToB(forward))],
  ["a different tree each", (i) => filter(build.ipLength.range(0, i), drop)],
  ["balancers", () => build.inTurn([drop, forward, build.echo])],
  ["large trees", () => firstMatch(largeArms(30))],
];

function largeArms(count: number): (readonly [Predicate, Tree])[] {
  return Array.from({ length: count }, (_, i) => [build.ipTtl.eq(i), i % 3 === 0 ? drop : forward]);
}

for (const [what, then] of TABLES) {
  Deno.test(`compile finds the right arm of thousands, ${what}`, () => {
    for (const [count, every] of [[10, 3], [300, 3], [4000, 4]] as const) {
      if (count > 1000 && what === "large trees") continue;
      const pair = new Pair(tableOf(count, every, then));
      const random = new SeededRandom(count);
      for (let i = 0; i < 50; i++) {
        const number = [0, 1, count - 1, count, below(random, count)][i % 5]!;
        const fields = { src: 0x0a00_0000 + number, protocol: 6, dstPort: below(random, count) };
        pair.send({ ...fields, ttl: below(random, 256) });
        pair.send({ protocol: 6, src: 5, dstPort: number, ttl: below(random, 40) });
        pair.send({ protocol: 17, src: 5, dstPort: number });
      }
      pair.end();
    }
  });
}

Deno.test("compile looks no more often at a PDU for 10,000 arms than for 10, whatever is behind", () => {
  const looks = (count: number, then: (number: number) => Tree): number => {
    const evaluate = compile(makePlan(tableOf(count, 4, then), environmentOf()));
    const fields = { src: 0x0a00_0000 + count - 2, protocol: 6, dstPort: 65_535 };
    let reads = 0;
    const get = (pdu: Pdu, name: keyof Pdu) => {
      reads++;
      return pdu[name];
    };
    evaluate(new Proxy(pduOf(fields), { get } as ProxyHandler<Pdu>));
    return reads;
  };
  for (const [what, then] of TABLES.slice(0, 5)) {
    const [few, many] = [looks(10, then), looks(10_000, then)];
    // Without an index it is thousands of times.
    assert.ok(few > 0 && many < few + 10, `${what}: ${many}, of 10 arms ${few}`);
  }
});

Deno.test("compile keeps first-match order between runs of addresses and arms of other kinds", () => {
  const addresses = Array.from({ length: 12 }, (_, i) => build.ipSrc.eq(`10.0.0.${i}`));
  const of = (number: number): Tree => build.decide("drop", `${number}`);
  const predicates = [
    ...addresses.slice(0, 9),
    build.ipTtl.eq(1),
    ...addresses.slice(3, 12),
    build.ipTtl.eq(2),
    build.ipSrc.in("10.0.0.0/8"),
    otherwise,
  ];
  const tree = firstMatch(predicates.map((when, number) => [when, of(number)]));
  const pair = new Pair(policy("forward", tree));
  const cases: [number, number, number][] = [
    // source, TTL, arm
    [0x0a00_0004, 9, 4],
    [0x0a00_0004, 1, 4],
    [0x0a00_000b, 9, 18],
    [0x0a00_000b, 1, 9],
    [0x0a00_000c, 2, 19],
    [0x0a00_000c, 9, 20],
    [0x0b00_0000, 9, 21],
  ];
  for (const [src, ttl, arm] of cases) assert.deepEqual(pair.send({ src, ttl }), [DROP, arm + 1]);
});

Deno.test("compile cuts long plain lists, at every length around the cuts", () => {
  for (const count of [1, 31, 32, 33, 63, 64, 65, 1023, 1024, 1025, 1100]) {
    const arms = Array.from({ length: count }, (_, i) =>
      [
        build.and(build.ipLength.eq(i), build.isNew),
        i % 2 === 0 ? drop : build.setTtl(1 + i % 255, forward),
      ] as const);
    const pair = new Pair(policy("reject", firstMatch(arms)));
    for (const totalLength of [0, 1, 30, 31, 32, 33, 63, 64, 65, 1023, 1024, count - 1, count]) {
      pair.send({ totalLength });
      pair.send({ totalLength, state: 1 });
    }
    pair.end();
  }
});

Deno.test("compile goes as deep as a plan does, through every kind of node", () => {
  const kinds: ((tree: Tree, depth: number) => Tree)[] = [
    (tree) => build.track(tree),
    (tree, depth) => filter(not(build.ipTtl.eq(depth & 255)), tree),
    (tree, depth) => firstMatch([[build.ipLength.eq(depth), drop], [otherwise, tree]]),
    (tree) => build.inTurn([tree]),
    (tree) => build.limit({ perSecond: 1000, burst: 1000 }, tree),
    (tree) => build.customSelector("first", () => 0, [tree]),
    (tree) => build.setTtl(7, tree),
    (tree) => build.translateAToB(tree, "in turn"),
    (tree) => build.translateBToA(tree),
  ];
  let tree: Tree = forward;
  for (let depth = 1; depth <= MAX_DEPTH; depth++) tree = kinds[depth % kinds.length]!(tree, depth);
  const pair = new Pair(policy("reject", tree));
  pair.send({ ttl: 255, totalLength: 60_000 });
  for (let depth = 1; depth <= MAX_DEPTH; depth += 7) {
    pair.send({ ttl: depth & 255, totalLength: 60_000 });
    pair.send({ ttl: 0, totalLength: depth });
  }
  pair.end();
});

Deno.test("compile takes balancers and users' selectors of hundreds of branches", () => {
  const branches = Array.from({ length: 300 }, (_, i) => build.setTtl(1 + i % 255, forward));
  const pair = new Pair(policy(
    "drop",
    firstMatch([
      [build.isTcp, build.inTurn(branches)],
      [otherwise, build.customSelector("by-length", (packet) => packet.length - 5, branches)],
    ]),
  ));
  for (let i = 0; i < 400; i++) {
    pair.send({ protocol: 6 });
    pair.send({ totalLength: i });
  }
  pair.end();
});

Deno.test("compile makes one function of equal subtrees, and counts them apart", () => {
  const large = firstMatch(largeArms(40));
  const texts = (count: number): string[] => {
    const arms = Array.from({ length: count }, (_, i) => [build.protocol(i), large] as const);
    return captured(() => new Pair(policy("drop", firstMatch(arms)))).texts;
  };
  const functions = (count: number) => texts(count).join("").match(/function f/g)!.length;
  assert.equal(functions(20), functions(2));
  const pair = new Pair(policy("drop", build.inTurn([large, large, large])));
  const exits = Array.from({ length: 6 }, () => pair.send({ ttl: 4 })[1]);
  assert.deepEqual(exits, [6, 47, 88, 6, 47, 88]);
});

// What the text of the functions is made of

const FunctionOfAll = globalThis.Function;

/** The texts from which functions are made while `action` runs, and what it returns. */
function captured<Result>(action: () => Result): { texts: string[]; result: Result } {
  const texts: string[] = [];
  const spy = new Proxy(FunctionOfAll, {
    construct: (target, args: string[], newTarget) => {
      texts.push(...args);
      return Reflect.construct(target, args, newTarget);
    },
    apply: (target, self, args: string[]) => {
      texts.push(...args);
      return Reflect.apply(target, self, args);
    },
  });
  globalThis.Function = spy;
  try {
    return { texts, result: action() };
  } finally {
    globalThis.Function = FunctionOfAll;
  }
}

/** All words that the compiler may write, and its own names and numbers. */
const WORDS = [
  ..."steps exits choosers numbers targets leaving customs functions function evaluate return const let if switch case"
    .split(
      " ",
    ),
  ..."true false find find6 has has6 choose track translateAToB translateBToA setTtl exit".split(
    " ",
  ),
  ..."src dst protocol ttl totalLength fragment srcPort dstPort tcpFlags icmpType icmpCode".split(
    " ",
  ),
  ..."addresses state side flow p b r".split(" "),
];
const TEXT = new RegExp(
  `^(?:"use strict"|\\b(?:${WORDS.join("|")}|[fc]\\d+|\\d+)\\b|[\\s{}()\\[\\];:,.!=&|<>+~-])*$`,
);

/** Compiles the policy, checks the text, and runs it. */
function compiled(policy: Policy): Evaluate {
  const plan = makePlan(policy, environmentOf({ isIpv6On: true }));
  const { texts, result } = captured(() => [compile(plan), compile(plan, 6)] as const);
  assert.ok(texts.length > 0);
  for (const text of texts) assert.match(text, TEXT);
  return result[0];
}

Deno.test("compile writes fixed words and integers only, for any policy", () => {
  compiled(demo);
  for (let seed = 1; seed <= 150; seed++) {
    const random = new SeededRandom(seed);
    compiled(randomPolicy(random, { maxNodes: 300 }))(pduOf());
    compiled(randomTable(random, 300))(pduOf());
  }
  for (const [, then] of TABLES) compiled(tableOf(1000, 4, then))(pduOf());
});

/** What would run, or break the text, if it reached it. */
const HOSTILE = [
  '"];process.exit(1)//',
  "1;globalThis.hostile=1",
  "0)||(globalThis.hostile=1",
  "*/globalThis.hostile=1/*",
  "`${globalThis.hostile=1}`",
  "\u2028globalThis.hostile=1\n",
  "__proto__",
  "constructor",
];

Deno.test("compile lets no label, name or user's function reach the text", () => {
  for (const text of HOSTILE) {
    const names = { [text]: [{ network: 0x0a00_0000, prefixLength: 8 }] };
    const inList: Predicate = { test: "address", field: "src", in: [{ list: text }] };
    const holds = Object.assign(() => true, { toString: () => text });
    const index = Object.assign(() => 0, { toString: () => text });
    const tree: Tree = firstMatch([
      [build.ipTtl.eq(1), build.decide("reject", text)],
      [{ test: "custom", name: text, holds }, {
        node: "select",
        name: text,
        index,
        branches: [firstMatch([[inList, { node: "use", name: text }], [otherwise, drop]])],
      }],
    ]);
    const hostile: Policy = {
      default: "forward",
      pools: {},
      lists: Object.fromEntries(Object.entries(names)),
      subtrees: Object.fromEntries([[text, build.decide("reject", text)]]),
      next: tree,
    };
    const evaluate = compiled(hostile);
    const walk = walker(makePlan(hostile, environmentOf()));
    for (const fields of [{}, { ttl: 1 }, { src: 0x0a01_0203 }]) {
      assert.equal(evaluate(pduOf(fields)), walk(pduOf(fields)), text);
    }
    assert.equal("hostile" in globalThis, false, text);
  }
});

Deno.test("compile refuses numbers that are no integers, and text in their place", () => {
  for (const value of [NaN, Infinity, -Infinity, 1.5, undefined, null, {}, "1", ...HOSTILE]) {
    const number = value as number;
    const range = { first: number, last: 7 };
    const predicates: Predicate[] = [
      { test: "protocol", number },
      { test: "port", protocol: number, field: "dstPort", in: [{ first: 1, last: 1 }] },
      { test: "port", protocol: 6, field: "srcPort", in: [range] },
      { test: "port", protocol: 6, field: "srcPort", in: [{ first: 1, last: number }] },
      { test: "number", field: "ttl", in: [range] },
      { test: "tcp-flags", set: number, clear: 1 },
      { test: "icmp", type: number, code: null },
      { test: "icmp", type: 1, code: number === null ? NaN : number },
      not({ test: "icmp", type: number, code: null }),
    ];
    for (const predicate of predicates) {
      const isFlags = predicate.test === "tcp-flags" ||
        (predicate.test === "icmp" && number === null);
      assertRefused(policy("drop", filter(predicate, drop)), isFlags ? null : value);
    }
    assertRefused(
      policy("drop", { node: "set-ttl", ttl: number, raise: false, then: drop }),
      value,
    );
  }
});

/** `what` null: the text may name another value. */
function assertRefused(policy: Policy, what: unknown): void {
  const { texts } = captured(() => {
    assert.throws(() => compile(makePlan(policy, environmentOf())), (error) => {
      assert.ok(error instanceof TypeError);
      assert.match(error.message, /^Cannot compile ".*": expected an integer$/s);
      return what === null || error.message.includes(`"${String(what)}"`);
    }, String(what));
  });
  assert.deepEqual(texts, []);
  assert.equal("hostile" in globalThis, false);
}

Deno.test("compile lets no word of a policy that is not its own become code", () => {
  for (const text of HOSTILE) {
    const port = { test: "port", protocol: 6, in: [{ first: 1, last: 1 }] };
    const nodes = [
      { node: text, then: drop },
      { node: "decide", decision: text, label: null },
      { node: "translate-a-to-b", pool: "dst-addrs", port: text, backend: text, then: drop },
      filter({ test: text } as unknown as Predicate, drop),
      filter({ test: "address", field: text, in: [] } as unknown as Predicate, drop),
      filter({ ...port, field: text } as unknown as Predicate, drop),
      filter({ test: "number", field: text, in: port.in } as unknown as Predicate, drop),
      filter({ test: "state", state: text } as unknown as Predicate, drop),
      filter({ test: "side", side: text } as unknown as Predicate, drop),
    ] as unknown as Tree[];
    const policies = nodes.map((next) => policy("drop", next));
    for (
      const hostile of [...policies, { ...policy("drop", filter(otherwise, drop)), default: text }]
    ) {
      const { texts } = captured(() => {
        try {
          const plan = makePlan(hostile as Policy, environmentOf({ isIpv6On: true }));
          compile(plan)(pduOf());
          compile(plan, 6)(pduOf({ protocol: OVER_IPV6 | 6 }));
        } catch (error) {
          assert.ok(error instanceof TypeError, `${error}`);
        }
      });
      for (const one of texts) assert.ok(!one.includes(text), one);
      assert.equal("hostile" in globalThis, false, JSON.stringify(hostile));
    }
  }
});

Deno.test("compile calls a user's predicate with one view of each packet, and takes true for true only", () => {
  const views = new Set<Packet>();
  const sources: number[] = [];
  const answers: unknown[] = [true, false, 1, "true", null, undefined];
  const predicate = build.customPredicate("mine", (packet) => {
    views.add(packet);
    sources.push(Number(packet.src));
    return answers[Number(packet.src)] as boolean;
  });
  const evaluate = compile(makePlan(policy("drop", filter(predicate, forward)), environmentOf()));
  const pdus = answers.map((_, src) => pduOf({ src }));
  assert.deepEqual(pdus.map(evaluate), [FORWARD, DROP, DROP, DROP, DROP, DROP]);
  assert.deepEqual(sources, pdus.map(({ src }) => src));
  assert.equal(views.size, 1);
});

Deno.test("compile gives each plan a function of its own", () => {
  const tree = policy("drop", build.inTurn([drop, forward]));
  const [one, other] = [0, 1].map(() => compile(makePlan(tree, environmentOf())));
  assert.deepEqual([one!(pduOf()), one!(pduOf()), other!(pduOf())], [DROP, FORWARD, DROP]);
});
