/** Which connections are told to open and to end, why, and how many at most. */
import assert from "node:assert/strict";
import { STATE_NAMES } from "../../src/control/state_names.ts";
import {
  ConnectionEvents,
  EVICTED,
  EXPIRED,
  KILLED,
  REPLACED,
  RESET_BY_PROXY,
} from "../../src/flow/connection_events.ts";
import { ACK, FIN, RST, SYN } from "../../src/wire/tcp.ts";
import { BACKENDS, CLIENT, PROXY, World } from "./connections_world.ts";

const one = { addresses: BACKENDS.slice(0, 1) };
const UDP = { protocol: 17, tcpFlags: 0 };

const OTHERS = new Map([
  [EXPIRED, "expired"],
  [EVICTED, "evicted"],
  [REPLACED, "replaced"],
  [KILLED, "killed"],
  [RESET_BY_PROXY, "reset by proxy"],
]);

function listen(world: World, perSecond = 100): ConnectionEvents {
  const events = new ConnectionEvents(world.connections.table, perSecond, () => world.nowMs);
  return world.connections.events = events;
}

/** What has been told since, as the client's port and what happened. */
function told(events: ConnectionEvents): string[] {
  const lines: string[] = [];
  for (let event = events.take(); event !== null; event = events.take()) {
    const { isOpened, clientPort, state, reason } = event;
    const why = OTHERS.get(reason) ?? STATE_NAMES[reason];
    lines.push(`${clientPort} ${isOpened ? "opened" : `${why}, was ${STATE_NAMES[state]}`}`);
  }
  return lines;
}

Deno.test("ConnectionEvents are told of both ends of a connection, with its addresses and its age", () => {
  const world = new World(one);
  const events = listen(world);
  world.nowMs = 1000;
  world.establish({ srcPort: 7 });
  const ends = {
    protocol: 6,
    client: CLIENT,
    clientPort: 7,
    service: PROXY,
    servicePort: 2000,
    backend: BACKENDS[0]!,
    backendPort: 2000,
  };
  assert.deepEqual(events.take(), { isOpened: true, state: 1, reason: 0, ageMs: 0, ...ends });
  assert.equal(events.take(), null, "a handshake is no news");
  world.nowMs += 2500;
  world.fromB({ tcpFlags: FIN | ACK });
  world.fromA({ srcPort: 7, tcpFlags: FIN | ACK });
  assert.deepEqual(events.take(), { isOpened: false, state: 6, reason: 7, ageMs: 2500, ...ends });
  world.nowMs += 300_000;
  world.connections.expire(world.nowMs);
  assert.equal(world.connections.table.count, 0);
  assert.equal(events.take(), null, "it is told once");
});

Deno.test("ConnectionEvents are told why a connection has ended", () => {
  const world = new World(one);
  const events = listen(world);
  world.establish({ srcPort: 1 });
  world.fromA({ srcPort: 1, tcpFlags: RST });
  world.establish({ srcPort: 2 });
  world.fromB({ tcpFlags: RST });
  world.fromA({ srcPort: 3 });
  world.fromB({ tcpFlags: RST | ACK });
  world.establish({ srcPort: 4 });
  world.connections.markReset(
    world.connections.table.find(6, CLIENT, PROXY, (4 << 16) | 2000) >> 1,
    0,
  );
  world.establish({ srcPort: 5 });
  world.connections.remove(world.connections.table.find(6, CLIENT, PROXY, (5 << 16) | 2000) >> 1);
  assert.deepEqual(told(events), [
    "1 opened",
    "1 reset-client, was established",
    "2 opened",
    "2 reset-backend, was established",
    "3 opened",
    "3 aborted, was syn-sent",
    "4 opened",
    "4 reset by proxy, was established",
    "5 opened",
    "5 killed, was established",
  ]);
});

Deno.test("ConnectionEvents: what is no TCP ends when it is forgotten, whatever was answered", () => {
  const world = new World(one);
  const events = listen(world);
  world.fromA({ srcPort: 1, ...UDP });
  world.fromB({ ...UDP });
  world.fromA({ srcPort: 1, ...UDP });
  world.fromA({ srcPort: 2, ...UDP });
  world.track({ srcPort: 3 });
  assert.deepEqual(told(events), ["1 opened", "2 opened", "3 opened"]);
  world.nowMs += 400_000;
  for (let i = 0; i < 10; i++) world.connections.expire(world.nowMs);
  assert.deepEqual(told(events).sort(), [
    "1 expired, was ongoing",
    "2 expired, was unanswered",
    "3 expired, was echoed",
  ]);
});

Deno.test("ConnectionEvents are told of evictions, and of a port that begins anew", () => {
  const world = new World({ ...one, maxConnections: 2 });
  const events = listen(world);
  world.fromA({ srcPort: 1 });
  world.nowMs += 3000;
  world.fromA({ srcPort: 2 });
  world.fromA({ srcPort: 3 });
  assert.deepEqual(told(events), ["1 opened", "2 opened", "1 evicted, was syn-sent", "3 opened"]);
});

Deno.test("ConnectionEvents: of more than so many a second the others are counted", () => {
  const world = new World(one);
  const events = listen(world, 3);
  for (let srcPort = 1; srcPort <= 5; srcPort++) {
    world.fromA({ srcPort });
    world.fromB({ tcpFlags: RST | ACK });
  }
  assert.deepEqual(told(events), ["1 opened", "1 aborted, was syn-sent", "2 opened"]);
  assert.deepEqual({ ...events.leftOut }, { opened: 3, closed: 4 });
  world.nowMs += 1000;
  world.fromA({ srcPort: 6 });
  assert.deepEqual(told(events), ["6 opened"]);
});

Deno.test("ConnectionEvents that nobody takes are counted, and the ones before stay", () => {
  const world = new World(one);
  const events = listen(world, 1);
  for (let srcPort = 1; srcPort <= 5; srcPort++) {
    world.fromA({ srcPort, tcpFlags: SYN });
    world.nowMs += 1000;
  }
  assert.deepEqual(told(events), ["1 opened", "2 opened"]);
  assert.equal(events.leftOut.opened, 3);
  world.fromA({ srcPort: 6 });
  assert.deepEqual(told(events), ["6 opened"]);
});
