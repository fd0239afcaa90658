/** What the page knows, event by event: its states, tries, reloads and pauses. */
import assert from "node:assert/strict";
import type { Counters } from "../../src/page/model/feed.ts";
import { GIVE_UP_MS, Link, STALE_MS } from "../../src/page/model/link.ts";
import { Session } from "../../src/page/model/session.ts";
import { countersOf, treeOf } from "./fake_proxy.ts";

const tree = treeOf([[-1, null, "first match"], [0, "80", "drop"]], ["10.0.0.1"]);

/** After so many seconds, with so many packets. */
function event(seconds: number, packets: number, more: Partial<Counters> = {}): Counters {
  const start = countersOf(tree);
  return {
    ...start,
    ms: start.ms + 1000 * seconds,
    uptime_s: start.uptime_s + seconds,
    in: { packets, bytes: 100 * packets },
    hits: [packets, packets],
    ...more,
  };
}

Deno.test("page: a silence is stale after 3 s, and given up after 10 s", () => {
  const link = new Link();
  assert.equal(link.state(0).kind, "connecting");
  link.heard(1000, true);
  assert.equal(link.state(1000 + STALE_MS).kind, "live");
  assert.deepEqual(link.state(1001 + STALE_MS), { kind: "stale", silentMs: STALE_MS + 1 });
  assert.deepEqual(
    [link.isSilent(1000 + GIVE_UP_MS), link.isSilent(1001 + GIVE_UP_MS)],
    [false, true],
  );
  link.heard(20_000, false);
  assert.equal(link.state(20_001).kind, "idle");
});

Deno.test("page: a lost connection is tried again after 1, 2, 4, 8, 10, 10 s", () => {
  const link = new Link();
  link.heard(0, true);
  const waits = [];
  let nowMs = 0;
  for (let i = 0; i < 6; i++) {
    link.failed(nowMs);
    const state = link.state(nowMs);
    assert.equal(state.kind, "lost");
    const { retryMs } = state as { retryMs: number };
    waits.push(retryMs);
    assert.equal(link.isDue(nowMs + retryMs - 1), false);
    nowMs += retryMs;
    assert.equal(link.isDue(nowMs), true);
    link.tries(nowMs);
    assert.equal(link.isDue(nowMs), false);
    assert.deepEqual(link.state(nowMs), { kind: "lost", retryMs: 0 });
  }
  assert.deepEqual(waits, [1000, 2000, 4000, 8000, 10_000, 10_000]);
  assert.equal(link.isSilent(nowMs + GIVE_UP_MS + 1), true); // a try that nobody answers
  link.heard(nowMs, true);
  assert.equal(link.state(nowMs).kind, "live");
  link.failed(nowMs);
  assert.deepEqual(link.state(nowMs), { kind: "lost", retryMs: 1000 });
});

Deno.test("page: live with packets, idle without, and rates from the second event on", () => {
  const session = new Session();
  session.tries(0);
  session.heardTree(tree, 0);
  assert.equal(session.heardEvent(true, event(0, 5), 0), false);
  assert.deepEqual([session.shown!.rates, session.link.state(0).kind], [null, "idle"]);
  session.heardEvent(false, { ...event(1, 7), hits: { 0: 7 } }, 1000);
  assert.deepEqual(session.shown!.rates!.hits, [2, 0]);
  assert.equal(session.link.state(1000).kind, "live");
  session.heardEvent(false, { ...event(2, 7), hits: {} }, 2000);
  assert.equal(session.link.state(2000).kind, "idle");
  assert.deepEqual(session.history.in, [2, 0]);
});

Deno.test("page: events of another tree ask for it, and are shown when it is there", () => {
  const session = new Session();
  session.heardTree(tree, 0);
  session.heardEvent(true, event(0, 5), 0);
  assert.equal(session.takeOtherRows(), true);
  assert.equal(session.takeOtherRows(), false);
  assert.equal(session.heardEvent(true, event(1, 6, { tree: 2, hits: [0, 0, 0] }), 1000), true);
  assert.equal(session.shown!.tree, tree);
  const nodes = [...tree.nodes, { ...tree.nodes[1]!, id: 2 }];
  session.heardTree({ ...tree, tree: 2, nodes }, 1100);
  assert.equal(session.shown!.counters.hits.length, 3);
  assert.equal(session.takeOtherRows(), true);
  assert.equal(session.link.state(1200).kind, "reloaded");
  assert.equal(session.link.state(3000).kind, "reloaded");
  for (let s = 2; s <= 12; s++) session.heardEvent(true, event(s, 6, { tree: 2 }), 1000 * s);
  assert.equal(session.link.state(12_000).kind, "idle");
});

Deno.test("page: a change of the backends alone keeps the tree as it is folded", () => {
  const session = new Session();
  session.heardTree(tree, 0);
  session.heardEvent(true, event(0, 5), 0);
  const { outline } = session;
  session.takeOtherRows();
  session.heardEvent(true, event(1, 6, { tree: 2 }), 1000);
  session.heardTree({ ...tree, tree: 2, backends: [] }, 1000);
  assert.equal(session.outline, outline);
  assert.deepEqual([session.takeOtherRows(), session.link.state(1000).kind], [false, "reloaded"]);
});

Deno.test("page: a proxy that has started again is told as a reload, without rates across it", () => {
  const session = new Session();
  session.heardTree(tree, 0);
  session.heardEvent(true, event(0, 500), 0);
  session.failed(100);
  session.tries(1100);
  session.heardTree({ ...tree }, 1200);
  session.heardEvent(true, event(1, 3, { uptime_s: 0.5 }), 1300);
  assert.deepEqual([session.shown!.rates, session.link.state(1300).kind], [null, "reloaded"]);
});

Deno.test("page: a delta without what it goes on from is not taken", () => {
  const session = new Session();
  session.heardTree(tree, 0);
  assert.equal(session.heardEvent(false, { ...event(1, 6), hits: {} }, 0), true);
  assert.equal(session.shown, null);
});

Deno.test("page: a pause keeps what is shown, not what is known", () => {
  const session = new Session();
  session.heardTree(tree, 0);
  session.heardEvent(true, event(0, 5), 0);
  session.pause(true, 500);
  session.heardEvent(true, event(1, 9), 1000);
  assert.equal(session.shown!.counters.in.packets, 5);
  assert.deepEqual(session.history.in, [4]);
  session.pause(false, 1500);
  assert.equal(session.shown!.counters.in.packets, 9);
  assert.deepEqual(session.shown!.rates!.hits, [4, 4]);
});
