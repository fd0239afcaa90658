/**
 * The general case of the demonstration: two subnets, two clients, three backends; see
 * `two_sides.ts`.
 */
import type { Background } from "../support/shell.ts";
import { connectPeer, startEcho } from "../lab/peer.ts";
import { lastSummary } from "../lab/proxy.ts";
import type { Family } from "../lab/families.ts";
import type { Transcript } from "../lab/transcript.ts";
import {
  backendAddresses,
  clientAddresses,
  ownA,
  ownB,
  twoSidedOptions,
  type TwoSides,
} from "../lab/two_sides.ts";

/** `proxy` is the path of the executable. */
export async function playTwoSided(
  topology: TwoSides,
  proxy: string,
  family: Family,
  transcript: Transcript,
): Promise<void> {
  const clients = clientAddresses.map(family.of);
  const [backend, ...others] = backendAddresses.map(family.of);
  transcript.step(
    true,
    `a lab of network namespaces:
  side A  proxy ${family.of(ownA)}, client ${clients[0]}, a router, and behind it client ${
      clients[1]
    }
  side B  proxy ${family.of(ownB)}, backend ${backend}, a router, and behind it backends ${
      others.join(", ")
    }`,
  );
  const servers: Background[] = [];
  for (const { host, address } of topology.backends) {
    servers.push(await startEcho(host, family.of(address), 2000));
  }
  await run(topology, proxy, [], family, transcript, async () => {
    await pings(topology, family, transcript);
    await connections(topology, servers, [family.of(ownB)], family, transcript);
  });
  await run(topology, proxy, ["--preserve-source"], family, transcript, async () => {
    await connections(topology, servers, clients, family, transcript);
  });
}

/** Runs the proxy while `play` goes on, and shows its summary. */
async function run(
  { host }: TwoSides,
  path: string,
  more: readonly string[],
  family: Family,
  transcript: Transcript,
  play: () => Promise<void>,
): Promise<void> {
  const options = family.options([...twoSidedOptions, ...more, "--trace=off"]);
  const proxy = host.start([path, ...options]);
  for (const name of [`backend ${family.of("10.0.0.2")}`, `gateway ${family.of("10.0.0.253")}`]) {
    await proxy.waitFor(`${name} is at `);
  }
  transcript.command(`./proxy ${options.join(" ")}`, proxy.stderr);
  transcript.step(!/(warning|error): /.test(proxy.stderr), "the proxy runs on both sides");
  await play();
  const { code, timedOut, stdout } = await proxy.stop("SIGTERM");
  transcript.command("kill -TERM $(pidof proxy)", lastSummary(stdout));
  transcript.step(code === 0 && !timedOut, "the proxy ended with its summary, exit code 0");
}

/**
 * Of two pings the second is answered, whoever sends them; a policy of its own would send them on.
 */
async function pings(
  { clients }: TwoSides,
  family: Family,
  transcript: Transcript,
): Promise<void> {
  for (const [i, client] of clients.entries()) {
    const words = ["ping", "-c", "2", "-i", "0.2", "-W", "1", family.of(ownA)];
    const { stdout } = await client.run(words);
    transcript.command(`${words.join(" ")}    # client ${family.of(clientAddresses[i]!)}`, stdout);
    transcript.step(
      /2 packets transmitted, 1 received/.test(stdout) && stdout.includes("icmp_seq=2"),
      `client ${family.of(clientAddresses[i]!)}: every other ping is answered`,
    );
  }
}

/** 30 connections of each client, each to a random backend; the backends say whom they saw. */
async function connections(
  { clients, backends }: TwoSides,
  servers: readonly Background[],
  expected: readonly string[],
  family: Family,
  transcript: Transcript,
): Promise<void> {
  const before = servers.map(({ stdout }) => stdout.length);
  transcript.say("");
  for (const [i, client] of clients.entries()) {
    const { byBackend, failures } = await connectPeer(client, family.of(ownA), 2000, 30, 1000);
    const names = Object.keys(byBackend).sort();
    const total = Object.values(byBackend).reduce((sum, count) => sum + count, 0);
    transcript.step(
      total === 30 && failures.length === 0 && names.length === backends.length,
      `client ${family.of(clientAddresses[i]!)}: 30 connections to ${family.of(ownA)} port 2000: ` +
        names.map((name) => `${byBackend[name]} by ${name}`).join(", "),
    );
    for (const failure of failures.slice(0, 3)) transcript.say(`    ${failure}`);
  }
  for (const [i, { stdout }] of servers.entries()) {
    const seen = stdout.slice(before[i]).match(/^[\d:a-f.]+(?= \d+$)/gm) ?? [];
    const addresses = [...new Set(seen)].sort();
    transcript.step(
      addresses.join() === [...expected].sort().join(),
      `backend ${family.of(backendAddresses[i]!)} saw ${seen.length} connections, from ${
        addresses.join(" and ")
      }`,
    );
  }
}
