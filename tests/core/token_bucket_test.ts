import assert from "node:assert/strict";
import { SeededRandom } from "../../src/core/random.ts";
import { TokenBucket } from "../../src/core/token_bucket.ts";

function taken(bucket: TokenBucket, tries: number, nowMs: number): number {
  let count = 0;
  for (let i = 0; i < tries; i++) if (bucket.take(nowMs)) count++;
  return count;
}

Deno.test("TokenBucket gives its burst at once, then at its rate", () => {
  const bucket = new TokenBucket(100, 50, 1000);
  assert.equal(taken(bucket, 80, 1000), 50);
  assert.equal(taken(bucket, 80, 1005), 0);
  assert.equal(taken(bucket, 80, 1100), 10);
  assert.equal(taken(bucket, 80, 1350), 25);
});

Deno.test("TokenBucket fills up to its burst and no further", () => {
  const bucket = new TokenBucket(100, 50, 0);
  assert.equal(taken(bucket, 80, 0), 50);
  assert.equal(taken(bucket, 80, 1e9), 50);
  assert.equal(taken(bucket, 80, 1e9), 0);
});

Deno.test("TokenBucket never gives more than burst + rate in any span", () => {
  const random = new SeededRandom(8);
  const bucket = new TokenBucket(10, 5, 0);
  let [nowMs, count] = [0, 0];
  for (let i = 0; i < 10_000; i++) {
    nowMs += random.uint32() % 50;
    count += taken(bucket, random.uint32() % 3, nowMs);
    assert.ok(count <= 5 + nowMs / 100 + 0.01, `${count} in ${nowMs} ms`);
  }
  assert.ok(count > 0.95 * nowMs / 100, `${count} in ${nowMs} ms`);
});

Deno.test("TokenBucket.putBack gives tokens back, up to the burst", () => {
  const bucket = new TokenBucket(1, 3, 0);
  for (let i = 0; i < 3; i++) assert.equal(bucket.take(0), true);
  assert.equal(bucket.take(0), false);
  bucket.putBack(1);
  assert.deepEqual([bucket.take(0), bucket.take(0)], [true, false]);
  bucket.putBack(100);
  assert.deepEqual([1, 2, 3, 4].map(() => bucket.take(0)), [true, true, true, false]);
});
