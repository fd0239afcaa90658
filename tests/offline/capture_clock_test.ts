import assert from "node:assert/strict";
import { CaptureClock } from "../../src/offline/capture_clock.ts";
import { Replay } from "../../src/offline/replay.ts";
import { DEFAULT_TIMEOUTS } from "../../src/flow/lifetimes.ts";
import { SeededRandom } from "../../src/core/random.ts";
import type { PcapRecord } from "../../src/device/capture/pcap.ts";
import { demo } from "../../src/policy/language/built_in.ts";
import { testConfig } from "../support/config.ts";
import { buildArp, buildIcmp, buildTcp, buildUdp, readTcp } from "../support/frames.ts";
import { arpReply, BACKENDS, from, isArp, PROXY, PROXY_MAC } from "../support/world.ts";

const TICK_US = 100_000;
const MINUTE_US = 60_000_000;
const DAY_US = 86_400_000_000;

/** The moments before each record, in microseconds since the record before. */
function moments(...pausesUs: number[]): number[][] {
  const clock = new CaptureClock();
  clock.begin(5_000_000);
  let recordUs = 5_000_000;
  return pausesUs.map((pauseUs) => {
    const ticks: number[] = [];
    while (clock.approach(recordUs + pauseUs)) ticks.push(clock.timeUs - recordUs);
    recordUs = Math.max(recordUs, recordUs + pauseUs);
    assert.equal(clock.timeUs, recordUs);
    return ticks;
  });
}

Deno.test("CaptureClock ticks through a short pause, and never goes back", () => {
  const [short, none, back, usual] = moments(TICK_US + 1, TICK_US, -5, 2 * MINUTE_US);
  assert.deepEqual([short, none, back], [[TICK_US], [], []]);
  assert.deepEqual(usual, Array.from({ length: 1199 }, (_, i) => (i + 1) * TICK_US));
});

Deno.test("CaptureClock jumps over a long pause, at most two minutes of ticks a day", () => {
  const days = moments(...Array<number>(10).fill(DAY_US + 12_345));
  assert.equal(days.length, 10);
  for (const ticks of days) {
    assert.ok(ticks.length <= 1201, `${ticks.length} ticks`);
    const jumps = ticks.filter((at, i) => at - (ticks[i - 1] ?? 0) > TICK_US);
    assert.equal(jumps.length, 1);
    assert.ok(ticks.filter((at) => at <= MINUTE_US).length >= 600);
    assert.ok(ticks.filter((at) => at >= DAY_US - MINUTE_US).length >= 599);
    assert.ok(ticks.every((at) => at % TICK_US === 0));
  }
});

Deno.test("CaptureClock looks at what is 12 days old, then jumps as far as it is", () => {
  const [ticks] = moments(2 ** 32 * 1e6);
  assert.ok(ticks!.length <= 1802, `${ticks!.length} ticks`);
  const seen = ticks!.filter((at) => at >= 12 * DAY_US && at <= 12 * DAY_US + MINUTE_US);
  assert.equal(seen.length, 601);
});

/**
 * What a replay shows: all that is not an ARP request, and with it what hangs on the number of
 * records.
 */
class Watched {
  readonly seen: string[] = [];
  #sent: Uint8Array[] = [];
  #timeUs = 0;
  readonly #replay: Replay;
  /** Longest pause without a record: longer ones are broken by ARP requests of the proxy's own. */
  readonly #longestUs: number;

  constructor(seed: number, longestUs: number) {
    this.#longestUs = longestUs;
    this.#replay = new Replay(demo, testConfig({ seed, trace: "auto" }), {
      print: (text) => this.seen.push(text),
      complain: (text) => this.seen.push(text),
      sent: ({ frame, timeUs }) => {
        if (isArp(frame)) return;
        this.#sent.push(frame);
        this.seen.push(`${timeUs} ${frame.toHex()}`);
      },
    }, [{ mtu: 1500, first: [] }]);
  }

  /** Gives it the frame that long after the last one; what it sends. */
  take(afterUs: number, frame: Uint8Array): Uint8Array[] {
    const endUs = this.#timeUs + afterUs;
    const idle = buildArp({ srcMac: PROXY_MAC, senderMac: PROXY_MAC, senderAddress: PROXY });
    while (endUs - this.#timeUs > this.#longestUs) {
      this.#timeUs += this.#longestUs;
      this.#replay.take(recordOf(this.#timeUs, idle));
    }
    this.#timeUs = endUs;
    this.#sent = [];
    this.#replay.take(recordOf(endUs, frame));
    return this.#sent;
  }

  counts(): string[] {
    const lines = this.#replay.summary().split("\n");
    return lines.filter((line) => /^(PDUs|Decisions|Drops|Connections|Backend| +\d)/.test(line));
  }
}

function recordOf(timeUs: number, frame: Uint8Array): PcapRecord {
  return { timeUs, frame, lengthBytes: frame.length };
}

/** Some packets after a pause of seconds to half a day. Most visits begin with everybody's ARP. */
function visit(replay: Watched, random: () => number, n: number): void {
  const pauseUs = Math.round(5e6 * 10 ** (4 * random()));
  let afterUs = pauseUs;
  const take = (frame: Uint8Array): Uint8Array[] => {
    const sent = replay.take(afterUs, frame);
    afterUs = 1 + Math.floor(random() * 3000);
    return sent;
  };
  if (random() < 0.8) {
    for (const backend of BACKENDS) take(arpReply(backend));
    take(buildArp());
  }
  for (let i = 0; i < 8; i++) {
    const srcPort = 40_000 + Math.floor(random() * 50);
    const kind = random();
    if (kind < 0.2) take(buildIcmp({ rest: [n, i] }));
    else if (kind < 0.3) take(buildIcmp({ rest: [n, i], fragment: 0x2000, id: i }));
    else if (kind < 0.4) take(buildUdp({ srcPort, dstPort: 53 }));
    else if (kind < 0.5) take(buildTcp({ srcPort, flags: "A", seq: 1001, ack: 1 }));
    else {
      const syn = take(buildTcp({ srcPort })).find((frame) => frame[23] === 6);
      if (syn === undefined || kind < 0.6) continue;
      const { dst, srcPort: dstPort } = readTcp(syn);
      const back = { ...from(dst), srcPort: 2000, dstPort, seq: 0, ack: 1001 };
      take(buildTcp({ ...back, flags: kind < 0.65 ? "RA" : "SA" }));
      take(buildTcp({ srcPort, flags: "A", seq: 1001, ack: 1 }));
      if (kind < 0.8) take(buildTcp({ srcPort, flags: "FA", seq: 1001, ack: 1 }));
    }
  }
}

Deno.test("Replay shows with jumps over pauses what it shows without", () => {
  let jumped = 0;
  for (let seed = 1; seed <= 6; seed++) {
    const [fast, slow] = [Infinity, MINUTE_US].map((longestUs) => {
      const replay = new Watched(seed, longestUs);
      const random = new SeededRandom(seed);
      replay.take(0, buildIcmp({ rest: [0xffff, 0] }));
      for (let n = 0; n < 8; n++) visit(replay, () => random.uint32() / 2 ** 32, n);
      replay.take(10_000_000, buildIcmp({ rest: [0xffff, 1] }));
      return replay;
    });
    assert.deepEqual(fast!.seen, slow!.seen, `seed ${seed}`);
    assert.deepEqual(fast!.counts(), slow!.counts(), `seed ${seed}`);
    assert.ok(fast!.counts().length > 8);
    if (fast!.seen.some((line) => line.includes("does not answer ARP"))) jumped++;
  }
  assert.equal(jumped, 6);
});

Deno.test("Replay forgets a connection in a pause that is longer than its time, and in no other", () => {
  const timeouts = { ...DEFAULT_TIMEOUTS, halfOpen: 1_000_000 };
  for (const [days, left] of [[11, 1], [12, 0], [24, 0], [25, 0], [45, 0], [49.72, 0], [5000, 0]]) {
    const events = { print: () => {}, complain: () => {}, sent: () => {} };
    const config = testConfig({ seed: 1, timeouts });
    const replay = new Replay(demo, config, events, [{ mtu: 1500, first: [] }]);
    replay.take(recordOf(0, buildTcp()));
    replay.take(recordOf(days! * DAY_US, buildIcmp({ ttl: 0 })));
    const [, count] = /^Connections : (\d+) of /m.exec(replay.summary())!;
    assert.equal(Number(count), left, `after ${days} days`);
  }
});
