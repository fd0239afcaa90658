/** The state machine of members' health, on a clock and with answers that the tests give. */
import assert from "node:assert/strict";
import { SeededRandom } from "../../../src/core/random.ts";
import { MemberHealth } from "../../../src/flow/backends/health.ts";
import { type Check, type Health, healthOf } from "../../../src/policy/language/health.ts";

const TCP: Check = { kind: "tcp", port: 80 };

/** What a member does with a check. */
type Behaviour = "answers" | "refuses" | "is silent";

/** Members a, b, c … of IPv4 and A, B … of IPv6, which behave as told; every check takes 5 ms. */
class World {
  nowMs = 0;
  readonly events: string[] = [];
  /** Moments of the checks of each. */
  readonly starts: Record<string, number[]> = {};
  readonly behaviour: Record<string, Behaviour> = {};
  readonly shares: [ms: number, share: number][] = [];
  readonly health: MemberHealth<string>;
  canStart = true;
  #due: { readonly member: string; readonly atMs: number }[] = [];

  constructor(members = "a", changes: Partial<Health> = {}, check = TCP) {
    this.health = new MemberHealth<string>({
      random: new SeededRandom(1),
      familyOf: (member) => member < "a" ? 1 : 0,
      start: ({ member }, nowMs) => {
        (this.starts[member] ??= []).push(nowMs);
        if (this.behaviour[member] !== "is silent") {
          this.#due.push({ member, atMs: nowMs + 5 });
        }
        return this.canStart;
      },
      stop: ({ member }) => {
        this.#due = this.#due.filter((one) => one.member !== member);
      },
      changed: ({ checked, from, checks, isDoubtful }) => {
        const { member, state, failure, tookMs } = checked;
        const why = `${failure ?? "ok"}, ${checks} checks, ${tookMs} ms`;
        this.events.push(`${member} ${from} ${state}${isDoubtful ? "?" : ""} (${why})`);
      },
      share: (_, share) => void this.shares.push([this.nowMs, share]),
      lost: ({ member }) => void this.events.push(`${member} lost`),
      allSilent: (family, count) =>
        void this.events.push(`all ${count}${family === 1 ? " of IPv6" : ""} silent`),
    });
    for (const member of members) {
      this.behaviour[member] = "answers";
      this.health.add(member, healthOf(check, changes), 0);
    }
  }

  /** Lets time pass in ticks of 5 ms. */
  advance(ms: number): void {
    for (const end = this.nowMs + ms; this.nowMs < end;) {
      this.nowMs += 5;
      for (const { member } of this.#due.splice(0)) {
        const isRefused = this.behaviour[member] === "refuses";
        this.health.result(member, isRefused ? "refused" : null, false, this.nowMs);
      }
      this.health.tick(this.nowMs);
    }
  }

  take(): string[] {
    return this.events.splice(0);
  }
}

Deno.test("MemberHealth: the first check is at a random moment of the first interval, the others ± 10 %", () => {
  const world = new World("abcdefghijklmnopqrstuvwxyz");
  world.advance(100_000);
  const firsts = Object.values(world.starts).map(([first]) => first!);
  assert.equal(firsts.length, 26);
  assert.ok(Math.max(...firsts) <= 2005 && Math.min(...firsts) < 400 && new Set(firsts).size > 20);
  const gaps = Object.values(world.starts).flatMap((at) => at.slice(1).map((ms, i) => ms - at[i]!));
  assert.ok(gaps.every((ms) => ms >= 1800 && ms <= 2205), `${gaps}`);
  assert.ok(Math.max(...gaps) > 2150 && Math.min(...gaps) < 1850, "it does vary");
});

Deno.test("MemberHealth: the first result decides; then `fall` failures, then `rise` successes in a row", () => {
  const world = new World();
  world.advance(2500);
  assert.deepEqual(world.take(), ["a unknown up (ok, 1 checks, 5 ms)"]);
  world.behaviour.a = "refuses";
  world.advance(5000);
  assert.deepEqual(world.take(), ["a up down (refused, 3 checks, 5 ms)", "a lost"]);
  world.behaviour.a = "answers";
  world.advance(5000);
  assert.deepEqual(world.take(), ["a down up (ok, 2 checks, 5 ms)"]);
});

Deno.test("MemberHealth: while the state is changing, checks are `fastinter` apart", () => {
  const world = new World("a", { fall: 5 });
  world.advance(2500);
  world.behaviour.a = "refuses";
  world.starts.a = [];
  world.advance(6000);
  const gaps = world.starts.a.slice(1).map((ms, i) => ms - world.starts.a![i]!);
  assert.ok(gaps.slice(0, 4).every((ms) => ms >= 450 && ms <= 555), `${gaps}`);
  assert.ok(gaps[4]! >= 1800, "down, it is checked every interval");
});

Deno.test("MemberHealth: a success between failures counts for nothing less than a new start", () => {
  const world = new World();
  world.advance(2500);
  world.take();
  for (let i = 0; i < 5; i++) {
    world.behaviour.a = "refuses";
    const before = world.starts.a!.length;
    while (world.starts.a!.length < before + 2) world.advance(5);
    world.advance(5);
    world.behaviour.a = "answers";
    world.advance(3000);
  }
  assert.deepEqual(world.take(), []);
});

Deno.test("MemberHealth: an unknown member that fails first is down at once", () => {
  const world = new World();
  world.behaviour.a = "refuses";
  world.advance(2500);
  assert.deepEqual(world.take(), ["a unknown down (refused, 1 checks, 5 ms)", "a lost"]);
});

Deno.test("MemberHealth: silence fails after the timeout, and another one's answer proves the link", () => {
  const world = new World("ab");
  world.advance(2500);
  world.take();
  world.behaviour.a = "is silent";
  world.advance(8000);
  assert.deepEqual(world.take(), [
    "a up down (no answer within 1000 ms, 3 checks, 1000 ms)",
    "a lost",
  ]);
});

Deno.test("MemberHealth: all silent within one interval is our link, and nobody's connections are lost", () => {
  const world = new World("abc");
  world.advance(2500);
  world.take();
  for (const member of "abc") world.behaviour[member] = "is silent";
  world.advance(10_000);
  const events = world.take();
  assert.equal(events.filter((event) => event.includes("up down? ")).length, 3, `${events}`);
  assert.deepEqual(events.filter((event) => !event.includes("down?")), ["all 3 silent"]);
  for (const member of "abc") world.behaviour[member] = "answers";
  world.advance(6000);
  assert.deepEqual(world.take().map((event) => event.slice(0, 9)).sort(), [
    "a down up",
    "b down up",
    "c down up",
  ]);
});

Deno.test("MemberHealth: all of one family silent is its way there, whatever the other answers", () => {
  const world = new World("abAB");
  world.advance(2500);
  world.take();
  for (const member of "AB") world.behaviour[member] = "is silent";
  world.advance(60_000);
  const events = world.take();
  assert.equal(events.filter((event) => event.includes("down?")).length, 2);
  assert.deepEqual(events.filter((event) => !event.includes("down?")), ["all 2 of IPv6 silent"]);
  for (const member of "AB") world.behaviour[member] = "answers";
  world.advance(5000);
  world.take();
  world.behaviour.B = "is silent";
  world.advance(5000);
  assert.deepEqual(
    world.take(),
    ["B up down (no answer within 1000 ms, 3 checks, 1000 ms)", "B lost"],
    "one of the family answers: it is not the way",
  );
  for (const member of "abAB") world.behaviour[member] = "is silent";
  world.advance(60_000);
  assert.deepEqual(
    world.take().filter((event) => event.includes("silent")).toSorted(),
    ["all 1 of IPv6 silent", "all 2 silent"],
  );
});

Deno.test("MemberHealth: all that refuse are down, and it is not our link", () => {
  const world = new World("abc");
  world.advance(2500);
  world.take();
  for (const member of "abc") world.behaviour[member] = "refuses";
  world.advance(5000);
  assert.deepEqual(world.take().filter((event) => !event.includes("down")).sort(), [
    "a lost",
    "b lost",
    "c lost",
  ]);
});

Deno.test("MemberHealth: one that falls silent alone is lost an interval later at the latest", () => {
  // b is checked so rarely that its answers prove nothing.
  const world = new World("a");
  world.behaviour.b = "answers";
  world.health.add("b", healthOf(TCP, { intervalMs: 60_000 }), 0);
  world.advance(60_000);
  world.take();
  world.behaviour.a = "is silent";
  world.advance(10_000);
  const [down, lost, ...more] = world.take().filter((event) => event.startsWith("a"));
  assert.match(down!, /^a up down\? /);
  assert.deepEqual([lost, more], ["a lost", []]);
});

Deno.test("MemberHealth: while the link is down and one interval after, nothing is checked or counted", () => {
  const world = new World("ab");
  world.advance(2500);
  world.take();
  for (const member of "ab") world.behaviour[member] = "is silent";
  while (world.starts.a!.length < 4) world.advance(5);
  world.health.linkDown(world.nowMs);
  const starts = { ...world.starts, a: world.starts.a!.length };
  world.advance(30_000);
  assert.equal(world.starts.a!.length, starts.a);
  const upMs = world.nowMs;
  world.health.linkUp(upMs);
  while (!world.events.some((event) => event.startsWith("a up down"))) world.advance(5);
  const [first, ...more] = world.starts.a!.slice(starts.a);
  assert.ok(first! >= upMs + 2000 && first! <= upMs + 4005, `${first! - upMs}`);
  assert.equal(more.length, 2, "three failures after it, whatever there was before");
});

Deno.test("MemberHealth: slow start is linear after a fall, and never at the program's start", () => {
  const world = new World("a", { slowStartMs: 10_000 });
  world.advance(2500);
  assert.equal(world.shares.length, 0);
  world.behaviour.a = "refuses";
  world.advance(5000);
  world.behaviour.a = "answers";
  world.advance(20_000);
  const [startMs, first] = world.shares[0]!;
  assert.equal(first, 0.05);
  assert.equal(world.shares.at(-1)![1], 1);
  for (const [ms, share] of world.shares.slice(1)) {
    assert.ok(Math.abs(share - (ms - startMs) / 10_000) <= 0.051, `${share} after ${ms - startMs}`);
  }
});

Deno.test("MemberHealth: one that falls while it is growing has its whole share again for the next time", () => {
  const world = new World("a", { slowStartMs: 60_000 });
  for (const behaviour of ["answers", "refuses", "answers", "refuses"] as const) {
    world.behaviour.a = behaviour;
    world.advance(6000);
  }
  assert.equal(world.shares.at(-1)![1], 1);
});

Deno.test("MemberHealth: what speaks against a member hastens its check, but not above `fastinter`", () => {
  const world = new World("a", { intervalMs: 100_000 });
  world.advance(100_000);
  world.starts.a = [];
  for (let i = 0; i < 400; i++) {
    world.health.hurry("a", world.nowMs);
    world.advance(5);
  }
  const gaps = world.starts.a.slice(1).map((ms, i) => ms - world.starts.a![i]!);
  assert.ok(world.starts.a[0]! < 100_050, "at once");
  assert.ok(gaps.length >= 3 && gaps.every((ms) => ms >= 500), `${gaps}`);
});

Deno.test("MemberHealth: one that was removed is not checked, and its late result says nothing", () => {
  const world = new World("ab");
  world.advance(2500);
  world.take();
  world.health.remove("a", world.nowMs);
  world.health.result("a", "refused", false, world.nowMs);
  const { length } = world.starts.a!;
  world.advance(10_000);
  assert.deepEqual([world.starts.a!.length, world.health.count, world.take()], [length, 1, []]);
});

Deno.test("MemberHealth: a check that can't be begun says nothing about the member", () => {
  const world = new World();
  world.advance(2500);
  world.take();
  world.canStart = false;
  world.behaviour.a = "is silent";
  world.advance(10_000);
  assert.deepEqual(world.take(), []);
  world.behaviour.a = "refuses";
  world.canStart = true;
  world.advance(5000);
  assert.match(world.take()[0]!, /^a up down /);
});

Deno.test("MemberHealth: `off` and `neighbor` need no checks", () => {
  const world = new World("a", {}, { kind: "neighbor" });
  world.advance(10_000);
  assert.deepEqual([world.health.count, world.starts, world.events], [0, {}, []]);
});

Deno.test("MemberHealth: thousands that are due at once all get their turn", () => {
  let turns = new Map<number, number>();
  const health = new MemberHealth<number>({
    random: new SeededRandom(1),
    familyOf: () => 0,
    start: ({ member }) => (turns.set(member, (turns.get(member) ?? 0) + 1), false),
    stop: () => {},
    changed: () => {},
    share: () => {},
    lost: () => {},
    allSilent: () => {},
  });
  for (let i = 0; i < 3000; i++) health.add(i, healthOf(TCP, { fastinterMs: 100 }), -5000);
  for (let ms = 0; ms < 2400; ms += 100) health.tick(ms);
  turns = new Map();
  for (let ms = 2400; ms < 4800; ms += 100) health.tick(ms);
  assert.equal(turns.size, 3000);
  assert.ok([...turns.values()].every((count) => count >= 1 && count <= 3));
});
