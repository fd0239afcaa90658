/**
 * What lies beside the program fits it: what is for Prometheus and Grafana the metrics that it has,
 * policies its language; and systemd's unit gives the program little.
 */
import assert from "node:assert/strict";
import alerts from "../contrib/prometheus/alerts.yml" with { type: "text" };
import dashboard from "../contrib/grafana/treegate.json" with { type: "json" };
import builtIn from "../contrib/policies/built-in.policy" with { type: "text" };
import dns from "../contrib/policies/dns.policy" with { type: "text" };
import twoSided from "../contrib/policies/two-sided.policy" with { type: "text" };
import web from "../contrib/policies/web.policy" with { type: "text" };
import config from "../contrib/systemd/treegate.conf" with { type: "text" };
import { parseArgs } from "../src/cli/args.ts";
import { check } from "../src/policy/check/check.ts";
import { demo } from "../src/policy/language/built_in.ts";
import { parse } from "../src/policy/notation/parse.ts";
import { format } from "../src/policy/printing/format.ts";
import { print } from "../src/policy/printing/print.ts";
import { metricsOf } from "../src/process/admin/metrics.ts";
import { ABOUT, Watched } from "./process/admin/watched.ts";
import { run, which } from "./support/shell.ts";

/** The names of series that there are, with those of their labels. */
async function seriesNames(): Promise<Map<string, Set<string>>> {
  const reading = await new Watched({ check: "tcp 80", ipv6: true }).read();
  const names = new Map<string, Set<string>>();
  for (const { name, series } of metricsOf(ABOUT, { refused: 0 })) {
    names.set(name, new Set(["instance", "job"]));
    for (const { metricName = name, labels } of series(reading)) {
      names.set(metricName, new Set(["instance", "job", ...Object.keys(labels)]));
    }
  }
  for (const label of ["node", "label"]) names.get("treegate_node_hits_total")!.add(label);
  return names;
}

/** The expressions of the dashboard's panels. */
const queries = dashboard.panels.flatMap(({ targets }) => targets.map(({ expr }) => expr));

for (const [what, texts] of [["alerts", [alerts]], ["dashboard", queries]] as const) {
  Deno.test(`each metric and label of the ${what} exists`, async () => {
    const known = await seriesNames();
    const used = texts.flatMap((text) => [...text.matchAll(/(treegate_\w+)(?:\{([^}]*)\})?/g)]);
    assert.ok(used.length > 10, `${used.length} metrics`);
    for (const [, name, selected = ""] of used) {
      assert.ok(known.has(name!), name);
      const labels = [...selected.matchAll(/(\w+)(?==|!=)/g)].map(([, label]) => label!);
      for (const label of labels) assert.ok(known.get(name!)!.has(label), `${label} of ${name}`);
    }
  });
}

const canRun = Deno.permissions.querySync({ name: "run" }).state === "granted";
const promtool = canRun ? await which("promtool") : "";

Deno.test({
  name: "promtool finds nothing wrong with the alerts, and each holds when it should",
  ignore: promtool === "" && !(canRun && Deno.env.get("CI") === "true"),
  fn: async () => {
    assert.notEqual(promtool, "", "the package prometheus is not installed");
    const cwd = decodeURIComponent(new URL("../contrib/prometheus/", import.meta.url).pathname);
    for (const words of [["check", "rules", "alerts.yml"], ["test", "rules", "alerts_test.yml"]]) {
      const { code, stdout, stderr } = await run([promtool, ...words], { cwd });
      assert.equal(code, 0, stdout + stderr);
    }
  },
});

const POLICIES = { builtIn, dns, twoSided, web };

for (const [name, text] of Object.entries(POLICIES)) {
  Deno.test(`policy ${name} is evenly spaced, and the check finds nothing`, () => {
    const { policy, errors } = parse(text, { file: "" });
    assert.deepEqual(errors, []);
    assert.deepEqual(check(policy!), []);
    assert.deepEqual(format(text, ""), { text, errors: [] });
  });
}

Deno.test("policy builtIn is the built-in one", () => {
  assert.equal(builtIn.replaceAll(/^#.*\n/gm, ""), print(demo));
});

const analyze = canRun ? await which("systemd-analyze") : "";

/** Ten times what `systemd-analyze security` may say: 10 is the most exposed. */
const MOST_EXPOSED = "20";

Deno.test({
  name: "the unit of systemd leaves the service little",
  ignore: analyze === "" && !(canRun && Deno.env.get("CI") === "true"),
  fn: async () => {
    assert.notEqual(analyze, "", "the package systemd is not installed");
    const unit = new URL("../contrib/systemd/treegate.service", import.meta.url);
    const words = ["security", "--offline=true", `--threshold=${MOST_EXPOSED}`];
    const { code, stdout } = await run([analyze, ...words, decodeURIComponent(unit.pathname)]);
    assert.match(stdout, /Overall exposure level for treegate\.service: \d\.\d OK/);
    assert.equal(code, 0, stdout);
  },
});

Deno.test("all examples in the service's config are flags, and go together", () => {
  const text = config.replaceAll(/^#(?=[a-z])/gm, "");
  const about = { version: "1.2.3", build: "source" };
  const command = parseArgs(["--config=treegate.conf"], about, { file: "treegate.conf", text });
  assert.ok(command.kind === "run", "message" in command ? command.message : command.kind);
  assert.ok(command.config.links[0]!.ipv6 !== null);
});
