import assert from "node:assert/strict";
import type { Config } from "../../src/datapath/config.ts";
import { replayCommand } from "../../src/cli/replay_command.ts";
import { Reason, reasonName } from "../../src/core/reason.ts";
import { OffloadGuess } from "../../src/device/capture/offload_guess.ts";
import { type PcapRecord, readPcap } from "../../src/device/capture/pcap.ts";
import { writePcap } from "../support/pcap.ts";
import { writePcapng } from "../support/pcapng.ts";
import { demo } from "../../src/policy/language/built_in.ts";
import { parseAddress, parseMac } from "../../src/wire/address.ts";
import { buildArp, buildIcmp, buildTcp, bytesOf, readIp, readTcp } from "../support/frames.ts";
import { linkConfig, testConfig } from "../support/config.ts";
import { BACKENDS, from, isArp, PROXY, PROXY_MAC, World } from "../support/world.ts";

const granted = (name: "read" | "write") =>
  Deno.permissions.querySync({ name }).state === "granted";

/** A test that reads and writes captures. */
function fileTest(name: string, fn: () => Promise<void>): void {
  Deno.test({ name, ignore: !granted("read") || !granted("write"), fn });
}

const CONFIG: Config = testConfig({ seed: 7, trace: "all" });

/** A run of the world, captured as on its link. */
class CapturedWorld {
  readonly world = new World({ seed: 7, trace: "all" });
  readonly records: PcapRecord[] = [];
  /** What senders do with TCP and UDP checksums. */
  readonly offload: boolean;
  readonly #guess = new OffloadGuess(1500);

  constructor(offload = false) {
    this.offload = offload;
    this.#keep(this.world.poll());
    for (const host of BACKENDS) {
      this.#keep([
        buildArp({
          operation: 2,
          dstMac: PROXY_MAC,
          senderMac: from(host).srcMac,
          senderAddress: host,
          targetMac: PROXY_MAC,
          targetAddress: PROXY,
        }),
      ], true);
    }
  }

  /** Delivers a frame some time later; returns what the proxy sends. */
  send(frame: Uint8Array, afterMs = 1): Uint8Array[] {
    for (let leftMs = afterMs; leftMs > 0; leftMs -= 100) {
      this.world.clock.advance(Math.min(100, leftMs));
      if (leftMs > 100) this.#keep(this.world.poll());
    }
    const given = frame.slice();
    if (this.offload) openChecksum(given);
    return this.#keep([given], true);
  }

  /** Notes the frames down; those that are received go through the proxy, too. */
  #keep(frames: readonly Uint8Array[], received = false): Uint8Array[] {
    const timeUs = 1_700_000_000_000_000 + Math.round(this.world.clock.nowMs() * 1000);
    for (const frame of frames) this.records.push({ timeUs, frame, lengthBytes: frame.length });
    if (!received) return [];
    for (const frame of frames) {
      const vnet = this.offload ? this.#guess.vnetOf(frame) : null;
      if (vnet !== null) this.world.device.vnet.set(frame, vnet);
    }
    const sent = this.world.send(...frames);
    this.#keep(sent);
    return sent;
  }
}

/** Replaces the checksum of a TCP frame by the bare sum of its pseudo-header. */
function openChecksum(frame: Uint8Array): void {
  const at = 14 + 20;
  const view = new DataView(frame.buffer, frame.byteOffset);
  if (frame[12] !== 8 || frame[13] !== 0 || frame[14 + 9] !== 6) return;
  let sum = 6 + frame.length - at;
  for (let word = 14 + 12; word < at; word += 2) sum += view.getUint16(word);
  while (sum > 0xffff) sum = (sum & 0xffff) + (sum >>> 16);
  view.setUint16(at + 16, sum);
}

/** Pings, connections, a drop of each kind, and a pause longer than ticks. */
function busyRun(offload = false): CapturedWorld {
  const run = new CapturedWorld(offload);
  run.send(buildArp());
  for (let seq = 1; seq <= 6; seq++) run.send(buildIcmp({ rest: [7, seq] }), 20);
  for (let i = 0; i < 30; i++) {
    const [syn] = run.send(buildTcp({ srcPort: 40_000 + i }), i === 10 ? 20_000 : 3);
    const { dst, srcPort } = readTcpHeader(syn!);
    run.send(
      buildTcp({ ...from(dst), srcPort: 2000, dstPort: srcPort, flags: "SA", seq: 0, ack: 1001 }),
    );
    run.send(buildTcp({ srcPort: 40_000 + i, flags: "A", seq: 1001, ack: 1 }));
    const payload = bytesOf(`hello ${i}`);
    run.send(buildTcp({ srcPort: 40_000 + i, flags: "PA", seq: 1001, ack: 1, payload }));
  }
  run.send(buildTcp({ dstPort: 80 }));
  run.send(buildTcp({ ttl: 1, srcPort: 50_000 }));
  run.send(buildTcp({ dstMac: "02:00:00:00:00:09" }));
  run.send(buildTcp({ srcPort: 50_001, flags: "A" }));
  return run;
}

function readTcpHeader(frame: Uint8Array): { dst: string; srcPort: number } {
  const { ip, l4 } = readIp(frame, 6);
  return { dst: ip.dst, srcPort: l4[0]! * 256 + l4[1]! };
}

interface Result {
  readonly code: number;
  readonly stdout: string;
  readonly stderr: string;
  /** The frames of --out. */
  readonly out: readonly PcapRecord[];
}

async function replay(
  file: Uint8Array | readonly PcapRecord[],
  options: { readonly config?: Partial<Config>; readonly findMac?: boolean } = {},
): Promise<Result> {
  const folder = await Deno.makeTempDir();
  try {
    const pcap = `${folder}/in.pcap`;
    const out = `${folder}/out.pcap`;
    await Deno.writeFile(pcap, file instanceof Uint8Array ? file : writePcap(file));
    const texts = { stdout: "", stderr: "" };
    const into = (name: "stdout" | "stderr") => ({
      write(bytes: Uint8Array) {
        texts[name] += new TextDecoder().decode(bytes).replaceAll(folder, "");
        return Promise.resolve(bytes.length);
      },
    });
    const code = await replayCommand({
      config: { ...CONFIG, ...options.config },
      captures: [{ findMac: options.findMac ?? false, pcap, out, mtu: 1500 }],
    }, { stdout: into("stdout"), stderr: into("stderr"), builtIn: () => demo, customs: {} });
    const written = await Deno.readFile(out).catch(() => writePcap([]));
    return { code, ...texts, out: [...readPcap(written)] };
  } finally {
    await Deno.remove(folder, { recursive: true });
  }
}

/** The line of that name at the end. */
function lineOf(name: string, { stdout }: Result): string | undefined {
  return stdout.split("\n").find((line) => line.startsWith(name.padEnd(12)))?.slice(14);
}

for (const offload of [false, true]) {
  const how = offload ? "offloaded" : "complete";
  fileTest(`replay repeats a run's console, counters and frames, checksums ${how}`, async () => {
    const run = busyRun(offload);
    const result = await replay(run.records);
    assert.deepEqual([result.code, result.stderr], [0, ""]);
    const own = run.records.filter(({ frame }) => frame[11] === 0 && frame[10] === 1);
    const requests = own.filter(({ frame }) => isArp(frame) && frame[21] === 1);
    assert.equal(
      lineOf("Compared", result),
      `${own.length - requests.length} equal, 0 missing, 0 unexpected`,
    );
    assert.equal(
      lineOf("Capture", result),
      `${run.records.length} frames, ${own.length} from ${PROXY_MAC}`,
    );
    const summary = run.world.summary();
    const countsOf = (text: string) =>
      text.split("\n").filter((line) => /^(PDUs|Decisions {2}|Drops|Back| +\d)/.test(line));
    assert.deepEqual(countsOf(result.stdout), countsOf(summary));
    assert.ok(countsOf(summary).length > 6);
    const printed = await run.world.printed();
    const entriesOf = (text: string) => text.match(/^Received pdu\n[^]*?\n\n/gm) ?? [];
    assert.deepEqual(entriesOf(result.stdout), entriesOf(printed));
    assert.match(
      result.stdout,
      /^\/in\.pcap: 192\.168\.0\.100\/24, MAC 02:00:00:00:01:00, backends 192/,
    );
    assert.match(result.stdout, /^backend 192\.168\.0\.1 is at 02:00:00:00:00:01$/m);

    const sent = result.out.filter(({ frame }) => !isArp(frame) && frame[23] === 6);
    assert.ok(sent.length >= 120);
    for (const { frame, timeUs } of sent) {
      readTcp(frame); // throws for a wrong checksum
      assert.ok(run.records.some((record) => record.timeUs === timeUs));
    }
  });
}

fileTest("replay reads a pcapng file as it reads a pcap file", async () => {
  const { records } = busyRun();
  const wanted = await replay(records);
  assert.match(lineOf("Compared", wanted)!, /^\d\d\d equal, 0 missing/);
  assert.deepEqual(await replay(writePcapng(1, records.map((record) => [record, 0]))), wanted);
  const strange = await replay(writePcapng(2, records.map((record, i) => [record, i % 2])));
  assert.equal(strange.code, 1);
  assert.match(
    strange.stderr,
    /^error: \S*in.pcap: Cannot use packet of interface 1 of capture: expected one interface a file\n$/,
  );
});

fileTest("replay finds the proxy's MAC address in the capture", async () => {
  const { records } = busyRun();
  const other = { links: [linkConfig({ mac: parseMac("02:00:00:00:77:77") })] as const };
  for (const skip of [0, 2, 5, 20]) {
    const found = await replay(records.slice(skip), { config: other, findMac: true });
    assert.match(found.stdout, /^.*, MAC 02:00:00:00:01:00, /);
  }
  const given = await replay(records, { config: other });
  assert.match(given.stdout, /^.*, MAC 02:00:00:00:77:77, /);
  assert.equal(lineOf("Compared", given), "nothing: the capture has no frames of the proxy");
  assert.equal(given.code, 0);
  const none = await replay([], { config: other, findMac: true });
  assert.equal(none.code, 0);
});

fileTest(
  "replay introduces hosts whose ARP packets the capture has missed, and no others",
  async () => {
    const { records } = busyRun();
    const result = await replay(records.filter(({ frame }) => !isArp(frame)));
    const lines = [
      ...result.stdout.matchAll(/^taking (.*): the capture has no ARP packet from it$/gm),
    ];
    assert.deepEqual(lines.map(([, where]) => where).sort(), [
      "192.168.0.1 to be at 02:00:00:00:00:01",
      "192.168.0.2 to be at 02:00:00:00:00:02",
      "192.168.0.254 to be at 02:00:00:00:00:fe",
      "192.168.0.3 to be at 02:00:00:00:00:03",
    ]);
    assert.match(lineOf("Compared", result)!, /^\d+ equal, 0 missing, 0 unexpected$/);
    assert.doesNotMatch((await replay(records)).stdout, /^taking /m);
  },
);

fileTest("replay introduces backends that answer their clients themselves", async () => {
  const [host = ""] = BACKENDS;
  const far = "10.9.9.9"; // behind a router, of which the capture has no packet of its own
  const answer = { ...from(host), dst: far, srcPort: 2000, dstPort: 40_000 };
  const frames = [
    buildTcp({ src: far, srcMac: "02:00:00:00:00:fa", flags: "S" }),
    buildTcp({ ...answer, flags: "SA", seq: 0, ack: 1001 }),
  ];
  const records = frames.map((frame) => ({ timeUs: 0, frame, lengthBytes: frame.length }));
  const config = { preserveSource: true, dstAddrs: [parseAddress(host)] };
  const { stdout, out } = await replay(records, { config });
  assert.match(stdout, /^taking 192.168.0.1 to be at 02:00:00:00:00:01: /m);
  assert.ok(out.some(({ frame }) => !isArp(frame) && readTcp(frame).dst === host));
});

fileTest("replay tells the first of the frames that differ, and exits 1", async () => {
  const { records } = busyRun();
  const index = records.findIndex(({ frame }) =>
    frame[11] === 0 && frame[10] === 1 && frame[23] === 6
  );
  const changed = records.with(index, {
    ...records[index]!,
    frame: records[index]!.frame.map((byte, at) => at === 18 ? byte ^ 1 : byte),
  });
  const result = await replay(changed);
  assert.equal(result.code, 1);
  assert.match(lineOf("Compared", result)!, /^\d+ equal, 1 missing, 1 unexpected$/);
  assert.match(
    lineOf("Missing", result)!,
    new RegExp(`^first in record ${index + 1}, \\d\\.\\d{6} s: `),
  );
  assert.match(
    lineOf("Unexpected", result)!,
    new RegExp(
      `^first after record ${index}, .* s: tcp 192\\.168\\.0\\.100:40000 > .* syn ttl 63$`,
    ),
  );
  assert.equal(lineOf("Difference", result), "byte 18 of the two is 13 in the capture, 12 here");

  const less = await replay(records.toSpliced(index, 1));
  assert.equal(less.code, 1);
  assert.match(lineOf("Compared", less)!, / equal, 0 missing, 1 unexpected$/);
  assert.equal(lineOf("Difference", less), undefined);

  const otherSeed = await replay(records, { config: { seed: 8 } });
  assert.equal(otherSeed.code, 1);
});

fileTest("replay counts frames that overtook another one, but calls them equal", async () => {
  const { records } = busyRun();
  const own = records.flatMap(({ frame }, i) => frame[10] === 1 && frame[23] === 6 ? [i] : []);
  const [first, second] = [own[3]!, own[4]!];
  const swapped = records.map((record, i) =>
    i === first ? records[second]! : i === second ? records[first]! : record
  );
  const result = await replay(swapped);
  assert.equal(result.code, 0);
  assert.match(
    lineOf("Compared", result)!,
    /^\d+ equal \(1 in another order\), 0 missing, 0 unexpected$/,
  );
});

fileTest("replay keeps to --trace, and never loses an entry", async () => {
  const { records } = busyRun();
  const entries = (text: string) => text.match(/^Received pdu$/gm)?.length ?? 0;
  assert.equal(entries((await replay(records, { config: { trace: "off" } })).stdout), 0);
  const pdus = Array.from({ length: 3000 }, (_, i): PcapRecord => {
    const frame = buildIcmp({ rest: [1, i], payload: new Uint8Array(1400) });
    return { timeUs: i, frame, lengthBytes: frame.length };
  });
  assert.equal(entries((await replay(pdus)).stdout), 3000);
  assert.equal(entries((await replay(pdus, { config: { trace: "auto" } })).stdout), 50);
});

fileTest(
  "replay runs on the capture's clock: entries expire, time never goes back, leaps are cheap",
  async () => {
    const at = (seconds: number, frame: Uint8Array): PcapRecord => ({
      timeUs: Math.round(seconds * 1e6),
      frame,
      lengthBytes: frame.length,
    });
    const hour = 3600;
    const result = await replay([
      at(100, buildTcp()),
      at(90, buildTcp({ srcPort: 40_001 })),
      at(100 + hour, buildIcmp()), // SYNs without an answer are forgotten by now
      at(2 ** 32 - 1, buildIcmp()),
    ]);
    assert.equal(result.code, 0);
    assert.match(lineOf("Connections", result)!, /^1 of /); // the last ping
    const times = result.out.map(({ timeUs }) => timeUs);
    assert.deepEqual(times, times.toSorted((a, b) => a - b));
  },
);

fileTest("replay says how many frames the capture has cut short", async () => {
  const { records } = busyRun();
  const cut = records.map((record) => ({ ...record, frame: record.frame.subarray(0, 60) }));
  const count = cut.filter(({ frame, lengthBytes }) => frame.length < lengthBytes).length;
  const result = await replay(cut);
  assert.match(
    lineOf("Capture", result)!,
    new RegExp(`^\\d+ frames, ${count} cut short by the capture, `),
  );
  assert.match(lineOf("Drops", result)!, new RegExp(reasonName(Reason["ip-truncated"])));
});

fileTest("replay runs a capture that ends early up to there, then says so", async () => {
  const { records } = busyRun();
  const bytes = writePcap(records);
  const result = await replay(bytes.subarray(0, bytes.length - 1));
  assert.equal(result.code, 1);
  assert.match(
    result.stderr,
    /^error: \S*in.pcap: Cannot read record \d+ of capture, at byte \d+: .*\n$/,
  );
  assert.equal(lineOf("Capture", result)!.split(" ")[0], `${records.length - 1}`);
});

const LINK_TYPE = 20;
const bad: [name: string, file: Uint8Array, message: RegExp][] = [
  ["an empty file", new Uint8Array(), /^error: \S*in.pcap: Cannot read capture of 0 bytes: /],
  [
    "text",
    bytesOf("default drop\n".repeat(5)),
    /^error: \S*in.pcap: Cannot read capture: it begins with /,
  ],
  [
    "another link type",
    writePcap([]).map((byte, at) => at === LINK_TYPE ? 113 : byte),
    /^error: \S*in.pcap: Cannot read capture of link type "113": expected 1 \(Ethernet\)/,
  ],
];
for (const [name, file, message] of bad) {
  fileTest(`replay refuses ${name} in one line`, async () => {
    const { code, stdout, stderr } = await replay(file);
    assert.deepEqual([code, stdout], [1, ""]);
    assert.match(stderr, message);
    assert.equal(stderr.split("\n").length, 2);
  });
}

fileTest("replay refuses files that it can't read or write in one line", async () => {
  const folder = await Deno.makeTempDir();
  try {
    await Deno.writeFile(`${folder}/in.pcap`, writePcap([]));
    const large = await Deno.create(`${folder}/large`);
    await large.truncate(2 ** 30 + 1);
    large.close();
    const attempts: [pcap: string, out: string | null, config: Partial<Config>, message: string][] =
      [
        ["nowhere", null, {}, 'Cannot read capture "nowhere": there is no such file or folder'],
        [".", null, {}, 'Cannot read capture ".": it is a directory'],
        [
          "large",
          null,
          {},
          'Cannot read capture "large": it has 1073741825 bytes, expected at most 1 GiB ' +
          "('editcap -c' splits a capture)",
        ],
        ["in.pcap", "a/b", {}, 'Cannot write capture "a/b": there is no such file or folder'],
        ["in.pcap", ".", {}, 'Cannot write capture ".": it is a directory'],
        [
          "in.pcap",
          null,
          { policy: "x" },
          'Cannot read policy "x": there is no such file or folder',
        ],
      ];
    for (const [pcap, out, config, message] of attempts) {
      let stderr = "";
      const write = (bytes: Uint8Array) => {
        stderr += new TextDecoder().decode(bytes).replaceAll(`${folder}/`, "");
        return Promise.resolve(bytes.length);
      };
      const path = (name: string) => name === "." ? folder : `${folder}/${name}`;
      const code = await replayCommand({
        config: { ...CONFIG, ...config, policy: config.policy ? path(config.policy) : null },
        captures: [
          { findMac: false, pcap: path(pcap), out: out === null ? null : path(out), mtu: 1500 },
        ],
      }, { stdout: { write }, stderr: { write }, builtIn: () => demo, customs: {} });
      assert.equal(code, 1);
      assert.equal(stderr.replaceAll(folder, "."), `error: ${message}\n`);
    }
  } finally {
    await Deno.remove(folder, { recursive: true });
  }
});
