/**
 * Checks of backends against real ones: services that die, hosts that are cut off, and what clients
 * see.
 */
import assert from "node:assert/strict";
import { echoDatagrams } from "../lab/datagrams.ts";
import { type Family, inEachFamily, IPV4 } from "../lab/families.ts";
import type { Host } from "../lab/lab.ts";
import { connectPeer, startEcho } from "../lab/peer.ts";
import { askSummary, startProxy, usualOptions } from "../lab/proxy.ts";
import { SteadyConnections } from "../lab/steady.ts";
import { labTests } from "../lab/suite.ts";
import { backendAddresses, bridged, proxyAddress, tap, type Topology } from "../lab/topology.ts";
import type { Background } from "../support/shell.ts";

const labTest = await labTests("nc");

/** A busy machine answers late; who refuses does not. */
const QUICK = "interval 500ms, fastinter 200ms, timeout 3s";
const IMPATIENT = "interval 500ms, fastinter 200ms, timeout 400ms";

const [first, second, third] = backendAddresses as [string, string, string];

/**
 * The bridged lab with a service on each backend, and the proxy, which checks them and knows them
 * all to be up.
 */
async function checkedLab(family: Family, check: string): Promise<{
  readonly topology: Topology;
  readonly proxy: Background;
  readonly services: Background[];
}> {
  const topology = await bridged("on the bridge");
  await family.speak(topology.lab);
  const services: Background[] = [];
  for (const { host, address } of topology.backends) {
    services.push(await startEcho(host, family.of(address), 2000));
  }
  const options = family.options([...usualOptions, `--check=${check}`]);
  const proxy = await startProxy(topology.host, options, backendAddresses.map(family.of));
  for (const address of backendAddresses) {
    await proxy.waitFor(`backend ${family.of(address)} is up: `);
  }
  return { topology, proxy, services };
}

/** Which backends so many connections reach; none fails. */
async function reached(
  { client }: Topology,
  family: Family,
  connections: number,
): Promise<readonly string[]> {
  const proxy = family.of(proxyAddress);
  const { byBackend, failures } = await connectPeer(client, proxy, 2000, connections, 100);
  assert.deepEqual(failures, []);
  return Object.keys(byBackend).sort();
}

function lineAbout(family: Family, address: string, rest: string): RegExp {
  return new RegExp(`backend ${family.pattern(address)} ${rest}`, "m");
}

/** How many connections each service has taken. */
function taken(services: readonly Background[]): number[] {
  return services.map(({ stdout }) => stdout.split("\n").length - 2);
}

inEachFamily(
  labTest,
  "checks: a service that dies gets no more connections until it is back",
  async (family) => {
    const { topology, proxy, services } = await checkedLab(
      family,
      `tcp 2000, slow-start 60s, ${QUICK}`,
    );
    await using _lab = topology;
    const { of } = family;
    assert.deepEqual(taken(services), [0, 0, 0], "a check is no connection to a service");
    await services[0]!.stop("SIGKILL");
    await proxy.waitFor(
      lineAbout(family, first, "is down: tcp 2000: the connection was refused \\(3 .*2 of 3 left"),
    );
    assert.deepEqual(await reached(topology, family, 60), [second, third].map(of));
    const { host, address } = topology.backends[0]!;
    await startEcho(host, of(address), 2000);
    await proxy.waitFor(lineAbout(family, first, "is up: tcp 2000: it answers \\(2 checks"));
    const { client } = topology;
    const { byBackend, failures } = await connectPeer(client, of(proxyAddress), 2000, 120, 100);
    assert.deepEqual(failures, []);
    assert.ok((byBackend[of(first)] ?? 0) < 30, "its share of a third has just begun to grow");
    assert.match(await askSummary(proxy), /^Checks {6}: \d+ frames out, \d+ frames in$/m);
    // What would be seen of a check is what a backend says to it, here that it refuses.
    const refusal = /src port 2000\n.*dst port \d+\n.*flags RST ACK\n.*seq 0\n/;
    assert.doesNotMatch(proxy.stdout, refusal, "no frame of a check is shown");
  },
);

labTest(
  "checks: connections of a host that is cut off are reset, the others never notice",
  async () => {
    const { topology, proxy, services } = await checkedLab(IPV4, `tcp 2000, ${IMPATIENT}`);
    await using _lab = topology;
    const steady = await SteadyConnections.open(topology.client, proxyAddress, 2000, 30);
    const [, own] = taken(services);
    await topology.backends[1]!.host.script("ip link set eth0 down");
    await proxy.waitFor(
      /backend 192\.168\.0\.2 is down: tcp 2000: no answer within 400 ms \(3 .*2 of 3 left/m,
    );
    assert.deepEqual(await reached(topology, IPV4, 60), [first, third]);
    const { failures } = await steady.report();
    assert.deepEqual([failures.length, failures.filter((one) => !/reset/.test(one))], [own, []]);
    await topology.backends[1]!.host.script("ip link set eth0 up");
    await proxy.waitFor(/backend 192\.168\.0\.2 is up: .*\(2 checks/);
    assert.deepEqual(await reached(topology, IPV4, 60), [first, second, third]);

    // It flaps: nobody else's connections notice.
    for (let i = 0; i < 3; i++) {
      await topology.backends[1]!.host.script(
        "ip link set eth0 down; sleep 1; ip link set eth0 up",
      );
      await new Promise((resolve) => setTimeout(resolve, 500));
    }
    const later = await steady.report();
    assert.equal(later.failures.length, own);
    // Where checks come late, it was down for three of them.
    await new Promise((resolve) => setTimeout(resolve, 2000));
    assert.deepEqual(await reached(topology, IPV4, 60), [first, second, third]);

    // Its own link is down: nothing is said of the backends, whose connections stay.
    const said = proxy.stderr.length;
    await topology.host.script(`ip link set ${tap} down; sleep 3; ip link set ${tap} up`);
    await new Promise((resolve) => setTimeout(resolve, 2000));
    assert.doesNotMatch(proxy.stderr.slice(said), /is down: tcp/);
    assert.equal((await steady.report()).failures.length, own);
  },
);

inEachFamily(
  labTest,
  "checks: with all services dead a client is refused at once",
  async (family) => {
    const { topology, proxy, services } = await checkedLab(family, `tcp 2000, ${QUICK}`);
    await using _lab = topology;
    const { of } = family;
    for (const service of services) await service.stop("SIGKILL");
    for (const address of backendAddresses) {
      await proxy.waitFor(`backend ${of(address)} is down: `);
    }
    const nc = ["nc", "-v", "-w", "3", of(proxyAddress), "2000"];
    const { code, stderr } = await topology.client.run(nc);
    assert.equal(code, 1);
    assert.match(stderr, /Connection refused/);
    assert.match(await askSummary(proxy), /all-down \d/);
  },
);

inEachFamily(labTest, "checks: what Linux answers to each kind", async (family) => {
  await using topology = await bridged("on the bridge");
  await family.speak(topology.lab);
  const { host } = topology.backends[0]!;
  await echoDatagrams(host, family.of(first));
  await startHttp(host, family.of(first));
  const cases: [string, RegExp][] = [
    ["icmp", lineAbout(family, first, "is up: icmp: it answers")],
    ["udp 2000 0a0b", /is up: udp 2000 0a0b: it answers/],
    ["udp 2001 0a0b", /is down: .*: ICMP destination unreachable: port unreachable \(1 check/],
    ["http 8000 /up 200", /is up: http 8000 \/up 200: it answers/],
    ["http 8000 /other 200", /is down: http 8000 \/other 200: the status is 503 \(1 check/],
  ];
  for (const [check, line] of cases) {
    const options = [`--net=${tap}`, `--dst-addrs=${first}`, `--check=${check}, ${QUICK}`];
    const backend = family.of(first);
    const proxy = await startProxy(topology.host, family.options(options), [backend]);
    await proxy.waitFor(line);
    assert.equal((await proxy.stop()).code, 0);
  }
});

/** Says 200 to `/up` and 503 to all else, on port 8000. */
async function startHttp(host: Host, address: string): Promise<void> {
  const program = `
    Deno.serve({ hostname: "${address}", port: 8000 }, ({ url }) =>
      new Response("hello", { status: new URL(url).pathname === "/up" ? 200 : 503 }));`;
  const server = host.start([Deno.execPath(), "eval", program]);
  await server.waitFor("Listening");
}
