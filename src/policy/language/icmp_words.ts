/**
 * The words for ICMP messages of both families. A word that both have means each family's own
 * message: `echo-request` is type 8 over IPv4 and 128 over IPv6, and `destination-unreachable code
 * port-unreachable` is 3 and 3, or 1 and 4. An `icmp` test of the AST has the numbers of IPv4.
 */
import { ICMP_TYPES } from "../../wire/icmpv4.ts";
import { ICMPV6_TYPES } from "../../wire/icmpv6.ts";
import type { Family, Predicate } from "./ast.ts";

type Types = typeof ICMP_TYPES;

/** `echo-request` → 8: every ICMP type of IPv4 that has a name. */
export const ICMP_TYPE_WORDS: ReadonlyMap<string, number> = typeWords(ICMP_TYPES);

/** `echo-request` → 128: every ICMPv6 type that has a name. */
export const ICMPV6_TYPE_WORDS: ReadonlyMap<string, number> = typeWords(ICMPV6_TYPES);

/** Code n of an ICMP type → its word; an empty list where codes have no names. */
export function icmpCodeWords(type: number): readonly string[] {
  return codeWords(ICMP_TYPES, type);
}

/** The same of an ICMPv6 type. */
export function icmpv6CodeWords(type: number): readonly string[] {
  return codeWords(ICMPV6_TYPES, type);
}

export function icmpTypeWord(type: number): string | null {
  return typeWord(ICMP_TYPES, type);
}

export function icmpv6TypeWord(type: number): string | null {
  return typeWord(ICMPV6_TYPES, type);
}

/** The ICMPv6 type that has the name of this type of IPv4; null: there is none. */
export function namesakeOf(type: number): number | null {
  const word = icmpTypeWord(type);
  return word === null ? null : ICMPV6_TYPE_WORDS.get(word) ?? null;
}

/** Type and code (null: any) of ICMP messages of one family, in its own numbers. */
export interface IcmpKind {
  readonly type: number;
  readonly code: number | null;
}

/** What the test asks of packets of a family; null: it holds for none. */
export function icmpKindIn(
  { test, type, code }: Extract<Predicate, { test: "icmp" | "icmpv6" }>,
  family: Family,
): IcmpKind | null {
  if (test === "icmpv6" || family === 4) {
    return (test === "icmpv6") === (family === 6) ? { type, code } : null;
  }
  const namesake = namesakeOf(type);
  if (namesake === null) return null;
  if (code === null) return { type: namesake, code };
  const word = icmpCodeWords(type)[code];
  const words = icmpv6CodeWords(namesake);
  // A code that has no name in either family is the same number.
  if (word === undefined) return words[code] === undefined ? { type: namesake, code } : null;
  const found = words.indexOf(word);
  return found < 0 ? null : { type: namesake, code: found };
}

function typeWords(types: Types): ReadonlyMap<string, number> {
  return new Map(Object.entries(types).map(([type, { name }]) => [oneWord(name), Number(type)]));
}

function typeWord(types: Types, type: number): string | null {
  const known = types[type];
  return known === undefined ? null : oneWord(known.name);
}

function codeWords(types: Types, type: number): readonly string[] {
  return (types[type]?.codes ?? []).map(oneWord);
}

function oneWord(name: string): string {
  return name.toLowerCase().replaceAll(" ", "-");
}
