import assert from "node:assert/strict";
import demoText from "../../golden/policies/good/demo.policy" with { type: "text" };
import everythingText from "../../golden/policies/good/everything.policy" with { type: "text" };
import spacingText from "../../golden/policies/good/spacing.policy" with { type: "text" };
import { below, SeededRandom } from "../../../src/core/random.ts";
import type { Policy, Tree } from "../../../src/policy/language/ast.ts";
import * as build from "../../../src/policy/language/build.ts";
import { demo } from "../../../src/policy/language/built_in.ts";
import {
  formatError,
  MAX_POLICY_LENGTH,
  parse,
  type Parsed,
} from "../../../src/policy/notation/parse.ts";
import { print } from "../../../src/policy/printing/print.ts";
import { PREDICATES, randomPolicy, SELECTORS } from "../../support/random_policy.ts";
import { WRONG_POLICIES } from "../../support/wrong_policies.ts";

const CUSTOMS = { predicates: PREDICATES, selectors: SELECTORS };

function read(text: string): Parsed {
  return parse(text, { file: "test.policy", customs: CUSTOMS });
}

function policyOf(text: string): Policy {
  const parsed = read(text);
  assert.equal(parsed.errors.map(formatError).join("\n"), "");
  return parsed.policy!;
}

function messagesOf(text: string): string[] {
  return read(text).errors.map((error) => formatError(error).split("\n")[0]!);
}

// Right

Deno.test("parse gives the very AST of the built-in policy for the design's text", () => {
  assert.deepEqual(policyOf(demoText), demo);
  assert.deepEqual(policyOf(`\ufeff${demoText.replaceAll("\n", "\r\n")}`), demo);
});

const everything: Policy = (() => {
  const { drop, echo, forward, reject, track, use } = build;
  const ping = build.firstMatch([
    [
      build.isEchoRequest,
      build.limit(
        { perSecond: 100, burst: 20, per: "source" },
        build.decide("echo-reply", "pong #1"),
      ),
    ],
    [build.icmpType(3, 4), forward],
    [build.icmpType(3, 77), drop],
    [build.icmpType(44, 1), drop],
    [build.icmpType(44), reject],
  ]);
  const web = build.translateAToB(build.setTtl(63, build.decide("forward", "web")), "by hash");
  const bySide = build.firstMatch([
    [build.fromSide("a"), build.inTurn([drop])],
    [
      build.fromSide("b"),
      build.customSelector("by-length", SELECTORS["by-length"]!, [drop, use("ping")]),
    ],
    [
      build.customPredicate("even-source", PREDICATES["even-source"]!),
      build.customSelector("by-source", SELECTORS["by-source"]!, [
        drop,
        build.inTurn([drop, echo]),
      ]),
    ],
  ]);
  const opening = build.firstMatch([
    [
      build.ipLength.range(0, 1500),
      build.atRandom(
        [[3, drop], build.setTtl(1, forward, { raise: true }), use("web")],
        { per: "connection" },
      ),
    ],
    [build.ipTtl.eq(1), build.decide("drop", "")],
    [
      build.and(build.isStray, build.fromSide("a")),
      build.decide("reject", "nobody's"),
    ],
    [
      build.isInvalid,
      build.byHash([
        build.translateAToB(forward, "in turn"),
        [2, track(build.filter(build.isFragment, drop))],
        bySide,
      ]),
    ],
  ]);
  const fromClients = build.firstMatch([
    [build.isIcmp, use("ping")],
    [
      build.and(
        build.isTcp,
        build.or(build.tcpDport.oneOf([80, 443, [8000, 8080]]), build.tcpSport.eq(20)),
        build.not(build.ipDst.eq("10.0.0.9")),
      ),
      use("web"),
    ],
    [
      build.or(build.and(build.tcpFlags(0x02, 0x10), build.isNew), build.isEstablished),
      track(opening),
    ],
    [build.isUdp, build.limit({ perSecond: 1, burst: 1 }, drop)],
    [
      build.or(build.protocol(47), build.udpSport.range(1, 2), build.udpDport.eq(53)),
      build.decide("drop", 'tab\tquote" \u202e \ud800'),
    ],
  ]);
  return build.policy(
    "reject",
    build.firstMatch([
      [build.not(build.ipSrc.oneOf(build.dstAddrs)), fromClients],
      [build.otherwise, build.translateBToA(forward)],
    ]),
    {
      lists: {
        office: ["10.1.0.0/16", "192.0.2.7"],
        friends: ["$office", "$dst-addrs", "0.0.0.0/0"],
      },
      subtrees: { ping, web },
    },
  );
})();

Deno.test("parse reads every node, predicate and definition", () => {
  assert.deepEqual(policyOf(everythingText), everything);
  assert.deepEqual(policyOf(print(everything)), everything);
});

Deno.test("parse takes any spacing, CRLF, comments and a byte order mark", () => {
  const { drop, echo, forward, track } = build;
  assert.deepEqual(
    policyOf(spacingText),
    build.policy(
      "drop",
      build.firstMatch([
        [
          build.not(build.ipSrc.oneOf(build.dstAddrs)),
          build.firstMatch([
            [
              build.isIcmp,
              build.filter(build.isEchoRequest, build.inTurn([drop, track(echo)])),
            ],
            [build.isTcp, build.atRandom([[3, drop], forward], { per: "connection" })],
          ]),
        ],
        [build.otherwise, build.translateBToA(build.decide("forward", "a#b"))],
      ]),
    ),
  );
});

const sameAs: readonly [text: string, canonical: string][] = [
  ["ip.src in 10.0.0.1", "ip.src = 10.0.0.1"],
  ["ip.src in {10.0.0.0/8}", "ip.src in 10.0.0.0/8"],
  ["ip.src = 10.0.0.1/32", "ip.src = 10.0.0.1"],
  ["tcp.dport in 80", "tcp.dport = 80"],
  ["tcp.dport in {80-80}", "tcp.dport = 80"],
  ["protocol = 6", "tcp"],
  ["icmp.type = 8", "echo-request"],
  ["icmp.type = echo-request code 0", "echo-request code 0"],
  ["destination-unreachable code 3", "destination-unreachable code port-unreachable"],
  ["tcp.flags !ack syn", "tcp.flags syn !ack"],
  ["((tcp)) and ((udp or icmp))", "tcp and (udp or icmp)"],
  ["tcp or (udp and icmp)", "tcp or udp and icmp"],
  ["(not tcp) and udp", "not tcp and udp"],
];

for (const [text, canonical] of sameAs) {
  Deno.test(`parse reads "${text}" as "${canonical}"`, () => {
    assert.equal(
      print(policyOf(`default drop\n${text} -> drop\n`)),
      `default drop\n${canonical} -> drop\n`,
    );
  });
}

Deno.test("parse says where each node is written", () => {
  const text = `default drop
define $web = 10.0.0.1, 10.0.0.2
define one
  -> drop
ip.src in $web and not tcp.dport in {80, 90}
  new -> track, in turn: drop | 2x echo
otherwise -> set-ttl 3
  udp -> use one
`;
  const parsed = read(text);
  assert.ok(parsed.policy !== null);
  const { policy, positions } = parsed;
  const at = (node: object | undefined) => {
    const position = positions.get(node!);
    return position === undefined ? "nowhere" : `${position.line}:${position.column}`;
  };
  const root = policy.next as Tree & { node: "first-match" };
  const both = root.arms[0]!.when as unknown as {
    of: readonly { of: object; in: readonly object[] }[];
  };
  const track = (root.arms[0]!.then as Tree & { node: "filter" }).then as Tree & { node: "track" };
  const turns = track.then as Tree & { node: "balance" };
  const ttl = root.arms[1]!.then as Tree & { node: "set-ttl" };
  const udp = ttl.then as Tree & { node: "filter" };
  const places: readonly [string, object | undefined, string][] = [
    ["policy", policy, "1:1"],
    ["list", policy.lists["web"], "2:8"],
    ["list term", policy.lists["web"]![1], "2:25"],
    ["subtree", policy.subtrees["one"], "3:8"],
    ["root", root, "5:1"],
    ["arm", root.arms[0], "5:1"],
    ["all", both, "5:1"],
    ["address term", both.of[0]!.in[0], "5:11"],
    ["not", both.of[1], "5:20"],
    ["port test", both.of[1]!.of, "5:24"],
    ["range", (both.of[1]!.of as { in: readonly object[] }).in[1], "5:42"],
    ["filter", root.arms[0]!.then, "6:3"],
    ["track", track, "6:10"],
    ["balancer", turns, "6:17"],
    ["branch", turns.branches[1], "6:33"],
    ["decision", turns.branches[1]!.then, "6:36"],
    ["second arm", root.arms[1], "7:1"],
    ["set-ttl", ttl, "7:14"],
    ["filter below a chain", udp, "8:3"],
    ["use", udp.then, "8:10"],
  ];
  assert.deepEqual(
    places.map(([name, node]) => `${name} ${at(node)}`),
    places.map(([name, , place]) => `${name} ${place}`),
  );
});

Deno.test("parse freezes what it makes", () => {
  const visit = (value: unknown): void => {
    if (typeof value !== "object" || value === null) return;
    assert.ok(Object.isFrozen(value), JSON.stringify(value));
    Object.values(value).forEach(visit);
  };
  visit(policyOf(everythingText));
});

// Wrong

for (const { file, policy, message } of WRONG_POLICIES) {
  Deno.test(`parse says what is wrong in ${file}`, () => {
    const parsed = parse(policy, { file });
    assert.equal(parsed.policy, null);
    assert.equal(`${parsed.errors.map(formatError).join("\n")}\n`, message);
    assert.ok(!/[^\n\P{C}]/u.test(message));
  });
}

Deno.test("parse refuses a text that is too long", () => {
  const text = "default drop\n-> drop\n" + "#".repeat(MAX_POLICY_LENGTH);
  assert.deepEqual(messagesOf(text), [
    "test.policy:1:1: Found a text of 4194325 characters, expected at most 4194304",
  ]);
});

const tooDeep: readonly { name: string; text: string; message: RegExp }[] = [
  {
    name: "indentation",
    text: Array.from({ length: 1000 }, (_, i) => `${" ".repeat(i)}tcp\n`).join(""),
    message: /^test.policy:202:1: Found more than 200 levels of indentation, expected fewer/,
  },
  {
    name: "parentheses",
    text: `${"(".repeat(100_000)}tcp${")".repeat(100_000)} -> drop`,
    message: /^test.policy:2:201: Found "\(", expected at most 200 levels of "not" and parentheses/,
  },
  {
    name: "not",
    text: `${"not ".repeat(100_000)}tcp -> drop`,
    message: /^test.policy:2:400001: Found "tcp", expected at most 200 levels of "not"/,
  },
  {
    name: "steps",
    text: `-> ${"track, ".repeat(100_000)}drop`,
    message: /^test.policy:2:1: Found a path of more than 200 nodes, expected a flatter tree/,
  },
  {
    name: "subtrees in subtrees",
    text: Array.from(
      { length: 500 },
      (_, i) => `define s${i}\n  -> ${i === 0 ? "drop" : `use s${i - 1}`}\n`,
    ).join("") + "-> use s499",
    message: /^test.policy:403:3: Found a path of more than 200 nodes, expected a flatter tree/,
  },
  {
    name: "lists in lists",
    text: Array.from(
      { length: 500 },
      (_, i) => `define $l${i} = ${i === 0 ? "10.0.0.1" : `$l${i - 1}`}\n`,
    ).join("") + "-> drop",
    message: /^test.policy:202:8: Found a list of lists 201 deep, expected at most 200/,
  },
  {
    name: "lists that grow by doubling",
    text: Array.from(
      { length: 150 },
      (_, i) => `define $l${i} = ${i === 0 ? "10.0.0.1" : `$l${i - 1}, $l${i - 1}`}\n`,
    ).join("") + "-> drop",
    message: /^test.policy:22:8: Found a list of 1048576 addresses, expected at most 1000000/,
  },
];

for (const { name, text, message } of tooDeep) {
  Deno.test(`parse bounds the depth and size of ${name}`, () => {
    assert.match(messagesOf(`default drop\n${text}\n`)[0] ?? "no error", message);
  });
}

Deno.test("parse stops at 100 errors, and says so", () => {
  const messages = messagesOf("default drop\n" + "tpc -> drop\n".repeat(100_000));
  assert.equal(messages.length, 100);
  assert.equal(
    messages.at(-1),
    'test.policy:101:1: Found "tpc", expected a predicate; did you mean "tcp"?; ' +
      "this is error 100; further errors are not shown",
  );
});

Deno.test("parse never calls text a name of something that objects inherit", () => {
  for (const name of ["__proto__", "constructor", "to-string", "toString", "valueOf"]) {
    for (
      const line of [
        `ip.src in $${name} -> drop`,
        `-> use ${name}`,
        `custom ${name} -> drop`,
        `-> custom ${name}: drop`,
        `${name} -> drop`,
        `-> ${name}`,
        `icmp.type = ${name} -> drop`,
        `destination-unreachable code ${name} -> drop`,
      ]
    ) {
      assert.equal(parse(`default drop\n${line}`, { file: "x" }).errors.length, 1, line);
    }
  }
  const inherited = policyOf(
    "default drop\ndefine $constructor = 10.0.0.1\ndefine constructor\n  -> drop\n" +
      "ip.src in $constructor -> use constructor\n",
  );
  assert.deepEqual(Object.keys(inherited.lists), ["constructor"]);
  assert.deepEqual(Object.keys(inherited.subtrees), ["constructor"]);
});

Deno.test("formatError never lets a file drive the terminal", () => {
  for (let code = 0; code < 0x2100; code++) {
    const char = String.fromCharCode(code);
    for (const text of [`default drop\n${char}tcp ->${char} drop`, `default drop "${char}`]) {
      for (const error of parse(text, { file: `a${char}b` }).errors) {
        assert.ok(!/[^\n\P{C}]|\p{Zl}|\p{Zp}/u.test(formatError(error)), `character ${code}`);
        assert.equal(formatError(error).split("\n").length, 3);
      }
    }
  }
});

// Fuzz

Deno.test("parse gives a policy or errors for 20,000 mutated texts, and never throws", () => {
  const seed = 7;
  const random = new SeededRandom(seed);
  const good = [demoText, everythingText, spacingText];
  for (let i = 0; i < 60; i++) good.push(print(randomPolicy(random, { maxNodes: 60 })));
  const wrong = WRONG_POLICIES.map(({ policy }) => policy);
  const pieces = [...good, ...wrong].flatMap((text) => text.split(/(?<=[ \n,:|])/)).concat(
    '\t \0 \u001b \ud800 \ufeff \r ( ) { } | -> : , ! = " \\ # $ - 3x __proto__'.split(" "),
  );
  let right = 0;
  for (let i = 0; i < 20_000; i++) {
    const texts = i % 8 === 0 ? wrong : good;
    let text = texts[below(random, texts.length)]!;
    for (let n = 1 + below(random, 4); n > 0; n--) {
      const at = below(random, text.length + 1);
      const cut = below(random, 3) === 0 ? below(random, 40) : below(random, 3);
      const piece = below(random, 3) === 0 ? "" : pieces[below(random, pieces.length)]!;
      text = text.slice(0, at) + piece + text.slice(at + cut);
    }
    const about = () => `mutation ${i} of seed ${seed}:\n${JSON.stringify(text)}`;
    let parsed: Parsed;
    try {
      parsed = read(text);
    } catch (error) {
      throw new Error(about(), { cause: error });
    }
    if (parsed.policy === null) {
      assert.ok(parsed.errors.length > 0, about());
      const lines = text.split("\n").length;
      for (const error of parsed.errors) {
        assert.ok(error.line >= 1 && error.line <= lines && error.column >= 1, about());
        assert.ok(error.column <= error.source.length + 1, about());
        assert.equal(formatError(error).split("\n").length, 3, about());
      }
    } else {
      right++;
      assert.deepEqual(policyOf(print(parsed.policy)), parsed.policy, about());
    }
  }
  assert.ok(right > 500 && right < 19_000, `${right} were right`);
});
