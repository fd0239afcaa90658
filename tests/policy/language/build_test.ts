import assert from "node:assert/strict";
import type { Interval } from "../../../src/policy/language/ast.ts";
import * as build from "../../../src/policy/language/build.ts";
import { demo } from "../../../src/policy/language/built_in.ts";
import { parseAddress } from "../../../src/wire/address.ts";

const {
  otherwise,
  translateAToB,
  translateBToA,
  drop,
  dstAddrs,
  echo,
  filter,
  firstMatch,
  forward,
} = build;
const { isEchoRequest, isIcmp, isTcp, isUdp, not, policy, reject, inTurn, track } = build;

Deno.test("firstMatch with one arm is a filter", () => {
  assert.deepEqual(firstMatch([[isTcp, drop]]), filter(isTcp, drop));
  assert.deepEqual(filter(isTcp, drop), { node: "filter", when: isTcp, then: drop });
});

Deno.test("build functions make the nodes that they are named after", () => {
  const weighted = [{ weight: 1, then: drop }, { weight: 3, then: echo }];
  const index = () => 0;
  const cases: [string, unknown, unknown][] = [
    ["policy", policy("forward", drop), {
      default: "forward",
      pools: {},
      lists: {},
      subtrees: {},
      next: drop,
    }],
    [
      "policy with definitions",
      policy("drop", build.use("web"), {
        lists: { web: ["10.0.0.1", "10.1.0.0/16"], all: ["$web", dstAddrs], one: "10.0.0.2" },
        subtrees: { web: echo },
      }),
      {
        default: "drop",
        pools: {},
        lists: {
          web: [
            { network: parseAddress("10.0.0.1"), prefixLength: 32 },
            { network: parseAddress("10.1.0.0"), prefixLength: 16 },
          ],
          all: [{ list: "web" }, { list: "dst-addrs" }],
          one: [{ network: parseAddress("10.0.0.2"), prefixLength: 32 }],
        },
        subtrees: { web: echo },
        next: { node: "use", name: "web" },
      },
    ],
    ["firstMatch", firstMatch([[isTcp, echo], [otherwise, drop]]), {
      node: "first-match",
      arms: [{ when: isTcp, then: echo }, { when: otherwise, then: drop }],
    }],
    ["inTurn", inTurn([drop, [3, echo]]), {
      node: "balance",
      by: "in turn",
      per: "pdu",
      branches: weighted,
    }],
    ["atRandom", build.atRandom([drop, [3, echo]], { per: "connection" }), {
      node: "balance",
      by: "at random",
      per: "connection",
      branches: weighted,
    }],
    ["byHash", build.byHash([drop, [3, echo]]), {
      node: "balance",
      by: "by hash",
      per: "pdu",
      branches: weighted,
    }],
    ["limit", build.limit({ perSecond: 5, burst: 7 }, echo), {
      node: "limit",
      perSecond: 5,
      burst: 7,
      per: "rule",
      then: echo,
    }],
    ["limit per source", build.limit({ perSecond: 1, burst: 1, per: "source" }, echo), {
      node: "limit",
      perSecond: 1,
      burst: 1,
      per: "source",
      then: echo,
    }],
    ["customSelector", build.customSelector("mine", index, [drop, echo]), {
      node: "select",
      name: "mine",
      index,
      branches: [drop, echo],
    }],
    ["track", track(echo), { node: "track", then: echo }],
    ["translateAToB", translateAToB(forward), {
      node: "translate-a-to-b",
      pool: "dst-addrs",
      port: 0,
      backend: "at random",
      then: forward,
    }],
    ["translateAToB by hash", translateAToB(forward, "by hash"), {
      node: "translate-a-to-b",
      pool: "dst-addrs",
      port: 0,
      backend: "by hash",
      then: forward,
    }],
    [
      "translateAToB to a pool",
      translateAToB(forward, { to: "$web", port: 8443, by: "by least connections" }),
      {
        node: "translate-a-to-b",
        pool: "web",
        port: 8443,
        backend: "by least connections",
        then: forward,
      },
    ],
    [
      "policy with a pool",
      policy("drop", drop, {
        pools: {
          web: ["10.0.0.1", {
            address: "10.0.0.1",
            port: 81,
            weight: 0,
            backup: true,
            maxconn: 9,
            state: "drain",
          }],
        },
      }).pools,
      {
        web: {
          members: [
            {
              address: parseAddress("10.0.0.1"),
              port: 0,
              weight: 1,
              isBackup: false,
              maxconn: 0,
              state: null,
            },
            {
              address: parseAddress("10.0.0.1"),
              port: 81,
              weight: 0,
              isBackup: true,
              maxconn: 9,
              state: "drain",
            },
          ],
        },
      },
    ],
    ["translateBToA", translateBToA(forward), { node: "translate-b-to-a", then: forward }],
    ["setTtl", build.setTtl(64, forward), {
      node: "set-ttl",
      ttl: 64,
      raise: false,
      then: forward,
    }],
    ["setTtl with raise", build.setTtl(64, forward, { raise: true }), {
      node: "set-ttl",
      ttl: 64,
      raise: true,
      then: forward,
    }],
    ["use", build.use("x-1"), { node: "use", name: "x-1" }],
    ["drop", drop, { node: "decide", decision: "drop", label: null }],
    ["forward", forward, { node: "decide", decision: "forward", label: null }],
    ["echo", echo, { node: "decide", decision: "echo-reply", label: null }],
    ["reject", reject, { node: "decide", decision: "reject", label: null }],
    ["decide", build.decide("reject", "no"), { node: "decide", decision: "reject", label: "no" }],
  ];
  for (const [name, built, expected] of cases) assert.deepEqual(built, expected, name);
});

Deno.test("build functions make the predicates that they are named after", () => {
  const holds = () => true;
  const [a, b] = ["10.0.0.1", "10.0.0.0"].map(parseAddress) as [number, number];
  const list = [{ list: "dst-addrs" }];
  const cases: [string, unknown, unknown][] = [
    ["otherwise", otherwise, { test: "always" }],
    ["not", not(isTcp), { test: "not", of: { test: "protocol", number: 6 } }],
    ["and", build.and(isTcp, otherwise), { test: "all", of: [isTcp, otherwise] }],
    ["or", build.or(isTcp, otherwise), { test: "any", of: [isTcp, otherwise] }],
    ["and of one", build.and(isTcp), isTcp],
    ["or of one", build.or(isTcp), isTcp],
    ["isIcmp", isIcmp, { test: "protocol", number: 1 }],
    ["isTcp", isTcp, { test: "protocol", number: 6 }],
    ["isUdp", isUdp, { test: "protocol", number: 17 }],
    ["protocol", build.protocol(47), { test: "protocol", number: 47 }],
    ["isEchoRequest", isEchoRequest, { test: "icmp", type: 8, code: null }],
    ["icmpType", build.icmpType(3, 1), { test: "icmp", type: 3, code: 1 }],
    ["tcpFlags", build.tcpFlags(2, 16), { test: "tcp-flags", set: 2, clear: 16 }],
    ["isFragment", build.isFragment, { test: "fragment" }],
    ["isNew", build.isNew, { test: "state", state: "new" }],
    ["isEstablished", build.isEstablished, { test: "state", state: "established" }],
    ["isInvalid", build.isInvalid, { test: "state", state: "invalid" }],
    ["isStray", build.isStray, { test: "state", state: "stray" }],
    ["fromSide", build.fromSide("b"), { test: "side", side: "b" }],
    ["customPredicate", build.customPredicate("mine", holds), {
      test: "custom",
      name: "mine",
      holds,
    }],
    ["ipSrc.oneOf", build.ipSrc.oneOf(dstAddrs), { test: "address", field: "src", in: list }],
    ["ipDst.oneOf", build.ipDst.oneOf(["$dst-addrs", "10.0.0.1", "10.0.0.0/8"]), {
      test: "address",
      field: "dst",
      in: [...list, { network: a, prefixLength: 32 }, { network: b, prefixLength: 8 }],
    }],
    ["ipSrc.eq", build.ipSrc.eq("10.0.0.1"), {
      test: "address",
      field: "src",
      in: [{ network: a, prefixLength: 32 }],
    }],
    ["ipDst.in", build.ipDst.in("10.0.0.0/31"), {
      test: "address",
      field: "dst",
      in: [{ network: b, prefixLength: 31 }],
    }],
    ["tcpSport", build.tcpSport.eq(0), port(6, "srcPort", [0, 0])],
    ["tcpDport", build.tcpDport.range(80, 90), port(6, "dstPort", [80, 90])],
    [
      "udpSport",
      build.udpSport.oneOf([53, [7, 9]]),
      port(17, "srcPort", [53, 53], [7, 9]),
    ],
    ["udpDport", build.udpDport.eq(65_535), port(17, "dstPort", [65_535, 65_535])],
    ["ipLength", build.ipLength.range(20, 40), number("totalLength", [20, 40])],
    ["ipTtl", build.ipTtl.oneOf([1, [64, 255]]), number("ttl", [1, 1], [64, 255])],
  ];
  for (const [name, built, expected] of cases) assert.deepEqual(built, expected, name);
});

Deno.test("build functions freeze all that they make", () => {
  const when = build.and(
    not(build.tcpDport.oneOf([80, [90, 95]])),
    build.or(build.ipSrc.oneOf(["10.0.0.1", "$x"]), build.icmpType(8), build.tcpFlags(2, 0)),
    build.customPredicate("mine", () => true),
  );
  const tree = firstMatch([
    [when, inTurn([track(echo), [2, drop]])],
    [isUdp, build.customSelector("mine", () => 0, [build.use("web")])],
    [
      otherwise,
      build.limit(
        { perSecond: 1, burst: 1 },
        build.setTtl(9, translateAToB(translateBToA(forward))),
      ),
    ],
  ]);
  const definitions = {
    lists: { x: ["10.0.0.0/8"] },
    subtrees: { web: build.decide("drop", "w") },
  };
  assertFrozen(policy("drop", tree, definitions));
  assertFrozen(demo);
});

Deno.test("build functions keep no tie to the arrays and objects they are given", () => {
  const branches = [drop, echo];
  const arms: [typeof isTcp, typeof drop][] = [[isTcp, drop], [isUdp, drop]];
  const predicates = [isTcp, isUdp];
  const terms = ["10.0.0.1", "10.0.0.2"];
  const ports: (number | [number, number])[] = [1, [2, 3]];
  const lists = { web: terms };
  const subtrees = { sub: drop };
  const make = () => [
    inTurn(branches),
    build.customSelector("mine", always0, branches),
    firstMatch(arms),
    build.and(...predicates),
    build.ipSrc.oneOf(terms),
    build.tcpDport.oneOf(ports),
    policy("drop", drop, { lists, subtrees }),
  ];
  const made = make();
  const before = made.map((one) => JSON.stringify(one));
  for (const array of [branches, arms, predicates, terms, ports]) array.pop();
  Object.assign(lists, { more: ["10.0.0.1"] });
  Object.assign(subtrees, { more: drop });
  assert.deepEqual(made.map((one) => JSON.stringify(one)), before);
});

function always0(): number {
  return 0;
}

Deno.test("build functions refuse what cannot be built", () => {
  const cases: [() => unknown, RegExp][] = [
    [() => firstMatch([]), /^Cannot build firstMatch: expected at least one arm$/],
    [() => inTurn([]), /^Cannot build a balancer in turn: expected at least one branch$/],
    [() => build.atRandom([]), /^Cannot build a balancer at random: expected at least one branch$/],
    [() => build.byHash([]), /^Cannot build a balancer by hash: expected at least one branch$/],
    [
      () => build.customSelector("x", always0, []),
      /^Cannot build customSelector: expected at least one branch$/,
    ],
    [() => build.and(), /^Cannot build and: expected a predicate$/],
    [() => build.or(), /^Cannot build or: expected a predicate$/],
    [() => build.ipSrc.oneOf([]), /^Cannot build a list of addresses: expected one or more$/],
    [() => build.tcpDport.oneOf([]), /^Cannot build a list of ports: expected some$/],
    [() => build.tcpDport.range(9, 8), /^Cannot use 9-8 as port range: expected first ≤ last$/],
    [
      () => build.ipSrc.in("10.0.0.1/8"),
      /^Cannot use "10.0.0.1\/8" as network: host bits must be zero; did you mean "10.0.0.0\/8"\?$/,
    ],
    [() => build.protocol(256), /^Cannot use "256" as protocol: expected 0 to 255$/],
    [() => build.icmpType(256), /^Cannot use "256" as ICMP type: expected 0 to 255$/],
    [() => build.icmpType(3, -1), /^Cannot use "-1" as ICMP code: expected 0 to 255$/],
    [() => build.tcpFlags(256, 0), /^Cannot use "256" as TCP flags: expected 0 to 255$/],
    [() => build.tcpFlags(3, 2), /^Cannot build tcpFlags: expected flags, each either set or/],
    [() => build.tcpFlags(0, 0), /^Cannot build tcpFlags: expected flags/],
    [() => build.ipLength.eq(65_536), /^Cannot use "65536" as length: expected 0 to 65535$/],
    [() => build.ipTtl.eq(256), /^Cannot use "256" as TTL: expected 0 to 255$/],
    [() => build.setTtl(0, drop), /^Cannot use "0" as TTL: expected 1 to 255$/],
    [() => build.setTtl(256, drop), /^Cannot use "256" as TTL: expected 1 to 255$/],
    [() => inTurn([[0, drop]]), /^Cannot use "0" as weight: expected 1 to 65535$/],
    [() => inTurn([[65_536, drop]]), /^Cannot use "65536" as weight/],
    [() => build.limit({ perSecond: 0, burst: 1 }, drop), /as tokens per second: expected 1 to/],
    [() => build.limit({ perSecond: 1, burst: 0.5 }, drop), /^Cannot use "0.5" as burst/],
  ];
  for (const [make, message] of cases) {
    assert.throws(make, (error) => error instanceof RangeError && message.test(error.message));
  }
});

Deno.test("eq refuses what is no port", () => {
  for (const bad of [-1, 65_536, 80.5, NaN, Infinity, "80;x" as unknown as number]) {
    for (const field of [build.tcpSport, build.tcpDport, build.udpSport, build.udpDport]) {
      assert.throws(() => field.eq(bad), {
        name: "RangeError",
        message: `Cannot use "${bad}" as port: expected 0 to 65535`,
      });
    }
  }
});

Deno.test("build functions refuse names that text could not write", () => {
  const bad = ["", "A", "1a", "-a", "a b", "a_b", "__proto__", "a".repeat(64), "ä", "a\n", "$a"];
  for (const name of bad) {
    const makes: (() => unknown)[] = [
      () => build.use(name),
      () => build.customPredicate(name, () => true),
      () => build.customSelector(name, always0, [drop]),
      () => build.ipSrc.oneOf(`$${name}`),
      () => policy("drop", drop, { lists: Object.fromEntries([[name, ["10.0.0.1"]]]) }),
      () => policy("drop", drop, { subtrees: Object.fromEntries([[name, drop]]) }),
    ];
    for (const make of makes) {
      assert.throws(make, {
        name: "SyntaxError",
        message: `Cannot use "${name}" as name: ` +
          'expected lower-case letters, digits and "-", a letter first',
      });
    }
  }
  for (const name of ["a", "constructor", "to-string", "x-1", "a".repeat(63)]) {
    assert.deepEqual(build.use(name), { node: "use", name });
  }
});

function port(protocol: number, field: string, ...ranges: [number, number][]): unknown {
  return { test: "port", protocol, field, in: ranges.map(rangeOf) };
}

function number(field: string, ...ranges: [number, number][]): unknown {
  return { test: "number", field, in: ranges.map(rangeOf) };
}

function rangeOf([first, last]: [number, number]): Interval {
  return { first, last };
}

function assertFrozen(value: unknown): void {
  if (typeof value !== "object" || value === null) return;
  assert.ok(Object.isFrozen(value), JSON.stringify(value));
  Object.values(value).forEach(assertFrozen);
}
