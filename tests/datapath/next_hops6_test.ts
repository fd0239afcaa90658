/**
 * Header prediction notes which neighbour a connection's packets over IPv6 go to: when that is no
 * longer so, they go where the long way sends them.
 */
import assert from "node:assert/strict";
import {
  buildRouterAdvertisement,
  buildSolicitation,
  buildTcp6,
  readTcp6,
  type Router6,
  type Tcp6,
} from "../support/frames6.ts";
import {
  CLIENT6,
  from,
  macOf,
  neighborsOf,
  packetsOf,
  PROXY6,
  World,
  type WorldOptions,
} from "../support/world.ts";

class Open {
  readonly world: World;
  readonly #client: Partial<Tcp6>;
  readonly #back: Partial<Tcp6>;

  constructor(world: World, client: Partial<Tcp6>) {
    this.world = world;
    this.#client = client;
    const [syn] = packetsOf(world.send(buildTcp6({ ...client, flags: "S", ack: 0 }))).map(readTcp6);
    this.#back = { ...from(syn!.dst), srcPort: syn!.dstPort, dstPort: syn!.srcPort };
    world.send(buildTcp6({ ...this.#back, flags: "SA", seq: 9000, ack: 1001 }));
    this.exchange();
    this.exchange();
  }

  /** A segment of the client, and the answer. */
  exchange(): Uint8Array<ArrayBuffer>[] {
    this.world.send(buildTcp6({ ...this.#client, flags: "A", seq: 1001, ack: 9001 }));
    return this.answer();
  }

  /** What the proxy sends upon a segment of the backend. */
  answer(): Uint8Array<ArrayBuffer>[] {
    return this.world.send(buildTcp6({ ...this.#back, flags: "A", seq: 9001, ack: 1001 }));
  }

  /** MAC addresses to which answers go. */
  goesTo(): string[] {
    return packetsOf(this.answer()).map((frame) => readTcp6(frame).dstMac);
  }
}

function settled(options: WorldOptions): World {
  return World.settled({ ipv6: true, ...options });
}

for (const careful of [false, true]) {
  const way = careful ? "the long way" : "the short way";

  Deno.test(`next hops: when the default router changes, segments leave by the new one, ${way}`, () => {
    const world = settled({ acceptRa: true, careful });
    const [first, second] = [1, 2].map((last) => ({
      src: `fe80::${last}`,
      srcMac: `02:00:00:00:00:a${last}`,
    }));
    const advertise = (fields: Partial<Router6>) => {
      world.send(buildRouterAdvertisement(fields));
      world.advance(200);
    };
    advertise(first!);
    advertise(second!);
    const open = new Open(world, { src: "2001:db8:f::7", srcMac: first!.srcMac });
    assert.deepEqual(open.goesTo(), [first!.srcMac]);
    advertise({ ...first!, seconds: 0 });
    assert.deepEqual(open.goesTo(), [second!.srcMac]);
    assert.deepEqual(open.goesTo(), [second!.srcMac]);
    advertise(first!);
    advertise({ ...second!, seconds: 0 });
    assert.deepEqual(open.goesTo(), [first!.srcMac]);
  });

  Deno.test(`next hops: who takes a client's place in the table gets none of its segments, ${way}`, () => {
    const world = settled({ maxNeighbors: 1, careful });
    const open = new Open(world, {});
    assert.deepEqual(open.goesTo(), [macOf(CLIENT6)]);
    world.send(buildSolicitation({ ...from("2001:db8::77"), target: PROXY6 }));
    const sent = open.answer();
    assert.deepEqual(neighborsOf(sent).map(({ target }) => target), [CLIENT6]);
    // The client is where its connection was opened from, until it has said where it is.
    assert.deepEqual(packetsOf(sent).map((frame) => readTcp6(frame).dstMac), [macOf(CLIENT6)]);
    world.answer(CLIENT6, "02:00:00:00:00:99");
    assert.deepEqual(open.goesTo(), ["02:00:00:00:00:99"]);
  });

  Deno.test(`next hops: a client that has moved gets its segments there, ${way}`, () => {
    const world = settled({ careful });
    const open = new Open(world, {});
    assert.deepEqual(open.goesTo(), [macOf(CLIENT6)]);
    world.answer(CLIENT6, "02:00:00:00:00:99");
    assert.deepEqual(open.goesTo(), ["02:00:00:00:00:99"]);
  });
}
