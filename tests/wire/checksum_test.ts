import assert from "node:assert/strict";
import { SeededRandom } from "../../src/core/random.ts";
import * as checksum from "../../src/wire/checksum.ts";
import { naiveChecksum } from "../support/frames.ts";
import { address6Bytes, pseudoHeader6 } from "../support/frames6.ts";

const EDGES = [0x0000, 0x0001, 0x00ff, 0x7fff, 0x8000, 0xff00, 0xfffe, 0xffff];

/** Random bytes, and the same bytes seen through a view that starts at an odd place. */
function randomBytes(lengthBytes: number): { bytes: Uint8Array; view: DataView } {
  const random = new SeededRandom(7);
  const bytes = Uint8Array.from({ length: lengthBytes }, () => random.uint32());
  return { bytes, view: new DataView(bytes.buffer) };
}

function assertSums(view: DataView, bytes: Uint8Array, offset: number, lengthBytes: number): void {
  const expected = naiveChecksum(bytes.subarray(offset, offset + lengthBytes));
  const sum = checksum.sumBytes(view, offset, lengthBytes, 0);
  assert.equal(checksum.complement(sum), expected, `${lengthBytes} bytes at ${offset}`);
}

Deno.test("sumBytes agrees with the naive sum for every length to 2,000, aligned and odd", () => {
  const { bytes, view } = randomBytes(2_010);
  for (let lengthBytes = 0; lengthBytes <= 2_000; lengthBytes++) {
    assertSums(view, bytes, 0, lengthBytes);
    assertSums(view, bytes, 1 + lengthBytes % 7, lengthBytes);
  }
});

Deno.test("sumBytes agrees with the naive sum for every 97th length to 65,535", () => {
  const { bytes, view } = randomBytes(65_540);
  for (let lengthBytes = 2_000; lengthBytes <= 65_535; lengthBytes += 97) {
    assertSums(view, bytes, lengthBytes % 4, lengthBytes);
  }
  assertSums(view, bytes, 0, 65_535);
});

Deno.test("sumBytes does not overflow on 65,535 bytes of 0xff, nor lose anything of 0x00", () => {
  const ones = new DataView(new Uint8Array(65_535).fill(0xff).buffer);
  assert.equal(checksum.sumBytes(ones, 0, 65_534, 0xffff), 0xffff);
  assert.equal(checksum.complement(checksum.sumBytes(ones, 0, 65_535, 0)), 0x00ff);
  const zeroes = new DataView(new ArrayBuffer(65_535));
  assert.equal(checksum.sumBytes(zeroes, 0, 65_535, 0), 0);
  assert.equal(checksum.sumBytes(zeroes, 0, 0, 0x1234), 0x1234);
});

Deno.test("sumBytes reads no byte outside its range", () => {
  for (const surroundings of [0x00, 0xff]) {
    const bytes = new Uint8Array(64).fill(surroundings);
    bytes.fill(0x12, 5, 36);
    const sum = checksum.sumBytes(new DataView(bytes.buffer), 5, 31, 0);
    assert.equal(checksum.complement(sum), naiveChecksum(new Uint8Array(31).fill(0x12)));
  }
});

Deno.test("sumBytes gives the sum of RFC 1071 §3's example", () => {
  const bytes = Uint8Array.of(0x00, 0x01, 0xf2, 0x03, 0xf4, 0xf5, 0xf6, 0xf7);
  assert.equal(checksum.sumBytes(new DataView(bytes.buffer), 0, 8, 0), 0xddf2);
});

Deno.test("fold adds the carries until none is left", () => {
  const cases: [number, number][] = [
    [0, 0],
    [0xffff, 0xffff],
    [0x1_0000, 1],
    [0x1_ffff, 1],
    [0xffff_ffff, 0xffff],
    [0xfffe_ffff, 0xfffe],
    [0x2_ddf0, 0xddf2],
  ];
  for (const [sum, expected] of cases) assert.equal(checksum.fold(sum), expected, sum.toString(16));
});

Deno.test("updated gives RFC 1624 §4's example: 0xdd2f, 0x5555 becomes 0x3285", () => {
  assert.equal(checksum.updated(0xdd2f, checksum.delta16(0x5555, 0x3285)), 0x0000);
});

Deno.test("updated with delta16 agrees with recomputation over edge and random words", () => {
  const random = new SeededRandom(16);
  const words = [...EDGES, ...Array.from({ length: 24 }, () => random.uint32() & 0xffff)];
  const view = new DataView(new ArrayBuffer(20));
  for (const old of words) {
    for (const now of words) {
      for (const rest of words) {
        view.setUint16(0, 0x4500); // keeps the sum from being zero, as every real header does
        view.setUint16(2, rest);
        view.setUint16(4, old);
        const before = naiveChecksum(new Uint8Array(view.buffer));
        view.setUint16(4, now);
        const expected = naiveChecksum(new Uint8Array(view.buffer));
        const found = checksum.updated(before, checksum.delta16(old, now));
        assert.equal(found, expected, [rest, old, now].map((w) => w.toString(16)).join(" "));
      }
    }
  }
});

Deno.test("updated with many deltas at once agrees with recomputation", () => {
  const random = new SeededRandom(1624);
  const word = (): number =>
    random.uint32() & 1 ? random.uint32() & 0xffff : EDGES[random.uint32() & 7]!;
  const view = new DataView(new ArrayBuffer(40));
  for (let round = 0; round < 20_000; round++) {
    for (let at = 0; at < 40; at += 2) view.setUint16(at, word());
    view.setUint8(0, 0x45);
    const before = naiveChecksum(new Uint8Array(view.buffer));
    let delta = 0;
    for (let change = random.uint32() % 4; change >= 0; change--) {
      const at = 4 + 4 * (random.uint32() % 9);
      const old = view.getInt32(at);
      const now = (word() << 16) | word();
      const wide = (random.uint32() & 1) === 0;
      view.setInt32(at, wide ? now : (now & ~0xffff) | (old & 0xffff));
      const part = wide ? checksum.delta32(old, now) : checksum.delta16(old >>> 16, now >>> 16);
      delta += part;
    }
    const expected = naiveChecksum(new Uint8Array(view.buffer));
    assert.equal(checksum.updated(before, delta), expected, `round ${round} of seed 1624`);
  }
});

Deno.test("delta16 and delta32 of nothing changed leave every checksum as it is", () => {
  for (const word of EDGES) {
    for (const before of EDGES.filter((edge) => edge !== 0xffff)) {
      assert.equal(checksum.updated(before, checksum.delta16(word, word)), before);
      const wide = (word << 16) | word;
      assert.equal(checksum.updated(before, checksum.delta32(wide, wide)), before);
    }
  }
});

Deno.test("pseudoHeaderSum is the sum of the pseudo-header's bytes", () => {
  const addresses = [0, -1, 0x7fff_ffff, -0x8000_0000, 0xc0a8_00fe | 0, 0xc0a8_0064 | 0];
  for (const src of addresses) {
    for (const dst of addresses) {
      for (
        const [protocol, lengthBytes] of [[6, 20], [17, 8], [6, 65_515], [255, 65_535]] as const
      ) {
        const view = new DataView(new ArrayBuffer(12));
        view.setInt32(0, src);
        view.setInt32(4, dst);
        view.setUint16(8, protocol);
        view.setUint16(10, lengthBytes);
        const expected = naiveChecksum(new Uint8Array(view.buffer));
        const sum = checksum.pseudoHeaderSum(src, dst, protocol, lengthBytes);
        assert.equal(checksum.complement(sum), expected);
      }
    }
  }
});

Deno.test("pseudoHeaderSum6 agrees with a naive sum of RFC 8200 §8.1's pseudo-header", () => {
  const cases: [string, string, number, number][] = [
    ["2001:db8::1", "2001:db8:ffff::2", 6, 20],
    ["ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff", "ffff:ffff:ffff:ffff::ffff", 58, 65_535],
    ["fe80::1", "ff02::1:ff00:2", 17, 65_536],
    ["::", "::", 58, 131_071],
  ];
  for (const [src, dst, protocol, lengthBytes] of cases) {
    const bytes = Uint8Array.of(9, 9, 9, ...address6Bytes(src), ...address6Bytes(dst), 9);
    const view = new DataView(bytes.buffer);
    const sum = checksum.pseudoHeaderSum6(view, 3, protocol, lengthBytes);
    const expected = naiveChecksum(pseudoHeader6(src, dst, protocol, lengthBytes));
    assert.equal(checksum.complement(sum), expected);
  }
});

Deno.test("deltaAddress6 updates a checksum as recomputation does, for random addresses", () => {
  const random = new SeededRandom(128);
  const bytes = new Uint8Array(40);
  const view = new DataView(bytes.buffer);
  for (let i = 0; i < 1_000; i++) {
    for (let at = 0; at < bytes.length; at++) bytes[at] = random.uint32();
    const before = naiveChecksum(bytes);
    const words = Int32Array.from({ length: 5 }, () => random.uint32());
    const delta = checksum.deltaAddress6(view, 8, words, 1);
    for (let word = 0; word < 4; word++) view.setInt32(8 + 4 * word, words[1 + word]!);
    assert.equal(checksum.updated(before, delta), naiveChecksum(bytes));
  }
});
