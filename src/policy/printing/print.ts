/**
 * AST → policy text in its one canonical form, which `parse` reads back as the same AST. The
 * grammar is at the head of `parse.ts`. Only what `parse` bounds, depth and length, is not bounded
 * here.
 */
import { printHealth } from "../notation/parse_health.ts";
import { bitsOf, formatHostAddress } from "../../wire/host_address.ts";
import {
  type AddressTerm,
  type Branch,
  type Decision,
  DST_ADDRS,
  type Interval,
  type Policy,
  type PoolMember,
  type Predicate,
  type Tree,
} from "../language/ast.ts";
import { printable } from "../../core/text.ts";
import {
  ICMP_TYPE_WORDS,
  icmpCodeWords,
  icmpTypeWord,
  icmpv6CodeWords,
  icmpv6TypeWord,
} from "../language/icmp_words.ts";
import {
  ADDRESS_WORDS,
  DECISION_WORDS,
  FAMILY_WORDS,
  FLAG_WORDS,
  FROM_SIDE,
  numberWordOf,
  PROTOCOL_WORDS,
} from "../language/words.ts";

/** The whole policy; ends with a newline. */
export function print(policy: Policy): string {
  const lines = [`default ${policy.default}`];
  const pools = Object.entries(policy.pools);
  const lists = Object.entries(policy.lists);
  const subtrees = Object.entries(policy.subtrees);
  if (pools.length + lists.length > 0) lines.push("");
  for (const [name, { members, health }] of pools) {
    const check = health === undefined ? "" : ` check ${printHealth(health)}`;
    lines.push(`pool $${name} = ${members.map(printMember).join(", ")}${check}`);
  }
  for (const [name, terms] of lists) {
    lines.push(`define $${name} = ${terms.map(printAddressTerm).join(", ")}`);
  }
  for (const [name, tree] of subtrees) {
    lines.push("", `define ${name}`);
    printBlock(tree, INDENT, lines);
  }
  if (pools.length + lists.length + subtrees.length > 0) lines.push("");
  printBlock(policy.next, "", lines);
  return lines.map((line) => `${line}\n`).join("");
}

export const INDENT = "  ";

/** Heads up to this long have their arrows below one another. */
export const MAX_ALIGNED = 32;

function printBlock(tree: Tree, indent: string, lines: string[]): void {
  if (tree.node === "filter") return printArms([tree], indent, lines);
  if (tree.node === "first-match") return printArms(tree.arms, indent, lines);
  const { items, rest } = chainOf(tree);
  lines.push(`${indent}-> ${items.join(", ")}`);
  printRest(rest, indent, lines);
}

function printArms(
  arms: readonly { readonly when: Predicate; readonly then: Tree }[],
  indent: string,
  lines: string[],
): void {
  const heads = arms.map(({ when, then }) => ({ head: printPredicate(when), ...chainOf(then) }));
  let width = 0;
  let aligned = 0;
  heads.forEach(({ head, items, rest }, i) => {
    if (items.length === 0) lines.push(indent + head);
    else {
      // Arrows are aligned in a run of neighbours with nothing between them.
      if (i >= aligned) {
        for (width = 0, aligned = i; aligned < heads.length; aligned++) {
          const next = heads[aligned]!;
          if (next.items.length === 0 || next.head.length > MAX_ALIGNED) break;
          width = Math.max(width, next.head.length);
          if (next.rest !== null) {
            aligned++;
            break;
          }
        }
      }
      const padded = i < aligned ? head.padEnd(width) : head;
      lines.push(`${indent}${padded} -> ${items.join(", ")}`);
    }
    printRest(rest, indent, lines);
  });
}

/** What continues a chain, as the block below its line. */
function printRest(rest: Tree | null, indent: string, lines: string[]): void {
  if (rest === null) return;
  const inner = indent + INDENT;
  if (rest.node !== "balance" && rest.node !== "select") return printBlock(rest, inner, lines);
  for (const { weight, then } of branchesOf(rest)) {
    const chain = chainOf(then);
    const words = [`${inner}|`];
    if (weight !== 1) words.push(`${weight}x`);
    if (chain.items.length > 0) words.push(chain.items.join(", "));
    lines.push(words.join(" "));
    printRest(chain.rest, inner, lines);
  }
}

/** A tree as far as one line goes, and what must be in the block below. */
function chainOf(tree: Tree): { readonly items: readonly string[]; readonly rest: Tree | null } {
  const items: string[] = [];
  for (let at = tree;;) {
    switch (at.node) {
      case "first-match":
      case "filter":
        return { items, rest: at };
      case "balance":
      case "select": {
        const shares = branchesOf(at).map(shareOf);
        const inline = shares.every((share) => share !== null);
        items.push(inline ? `${printStep(at)}: ${shares.join(" | ")}` : printStep(at));
        return { items, rest: inline ? null : at };
      }
      case "decide":
      case "use":
        items.push(printStep(at));
        return { items, rest: null };
      default:
        items.push(printStep(at));
        at = at.then;
    }
  }
}

function branchesOf(tree: Tree & { node: "balance" | "select" }): readonly Branch[] {
  return tree.node === "balance"
    ? tree.branches
    : tree.branches.map((then) => ({ weight: 1, then }));
}

/** A branch within a line; null if it is more than steps and an end. */
function shareOf({ weight, then }: Branch): string | null {
  for (let at = then;;) {
    switch (at.node) {
      case "first-match":
      case "filter":
      case "balance":
      case "select":
        return null;
      case "decide":
      case "use": {
        const chain = chainOf(then).items.join(", ");
        return weight === 1 ? chain : `${weight}x ${chain}`;
      }
      default:
        at = at.then;
    }
  }
}

/** One node in words, without what is below it. */
export function printStep(tree: Tree): string {
  switch (tree.node) {
    case "first-match":
      return "first match";
    case "filter":
      return printPredicate(tree.when);
    case "balance":
      return `${tree.by}${tree.per === "connection" ? " per connection" : ""}`;
    case "limit": {
      const per = tree.per === "source" ? " per source" : "";
      return `limit ${tree.perSecond}/second burst ${tree.burst}${per}`;
    }
    case "select":
      return `custom ${tree.name}`;
    case "track":
    case "translate-b-to-a":
      return tree.node;
    case "translate-a-to-b":
      return [
        tree.node,
        tree.pool === DST_ADDRS ? "" : ` to $${tree.pool}`,
        tree.port === 0 ? "" : ` port ${tree.port}`,
        tree.backend === "at random" ? "" : ` ${tree.backend}`,
      ].join("");
    case "set-ttl":
      return `set-ttl ${tree.ttl}${tree.raise ? " raise" : ""}`;
    case "decide": {
      const word = decisionWord(tree.decision);
      return tree.label === null ? word : `${word} ${printLabel(tree.label)}`;
    }
    case "use":
      return `use ${tree.name}`;
  }
}

function decisionWord(decision: Decision): string {
  return keyOf(DECISION_WORDS, decision)!;
}

function keyOf<Value>(words: ReadonlyMap<string, Value>, value: Value): string | undefined {
  for (const [word, of] of words) if (of === value) return word;
  return undefined;
}

/** A JSON string in which every invisible character is an escape. */
export function printLabel(label: string): string {
  return printable(JSON.stringify(label));
}

/** A predicate on one line, with as few parentheses as its reading allows. */
export function printPredicate(predicate: Predicate): string {
  switch (predicate.test) {
    case "always":
      return "otherwise";
    case "not":
      return `not ${within(predicate.of, ["all", "any"])}`;
    case "all":
      return predicate.of.map((of) => within(of, ["all", "any"])).join(" and ");
    case "any":
      return predicate.of.map((of) => within(of, ["any"])).join(" or ");
    case "family":
      return keyOf(FAMILY_WORDS, predicate.family)!;
    case "protocol":
      return keyOf(PROTOCOL_WORDS, predicate.number) ?? `protocol = ${predicate.number}`;
    case "address":
      return `${keyOf(ADDRESS_WORDS, predicate.field)} ${
        printSet(predicate.in, printAddressTerm, (term) =>
          !("list" in term) && term.prefixLength === bitsOf(term.network))
      }`;
    case "port":
    case "number":
      return `${numberWordOf(predicate)} ${
        printSet(predicate.in, printRange, ({ first, last }) => first === last)
      }`;
    case "tcp-flags": {
      const set = FLAG_WORDS.filter((_, bit) => (predicate.set & 1 << bit) !== 0);
      const clear = FLAG_WORDS.filter((_, bit) => (predicate.clear & 1 << bit) !== 0);
      return ["tcp.flags", ...set, ...clear.map((flag) => `!${flag}`)].join(" ");
    }
    case "icmp": {
      const type = icmpTypeWord(predicate.type) ?? `icmp.type = ${predicate.type}`;
      if (predicate.code === null) return type;
      return `${type} code ${icmpCodeWords(predicate.type)[predicate.code] ?? predicate.code}`;
    }
    case "icmpv6":
      return printIcmpv6(predicate);
    case "fragment":
      return "fragment";
    case "state":
      return predicate.state;
    case "side":
      return `${FROM_SIDE.join(" ")} ${predicate.side}`;
    case "custom":
      return `custom ${predicate.name}`;
  }
}

/** A word that IPv4 has, too, would mean both families: so the type is then a number. */
function printIcmpv6({ type, code }: Extract<Predicate, { test: "icmpv6" }>): string {
  const word = icmpv6TypeWord(type);
  const codeWord = code === null ? undefined : icmpv6CodeWords(type)[code];
  const type4 = word === null ? undefined : ICMP_TYPE_WORDS.get(word);
  const isOwn = type4 === undefined ||
    (codeWord !== undefined && !icmpCodeWords(type4).includes(codeWord));
  const text = word !== null && isOwn ? word : `icmpv6.type = ${type}`;
  return code === null ? text : `${text} code ${codeWord ?? code}`;
}

function within(predicate: Predicate, inParentheses: readonly string[]): string {
  const text = printPredicate(predicate);
  return inParentheses.includes(predicate.test) ? `(${text})` : text;
}

/** `= A`, `in A-B` or `in {A, B-C}`. */
function printSet<Term>(
  terms: readonly Term[],
  printTerm: (term: Term) => string,
  isOne: (term: Term) => boolean,
): string {
  const [first] = terms;
  if (terms.length === 1) return `${isOne(first!) ? "=" : "in"} ${printTerm(first!)}`;
  return `in {${terms.map(printTerm).join(", ")}}`;
}

function printAddressTerm(term: AddressTerm): string {
  if ("list" in term) return `$${term.list}`;
  const address = formatHostAddress(term.network);
  return term.prefixLength === bitsOf(term.network) ? address : `${address}/${term.prefixLength}`;
}

/** A member of a pool, as its definition has it. */
function printMember({ address, port, weight, isBackup, maxconn, state }: PoolMember): string {
  return [
    formatHostAddress(address),
    port === 0 ? "" : ` port ${port}`,
    weight === 1 ? "" : ` weight ${weight}`,
    isBackup ? " backup" : "",
    maxconn === 0 ? "" : ` maxconn ${maxconn}`,
    state === null ? "" : ` state ${state}`,
  ].join("");
}

function printRange({ first, last }: Interval): string {
  return first === last ? `${first}` : `${first}-${last}`;
}
