import assert from "node:assert/strict";
import { SeededRandom } from "../../src/core/random.ts";
import { type ReasonName, reasonName } from "../../src/core/reason.ts";
import { type Backend, Backends } from "../../src/flow/backends.ts";
import { Connections } from "../../src/flow/connections.ts";
import { SIDE_A, SIDE_B } from "../../src/flow/table.ts";
import { CLOSED, ESTABLISHED, FIN_B, RESET } from "../../src/flow/tcp_state.ts";
import { SYN_RECEIVED, SYN_SENT } from "../../src/flow/tcp_state.ts";
import { Translation } from "../../src/flow/translate.ts";
import type { BalanceMethod } from "../../src/tree/ast.ts";
import { formatAddress, parseAddress } from "../../src/wire/address.ts";
import { Pdu, STATE_ESTABLISHED, STATE_INVALID, STATE_NEW } from "../../src/wire/pdu.ts";
import { ACK, FIN, PSH, RST, SYN } from "../../src/wire/tcp.ts";

const PROXY = parseAddress("192.168.0.100");
const CLIENT = parseAddress("192.168.0.254");
const BACKENDS = ["192.168.0.1", "192.168.0.2"].map(parseAddress);
const TCP = 6;

/** Connections, and PDUs sent through them as the appliance does. */
class World {
  readonly backends: Backends;
  readonly connections: Connections;
  readonly to = new Translation();
  nowMs = 0;
  /** How new connections get their backend. */
  readonly #method: BalanceMethod;

  constructor(
    { seed = 1, maxConnections = 100, first = 1024, last = 65_535, addresses = BACKENDS } = {},
    method: BalanceMethod = "random",
  ) {
    this.#method = method;
    this.backends = new Backends(addresses);
    this.connections = new Connections({
      maxConnections,
      ports: { first, last },
      ownAddress: PROXY,
      backends: this.backends,
      random: new SeededRandom(seed),
    });
  }

  /** From a client to the proxy, translated A to B. */
  fromA(fields: Partial<Pdu> = {}): string {
    const pdu = pduOf({ src: CLIENT, srcPort: 40_000, dstPort: 2000, ...fields });
    return this.#run(pdu, "translateAToB");
  }

  /** From the backend that the last PDU from side A went to, unless told otherwise. */
  fromB(fields: Partial<Pdu> = {}): string {
    const { dst, dstPort, srcPort } = this.#lastA;
    const pdu = pduOf({ src: dst, srcPort: dstPort, dstPort: srcPort, ...fields });
    return this.#run(pdu, "translateBToA");
  }

  track(fields: Partial<Pdu> = {}): string {
    const echo = { protocol: 1, icmpType: 8, srcPort: 0x4a49, tcpFlags: 0, src: CLIENT };
    return this.#run(pduOf({ ...echo, ...fields }), "track");
  }

  /** Opens, answers and completes a connection of the client's `srcPort`. */
  establish(fields: Partial<Pdu> = {}): void {
    this.fromA(fields);
    this.fromB({ tcpFlags: SYN | ACK });
    this.fromA({ ...fields, tcpFlags: ACK });
  }

  get states(): number[] {
    const { table } = this.connections;
    return [...table].map((entry) => table.state(entry));
  }

  /** The backend that the only connection has. */
  get backend(): Backend {
    const { table } = this.connections;
    const [entry] = table;
    return this.backends.get(table.src(entry!, SIDE_B))!;
  }

  /** Entries and counts, to see that nothing has changed. */
  snapshot(): unknown {
    const { table } = this.connections;
    const entries = [...table].map((entry) => [
      table.protocol(entry),
      table.state(entry),
      ...[SIDE_A, SIDE_B].flatMap((side) => [
        table.src(entry, side),
        table.dst(entry, side),
        table.srcPort(entry, side),
        table.dstPort(entry, side),
      ]),
    ]);
    return { entries, backends: this.backends.all.map((backend) => ({ ...backend })) };
  }

  readonly #lastA = new Translation();

  #run(pdu: Pdu, step: "track" | "translateAToB" | "translateBToA"): string {
    this.connections.classify(pdu);
    const { steps } = this.connections;
    const asked = step === "translateAToB" ? steps[step](pdu, this.#method) : steps[step](pdu);
    const reason = asked ||
      this.connections.commit(pdu, this.nowMs, this.to);
    if (reason !== 0) return reasonName(reason);
    if (step === "track") return "tracked";
    if (step === "translateAToB") Object.assign(this.#lastA, this.to);
    return `${formatAddress(this.to.src)}:${this.to.srcPort} -> ` +
      `${formatAddress(this.to.dst)}:${this.to.dstPort}`;
  }
}

function pduOf(fields: Partial<Pdu>): Pdu {
  return Object.assign(new Pdu(), { protocol: TCP, dst: PROXY, tcpFlags: SYN, ...fields });
}

const one = { addresses: BACKENDS.slice(0, 1) };

Deno.test("classify tells new, established and invalid PDUs apart", () => {
  const world = new World(one);
  world.fromA();
  const known = { src: CLIENT, srcPort: 40_000, dstPort: 2000 };
  const reply = { src: BACKENDS[0]!, srcPort: 2000, dstPort: 40_000 };
  const cases: [string, Partial<Pdu>, number][] = [
    ["first SYN", { src: CLIENT, srcPort: 40_001 }, STATE_NEW],
    ["SYN ACK without an entry", { src: CLIENT, tcpFlags: SYN | ACK }, STATE_INVALID],
    ["ACK without an entry", { src: CLIENT, tcpFlags: ACK }, STATE_INVALID],
    ["RST without an entry", { src: CLIENT, tcpFlags: RST }, STATE_INVALID],
    ["FIN without an entry", { src: CLIENT, tcpFlags: FIN | ACK }, STATE_INVALID],
    ["the SYN again", known, STATE_ESTABLISHED],
    ["a segment of a known connection", { ...known, tcpFlags: ACK }, STATE_ESTABLISHED],
    ["the backend's answer", { ...reply, tcpFlags: SYN | ACK }, STATE_ESTABLISHED],
    ["the other backend's", { ...reply, src: BACKENDS[1]!, tcpFlags: ACK }, STATE_INVALID],
    ["an echo request", { protocol: 1, icmpType: 8 }, STATE_NEW],
    ["an echo reply", { protocol: 1, icmpType: 0 }, STATE_INVALID],
    ["an ICMP error", { protocol: 1, icmpType: 3 }, STATE_INVALID],
    ["UDP", { protocol: 17, srcPort: 40_000, dstPort: 2000, src: CLIENT }, STATE_NEW],
    ["another protocol", { protocol: 47 }, STATE_NEW],
  ];
  for (const [name, fields, state] of cases) {
    const pdu = pduOf({ ...fields, steps: 7 });
    world.connections.classify(pdu);
    assert.equal(pdu.state, state, name);
    assert.equal(pdu.steps, 0, name);
  }
});

Deno.test("Connections translates a connection both ways, through the client's own port", () => {
  const world = new World(one);
  const there = "192.168.0.100:40000 -> 192.168.0.1:2000";
  const back = "192.168.0.100:2000 -> 192.168.0.254:40000";
  assert.equal(world.fromA(), there);
  assert.equal(world.fromB({ tcpFlags: SYN | ACK }), back);
  assert.equal(world.fromA({ tcpFlags: ACK }), there);
  assert.equal(world.fromB({ tcpFlags: PSH | ACK }), back);
  assert.equal(world.connections.table.count, 1);
});

Deno.test("Connections gives two clients with the same port two ports, and each its answers", () => {
  const world = new World({ ...one, first: 40_000, last: 40_001 });
  assert.equal(world.fromA({ src: CLIENT }), "192.168.0.100:40000 -> 192.168.0.1:2000");
  assert.equal(world.fromA({ src: CLIENT - 1 }), "192.168.0.100:40001 -> 192.168.0.1:2000");
  const answer = { src: BACKENDS[0]!, srcPort: 2000, tcpFlags: SYN | ACK };
  const client = (dstPort: number) => world.fromB({ ...answer, dstPort });
  assert.equal(client(40_000), "192.168.0.100:2000 -> 192.168.0.254:40000");
  assert.equal(client(40_001), "192.168.0.100:2000 -> 192.168.0.253:40000");
});

Deno.test("Connections keeps a connection's backend for its life, and reaches all backends", () => {
  const world = new World();
  const chosen = new Map<number, number>();
  for (let srcPort = 40_000; srcPort < 40_050; srcPort++) {
    world.fromA({ srcPort });
    chosen.set(srcPort, world.to.dst);
  }
  assert.deepEqual(new Set(chosen.values()), new Set(BACKENDS));
  for (const [srcPort, backend] of chosen) {
    world.fromA({ srcPort, tcpFlags: SYN });
    assert.equal(world.to.dst, backend);
  }
  const [first, second] = world.backends.all;
  assert.equal(first!.active + second!.active, 50);
  assert.equal(first!.opened + second!.opened, 50);
});

Deno.test("Connections follows the state of a connection from SYN to its end", () => {
  const world = new World(one);
  world.fromA();
  assert.deepEqual(world.states, [SYN_SENT]);
  world.fromB({ tcpFlags: SYN | ACK });
  assert.deepEqual(world.states, [SYN_RECEIVED]);
  world.fromA({ tcpFlags: ACK });
  assert.deepEqual(world.states, [ESTABLISHED]);
  world.fromB({ tcpFlags: FIN | ACK });
  assert.deepEqual(world.states, [FIN_B]);
  world.fromA({ tcpFlags: FIN | ACK });
  assert.deepEqual(world.states, [CLOSED]);
  assert.equal(world.fromB({ tcpFlags: ACK }), "192.168.0.100:2000 -> 192.168.0.254:40000");
});

Deno.test("Connections translates an RST and keeps the entry", () => {
  const world = new World(one);
  world.establish();
  assert.equal(world.fromB({ tcpFlags: RST }), "192.168.0.100:2000 -> 192.168.0.254:40000");
  assert.deepEqual(world.states, [RESET]);
  assert.equal(world.connections.table.count, 1);
});

const REFUSED: [string, (world: World) => string, ReasonName][] = [
  ["an ACK from nowhere", (w) => w.fromA({ srcPort: 1, tcpFlags: ACK }), "invalid"],
  ["an RST from nowhere", (w) => w.fromA({ srcPort: 1, tcpFlags: RST }), "invalid"],
  ["a ping to be translated", (w) => w.fromA({ protocol: 1, icmpType: 8 }), "invalid"],
  ["another protocol to be translated", (w) => w.fromA({ protocol: 47 }), "invalid"],
  ["an echo reply to be tracked", (w) => w.track({ icmpType: 0 }), "invalid"],
  ["a backend's own SYN", (w) => w.fromB({ srcPort: 5555 }), "no-mapping"],
  ["a backend's ping", (w) => w.fromB({ protocol: 1, icmpType: 8 }), "no-mapping"],
  [
    "the other backend's answer",
    (w) => w.fromB({ src: BACKENDS[1]!, tcpFlags: ACK }),
    "no-mapping",
  ],
  ["an answer to another port", (w) => w.fromB({ dstPort: 1, tcpFlags: ACK }), "no-mapping"],
  ["an answer from another port", (w) => w.fromB({ srcPort: 1, tcpFlags: ACK }), "no-mapping"],
  ["an answer of another protocol", (w) => w.fromB({ protocol: 17 }), "no-mapping"],
  [
    "side A's PDU translated B to A",
    (w) => w.fromB({ src: CLIENT, srcPort: 40_000, dstPort: 2000 }),
    "no-mapping",
  ],
  [
    "side B's PDU translated A to B",
    (w) => w.fromA({ src: BACKENDS[0]!, srcPort: 2000, dstPort: 40_000, tcpFlags: ACK }),
    "invalid",
  ],
];

for (const [name, send, reason] of REFUSED) {
  Deno.test(`Connections drops ${name} as ${reason}, and changes nothing`, () => {
    const world = new World(one);
    world.establish();
    const before = world.snapshot();
    assert.equal(send(world), reason);
    assert.deepEqual(world.snapshot(), before);
  });
}

Deno.test("Connections writes nothing before commit", () => {
  const world = new World(one);
  const pdu = pduOf({ src: CLIENT, srcPort: 40_000, dstPort: 2000 });
  world.connections.classify(pdu);
  assert.equal(world.connections.steps.translateAToB(pdu, "random"), 0);
  assert.equal(world.connections.table.count, 0);
  assert.equal(world.backends.all[0]!.opened, 0);
});

Deno.test("Connections commits a PDU without steps by doing nothing", () => {
  const world = new World(one);
  const pdu = pduOf({ src: CLIENT, srcPort: 40_000, dstPort: 2000 });
  world.connections.classify(pdu);
  assert.equal(world.connections.commit(pdu, 0, world.to), 0);
  assert.equal(world.connections.table.count, 0);
});

for (
  const [name, end] of [
    ["closed", (w: World) => {
      w.fromA({ tcpFlags: FIN | ACK });
      w.fromB({ tcpFlags: FIN | ACK });
    }],
    ["reset", (w: World) => void w.fromB({ tcpFlags: RST })],
  ] as const
) {
  Deno.test(`Connections opens a new connection for a SYN on a tuple that is ${name}`, () => {
    const seen = new Set<number>();
    for (let seed = 0; seed < 20; seed++) {
      const world = new World({ seed });
      world.establish();
      end(world);
      const again = pduOf({ src: CLIENT, srcPort: 40_000, dstPort: 2000 });
      world.connections.classify(again);
      assert.equal(again.state, STATE_NEW);
      world.fromA();
      assert.deepEqual(world.states, [SYN_SENT]);
      assert.equal(world.connections.table.count, 1);
      const [first, second] = world.backends.all;
      assert.deepEqual([first!.active + second!.active, first!.opened + second!.opened], [1, 2]);
      seen.add(world.to.dst);
    }
    assert.deepEqual(seen, new Set(BACKENDS));
  });

  Deno.test(`Connections still translates what comes late on a tuple that is ${name}`, () => {
    const world = new World(one);
    world.establish();
    end(world);
    const states = world.states;
    assert.equal(world.fromA({ tcpFlags: ACK }), "192.168.0.100:40000 -> 192.168.0.1:2000");
    assert.equal(world.fromB({ tcpFlags: ACK }), "192.168.0.100:2000 -> 192.168.0.254:40000");
    assert.deepEqual(world.states, states);
  });
}

Deno.test("Connections chooses again for a SYN whose backend has stopped answering", () => {
  const world = new World();
  world.fromA();
  const dead = world.backend;
  world.backends.setStatus(dead, "unanswered");
  for (const other of world.backends.all) if (other !== dead) world.backends.setStatus(other, "up");
  world.fromA();
  assert.notEqual(world.to.dst, dead.address);
  assert.equal(world.connections.table.count, 1);
  assert.deepEqual([dead.active, world.backend.active], [0, 1]);
});

Deno.test("Connections does not choose again for one that is established", () => {
  const world = new World();
  world.establish();
  const dead = world.backend;
  world.backends.setStatus(dead, "unanswered");
  world.fromA({ tcpFlags: SYN });
  assert.equal(world.to.dst, dead.address);
});

Deno.test("Connections drops new connections as no-backend when none answers", () => {
  const world = new World();
  for (const backend of world.backends.all) world.backends.setStatus(backend, "unanswered");
  const before = world.snapshot();
  assert.equal(world.fromA(), "no-backend");
  assert.deepEqual(world.snapshot(), before);
});

Deno.test("Connections drops a repeated SYN as no-backend when its backend was the last", () => {
  const world = new World(one);
  world.fromA();
  world.backends.setStatus(world.backend, "unanswered");
  const before = world.snapshot();
  assert.equal(world.fromA(), "no-backend");
  assert.deepEqual(world.snapshot(), before);
});

Deno.test("Connections drops as table-full when it is, and changes nothing", () => {
  const world = new World({ maxConnections: 2 });
  world.fromA({ srcPort: 1 });
  world.track();
  const before = world.snapshot();
  assert.equal(world.fromA({ srcPort: 2 }), "table-full");
  assert.equal(world.track({ srcPort: 2 }), "table-full");
  assert.deepEqual(world.snapshot(), before);
  assert.match(world.fromA({ srcPort: 1 }), /^192/);
});

Deno.test("Connections drops as no-port when the backend's are all in use, and changes nothing", () => {
  const world = new World({ ...one, first: 5000, last: 5002 });
  for (let i = 0; i < 3; i++) assert.match(world.fromA({ src: CLIENT - i }), /^192/);
  const before = world.snapshot();
  assert.equal(world.fromA({ src: CLIENT - 3 }), "no-port");
  assert.deepEqual(world.snapshot(), before);
  assert.match(world.fromA({ src: CLIENT - 3, dstPort: 2001 }), /:500[012] -> 192.168.0.1:2001$/);
});

Deno.test("Connections changes nothing when a SYN on a closed tuple finds no port", () => {
  let refused = 0;
  for (let seed = 0; seed < 40; seed++) {
    const world = new World({ seed, first: 5000, last: 5000 });
    world.fromA();
    world.fromB({ tcpFlags: RST });
    // Another client holds the only port towards the other backend, or the SYN finds it free.
    if (world.fromA({ src: CLIENT - 1 }) === "no-port") continue;
    const before = world.snapshot();
    if (world.fromA() !== "no-port") continue;
    refused++;
    assert.deepEqual(world.snapshot(), before, `seed ${seed}`);
  }
  assert.ok(refused > 0);
});

Deno.test("Connections tracks an echo request by addresses and identifier, and takes no port", () => {
  const world = new World(one);
  for (const fields of [{}, {}, { srcPort: 1 }, { src: CLIENT - 1 }, {}]) {
    assert.equal(world.track(fields), "tracked");
  }
  const { table } = world.connections;
  assert.equal(table.count, 3);
  for (const entry of table) assert.equal(table.hasSideB(entry), false);
  assert.deepEqual({ ...world.backends.all[0]! }, {
    address: BACKENDS[0],
    status: "resolving",
    active: 0,
    opened: 0,
  });
});

const MINUTE_MS = 60_000;

/** What there is to expire, and after how long. */
const LIFETIMES: [string, (world: World) => void, number][] = [
  ["a tracked ping", (w) => void w.track(), 1],
  ["a SYN without an answer", (w) => void w.fromA(), 4],
  ["an established connection", (w) => w.establish(), 124],
  ["UDP", (w) => void w.fromA({ protocol: 17 }), 5],
  ["a reset connection", (w) => {
    w.establish();
    w.fromA({ tcpFlags: RST });
  }, 4],
];

for (const [name, open, minutes] of LIFETIMES) {
  Deno.test(`Connections forgets ${name} after ${minutes} min, not sooner, and counts it off`, () => {
    const world = new World(one);
    world.nowMs = 2 ** 31 - MINUTE_MS;
    open(world);
    world.connections.expire(world.nowMs + minutes * MINUTE_MS - 1);
    assert.equal(world.connections.table.count, 1);
    world.connections.expire(world.nowMs + minutes * MINUTE_MS);
    assert.equal(world.connections.table.count, 0);
    assert.equal(world.backends.all[0]!.active, 0);
  });
}

Deno.test("Connections keeps what is used, from either side", () => {
  const world = new World(one);
  world.establish();
  for (let i = 0; i < 5; i++) {
    world.nowMs += 100 * MINUTE_MS;
    if (i % 2 === 0) world.fromA({ tcpFlags: ACK });
    else world.fromB({ tcpFlags: ACK });
    world.connections.expire(world.nowMs + MINUTE_MS);
    assert.equal(world.connections.table.count, 1);
  }
});

Deno.test("Connections translates UDP both ways", () => {
  const world = new World(one);
  assert.equal(world.fromA({ protocol: 17 }), "192.168.0.100:40000 -> 192.168.0.1:2000");
  assert.equal(world.fromB({ protocol: 17 }), "192.168.0.100:2000 -> 192.168.0.254:40000");
});

Deno.test("Connections gives new connections backends by the translator's method", () => {
  const three = { addresses: [1, 2, 3].map((i) => BACKENDS[0]! + i) };
  const backendsOf = (method: BalanceMethod, seed: number): number[] => {
    const world = new World({ ...three, seed }, method);
    return Array.from({ length: 30 }, (_, i) => {
      world.fromA({ srcPort: 1000 + i });
      return world.to.dst - BACKENDS[0]!;
    });
  };
  const turns = Array.from({ length: 30 }, (_, i) => 1 + i % 3);
  assert.deepEqual(backendsOf("round-robin", 1), turns);
  assert.deepEqual(backendsOf("hash", 1), backendsOf("hash", 2));
  assert.notDeepEqual(backendsOf("random", 1), backendsOf("random", 2));
  assert.deepEqual(new Set(backendsOf("hash", 1)), new Set([1, 2, 3]));
});

Deno.test("Connections notes the TTL that a PDU is to leave with, and forgets it with the next", () => {
  const world = new World(one);
  const pdu = pduOf({ src: CLIENT, srcPort: 40_000, dstPort: 2000 });
  world.connections.classify(pdu);
  assert.equal(world.connections.steps.setTtl(pdu, 7), 0);
  assert.deepEqual([pdu.newTtl, pdu.steps], [7, 0]);
  world.connections.classify(pdu);
  assert.equal(pdu.newTtl, 0);
});

Deno.test("Connections notes on a PDU whether its connection got its entry from it", () => {
  const world = new World(one);
  const run = (fields: Partial<Pdu>, step: "translate" | "track" = "translate"): number => {
    const pdu = pduOf({ src: CLIENT, srcPort: 40_000, dstPort: 2000, ...fields });
    const { connections } = world;
    connections.classify(pdu);
    assert.equal(pdu.opened, 0);
    if (step === "track") connections.steps.track(pdu);
    else connections.steps.translateAToB(pdu, "random");
    assert.equal(connections.commit(pdu, 0, world.to), 0);
    assert.ok(pdu.flow >= 0);
    return pdu.opened;
  };
  const ping = { protocol: 1, icmpType: 8, tcpFlags: 0, dstPort: 0 };
  assert.deepEqual([run({}), run({}), run({ tcpFlags: ACK })], [1, 0, 0]);
  assert.deepEqual([run({ protocol: 17 }), run({ protocol: 17 })], [1, 0]);
  assert.deepEqual([run(ping, "track"), run(ping, "track")], [1, 0]);
  run({ tcpFlags: RST });
  assert.equal(run({ tcpFlags: SYN }), 1, "a SYN on a tuple that is over");
});
