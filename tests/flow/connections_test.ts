import assert from "node:assert/strict";
import type { Member } from "../../src/flow/backends/member.ts";
import type { ReasonName } from "../../src/core/reason.ts";
import {
  ABORTED,
  CLOSED,
  ESTABLISHED,
  FIN_A,
  FIN_B,
  RESET_A,
  RESET_B,
  SYN_RECEIVED,
  SYN_SENT,
} from "../../src/flow/tcp_state.ts";
import { END, MAX_END, WORDS_PER_SIDE } from "../../src/flow/tcp_window.ts";
import { ttlToSend } from "../../src/flow/translate.ts";
import type { BalanceMethod } from "../../src/policy/language/ast.ts";
import { type Pdu, STATE_ESTABLISHED, STATE_INVALID, STATE_NEW } from "../../src/wire/pdu.ts";
import { ACK, FIN, PSH, RST, SYN } from "../../src/wire/tcp.ts";
import { BACKENDS, CLIENT, pduOf, World } from "./connections_world.ts";

const NO_BYTES = new DataView(new ArrayBuffer(0));

const one = { addresses: BACKENDS.slice(0, 1) };

Deno.test("classify tells new, established and invalid PDUs apart", () => {
  const world = new World(one);
  world.establish();
  const known = { src: CLIENT, srcPort: 40_000, dstPort: 2000 };
  const reply = { src: BACKENDS[0]!, srcPort: 2000, dstPort: 40_000 };
  const cases: [string, Partial<Pdu>, number][] = [
    ["first SYN", { src: CLIENT, srcPort: 40_001 }, STATE_NEW],
    ["SYN ACK without an entry", { src: CLIENT, tcpFlags: SYN | ACK }, STATE_INVALID],
    ["ACK without an entry", { src: CLIENT, tcpFlags: ACK }, STATE_INVALID],
    ["RST without an entry", { src: CLIENT, tcpFlags: RST }, STATE_INVALID],
    ["FIN without an entry", { src: CLIENT, tcpFlags: FIN | ACK }, STATE_INVALID],
    ["the SYN again", known, STATE_INVALID],
    ["another SYN", { ...known, seq: 5_000_000 }, STATE_ESTABLISHED],
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
    world.connections.classify(NO_BYTES, pdu, 0);
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

Deno.test("a segment that the kernel's way overtakes after it is classified leaves, and its FIN counts", () => {
  const cases = [
    ["a FIN", ACK | FIN, FIN_A],
    ["data", ACK, ESTABLISHED],
    ["an RST", RST, RESET_A],
  ] as const;
  for (const [name, tcpFlags, state] of cases) {
    const world = new World();
    world.establish();
    const { connections, connections: { table } } = world;
    const [entry] = table;
    const classify = connections.classify.bind(connections);
    connections.classify = (view, pdu, nowMs) => {
      classify(view, pdu, nowMs);
      for (const side of [0, 1]) {
        const words = side * WORDS_PER_SIDE;
        for (const word of [END, MAX_END]) {
          table.setData(entry!, words + word, (table.data(entry!, words + word) + 1_000_000) | 0);
        }
      }
    };
    assert.match(world.fromA({ tcpFlags }), / -> 192\.168\.0\.[12]:2000$/, name);
    assert.deepEqual(world.states, [state], name);
  }
});

Deno.test("Connections translates an RST and keeps the entry", () => {
  const world = new World(one);
  world.establish();
  assert.equal(world.fromB({ tcpFlags: RST }), "192.168.0.100:2000 -> 192.168.0.254:40000");
  assert.deepEqual(world.states, [RESET_B]);
  assert.equal(world.connections.table.count, 1);
});

const REFUSED: [string, (world: World) => string, ReasonName][] = [
  ["an ACK from nowhere", (w) => w.fromA({ srcPort: 1, tcpFlags: ACK }), "stray"],
  ["an RST from nowhere", (w) => w.fromA({ srcPort: 1, tcpFlags: RST }), "stray"],
  ["an ACK from nowhere to be tracked", (w) => w.track({ protocol: 6, tcpFlags: ACK }), "invalid"],
  ["an echo reply to be translated", (w) => w.queryA({ icmpType: 0 }), "invalid"],
  ["an ICMP error to be translated", (w) => w.queryA({ icmpType: 3 }), "invalid"],
  ["another protocol to be translated", (w) => w.fromA({ protocol: 47 }), "not-translatable"],
  ["an echo reply to be tracked", (w) => w.track({ icmpType: 0 }), "invalid"],
  ["a backend's own SYN", (w) => w.fromB({ srcPort: 5555 }), "no-mapping"],
  ["a backend's ping", (w) => w.fromB({ protocol: 1, icmpType: 8 }), "no-mapping"],
  [
    "the other backend's answer",
    (w) => w.fromB({ src: BACKENDS[1]!, tcpFlags: ACK }),
    "stray",
  ],
  ["an answer to another port", (w) => w.fromB({ dstPort: 1, tcpFlags: ACK }), "stray"],
  ["an answer from another port", (w) => w.fromB({ srcPort: 1, tcpFlags: ACK }), "stray"],
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
  world.connections.classify(NO_BYTES, pdu, 0);
  assert.equal(world.connections.steps.translateAToB(pdu, world.target), 0);
  assert.equal(world.connections.table.count, 0);
  assert.equal(world.backends.all[0]!.opened, 0);
});

Deno.test("Connections commits a PDU without steps by doing nothing", () => {
  const world = new World(one);
  const pdu = pduOf({ src: CLIENT, srcPort: 40_000, dstPort: 2000 });
  world.connections.classify(NO_BYTES, pdu, 0);
  assert.equal(world.connections.commit(NO_BYTES, pdu, 0, world.to), 0);
  assert.equal(world.connections.table.count, 0);
});

for (
  const [name, end] of [
    ["closed", (w: World) => {
      w.fromA({ tcpFlags: FIN | ACK });
      w.fromB({ tcpFlags: FIN | ACK, ack: 2 });
      w.fromA({ tcpFlags: ACK, seq: 2, ack: 2 });
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
      const again = pduOf({ src: CLIENT, srcPort: 40_000, dstPort: 2000, seq: 100 });
      world.connections.classify(NO_BYTES, again, 0);
      assert.equal(again.state, STATE_NEW);
      world.fromA({ seq: 100 });
      assert.deepEqual(world.states, [SYN_SENT]);
      assert.equal(world.connections.table.count, 1);
      const [first, second] = world.backends.all;
      assert.deepEqual([first!.active + second!.active, first!.opened + second!.opened], [1, 2]);
      seen.add(world.to.dst);
    }
    assert.deepEqual(seen, new Set(BACKENDS));
  });
}

Deno.test("Connections opens no new connection for an old SYN that comes late (RFC 9293 §3.6.1)", () => {
  const closed = new World(one);
  closed.establish();
  closed.fromA({ tcpFlags: FIN | ACK });
  closed.fromB({ tcpFlags: FIN | ACK });
  assert.equal(closed.fromA(), "invalid", "the backend would take it for a new one's");
  assert.deepEqual(closed.states, [CLOSED]);
  const reset = new World(one);
  reset.establish();
  reset.fromB({ tcpFlags: RST });
  assert.equal(reset.fromA(), "invalid", "here too");
  assert.deepEqual(reset.states, [RESET_B]);
});

Deno.test("Connections begins anew with a stray SYN that the backend answers: it has forgotten", () => {
  const world = new World(one);
  world.establish();
  assert.equal(world.fromA({ seq: 5000 }), "192.168.0.100:40000 -> 192.168.0.1:2000");
  assert.deepEqual(world.states, [ESTABLISHED], "anyone can send a SYN");
  assert.equal(world.fromB({ tcpFlags: SYN | ACK, seq: 900, ack: 5000 }), "out-of-window");
  const back = "192.168.0.100:2000 -> 192.168.0.254:40000";
  assert.equal(world.fromB({ tcpFlags: SYN | ACK, seq: 900_000, ack: 5001 }), back);
  assert.deepEqual(world.states, [SYN_RECEIVED]);
  world.fromA({ tcpFlags: ACK, seq: 5001, ack: 900_001 });
  assert.deepEqual(world.states, [ESTABLISHED]);
  assert.equal(
    world.fromA({ tcpFlags: ACK, seq: 1, ack: 1 }),
    "out-of-window",
    "of the first life",
  );
  assert.equal(world.fromB({ tcpFlags: ACK, seq: 900_001, ack: 5001, end: 9 }), back);
  const [backend] = world.backends.all;
  assert.deepEqual([backend!.active, backend!.opened, world.connections.table.count], [1, 1, 1]);
});

Deno.test("Connections still translates what comes late on a tuple that is closed", () => {
  const world = new World(one);
  world.establish();
  world.fromA({ tcpFlags: FIN | ACK });
  world.fromB({ tcpFlags: FIN | ACK });
  assert.equal(world.fromA({ tcpFlags: ACK }), "192.168.0.100:40000 -> 192.168.0.1:2000");
  assert.equal(world.fromB({ tcpFlags: ACK }), "192.168.0.100:2000 -> 192.168.0.254:40000");
  assert.deepEqual(world.states, [CLOSED]);
});

Deno.test("Connections takes an RST back when its side goes on (RFC 7857 §2.1)", () => {
  const world = new World(one);
  world.establish();
  world.fromB({ tcpFlags: RST });
  assert.equal(world.fromA({ tcpFlags: ACK }), "192.168.0.100:40000 -> 192.168.0.1:2000");
  assert.deepEqual(world.states, [RESET_B], "the client may not have heard of it yet");
  assert.equal(world.fromB({ tcpFlags: ACK }), "192.168.0.100:2000 -> 192.168.0.254:40000");
  assert.deepEqual(world.states, [RESET_B], "it may have been on its way before the RST");
  assert.equal(world.fromB({ tcpFlags: ACK, end: 1 }), "192.168.0.100:2000 -> 192.168.0.254:40000");
  assert.deepEqual(world.states, [ESTABLISHED]);
});

Deno.test("Connections chooses again for a SYN whose backend has stopped answering", () => {
  const world = new World();
  world.fromA();
  const dead = world.backend;
  world.backends.setStatus(dead, "down");
  for (const other of world.backends.all) if (other !== dead) world.backends.setStatus(other, "up");
  world.fromA();
  assert.notEqual(world.to.dst, dead.address);
  assert.equal(world.connections.table.count, 1);
  assert.deepEqual([dead.active, world.backend.active], [0, 1]);
});

/** How far a connection got before its backend stopped answering. */
const UNANSWERED: [string, (world: World) => void][] = [
  ["that is half-open", (w) => w.fromB({ tcpFlags: SYN | ACK })],
  ["that is established", (w) => w.establish()],
  ["that is half-closed", (w) => {
    w.establish();
    w.fromA({ tcpFlags: FIN | ACK });
  }],
  ["that the backend has half-closed", (w) => {
    w.establish();
    w.fromB({ tcpFlags: FIN | ACK });
  }],
  ["that is closed", (w) => {
    w.establish();
    w.fromA({ tcpFlags: FIN | ACK });
    w.fromB({ tcpFlags: FIN | ACK });
  }],
  ["that is reset", (w) => {
    w.establish();
    w.fromB({ tcpFlags: RST });
  }],
  ["that was refused", (w) => w.fromB({ tcpFlags: RST | ACK, seq: 0 })],
];

for (const [name, prepare] of UNANSWERED) {
  Deno.test(`Connections chooses again for a SYN on a tuple ${name}, once its backend does not answer`, () => {
    for (const seq of [0, 5000, 0x8000_0000 | 0]) {
      const world = new World();
      world.fromA();
      prepare(world);
      const dead = world.backend;
      world.backends.setStatus(dead, "down");
      assert.match(world.fromA({ tcpFlags: ACK }), /^192/, "only a SYN asks");
      assert.equal(world.to.dst, dead.address);
      world.fromA({ seq });
      assert.notEqual(world.to.dst, dead.address);
      assert.deepEqual(world.states, [SYN_SENT]);
      assert.deepEqual([dead.active, world.backend.active], [0, 1]);
    }
  });
}

Deno.test("Connections chooses again for UDP and queries whose backend does not answer", () => {
  const sends: [(w: World) => string, (w: World) => string][] = [
    [(w) => w.fromA({ protocol: 17 }), (w) => w.fromB({ protocol: 17 })],
    [(w) => w.queryA(), (w) => w.queryB()],
  ];
  for (const [send, answer] of sends) {
    for (const isAnswered of [false, true]) {
      const world = new World();
      send(world);
      if (isAnswered) answer(world);
      const dead = world.backend;
      world.backends.setStatus(dead, "down");
      send(world);
      assert.notEqual(world.to.dst, dead.address);
      assert.equal(world.connections.table.count, 1);
      const living = world.to.dst;
      world.backends.setStatus(dead, "up");
      send(world);
      assert.equal(world.to.dst, living, "and stays there");
    }
  }
});

const SECOND_MS = 1000;

/**
 * SYNs 100 below what was sent, some time after the connection's end: whether each opens the next
 * one.
 */
const AGAIN: [string, (world: World) => void, number, boolean][] = [
  ...[
    ["closed", 59.9, false] as const,
    ["closed", 60, true] as const,
    ["closed", 150, true] as const,
  ]
    .map(([name, seconds, opens]): [string, (world: World) => void, number, boolean] => [
      `${name} for ${seconds} s`,
      (w) => {
        w.establish();
        w.fromA({ tcpFlags: FIN | ACK });
        w.fromB({ tcpFlags: FIN | ACK });
      },
      ...[seconds, opens] as const,
    ]),
  [
    "reset for 60 s",
    (w) => {
      w.establish();
      w.fromB({ tcpFlags: RST });
    },
    60,
    true,
  ],
  [
    "refused 60 s ago",
    (w) => {
      w.fromA({ seq: 1000 });
      w.fromB({ tcpFlags: RST | ACK, seq: 0, ack: 1001 });
    },
    60,
    true,
  ],
];

for (const [name, prepare, seconds, opens] of AGAIN) {
  Deno.test(`Connections ${opens ? "opens" : "leaves to its backend"} a tuple ${name} at a lower SYN`, () => {
    const world = new World({ ...one });
    prepare(world);
    world.nowMs += seconds * SECOND_MS;
    assert.match(world.fromA({ seq: -100 }), /^192/);
    assert.equal(world.backends.all[0]!.opened, opens ? 2 : 1);
    assert.deepEqual(world.states, [opens ? SYN_SENT : CLOSED]);
  });
}

Deno.test("Connections knows a connection's own SYN by all 32 bits", () => {
  // Every 512th number has the same nine bits of a product, whatever the factor.
  const world = new World(one);
  world.establish();
  world.fromA({ tcpFlags: FIN | ACK });
  world.fromB({ tcpFlags: FIN | ACK });
  assert.equal(world.fromA(), "invalid", "its own, late");
  for (let seq = -10_000; seq < 0; seq++) {
    assert.match(world.fromA({ seq }), /^192/, "its backend is the judge");
  }
});

Deno.test("Connections opens anew for the SYN of a refused connection, sent again", () => {
  const world = new World();
  world.fromA();
  world.fromB({ tcpFlags: RST | ACK, seq: 0 });
  assert.deepEqual(world.states, [ABORTED]);
  assert.match(world.fromA(), /^192/);
  assert.deepEqual(world.states, [SYN_SENT]);
});

Deno.test("Connections takes the backend's RST for the answer to a SYN on an old connection", () => {
  const world = new World(one);
  world.establish();
  assert.match(world.fromA({ seq: 5000 }), /^192/);
  assert.equal(world.fromB({ tcpFlags: RST | ACK, seq: 0, ack: 5000 }), "out-of-window");
  assert.deepEqual(world.states, [ESTABLISHED]);
  assert.match(world.fromB({ tcpFlags: RST | ACK, seq: 0, ack: 5001 }), /^192/);
  assert.deepEqual(world.states, [RESET_B]);
  assert.match(world.fromA({ seq: 5000 }), /^192/, "once more, if the RST was lost");
});

Deno.test("Connections drops new connections as no-backend when none answers", () => {
  const world = new World();
  for (const backend of world.backends.all) world.backends.setStatus(backend, "down");
  const before = world.snapshot();
  assert.equal(world.fromA(), "no-backend");
  assert.deepEqual(world.snapshot(), before);
});

Deno.test("Connections drops a repeated SYN as no-backend when its backend was the last", () => {
  const world = new World(one);
  world.fromA();
  world.backends.setStatus(world.backend, "down");
  const before = world.snapshot();
  assert.equal(world.fromA(), "no-backend");
  assert.deepEqual(world.snapshot(), before);
});

Deno.test("Connections drops as table-full when all are live, and changes nothing", () => {
  const world = new World({ maxConnections: 2 });
  world.establish({ srcPort: 1 });
  world.establish({ srcPort: 3 });
  const before = world.snapshot();
  assert.equal(world.fromA({ srcPort: 2 }), "table-full");
  assert.equal(world.track({ srcPort: 2 }), "table-full");
  assert.equal(world.fromA({ srcPort: 2, protocol: 17 }), "table-full");
  assert.deepEqual(world.snapshot(), before);
  assert.equal(world.connections.evicted, 0);
  assert.match(world.fromA({ srcPort: 1, tcpFlags: ACK }), /^192/);
});

Deno.test("Connections drops as no-port when live ones have them all, and changes nothing", () => {
  const world = new World({ ...one, first: 5000, last: 5002 });
  for (let i = 0; i < 3; i++) world.establish({ src: CLIENT - i });
  const before = world.snapshot();
  assert.equal(world.fromA({ src: CLIENT - 3 }), "no-port");
  assert.deepEqual(world.snapshot(), before);
  assert.match(world.fromA({ src: CLIENT - 3, dstPort: 2001 }), /:500[012] -> 192.168.0.1:2001$/);
});

Deno.test("Connections changes nothing when a SYN on a closed tuple finds no port", () => {
  let refused = 0;
  for (let seed = 0; seed < 40; seed++) {
    const world = new World({ seed, first: 5000, last: 5000 });
    world.establish();
    world.fromB({ tcpFlags: RST });
    // Another client gets the only port towards the other backend, or the reset one's.
    world.establish({ src: CLIENT - 1 });
    if (world.connections.table.count < 2) continue;
    const before = world.snapshot();
    if (world.fromA({ seq: 100 }) !== "no-port") continue;
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
  const [{ address, status, active, opened }] = world.backends.all as [Member];
  assert.deepEqual([address, status, active, opened], [BACKENDS[0], "unknown", 0, 0]);
});

const MINUTE_MS = 60_000;

/** What there is to expire, and after how long. */
const LIFETIMES: [string, (world: World) => void, number][] = [
  ["a tracked ping", (w) => void w.track(), 1],
  ["a translated ping", (w) => void w.queryA(), 0.5],
  ["a translated and answered ping", (w) => {
    w.queryA();
    w.queryB();
  }, 1],
  ["a SYN without an answer", (w) => void w.fromA(), 4],
  ["a SYN that is answered", (w) => {
    w.fromA();
    w.fromB({ tcpFlags: SYN | ACK });
  }, 4],
  ["a half-closed connection", (w) => {
    w.establish();
    w.fromB({ tcpFlags: FIN | ACK });
  }, 124],
  ["a closed connection", (w) => {
    w.establish();
    w.fromB({ tcpFlags: FIN | ACK });
    w.fromA({ tcpFlags: FIN | ACK });
  }, 4],
  ["an established connection", (w) => w.establish(), 124],
  ["UDP", (w) => {
    w.fromA({ protocol: 17 });
    w.fromB({ protocol: 17 });
  }, 5],
  ["unanswered UDP", (w) => void w.fromA({ protocol: 17 }), 0.5],
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
  assert.deepEqual(backendsOf("in turn", 1), turns);
  assert.deepEqual(backendsOf("by hash", 1), backendsOf("by hash", 2));
  assert.notDeepEqual(backendsOf("at random", 1), backendsOf("at random", 2));
  assert.deepEqual(new Set(backendsOf("by hash", 1)), new Set([1, 2, 3]));
});

Deno.test("Connections notes the TTL that a PDU is to leave with, and forgets it with the next", () => {
  const world = new World(one);
  const pdu = pduOf({ src: CLIENT, srcPort: 40_000, dstPort: 2000, ttl: 64 });
  world.connections.classify(NO_BYTES, pdu, 0);
  assert.equal(world.connections.steps.setTtl(pdu, 7, false), 0);
  assert.deepEqual([pdu.newTtl, pdu.steps], [7, 0]);
  world.connections.classify(NO_BYTES, pdu, 0);
  assert.equal(pdu.newTtl, 0);
});

Deno.test("Connections raises no TTL unless told to, so that loops end (RFC 1812 §5.3.1)", () => {
  const { steps } = new World(one).connections;
  const sentWith = (ttl: number, to: number, raise: boolean): number => {
    const pdu = pduOf({ src: CLIENT, srcPort: 40_000, dstPort: 2000, ttl });
    assert.equal(steps.setTtl(pdu, to, raise), 0);
    return ttlToSend(pdu);
  };
  const cases = [[255, 64, 64], [65, 64, 64], [64, 64, 63], [2, 64, 1], [64, 1, 1], [3, 255, 2]];
  for (const [ttl, to, expected] of cases) {
    assert.equal(sentWith(ttl!, to!, false), expected, `${to} for ${ttl}`);
    assert.equal(sentWith(ttl!, to!, true), to, `${to} raise for ${ttl}`);
  }
});

Deno.test("Connections notes on a PDU whether its connection got its entry from it", () => {
  const world = new World(one);
  const run = (fields: Partial<Pdu>, step: "translate" | "track" = "translate"): number => {
    const pdu = pduOf({ src: CLIENT, srcPort: 40_000, dstPort: 2000, ...fields });
    const { connections } = world;
    connections.classify(NO_BYTES, pdu, 0);
    assert.equal(pdu.opened, 0);
    if (step === "track") connections.steps.track(pdu);
    else connections.steps.translateAToB(pdu, world.target);
    assert.equal(connections.commit(NO_BYTES, pdu, 0, world.to), 0);
    assert.ok(pdu.flow >= 0);
    return pdu.opened;
  };
  const ping = { protocol: 1, icmpType: 8, tcpFlags: 0, dstPort: 0 };
  assert.deepEqual([run({}), run({})], [1, 0]);
  world.fromB({ src: BACKENDS[0]!, srcPort: 2000, dstPort: 40_000, tcpFlags: SYN | ACK });
  assert.equal(run({ tcpFlags: ACK }), 0);
  assert.deepEqual([run({ protocol: 17 }), run({ protocol: 17 })], [1, 0]);
  assert.deepEqual([run(ping, "track"), run(ping, "track")], [1, 0]);
  run({ tcpFlags: RST });
  assert.equal(run({ tcpFlags: SYN, seq: 100 }), 1, "a SYN on a tuple that is over");
});
