/**
 * Which connection goes for a new one, class by class; the whole of it is in `eviction_test.ts`.
 */
import assert from "node:assert/strict";
import { SeededRandom } from "../../src/core/random.ts";
import { LinkedLists } from "../../src/core/linked_lists.ts";
import * as eviction from "../../src/flow/eviction.ts";
import { VictimSelector } from "../../src/flow/victim.ts";
import { FlowTable } from "../../src/flow/table.ts";
import { Pdu } from "../../src/wire/pdu.ts";

const { ONE_SIDED, UNANSWERED, HALF_OPEN, RESET, FINISHED, LIVE } = eviction;
const CAPACITY = 20_000;

class Crowd {
  readonly table = new FlowTable(CAPACITY, new SeededRandom(1));
  readonly classes = new eviction.EvictionClasses(new LinkedLists(CAPACITY));
  readonly victims = new VictimSelector(this.table);
  #port = 0;

  add(kind: number, nowMs = 0, src = 1): number {
    const entry = this.table.insertOneSided(6, src, 2, this.#port++);
    this.table.touch(entry, nowMs);
    this.classes.add(entry, kind);
    return entry;
  }

  oldestFrom(src: number): number {
    const pdu = Object.assign(new Pdu(), { protocol: 6, src });
    return this.victims.oldestFrom(this.classes, pdu);
  }

  /** Entries in the order in which they go. */
  order(newcomer: number, nowMs: number, kindOf: ReadonlyMap<number, number>): number[] {
    const order: number[] = [];
    while (true) {
      const entry = this.victims.select(this.classes, newcomer, nowMs);
      if (entry < 0) return order;
      order.push(entry);
      this.classes.remove(entry, kindOf.get(entry)!);
    }
  }
}

const EACH = [LIVE, FINISHED, RESET, HALF_OPEN, HALF_OPEN, UNANSWERED, ONE_SIDED, ONE_SIDED];

/** [what is new, whether the others are old, the classes that go for it in that order] */
const ORDERS: [string, number, boolean, number[]][] = [
  ["a SYN", HALF_OPEN, true, [
    ...[ONE_SIDED, ONE_SIDED, HALF_OPEN, HALF_OPEN, UNANSWERED, RESET, FINISHED],
  ]],
  ["a SYN", HALF_OPEN, false, [
    ...[ONE_SIDED, ONE_SIDED, RESET, FINISHED, HALF_OPEN, HALF_OPEN, UNANSWERED],
  ]],
  ["a datagram", UNANSWERED, true, [
    ...[ONE_SIDED, ONE_SIDED, HALF_OPEN, HALF_OPEN, UNANSWERED, RESET, FINISHED],
  ]],
  ["a datagram", UNANSWERED, false, [
    ...[ONE_SIDED, ONE_SIDED, RESET, FINISHED, HALF_OPEN, HALF_OPEN, UNANSWERED],
  ]],
  ["a ping", ONE_SIDED, true, [
    ...[ONE_SIDED, ONE_SIDED, HALF_OPEN, HALF_OPEN, UNANSWERED, RESET, FINISHED],
  ]],
  ["a ping", ONE_SIDED, false, [ONE_SIDED, ONE_SIDED, RESET, FINISHED]],
];
for (const [name, newcomer, isOld, expected] of ORDERS) {
  Deno.test(`VictimSelector.select for ${name} among ${isOld ? "old" : "young"} ones`, () => {
    const crowd = new Crowd();
    const kindOf = new Map(EACH.map((kind) => [crowd.add(kind), kind]));
    const order = crowd.order(newcomer, isOld ? 2000 : 1999, kindOf);
    assert.deepEqual(order.map((entry) => kindOf.get(entry)), expected);
    for (const kind of [ONE_SIDED, HALF_OPEN]) {
      const same = order.filter((entry) => kindOf.get(entry) === kind);
      assert.deepEqual(same, same.toSorted((a, b) => a - b), "oldest first");
    }
  });
}

Deno.test("VictimSelector.select is of the class that has more, so that its flood costs the other nothing", () => {
  for (const [flood, other] of [[UNANSWERED, HALF_OPEN], [HALF_OPEN, UNANSWERED]] as const) {
    for (const nowMs of [100, 5000]) {
      const crowd = new Crowd();
      for (let i = 0; i < 10; i++) crowd.add(other, i);
      const first = crowd.add(flood, 11);
      for (let i = 0; i < 10; i++) crowd.add(flood, 20);
      for (const newcomer of [flood, other]) {
        assert.equal(crowd.victims.select(crowd.classes, newcomer, nowMs), first);
      }
    }
  }
});

/**
 * How many of `count` newcomers find a victim among young ones of class `kind`, all in one moment.
 */
function admitted(crowd: Crowd, kind: number, newcomer: number, count: number): number {
  let found = 0;
  for (let i = 0; i < count; i++) {
    const entry = crowd.victims.select(crowd.classes, newcomer, 0);
    if (entry < 0) continue;
    found++;
    crowd.classes.remove(entry, kind);
  }
  return found;
}

Deno.test("VictimSelector.select gives young handshakes away at 5,000 a second, for SYNs and UDP apart", () => {
  const crowd = new Crowd();
  for (let i = 0; i < 15_000; i++) crowd.add(HALF_OPEN);
  assert.equal(admitted(crowd, HALF_OPEN, HALF_OPEN, 6000), 5000);
  assert.equal(admitted(crowd, HALF_OPEN, ONE_SIDED, 10), 0);
  assert.equal(admitted(crowd, HALF_OPEN, UNANSWERED, 6000), 5000);
});

for (const kind of [ONE_SIDED, UNANSWERED]) {
  Deno.test(`VictimSelector.select gives class ${kind} away at any rate, and old handshakes`, () => {
    const crowd = new Crowd();
    for (let i = 0; i < 8000; i++) crowd.add(kind);
    assert.equal(admitted(crowd, kind, HALF_OPEN, 8000), 8000);
    for (let i = 0; i < 10_000; i++) crowd.add(HALF_OPEN, -2000);
    assert.equal(admitted(crowd, HALF_OPEN, HALF_OPEN, 10_000), 10_000);
  });
}

Deno.test("VictimSelector.oldestFrom finds what one source has, of UDP and handshakes, among the oldest 16", () => {
  const crowd = new Crowd();
  const [alice, bob] = [1, 2];
  for (let i = 0; i < 15; i++) crowd.add(UNANSWERED, 0, alice);
  const handshake = crowd.add(HALF_OPEN, 0, bob);
  assert.equal(crowd.oldestFrom(bob), handshake);
  const query = crowd.add(UNANSWERED, 0, bob);
  assert.equal(crowd.oldestFrom(bob), query);
  crowd.classes.renew(0, UNANSWERED, UNANSWERED);
  crowd.add(UNANSWERED, 0, bob);
  assert.equal(crowd.oldestFrom(bob), query);
  for (const kind of [ONE_SIDED, LIVE, FINISHED]) crowd.add(kind, 0, 3);
  assert.equal(crowd.oldestFrom(3), -1);
  for (let i = 0; i < 16; i++) crowd.add(HALF_OPEN, 0, 4);
  crowd.add(HALF_OPEN, 0, 5);
  assert.equal(crowd.oldestFrom(5), -1);
});
