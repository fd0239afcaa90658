import assert from "node:assert/strict";
import { below, SeededRandom } from "../../src/core/random.ts";
import { parseAddress6 } from "../../src/wire/address6.ts";
import { AddressSet } from "../../src/wire/address_set.ts";
import { parseHostAddress, wordsOf } from "../../src/wire/host_address.ts";

Deno.test("AddressSet finds an IPv4 address by its number, and an IPv6 address by its words", () => {
  const set = AddressSet.of(["10.0.0.1", "2001:db8::1"].map(parseHostAddress));
  assert.equal(set.size, 2);
  assert.ok(set.has(parseHostAddress("10.0.0.1")));
  assert.ok(set.has(parseHostAddress("2001:db8::1")));
  const words = Int32Array.of(9, ...parseAddress6("2001:db8::1"), ...parseAddress6("2001:db8::2"));
  assert.deepEqual([1, 5].map((at) => set.has6(words, at)), [true, false]);
});

Deno.test("AddressSet has after any additions and deletions what a plain set has", () => {
  const random = new SeededRandom(1);
  const all = Array.from({ length: 40 }, (_, i) => BigInt(i % 5) << 96n | BigInt(i) << 32n);
  const [set, twin] = [new AddressSet(), new Set<bigint>()];
  for (let i = 0; i < 3000; i++) {
    const address = all[below(random, all.length)]!;
    if (below(random, 500) === 0) [set, twin].forEach((one) => one.clear());
    else if (below(random, 2) === 0) [set, twin].forEach((one) => one.add(address));
    else assert.equal(set.delete(address), twin.delete(address));
    const asked = all[below(random, all.length)]!;
    assert.equal(set.has6(wordsOf(asked), 0), twin.has(asked), `step ${i}`);
    assert.equal(set.size, twin.size);
  }
});
