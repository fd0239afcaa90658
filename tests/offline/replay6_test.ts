/**
 * A run over IPv6 with checks of backends, replayed: what timers of Neighbor Discovery send and the
 * checks' frames are left out, and all others are as they were.
 */
import assert from "node:assert/strict";
import { Replay } from "../../src/offline/replay.ts";
import type { PcapRecord } from "../../src/device/capture/pcap.ts";
import { demo } from "../../src/policy/language/built_in.ts";
import { parseHealth } from "../../src/policy/notation/parse_health.ts";
import { replayCommand } from "../../src/cli/replay_command.ts";
import { parseMac } from "../../src/wire/address.ts";
import { writePcap } from "../support/pcap.ts";
import { parseHostAddress } from "../../src/wire/host_address.ts";
import { ipv6Config, linkConfig, testConfig } from "../support/config.ts";
import {
  buildIcmp6,
  buildSolicitation,
  buildTcp6,
  buildUdp6,
  isLinkMessage,
  readIcmp6,
  readIp6,
  readNeighbor,
  readTcp6,
  readUdp6,
} from "../support/frames6.ts";
import { advertisement, BACKENDS6, CLIENT6, from, isArp, PROXY6, World } from "../support/world.ts";

/** A run with clients of port 2000, captured; backends answer all that they are asked. */
class Run {
  readonly world: World;
  readonly records: PcapRecord[] = [];
  /** Who refuses. */
  refusing = "";

  constructor(check?: string, backends: readonly string[] = BACKENDS6) {
    const checked = check === undefined ? {} : { check };
    this.world = new World({ seed: 7, ipv6: true, backends, ...checked });
    this.#sent(this.world.poll());
    while (!this.world.log.some((line) => line.includes(`${PROXY6} is free`))) this.advance(100);
  }

  give(frame: Uint8Array): void {
    this.#note(frame);
    this.#sent(this.world.send(frame));
  }

  advance(ms: number): void {
    for (let left = ms; left > 0; left -= 100) {
      this.world.clock.advance(100);
      this.#sent(this.world.poll());
    }
  }

  #note(frame: Uint8Array): void {
    const timeUs = 1_700_000_000_000_000 + Math.round(this.world.clock.nowMs() * 1000);
    this.records.push({ timeUs, frame: frame.slice(), lengthBytes: frame.length });
  }

  #sent(frames: readonly Uint8Array[]): void {
    for (const frame of frames) this.#note(frame);
    for (const frame of frames) {
      if (isArp(frame)) continue;
      if (isLinkMessage(frame)) {
        if (readIcmp6(frame).type !== 135) continue;
        const { target } = readNeighbor(frame);
        if ([...BACKENDS6, CLIENT6].includes(target)) this.give(advertisement(target));
        continue;
      }
      const { ip } = readIp6(frame);
      if (!BACKENDS6.includes(ip.dst)) continue;
      const answer = this.#answer(frame, ip.dst, ip.protocol);
      if (answer !== null) this.give(answer);
    }
  }

  #answer(frame: Uint8Array, host: string, protocol: number): Uint8Array | null {
    const isRefused = host === this.refusing;
    if (protocol === 58) {
      const { type, rest } = readIcmp6(frame);
      return type === 128 ? buildIcmp6({ ...from(host), type: 129, rest, payload: [] }) : null;
    }
    if (protocol === 17) {
      const { srcPort, dstPort } = readUdp6(frame);
      return isRefused
        ? buildIcmp6({
          ...from(host),
          type: 1,
          code: 4,
          rest: [0, 0, 0, 0],
          payload: frame.slice(14),
        })
        : buildUdp6({ ...from(host), srcPort: dstPort, dstPort: srcPort });
    }
    const { srcPort, dstPort, seq, flags } = readTcp6(frame);
    if (flags !== "S") return null;
    const back = { ...from(host), srcPort: dstPort, dstPort: srcPort, ack: seq + 1 };
    return buildTcp6({ ...back, flags: isRefused ? "RA" : "SA", seq: isRefused ? 0 : 9000 });
  }
}

for (const check of ["tcp 2000", "icmp", "udp 2000 0a0b"]) {
  Deno.test(`replay of a run over IPv6 leaves checks out: ${check}, on the port of clients`, () => {
    const run = new Run(`${check}, fall 100`);
    for (let i = 0; i < 60; i++) {
      run.give(buildTcp6({ srcPort: 40_000 + i, flags: "S", seq: 1000, ack: 0 }));
      run.advance(300);
      if (i === 20) run.refusing = BACKENDS6[0]!; // told, but not down
    }
    const { checks, pools } = run.world.appliance.snapshot();
    assert.ok(checks!.framesOut >= 20 && checks!.framesIn >= 20);
    assert.ok(pools[0]!.members.every(({ status }) => status === "up"));
    const config = testConfig({
      seed: 7,
      health: parseHealth(check),
      dstAddrs: BACKENDS6.map(parseHostAddress),
      links: [linkConfig({ ipv6: ipv6Config(PROXY6) })],
    });
    const events = { print: () => {}, complain: () => {}, sent: () => {} };
    const replay = new Replay(demo, config, events, [{ mtu: 1500, first: [] }]);
    for (const record of run.records) replay.take(record);
    const summary = replay.summary();
    assert.equal(replay.differs(), false, summary);
    assert.match(summary, /^Compared {4}: \d\d+ equal, 0 missing, 0 unexpected$/m);
    assert.match(
      summary,
      /^Left out {4}: ND and MLD by timers, \d+ in the capture, \d+ sent here$/m,
    );
    const frames = checks!.framesOut + checks!.framesIn;
    assert.match(summary, new RegExp(`^Left out {4}: checks of backends, ${frames} frames`, "m"));
    const drops = /^Drops .*$/m.exec(summary)![0];
    assert.equal(drops, /^Drops .*$/m.exec(run.world.summary())![0]);
  });
}

Deno.test("replay uses an address of IPv6 when the run did, whatever its own chance says", () => {
  const run = new Run(undefined, [BACKENDS6[0]!]);
  run.give(buildSolicitation({ target: PROXY6 }));
  for (let i = 0; i < 4; i++) run.give(buildIcmp6({ rest: [1, 2, 0, i] }));
  for (let seed = 1; seed < 12; seed++) {
    const config = testConfig({
      seed,
      dstAddrs: [parseHostAddress(BACKENDS6[0]!)],
      links: [linkConfig({ ipv6: ipv6Config(PROXY6) })],
    });
    const events = { print: () => {}, complain: () => {}, sent: () => {} };
    const replay = new Replay(demo, config, events, [{ mtu: 1500, first: [] }]);
    for (const record of run.records) replay.take(record);
    assert.match(replay.summary(), /^Compared {4}: 3 equal, 0 missing, 0 unexpected$/m, `${seed}`);
  }
});

const granted = (["read", "write"] as const).every((name) =>
  Deno.permissions.querySync({ name }).state === "granted"
);

Deno.test({
  name:
    "replay takes addresses of IPv6 to be in use, and neighbours known, where a capture says so",
  ignore: !granted,
  fn: async () => {
    const run = new Run(undefined, [BACKENDS6[0]!]);
    run.advance(6000);
    const before = run.records.length;
    for (let i = 0; i < 10; i++) {
      run.give(buildTcp6({ srcPort: 40_000 + i, flags: "S", seq: 1000, ack: 0 }));
      run.give(buildIcmp6({ rest: [1, 2, 0, i] }));
      run.advance(300);
    }
    // A filter on TCP and pings, from the midst of the run: no message between neighbours.
    const records = run.records.slice(before).filter(({ frame }) => !isLinkMessage(frame));
    const own = records.filter(({ frame }) => frame[10] === 1 && frame[11] === 0);
    const folder = await Deno.makeTempDir();
    const pcap = `${folder}/in.pcap`;
    const texts = { stdout: "", stderr: "" };
    const into = (name: "stdout" | "stderr") => ({
      write(bytes: Uint8Array) {
        texts[name] += new TextDecoder().decode(bytes);
        return Promise.resolve(bytes.length);
      },
    });
    try {
      await Deno.writeFile(pcap, writePcap(records));
      const config = testConfig({
        seed: 7,
        dstAddrs: [parseHostAddress(BACKENDS6[0]!)],
        links: [linkConfig({ ipv6: ipv6Config(PROXY6), mac: parseMac("02:00:00:00:09:99") })],
      });
      const captures = [{ findMac: true, pcap, out: null, mtu: 1500 }];
      const streams = { stdout: into("stdout"), stderr: into("stderr") };
      await replayCommand({ config, captures }, { ...streams, builtIn: () => demo, customs: {} });
    } finally {
      await Deno.remove(folder, { recursive: true });
    }
    assert.equal(own.length, 25);
    assert.match(texts.stdout, /^Compared {4}: 25 equal, 0 missing, 0 unexpected$/m);
    assert.equal(texts.stderr, "");
  },
});
