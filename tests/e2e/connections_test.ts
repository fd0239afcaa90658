/**
 * Connections through the proxy, on a real TAP device, with programs that nobody here wrote: large
 * pings, a path MTU that drops, traceroute and tracepath, ssh, redis, curl and nc, idle
 * connections, and port scans beside running ones.
 */
import assert from "node:assert/strict";
import type { Background } from "../support/shell.ts";
import type { Host } from "../lab/lab.ts";
import { Capture, complaints } from "../lab/capture.ts";
import { echoDatagrams } from "../lab/datagrams.ts";
import { connectPeer, startEcho } from "../lab/peer.ts";
import { askSummary, startProxy, summaryCount, trackedIn, usualOptions } from "../lab/proxy.ts";
import { SteadyConnections } from "../lab/steady.ts";
import { type Family, inEachFamily } from "../lab/families.ts";
import { labTests } from "../lab/suite.ts";
import {
  backendAddresses,
  bridged,
  type Completes,
  proxyAddress,
  routed,
  tap,
} from "../lab/topology.ts";

const onClientsPort = () => bridged("behind a port");

/** What it is told to have, so that a capture can hold what it sends. */
const mac = "02:54:47:00:00:64";

/** A proxy with one backend, the first. */
const oneBackend: readonly string[] = [`--net=${tap}`, "--dst-addrs=192.168.0.1"];

/** Starts the proxy with all backends, of this family. */
function startUsual(host: Host, family: Family, ...more: readonly string[]): Promise<Background> {
  const options = family.options([...usualOptions, ...more]);
  return startProxy(host, options, backendAddresses.map(family.of));
}

const pingTest = await labTests("ping");

inEachFamily(
  pingTest,
  "proxy, pinged with 65,507 bytes, reassembles and answers in fragments",
  async (family) => {
    await using topology = await onClientsPort();
    await family.speak(topology.lab);
    const proxy = await startUsual(topology.host, family);
    // A client holds few fragments back while it asks where the proxy is.
    await topology.client.run(["ping", "-c", "2", "-i", "2", "-W", "1", family.of(proxyAddress)]);
    const { stdout } = await topology.client.run(
      ["ping", "-s", "65507", "-c", "10", "-i", "0.2", "-W", "2", family.of(proxyAddress)],
    );
    assert.match(stdout, /10 packets transmitted, 5 received, 50% packet loss/);
    const answered = [...stdout.matchAll(/^65515 bytes .* icmp_seq=(\d+) ttl=64 /gm)];
    assert.deepEqual(answered.map(([, seq]) => Number(seq)), [2, 4, 6, 8, 10], stdout);
    assert.equal(summaryCount(await askSummary(proxy), "Echo_reply"), 6);
  },
);

const mtuTest = await labTests("nc", "cmp", "dumpcap", "tshark", "ethtool");

const completions: readonly [Completes, string][] = [
  ["sender", "packets"],
  ["port", "segments to be cut up"],
];
for (const [completes, what] of completions) {
  inEachFamily(
    mtuTest,
    `proxy, path MTU of ${what} to a backend drops to 1,280, passes on what the router says`,
    async (family) => {
      await using topology = await routed(completes);
      await family.speak(topology.lab);
      const { client, router, far, farAddress, gateway } = topology;
      const server = await startEcho(far, family.of(farAddress), 2000);
      const capture = await Capture.start(
        topology.host,
        tap,
        `ether src ${mac} and ${family.errors}`,
      );
      const options = [`--net=${tap}`, `--dst-addrs=${farAddress}`, `--gateway=${gateway}`];
      const proxy = await startProxy(
        topology.host,
        family.options([...options, `--mac=${mac}`]),
        [],
      );
      await passesTenMegabytes(client, family.of(proxyAddress), () => dropMtu(router, far));
      assert.match(server.stdout, new RegExp(`^${family.pattern(proxyAddress)} `, "m"));
      // The client learnt it about the address that it talks to.
      assert.match(
        await client.must(["ip", "route", "get", family.of(proxyAddress)]),
        /\bmtu 1280\b/,
      );
      await proxy.stop();
      await isClean(capture);
    },
  );

  inEachFamily(
    mtuTest,
    `proxy, path MTU of ${what} to the client drops to 1,280, passes on what the router says`,
    async (family) => {
      await using topology = await routed(completes);
      await family.speak(topology.lab);
      const { router, far, gateway, backends } = topology;
      const [backend] = backends;
      await startEcho(backend!.host, family.of(backend!.address), 2000);
      const capture = await Capture.start(
        topology.host,
        tap,
        `ether src ${mac} and ${family.errors}`,
      );
      const options = [...oneBackend, `--gateway=${gateway}`, `--mac=${mac}`];
      const proxy = await startProxy(topology.host, family.options(options), []);
      await passesTenMegabytes(far, family.of(proxyAddress), () => dropMtu(router, far));
      assert.match(
        await backend!.host.must(["ip", "route", "get", family.of(proxyAddress)]),
        /\bmtu 1280\b/,
      );
      await proxy.stop();
      await isClean(capture);
    },
  );
}

/** Something was captured, and tshark finds nothing wrong with it. */
async function isClean(capture: Capture): Promise<void> {
  assert.ok(await capture.stop() > 0);
  assert.deepEqual(await complaints(capture.file), []);
}

/**
 * Over one connection: a greeting, then `meanwhile`, then 10 MB there and back, every byte
 * compared.
 */
async function passesTenMegabytes(
  client: Host,
  proxy: string,
  meanwhile: () => Promise<void>,
): Promise<void> {
  const data = `${client.lab.folder}/data`;
  const echoed = `${client.lab.folder}/echoed`;
  const go = `${client.lab.folder}/go`;
  const lines = `
    head -c 10000000 /dev/urandom > ${data}
    mkfifo ${go}
    { cat ${go} > /dev/null; cat ${data}; } | nc -N ${proxy} 2000 > ${echoed}`;
  const transfer = client.start(["sh", "-ec", lines]);
  await until(async () => await sizeOf(echoed) > 0, "a greeting through the proxy");
  await meanwhile();
  await Deno.writeTextFile(go, "go");
  assert.ok(await transfer.ended(20_000), `ends in time; ${await sizeOf(echoed)} bytes are back`);
  assert.equal((await transfer.result()).code, 0);
  const { stdout } = await client.run(
    ["sh", "-c", `tail -n +2 ${echoed} | head -c 10000000 | cmp - ${data} && echo same`],
  );
  assert.equal(stdout, "same\n");
}

/** The link behind the router gets a smaller MTU, at both ends. */
async function dropMtu(router: Host, far: Host): Promise<void> {
  await router.script("ip link set eth1 mtu 1280");
  await far.script("ip link set eth0 mtu 1280");
}

const traceTest = await labTests("traceroute", "tracepath", "dumpcap", "tshark", "ethtool");

inEachFamily(
  traceTest,
  "proxy, traced with TCP, is the first hop and the connection the second",
  async (family) => {
    await using topology = await onClientsPort();
    await family.speak(topology.lab);
    const { client, host, backends } = topology;
    for (const backend of backends) await startEcho(backend.host, family.of(backend.address), 2000);
    const proxy = await startUsual(host, family);
    const words = ["traceroute", "-T", "-p", "2000", "-n", "-q", "2", "-w", "2", "-O", "info"];
    const { stdout } = await client.run([...words, family.of(proxyAddress)]);
    const [, first, second, ...more] = stdout.trimEnd().split("\n");
    const own = family.pattern(proxyAddress);
    assert.match(first!, new RegExp(String.raw`^ 1 {2}${own}( {1,2}[\d.]+ ms){2}$`), stdout);
    assert.match(second!, new RegExp(`^ 2 {2}${own} <syn,ack>`), stdout);
    assert.deepEqual(more, []);
    await proxy.stop();
  },
);

inEachFamily(
  traceTest,
  "proxy, traced towards a backend behind a router, lets the router speak",
  async (family) => {
    await using topology = await routed();
    await family.speak(topology.lab);
    const { client, far, farAddress, gateway } = topology;
    await startEcho(far, family.of(farAddress), 2000);
    const capture = await Capture.start(topology.host, tap, `ether src ${mac}`);
    const options = [`--net=${tap}`, `--dst-addrs=${farAddress}`, `--gateway=${gateway}`];
    const proxy = await startProxy(topology.host, family.options([...options, `--mac=${mac}`]), []);
    await firstContact(client, family.of(proxyAddress));
    const words = ["traceroute", "-T", "-p", "2000", "-n", "-q", "1", "-w", "2"];
    const { stdout } = await client.run([...words, family.of(proxyAddress)]);
    const hops = stdout.trimEnd().split("\n").slice(1).map((line) => line.split(/\s+/)[2]);
    assert.deepEqual(hops, [proxyAddress, gateway, proxyAddress].map(family.of), stdout);
    await proxy.stop();
    await isClean(capture);
  },
);

const udpPolicy = `default drop
not ip.src in $dst-addrs
  udp        -> translate-a-to-b, forward
otherwise    -> translate-b-to-a, forward
`;

inEachFamily(
  traceTest,
  "proxy, tracepath with a policy that forwards UDP, finds path and MTU",
  async (family) => {
    await using topology = await routed();
    await family.speak(topology.lab);
    const { lab, client, router, far, farAddress, gateway } = topology;
    await dropMtu(router, far);
    const policy = `${lab.folder}/udp.policy`;
    await Deno.writeTextFile(policy, udpPolicy);
    const options = [
      ...[`--net=${tap}`, `--dst-addrs=${farAddress}`, `--gateway=${gateway}`],
      ...[`--policy=${policy}`, `--mac=${mac}`],
    ];
    const capture = await Capture.start(topology.host, tap, `ether src ${mac}`);
    const proxy = await startProxy(topology.host, family.options(options), []);
    const { stdout } = await client.run(["tracepath", "-n", "-m", "6", family.of(proxyAddress)]);
    const [own, next] = [proxyAddress, gateway].map(family.pattern);
    assert.match(stdout, new RegExp(`^ 1: {2}${own} `, "m"), stdout);
    assert.match(stdout, new RegExp(`^ 2: {2}${next} `, "m"), stdout);
    assert.match(stdout, new RegExp(`^ 3: {2}${own} .* reached$`, "m"), stdout);
    assert.match(stdout, /Resume: pmtu 1280 hops 3 /, stdout);
    await proxy.stop();
    await isClean(capture);
  },
);

/** The first packet may wait for ARP longer than a tracer does. */
async function firstContact(client: Host, proxy: string): Promise<void> {
  const { stdout } = await client.run(["nc", "-N", "-w", "5", proxy, "2000"]);
  assert.match(stdout, /^from /);
}

const sshTest = await labTests("ssh", "sshd", "ssh-keygen");

inEachFamily(sshTest, "proxy, ssh, runs a command and carries a megabyte", async (family) => {
  await using topology = await onClientsPort();
  await family.speak(topology.lab);
  const { client, host, backends } = topology;
  const proxy = await startProxy(host, family.options(oneBackend), [family.of("192.168.0.1")]);
  const ssh = await startSshd(family, backends[0]!.host, backends[0]!.address);
  const { stdout, stderr } = await client.run([
    ...ssh,
    `ip -${family.number} -o addr show dev eth0`,
  ]);
  assert.match(stdout, new RegExp(` ${family.pattern("192.168.0.1")}/`), stderr);
  const { stdout: sum } = await client.run(
    [...ssh, "sha256sum"],
    { stdin: "0123456789abcdef".repeat(65_536) },
  );
  assert.match(sum, new RegExp(`^${await sha256("0123456789abcdef".repeat(65_536))} `));
  await proxy.stop();
}, { otherUsers: true });

/** Starts sshd with keys made for this lab; the words that call it through the proxy. */
async function startSshd(
  family: Family,
  host: Host,
  address: string,
): Promise<string[]> {
  const at = `${host.lab.folder}/ssh`;
  await host.script(`
    mkdir -p /run/sshd ${at}
    ssh-keygen -q -t ed25519 -N "" -f ${at}/host
    ssh-keygen -q -t ed25519 -N "" -f ${at}/user
    cat > ${at}/config <<END
HostKey ${at}/host
AuthorizedKeysFile ${at}/user.pub
ListenAddress ${family.host(address)}:22
StrictModes no
UsePAM no
PasswordAuthentication no
KbdInteractiveAuthentication no
PidFile none
END`);
  const sshd = (await host.must(["sh", "-c", "command -v sshd"])).trim();
  await host.start([sshd, "-D", "-e", "-f", `${at}/config`]).waitFor("Server listening");
  const options = ["StrictHostKeyChecking=no", `UserKnownHostsFile=${at}/known`, "BatchMode=yes"];
  return [
    ...["ssh", "-F", "none", "-i", `${at}/user`, "-q"],
    ...options.flatMap((option) => ["-o", option]),
    `root@${family.of(proxyAddress)}`,
  ];
}

const redisTest = await labTests("redis-server", "redis-cli");

inEachFamily(redisTest, "proxy, redis-cli, stores, fetches and pipelines", async (family) => {
  await using topology = await onClientsPort();
  await family.speak(topology.lab);
  const { lab, client, host, backends } = topology;
  const proxy = await startProxy(host, family.options(oneBackend), [family.of("192.168.0.1")]);
  const { host: backend, address } = backends[0]!;
  const settings = [
    "--bind",
    family.of(address),
    "--protected-mode",
    "no",
    "--save",
    "",
    "--dir",
    lab.folder,
  ];
  const redis = backend.start(["redis-server", "--port", "6379", ...settings]);
  await redis.waitFor(/Ready to accept connections/);
  const call = (...words: string[]) =>
    client.must(["redis-cli", "-h", family.of(proxyAddress), ...words]);
  assert.equal(await call("set", "key", "value"), "OK\n");
  assert.equal(await call("get", "key"), "value\n");
  assert.equal(await call("-r", "1000", "incr", "n").then(lastLine), "1000");
  const sets = Array.from({ length: 5000 }, (_, index) => `set k${index} ${index}\n`).join("");
  const piped = await client.run(["redis-cli", "-h", family.of(proxyAddress), "--pipe"], {
    stdin: sets,
  });
  assert.match(piped.stdout, /errors: 0, replies: 5000/);
  assert.equal(await call("dbsize"), "5002\n");
  await proxy.stop();
});

const curlTest = await labTests("curl");

inEachFamily(
  curlTest,
  "proxy, curl, reuses a connection and fetches a megabyte",
  async (family) => {
    await using topology = await onClientsPort();
    await family.speak(topology.lab);
    const { client, host, backends } = topology;
    const proxy = await startProxy(host, family.options(oneBackend), [family.of("192.168.0.1")]);
    const program = `Deno.serve({ hostname: "${
      family.of("192.168.0.1")
    }", port: 8080 }, (request) =>
    new Response(request.url.endsWith("/large") ? "x".repeat(1e6) : "hello"))`;
    const server = backends[0]!.host.start([Deno.execPath(), "eval", program]);
    await server.waitFor("Listening");
    const url = `http://${family.host(proxyAddress)}:8080`;
    const format = "%{http_code} %{num_connects} %{size_download}\n";
    const words = [`${url}/`, "-o", "/dev/null", `${url}/large`, "-o", "/dev/null"];
    const output = await client.must(["curl", "-sS", "-m", "10", "-w", format, ...words]);
    assert.equal(output, "200 1 5\n200 0 1000000\n");
    await proxy.stop();
  },
);

const ncTest = await labTests("nc");

inEachFamily(ncTest, "proxy, nc -N, carries an answer after the half-close", async (family) => {
  await using topology = await onClientsPort();
  await family.speak(topology.lab);
  const { client, host, backends } = topology;
  const proxy = await startProxy(host, family.options(oneBackend), [family.of("192.168.0.1")]);
  // It can only answer once it has seen the end of what it is sent, and takes its time.
  const program = `
    const listener = Deno.listen({ hostname: "${family.of("192.168.0.1")}", port: 2000 });
    console.log("listening");
    using connection = await listener.accept();
    let lenBytes = 0;
    for (const buffer = new Uint8Array(65536);;) {
      const got = await connection.read(buffer);
      if (got === null) break;
      lenBytes += got;
    }
    await new Promise((resolve) => setTimeout(resolve, 2000));
    await connection.write(new TextEncoder().encode(lenBytes + " bytes\\n"));`;
  const server = backends[0]!.host.start([Deno.execPath(), "eval", program]);
  await server.waitFor("listening");
  const sent = "half-close\n".repeat(100_000);
  const { stdout } = await client.run(["nc", "-N", family.of(proxyAddress), "2000"], {
    stdin: sent,
  });
  assert.equal(stdout, `${sent.length} bytes\n`);
  assert.ok(await server.ended(2000), "the server has closed");
  await proxy.stop();
});

const everyProtocolPolicy = `default drop
not ip.src in $dst-addrs
  icmp       -> translate-a-to-b, forward
  udp        -> translate-a-to-b, forward
otherwise    -> translate-b-to-a, forward
`;

const fragmentTest = await labTests("ping", "nc", "dumpcap", "tshark", "ethtool");

inEachFamily(
  fragmentTest,
  "proxy, policy that forwards pings and UDP, carries them whole and in parts",
  async (family) => {
    await using topology = await onClientsPort();
    await family.speak(topology.lab);
    const { lab, client, host, backends } = topology;
    const capture = await Capture.start(host, tap, `ether src ${mac}`);
    const policy = `${lab.folder}/every.policy`;
    await Deno.writeTextFile(policy, everyProtocolPolicy);
    const options = [...oneBackend, `--mac=${mac}`, `--policy=${policy}`];
    const proxy = await startProxy(host, family.options(options), [family.of("192.168.0.1")]);

    const own = family.of(proxyAddress);
    for (const bytes of ["56", "1472", "1473", "20000", "65507"]) {
      const words = ["ping", "-s", bytes, "-c", "3", "-i", "0.1", "-W", "2", own];
      const { stdout } = await client.run(words);
      // Each way costs a hop: the answer is the backend's, not the proxy's.
      assert.match(stdout, /ttl=63 /);
      assert.match(stdout, /3 packets transmitted, 3 received/);
    }

    const { host: backend, address } = backends[0]!;
    await echoDatagrams(backend, family.of(address));
    for (const bytes of [1, 1472, 1473, 16_000]) {
      const sent = "u".repeat(bytes);
      const { stdout } = await client.run(
        ["nc", "-u", "-w", "1", own, "2000"],
        { stdin: sent },
      );
      assert.equal(stdout, sent, `${bytes} bytes`);
    }
    await proxy.stop();
    assert.ok(await capture.stop() > 100);
    assert.deepEqual(await complaints(capture.file), []);
  },
);

const hairpinPolicy = `default drop
new          -> translate-a-to-b, forward
from side b  -> translate-b-to-a, forward
otherwise    -> translate-a-to-b, forward
`;

const hairpinTest = await labTests();

inEachFamily(
  hairpinTest,
  "proxy, a backend as client, reaches every backend and itself",
  async (family) => {
    await using topology = await onClientsPort();
    await family.speak(topology.lab);
    const { lab, host, backends } = topology;
    for (const backend of backends) await startEcho(backend.host, family.of(backend.address), 2000);
    const policy = `${lab.folder}/hairpin.policy`;
    await Deno.writeTextFile(policy, hairpinPolicy);
    const proxy = await startUsual(host, family, `--policy=${policy}`);
    const report = await connectPeer(backends[0]!.host, family.of(proxyAddress), 2000, 60, 20_000);
    assert.deepEqual(report.failures, []);
    assert.deepEqual(Object.keys(report.byBackend).sort(), backendAddresses.map(family.of));
    await proxy.stop();
  },
);

const idleTest = await labTests("nc");

inEachFamily(
  idleTest,
  "proxy, timers of 5 s, forgets idle connections and keeps busy ones",
  async (family) => {
    await using topology = await onClientsPort();
    await family.speak(topology.lab);
    const { client, host, backends } = topology;
    const { host: backend, address } = backends[0]!;
    await startEcho(backend, family.of(address), 2000);
    const flags = ["half-open", "established", "half-closed", "closing", "reset", "udp", "icmp"]
      .map((name) => `--timeout-${name}=5`);
    const proxy = await startProxy(
      host,
      family.options([...oneBackend, ...flags]),
      [family.of("192.168.0.1")],
    );
    const tracked = async () => trackedIn(await askSummary(proxy));

    // A backend that can't answer leaves a half-open connection behind.
    await backend.script(`ip route add blackhole ${family.of(proxyAddress)}`);
    await client.run(["nc", "-w", "1", family.of(proxyAddress), "2000"]);
    await backend.script(`ip route del blackhole ${family.of(proxyAddress)}`);
    const idle = await say(client, family.of(proxyAddress), 2000);
    const busy = await say(client, family.of(proxyAddress), 2000);
    await busy.exchange("begin");
    await idle.exchange("begin");
    const closed = await client.run(["nc", "-N", "-w", "2", family.of(proxyAddress), "2000"]);
    assert.equal(closed.stdout, `from ${family.of("192.168.0.1")}\n`);
    assert.equal(await tracked(), 4, "half-open, idle, busy and closing");
    for (let second = 1; second <= 8; second++) {
      await sleep(1000);
      await busy.exchange(`second ${second}`);
      if (second === 2) assert.equal(await tracked(), 4, "nothing goes before its time");
    }
    assert.equal(await tracked(), 1, "only the busy one is left");

    const strays = summaryCount(await askSummary(proxy), "stray");
    await idle.line("too late");
    await idle.end();
    assert.ok(!idle.output.includes("too late"), idle.output);
    assert.ok(summaryCount(await askSummary(proxy), "stray") > strays);
    assert.equal(await tracked(), 1, "what comes too late opens nothing");
    await busy.exchange("still here");
    const again = await client.run(["nc", "-N", "-w", "2", family.of(proxyAddress), "2000"]);
    assert.equal(again.stdout, `from ${family.of("192.168.0.1")}\n`);
    await proxy.stop();
  },
);

const scanTest = await labTests("nmap");
/** What runs at the same time: the last three get no answer and mostly wait. */
const scans: readonly (readonly string[])[] = [["-sS"], ["-sF", "-sN", "-sX"]];

inEachFamily(
  scanTest,
  "proxy, scanned by nmap in four ways, leaves running connections alone",
  async (family) => {
    await using topology = await onClientsPort();
    await family.speak(topology.lab);
    const { client, host, backends } = topology;
    for (const backend of backends) await startEcho(backend.host, family.of(backend.address), 2000);
    const proxy = await startUsual(host, family, "--trace=off");
    const steady = await SteadyConnections.open(client, family.of(proxyAddress), 2000, 20);
    const speed = ["-n", "-Pn", "-T4", "--max-retries", "1", "--min-rate", "3000", "-p1-10000"];
    for (const kinds of scans) {
      const six = family.number === 6 ? ["-6"] : [];
      const scan = (kind: string) =>
        client.must(["nmap", kind, ...six, ...speed, family.of(proxyAddress)]);
      // A fast scan leaves little time for exchanges: some more of the same do.
      let exchanges = 0;
      for (let runs = 1; exchanges < 10; runs++) {
        const outputs = await Promise.all(kinds.map(scan));
        if (kinds.includes("-sS")) assert.match(outputs[0]!, /^2000\/tcp open /m);
        const { fewest, failures } = await steady.report();
        assert.deepEqual(failures, [], kinds.join());
        assert.ok(fewest > 0 && runs <= 10, `${kinds}: ${exchanges} + ${fewest} in ${runs} runs`);
        exchanges += fewest;
      }
    }
    // And the proxy is as it was for newcomers.
    const { failures } = await connectPeer(client, family.of(proxyAddress), 2000, 50, 10_000);
    assert.deepEqual(failures, []);
    await proxy.stop();
  },
);

/** A connection to the echo server, line by line. */
class Conversation {
  readonly #nc: Background;

  constructor(nc: Background) {
    this.#nc = nc;
  }

  get output(): string {
    return this.#nc.stdout;
  }

  async line(text: string): Promise<void> {
    await this.#nc.write(`${text}\n`);
  }

  /** Waits until the other end has closed or reset the connection. */
  async end(): Promise<void> {
    assert.ok(await this.#nc.ended(5000), this.output);
  }

  /** Sends a line and waits until it is back. */
  async exchange(text: string): Promise<void> {
    await this.line(text);
    await this.#nc.waitFor(`${text}\n`, 2000);
  }
}

async function say(client: Host, proxy: string, port: number): Promise<Conversation> {
  const nc = client.start(["nc", proxy, String(port)], { stdin: "" });
  await nc.waitFor("from ");
  return new Conversation(nc);
}

async function until(holds: () => Promise<boolean>, what: string): Promise<void> {
  const deadline = performance.now() + 10_000;
  while (!await holds()) {
    if (performance.now() > deadline) throw new Error(`Cannot see in time: ${what}`);
    await sleep(50);
  }
}

async function sizeOf(file: string): Promise<number> {
  try {
    return (await Deno.stat(file)).size;
  } catch {
    return 0;
  }
}

async function sha256(text: string): Promise<string> {
  const digest = await crypto.subtle.digest("SHA-256", new TextEncoder().encode(text));
  return new Uint8Array(digest).toHex();
}

function lastLine(text: string): string {
  return text.trimEnd().split("\n").at(-1)!;
}

function sleep(ms: number): Promise<void> {
  return new Promise((resolve) => setTimeout(resolve, ms));
}
