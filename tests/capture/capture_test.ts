/** What a capture takes of a world's packets, and what its file says. */
import assert from "node:assert/strict";
import { Capture, type CaptureParts } from "../../src/capture/capture.ts";
import { type CaptureOptions, WHOLE_CAPTURE } from "../../src/capture/options.ts";
import { SeededRandom } from "../../src/core/random.ts";
import { interestIn } from "../../src/datapath/interest.ts";
import { Count } from "../../src/datapath/metrics.ts";
import { BLOCK, readPcapng } from "../../src/device/capture/pcapng.ts";
import { describeFrame } from "../../src/offline/packet_text.ts";
import { parse } from "../../src/policy/notation/parse.ts";
import { parsePredicate } from "../../src/policy/notation/parse_one_predicate.ts";
import { Fuzzer } from "../fuzz/fuzzer.ts";
import { buildIcmp, buildTcp, buildUdp, readTcp } from "../support/frames.ts";
import { cut } from "../support/fragments.ts";
import { joined } from "../support/pcapng.ts";
import { from, packetsOf, World } from "../support/world.ts";

const BACKEND = "192.168.0.1";
const EPOCH_MS = 1_700_000_000_000;

const { policy: POLICY } = parse(
  `default drop
ip.src in $dst-addrs -> translate-b-to-a, forward
tcp.dport = 80 -> drop "naive http"
ip.ttl = 9 -> drop
tcp.dport = 113 -> reject
otherwise -> translate-a-to-b, forward
`,
  { file: "test" },
);

/** A world and a capture of it. */
class Captured {
  readonly world: World = World.settled({ policy: POLICY!, backends: [BACKEND] });
  readonly capture: Capture;
  readonly ends: string[] = [];
  fills = 0;
  /** The files as far as they are written. */
  readonly files: Uint8Array[][];

  constructor(options: Partial<CaptureOptions> = {}, more: Partial<CaptureParts> = {}) {
    const { appliance } = this.world;
    const { filter = null } = options;
    this.capture = new Capture({
      options: { ...WHOLE_CAPTURE, ...options },
      interest: filter === null
        ? null
        : interestIn(parsePredicate(filter, appliance.policy, {}), appliance),
      links: [{ name: "tap0", side: "both" }],
      application: "tests",
      epochNs: BigInt(EPOCH_MS) * 1_000_000n,
      nowMs: appliance.nowMs,
      filled: () => this.fills++,
      ended: (why) => this.ends.push(why),
      ...more,
    });
    this.files = [[this.capture.head]];
    appliance.watch(this.capture);
  }

  /** Takes what has been captured so far. */
  drain(): void {
    const { bytes, cuts } = this.capture.take();
    let start = 0;
    for (const { at, tail, head } of cuts) {
      this.files.at(-1)!.push(bytes.slice(start, at), tail);
      this.files.push([head]);
      start = at;
    }
    this.files.at(-1)!.push(bytes.slice(start));
  }

  /** Ends it; the packets of each file, in words, each with its comment. */
  end(): string[][] {
    this.drain();
    this.files.at(-1)!.push(this.capture.finish());
    this.world.appliance.unwatch(this.capture);
    return this.files.map((parts) => packetsOfFile(joined(...parts)));
  }

  /** Opens a connection; what sends a plain segment of it with that TTL. */
  open(srcPort: number, dstPort: number): (ttl?: number) => void {
    const { world } = this;
    const [syn] = packetsOf(world.send(buildTcp({ srcPort, dstPort, seq: 1000 })));
    const { srcPort: port } = readTcp(syn!);
    const back = { ...from(BACKEND), srcPort: dstPort, dstPort: port };
    world.send(buildTcp({ ...back, flags: "SA", seq: 5000, ack: 1001 }));
    const plain = { srcPort, dstPort, flags: "A", seq: 1001, ack: 5001 };
    world.send(buildTcp(plain));
    return (ttl = 64) => void world.send(buildTcp({ ...plain, ttl }));
  }
}

/** `in` or `out`, the packet's words, and the comment. */
function packetsOfFile(file: Uint8Array): string[] {
  const notes = notesOf(file);
  return [...readPcapng(file)].map(([{ frame }], i) => {
    const { direction, comment } = notes[i]!;
    const words = describeFrame(frame).split(" ttl")[0]!.replaceAll(/\d+\.\d+\.\d+\./g, ".");
    return `${direction} ${words}${comment === "" ? "" : ` | ${comment}`}`;
  });
}

/** What the options of packets say, in a little-endian file. */
function notesOf(file: Uint8Array): { direction: string; comment: string }[] {
  const view = new DataView(file.buffer, file.byteOffset, file.byteLength);
  const notes: { direction: string; comment: string }[] = [];
  for (let at = 0; at < file.length; at += view.getUint32(at + 4, true)) {
    if (view.getUint32(at, true) !== BLOCK.enhancedPacket) continue;
    const note = { direction: "", comment: "" };
    let option = at + 28 + ((view.getUint32(at + 20, true) + 3) & ~3);
    for (let code; (code = view.getUint16(option, true)) !== 0;) {
      const length = view.getUint16(option + 2, true);
      if (code === 1) {
        note.comment = new TextDecoder().decode(file.subarray(option + 4, option + 4 + length));
      } else if (code === 2) {
        note.direction = ["", "in", "out"][view.getUint32(option + 4, true)]!;
      }
      option += 4 + ((length + 3) & ~3);
    }
    notes.push(note);
  }
  return notes;
}

/** What the last blocks of a file say of its packets, by interface: received and dropped. */
function statisticsOf(file: Uint8Array): [received: number, dropped: number] {
  const view = new DataView(file.buffer, file.byteOffset, file.byteLength);
  const at = file.length - view.getUint32(file.length - 4, true);
  assert.equal(view.getUint32(at, true), 5);
  return [view.getUint32(at + 48, true), view.getUint32(at + 60, true)];
}

Deno.test("Capture of everything has each frame, and of a PDU what became of it", () => {
  const captured = new Captured();
  const { world } = captured;
  captured.open(40_000, 2000)();
  world.send(buildTcp({ srcPort: 40_001, dstPort: 80 }));
  world.send(buildTcp({ srcPort: 40_002, dstPort: 113 }));
  world.send(buildIcmp({ dstMac: "02:00:00:00:00:99" }));
  world.answer(BACKEND);
  const [packets] = captured.end();
  assert.deepEqual(packets!.map((packet) => packet.replaceAll(/node \d+/g, "node N")), [
    "in tcp .254:40000 > .100:2000 syn | Forward, node N, backend 192.168.0.1",
    "out tcp .100:40000 > .1:2000 syn",
    "in tcp .1:2000 > .100:40000 syn ack | Forward, node N, backend 192.168.0.1",
    "out tcp .100:2000 > .254:40000 syn ack",
    "in tcp .254:40000 > .100:2000 ack | Forward, node N, backend 192.168.0.1",
    "out tcp .100:40000 > .1:2000 ack",
    "in tcp .254:40000 > .100:2000 ack | Forward, node N, backend 192.168.0.1",
    "out tcp .100:40000 > .1:2000 ack",
    'in tcp .254:40001 > .100:80 syn | Drop "naive http", node N',
    "in tcp .254:40002 > .100:113 syn | Reject, node N",
    "out tcp .100:113 > .254:40002 rst ack",
    "in icmp .254 > .100 echo-request | Drop (foreign-mac)",
    "in arp reply: .1 is at 02:00:00:00:00:01",
  ]);
});

Deno.test("Capture of a filter has PDUs for which it holds, and the frames that left for them", () => {
  const captured = new Captured({ filter: "tcp.dport = 2000 and established" });
  captured.open(40_000, 2000)();
  captured.open(40_001, 2001)();
  captured.world.send(buildUdp({ dstPort: 53 }), buildTcp({ dstMac: "02:00:00:00:00:99" }));
  const [packets] = captured.end();
  assert.deepEqual(packets!.map((packet) => packet.split(" |")[0]), [
    "in tcp .254:40000 > .100:2000 ack",
    "out tcp .100:40000 > .1:2000 ack",
    "in tcp .254:40000 > .100:2000 ack",
    "out tcp .100:40000 > .1:2000 ack",
  ]);
});

Deno.test("Capture of drops has these as they came, and nothing else", () => {
  const captured = new Captured({ dropsOnly: true });
  const { world } = captured;
  const send = captured.open(40_000, 2000);
  send();
  send(9);
  send(1);
  world.send(buildTcp({ srcPort: 40_001, dstPort: 80 }));
  world.send(buildIcmp({ dstMac: "02:00:00:00:00:99" }));
  const [packets] = captured.end();
  assert.deepEqual(packets!.map((packet) => packet.replaceAll(/node \d+/g, "node N")), [
    "in tcp .254:40000 > .100:2000 ack | Drop, node N",
    "in tcp .254:40000 > .100:2000 ack | Drop (ttl-expired), node N",
    'in tcp .254:40001 > .100:80 syn | Drop "naive http", node N',
    "in icmp .254 > .100 echo-request | Drop (foreign-mac)",
  ]);
});

Deno.test("Capture of drops of a filter has those for which it holds", () => {
  const captured = new Captured({ dropsOnly: true, filter: "tcp.sport = 40000" });
  const send = captured.open(40_000, 2000);
  send(9);
  captured.world.send(buildTcp({ srcPort: 40_001, dstPort: 80 }));
  captured.world.send(buildIcmp({ dstMac: "02:00:00:00:00:99" }));
  const [packets] = captured.end();
  assert.equal(packets!.length, 1);
});

Deno.test("Capture of fragments: each frame, and the last one says what became of the datagram", () => {
  const datagram = buildUdp({ dstPort: 53, payload: new Uint8Array(2000) });
  const whole = new Captured();
  whole.world.send(...cut(datagram, 1000));
  const comments = whole.end()[0]!.filter((packet) => packet.startsWith("in"))
    .map((packet) => packet.split(" | ")[1]?.split(",")[0]);
  assert.deepEqual(comments.slice(0, -1).filter((comment) => comment !== undefined), []);
  assert.equal(comments.at(-1), "Forward");
  const filtered = new Captured({ filter: "fragment" });
  filtered.world.send(...cut(datagram, 1000));
  const [packets] = filtered.end();
  assert.equal(packets!.filter((packet) => packet.startsWith("in")).length, 1);
});

Deno.test("Capture keeps so many bytes of a frame, and its length", () => {
  const captured = new Captured({ snapBytes: 60, filter: "udp" });
  captured.world.send(buildUdp({ dstPort: 53, payload: new Uint8Array(500) }));
  captured.end();
  const records = [...readPcapng(joined(...captured.files[0]!))];
  assert.deepEqual(records.map(([{ frame, lengthBytes }]) => [frame.length, lengthBytes]), [
    [60, 542],
    [60, 542],
  ]);
  const { timeUs } = records[0]![0];
  assert.equal(timeUs, (EPOCH_MS + captured.world.appliance.nowMs) * 1000);
});

Deno.test("Capture loses what finds no room, and its file says how many", () => {
  const captured = new Captured({ filter: "udp.dport = 53" }, { sizeBytes: 20_000 });
  for (let i = 0; i < 20; i++) {
    captured.world.send(buildUdp({ srcPort: 1000 + i, dstPort: 53, payload: new Uint8Array(900) }));
  }
  const { packets, lost } = captured.capture;
  assert.equal(packets + lost, 40);
  assert.ok(packets > 5 && lost > 20, `${packets} packets, ${lost} lost`);
  assert.ok(captured.fills > 0);
  assert.equal(captured.end()[0]!.length, packets);
  assert.deepEqual(statisticsOf(joined(...captured.files[0]!)), [40, lost]);
  assert.equal(
    captured.capture.bytes,
    captured.files.flat().reduce((sum, { length }) => sum + length, 0),
  );
});

Deno.test("Capture goes on in the next file, and none is longer than it may be", () => {
  const maxBytes = 1 << 17;
  const captured = new Captured({ filter: "udp.dport = 53", maxBytes, files: 3 });
  for (let i = 0; i < 200; i++) {
    captured.world.send(
      buildUdp({ srcPort: 1000 + i, dstPort: 53, payload: new Uint8Array(1400) }),
    );
    if (i % 50 === 0) captured.drain();
  }
  const files = captured.end();
  assert.ok(files.length > 4, `${files.length} files`);
  assert.equal(files.flat().length, 400);
  for (const parts of captured.files) {
    const file = joined(...parts);
    assert.ok(file.length <= maxBytes, `${file.length} bytes`);
    assert.deepEqual(statisticsOf(file), [packetsOfFile(file).length, 0]);
  }
  assert.deepEqual(captured.ends, []);
});

Deno.test("Capture ends when its only file is full, or its time is over", () => {
  const full = new Captured({ filter: "udp.dport = 53", maxBytes: 1 << 17 });
  for (let i = 0; i < 100; i++) {
    full.world.send(buildUdp({ srcPort: 1000 + i, dstPort: 53, payload: new Uint8Array(1400) }));
  }
  assert.deepEqual(full.ends, ["max-size"]);
  assert.equal(full.capture.lost, 0);
  assert.equal(full.end()[0]!.length, full.capture.packets);
  const timed = new Captured({ durationMs: 2000 });
  timed.world.advance(1900);
  assert.deepEqual(timed.ends, []);
  timed.world.advance(200);
  assert.deepEqual(timed.ends, ["duration"]);
});

Deno.test("Capture tells ten times a second that there is something, if there is", () => {
  const captured = new Captured({ filter: "udp.dport = 53" });
  captured.world.advance(1000);
  assert.equal(captured.fills, 0);
  captured.world.send(buildUdp({ dstPort: 53 }));
  captured.world.advance(200);
  assert.ok(captured.fills > 0);
});

Deno.test("Capture of any frames has as many as were counted, each readable", () => {
  const [whole, drops] = [new Captured(), new Captured({ dropsOnly: true })];
  const fuzzer = new Fuzzer(new SeededRandom(11));
  const { counts } = whole.world.appliance.metrics;
  const framesBefore = counts[Count.framesIn]! + counts[Count.framesOut]!;
  for (let i = 0; i < 5000; i++) {
    const frame = fuzzer.next();
    for (const captured of [whole, drops]) {
      captured.world.send(frame.slice());
      captured.world.advance(7);
      if (i % 100 === 0) captured.drain();
    }
  }
  const frames = counts[Count.framesIn]! + counts[Count.framesOut]! - framesBefore;
  assert.equal(whole.end()[0]!.length, frames);
  assert.equal(whole.capture.lost, 0);
  const found: Record<string, number> = {};
  for (const packet of drops.end()[0]!) {
    const [, reason = "policy"] = / \| Drop[^(]*\((.*)\)/.exec(packet) ?? [];
    found[reason] = (found[reason] ?? 0) + 1;
  }
  // What is dropped while it waits is in no capture.
  const asTheyCame = (counted: Record<string, number>) =>
    Object.fromEntries(Object.entries(counted).filter(([name]) => !/^(fragment|arp)-/.test(name)));
  assert.deepEqual(asTheyCame(found), asTheyCame(drops.world.drops()));
});
