/**
 * What a predicate asks of packets of one family. Each function that is made of a tree is for one
 * family: what that settles is not asked again, so a policy without a word of IPv6 costs over IPv4
 * what it always did.
 */
import { isIpv6 } from "../../wire/host_address.ts";
import { PROTOCOL_ICMP } from "../../wire/ipv4.ts";
import { PROTOCOL_ICMPV6 } from "../../wire/ipv6.ts";
import { OVER_IPV6, type Pdu } from "../../wire/pdu.ts";
import type { Family, Predicate } from "../language/ast.ts";
import { icmpKindIn } from "../language/icmp_words.ts";

const ALWAYS: Predicate = Object.freeze({ test: "always" });

/** Holds for no packet of the family. */
export const NEVER: Predicate = Object.freeze({ test: "not", of: ALWAYS });

export function familyOf({ protocol }: Readonly<Pdu>): Family {
  return (protocol & OVER_IPV6) === 0 ? 4 : 6;
}

/** What a PDU of the family has as `protocol` where a policy has this number. */
export function protocolIn(family: Family, number: number): number {
  if (family === 4) return number;
  return OVER_IPV6 | (number === PROTOCOL_ICMP ? PROTOCOL_ICMPV6 : number);
}

/**
 * A predicate that says the same of packets of this family, with nothing in it that the family
 * settles: the same one, if there is nothing.
 */
export function inFamily(predicate: Predicate, family: Family): Predicate {
  switch (predicate.test) {
    case "family":
      return predicate.family === family ? ALWAYS : NEVER;
    case "icmp":
    case "icmpv6":
      return icmpKindIn(predicate, family) === null ? NEVER : predicate;
    case "address": {
      const isPossible = predicate.in.some((term) =>
        "list" in term || isIpv6(term.network) === (family === 6)
      );
      return isPossible ? predicate : NEVER;
    }
    case "not": {
      const of = inFamily(predicate.of, family);
      if (of === predicate.of) return predicate;
      return of === ALWAYS ? NEVER : of === NEVER ? ALWAYS : { test: "not", of };
    }
    case "all":
      return joined(predicate, family, ALWAYS, NEVER);
    case "any":
      return joined(predicate, family, NEVER, ALWAYS);
    default:
      return predicate;
  }
}

/** `idle` as a part changes nothing, `settling` settles the whole. */
function joined(
  predicate: Extract<Predicate, { test: "all" | "any" }>,
  family: Family,
  idle: Predicate,
  settling: Predicate,
): Predicate {
  const of: Predicate[] = [];
  let isSame = true;
  for (const part of predicate.of) {
    const own = inFamily(part, family);
    if (own === settling) return settling;
    isSame &&= own === part;
    if (own !== idle) of.push(own);
  }
  if (isSame) return predicate;
  return of.length === 0 ? idle : of.length === 1 ? of[0]! : { test: predicate.test, of };
}
