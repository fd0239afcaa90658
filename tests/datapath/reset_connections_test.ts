/** RSTs for both ends of open connections that the proxy ends by itself. */
import assert from "node:assert/strict";
import * as tcpState from "../../src/flow/tcp_state.ts";
import { SIDE_B } from "../../src/flow/table.ts";
import { formatAddress } from "../../src/wire/address.ts";
import { buildTcp, bytesOf, readEthernet, readTcp, type Tcp } from "../support/frames.ts";
import {
  CLIENT,
  from,
  fromB,
  isArp,
  macOf,
  PROXY,
  PROXY_B,
  World,
  type WorldOptions,
} from "../support/world.ts";

const BACKEND = "192.168.0.1";
const ONE: WorldOptions = { backends: [BACKEND] };
const CLIENT_ISN = 1000;
const BACKEND_ISN = 9000;

/** A connection of the client, and what its two ends send. */
class Talk {
  readonly world: World;
  readonly #there: Partial<Tcp>;
  readonly #fromBackend: Partial<Tcp>;
  #port = 0;

  constructor(world: World, fields: Partial<Tcp> = {}, backend: Partial<Tcp> = from(BACKEND)) {
    this.world = world;
    this.#there = { srcPort: 40_000, dstPort: 2000, window: 10_000, ...fields };
    this.#fromBackend = { ...backend, srcPort: 2000, window: 10_000 };
  }

  /** From the client, sequence numbers from its first one on. */
  a(flags: string, seq: number, ack: number, payload = ""): void {
    const numbers = { seq: CLIENT_ISN + seq, ack: ack < 0 ? 0 : BACKEND_ISN + ack };
    const sent = this.world.send(
      buildTcp({ ...this.#there, ...numbers, flags, payload: bytesOf(payload) }),
    );
    const [segment] = sent.filter((frame) => !isArp(frame));
    if (flags === "S") this.#port = readTcp(segment!).srcPort;
  }

  b(flags: string, seq: number, ack: number, payload = ""): void {
    this.world.send(buildTcp({
      ...this.#fromBackend,
      dstPort: this.#port,
      flags,
      seq: BACKEND_ISN + seq,
      ack: CLIENT_ISN + ack,
      payload: bytesOf(payload),
    }));
  }

  open(): this {
    this.a("S", 0, -1);
    this.b("SA", 0, 1);
    this.a("A", 1, 1);
    return this;
  }

  get state(): number {
    const { table } = this.world.appliance.connections;
    return table.state([...table][0]!);
  }
}

/**
 * RSTs as `to:flags seq/ack`, numbers from the sides' first ones on; in the order in which they
 * leave.
 */
function resetsIn(frames: readonly Uint8Array<ArrayBuffer>[]): string[] {
  return frames.map((frame) => {
    const { src, dst, flags, seq, ack } = readTcp(frame);
    assert.equal(src, PROXY);
    const toClient = dst === CLIENT;
    const [own, others] = toClient ? [BACKEND_ISN, CLIENT_ISN] : [CLIENT_ISN, BACKEND_ISN];
    const numbers = `${seq === 0 ? "any" : seq - own}/${flags === "R" ? "-" : ack - others}`;
    return `${toClient ? "A" : "B"}:${flags} ${numbers}`;
  });
}

function resetAll(world: World): string[] {
  world.appliance.endings.resetAll(1000);
  return resetsIn(world.device.take());
}

const CASES: [string, (talk: Talk) => void, string[], number][] = [
  [
    "a SYN alone: one that acknowledges the SYN, and one behind it",
    (t) => t.a("S", 0, -1),
    ["A:RA any/1", "B:R 1/-"],
    tcpState.ABORTED,
  ],
  [
    "a SYN with data: with or without the data, as the backend took it",
    (t) => t.a("S", 0, -1, "fast"),
    ["A:RA any/5", "B:R 1/-", "B:R 5/-"],
    tcpState.ABORTED,
  ],
  [
    "a SYN ACK that is not acknowledged",
    (t) => {
      t.a("S", 0, -1);
      t.b("SA", 0, 1);
    },
    ["A:RA 1/1", "B:RA 1/1"],
    tcpState.ABORTED,
  ],
  ["an idle connection", (t) => t.open(), ["A:RA 1/1", "B:RA 1/1"], tcpState.RESET_B],
  [
    "data that is not acknowledged: before it and behind it",
    (t) => {
      t.open();
      t.a("PA", 1, 1, "hello");
      t.b("A", 1, 6);
      t.b("PA", 1, 6, "twelve bytes");
    },
    ["A:RA 1/6", "A:RA 13/6", "B:RA 6/13"],
    tcpState.RESET_B,
  ],
  [
    "half-closed by the client",
    (t) => {
      t.open();
      t.a("FA", 1, 1);
      t.b("A", 1, 2);
    },
    ["A:RA 1/2", "B:RA 2/1"],
    tcpState.RESET_B,
  ],
  [
    "half-closed by the backend, its FIN under way",
    (t) => {
      t.open();
      t.b("FA", 1, 1);
    },
    ["A:RA 1/1", "A:RA 2/1", "B:RA 1/2"],
    tcpState.RESET_B,
  ],
];

for (const [what, prepare, expected, state] of CASES) {
  Deno.test(`resetAll, ${what}: numbers that both ends take`, () => {
    const talk = new Talk(World.settled(ONE));
    prepare(talk);
    assert.deepEqual(resetAll(talk.world), expected);
    assert.equal(talk.state, state);
    assert.deepEqual(resetAll(talk.world), [], "once is enough");
  });
}

Deno.test("resetAll: numbers beyond the sign and round the end", () => {
  for (const isn of [0x7fff_fffe, 0xffff_fffe]) {
    const world = World.settled(ONE);
    const there = { srcPort: 40_000, dstPort: 2000 };
    const [syn] = world.send(buildTcp({ ...there, flags: "S", seq: isn }));
    const back = { ...from(BACKEND), srcPort: 2000, dstPort: readTcp(syn!).srcPort };
    const next = (isn + 1) % 2 ** 32;
    world.send(buildTcp({ ...back, flags: "SA", seq: isn, ack: next }));
    world.send(buildTcp({ ...there, flags: "A", seq: next, ack: next }));
    world.send(buildTcp({ ...back, flags: "PA", seq: next, ack: next, payload: bytesOf("four") }));
    world.appliance.endings.resetAll(1000);
    const sent = world.device.take().map(readTcp).map(({ seq, ack }) => [seq, ack]);
    const end = (isn + 5) % 2 ** 32;
    assert.deepEqual(sent, [[next, next], [end, next], [next, end]]);
  }
});

Deno.test("resetAll leaves alone what is over, and everything that is not TCP", () => {
  const talk = new Talk(World.settled(ONE)).open();
  talk.a("FA", 1, 1);
  talk.b("FA", 1, 2);
  talk.a("A", 2, 2);
  assert.equal(talk.state, tcpState.CLOSED);
  assert.deepEqual(resetAll(talk.world), []);
  const refused = new Talk(World.settled(ONE));
  refused.a("S", 0, -1);
  refused.b("RA", 0, 1);
  assert.deepEqual(resetAll(refused.world), []);
});

Deno.test("resetAll, two-sided and with the clients' addresses: each end by its link", () => {
  const backend = "10.0.0.1";
  for (const preserveSource of [false, true]) {
    const world = World.settled({ twoSided: true, preserveSource, backends: [backend] });
    const towards = preserveSource ? { dst: CLIENT } : {};
    new Talk(world, {}, { ...fromB(backend), ...towards }).open();
    world.appliance.endings.resetAll(1000);
    const [a, b] = world.devices.map((device) => device.take().map(readTcp));
    const shown = ({ src, dst, dstMac }: Tcp) => [src, dst, dstMac];
    assert.deepEqual(a!.map(shown), [[PROXY, CLIENT, macOf(CLIENT)]]);
    const source = preserveSource ? CLIENT : PROXY_B;
    assert.deepEqual(b!.map(shown), [[source, backend, macOf(backend)]]);
  }
});

Deno.test("resetAll waits for no ARP: the client is where it came from, who is unknown is counted", () => {
  const world = new World(ONE);
  const client = "192.168.0.77";
  world.poll();
  world.send(buildTcp({ ...from(client), srcPort: 1, dstPort: 2000, flags: "S" }));
  world.device.take();
  const resets = world.appliance.endings.resetAll(1000);
  const sent = world.device.take();
  assert.deepEqual(sent.map((frame) => readEthernet(frame).dstMac), [macOf(client)]);
  assert.deepEqual([resets.connections, resets.unsent, resets.left()], [1, 1, 0]);
  assert.deepEqual(world.poll(), [], "nothing is held");
});

Deno.test("resetAll, a link that is down: its ends are counted, the others' are told", () => {
  const world = World.settled({ twoSided: true, backends: ["10.0.0.1"] });
  new Talk(world, {}, fromB("10.0.0.1")).open();
  world.appliance.linkDown(1);
  const resets = world.appliance.endings.resetAll(1000);
  assert.deepEqual([resets.connections, resets.unsent], [1, 1]);
  assert.equal(world.devices[0]!.take().length, 1);
});

/** A world in which a client asks for so many connections. */
function crowd(count: number): World {
  const world = World.settled({ maxConn: 10_000 });
  for (let i = 0; i < count; i++) {
    world.send(buildTcp({ srcPort: 1024 + i, dstPort: 2000, flags: "S", seq: CLIENT_ISN }));
  }
  return world;
}

Deno.test("resetAll ends more connections than one transmit list holds, without losing an RST", () => {
  const world = crowd(3000);
  const resets = world.appliance.endings.resetAll(1000);
  assert.deepEqual([resets.connections, resets.unsent, resets.left()], [3000, 0, 0]);
  const told = new Map<string, number>();
  for (const { dst } of world.device.take().map(readTcp)) told.set(dst, (told.get(dst) ?? 0) + 1);
  assert.equal(told.get(CLIENT), 3000);
  assert.equal([...told.values()].reduce((sum, count) => sum + count), 6000);
});

Deno.test("resetAll ends when its time is over, and tells what is left", () => {
  const world = crowd(3000);
  const { device } = world;
  const write = device.write.bind(device);
  device.write = (arena) => {
    world.clock.advance(200);
    return write(arena);
  };
  const resets = world.appliance.endings.resetAll(500);
  const sent = device.take().length;
  assert.ok(sent > 0 && sent < 6000, `${sent}`);
  assert.equal(resets.connections, sent / 2);
  assert.equal(resets.left(), 3000 - resets.connections);
});

Deno.test("resets names which connections are meant, and looks at no more than 1,000 entries a step", () => {
  const world = crowd(2500);
  const { appliance } = world;
  const { table } = appliance.connections;
  let looked = 0;
  const dead = BACKEND;
  const resets = appliance.endings.resets((entry) => {
    looked++;
    return formatAddress(table.src(entry, SIDE_B)) === dead;
  });
  const meant = [...table].filter((entry) => formatAddress(table.src(entry, SIDE_B)) === dead);
  const perStep: number[] = [];
  const sent: Uint8Array<ArrayBuffer>[] = [];
  for (let goesOn = true; goesOn;) {
    looked = 0;
    goesOn = resets.step(world.clock.nowMs());
    perStep.push(looked);
    sent.push(...world.poll());
  }
  assert.ok(perStep.every((count) => count <= 1000), perStep.join());
  assert.equal(resets.connections, meant.length);
  assert.equal(sent.length, 2 * meant.length);
  const others = [...table].filter((entry) => table.state(entry) !== tcpState.ABORTED);
  assert.equal(others.length, 2500 - meant.length);
});

Deno.test("a client whose connection attempt was reset begins anew, with the same SYN", () => {
  const world = World.settled();
  const syn = buildTcp({ srcPort: 40_000, dstPort: 2000, flags: "S", seq: CLIENT_ISN });
  world.send(syn);
  world.appliance.endings.resetAll(1000);
  world.device.take();
  const [again, ...more] = world.send(syn).map(readTcp);
  assert.deepEqual([again!.flags, more], ["S", []]);
  assert.equal(world.appliance.backends.all.reduce((sum, { opened }) => sum + opened, 0), 2);
});
