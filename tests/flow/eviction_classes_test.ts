import assert from "node:assert/strict";
import { below, SeededRandom } from "../../src/core/random.ts";
import { LinkedLists, List } from "../../src/core/linked_lists.ts";
import {
  EvictionClasses,
  FINISHED,
  HALF_OPEN,
  LIVE,
  RESET,
  UNANSWERED,
} from "../../src/flow/eviction.ts";

const CAPACITY = 40;

function entriesOf(links: LinkedLists, list: List): number[] {
  const entries: number[] = [];
  for (let entry = list.first; entry >= 0; entry = links.newer(entry)) entries.push(entry);
  return entries;
}

Deno.test("LinkedLists keeps several lists in the order of arrays, over 20,000 random operations", () => {
  const random = new SeededRandom(1);
  const links = new LinkedLists(CAPACITY);
  const lists = Array.from({ length: 3 }, () => new List());
  const arrays: number[][] = lists.map(() => []);
  for (let i = 0; i < 20_000; i++) {
    const entry = below(random, CAPACITY);
    const from = arrays.findIndex((array) => array.includes(entry));
    if (from >= 0) {
      links.remove(lists[from]!, entry);
      arrays[from]!.splice(arrays[from]!.indexOf(entry), 1);
    }
    const to = below(random, 4);
    if (to < 3) {
      links.append(lists[to]!, entry);
      arrays[to]!.push(entry);
    }
    lists.forEach((list, n) => {
      assert.deepEqual(entriesOf(links, list), arrays[n], `operation ${i}`);
      assert.deepEqual([list.first, list.last], [arrays[n]![0] ?? -1, arrays[n]!.at(-1) ?? -1]);
    });
  }
});

Deno.test("LinkedLists takes the only, first, middle and last entry out, and puts it back", () => {
  for (const entries of [[7], [3, 9], [0, 1, 2], [39, 0, 20, 1]]) {
    for (const gone of entries) {
      const links = new LinkedLists(CAPACITY);
      const list = new List();
      for (const entry of entries) links.append(list, entry);
      links.remove(list, gone);
      const rest = entries.filter((entry) => entry !== gone);
      assert.deepEqual(entriesOf(links, list), rest);
      links.append(list, gone);
      assert.deepEqual(entriesOf(links, list), [...rest, gone]);
    }
  }
});

Deno.test("EvictionClasses agrees with arrays over 20,000 random operations", () => {
  const random = new SeededRandom(2);
  const classes = new EvictionClasses(new LinkedLists(CAPACITY));
  const expected: number[][] = Array.from({ length: LIVE + 1 }, () => []);
  const kindOf = (entry: number) => expected.findIndex((array) => array.includes(entry));
  const drop = (entry: number, kind: number) => {
    expected[kind]!.splice(expected[kind]!.indexOf(entry), 1);
  };
  for (let i = 0; i < 20_000; i++) {
    const entry = below(random, CAPACITY);
    const from = kindOf(entry);
    const to = below(random, LIVE + 1);
    if (from < 0) {
      classes.add(entry, to);
      expected[to]!.push(entry);
    } else if (below(random, 3) === 0) {
      classes.remove(entry, from);
      drop(entry, from);
    } else {
      classes.renew(entry, from, to);
      drop(entry, from);
      expected[to]!.push(entry);
    }
    assert.deepEqual([...classes], expected.flat(), `operation ${i}`);
    assert.equal(classes.count, expected.flat().length);
    expected.forEach((entries, kind) => {
      assert.equal(classes.size(kind), entries.length);
      assert.equal(classes.oldest(kind), entries[0] ?? -1);
    });
    const inUse = [UNANSWERED, HALF_OPEN, LIVE].flatMap((kind) => expected[kind]!);
    assert.equal(classes.inUse, inUse.length);
  }
});

Deno.test("EvictionClasses has the oldest of each class, and the next newer ones", () => {
  const classes = new EvictionClasses(new LinkedLists(CAPACITY));
  const kinds = [LIVE, FINISHED, FINISHED, RESET, HALF_OPEN, RESET, LIVE, HALF_OPEN];
  kinds.forEach((kind, entry) => classes.add(entry, kind));
  classes.renew(4, HALF_OPEN, HALF_OPEN); // heard of again: now the newest of its class
  assert.deepEqual([HALF_OPEN, RESET, FINISHED].map((kind) => classes.oldest(kind)), [7, 3, 1]);
  assert.deepEqual([7, 4, 3, 5].map((entry) => classes.newer(entry)), [4, -1, 5, -1]);
  assert.deepEqual([...classes], [7, 4, 3, 5, 1, 2, 0, 6]);
});
