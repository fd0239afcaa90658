/** Lists in braces that span lines. */
import assert from "node:assert/strict";
import type { Policy, Tree } from "../../../src/policy/language/ast.ts";
import { formatError, parse } from "../../../src/policy/notation/parse.ts";
import { print } from "../../../src/policy/printing/print.ts";

function read(text: string) {
  return parse(text, { file: "test.policy" });
}

function policyOf(text: string): Policy {
  const { policy, errors } = read(text);
  assert.equal(errors.map(formatError).join("\n"), "");
  return policy!;
}

const same: readonly { name: string; text: string; canonical: string }[] = [
  {
    name: "a definition",
    text: `default drop
define $web = {
  10.0.0.1,     # the first, with "quotes" and { braces }
  # a line of comment

10.0.0.2,
                10.1.0.0/16
}
ip.dst in $web -> forward
`,
    canonical: `default drop

define $web = 10.0.0.1, 10.0.0.2, 10.1.0.0/16

ip.dst in $web -> forward
`,
  },
  {
    name: "a comma after the last one, and one before",
    text: "default drop\nip.dst in { 10.0.0.1,\n\t10.0.0.2\n , 10.0.0.3,\n} -> forward\n",
    canonical: "default drop\nip.dst in {10.0.0.1, 10.0.0.2, 10.0.0.3} -> forward\n",
  },
  {
    name: "two lists of one predicate, with a block below",
    text: `default drop
tcp
    tcp.dport in {
  80,
  443 } and tcp.sport in {
1, 2
    } -> track
      new -> forward
      otherwise -> drop
    otherwise -> drop
`,
    canonical: `default drop
tcp
  tcp.dport in {80, 443} and tcp.sport in {1, 2} -> track
    new       -> forward
    otherwise -> drop
  otherwise -> drop
`,
  },
  {
    name: "braces in one line",
    text: "default drop\ndefine $web = {10.0.0.1}\nip.dst in $web -> forward\n",
    canonical: "default drop\n\ndefine $web = 10.0.0.1\n\nip.dst in $web -> forward\n",
  },
];

for (const { name, text, canonical } of same) {
  Deno.test(`parse reads ${name} as on one line`, () => {
    assert.equal(print(policyOf(text)), canonical);
    assert.deepEqual(policyOf(text), policyOf(canonical));
    assert.deepEqual(policyOf(`\ufeff${text.replaceAll("\n", "\r\n")}`), policyOf(canonical));
  });
}

Deno.test("parse says in which line of a list a term and what follows is written", () => {
  const parsed = read("default drop\nip.dst in {\n  10.0.0.1,\n  10.0.0.2\n} -> track, drop\n");
  assert.ok(parsed.policy !== null);
  const { policy, positions } = parsed;
  const filter = policy.next as Tree & { node: "filter" };
  const { in: terms } = filter.when as unknown as { in: readonly object[] };
  const at = (node: object) => {
    const { file, line, column } = positions.get(node)!;
    return `${file}:${line}:${column}`;
  };
  assert.equal(at(filter), "test.policy:2:1");
  assert.deepEqual(terms.map(at), ["test.policy:3:3", "test.policy:4:3"]);
  assert.equal(at(filter.then), "test.policy:5:6");
});

const wrong: readonly { name: string; text: string; message: string }[] = [
  {
    name: "a wrong address",
    text: "define $web = {\r\n  10.0.0.1,\r\n  10.0.0.999,\r\n  10.0.0.3\r\n}\r\n-> drop",
    message:
      `test.policy:4:3: Found "10.0.0.999", expected an address, as in 10.0.0.1, 10.0.0.0/8 or $list; octet must be ≤ 255
  4 |   10.0.0.999,
    |   ^^^^^^^^^^`,
  },
  {
    name: "a missing comma",
    text: "define $web = {\n  10.0.0.1\n  10.0.0.3\n}\n-> drop",
    message: `test.policy:4:3: Found "10.0.0.3", expected "," or "}"
  4 |   10.0.0.3
    |   ^^^^^^^^`,
  },
  {
    name: "a missing brace before a definition",
    text:
      "define $web = {\n  10.0.0.1,\n  10.0.0.3\n# more\ndefine $b = 10.0.0.1\nip.src in $b -> drop",
    message: `test.policy:4:11: Found the end of the line, expected "," or "}"
  4 |   10.0.0.3
    |           ^`,
  },
  {
    name: "a missing brace before an arm",
    text: "tcp.dport in {80,\n\n  443\nudp -> drop\nicmp -> drpo",
    message: `test.policy:4:6: Found the end of the line, expected "," or "}"
  4 |   443
    |      ^
test.policy:6:9: Found "drpo", expected a step or a decision; did you mean "drop"?
  6 | icmp -> drpo
    |         ^^^^`,
  },
  {
    name: "a missing brace at the end of the file",
    text: "-> drop\nudp.dport in {80,\n\n\n",
    message:
      `test.policy:3:1: Found a second line, expected a block of one line, as that line begins with "->"; did you mean "otherwise ->"?
  3 | udp.dport in {80,
    | ^^^^^^^^^^^^^^^^^
test.policy:3:18: Found the end of the line, expected a port, 0 to 65535, or a range as in 20-30
  3 | udp.dport in {80,
    |                  ^`,
  },
  {
    name: "what follows the list",
    text: "define $web = {\n  10.0.0.1\n}, 10.0.0.2\nip.src in $web -> drop",
    message: `test.policy:4:2: Found ",", expected the end of the line
  4 | }, 10.0.0.2
    |  ^`,
  },
];

for (const { name, text, message } of wrong) {
  Deno.test(`parse names the line of a list that has ${name}`, () => {
    assert.equal(read(`default drop\n${text}`).errors.map(formatError).join("\n"), message);
  });
}

Deno.test("parse reads a list of 200,000 lines, and as many open braces", () => {
  const addresses = Array.from(
    { length: 200_000 },
    (_, i) => `10.${i >> 16}.${i >> 8 & 255}.${i & 255}`,
  );
  const text = `default drop\ndefine $all = {\n${addresses.join(",\n")}\n}\nip.src in $all -> drop`;
  const { lists } = policyOf(text);
  assert.equal(lists["all"]!.length, 200_000);
  assert.equal(read(`default drop\n${"{\n\n".repeat(200_000)}`).errors.length, 100);
});
