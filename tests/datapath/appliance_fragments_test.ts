/** Fragments through the whole appliance: what comes in pieces, and what leaves in pieces. */
import assert from "node:assert/strict";
import { Count } from "../../src/datapath/metrics.ts";
import { below, SeededRandom } from "../../src/core/random.ts";
import type { Policy } from "../../src/policy/language/ast.ts";
import {
  drop,
  echo,
  firstMatch,
  forward,
  fromSide,
  isEchoRequest,
  isFragment,
  isIcmp,
  not,
  otherwise,
  policy,
  track,
  translateAToB,
  translateBToA,
} from "../../src/policy/language/build.ts";
import { cut, fragment, join, permutations, shuffled } from "../support/fragments.ts";
import {
  buildIcmp,
  buildTcp,
  buildUdp,
  bytesOf,
  readEthernet,
  readIcmp,
  readIp,
  readTcp,
  readUdp,
} from "../support/frames.ts";
import { judge, tsharkTest } from "../support/tshark.ts";
import { CLIENT, from, macOf, packetsOf, PROXY, PROXY_MAC, World } from "../support/world.ts";

/** Answers every ping, forwards everything else, both ways. */
const open: Policy = policy(
  "drop",
  firstMatch([
    [fromSide("b"), translateBToA(forward)],
    [isEchoRequest, track(echo)],
    [not(isIcmp), translateAToB(forward)],
  ]),
);

function bytes(length: number, factor = 7): Uint8Array {
  return Uint8Array.from({ length }, (_, i) => i * factor);
}

function openWorld(): World {
  return World.settled({ policy: open, backends: ["192.168.0.1"] });
}

function assertFits(frames: readonly Uint8Array[], mtuBytes: number): void {
  for (const frame of frames) assert.ok(frame.length <= 14 + mtuBytes, `${frame.length} bytes`);
}

Deno.test("Appliance answers pings of every length up to 65,507, in fragments that fit", () => {
  const random = new SeededRandom(1);
  const world = openWorld();
  for (const length of [1472, 1473, 2952, 2953, 3000, 20_000, 65_507]) {
    for (const order of ["sent", "mixed"]) {
      const payload = bytes(length);
      const request = buildIcmp({ payload, id: length, ttl: 7, rest: [length, 3], fragment: 0 });
      const fragments = length <= 1472 ? [request] : cut(request, 1480);
      const sent = world.send(...(order === "sent" ? fragments : shuffled(random, fragments)));
      assert.equal(sent.length, fragments.length);
      assertFits(sent, 1500);
      for (const one of sent) {
        assert.deepEqual(readEthernet(one), {
          dstMac: macOf(CLIENT),
          srcMac: PROXY_MAC,
          etherType: 0x0800,
        });
      }
      const reply = readIcmp(join(sent));
      assert.partialDeepStrictEqual(reply, { src: PROXY, dst: CLIENT, ttl: 64, type: 0, code: 0 });
      assert.deepEqual([reply.rest, reply.payload], [[length, 3], payload]);
    }
  }
  assert.deepEqual(world.drops(), {});
  const { metrics } = world.appliance;
  assert.deepEqual([metrics.counts[Count.pdusIn], metrics.counts[Count.pdusOut]], [14, 14]);
});

Deno.test("Appliance has room for every datagram that one burst completes", () => {
  const world = openWorld();
  // All but their last fragments: then these come at once.
  const requests = Array.from(
    { length: 10 },
    (_, id) => cut(buildIcmp({ payload: bytes(65_507, id), id, rest: [id, 1], fragment: 0 }), 1480),
  );
  for (const request of requests) assert.deepEqual(world.send(...request.slice(0, -1)), []);
  const sent = world.send(...requests.map((request) => request.at(-1)!));
  const replies = Map.groupBy(sent, (frame) => readIp(frame).ip.id);
  assert.equal(replies.size, 10);
  const ids = [...replies.values()].map((frames) => {
    const { rest: [id], payload } = readIcmp(join(frames));
    assert.deepEqual(payload, bytes(65_507, id));
    return id;
  });
  assert.deepEqual(ids, requests.map((_, id) => id));
  assert.deepEqual(world.drops(), {});
});

Deno.test("Appliance forwards a datagram that came in fragments, in any order, and its answer", () => {
  const payload = bytes(3500);
  const request = buildUdp({ payload, fragment: 0 });
  for (const order of permutations(cut(request, 1480))) {
    const world = openWorld();
    const sent = world.send(...order);
    assertFits(sent, 1500);
    const there = readUdp(join(sent));
    assert.partialDeepStrictEqual(there, {
      src: PROXY,
      dst: "192.168.0.1",
      ttl: 63,
      dstPort: 2000,
    });
    assert.deepEqual(there.payload, payload);
    const answer = buildUdp({
      ...from("192.168.0.1"),
      srcPort: 2000,
      dstPort: there.srcPort,
      payload: bytes(5000),
      fragment: 0,
    });
    const back = world.send(...cut(answer, 1480));
    assertFits(back, 1500);
    const received = readUdp(join(back));
    assert.partialDeepStrictEqual(received, { src: PROXY, dst: CLIENT, dstPort: 40_000 });
    assert.deepEqual(received.payload, bytes(5000));
    assert.deepEqual(world.drops(), {});
  }
});

Deno.test("Appliance keeps two clients' fragments apart that share an identification", () => {
  const world = openWorld();
  const fragments = [CLIENT, "192.168.0.77"].map((host, i) =>
    cut(buildUdp({ ...from(host), id: 7, payload: bytes(2000, 3 + i), fragment: 0 }), 1480)
  );
  const sent = world.send(...[0, 1].flatMap((i) => fragments.map((one) => one[i]!)));
  const packets = [...Map.groupBy(sent, (frame) => readIp(frame).ip.id).values()];
  const payloads = packets.map((frames) => readUdp(join(frames)).payload);
  assert.deepEqual(payloads, [bytes(2000, 3), bytes(2000, 4)]);
});

Deno.test("Appliance forwards TCP segments that came in fragments", () => {
  const world = openWorld();
  const [syn] = world.send(...cut(buildTcp({ tcpOptions: Array(20).fill(1), fragment: 0 }), 40));
  const { srcPort, seq } = readTcp(syn!);
  const answer = { ...from("192.168.0.1"), srcPort: 2000, dstPort: srcPort };
  world.send(buildTcp({ ...answer, flags: "SA", seq: 1, ack: seq + 1 }));
  const payload = bytes(1400);
  const data = buildTcp({ flags: "PA", seq: seq + 1, ack: 2, payload, fragment: 0 });
  const sent = packetsOf(world.send(...cut(data, 800)));
  assert.equal(sent.length, 2);
  assertFits(sent, 820);
  assert.deepEqual(readTcp(join(sent)).payload, payload);
  assert.deepEqual(world.drops(), {});
});

Deno.test("Appliance sends fragments no longer than those that came, though the MTU is", () => {
  for (const [dataBytes, most] of [[1480, 1500], [1000, 1020], [552, 576], [80, 576]] as const) {
    const world = openWorld();
    const request = buildIcmp({ payload: bytes(4000), fragment: 0 });
    const sent = world.send(...cut(request, dataBytes));
    assertFits(sent, most);
    assert.deepEqual(readIcmp(join(sent)).payload, bytes(4000));
  }
});

Deno.test("Appliance shows the tree whole packets: `fragment` holds, and so do ports", () => {
  const world = World.settled({
    policy: policy("drop", firstMatch([[isFragment, drop], [otherwise, translateAToB(forward)]])),
  });
  assert.deepEqual(world.send(...cut(buildUdp({ payload: bytes(100), fragment: 0 }), 48)), []);
  assert.deepEqual(world.drops(), { policy: 1 });
  assert.equal(world.send(buildUdp()).length, 1);
});

Deno.test("Appliance checks the whole packet's checksum and header", () => {
  const cases: [string, Uint8Array<ArrayBuffer>][] = [
    ["udp-checksum", corrupted(buildUdp({ payload: bytes(100), fragment: 0 }))],
    ["icmp-checksum", corrupted(buildIcmp({ payload: bytes(100), fragment: 0 }))],
    ["tcp-checksum", corrupted(buildTcp({ flags: "A", payload: bytes(100), fragment: 0 }))],
    ["tcp-flags", buildTcp({ flags: "FPU", payload: bytes(100), fragment: 0 })],
    ["port-zero", buildUdp({ dstPort: 0, payload: bytes(100), fragment: 0 })],
  ];
  for (const [reason, frame] of cases) {
    const world = openWorld();
    assert.deepEqual(world.send(...cut(frame, 48)), []);
    assert.deepEqual(world.drops(), { [reason]: 1 });
  }
});

function corrupted(frame: Uint8Array<ArrayBuffer>): Uint8Array<ArrayBuffer> {
  frame[100]! ^= 0x10;
  return frame;
}

Deno.test("Appliance holds no fragment that is not for it", () => {
  const world = openWorld();
  world.send(...[
    fragment(0, bytes(80), false, { dst: "192.168.0.101" }),
    fragment(0, bytes(80), false, { src: PROXY }),
    fragment(0, bytes(80), false, { dst: "255.255.255.255", dstMac: "ff:ff:ff:ff:ff:ff" }),
  ]);
  world.advance(40_000);
  assert.deepEqual(world.drops(), {
    "broadcast-destination": 1,
    "foreign-destination": 1,
    "own-source": 1,
  });
});

Deno.test("Appliance drops overlaps and counts each fragment once", () => {
  const world = openWorld();
  const teardrop = [fragment(0, bytes(80), false), fragment(24, bytes(4), true)];
  world.send(...teardrop, fragment(80, bytes(8), false), fragment(0, bytes(16), false));
  assert.deepEqual(world.drops(), { "fragment-overlap": 4 });
  world.advance(31_000);
  assert.deepEqual(packetsOf(world.device.take()), []);
});

Deno.test("Appliance tells a sender whose fragments did not all come, once 30 s are over", () => {
  const world = openWorld();
  const [first, second] = cut(buildUdp({ payload: bytes(4000), fragment: 0 }), 1480);
  world.send(first!, second!);
  assert.deepEqual(packetsOf(world.advance(29_900)), []);
  const sent = packetsOf(world.advance(200));
  assert.equal(sent.length, 1);
  const error = readIcmp(sent[0]!);
  assert.partialDeepStrictEqual(error, {
    src: PROXY,
    dst: CLIENT,
    type: 11,
    code: 1,
    rest: [0, 0],
  });
  assert.deepEqual(error.payload, first!.slice(14, 14 + 548));
  assert.equal(readEthernet(sent[0]!).dstMac, macOf(CLIENT));
  assert.deepEqual(world.drops(), { "fragment-timeout": 2 });
});

Deno.test("Appliance tells nobody about lost fragments of errors, or without the first one", () => {
  const world = openWorld();
  world.send(
    fragment(80, bytes(8), true),
    cut(buildIcmp({ type: 3, code: 1, payload: bytes(100), fragment: 0 }), 48)[0]!,
  );
  assert.deepEqual(packetsOf(world.advance(31_000)), []);
  assert.deepEqual(world.drops(), { "fragment-timeout": 2 });
});

Deno.test("Appliance drops what is too long and must stay whole, and names the MTU", () => {
  for (const frame of [buildUdp({ payload: bytes(1473) }), buildTcp({ payload: bytes(1461) })]) {
    const world = openWorld();
    const sent = world.send(frame);
    assert.equal(sent.length, 1);
    const error = readIcmp(sent[0]!);
    assert.partialDeepStrictEqual(error, { dst: CLIENT, type: 3, code: 4, rest: [0, 1500] });
    assert.deepEqual(error.payload, frame.slice(14, 14 + 548));
    assert.deepEqual(world.drops(), { "mtu-exceeded": 1 });
    assert.equal(world.appliance.connections.table.count, 0);
  }
});

Deno.test("Appliance cuts up what is too long and may be", () => {
  const world = openWorld();
  const sent = world.send(buildUdp({ payload: bytes(1473), fragment: 0 }));
  assert.equal(sent.length, 2);
  assertFits(sent, 1500);
  assert.deepEqual(readUdp(join(sent)).payload, bytes(1473));
});

Deno.test("Appliance answers pings in fragments through a flood of halves", () => {
  const random = new SeededRandom(3);
  const world = openWorld();
  const request = buildIcmp({ payload: bytes(3000), fragment: 0 });
  let answers = 0;
  for (let round = 0; round < 100; round++) {
    for (const one of shuffled(random, cut(request, 1480))) {
      const halves = Array.from(
        { length: 50 },
        () =>
          fragment(8 * below(random, 2), bytesOf("halfhalf"), false, {
            src: `10.1.${below(random, 256)}.${1 + below(random, 250)}`,
            id: below(random, 65_536),
          }),
      );
      answers += packetsOf(world.send(...halves, one)).length;
    }
  }
  assert.equal(answers, 300);
  const { metrics } = world.appliance;
  assert.equal(metrics.counts[Count.pdusIn], 100);
  world.advance(40_000);
  // Every frame has had its end: absorbed by a whole datagram, or dropped.
  const dropped = Object.values(world.drops()).reduce((sum, count) => sum + count, 0);
  assert.ok(dropped > 14_900 && dropped <= 15_000, `${dropped} dropped`);
});

tsharkTest("Appliance sends fragments that tshark finds nothing wrong with", async () => {
  const world = openWorld();
  const sent = [1473, 3000, 65_507].flatMap((length, i) => [
    ...world.send(...cut(buildIcmp({ payload: bytes(length), id: i, fragment: 0 }), 1480)),
    ...world.send(...cut(buildUdp({ payload: bytes(length), id: i, fragment: 0 }), 1480)),
  ]);
  assert.ok(sent.length > 90);
  assert.deepEqual(await judge(sent), []);
});
