/**
 * Maintenance of a backend under load, of both families at once: drained, taken out, put back; no
 * connection fails.
 */
import assert from "node:assert/strict";
import { IPV4, IPV6 } from "../lab/families.ts";
import { pacedResult, startPaced } from "../lab/paced.ts";
import { connectPeer, startEcho } from "../lab/peer.ts";
import { proxyCommand, startProxy, usualOptions } from "../lab/proxy.ts";
import { labTests } from "../lab/suite.ts";
import { backendAddresses, bridged, proxyAddress } from "../lab/topology.ts";
import { addTwins, twinOptions } from "../lab/twins.ts";

const labTest = await labTests("nc");

const FAMILIES = [IPV4, IPV6];
/** Of each family, as all that follows. */
const RATE = 30;
const SECONDS = 16;
const LATER = 60;

labTest(
  "a backend is drained, removed and added again under load, and no connection fails",
  async () => {
    await using topology = await bridged("on the bridge");
    const { client, host, lab } = topology;
    await addTwins(lab);
    const addresses = FAMILIES.flatMap(({ of }) => backendAddresses.map(of));
    for (const { host, address } of topology.backends) {
      for (const { of } of FAMILIES) await startEcho(host, of(address), 2000);
    }
    const socket = `${lab.folder}/control`;
    const options = twinOptions([...usualOptions, `--control=${socket}`, "--trace=off"]);
    await startProxy(host, options, addresses);
    const ctl = async (...words: string[]) => {
      const result = await host.run(proxyCommand(["ctl", `--control=${socket}`, ...words]));
      assert.deepEqual([result.code, result.stderr], [0, ""], words.join(" "));
      return result.stdout;
    };
    await Promise.all(FAMILIES.map(async ({ of }) => {
      const [first, own] = [of(backendAddresses[0]!), of(proxyAddress)];
      const name = `dst-addrs/${first}`;
      const paced = await startPaced(client, own, 2000, RATE, SECONDS);
      const drained = await ctl("drain", name, "--wait=10s");
      assert.match(drained, new RegExp(`^${name} +draining .* active +0 +`, "m"), "none is open");
      await ctl("maintenance", name);
      await new Promise((resolve) => setTimeout(resolve, 3000));
      await ctl("remove", name);
      await ctl("add", name);
      const results = await pacedResult(paced, SECONDS);
      assert.deepEqual(results.flatMap(({ failures }) => failures), []);
      const served = results.map(({ byServer }) => byServer[first] ?? 0);
      assert.ok(served.includes(0), `for a time ${first} gets nothing: ${served}`);

      const { byBackend, failures } = await connectPeer(client, own, 2000, LATER, 30);
      assert.deepEqual(failures, []);
      assert.ok((byBackend[first] ?? 0) > 0, `and then ${first} its share again`);
    }));
  },
);
