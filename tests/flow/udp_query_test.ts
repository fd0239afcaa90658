/** UDP and ICMP queries through the proxy, and backends that are its clients. */
import assert from "node:assert/strict";
import { SIDE_A, SIDE_B } from "../../src/flow/table.ts";
import { ACK, SYN } from "../../src/wire/tcp.ts";
import { BACKENDS, CLIENT, World } from "./connections_world.ts";

const one = { addresses: BACKENDS.slice(0, 1) };
const UDP = { protocol: 17, tcpFlags: 0 };

Deno.test("Connections translates UDP both ways, each client through a port of its own", () => {
  const world = new World(one);
  assert.equal(world.fromA(UDP), "192.168.0.100:40000 -> 192.168.0.1:2000");
  assert.equal(world.fromB(UDP), "192.168.0.100:2000 -> 192.168.0.254:40000");
  const other = world.fromA({ ...UDP, src: CLIENT - 1 });
  assert.match(other, /^192.168.0.100:\d+ -> 192.168.0.1:2000$/);
  assert.notEqual(other, "192.168.0.100:40000 -> 192.168.0.1:2000");
  assert.equal(world.fromB(UDP), "192.168.0.100:2000 -> 192.168.0.253:40000");
});

Deno.test("Connections keeps UDP, TCP and queries apart that have the same numbers", () => {
  const world = new World(one);
  const same = { srcPort: 40_000, dstPort: 2000 };
  world.fromA({ ...UDP, ...same });
  world.fromA(same);
  world.queryA({ srcPort: 40_000 });
  assert.equal(world.connections.table.count, 3);
  assert.match(world.fromB({ tcpFlags: SYN | ACK, ...portsOf(world, 6) }), /254:40000$/);
  assert.match(world.fromB({ ...UDP, ...portsOf(world, 17) }), /254:40000$/);
});

/** Ports of a packet that a backend sends to the only connection of `protocol`. */
function portsOf(world: World, protocol: number) {
  const { table } = world.connections;
  const entry = [...table].find((one) => table.protocol(one) === protocol)!;
  return {
    src: table.src(entry, SIDE_B),
    srcPort: table.srcPort(entry, SIDE_B),
    dstPort: table.dstPort(entry, SIDE_B),
  };
}

for (const [name, request, reply] of [["echo", 8, 0], ["timestamp", 13, 14]] as const) {
  Deno.test(`Connections translates an ICMP ${name} by its identifier, both ways`, () => {
    const world = new World(one);
    assert.equal(world.queryA({ icmpType: request }), "192.168.0.100:19017 -> 192.168.0.1:0");
    assert.equal(world.queryB({ icmpType: reply }), "192.168.0.100:0 -> 192.168.0.254:19017");
    world.queryA({ icmpType: request, src: CLIENT - 1 });
    const identifier = world.to.srcPort;
    assert.notEqual(identifier, 0x4a49, "two clients with one identifier");
    assert.equal(world.queryB({ icmpType: reply }), "192.168.0.100:0 -> 192.168.0.253:19017");
    assert.equal(world.queryB({ icmpType: reply, dstPort: 1 }), "no-mapping");
  });
}

Deno.test("Connections translates identifier 0, and tells the client's requests from replies", () => {
  const world = new World(one);
  assert.match(world.queryA({ srcPort: 0 }), /^192.168.0.100:\d+ -> 192.168.0.1:0$/);
  assert.ok(world.to.srcPort >= 1024);
  assert.equal(world.queryB(), "192.168.0.100:0 -> 192.168.0.254:0");
  const before = world.snapshot();
  assert.equal(world.queryA({ srcPort: 0, icmpType: 0 }), "invalid", "a reply from the client");
  assert.equal(world.queryA({ srcPort: 0, icmpType: 3 }), "invalid", "an error");
  assert.deepEqual(world.snapshot(), before);
});

Deno.test("Connections lets a backend be a client of the other", () => {
  const world = new World({ addresses: BACKENDS }, "in turn");
  world.fromA({ src: CLIENT }); // takes the first turn
  const src = BACKENDS[0]!;
  assert.equal(world.fromA({ src }), "192.168.0.100:40000 -> 192.168.0.2:2000");
  assert.equal(world.fromB({ tcpFlags: SYN | ACK }), "192.168.0.100:2000 -> 192.168.0.1:40000");
  assert.match(world.fromA({ src, tcpFlags: ACK }), /-> 192.168.0.2:2000$/);
  const [first, second] = world.backends.all;
  assert.deepEqual([first!.active, second!.active], [1, 1]);
});

for (const protocol of [6, 17]) {
  Deno.test(`Connections lets a backend be its own client, protocol ${protocol}`, () => {
    const world = new World(one);
    const src = BACKENDS[0]!;
    assert.equal(world.fromA({ protocol, src }), "192.168.0.100:40000 -> 192.168.0.1:2000");
    const answer = { protocol, tcpFlags: SYN | ACK };
    assert.equal(world.fromB(answer), "192.168.0.100:2000 -> 192.168.0.1:40000");
    assert.match(world.fromA({ protocol, src, tcpFlags: ACK }), /:40000 -> 192.168.0.1:2000$/);
  });

  Deno.test(`Connections tells both ends apart where a backend's ports are equal, ${protocol}`, () => {
    const world = new World(one);
    const there = { protocol, src: BACKENDS[0]!, srcPort: 4500, dstPort: 4500 };
    assert.match(world.fromA(there), /^192.168.0.100:\d+ -> 192.168.0.1:4500$/);
    assert.notEqual(world.to.srcPort, 4500, "its own port would make both tuples one");
    const answer = { protocol, tcpFlags: SYN | ACK };
    assert.equal(world.fromB(answer), "192.168.0.100:4500 -> 192.168.0.1:4500");
    const { table } = world.connections;
    const [entry] = table;
    assert.equal(table.count, 1);
    const ports = (4500 << 16) | 4500;
    assert.equal(table.find(protocol, there.src, table.dst(entry!, SIDE_A), ports), 2 * entry!);
  });
}
