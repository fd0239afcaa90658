/**
 * The proxy's own client: what it sends to a backend, what it makes of answers, and of what is
 * none.
 */
import assert from "node:assert/strict";
import { Arena } from "../../../src/core/arena.ts";
import { LinkedLists } from "../../../src/core/linked_lists.ts";
import { SeededRandom } from "../../../src/core/random.ts";
import { Reason } from "../../../src/core/reason.ts";
import { LIVE } from "../../../src/flow/eviction.ts";
import { Ports } from "../../../src/flow/ports.ts";
import { FlowTable } from "../../../src/flow/table.ts";
import type { ActiveCheck } from "../../../src/policy/language/health.ts";
import type { Probe } from "../../../src/stack/client/probe.ts";
import { Prober } from "../../../src/stack/client/prober.ts";
import { parseAddress } from "../../../src/wire/address.ts";
import {
  buildIcmp,
  buildTcp,
  buildUdp,
  bytesOf,
  type Icmp,
  readIcmp,
  readTcp,
  readUdp,
  type Tcp,
  type Udp,
} from "../../support/frames.ts";
import { decodeInto, takeSent } from "../../wire/place.ts";

const PROXY = "192.168.0.100";
const BACKEND = "192.168.0.1";
const FROM: Partial<Tcp> = { src: BACKEND, srcMac: "02:00:00:00:00:01", dst: PROXY };

/** One probe of one backend. Every frame that the proxy sends is read by the tests' own readers. */
class World {
  readonly arena = new Arena();
  readonly table = new FlowTable(100, new SeededRandom(2));
  readonly ports: Ports;
  readonly ends: string[] = [];
  readonly probe: Probe;
  readonly prober: Prober;
  arpSays = 0;

  constructor(readonly check: ActiveCheck, range = { first: 2000, last: 2999 }) {
    this.ports = new Ports(this.table, new LinkedLists(100), range, new SeededRandom(3));
    this.prober = new Prober({
      arena: this.arena,
      arp: {
        send: (frame, bytes) => {
          if (this.arpSays === 0) this.arena.send(frame, bytes);
          return this.arpSays;
        },
        expectAnswer: () => {},
        answered: () => {},
      },
      routes: { nextHop: (address) => address },
      own: parseAddress(PROXY),
      v6: null,
      ports: this.ports,
      random: new SeededRandom(4),
      ended: (_probe, failure, isSilent) =>
        void this.ends.push(`${failure ?? "ok"}${isSilent ? ", silent" : ""}`),
    });
    this.probe = this.prober.probe(check, parseAddress(BACKEND));
  }

  /** Starts the check; the one frame that is sent. */
  start(): Uint8Array {
    assert.equal(this.prober.start(this.probe, 0), true);
    const [frame, ...more] = takeSent(this.arena);
    assert.deepEqual(more, []);
    return frame!;
  }

  /** Gives the proxy a frame: whether it is the probe's, and what is sent upon it. */
  give(frame: Uint8Array): { readonly isTaken: boolean; readonly sent: Uint8Array[] } {
    const pdu = decodeInto(this.arena, frame);
    const isTaken = this.prober.take(this.arena.view, pdu, 5);
    return { isTaken, sent: takeSent(this.arena) };
  }

  take(): string[] {
    return this.ends.splice(0);
  }
}

const TCP: ActiveCheck = { kind: "tcp", port: 8080 };
const HTTP: ActiveCheck = { kind: "http", port: 8080, path: "/healthz", status: 200 };
const UDP: ActiveCheck = { kind: "udp", port: 53, payload: "0102ff" };

/** A segment from the backend in answer to the SYN. */
function answerTo(syn: Tcp, fields: Partial<Tcp>): Uint8Array {
  return buildTcp({
    ...FROM,
    srcPort: syn.dstPort,
    dstPort: syn.srcPort,
    flags: "SA",
    seq: 7000,
    ack: syn.seq + 1 >>> 0,
    ...fields,
  });
}

Deno.test("Prober, tcp: a bare SYN from the proxy's address; a SYN ACK is success, and is reset", () => {
  const world: World = new World(TCP);
  const syn = readTcp(world.start());
  assert.deepEqual(
    [syn.src, syn.dst, syn.dstPort, syn.flags, syn.ttl, syn.tcpOptions.length],
    [PROXY, BACKEND, 8080, "S", 64, 0],
  );
  assert.ok(syn.srcPort >= 2000 && syn.srcPort <= 2999);
  const { isTaken, sent } = world.give(answerTo(syn, {}));
  assert.deepEqual([isTaken, world.take()], [true, ["ok"]]);
  const [reset, ...more] = sent.map(readTcp);
  assert.deepEqual([reset!.flags, reset!.seq, more.length], ["R", syn.seq + 1 >>> 0, 0]);
  assert.deepEqual([world.prober.sent, world.prober.received], [2, 1]);
});

Deno.test("Prober, tcp: an RST is a refusal, if it acknowledges the SYN exactly", () => {
  const world: World = new World(TCP);
  const syn = readTcp(world.start());
  for (const fields of [{ flags: "R" }, { flags: "RA", ack: syn.seq + 2 >>> 0 }]) {
    const { isTaken, sent } = world.give(answerTo(syn, fields));
    assert.deepEqual([isTaken, sent, world.take()], [true, [], []]);
  }
  world.give(answerTo(syn, { flags: "RA" }));
  assert.deepEqual(world.take(), ["the connection was refused"]);
});

Deno.test("Prober, tcp: a backend that remembers another connection is told, and the check goes on", () => {
  const world: World = new World(TCP);
  const syn = readTcp(world.start());
  const { sent } = world.give(answerTo(syn, { flags: "A", ack: 999 }));
  assert.deepEqual(sent.map(readTcp).map(({ flags, seq }) => [flags, seq]), [["R", 999]]);
  world.give(answerTo(syn, {}));
  assert.deepEqual(world.take(), ["ok"]);
});

/** Opens the HTTP check's connection; gives the request. */
function requested(world: World): { readonly syn: Tcp; readonly request: Tcp } {
  const syn = readTcp(world.start());
  const { sent } = world.give(answerTo(syn, {}));
  assert.equal(sent.length, 1);
  return { syn, request: readTcp(sent[0]!) };
}

Deno.test("Prober, http: the handshake's ACK brings the request", () => {
  const { syn, request } = requested(new World(HTTP));
  assert.deepEqual(
    [request.flags, request.seq, request.ack],
    ["PA", syn.seq + 1 >>> 0, 7001],
  );
  assert.equal(
    new TextDecoder().decode(request.payload),
    "GET /healthz HTTP/1.1\r\nHost: 192.168.0.1\r\nConnection: close\r\n\r\n",
  );
});

const ANSWERS: [string, string][] = [
  ["HTTP/1.1 200 OK\r\nServer: x\r\n\r\nhello", "ok"],
  ["HTTP/1.0 200 OK\r\n", "ok"],
  ["HTTP/1.1 503 Service Unavailable\r\n", "the status is 503"],
  ["SSH-2.0-OpenSSH_9.2\r\n", "the answer is not HTTP/1"],
  ["\0\0\0\0\0\0\0\0\0\0\0\0", "the answer is not HTTP/1"],
];
for (const [answer, end] of ANSWERS) {
  Deno.test(`Prober, http: ${JSON.stringify(answer)} means ${end}`, () => {
    for (const pieces of [[answer], [answer.slice(0, 5), answer.slice(5)], [...answer]]) {
      const world: World = new World(HTTP);
      const { syn, request } = requested(world);
      const ack = request.seq + request.payload.length >>> 0;
      let seq = 7001;
      let last: Uint8Array[] = [];
      for (const piece of pieces) {
        if (world.probe.isOver) break;
        const fields = { flags: "PA", seq, ack, payload: bytesOf(piece) };
        last = world.give(answerTo(syn, fields)).sent;
        seq += piece.length;
      }
      assert.deepEqual(world.take(), [end]);
      assert.deepEqual(last.map(readTcp).map(({ flags, seq }) => [flags, seq]), [["R", ack]]);
    }
  });
}

Deno.test("Prober, http: pieces that come twice, late, too early or beside each other are put together", () => {
  const world: World = new World(HTTP);
  const { syn } = requested(world);
  const line = "HTTP/1.1 200 OK";
  const piece = (from: number, to: number) =>
    world.give(
      answerTo(syn, { flags: "A", seq: 7001 + from, payload: bytesOf(line.slice(from, to)) }),
    );
  piece(8, 15); // a gap: it will come again
  piece(0, 4);
  piece(0, 4);
  piece(2, 9);
  world.give(answerTo(syn, {})); // the SYN ACK once more
  assert.deepEqual(world.take(), []);
  piece(1, 15);
  assert.deepEqual(world.take(), ["ok"]);
});

Deno.test("Prober, http: closed or reset before there is a status line is a failure", () => {
  for (const flags of ["FA", "RA"]) {
    const world: World = new World(HTTP);
    const { syn } = requested(world);
    world.give(answerTo(syn, { flags, seq: 6000 }));
    assert.deepEqual(world.take(), [], "a wrong number");
    world.give(answerTo(syn, { flags, seq: 7001 }));
    assert.deepEqual(world.take(), [
      flags === "FA" ? "the connection was closed without an answer" : "the connection was reset",
    ]);
  }
});

Deno.test("Prober: what is open is reset when it is given up, and what comes late is answered four times", () => {
  const world: World = new World(HTTP);
  const { syn, request } = requested(world);
  world.prober.stop(world.probe, 1000);
  const [reset] = takeSent(world.arena).map(readTcp);
  const next = request.seq + request.payload.length >>> 0;
  assert.deepEqual([reset!.flags, reset!.seq], ["R", next]);
  const late = answerTo(syn, { flags: "PA", seq: 7001, ack: next, payload: bytesOf("late") });
  const answers = Array.from({ length: 10 }, () => world.give(late));
  assert.ok(answers.every(({ isTaken }) => isTaken), "never shown to the tree");
  assert.equal(answers.flatMap(({ sent }) => sent).length, 3);
  assert.deepEqual(world.take(), []);
});

Deno.test("Prober, udp: the payload goes out, and any datagram from there is an answer", () => {
  const world: World = new World(UDP);
  const datagram = readUdp(world.start());
  assert.deepEqual([datagram.dst, datagram.dstPort, [...datagram.payload]], [BACKEND, 53, [
    1,
    2,
    255,
  ]]);
  const back: Partial<Udp> = { ...FROM, srcPort: 53, dstPort: datagram.srcPort };
  for (
    const wrong of [{ src: "192.168.0.2" }, { srcPort: 54 }, { dstPort: datagram.srcPort + 1 }]
  ) {
    assert.equal(world.give(buildUdp({ ...back, ...wrong })).isTaken, false);
  }
  assert.equal(world.give(buildUdp(back)).isTaken, true);
  assert.deepEqual(world.take(), ["ok"]);
});

/** The ICMP error of a backend about a packet of the proxy. */
function errorAbout(frame: Uint8Array, code: number): Uint8Array {
  return buildIcmp({
    ...FROM as Partial<Icmp>,
    type: 3,
    code,
    rest: [0, 0],
    payload: frame.slice(14),
  });
}

Deno.test("Prober, udp: port unreachable is a failure", () => {
  const world: World = new World(UDP);
  const { isTaken } = world.give(errorAbout(world.start(), 3));
  assert.deepEqual([isTaken, world.take()], [
    true,
    ["ICMP destination unreachable: port unreachable"],
  ]);
});

Deno.test("Prober, tcp: an ICMP error counts only with the SYN's number", () => {
  const world: World = new World(TCP);
  const syn = world.start();
  const forged = syn.slice();
  forged[14 + 20 + 7]! ^= 1; // of the sequence number
  world.give(errorAbout(forged, 1));
  assert.deepEqual(world.take(), []);
  world.give(errorAbout(syn, 1));
  assert.equal(world.take().length, 1);
});

Deno.test("Prober: an ICMP error about somebody else's packet is not its own", () => {
  const world: World = new World(UDP);
  world.start();
  const other = buildUdp({ src: PROXY, dst: BACKEND, srcPort: 9, dstPort: 53 });
  assert.equal(world.give(errorAbout(other, 3)).isTaken, false);
});

Deno.test("Prober, icmp: the reply has identifier and sequence number of the request", () => {
  const world: World = new World({ kind: "icmp" });
  const { rest: [id, sequence] } = readIcmp(world.start());
  const back: Partial<Icmp> = { ...FROM as Partial<Icmp>, type: 0, payload: new Uint8Array() };
  assert.equal(world.give(buildIcmp({ ...back, rest: [id ^ 1, sequence] })).isTaken, false);
  world.give(buildIcmp({ ...back, rest: [id, sequence ^ 1] }));
  assert.deepEqual(world.take(), []);
  world.give(buildIcmp({ ...back, rest: [id, sequence] }));
  assert.deepEqual(world.take(), ["ok"]);
});

Deno.test("Prober: its port is nobody else's while it may be answered, and then free again", () => {
  const world: World = new World(TCP, { first: 2000, last: 2001 });
  const choose = (preferred: number) =>
    world.ports.choose(6, parseAddress(BACKEND), parseAddress(PROXY), 8080, preferred, -1, -1);
  for (let i = 0; i < 20; i++) {
    const { srcPort } = readTcp(world.start());
    const other = srcPort === 2000 ? 2001 : 2000;
    assert.deepEqual(
      [choose(srcPort), choose(other)],
      [other, other],
      "even if a client prefers it",
    );
  }
  world.prober.remove(world.probe, 0);
  assert.deepEqual([choose(2000), choose(2001)], [2000, 2001]);
});

Deno.test("Prober: where connections have all other ports, the next check uses its port again", () => {
  const world: World = new World(TCP, { first: 2000, last: 2001 });
  const { srcPort } = readTcp(world.start());
  const taken = srcPort === 2000 ? 2001 : 2000;
  const [backend, proxy] = [parseAddress(BACKEND), parseAddress(PROXY)];
  const entry = world.table.insert(6, 99, proxy, 5, backend, proxy, (8080 << 16) | taken);
  world.ports.add(entry, LIVE);
  assert.equal(readTcp(world.start()).srcPort, srcPort);
});

Deno.test("Prober: no port and no room is no check; a backend that ARP has given up fails at once", () => {
  const world: World = new World(TCP, { first: 2000, last: 2000 });
  const [backend, proxy] = [parseAddress(BACKEND), parseAddress(PROXY)];
  const entry = world.table.insert(6, 99, proxy, 5, backend, proxy, (8080 << 16) | 2000);
  assert.equal(world.prober.start(world.probe, 0), false);
  world.table.remove(entry);
  world.arpSays = Reason["no-buffer"];
  assert.equal(world.prober.start(world.probe, 0), false);
  assert.deepEqual(world.take(), []);
  world.arpSays = Reason["arp-unanswered"];
  assert.equal(world.prober.start(world.probe, 0), true);
  assert.deepEqual(world.take(), ["it does not answer ARP, silent"]);
});

Deno.test("Prober: garbage from the backend ends no check but by its time, and nothing is kept of it", () => {
  const random = new SeededRandom(9);
  for (const check of [TCP, HTTP]) {
    const world: World = new World(check);
    const syn = readTcp(world.start());
    if (check === HTTP) world.give(answerTo(syn, {}));
    let answers = 0;
    for (let i = 0; i < 2000; i++) {
      const flags = ["A", "PA", "FA", "S"][random.uint32() & 3]!;
      const payload = new Uint8Array(random.uint32() & 255);
      const fields = { flags, payload, seq: random.uint32(), ack: random.uint32() };
      answers += world.give(answerTo(syn, fields)).sent.length;
    }
    assert.ok(answers <= 16, `${answers}`);
    assert.ok(world.take().length <= 1);
  }
});
