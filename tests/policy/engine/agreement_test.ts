/**
 * The generated functions of both families against the walker: on a million random triples of tree,
 * packet and connection state both must give the same decision, at the same node, having asked the
 * same of the steps, and remember the same.
 *
 * What a branch is says `branches.ts`. The first figure is about those that `facts.ts` does not
 * prove to be out of reach; others that can't be taken, such as two hashes that exclude each other,
 * count as missed. The second figure is about all.
 */
import assert from "node:assert/strict";
import { below, type Random, SeededRandom } from "../../../src/core/random.ts";
import {
  ECHO_REPLY,
  FORWARD,
  type Policy,
  type Predicate,
} from "../../../src/policy/language/ast.ts";
import { AddressSpace } from "../../../src/policy/check/address_space.ts";
import { compile } from "../../../src/policy/engine/compile.ts";
import { makePlan, type Plan } from "../../../src/policy/engine/plan.ts";
import { print } from "../../../src/policy/printing/print.ts";
import { type Visitor, walker } from "../../../src/policy/engine/walk.ts";
import { parseHostAddress } from "../../../src/wire/host_address.ts";
import { OVER_IPV6, Pdu, STATE_NEW } from "../../../src/wire/pdu.ts";
import { randomPolicy } from "../../support/random_policy.ts";
import { type Branch, branchesOf } from "./branches.ts";
import { environmentOf, type TestEnvironment, visits } from "./environment.ts";
import { constantsOf, fillNear } from "./random_pdu.ts";
import { Mission, SteeredRandom } from "../check/mission.ts";
import { prune, steering } from "../check/prune.ts";
import { randomTable } from "./random_table.ts";

const SEED = 20_261_122;
const TRIPLES = 1_000_000;
const TREES = 2_000;
const MAX_NODES = 500;
const DST_ADDRS = ["192.168.0.1", "192.168.0.2", "10.0.0.2", "2001:db8::1"].map(parseHostAddress);

/** What has been seen of all trees. */
const seen = {
  triples: 0,
  near: 0,
  nodes: 0,
  /** Branches that can be taken as far as is known, and those that were. */
  counted: 0,
  hit: 0,
  /** All branches. */
  branches: 0,
  nodeKinds: new Map<string, number>(),
  predicateKinds: new Map<string, number>(),
  results: new Map<number, number>(),
};

Deno.test("compile agrees with the walker on 1,000,000 triples of tree, packet and state", () => {
  const random = new SeededRandom(SEED);
  const trees = new Set<string>();
  for (let number = 0; seen.triples < TRIPLES || trees.size < TREES; number++) {
    const policy = randomly(random, number);
    const text = print(policy);
    const withoutLabels = text.replaceAll(/ "(?:[^"\\]|\\.)*"/g, "");
    if (trees.has(withoutLabels)) continue;
    const seed = random.uint32();
    if (new Comparison(policy, seed, `seed ${SEED}, tree ${number}\n${text}`).run()) {
      trees.add(withoutLabels);
    }
  }
  const [share, shareOfAll] = [seen.hit / seen.counted, seen.hit / seen.branches];
  const figures = `${seen.triples} triples of ${trees.size} trees, ${seen.nodes} nodes; ` +
    `${seen.hit} of ${seen.counted} branches taken: ${(100 * share).toFixed(1)} % ` +
    `(of all ${seen.branches}: ${(100 * shareOfAll).toFixed(1)} %)`;
  // deno-lint-ignore no-console
  console.log(figures);
  assert.ok(share >= 0.9 && shareOfAll >= 0.86, figures);
  assert.ok(2 * seen.near >= seen.triples, `${seen.near} from constants`);
  assert.deepEqual([...seen.nodeKinds.keys()].sort(), NODE_KINDS);
  assert.deepEqual([...seen.predicateKinds.keys()].sort(), PREDICATE_KINDS);
  for (const kinds of [seen.nodeKinds, seen.predicateKinds, seen.results]) {
    for (const [kind, count] of kinds) assert.ok(count > 500, `${kind}: ${count}`);
  }
  assert.deepEqual([...seen.results.keys()].sort((a, b) => a - b), [-10, -9, -8, -7, 0, 1, 2, 3]);
});

function randomly(random: Random, number: number): Policy {
  const policy = number % 4 === 3
    ? randomTable(random, MAX_NODES, true)
    : randomPolicy(random, { maxNodes: 3 * MAX_NODES, hasIpv6: true });
  return prune(makePlan(policy, environmentOf({ dstAddrs: DST_ADDRS, isIpv6On: true })), random);
}

const NODE_KINDS = [
  ...["balance", "decide", "filter", "first-match", "limit", "select", "set-ttl", "track"],
  ...["translate-a-to-b", "translate-b-to-a"],
];
const PREDICATE_KINDS = [
  ...["address", "all", "always", "any", "custom", "family", "fragment", "icmp", "icmpv6", "not"],
  ...["number", "port"],
  ...["protocol", "side", "state", "tcp-flags"],
];

/** Members of some pools of `randomPolicy` that are leaving. */
const LEAVING = {
  shop: new Set(["10.1.2.3", "192.168.0.254", "fd00::1"].map(parseHostAddress)),
  to: new Set(["172.16.0.9", "2001:db8:0:1::1"].map(parseHostAddress)),
};

/** One policy in two plans of their own, one walked, one compiled, sent the same PDUs. */
class Comparison implements Visitor {
  readonly #random: SeededRandom;
  readonly #what: string;
  readonly #draws: readonly [walked: SteeredRandom, compiled: SteeredRandom];
  readonly #walked: TestEnvironment;
  readonly #compiled: TestEnvironment;
  readonly #plans: readonly [walked: Plan, compiled: Plan];
  readonly #branches: readonly (readonly (Branch | undefined)[])[];
  /** By node and `index + 1`: 1 if the branch was taken. */
  readonly #taken: readonly Uint8Array[];

  constructor(policy: Policy, seed: number, what: string) {
    this.#random = new SeededRandom(seed);
    this.#what = what;
    this.#draws = [new SteeredRandom(seed), new SteeredRandom(seed)];
    const [random, same] = this.#draws;
    const around = { dstAddrs: DST_ADDRS, leaving: LEAVING, isIpv6On: true };
    this.#walked = environmentOf({ ...around, random });
    this.#compiled = environmentOf({ ...around, random: same });
    this.#plans = [makePlan(policy, this.#walked), makePlan(policy, this.#compiled)];
    this.#branches = branchesOf(this.#plans[0]);
    this.#taken = this.#branches.map((branches) => new Uint8Array(branches.length));
  }

  /** False if the tree is too large, or a decision alone. */
  run(): boolean {
    const [plan, other] = this.#plans;
    if (plan.nodes.length > MAX_NODES) return false;
    const walk = walker(plan, this);
    const [run4, run6] = [compile(other, 4), compile(other, 6)];
    const run = (pdu: Pdu) => (pdu.protocol & OVER_IPV6) === 0 ? run4(pdu) : run6(pdu);
    const space = AddressSpace.of(plan.policy, DST_ADDRS);
    const wanted = this.#branches.flat().filter((branch) => branch !== undefined)
      .filter(({ facts }) => facts.boxes.length > 0);
    if (wanted.length === 0) return false;
    const constants = constantsOf(plan);
    const least = 60 + 5 * wanted.length;
    const [pdu, copy, aimed] = [new Pdu(), new Pdu(), new Pdu()];
    let mission: Mission | null = null;
    let [next, sent, near, packets] = [0, 0, 0, 0];
    for (; packets < least || 2 * near < packets; packets++) {
      if (mission !== null && (sent === mission.repeats || this.#isTaken(mission.target))) {
        mission = null;
      }
      if (mission === null && 2 * near <= packets) {
        near++;
        this.#steer([]);
        fillNear(pdu, constants, this.#random, near % 2 === 0 ? 4 : 6);
      } else {
        if (mission === null) {
          for (let tries = 0; tries < wanted.length && this.#isTaken(wanted[next]!); tries++) {
            next = (next + 1) % wanted.length;
          }
          mission = new Mission(plan, wanted[next]!, space);
          next = (next + 1) % wanted.length;
          sent = 0;
          mission.fill(aimed, this.#random);
        }
        if (sent++ === 0 || !mission.drains) this.#advance(10_000);
        this.#steer(mission.draws);
        copyTo(pdu, aimed);
      }
      this.#compare(walk, run, pdu, copy, packets);
    }
    seen.near += near;
    this.#finish(packets, wanted);
    return true;
  }

  #compare(walk: (pdu: Pdu) => number, run: (pdu: Pdu) => number, pdu: Pdu, copy: Pdu, i: number) {
    if (below(this.#random, 100) === 0) this.#advance(below(this.#random, 1000));
    pdu.steps = pdu.newTtl = pdu.opened = 0;
    pdu.exit = copy.exit = -1;
    copyTo(copy, pdu);
    steering.bits = pdu.ack;
    const expected = walk(pdu);
    const found = run(copy);
    const [{ asked }, { asked: askedToo }] = [this.#walked, this.#compiled];
    if (
      found !== expected || copy.exit !== pdu.exit || copy.steps !== pdu.steps ||
      copy.newTtl !== pdu.newTtl || asked.length !== askedToo.length ||
      asked.some((step, at) => step !== askedToo[at])
    ) {
      const ends = { decisions: [found, expected], compiled: copy, walked: pdu, asked, askedToo };
      assert.fail(`packet ${i} of ${this.#what}\n${JSON.stringify(ends)}`);
    }
    asked.length = askedToo.length = 0;
    seen.results.set(expected, (seen.results.get(expected) ?? 0) + 1);
    // As the appliance does when it has carried out the decision, with a table of eight entries.
    const committed = expected === FORWARD || expected === ECHO_REPLY;
    const opens = committed && pdu.steps !== 0 && (pdu.flow < 0 || pdu.state === STATE_NEW);
    if (opens) pdu.flow = below(this.#random, 8) << 1;
    const entry = committed ? pdu.flow >> 1 : -1;
    for (const { affinity } of [this.#walked, this.#compiled]) {
      if (opens) affinity.opened(pdu.flow >> 1);
      affinity.settle(entry);
    }
  }

  #advance(ms: number): void {
    this.#walked.clock.advance(ms);
    this.#compiled.clock.advance(ms);
  }

  /** Says what the random balancers of both are to draw next. */
  #steer(draws: readonly number[]): void {
    for (const { next } of this.#draws) next.splice(0, next.length, ...draws);
  }

  #finish(packets: number, wanted: readonly Branch[]): void {
    const [plan, other] = this.#plans;
    assert.deepEqual(other.exits, plan.exits, `counters of ${this.#what}`);
    const counts = visits(plan);
    assert.equal(counts[0], packets, `visits of ${this.#what}`);
    assert.equal(this.#walked.random.uint32(), this.#compiled.random.uint32(), this.#what);
    assert.deepEqual([...this.#walked.failed, ...this.#compiled.failed], []);
    for (const { tree, number } of plan.nodes) {
      const times = counts[number]!;
      add(seen.nodeKinds, tree.node, times);
      if (tree.node === "filter") addPredicate(tree.when, times);
      if (tree.node === "first-match") tree.arms.forEach(({ when }) => addPredicate(when, times));
    }
    seen.triples += packets;
    seen.nodes += plan.nodes.length;
    seen.branches += this.#branches.flat().length;
    seen.counted += wanted.length;
    seen.hit += wanted.filter((branch) => this.#isTaken(branch)).length;
  }

  #isTaken({ node, index }: Branch): boolean {
    return this.#taken[node.number]![index + 1] === 1;
  }

  // What the walker tells

  enter(): void {}
  asked(): void {}

  chose(node: Branch["node"], index: number): void {
    this.#take(node, index);
  }

  stepped(node: Branch["node"], reason: number): void {
    this.#take(node, reason === 0 ? 0 : -1);
  }

  #take({ number }: Branch["node"], index: number): void {
    const taken = this.#taken[number]!;
    if (taken[index + 1] === 1) return;
    taken[index + 1] = 1;
    const branch = this.#branches[number]![index + 1];
    if (branch === undefined || branch.facts.boxes.length > 0) return;
    assert.fail(`branch ${index} of node ${number} was taken, against facts, of ${this.#what}`);
  }
}

/** All fields, and the words of the addresses, which each PDU has of its own. */
function copyTo(copy: Pdu, pdu: Readonly<Pdu>): void {
  const { addresses } = copy;
  addresses.set(pdu.addresses);
  Object.assign(copy, pdu, { addresses });
}

function addPredicate(predicate: Predicate, times: number): void {
  add(seen.predicateKinds, predicate.test, times);
  if (predicate.test === "not") addPredicate(predicate.of, times);
  if (predicate.test === "all" || predicate.test === "any") {
    for (const part of predicate.of) addPredicate(part, times);
  }
}

function add(counts: Map<string, number>, key: string, times: number): void {
  if (times > 0) counts.set(key, (counts.get(key) ?? 0) + times);
}
