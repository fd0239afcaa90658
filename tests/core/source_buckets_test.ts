import assert from "node:assert/strict";
import { below, SeededRandom } from "../../src/core/random.ts";
import { type Rate, rateOf, SourceBuckets } from "../../src/core/source_buckets.ts";
import { arrayBytes } from "../support/array_bytes.ts";

const SEED = 20_261_128;

function bucketsOf(maxBuckets: number, keyWords = 2, seed = SEED): SourceBuckets {
  return new SourceBuckets({ keyWords, maxBuckets, random: new SeededRandom(seed) });
}

function take(buckets: SourceBuckets, key: readonly number[], rate: Rate, nowMs: number): boolean {
  buckets.key.set(key);
  return buckets.take(rate, nowMs);
}

/** A bucket by the definition, in thousandths of a token: integers only. */
class Twin {
  readonly #perSecond: number;
  readonly #burst: number;
  #level: number;
  #filledMs = 0;

  constructor(perSecond: number, burst: number) {
    this.#perSecond = perSecond;
    this.#burst = burst;
    this.#level = 1000 * burst;
  }

  holds(nowMs: number): boolean {
    const filled = this.#level + (nowMs - this.#filledMs) * this.#perSecond;
    this.#level = Math.min(1000 * this.#burst, filled);
    this.#filledMs = nowMs;
    return this.#level >= 1000;
  }

  take(): void {
    this.#level -= 1000;
  }
}

Deno.test("SourceBuckets with room for all keys does what a bucket for each would do", () => {
  const random = new SeededRandom(SEED);
  const rates = [[1, 1], [3, 2], [7, 20], [10, 5], [1000, 3], [999, 50]] as const;
  for (const startMs of [0, 123_456, 1e10]) {
    const buckets = bucketsOf(65_536);
    const keys = Array.from({ length: 200 }, (_, i) => {
      const [perSecond, burst] = rates[i % rates.length]!;
      const twin = new Twin(perSecond, burst);
      return { key: [i % 6, random.uint32() | 0], rate: rateOf(perSecond, burst), twin };
    });
    let nowMs = startMs;
    let passed = 0;
    for (let i = 0; i < 100_000; i++) {
      if (below(random, 10) === 0) nowMs += below(random, 8);
      const { key, rate, twin } = keys[below(random, keys.length)]!;
      const expected = twin.holds(nowMs);
      if (expected) twin.take();
      passed += Number(expected);
      assert.equal(take(buckets, key, rate, nowMs), expected, `seed ${SEED}, take ${i} of ${key}`);
    }
    assert.ok(passed > 10_000 && passed < 90_000, `${passed}`);
  }
});

Deno.test("SourceBuckets keeps keys apart by each of their words, whatever their number", () => {
  for (const keyWords of [1, 2, 5]) {
    const buckets = bucketsOf(4096, keyWords);
    const rate = rateOf(1, 1);
    const keys = Array.from({ length: 32 * keyWords }, (_, i) => {
      const key = Array.from({ length: keyWords }, () => 0);
      key[i >> 5] = 1 << (i & 31);
      return key;
    });
    assert.ok(keys.every((key) => take(buckets, key, rate, 5)));
    assert.ok(keys.every((key) => !take(buckets, key, rate, 5)));
    assert.ok(take(buckets, keys[0]!.map(() => 0), rate, 5), "all zeroes, too");
    assert.ok(!take(buckets, keys[0]!.map(() => 0), rate, 5));
  }
});

Deno.test("SourceBuckets lets no key pass above its rate, however many others push it out", () => {
  for (const maxBuckets of [1, 5, 16, 40, 80]) {
    const random = new SeededRandom(SEED + maxBuckets);
    const buckets = bucketsOf(maxBuckets);
    const rate = rateOf(10, 4);
    const twins = new Map<number, Twin>();
    let [passed, refused] = [0, 0];
    let nowMs = 1000;
    for (let i = 0; i < 100_000; i++) {
      if (below(random, 20) === 0) nowMs += below(random, 30);
      // One that asks all the time, and others that come and go.
      const source = below(random, 4) === 0 ? 1 : 2 + below(random, 40 * maxBuckets);
      if (!twins.has(source)) twins.set(source, new Twin(10, 4));
      const twin = twins.get(source)!;
      const holds = twin.holds(nowMs);
      if (take(buckets, [1, source], rate, nowMs)) {
        assert.ok(holds, `${maxBuckets} places: ${source} passes above its rate, take ${i}`);
        twin.take();
        passed++;
      } else if (holds) refused++;
    }
    assert.ok(passed > 500 && refused > 500, `${maxBuckets} places: ${passed}, ${refused}`);
  }
});

Deno.test("SourceBuckets lets changing addresses pass as often as it has places for", () => {
  const buckets = bucketsOf(256);
  const rate = rateOf(10, 5);
  let passed = 0;
  for (let ms = 0; ms < 10_000; ms++) {
    for (let i = 0; i < 100; i++) passed += Number(take(buckets, [1, 100 * ms + i], rate, 1 + ms));
  }
  assert.ok(passed <= 256 * (5 + 10 * 10), `${passed}`);
  assert.ok(passed >= 0.95 * 256 * 10 * 10, `${passed}: it is full all the time`);
});

Deno.test("SourceBuckets keeps the share of those under their rate while 100,000 others ask", () => {
  const buckets = bucketsOf(262_144);
  const rate = rateOf(10, 10);
  const random = new SeededRandom(SEED);
  const attackers = Int32Array.from({ length: 100_000 }, () => random.uint32());
  const victims = Int32Array.from({ length: 1000 }, () => random.uint32());
  let [asked, passed, next] = [0, 0, 0];
  // Each attacker asks for three times its rate, and so has an empty bucket nearly all the time.
  for (let ms = 0; ms < 2_000; ms++) {
    for (let i = 0; i < 3000; i++) {
      take(buckets, [1, attackers[next]!], rate, 1 + ms);
      next = next + 1 === attackers.length ? 0 : next + 1;
    }
    for (let i = 0; i < 5; i++) { // 5 a second from each
      passed += Number(take(buckets, [1, victims[(5 * ms + i) % 1000]!], rate, 1 + ms));
      asked++;
    }
  }
  assert.ok(passed >= 0.99 * asked, `seed ${SEED}: ${passed} of ${asked}`);
});

Deno.test("SourceBuckets gives a fast limit its rate where a slow one has left no place", () => {
  const buckets = bucketsOf(16);
  const [slow, fast] = [rateOf(1, 1000), rateOf(100, 5)];
  for (let source = 0; source < 16; source++) {
    for (let i = 0; i < 60; i++) take(buckets, [1, source], slow, 1000);
  }
  assert.ok(!take(buckets, [2, 7], fast, 1000), "it begins empty");
  let passed = 0;
  for (let ms = 0; ms < 1000; ms++) passed += Number(take(buckets, [2, 7], fast, 1001 + ms));
  assert.equal(passed, 100);
  assert.ok(take(buckets, [1, 15], slow, 2001), "of the slow ones, 15 are still there");
});

Deno.test("SourceBuckets recovers from a clock that goes back", () => {
  const buckets = bucketsOf(16);
  const rate = rateOf(10, 1);
  assert.ok(take(buckets, [1, 1], rate, 1e9));
  assert.ok(!take(buckets, [1, 1], rate, 1000));
  assert.ok(take(buckets, [1, 1], rate, 1100));
});

Deno.test("SourceBuckets holds no more than it says", () => {
  for (const [maxBuckets, keyWords] of [[1, 1], [1000, 2], [262_144, 2], [100_000, 5]] as const) {
    const key = Array.from({ length: keyWords }, () => 7);
    const held = arrayBytes(() => {
      assert.ok(take(bucketsOf(maxBuckets, keyWords), key, rateOf(1, 1), 1));
    });
    const most = SourceBuckets.bytesOf({ keyWords, maxBuckets });
    assert.ok(held <= most && held >= 0.99 * most, `${held} of ${most}`);
  }
});
