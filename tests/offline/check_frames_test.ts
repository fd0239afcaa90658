/**
 * A run with checks of backends, replayed: their frames are left out, and all others are as they
 * were.
 */
import assert from "node:assert/strict";
import { Replay } from "../../src/offline/replay.ts";
import type { PcapRecord } from "../../src/device/capture/pcap.ts";
import { demo } from "../../src/policy/language/built_in.ts";
import type { Policy } from "../../src/policy/language/ast.ts";
import { parse } from "../../src/policy/notation/parse.ts";
import { parseHealth } from "../../src/policy/notation/parse_health.ts";
import { CheckFrames } from "../../src/offline/check_frames.ts";
import { formatHostAddress, parseHostAddress } from "../../src/wire/host_address.ts";
import { isTcp } from "../../src/wire/pdu.ts";
import { testConfig } from "../support/config.ts";
import {
  buildIcmp,
  buildTcp,
  buildUdp,
  readArp,
  readIcmp,
  readIp,
  readTcp,
  readUdp,
} from "../support/frames.ts";
import { buildIcmp6, buildTcp6, buildUdp6, type Icmp6, type Udp6 } from "../support/frames6.ts";
import { arpReply, BACKENDS, CLIENT, from, isArp, PROXY, World } from "../support/world.ts";

/**
 * A run with clients of port 2000, captured; backends answer all that they are asked, but one does
 * not.
 */
class Run {
  readonly world: World;
  readonly records: PcapRecord[] = [];
  /** Who refuses. */
  refusing = "";

  constructor(readonly check: string, policy?: Policy) {
    this.world = new World({ seed: 7, check, ...(policy === undefined ? {} : { policy }) });
    this.#sent(this.world.poll());
    for (const host of [...BACKENDS, CLIENT]) this.give(arpReply(host));
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

  /** Frames of the proxy: backends answer. */
  #sent(frames: readonly Uint8Array[]): void {
    for (const frame of frames) this.#note(frame);
    for (const frame of frames) {
      if (isArp(frame)) {
        const { operation, targetAddress } = readArp(frame);
        if (operation === 1 && targetAddress !== PROXY) this.give(arpReply(targetAddress));
        continue;
      }
      const { ip } = readIp(frame);
      if (!BACKENDS.includes(ip.dst)) continue;
      const answer = this.#answer(frame, ip.dst, ip.protocol);
      if (answer !== null) this.give(answer);
    }
  }

  #answer(frame: Uint8Array, host: string, protocol: number): Uint8Array | null {
    const isRefused = host === this.refusing;
    if (protocol === 1) {
      const { type, rest } = readIcmp(frame);
      return type === 8
        ? buildIcmp({ ...from(host), type: 0, rest, payload: new Uint8Array() })
        : null;
    }
    if (protocol === 17) {
      const { srcPort, dstPort } = readUdp(frame);
      return isRefused
        ? buildIcmp({ ...from(host), type: 3, code: 3, rest: [0, 0], payload: frame.slice(14) })
        : buildUdp({ ...from(host), srcPort: dstPort, dstPort: srcPort });
    }
    const { srcPort, dstPort, seq, flags } = readTcp(frame);
    if (flags !== "S") return null;
    const back = { ...from(host), srcPort: dstPort, dstPort: srcPort, ack: seq + 1 };
    return buildTcp({ ...back, flags: isRefused ? "RA" : "SA", seq: isRefused ? 0 : 9000 });
  }
}

for (const check of ["tcp 2000", "icmp", "udp 2000 0a0b"]) {
  Deno.test(`replay leaves checks out: ${check}, on the port of clients`, () => {
    const run = new Run(`${check}, fall 100`);
    for (let i = 0; i < 60; i++) {
      run.give(buildTcp({ srcPort: 40_000 + i, flags: "S", seq: 1000 }));
      run.advance(300);
      if (i === 20) run.refusing = BACKENDS[0]!; // told, but not down
    }
    const { checks, pools } = run.world.appliance.snapshot();
    assert.ok(checks!.framesOut >= 20 && checks!.framesIn >= 20);
    assert.ok(pools[0]!.members.every(({ status }) => status === "up"));
    let text = "";
    const config = testConfig({ seed: 7, health: parseHealth(check) });
    const replay = new Replay(demo, config, {
      print: (line) => text += line,
      complain: (line) => text += line,
      sent: () => {},
    }, [{ mtu: 1500, first: [] }]);
    for (const record of run.records) replay.take(record);
    const summary = replay.summary();
    assert.equal(replay.differs(), false, summary);
    assert.match(summary, /^Compared {4}: \d\d+ equal, 0 missing, 0 unexpected$/m);
    const frames = checks!.framesOut + checks!.framesIn;
    assert.match(summary, new RegExp(`^Left out {4}: checks of backends, ${frames} frames`, "m"));
    const drops = /^Drops .*$/m.exec(summary)![0];
    assert.equal(drops, /^Drops .*$/m.exec(run.world.summary())![0]);
  });
}

Deno.test("replay leaves checks of a pool of the policy out", () => {
  const text = `default drop
pool $web = 192.168.0.1, 192.168.0.2 check tcp 8080
not ip.src in $web -> translate-a-to-b to $web port 8080, forward
otherwise -> translate-b-to-a, forward
`;
  const { policy } = parse(text, { file: "x" });
  const run = new Run("neighbor", policy!);
  for (let i = 0; i < 20; i++) {
    run.give(buildTcp({ srcPort: 40_000 + i, flags: "S", seq: 1000 }));
    run.advance(300);
  }
  assert.ok(run.world.appliance.snapshot().checks!.framesOut > 4);
  const events = { print: () => {}, complain: () => {}, sent: () => {} };
  const replay = new Replay(policy!, testConfig({ seed: 7 }), events, [{ mtu: 1500, first: [] }]);
  for (const record of run.records) replay.take(record);
  assert.equal(replay.differs(), false, replay.summary());
});

Deno.test("replay without the flag of the run does not know the checks, and says that frames are missing", () => {
  const run = new Run("tcp 2000");
  run.advance(5000);
  const events = { print: () => {}, complain: () => {}, sent: () => {} };
  const replay = new Replay(demo, testConfig({ seed: 7 }), events, [{ mtu: 1500, first: [] }]);
  for (const record of run.records) replay.take(record);
  assert.equal(replay.differs(), true);
});

const PROXY6 = "2001:db8::64";
const BACKEND6 = "2001:db8::1";

/** The checks of one backend of IPv6, which the frames of a capture may belong to. */
function checksOver6(check: string, connections: readonly string[] = []): CheckFrames {
  return new CheckFrames({
    own: [PROXY, PROXY6].map(parseHostAddress),
    pools: [{ addresses: [parseHostAddress(BACKEND6)], health: parseHealth(check) }],
    isConnection: (protocol, src, dst, ports) =>
      connections.includes(
        [isTcp(protocol), formatHostAddress(src), formatHostAddress(dst), ports & 0xffff].join(),
      ),
  });
}

Deno.test("CheckFrames over IPv6: what begins as a check, what answers it, and errors about it", () => {
  const out = { src: PROXY6, dst: BACKEND6, srcPort: 3000, dstPort: 2000 };
  const back = { src: BACKEND6, dst: PROXY6, srcPort: 2000, dstPort: 3000 };
  const syn = buildTcp6({ ...out, flags: "S", ack: 0 });
  const error = { src: "2001:db8::9", dst: PROXY6, type: 1, rest: [0, 0, 0, 0] };
  const about = (frame: Uint8Array) => buildIcmp6({ ...error, payload: frame.slice(14) });
  const checks = checksOver6("tcp 2000");
  const answer = buildTcp6({ ...back, flags: "SA" });
  assert.deepEqual([answer, about(syn), syn, answer, about(syn)].map((one) => checks.take(one)), [
    false,
    false,
    true,
    true,
    true,
  ]);
  const others = [
    buildTcp6({ ...out, srcPort: 3001, flags: "S", tcpOptions: [2, 4, 5, 180] }),
    buildTcp6({ ...out, srcPort: 3001, flags: "S", hopLimit: 63 }),
    buildTcp6({ ...out, srcPort: 3001, flags: "S", dst: "2001:db8::2" }),
    buildTcp6({ ...out, srcPort: 3001, flags: "S", src: "2001:db8::65" }),
    buildTcp6({ ...out, srcPort: 3001, dstPort: 2001, flags: "S" }),
    buildTcp6({ ...back, src: "2001:db8::2" }),
    buildTcp6({ ...back, dstPort: 3001 }),
    about(about(syn)),
    buildTcp({ flags: "S" }),
    syn.slice(0, 60),
  ];
  for (const [i, other] of others.entries()) assert.equal(checks.take(other), false, `${i}`);
  assert.equal(checks.count, 3);
});

Deno.test("CheckFrames over IPv6: a connection's frames are not a check's", () => {
  const syn = { src: PROXY6, dst: BACKEND6, srcPort: 3000, dstPort: 2000, flags: "S" };
  const checks = checksOver6("tcp 2000", [[true, BACKEND6, PROXY6, 3000].join()]);
  assert.deepEqual([syn, { ...syn, srcPort: 3001 }].map((one) => checks.take(buildTcp6(one))), [
    false,
    true,
  ]);
});

Deno.test("CheckFrames over IPv6: pings and datagrams of checks", () => {
  const out = { src: PROXY6, dst: BACKEND6 };
  const back = { src: BACKEND6, dst: PROXY6 };
  const pings = checksOver6("icmp");
  const ping = (fields: Partial<Icmp6>) =>
    pings.take(buildIcmp6({ ...out, rest: [0x12, 0x34, 0, 1], payload: [], ...fields }));
  const reply = { ...back, type: 129 };
  assert.deepEqual(
    [ping({ payload: [1] }), ping({ type: 129 }), ping({}), ping(reply)],
    [false, false, true, true],
  );
  assert.equal(ping({ ...reply, rest: [0x12, 0x35, 0, 1] }), false, "another identifier");
  const datagrams = checksOver6("udp 53 0a0b");
  const datagram = (fields: Partial<Udp6>) =>
    datagrams.take(buildUdp6({ ...out, srcPort: 3000, dstPort: 53, payload: [10, 11], ...fields }));
  assert.deepEqual(
    [{ payload: [10] }, { payload: [10, 12] }, {}, { ...back, srcPort: 53, dstPort: 3000 }]
      .map(datagram),
    [false, false, true, true],
  );
});
