/** Replay of a run with an interface on each side: two captures, merged by time. */
import assert from "node:assert/strict";
import { Replay } from "../../src/offline/replay.ts";
import type { PcapRecord } from "../../src/device/capture/pcap.ts";
import { mergeByTime, readCaptures } from "../../src/device/capture/records.ts";
import { demoTwoSided } from "../../src/policy/language/built_in.ts";
import { parseAddress } from "../../src/wire/address.ts";
import { LINK_B, linkConfig, testConfig } from "../support/config.ts";
import { buildIcmp, buildTcp, readTcp } from "../support/frames.ts";
import { writePcapng } from "../support/pcapng.ts";
import { arpReply, BACKENDS_B, fromB, packetsOf, World } from "../support/world.ts";

type Records = [a: PcapRecord[], b: PcapRecord[]];
type Mtus = readonly [a: number, b: number];

const USUAL: Mtus = [1500, 1500];

/** Every frame on either side of a world in which clients speak with backends. */
function run(mtus: Mtus, payloadBytes: number): Records {
  const world = new World({ twoSided: true, seed: 7, mtus });
  const records: Records = [[], []];
  const keep = (side: number, frames: readonly Uint8Array[]): void => {
    const timeUs = 1_700_000_000_000_000 + Math.round(world.clock.nowMs() * 1000);
    records[side]!.push(
      ...frames.map((frame) => ({ timeUs, frame, lengthBytes: frame.length })),
    );
  };
  const send = (frame: Uint8Array): Uint8Array[] => {
    const device = world.deviceTowards(frame);
    keep(world.devices.indexOf(device), [frame]);
    device.inbox.push(frame);
    world.appliance.poll(0);
    const sent = world.devices.map((device) => device.take());
    sent.forEach((frames, side) => keep(side, frames));
    world.clock.advance(3);
    return packetsOf(sent.flat());
  };
  for (const backend of BACKENDS_B) send(arpReply(backend));
  send(arpReply("192.168.0.254"));
  for (let seq = 1; seq <= 4; seq++) send(buildIcmp({ rest: [7, seq] }));
  const payload = new Uint8Array(payloadBytes);
  for (let srcPort = 40_000; srcPort < 40_020; srcPort++) {
    const syn = readTcp(send(buildTcp({ srcPort }))[0]!);
    const back = { ...fromB(syn.dst), srcPort: 2000, dstPort: syn.srcPort };
    send(buildTcp({ ...back, flags: "SA", seq: 0, ack: 1001 }));
    send(buildTcp({ srcPort, flags: "PA", seq: 1001, ack: 1, fragment: 0, payload }));
  }
  return records;
}

function merged(records: Records): (readonly [PcapRecord, number])[] {
  return [...mergeByTime(records.map((side) => side.values()))];
}

/** Whether anything differs, the line about it, and how many frames went to each side. */
function replayed(
  records: Iterable<readonly [record: PcapRecord, link: number]>,
  seed: number,
  mtus = USUAL,
): [boolean, string, number[]] {
  const config = testConfig({
    links: [linkConfig(), LINK_B],
    dstAddrs: BACKENDS_B.map(parseAddress),
    seed,
  });
  const sent = [0, 0];
  const replay = new Replay(demoTwoSided, config, {
    print: () => {},
    complain: (text) => assert.fail(text),
    sent: (_record, link) => sent[link]!++,
  }, mtus.map((mtu) => ({ mtu, first: [] })));
  for (const [record, link] of records) replay.take(record, link);
  return [replay.differs(), /^Compared +: (.*)$/m.exec(replay.summary())![1]!, sent];
}

Deno.test("replay of both sides does what the run did, and shows another run's differences", () => {
  const records = merged(run(USUAL, 5));
  const [differs, compared, sent] = replayed(records, 7);
  assert.equal(compared, "62 equal, 0 missing, 0 unexpected");
  assert.equal(differs, false);
  assert.ok(sent[0]! > 20 && sent[1]! > 40, `${sent}`);
  assert.equal(replayed(records, 8)[0], true);
});

Deno.test("replay of one pcapng file with both sides does what two files would", () => {
  const records = merged(run(USUAL, 5));
  const file = readCaptures([writePcapng(2, records)], 2);
  assert.deepEqual(replayed(file, 7), replayed(records, 7));
});

Deno.test("replay cuts up what is longer than the MTU of the interface, as the run did", () => {
  const mtus = [9000, 1000] as const;
  const records = merged(run(mtus, 1500)); // goes out in two fragments
  const [differs, compared, sent] = replayed(records, 7, mtus);
  assert.equal(compared, "82 equal, 0 missing, 0 unexpected");
  assert.equal(differs, false);
  assert.ok(sent[1]! > 60, `${sent}`);
  assert.equal(replayed(records, 7, [9000, 1010])[0], true);
  assert.equal(replayed(records, 7)[0], true);
});

Deno.test("mergeByTime gives records in the order of time, those of one capture in their own", () => {
  const capture = (...times: number[]) =>
    times.map((timeUs) => ({ timeUs, frame: new Uint8Array(), lengthBytes: 0 })).values();
  const merged = [...mergeByTime([capture(1, 5, 5, 9), capture(), capture(2, 5, 3)])];
  assert.deepEqual(
    merged.map(([{ timeUs }, number]) => [timeUs, number]),
    [[1, 0], [2, 2], [5, 0], [5, 0], [5, 2], [3, 2], [9, 0]],
  );
});

Deno.test("mergeByTime gives all that comes before what can't be read", () => {
  const given: number[] = [];
  function* broken(): Generator<PcapRecord> {
    yield { timeUs: 2, frame: new Uint8Array(), lengthBytes: 0 };
    throw new SyntaxError("cut");
  }
  const whole = [1, 2, 3].map((timeUs) => ({ timeUs, frame: new Uint8Array(), lengthBytes: 0 }));
  assert.throws(() => {
    for (const [{ timeUs }] of mergeByTime([whole.values(), broken()])) given.push(timeUs);
  }, SyntaxError);
  assert.deepEqual(given, [1, 2, 2]);
});
