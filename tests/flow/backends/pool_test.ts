import assert from "node:assert/strict";
import { SeededRandom } from "../../../src/core/random.ts";
import { reasonName } from "../../../src/core/reason.ts";
import { Backends } from "../../../src/flow/backends/backends.ts";
import { type Member, plainMember } from "../../../src/flow/backends/member.ts";
import type { Pool } from "../../../src/flow/backends/pool.ts";
import type { PickMethod, PoolMember } from "../../../src/policy/language/ast.ts";
import { PICK_WORDS } from "../../../src/policy/language/words.ts";
import { Pdu } from "../../../src/wire/pdu.ts";

interface Made {
  readonly backends: Backends;
  readonly pool: Pool;
  readonly members: readonly Member[];
  /** What a new connection from this client and port gets, by address; null: none. */
  readonly pick: (by: PickMethod, client?: number, port?: number) => number | null;
}

/** A pool of members with the addresses 0, 1, 2 … */
function make(options: readonly Partial<PoolMember>[]): Made {
  const members = options.map((option, i) => ({ ...plainMember(i), ...option }));
  const backends = new Backends([99], { web: { members } });
  const pool = backends.pools[1]!;
  const random = new SeededRandom(1);
  const pdu = Object.assign(new Pdu(), { dst: 100, dstPort: 80, protocol: 6 });
  return {
    backends,
    pool,
    members: pool.members,
    pick: (by, src = 7, srcPort = 40_000) =>
      pool.pick(by, Object.assign(pdu, { src, srcPort }), random)?.key ?? null,
  };
}

/** How often each is picked by so many clients. */
function shares({ pick, members }: Made, by: PickMethod, picks: number): number[] {
  const counts = members.map(() => 0);
  for (let i = 0; i < picks; i++) {
    const address = pick(by, 0x0a00_0000 + i * 7, 1024 + i % 60_000);
    if (address !== null) counts[address]!++;
  }
  return counts;
}

const WEIGHTS: readonly (readonly number[])[] = [
  [1, 1, 1],
  [7, 7],
  [19, 1],
  [5, 0, 1, 3],
  [256, 1, 1, 1, 128],
  Array.from({ length: 100 }, (_, i) => i % 7),
];

for (const by of PICK_WORDS) {
  if (by === "by hash of destination" || by === "by least connections") continue;
  Deno.test(`Pool.pick ${by} gives each member its share by weight, within 3 sigma`, () => {
    for (const weights of WEIGHTS) {
      const counts = shares(make(weights.map((weight) => ({ weight }))), by, 40_000);
      const total = weights.reduce((a, b) => a + b, 0);
      let outside = 0;
      for (const [i, weight] of weights.entries()) {
        const share = weight / total;
        const sigma = Math.sqrt(40_000 * share * (1 - share));
        if (Math.abs(counts[i]! - 40_000 * share) > 3 * sigma) outside++;
        if (weight === 0) assert.equal(counts[i], 0);
      }
      // Of a hundred, one may be outside by chance.
      assert.ok(outside <= weights.length / 50, `${by} of ${weights}: ${counts}`);
    }
  });
}

Deno.test("Pool.pick in turn gives in each round exactly the weights, and spreads the turns", () => {
  for (const weights of WEIGHTS) {
    const made = make(weights.map((weight) => ({ weight })));
    const total = weights.reduce((a, b) => a + b, 0);
    const counts = weights.map(() => 0);
    for (let i = 1; i <= 3 * total; i++) {
      counts[made.pick("in turn")!]!++;
      for (const [j, weight] of weights.entries()) {
        const fair = i * weight / total;
        const most = 2 + weight / total * weights.length;
        assert.ok(Math.abs(counts[j]! - fair) <= most, `${weights} after ${i}: ${counts}`);
      }
      if (i % total === 0) assert.deepEqual(counts, weights.map((weight) => weight * i / total));
    }
  }
  const { pick } = make([{ weight: 4 }, {}, {}]);
  const turns = Array.from({ length: 12 }, () => pick("in turn"));
  assert.deepEqual(turns, [0, 0, 1, 0, 0, 2, 0, 0, 1, 0, 0, 2]);
});

Deno.test("Pool.pick in turn goes on where it was when a member comes or goes", () => {
  const { backends, members, pick } = make([{}, {}, {}]);
  for (const member of members) backends.setStatus(member, "up");
  assert.deepEqual([pick("in turn"), pick("in turn")], [0, 1]);
  backends.setStatus(members[0]!, "down");
  backends.setStatus(members[0]!, "up");
  assert.deepEqual([pick("in turn"), pick("in turn")], [2, 0]);
});

Deno.test("Pool.pick by least connections agrees with a look at all members, in 20,000 random steps", () => {
  const random = new SeededRandom(5);
  const options = Array.from({ length: 40 }, (_, i) => ({
    weight: i % 5,
    maxconn: i % 3 === 0 ? 4 : 0,
  }));
  const { backends, members, pick } = make(options);
  const statuses = ["up", "up", "up", "down", "draining"] as const;
  for (const member of members) backends.setStatus(member, "up");
  for (let step = 0; step < 20_000; step++) {
    const member = members[random.uint32() % members.length]!;
    switch (random.uint32() % 8) {
      case 0:
        if (step % 50 === 0) backends.setStatus(member, statuses[random.uint32() % 5]!);
        break;
      case 1:
      case 2:
      case 3:
        if (member.load > 0) backends.changeLoad(member, -1);
        break;
      default: {
        const able = members.filter((m) => m.status === "up" && m.weight > 0 && !m.isFull);
        const least = Math.min(...able.map((m) => m.load / m.weight));
        const address = pick("by least connections");
        assert.equal(address === null, able.length === 0);
        if (address === null) break;
        const picked = members[address]!;
        assert.ok(able.includes(picked), `step ${step}`);
        assert.equal(picked.load / picked.weight, least, `step ${step}`);
        backends.opened(picked);
      }
    }
  }
});

Deno.test("Pool.pick by least connections uses a pool with nothing to do evenly, by weight", () => {
  const made = make([{ weight: 2 }, { weight: 1 }, { weight: 1 }]);
  assert.deepEqual(shares(made, "by least connections", 400), [200, 100, 100]);
});

Deno.test("Pool.pick by hash gives what it is told to look at the same member, whatever else changes", () => {
  const { pick } = make([{}, {}, {}, {}, {}]);
  const ports = [1, 2, 3, 4, 5, 6, 7, 8];
  const members = (by: PickMethod) => new Set(ports.map((port) => pick(by, 7, port))).size;
  assert.ok(members("by hash") > 1);
  assert.equal(members("by hash of source"), 1);
  assert.equal(members("by hash of addresses"), 1);
  const clients = (by: PickMethod) => new Set(ports.map((client) => pick(by, client))).size;
  assert.ok(clients("by hash of source") > 1);
  assert.ok(clients("by hash of addresses") > 1);
  assert.equal(clients("by hash of destination"), 1);
});

for (const by of PICK_WORDS) {
  Deno.test(`Pool.pick ${by} leaves out who is down, draining, in maintenance, without weight or full`, () => {
    const made = make([{}, {}, {}, { weight: 0 }, { state: "drain" }, { maxconn: 1 }, {}, {}]);
    const { backends, members } = made;
    for (const member of members) if (member.address !== 4) backends.setStatus(member, "up");
    backends.setStatus(members[0]!, "down");
    backends.setStatus(members[1]!, "maintenance");
    backends.opened(members[5]!);
    const seen = new Set<number>();
    for (let i = 0; i < 500; i++) seen.add(made.pick(by, i, i)!);
    assert.ok([...seen].every((address) => [2, 6, 7].includes(address)), `${[...seen]}`);
    backends.forgotten(members[5]!, false);
    for (const member of [2, 6, 7]) backends.setStatus(members[member]!, "down");
    assert.equal(made.pick(by), 5);
  });

  Deno.test(`Pool.pick ${by} takes backups only when no other is there, and none when all are full`, () => {
    const { backends, members, pool, pick } = make([{ maxconn: 2 }, { maxconn: 1 }, {
      isBackup: true,
    }]);
    for (const member of members) backends.setStatus(member, "up");
    for (let i = 0; i < 3; i++) backends.opened(members[pick(by, i, i)!]!);
    assert.deepEqual(members.map(({ load }) => load), [2, 1, 0]);
    assert.equal(pick(by), null);
    assert.equal(reasonName(pool.refusal(new Pdu())), "backends-full");
    backends.changeLoad(members[1]!, -1);
    assert.equal(pick(by), 1);
    for (const member of members.slice(0, 2)) backends.setStatus(member, "down");
    assert.equal(pick(by), 2);
    backends.setStatus(members[2]!, "down");
    assert.equal(pick(by), null);
    assert.equal(reasonName(pool.refusal(new Pdu())), "no-backend");
  });
}

Deno.test("Pool.pick by hash sends nobody elsewhere but those whose member is full", () => {
  const { backends, members, pick } = make([{}, { maxconn: 1 }, {}, {}]);
  const clients = Array.from({ length: 2000 }, (_, i) => i * 11);
  const before = clients.map((client) => pick("by hash of source", client));
  backends.opened(members[1]!);
  const counts = [0, 0, 0, 0];
  for (const [i, client] of clients.entries()) {
    const member = pick("by hash of source", client)!;
    if (before[i] === 1) counts[member]!++;
    else assert.equal(member, before[i]);
  }
  assert.equal(counts[1], 0);
  for (const i of [0, 2, 3]) assert.ok(counts[i]! > 100, `${counts}`);
});

for (const by of PICK_WORDS) {
  Deno.test(`Pool.pickOther ${by} leaves out who was tried, until nobody is left`, () => {
    for (const count of [1, 2, 3, 40]) {
      const made = make(Array.from({ length: count }, (_, i) => ({ maxconn: i === 1 ? 1 : 0 })));
      const { pool, members, backends } = made;
      if (count > 1) backends.opened(members[1]!);
      const pdu = Object.assign(new Pdu(), { src: 7, dst: 100, srcPort: 40_000, dstPort: 80 });
      const tried = new Set<Member>();
      const random = new SeededRandom(2);
      for (;;) {
        const isTried = (member: Member) => tried.has(member);
        const other = pool.pickOther(by, pdu, random, isTried);
        assert.equal(other !== null, pool.hasOther(false, isTried));
        if (other === null) break;
        assert.ok(!tried.has(other) && !other.isFull);
        tried.add(other);
      }
      assert.equal(tried.size, count > 1 ? count - 1 : 1, "all but the one that is full");
    }
  });
}

Deno.test("Pool.pickOther spreads the connections of a member that refuses over the others", () => {
  for (const by of PICK_WORDS) {
    if (by === "by hash of destination") continue;
    const { backends, pool, members } = make([{}, {}, {}, {}, {}]);
    const random = new SeededRandom(3);
    const counts = members.map(() => 0);
    for (let i = 0; i < 4000; i++) {
      const pdu = Object.assign(new Pdu(), { src: i * 7, dst: 100, srcPort: 1024 + i });
      const member = pool.pickOther(by, pdu, random, ({ place }) => place === 0)!;
      backends.opened(member);
      counts[member.place]!++;
    }
    assert.equal(counts[0], 0);
    for (const count of counts.slice(1)) {
      assert.ok(Math.abs(count - 1000) < 150, `${by}: ${counts}`);
    }
  }
});
