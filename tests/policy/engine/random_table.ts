/**
 * Random policies with long selectors: runs of address and port tests with tests of other kinds
 * between them, lists of many ranges, and few or many different subtrees behind the arms. They make
 * the compiler use what short trees do not: indexes, look-ups, cut lists, shared functions.
 */
import { below, type Random } from "../../../src/core/random.ts";
import type { Policy, Predicate, Tree } from "../../../src/policy/language/ast.ts";
import * as build from "../../../src/policy/language/build.ts";
import { formatAddress, maskOf } from "../../../src/wire/address.ts";
import { addressOfWords, formatHostSubnet, hostSubnetOf } from "../../../src/wire/host_address.ts";
import { PREDICATES, SELECTORS } from "../../support/random_policy.ts";

/** A policy of at most `maxNodes` nodes; of both families, if told. */
export function randomTable(random: Random, maxNodes: number, hasIpv6 = false): Policy {
  return new Maker(random, maxNodes, hasIpv6).policy();
}

/** What may stand behind an arm. The first ones are small, so that they are the most frequent. */
const SHAPES: readonly ((number: number) => Tree)[] = [
  () => build.drop,
  () => build.track(build.echo),
  (n) => build.decide("reject", `rule ${n}`),
  () => build.translateAToB(build.forward, "by hash"),
  () => build.inTurn([build.drop, build.forward, [3, build.reject]]),
  () => build.limit({ perSecond: 2, burst: 3 }, build.echo),
  () => build.filter(build.isEstablished, build.translateBToA(build.forward)),
  () => build.customSelector("by-length", SELECTORS["by-length"]!, [build.drop, build.echo]),
  () =>
    build.atRandom([build.drop, build.translateBToA(build.setTtl(9, build.forward))], {
      per: "connection",
    }),
  // From here on, another one for each number.
  (n) => build.setTtl(1 + n % 255, build.translateAToB(build.forward)),
  (n) => build.filter(build.ipTtl.range(n & 63, 128), build.decide("forward", "")),
];

class Maker {
  readonly #random: Random;
  readonly #hasIpv6: boolean;
  /** Nodes that may still be made. */
  #left: number;

  constructor(random: Random, maxNodes: number, hasIpv6: boolean) {
    this.#random = random;
    this.#hasIpv6 = hasIpv6;
    this.#left = maxNodes;
  }

  policy(): Policy {
    const terms = (count: number) => Array.from({ length: count }, () => this.#network());
    const lists = { few: terms(3), many: terms(5 + below(this.#random, 40)) };
    const all = { all: ["$few", "$many", "$dst-addrs"] };
    return build.policy(this.#pick(["drop", "forward", "reject"]), this.#table(2), {
      lists: { ...lists, ...all },
    });
  }

  #table(levels: number): Tree {
    const wanted = this.#pick([3, 8, 12, 33, 40, 100, 400]);
    const shapes = 1 + below(this.#random, SHAPES.length);
    const arms: [Predicate, Tree][] = [];
    this.#left--;
    while (arms.length < wanted && this.#left >= 8) {
      const nest = levels > 0 && below(this.#random, 30) === 0;
      const then = nest
        ? this.#table(levels - 1)
        : SHAPES[below(this.#random, shapes)]!(arms.length);
      if (!nest) this.#left -= 6;
      arms.push([this.#predicate(), then]);
    }
    if (arms.length === 0 || this.#chance(3)) arms.push([build.otherwise, build.drop]);
    return build.firstMatch(arms);
  }

  #predicate(): Predicate {
    switch (below(this.#random, 40)) {
      case 0:
        return build.not(this.#one());
      case 1:
        return build.and(this.#one(), this.#one());
      case 2:
        return build.or(this.#one(), this.#one(), build.and(build.isNew, this.#one()));
      case 3:
        return build.ipLength.oneOf(this.#values(1500));
      case 4:
        return build.ipTtl.oneOf(this.#values(255));
      case 5:
        return build.customPredicate("even-source", PREDICATES["even-source"]!);
      default:
        return this.#one();
    }
  }

  /** One that an index may hold. */
  #one(): Predicate {
    const address = this.#pick([build.ipSrc, build.ipSrc, build.ipDst]);
    const port = this.#pick([build.tcpDport, build.tcpSport, build.udpDport, build.udpSport]);
    switch (below(this.#random, 8)) {
      case 0:
        return address.in(this.#network());
      case 1:
        return address.oneOf(
          Array.from({ length: 2 + below(this.#random, 8) }, () => this.#network()),
        );
      case 2:
        return this.#chance(4) ? address.oneOf(this.#pick(["$few", "$many", "$all"])) : port.eq(7);
      case 3:
      case 4:
        return address.in(this.#network(true));
      case 5:
        return port.oneOf(this.#values(600));
      default:
        return port.eq(below(this.#random, 600));
    }
  }

  #values(max: number): (number | [number, number])[] {
    return Array.from({ length: 1 + below(this.#random, this.#pick([1, 3, 12])) }, () => {
      const first = below(this.#random, max);
      return this.#chance(3) ? [first, first + below(this.#random, max - first)] : first;
    });
  }

  /** Of a few thousand around 0.0.0.0, 127.255.255.255, 128.0.0.0 and 255.255.255.255. */
  #address(): number {
    const around = this.#pick([0, 0x7fff_ffff, -0x8000_0000, -1]);
    return (around + below(this.#random, 1000) - 500) | 0;
  }

  #network(isHost = false): string {
    if (this.#hasIpv6 && this.#chance(2)) {
      const words = Int32Array.of(
        this.#pick([0x20010db8, 0, -1]),
        this.#address(),
        0,
        this.#address(),
      );
      const length = isHost
        ? 128
        : this.#pick([128, 128, 127, 120, 64, 60, 1 + below(this.#random, 128)]);
      return formatHostSubnet(hostSubnetOf(addressOfWords(words), length));
    }
    if (isHost) return `${formatAddress(this.#address())}/32`;
    const length = this.#pick([32, 32, 31, 30, 28, 24, 1 + below(this.#random, 32)]);
    return `${formatAddress(this.#address() & maskOf(length))}/${length}`;
  }

  #pick<Item>(items: readonly Item[]): Item {
    return items[below(this.#random, items.length)]!;
  }

  /** True once in `times`. */
  #chance(times: number): boolean {
    return below(this.#random, times) === 0;
  }
}
