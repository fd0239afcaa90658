import assert from "node:assert/strict";
import { Arena, VNET_BYTES } from "../../src/core/arena.ts";
import { reasonName } from "../../src/core/reason.ts";
import { Neighbors } from "../../src/stack/neighbors.ts";
import { Openers } from "../../src/stack/openers.ts";
import { formatMac, parseMac } from "../../src/wire/address.ts";
import { formatAddress6 } from "../../src/wire/address6.ts";
import { address6Words } from "../support/frames6.ts";

const OWN = parseMac("02:00:00:00:01:00");
const FRAME_BYTES = 60;
const TICK_MS = 100;
const NEIGHBOR = "2001:db8::1";
const [MAC, OTHER_MAC] = ["02:00:00:00:00:01", "02:00:00:00:00:02"];

/** All addresses in the tests have the same digest, so that only the whole address tells them. */
const KEY = 7;

/** Neighbours of IPv6 beside a clock. */
class World {
  readonly arena = new Arena();
  /** `ms after the start, address, to whom`. */
  readonly asked: string[] = [];
  readonly events: string[] = [];
  readonly neighbors: Neighbors;
  startMs = 5000.25;
  nowMs = this.startMs;

  constructor(maxNeighbors = 100) {
    this.neighbors = new Neighbors({
      arena: this.arena,
      mac: OWN,
      isIpv6: true,
      watched: [],
      maxNeighbors,
      openers: new Openers(10),
      nowMs: this.nowMs,
      ask: (_key, mac, whole, from) => {
        const to = mac === null ? "all" : formatMac(mac);
        this.asked.push(`${this.ageMs} ${this.#text(whole, from)} ${to}`);
        return true;
      },
      resolved: (_key, mac, _nowMs, whole, from) =>
        this.events.push(`${this.#text(whole, from)} at ${formatMac(mac)}`),
      unanswered: (_key, _nowMs, whole, from) =>
        this.events.push(`${this.#text(whole, from)} unanswered`),
      dropped: (reason, count) => this.events.push(`${reasonName(reason)} ${count}`),
      undelivered: (packets) =>
        this.events.push(`undelivered ${packets.map((packet) => packet[VNET_BYTES + 20])}`),
    });
  }

  get ageMs(): number {
    return Math.round(this.nowMs - this.startMs);
  }

  #text(whole: Int32Array, from: number): string {
    return formatAddress6(whole, from);
  }

  /** Sends a packet with that mark; the MAC address that it leaves for, or why it does not. */
  send(address = NEIGHBOR, mark = 0): string {
    const { arena } = this;
    const frame = arena.rxStart + 16;
    arena.sent();
    arena.bytes[frame + 20] = mark;
    const whole = address6Words(address);
    const reason = this.neighbors.send(frame, FRAME_BYTES, KEY, this.nowMs, -1, whole, 0);
    if (reason !== 0) return reasonName(reason);
    if (arena.txCount === 0) return "held";
    return formatMac({ hi: arena.view.getUint16(frame), lo: arena.view.getInt32(frame + 2) });
  }

  /** A message from the neighbour with its MAC address. */
  hear(mac: string, address = NEIGHBOR): void {
    this.neighbors.hear(KEY, parseMac(mac), this.nowMs, true, address6Words(address), 0);
  }

  /** An advertisement; flags are of `S` and `O`. */
  advertised(mac: string | null, flags: string, address = NEIGHBOR): void {
    const told = mac === null ? null : parseMac(mac);
    const isSolicited = flags.includes("S");
    const isOverride = flags.includes("O");
    const whole = address6Words(address);
    const { neighbors, nowMs } = this;
    neighbors.advertised(KEY, told, { isSolicited, isOverride }, nowMs, whole, 0);
  }

  run(ms: number): void {
    for (const endMs = this.nowMs + ms; this.nowMs < endMs;) {
      this.nowMs += TICK_MS;
      this.neighbors.tick(this.nowMs);
    }
  }

  watch(address = NEIGHBOR): void {
    this.neighbors.watch(KEY, this.nowMs, address6Words(address), 0);
  }
}

Deno.test("Neighbors tells neighbours of one digest apart by their whole addresses", () => {
  const world = new World();
  world.hear(MAC, "2001:db8::1");
  world.hear(OTHER_MAC, "2001:db8::2");
  assert.equal(world.send("2001:db8::1"), MAC);
  assert.equal(world.send("2001:db8::2"), OTHER_MAC);
  // Each differs from a known one in one word.
  for (const other of ["2001:db8::3", "2001:db8::1:0:1", "2001:db8:1::1", "2001:db9::1"]) {
    assert.equal(world.send(other), "held");
  }
  assert.equal(world.neighbors.count, 6);
  const { neighbors, nowMs } = world;
  const found = neighbors.find(KEY, nowMs, address6Words("2001:db8::2"), 0);
  assert.equal(found?.address, 0x20010db8_00000000_00000000_00000002n);
  assert.equal(neighbors.numberOf(KEY, address6Words("2001:db8::2"), 0), 1);
  assert.equal(neighbors.numberOf(KEY, address6Words("2001:db8::3"), 0), -1);
});

// Resolution (RFC 4861 §7.2.2)

Deno.test("Neighbors asks for one of IPv6 three times, and hands back what waited for it", () => {
  const world = new World();
  assert.deepEqual([world.send(NEIGHBOR, 1), world.send(NEIGHBOR, 2)], ["held", "held"]);
  world.run(2900);
  assert.deepEqual(world.asked, [
    `0 ${NEIGHBOR} all`,
    `1000 ${NEIGHBOR} all`,
    `2000 ${NEIGHBOR} all`,
  ]);
  assert.deepEqual(world.events, []);
  world.run(100);
  assert.deepEqual(world.events, ["arp-unanswered 2", "undelivered 1,2"]);
  assert.equal(world.neighbors.count, 0);
  assert.equal(world.send(), "held");
  assert.equal(world.asked.length, 4, "asked anew");
});

Deno.test("Neighbors hands back what waited for a watched one when that falls silent", () => {
  const world = new World();
  world.watch();
  world.run(1000);
  world.send(NEIGHBOR, 9);
  world.run(2000);
  assert.deepEqual(world.events, [
    "arp-unanswered 1",
    `${NEIGHBOR} unanswered`,
    "undelivered 9",
  ]);
  assert.equal(world.send(), "arp-unanswered");
});

Deno.test("Neighbors hands nothing back that it has no room for: nobody was asked three times", () => {
  const world = new World(2);
  for (let i = 1; i < 10; i++) world.send(`2001:db8::${i}`);
  assert.deepEqual(world.events, new Array(7).fill("arp-unanswered 1"));
});

Deno.test("Neighbors gives no more than one neighbour for a scan of a whole network", () => {
  const world = new World(10);
  world.watch("2001:db8::ffff");
  world.advertised(MAC, "S", "2001:db8::ffff");
  for (let i = 1; i <= 9; i++) {
    world.hear(MAC, `2001:db8::${i}`);
    world.send(`2001:db8::${i}`);
  }
  for (let i = 0; i < 5000; i++) {
    world.send(`2001:db8::1:${i.toString(16)}`);
    if (i % 100 === 0) world.run(TICK_MS);
  }
  assert.equal(world.send("2001:db8::ffff"), MAC);
  const kept = [1, 2, 3, 4, 5, 6, 7, 8, 9].filter((i) => world.send(`2001:db8::${i}`) === MAC);
  assert.deepEqual(kept, [2, 3, 4, 5, 6, 7, 8, 9]);
  const seconds = world.ageMs / 1000;
  assert.ok(world.asked.length < 256 + 100 * seconds + 10, `${world.asked.length} in ${seconds} s`);
});

Deno.test("Neighbors gives no neighbour in use for those that only say where they are", () => {
  const world = new World(10);
  for (let i = 1; i <= 7; i++) {
    world.hear(MAC, `2001:db8::${i}`);
    world.send(`2001:db8::${i}`);
  }
  for (let i = 0; i < 5000; i++) {
    world.hear(MAC, `2001:db8::1:${i.toString(16)}`);
    if (i % 100 === 0) world.run(TICK_MS);
  }
  assert.equal(world.neighbors.count, 10);
  const kept = [1, 2, 3, 4, 5, 6, 7].filter((i) => world.send(`2001:db8::${i}`) === MAC);
  assert.equal(kept.length, 7);
  assert.equal(world.send("2001:db8::1:1387"), MAC, "the last of them");
  world.hear(MAC, "2001:db8::2:1");
  world.run(11 * 60_000);
  assert.equal(world.neighbors.count, 0, "all are forgotten in time");
});

// Reachability (RFC 4861 §7.3)

Deno.test("Neighbors uses a neighbour that it has heard of for five seconds before it probes it", () => {
  const world = new World();
  world.hear(MAC);
  world.run(60_000);
  assert.deepEqual(world.asked, [], "no traffic, no probes");
  assert.equal(world.send(), MAC);
  world.run(4900);
  assert.deepEqual(world.asked, []);
  world.run(3000);
  assert.deepEqual(world.asked, [
    `65000 ${NEIGHBOR} ${MAC}`,
    `66000 ${NEIGHBOR} ${MAC}`,
    `67000 ${NEIGHBOR} ${MAC}`,
  ]);
  assert.equal(world.send(), MAC, "used while it is being probed");
  world.run(200);
  assert.equal(world.neighbors.count, 0);
  assert.equal(world.send(), "held");
});

Deno.test("Neighbors asks nobody who has answered for as long as that counts", () => {
  const world = new World();
  world.neighbors.freshMs = 20_000;
  world.hear(MAC);
  world.send();
  world.run(5100);
  world.advertised(MAC, "S");
  for (let ms = 0; ms < 20_000; ms += 500) {
    world.send();
    world.run(500);
  }
  assert.equal(world.asked.length, 1);
  world.send();
  world.run(1000);
  world.send();
  world.run(5000);
  assert.equal(world.asked.length, 2);
  assert.match(world.asked[1]!, new RegExp(`^\\d+ ${NEIGHBOR} ${MAC}$`));
});

Deno.test("Neighbors sends what waited for one that says where it is, and then probes that", () => {
  const world = new World();
  world.send();
  world.arena.sent();
  world.hear(MAC);
  assert.equal(world.arena.txCount, 1);
  world.run(5000);
  assert.deepEqual(world.asked, [`0 ${NEIGHBOR} all`, `5000 ${NEIGHBOR} ${MAC}`]);
});

/**
 * Which message leaves which MAC address and state: RFC 4861 §7.2.5, and §7.2.3 for a solicitation.
 */
const INCOMPLETE = "INCOMPLETE";
const REACHABLE = "REACHABLE";
const STALE = "STALE";
const TABLE: readonly (readonly [string, string, string | null, string, string | null, string])[] =
  [
    // State before, flags, MAC address told, → state, MAC address after
    [INCOMPLETE, "", MAC, STALE, MAC, "any"],
    [INCOMPLETE, "O", MAC, STALE, MAC, "any"],
    [INCOMPLETE, "S", MAC, REACHABLE, MAC, "any"],
    [INCOMPLETE, "SO", MAC, REACHABLE, MAC, "any"],
    [INCOMPLETE, "SO", null, INCOMPLETE, null, "no address"],
    [REACHABLE, "", OTHER_MAC, STALE, MAC, "I.a"],
    [REACHABLE, "S", OTHER_MAC, STALE, MAC, "I.a"],
    [REACHABLE, "O", OTHER_MAC, STALE, OTHER_MAC, "II"],
    [REACHABLE, "SO", OTHER_MAC, REACHABLE, OTHER_MAC, "II"],
    [REACHABLE, "", MAC, REACHABLE, MAC, "II, same address"],
    [REACHABLE, "O", MAC, REACHABLE, MAC, "II, same address"],
    [REACHABLE, "S", null, REACHABLE, MAC, "II, no address"],
    [REACHABLE, "", null, REACHABLE, MAC, "II, no address"],
    [STALE, "", OTHER_MAC, STALE, MAC, "I.b"],
    [STALE, "S", OTHER_MAC, STALE, MAC, "I.b"],
    [STALE, "O", OTHER_MAC, STALE, OTHER_MAC, "II"],
    [STALE, "SO", OTHER_MAC, REACHABLE, OTHER_MAC, "II"],
    [STALE, "S", MAC, REACHABLE, MAC, "II, same address"],
    [STALE, "", MAC, STALE, MAC, "II, same address"],
    [STALE, "S", null, REACHABLE, MAC, "II, no address"],
  ];

for (const [before, flags, told, after, mac, rule] of TABLE) {
  const name = `${before}, ${flags || "no flag"}, ${told ?? "no MAC address"} (${rule})`;
  Deno.test(`Neighbors.advertised: ${name}`, () => {
    const world = new World();
    if (before === INCOMPLETE) world.send();
    else world.hear(MAC);
    if (before === REACHABLE) world.advertised(MAC, "S");
    world.asked.length = 0;
    world.advertised(told, flags);
    assert.equal(stateOf(world), after);
    if (mac !== null) assert.equal(world.send(), mac);
  });
}

/** By what is asked for in the next 5.5 s, if packets are sent meanwhile. */
function stateOf(world: World): string {
  if (world.send() === "held") return INCOMPLETE;
  for (let i = 0; i < 11; i++) {
    world.run(500);
    world.send();
  }
  return world.asked.length === 0 ? REACHABLE : STALE;
}

Deno.test("Neighbors.advertised makes no neighbour of one that nobody sends to", () => {
  const world = new World();
  world.advertised(MAC, "SO");
  assert.equal(world.neighbors.count, 0);
});

Deno.test("Neighbors.hear takes another MAC address for one that is being probed", () => {
  const world = new World();
  world.hear(MAC);
  world.send();
  world.run(5000);
  assert.equal(world.asked.length, 1);
  world.hear(MAC);
  world.run(1000);
  assert.equal(world.asked.length, 2, "nothing new: it is still probed");
  world.hear(OTHER_MAC);
  world.run(4000);
  assert.equal(world.asked.length, 2);
  assert.equal(world.send(), OTHER_MAC);
});

Deno.test("Neighbors asks a watched one at once, wherever it says to be", () => {
  const world = new World();
  world.watch();
  world.advertised(MAC, "SO");
  world.run(1000);
  world.hear(MAC);
  assert.equal(world.asked.length, 1, "that is where it was");
  world.hear(OTHER_MAC);
  world.advertised(MAC, "");
  assert.deepEqual(world.asked.slice(1), [`1000 ${NEIGHBOR} ${OTHER_MAC}`]);
  assert.deepEqual(world.events, [`${NEIGHBOR} at ${MAC}`, `${NEIGHBOR} at ${OTHER_MAC}`]);
  world.run(3000);
  assert.equal(world.events.at(-1), `${NEIGHBOR} unanswered`);
});

Deno.test("Neighbors asks a watched one once a second, as often as it says to be elsewhere", () => {
  const world = new World();
  world.watch();
  for (let i = 0; i < 2000; i++) {
    world.advertised(i % 2 === 0 ? MAC : OTHER_MAC, "O");
    if (i % 20 === 0) world.run(TICK_MS);
  }
  assert.equal(world.ageMs, 10_000);
  const times = world.asked.map((line) => Number(line.split(" ")[0]));
  assert.ok(times.slice(1).every((ms, i) => ms - times[i]! >= 1000), `${times}`);
  assert.ok(times.length >= 9, `${times}`);
  assert.ok(!world.events.includes(`${NEIGHBOR} unanswered`), "each time it has spoken since");
});

Deno.test("Neighbors finds a watched one of IPv6 that owes an answer, or has sent it", () => {
  const world = new World();
  const whole = address6Words(NEIGHBOR);
  world.watch();
  world.advertised(MAC, "S");
  world.neighbors.expectAnswer(KEY, world.nowMs, address6Words("2001:db8::2"), 0);
  world.neighbors.expectAnswer(KEY, world.nowMs, whole, 0);
  world.run(500);
  world.neighbors.answered(KEY, whole, 0);
  world.run(2000);
  assert.equal(world.asked.length, 1);
  world.neighbors.expectAnswer(KEY, world.nowMs, whole, 0);
  world.run(1000);
  assert.equal(world.asked.length, 2);
  world.neighbors.unwatch(KEY, whole, 0);
  assert.equal(world.neighbors.count, 0);
});

Deno.test("Neighbors takes up and tells whole addresses of an earlier run", () => {
  const world = new World();
  const { neighbors, nowMs } = world;
  const whole = address6Words(NEIGHBOR);
  assert.equal(neighbors.resume(KEY, parseMac(MAC), nowMs - 1000, nowMs, whole, 0), true);
  assert.equal(neighbors.resume(KEY, parseMac(MAC), nowMs - 1000, nowMs, whole, 0), false);
  assert.equal(world.send(), MAC);
  const told: unknown[] = [];
  neighbors.forEachKnown((key, mac, confirmedMs, words, from) =>
    told.push([key, formatMac(mac), confirmedMs, ...words.subarray(from, from + 4)])
  );
  assert.deepEqual(told, [[KEY, MAC, nowMs - 1000, ...whole]]);
});
