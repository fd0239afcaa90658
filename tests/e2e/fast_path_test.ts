/**
 * Connections that the kernel carries, on a real TAP device. What goes with any proxy goes with
 * this one, too: the other lab tests run so where the kernel can, but for those that capture on the
 * device itself, and `FAST_PATH=on` has them fail where it can't.
 */
import assert from "node:assert/strict";
import { loadBpf } from "../../ffi/bpf.ts";
import { buildShim } from "../../src/pack/compile_c.ts";
import { arriving, carried, findNothingWrong } from "../lab/bulk.ts";
import { complaints } from "../lab/capture.ts";
import { echoDatagrams } from "../lab/datagrams.ts";
import { inEachFamily } from "../lab/families.ts";
import { askSummary, startProxy, summaryCount } from "../lab/proxy.ts";
import { labTests } from "../lab/suite.ts";
import { backendAddresses, bridged, proxyAddress, tap } from "../lab/topology.ts";
import { whyNoBpf } from "../support/bpf_kernel.ts";

const labTest = whyNoBpf() === undefined
  ? await labTests("nc", "ss", "nstat", "sha256sum", "dumpcap", "tshark")
  : () => {};

const BACKEND = backendAddresses[0]!;
const options = [`--net=${tap}`, `--dst-addrs=${BACKEND}`, "--trace=off", "--fast-path=on"];
const MEGABYTES = 20;

const name = "proxy, fast path, carries 20 MB each way and every checksum is right";
inEachFamily(labTest, name, async (family) => {
  await using topology = await bridged("behind a port", "port");
  await family.speak(topology.lab);
  const { client, host, backends } = topology;
  const backend = backends[0]!.host;
  const proxy = await startProxy(host, family.options(options), [family.of(BACKEND)]);
  const captures = await arriving(topology, family);
  for (const way of ["up", "down"] as const) await carried(client, backend, way, MEGABYTES, family);
  for (const capture of captures) {
    await capture.stop();
    assert.deepEqual(await complaints(capture.file), []);
  }
  await findNothingWrong(client, backend);
  const summary = await askSummary(proxy);
  // On the way up the server closes its side at once: from then on the proxy sees each packet.
  const [, bytes] = /^Carried {5}: \d+ by the kernel, (\d+) bytes/m.exec(summary)!;
  assert.ok(Number(bytes) > 0.9e6 * MEGABYTES, summary);
  const reasons = ["out-of-window", "tcp-checksum", "invalid", "no-mapping", "mtu-exceeded"];
  for (const reason of [...reasons, "send-failed"]) {
    assert.equal(summaryCount(summary, reason), 0, reason);
  }
  await proxy.stop();
});

labTest("proxy, fast path, is gone with the proxy that was killed", async () => {
  await using topology = await bridged("behind a port", "nobody");
  const { client, host, backends } = topology;
  const backend = backends[0]!.host;
  const proxy = await startProxy(host, options, [BACKEND]);
  backend.start(["sh", "-c", "yes | nc -l -p 2000"]);
  await new Promise((resolve) => setTimeout(resolve, 500));
  const reader = client.start(["sh", "-c", `nc ${proxyAddress} 2000 > /dev/null`]);
  await new Promise((resolve) => setTimeout(resolve, 1000));
  assert.match(await askSummary(proxy), /^Carried /m);
  const objects = await kernelObjects(proxy.pid);
  assert.deepEqual(objects.map(({ kind }) => kind).sort(), ["link", "map", "prog"]);
  assert.deepEqual(stillThere(objects), objects);
  await proxy.stop("SIGKILL");
  await new Promise((resolve) => setTimeout(resolve, 300));
  assert.deepEqual(stillThere(objects), []);
  const received = async () => {
    const counters = await client.must(["cat", "/sys/class/net/eth0/statistics/rx_bytes"]);
    return Number(counters);
  };
  const before = await received();
  await new Promise((resolve) => setTimeout(resolve, 1000));
  assert.ok(await received() - before < 100_000, "only what is sent again");
  await reader.stop("SIGKILL");
});

/** BPF_…_GET_FD_BY_ID of bpf(2). */
const BY_ID = { prog: 13, map: 14, link: 30 } as const;

interface KernelObject {
  readonly kind: keyof typeof BY_ID;
  readonly id: number;
}

/** What the process holds of bpf(2), by its descriptors. */
async function kernelObjects(pid: number): Promise<KernelObject[]> {
  const found = new Map<string, KernelObject>();
  for await (const { name } of Deno.readDir(`/proc/${pid}/fdinfo`)) {
    const text = await Deno.readTextFile(`/proc/${pid}/fdinfo/${name}`).catch(() => "");
    // A link tells its program, too.
    const [key, kind, id] = /^(link|map|prog)_id:\t(\d+)$/m.exec(text) ?? [];
    if (key !== undefined) found.set(key, { kind: kind as KernelObject["kind"], id: Number(id) });
  }
  return [...found.values()];
}

/** Those that the kernel still has. */
function stillThere(objects: readonly KernelObject[]): KernelObject[] {
  const { symbols } = loadBpf(buildShim());
  return objects.filter(({ kind, id }) => {
    const attributes = new Uint8Array(new Uint32Array(32).buffer);
    new DataView(attributes.buffer).setUint32(0, id, true);
    const fd = symbols.bpf_call(BY_ID[kind], attributes, attributes.length);
    if (fd >= 0) symbols.tap_close(fd);
    return fd >= 0;
  });
}

const datagrams = "proxy, fast path, carries datagrams both ways and counts them";
inEachFamily(labTest, datagrams, async (family) => {
  await using topology = await bridged("behind a port", "nobody");
  await family.speak(topology.lab);
  const { client, host, backends } = topology;
  await echoDatagrams(backends[0]!.host, family.of(BACKEND));
  const file = `${topology.lab.folder}/udp.policy`;
  await Deno.writeTextFile(
    file,
    "default drop\n" +
      "not ip.src in $dst-addrs -> translate-a-to-b, forward\n" +
      "otherwise -> translate-b-to-a, forward\n",
  );
  const flags = family.options([...options, `--policy=${file}`]);
  const proxy = await startProxy(host, flags, [family.of(BACKEND)]);
  const program = `
    const hostname = "${family.number === 4 ? "0.0.0.0" : "::"}";
    const socket = Deno.listenDatagram({ transport: "udp", hostname, port: 0 });
    const to = { transport: "udp", hostname: "${family.of(proxyAddress)}", port: 2000 };
    for (let i = 0; i < 500; i++) {
      const data = new Uint8Array(1 + i).fill(i);
      await socket.send(data, to);
      const [back] = await socket.receive();
      if (back.length !== data.length || back[0] !== data[0]) throw new Error("another one");
    }
    console.log("done");
    Deno.exit(0);`;
  assert.match(await client.must([Deno.execPath(), "eval", "--unstable-net", program]), /done/);
  const summary = await askSummary(proxy);
  const carried = summaryCount(summary.replace(/^Carried +: (\d+)/m, "carried $1"), "carried");
  assert.ok(carried > 900, summary);
  assert.match(summary, /^PDUs in {5}: 1000,/m);
  await proxy.stop();
});
