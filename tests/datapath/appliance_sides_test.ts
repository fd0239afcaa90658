/** Appliance with an interface on each side: what comes from where, and leaves by which. */
import assert from "node:assert/strict";
import { Count } from "../../src/datapath/metrics.ts";
import type { Policy } from "../../src/policy/language/ast.ts";
import { parse } from "../../src/policy/notation/parse.ts";
import { buildIcmp, buildTcp, buildUdp, readIcmp, readTcp } from "../support/frames.ts";
import {
  arpsOf,
  BACKENDS_B,
  CLIENT,
  from,
  fromB,
  macOf,
  packetsOf,
  PROXY,
  PROXY_B,
  PROXY_B_MAC,
  PROXY_MAC,
  World,
} from "../support/world.ts";

const [BACKEND = ""] = BACKENDS_B;
const ONE = { twoSided: true, backends: [BACKEND] };

function policyOf(text: string): Policy {
  const { policy, errors } = parse(text, { file: "test" });
  assert.ok(policy !== null, JSON.stringify(errors));
  return policy;
}

Deno.test("Appliance, two-sided, announces itself on each side, and asks for backends on side B", () => {
  const arps = arpsOf(new World({ twoSided: true }).poll());
  const asked = (mac: string) =>
    arps.filter(({ senderMac }) => senderMac === mac).map(({ targetAddress }) => targetAddress);
  assert.deepEqual(asked(PROXY_MAC), [PROXY, PROXY]);
  assert.deepEqual(asked(PROXY_B_MAC), [PROXY_B, PROXY_B, ...BACKENDS_B]);
});

Deno.test("Appliance, two-sided, translates between its address on one side and that on the other", () => {
  const world = World.settled(ONE);
  const [syn] = world.send(buildTcp({ flags: "S" })).map(readTcp);
  assert.deepEqual(
    [syn!.srcMac, syn!.dstMac, syn!.src, syn!.dst, syn!.dstPort],
    [PROXY_B_MAC, macOf(BACKEND), PROXY_B, BACKEND, 2000],
  );
  const answer = {
    ...fromB(BACKEND),
    srcPort: 2000,
    dstPort: syn!.srcPort,
    flags: "SA",
    ack: 1001,
  };
  const [back] = world.send(buildTcp(answer)).map(readTcp);
  assert.deepEqual(
    [back!.srcMac, back!.dstMac, back!.src, back!.dst, back!.srcPort],
    [PROXY_MAC, macOf(CLIENT), PROXY, CLIENT, 2000],
  );
  assert.deepEqual(world.drops(), {});
});

Deno.test("Appliance, two-sided, counts frames and PDUs where they come in, and where they leave", () => {
  const world = World.settled(ONE);
  const { counts } = world.appliance.metrics;
  const before = counts.slice();
  const counted = () =>
    Object.fromEntries(
      Object.entries(Count).flatMap(([name, place]) => {
        const count = counts[place]! - before[place]!;
        return count === 0 ? [] : [[name, count]];
      }),
    );
  const [syn] = world.send(buildTcp({ flags: "S" })).map(readTcp);
  assert.deepEqual(counted(), {
    framesIn: 1,
    pdusIn: 1,
    pduBytesIn: 40,
    framesOutB: 1,
    pdusOutB: 1,
    pduBytesOutB: 40,
  });
  before.set(counts);
  const back = { ...fromB(BACKEND), srcPort: 2000, dstPort: syn!.srcPort, ack: 1001 };
  world.send(buildTcp({ ...back, flags: "SA" }));
  assert.deepEqual(counted(), {
    framesInB: 1,
    pdusInB: 1,
    pduBytesInB: 40,
    framesOut: 1,
    pdusOut: 1,
    pduBytesOut: 40,
  });
});

Deno.test("Appliance, two-sided, takes the side from the interface, whatever the source address", () => {
  // On side A a backend's address is a client's that lies about its side.
  const world = World.settled(ONE);
  assert.deepEqual(world.send(buildTcp({ ...from(BACKEND), flags: "S" })), []);
  assert.deepEqual(world.drops(), { "wrong-side": 1 });
  const other = World.settled(ONE);
  const stray = { ...fromB(CLIENT), dst: PROXY_B };
  assert.deepEqual(other.send(buildTcp({ ...stray, flags: "S" })), []);
  assert.deepEqual(other.drops(), { "wrong-side": 1 });
});

Deno.test("Appliance, two-sided, answers on each side for the address there only", () => {
  const world = World.settled(ONE);
  assert.deepEqual(packetsOf(world.send(buildIcmp({ dst: PROXY_B }))), []);
  assert.deepEqual(
    packetsOf(world.send(buildIcmp({ ...fromB(BACKEND), dst: PROXY }))),
    [],
  );
  assert.deepEqual(world.drops(), { "foreign-destination": 2 });
});

Deno.test("Appliance, two-sided, lets a policy ask for the side", () => {
  const policy = policyOf(`default drop
from side a -> reject "a"
from side b -> echo "b"
`);
  const world = World.settled({ ...ONE, policy });
  const [no] = world.send(buildUdp());
  assert.deepEqual([readIcmp(no!).src, readIcmp(no!).type], [PROXY, 3]);
  const [reply] = world.send(buildIcmp(fromB(BACKEND)));
  assert.deepEqual(
    [readIcmp(reply!).srcMac, readIcmp(reply!).src, readIcmp(reply!).type],
    [PROXY_B_MAC, PROXY_B, 0],
  );
});

Deno.test("Appliance, two-sided, gives a host of side B a connection to a backend and back", () => {
  const policy = policyOf(
    "default drop\nnew or from side a -> translate-a-to-b, forward\n" +
      "otherwise -> translate-b-to-a, forward\n",
  );
  const world = World.settled({ ...ONE, policy });
  const host = "10.0.0.9";
  world.answer(host);
  const [syn] = world.send(buildTcp({ ...fromB(host), flags: "S" })).map(readTcp);
  assert.deepEqual([syn!.srcMac, syn!.src, syn!.dst], [PROXY_B_MAC, PROXY_B, BACKEND]);
  const answer = {
    ...fromB(BACKEND),
    srcPort: 2000,
    dstPort: syn!.srcPort,
    flags: "SA",
    ack: 1001,
  };
  const [back] = world.send(buildTcp(answer)).map(readTcp);
  assert.deepEqual([back!.srcMac, back!.src, back!.dst], [PROXY_B_MAC, PROXY_B, host]);
});

Deno.test("Appliance, two-sided, says net unreachable while the other device is away, and keeps connections", () => {
  const world = World.settled(ONE);
  const [syn] = world.send(buildTcp({ flags: "S" })).map(readTcp);
  const answer = {
    ...fromB(BACKEND),
    srcPort: 2000,
    dstPort: syn!.srcPort,
    flags: "SA",
    ack: 1001,
  };
  world.send(buildTcp(answer));
  const data = buildTcp({ flags: "A", seq: 1001, ack: 1001 });

  world.appliance.linkDown(1);
  const [error] = world.send(data);
  assert.deepEqual([readIcmp(error!).type, readIcmp(error!).code], [3, 0]);
  assert.deepEqual(world.drops(), { "link-down": 1 });
  assert.equal(
    world.advance(5000).filter((frame) =>
      arpsOf([frame]).some((arp) => arp.senderAddress === PROXY_B)
    ).length,
    0,
  );
  world.devices[1]!.inbox.push(buildTcp(answer)); // nobody reads it
  world.appliance.poll(0);
  assert.equal(world.devices[1]!.inbox.length, 1);
  world.devices[1]!.inbox.length = 0;

  world.appliance.linkUp(1);
  const arps = arpsOf(world.advance(100));
  assert.ok(
    arps.some(({ senderAddress, targetAddress }) =>
      senderAddress === PROXY_B && targetAddress === PROXY_B
    ),
  );
  assert.equal(packetsOf(world.send(data)).length, 1);
  assert.equal(world.drops()["link-down"], 1);
});

Deno.test("Appliance, two-sided, forgets what waited for a neighbour when the device was away", () => {
  const gateway = "192.168.0.250";
  const world = World.settled({ ...ONE, gateway });
  const far = { src: "172.16.0.2", srcMac: macOf(gateway), flags: "S" };
  const [syn] = world.send(buildTcp(far)).map(readTcp);
  const answer = {
    ...fromB(BACKEND),
    srcPort: 2000,
    dstPort: syn!.srcPort,
    flags: "SA",
    ack: 1001,
  };
  assert.deepEqual(packetsOf(world.send(buildTcp({ ...answer, seq: 0, ack: 1001 }))), []);
  world.appliance.linkDown(0);
  world.advance(60_000);
  world.appliance.linkUp(0);
  assert.deepEqual(packetsOf(world.answer(gateway)), []);
  assert.deepEqual(world.drops(), { "arp-unanswered": 1 });
});

Deno.test("Appliance, two-sided, takes nobody else for itself, whatever the routes say", () => {
  const world = World.settled({ ...ONE, routes: ["10.0.0.64/26 via 192.168.0.250"] });
  assert.deepEqual(world.send(buildTcp({ src: PROXY_B, flags: "S" })), []);
  assert.deepEqual(world.drops(), { "own-source": 1 });
});

/** MSS option of a SYN, behind as many NOPs as said. */
function mss(lengthBytes: number, nops = 0): number[] {
  const option = [2, 4, lengthBytes >> 8, lengthBytes & 255];
  return [...Array(nops).fill(1), ...option, ...Array((4 - nops) % 4).fill(1)];
}

Deno.test("Appliance lowers the MSS of SYN and SYN ACK to the smaller MTU, where the MTUs differ", () => {
  const cases: [
    mtus: [number, number],
    clampMss: boolean | undefined,
    mss: number,
    left: number,
  ][] = [
    [[9000, 1400], undefined, 8960, 1360],
    [[1400, 9000], undefined, 8960, 1360],
    [[1400, 9000], undefined, 1300, 1300],
    [[9000, 1400], false, 8960, 8960],
    [[1500, 1500], undefined, 8960, 8960],
    [[1500, 1500], true, 8960, 1460],
  ];
  for (const [mtus, clampMss, announced, left] of cases) {
    const world = World.settled({ ...ONE, mtus, ...(clampMss === undefined ? {} : { clampMss }) });
    for (const nops of [0, 1, 2, 3]) {
      const srcPort = 40_000 + nops;
      // `readTcp` finds out whether the checksum is right.
      const tcpOptions = mss(announced, nops);
      const [syn] = world.send(buildTcp({ flags: "S", srcPort, tcpOptions })).map(readTcp);
      assert.deepEqual(syn!.tcpOptions, mss(left, nops));
      const answer = {
        ...fromB(BACKEND),
        srcPort: 2000,
        dstPort: syn!.srcPort,
        flags: "SA",
        ack: 1001,
      };
      const [back] = world.send(buildTcp({ ...answer, ack: 1001, tcpOptions })).map(readTcp);
      assert.deepEqual(back!.tcpOptions, mss(left, nops));
    }
  }
});

Deno.test("Appliance lowers no MSS that it can't read, and none of a segment without SYN", () => {
  const world = World.settled({ ...ONE, mtus: [9000, 1400] });
  const options = [[], [2, 3, 255, 1], [2, 5, 255, 255, 255, 1, 1, 1], [3, 0, 2, 4], [
    0,
    2,
    4,
    255,
  ]];
  for (const [i, tcpOptions] of options.entries()) {
    const [syn] = world.send(buildTcp({ flags: "S", srcPort: 40_000 + i, tcpOptions })).map(
      readTcp,
    );
    assert.deepEqual(syn!.tcpOptions, tcpOptions);
  }
  const [syn] = world.send(buildTcp({ flags: "S" })).map(readTcp);
  const answer = {
    ...fromB(BACKEND),
    srcPort: 2000,
    dstPort: syn!.srcPort,
    flags: "SA",
    ack: 1001,
  };
  world.send(buildTcp({ ...answer, seq: 0 }));
  const data = { flags: "A", seq: 1001, ack: 1, tcpOptions: mss(8960) };
  assert.deepEqual(readTcp(world.send(buildTcp(data))[0]!).tcpOptions, mss(8960));
});

Deno.test("Appliance, two-sided, tells the MTU of the side where a packet would leave, or cuts it up", () => {
  const payload = new Uint8Array(2000);
  for (const [mtus, toB, toA] of [[[9000, 1400], 1400, 0], [[1400, 9000], 0, 1400]] as const) {
    const world = World.settled({ ...ONE, mtus });
    const [syn] = world.send(buildTcp({ flags: "S" })).map(readTcp);
    const back = { ...fromB(BACKEND), srcPort: 2000, dstPort: syn!.srcPort };
    world.send(buildTcp({ ...back, flags: "SA", seq: 0, ack: 1001 }));
    world.send(buildTcp({ flags: "A", seq: 1001, ack: 1 }));
    const there = { flags: "PA", seq: 1001, ack: 1, payload };
    const here = { ...back, flags: "PA", seq: 1, ack: 1001, payload };
    for (const [frame, mtu, link] of [[there, toB, 1], [here, toA, 0]] as const) {
      const whole = world.send(buildTcp({ ...frame, fragment: 0x4000 }));
      assert.equal(whole.length, 1);
      if (mtu === 0) {
        assert.equal(readTcp(whole[0]!).payload.length, 2000);
        continue;
      }
      const { type, code, rest } = readIcmp(whole[0]!);
      assert.deepEqual([type, code, rest[1]], [3, 4, mtu]);
      world.devices[1 - link]!.take();
      const parts = world.send(buildTcp({ ...frame, fragment: 0 }));
      assert.deepEqual(parts.map((part) => part.length - 14 <= mtu), [true, true]);
    }
  }
});
