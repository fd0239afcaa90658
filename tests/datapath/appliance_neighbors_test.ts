/** Appliance and ARP: packets that wait, backends that do not answer, next hops. */
import assert from "node:assert/strict";
import { buildArp, buildTcp, readIcmp, readTcp } from "../support/frames.ts";
import {
  arpsOf,
  BACKENDS,
  CLIENT,
  from,
  macOf,
  packetsOf,
  PROXY,
  PROXY_MAC,
  World,
} from "../support/world.ts";

const ROUTER = "192.168.0.1";
const ROUTER_MAC = macOf(ROUTER);

Deno.test("Appliance probes, announces itself and asks for its backends at start", () => {
  const arps = arpsOf(new World().poll()).map(({ senderAddress, targetAddress, operation }) =>
    `${operation} ${senderAddress} ${targetAddress}`
  );
  assert.deepEqual(arps, [
    `1 0.0.0.0 ${PROXY}`,
    `1 ${PROXY} ${PROXY}`,
    ...BACKENDS.map((backend) => `1 ${PROXY} ${backend}`),
  ]);
});

Deno.test("Appliance answers an ARP request for its address, and for no other", () => {
  const world = World.settled();
  const [reply] = arpsOf(world.send(buildArp()));
  assert.deepEqual(reply, {
    ...{ dstMac: macOf(CLIENT), srcMac: PROXY_MAC, etherType: 0x0806, operation: 2 },
    ...{ senderMac: PROXY_MAC, senderAddress: PROXY },
    ...{ targetMac: macOf(CLIENT), targetAddress: CLIENT },
  });
  assert.deepEqual(world.send(buildArp({ targetAddress: BACKENDS[0]! })), []);
});

Deno.test("Appliance holds a connection's first packets until the backend has answered ARP", () => {
  const world = new World({ backends: ["192.168.0.1"] });
  world.poll();
  assert.deepEqual(packetsOf(world.send(buildTcp({ srcPort: 1 + 40_000 }), buildTcp())), []);
  assert.equal(world.appliance.connections.table.count, 2);
  const released = packetsOf(world.answer("192.168.0.1")).map(readTcp);
  assert.deepEqual(released.map((tcp) => [tcp.dst, tcp.dstMac, tcp.srcPort, tcp.ttl]), [
    ["192.168.0.1", macOf("192.168.0.1"), 40_001, 63],
    ["192.168.0.1", macOf("192.168.0.1"), 40_000, 63],
  ]);
  assert.deepEqual(world.drops(), {});
});

Deno.test("Appliance asks for the client when it sends the first answer to it", () => {
  const world = new World({ backends: ["192.168.0.1"] });
  world.poll();
  world.answer("192.168.0.1");
  const [syn] = packetsOf(world.send(buildTcp())).map(readTcp);
  const reply = buildTcp({
    ...from("192.168.0.1"),
    srcPort: 2000,
    dstPort: syn!.srcPort,
    flags: "SA",
    ack: 1001,
  });
  const sent = world.send(reply);
  assert.deepEqual(arpsOf(sent).map((arp) => arp.targetAddress), [CLIENT]);
  const [synAck] = packetsOf([...sent, ...world.answer(CLIENT)]).map(readTcp);
  assert.deepEqual([synAck!.dst, synAck!.dstMac, synAck!.flags], [CLIENT, macOf(CLIENT), "SA"]);
});

Deno.test("Appliance drops what waited for a host that never answers, and counts it", () => {
  const world = new World({ backends: ["192.168.0.1"] });
  world.poll();
  for (let i = 0; i < 40; i++) world.send(buildTcp({ srcPort: 40_000 + i }));
  world.advance(5000);
  assert.deepEqual(world.drops(), { "arp-queue-full": 8, "arp-unanswered": 32 });
  assert.deepEqual(packetsOf(world.answer("192.168.0.1")), []);
});

Deno.test("Appliance gives new connections only to backends that answer, until another does", () => {
  const world = new World();
  world.poll();
  world.answer(BACKENDS[1]!);
  world.advance(5000);
  const unanswered = (backend: string) =>
    `warning: backend ${backend} does not answer ARP (3 requests): ` +
    "no new connections to it while another backend answers";
  assert.deepEqual(world.log, [
    `info: backend ${BACKENDS[1]} is at ${macOf(BACKENDS[1]!)}`,
    unanswered(BACKENDS[0]!),
    unanswered(BACKENDS[2]!),
  ]);
  const targets = (first: number) =>
    new Set(
      Array.from({ length: 30 }, (_, i) =>
        readTcp(packetsOf(world.send(buildTcp({ srcPort: first + i })))[0]!).dst),
    );
  assert.deepEqual(targets(40_000), new Set([BACKENDS[1]]));
  world.answer(BACKENDS[2]!);
  assert.deepEqual(targets(41_000), new Set([BACKENDS[1], BACKENDS[2]]));
  assert.equal(world.log.at(-1), `info: backend ${BACKENDS[2]} is at ${macOf(BACKENDS[2]!)}`);
});

Deno.test("Appliance says host unreachable when no backend answers, at most 20 at once", () => {
  const world = new World();
  world.advance(10_000);
  const syns = Array.from({ length: 60 }, (_, i) => buildTcp({ srcPort: 40_000 + i }));
  const errors = packetsOf(world.send(...syns)).map(readIcmp);
  assert.equal(errors.length, 20);
  for (const [i, { type, code, dst, dstMac, payload }] of errors.entries()) {
    assert.deepEqual([type, code, dst, dstMac], [3, 1, CLIENT, macOf(CLIENT)]);
    assert.deepEqual(payload, syns[i]!.slice(14));
  }
  assert.deepEqual(world.drops(), { "no-backend": 60 });
  assert.equal(world.appliance.connections.table.count, 0);
  const later = packetsOf(world.advance(100));
  assert.deepEqual(later, []);
  assert.equal(packetsOf(world.send(...syns)).length, 2, "20 a second: 2 after 100 ms");
  world.answer(BACKENDS[0]!);
  assert.equal(readTcp(packetsOf(world.send(buildTcp()))[0]!).dst, BACKENDS[0]);
});

Deno.test("Appliance drops the answer to a client without a route, and tells the backend so", () => {
  const world = World.settled({ backends: ["192.168.0.2"] });
  const client = { src: "10.9.9.9", srcMac: ROUTER_MAC };
  const [syn] = world.send(buildTcp(client)).map(readTcp);
  assert.equal(syn!.dst, "192.168.0.2");
  const answer = {
    ...from("192.168.0.2"),
    srcPort: 2000,
    dstPort: syn!.srcPort,
    flags: "SA",
    ack: 1001,
  };
  const said = world.send(buildTcp(answer));
  assert.equal(said.length, 1);
  const { dst, type, code, payload } = readIcmp(said[0]!);
  assert.deepEqual([dst, type, code], ["192.168.0.2", 3, 0]); // net unreachable
  assert.deepEqual([...payload.slice(20, 24)], [2000 >> 8, 2000 & 255, ...portOf(syn!.srcPort)]);
  assert.deepEqual(world.drops(), { "no-route": 1 });
});

Deno.test("Appliance: a packet that finds no route leaves the table as it was", () => {
  const away = new World({ backends: ["10.9.0.1"] });
  away.poll();
  const [error] = packetsOf(away.send(buildTcp())).map(readIcmp);
  assert.deepEqual([error!.type, error!.code], [3, 0]);
  assert.deepEqual(away.drops(), { "no-route": 1 });
  assert.equal(away.appliance.connections.table.count, 0);

  const world = World.settled({ backends: ["192.168.0.2"] });
  const [syn] = world.send(buildTcp({ src: "10.9.9.9", srcMac: ROUTER_MAC })).map(readTcp);
  const { table } = world.appliance.connections;
  const before = table.words.slice();
  world.clock.advance(10);
  const ports = { srcPort: 2000, dstPort: syn!.srcPort };
  world.send(buildTcp({ ...from("192.168.0.2"), ...ports, flags: "SA", ack: 1001 }));
  assert.deepEqual(world.drops(), { "no-route": 1 });
  assert.deepEqual(table.words, before);
});

Deno.test("Appliance tells of missing routes no faster than of anything else", () => {
  const world = World.settled({ backends: ["192.168.0.2"] });
  const [syn] = world.send(buildTcp({ src: "10.9.9.9", srcMac: ROUTER_MAC })).map(readTcp);
  const answer = {
    ...from("192.168.0.2"),
    srcPort: 2000,
    dstPort: syn!.srcPort,
    flags: "SA",
    ack: 1001,
  };
  const said = Array.from({ length: 200 }, () => world.send(buildTcp(answer)).length);
  assert.equal(said.reduce((sum, count) => sum + count), 20);
  assert.deepEqual(world.drops(), { "no-route": 200 });
});

Deno.test("Appliance sends over the longest route that fits", () => {
  const routes = ["10.0.0.0/8 via 192.168.0.251", "10.9.0.0/16 via 192.168.0.252"];
  const world = World.settled({ backends: ["192.168.0.2"], gateway: ROUTER, routes });
  const hops = ["192.168.0.251", "192.168.0.252", ROUTER];
  for (const hop of hops) world.answer(hop);
  for (const [i, src] of ["10.1.1.1", "10.9.9.9", "11.0.0.1"].entries()) {
    const [syn] = world.send(buildTcp({ src, srcMac: ROUTER_MAC, srcPort: 41_000 + i })).map(
      readTcp,
    );
    const answer = {
      ...from("192.168.0.2"),
      srcPort: 2000,
      dstPort: syn!.srcPort,
      flags: "SA",
      ack: 1001,
    };
    const [sent] = world.send(buildTcp(answer)).map(readTcp);
    assert.deepEqual([sent?.dstMac, sent?.dst], [macOf(hops[i]!), src]);
  }
});

function portOf(port: number): number[] {
  return [port >> 8, port & 255];
}

Deno.test("Appliance with a gateway sends the answer to an off-link client through it", () => {
  const world = World.settled({ backends: ["192.168.0.2"], gateway: ROUTER });
  const client = { src: "10.9.9.9", srcMac: ROUTER_MAC };
  const [syn] = world.send(buildTcp(client)).map(readTcp);
  const answer = {
    ...from("192.168.0.2"),
    srcPort: 2000,
    dstPort: syn!.srcPort,
    flags: "SA",
    ack: 1001,
  };
  const held = world.send(buildTcp(answer));
  const [forwarded] = packetsOf([...held, ...world.answer(ROUTER)]).map(readTcp);
  assert.deepEqual([forwarded!.dst, forwarded!.dstMac], ["10.9.9.9", ROUTER_MAC]);
});

Deno.test("Appliance knows which backends are reached through the gateway", () => {
  const world = new World({ backends: ["10.1.1.1"], gateway: ROUTER });
  const asked = arpsOf(world.poll()).map((arp) => arp.targetAddress);
  assert.deepEqual(asked.filter((address) => address !== PROXY), [ROUTER]);
  world.answer(ROUTER);
  assert.deepEqual(world.log, [`info: gateway ${ROUTER} is at ${ROUTER_MAC}`]);
  const [syn] = packetsOf(world.send(buildTcp())).map(readTcp);
  assert.deepEqual([syn!.dst, syn!.dstMac], ["10.1.1.1", ROUTER_MAC]);
});

Deno.test("Appliance.linkUp makes the address known again", () => {
  const world = World.settled();
  world.appliance.linkUp(0);
  const about = arpsOf(world.advance(3000)).filter((arp) => arp.targetAddress === PROXY);
  const count = (sender: string) => about.filter((arp) => arp.senderAddress === sender).length;
  assert.deepEqual([count("0.0.0.0"), count(PROXY)], [3, 2]);
});
