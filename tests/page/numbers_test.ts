/** What the page makes of the feed: counters, rates, words, widths. */
import assert from "node:assert/strict";
import { merged } from "../../src/page/model/feed.ts";
import { dotsOf, edgeWidth, MOST_DOTS, travelMs } from "../../src/page/model/flow.ts";
import { History, HISTORY_S } from "../../src/page/model/history.ts";
import { type Rates, ratesBetween } from "../../src/page/model/rates.ts";
import { duration, linkMark, percent, short, whole } from "../../src/page/model/words.ts";
import { countersOf, treeOf } from "./fake_proxy.ts";

const tree = treeOf([[-1, null, "first match"], [0, "80", "drop"]], ["10.0.0.1", "10.0.0.2"]);
const start = countersOf(tree);

Deno.test("page: a delta changes what it has, and nothing else", () => {
  const before = { ...start, hits: [5, 3], drops: { policy: 3 } };
  const after = merged(before, {
    ...start,
    ms: 2,
    hits: { 1: 4 },
    drops: { checksum: 1 },
    backends: { 1: { state: "up", weight: 2, connections: 3, opened: 4, check: "ok" } },
  });
  assert.deepEqual(after.hits, [5, 4]);
  assert.deepEqual(after.drops, { policy: 3, checksum: 1 });
  assert.deepEqual([after.backends[0]!.state, after.backends[1]!.state], ["unknown", "up"]);
  assert.deepEqual(before.hits, [5, 3]);
});

Deno.test("page: rates are by the feed's own time", () => {
  const now = {
    ...start,
    ms: start.ms + 2000,
    in: { packets: 10, bytes: 1000 },
    dropped: 4,
    hits: [10, 4],
    drops: { policy: 4 },
    backends: { ...start.backends, 1: { ...start.backends[1]!, opened: 6 } },
  };
  const rates = ratesBetween(start, now)!;
  assert.deepEqual(
    [rates.packetsIn, rates.bitsIn, rates.packetsOut, rates.dropped],
    [5, 4000, 0, 2],
  );
  assert.deepEqual([rates.hits, rates.drops, rates.backends], [[5, 2], { policy: 2 }, [0, 3]]);
});

Deno.test("page: counters of another tree, of a new start or of the same moment give no rates", () => {
  const later = { ...start, ms: start.ms + 1000 };
  assert.equal(ratesBetween(null, later), null);
  assert.equal(ratesBetween(start, { ...later, tree: 2 }), null);
  assert.equal(ratesBetween(start, { ...later, uptime_s: 1 }), null);
  assert.equal(ratesBetween(start, start), null);
  assert.notEqual(ratesBetween(start, later), null);
});

Deno.test("page: numbers are short, parts are of 100, times have two units", () => {
  const values = [0, 0.44, 9.96, 12.34, 99.96, 999.4, 999.6, 12_340, 999_600, 1.5e9];
  assert.deepEqual(
    values.map(short),
    ["0", "0.4", "10", "12.3", "100", "999", "1.00 k", "12.3 k", "1.00 M", "1.50 G"],
  );
  assert.deepEqual([0, 999, 1000, 1234567].map(whole), ["0", "999", "1,000", "1,234,567"]);
  assert.deepEqual(
    [percent(1, 0), percent(0, 5), percent(1, 1000), percent(1, 3), percent(6, 5)],
    ["–", "0 %", "<1 %", "33 %", "100 %"],
  );
  assert.deepEqual(
    [5, 200, 3723, 90_061].map(duration),
    ["5 s", "3 min 20 s", "1 h 2 min", "1 d 1 h"],
  );
});

Deno.test("page: trouble is told before a pause, a pause before all else", () => {
  const words = (isPaused: boolean) => [
    linkMark({ kind: "connecting" }, isPaused).word,
    linkMark({ kind: "stale", silentMs: 4200 }, isPaused).word,
    linkMark({ kind: "lost", retryMs: 1500 }, isPaused).word,
    linkMark({ kind: "lost", retryMs: 0 }, isPaused).word,
    linkMark({ kind: "reloaded" }, isPaused).word,
    linkMark({ kind: "idle" }, isPaused).word,
    linkMark({ kind: "live" }, isPaused).word,
  ];
  const trouble = ["connecting", "stale: nothing for 4 s", "lost: tries again in 2 s"]
    .concat("lost: tries again");
  assert.deepEqual(words(false), [...trouble, "reloaded", "idle", "live"]);
  assert.deepEqual(words(true), [...trouble, "paused", "paused", "paused"]);
});

Deno.test("page: an edge grows by the logarithm of its packets a second, up to 12 pixels", () => {
  assert.deepEqual([0, 9, 999, 1e9].map(edgeWidth), [1, 3, 7, 12]);
  assert.ok(travelMs(1000) < travelMs(1));
});

Deno.test("page: dots are few, the busiest edges keep theirs, a short edge has one", () => {
  const of = (rate: number, length = 200) => ({ rate, length });
  assert.deepEqual(dotsOf([of(0), of(0.5), of(10), of(1e9), of(1e9, 14)]), [0, 1, 2, 6, 1]);
  const many = dotsOf(Array.from({ length: 100 }, (_, i) => of(1 + i * 100)));
  assert.equal(many.reduce((sum, dots) => sum + dots), MOST_DOTS);
  assert.deepEqual([many[0], many[39], many[40], many[99]], [0, 0, 1, 1]);
});

Deno.test("page: the history has fifteen minutes, and gaps", () => {
  const history = new History();
  const rates: Rates = {
    ...{ packetsIn: 3, packetsOut: 2, bitsIn: 0, bitsOut: 0, dropped: 1, opened: 0, carried: 0 },
    ...{ hits: [], drops: {}, backends: [] },
  };
  history.gap(500); // there is nothing yet
  for (let s = 1; s <= 1000; s++) history.add(1000 * s, rates);
  assert.deepEqual([history.times[0], history.times.length], [100, HISTORY_S + 1]);
  history.add(1000 * 1000, rates); // the same moment
  history.gap(1001 * 1000);
  history.gap(1002 * 1000);
  history.add(1003 * 1000, rates);
  assert.deepEqual(history.times.slice(-3), [1000, 1001, 1003]);
  assert.deepEqual(history.drops.slice(-3), [1, null, 1]);
  assert.equal(history.in.length, history.times.length);
});
