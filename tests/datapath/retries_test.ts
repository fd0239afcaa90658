/**
 * Another try: what refuses or ignores a SYN is left for another backend, and the client hears of
 * none of it.
 */
import assert from "node:assert/strict";
import { parse } from "../../src/policy/notation/parse.ts";
import {
  buildIcmp,
  buildTcp,
  buildUdp,
  bytesOf,
  readIcmp,
  readTcp,
  readUdp,
  type Tcp,
} from "../support/frames.ts";
import {
  BACKENDS_B,
  CLIENT,
  from,
  fromB,
  isArp,
  PROXY,
  World,
  type WorldOptions,
} from "../support/world.ts";

const FOUR = ["192.168.0.1", "192.168.0.2", "192.168.0.3", "192.168.0.4"];
const FOUR_B = ["10.0.0.1", "10.0.0.2", "10.0.0.3", "10.0.0.4"];
const ISN = 1000;

/** A client whose SYNs the world takes, and the backends that they come to. */
class Attempt {
  readonly world: World;
  readonly #syn: Uint8Array;
  /** The SYN as a backend last got it. */
  at: Tcp;

  constructor(options: WorldOptions = {}, fields: Partial<Tcp> = {}) {
    this.world = World.settled({ backends: FOUR, ...options });
    this.#syn = buildTcp({ srcPort: 40_000, dstPort: 2000, flags: "S", seq: ISN, ...fields });
    this.at = this.send()!;
  }

  /** The client sends its SYN; where it goes. */
  send(): Tcp {
    return this.at = tcpOf(this.world.send(this.#syn))[0]!;
  }

  /** The backend that has the SYN answers; what the proxy sends. */
  answer(fields: Partial<Tcp>): Tcp[] {
    return tcpOf(this.world.send(buildTcp(this.by(this.at, fields))));
  }

  by({ dst, dstPort, srcPort }: Tcp, fields: Partial<Tcp>): Partial<Tcp> {
    return { ...from(dst), srcPort: dstPort, dstPort: srcPort, ...fields };
  }

  /** It refuses; the SYN that another one gets. */
  refuse(fields: Partial<Tcp> = {}): Tcp {
    const [next, ...more] = this.answer({ flags: "RA", seq: 0, ack: ISN + 1, ...fields });
    assert.deepEqual(more, []);
    assert.equal(next!.flags, "S");
    return this.at = next!;
  }

  /** Time passes; the SYN that another one gets, or undefined. */
  wait(ms: number): Tcp | undefined {
    const [next, ...more] = tcpOf(this.world.advance(ms));
    assert.deepEqual(more, []);
    if (next !== undefined) this.at = next;
    return next;
  }
}

function tcpOf(frames: readonly Uint8Array<ArrayBuffer>[]): Tcp[] {
  return frames.filter((frame) => !isArp(frame) && frame[23] === 6).map(readTcp);
}

Deno.test("retries: a backend's RST sends the SYN to those that were not tried, the last RST to the client", () => {
  for (const by of [{}, { twoSided: true, backends: FOUR_B }]) {
    const attempt = new Attempt(by);
    const { world } = attempt;
    const tried = [attempt.at];
    const respond = ({ dst }: Tcp) => by.twoSided ? fromB(dst) : from(dst);
    for (let i = 0; i < 3; i++) tried.push(attempt.refuse(respond(attempt.at)));
    assert.equal(new Set(tried.map(({ dst }) => dst)).size, 4);
    for (const syn of tried) {
      const { seq, ttl, id, srcMac: _, ...rest } = syn;
      assert.deepEqual([seq, ttl, id, rest.dstPort], [ISN, tried[0]!.ttl, tried[0]!.id, 2000]);
    }
    const [reset, ...more] = attempt.answer({
      ...respond(attempt.at),
      flags: "RA",
      seq: 0,
      ack: ISN + 1,
    });
    assert.deepEqual(more, []);
    assert.deepEqual([reset!.dst, reset!.src, reset!.flags], [CLIENT, PROXY, "RA"]);
    assert.equal(world.drops().retried, 3);
    assert.equal(world.appliance.connections.retries!.remembered, 0);
  }
});

Deno.test("retries: the connection goes on with the backend that answers, both ways", () => {
  const attempt = new Attempt();
  const refused = attempt.at;
  attempt.refuse();
  const [synAck] = attempt.answer({ flags: "SA", seq: 9000, ack: ISN + 1 });
  assert.deepEqual([synAck!.dst, synAck!.dstPort, synAck!.flags], [CLIENT, 40_000, "SA"]);
  assert.equal(attempt.world.appliance.connections.retries!.remembered, 0);
  const there = { srcPort: 40_000, dstPort: 2000, seq: ISN + 1, ack: 9001 };
  const [data] = tcpOf(
    attempt.world.send(buildTcp({ ...there, flags: "PA", payload: bytesOf("x") })),
  );
  assert.deepEqual([data!.dst, data!.srcPort], [attempt.at.dst, attempt.at.srcPort]);
  assert.notEqual(attempt.at.dst, refused.dst);
  const { active } = attempt.world.appliance.backends.at(
    0xc0a80000 + Number(refused.dst.slice(10)) | 0,
  )[0]!;
  assert.equal(active, 0, "who refused it has no connection");
  assert.equal(attempt.wait(10_000), undefined, "nothing is tried any more");
});

Deno.test("retries: silence for --connect-timeout sends the SYN elsewhere, three times", () => {
  const attempt = new Attempt();
  const tried = [attempt.at.dst];
  assert.equal(attempt.wait(2900), undefined);
  for (let i = 0; i < 3; i++) {
    tried.push(attempt.wait(200)!.dst);
    assert.equal(attempt.wait(2800), undefined);
  }
  assert.equal(new Set(tried).size, 4);
  assert.equal(attempt.wait(20_000), undefined);
  assert.equal(attempt.world.appliance.connections.retries!.remembered, 0);
});

Deno.test("retries: an RST without the exact number changes nothing", () => {
  const attempt = new Attempt();
  for (const ack of [ISN, ISN + 2, ISN - 1, ISN + 0x4000_0000]) {
    assert.deepEqual(attempt.answer({ flags: "RA", seq: 0, ack }), []);
  }
  assert.deepEqual(attempt.answer({ flags: "R", seq: ISN + 1, ack: 0 }), []);
  assert.deepEqual(attempt.world.drops(), { "out-of-window": 5 });
  assert.equal(attempt.send().dst, attempt.at.dst);
});

/** An ICMP error of `type` about a packet that a backend got, from the backend itself. */
function errorAbout(packet: Uint8Array, backend: string, code: number, seq?: number): Uint8Array {
  const quote = packet.slice(14, 14 + 28);
  if (seq !== undefined) new DataView(quote.buffer).setUint32(24, seq);
  return buildIcmp({ ...from(backend), type: 3, code, rest: [0, 0], payload: quote });
}

Deno.test("retries: an ICMP unreachable counts if it quotes the SYN's number, another error does not", () => {
  const attempt = new Attempt();
  const { world } = attempt;
  const syn = (at: Tcp) =>
    buildTcp({ src: PROXY, dst: at.dst, srcPort: at.srcPort, dstPort: 2000, flags: "S", seq: ISN });
  const error = (code: number, seq?: number) =>
    world.send(errorAbout(syn(attempt.at), attempt.at.dst, code, seq));
  assert.deepEqual(error(1, ISN + 2), [], "another number");
  const [relayed] = error(4);
  assert.deepEqual([readIcmp(relayed!).dst, readIcmp(relayed!).code], [CLIENT, 4]);
  const tried = [attempt.at.dst];
  for (const code of [1, 3, 13]) {
    const [next, ...more] = tcpOf(error(code));
    assert.deepEqual([next!.flags, more], ["S", []]);
    tried.push((attempt.at = next!).dst);
  }
  assert.equal(new Set(tried).size, 4);
  const [last] = error(1);
  assert.deepEqual([readIcmp(last!).dst, readIcmp(last!).code], [CLIENT, 1]);
  assert.equal(world.drops().retried, 3);
});

Deno.test("retries: a SYN with data goes elsewhere after an RST, not after silence or an ICMP error", () => {
  const attempt = new Attempt({}, { payload: bytesOf("data") });
  const first = attempt.at;
  assert.equal(attempt.wait(3500), undefined);
  assert.equal(attempt.send().dst, first.dst);
  const next = new Attempt({}, { payload: bytesOf("data") });
  const { dst } = next.at;
  const again = next.refuse({ ack: ISN + 5 });
  assert.notEqual(again.dst, dst);
  assert.equal(new TextDecoder().decode(again.payload), "data");
});

Deno.test("retries: a SYN that is too long to be remembered goes elsewhere when the client sends it again", () => {
  const attempt = new Attempt({}, { payload: new Uint8Array(200) });
  const first = attempt.at;
  assert.equal(attempt.world.appliance.connections.retries!.remembered, 0);
  assert.deepEqual(attempt.answer({ flags: "RA", seq: 0, ack: ISN + 201 }), []);
  const second = attempt.send();
  assert.notEqual(second.dst, first.dst);
  assert.deepEqual(attempt.answer({ flags: "RA", seq: 0, ack: ISN + 201 }), []);
  assert.notEqual(attempt.send().dst, second.dst);
});

Deno.test("retries: 4,096 SYNs are remembered, the next one waits for its client", () => {
  const world = World.settled({ backends: FOUR, maxConn: 6000 });
  const syn = (i: number) => buildTcp({ srcPort: 1024 + i, dstPort: 2000, flags: "S", seq: ISN });
  const first: Tcp[] = [];
  for (let i = 0; i < 4100; i += 50) {
    first.push(...tcpOf(world.send(...Array.from({ length: 50 }, (_, j) => syn(i + j)))));
  }
  const { retries, table } = world.appliance.connections;
  assert.deepEqual([retries!.remembered, table.count, first.length], [4096, 4100, 4100]);
  const again = tcpOf(world.advance(3100));
  const [last] = tcpOf(world.send(syn(4099)));
  assert.notEqual(last!.dst, first.at(-1)!.dst);
  again.push(...tcpOf(world.advance(400)));
  assert.equal(again.length, 4096);
  world.advance(20_000);
  assert.equal(retries!.remembered, 0);
});

Deno.test("retries: a late SYN ACK of a backend that was left gets an RST", () => {
  const attempt = new Attempt();
  const left = attempt.at;
  const next = attempt.wait(3100)!;
  assert.notEqual(next.dst, left.dst);
  const late = buildTcp(attempt.by(left, { flags: "SA", seq: 7000, ack: ISN + 1 }));
  const [reset, ...more] = tcpOf(attempt.world.send(late));
  assert.deepEqual(more, []);
  assert.deepEqual([reset!.dst, reset!.flags, reset!.seq], [left.dst, "R", ISN + 1]);
  const [synAck] = attempt.answer({ flags: "SA", seq: 9000, ack: ISN + 1 });
  assert.equal(synAck!.dst, CLIENT);
});

Deno.test("retries: a SYN that an older connection kept waiting follows the client's RST at once", () => {
  const attempt = new Attempt();
  const first = attempt.refuse(); // the second that has it
  const [challenge] = attempt.answer({ flags: "A", seq: 5000, ack: 77 });
  assert.deepEqual([challenge!.dst, challenge!.flags, challenge!.ack], [CLIENT, "A", 77]);
  const client = { srcPort: 40_000, dstPort: 2000, flags: "R" };
  const sent = tcpOf(attempt.world.send(buildTcp({ ...client, seq: 77 })));
  assert.deepEqual(
    sent.map(({ dst, dstPort, srcPort, flags, seq }) => [dst, dstPort, srcPort, flags, seq]),
    [
      [first.dst, 2000, first.srcPort, "R", 77],
      [first.dst, 2000, first.srcPort, "S", ISN],
    ],
  );
  const twice = tcpOf(attempt.world.send(buildTcp({ ...client, seq: 78 })));
  assert.ok(twice.every(({ flags }) => flags === "R"), "once for each backend");
  const [synAck] = attempt.answer({ flags: "SA", seq: 9000, ack: ISN + 1 });
  assert.equal(synAck!.dst, CLIENT);
  const again = tcpOf(attempt.world.send(buildTcp({ ...client, seq: 77 })));
  assert.ok(again.every(({ flags }) => flags !== "S"), "not once it is open");
});

Deno.test("retries: a client that begins anew with another number has that SYN remembered", () => {
  const attempt = new Attempt();
  const first = attempt.at;
  const { world } = attempt;
  assert.equal(attempt.wait(2000), undefined);
  const anew = buildTcp({ srcPort: 40_000, dstPort: 2000, flags: "S", seq: 777_777 });
  assert.equal(tcpOf(world.send(anew))[0]!.dst, first.dst);
  assert.equal(attempt.wait(2500), undefined, "it has its own time");
  const next = attempt.wait(700)!;
  assert.deepEqual([next.seq, next.dst === first.dst], [777_777, false]);
  const [synAck] = attempt.answer({ flags: "SA", seq: 9000, ack: 777_778 });
  assert.deepEqual([synAck!.dst, synAck!.ack], [CLIENT, 777_778]);
});

Deno.test("retries: a client's RST about its own SYN is sent on, and no SYN after it", () => {
  const attempt = new Attempt();
  const reset = buildTcp({ srcPort: 40_000, dstPort: 2000, flags: "R", seq: ISN + 1 });
  assert.ok(tcpOf(attempt.world.send(reset)).every(({ flags }) => flags === "R"));
});

Deno.test("retries: once the client has got a SYN ACK, an RST is its own", () => {
  const attempt = new Attempt();
  attempt.answer({ flags: "SA", seq: 9000, ack: ISN + 1 });
  const [reset] = attempt.answer({ flags: "RA", seq: 9001, ack: ISN + 1 });
  assert.deepEqual([reset!.dst, reset!.flags], [CLIENT, "RA"]);
});

Deno.test("retries=0, or a single backend: the first refusal is the client's", () => {
  for (const options of [{ retries: 0 }, { backends: [FOUR[0]!] }]) {
    const attempt = new Attempt(options);
    const [reset] = attempt.answer({ flags: "RA", seq: 0, ack: ISN + 1 });
    assert.deepEqual([reset!.dst, reset!.flags], [CLIENT, "RA"]);
    assert.equal(attempt.wait(10_000), undefined);
    assert.deepEqual(attempt.world.drops(), {});
  }
});

Deno.test("retries: with the client's address, its connection moves from backend to backend", () => {
  const attempt = new Attempt({ twoSided: true, backends: BACKENDS_B, preserveSource: true });
  const first = attempt.at;
  const reset = { flags: "RA", seq: 0, ack: ISN + 1, dst: CLIENT };
  const next = attempt.refuse({ ...fromB(first.dst), ...reset });
  assert.deepEqual([next.src, next.srcPort], [CLIENT, 40_000]);
  assert.notEqual(next.dst, first.dst);
});

Deno.test("retries: UDP, the port unreachable reaches the client, whose next datagram goes elsewhere", () => {
  const { policy } = parse(
    "default drop\nnot ip.src in $dst-addrs -> translate-a-to-b, forward\n" +
      "otherwise -> translate-b-to-a, forward\n",
    { file: "test" },
  );
  const world = World.settled({ backends: FOUR, policy: policy! });
  const datagram = buildUdp({ srcPort: 40_000, dstPort: 2000 });
  const send = () => world.send(datagram)[0]!;
  const first = send();
  const { dst } = readUdp(first);
  assert.equal(readUdp(send()).dst, dst, "nobody has said no");
  const [error] = world.send(errorAbout(first, dst, 3));
  assert.equal(readIcmp(error!).dst, CLIENT);
  const next = readUdp(send());
  assert.notEqual(next.dst, dst);
  const answer = { ...from(next.dst), srcPort: 2000, dstPort: next.srcPort };
  world.send(buildUdp(answer));
  const [relayed] = world.send(errorAbout(send(), next.dst, 3));
  assert.equal(readIcmp(relayed!).dst, CLIENT);
  assert.equal(readUdp(send()).dst, next.dst, "it has answered before");
});

Deno.test("retries: the console shows the RST as dropped, for the reason that it is retried", async () => {
  const attempt = new Attempt({ trace: "all" });
  await attempt.world.printed();
  attempt.refuse();
  const text = await attempt.world.printed();
  assert.match(text, /RST[^]*^Decision : Drop \(retried\)$/m);
});
