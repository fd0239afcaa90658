/**
 * One tree, several services: which pool a connection goes to, on which port, and when none can
 * take it.
 */
import assert from "node:assert/strict";
import { finish } from "../../src/core/slices.ts";
import { parse } from "../../src/policy/notation/parse.ts";
import {
  buildIcmp,
  buildTcp,
  buildUdp,
  readIcmp,
  readIp,
  readTcp,
  readUdp,
} from "../support/frames.ts";
import { CLIENT, from, packetsOf, World } from "../support/world.ts";

const POLICY = `default drop
pool $web = 192.168.0.4, 192.168.0.5 port 8444 weight 3
pool $dns = 192.168.0.6
pool $bastion = 192.168.0.4 port 2022 maxconn 1, 192.168.0.7 port 2022 maxconn 1 backup
pool $blue = 192.168.0.8 state drain
define $servers = $web, $dns, $bastion, $blue, $dst-addrs

not ip.src in $servers
  tcp.dport = 443          -> translate-a-to-b to $web port 8443 in turn, forward
  tcp.dport = 22           -> translate-a-to-b to $bastion by least connections, forward
  tcp.dport = 81           -> translate-a-to-b to $blue, forward
  udp.dport = 53 or icmp   -> translate-a-to-b to $dns port 5353, forward
  otherwise                -> translate-a-to-b, forward
otherwise -> translate-b-to-a, forward
`;

const HOSTS = ["4", "5", "6", "7", "8"].map((host) => `192.168.0.${host}`);

function settled(text = POLICY): World {
  const { policy, errors } = parse(text, { file: "pools" });
  assert.deepEqual(errors, []);
  const world = World.settled({ policy: policy!, backends: ["192.168.0.1"] });
  for (const host of HOSTS) world.answer(host);
  return world;
}

/** Where a SYN to this port is sent: `192.168.0.4:8443`. */
function opened(world: World, dstPort: number, srcPort: number): string {
  const [sent] = packetsOf(world.send(buildTcp({ dstPort, srcPort, flags: "S" })));
  const { dst, dstPort: port, flags } = readTcp(sent!);
  return flags.includes("R") ? "refused" : `${dst}:${port}`;
}

Deno.test("Appliance sends a connection to its translator's pool, by weight, on the member's port", () => {
  const world = settled();
  const sent = [1, 2, 3, 4, 5, 6, 7, 8].map((port) => opened(world, 443, port));
  const count = (place: string) => sent.filter((one) => one === place).length;
  assert.deepEqual([count("192.168.0.4:8443"), count("192.168.0.5:8444")], [2, 6]);
  assert.equal(opened(world, 8080, 9), "192.168.0.1:8080");
  const datagram = packetsOf(world.send(buildUdp({ dstPort: 53 })));
  assert.deepEqual(readUdp(datagram[0]!).dst, "192.168.0.6");
  assert.deepEqual(readUdp(datagram[0]!).dstPort, 5353);
});

Deno.test("Appliance translates back what a member answers from its port, also of a shared address", () => {
  const world = settled();
  for (const [dstPort, port] of [[443, 8443], [22, 2022]] as const) {
    const [syn] = packetsOf(world.send(buildTcp({ dstPort, flags: "S", seq: 9 })));
    const { dst, dstPort: served, srcPort } = readTcp(syn!);
    assert.deepEqual([dst, served], ["192.168.0.4", port]);
    const answer = { srcPort: served, dstPort: srcPort, flags: "SA", seq: 99, ack: 10 };
    const [back] = packetsOf(world.send(buildTcp({ ...from("192.168.0.4"), ...answer })));
    assert.deepEqual(readTcp(back!).srcPort, dstPort);
    assert.deepEqual(readTcp(back!).dst, CLIENT);
  }
  assert.deepEqual(
    world.appliance.snapshot().pools.map(({ name, members }) =>
      `${name} ${members.map(({ opened }) => opened)}`
    ),
    ["dst-addrs 0", "web 1,0", "dns 0", "bastion 1,0", "blue 0"],
  );
});

Deno.test("Appliance keeps a query's identifier, whatever port the translator names", () => {
  const world = settled();
  const [ping] = packetsOf(world.send(buildIcmp({ rest: [77, 1] })));
  assert.equal(readIp(ping!).ip.dst, "192.168.0.6");
  const { rest } = readIcmp(ping!);
  const reply = buildIcmp({ ...from("192.168.0.6"), type: 0, rest });
  assert.deepEqual(readIcmp(packetsOf(world.send(reply))[0]!).rest, [77, 1]);
});

Deno.test("Appliance refuses a connection when every member is full or takes none, and counts why", () => {
  const world = settled();
  assert.equal(opened(world, 22, 1), "192.168.0.4:2022");
  const [refusal] = packetsOf(world.send(buildTcp({ dstPort: 22, srcPort: 2, flags: "S" })));
  const { type, code } = readIcmp(refusal!);
  assert.deepEqual([type, code], [3, 1]);
  assert.deepEqual(world.drops(), { "backends-full": 1 });
  world.send(buildTcp({ dstPort: 81, srcPort: 3, flags: "S" }));
  assert.deepEqual(world.drops(), { "backends-full": 1, "no-backend": 1 });
});

Deno.test("Appliance frees a place of maxconn when a connection is over, not when it is forgotten", () => {
  const world = settled();
  const [syn] = packetsOf(world.send(buildTcp({ dstPort: 22, srcPort: 1, flags: "S", seq: 9 })));
  const { dst, srcPort } = readTcp(syn!);
  const there = { ...from(dst), srcPort: 2022, dstPort: srcPort };
  world.send(buildTcp({ ...there, flags: "RA", seq: 0, ack: 10 }));
  assert.equal(opened(world, 22, 2), "192.168.0.4:2022");
  assert.equal(world.appliance.connections.table.count, 2);
});

Deno.test("Appliance takes a member of any pool for a backend, none for a client", () => {
  const world = settled();
  for (const host of HOSTS) world.send(buildTcp({ ...from(host), dstPort: 443, flags: "S" }));
  assert.deepEqual(world.drops(), { "no-mapping": HOSTS.length });
});

Deno.test("Appliance runs no policy whose pools have members that can be no backends", () => {
  const cases: [string, RegExp][] = [
    ["192.168.0.100", /^RangeError: Cannot use "192.168.0.100" as member of pool "\$web": .*proxy/],
    ["127.0.0.1", /expected the address of one host, not loopback/],
    ["10.0.0.1", /expected an address in 192.168.0.0\/24, or a --gateway or --route to reach it/],
    ["192.168.0.255", /not the broadcast address/],
  ];
  for (const [address, message] of cases) {
    const text = POLICY.replace("= 192.168.0.4,", `= ${address},`);
    const { policy } = parse(text, { file: "pools" });
    assert.throws(() => new World({ policy: policy! }), (error) => message.test(`${error}`));
    const world = settled();
    assert.throws(
      () => finish(world.appliance.prepare({ policy: policy! }))(),
      (error) => message.test(`${error}`),
    );
    assert.equal(opened(world, 443, 1), "192.168.0.4:8443");
  }
});
