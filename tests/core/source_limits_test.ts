import assert from "node:assert/strict";
import { below, SeededRandom } from "../../src/core/random.ts";
import { SourceLimits, type SourceLimitsOptions } from "../../src/core/source_limits.ts";
import { TokenBucket } from "../../src/core/token_bucket.ts";

/** At 125 tokens a second, one takes 8 ms: all sums are exact. */
function limitsOf(options: Partial<SourceLimitsOptions> = {}): SourceLimits {
  const random = new SeededRandom(3);
  return new SourceLimits({ perSecond: 125, burst: 4, size: 1 << 14, random, ...options });
}

function taken(limits: SourceLimits, source: number, tries: number, nowMs: number): number {
  let count = 0;
  for (let i = 0; i < tries; i++) if (limits.take(source, nowMs)) count++;
  return count;
}

Deno.test("SourceLimits gives each source its burst at once, then its rate", () => {
  const limits = limitsOf();
  for (const source of [0, 1, -1, 0x7fff_ffff, -0x8000_0000]) {
    assert.equal(taken(limits, source, 10, 1000), 4, `${source}`);
  }
  assert.equal(taken(limits, 1, 10, 1007), 0);
  assert.equal(taken(limits, 1, 10, 1016), 2);
  assert.equal(taken(limits, 1, 10, 1e9), 4);
});

Deno.test("SourceLimits does for each source what a TokenBucket of its own does", () => {
  const random = new SeededRandom(4);
  const limits = limitsOf();
  const buckets = Array.from({ length: 50 }, () => new TokenBucket(125, 4, 0));
  let [nowMs, refused] = [0, 0];
  for (let i = 0; i < 50_000; i++) {
    if (below(random, 8) === 0) nowMs++;
    const source = below(random, buckets.length);
    const expected = buckets[source]!.take(nowMs);
    assert.equal(limits.take(0xc0a8_0000 | source, nowMs), expected, `${source} at ${nowMs} ms`);
    if (!expected) refused++;
  }
  assert.ok(refused > 1000, `${refused}`);
});

Deno.test("SourceLimits gives no more than its buckets have, however many sources come", () => {
  const limits = limitsOf({ size: 8 });
  let count = 0;
  for (let source = 0; source < 10_000; source++) count += taken(limits, source, 10, 0);
  assert.equal(count, 8 * 4); // a newcomer's bucket is not a full one
  for (let source = 0; source < 10_000; source++) count += taken(limits, source, 10, 32);
  assert.equal(count, 2 * 8 * 4);
});

Deno.test("SourceLimits keeps a source's bucket from others that are refused", () => {
  const limits = limitsOf({ size: 8 });
  for (let source = 0; source < 1000; source++) taken(limits, source, 10, 0);
  // Those who have a bucket get what is due to them, and no more, whoever else asks in between.
  const holders = Array.from({ length: 1000 }, (_, source) => source)
    .filter((source) => limits.take(source, 8));
  assert.equal(holders.length, 8);
  for (let ms = 9; ms < 16; ms++) assert.equal(taken(limits, 1000 + ms, 10, ms), 0);
  for (const source of holders) assert.equal(taken(limits, source, 10, 16), 1);
});

Deno.test("SourceLimits spreads any pattern of sources, each key in its own way", () => {
  const sources = 1 << 12;
  const patterns: Record<string, (i: number) => number> = {
    "one after another": (i) => 0x0a00_0000 + i,
    "the same host of many networks": (i) => (i << 8) + 1,
    "the upper bits": (i) => i << 20,
    "both ends": (i) => (i & 63) << 26 | i >> 6,
  };
  for (const [name, source] of Object.entries(patterns)) {
    const lacking = [1, 2].map((seed) => {
      const limits = limitsOf({ random: new SeededRandom(seed) });
      return Array.from({ length: sources }, (_, i) => i)
        .filter((i) => taken(limits, source(i), 4, 0) < 4);
    });
    // 4,096 sets of four: one source in 270 is the fifth in its set or later.
    for (const [seed, { length }] of lacking.entries()) {
      assert.ok(length < sources / 50, `${name}, seed ${seed + 1}: ${length}`);
    }
    assert.notDeepEqual(lacking[0], lacking[1], name);
  }
});
