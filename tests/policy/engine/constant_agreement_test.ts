/**
 * Connections whose plain packets a policy treats alike, as the three-valued walk says, against the
 * walker: for 2,000 random policies and connections of either family that are called constant, each
 * of 200 random plain packets is forwarded, at the node that was said. `doubts.ts` must say the
 * same as the walk, of each connection of which a plain packet was forwarded.
 */
import assert from "node:assert/strict";
import { below, type Random, SeededRandom } from "../../../src/core/random.ts";
import { finish } from "../../../src/core/slices.ts";
import { constancyOf } from "../../../src/policy/engine/constant.ts";
import { Doubts } from "../../../src/policy/engine/doubts.ts";
import { familyOf, protocolIn } from "../../../src/policy/engine/family.ts";
import { armsOf, makePlan, type Plan } from "../../../src/policy/engine/plan.ts";
import { makePlain, unknownIn } from "../../../src/policy/engine/unknown.ts";
import { type Visitor, walker } from "../../../src/policy/engine/walk.ts";
import { ECHO_REPLY, type Family, FORWARD, type Policy } from "../../../src/policy/language/ast.ts";
import * as build from "../../../src/policy/language/build.ts";
import { print } from "../../../src/policy/printing/print.ts";
import { parseHostAddress } from "../../../src/wire/host_address.ts";
import {
  isTcp,
  Pdu,
  STATE_ESTABLISHED,
  STATE_NEW,
  STEP_A_TO_B,
  STEP_B_TO_A,
} from "../../../src/wire/pdu.ts";
import { ACK, CWR, ECE, PSH, SYN, URG } from "../../../src/wire/tcp.ts";
import { randomPolicy } from "../../support/random_policy.ts";
import { environmentOf, type TestEnvironment } from "./environment.ts";
import { type Constants, constantsOf, fillNear } from "./random_pdu.ts";

const SEED = 20_261_128;
const POLICIES = 2_000;
const PACKETS = 200;
/** Of connections that are not called constant. */
const KEPT_PACKETS = 20;
const MAX_NODES = 120;
/** Connections tried with one policy. */
const TRIES = 6;
const DST_ADDRS = ["192.168.0.1", "192.168.0.2", "10.0.0.2", "2001:db8::1"].map(parseHostAddress);
const LEAVING = {
  shop: new Set(["10.1.2.3", "192.168.0.254", "2001:db8:0:1::1"].map(parseHostAddress)),
};
const NO_MAPPING = -9;

Deno.test(`constancyOf: of ${POLICIES} connections called constant, ${PACKETS} plain packets each are forwarded at one node`, () => {
  const random = new SeededRandom(SEED);
  const seen = {
    policies: 0,
    connections: 0,
    forwarded: 0,
    constant: 0,
    kept: 0,
    /** Kept, and one of the next few packets went another way than the first. */
    differed: 0,
    met: new Map<string, number>(),
  };
  while (seen.constant < POLICIES) {
    const policy = randomly(random, seen.policies++);
    const trial = new Trial(policy, random, `seed ${SEED}, policy ${seen.policies - 1}`);
    for (let i = 0; i < TRIES; i++) {
      const { isForwarded, isConstant, isAlike } = trial.run();
      seen.connections++;
      if (!isForwarded) continue;
      seen.forwarded++;
      if (!isConstant) {
        seen.kept++;
        if (!isAlike) seen.differed++;
        continue;
      }
      seen.constant++;
      for (const kind of trial.met) seen.met.set(kind, (seen.met.get(kind) ?? 0) + 1);
      break; // one of each policy
    }
  }
  const { met, ...counts } = seen;
  const figures = JSON.stringify({ ...counts, met: Object.fromEntries(met) });
  // deno-lint-ignore no-console
  console.log(figures);
  assert.ok(seen.differed > 1_000, figures);
  for (const kind of MET) assert.ok((met.get(kind) ?? 0) >= 20, `${kind}: ${figures}`);
});

/** What constant connections must have met. */
const MET = [
  ...["first-match", "filter", "balance", "track", "translate-a-to-b", "translate-b-to-a"],
  "set-ttl",
  ...["unknown", "tcp-flags", "family", "address", "port", "state", "side", "protocol"],
];

/** Half of them translate as they must before anything else: few others forward at all. */
function randomly(random: Random, number: number): Policy {
  const policy = randomPolicy(random, { maxNodes: MAX_NODES, hasIpv6: number % 2 === 0 });
  if (number % 4 === 0) return policy;
  const { next, lists, pools, subtrees } = policy;
  const first = build.firstMatch([
    [build.fromSide("a"), build.translateAToB(next)],
    [build.otherwise, build.translateBToA(next)],
  ]);
  return { ...build.policy("forward", first, { lists, subtrees }), pools };
}

/** A policy, and connections in a table of eight entries. */
class Trial implements Visitor {
  /** Kinds of nodes and tests that the last packet has met; `unknown`: of something unknown. */
  readonly met = new Set<string>();
  readonly #name: string;
  readonly #random: Random;
  readonly #environment: TestEnvironment;
  readonly #plan: Plan;
  readonly #walk: (pdu: Pdu) => number;
  readonly #doubts: Readonly<Record<Family, Doubts>>;
  readonly #constants: Constants;
  readonly #spare = new Pdu();
  /** Numbers that balancers have drawn. */
  #draws = 0;

  constructor(policy: Policy, random: Random, name: string) {
    const draws = new SeededRandom(random.uint32());
    const environment = environmentOf({
      dstAddrs: DST_ADDRS,
      leaving: LEAVING,
      isIpv6On: true,
      random: { uint32: () => (this.#draws++, draws.uint32()) },
    });
    const { steps } = environment;
    this.#name = name;
    this.#random = random;
    this.#environment = {
      ...environment,
      steps: {
        ...steps,
        translateAToB: (pdu, target) =>
          pdu.flow >= 0 && (pdu.flow & 1) !== 0 ? NO_MAPPING : steps.translateAToB(pdu, target),
        translateBToA: (pdu) => (pdu.flow & 1) === 0 ? NO_MAPPING : steps.translateBToA(pdu),
      },
    };
    this.#plan = makePlan(policy, this.#environment);
    this.#walk = walker(this.#plan, this);
    const [doubts, doubts6] = ([4, 6] as const).map((f) => finish(Doubts.of(this.#plan, f)));
    this.#doubts = { 4: doubts!, 6: doubts6! };
    this.#constants = constantsOf(this.#plan);
  }

  /** Another connection, seen from one of its ends. */
  run(): { isForwarded: boolean; isConstant: boolean; isAlike: boolean } {
    const known = this.#connection();
    const first = this.#plain(known);
    this.met.clear();
    const isForwarded = this.#send(first) === FORWARD &&
      (first.steps & (STEP_A_TO_B | STEP_B_TO_A)) !== 0;
    const exits = this.#plan.exits.slice();
    const draws = this.#draws;
    const way = constancyOf(this.#plan, plainOf(known));
    assert.deepEqual(this.#plan.exits, exits, `the walk counts nothing, ${this.#name}`);
    assert.equal(this.#draws, draws, `the walk draws nothing, ${this.#name}`);
    const isConstant = "exit" in way;
    if (!isForwarded) {
      if (isConstant) assert.fail(this.#told(first, "first packet"));
      return { isForwarded, isConstant, isAlike: false };
    }
    const { exit, newTtl } = first;
    if (
      this.#doubts[familyOf(first)].isConstant(first) !== isConstant ||
      (isConstant && way.exit !== exit)
    ) {
      assert.fail(this.#told(first, "doubts and walk differ"));
    }
    const met = new Set(this.met);
    let isAlike = true;
    const packets = isConstant ? PACKETS : KEPT_PACKETS;
    for (let i = 0; i < packets && isAlike; i++) {
      const pdu = this.#plain(known);
      isAlike = this.#send(pdu) === FORWARD && pdu.exit === exit && pdu.newTtl === newTtl;
      if (isConstant && !isAlike) assert.fail(this.#told(pdu, `packet ${i} after`));
    }
    for (const kind of met) this.met.add(kind);
    return { isForwarded, isConstant, isAlike };
  }

  /** A new connection that a packet has opened, if the policy lets it. */
  #connection(): Pdu {
    const known = new Pdu();
    const family = below(this.#random, 2) === 0 ? 4 : 6;
    fillNear(known, this.#constants, this.#random, family);
    known.protocol = protocolIn(family, below(this.#random, 2) === 0 ? 6 : 17);
    known.seq = 0;
    known.side = below(this.#random, 2);
    const flow = below(this.#random, 16);
    const opening = Object.assign(this.#spare, known, { flow: -1, state: STATE_NEW });
    opening.tcpFlags = SYN;
    opening.fragment = 0;
    const outcome = this.#evaluate(opening);
    this.#environment.affinity.opened(flow >> 1);
    this.#environment.affinity.settle(outcome === FORWARD ? flow >> 1 : -1);
    known.flow = flow;
    known.state = STATE_ESTABLISHED;
    // Most connections know their sides.
    if (below(this.#random, 4) !== 0) known.side = flow & 1;
    return known;
  }

  /** A random plain packet of the connection: fields that are not known are any. */
  #plain(known: Readonly<Pdu>): Pdu {
    const random = this.#random;
    const pdu = new Pdu();
    fillNear(pdu, this.#constants, random, familyOf(known));
    const { ack, ttl, totalLength } = pdu;
    Object.assign(pdu, known, { ack, seq: 0, window: below(random, 65_536), fragment: 0 });
    pdu.ttl = Math.max(2, ttl);
    pdu.totalLength = Math.max(isTcp(known.protocol) ? 40 : 28, totalLength);
    pdu.tcpFlags = ACK | [PSH, URG, ECE, CWR].reduce((sum, flag) => sum | any(random, flag), 0);
    return pdu;
  }

  /** As the appliance does, with a packet of a connection. */
  #send(pdu: Pdu): number {
    const outcome = this.#evaluate(pdu);
    const isCommitted = outcome === FORWARD || outcome === ECHO_REPLY;
    this.#environment.affinity.settle(isCommitted ? pdu.flow >> 1 : -1);
    return outcome;
  }

  #evaluate(pdu: Pdu): number {
    pdu.steps = pdu.newTtl = pdu.opened = 0;
    this.#environment.asked.length = 0;
    this.#environment.clock.advance(below(this.#random, 3));
    return this.#walk(pdu);
  }

  #told(pdu: Pdu, what: string): string {
    return `${what}: ${JSON.stringify(pdu)} of ${this.#name}\n${print(this.#plan.policy)}`;
  }

  // What the walker tells

  enter({ tree }: Plan["root"]): void {
    this.met.add(tree.node);
  }

  asked(node: Plan["root"], index: number): void {
    const { when } = armsOf(node.tree)![index]!;
    this.met.add(when.test);
    if (unknownIn(when) !== null) this.met.add("unknown");
  }

  chose(): void {}
  stepped(): void {}
}

function any(random: Random, flag: number): number {
  return below(random, 2) === 0 ? flag : 0;
}

function plainOf(known: Readonly<Pdu>): Pdu {
  const pdu = Object.assign(new Pdu(), known);
  makePlain(pdu);
  return pdu;
}
