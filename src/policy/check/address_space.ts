/**
 * Addresses of both families as numbers of one field. An IPv4 address is itself, below 2³²; an IPv6
 * address is the number of the stretch that it is in, from there on: between two neighbours of the
 * addresses that a policy names, all others are alike.
 *
 *     ::   ::1 │ ::2 … │ ::ffff:0:0/96 │ ::1:0:0:0 …   2001:db8::/32   … │ ff00::/8
 *      0    1  │   2   │       3       │   4, 4 + 1,        4 + 2,   … │    5         regions
 *
 * What no host has is in regions of its own, so that their numbers are the same for each policy.
 */
import {
  bitsOf,
  type HostAddress,
  type HostSubnet,
  isIpv6,
  lastOf,
} from "../../wire/host_address.ts";
import {
  childrenOf,
  type Interval,
  listsOf,
  type Policy,
  type Predicate,
  type Tree,
} from "../language/ast.ts";
import { interval, type IntervalSet, union } from "./interval_set.ts";

const FIRST_IPV6 = 2 ** 32;

/** Numbers of a region; stretches are fewer, and its last one has all numbers that are left. */
const REGION_NUMBERS = 2 ** 29;

/** Where each region starts. */
const REGIONS: readonly bigint[] = [
  0n,
  1n,
  2n,
  0xffff_0000_0000n,
  0x1_0000_0000_0000n,
  0xffn << 120n,
];
const LAST = (1n << 128n) - 1n;

export const ALL_IPV4: IntervalSet = interval(0, FIRST_IPV6 - 1);
export const ALL_IPV6: IntervalSet = interval(FIRST_IPV6, numberAt(REGIONS.length) - 1);
export const ALL_ADDRESSES: IntervalSet = interval(0, numberAt(REGIONS.length) - 1);

/** Addresses that one host can have: not `::`, `::1`, IPv4-mapped ones and groups. */
export const IPV6_HOSTS: IntervalSet = union(regionAt(2), regionAt(4));

function numberAt(region: number): number {
  return FIRST_IPV6 + region * REGION_NUMBERS;
}

function regionAt(region: number): IntervalSet {
  return interval(numberAt(region), numberAt(region + 1) - 1);
}

export class AddressSpace {
  /** By region: where its stretches start, ascending. */
  readonly #starts: readonly (readonly bigint[])[];

  /** Stretches between these networks. */
  constructor(networks: Iterable<HostSubnet>) {
    const starts = new Set(REGIONS);
    for (const subnet of networks) {
      if (!isIpv6(subnet.network)) continue;
      starts.add(subnet.network);
      starts.add(BigInt(lastOf(subnet)) + 1n);
    }
    const sorted = [...starts].sort((a, b) => a < b ? -1 : Number(a > b));
    this.#starts = REGIONS.map((first, region) => {
      const next = REGIONS[region + 1] ?? LAST + 1n;
      return sorted.slice(placeOf(sorted, first), placeOf(sorted, next));
    });
  }

  /** Of all networks that a policy names, and backends. */
  static of(policy: Policy, dstAddrs: readonly HostAddress[] | null): AddressSpace {
    return new AddressSpace([
      ...(dstAddrs ?? []).map((network) => ({ network, prefixLength: bitsOf(network) })),
      ...networksIn(policy),
    ]);
  }

  /** Numbers of the addresses of a network; one of IPv6 must be among those of the constructor. */
  numbersOf(subnet: HostSubnet): readonly Interval[] {
    const { network: first } = subnet;
    const last = lastOf(subnet);
    if (!isIpv6(first) || !isIpv6(last)) {
      return [{ first: Number(first) >>> 0, last: Number(last) >>> 0 }];
    }
    const numbers: Interval[] = [];
    for (const [region, starts] of this.#starts.entries()) {
      const [from, to] = [placeOf(starts, first), placeOf(starts, last + 1n)];
      if (from === to) continue;
      const end = to === starts.length ? REGION_NUMBERS : to;
      numbers.push({ first: numberAt(region) + from, last: numberAt(region) + end - 1 });
    }
    return numbers;
  }

  /** The first and the last address that has this number, which is one of IPv6. */
  stretchAt(number: number): { readonly first: bigint; readonly last: bigint } {
    const region = Math.floor((number - FIRST_IPV6) / REGION_NUMBERS);
    const starts = this.#starts[region]!;
    const place = Math.min(number - numberAt(region), starts.length - 1);
    const next = starts[place + 1] ?? REGIONS[region + 1] ?? LAST + 1n;
    return { first: starts[place]!, last: next - 1n };
  }
}

/** Place of the first that is not below `value`. */
function placeOf(sorted: readonly bigint[], value: bigint): number {
  let [low, high] = [0, sorted.length];
  while (low < high) {
    const middle = (low + high) >>> 1;
    if (sorted[middle]! < value) low = middle + 1;
    else high = middle;
  }
  return low;
}

function* networksIn(policy: Policy): Generator<HostSubnet, undefined> {
  for (const terms of Object.values(listsOf(policy))) {
    for (const term of terms) if ("network" in term) yield term;
  }
  const seen = new Set<Tree | Predicate>(); // a tree that stands in many places
  const parts: (Tree | Predicate)[] = [policy.next, ...Object.values(policy.subtrees)];
  for (let part = parts.pop(); part !== undefined; part = parts.pop()) {
    if (seen.has(part)) continue;
    seen.add(part);
    if ("node" in part) {
      if (part.node === "filter") parts.push(part.when);
      if (part.node === "first-match") { for (const { when } of part.arms) parts.push(when); }
      for (const child of childrenOf(part)) parts.push(child);
    } else if (part.test === "not") parts.push(part.of);
    else if (part.test === "all" || part.test === "any") {
      for (const of of part.of) parts.push(of);
    } else if (part.test === "address") {
      for (const term of part.in) if ("network" in term) yield term;
    }
  }
}
