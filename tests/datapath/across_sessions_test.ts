/**
 * What RFC 6146 requires of a stateful translator's sessions, of connections between the families:
 * see tests/COMPLIANCE.md.
 */
import assert from "node:assert/strict";
import { SeededRandom } from "../../src/core/random.ts";
import { BACKEND, EVERYTHING, idle, tracked } from "../flow/dialogue.ts";
import { type Family, IPV4, IPV6 } from "../support/families.ts";
import type { Icmp, Tcp, Udp } from "../support/frames.ts";
import { shuffled } from "../support/fragments.ts";
import { CLIENT, from, packetsOf, World, type WorldOptions } from "../support/world.ts";

/** Clients of one family, a backend of the other, and everything forwarded. */
class Across {
  readonly near: Family;
  readonly far: Family;
  readonly world: World;

  constructor([near, far]: Way, options: WorldOptions = {}) {
    this.near = near;
    this.far = far;
    const backends = [far.of(BACKEND)];
    const shared = { ipv6: true, translateFamilies: true, policy: EVERYTHING, backends };
    this.world = World.settled({ ...shared, ...options });
  }

  /** Delivers frames while everybody says where it is, and returns the IP packets that leave. */
  deliver(...frames: Uint8Array[]): Uint8Array<ArrayBuffer>[] {
    const { near, world } = this;
    const sent = [...world.backends, near.of(CLIENT)].flatMap((host) => world.answer(host));
    return packetsOf([...sent, ...world.send(...frames)]);
  }

  /** A client's datagram, as the backend gets it. */
  ask(fields: Partial<Udp> = {}): Udp {
    const [frame] = this.deliver(this.near.buildUdp({ ...from(CLIENT), ...fields }));
    return this.far.readUdp(frame!);
  }

  /** Whether the client gets an answer to what the backend has got. */
  isAnswered({ srcPort, dstPort }: Udp, fields: Partial<Udp> = {}): boolean {
    const ends = { ...from(BACKEND), srcPort: dstPort, dstPort: srcPort, ...fields };
    return this.deliver(this.far.buildUdp(ends)).length === 1;
  }

  /** The client's ping, as the backend gets it, and whether a reply to that comes back. */
  ping(): { echo: Icmp; isReplied: () => boolean } {
    const [frame] = this.deliver(this.near.buildIcmp({ ...from(CLIENT), rest: [7, 1] }));
    const echo = this.far.readIcmp(frame!);
    const reply = this.far.buildIcmp({ ...from(BACKEND), type: 0, rest: echo.rest });
    return { echo, isReplied: () => this.deliver(reply).length === 1 };
  }

  /** A handshake; both ends can then say something, and whether it gets through. */
  connect(): { fromA: (flags: string) => boolean; fromB: (flags: string) => boolean } {
    const a = { ...from(CLIENT), srcPort: 40_000, dstPort: 2000 };
    const [syn] = this.deliver(this.near.buildTcp({ ...a, flags: "S", seq: 999 }));
    const { srcPort }: Tcp = this.far.readTcp(syn!);
    const b = { ...from(BACKEND), srcPort: 2000, dstPort: srcPort };
    const passes = (frame: Uint8Array) => this.deliver(frame).length === 1;
    const fromA = (flags: string) =>
      passes(this.near.buildTcp({ ...a, flags, seq: 1000, ack: 9001 }));
    const fromB = (flags: string) =>
      passes(this.far.buildTcp({ ...b, flags, seq: 9001, ack: 1000 }));
    assert.ok(passes(this.far.buildTcp({ ...b, flags: "SA", seq: 9000, ack: 1000 })));
    assert.ok(fromA("A"));
    return { fromA, fromB };
  }
}

type Way = readonly [near: Family, far: Family];
const WAYS: readonly Way[] = [[IPV6, IPV4], [IPV4, IPV6]];

/** The same test, from each family to the other. */
function bothWays(test: (way: Way) => void): () => void {
  return () => WAYS.forEach(test);
}

Deno.test(
  "RFC 6146 3.5.1: across, a datagram's session lives 30 s unanswered, then 5 min, and either side refreshes it",
  bothWays((way) => {
    for (const [seconds, lives] of [[29, true], [31, false]] as const) {
      const across = new Across(way);
      const asked = across.ask();
      idle(across.world, seconds);
      assert.equal(across.isAnswered(asked), lives, `${seconds} s`);
    }
    const across = new Across(way);
    const asked = across.ask();
    assert.ok(across.isAnswered(asked));
    for (let round = 0; round < 2; round++) {
      idle(across.world, 299);
      assert.ok(across.isAnswered(asked), "inbound refreshes");
      idle(across.world, 299);
      assert.equal(across.ask().srcPort, asked.srcPort, "outbound refreshes");
    }
    idle(across.world, 301);
    assert.equal(across.isAnswered(asked), false);
  }),
);

Deno.test(
  "RFC 6146 3.5.1.1: across, sessions have ports of their own, and keep the client's where it is free",
  bothWays((way) => {
    const across = new Across(way);
    const hosts = Array.from({ length: 20 }, (_, i) => `192.168.0.${20 + i}`);
    const ports = hosts.map((host) => across.ask({ ...from(host), srcPort: 5060 }).srcPort);
    assert.equal(new Set(ports).size, hosts.length);
    assert.ok(ports.includes(5060));
    assert.ok(ports.every((port) => port >= 1024));
  }),
);

Deno.test(
  "RFC 6146 3.5: across, nothing reaches a client but from its session's own backend and port",
  bothWays((way) => {
    const across = new Across(way);
    const asked = across.ask();
    assert.equal(across.isAnswered(asked, { srcPort: 2001 }), false);
    assert.equal(across.isAnswered(asked, { dstPort: asked.srcPort ^ 1 }), false);
    assert.equal(across.isAnswered(asked), true);
  }),
);

Deno.test(
  "RFC 6146 3.5.2: across, an established connection may be idle for 2 h 4 min, a closed one for 4",
  bothWays((way) => {
    const across = new Across(way);
    const { fromA, fromB } = across.connect();
    idle(across.world, 7439);
    assert.ok(fromA("A") && fromB("A"));
    idle(across.world, 7441);
    assert.equal(tracked(across.world), 0);
    const again = across.connect();
    assert.ok(again.fromA("RA"));
    idle(across.world, 239);
    assert.equal(tracked(across.world), 1);
    idle(across.world, 2);
    assert.equal(tracked(across.world), 0);
  }),
);

Deno.test(
  "RFC 6146 3.5.3: across, a query gets an identifier of the proxy's, and its session lives 60 s",
  bothWays((way) => {
    const across = new Across(way);
    const { echo, isReplied } = across.ping();
    const [identifier] = echo.rest;
    assert.ok(identifier !== 7 && identifier >= 1024);
    assert.ok(isReplied());
    idle(across.world, 59);
    assert.ok(isReplied());
    idle(across.world, 61);
    assert.equal(isReplied(), false);
  }),
);

Deno.test(
  "RFC 6146 3.4: across, fragments are put together in any order, also of a datagram without checksum",
  bothWays((way) => {
    const [near, far] = way;
    const payload = Uint8Array.from({ length: 5000 }, (_, i) => i);
    const random = new SeededRandom(3);
    for (let id = 1; id < 10; id++) {
      const across = new Across(way);
      const datagram = near.buildUdp({ ...from(CLIENT), payload, noChecksum: true });
      const pieces = shuffled(random, near.cut(datagram, 1440, id));
      const asked = far.readUdp(far.join(across.deliver(...pieces)));
      assert.deepEqual(asked.payload, payload);
      assert.equal(asked.noChecksum, false);
    }
  }),
);
