/** Connections over IPv6: twins of those over IPv4, and what has no counterpart there. */
import assert from "node:assert/strict";
import { below, type Random, SeededRandom } from "../../src/core/random.ts";
import { reasonName } from "../../src/core/reason.ts";
import { ConnectionEvents } from "../../src/flow/connection_events.ts";
import type { NextHops6 } from "../../src/flow/translate.ts";
import { formatAddress6 } from "../../src/wire/address6.ts";
import { OVER_IPV6 } from "../../src/wire/pdu.ts";
import { ACK, FIN, RST, SYN } from "../../src/wire/tcp.ts";
import {
  CLIENTS,
  type Host,
  HOSTS,
  ICMP,
  MEMBERS,
  NO_BYTES,
  type Packet,
  syn,
  TCP,
  UDP,
  World,
} from "./connections6_world.ts";

/** A packet of random clients, members and ports, few of each. */
function randomPacket(random: Random, last: string): Packet {
  const one = <T>(values: readonly T[]): T => values[below(random, values.length)]!;
  const protocol = one([TCP, TCP, TCP, UDP, ICMP]);
  const isQuery = protocol === ICMP;
  const tcpFlags = one([SYN, SYN, SYN | ACK, ACK, ACK, FIN | ACK, RST, RST | ACK]);
  const seq = one([0, 1, 2, 77]);
  const answer = /^(\w+):(\d+) -> (\w+):(\d+)$/.exec(last);
  if (answer !== null && below(random, 3) === 0) {
    const [, dst, dstPort, src, srcPort] = answer;
    // What is in transit to a client can't open a connection.
    const isOwn = dst === "proxy" || dst === "other";
    return {
      step: isOwn ? one(["b", "b", "a"]) : "b",
      src: src as Host,
      dst: dst as Host,
      srcPort: isQuery ? 0 : Number(srcPort),
      dstPort: Number(dstPort),
      protocol,
      fields: { tcpFlags, seq, ack: one([0, 1, 2]), icmpType: 0 },
    };
  }
  return {
    step: isQuery && below(random, 2) === 0 ? "track" : one(["a", "a", "a", "b"]),
    src: one([...CLIENTS, ...CLIENTS, ...MEMBERS]),
    dst: one(["proxy", "proxy", "other"]),
    srcPort: one([1024, 1030, 2000, 40_000]),
    dstPort: isQuery ? 0 : one([80, 81]),
    protocol,
    fields: { tcpFlags, seq, ack: one([0, 1, 2]), icmpType: 8 },
  };
}

const RETRIES = { retries: 2, connectTimeoutMs: 500 };

for (
  const [name, options] of [
    ["", {}],
    [" that preserve sources", { preservesSource: () => true }],
    [" that are tried elsewhere", { retries: RETRIES }],
    [" with small shares", { maxPerSource: 3 }],
  ] as const
) {
  Deno.test(`20,000 random packets have the same connections over IPv4 and IPv6${name}`, () => {
    for (const seed of [1, 2]) {
      const random = new SeededRandom(seed);
      const worlds = [new World(false, seed, options), new World(true, seed, options)] as const;
      const seen = new Map<string, number>();
      let last = "";
      for (let i = 0; i < 10_000; i++) {
        const packet = randomPacket(random, last);
        const member = below(random, MEMBERS.length);
        const pause = below(random, 20) === 0 ? below(random, 5000) : 0;
        const status = below(random, 200) === 0 ? "down" : below(random, 50) === 0 ? "up" : null;
        const [over4, over6] = worlds.map((world) => {
          world.nowMs += pause;
          const { pool } = world.backends.all[1]!;
          if (status !== null) world.backends.setStatus(pool.members[member]!, status);
          if (pause > 4000) world.connections.expire(world.nowMs += 600_000);
          return world.send(packet);
        });
        assert.equal(over6, over4, `packet ${i} of seed ${seed}: ${JSON.stringify(packet)}`);
        if (i % 50 === 0) {
          assert.deepEqual(worlds[1].snapshot(), worlds[0].snapshot(), `after ${i} of ${seed}`);
        }
        last = over4!;
        const kind = last.includes("->") ? "forwarded" : last;
        seen.set(kind, (seen.get(kind) ?? 0) + 1);
      }
      for (const kind of ["forwarded", "tracked", "no-mapping", "invalid"]) {
        assert.ok(seen.get(kind)! > 50, `${kind}: ${JSON.stringify([...seen])}`);
      }
    }
  });
}

Deno.test("a route over IPv6 is asked for with the whole address, and its next hop is kept", () => {
  const world = new World(true, 1);
  const asked: string[] = [];
  const hops = new Int32Array(6);
  const routes: NextHops6 = {
    route(to) {
      asked.push(formatAddress6(to.addresses, 4));
      to.nextHop = 77;
      to.hops = hops;
      to.hopAt = 2;
      return to.dst === world.keyOf("b1") || to.dst === world.keyOf("c1");
    },
  };
  let outcome = "";
  for (let port = 1; outcome !== "proxy:1024 -> b1:80"; port++) {
    outcome = world.send(syn("c1", 1024), routes);
    if (outcome === "no-route") {
      assert.deepEqual([world.connections.table.count, asked.at(-1) === HOSTS.b1[1]], [0, false]);
    }
    assert.ok(port < 50);
  }
  assert.equal(asked.at(-1), HOSTS.b1[1]);
  assert.deepEqual([world.to.nextHop, world.to.hops, world.to.hopAt], [77, hops, 2]);
  const back = { ...syn("b1", 80, "proxy", 1024), step: "b" as const };
  const fields = { tcpFlags: SYN | ACK, seq: 0, ack: 1 };
  assert.equal(world.send({ ...back, fields }, routes), "proxy:80 -> c1:1024");
  assert.equal(asked.at(-1), HOSTS.c1[1]);
});

Deno.test("a connection that leaves its member over IPv6 goes to one that has a route", () => {
  const world = new World(true, 5, { retries: RETRIES });
  const isReached = new Set(MEMBERS);
  const routes: NextHops6 = {
    route: ({ addresses }) => {
      const text = formatAddress6(addresses, 4);
      return MEMBERS.some((host) => HOSTS[host][1] === text && isReached.has(host));
    },
  };
  const [, first] = / -> (b\d):80$/.exec(world.send(syn("c1"), routes))!;
  const others = MEMBERS.filter((host) => host !== first);
  isReached.delete(others[0]!);
  for (let tries = 0; tries < 2; tries++) {
    world.nowMs += 600;
    const outcome = world.send(syn("c1"), routes);
    // Who can't be reached is the last try.
    assert.match(outcome, new RegExp(` -> (${first}|${others[1]}):80$`));
  }
  assert.equal(world.connections.table.count, 1);
});

Deno.test("answers find their client over IPv6, however many addresses have one key", () => {
  let worlds = 0;
  for (const [bits, seed] of [[1, 1], [1, 2], [1, 3], [1, 4], [2, 1], [3, 1]] as const) {
    const weak = new SeededRandom(seed);
    const digest: Random = { uint32: () => weak.uint32() >>> (32 - bits) };
    for (const preserves of [false, true]) {
      const world = new World(true, 1, { digest, preservesSource: () => preserves });
      // The proxy's own addresses have different keys.
      if (world.keyOf("proxy") === world.keyOf("other")) continue;
      worlds++;
      const answers: [Packet, string][] = [];
      for (const src of CLIENTS) {
        for (const dst of ["proxy", "other"] as const) {
          const outcome = world.send(syn(src, 2000, dst));
          const [, from, fromPort, to, toPort] = /^(\w+):(\d+) -> (\w+):(\d+)$/.exec(outcome)!;
          const packet = syn(to as Host, Number(toPort), from as Host, Number(fromPort));
          const fields = { tcpFlags: SYN | ACK, seq: 0, ack: 1 };
          answers.push([{ ...packet, step: "b", fields }, `${dst}:80 -> ${src}:2000`]);
        }
      }
      assert.equal(world.connections.table.count, answers.length);
      for (const [packet, expected] of answers) assert.equal(world.send(packet), expected);
    }
  }
  assert.ok(worlds >= 4, `${worlds}`);
});

Deno.test("a share over IPv6 is that of 64 bits, however many addresses a host takes", () => {
  const world = new World(true, 1, { maxConnections: 100, maxPerSource: 5 });
  const send = (word1: number, host: number): string => {
    const { pdu } = world;
    const addresses = Int32Array.of(0x2001_0db8, word1, host, host, ...world.wordsOf("proxy"));
    Object.assign(pdu, { protocol: UDP | OVER_IPV6, flow: -1, srcPort: 1024, dstPort: 53 });
    pdu.addresses.set(addresses);
    pdu.src = world.digest!.ofWords(addresses, 0);
    pdu.dst = world.digest!.ofWords(addresses, 4);
    world.connections.classify(NO_BYTES, pdu, 0);
    world.connections.steps.translateAToB(pdu, world.backends.target("web", 0, "in turn"));
    return reasonName(world.connections.commit(NO_BYTES, pdu, 0, world.to));
  };
  for (let host = 0; host < 20; host++) send(1, host);
  assert.deepEqual([world.connections.table.count, world.connections.evicted], [5, 15]);
  for (let subnet = 2; subnet < 12; subnet++) send(subnet, 1);
  assert.deepEqual([world.connections.table.count, world.connections.evicted], [15, 15]);
});

Deno.test("events over IPv6 have whole addresses", () => {
  const world = new World(true, 2);
  const { connections } = world;
  connections.events = new ConnectionEvents(connections.table, 10, () => world.nowMs);
  const outcome = world.send({ ...syn("c3"), protocol: UDP });
  const [, member] = / -> (b\d):80$/.exec(outcome)!;
  const { client, service, backend } = connections.events.take()!;
  const ends = [client, service, backend];
  assert.deepEqual(
    ends,
    [...["c3", "proxy", member] as Host[]].map((host) => world.addressOf(host)),
  );
  world.send({
    ...syn("c4", 5, "other", 0),
    step: "track",
    protocol: ICMP,
    fields: { icmpType: 8 },
  });
  const echo = connections.events.take()!;
  assert.deepEqual([echo.client, echo.service, echo.backend], [
    world.addressOf("c4"),
    world.addressOf("other"),
    null,
  ]);
});
