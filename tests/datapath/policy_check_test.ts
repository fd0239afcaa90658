/**
 * `check` against the appliance: whatever it says can't happen must not happen to any frame, right
 * or wrong, on any of the networks that the proxy can stand in. `check_random_test.ts` sends more
 * PDUs, but trusts itself to know which come; here decoding, admission and connections decide.
 */
import assert from "node:assert/strict";
import { below, type Random, SeededRandom } from "../../src/core/random.ts";
import type { Policy, Predicate, Tree } from "../../src/policy/language/ast.ts";
import * as build from "../../src/policy/language/build.ts";
import { check, type Finding } from "../../src/policy/check/check.ts";
import { print } from "../../src/policy/printing/print.ts";
import { walker } from "../../src/policy/engine/walk.ts";
import { formatAddress } from "../../src/wire/address.ts";
import { isStray, STATE_INVALID } from "../../src/wire/pdu.ts";
import { cut } from "../support/fragments.ts";
import {
  buildIcmp,
  buildIp,
  buildTcp,
  buildUdp,
  readIcmp,
  readIp,
  readTcp,
  readUdp,
} from "../support/frames.ts";
import { ADDRESSES, PORTS, randomPredicate, TTLS } from "../support/random_policy.ts";
import {
  CLIENT,
  packetsOf,
  PROXY,
  PROXY_B,
  PROXY_B_MAC,
  PROXY_MAC,
  World,
} from "../support/world.ts";
import { watcher } from "../policy/check/refute.ts";

const SEED = 20_261_128;
const POLICIES = 400;
const FRAMES = 120;

Deno.test("check, frames of all kinds through the appliance: what it says can't happen does not", () => {
  const random = new SeededRandom(SEED);
  const seen = new Map<string, number>();
  const count = (what: string) => seen.set(what, (seen.get(what) ?? 0) + 1);
  for (let number = 0; number < POLICIES; number++) {
    const policy = somePolicy(random);
    const twoSided = below(random, 2) === 0;
    let refuted = (): Finding | null => null;
    const world = World.settled({
      policy,
      twoSided,
      preserveSource: twoSided && below(random, 2) === 0,
      seed: number,
      evaluator: (plan) => {
        const dstAddrs = below(random, 2) === 0 ? {} : { dstAddrs: plan.environment.dstAddrs };
        const findings = check(policy, dstAddrs);
        for (const { check } of findings) count(check);
        const watch = watcher(plan, findings);
        refuted = watch.refuted;
        return (pdu) => {
          const visitor = watch(pdu);
          count(pdu.state === STATE_INVALID ? isStray(pdu) ? "stray" : "invalid" : `${pdu.state}`);
          const { stepped } = visitor;
          return walker(plan, {
            ...visitor,
            stepped: (node, reason) => {
              if (reason === 0) count(node.tree.node);
              stepped(node, reason);
            },
          })(pdu);
        };
      },
    });
    const traffic = new Traffic(world, random);
    for (let i = 0; i < FRAMES; i++) traffic.step();
    const wrong = refuted();
    assert.equal(
      wrong,
      null,
      `seed ${SEED}, policy ${number}${twoSided ? ", two-sided" : ""}: ${wrong?.path}: ` +
        `${wrong?.message}\n${print(policy)}`,
    );
  }
  for (const what of ["0", "1", "invalid", "stray", "translate-a-to-b", "translate-b-to-a"]) {
    assert.ok((seen.get(what) ?? 0) > 200, `${what}: ${JSON.stringify([...seen])}`);
  }
  for (const check of ["never-holds", "always-holds", "unreachable", "no-counterpart"]) {
    assert.ok((seen.get(check) ?? 0) > 50, `${check}: ${JSON.stringify([...seen])}`);
  }
});

/** The way there and back, with random tests in front of the translators and below them. */
function somePolicy(random: Random): Policy {
  const some = (most: number): Predicate[] =>
    Array.from({ length: below(random, most + 1) }, () => randomPredicate(random, 3));
  const selector = (arms: (readonly [Predicate, Tree])[], then: Tree): Tree =>
    arms.length === 0 ? then : build.firstMatch([...arms, [build.otherwise, then]]);
  const inside = (): Tree =>
    selector(
      some(2).map((when) => [when, build.setTtl(9, build.decide("forward", "inside"))]),
      build.decide("forward", "way"),
    );
  const end = (): Tree => {
    switch (below(random, 6)) {
      case 0:
        return build.decide("reject", "end");
      case 1:
        return build.track(build.firstMatch([[randomPredicate(random, 2), build.echo]]));
      case 2:
        return build.translateBToA(inside());
      case 3:
        return build.decide("drop", "end");
      default:
        return build.translateAToB(inside());
    }
  };
  const arms = some(4).map((when) => [when, end()] as const);
  const isBack = build.and(build.ipSrc.oneOf(build.dstAddrs), build.isEstablished);
  return build.policy(
    "drop",
    selector(
      [...arms, [
        below(random, 4) === 0 ? build.fromSide("b") : isBack,
        build.translateBToA(inside()),
      ]],
      below(random, 8) === 0 ? end() : build.translateAToB(inside()),
    ),
  );
}

/** Hosts that open connections, answer, go on, and send all kinds of nonsense. */
class Traffic {
  readonly #world: World;
  readonly #random: Random;
  /** What the proxy has sent. */
  #sent: Uint8Array[] = [];
  /** What was sent to it. */
  #received: Uint8Array[] = [];

  constructor(world: World, random: Random) {
    this.#world = world;
    this.#random = random;
  }

  step(): void {
    const frame = this.#frame();
    const frames = below(this.#random, 10) === 0 ? cut(frame, 24) : [frame];
    this.#received = [...this.#received, frame].slice(-8);
    const packets = packetsOf(this.#world.send(...frames));
    this.#sent = [...this.#sent, ...packets.filter(isWhole)].slice(-8);
  }

  #frame(): Uint8Array {
    switch (below(this.#random, 4)) {
      case 0:
      case 1:
        return this.#answer() ?? this.#any();
      case 2:
        return this.#more() ?? this.#any();
      default:
        return this.#any();
    }
  }

  /** To what the proxy has sent. */
  #answer(): Uint8Array | null {
    if (this.#sent.length === 0) return null;
    const frame = this.#pick(this.#sent);
    const { ip: { src, dst, srcMac, dstMac, protocol } } = readIp(frame);
    const back = { src: dst, dst: src, srcMac: dstMac, dstMac: srcMac, ttl: this.#pick(TTLS) };
    switch (protocol) {
      case 6: {
        const { srcPort, dstPort, flags, seq, ack } = readTcp(frame);
        const ports = { srcPort: dstPort, dstPort: srcPort };
        const answer = flags === "S" ? this.#pick(["SA", "SA", "SA", "RA"]) : this.#flags();
        return buildTcp({ ...back, ...ports, flags: answer, seq: ack, ack: (seq + 1) >>> 0 });
      }
      case 17: {
        const { srcPort, dstPort } = readUdp(frame);
        return buildUdp({ ...back, srcPort: dstPort, dstPort: srcPort });
      }
      default: {
        const { type, rest } = readIcmp(frame);
        return buildIcmp({ ...back, type: type === 8 ? 0 : type === 0 ? 8 : type + 1, rest });
      }
    }
  }

  /** From the one who has sent something. */
  #more(): Uint8Array | null {
    if (this.#received.length === 0) return null;
    const frame = this.#pick(this.#received);
    const { ip } = readIp(frame);
    if (ip.protocol !== 6) return frame;
    try {
      const { flags, seq, srcPort, dstPort } = readTcp(frame);
      const next = flags.includes("S") ? seq + 1 : seq;
      return buildTcp({
        ...{ ...ip, srcPort, dstPort, options: [] },
        ...{ flags: this.#flags(), seq: next >>> 0, ack: this.#pick([1001, 0, 70_000]) },
      });
    } catch {
      return frame; // too short for a TCP header
    }
  }

  /** Something new, most of it such as comes to no policy. */
  #any(): Uint8Array {
    const random = this.#random;
    const toB = this.#world.devices.length === 2 && below(random, 2) === 0;
    const own = toB ? { dst: PROXY_B, dstMac: PROXY_B_MAC } : { dst: PROXY, dstMac: PROXY_MAC };
    const hosts = [...this.#world.backends, CLIENT, CLIENT, toB ? "10.0.0.77" : "192.168.0.77"];
    const src = this.#pick([...hosts, ...hosts, ...ODD_ADDRESSES, ...ADDRESSES.map(formatAddress)]);
    const ttl = this.#pick([...TTLS, 64, 64]);
    const dst = below(random, 20) === 0 ? this.#pick(ODD_ADDRESSES) : own.dst;
    const fields = { ...own, dst, src, ttl };
    const ports = { srcPort: this.#pick(PORTS), dstPort: this.#pick(PORTS) };
    const payload = new Uint8Array(this.#pick([0, 0, 8, 56, 1000]));
    switch (below(random, 8)) {
      case 0: {
        const protocol = this.#pick([0, 1, 6, 17, 47, 255]);
        return buildIp({ ...fields, protocol }, new Uint8Array(this.#pick([0, 8, 20, 64])));
      }
      case 1:
      case 2:
        return buildIcmp({
          ...{ ...fields, payload, code: this.#pick([0, 0, 1, 3]) },
          type: this.#pick([0, 3, 5, 8, 8, 8, 11, 13, 14, 15, 17, 18, 30, below(random, 256)]),
          rest: [this.#pick([0, 0, 5]), 1],
        });
      case 3:
      case 4:
        return buildUdp({ ...fields, ...ports, payload });
      default:
        return buildTcp({ ...fields, ...ports, payload, flags: this.#flags() });
    }
  }

  #flags(): string {
    return this.#pick(["S", "S", "S", "A", "A", "PA", "SA", "FA", "R", "RA", "", "F", "SF", "SR"]);
  }

  #pick<Item>(items: readonly Item[]): Item {
    return items[below(this.#random, items.length)]!;
  }
}

function isWhole(frame: Uint8Array): boolean {
  return (readIp(frame).ip.fragment & 0x3fff) === 0;
}

/** Martians, broadcasts, the proxy's own, and hosts far away. */
const ODD_ADDRESSES: readonly string[] = [
  ...["0.1.2.3", "127.0.0.1", "224.0.0.1", "240.0.0.1", "255.255.255.255"],
  ...["192.168.0.255", "192.168.0.0", "10.0.0.255", PROXY, PROXY_B, "223.255.255.255", "1.0.0.0"],
];
