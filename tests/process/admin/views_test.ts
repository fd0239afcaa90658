/** What the dashboard is told. */
import assert from "node:assert/strict";
import { deltaOf, fullOf, treeOf } from "../../../src/process/admin/views.ts";
import { buildIcmp } from "../../support/frames.ts";
import { PROXY6 } from "../../support/world.ts";
import { ABOUT, Watched } from "./watched.ts";

Deno.test("an event has what has changed since the one before", async () => {
  const watched = new Watched();
  const before = fullOf(await watched.read(), ABOUT);
  watched.world.send(buildIcmp({}), buildIcmp({}));
  const now = fullOf(await watched.read(), ABOUT);
  const delta = deltaOf(before, now);
  assert.deepEqual(delta.hits, { 0: 2, 1: 2, 2: 2, 3: 2, 4: 1, 5: 1, 6: 1 });
  assert.deepEqual(delta.drops, { policy: 1 });
  assert.deepEqual(delta.backends, {});
  assert.deepEqual([delta.in.packets, delta.out.packets, delta.dropped], [2, 1, 1]);
  const { backends } = watched.world.appliance;
  backends.setStatus(
    backends.at(watched.world.appliance.backends.pools[0]!.members[1]!.address)[0]!,
    "draining",
  );
  const later = deltaOf(now, fullOf(await watched.read(), ABOUT));
  assert.deepEqual(later.backends, {
    1: { state: "draining", weight: 1, connections: 0, opened: 0, check: null },
  });
  assert.deepEqual(later.hits, {});
});

Deno.test("an event tells which own addresses are not in use", async () => {
  const watched = new Watched({ ipv6: true });
  const before = fullOf(await watched.read(), ABOUT);
  assert.deepEqual(before.not_in_use, []);
  watched.world.appliance.linkDown(0);
  watched.world.appliance.linkUp(0);
  const onTrial = fullOf(await watched.read(), ABOUT);
  assert.deepEqual(deltaOf(before, onTrial).not_in_use, [
    { link: 0, address: PROXY6, state: "on-trial" },
    { link: 0, address: "fe80::ff:fe00:100", state: "on-trial" },
  ]);
  watched.world.advance(5000);
  assert.deepEqual(deltaOf(onTrial, fullOf(await watched.read(), ABOUT)).not_in_use, []);
});

Deno.test("the tree names nodes as the policy does, and backends with their checks", async () => {
  const tree = treeOf(await new Watched({ check: "tcp 80" }).read(), ABOUT);
  assert.deepEqual(tree.nodes[8], {
    id: 8,
    parent: 7,
    text: "drop",
    arm: "tcp.dport = 80",
    label: null,
    kind: "decision",
    decision: "drop",
  });
  assert.equal(tree.backends[0]!.address, "192.168.0.1");
  assert.match(tree.backends[0]!.check, /^tcp 80/);
  assert.equal(tree.reasons[0], "policy");
});
