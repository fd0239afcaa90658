/**
 * Appliance with --preserve-source: backends see the clients, and answer them through the proxy.
 */
import assert from "node:assert/strict";
import { parseAddress } from "../../src/wire/address.ts";
import type { Policy } from "../../src/policy/language/ast.ts";
import { parse } from "../../src/policy/notation/parse.ts";
import {
  buildIcmp,
  buildTcp,
  buildUdp,
  bytesOf,
  readIcmp,
  readTcp,
  readUdp,
  type Tcp,
} from "../support/frames.ts";
import { cut } from "../support/fragments.ts";
import {
  BACKENDS,
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
  type WorldOptions,
} from "../support/world.ts";

const [BACKEND = ""] = BACKENDS_B;
const ONE: WorldOptions = { twoSided: true, backends: [BACKEND], preserveSource: true };
const OTHER_CLIENT = "192.168.0.253";
const ROUTER_B = "10.0.0.9";

/** A frame from a host on side B to the client. */
function toClient(host: string): { src: string; srcMac: string; dst: string; dstMac: string } {
  return { ...fromB(host), dst: CLIENT };
}

const forwardsAll: Policy = parse(
  "default drop\nfrom side a -> translate-a-to-b, forward\notherwise -> translate-b-to-a, forward\n",
  { file: "test" },
).policy!;

/** Opens a connection of the client from `srcPort`; the SYN that the backend gets. */
function open(world: World, srcPort = 40_000, client = CLIENT): Tcp {
  const [syn] = world.send(buildTcp({ ...from(client), flags: "S", srcPort })).map(readTcp);
  const answer = { ...fromB(BACKEND), dst: client, srcPort: 2000, dstPort: srcPort };
  world.send(buildTcp({ ...answer, flags: "SA", seq: 0, ack: 1001 }));
  return syn!;
}

Deno.test("Appliance, preserving sources, gives a backend the client's address and port", () => {
  const world = World.settled(ONE);
  const syn = open(world);
  assert.deepEqual(
    [syn.srcMac, syn.dstMac, syn.src, syn.srcPort, syn.dst, syn.dstPort, syn.ttl],
    [PROXY_B_MAC, macOf(BACKEND), CLIENT, 40_000, BACKEND, 2000, 63],
  );
  const data = { ...toClient(BACKEND), srcPort: 2000, dstPort: 40_000, flags: "PA", seq: 1 };
  const [back] = world.send(buildTcp({ ...data, ack: 1001, payload: bytesOf("hi") })).map(readTcp);
  assert.deepEqual(
    [back!.srcMac, back!.dstMac, back!.src, back!.srcPort, back!.dst, back!.dstPort],
    [PROXY_MAC, macOf(CLIENT), PROXY, 2000, CLIENT, 40_000],
  );
  assert.deepEqual(world.drops(), {});
});

Deno.test("Appliance, preserving sources, needs no port: as many clients as come share one", () => {
  const world = World.settled({ ...ONE, ports: { first: 50_000, last: 50_000 } });
  world.answer(OTHER_CLIENT);
  for (const client of [CLIENT, OTHER_CLIENT]) {
    for (let port = 40_000; port < 40_400; port++) {
      const syn = open(world, port, client);
      assert.deepEqual([syn.src, syn.srcPort], [client, port]);
    }
  }
  assert.equal(world.appliance.connections.table.count, 800);
  world.advance(130 * 60_000); // every timer has run out
  assert.equal(world.appliance.connections.table.count, 0);
  assert.match(world.summary(), /800 opened, 0 tracked/);
});

Deno.test("Appliance, preserving sources, passes nothing through that belongs to no connection", () => {
  const world = World.settled(ONE);
  open(world);
  const strays = [
    buildTcp({ ...toClient(BACKEND), srcPort: 2000, dstPort: 40_001, flags: "S" }),
    buildTcp({ ...toClient(ROUTER_B), srcPort: 2000, dstPort: 40_000, flags: "A" }),
    buildTcp({ ...toClient(BACKEND), dst: OTHER_CLIENT, srcPort: 2000, dstPort: 40_000 }),
    buildUdp({ ...toClient(BACKEND), srcPort: 2000, dstPort: 40_000 }),
    buildIcmp(toClient(BACKEND)),
  ];
  for (const stray of strays) assert.deepEqual(world.send(stray), []);
  assert.deepEqual(world.drops(), { "foreign-destination": strays.length });
  // Nor on side A, whatever the packet says about itself.
  const own = { ...toClient(BACKEND), srcPort: 2000, dstPort: 40_000, dstMac: PROXY_MAC };
  assert.deepEqual(world.send(buildTcp({ ...own, flags: "A" })), []);
  // Nor what was sent to every station.
  const loud = { ...toClient(BACKEND), srcPort: 2000, dstPort: 40_000, flags: "A" };
  world.devices[1]!.inbox.push(buildTcp({ ...loud, dstMac: "ff:ff:ff:ff:ff:ff" }));
  assert.deepEqual(world.poll(), []);
  assert.deepEqual(world.drops(), {
    "foreign-destination": strays.length + 1,
    "broadcast-mac": 1,
  });
});

Deno.test("Appliance, preserving sources, has its address of side A on side A only", () => {
  const policy = parse("default drop\notherwise -> translate-a-to-b, forward\n", { file: "test" });
  const world = World.settled({ ...ONE, policy: policy.policy! });
  const query = { src: "172.16.0.9", srcPort: 5000, dstPort: 53 }; // neither side has a route to it
  assert.equal(world.send(buildUdp({ ...query, srcMac: macOf(CLIENT) })).length, 1);
  const onB = { ...query, srcMac: macOf(ROUTER_B), dst: PROXY, dstMac: PROXY_B_MAC };
  assert.deepEqual(world.send(buildUdp(onB)), []);
  // Nor does its first fragment wait, to be answered from that address.
  const payload = new Uint8Array(2000);
  assert.deepEqual(
    world.send(cut(buildUdp({ ...onB, ...fromB(ROUTER_B), dst: PROXY, payload }), 1480)[0]!),
    [],
  );
  assert.deepEqual(packetsOf(world.advance(31_000)), []);
  assert.deepEqual(world.drops(), { "foreign-destination": 2 });
});

Deno.test("Appliance, preserving sources, passes pings, UDP and fragments", () => {
  const world = World.settled({ ...ONE, policy: forwardsAll });
  const [ping] = world.send(buildIcmp({ rest: [77, 1] })).map(readIcmp);
  assert.deepEqual([ping!.src, ping!.dst, ping!.rest], [CLIENT, BACKEND, [77, 1]]);
  const pong = { ...toClient(BACKEND), type: 0, rest: [77, 1] as [number, number] };
  const [reply] = world.send(buildIcmp(pong)).map(readIcmp);
  assert.deepEqual([reply!.src, reply!.dst, reply!.rest], [PROXY, CLIENT, [77, 1]]);

  const [query] = world.send(buildUdp({ srcPort: 5000, dstPort: 53 })).map(readUdp);
  assert.deepEqual([query!.src, query!.srcPort], [CLIENT, 5000]);
  const payload = new Uint8Array(2000).fill(7);
  const answer = buildUdp({ ...toClient(BACKEND), srcPort: 53, dstPort: 5000, payload });
  const parts = cut(answer, 1480).flatMap((part) => world.send(part));
  assert.equal(parts.length, 2);
  assert.ok(parts.every((part) => part[26] === 192 && part[29] === 100)); // from the proxy
  assert.deepEqual(world.drops(), {});
});

Deno.test("Appliance, preserving sources, takes nothing but replies for those to query 0", () => {
  const world = World.settled({ ...ONE, policy: forwardsAll });
  assert.equal(world.send(buildIcmp({ rest: [0, 1] })).length, 1);
  for (const type of [3, 5, 8, 11]) {
    assert.deepEqual(world.send(buildIcmp({ ...toClient(BACKEND), type, rest: [7, 1] })), []);
  }
  const [reply] = world.send(buildIcmp({ ...toClient(BACKEND), type: 0, rest: [0, 1] }));
  assert.deepEqual([readIcmp(reply!).dst, readIcmp(reply!).rest], [CLIENT, [0, 1]]);
});

/** The first bytes of the packet in a frame, as an ICMP error quotes them. */
function quoteOf(frame: Uint8Array): Uint8Array {
  return frame.slice(14, 14 + 28);
}

Deno.test("Appliance, preserving sources, takes ICMP errors to where they belong", () => {
  const world = World.settled({ ...ONE, policy: forwardsAll });
  const [query] = world.send(buildUdp({ srcPort: 5000, dstPort: 53 }));
  // Of the backend itself, and of a router on the way to it.
  for (const [host, seen] of [[BACKEND, PROXY], [ROUTER_B, ROUTER_B]] as const) {
    const error = { ...toClient(host), type: 3, code: 3, payload: quoteOf(query!) };
    const [there] = world.send(buildIcmp(error)).map(readIcmp);
    assert.deepEqual([there!.src, there!.dst], [seen, CLIENT]);
    assert.deepEqual([...there!.payload.slice(12, 20)], [...octets(CLIENT), ...octets(PROXY)]);
  }
  // Of the client about the answer: the backend learns who says so.
  const answer = buildUdp({ ...toClient(BACKEND), srcPort: 53, dstPort: 5000 });
  const payload = quoteOf(world.send(answer)[0]!);
  const [back] = world.send(buildIcmp({ type: 3, code: 3, payload })).map(readIcmp);
  assert.deepEqual([back!.src, back!.dst], [CLIENT, BACKEND]);
  assert.deepEqual([...back!.payload.slice(12, 20)], [...octets(BACKEND), ...octets(CLIENT)]);
  assert.deepEqual(world.drops(), {});
  // One about nothing that is known is not for anybody.
  const unknown = quoteOf(buildUdp({ src: CLIENT, dst: BACKEND, srcPort: 5001, dstPort: 53 }));
  world.send(buildIcmp({ ...toClient(BACKEND), type: 3, code: 3, payload: unknown }));
  assert.deepEqual(world.drops(), { "foreign-destination": 1 });
});

Deno.test("Appliance, preserving sources, speaks to backends in its own name", () => {
  const world = World.settled(ONE);
  open(world);
  const dying = { ...toClient(BACKEND), srcPort: 2000, dstPort: 40_000, flags: "A", seq: 1 };
  const [error] = world.send(buildTcp({ ...dying, ack: 1001, ttl: 1 })).map(readIcmp);
  assert.deepEqual([error!.src, error!.dst, error!.type], [PROXY_B, BACKEND, 11]);
});

Deno.test("Appliance, preserving sources, keeps its own for a client on the backends' side", () => {
  const policy = parse(
    "default drop\nnew or from side a -> translate-a-to-b, forward\n" +
      "otherwise -> translate-b-to-a, forward\n",
    { file: "test" },
  ).policy!;
  const world = World.settled({ ...ONE, policy });
  world.answer(ROUTER_B);
  const [syn] = world.send(buildTcp({ ...fromB(ROUTER_B), flags: "S" })).map(readTcp);
  assert.equal(syn!.src, PROXY_B);
});

Deno.test("Appliance, preserving sources with one interface, serves clients behind a gateway", () => {
  const gateway = "192.168.0.250";
  const far = "10.9.9.9";
  const world = World.settled({ backends: [BACKENDS[0]!], preserveSource: true, gateway });
  world.answer(gateway);
  const [syn] = world.send(buildTcp({ src: far, srcMac: macOf(gateway), flags: "S" })).map(readTcp);
  assert.deepEqual([syn!.src, syn!.dst], [far, BACKENDS[0]]);
  const answer = {
    ...from(BACKENDS[0]!),
    dst: far,
    srcPort: 2000,
    dstPort: 40_000,
    flags: "SA",
    ack: 1001,
  };
  const [back] = world.send(buildTcp({ ...answer, ack: 1001 })).map(readTcp);
  assert.deepEqual([back!.src, back!.dst, back!.dstMac], [PROXY, far, macOf(gateway)]);
});

function octets(address: string): number[] {
  const word = parseAddress(address);
  return [word >>> 24, (word >>> 16) & 255, (word >>> 8) & 255, word & 255];
}
