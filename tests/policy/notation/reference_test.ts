/** The examples of the policy reference are right, and it has every word of the language. */
import assert from "node:assert/strict";
import reference from "../../../src/policy/README.md" with { type: "text" };
import { check } from "../../../src/policy/check/check.ts";
import {
  ICMP_TYPE_WORDS,
  icmpCodeWords,
  ICMPV6_TYPE_WORDS,
  icmpv6CodeWords,
} from "../../../src/policy/language/icmp_words.ts";
import {
  CHAIN_WORDS,
  FLAG_WORDS,
  MEMBER_WORDS,
  PICK_WORDS,
  PREDICATE_WORDS,
} from "../../../src/policy/language/words.ts";
import { format } from "../../../src/policy/printing/format.ts";
import type { Included } from "../../../src/policy/notation/include.ts";
import { formatError, parse } from "../../../src/policy/notation/parse.ts";

/** The examples of a kind. */
function examples(kind: string): string[] {
  const found = [...reference.matchAll(/^```(.*)\n([^]*?)^```$/gm)]
    .filter(([, info]) => info === kind).map(([, , text]) => text!);
  assert.ok(found.length > 0, kind);
  return found;
}

function policyOf(text: string, included: Readonly<Record<string, string>> = {}) {
  const include = (path: string): Included =>
    path in included ? { file: path, text: included[path]! } : { problem: "not there" };
  const { policy, errors } = parse(text, { file: "README.md", include });
  assert.equal(errors.map(formatError).join("\n"), "", text);
  return policy!;
}

Deno.test("the reference's policies are right, and the check finds no errors", () => {
  const [lists] = examples("lists.policy");
  const policies = [
    ...examples("policy").map((text) => policyOf(text)),
    ...examples("policy with lists.policy").map((text) =>
      policyOf(text, { "lists.policy": lists! })
    ),
  ];
  assert.equal(policies.length, 7);
  for (const policy of policies) {
    assert.deepEqual(check(policy).filter(({ level }) => level === "error"), []);
  }
});

Deno.test("the reference's predicates and chains are right, each by itself", () => {
  for (const lines of examples("predicate")) {
    for (const line of lines.trim().split("\n")) policyOf(`default drop\n${line} -> drop\n`);
  }
  for (const lines of examples("chain")) {
    for (const line of lines.trim().split("\n")) policyOf(`default drop\n-> ${line}\n`);
  }
});

Deno.test("the reference's included file is formatted", () => {
  for (const text of examples("lists.policy")) assert.equal(format(text, "x").text, text);
});

Deno.test("the reference has every word of the language, in an example or a table", () => {
  const code = [
    ...[...reference.matchAll(/^```.*\n([^]*?)^```$/gm)].map(([, text]) => text!),
    ...[...reference.matchAll(/`([^`\n]+)`/g)].map(([, text]) => text!),
  ].join("\n");
  const words = [
    ...[
      "default",
      "define",
      "pool",
      "include",
      "to",
      "drain",
      "echo-reply",
      "per",
      "connection",
      "source",
      "raise",
    ],
    ...["burst", "code", "and", "or", "side", "turn", "random"],
    ...PREDICATE_WORDS,
    ...CHAIN_WORDS,
    ...FLAG_WORDS,
    ...PICK_WORDS,
    ...MEMBER_WORDS,
    ...[...ICMP_TYPE_WORDS.values()].flatMap((type) => icmpCodeWords(type)),
    ...[...ICMPV6_TYPE_WORDS.values()].flatMap((type) => icmpv6CodeWords(type)),
  ];
  const missing = words.filter((word) =>
    !new RegExp(`(?<![\\w.-])${word.replaceAll(".", "\\.")}(?![\\w-])`).test(code)
  );
  assert.deepEqual(missing, []);
});
