/**
 * The program on one processor, and the proxy on another that removes the connection and opens the
 * next one in its entry, as fast as both can: no frame is made of two connections. With
 * `RUNS=2000000` it takes some minutes.
 */
import assert from "node:assert/strict";
import { BpfKernel } from "../../src/bpf/kernel.ts";
import { SeededRandom } from "../../src/core/random.ts";
import { layoutOf } from "../../src/fastpath/layout.ts";
import { fastPathOf, MEMORY } from "../../src/fastpath/program.ts";
import { SharedMemory, type Way } from "../../src/fastpath/shared_memory.ts";
import { FlowTable } from "../../src/flow/table.ts";
import { ESTABLISHED } from "../../src/flow/tcp_state.ts";
import { ACK, END, MAX_END, MAX_WIN, WORDS_PER_SIDE } from "../../src/flow/tcp_window.ts";
import { buildShim } from "../../src/pack/compile_c.ts";
import { parseAddress, parseMac } from "../../src/wire/address.ts";
import { RAISES_TTL } from "../../src/wire/pdu.ts";
import { whyNoBpf } from "../support/bpf_kernel.ts";
import { buildTcp } from "../support/frames.ts";
import type { Race, Seen } from "./race_worker.ts";

const ignore = whyNoBpf() !== undefined;
const canAsk = Deno.permissions.querySync({ name: "env", variable: "RUNS" }).state === "granted";
const RUNS = Number((canAsk && Deno.env.get("RUNS")) || 100_000);
const SIZES = { connections: 16, neighbors: 4, counters: 1, processors: 256 };
const PROXY = parseAddress("192.168.0.100");
const CLIENT = parseAddress("192.168.0.254");
const SERVICE = (40_000 << 16) | 2000;

Deno.test({ name: "fast path never mixes two connections on two processors", ignore }, async () => {
  const shim = buildShim();
  const kernel = new BpfKernel(shim);
  const layout = layoutOf(SIZES);
  const { fd, buffer } = kernel.share("race", layout.bytes);
  const memory = new SharedMemory(layout, buffer);
  const table = new FlowTable(SIZES.connections, new SeededRandom(1), memory.table);
  const program = kernel.load("race", fastPathOf(layout, 0).assemble({ [MEMORY]: fd }));
  memory.setLink(0, { mac: parseMac("02:00:00:00:01:00"), ifindex: 1, mtu: 1500 });
  const hosts = [1, 2, 3];
  for (const host of hosts) memory.setNeighbor(host, parseMac(`02:00:00:00:00:0${host}`));
  const worker = new Worker(new URL("race_worker.ts", import.meta.url), { type: "module" });
  const done = new Int32Array(new SharedArrayBuffer(4));
  const seen = new Promise<Seen>((resolve) => worker.onmessage = ({ data }) => resolve(data));
  worker.postMessage(
    {
      shim,
      program,
      frame: buildTcp({ flags: "A", seq: 1000, ack: 5000 }),
      runs: RUNS,
      expected: new Map(hosts.map((host) => [host, expectedOf(host)])),
      done,
    } satisfies Race,
  );
  let reuses = 0;
  while (Atomics.load(done, 0) === 0) {
    // The event loop has a turn: the worker's messages need it.
    for (let i = 0; i < 2000; i++) open(table, memory, hosts[reuses++ % hosts.length]!);
    await new Promise((resolve) => setTimeout(resolve, 0));
  }
  const { forwarded, mixed } = await seen;
  worker.terminate();
  for (const open of [program, fd]) kernel.close(open);
  assert.equal(mixed, null);
  assert.ok(forwarded > 0 && reuses > 1000, `${forwarded} forwarded, ${reuses} reuses`);
});

/** The entry's next connection: to that host, with a port and a TTL that go with it. */
function open(table: FlowTable, memory: SharedMemory, host: number): void {
  for (const entry of table) {
    memory.demote(entry);
    table.remove(entry);
  }
  const ports = (2000 << 16) | (1024 + host);
  const backend = parseAddress("10.0.0.0") + host;
  const entry = table.insert(6, CLIENT, PROXY, SERVICE, backend, PROXY, ports);
  table.setState(entry, ESTABLISHED);
  for (const [side, sent, acked] of [[0, 1000, 5000], [1, 5000, 1000]] as const) {
    const base = side * WORDS_PER_SIDE;
    table.setData(entry, base + END, sent);
    table.setData(entry, base + MAX_END, sent + 60_000);
    table.setData(entry, base + MAX_WIN, 60_000);
    table.setData(entry, base + ACK, acked);
  }
  const links = { fromLink: 0, toLink: 0 } as const;
  const way: Way = { neighbor: host, counter: 0, ...links, newTtl: RAISES_TTL | (10 * host) };
  assert.ok(memory.promote(entry, way, way));
}

function expectedOf(host: number): string {
  return [`02000000000${host}`, 10 * host, (1024 + host) * 0x1_0000 + 2000].join();
}
