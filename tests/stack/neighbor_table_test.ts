import assert from "node:assert/strict";
import { SeededRandom } from "../../src/core/random.ts";
import { FLAGS, KEY, NeighborTable, numberOf, USED } from "../../src/stack/neighbor_table.ts";

Deno.test("NeighborTable finds what was inserted and not removed, as a Map does", () => {
  for (let seed = 1; seed <= 20; seed++) {
    const random = new SeededRandom(seed);
    const table = new NeighborTable(100);
    const model = new Map<number, number>();
    for (let step = 0; step < 3000; step++) {
      // Few addresses, of which many share a chain.
      const address = ((random.uint32() % 40) << 8) | (random.uint32() % 5) | (1 << 31);
      const at = table.find(address);
      assert.equal(at, model.get(address) ?? -1, `seed ${seed}, step ${step}`);
      if (at >= 0 && random.uint32() % 2 === 0) {
        table.remove(at);
        model.delete(address);
      } else if (at < 0) {
        const added = table.insert(address);
        assert.equal(added < 0, model.size === 100);
        if (added < 0) continue;
        assert.equal(table.words[added + KEY], address);
        assert.equal(table.words[added + FLAGS], 0);
        assert.equal(table.time(added, USED), 0);
        assert.ok(![...model.values()].includes(added), "a place of its own");
        table.words[added + FLAGS] = 1;
        table.setTime(added, USED, 1.5);
        model.set(address, added);
      }
      assert.equal(table.count, model.size);
    }
  }
});

Deno.test("NeighborTable.insert gives places below the capacity, and -1 when there is none", () => {
  const table = new NeighborTable(3);
  const places = [1, 2, 3].map((address) => numberOf(table.insert(address)));
  assert.deepEqual(places, [0, 1, 2]);
  assert.equal(table.insert(4), -1);
  table.remove(table.find(2));
  assert.equal(numberOf(table.insert(4)), 1);
  assert.equal(table.find(2), -1);
});
