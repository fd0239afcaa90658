/** The addresses that predicates and lists name as ranges, those of each family apart. */
import { finish, type Slices } from "../../core/slices.ts";
import {
  bitsOf,
  type HostAddress,
  type HostSubnet,
  isIpv6,
  lastOf,
} from "../../wire/host_address.ts";
import { type AddressTerm, DST_ADDRS, type Interval } from "../language/ast.ts";

/** Ranges between two places where the work can be interrupted. */
const RANGES_AT_ONCE = 16;

/** By name. */
export type ListsOf<Range> = ReadonlyMap<string, readonly Range[]>;

/** `first` to `last`, both included: IPv6 addresses. */
export interface Interval6 {
  readonly first: bigint;
  readonly last: bigint;
}

/** IPv4 addresses of `terms`, as intervals in writing order. */
export function intervalsOf(
  terms: readonly AddressTerm[],
  lists: ListsOf<Interval>,
): readonly Interval[] {
  return finish(intervalsInSlices(terms, lists));
}

/** IPv6 addresses of `terms`, likewise. */
export function intervals6Of(
  terms: readonly AddressTerm[],
  lists6: ListsOf<Interval6>,
): readonly Interval6[] {
  return finish(intervals6InSlices(terms, lists6));
}

export function intervalsInSlices(
  terms: readonly AddressTerm[],
  lists: ListsOf<Interval>,
): Slices<readonly Interval[]> {
  return rangesIn(terms, lists, intervalOf);
}

export function intervals6InSlices(
  terms: readonly AddressTerm[],
  lists6: ListsOf<Interval6>,
): Slices<readonly Interval6[]> {
  return rangesIn(terms, lists6, interval6Of);
}

function* rangesIn<Range>(
  terms: readonly AddressTerm[],
  lists: ListsOf<Range>,
  rangeOf: (subnet: HostSubnet) => Range | null,
): Slices<readonly Range[]> {
  const ranges: Range[] = [];
  for (const term of terms) {
    yield;
    if ("network" in term) {
      const range = rangeOf(term);
      if (range !== null) ranges.push(range);
      continue;
    }
    const list = lists.get(term.list);
    if (list === undefined) throw new RangeError(`Cannot use list "$${term.list}": not defined`);
    for (const range of list) {
      ranges.push(range);
      if (ranges.length % RANGES_AT_ONCE === 0) yield;
    }
  }
  return ranges;
}

/** Addresses of a network of IPv4; null: it is one of IPv6. */
function intervalOf(subnet: HostSubnet): Interval | null {
  const { network: first } = subnet;
  return isIpv6(first) ? null : { first: first >>> 0, last: Number(lastOf(subnet)) >>> 0 };
}

/** The other way round. */
function interval6Of(subnet: HostSubnet): Interval6 | null {
  const { network: first } = subnet;
  return isIpv6(first) ? { first, last: BigInt(lastOf(subnet)) } : null;
}

type Definitions = Readonly<Record<string, readonly AddressTerm[]>>;

/** What named lists have of IPv4, `$dst-addrs` among them. */
export function resolveLists(
  definitions: Definitions,
  dstAddrs: readonly HostAddress[],
): Slices<ListsOf<Interval>> {
  return resolve(definitions, dstAddrs, intervalOf);
}

/** What they have of IPv6. */
export function resolveLists6(
  definitions: Definitions,
  dstAddrs: readonly HostAddress[],
): Slices<ListsOf<Interval6>> {
  return resolve(definitions, dstAddrs, interval6Of);
}

function* resolve<Range>(
  definitions: Definitions,
  dstAddrs: readonly HostAddress[],
  rangeOf: (subnet: HostSubnet) => Range | null,
): Slices<ListsOf<Range>> {
  const lists = new Map<string, readonly Range[]>();
  const backends = dstAddrs.map((network) => ({ network, prefixLength: bitsOf(network) }));
  lists.set(DST_ADDRS, yield* rangesIn(backends, lists, rangeOf));
  for (const [name, terms] of Object.entries(definitions)) {
    if (name === DST_ADDRS) {
      throw new RangeError(`Cannot define list "$${name}": it exists already`);
    }
    lists.set(name, yield* rangesIn(terms, lists, rangeOf));
  }
  return lists;
}
