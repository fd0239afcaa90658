/**
 * Appliance and the hosts on its links: clients that it does not know, backends that die or are
 * many.
 */
import assert from "node:assert/strict";
import {
  dstAddrs,
  firstMatch,
  forward,
  ipSrc,
  not,
  otherwise,
  policy,
  translateAToB,
  translateBToA,
} from "../../src/policy/language/build.ts";
import { buildTcp, buildUdp, readTcp, readUdp } from "../support/frames.ts";
import {
  arpReply,
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
const everything = policy(
  "drop",
  firstMatch([[not(ipSrc.oneOf(dstAddrs)), translateAToB(forward)], [
    otherwise,
    translateBToA(forward),
  ]]),
);

// Clients that nobody knows yet

const STRANGER = "192.168.0.7";

/** Opens a connection from `client`; the backend's answer to it. */
function synAckTo(world: World, client: { src: string; srcMac: string; srcPort: number }) {
  const [syn] = packetsOf(world.send(buildTcp(client))).map(readTcp);
  return buildTcp({
    ...from(syn!.dst),
    srcPort: 2000,
    dstPort: syn!.srcPort,
    flags: "SA",
    ack: 1001,
  });
}

Deno.test("Appliance answers a client on the link at once, and asks for it meanwhile", () => {
  const world = World.settled();
  const client = { ...from(STRANGER), srcPort: 41_000 };
  const sent = world.send(synAckTo(world, client));
  assert.deepEqual(packetsOf(sent).map(readTcp).map(({ dst, dstMac }) => [dst, dstMac]), [
    [STRANGER, macOf(STRANGER)],
  ]);
  assert.deepEqual(arpsOf(sent).map((arp) => arp.targetAddress), [STRANGER]);
});

Deno.test("Appliance sends nothing to a forger's station but what the forger's connection is sent", () => {
  const world = World.settled();
  const forged = { src: STRANGER, srcMac: "02:00:00:00:00:66", srcPort: 41_000 };
  const own = { ...from(STRANGER), srcPort: 42_000 };
  const [toForger, toOwner] = [synAckTo(world, forged), synAckTo(world, own)];
  const macs = (frames: Uint8Array<ArrayBuffer>[]) =>
    packetsOf(frames).map(readTcp).map(({ dstPort, dstMac }) => `${dstPort} ${dstMac}`);
  assert.deepEqual(macs(world.send(toForger, toOwner)), [
    "41000 02:00:00:00:00:66",
    `42000 ${macOf(STRANGER)}`,
  ]);
  world.answer(STRANGER);
  assert.deepEqual(macs(world.send(toForger, toOwner)), [
    `41000 ${macOf(STRANGER)}`,
    `42000 ${macOf(STRANGER)}`,
  ]);
});

Deno.test("Appliance takes no MAC address of a gateway, of itself or of a group from a frame", () => {
  const cases: [string, { src: string; srcMac: string }][] = [
    ["a gateway's address", { src: ROUTER, srcMac: "02:00:00:00:00:66" }],
    ["a group's", { src: STRANGER, srcMac: "03:00:00:00:00:66" }],
    ["the proxy's", { src: STRANGER, srcMac: PROXY_MAC }],
  ];
  for (const [name, client] of cases) {
    const world = World.settled({ backends: ["192.168.0.2"], gateway: ROUTER });
    const [syn] = packetsOf(world.send(buildTcp({ ...client, srcPort: 41_000 }))).map(readTcp);
    if (syn === undefined) continue; // the frame was not taken at all
    const answer = {
      ...from("192.168.0.2"),
      srcPort: 2000,
      dstPort: syn.srcPort,
      flags: "SA",
      ack: 1001,
    };
    const sent = packetsOf(world.send(buildTcp(answer)));
    assert.deepEqual(sent.map(readTcp).map(({ dstMac }) => dstMac), [], name);
  }
});

Deno.test("Appliance takes no backend's MAC address from a frame", () => {
  const world = new World({ policy: policy("drop", translateAToB(forward)) });
  world.poll();
  world.answer(BACKENDS[1]!);
  const client = { src: BACKENDS[0]!, srcMac: "02:00:00:00:00:66", srcPort: 41_000 };
  const sent = world.send(synAckTo(world, client));
  assert.deepEqual(packetsOf(sent), []);
});

Deno.test("Appliance reaches 5,000 clients at once, though it remembers none of them", () => {
  const world = World.settled({ maxConn: 6000, prefixLength: 16 });
  const clients = Array.from({ length: 5000 }, (_, i) => `192.168.${4 + (i >> 8)}.${i & 255}`);
  const reached = new Set<string>();
  for (const src of clients) {
    const frames = world.send(synAckTo(world, { src, srcMac: macOf(src), srcPort: 41_000 }));
    for (const { dst, dstMac } of packetsOf(frames).map(readTcp)) {
      if (dstMac === macOf(dst)) reached.add(dst);
    }
  }
  assert.equal(reached.size, 5000);
  assert.deepEqual(world.drops(), {});
});

// Backends that die

Deno.test("Appliance notices within five seconds that a backend has died, by its silence", () => {
  for (const protocol of ["tcp", "udp"] as const) {
    const read = (frame: Uint8Array) => protocol === "tcp" ? readTcp(frame) : readUdp(frame);
    const world = World.settled({ policy: everything });
    const dead = BACKENDS[0]!;
    const alive = (sent: Uint8Array<ArrayBuffer>[]) => {
      for (const { targetAddress } of arpsOf(sent)) {
        if (targetAddress !== dead && targetAddress !== PROXY) world.answer(targetAddress);
      }
    };
    const lost = () => world.log.some((line) => line.includes(`${dead} does not answer ARP`));
    let firstMs = Infinity;
    for (let i = 0; !lost(); i++) {
      const fields = { srcPort: 40_000 + i, src: CLIENT };
      const packet = protocol === "tcp" ? buildTcp(fields) : buildUdp(fields);
      const sent = world.send(packet);
      for (const { dst, srcPort } of packetsOf(sent).map(read)) {
        if (dst === dead) firstMs = Math.min(firstMs, world.clock.nowMs());
        if (dst === dead || dst === CLIENT) continue;
        const answer = { ...from(dst), srcPort: 2000, dstPort: srcPort };
        world.send(
          protocol === "tcp" ? buildTcp({ ...answer, flags: "SA", ack: 1001 }) : buildUdp(answer),
        );
      }
      alive(sent);
      alive(world.advance(100));
      assert.ok(i < 100, `${protocol}: not noticed in ten seconds`);
    }
    const tookMs = world.clock.nowMs() - firstMs;
    assert.ok(tookMs <= 5000, `${protocol}: ${tookMs} ms`);
    assert.equal(world.log.filter((line) => line.includes("does not answer")).length, 1);
  }
});

Deno.test("Appliance calls two stations with one backend's address a conflict, in few lines", () => {
  const world = World.settled();
  const before = world.log.length;
  for (let i = 0; i < 2000; i++) {
    world.answer(BACKENDS[0]!, i % 2 === 0 ? "02:00:00:00:00:50" : "02:00:00:00:00:51");
    if (i % 10 === 0) world.advance(100);
  }
  const lines = world.log.slice(before);
  assert.ok(lines.length <= 5, `${lines.length} lines in 20 s`);
  assert.ok(lines.some((line) => /^warning: .*192\.168\.0\.1.*address conflict/.test(line)));
  assert.ok(lines.some((line) => / \d+ more lines were left out$/.test(line)));
});

Deno.test("Appliance finds 10,000 backends, and loses none that answers", () => {
  const backends = Array.from(
    { length: 10_000 },
    (_, i) => `192.168.${4 + (i >> 8)}.${i & 255}`,
  );
  const world = new World({ backends, prefixLength: 16 });
  let found = 0;
  for (let i = 0; i < 100; i++) {
    const asked = arpsOf(world.advance(100)).map((arp) => arp.targetAddress);
    for (const address of asked) if (address !== PROXY) found++;
    world.send(
      ...asked.filter((address) => address !== PROXY).map((address) => arpReply(address)),
    );
  }
  assert.equal(found, 10_000);
  assert.deepEqual(world.log.filter((line) => line.startsWith("warning")), []);
  assert.ok(world.log.length <= 110, `${world.log.length} lines`);
  assert.equal(world.summary().match(/ up, /g)!.length, 10_000);
});
