/** What the admin thread gets to know of the packet thread. */
import assert from "node:assert/strict";
import { finish } from "../../../src/core/slices.ts";
import {
  drop,
  echo,
  firstMatch,
  inTurn,
  isIcmp,
  isTcp,
  otherwise,
  policy,
  track,
} from "../../../src/policy/language/build.ts";
import { plainMember } from "../../../src/flow/backends/member.ts";
import { parseAddress } from "../../../src/wire/address.ts";
import { formatHostAddress, parseHostAddress } from "../../../src/wire/host_address.ts";
import { hitsOf, NoAnswer, type Reading } from "../../../src/process/admin/readings.ts";
import { buildIcmp, buildTcp } from "../../support/frames.ts";
import { Watched } from "./watched.ts";

const PING = buildIcmp({});

Deno.test("Readings: who asks within a quarter of a second gets the same, and nobody asks more", async () => {
  const watched = new Watched();
  const { readings } = watched;
  const [a, b] = await Promise.all([readings.now(), readings.now()]);
  assert.equal(a, b);
  await watched.pass(249);
  assert.equal(await readings.now(), a);
  assert.equal(watched.fills, 1);
  await watched.pass(1);
  assert.notEqual(await readings.now(), a);
  assert.equal(watched.fills, 2);
});

Deno.test("Readings: a packet thread that does not answer is asked once, and heard when it does", async () => {
  const watched = new Watched();
  watched.isAlive = false;
  for (let tries = 0; tries < 3; tries++) {
    const reading = watched.readings.now();
    await watched.pass(5000);
    await assert.rejects(reading, NoAnswer);
  }
  assert.equal(watched.fills, 1);
  finish(watched.filler.fill());
  watched.readings.hear({ to: "filled", tookMs: 1 });
  watched.isAlive = true;
  assert.equal((await watched.readings.now()).tree, 1);
});

Deno.test("Readings have each node with its parent, text and hits, and another tree after a change", async () => {
  const tree = firstMatch([
    [isIcmp, inTurn([drop, track(echo)])],
    [isTcp, { node: "decide", decision: "drop", label: "no tcp" }],
  ]);
  const watched = new Watched({ policy: policy("drop", tree) });
  const { world } = watched;
  for (let i = 0; i < 3; i++) world.send(PING);
  const before = await watched.read();
  assert.deepEqual(
    before.nodes.map(({ parent, arm, text, kind, label }) => [parent, arm, text, kind, label]),
    [
      [-1, null, "first match", "selector", null],
      [0, "icmp", "in turn", "balancer", null],
      [1, "|", "drop", "drop", null],
      [1, "|", "track", "scanner", null],
      [3, null, "echo", "echo-reply", null],
      [0, "tcp", 'drop "no tcp"', "drop", "no tcp"],
    ],
  );
  assert.deepEqual(hitsOf(before), [3, 3, 2, 1, 1, 0]);

  const { appliance } = world;
  const next = policy("drop", firstMatch([[isIcmp, drop], [otherwise, drop]]));
  finish(appliance.prepare({ policy: next }))();
  world.send(PING);
  const after = await watched.read();
  assert.equal(after.tree, before.tree + 1);
  assert.equal(hitsOf(after)[0], 1);
  assert.equal((await watched.read()).tree, after.tree);
});

Deno.test("Readings: of a policy with 100,000 nodes the first 10,000 are shown, and filled in slices", async () => {
  const leaves = Array.from({ length: 99_999 }, () => drop);
  const watched = new Watched({ policy: policy("drop", inTurn(leaves)) });
  watched.world.send(PING);
  const reading = await watched.read();
  assert.deepEqual([reading.nodes.length, reading.hiddenNodes], [10_000, 90_000]);
  assert.deepEqual(hitsOf(reading).slice(0, 3), [1, 1, 0]);
  await watched.read();
  assert.ok(watched.slices >= 100_000 / 16_384, `${watched.slices} slices`);
});

Deno.test("Readings: members of both families have their addresses, whatever the digest", async () => {
  const watched = new Watched({ ipv6: true, backends: ["192.168.0.1", "2001:db8::1"] });
  const { members } = await watched.read();
  assert.deepEqual(members.map(({ address }) => formatHostAddress(address)), [
    "192.168.0.1",
    "2001:db8::1",
  ]);
  const added = plainMember(parseHostAddress("2001:db8::8000:ffff:0:1"));
  const pools = { "dst-addrs": { members: [added] } };
  finish(watched.world.appliance.prepare({ pools }))();
  const { members: after } = await watched.read();
  assert.deepEqual(after.map(({ address }) => formatHostAddress(address)), [
    "2001:db8::8000:ffff:0:1",
  ]);
});

Deno.test("Readings: a member that leaves is shown to its last connection; then it is another tree", async () => {
  const watched = new Watched({ backends: ["192.168.0.1"] });
  const { appliance } = watched.world;
  watched.world.send(buildTcp());
  const before = await watched.read();
  const members = [plainMember(parseAddress("192.168.0.2"))];
  finish(appliance.prepare({ pools: { "dst-addrs": { members } } }))();
  const leaving = await watched.read();
  const statesOf = ({ members }: Reading) =>
    members.map(({ address, status, get }) => [formatHostAddress(address), status, get("tracked")]);
  assert.deepEqual(statesOf(before), [["192.168.0.1", "up", 1]]);
  assert.deepEqual(statesOf(leaving), [
    ["192.168.0.2", "unknown", 0],
    ["192.168.0.1", "draining", 1],
  ]);
  assert.equal(leaving.tree, before.tree + 1);
  const [entry] = appliance.connections;
  appliance.connections.remove(entry!);
  const after = await watched.read();
  assert.deepEqual(statesOf(after), [["192.168.0.2", "unknown", 0]]);
  assert.equal(after.tree, leaving.tree + 1);
});
