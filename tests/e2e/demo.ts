/**
 * `deno task demo [--two-sided] [--ipv6]`: plays the seed's demonstration in a lab, or the general
 * case with an interface on each side, with the machine's own ping and nc, and prints what it did
 * and saw. Exit code 0 only when every step held. Nothing stays behind, also after a failure or
 * Ctrl-C.
 */
import { fileURLToPath } from "node:url";
import { must, type Result } from "../support/shell.ts";
import { Lab } from "../lab/lab.ts";
import { type Family, IPV4, IPV6 } from "../lab/families.ts";
import { provide } from "../lab/programs.ts";
import type { Report } from "../lab/peer.ts";
import { lastSummary } from "../lab/proxy.ts";
import { playTwoSided } from "./demo_two_sided.ts";
import { Transcript } from "../lab/transcript.ts";
import { twoSides } from "../lab/two_sides.ts";
import {
  backendAddresses,
  bridged,
  clientAddress,
  proxyAddress,
  tap,
  type Topology,
} from "../lab/topology.ts";

const root = fileURLToPath(new URL("../../", import.meta.url));
const peer = [Deno.execPath(), "run", "--allow-net", `${root}tests/lab/peer.ts`];
const buildTimeoutMs = 300_000;
const interruptedCode = 130;

/** The whole demonstration; the process's exit code. */
async function demo(isTwoSided: boolean, family: Family): Promise<number> {
  const transcript = new Transcript();
  let topology: Topology | null = null;
  const interrupted = (): void => {
    transcript.say("\ninterrupted: tearing the lab down");
    transcript.interrupted = true;
    Promise.resolve(topology?.lab.close()).finally(() => Deno.exit(interruptedCode));
  };
  Deno.addSignalListener("SIGINT", interrupted);
  Deno.addSignalListener("SIGTERM", interrupted);
  try {
    await provide(["cc", "ip", "ping", "nc", "unshare", "nsenter"], (line) => transcript.say(line));
    const obstacle = await Lab.obstacle();
    if (obstacle) throw new Error(`${obstacle}; run the demo as root`);
    await build(transcript);
    if (isTwoSided) {
      const sides = await twoSides();
      topology = sides;
      await family.speak(sides.lab);
      await playTwoSided(sides, `${root}proxy`, family, transcript);
    } else {
      topology = await bridged("behind a port");
      await family.speak(topology.lab);
      await play(topology, family, transcript);
    }
  } catch (error) {
    transcript.step(false, error instanceof Error ? error.message : String(error));
  } finally {
    await topology?.lab.close();
    Deno.removeSignalListener("SIGINT", interrupted);
    Deno.removeSignalListener("SIGTERM", interrupted);
  }
  if (transcript.interrupted) return interruptedCode;
  transcript.say(transcript.failed === 0 ? "\nEvery step held." : "\nThe demo failed.");
  return transcript.failed === 0 ? 0 : 1;
}

async function build(transcript: Transcript): Promise<void> {
  const startMs = performance.now();
  await must([Deno.execPath(), "task", "build"], { cwd: root, timeoutMs: buildTimeoutMs });
  const seconds = ((performance.now() - startMs) / 1000).toFixed(1);
  const version = (await must([`${root}proxy`, "--version"])).trim();
  transcript.step(true, `built ./proxy in ${seconds} s: ${version}`);
}

async function play(
  topology: Topology,
  family: Family,
  transcript: Transcript,
): Promise<void> {
  const { host, backends } = topology;
  const addresses = backendAddresses.map(family.of);
  transcript.step(
    true,
    `a lab of network namespaces: client ${family.of(clientAddress)}, the bridge with ${tap},
  backends ${addresses.join(", ")}`,
  );
  for (const backend of backends) {
    const server = backend.host.start([...peer, "serve", family.of(backend.address), "2000"]);
    await server.waitFor("listening");
  }
  const options = family.options([`--net=${tap}`, `--dst-addrs=${backendAddresses.join(",")}`]);
  const proxy = host.start([`${root}proxy`, ...options]);
  for (const address of addresses) await proxy.waitFor(`backend ${address} is at `);
  transcript.command(`./proxy ${options.join(" ")}`, proxy.stderr);
  transcript.step(
    !/(warning|error): /.test(proxy.stderr),
    "the proxy runs and knows its backends",
  );

  await pings(topology, family, transcript);
  consoleLayout(proxy.stdout, transcript);
  await connections(topology, family, transcript);
  await text(topology, family, transcript);
  await portEighty(topology, family, transcript);

  const { code, timedOut, stdout } = await proxy.stop("SIGTERM");
  transcript.command("kill -TERM $(pidof proxy)", lastSummary(stdout));
  transcript.step(code === 0 && !timedOut, "the proxy ended with its summary, exit code 0");
}

/** 18 pings, 9 answered: the even ones. */
async function pings(
  { client }: Topology,
  family: Family,
  transcript: Transcript,
): Promise<void> {
  const words = ["ping", "-c", "18", "-i", "0.2", "-W", "1", family.of(proxyAddress)];
  const { stdout } = await client.run(words);
  transcript.command(words.join(" "), stdout);
  const answered = [...stdout.matchAll(/icmp_seq=(\d+)/g)].map((match) => Number(match[1]));
  const isEven = answered.join() === "2,4,6,8,10,12,14,16,18";
  transcript.step(isEven, `18 pings, ${answered.length} answered: icmp_seq ${answered.join(", ")}`);
}

/** What the proxy printed about the first two pings. */
function consoleLayout(text: string, transcript: Transcript): void {
  const [first = "", second = ""] = text.match(/^Received pdu$[^]*?^Decision : .*$/gm) ?? [];
  transcript.command("# meanwhile, on the proxy's console", `${first}\n\n${second}`);
  transcript.step(
    /seq 1\n[^]*^Decision : Drop$/m.test(first) &&
      /seq 2\n[^]*^Decision : Echo_reply$/m.test(second),
    "the console shows each PDU and its decision: Drop, then Echo_reply",
  );
}

/** 30 connections, each to a random backend. */
async function connections(
  { client }: Topology,
  family: Family,
  transcript: Transcript,
): Promise<void> {
  const words = [...peer, "connect", family.of(proxyAddress), "2000", "30", "1000"];
  const { byBackend, failures }: Report = JSON.parse(await client.must(words));
  const names = Object.keys(byBackend).sort();
  const total = Object.values(byBackend).reduce((sum, count) => sum + count, 0);
  transcript.say("");
  transcript.step(
    total === 30 && failures.length === 0 && names.length === backendAddresses.length,
    `30 connections to port 2000, ${total} carried 1000 bytes each way: ` +
      names.map((name) => `${byBackend[name]} by ${name}`).join(", "),
  );
  for (const failure of failures.slice(0, 3)) transcript.say(`    ${failure}`);
}

/** A line of text to a backend, and back. */
async function text(
  { client }: Topology,
  family: Family,
  transcript: Transcript,
): Promise<void> {
  const words = ["nc", "-w", "1", family.of(proxyAddress), "2000"];
  const { stdout } = await client.run(words, {
    stdin: "hello from the client\n",
    timeoutMs: 5_000,
  });
  transcript.command(`echo hello from the client | ${words.join(" ")}`, stdout);
  const [greeting, echoed] = stdout.split("\n");
  transcript.step(
    backendAddresses.some((address) => greeting === `from ${family.of(address)}`) &&
      echoed === "hello from the client",
    "text in both directions: the backend's greeting, and the client's line echoed",
  );
}

/** Port 80 answers with nothing at all. */
async function portEighty(
  { client }: Topology,
  family: Family,
  transcript: Transcript,
): Promise<void> {
  const words = ["nc", "-v", "-w", "2", family.of(proxyAddress), "80"];
  const startMs = performance.now();
  const { code, stderr }: Result = await client.run(words, { timeoutMs: 8_000 });
  const elapsedMs = performance.now() - startMs;
  transcript.command(words.join(" "), stderr);
  // A reset or an ICMP error would have ended it at once, with "refused" or "unreachable".
  transcript.step(
    code !== 0 && elapsedMs > 1_900 && !/refused|unreachable/i.test(stderr),
    `port 80 is silent: nc gave up after ${(elapsedMs / 1000).toFixed(1)} s`,
  );
}

if (import.meta.main) {
  const options = new Set(Deno.args);
  const [isTwoSided, isIpv6] = ["--two-sided", "--ipv6"].map((option) => options.delete(option));
  if (options.size > 0) {
    throw new RangeError(
      `Cannot run the demo with "${[...options].join(" ")}": expected --two-sided, --ipv6`,
    );
  }
  Deno.exit(await demo(isTwoSided!, isIpv6 ? IPV6 : IPV4));
}
