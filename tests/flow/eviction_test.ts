/** What goes when there is no room, and what goes when its time is over. */
import assert from "node:assert/strict";
import { SeededRandom } from "../../src/core/random.ts";
import { Backends } from "../../src/flow/backends/backends.ts";
import { Connections } from "../../src/flow/connections.ts";
import { DEFAULT_TIMEOUTS } from "../../src/flow/lifetimes.ts";
import { SIDE_A } from "../../src/flow/table.ts";
import { ABORTED, ESTABLISHED } from "../../src/flow/tcp_state.ts";
import { ACK, FIN, RST, SYN } from "../../src/wire/tcp.ts";
import { BACKENDS, CLIENT, World } from "./connections_world.ts";

const one = { addresses: BACKENDS.slice(0, 1) };

/** Longer than a half-open connection is spared. */
const PATIENCE_MS = 3000;

/** Client ports of the TCP connections, as a set. */
function clientsOf(world: World): Set<number> {
  const { table } = world.connections;
  return new Set([...table].map((entry) => table.srcPort(entry, SIDE_A)));
}

/** Connections of every class, a little time after one another; named by their client's port. */
function populate(world: World): void {
  const acts: [number, (srcPort: number) => void][] = [
    [1, (srcPort) => world.establish({ srcPort })],
    [2, (srcPort) => {
      world.establish({ srcPort });
      world.fromB({ tcpFlags: FIN | ACK });
      world.fromA({ srcPort, tcpFlags: FIN | ACK });
    }],
    [3, (srcPort) => {
      world.establish({ srcPort });
      world.fromB({ tcpFlags: RST });
    }],
    [4, (srcPort) => void world.fromA({ srcPort })],
    [5, (srcPort) => {
      world.fromA({ srcPort });
      world.fromB({ tcpFlags: SYN | ACK });
    }],
    [6, (srcPort) => {
      world.establish({ srcPort });
      world.fromB({ tcpFlags: FIN | ACK });
    }],
  ];
  for (const [srcPort, act] of acts) {
    act(srcPort);
    world.nowMs += 10;
  }
}

Deno.test("Connections evicts half-open ones, then reset, then closed, and never a live one", () => {
  for (const old of [true, false]) {
    const world = new World({ ...one, maxConnections: 6 });
    populate(world);
    if (old) world.nowMs += PATIENCE_MS;
    const gone: number[] = [];
    for (let srcPort = 100; srcPort < 106; srcPort++) {
      const before = clientsOf(world);
      const found = world.fromA({ srcPort });
      if (found === "table-full") break;
      const after = clientsOf(world);
      gone.push(...[...before].filter((port) => !after.has(port)));
      world.fromB({ tcpFlags: SYN | ACK });
      world.fromA({ srcPort, tcpFlags: ACK }); // now live: it does not go next
    }
    assert.deepEqual(gone, old ? [4, 5, 3, 2] : [3, 2, 4, 5], "a handshake on its way goes last");
    assert.deepEqual(clientsOf(world), new Set([1, 6, 100, 101, 102, 103]));
    assert.equal(world.connections.evicted, 4);
    assert.equal(world.fromA({ srcPort: 7 }), "table-full");
  }
});

Deno.test("Connections takes the port of the one that must go when all are taken", () => {
  for (const old of [true, false]) {
    const world = new World({ ...one, first: 5000, last: 5005 });
    populate(world);
    if (old) world.nowMs += PATIENCE_MS;
    const gone: number[] = [];
    for (let srcPort = 100; srcPort < 106; srcPort++) {
      const before = clientsOf(world);
      if (world.fromA({ srcPort }) === "no-port") break;
      const after = clientsOf(world);
      gone.push(...[...before].filter((port) => !after.has(port)));
      world.fromB({ tcpFlags: SYN | ACK });
      world.fromA({ srcPort, tcpFlags: ACK });
    }
    assert.deepEqual(gone, old ? [4, 5, 3, 2] : [3, 2, 4, 5]);
    assert.deepEqual(clientsOf(world), new Set([1, 6, 100, 101, 102, 103]));
    assert.equal(world.connections.evicted, 4);
    assert.equal(world.fromA({ srcPort: 7, dstPort: 2001 }).startsWith("192"), true);
  }
});

Deno.test("Connections keeps established ones through 100,000 SYNs, and its bound", () => {
  const world = new World({ maxConnections: 1000 });
  for (let srcPort = 1; srcPort <= 100; srcPort++) world.establish({ srcPort });
  let refused = 0;
  for (let i = 0; i < 100_000; i++) {
    world.nowMs += 0.01; // ten million a second
    const found = world.fromA({ src: 0x0a00_0000 + i, srcPort: 1024 + i % 60_000 });
    if (found === "table-full") refused++;
    assert.ok(world.connections.table.count <= 1000);
  }
  assert.ok(refused > 80_000, "young ones are not evicted faster than 5,000 a second");
  const { table } = world.connections;
  assert.equal([...table].filter((entry) => table.state(entry) === ESTABLISHED).length, 100);
  world.nowMs += PATIENCE_MS;
  assert.match(world.fromA({ srcPort: 999 }), /^192/, "after the flood new ones succeed");
});

Deno.test("Connections evicts what nobody answers, then what was answered once, never what goes on", () => {
  const world = new World({ ...one, maxConnections: 5 });
  const UDP = { protocol: 17 };
  world.fromA({ ...UDP, srcPort: 1 });
  world.fromB(UDP);
  world.fromA({ ...UDP, srcPort: 1 }); // goes on
  world.fromA({ ...UDP, srcPort: 2 });
  world.fromB(UDP);
  world.fromB(UDP); // two answers to one question
  world.queryA({ srcPort: 3 });
  world.queryB();
  world.fromA({ ...UDP, srcPort: 4 });
  world.queryA({ srcPort: 5 });
  world.nowMs += PATIENCE_MS;
  const left: number[][] = [];
  for (let srcPort = 101; srcPort <= 104; srcPort++) {
    world.establish({ srcPort });
    left.push([...clientsOf(world)].filter((port) => port < 100).sort());
  }
  assert.deepEqual(left, [[1, 2, 3, 5], [1, 2, 3], [1, 3], [1]]);
  assert.equal(world.fromA({ srcPort: 105 }), "table-full");
});

Deno.test("Connections counts an evicted connection off at its backend", () => {
  const world = new World({ ...one, maxConnections: 2 });
  for (let srcPort = 1; srcPort <= 10; srcPort++) world.fromA({ srcPort });
  const [backend] = world.backends.all;
  assert.deepEqual([backend!.active, backend!.opened], [2, 10]);
  assert.equal(world.connections.evicted, 8);
});

Deno.test("Connections keeps nothing in the way after a probe: SYN, SYN ACK, RST", () => {
  const world = new World(one);
  for (const answer of [SYN | ACK, null]) {
    world.fromA();
    if (answer !== null) world.fromB({ tcpFlags: answer });
    assert.match(world.fromA({ tcpFlags: RST }), /^192/, "the backend hears of it");
    assert.deepEqual(world.states, [ABORTED]);
    assert.equal(world.backends.all[0]!.active, 1);
  }
  world.fromA();
  assert.match(world.fromB({ tcpFlags: RST | ACK, seq: 0 }), /^192/, "refused");
  assert.deepEqual(world.states, [ABORTED]);
  world.establish();
  assert.deepEqual(world.states, [ESTABLISHED]);
  assert.deepEqual([world.backends.all[0]!.active, world.backends.all[0]!.opened], [1, 4]);
});

/** Each with a time of its own, so that a mix-up shows. */
const SECONDS = {
  halfOpen: 5,
  established: 6,
  halfClosed: 12,
  closing: 7,
  reset: 8,
  udp: 9,
  icmp: 10,
  unanswered: 11,
};

const CLASSES: [keyof typeof SECONDS, (world: World) => void][] = [
  ["halfOpen", (w) => void w.fromA()],
  ["halfOpen", (w) => {
    w.fromA();
    w.fromB({ tcpFlags: SYN | ACK });
  }],
  ["established", (w) => w.establish()],
  ["halfClosed", (w) => {
    w.establish();
    w.fromA({ tcpFlags: FIN | ACK });
  }],
  ["closing", (w) => {
    w.establish();
    w.fromA({ tcpFlags: FIN | ACK });
    w.fromB({ tcpFlags: FIN | ACK });
  }],
  ["reset", (w) => {
    w.establish();
    w.fromA({ tcpFlags: RST });
  }],
  ["unanswered", (w) => void w.fromA({ protocol: 17 })],
  ["udp", (w) => {
    w.fromA({ protocol: 17 });
    w.fromB({ protocol: 17 });
  }],
  ["udp", (w) => {
    w.fromA({ protocol: 17 });
    w.fromB({ protocol: 17 });
    w.fromA({ protocol: 17 });
  }],
  ["unanswered", (w) => void w.queryA()],
  ["icmp", (w) => {
    w.queryA();
    w.queryB();
  }],
  ["icmp", (w) => void w.track()],
];

CLASSES.forEach(([flag, open], i) => {
  const seconds = SECONDS[flag];
  Deno.test(`Connections forgets class ${flag} ${seconds} s after its last packet, case ${i}`, () => {
    const world = new World({ ...one, timeouts: SECONDS });
    world.nowMs = 1_000_000;
    open(world);
    world.expire(seconds * 1000 - 1);
    assert.equal(world.connections.table.count, 1);
    world.expire(1);
    assert.equal(world.connections.table.count, 0);
    assert.equal(world.backends.all[0]!.active, 0);
  });
});

Deno.test("Connections refreshes nothing for an RST, a stray SYN, or what is out of the window", () => {
  const world = new World({ ...one, timeouts: { ...SECONDS, established: 60, reset: 60 } });
  world.establish();
  world.expire(59_000);
  world.fromA({ seq: 5000 });
  assert.equal(world.fromA({ tcpFlags: ACK, seq: 50_000 }), "out-of-window");
  world.expire(1000);
  assert.equal(world.connections.table.count, 0);
  world.establish();
  world.fromA({ tcpFlags: RST });
  world.expire(59_000);
  assert.match(world.fromA({ tcpFlags: RST }), /^192/);
  world.expire(1000);
  assert.equal(world.connections.table.count, 0, "a second RST does not refresh");
});

Deno.test("Connections gives every port back: a small pool lives through 2,000 connections", () => {
  const world = new World({ ...one, first: 5000, last: 5003, timeouts: SECONDS });
  for (let i = 0; i < 2000; i++) {
    const srcPort = 1024 + i;
    const act = i % 4;
    assert.match(world.fromA({ srcPort }), /192.168.0.100:500[0-3] -> /, `connection ${i}`);
    if (act === 0) world.fromA({ srcPort, tcpFlags: RST });
    if (act === 1) world.fromB({ tcpFlags: RST | ACK, seq: 0 });
    if (act === 2) {
      world.fromB({ tcpFlags: SYN | ACK });
      world.fromA({ srcPort, tcpFlags: ACK });
      world.fromB({ tcpFlags: RST });
    }
    if (act === 3 && i % 8 === 3) world.expire(20_000);
  }
  assert.deepEqual(new Set(world.connections.table).size, world.connections.table.count);
  assert.equal(world.backends.all[0]!.active, world.connections.table.count);
});

/** Bytes in typed arrays that `make` allocates, by their constructors. */
function arrayBytes(make: () => unknown): number {
  let bytes = 0;
  const { Int32Array, Uint16Array } = globalThis;
  const counted = <A extends typeof Int32Array | typeof Uint16Array>(original: A): A =>
    new Proxy(original, {
      construct: (target, args, newTarget) => {
        const array = Reflect.construct(target, args, newTarget);
        bytes += array.byteLength;
        return array;
      },
    });
  Object.assign(globalThis, {
    Int32Array: counted(Int32Array),
    Uint16Array: counted(Uint16Array),
  });
  try {
    make();
  } finally {
    Object.assign(globalThis, { Int32Array, Uint16Array });
  }
  return bytes;
}

for (const maxConnections of [262_144, 1_000_000]) {
  Deno.test(`Connections takes at most 118 bytes for each of ${maxConnections} connections`, () => {
    const bytes = arrayBytes(() =>
      new Connections({
        maxConnections,
        ports: { first: 1024, last: 65_535 },
        timeouts: DEFAULT_TIMEOUTS,
        ownAddress: CLIENT,
        backends: new Backends(BACKENDS),
        random: new SeededRandom(1),
      })
    );
    const fixedBytes = 24_576; // the tables of hashes and the timeouts
    assert.ok(bytes > 117 * maxConnections, "the arrays were counted");
    assert.ok((bytes - fixedBytes) / maxConnections <= 118, `${bytes / maxConnections}`);
  });
}
