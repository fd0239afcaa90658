/**
 * Another try, with real backends: a service that is gone costs no new connection, and all of them
 * are refused at once.
 */
import assert from "node:assert/strict";
import { inEachFamily } from "../lab/families.ts";
import { connectPeer, startEcho } from "../lab/peer.ts";
import { askSummary, startProxy, usualOptions } from "../lab/proxy.ts";
import { SteadyConnections } from "../lab/steady.ts";
import { labTests } from "../lab/suite.ts";
import { backendAddresses, bridged, proxyAddress } from "../lab/topology.ts";
import type { Background } from "../support/shell.ts";

const labTest = await labTests("nc");

const CONNECTIONS = 150;

inEachFamily(
  labTest,
  "retries: with one service of three killed no new connection fails, with all killed each is refused",
  async (family) => {
    await using topology = await bridged("on the bridge");
    await family.speak(topology.lab);
    const { client, backends, host } = topology;
    const services: Background[] = [];
    for (const { host, address } of backends) {
      services.push(await startEcho(host, family.of(address), 2000));
    }
    const all = backendAddresses.map(family.of);
    const own = family.of(proxyAddress);
    const proxy = await startProxy(host, family.options([...usualOptions, "--check=off"]), all);
    const steady = await SteadyConnections.open(client, own, 2000, 12);
    const open = services.map(({ stdout }) => stdout.split("\n").length - 2);
    await services[0]!.stop("SIGKILL");
    const { byBackend, failures } = await connectPeer(client, own, 2000, CONNECTIONS, 100);
    assert.deepEqual(failures, []);
    assert.deepEqual(Object.keys(byBackend).sort(), all.slice(1));
    assert.equal((await steady.report()).failures.length, open[0], "those already open to it");
    assert.match(await askSummary(proxy), /retried \d/);
    for (const service of services.slice(1)) await service.stop("SIGKILL");
    const { code, stderr } = await client.run(["nc", "-v", "-w", "3", own, "2000"]);
    assert.equal(code, 1);
    assert.match(stderr, /Connection refused/);
  },
);
