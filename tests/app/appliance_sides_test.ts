/** Appliance with an interface on each side: what comes from where, and leaves by which. */
import assert from "node:assert/strict";
import { Reason } from "../../src/core/reason.ts";
import type { Policy } from "../../src/tree/ast.ts";
import { parse } from "../../src/tree/parse.ts";
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
  const answer = { ...fromB(BACKEND), srcPort: 2000, dstPort: syn!.srcPort, flags: "SA" };
  const [back] = world.send(buildTcp(answer)).map(readTcp);
  assert.deepEqual(
    [back!.srcMac, back!.dstMac, back!.src, back!.dst, back!.srcPort],
    [PROXY_MAC, macOf(CLIENT), PROXY, CLIENT, 2000],
  );
  assert.deepEqual(world.drops(), {});
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
  const answer = { ...fromB(BACKEND), srcPort: 2000, dstPort: syn!.srcPort, flags: "SA" };
  const [back] = world.send(buildTcp(answer)).map(readTcp);
  assert.deepEqual([back!.srcMac, back!.src, back!.dst], [PROXY_B_MAC, PROXY_B, host]);
});

Deno.test("Appliance, two-sided, says net unreachable while the other device is away, and keeps connections", () => {
  const world = World.settled(ONE);
  const [syn] = world.send(buildTcp({ flags: "S" })).map(readTcp);
  const answer = { ...fromB(BACKEND), srcPort: 2000, dstPort: syn!.srcPort, flags: "SA" };
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
  assert.equal(world.appliance.metrics.drops[Reason["link-down"]], 1);
});
