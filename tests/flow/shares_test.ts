/** How many connections each source has: the sketch against exact counts. */
import assert from "node:assert/strict";
import { below, SeededRandom } from "../../src/core/random.ts";
import * as eviction from "../../src/flow/eviction.ts";
import { ALL, Shares } from "../../src/flow/shares.ts";
import { FlowTable } from "../../src/flow/table.ts";

const { ONE_SIDED, UNANSWERED, HALF_OPEN, LIVE } = eviction;
const [TCP, UDP] = [6, 17];
const PROXY = 100;

const PORT = 80;

interface Member {
  readonly entry: number;
  readonly src: number;
  readonly protocol: number;
  readonly backend: number;
  readonly isPooled: boolean;
  kind: number;
}

/** Connections that come, change their class and go. */
class Members {
  readonly table: FlowTable;
  readonly shares: Shares;
  readonly all: Member[] = [];
  #ports = 0;

  constructor(capacity: number, seed = 1) {
    this.table = new FlowTable(capacity, new SeededRandom(seed));
    this.shares = new Shares(this.table, new SeededRandom(seed + 100));
  }

  add(src: number, kind: number, { protocol = TCP, backend = 1, isPooled = true } = {}): Member {
    const ports = this.#ports++;
    const bPorts = (PORT << 16) | (ports & 0xffff);
    const bDst = PROXY + (ports >> 16);
    const entry = this.table.insert(protocol, src, PROXY, ports, backend, bDst, bPorts);
    const member = { entry, src, protocol, backend, isPooled, kind };
    this.shares.move(entry, -1, kind, isPooled);
    this.all.push(member);
    return member;
  }

  change(member: Member, kind: number): void {
    this.shares.move(member.entry, member.kind, kind, member.isPooled);
    member.kind = kind;
  }

  remove(at: number): void {
    const [member] = this.all.splice(at, 1);
    this.shares.move(member!.entry, member!.kind, -1, member!.isPooled);
    this.table.remove(member!.entry);
  }

  /** [pending, all] of a source, by the sketch and by counting; in all, or towards a pool. */
  compare(src: number, pool?: { protocol: number; backend: number }) {
    const own = this.all.filter((one) =>
      one.src === src && (pool === undefined ||
        one.isPooled && one.protocol === pool.protocol && one.backend === pool.backend)
    );
    const pending = own.filter(({ kind }) => kind === UNANSWERED || kind === HALF_OPEN).length;
    const total = pending + own.filter(({ kind }) => kind === LIVE).length;
    const where = pool === undefined ? ALL : this.shares.poolOf(pool.protocol, pool.backend, PORT);
    return {
      counted: [this.shares.pending(src, where), this.shares.total(src, where)],
      exact: [pending, total],
    };
  }
}

Deno.test("Shares agrees with exact counts as connections come, change their class and go", () => {
  const random = new SeededRandom(1);
  const members = new Members(300);
  const sources = [1, 2, 0x0a00_0001, -1, 0x0a00_0002];
  for (let i = 0; i < 20_000; i++) {
    const act = below(random, 3);
    const kind = below(random, LIVE + 1);
    if (act === 0 && members.all.length < 300) {
      members.add(sources[below(random, sources.length)]!, kind, {
        protocol: [TCP, UDP][below(random, 2)]!,
        backend: 1 + below(random, 2),
        isPooled: below(random, 4) > 0,
      });
    } else if (members.all.length > 0) {
      const at = below(random, members.all.length);
      if (act === 1) members.change(members.all[at]!, kind);
      else members.remove(at);
    }
    if (i % 50 !== 0) continue;
    for (const src of sources) {
      const all = members.compare(src);
      assert.deepEqual(all.counted, all.exact, `operation ${i}`);
      const pool = members.compare(src, { protocol: UDP, backend: 2 });
      assert.deepEqual(pool.counted, pool.exact, `operation ${i}`);
    }
  }
});

Deno.test("Shares counts nothing that denies no one room", () => {
  const members = new Members(100);
  for (const kind of [ONE_SIDED, eviction.RESET, eviction.FINISHED]) members.add(7, kind);
  assert.deepEqual(members.compare(7).counted, [0, 0]);
});

Deno.test("Shares in a full table of as many sources is too high by a handful, never too low", () => {
  const capacity = 262_144;
  for (const seed of [1, 2]) {
    const members = new Members(capacity, seed);
    for (let src = 0; src < capacity; src++) members.add(src, UNANSWERED);
    let most = 0;
    for (let src = 0; src < capacity; src += 7) {
      const counted = members.shares.pending(src, ALL);
      assert.ok(counted >= 1);
      most = Math.max(most, counted);
    }
    assert.ok(most < 20, `${most}`);
  }
});

Deno.test("Shares is keyed: which sources meet differs from run to run", () => {
  const meetings = [1, 2, 3].map((seed) => {
    const members = new Members(4000, seed);
    for (let i = 0; i < 4000; i++) members.add(9, HALF_OPEN);
    const met: number[] = [];
    for (let src = 10; src < 200_000; src++) {
      if (members.shares.pending(src, ALL) > 0) met.push(src);
    }
    assert.ok(met.length < 20, `of 200,000 ${met.length} share both cells with a heavy one`);
    return met.join();
  });
  assert.equal(
    new Set(meetings.filter((met) => met !== "")).size,
    meetings.filter((met) => met !== "").length,
  );
});
