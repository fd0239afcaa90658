/**
 * The seed's demonstration on a real TAP device, in both forms of its network: pings, connections
 * to all backends, the silent port, the console, and every emitted frame judged by tshark.
 */
import assert from "node:assert/strict";
import { fileURLToPath } from "node:url";
import { Capture, complaints, dissect, flipBit } from "../lab/capture.ts";
import type { Report } from "../lab/peer.ts";
import { allOnDevice, lastSummary, startProxy, summaryCount, usualOptions } from "../lab/proxy.ts";
import { labTests } from "../lab/suite.ts";
import {
  backendAddresses,
  bridged,
  direct,
  proxyAddress,
  tap,
  type Topology,
} from "../lab/topology.ts";
import { kernelCounter } from "../lab/traffic.ts";

const labTest = await labTests("ping", "nc", "ethtool", "dumpcap", "tshark");
const peer = fileURLToPath(new URL("../lab/peer.ts", import.meta.url));
const mac = "02:54:47:00:00:64";

interface Case {
  readonly name: string;
  readonly make: () => Promise<Topology>;
  readonly ports: { readonly first: number; readonly last: number };
  readonly options: readonly string[];
}

const cases: readonly Case[] = [
  {
    name: "direct on the tap",
    make: direct,
    ports: { first: 1024, last: 65_535 },
    // No port lies between the host and itself that would complete what it leaves to its interface.
    options: ["--offload=off", allOnDevice],
  },
  {
    name: "bridged, the client on the bridge",
    make: () => bridged("on the bridge"),
    ports: { first: 20_000, last: 20_999 },
    options: [],
  },
];

for (const { name, make, ports, options: more } of cases) {
  labTest(`proxy, ${name}, answers, balances and translates with clean frames`, async () => {
    await using topology = await make();
    const capture = await Capture.start(topology.host, tap, `ether src ${mac}`);
    const servers = await startServers(topology);
    const range = `--ports=${ports.first}-${ports.last}`;
    const options = [...usualOptions, `--mac=${mac}`, range, ...more];
    const proxy = await startProxy(topology.host, options);

    await pingsAreAnsweredInTurn(topology);
    consoleShowsPings(proxy.stdout);
    await connectionsReachEveryBackend(topology);
    const seen = servers.flatMap((server) => server.stdout.trim().split("\n").slice(1));
    assert.equal(seen.length, 60);
    for (const line of seen) {
      const [address, port] = line.split(" ");
      assert.equal(address, proxyAddress);
      assert.ok(Number(port) >= ports.first && Number(port) <= ports.last, `port ${port}`);
    }
    await portEightyIsSilent(topology);
    consoleShowsTcp(proxy.stdout);
    const { code, timedOut, stdout } = await proxy.stop();
    assert.deepEqual({ code, timedOut }, { code: 0, timedOut: false });
    const summary = lastSummary(stdout);
    assert.equal(summaryCount(summary, "Echo_reply"), 10, summary);
    const opened = [...summary.matchAll(/ (\d+) opened/g)].map((match) => Number(match[1]));
    assert.equal(opened.reduce((sum, count) => sum + count, 0), 60, summary);

    assert.ok(await capture.stop() > 1000, "the capture holds the connections");
    await framesAreClean(capture.file);
  });
}

async function startServers({ backends }: Topology) {
  const servers = [];
  for (const { host, address } of backends) {
    const server = host.start([
      Deno.execPath(),
      "run",
      "--allow-net",
      peer,
      "serve",
      address,
      "2000",
    ]);
    await server.waitFor("listening");
    servers.push(server);
  }
  return servers;
}

async function pingsAreAnsweredInTurn({ client }: Topology): Promise<void> {
  const { stdout } = await client.run(["ping", "-c", "20", "-i", "0.2", "-W", "1", proxyAddress]);
  const answered = [...stdout.matchAll(/icmp_seq=(\d+) ttl=64 .*/g)].map((match) =>
    Number(match[1])
  );
  assert.deepEqual(answered, [2, 4, 6, 8, 10, 12, 14, 16, 18, 20], stdout);
  assert.match(stdout, /20 packets transmitted, 10 received, 50% packet loss/);
}

/** The 20 pings as the seed prints them, the decisions in turn. */
function consoleShowsPings(text: string): void {
  const entry = new RegExp(
    String.raw`^Received pdu
Layer 3 \| IPv4     \| src  192\.168\.0\.254
                   \| dst  192\.168\.0\.100
Layer 3 \| ICMPv4   \| type Echo request, id [0-9a-f]{4}, seq (\d+)
                   \| data
(?:                   \|      0000000[0-3]: (?:[0-9a-f]{4} ){8} [ -~]{16}
){4}Decision : (Drop|Echo_reply)

`,
    "gm",
  );
  const shown = [...text.matchAll(entry)].map(([, seq, decision]) => `${seq} ${decision}`);
  const wanted = Array.from(
    { length: 20 },
    (_, index) => `${index + 1} ${index % 2 ? "Echo_reply" : "Drop"}`,
  );
  assert.deepEqual(shown, wanted, text.slice(0, 2000));
}

async function connectionsReachEveryBackend({ client }: Topology): Promise<void> {
  const words = ["connect", proxyAddress, "2000", "60", "100000"];
  const output = await client.must([Deno.execPath(), "run", "--allow-net", peer, ...words]);
  const { byBackend, failures }: Report = JSON.parse(output);
  assert.deepEqual(failures, []);
  assert.deepEqual(Object.keys(byBackend).sort(), backendAddresses);
  assert.equal(Object.values(byBackend).reduce((sum, count) => sum + count, 0), 60);
}

async function portEightyIsSilent({ client }: Topology): Promise<void> {
  const sentAgain = () => kernelCounter(client, "TcpExtTCPSynRetrans");
  const before = await sentAgain();
  const { code, stderr } = await client.run(["nc", "-v", "-w", "2", proxyAddress, "80"]);
  assert.equal(code, 1);
  assert.match(stderr, /timed out/);
  assert.ok(await sentAgain() > before, "nothing answers its SYN");
}

/** A SYN to the closed port: the last thing the console shows, in the seed's columns. */
function consoleShowsTcp(text: string): void {
  const entry = new RegExp(
    String.raw`^Received pdu
Layer 3 \| IPv4     \| src  192\.168\.0\.254
                   \| dst  192\.168\.0\.100
Layer 4 \| TCP      \| src port \d+
                   \| dst port 80
                   \| flags SYN
                   \| seq \d+
                   \| ack 0
                   \| data
Decision : Drop

`,
    "m",
  );
  assert.match(text, entry);
}

/** First that a wrong sum would be noticed, then that there is none. */
async function framesAreClean(file: string): Promise<void> {
  const [dataFrame] = await dissect(file, "tcp.len > 0", ["frame.number"]);
  const ttl = 14 + 8;
  const tcpAck = 14 + 20 + 8;
  const tcpData = 14 + 20 + 32;
  for (const offset of [ttl, tcpAck, tcpData]) {
    const found = await complaints(await flipBit(file, Number(dataFrame), offset));
    assert.ok(
      found.some((line) => line.startsWith(`frame ${dataFrame}: `) && line.includes("checksum")),
      `a flipped bit at ${offset} is seen: ${found.join("; ")}`,
    );
  }
  assert.deepEqual(await complaints(file), []);

  const protocols = await dissect(file, "", ["arp.opcode", "ip.proto", "ip.ttl"]);
  const kinds = new Set(protocols);
  // ARP; own ICMP with a full TTL; forwarded TCP with one less than the sender's 64.
  assert.deepEqual([...kinds].filter((kind) => !/^([12]\t\t|\t1\t64|\t6\t63)$/.test(kind)), []);
  const icmp = await dissect(file, "icmp", ["icmp.type"]);
  assert.deepEqual(icmp, Array(10).fill("0"));
  assert.deepEqual(await dissect(file, "tcp.srcport == 80", ["frame.number"]), []);
}
