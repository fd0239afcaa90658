/**
 * The short way of plain segments (`src/datapath/header_prediction.ts`, of IPv6
 * `header_prediction6.ts`) against the long one of everything: two worlds of one seed get the same
 * segments, and differ in nothing but that one of them takes no short ways. What the tree sees,
 * what is sent, what is counted and every word of the flow table must be the same.
 */
import assert from "node:assert/strict";
import type { Appliance } from "../../src/datapath/appliance.ts";
import { below, SeededRandom } from "../../src/core/random.ts";
import { Reason } from "../../src/core/reason.ts";
import * as build from "../../src/policy/language/build.ts";
import {
  drop,
  firstMatch,
  forward,
  ipSrc,
  not,
  otherwise,
  translateAToB,
  translateBToA,
} from "../../src/policy/language/build.ts";
import { compile } from "../../src/policy/engine/compile.ts";
import type { Policy, Tree } from "../../src/policy/language/ast.ts";
import type { Pdu } from "../../src/wire/pdu.ts";
import { PlainTraffic } from "../support/plain_traffic.ts";
import { World, type WorldOptions } from "../support/world.ts";

const SEGMENTS = 4000;
const OPEN_EVERY = 100;
const LEAST_CONNECTIONS = 4;
const CONNECTIONS = SEGMENTS / OPEN_EVERY;
const MAX_CONNECTIONS = 256;
const COMPARE_TABLES_EVERY = 16;
const TREES: Readonly<Record<string, Tree>> = {
  "as the built-in policy has it": translateAToB(forward),
  "with a decision for each connection": build.inTurn(
    [translateAToB(forward), translateAToB(forward), drop, translateAToB(build.reject)],
    { per: "connection" },
  ),
  "with a decision for each PDU": firstMatch([
    [build.isNew, translateAToB(forward)],
    [
      otherwise,
      build.atRandom([
        [9, translateAToB(forward)],
        drop,
        build.reject,
        build.echo,
        forward,
        build.track(forward),
        translateAToB(build.echo),
      ]),
    ],
  ]),
  "with a limit": build.limit(
    { perSecond: 200, burst: 50 },
    translateAToB(build.setTtl(9, forward)),
  ),
};

const NETWORKS: Readonly<Record<string, WorldOptions>> = {
  "on one interface": {},
  "on two": { twoSided: true, mtus: [1500, 1000] },
  "on two, the source preserved": { twoSided: true, preserveSource: true },
  "on one interface, over IPv6": { ipv6: true },
  "on two, over IPv6": { ipv6: true, twoSided: true, mtus: [1500, 1300] },
  "on two, the source preserved, over IPv6": { ipv6: true, twoSided: true, preserveSource: true },
};

function policyOf(side: Tree): Policy {
  return build.policy(
    "drop",
    firstMatch([
      [not(ipSrc.oneOf(build.dstAddrs)), firstMatch([[otherwise, side]])],
      [otherwise, translateBToA(forward)],
    ]),
  );
}

/** A world, what its tree has seen, and how many PDUs went the long way. */
class Subject {
  readonly world: World;
  /** Every PDU that the tree was asked about, as it was then. */
  readonly seen: Pdu[] = [];
  classified = 0;

  constructor(options: WorldOptions, tree: Tree, careful: boolean) {
    this.world = World.settled({
      ...options,
      maxConn: MAX_CONNECTIONS,
      policy: policyOf(tree),
      evaluator: (plan) => {
        const evaluate = compile(plan, options.ipv6 ? 6 : 4);
        return (pdu) => {
          this.seen.push({ ...pdu, addresses: pdu.addresses.slice() });
          return evaluate(pdu);
        };
      },
      careful,
    });
    const { connections } = this.world.appliance;
    const classify = connections.classify.bind(connections);
    const lookAhead = connections.lookAhead.bind(connections);
    const random = new SeededRandom(5);
    connections.lookAhead = (arena) => {
      lookAhead(arena);
      // What is seen ahead is only a candidate: now and then another connection, or the other side.
      if (below(random, 20) === 0) connections.candidates[0] = below(random, 2 * CONNECTIONS);
    };
    connections.classify = (view, pdu, nowMs) => {
      this.classified++;
      classify(view, pdu, nowMs);
    };
  }

  deliver(frame: Uint8Array, vnet: Uint8Array | null, device: number): Uint8Array<ArrayBuffer>[] {
    const { appliance, devices } = this.world;
    const number = device % devices.length;
    if (!appliance.links[number]!.isUp) return [];
    const to = devices[number]!;
    if (vnet !== null) to.vnet.set(frame, vnet);
    to.inbox.push(frame);
    this.seen.length = 0;
    return this.world.poll();
  }
}

class Comparison {
  readonly short: Subject;
  readonly long: Subject;
  readonly #traffic: PlainTraffic;
  readonly #isB: boolean;
  readonly #isIpv6: boolean;
  #rounds = 0;

  constructor(options: WorldOptions, tree: Tree) {
    this.short = new Subject(options, tree, false);
    this.long = new Subject(options, tree, true);
    this.#isB = options.twoSided ?? false;
    this.#isIpv6 = options.ipv6 ?? false;
    this.#traffic = new PlainTraffic(new SeededRandom(11), this.#isB, (frame, vnet, device) => {
      return this.#deliver(frame, vnet, device);
    }, options.ipv6);
  }

  run(): void {
    const traffic = this.#traffic;
    for (let i = 0; i < SEGMENTS; i++) {
      if (i % OPEN_EVERY === 0 || traffic.connections < LEAST_CONNECTIONS) traffic.open();
      if (traffic.connections > 0) traffic.exchange();
      const isLost = this.#isB && traffic.chance(this.#isIpv6 ? 2000 : 500);
      if (isLost) this.#both(({ appliance }) => appliance.linkDown(1));
      if (this.#isB && traffic.chance(100)) this.#both(({ appliance }) => this.#linkUp(appliance));
    }
  }

  /**
   * With IPv6, only if it is down: the proxy then first makes sure that its addresses are free.
   */
  #linkUp(appliance: Appliance): void {
    if (!this.#isIpv6 || !appliance.links[1]!.isUp) appliance.linkUp(1);
  }

  #both(act: (world: World) => void): void {
    for (const { world } of [this.short, this.long]) act(world);
  }

  /** Delivers a frame to both worlds, and compares what comes of it; what one of them has sent. */
  #deliver(frame: Uint8Array, vnet: Uint8Array | null, device: number): Uint8Array<ArrayBuffer>[] {
    const { short, long } = this;
    const stepMs = this.#traffic.below(20);
    this.#both(({ clock }) => clock.advance(stepMs));
    const sent = short.deliver(frame, vnet, device);
    const longSent = long.deliver(frame, vnet, device);
    assert.deepEqual(short.seen, long.seen);
    assert.deepEqual(sent, longSent);
    sent.forEach((one, i) => {
      assert.deepEqual(short.world.vnetOf(one), long.world.vnetOf(longSent[i]!));
    });
    const [a, b] = [short.world.appliance, long.world.appliance];
    assert.deepEqual(a.metrics, b.metrics);
    if (this.#rounds++ % COMPARE_TABLES_EVERY === 0) {
      assert.deepEqual(a.connections.table.words, b.connections.table.words);
      assert.deepEqual(a.snapshot(), b.snapshot());
    }
    return sent;
  }
}

for (const [network, options] of Object.entries(NETWORKS)) {
  for (const [name, tree] of Object.entries(TREES)) {
    Deno.test(`PlainSegments does what the long way does, ${network}, ${name}`, () => {
      const comparison = new Comparison(options, tree);
      comparison.run();
      const { short, long } = comparison;
      const { drops } = short.world.appliance.metrics;
      assert.ok(
        short.classified < (options.ipv6 ? 0.85 : 0.75) * long.classified,
        `${short.classified} of ${long.classified}`,
      );
      for (
        const reason of [
          "source-mac",
          options.ipv6 ? "ip-truncated" : "ip-checksum",
          "tcp-checksum",
          "out-of-window",
          "ttl-expired",
        ] as const
      ) {
        assert.ok(drops[-Reason[reason]]! > 0, reason);
      }
    });
  }
}
