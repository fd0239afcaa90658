import assert from "node:assert/strict";
import { parse } from "../../src/policy/notation/parse.ts";
import { chart, isValid, markdown, median, type Results } from "./report.ts";
import { subjects } from "./subjects.ts";
import { type Outcome, policyOf, workloads } from "./workloads.ts";

const outcome = (figures: readonly number[], flaws: Partial<Outcome> = {}): Outcome => ({
  figures,
  synRetransmissions: 0,
  failures: 0,
  ...flaws,
});

/** Runs of the workload, by the subjects' names. */
function resultsOf(name: string, runs: Readonly<Record<string, Outcome[]>>): Results {
  const workload = workloads.find((one) => one.name === name)!;
  const bySubject = subjects.filter((one) => one.name in runs)
    .map((one) => [one, runs[one.name]!] as const);
  return new Map([[workload, new Map(bySubject)]]);
}

Deno.test("median: the middle one, or the mean of two", () => {
  assert.equal(median([3, 1, 2]), 2);
  assert.equal(median([4, 1, 3, 2]), 2.5);
  assert.ok(Number.isNaN(median([])));
});

Deno.test("isValid: no SYN sent again, no failure", () => {
  assert.ok(isValid(outcome([1])));
  assert.ok(!isValid(outcome([1], { synRetransmissions: 1 })));
  assert.ok(!isValid(outcome([1], { failures: 1 })));
});

Deno.test("markdown: medians, spreads and ratios of the runs that count, and which do not", () => {
  const results = resultsOf("connect", {
    proxy: [outcome([9_000]), outcome([10_000]), outcome([1], { synRetransmissions: 2 })],
    C: [outcome([10_000]), outcome([9_000]), outcome([11_000])],
    HAProxy: [outcome([1], { failures: 3 })],
  });
  assert.equal(
    markdown(results),
    `|  | proxy | C | HAProxy | ÷ C | ÷ HAProxy |
| --- | --: | --: | --: | --: | --: |
| new connections, one HTTP request each, 1/s | 9,500 (9,000–10,000) | 10,000 (9,000–11,000) | void | 1.01 | – |

- void: 1 of 3 runs of connect with proxy (SYNs sent again, and failures: 2 and 0)
- void: 1 of 1 runs of connect with HAProxy (SYNs sent again, and failures: 0 and 3)`,
  );
});

Deno.test("markdown: each subject that ran over both families is compared with itself", () => {
  const results = resultsOf("connect", {
    proxy: [outcome([10_000]), outcome([8_000])],
    "proxy over IPv6": [outcome([9_000]), outcome([8_000])],
    bridge: [outcome([20_000]), outcome([20_000])],
  });
  const [head, , row] = markdown(results).split("\n");
  assert.equal(head, "|  | proxy | proxy over IPv6 | bridge | proxy: IPv6 ÷ IPv4 |");
  assert.match(row!, / \| 0\.95 \|$/);
});

Deno.test("markdown: a reference that is not fast itself is void", () => {
  const sentAgain = 1;
  const run = (gigabits: number) => [outcome([...Array(4).fill(gigabits), sentAgain])];
  const remark = /the C reference is void: in bulk it reaches 1\.40 × HAProxy/;
  assert.match(markdown(resultsOf("bulk", { C: run(7), HAProxy: run(5) })), remark);
  assert.doesNotMatch(markdown(resultsOf("bulk", { C: run(8), HAProxy: run(5) })), /void/);
});

Deno.test("chart: one bar a subject and metric, none longer than the longest", () => {
  const svg = chart(resultsOf("connect", { proxy: [outcome([50])], C: [outcome([100])] }));
  assert.deepEqual(
    [...svg.matchAll(/<rect [^>]*width="(\d+)" height="10"/g)].map(([, width]) => width),
    ["210", "420"],
  );
});

for (const rules of [10, 1_000]) {
  Deno.test(`policyOf: ${rules} rules are a policy`, () => {
    const { errors } = parse(policyOf(rules), { file: "bench" });
    assert.deepEqual(errors, []);
    assert.equal(policyOf(rules).split("\n").filter((line) => line.startsWith("  ")).length, rules);
  });
}
