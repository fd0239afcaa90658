/** The metrics of a running proxy: what they say, who gets them, and what that costs packets. */
import assert from "node:assert/strict";
import { fileURLToPath } from "node:url";
import { REASON_NAMES } from "../../src/core/reason.ts";
import { demo } from "../../src/policy/language/built_in.ts";
import { print } from "../../src/policy/printing/print.ts";
import { carried } from "../lab/bulk.ts";
import type { Host } from "../lab/lab.ts";
import { startEcho } from "../lab/peer.ts";
import {
  askSummary,
  proxyCommand,
  startProxy,
  summaryCount,
  trackedIn,
  usualOptions,
} from "../lab/proxy.ts";
import { labTests } from "../lab/suite.ts";
import { bridged, proxyAddress } from "../lab/topology.ts";
import { Witness } from "../lab/witness.ts";

const labTest = await labTests("ping", "nc", "nmap", "curl", "dumpcap", "tshark");

const ADMIN = "127.0.0.1:9100";
const ATTACK = fileURLToPath(new URL("../lab/control_attack.ts", import.meta.url));

/** The values of all series, by name and labels as they are written. */
function seriesOf(text: string): Map<string, number> {
  const lines = text.split("\n").filter((line) => line !== "" && !line.startsWith("#"));
  return new Map(lines.map((line) => {
    const at = line.lastIndexOf(" ");
    return [line.slice(0, at), Number(line.slice(at + 1))];
  }));
}

/** What a proxy says of itself in three ways, of one moment. */
interface Said {
  readonly metrics: Map<string, number>;
  readonly summary: string;
  // deno-lint-ignore no-explicit-any
  readonly status: any;
}

labTest(
  "metrics, ctl, the dashboard's feed, the summary and tshark agree after five mixes of traffic",
  async () => {
    await using topology = await bridged("behind a port", "nobody");
    const { client, host, lab, backends: [first] } = topology;
    const folder = `${lab.folder}/control`;
    await Deno.mkdir(folder, { mode: 0o700 });
    const policy = `${lab.folder}/own.policy`;
    await Deno.writeTextFile(policy, print(demo).replace("80 -> drop", '80 -> drop "naive http"'));
    const control = `--control=${folder}/s`;
    const flags = [`--admin=${ADMIN}`, control, `--policy=${policy}`, "--trace=off"];
    const proxy = await startProxy(host, [...usualOptions, ...flags]);
    await proxy.waitFor(`metrics are served at http://${ADMIN}/metrics`);
    const ctl = (...words: string[]) => host.must(proxyCommand(["ctl", control, ...words]));
    const curl = (path: string) => host.must(["curl", "-sS", "-m", "5", `http://${ADMIN}${path}`]);

    const countsOf = ({ frames, pdusIn }: Said["status"]) => JSON.stringify([frames, pdusIn]);
    const said = async (): Promise<Said> => {
      let before = "";
      for (;;) { // again if a packet came meanwhile
        const counts = countsOf(JSON.parse(await ctl("--json", "status")));
        const text = await curl("/metrics");
        const summary = await askSummary(proxy);
        const after = JSON.parse(await ctl("--json", "status"));
        if (counts === before && countsOf(after) === counts) {
          return { metrics: seriesOf(text), summary, status: after };
        }
        before = counts;
      }
    };
    const seen = {
      in: { count: 0, bytes: 0 },
      out: { count: 0, bytes: 0 },
      resets: 0,
      xmas: 0,
      echoReplies: 0,
      opened: 0,
    };
    /** Makes a mix of traffic; then all have to say the same, of all mixes so far. */
    const agreeAfter = async (mix: () => Promise<unknown>): Promise<Said> => {
      const witness = await Witness.start(topology);
      await mix();
      const now = await agree();
      const more = await witness.stop();
      for (const way of ["in", "out"] as const) {
        seen[way].count += more[way].count;
        seen[way].bytes += more[way].bytes;
      }
      for (const kind of ["resets", "xmas", "echoReplies", "opened"] as const) {
        seen[kind] += more[kind];
      }
      const { status, metrics } = now;
      assert.deepEqual([status.pdusIn, status.pdusOut], [seen.in, seen.out], "as tshark counts");
      assert.equal(sumOf(metrics, "decisions_total{"), seen.in.count);
      assert.equal(
        metrics.get('treegate_decisions_total{decision="echo-reply"}'),
        seen.echoReplies,
      );
      assert.equal(metrics.get('treegate_drops_total{reason="tcp-flags"}'), seen.xmas);
      assert.equal(metrics.get('treegate_decisions_total{decision="reject"}'), seen.resets);
      assert.equal(sumOf(metrics, "backend_connections_opened_total{"), seen.opened);
      return now;
    };
    const agree = async (): Promise<Said> => {
      for (;;) { // again if a packet came meanwhile
        const now = await said();
        const [tree, events] = [await curl("/api/tree"), await eventsOf(host)];
        const after = JSON.parse(await ctl("--json", "status"));
        if (countsOf(after) !== countsOf(now.status)) continue;
        checkCounts(now);
        checkTree(now, tree, events);
        return now;
      }
    };

    // Pings, of which the policy answers every other one.
    const pinged = await agreeAfter(() =>
      client.run(["ping", "-c", "6", "-i", "0.05", "-W", "1", proxyAddress])
    );
    assert.equal(pinged.metrics.get('treegate_decisions_total{decision="echo-reply"}'), 3);

    // Connections to all backends.
    for (const { address, host } of topology.backends) await startEcho(host, address, 2001);
    const { metrics: opened } = await agreeAfter(async () => {
      for (let i = 0; i < 10; i++) {
        await client.run(["nc", "-N", "-w", "5", proxyAddress, "2001"], { stdin: "" });
      }
    });
    assert.equal(opened.get("treegate_connections_opened_total"), 11); // and the pings'
    assert.equal(opened.get("treegate_ports_in_use"), 10);

    // What is dropped, for different reasons.
    const { metrics: dropped } = await agreeAfter(async () => {
      await client.run(["nc", "-w", "1", proxyAddress, "80"]);
      const xmas = ["nmap", "-n", "-Pn", "-sX", "-p", "1-20", "--max-retries", "0"];
      await client.run([...xmas, proxyAddress]);
    });
    assert.ok(dropped.get('treegate_drops_total{reason="tcp-flags"}')! >= 20);
    assert.ok(sumOf(dropped, "node_hits_total{") >= 1); // a SYN may be sent again

    // Bulk, which the kernel carries where it can, to the one backend that is left.
    for (const { address } of topology.backends) {
      if (address !== first!.address) {
        await ctl("drain", address);
      }
    }
    const { metrics } = await agreeAfter(() => carried(client, first!.host, "down", 20));
    assert.ok(sumOf(metrics, "bytes_total{") > 40e6);
    assert.equal(
      metrics.get("treegate_carried_packets_total")! > 0,
      metrics.get("treegate_fast_path") === 1,
    );

    // A reload that changes the tree.
    await Deno.writeTextFile(policy, print(demo).replace("80 -> drop", "80 -> reject"));
    await ctl("reload");
    const { metrics: reloaded } = await agreeAfter(() =>
      client.run(["nc", "-w", "1", proxyAddress, "80"])
    );
    assert.equal(reloaded.get('treegate_reloads_total{result="success"}'), 1);
    assert.equal(reloaded.get('treegate_decisions_total{decision="reject"}'), 1);
    assert.equal(
      reloaded.get(
        'treegate_backend_state{pool="dst-addrs",backend="192.168.0.2",state="draining"}',
      ),
      1,
    );
    await proxy.stop();
  },
);

function sumOf(metrics: Map<string, number>, prefix: string): number {
  const all = [...metrics].filter(([name]) => name.startsWith(`treegate_${prefix}`));
  return all.reduce((sum, [, count]) => sum + count, 0);
}

function checkCounts({ metrics, summary, status }: Said): void {
  const of = (name: string) => metrics.get(`treegate_${name}`);
  const device = 'device="tap100",side="both"';
  assert.deepEqual(
    [
      of(`frames_total{${device},direction="in"}`),
      of(`frames_total{${device},direction="out"}`),
      of('arp_frames_total{direction="in"}'),
      of('arp_frames_total{direction="out"}'),
    ],
    [status.frames.in, status.frames.out, status.arp.in, status.arp.out],
  );
  const frames = /^Frames +: (\d+) in, (\d+) out, (\d+) ARP in, (\d+) ARP out$/m.exec(summary)!;
  assert.deepEqual(frames.slice(1, 3).map(Number), [status.frames.in, status.frames.out]);
  for (const [key, way] of [["pdusIn", "in"], ["pdusOut", "out"]] as const) {
    const count = of(`packets_total{${device},direction="${way}"}`);
    const bytes = of(`bytes_total{${device},direction="${way}"}`);
    assert.deepEqual({ count, bytes }, status[key]);
    assert.match(summary, new RegExp(`^PDUs ${way} +: ${count}, ${bytes} bytes$`, "m"));
  }
  for (const [name, count] of Object.entries(status.decisions)) {
    const label = name.toLowerCase().replace("_", "-");
    assert.equal(of(`decisions_total{decision="${label}"}`), count, name);
    assert.equal(summaryCount(summary, name), count, name);
  }
  const drops = /^Drops .*$/m.exec(summary)![0];
  for (const reason of REASON_NAMES.slice(1)) {
    assert.equal(of(`drops_total{reason="${reason}"}`), summaryCount(drops, reason), reason);
  }
  assert.equal(sumOf(metrics, "connections{"), trackedIn(summary));
  assert.equal(of("carried_packets_total"), status.carried.count);
  const opened = [...summary.matchAll(/(\S+) \w+, connections: (\d+) opened, (\d+) tracked/g)];
  assert.equal(opened.length, 3);
  for (const [, address, count, tracked] of opened) {
    const labels = `pool="dst-addrs",backend="${address}"`;
    assert.equal(of(`backend_connections_opened_total{${labels}}`), Number(count));
    assert.equal(of(`backend_tracked_connections{${labels}}`), Number(tracked));
  }
}

/** The first event of the feed. */
async function eventsOf(host: Host): Promise<string> {
  const { stdout } = await host.run(["curl", "-sS", "-m", "1", `http://${ADMIN}/events`]);
  return /^data: (.*)$/m.exec(stdout)![1]!;
}

/** Hits node by node are those of the summary's lines. */
function checkTree({ metrics, summary, status }: Said, tree: string, event: string): void {
  const { nodes, tree: number } = JSON.parse(tree);
  const data = JSON.parse(event);
  assert.equal(data.tree, number);
  assert.deepEqual([data.in.packets, data.in.bytes], [status.pdusIn.count, status.pdusIn.bytes]);
  assert.equal(data.dropped, sumOf(metrics, "drops_total{"));
  assert.equal(data.hits.length, nodes.length);
  for (const arm of ["not ip.src in $dst-addrs", "icmp", "tcp", "tcp.dport = 80"]) {
    const { id } = nodes.find((node: { arm: string }) => node.arm === arm);
    assert.match(summary, new RegExp(`^ *${data.hits[id]}  +${RegExp.escape(arm)}( |$)`, "m"));
  }
}

labTest("metrics are served at an address of IPv6, with strict sandbox, too", async () => {
  await using topology = await bridged("on the bridge");
  const { host } = topology;
  await host.script("echo 0 > /proc/sys/net/ipv6/conf/lo/disable_ipv6");
  const at = "[::1]:9100";
  const proxy = await startProxy(host, [...usualOptions, `--admin=${at}`, "--sandbox=strict"]);
  await proxy.waitFor(`metrics are served at http://${at}/metrics`);
  const curl = ["curl", "-sS", "-m", "5", "--resolve", `localhost:9100:[::1]`];
  for (const name of [at, "localhost:9100"]) {
    const text = await host.must([...curl, `http://${name}/metrics`]);
    assert.match(text, /^treegate_build_info/m, name);
  }
  assert.match(await host.must([...curl, "-H", "Host: evil.example", `http://${at}/`]), /another/);
  assert.equal((await proxy.stop()).code, 0);
});

labTest("while 30 clients scrape a proxy it answers every ping", async () => {
  await using topology = await bridged("on the bridge");
  const { client, host } = topology;
  const policy = `${topology.lab.folder}/own.policy`;
  await Deno.writeTextFile(policy, "default drop\nicmp -> track, echo\n");
  const flags = [`--admin=${ADMIN}`, `--policy=${policy}`, "--trace=off"];
  const proxy = await startProxy(host, [...usualOptions, ...flags]);
  await proxy.waitFor("metrics are served");
  const scrape =
    `for i in $(seq 5); do curl -sS -m 9 http://${ADMIN}/metrics?nodes=all; done | grep -c ^treegate_nodes`;
  const scrapes = Array.from({ length: 30 }, () => host.run(["sh", "-c", scrape]));
  const { stdout } = await client.run(
    ["ping", "-c", "300", "-i", "0.01", "-W", "5", proxyAddress],
  );
  assert.match(stdout, /300 received/);
  const answers = (await Promise.all(scrapes)).map(({ stdout, stderr }) => stdout.trim() + stderr);
  assert.deepEqual(answers, answers.map(() => "5"));
  await proxy.stop();
});

labTest(
  "while its metrics are attacked the proxy answers every ping, and Prometheus after it",
  async () => {
    await using topology = await bridged("on the bridge");
    const { client, host, lab } = topology;
    const policy = `${lab.folder}/own.policy`;
    await Deno.writeTextFile(policy, "default drop\nicmp -> track, echo\n");
    const flags = [`--admin=${ADMIN}`, `--policy=${policy}`, "--trace=off"];
    const proxy = await startProxy(host, [...usualOptions, ...flags]);
    await proxy.waitFor("metrics are served");
    const attack = host.start([Deno.execPath(), "run", "-A", ATTACK, ADMIN, "300"]);
    const { stdout } = await client.run(
      ["ping", "-c", "500", "-i", "0.01", "-W", "5", proxyAddress],
    );
    assert.match(stdout, /500 received/);
    const connections = Number.parseInt((await attack.stop()).stdout);
    assert.ok(connections > 300, `${connections} connections`);
    const text = await host.must(
      ["curl", "-sS", "--retry", "20", "--retry-all-errors", `http://${ADMIN}/metrics`],
    );
    const series = seriesOf(text);
    assert.equal(
      series.get('treegate_packets_total{device="tap100",side="both",direction="in"}'),
      500,
    );
    assert.ok(series.get("treegate_admin_connections_refused_total")! > 0);
    await proxy.stop();
  },
);

labTest("a proxy says in one line why it can't listen, and ends", async () => {
  await using topology = await bridged("on the bridge");
  const { host } = topology;
  const proxy = await startProxy(host, [...usualOptions, `--admin=${ADMIN}`, "--trace=off"]);
  await proxy.waitFor("metrics are served");
  const other = ["--net=tap200", "--dst-addrs=192.168.0.1", `--admin=${ADMIN}`];
  const { code, stderr } = await host.run(proxyCommand(other));
  assert.equal(code, 1);
  assert.match(
    stderr,
    /^error: Cannot listen at 127\.0\.0\.1:9100: another program listens there$/m,
  );
  const foreign = [...other.slice(0, -1), "--admin=10.9.9.9:9100", "--admin-insecure-bind"];
  const away = await host.run(proxyCommand(foreign));
  assert.equal(away.code, 1);
  assert.match(away.stderr, /^error: Cannot listen at 10\.9\.9\.9:9100: this host has no such/m);
  await proxy.stop();
});
