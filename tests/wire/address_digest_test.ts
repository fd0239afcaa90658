import assert from "node:assert/strict";
import { SeededRandom } from "../../src/core/random.ts";
import { AddressDigest, DIGEST_WORDS } from "../../src/wire/address_digest.ts";
import { address6Words } from "../support/frames6.ts";

const COUNT = 65_536;
/** Chi-squared of 255 degrees of freedom is above this with a probability of 10⁻⁷. */
const MOST_CHI_SQUARED = 390;

const random = new SeededRandom(6);
const digest = new AddressDigest(random);

const SETS: Record<string, (i: number) => [number, number, number, number]> = {
  "sequential hosts": (i) => [0x2001_0db8, 0, 0, i],
  "sequential networks": (i) => [0x2001_0db8, i, 0, 1],
  "every 256th host": (i) => [0x2001_0db8, 0, i >>> 24, i << 8],
  "random hosts of a network": () => [0x2001_0db8, 1, random.uint32() | 0, random.uint32() | 0],
  "random addresses": () => {
    const [a, b, c, d] = Array.from({ length: 4 }, () => random.uint32() | 0);
    return [a!, b!, c!, d!];
  },
};

for (const [name, addressOf] of Object.entries(SETS)) {
  Deno.test(`digests of ${name} fall evenly, in each of their bytes, and meet as 32 bits do`, () => {
    const digests = Array.from({ length: COUNT }, (_, i) => digest.of(...addressOf(i)));
    for (const shift of [0, 8, 16, 24]) {
      const cells = new Array<number>(256).fill(0);
      for (const one of digests) cells[(one >>> shift) & 255]!++;
      const expected = COUNT / 256;
      const chiSquared = cells.reduce((sum, n) => sum + (n - expected) ** 2 / expected, 0);
      assert.ok(chiSquared < MOST_CHI_SQUARED, `byte at ${shift}: ${chiSquared}`);
    }
    // Of 2³¹ pairs a half meets: more than 6 do with a probability of 10⁻⁶.
    const met = COUNT - new Set(digests).size;
    assert.ok(met <= 6, `${met} of ${COUNT} met`);
  });
}

Deno.test("2²⁰ random addresses meet as often as 32 random bits do", () => {
  const seen = new Set<number>();
  for (let i = 0; i < 2 ** 20; i++) seen.add(digest.of(...SETS["random addresses"]!(i)));
  const met = 2 ** 20 - seen.size; // Poisson, of 128
  assert.ok(met > 80 && met < 180, `${met}`);
});

Deno.test("a digest of words, of a place among them, and of a packet are one", () => {
  for (let i = 0; i < 1000; i++) {
    const address = SETS["random addresses"]!(i);
    const words = Int32Array.of(7, ...address, 8);
    const view = new DataView(new ArrayBuffer(19));
    address.forEach((word, at) => view.setInt32(3 + 4 * at, word));
    const expected = digest.of(...address);
    assert.equal(digest.ofWords(words, 1), expected);
    assert.equal(digest.ofPacket(view, 3), expected);
    assert.equal(expected, expected | 0);
  }
});

Deno.test("each of the 4,096 words is the answer of one byte, and of no other", () => {
  // The digest of one byte, with all others 0, differs from that of `::` by two words of its table.
  const none = digest.of(0, 0, 0, 0);
  const differences = new Set<number>();
  for (let byte = 0; byte < 16; byte++) {
    for (let value = 1; value < 256; value++) {
      const words = [0, 0, 0, 0] as [number, number, number, number];
      words[byte >> 2] = value << (24 - 8 * (byte & 3));
      differences.add(digest.of(...words) ^ none);
    }
  }
  assert.equal(differences.size, 16 * 255);
  assert.ok(!differences.has(0));
});

Deno.test("other random numbers are another key; the same ones the same", () => {
  const address = address6Words("2001:db8::1");
  const of = (seed: number) => new AddressDigest(new SeededRandom(seed)).ofWords(address, 0);
  assert.equal(of(1), of(1));
  const seeds = Array.from({ length: 100 }, (_, seed) => of(seed));
  assert.equal(new Set(seeds).size, 100);
  // Two addresses that meet with one key don't with another.
  const others = new AddressDigest(new SeededRandom(7));
  const byDigest = new Map<number, [number, number, number, number]>();
  let pairs = 0;
  for (let i = 0; i < 2 ** 18; i++) {
    const one = SETS["random addresses"]!(i);
    const other = byDigest.get(digest.of(...one));
    byDigest.set(digest.of(...one), one);
    if (other === undefined) continue;
    pairs++;
    assert.notEqual(others.of(...one), others.of(...other));
  }
  assert.ok(pairs > 0);
});

Deno.test("copyTables gives what makes the same digests elsewhere", () => {
  const tables = new Int32Array(DIGEST_WORDS);
  digest.copyTables(tables);
  const address = address6Words("2001:db8:1:2:3:4:5:6");
  let expected = 0;
  address.forEach((word, i) => {
    for (const [j, shift] of [24, 16, 8, 0].entries()) {
      expected ^= tables[256 * (4 * i + j) + ((word >>> shift) & 255)]!;
    }
  });
  assert.equal(digest.ofWords(address, 0), expected);
});
