/**
 * `check` against the walker: whatever it says can't happen must not happen, for any policy and PDU
 * that comes to it. The PDUs are made of the policy's own constants and their neighbours.
 */
import assert from "node:assert/strict";
import { ManualClock } from "../../../src/core/clock.ts";
import { below, type Random, SeededRandom } from "../../../src/core/random.ts";
import { Reason } from "../../../src/core/reason.ts";
import {
  childrenOf,
  type Family,
  type Policy,
  type Predicate,
  type Tree,
} from "../../../src/policy/language/ast.ts";
import { icmpKindIn } from "../../../src/policy/language/icmp_words.ts";
import * as build from "../../../src/policy/language/build.ts";
import { Affinity } from "../../../src/policy/engine/affinity.ts";
import { check } from "../../../src/policy/check/check.ts";
import type { Environment } from "../../../src/policy/engine/environment.ts";
import { familyOf } from "../../../src/policy/engine/family.ts";
import { makePlan } from "../../../src/policy/engine/plan.ts";
import { print } from "../../../src/policy/printing/print.ts";
import { SourceLimits } from "../../../src/policy/engine/source_limits.ts";
import { walker } from "../../../src/policy/engine/walk.ts";
import { maskOf } from "../../../src/wire/address.ts";
import { isLinkMessage } from "../../../src/wire/icmpv6.ts";
import {
  formatHostSubnet,
  type HostAddress,
  hostSubnetOf,
  isIpv6,
  lastOf,
  parseHostAddress,
  wordsOf,
} from "../../../src/wire/host_address.ts";
import { AddressSet } from "../../../src/wire/address_set.ts";
import {
  isIcmp,
  isTcp,
  isUdp,
  OVER_IPV6,
  Pdu,
  STATE_ESTABLISHED,
  STATE_INVALID,
  STATE_NEW,
} from "../../../src/wire/pdu.ts";
import { ADDRESSES, ADDRESSES6, PORTS, randomPolicy } from "../../support/random_policy.ts";
import { watcher } from "./refute.ts";

const SEED = 20_260_703;
const BACKENDS: Readonly<Record<Family, readonly HostAddress[]>> = {
  4: ["192.168.0.1", "10.0.0.2"].map(parseHostAddress),
  6: ["2001:db8::1", "fd00::1"].map(parseHostAddress),
};
const ALL_BACKENDS = [...BACKENDS[4], ...BACKENDS[6]];

Deno.test("check, random policies: what it says can't happen does not happen to any PDU", () => {
  const told = compare(
    SEED,
    1_600,
    150,
    (random) => randomPolicy(random, { maxNodes: 120, hasIpv6: below(random, 2) === 0 }),
  );
  for (const name of ["unreachable", "never-holds", "always-holds", "otherwise-not-last"]) {
    assert.ok((told.get(name) ?? 0) >= 20, `seed ${SEED}: ${told.get(name)} findings "${name}"`);
  }
});

Deno.test("check, crowded selectors: what it says can't happen does not happen to any PDU", () => {
  const told = compare(SEED + 1, 1_000, 150, crowdedPolicy);
  assert.ok((told.get("unreachable") ?? 0) > 1_000, `${told.get("unreachable")} unreachable`);
});

/** Checks `policies` policies and sends `pdus` PDUs through each; number of findings by check. */
function compare(
  seed: number,
  policies: number,
  pdus: number,
  make: (random: Random) => Policy,
): ReadonlyMap<string, number> {
  const random = new SeededRandom(seed);
  const told = new Map<string, number>();
  for (let i = 0; i < policies; i++) {
    const policy = make(random);
    const plan = makePlan(policy, environment(random));
    const findings = check(policy, below(random, 2) === 0 ? {} : { dstAddrs: ALL_BACKENDS });
    for (const { check } of findings) told.set(check, (told.get(check) ?? 0) + 1);
    const watch = watcher(plan, findings);
    const pool = constantsOf(policy);
    const pdu = new Pdu();
    for (let j = 0; j < pdus; j++) {
      fill(pdu, pool, random);
      walker(plan, watch(pdu))(pdu);
    }
    const wrong = watch.refuted();
    assert.equal(
      wrong,
      null,
      `seed ${seed}, policy ${i}: ${wrong?.check}, ${wrong?.path}: ` +
        `${wrong?.message}\n${print(policy)}`,
    );
  }
  return told;
}

/** With the steps of `flow/connections.ts`. */
function environment(random: Random): Environment {
  const refused = (pdu: Pdu): number => pdu.state === STATE_INVALID ? Reason.invalid : 0;
  return {
    dstAddrs: ALL_BACKENDS,
    target: () => 0,
    leaving: () => new AddressSet(),
    steps: {
      track: refused,
      translateAToB: (pdu) =>
        !hasTuple(pdu) ? Reason["not-translatable"] : isFromB(pdu) ? Reason.invalid : refused(pdu),
      translateBToA: (pdu) => isFromB(pdu) ? refused(pdu) : Reason["no-mapping"],
      setTtl: () => 0,
    },
    random,
    clock: new ManualClock(),
    maxConnections: 1,
    affinity: new Affinity(1),
    sourceLimits: new SourceLimits(1024, new SeededRandom(2), true),
    isIpv6On: true,
    customFailed: () => {},
  };
}

/** Said by the backend of a connection. */
function isFromB(pdu: Pdu): boolean {
  return pdu.flow >= 0 && (pdu.flow & 1) === 1;
}

/** Types of queries and of their answers. */
const ASKING: Readonly<Record<Family, readonly number[]>> = { 4: [8, 13, 15, 17], 6: [128] };
const ANSWERING: Readonly<Record<Family, readonly number[]>> = { 4: [0, 14, 16, 18], 6: [129] };

function hasTuple(pdu: Pdu): boolean {
  const { protocol, icmpType } = pdu;
  const family = familyOf(pdu);
  return isTcp(protocol) || isUdp(protocol) ||
    isIcmp(protocol) && [...ASKING[family], ...ANSWERING[family]].includes(icmpType);
}

// Selectors in which arms get in each other's way

const PREFIX6 = 0x2001_0db8n << 96n;

/** Of the ranges that hosts have addresses in. */
const EDGES = [
  ...["1.0.0.0", "126.255.255.255", "127.0.0.1", "128.0.0.0", "223.255.255.255"],
  ...["::", "::2", "::fffe:ffff:ffff", "::1:0:0:0", "feff::", "ff00::"],
];

function crowdedPolicy(random: Random): Policy {
  const pick = <Item>(items: readonly Item[]): Item => items[below(random, items.length)]!;
  const address = (): string => {
    if (below(random, 8) === 0) return pick(EDGES);
    return `${pick(["10.0.0.", "10.0.0.", "2001:db8::"])}${below(random, 8)}`;
  };
  const network = (): string => {
    if (below(random, 3) === 0) {
      const length = pick([125, 126, 127]);
      return formatHostSubnet(hostSubnetOf(PREFIX6 | BigInt(below(random, 8)), length));
    }
    const length = pick([29, 30, 31]);
    return `10.0.0.${below(random, 8) & maskOf(length) & 255}/${length}`;
  };
  const port = (): number => 78 + below(random, 5);
  const ports = (): readonly [number, number] => {
    const first = port();
    return [first, first + below(random, 4)];
  };
  const test = (): Predicate => {
    switch (below(random, 14)) {
      case 12:
        return pick([build.isIpv4, build.isIpv6]);
      case 13:
        return build.icmpv6Type(pick([1, 2, 128, 129]), pick([null, 0, 4]));
      case 0:
        return build.ipSrc.eq(address());
      case 1:
        return build.ipSrc.in(network());
      case 2:
        return build.ipDst.oneOf([network(), address()]);
      case 3:
      case 4:
        return build.tcpDport.eq(port());
      case 5:
        return build.tcpDport.oneOf([ports(), ports()]);
      case 6:
        return build.udpDport.oneOf([ports()]);
      case 7:
        return build.protocol(pick([1, 6, 17, 58]));
      case 8:
        return build.icmpType(pick([0, 3, 8]), pick([null, 0, 1]));
      case 9:
        return build.tcpFlags(pick([2, 16, 18]), pick([0, 1, 4]));
      case 10:
        return build.state(pick(["new", "established", "invalid", "stray"]));
      default:
        return build.fromSide(pick(["a", "b"]));
    }
  };
  const predicate = (): Predicate => {
    switch (below(random, 8)) {
      case 0:
        return build.not(build.and(test(), test()));
      case 1:
        return build.or(test(), test(), build.not(test()));
      case 2:
        return build.not(test());
      case 3:
      case 4:
        return build.and(test(), test());
      default:
        return test();
    }
  };
  const tree = (depth: number): Tree => {
    if (depth === 0) return build.drop;
    const arms = Array.from(
      { length: 2 + below(random, 12) },
      () => [predicate(), tree(below(random, 3) === 0 ? depth - 1 : 0)] as const,
    );
    return build.firstMatch(arms);
  };
  return build.policy("drop", tree(3));
}

// PDUs

interface Pool {
  readonly addresses: number[];
  readonly addresses6: bigint[];
  readonly ports: number[];
  readonly numbers: number[];
  readonly flags: number[];
  readonly icmp: number[];
}

function constantsOf(policy: Policy): Pool {
  const pool: Pool = {
    addresses: [...ADDRESSES, ...BACKENDS[4] as number[]],
    addresses6: [...ADDRESSES6, ...BACKENDS[6] as bigint[]],
    ports: [...PORTS],
    numbers: [64, 1500],
    flags: [2, 16, 18],
    icmp: [8 << 8, 128 << 8],
  };
  const addPredicate = (predicate: Predicate): void => {
    switch (predicate.test) {
      case "not":
        return addPredicate(predicate.of);
      case "all":
      case "any":
        return predicate.of.forEach(addPredicate);
      case "address":
        for (const term of predicate.in) {
          if (!("network" in term)) continue;
          for (const one of [term.network, lastOf(term)]) {
            if (isIpv6(one)) pool.addresses6.push(one);
            else pool.addresses.push(one);
          }
        }
        return;
      case "port":
        return predicate.in.forEach(({ first, last }) => pool.ports.push(first, last));
      case "number":
        return predicate.in.forEach(({ first, last }) => pool.numbers.push(first, last));
      case "tcp-flags":
        pool.flags.push(predicate.set, 255 & ~predicate.clear);
        return;
      case "icmp":
      case "icmpv6":
        for (const family of [4, 6] as const) {
          const kind = icmpKindIn(predicate, family);
          if (kind !== null) pool.icmp.push((kind.type << 8) | (kind.code ?? 0));
        }
    }
  };
  const addTree = (tree: Tree): void => {
    if (tree.node === "first-match") tree.arms.forEach((arm) => addPredicate(arm.when));
    if (tree.node === "filter") addPredicate(tree.when);
    childrenOf(tree).forEach(addTree);
  };
  [policy.next, ...Object.values(policy.subtrees)].forEach(addTree);
  return pool;
}

/** Fills `pdu` with one that really comes to a policy. */
function fill(pdu: Pdu, pool: Pool, random: Random): void {
  const near = (values: readonly number[]): number =>
    values[below(random, values.length)]! + (below(random, 2) === 0 ? 0 : below(random, 3) - 1);
  const within = (value: number, min: number, max: number): number =>
    Math.min(max, Math.max(min, value));
  const until = (draw: () => number, isRight: (value: number) => boolean): number => {
    for (;;) {
      const value = draw();
      if (isRight(value)) return value;
    }
  };
  const family = below(random, 2) === 0 ? 4 : 6;
  if (family === 4) {
    pdu.src = until(() => near(pool.addresses) | 0, isHost);
    pdu.dst = until(() => near(pool.addresses) | 0, isHost);
  } else {
    const near6 = (): bigint =>
      BigInt.asUintN(
        128,
        pool.addresses6[below(random, pool.addresses6.length)]! + BigInt(below(random, 3) - 1),
      );
    let src = near6();
    while (!isHost6(src)) src = near6();
    pdu.addresses.set(wordsOf(src), 0);
    pdu.addresses.set(wordsOf(near6()), 4);
    pdu.src = pdu.dst = below(random, 9); // digests
  }
  const icmpNumber = family === 4 ? 1 : 58;
  const other = family === 4 ? below(random, 256) : 59; // no other goes on behind IPv6
  const protocol = [icmpNumber, 6, 6, 6, 17, 17, other, other][below(random, 8)]!;
  pdu.protocol = family === 4 ? protocol : OVER_IPV6 | protocol;
  pdu.ttl = within(near(pool.numbers), 0, 255);
  pdu.fragment = below(random, 4) === 0 ? 1 : 0;
  // Fields of other protocols hold what earlier packets left there.
  pdu.srcPort = within(near(pool.ports), protocol === 6 ? 1 : 0, 65_535);
  pdu.dstPort = within(near(pool.ports), protocol === 6 || protocol === 17 ? 1 : 0, 65_535);
  pdu.tcpFlags = until(
    () => (near(pool.flags) ^ (below(random, 3) === 0 ? 1 << below(random, 8) : 0)) & 255,
    isSent,
  );
  const isComing = (icmp: number): boolean => family === 4 || !isLinkMessage(icmp >> 8);
  const icmp = until(() => near(pool.icmp) & 0xffff, isComing);
  pdu.icmpType = icmp >> 8;
  pdu.icmpCode = icmp & 255;
  const quotes = (family === 4 ? [3, 11, 12] : [1, 2, 3, 4]).includes(pdu.icmpType);
  const shortest = (family === 4 ? 20 : 40) +
    (protocol === 6
      ? 20
      : protocol === 17
      ? 8
      : protocol !== icmpNumber
      ? 0
      : !quotes
      ? 8
      : family === 4
      ? 36
      : 56);
  pdu.totalLength = within(near(pool.numbers), shortest, 65_535);
  pdu.flow = hasTuple(pdu) ? [-1, -1, 4, 5][below(random, 4)]! : -1;
  pdu.state = stateOf(pdu, random);
  pdu.side = below(random, 2);
  if (!isFromB(pdu)) return;
  const backend = BACKENDS[family][below(random, 2)]!;
  if (isIpv6(backend)) pdu.addresses.set(wordsOf(backend), 0);
  else pdu.src = backend;
  pdu.side = 1;
}

/** Not 0/8, 127/8, nor from 224.0.0.0 on. */
function isHost(address: number): boolean {
  const network = address >>> 24;
  return network !== 0 && network !== 127 && network < 224;
}

/** Not `::`, `::1`, IPv4-mapped, nor a group's. */
function isHost6(address: bigint): boolean {
  return address > 1n && address >> 32n !== 0xffffn && address >> 120n !== 0xffn;
}

/**
 * Flags that some TCP sends: SYN, SYN ACK, RST, or anything with ACK; one of SYN, FIN, RST at most.
 */
function isSent(flags: number): boolean {
  const [fin, syn, rst, ack] = [1, 2, 4, 16].map((bit) => (flags & bit) !== 0);
  return (syn || rst || ack) === true && [fin, syn, rst].filter(Boolean).length <= 1;
}

/** As `Connections.classify` finds out, where it depends on no window and no backend. */
function stateOf(pdu: Pdu, random: Random): number {
  const { protocol, tcpFlags, icmpType, flow } = pdu;
  const isKnown = flow >= 0;
  const maybe = (state: number, other: number): number => below(random, 2) === 0 ? state : other;
  const belongs = flow === 4 ? maybe(STATE_NEW, STATE_ESTABLISHED) : STATE_ESTABLISHED;
  switch (isIcmp(protocol) ? 1 : protocol & 255) {
    case 1: {
      const [asks, answers] = [ASKING, ANSWERING].map((of) => of[familyOf(pdu)].includes(icmpType));
      if (!isKnown) return asks ? STATE_NEW : STATE_INVALID;
      return flow === 4 ? asks ? belongs : STATE_INVALID : answers ? belongs : STATE_INVALID;
    }
    case 6: {
      const opens = (tcpFlags & 18) === 2;
      if (!isKnown) return opens ? STATE_NEW : STATE_INVALID;
      return maybe(STATE_INVALID, opens ? belongs : STATE_ESTABLISHED);
    }
    default:
      return isKnown ? belongs : STATE_NEW;
  }
}
