/** What Prometheus reads. */
import assert from "node:assert/strict";
import { REASON_NAMES } from "../../../src/core/reason.ts";
import { DECISION_NAMES } from "../../../src/policy/language/ast.ts";
import { drop, firstMatch, isIcmp, isTcp, policy } from "../../../src/policy/language/build.ts";
import { Exposition } from "../../../src/process/admin/exposition.ts";
import { MEMBER_STATUSES } from "../../../src/flow/backends/member.ts";
import { CLASS_NAMES } from "../../../src/process/admin/layout.ts";
import { metricsOf } from "../../../src/process/admin/metrics.ts";
import { buildIcmp, buildTcp } from "../../support/frames.ts";
import { run, which } from "../../support/shell.ts";
import { PROXY6 } from "../../support/world.ts";
import { ABOUT, Watched } from "./watched.ts";

const SYN = buildTcp();

async function textOf(watched: Watched, hasAllNodes = false): Promise<string> {
  return await new Exposition(ABOUT, { refused: 5 }).text(await watched.read(), hasAllNodes);
}

/** The lines of one metric's series. */
function linesOf(text: string, name: string): string[] {
  return text.split("\n").filter((line) => new RegExp(`^treegate_${name}[ {]`).test(line))
    .map((line) => line.replace("treegate_", ""));
}

/** Which of the lines the text does not have, and what it has of their metrics. */
function missing(text: string, lines: readonly string[]): string[][] {
  return lines.filter((line) => !text.includes(`\ntreegate_${line}\n`))
    .map((line) => [line, ...linesOf(text, /^\w+/.exec(line)![0])]);
}

Deno.test("metrics have each value of each label from the start", async () => {
  const text = await textOf(new Watched({ check: "tcp 80" }));
  assert.equal(linesOf(text, "drops_total").length, REASON_NAMES.length - 1);
  assert.equal(linesOf(text, "decisions_total").length, DECISION_NAMES.length);
  assert.equal(linesOf(text, "connections").length, CLASS_NAMES.length);
  assert.equal(linesOf(text, "backend_state").length, 3 * MEMBER_STATUSES.length);
  assert.equal(linesOf(text, "backend_checks_total").length, 3 * 2);
  assert.match(text, /^# HELP treegate_neighbors .*ARP and Neighbor Discovery/m);
});

Deno.test("metrics tell the state of each own address of IPv6", async () => {
  const statesOf = (address: string) =>
    ["in-use", "on-trial", "withheld"].map((state) => {
      const labels = `device="memory",side="both",address="${address}",state="${state}"`;
      return `own_address_state{${labels}} ${Number(state === "in-use")}`;
    });
  assert.deepEqual(linesOf(await textOf(new Watched({ ipv6: true })), "own_address_state"), [
    ...statesOf(PROXY6),
    ...statesOf("fe80::ff:fe00:100"),
  ]);
  assert.deepEqual(linesOf(await textOf(new Watched()), "own_address_state"), []);
});

Deno.test("metrics count what the appliance has counted", async () => {
  const label = { node: "decide", decision: "drop", label: 'of "tcp"' } as const;
  const tree = firstMatch([[isIcmp, drop], [isTcp, label]]);
  const watched = new Watched({ policy: policy("drop", tree) });
  watched.world.send(buildIcmp({}), SYN, SYN);
  watched.pump.turns.add(0.003);
  watched.pump.turns.add(7);
  const text = await textOf(watched);
  const { frames } = watched.world.appliance.counters();
  const lines = [
    'build_info{version="1.2.3",build="source"} 1',
    `frames_total{device="memory",side="both",direction="in"} ${frames.in}`,
    'packets_total{device="memory",side="both",direction="in"} 3',
    'decisions_total{decision="drop"} 3',
    'drops_total{reason="policy"} 3',
    'node_hits_total{node="2",label="of \\"tcp\\""} 2',
    'lost_entries_total{stream="trace"} 3',
    'lost_entries_total{stream="log"} 4',
    'lost_entries_total{stream="capture"} 5',
    "admin_connections_refused_total 5",
    'event_loop_turn_seconds_bucket{le="0.002"} 0',
    'event_loop_turn_seconds_bucket{le="0.005"} 1',
    'event_loop_turn_seconds_bucket{le="+Inf"} 2',
    "event_loop_turn_seconds_sum 7.003",
    "event_loop_turn_seconds_count 2",
  ];
  assert.deepEqual(missing(text, lines), []);
  assert.deepEqual(linesOf(text, "node_hits_total"), [lines[5]]);
  assert.deepEqual(linesOf(await textOf(watched, true), "node_hits_total"), [
    'node_hits_total{node="0",label=""} 3',
    'node_hits_total{node="1",label=""} 1',
    lines[5],
  ]);
});

Deno.test("metrics of connections, ports and backends follow what is opened", async () => {
  const watched = new Watched({ backends: ["192.168.0.1"] });
  watched.world.send(SYN);
  const text = await textOf(watched);
  const backend = 'pool="dst-addrs",backend="192.168.0.1"';
  const lines = [
    'connections{state="half-open"} 1',
    "connections_opened_total 1",
    "ports_in_use 1",
    "ports_in_use_most 1",
    `backend_state{${backend},state="up"} 1`,
    `backend_state{${backend},state="down"} 0`,
    `backend_connections{${backend}} 1`,
    `backend_connections_opened_total{${backend}} 1`,
    `backend_last_change_timestamp_seconds{${backend}} 1700000000`,
    "last_reload_success_timestamp_seconds 1700000000",
  ];
  assert.deepEqual(missing(text, lines), []);
});

Deno.test("metrics tell when and how long backends were checked, and how reloads ended", async () => {
  const watched = new Watched({ check: "tcp 80, interval 1s, timeout 500ms, fall 1" });
  watched.world.advance(3000);
  Object.assign(watched.reloads, {
    done: 2,
    failed: 1,
    hasFailed: true,
    doneMs: 1.7e12,
    tookMs: 250,
  });
  const text = await textOf(watched);
  assert.match(text, /^treegate_backend_checks_total\{.*,result="failure"\} [1-9]/m);
  const { appliance } = watched.world;
  assert.deepEqual(
    linesOf(text, "backend_check_duration_seconds").map((line) => Number(line.split(" ")[1])),
    appliance.backends.all.map((member) => appliance.checkOf(member)!.tookMs / 1000),
  );
  assert.match(text, /^treegate_backend_state\{.*,state="down"\} 1$/m);
  assert.match(text, /^treegate_reloads_total\{result="failure"\} 1$/m);
  assert.match(text, /^treegate_last_reload_successful 0$/m);
  assert.match(text, /^treegate_last_reload_success_timestamp_seconds 1700000000$/m);
  assert.match(text, /^treegate_last_reload_duration_seconds 0.25$/m);
});

Deno.test("metrics have these labels, and none that is a client's", async () => {
  const watched = new Watched({ check: "tcp 80" });
  watched.world.send(SYN);
  const reading = await watched.read();
  const labels = metricsOf(ABOUT, { refused: 0 }).flatMap(({ series }) =>
    series(reading).flatMap(({ labels }) => Object.keys(labels))
  );
  assert.deepEqual([...new Set(labels)].sort(), [
    ...["backend", "build", "decision", "device", "direction", "le", "pool"],
    ...["reason", "result", "side", "state", "stream", "version"],
  ]);
});

const canRun = Deno.permissions.querySync({ name: "run" }).state === "granted";
const promtool = canRun ? await which("promtool") : "";
const isCi = canRun && Deno.env.get("CI") === "true";

Deno.test({
  name: "promtool finds nothing wrong with the metrics",
  ignore: promtool === "" && !isCi,
  fn: async () => {
    assert.notEqual(promtool, "", "the package prometheus is not installed");
    const text = await textOf(new Watched({ check: "tcp 80" }), true);
    const { code, stdout, stderr } = await run([promtool, "check", "metrics"], { stdin: text });
    assert.deepEqual([code, stdout, stderr], [0, "", ""]);
  },
});
