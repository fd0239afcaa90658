/**
 * The seed's demonstration on a real TAP device, in both forms of its network and in both families:
 * pings, connections to all backends, the silent port, the console, and every emitted frame judged
 * by tshark.
 */
import assert from "node:assert/strict";
import type { Background } from "../support/shell.ts";
import { findNothingWrong } from "../lab/bulk.ts";
import { Capture, complaints, dissect, flipBit } from "../lab/capture.ts";
import { type Family, IPV4, IPV6 } from "../lab/families.ts";
import { connectPeer, startEcho } from "../lab/peer.ts";
import { allOnDevice, lastSummary, startProxy, summaryCount, usualOptions } from "../lab/proxy.ts";
import { labTests } from "../lab/suite.ts";
import {
  backendAddresses,
  bridged,
  clientAddress,
  direct,
  proxyAddress,
  tap,
  type Topology,
} from "../lab/topology.ts";
import { kernelCounter } from "../lab/traffic.ts";
import { addTwins, twinOf, twinOptions } from "../lab/twins.ts";

const labTest = await labTests("ping", "nc", "nstat", "ethtool", "dumpcap", "tshark");
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
    await addTwins(topology.lab);
    const { host, client, backends } = topology;
    const capture = await Capture.start(host, tap, `ether src ${mac}`);
    const range = `--ports=${ports.first}-${ports.last}`;
    const options = twinOptions([...usualOptions, `--mac=${mac}`, range, ...more]);
    const resolved = [...backendAddresses, ...backendAddresses.map(twinOf)];
    const proxy = await startProxy(host, options, resolved);

    const families = [IPV4, IPV6];
    for (const family of families) { // in turn: both count as pings
      await pingsAreAnsweredInTurn(topology, family);
      consoleShowsPings(proxy.stdout, family);
    }
    await Promise.all(families.map(async (family) => {
      const servers = await startServers(topology, family);
      await connectionsReachEveryBackend(topology, family);
      const seen = servers.flatMap((server) => server.stdout.trim().split("\n").slice(1));
      assert.equal(seen.length, 60);
      for (const line of seen) {
        const [address, port] = line.split(" ");
        assert.equal(address, family.of(proxyAddress));
        assert.ok(Number(port) >= ports.first && Number(port) <= ports.last, `port ${port}`);
      }
    }));
    await portEightyIsSilent(topology, families);
    for (const family of families) consoleShowsTcp(proxy.stdout, family);
    const { code, timedOut, stdout } = await proxy.stop();
    assert.deepEqual({ code, timedOut }, { code: 0, timedOut: false });
    const summary = lastSummary(stdout);
    assert.equal(summaryCount(summary, "Echo_reply"), 10, summary);
    const opened = [...summary.matchAll(/ (\d+) opened/g)].map((match) => Number(match[1]));
    assert.equal(opened.reduce((sum, count) => sum + count, 0), 120, summary);

    assert.ok(await capture.stop() > 2000, "the capture holds the connections");
    await framesAreClean(capture.file);
    await findNothingWrong(client, ...backends.map((backend) => backend.host));
  });
}

function startServers({ backends }: Topology, family: Family): Promise<Background[]> {
  return Promise.all(
    backends.map(({ host, address }) => startEcho(host, family.of(address), 2000)),
  );
}

async function pingsAreAnsweredInTurn({ client }: Topology, family: Family): Promise<void> {
  const words = ["ping", "-c", "10", "-i", "0.2", "-W", "1", family.of(proxyAddress)];
  const { stdout } = await client.run(words);
  const answered = [...stdout.matchAll(/icmp_seq=(\d+) ttl=64 /g)].map(([, seq]) => Number(seq));
  assert.deepEqual(answered, [2, 4, 6, 8, 10], stdout);
  assert.match(stdout, /10 packets transmitted, 5 received, 50% packet loss/);
}

/** What the seed prints of each packet first, for a regular expression. */
function layerThree(family: Family): string {
  return String.raw`^Received pdu
Layer 3 \| IPv${family.number}     \| src  ${family.pattern(clientAddress)}
                   \| dst  ${family.pattern(proxyAddress)}
`;
}

/** The pings as the seed prints them, the decisions in turn. */
function consoleShowsPings(text: string, family: Family): void {
  const entry = new RegExp(
    String.raw`${layerThree(family)}Layer 3 \| ICMPv${family.number}   ` +
      String.raw`\| type Echo request, id [0-9a-f]{4}, seq (\d+)
                   \| data
(?:                   \|      0000000[0-3]: (?:[0-9a-f]{4} ){8} [ -~]{16}
){4}Decision : (Drop|Echo_reply)

`,
    "gm",
  );
  const shown = [...text.matchAll(entry)].map(([, seq, decision]) => `${seq} ${decision}`);
  const wanted = Array.from(
    { length: 10 },
    (_, index) => `${index + 1} ${index % 2 ? "Echo_reply" : "Drop"}`,
  );
  assert.deepEqual(shown, wanted, text.slice(0, 2000));
}

async function connectionsReachEveryBackend({ client }: Topology, family: Family): Promise<void> {
  const report = await connectPeer(client, family.of(proxyAddress), 2000, 60, 100_000);
  const { byBackend, failures } = report;
  assert.deepEqual(failures, []);
  assert.deepEqual(Object.keys(byBackend).sort(), backendAddresses.map(family.of));
  assert.equal(Object.values(byBackend).reduce((sum, count) => sum + count, 0), 60);
}

async function portEightyIsSilent(
  { client }: Topology,
  families: readonly Family[],
): Promise<void> {
  const sentAgain = () => kernelCounter(client, "TcpExtTCPSynRetrans");
  const before = await sentAgain();
  await Promise.all(families.map(async (family) => {
    const words = ["nc", "-v", "-w", "2", family.of(proxyAddress), "80"];
    const { code, stderr } = await client.run(words);
    assert.equal(code, 1);
    assert.match(stderr, /timed out/);
  }));
  assert.ok(await sentAgain() - before >= families.length, "nothing answers its SYN");
}

/** A SYN to the closed port: the last thing the console shows, in the seed's columns. */
function consoleShowsTcp(text: string, family: Family): void {
  const entry = new RegExp(
    String.raw`${layerThree(family)}Layer 4 \| TCP      \| src port \d+
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

const tcpAck = 8;
const tcpData = 32;
/** Bits to be flipped, each in a frame of its own: of which family, and in which byte. */
const flips: readonly (readonly [Family, number])[] = [
  ...[14 + 8, 14 + 20 + tcpAck, 14 + 20 + tcpData].map((at) => [IPV4, at] as const),
  ...[14 + 40 + tcpAck, 14 + 40 + tcpData].map((at) => [IPV6, at] as const),
];

/** First that a wrong sum would be noticed, then that there is none. */
async function framesAreClean(file: string): Promise<void> {
  const fields = [
    ...["frame.number", "tcp.srcport", "tcp.len", "arp.opcode"],
    ...["ip.proto", "ip.ttl", "icmp.type", "ipv6.hlim", "icmpv6.type"],
  ];
  const frames = (await dissect(file, "", fields)).map((line) => line.split("\t"));
  const withData = ({ number }: Family) =>
    frames.filter(([, , len, , isIpv4]) => Number(len) > 0 && !isIpv4 === (number === 6));
  let flipped = file;
  const damaged = flips.map(([family], i) => Number(withData(family)[i]![0]));
  for (const [i, [, at]] of flips.entries()) flipped = await flipBit(flipped, damaged[i]!, at);
  const seen = (await complaints(flipped)).filter((line) => line.includes("checksum"));
  const found = seen.map((line) => Number(/^frame (\d+): /.exec(line)![1]));
  assert.deepEqual(new Set(found), new Set(damaged), seen.join("; "));
  assert.deepEqual(await complaints(file), []);

  const kinds = Map.groupBy(frames, ([, srcPort, , ...kind]) => {
    return (srcPort === "" ? kind : ["tcp", ...kind]).join(" ").trim().replaceAll(/ +/g, " ");
  });
  // ARP; reports of groups, questions and answers about neighbours; own answers to pings with a
  // full TTL; forwarded TCP with one less than the sender's 64.
  const neighbours = ["1", "2", "1 143", "255 135", "255 136"];
  const expected = [...neighbours, "1 64 0", "64 129", "tcp 6 63", "tcp 63"];
  assert.deepEqual([...kinds.keys()].filter((kind) => !expected.includes(kind)), []);
  for (const answer of ["1 64 0", "64 129"]) assert.equal(kinds.get(answer)?.length, 5, answer);
  assert.ok(frames.every(([, srcPort]) => srcPort !== "80"), "nothing comes from the silent port");
}
