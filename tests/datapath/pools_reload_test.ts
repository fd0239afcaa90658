/** What becomes of pools and their connections when the policy is read again. */
import assert from "node:assert/strict";
import { finish } from "../../src/core/slices.ts";
import type { Policy } from "../../src/policy/language/ast.ts";
import { walker } from "../../src/policy/engine/walk.ts";
import { plainMember } from "../../src/flow/backends/member.ts";
import { parseAddress } from "../../src/wire/address.ts";
import { formatHostAddress } from "../../src/wire/host_address.ts";
import { parse } from "../../src/policy/notation/parse.ts";
import { buildTcp, readTcp } from "../support/frames.ts";
import { buildTcp6, readTcp6 } from "../support/frames6.ts";
import { from, packetsOf, PROXY6, World } from "../support/world.ts";

/** A policy with this pool, or without one. */
function policyOf(pool: string | null, lists = "$web, $dst-addrs"): Policy {
  const { policy, errors } = parse(
    pool === null
      ? `default drop
not ip.src in $dst-addrs -> translate-a-to-b, forward
otherwise -> translate-b-to-a, forward
`
      : `default drop
pool $web = ${pool}
define $servers = ${lists}
not ip.src in $servers -> translate-a-to-b to $web by least connections, forward
ip.src in $servers -> translate-b-to-a, forward
`,
    { file: "pools" },
  );
  assert.deepEqual(errors, []);
  return policy!;
}

const FOUR = "192.168.0.4";
const FIVE = "192.168.0.5";

for (const [name, evaluator] of [["compiled", {}], ["walked", { evaluator: walker }]] as const) {
  const worldOf = (pool: string): World => {
    const world = World.settled({
      policy: policyOf(pool),
      backends: ["192.168.0.1"],
      timeouts: { reset: 1 },
      ...evaluator,
    });
    for (const host of [FOUR, FIVE]) world.answer(host);
    return world;
  };

  /** Opens a connection; what its backend then says to it. */
  const open = (world: World, srcPort: number) => {
    const [syn] = packetsOf(world.send(buildTcp({ srcPort, dstPort: 80, flags: "S", seq: 9 })));
    const { dst, dstPort, srcPort: port } = readTcp(syn!);
    return { dst, answer: { ...from(dst), srcPort: dstPort, dstPort: port, ack: 10 } };
  };

  const members = (world: World): string[] =>
    world.appliance.snapshot().pools.flatMap(({ name, members }) =>
      members.map((m) => `${name} ${Number(m.address) & 255} ${m.status} ${m.tracked}/${m.opened}`)
    );

  Deno.test(`a policy read again, ${name}: members that stay keep counts, status and connections`, () => {
    const world = worldOf(`${FOUR}, ${FIVE}`);
    const [first, second] = [open(world, 1), open(world, 2)];
    assert.notEqual(first.dst, second.dst);
    finish(world.appliance.prepare({ policy: policyOf(`${FIVE} weight 3, ${FOUR} maxconn 9`) }))();
    assert.deepEqual(members(world), ["dst-addrs 1 up 0/0", "web 5 up 1/1", "web 4 up 1/1"]);
    const third = open(world, 3);
    assert.equal(third.dst, FIVE);
    assert.equal(packetsOf(world.send(buildTcp({ ...first.answer, flags: "SA" }))).length, 1);
  });

  Deno.test(`a policy read again, ${name}: a member that is gone keeps its connections to the last`, () => {
    const world = worldOf(`${FOUR}, ${FIVE}`);
    const connections = [open(world, 1), open(world, 2)];
    const { answer } = connections.find(({ dst }) => dst === FOUR)!;
    finish(world.appliance.prepare({ policy: policyOf(FIVE) }))();
    assert.deepEqual(members(world), ["dst-addrs 1 up 0/0", "web 5 up 1/1", "web 4 draining 1/1"]);
    for (const port of [3, 4, 5]) assert.equal(open(world, port).dst, FIVE);
    // What it answers comes back: the policy tells the sides apart by its pools.
    assert.equal(packetsOf(world.send(buildTcp({ ...answer, flags: "SA", seq: 99 }))).length, 1);
    assert.deepEqual(world.drops(), {});
    world.send(buildTcp({ ...answer, flags: "R", seq: 100 }));
    for (let i = 0; i < 60; i++) {
      world.advance(100);
      world.answer(FIVE);
    }
    assert.deepEqual(members(world).slice(0, 2), ["dst-addrs 1 up 0/0", "web 5 up 4/4"]);
    assert.equal(members(world).length, 2);
    // From now on it is a client like any other.
    const [sent] = packetsOf(world.send(buildTcp({ ...from(FOUR), srcPort: 1, flags: "S" })));
    assert.equal(readTcp(sent!).dst, FIVE);
  });

  Deno.test(`a policy read again, ${name}: members of IPv6 that are gone keep theirs, too`, () => {
    const [six, seven] = ["2001:db8::6", "2001:db8::7"];
    const [wide, narrow] = [`${FOUR}, ${six}, ${seven}`, `${FOUR}, ${seven}`];
    const world = World.settled({
      ipv6: true,
      policy: policyOf(wide),
      backends: ["192.168.0.1"],
      timeouts: { reset: 1 },
      ...evaluator,
    });
    for (const host of [FOUR, six, seven]) world.answer(host);
    const open6 = (srcPort: number) => {
      const sent = world.send(buildTcp6({ srcPort, dstPort: 80, flags: "S", seq: 9, ack: 0 }));
      const { dst, dstPort, srcPort: port } = readTcp6(packetsOf(sent)[0]!);
      return { dst, answer: { ...from(dst), srcPort: dstPort, dstPort: port, ack: 10 } };
    };
    const [one, other] = [open6(1), open6(2)];
    const { answer } = one.dst === six ? one : other;
    assert.deepEqual([one.dst, other.dst].sort(), [six, seven]);
    finish(world.appliance.prepare({ policy: policyOf(narrow) }))();
    for (const port of [3, 4, 5]) assert.equal(open6(port).dst, seven);
    const states = () =>
      world.appliance.snapshot().pools[1]!.members.map(({ address, status, tracked }) =>
        `${formatHostAddress(address)} ${status} ${tracked}`
      );
    assert.deepEqual(states(), [`${FOUR} up 0`, `${seven} up 4`, `${six} draining 1`]);
    // What it answers comes back: the policy tells the sides apart by its pools.
    assert.equal(packetsOf(world.send(buildTcp6({ ...answer, flags: "SA", seq: 99 }))).length, 1);
    assert.deepEqual(world.drops(), {});
    world.send(buildTcp6({ ...answer, flags: "R", seq: 100 }));
    for (let i = 0; i < 60; i++) {
      world.advance(100);
      world.answer(seven);
    }
    assert.deepEqual(states(), [`${FOUR} up 0`, `${seven} up 4`]);
    // From now on it is a client like any other.
    const [sent] = packetsOf(
      world.send(buildTcp6({ ...from(six), dst: PROXY6, srcPort: 1, flags: "S", ack: 0 })),
    );
    assert.equal(readTcp6(sent!).dst, seven);
  });

  Deno.test(`a policy read again, ${name}: what is opened while it is made ready has its backend`, () => {
    const world = worldOf(`${FOUR}, ${FIVE}`);
    const swap = finish(world.appliance.prepare({ policy: policyOf(FIVE) }));
    const connections = [open(world, 1), open(world, 2)];
    const { answer } = connections.find(({ dst }) => dst === FOUR)!;
    swap();
    assert.deepEqual(members(world), ["dst-addrs 1 up 0/0", "web 5 up 1/1", "web 4 draining 1/1"]);
    assert.equal(packetsOf(world.send(buildTcp({ ...answer, flags: "SA", seq: 99 }))).length, 1);
    assert.deepEqual(world.drops(), {});
    assert.equal(open(world, 3).dst, FIVE);
  });

  Deno.test(`other --dst-addrs, ${name}: who is new gets connections, who is gone keeps its own`, () => {
    const world = World.settled({
      policy: policyOf(null),
      backends: [FOUR, FIVE],
      timeouts: { reset: 1 },
      ...evaluator,
    });
    const SIX = "192.168.0.6";
    world.answer(SIX);
    const { appliance } = world;
    const connections = Array.from({ length: 20 }, (_, i) => open(world, 1 + i));
    const { answer } = connections.find(({ dst }) => dst === FOUR)!;
    const left = connections.filter(({ dst }) => dst === FOUR).length;
    const members = [FIVE, SIX].map((address) => plainMember(parseAddress(address)));
    finish(appliance.prepare({ pools: { "dst-addrs": { members } } }))();
    world.answer(SIX);
    const later = Array.from({ length: 20 }, (_, i) => open(world, 100 + i).dst);
    assert.deepEqual([...new Set(later)].sort(), [FIVE, SIX]);
    assert.equal(packetsOf(world.send(buildTcp({ ...answer, flags: "SA", seq: 99 }))).length, 1);
    assert.deepEqual(world.drops(), {}, "the built-in policy tells the sides apart by $dst-addrs");
    const [, , gone] = appliance.snapshot().pools[0]!.members;
    assert.deepEqual([gone!.status, gone!.tracked], ["draining", left]);
    world.send(buildTcp({ ...answer, flags: "R", seq: 100 }));
    assert.deepEqual(Object.keys(appliance.pools), ["dst-addrs"]);
  });

  Deno.test(`a policy read again, ${name}: a pool that is gone goes with its last connection`, () => {
    const world = worldOf(FOUR);
    const { answer } = open(world, 1);
    finish(world.appliance.prepare({ policy: policyOf(null) }))();
    assert.deepEqual(members(world), ["dst-addrs 1 up 0/0", "web 4 draining 1/1"]);
    finish(world.appliance.prepare({ policy: policyOf(FOUR) }))();
    assert.equal(packetsOf(world.send(buildTcp({ ...answer, flags: "SA", seq: 99 }))).length, 1);
    assert.equal(open(world, 2).dst, FOUR);
    assert.deepEqual(members(world), ["dst-addrs 1 up 0/0", "web 4 up 2/2"]);
  });
}

Deno.test("a policy read again: a new member is asked by ARP, and used when it has answered", () => {
  const world = World.settled({ policy: policyOf(FOUR), backends: ["192.168.0.1"] });
  world.answer(FOUR);
  finish(world.appliance.prepare({ policy: policyOf(`${FOUR}, ${FIVE} weight 256`) }))();
  const status = () => world.appliance.snapshot().pools[1]!.members.map(({ status }) => status);
  assert.deepEqual(status(), ["up", "unknown"]);
  const [syn] = packetsOf(world.send(buildTcp({ srcPort: 1, dstPort: 80, flags: "S" })));
  assert.equal(readTcp(syn!).dst, FOUR);
  world.answer(FIVE);
  assert.deepEqual(status(), ["up", "up"]);
  const [next] = packetsOf(world.send(buildTcp({ srcPort: 2, dstPort: 80, flags: "S" })));
  assert.equal(readTcp(next!).dst, FIVE);
  // One whose address is known already need not be asked.
  finish(world.appliance.prepare({ policy: policyOf(`${FOUR}, ${FOUR} port 81`) }))();
  assert.deepEqual(status(), ["up", "up", "draining"]);
});

Deno.test("a policy read again that can't run leaves the pools as they were", () => {
  const world = World.settled({ policy: policyOf(`${FOUR}, ${FIVE}`), backends: ["192.168.0.1"] });
  const before = world.appliance.snapshot().pools;
  const wrong = policyOf("10.0.0.1");
  assert.throws(() => finish(world.appliance.prepare({ policy: wrong }))(), RangeError);
  const unknown = { ...policyOf(FIVE), pools: {} };
  assert.throws(() => finish(world.appliance.prepare({ policy: unknown }))(), RangeError);
  assert.deepEqual(world.appliance.snapshot().pools, before);
});

Deno.test("a policy read again and again with other pools: numbers and neighbours are used again", () => {
  const world = World.settled({ policy: policyOf(FOUR), backends: ["192.168.0.1"] });
  const { backends } = world.appliance;
  for (let i = 0; i < 500; i++) {
    finish(
      world.appliance.prepare({
        policy: policyOf(`192.168.0.${10 + i % 80}, 192.168.0.${11 + i % 80}`),
      }),
    )();
    if (i % 50 === 0) world.send(buildTcp({ srcPort: 1 + i, dstPort: 80, flags: "S" }));
  }
  assert.ok(backends.all.length < 20, `${backends.all.length}`);
  assert.ok(backends.targets.length < 3, `${backends.targets.length}`);
  for (const pool of backends.pools) {
    for (const member of pool.members) assert.equal(backends.all[member.index], member);
  }
});
