/**
 * Appliance with --preserve-source, where two services, or two addresses of the proxy, lead to one
 * port of a backend: connections of a client from one port to both must not become one there.
 */
import assert from "node:assert/strict";
import type { Policy } from "../../src/policy/language/ast.ts";
import { parse } from "../../src/policy/notation/parse.ts";
import { below, SeededRandom } from "../../src/core/random.ts";
import { bothFamilies, type Family, IPV6 } from "../support/families.ts";
import type { Tcp } from "../support/frames.ts";
import {
  CLIENT,
  fromB,
  macOf,
  packetsOf,
  PROXY,
  PROXY_B_MAC,
  PROXY_MAC,
  World,
  type WorldOptions,
} from "../support/world.ts";

const BACKEND = "10.0.0.1";
const SECOND = "192.168.0.101";
const OTHER_CLIENT = "192.168.0.253";

/** Both ports go to port 8080 of each backend. */
function policyOf(family: Family, backends: readonly string[]): Policy {
  const { policy, errors } = parse(
    `default drop
pool $web = ${backends.map((backend) => `${family.of(backend)} port 8080`).join(", ")}
from side a
  icmp      -> translate-a-to-b to $web, forward
  otherwise -> translate-a-to-b to $web in turn, forward
otherwise -> translate-b-to-a, forward
`,
    { file: "test" },
  );
  assert.deepEqual(errors, []);
  return policy!;
}

function settled(family: Family, options: WorldOptions = {}, backends = [BACKEND]): World {
  const world = World.settled({
    ...{ twoSided: true, preserveSource: true, ipv6: family.ipv6 },
    ...{ policy: policyOf(family, backends), backends: backends.map(family.of), ...options },
  });
  for (const host of [...backends, CLIENT, OTHER_CLIENT]) world.answer(family.of(host));
  return world;
}

/** A frame from the backend to where it has heard `to` from. */
function back({ src, srcPort, dst, dstPort }: Tcp): Partial<Tcp> {
  const macs = { srcMac: macOf(dst), dstMac: PROXY_B_MAC };
  return { src: dst, dst: src, srcPort: dstPort, dstPort: srcPort, ...macs };
}

/** A segment of the client, as the backend gets it. */
function send(world: World, family: Family, fields: Partial<Tcp>): Tcp {
  const sent = packetsOf(world.send(family.buildTcp({ dstMac: PROXY_MAC, ...fields })));
  assert.equal(sent.length, 1);
  return family.readTcp(sent[0]!);
}

function ends({ src, srcPort, dst, dstPort }: Tcp): unknown[] {
  return [src, srcPort, dst, dstPort];
}

bothFamilies("preserved sources: one port to two services is two to their backend", (family) => {
  for (const careful of [false, true]) {
    const world = settled(family, { careful });
    const syns = [80, 443].map((dstPort) => send(world, family, { dstPort, flags: "S" }));
    const [first, second] = syns;
    assert.deepEqual(ends(first!), [CLIENT, 40_000, BACKEND, 8080]);
    assert.deepEqual(ends(second!), [CLIENT, second!.srcPort, BACKEND, 8080]);
    assert.ok(second!.srcPort !== 40_000 && second!.srcPort >= 1024);
    for (const [i, dstPort] of [80, 443].entries()) {
      const seq = 9000 * (i + 1);
      const reply = (fields: Partial<Tcp>) =>
        family.readTcp(
          packetsOf(world.send(family.buildTcp({ ...back(syns[i]!), ...fields })))[0]!,
        );
      const answer = reply({ flags: "SA", seq, ack: 1001 });
      assert.deepEqual(ends(answer), [PROXY, dstPort, CLIENT, 40_000]);
      const data = { dstPort, flags: "PA", seq: 1001, ack: seq + 1, payload: Uint8Array.of(1, 2) };
      assert.deepEqual(ends(send(world, family, data)), ends(syns[i]!));
      const next = reply({ flags: "PA", seq: seq + 1, ack: 1003, payload: Uint8Array.of(3) });
      assert.deepEqual([...ends(next), next.payload], [
        ...[PROXY, dstPort, CLIENT, 40_000],
        Uint8Array.of(3),
      ]);
    }
    assert.deepEqual(world.drops(), {});
  }
});

bothFamilies(
  "preserved sources: another client's, and a port that is free again, stay",
  (family) => {
    const world = settled(family);
    const open = (dstPort: number, src = CLIENT) =>
      send(world, family, { dstPort, src, srcMac: macOf(src), flags: "S" }).srcPort;
    assert.equal(open(80), 40_000);
    assert.equal(open(443, OTHER_CLIENT), 40_000);
    const [first] = [...world.appliance.connections.table];
    world.appliance.connections.remove(first!);
    assert.equal(open(443), 40_000);
    assert.notEqual(open(80), 40_000);
    // A SYN once more is no other connection, nor is one that takes the place of an earlier one.
    assert.equal(open(443), 40_000);
  },
);

bothFamilies(
  "preserved sources: errors about the other port reach the client as its own",
  (family) => {
    const world = settled(family);
    send(world, family, { dstPort: 80, flags: "S" });
    const [syn] = packetsOf(world.send(family.buildTcp({ dstPort: 443, flags: "S" })));
    const { src, dst } = family.readTcp(syn!);
    const quote = syn!.slice(14, 14 + family.ipBytes + 20);
    const error = { ...fromB(dst), dst: src, type: 3, code: 1, payload: quote };
    const [told] = packetsOf(world.send(family.buildIcmp(error))).map(family.readIcmp);
    assert.deepEqual([told!.dst, told!.type, told!.code], [CLIENT, 3, 1]);
    const ports = told!.payload.slice(family.ipBytes, family.ipBytes + 4);
    assert.deepEqual([...ports], [40_000 >> 8, 40_000 & 255, 443 >> 8, 443 & 255]);
  },
);

bothFamilies("preserved sources: UDP and queries from one port are told apart, too", (family) => {
  const world = settled(family);
  const datagrams = [53, 54].map((dstPort) => {
    const [sent] = packetsOf(world.send(family.buildUdp({ srcPort: 5000, dstPort })));
    return family.readUdp(sent!);
  });
  assert.equal(datagrams[0]!.srcPort, 5000);
  assert.notEqual(datagrams[1]!.srcPort, 5000);
  for (const [i, { src, srcPort, dst, dstPort }] of datagrams.entries()) {
    const answer = { ...fromB(dst), dst: src, srcPort: dstPort, dstPort: srcPort };
    const [got] = packetsOf(world.send(family.buildUdp(answer))).map(family.readUdp);
    assert.deepEqual([got!.src, got!.srcPort, got!.dst, got!.dstPort], [
      ...[PROXY, 53 + i, CLIENT, 5000],
    ]);
  }
});

Deno.test("preserved sources: one port to two addresses of the proxy is two to their backend", () => {
  const world = settled(IPV6, { own6: [IPV6.of(SECOND)] });
  const syns = [PROXY, SECOND].map((dst) => send(world, IPV6, { dst, flags: "S" }));
  assert.deepEqual(syns.map(({ src }) => src), [CLIENT, CLIENT]);
  assert.equal(new Set(syns.map(({ srcPort }) => srcPort)).size, 2);
  const pings = [PROXY, SECOND].map((dst) => {
    const [sent] = packetsOf(world.send(IPV6.buildIcmp({ dst, rest: [7, 1] }))).map(IPV6.readIcmp);
    return sent!;
  });
  assert.equal(new Set(pings.map(({ rest: [identifier] }) => identifier)).size, 2);
  for (const [i, { src, dst, rest }] of pings.entries()) {
    const [pong] = packetsOf(
      world.send(IPV6.buildIcmp({ ...fromB(dst), dst: src, type: 0, rest })),
    ).map(IPV6.readIcmp);
    assert.deepEqual([pong!.src, pong!.rest], [[PROXY, SECOND][i], [7, 1]]);
  }
});

bothFamilies("preserved sources: with all ports taken a connection is refused", (family) => {
  const world = settled(family, { ports: { first: 50_000, last: 50_000 } });
  const outcomes = [80, 81, 82].map((dstPort) => {
    const [sent] = packetsOf(world.send(family.buildTcp({ dstPort, flags: "S" })));
    const { flags, srcPort, dst } = family.readTcp(sent!);
    return `${flags} ${srcPort} ${dst}`;
  });
  assert.deepEqual(outcomes, [
    ...[`S 40000 ${BACKEND}`, `S 50000 ${BACKEND}`, `RA 82 ${CLIENT}`],
  ]);
  assert.deepEqual(world.drops(), { "no-port": 1 });
});

bothFamilies("preserved sources: a saved connection keeps its other port", (family) => {
  const world = settled(family);
  send(world, family, { dstPort: 80, flags: "S" });
  const syn = send(world, family, { dstPort: 443, flags: "S" });
  const bytes = world.appliance.saveState("boot", 1000);
  const next = settled(family);
  const saved = next.appliance.readState(bytes, "boot", 1000, 60_000);
  assert.equal(next.appliance.resumeState(saved).resumed, 2);
  const answer = family.buildTcp({ ...back(syn), flags: "SA", seq: 9000, ack: 1001 });
  const [got] = packetsOf(next.send(answer)).map(family.readTcp);
  assert.deepEqual(ends(got!), [PROXY, 443, CLIENT, 40_000]);
});

bothFamilies("preserved sources: a refused SYN finds a port at the next backend", (family) => {
  const backends = [BACKEND, "10.0.0.2"];
  const world = settled(family, {}, backends);
  const [one, two] = [80, 443].map((dstPort) => send(world, family, { dstPort, flags: "S" }));
  assert.notEqual(one!.dst, two!.dst);
  const rst = family.buildTcp({ ...back(two!), flags: "RA", seq: 0, ack: 1001 });
  const [moved] = packetsOf(world.send(rst)).map(family.readTcp);
  assert.deepEqual([moved!.src, moved!.dst, moved!.dstPort], [CLIENT, one!.dst, 8080]);
  assert.notEqual(moved!.srcPort, one!.srcPort);
});

bothFamilies(
  "preserved sources: whoever opens what, each answer finds its connection",
  (family) => {
    const backends = [BACKEND, "10.0.0.2"];
    for (let seed = 1; seed <= 5; seed++) {
      const random = new SeededRandom(seed);
      const world = settled(family, { seed, ports: { first: 40_000, last: 40_063 } }, backends);
      /** Who has each tuple, and each client's. */
      const holders = new Map<string, string>();
      const held = new Map<string, string>();
      const take = (client: string, got: Tcp) => {
        const tuple = ends(got).join(" ");
        holders.delete(held.get(client) ?? "");
        assert.equal(holders.get(tuple), undefined, "one connection has a tuple");
        holders.set(tuple, client);
        held.set(client, tuple);
      };
      let others = 0;
      for (let i = 0; i < 400; i++) {
        const src = [CLIENT, OTHER_CLIENT][below(random, 2)]!;
        const srcPort = 39_990 + below(random, 20);
        const dstPort = 80 + below(random, 6);
        const seq = i * 1000;
        const client = `${src} ${srcPort} ${dstPort}`;
        let got = send(world, family, {
          src,
          srcMac: macOf(src),
          srcPort,
          dstPort,
          flags: "S",
          seq,
        });
        for (;;) {
          take(client, got);
          if (got.srcPort !== srcPort) others++;
          const refusal = { ...back(got), flags: "RA", seq: 0, ack: seq + 1 };
          const [heard] = packetsOf(world.send(family.buildTcp(refusal))).map(family.readTcp);
          got = heard!;
          if (got.flags !== "S") break; // else it goes to the other backend
        }
        assert.deepEqual(ends(got), [PROXY, dstPort, src, srcPort]);
      }
      assert.ok(others > 20, `${others}`);
    }
  },
);
