/**
 * Random policies with every kind of node, predicate, definition and label. The same numbers give
 * the same policy. Predicates mostly fit what is known above them (no port test below `icmp`), and
 * constants come from small pools, so that random packets of the same pools reach most branches.
 */
import { type Check, healthOf } from "../../src/policy/language/health.ts";
import { below, type Random } from "../../src/core/random.ts";
import type {
  AddressTerm,
  CustomPredicate,
  CustomSelector,
  Decision,
  Policy,
  Predicate,
  Tree,
} from "../../src/policy/language/ast.ts";
import * as build from "../../src/policy/language/build.ts";
import { PICK_WORDS } from "../../src/policy/language/words.ts";
import { maskOf, parseAddress } from "../../src/wire/address.ts";
import { parseAddress6 } from "../../src/wire/address6.ts";
import { addressOfWords, formatHostAddress, hostSubnetOf } from "../../src/wire/host_address.ts";
import { ICMP_TYPES } from "../../src/wire/icmpv4.ts";
import { ICMPV6_TYPES } from "../../src/wire/icmpv6.ts";
import type { Packet } from "../../src/policy/language/packet.ts";

export interface RandomPolicyOptions {
  /** Most tree nodes, those of definitions included, at least 1. The number itself is random. */
  readonly maxNodes: number;
  /** Most nodes on a path, those of subtrees that it uses included; 16 unless told. */
  readonly maxDepth?: number;
  /** Whether it asks about IPv6, too; it does not unless told. */
  readonly hasIpv6?: boolean;
}

/** The last 32 bits of the source address, whichever family it is of. */
function lowBits({ src }: Packet): number {
  return typeof src === "bigint" ? Number(BigInt.asIntN(32, src)) : src;
}

/** User functions that random policies name; pure, as they must be. */
export const PREDICATES: Readonly<Record<string, CustomPredicate>> = {
  "even-source": (packet) => (lowBits(packet) & 1) === 0,
  "constructor": (packet: Packet) => packet.length > 100,
};

export const SELECTORS: Readonly<Record<string, CustomSelector>> = {
  "by-source": (packet) => (lowBits(packet) & 3) - 1,
  "by-length": (packet) => packet.length % 3,
};

/** Constants that predicates are made of. */
export const ADDRESSES: readonly number[] = [
  "0.0.0.0",
  "10.0.0.1",
  "10.0.0.2",
  "10.1.2.3",
  "172.16.0.9",
  "192.168.0.1",
  "192.168.0.254",
  "255.255.255.255",
].map(parseAddress);
export const ADDRESSES6: readonly bigint[] = [
  "::",
  "fd00::1",
  "2001:db8::1",
  "2001:db8::2",
  "2001:db8:0:1::1",
  "2001:db8:0:1:8000::",
  "2002::",
  "ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff",
].map((text) => addressOfWords(parseAddress6(text)));
export const PORTS: readonly number[] = [0, 22, 53, 80, 443, 8000, 8080, 40_000, 65_535];
export const LENGTHS: readonly number[] = [0, 20, 28, 40, 56, 84, 576, 1500, 65_535];
export const TTLS: readonly number[] = [0, 1, 2, 5, 32, 64, 128, 255];
const LABELS = [
  "naive http",
  "",
  'a "quoted" \\ label',
  "# no comment, no -> arrow | no branch",
  "line\nbreak\r\ttab\0nul",
  "\u001b[31mred\u009b0m",
  "über 負荷 🙂",
  "\ud800 half a pair",
  "\u202etxet\u2066 \u2028 \ufeff",
  "</script><script>alert(1)</script>",
  "`${process.exit(1)}` */ ]] --> %%",
  "__proto__",
];
const LISTS = ["web", "constructor", "x-1", "to-string"];
const SUBTREES = ["reply", "constructor", "in", "otherwise", "use"];
/** Members of pools: hosts that a test's proxy can reach. */
const MEMBERS: readonly number[] = [1, 2, 3, 9, 200].map((n) => parseAddress(`192.168.0.${n}`));
const MEMBERS6: readonly bigint[] = ADDRESSES6.slice(2, 4);
const POOLS = ["shop", "constructor-1", "to", "port"];
const DECISIONS: readonly Decision[] = ["drop", "forward", "echo-reply", "reject"];

/** A policy of 1 to `maxNodes` nodes; small ones are as frequent as large ones. */
export function randomPolicy(random: Random, options: RandomPolicyOptions): Policy {
  return new Generator(random, options).policy();
}

/** A predicate of up to about `size` tests, without named lists but `$dst-addrs`. */
export function randomPredicate(random: Random, size: number): Predicate {
  return new Generator(random, { maxNodes: 1 }).predicate(size, null);
}

class Generator {
  readonly #random: Random;
  readonly #maxDepth: number;
  /** Tree nodes that may still be made. */
  #left: number;
  readonly #pools: Record<string, build.PoolOptions> = {};
  readonly #lists: Record<string, AddressTerm[]> = {};
  readonly #subtrees: Record<string, { tree: Tree; depth: number }> = {};
  readonly #hasIpv6: boolean;
  #deepest = 0;

  constructor(random: Random, options: RandomPolicyOptions) {
    const { maxNodes, maxDepth = 16, hasIpv6 = false } = options;
    this.#random = random;
    this.#maxDepth = maxDepth;
    this.#hasIpv6 = hasIpv6;
    this.#left = Math.ceil(maxNodes ** (below(random, 1001) / 1000));
  }

  policy(): Policy {
    const total = this.#left;
    for (const name of POOLS) if (this.#chance(4)) this.#pools[name] = this.#pool();
    for (const name of LISTS) {
      if (this.#chance(3)) {
        this.#lists[name] = this.#some(4, () => this.#addressTerm());
      }
    }
    for (const name of SUBTREES) {
      if (total < 8 || !this.#chance(4)) continue;
      const size = 1 + below(this.#random, Math.ceil(total / 8));
      this.#left -= size;
      this.#deepest = 0;
      const tree = this.#tree(size, 1, null);
      this.#subtrees[name] = { tree, depth: this.#deepest };
    }
    const next = this.#tree(Math.max(1, this.#left), 1, null);
    const subtrees = Object.entries(this.#subtrees).map(([name, { tree }]) => [name, tree]);
    return build.policy(this.#pick(DECISIONS), next, {
      pools: this.#pools,
      lists: this.#lists,
      subtrees: Object.fromEntries(subtrees) as Record<string, Tree>,
    });
  }

  /** A tree of up to `size` nodes; its root has `depth - 1` nodes above it. */
  #tree(size: number, depth: number, protocol: number | null): Tree {
    this.#deepest = Math.max(this.#deepest, depth);
    if (size <= 1 || depth >= this.#maxDepth) return this.#end(depth);
    const then = (): Tree => this.#tree(size - 1, depth + 1, protocol);
    switch (below(this.#random, size > 20 ? 8 : 14)) {
      case 0:
      case 1:
      case 2:
      case 3:
      case 4:
        return this.#firstMatch(size, depth, protocol);
      case 5:
      case 6: {
        const branches = this.#shares(size - 1).map((share) => {
          const tree = this.#tree(share, depth + 1, protocol);
          return this.#chance(3) ? [this.#pick([1, 2, 3, 100]), tree] as const : tree;
        });
        const per = this.#chance(3) ? "connection" : "pdu";
        return this.#pick([build.inTurn, build.atRandom, build.byHash])(branches, { per });
      }
      case 7: {
        const name = this.#pick(Object.keys(SELECTORS));
        const branches = this.#shares(size - 1).map((n) => this.#tree(n, depth + 1, protocol));
        return build.customSelector(name, SELECTORS[name]!, branches);
      }
      case 8:
        return build.limit({
          perSecond: this.#pick([1, 1000, 1_000_000_000]),
          burst: this.#pick([1, 20, 1_000_000_000]),
          per: this.#pick(["rule", "source"]),
        }, then());
      case 9:
        return build.filter(this.predicate(3, protocol), then());
      case 10:
        return build.track(then());
      case 11:
        return build.translateAToB(then(), this.#target());
      case 12:
        return build.translateBToA(then());
      default:
        return build.setTtl(this.#pick([1, 64, 255]), then(), { raise: this.#pick([false, true]) });
    }
  }

  #firstMatch(size: number, depth: number, protocol: number | null): Tree {
    const shares = this.#shares(size - 1);
    const arms = shares.map((share, i) => {
      const [when, inner] = this.#arm(protocol, i === shares.length - 1);
      return [when, this.#tree(share, depth + 1, inner)] as const;
    });
    return build.firstMatch(arms);
  }

  #target(): build.TranslateOptions {
    const to = this.#pick(["dst-addrs", ...Object.keys(this.#pools)]);
    const by = this.#pick(PICK_WORDS);
    return this.#chance(3) ? { to, by, port: this.#pick([1, 8080, 65_535]) } : { to, by };
  }

  /** Different ones, each with some options. */
  #pool(): build.PoolOptions {
    const members = this.#members();
    if (!this.#chance(3)) return { members };
    const port = this.#pick([1, 80, 65_535]);
    const check = this.#pick<Check>([
      { kind: "off" },
      { kind: "neighbor" },
      { kind: "icmp" },
      { kind: "tcp", port },
      {
        kind: "http",
        port,
        path: this.#pick(["/", "/a.b-c_$", "/a?b=c", "/->", '/"\\']),
        status: 204,
      },
      { kind: "udp", port, payload: this.#pick(["00", "0a0bff"]) },
    ]);
    return {
      members,
      health: healthOf(check, {
        ...(this.#chance(3) ? { intervalMs: this.#pick([100, 2500, 60_000]) } : {}),
        ...(this.#chance(3) ? { slowStartMs: this.#pick([1, 30_000]) } : {}),
        ...(this.#chance(3) ? { fall: this.#pick([1, 100]) } : {}),
        ...(this.#chance(3) ? { onDown: this.#pick(["reset", "keep"] as const) } : {}),
        ...(this.#chance(3) ? { allDown: "any" as const } : {}),
      }),
    };
  }

  #members(): build.MemberOptions[] {
    const all = this.#hasIpv6 ? [...MEMBERS, ...MEMBERS6] : MEMBERS;
    const addresses = all.filter(() => this.#chance(3));
    if (addresses.length === 0) addresses.push(this.#pick(all));
    return addresses.map((address) => ({
      address: formatHostAddress(address),
      ...(this.#chance(3) ? { port: this.#pick([1, 80, 65_535]) } : {}),
      ...(this.#chance(3) ? { weight: this.#pick([0, 2, 256]) } : {}),
      ...(this.#chance(4) ? { backup: true } : {}),
      ...(this.#chance(4) ? { maxconn: this.#pick([1, 1_000_000]) } : {}),
      ...(this.#chance(4) ? { state: "drain" } as const : {}),
    }));
  }

  /** A predicate and the protocol that is then known. */
  #arm(protocol: number | null, last: boolean): readonly [Predicate, number | null] {
    if (last && this.#chance(2)) return [build.otherwise, protocol];
    if (protocol === null && this.#chance(3)) {
      const number = this.#pick([1, 6, 17]);
      return [build.protocol(number), number];
    }
    return [this.predicate(1 + below(this.#random, 4), protocol), protocol];
  }

  #end(depth: number): Tree {
    const usable = Object.entries(this.#subtrees)
      .filter(([, subtree]) => depth + subtree.depth <= this.#maxDepth);
    if (usable.length > 0 && this.#chance(3)) {
      const [name, subtree] = this.#pick(usable);
      this.#deepest = Math.max(this.#deepest, depth + subtree.depth);
      return build.use(name);
    }
    return build.decide(this.#pick(DECISIONS), this.#chance(4) ? this.#label() : null);
  }

  #label(): string {
    if (!this.#chance(3)) return this.#pick(LABELS);
    return String.fromCharCode(
      ...this.#some(8, () => below(this.#random, this.#pick([0x100, 0x3000, 0x1_0000]))),
    );
  }

  predicate(size: number, protocol: number | null): Predicate {
    if (size <= 1) return this.#test(protocol);
    switch (below(this.#random, 4)) {
      case 0:
        return build.not(this.predicate(size - 1, protocol));
      case 1:
        return build.and(...this.#shares(size).map((n) => this.predicate(n, protocol)));
      case 2:
        return build.or(...this.#shares(size).map((n) => this.predicate(n, protocol)));
      default:
        return this.#test(protocol);
    }
  }

  #test(protocol: number | null): Predicate {
    if (this.#hasIpv6 && this.#chance(10)) return this.#pick([build.isIpv4, build.isIpv6]);
    if (!this.#chance(12)) {
      // About what is inside the protocol that is known, or about any.
      if ((protocol === 6 || protocol === null) && this.#chance(4)) {
        return this.#chance(3) ? this.#flags() : this.#port(6);
      }
      if ((protocol === 17 || protocol === null) && this.#chance(4)) return this.#port(17);
      if ((protocol === 1 || protocol === null) && this.#chance(4)) return this.#icmp();
    }
    switch (below(this.#random, 14)) {
      case 0:
        return this.#chance(3) ? build.otherwise : build.isFragment;
      case 1:
        return build.protocol(this.#pick([0, 1, 6, 17, this.#hasIpv6 ? 58 : 47, 255]));
      case 2:
        return build.state(this.#pick(["new", "established", "invalid", "stray"]));
      case 3:
        return build.fromSide(this.#pick(["a", "b"]));
      case 4: {
        const name = this.#pick(Object.keys(PREDICATES));
        return build.customPredicate(name, PREDICATES[name]!);
      }
      case 5:
        return this.#number(build.ipLength, LENGTHS);
      case 6:
        return this.#number(build.ipTtl, TTLS);
      case 7:
        return this.#port(this.#pick([6, 17]));
      case 8:
        return this.#chance(2) ? this.#flags() : this.#icmp();
      default: {
        const field = this.#pick([build.ipSrc, build.ipDst]);
        return field.oneOf(this.#some(3, () => this.#addressTerm()));
      }
    }
  }

  #port(protocol: 6 | 17): Predicate {
    const fields = protocol === 6
      ? [build.tcpSport, build.tcpDport, build.tcpDport]
      : [build.udpSport, build.udpDport, build.udpDport];
    return this.#number(this.#pick(fields), PORTS);
  }

  #number(field: typeof build.ipTtl, pool: readonly number[]): Predicate {
    return field.oneOf(this.#some(3, () => {
      const one = this.#pick(pool);
      if (!this.#chance(3)) return one;
      const other = this.#pick(pool);
      return [Math.min(one, other), Math.max(one, other)] as const;
    }));
  }

  #flags(): Predicate {
    const set = this.#pick([0x02, 0x12, 0x01, 0x04, 0x10, 0x18, 0, below(this.#random, 256)]);
    const clear = this.#pick([0, 0x10, 0x05, below(this.#random, 256)]) & ~set;
    return build.tcpFlags(set, (set | clear) === 0 ? 0x10 : clear);
  }

  #icmp(): Predicate {
    if (this.#hasIpv6 && this.#chance(3)) {
      const type6 = this.#pick([1, 3, 128, 129, Number(this.#pick(Object.keys(ICMPV6_TYPES)))]);
      return build.icmpv6Type(type6, this.#chance(3) ? this.#pick([0, 1, 4, 255]) : null);
    }
    const type = this.#chance(2)
      ? this.#pick([0, 3, 8, 11])
      : this.#chance(4)
      ? below(this.#random, 256)
      : Number(this.#pick(Object.keys(ICMP_TYPES)));
    return build.icmpType(type, this.#chance(3) ? this.#pick([0, 1, 3, 13, 15, 16, 255]) : null);
  }

  #addressTerm(): AddressTerm {
    if (this.#chance(5)) return build.dstAddrs;
    const lists = [...Object.keys(this.#pools), ...Object.keys(this.#lists)];
    if (lists.length > 0 && this.#chance(4)) return { list: this.#pick(lists) };
    if (this.#hasIpv6 && this.#chance(2)) {
      const length = this.#chance(2) ? 128 : this.#pick([0, 1, 32, 64, 65, 127]);
      return hostSubnetOf(this.#pick(ADDRESSES6), length);
    }
    const address = this.#pick(ADDRESSES);
    const prefixLength = this.#chance(2) ? 32 : this.#pick([0, 1, 8, 16, 24, 31]);
    return { network: address & maskOf(prefixLength), prefixLength };
  }

  /** One to six sizes that add up to `size`, or to a little more. */
  #shares(size: number): number[] {
    const count = 1 + below(this.#random, Math.min(6, Math.max(1, size)));
    const cuts = Array.from({ length: count }, () => 1 + below(this.#random, 100));
    const sum = cuts.reduce((a, b) => a + b, 0);
    return cuts.map((cut) => Math.max(1, Math.floor(size * cut / sum)));
  }

  /** One to `max` of them. */
  #some<Item>(max: number, make: () => Item): Item[] {
    return Array.from({ length: this.#chance(2) ? 1 : 1 + below(this.#random, max) }, make);
  }

  #pick<Item>(items: readonly Item[]): Item {
    return items[below(this.#random, items.length)]!;
  }

  /** True once in `times`. */
  #chance(times: number): boolean {
    return below(this.#random, times) === 0;
  }
}
