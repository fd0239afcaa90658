/**
 * Members that were added to pools, or taken out, while the proxy runs: laid over each policy that
 * is read, so that a reload leaves them as they are.
 */
import { quote } from "../core/text.ts";
import type { SavedChange } from "../datapath/saved_members.ts";
import { plainMember } from "../flow/backends/member.ts";
import { DST_ADDRS, type Policy, type PoolMember } from "../policy/language/ast.ts";
import {
  formatEndpoint,
  formatHostAddress,
  type HostAddress,
  parseHostAddress,
  splitEndpoint,
} from "../wire/host_address.ts";
import { parsePort } from "./filter.ts";
import { Refusal } from "./request.ts";

/** Pool, address and port of a member. */
export interface MemberKey {
  readonly pool: string;
  readonly address: HostAddress;
  readonly port: number;
}

interface AddedMember extends MemberKey {
  readonly member: PoolMember;
}

// Both by `textOf`.
type Added = ReadonlyMap<string, AddedMember>;
type Removed = ReadonlyMap<string, MemberKey>;

export class Overlay {
  readonly #added: Added;
  readonly #removed: Removed;

  constructor(added: Added = new Map(), removed: Removed = new Map()) {
    this.#added = added;
    this.#removed = removed;
  }

  /** This with one member more. */
  with(key: MemberKey, weight: number): Overlay {
    const removed = new Map(this.#removed);
    removed.delete(textOf(key));
    return new Overlay(new Map(this.#added).set(textOf(key), addedBy(key, weight)), removed);
  }

  /** This without that member. */
  without(key: MemberKey): Overlay {
    const added = new Map(this.#added);
    added.delete(textOf(key));
    return new Overlay(added, new Map(this.#removed).set(textOf(key), key));
  }

  /** That of an earlier run. Throws a SyntaxError for what is no address. */
  static of(changes: readonly SavedChange[]): Overlay {
    const added = new Map<string, AddedMember>();
    const removed = new Map<string, MemberKey>();
    for (const { pool, address, port, weight } of changes) {
      const key = { pool, address: parseHostAddress(address), port };
      if (weight === null) removed.set(textOf(key), key);
      else added.set(textOf(key), addedBy(key, weight));
    }
    return new Overlay(added, removed);
  }

  /** What it changes, for a later run. */
  changes(): SavedChange[] {
    const saved = ({ pool, address, port }: MemberKey, weight: number | null) => (
      { pool, address: formatHostAddress(address), port, weight }
    );
    return [
      ...[...this.#removed.values()].map((key) => saved(key, null)),
      ...[...this.#added.values()].map((one) => saved(one, one.member.weight)),
    ];
  }

  /** The pools as they are to be; none is ever left without a member. */
  apply(pools: Policy["pools"]): Policy["pools"] {
    if (this.#added.size === 0 && this.#removed.size === 0) return pools;
    const changed = Object.entries(pools).map(([pool, definition]) => {
      const isOf = (member: PoolMember) => textOf({ pool, ...member });
      const own = definition.members.filter((member) => !this.#removed.has(isOf(member)));
      const there = new Set(own.map(isOf));
      const added = [...this.#added.values()].filter((one) =>
        one.pool === pool && !there.has(textOf(one))
      );
      const members = [...own, ...added.map(({ member }) => member)];
      return [pool, members.length === 0 ? definition : { ...definition, members }] as const;
    });
    return Object.fromEntries(changed);
  }
}

/**
 * `web/10.0.0.1:8080` or `web/[2001:db8::1]:8080`, with or without `$` and port. Throws a
 * SyntaxError or RangeError.
 */
export function parseMemberName(name: string): MemberKey {
  const [, pool, end] =
    /^\$?([^/$]+)\/([\d.]+(?::\d+)?|[\da-fA-F:.]+|\[[^\]]+\](?::\d+)?)$/.exec(name) ??
      [];
  if (pool === undefined || end === undefined) {
    throw new SyntaxError(
      `Cannot use ${quote(name)} as new backend: expected POOL/ADDR[:PORT], ` +
        "as in web/10.0.0.1:80 or web/[2001:db8::1]:80",
    );
  }
  const { host, port } = splitEndpoint(end);
  return { pool, address: parseHostAddress(host), port: port === null ? 0 : parsePort(port, 1) };
}

/** Throws a Refusal unless the pool is one of `pools` and can have such a member. */
export function checkPool(pools: Policy["pools"], { pool, port }: MemberKey): void {
  if (!Object.hasOwn(pools, pool)) {
    throw new Refusal(409, `The policy has no pool ${quote(`$${pool}`)}`);
  }
  if (pool === DST_ADDRS && port !== 0) {
    throw new Refusal(409, "Backends of $dst-addrs have no port of their own");
  }
}

function addedBy(key: MemberKey, weight: number): AddedMember {
  const { address, port } = key;
  return { ...key, member: { ...plainMember(address), port, weight } };
}

function textOf({ pool, address, port }: MemberKey): string {
  return `${pool} ${formatEndpoint(address, port)}`;
}
