/** Connections whose sides are of different families, through the whole appliance in memory. */
import assert from "node:assert/strict";
import { connectionsOf, sliceOf } from "../../src/control/connection_rows.ts";
import { readFilter } from "../../src/control/filter.ts";
import { Parameters } from "../../src/control/parameters.ts";
import { ConnectionEvents } from "../../src/flow/connection_events.ts";
import { formatHostAddress, formatSocket, parseHostAddress } from "../../src/wire/host_address.ts";
import {
  buildIcmp,
  buildTcp,
  buildUdp,
  bytesOf,
  readIcmp,
  readTcp,
  readUdp,
} from "../support/frames.ts";
import {
  buildIcmp6,
  buildTcp6,
  buildUdp6,
  readIcmp6,
  readTcp6,
  readUdp6,
} from "../support/frames6.ts";
import {
  BACKENDS,
  BACKENDS6,
  CLIENT,
  CLIENT6,
  from,
  macOf,
  packetsOf,
  PROXY,
  PROXY6,
  World,
} from "../support/world.ts";
import { EVERYTHING } from "../flow/dialogue.ts";
import { only, settledAcross } from "./across_world.ts";

const BOOT = "2c8b1f0e-0000-4000-8000-000000000001";
const SAVED_MS = 1_700_000_000_000;

/** What both families' frames are made from and read as. */
type Fields = Record<string, unknown>;

interface Family {
  readonly client: string;
  readonly proxy: string;
  readonly backends: readonly string[];
  readonly tcp: (fields: Fields) => Uint8Array<ArrayBuffer>;
  readonly udp: (fields: Fields) => Uint8Array<ArrayBuffer>;
  readonly echo: (isRequest: boolean, id: number, fields: Fields) => Uint8Array<ArrayBuffer>;
  readonly readTcp: typeof readTcp | typeof readTcp6;
  readonly readUdp: typeof readUdp | typeof readUdp6;
  readonly readIcmp: typeof readIcmp | typeof readIcmp6;
  readonly echoTypes: readonly [request: number, reply: number];
  readonly headerBytes: number;
}

const FOUR: Family = {
  client: CLIENT,
  proxy: PROXY,
  backends: BACKENDS,
  tcp: buildTcp,
  udp: buildUdp,
  echo: (isRequest, id, fields) =>
    buildIcmp({ type: isRequest ? 8 : 0, code: 0, rest: [id, 1], ...fields }),
  readTcp,
  readUdp,
  readIcmp,
  echoTypes: [8, 0],
  headerBytes: 20,
};

const SIX: Family = {
  client: CLIENT6,
  proxy: PROXY6,
  backends: BACKENDS6,
  tcp: buildTcp6,
  udp: buildUdp6,
  echo: (isRequest, id, fields) =>
    buildIcmp6({
      type: isRequest ? 128 : 129,
      code: 0,
      rest: [id >> 8, id & 255, 0, 1],
      ...fields,
    }),
  readTcp: readTcp6,
  readUdp: readUdp6,
  readIcmp: readIcmp6,
  echoTypes: [128, 129],
  headerBytes: 40,
};

const WAYS = [
  { name: "IPv6 to IPv4", near: SIX, far: FOUR },
  { name: "IPv4 to IPv6", near: FOUR, far: SIX },
] as const;

for (const { name, near, far } of WAYS) {
  /** A connection from SYN to ESTABLISHED: the backend, and the port that it knows. */
  const open = (world: World, fields: Fields = {}) => {
    const syn = far.readTcp(only(world.send(near.tcp({ flags: "S", ack: 0, ...fields }))));
    const back = { ...from(syn.dst), srcPort: 2000, dstPort: syn.srcPort };
    only(world.send(far.tcp({ ...back, flags: "SA", seq: 9000, ack: syn.seq + 1 })));
    only(world.send(near.tcp({ flags: "A", seq: 1001, ack: 9001, ...fields })));
    return { syn, back };
  };

  Deno.test(`Families across: TCP goes both ways, ${name}`, () => {
    const world = settledAcross(far.backends);
    const mss = [2, 4, 5, 160]; // 1440: fits both families
    const first = only(world.send(near.tcp({ flags: "S", ack: 0, tcpOptions: mss })));
    const syn = far.readTcp(first);
    assert.ok(far.backends.includes(syn.dst));
    assert.deepEqual([syn.src, syn.dstMac, syn.dstPort, syn.srcPort], [
      far.proxy,
      macOf(syn.dst),
      2000,
      40_000,
    ]);
    const there = { srcPort: 40_000, dstPort: 2000 };
    const back = { ...from(syn.dst), srcPort: 2000, dstPort: syn.srcPort };
    const data = bytesOf("hello");
    const steps = [
      { family: far, frame: { ...back, flags: "SA", seq: 9000, ack: 1001, tcpOptions: mss } },
      { family: near, frame: { ...there, flags: "A", seq: 1001, ack: 9001 } },
      { family: near, frame: { ...there, flags: "PA", seq: 1001, ack: 9001, payload: data } },
      { family: far, frame: { ...back, flags: "PA", seq: 9001, ack: 1006, payload: data } },
      { family: near, frame: { ...there, flags: "FA", seq: 1006, ack: 9006 } },
      { family: far, frame: { ...back, flags: "FA", seq: 9006, ack: 1007 } },
      { family: near, frame: { ...there, flags: "A", seq: 1007, ack: 9007 } },
    ];
    for (const { family, frame } of steps) {
      const other = family === near ? far : near;
      const tcp = other.readTcp(only(world.send(family.tcp(frame))));
      const to = family === near ? syn.dst : near.client;
      const { flags, seq, ack, payload } = tcp;
      assert.deepEqual([tcp.src, tcp.dst, tcp.dstMac], [other.proxy, to, macOf(to)]);
      assert.deepEqual([flags, seq, ack], [frame.flags, frame.seq, frame.ack]);
      assert.deepEqual(payload, "payload" in frame ? frame.payload : new Uint8Array());
    }
    assert.deepEqual(world.drops(), {});
  });

  Deno.test(`Families across: datagrams and echoes go both ways, ${name}`, () => {
    const world = settledAcross(far.backends);
    const payload = bytesOf("question");
    const asked = far.readUdp(only(world.send(near.udp({ payload }))));
    assert.deepEqual([asked.src, asked.payload], [far.proxy, payload]);
    const back = { ...from(asked.dst), srcPort: asked.dstPort, dstPort: asked.srcPort };
    const answered = near.readUdp(only(world.send(far.udp({ ...back, payload }))));
    assert.deepEqual([answered.src, answered.dst, answered.payload], [
      near.proxy,
      near.client,
      payload,
    ]);
    const [request, reply] = far.echoTypes;
    const ping = far.readIcmp(only(world.send(near.echo(true, 0x4a49, { payload }))));
    assert.deepEqual([ping.type, ping.src, ping.payload], [request, far.proxy, payload]);
    const id = far === FOUR ? ping.rest[0]! : (ping.rest[0]! << 8) | ping.rest[1]!;
    const pong = near.readIcmp(
      only(world.send(far.echo(false, id, { ...from(ping.dst), payload }))),
    );
    assert.deepEqual([pong.type, pong.dst], [near.echoTypes[1], near.client]);
    const known = near === FOUR ? pong.rest[0]! : (pong.rest[0]! << 8) | pong.rest[1]!;
    assert.deepEqual([known, reply], [0x4a49, far.echoTypes[1]]);
    assert.deepEqual(world.drops(), {});
  });

  Deno.test(`Families across: a backend of the client's own family comes first, ${name}`, () => {
    const world = settledAcross([...FOUR.backends, ...SIX.backends]);
    for (let i = 0; i < 8; i++) {
      const syn = near.readTcp(
        only(world.send(near.tcp({ srcPort: 50_000 + i, flags: "S", ack: 0 }))),
      );
      assert.ok(near.backends.includes(syn.dst));
    }
    for (const member of world.appliance.backends.all) {
      if (near.backends.includes(formatHostAddress(member.address))) {
        world.appliance.backends.setStatus(member, "down");
      }
    }
    const syn = far.readTcp(only(world.send(near.tcp({ flags: "S", ack: 0 }))));
    assert.ok(far.backends.includes(syn.dst), "and one of the other while none of them is up");
  });

  Deno.test(`Families across: off, the client is told that there is no backend, ${name}`, () => {
    const world = settledAcross(far.backends, { translateFamilies: false });
    assert.equal(packetsOf(world.send(near.tcp({ flags: "S", ack: 0 }))).length, 1);
    assert.deepEqual(world.drops(), { "no-backend": 1 });
  });

  Deno.test(`Families across: a connection that is reset is reset for both ends, ${name}`, () => {
    const world = settledAcross(far.backends);
    const { syn } = open(world);
    world.appliance.endings.resetAll(1000);
    const [toA, toB] = packetsOf(world.poll());
    const [a, b] = [near.readTcp(toA!), far.readTcp(toB!)];
    assert.deepEqual([a.dst, a.dstPort, a.srcPort], [near.client, 40_000, 2000]);
    assert.deepEqual([b.dst, b.dstPort, b.srcPort], [syn.dst, 2000, syn.srcPort]);
    assert.ok([a, b].every(({ flags }) => flags.includes("R")));
  });

  Deno.test(`Families across: an RST is answered by another try, of either family, ${name}`, () => {
    // One backend of each family; the near one refuses, or the far one, whoever is asked first.
    const world = settledAcross([FOUR.backends[0]!, SIX.backends[0]!]);
    const syn = near.readTcp(only(world.send(near.tcp({ flags: "S", ack: 0 }))));
    const back = { ...from(syn.dst), srcPort: 2000, dstPort: syn.srcPort };
    const refusal = near.tcp({ ...back, flags: "RA", seq: 0, ack: 1001 });
    const again = far.readTcp(only(world.send(refusal)));
    assert.deepEqual([again.src, again.dst, again.flags], [far.proxy, far.backends[0], "S"]);
    const answer = { ...from(again.dst), srcPort: 2000, dstPort: again.srcPort };
    const synAck = near.readTcp(
      only(world.send(far.tcp({ ...answer, flags: "SA", seq: 9000, ack: 1001 }))),
    );
    assert.deepEqual([synAck.dst, synAck.flags], [near.client, "SA"]);
    assert.deepEqual(world.drops(), { retried: 1 });
  });

  Deno.test(`Families across: a saved connection goes on, if they are still translated, ${name}`, () => {
    const before = settledAcross(far.backends);
    const { syn, back } = open(before);
    const bytes = before.appliance.saveState(BOOT, SAVED_MS);
    const resumed = (translateFamilies: boolean) => {
      const options = { ipv6: true, policy: EVERYTHING, backends: far.backends };
      const world = new World({ ...options, translateFamilies, seed: 99, startMs: 5 });
      const saved = world.appliance.readState(bytes.slice(), BOOT, SAVED_MS + 500, 60_000);
      return { world, became: world.appliance.resumeState(saved) };
    };
    const { world, became } = resumed(true);
    assert.partialDeepStrictEqual(became, { resumed: 1, expired: 0, withoutRoom: 0, invalid: 0 });
    const data = { flags: "PA", seq: 1001, ack: 9001, payload: bytesOf("hello") };
    const there = far.readTcp(only(world.send(near.tcp(data))));
    assert.deepEqual([there.src, there.dst, there.srcPort], [syn.src, syn.dst, syn.srcPort]);
    const answer = far.tcp({ ...back, flags: "A", seq: 9001, ack: 1006 });
    const { dst, dstPort, ack } = near.readTcp(only(world.send(answer)));
    assert.deepEqual([dst, dstPort, ack], [near.client, 40_000, 1006]);
    assert.partialDeepStrictEqual(resumed(false).became, { resumed: 0, invalid: 1 });
  });

  Deno.test(`Families across: ctl and the log tell both ends as they are, ${name}`, () => {
    const world = settledAcross(far.backends);
    const { connections } = world.appliance;
    connections.events = new ConnectionEvents(connections.table, 100, () => 0);
    const { syn } = open(world);
    const shown = (filter: Record<string, string>) => {
      const parameters = Object.entries(filter).map(([key, value]) => [key, [value]] as const);
      const read = readFilter(new Parameters(new Map(parameters)));
      return connectionsOf(sliceOf(connections, read, 0, 10, 0));
    };
    const [row] = shown({ source: near.client, backend: syn.dst, protocol: "tcp" });
    assert.deepEqual(shown({ backend: near.client }), []);
    assert.deepEqual(shown({ source: syn.dst }), []);
    assert.deepEqual([row!.protocol, row!.client, row!.virtual, row!.backend], [
      "tcp",
      ...[[near.client, 40_000], [near.proxy, 2000], [syn.dst, 2000]].map(([host, port]) =>
        formatSocket(parseHostAddress(host as string), port as number)
      ),
    ]);
    const event = connections.events.take()!;
    const ends = [event.client, event.service, event.backend!].map(formatHostAddress);
    assert.deepEqual(ends, [near.client, near.proxy, syn.dst]);
  });
}
