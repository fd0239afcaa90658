/** What a run does about the findings in its policy file. */
import assert from "node:assert/strict";
import { check } from "../../src/policy/check/check.ts";
import { demo, demoTwoSided } from "../../src/policy/language/built_in.ts";
import { parse } from "../../src/policy/notation/parse.ts";
import { checkPolicy, type LoadedPolicy } from "../../src/process/policy_findings.ts";

/** Every `include` gives `included`. */
function sourceOf(text: string, included: string): LoadedPolicy {
  const parsed = parse(text, { file: "p", include: (file) => ({ file, text: included }) });
  assert.ok(parsed.policy !== null);
  return { name: "p", ...parsed };
}

function logged(text: string, included = ""): { lines: string[]; error: string | null } {
  const lines: string[] = [];
  const log = {
    info: (message: string) => void lines.push(`info: ${message}`),
    warning: (message: string) => void lines.push(`warning: ${message}`),
    error: (message: string) => void lines.push(`error: ${message}`),
  };
  const source = sourceOf(text, included);
  try {
    assert.equal(checkPolicy(source, log), source.policy);
    return { lines, error: null };
  } catch (error) {
    return { lines, error: (error as Error).message };
  }
}

Deno.test("checkPolicy takes a sound policy without a word", () => {
  assert.deepEqual(logged("default drop\nicmp -> drop\n"), {
    lines: [],
    error: null,
  });
});

Deno.test("checkPolicy logs warnings with their lines, and the policy can run", () => {
  const { lines, error } = logged("default drop\nudp -> echo\n");
  assert.equal(error, null);
  assert.equal(lines.length, 1);
  assert.match(
    lines[0]!,
    /^warning: policy "p" has warnings\np:2:8: warning: echo drops .*\n {2}2 \|/,
  );
});

Deno.test("checkPolicy says which included file a finding is in, and shows its line", () => {
  const { lines } = logged(
    'default drop\ninclude "q"\nudp -> use e\n',
    "define e\n  udp -> echo\n",
  );
  assert.match(lines.join("\n"), /\nq:2:10: warning: echo drops .*\n {2}2 \| {3}udp -> echo\n/);
});

Deno.test("checkPolicy refuses errors, and tells all findings", () => {
  const { lines, error } = logged("default drop\nudp -> echo\ntcp and udp -> drop\n");
  assert.deepEqual(lines, []);
  assert.match(
    error!,
    /^policy "p" has 1 error\np:2:8: warning: echo [^]*\np:3:1: error: "tcp and udp" can never/,
  );
});

Deno.test("checkPolicy shows a hundred findings, errors first", () => {
  const { error } = logged("default drop\nudp -> echo\n" + "tcp -> drop\n".repeat(200));
  assert.match(error!, /^policy "p" has 199 errors\np:4:1: error: /);
  assert.match(error!, /\nand 100 more$/);
});

Deno.test("the built-in policies have no findings", () => {
  for (const policy of [demo, demoTwoSided]) assert.deepEqual(check(policy), []);
});
