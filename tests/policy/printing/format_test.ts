import assert from "node:assert/strict";
import demoText from "../../golden/policies/good/demo.policy" with { type: "text" };
import everythingText from "../../golden/policies/good/everything.policy" with { type: "text" };
import spacingText from "../../golden/policies/good/spacing.policy" with { type: "text" };
import { below, type Random, SeededRandom } from "../../../src/core/random.ts";
import { format } from "../../../src/policy/printing/format.ts";
import { tokenAt } from "../../../src/policy/notation/lex.ts";
import { formatError, parse } from "../../../src/policy/notation/parse.ts";
import { print } from "../../../src/policy/printing/print.ts";
import { PREDICATES, randomPolicy, SELECTORS } from "../../support/random_policy.ts";
import { WRONG_POLICIES } from "../../support/wrong_policies.ts";

const customs = { predicates: PREDICATES, selectors: SELECTORS };

function formatted(text: string): string {
  const { text: result, errors } = format(text, "test.policy");
  assert.equal(errors.map(formatError).join("\n"), "");
  return result!;
}

function policyOf(text: string) {
  const { policy, errors } = parse(text, { file: "test.policy", customs });
  assert.equal(errors.map(formatError).join("\n"), "");
  return policy;
}

/** The comments and words of a text, a line break where a comment ends. */
function contentOf(text: string): string[] {
  const content: string[] = [];
  for (const raw of text.replace(/^\ufeff/, "").split("\n").map((raw) => raw.replace(/\r$/, ""))) {
    let at = 0;
    for (let token = tokenAt(raw, 0); token.kind !== "end"; token = tokenAt(raw, at)) {
      content.push(token.text);
      at = token.end;
    }
    const comment = raw.slice(at).trim();
    if (comment !== "") content.push(comment);
  }
  // "3 x" and "3x" are one weight.
  return content.join("\n").replace(/(?<=^\d+)\nx$/gm, "x").split("\n");
}

const cases: readonly { name: string; text: string; result: string }[] = [
  {
    name: "spaces words and signs, and aligns arrows of neighbouring lines",
    text: `\ufeffdefault   drop
not(tcp)and not  ip.src in{10.0.0.1 ,10.0.0.2}->drop"a  b"
tcp->in turn :1 x drop|3  x track ,echo
tcp.flags   syn ! ack->drop
`,
    result: `default drop
not (tcp) and not ip.src in {10.0.0.1, 10.0.0.2} -> drop "a  b"
tcp                -> in turn: 1x drop | 3x track, echo
tcp.flags syn !ack -> drop
`,
  },
  {
    name: "indents by two spaces, and starts a new alignment after a gap or a block",
    text: `default drop
tcp
      new->drop
      tcp.dport = 80->track
                 ip.ttl = 1->drop
      invalid->drop

      tcp.dport = 443->drop
      # all
      otherwise->drop
`,
    result: `default drop
tcp
  new            -> drop
  tcp.dport = 80 -> track
    ip.ttl = 1 -> drop
  invalid -> drop

  tcp.dport = 443 -> drop
  # all
  otherwise -> drop
`,
  },
  {
    name: "keeps comments with the line that they are on or above, or in the block that they end",
    text: `

#!first

#  Second


default drop#end of line
     # of tcp
tcp     # of this line
#of new
    new -> drop

    # in the block of tcp
 # in no block of tcp, as it is left of it
# of udp
udp -> track
  # of the block
    invalid -> drop
    # last of the block
# last


`,
    result: `#!first

#  Second

default drop  #end of line
# of tcp
tcp  # of this line
  #of new
  new -> drop

  # in the block of tcp
# in no block of tcp, as it is left of it
# of udp
udp -> track
  # of the block
  invalid -> drop
  # last of the block
# last
`,
  },
  {
    name: "keeps the lines of a list",
    text: `default drop\r
define $web={# backends\r
# rack 1\r
10.0.0.1,10.0.0.2   ,#two\r
\r
\r
      10.0.0.3,\r
   }# done\r
tcp\r
 tcp.dport in {80,\r
443}and new->drop\r
 otherwise->drop\r
`,
    result: `default drop
define $web = {  # backends
  # rack 1
  10.0.0.1, 10.0.0.2,  #two

  10.0.0.3,
}  # done
tcp
  tcp.dport in {80,
    443} and new -> drop
  otherwise -> drop
`,
  },
  {
    name: "takes an included file, and names that it does not know",
    text: `include   "a b"#comment\ndefine   $a=$unknown\n`,
    result: `include "a b"  #comment\ndefine $a = $unknown\n`,
  },
  { name: "takes a text of comments, and an empty one", text: "\n\n #a\n\n", result: "#a\n" },
  { name: "takes an empty text", text: "\ufeff \r\n", result: "" },
];

for (const { name, text, result } of cases) {
  Deno.test(`format ${name}`, () => {
    assert.equal(formatted(text), result);
    assert.equal(formatted(result), result);
    assert.deepEqual(contentOf(result), contentOf(text));
  });
}

Deno.test("format refuses what would have another place in the tree, or is no word", () => {
  const text = 'default drop\n\ttcp -> drop\nudp -> drop ; "a\nx\n    y\n  z\n';
  assert.deepEqual(format(text, "a").errors.map((error) => formatError(error).split("\n")[0]), [
    "a:2:1: Found a tab, expected spaces as indentation",
    'a:3:13: Found ";", expected a word of the policy language',
    'a:3:15: Found a label without closing quote, expected a label in quotes: "…"',
  ]);
  assert.equal(format("(\n".repeat(10) + ";\n".repeat(200), "a").errors.length, 100);
});

Deno.test("format changes nothing in what print writes", () => {
  const random = new SeededRandom(11);
  for (let i = 0; i < 1000; i++) {
    const text = print(randomPolicy(random, { maxNodes: 80 }));
    assert.equal(formatted(text), text, `policy ${i}`);
  }
});

Deno.test("format takes 100,000 lines, and a line of 100,000 terms", () => {
  const arms = `default drop\n${"udp -> drop\n".repeat(100_000)}`;
  assert.equal(formatted(arms), arms);
  const list = `define $a = 10.0.0.1${", 10.0.0.1".repeat(99_999)}\n`;
  assert.equal(formatted(list), list);
});

/** The same policy in another spacing, with comments. */
function shaken(random: Random, text: string): string {
  const chance = (times: number) => below(random, times) === 0;
  const spaces = (least: number) => " ".repeat(least + (chance(3) ? below(random, 4) : 0));
  const end = chance(4) ? "\r\n" : "\n";
  const comment = () =>
    `#${spaces(0)}${["", "a", "-> {", '"', "}", "#", "\u202e"][below(random, 7)]}`;
  const widths = [0];
  const lines: string[] = [];
  for (const line of text.split("\n")) {
    const words = line.trimStart();
    if (words === "") continue;
    while (chance(5)) lines.push(chance(2) ? "" : spaces(below(random, 9)) + comment());
    const level = (line.length - words.length) / 2;
    if (level === widths.length) widths.push(widths.at(-1)! + 1 + below(random, 5));
    widths.length = level + 1;
    let out = " ".repeat(widths[level]!);
    let [inBraces, previous] = [false, ""];
    for (let at = 0;;) {
      const token = tokenAt(words, at);
      if (token.kind === "end") break;
      const apart = /[a-z0-9]$/.test(previous) && token.kind === "word";
      if (inBraces && chance(3)) out += `${chance(3) ? ` ${comment()}` : ""}${end}${spaces(0)}`;
      else if (at > 0) out += spaces(apart || token.start > at ? 1 : 0);
      const weight = token.kind === "word" ? /^(\d+)x$/.exec(token.text) : null;
      out += weight !== null && chance(2) ? `${weight[1]} x` : token.text;
      if (token.kind === "sign" && "{}".includes(token.text)) inBraces = token.text === "{";
      previous = token.text;
      at = token.end;
    }
    lines.push(out + (chance(5) ? spaces(0) + comment() : spaces(0)));
  }
  return lines.join(end) + (chance(2) ? end : "");
}

Deno.test("format keeps what 2,000 random texts mean, and every comment in its place", () => {
  const seed = 5;
  const random = new SeededRandom(seed);
  for (let i = 0; i < 2000; i++) {
    const policy = randomPolicy(random, { maxNodes: 60 });
    const text = shaken(random, print(policy));
    const about = `text ${i} of seed ${seed}:\n${JSON.stringify(text)}`;
    const result = formatted(text);
    assert.deepEqual(policyOf(text), policy, about);
    assert.deepEqual(policyOf(result), policy, about);
    assert.equal(formatted(result), result, about);
    assert.deepEqual(contentOf(result), contentOf(text), about);
  }
});

Deno.test("format is idempotent for 20,000 mutated texts, or says what is wrong", () => {
  const seed = 9;
  const random = new SeededRandom(seed);
  const good = [demoText, everythingText, spacingText];
  for (let i = 0; i < 30; i++) {
    good.push(shaken(random, print(randomPolicy(random, { maxNodes: 40 }))));
  }
  const texts = [...good, ...WRONG_POLICIES.map(({ policy }) => policy)];
  const pieces = texts.flatMap((text) => text.split(/(?<=[ \n,:|])/)).concat(
    '\t \0 \ud800 \ufeff \r \r\n \n ( ) { } | -> : , ! = " \\ # $ - 3x x include'.split(" "),
  );
  let right = 0;
  for (let i = 0; i < 20_000; i++) {
    let text = texts[below(random, texts.length)]!;
    for (let n = 1 + below(random, 4); n > 0; n--) {
      const at = below(random, text.length + 1);
      const piece = below(random, 3) === 0 ? "" : pieces[below(random, pieces.length)]!;
      text = text.slice(0, at) + piece + text.slice(at + below(random, 4));
    }
    const about = `mutation ${i} of seed ${seed}:\n${JSON.stringify(text)}`;
    const { text: result, errors } = format(text, "test.policy");
    const parsed = parse(text, { file: "test.policy", customs });
    if (result === null) {
      assert.ok(errors.length > 0, about);
      assert.equal(parsed.policy, null, about);
      continue;
    }
    right++;
    assert.equal(formatted(result), result, about);
    assert.deepEqual(contentOf(result), contentOf(text), about);
    assert.deepEqual(parse(result, { file: "test.policy", customs }).policy, parsed.policy, about);
  }
  assert.ok(right > 2000, `${right} were right`);
});
