/**
 * The reference: what a tree means, as simply as possible. The compiled function must agree with it
 * on every tree and packet, and `explain` shows what it does.
 */
import { addressOfWords } from "../../wire/host_address.ts";
import { PROTOCOL_ICMP, PROTOCOL_TCP } from "../../wire/ipv4.ts";
import { FROM_A, FROM_B, isStray, type Pdu } from "../../wire/pdu.ts";
import { DECISION_NUMBERS, type Interval, type Predicate } from "../language/ast.ts";
import { icmpKindIn } from "../language/icmp_words.ts";
import type { Evaluate } from "./environment.ts";
import { familyOf, protocolIn } from "./family.ts";
import { intervals6Of, intervalsOf } from "./address_ranges.ts";
import { leavingIn, type Plan, type PlanNode } from "./plan.ts";
import { STATE_NUMBERS } from "./state_numbers.ts";

/** Told of everything the walk does, in order. */
export interface Visitor {
  /** The walk has come to this node. */
  enter(node: PlanNode): void;
  /** A selector has asked this, for its branch number `index`. */
  asked(node: PlanNode, index: number, predicate: Predicate, value: boolean): void;
  /** The node has chosen this branch; -1: none, so the default decision. */
  chose(node: PlanNode, index: number): void;
  /** The node's step was taken (0) or refused for this reason. */
  stepped(node: PlanNode, reason: number): void;
}

/** Evaluates one node at a time, as `Evaluate` says. */
export function walker(plan: Plan, visitor?: Visitor): Evaluate {
  return (pdu) => walk(plan, plan.root, pdu, visitor);
}

function walk(plan: Plan, node: PlanNode, pdu: Pdu, visitor: Visitor | undefined): number {
  visitor?.enter(node);
  const { tree, number } = node;
  const { steps } = plan.environment;
  const end = (value: number): number => {
    pdu.exit = number;
    plan.exits[number]!++;
    return value;
  };
  const branch = (index: number): number => {
    visitor?.chose(node, index);
    const child = node.children[index];
    return child === undefined
      ? end(DECISION_NUMBERS[plan.policy.default])
      : walk(plan, child, pdu, visitor);
  };
  const ask = (when: Predicate, index: number): boolean => {
    const value = holds(when, pdu, plan);
    visitor?.asked(node, index, when, value);
    return value;
  };
  const step = (reason: number): number => {
    visitor?.stepped(node, reason);
    return reason === 0 ? walk(plan, node.children[0]!, pdu, visitor) : end(reason);
  };
  switch (tree.node) {
    case "first-match":
      return branch(tree.arms.findIndex((arm, index) => ask(arm.when, index)));
    case "filter":
      return branch(ask(tree.when, 0) ? 0 : -1);
    case "balance":
    case "limit":
    case "select":
      return branch(plan.choosers[number]!.choose(pdu));
    case "track":
      return step(steps.track(pdu));
    case "translate-a-to-b":
      return step(steps.translateAToB(pdu, plan.targets[plan.destinationOf.get(number)!]!));
    case "translate-b-to-a":
      return step(steps.translateBToA(pdu));
    case "set-ttl":
      return step(steps.setTtl(pdu, tree.ttl, tree.raise));
    case "decide":
      return end(DECISION_NUMBERS[tree.decision]);
  }
}

export function holds(predicate: Predicate, pdu: Pdu, plan: Plan): boolean {
  const family = familyOf(pdu);
  switch (predicate.test) {
    case "always":
      return true;
    case "not":
      return !holds(predicate.of, pdu, plan);
    case "all":
      return predicate.of.every((part) => holds(part, pdu, plan));
    case "any":
      return predicate.of.some((part) => holds(part, pdu, plan));
    case "family":
      return family === predicate.family;
    case "protocol":
      return pdu.protocol === protocolIn(family, predicate.number);
    case "address":
      return family === 4 ? isAmong(predicate, pdu, plan) : isAmong6(predicate, pdu, plan);
    case "port":
      return pdu.protocol === protocolIn(family, predicate.protocol) &&
        within(pdu[predicate.field], predicate.in);
    case "tcp-flags":
      return pdu.protocol === protocolIn(family, PROTOCOL_TCP) &&
        (pdu.tcpFlags & (predicate.set | predicate.clear)) === predicate.set;
    case "icmp":
    case "icmpv6": {
      const kind = icmpKindIn(predicate, family);
      return kind !== null && pdu.protocol === protocolIn(family, PROTOCOL_ICMP) &&
        pdu.icmpType === kind.type && (kind.code === null || pdu.icmpCode === kind.code);
    }
    case "number":
      return within(pdu[predicate.field], predicate.in);
    case "fragment":
      return pdu.fragment !== 0;
    case "state":
      return predicate.state === "stray"
        ? isStray(pdu)
        : pdu.state === STATE_NUMBERS[predicate.state];
    case "side":
      return pdu.side === (predicate.side === "b" ? FROM_B : FROM_A);
    case "custom":
      return plan.customs.get(predicate)!(pdu) === true;
  }
}

type AddressTest = Extract<Predicate, { test: "address" }>;

function isAmong({ field, in: terms }: AddressTest, pdu: Pdu, plan: Plan): boolean {
  return within(pdu[field] >>> 0, intervalsOf(terms, plan.lists)) ||
    leavingIn(terms, plan).some((addresses) => addresses.has(pdu[field]));
}

function isAmong6({ field, in: terms }: AddressTest, { addresses }: Pdu, plan: Plan): boolean {
  const at = field === "src" ? 0 : 4;
  const address = addressOfWords(addresses, at);
  return intervals6Of(terms, plan.lists6)
    .some(({ first, last }) => first <= address && address <= last) ||
    leavingIn(terms, plan).some((leaving) => leaving.has6(addresses, at));
}

function within(value: number, ranges: readonly Interval[]): boolean {
  return ranges.some(({ first, last }) => first <= value && value <= last);
}
