/** Bulk through the proxy, from end to end, and what the kernels there have found wrong. */
import assert from "node:assert/strict";
import { Capture } from "./capture.ts";
import { IPV4 } from "./families.ts";
import type { Host } from "./lab.ts";
import { proxyAddress, type Topology } from "./topology.ts";

/**
 * Random bytes through the proxy, from a client of that family to a backend of that one; fails
 * unless their SHA-256 is the same at the other end.
 */
export async function carried(
  client: Host,
  backend: Host,
  way: "up" | "down",
  megabytes: number,
  family = IPV4,
  far = family,
): Promise<void> {
  const data = `${client.lab.folder}/data`;
  const wanted = await client.script(`
    head -c ${megabytes}000000 /dev/urandom > ${data}
    sha256sum < ${data}`);
  const isUp = way === "up";
  const listen = `nc -N -l ${far.of("192.168.0.1")} 2000`;
  const serving = backend.start(
    ["sh", "-c", isUp ? `${listen} | sha256sum` : `${listen} < ${data}`],
  );
  await backend.script("timeout 5 sh -c 'until ss -Hltn | grep -q :2000; do sleep 0.05; done'");
  const call = `nc ${isUp ? "-N" : "-d"} ${family.of(proxyAddress)} 2000`;
  const called = await client.script(isUp ? `${call} < ${data}` : `${call} | sha256sum`);
  const served = (await serving.result()).stdout;
  assert.equal(isUp ? served : called, wanted, way);
}

/** The kernels have found no checksum wrong, in nothing that they have received. */
export async function findNothingWrong(...hosts: readonly Host[]): Promise<void> {
  for (const host of hosts) {
    const names = ["Tcp", "Udp", "Icmp", "IpExt", "Udp6", "Icmp6"].map((mib) =>
      `${mib}InCsumErrors`
    );
    const counts = await host.must(["nstat", "-asz", ...names]);
    const found = [...counts.matchAll(/^(\w+CsumErrors) +(\d+)/gm)].map(([, name, n]) => [name, n]);
    assert.ok(found.length >= 3, counts);
    assert.ok(found.every(([, count]) => count === "0"), `${host.name}: ${counts}`);
  }
}

/** Captures of what arrives at the client and at the first backend, each of its family. */
export async function arriving(
  { client, backends }: Topology,
  family = IPV4,
  far = family,
): Promise<Capture[]> {
  const ends = [[client, family], [backends[0]!.host, far]] as const;
  return await Promise.all(ends.map(async ([host, { packets }]) => {
    return await Capture.start(
      host,
      "eth0",
      `ether dst ${await host.mac("eth0")} and ${packets}`,
    );
  }));
}
