/** RFC 5382 and the TCP part of RFC 7857, requirement by requirement: see tests/COMPLIANCE.md. */
import assert from "node:assert/strict";
import {
  firstMatch,
  forward,
  otherwise,
  policy,
  tcpDport,
  translateAToB,
  translateBToA,
} from "../../src/policy/language/build.ts";
import { parseArgs } from "../../src/cli/args.ts";
import { bothFamilies, type Family } from "../support/families.ts";
import { bytesOf, type Tcp } from "../support/frames.ts";
import { from, packetsOf, PROXY } from "../support/world.ts";
import { BACKEND, deliver, Dialogue, idle, oneBackend, tracked } from "./dialogue.ts";

const DATA = { payload: bytesOf("some data") };

bothFamilies(
  "RFC 5382 REQ-2: a whole connection passes, with a half-close and every segment twice",
  (family) => {
    const talk = new Dialogue(oneBackend(family));
    const script: ["a" | "b", string, Partial<Tcp>?][] = [
      ...[["a", "S"], ["b", "SA"], ["a", "A"]] as ["a" | "b", string][],
      ["a", "PA", DATA],
      ["b", "A"],
      ["b", "PA", DATA],
      ["a", "A"],
      ["a", "FA"],
      ["b", "A"],
      ["b", "PA", DATA],
      ["a", "A"],
      ["b", "FA"],
      ["a", "A"],
    ];
    for (const [i, [side, flags, fields = {}]] of script.entries()) {
      const again = side === "a" ? talk.fromA(flags, fields) : talk.fromB(flags, fields);
      const sent = family.readTcp(again);
      const first = talk[side](flags, fields);
      const second = side === "a" ? talk.deliverA(again) : talk.deliverB(again);
      for (const got of [first, second]) {
        assert.ok(got, `${side} ${flags}, segment ${i}`);
        assert.deepEqual([got.flags, got.seq, got.ack], [sent.flags, sent.seq, sent.ack]);
        assert.deepEqual(got.payload, sent.payload);
      }
    }
    assert.deepEqual(talk.world.drops(), {});
  },
);

bothFamilies(
  "RFC 5382 REQ-2: segments out of order, keep-alives and their answers pass",
  (family) => {
    const talk = new Dialogue(oneBackend(family)).open();
    const { seqA } = talk;
    assert.ok(talk.deliverA(talk.fromA("PA", { seq: seqA + 9, ...DATA })), "the second one first");
    assert.ok(talk.deliverA(talk.fromA("PA", { seq: seqA, ...DATA })));
    talk.seqA += 18;
    assert.ok(talk.b("A"));
    for (const payload of [new Uint8Array(), new Uint8Array(1)]) {
      assert.ok(talk.deliverA(talk.fromA("A", { seq: talk.seqA - 1, payload })), "a keep-alive");
      assert.ok(talk.b("A"), "its answer");
      assert.ok(talk.deliverB(talk.fromB("A", { seq: talk.seqB - 1, payload })));
      assert.ok(talk.a("A"));
    }
  },
);

bothFamilies("RFC 5382 REQ-2 a: a simultaneous open passes", (family) => {
  const talk = new Dialogue(oneBackend(family));
  assert.ok(talk.a("S"), "the client's SYN");
  assert.ok(talk.b("S"), "the backend's SYN, from the same port at the same time");
  assert.ok(talk.deliverA(talk.fromA("SA", { seq: talk.seqA - 1 })), "the client's answer");
  assert.ok(talk.deliverB(talk.fromB("SA", { seq: talk.seqB - 1 })), "the backend's answer");
  assert.ok(talk.a("A") && talk.b("A"));
  assert.ok(talk.a("PA", DATA) && talk.b("PA", DATA), "data");
  idle(talk.world, 7400);
  assert.equal(tracked(talk.world), 1, "established");
});

bothFamilies(
  "RFC 5382 REQ-3: nothing reaches a client but from the connection's own backend and port",
  (family) => {
    const world = oneBackend(family, { backends: [BACKEND, "192.168.0.2"] });
    let talk = new Dialogue(world);
    for (let srcPort = 40_001; talk.a("S") === null; srcPort++) {
      talk = new Dialogue(world, { srcPort });
    }
    const { proxyPort: dstPort } = talk;
    const strangers = [
      family.buildTcp({ ...from(BACKEND), srcPort: 2001, dstPort, flags: "SA" }),
      family.buildTcp({ ...from("192.168.0.2"), srcPort: 2000, dstPort, flags: "SA" }),
      family.buildTcp({ ...from(BACKEND), srcPort: 2000, dstPort: dstPort + 1, flags: "SA" }),
    ];
    const answers = deliver(world, ...strangers).map(family.readTcp);
    const shown = answers.map(({ dst, flags }) => `${flags} to ${dst}`);
    assert.deepEqual(shown, [`R to ${BACKEND}`, "R to 192.168.0.2", `R to ${BACKEND}`]);
    assert.ok(talk.b("SA"));
  },
);

bothFamilies(
  "RFC 5382 REQ-4: a backend's unasked SYN gets no answer, neither at once nor later",
  (family) => {
    const world = oneBackend(family);
    const syn = family.buildTcp({ ...from(BACKEND), srcPort: 2000, dstPort: 40_000 });
    assert.deepEqual(packetsOf(world.send(syn)), []);
    const talk = new Dialogue(world).open();
    assert.deepEqual(packetsOf(world.advance(10_000)), []);
    assert.ok(talk.a("PA", DATA));
    assert.deepEqual(world.drops(), { "no-mapping": 1 });
  },
);

bothFamilies("RFC 5382 REQ-5: an established connection may be idle for 2 h 4 min", (family) => {
  const talk = new Dialogue(oneBackend(family)).open();
  for (const side of ["a", "b"] as const) {
    idle(talk.world, 2 * 3600 + 4 * 60 - 5);
    assert.ok(talk[side]("PA", DATA), `${side} wakes up`);
  }
  idle(talk.world, 2 * 3600 + 4 * 60 + 1);
  assert.equal(tracked(talk.world), 0);
  assert.equal(talk.a("PA", DATA), null);
});

/** How to bring a new connection into each transitory state. */
const TRANSITORY: [string, (talk: Dialogue) => unknown][] = [
  ["after the SYN", (talk) => talk.a("S")],
  ["after the SYN ACK", (talk) => talk.a("S") && talk.b("SA")],
  ["after both FINs", (talk) => talk.open().a("FA") && talk.b("FA") && talk.a("A")],
];

bothFamilies("RFC 5382 REQ-5: half-open and closed connections may be idle for 4 min", (family) => {
  for (const [when, prepare] of TRANSITORY) {
    const talk = new Dialogue(oneBackend(family));
    assert.ok(prepare(talk), when);
    idle(talk.world, 235);
    assert.equal(tracked(talk.world), 1, `${when}: still there`);
    idle(talk.world, 6);
    assert.equal(tracked(talk.world), 0, `${when}: forgotten`);
  }
});

bothFamilies(
  "RFC 5382 REQ-5: a half-closed connection may be idle as long as an open one",
  (family) => {
    for (const [first, other] of [["a", "b"], ["b", "a"]] as const) {
      const talk = new Dialogue(oneBackend(family)).open();
      assert.ok(talk[first]("FA"));
      idle(talk.world, 7435);
      assert.ok(talk[other]("PA", DATA), "the answer");
      assert.ok(talk[other]("FA") && talk[first]("A"));
      idle(talk.world, 241);
      assert.equal(tracked(talk.world), 0);
    }
  },
);

bothFamilies(
  "RFC 5382 REQ-5: a full table gives up half-open, reset, closed ones, never established",
  (family) => {
    const world = oneBackend(family, { maxConn: 4 });
    const made = (srcPort: number) => new Dialogue(world, { srcPort });
    const established = made(40_000).open();
    const closed = made(40_001).open();
    assert.ok(closed.a("FA") && closed.b("FA") && closed.a("A"));
    const reset = made(40_002).open();
    assert.ok(reset.b("R"));
    const halfOpen = made(40_003);
    assert.ok(halfOpen.a("S"));
    const { connections } = world.appliance;
    const there = () =>
      [closed, reset, halfOpen].map(({ srcPort }) =>
        [...connections.table].some((entry) => connections.table.srcPort(entry, 0) === srcPort)
      );
    assert.deepEqual(there(), [true, true, true]);
    world.advance(2000); // a younger handshake is spared
    made(40_004).open();
    assert.deepEqual(there(), [true, true, false]);
    made(40_005).open();
    assert.deepEqual(there(), [true, false, false]);
    made(40_006).open();
    assert.deepEqual(there(), [false, false, false]);
    assert.equal(made(40_007).a("S"), null);
    assert.equal(world.drops()["table-full"], 1);
    assert.ok(established.a("PA", DATA) && established.b("PA", DATA));
  },
);

Deno.test("RFC 5382 REQ-5 a, RFC 7857 2.1: open and closing idle times are flags of their own", () => {
  const flags = [
    ...["half-open", "established", "half-closed", "closing", "reset", "udp", "icmp", "unanswered"],
  ];
  const argv = flags.map((name, i) => `--timeout-${name}=${i + 5}`);
  const command = parseArgs(["--net=tap100", `--dst-addrs=${BACKEND}`, ...argv], {
    version: "0",
    build: "test",
  });
  assert.ok(command.kind === "run");
  assert.deepEqual(command.config.timeouts, {
    ...{ halfOpen: 5, established: 6, halfClosed: 7, closing: 8, reset: 9, udp: 10, icmp: 11 },
    unanswered: 12,
  });
});

bothFamilies(
  "RFC 5382 REQ-7: connections never share a port towards one backend and port",
  (family) => {
    const world = oneBackend(family);
    const ports = new Set<number>();
    for (let host = 10; host < 50; host++) {
      const talk = new Dialogue(world, { client: `192.168.0.${host}`, srcPort: 40_000 });
      const frame = talk.fromA("S");
      const [syn] = deliver(world, frame);
      ports.add(family.readTcp(syn!).srcPort);
    }
    assert.equal(ports.size, 40);
  },
);

/** A backend as client of a backend: what is for port 2000 comes from a client, whoever it is. */
function hairpinned(family: Family): Dialogue {
  const hairpin = policy(
    "drop",
    firstMatch([[tcpDport.eq(2000), translateAToB(forward)], [otherwise, translateBToA(forward)]]),
  );
  const world = oneBackend(family, { policy: hairpin });
  return new Dialogue(world, { client: BACKEND, srcPort: 33_000 });
}

bothFamilies(
  "RFC 5382 REQ-8: a backend is the proxy's client where the policy allows, from outside",
  (family) => {
    const talk = hairpinned(family);
    const syn = talk.a("S");
    assert.ok(syn);
    assert.deepEqual([syn.src, syn.dst, syn.dstPort], [PROXY, BACKEND, 2000]);
    const answer = talk.b("SA");
    assert.ok(answer);
    assert.deepEqual([answer.src, answer.srcPort, answer.dst, answer.dstPort], [
      ...[PROXY, 2000, BACKEND, 33_000],
    ]);
    assert.ok(talk.a("A") && talk.a("PA", DATA) && talk.b("PA", DATA));
  },
);

bothFamilies(
  "RFC 5508 REQ-7: an ICMP error about a hairpinned connection comes back translated",
  (family) => {
    const talk = hairpinned(family);
    const sent = talk.fromA("S");
    const [toB] = deliver(talk.world, sent);
    const error = family.buildIcmp({
      ...{ ...from(BACKEND), type: 3, code: 4, rest: [0, 1280] },
      payload: toB!.slice(14, 14 + family.ipBytes + 8),
    });
    const [back] = deliver(talk.world, error);
    const { src, dst, rest, payload } = family.readIcmp(back!);
    assert.deepEqual([src, dst, rest], [PROXY, BACKEND, [0, 1280]]);
    // Addresses, then ports.
    const [start, end] = [family.addressesAt, family.ipBytes + 4];
    assert.deepEqual(payload.slice(start, end), sent.slice(14 + start, 14 + end));
  },
);

bothFamilies("RFC 7857 2: a SYN, SYN ACK, RST probe is in nobody's way", (family) => {
  const talk = new Dialogue(oneBackend(family));
  assert.ok(talk.a("S") && talk.b("SA"));
  assert.ok(talk.a("R", { seq: talk.seqA }), "the backend hears of it");
  assert.ok(talk.b("SA", { seq: talk.seqB - 1, ack: talk.seqA }), "which was under way passes");
  talk.seqA = 77_000;
  talk.seqB = 66_000;
  talk.open();
});

bothFamilies("RFC 7857 2.2: an RST is translated, and the connection stays for 4 min", (family) => {
  for (const side of ["a", "b"] as const) {
    const talk = new Dialogue(oneBackend(family)).open();
    assert.ok(talk[side]("R"), "translated");
    idle(talk.world, 235);
    assert.equal(tracked(talk.world), 1);
    idle(talk.world, 6);
    assert.equal(tracked(talk.world), 0);
  }
});

bothFamilies(
  "RFC 7857 2.2: traffic after an RST makes the connection established again",
  (family) => {
    for (const side of ["a", "b"] as const) {
      const talk = new Dialogue(oneBackend(family)).open();
      assert.ok(talk[side]("R"));
      assert.ok(talk[side]("PA", DATA), "its sender goes on");
      idle(talk.world, 7400);
      assert.ok(talk.a("PA", DATA) && talk.b("PA", DATA));
    }
  },
);

bothFamilies("RFC 7857 2.2: an RST outside the window is dropped and changes nothing", (family) => {
  for (const side of ["A", "B"] as const) {
    const talk = new Dialogue(oneBackend(family)).open();
    for (const off of [-1_000_000, 1_000_000]) {
      const rst = talk[`from${side}`]("R", { seq: talk[`seq${side}`] + off });
      assert.equal(talk[`deliver${side}`](rst), null);
    }
    assert.deepEqual(talk.world.drops(), { "out-of-window": 2 });
    idle(talk.world, 7400);
    assert.ok(talk.a("PA", DATA) && talk.b("PA", DATA));
  }
});

bothFamilies(
  "RFC 7857 3: one port serves connections to several ports of a backend at once",
  (family) => {
    const world = oneBackend(family, { ports: { first: 5000, last: 5000 } });
    const talks = [2000, 2001, 2002].map((dstPort) => new Dialogue(world, { dstPort }).open());
    assert.deepEqual(talks.map(({ proxyPort }) => proxyPort), [5000, 5000, 5000]);
    for (const talk of talks) assert.ok(talk.b("PA", DATA));
  },
);

bothFamilies("RFC 7857 7.1: repeated RSTs do not refresh a connection", (family) => {
  const talk = new Dialogue(oneBackend(family)).open();
  assert.ok(talk.b("R"));
  for (let minute = 1; minute < 4; minute++) {
    idle(talk.world, 60);
    talk.b("R");
  }
  idle(talk.world, 61);
  assert.equal(tracked(talk.world), 0);
});

bothFamilies("RFC 7857 9: ports are unpredictable, and the whole range is used", (family) => {
  const orders = [1, 2, 3].map((seed) => {
    const world = oneBackend(family, { seed, ports: { first: 5000, last: 5063 } });
    return Array.from({ length: 64 }, (_, i) => {
      const talk = new Dialogue(world, { srcPort: 1 + i });
      talk.a("S");
      return talk.proxyPort;
    });
  });
  const range = Array.from({ length: 64 }, (_, i) => 5000 + i);
  for (const order of orders) assert.deepEqual([...order].sort((a, b) => a - b), range);
  assert.notDeepEqual(orders[0], orders[1]);
  assert.notDeepEqual(orders[1], orders[2]);
});
