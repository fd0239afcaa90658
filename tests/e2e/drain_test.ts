/** Maintenance of a backend under load: drained, taken out, put back; no connection fails. */
import assert from "node:assert/strict";
import { pacedResult, startPaced } from "../lab/paced.ts";
import { connectPeer, startEcho } from "../lab/peer.ts";
import { proxyCommand, startProxy, usualOptions } from "../lab/proxy.ts";
import { labTests } from "../lab/suite.ts";
import { backendAddresses, bridged, proxyAddress } from "../lab/topology.ts";

const labTest = await labTests("nc");

const RATE = 60;
const SECONDS = 16;
const LATER = 90;

labTest(
  "a backend is drained, removed and added again under load, and no connection fails",
  async () => {
    await using topology = await bridged("on the bridge");
    const { client, host, lab } = topology;
    for (const { host, address } of topology.backends) await startEcho(host, address, 2000);
    const socket = `${lab.folder}/control`;
    await startProxy(host, [...usualOptions, `--control=${socket}`, "--trace=off"]);
    const ctl = async (...words: string[]) => {
      const result = await host.run(proxyCommand(["ctl", `--control=${socket}`, ...words]));
      assert.deepEqual([result.code, result.stderr], [0, ""], words.join(" "));
      return result.stdout;
    };
    const [first] = backendAddresses as [string];
    const name = `dst-addrs/${first}`;

    const paced = await startPaced(client, proxyAddress, 2000, RATE, SECONDS);
    const drained = await ctl("drain", name, "--wait=10s");
    assert.match(drained, new RegExp(`^${name} +draining .* active +0 +`, "m"), "none is open");
    await ctl("maintenance", name);
    await new Promise((resolve) => setTimeout(resolve, 3000));
    await ctl("remove", name);
    await ctl("add", name);
    const results = await pacedResult(paced, SECONDS);
    assert.deepEqual(results.flatMap(({ failures }) => failures), []);
    const served = results.map(({ byServer }) => byServer[first] ?? 0);
    assert.ok(served.includes(0), `for a time it gets nothing: ${served}`);

    const { byBackend, failures } = await connectPeer(client, proxyAddress, 2000, LATER, 30);
    assert.deepEqual(failures, []);
    assert.ok((byBackend[first] ?? 0) > 0, "and then its share again");
  },
);
