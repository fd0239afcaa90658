/**
 * Texts of the picture: labels of edges and notes of nodes. Where a test has a name in the
 * firewall's picture it gets that ("Side A to B", "Port = 80"); any other shows as in a policy
 * file.
 */
import { ICMP_TYPES } from "../../wire/icmpv4.ts";
import { PROTOCOL_ICMP, PROTOCOL_TCP, PROTOCOL_UDP } from "../../wire/ipv4.ts";
import {
  type BalanceMethod,
  type Decision,
  DST_ADDRS,
  type Interval,
  type PickMethod,
  type Predicate,
  type Tree,
} from "../language/ast.ts";
import { printPredicate } from "../printing/print.ts";

const PROTOCOL_NAMES: Readonly<Record<number, string>> = {
  [PROTOCOL_ICMP]: "ICMPv4",
  [PROTOCOL_TCP]: "TCP",
  [PROTOCOL_UDP]: "UDP",
};

/** How a balancer chooses, at the end of a sentence. */
const BALANCING: Readonly<Record<BalanceMethod, string>> = {
  "in turn": "round robin",
  "at random": "random",
  "by hash": "hash",
};
/** The same words as in the text, but for this one. */
function picking(method: PickMethod): string {
  return method === "at random" ? "randomly" : method;
}
const DECISION_CAPTIONS: Readonly<Record<Decision, string>> = {
  "drop": "Drop",
  "forward": "Forward",
  "echo-reply": "Echo reply",
  "reject": "Reject",
};

/**
 * What an arm asks; `protocol` is the one that is known of every PDU here, null: none is. A port is
 * "Port = 80" where the protocol is known, else "TCP port = 80".
 */
export function captionOf(when: Predicate, protocol: number | null): string {
  if (when.test === "always") return "Else";
  const side = sideOf(when);
  if (side !== null) return side;
  switch (when.test) {
    case "protocol":
      return PROTOCOL_NAMES[when.number] ?? printPredicate(when);
    case "port":
      return portCaption(when, protocol);
    case "icmp":
      return icmpCaption(when.type, when.code) ?? printPredicate(when);
    default:
      return printPredicate(when);
  }
}

/** The protocol that is known of a PDU for which `when` holds, if it was `protocol` before. */
export function protocolBelow(when: Predicate, protocol: number | null): number | null {
  switch (when.test) {
    case "protocol":
      return when.number;
    case "port":
      return when.protocol;
    case "tcp-flags":
      return PROTOCOL_TCP;
    case "icmp":
      return PROTOCOL_ICMP;
    case "all":
      return when.of.reduce((known, part) => protocolBelow(part, known), protocol);
    default:
      return protocol;
  }
}

/** The note of a node, in one line; null: none. */
export function noteOf(tree: Tree, protocol: number | null): string | null {
  switch (tree.node) {
    case "filter":
      return tree.when.test === "always"
        ? "Allow any PDU"
        : `Only allow ${captionOf(tree.when, protocol)}`;
    case "balance":
      return `${tree.per === "pdu" ? "PDU" : "Connection"} based load balancing ${
        BALANCING[tree.by]
      }`;
    case "limit":
      return `At most ${tree.perSecond}/second, burst ${tree.burst}${
        tree.per === "source" ? ", per source" : ""
      }`;
    case "select":
      return `custom ${tree.name}`;
    case "track":
      return "Track connection";
    case "translate-a-to-b":
      return `Pick one of ${tree.pool} ${picking(tree.backend)}${
        tree.port === 0 ? "" : `, port ${tree.port}`
      }`;
    case "set-ttl":
      return `Set TTL to ${tree.raise ? "" : "at most "}${tree.ttl}`;
    case "decide": {
      const label = tree.label === null ? "" : ` ${JSON.stringify(tree.label)}`;
      return `Decision : ${DECISION_CAPTIONS[tree.decision]}${label}`;
    }
    default:
      return null;
  }
}

export function defaultCaption(decision: Decision): string {
  return `Default decision : ${DECISION_CAPTIONS[decision]}`;
}

/** Sides are told apart by source address: one of the backends, or not. */
function sideOf(when: Predicate): string | null {
  if (when.test === "not" && isFromBackends(when.of)) return "Side A to B";
  return isFromBackends(when) ? "Side B to A" : null;
}

function isFromBackends(when: Predicate): boolean {
  if (when.test !== "address" || when.field !== "src" || when.in.length !== 1) return false;
  const [term] = when.in;
  return term !== undefined && "list" in term && term.list === DST_ADDRS;
}

function portCaption(when: Predicate & { test: "port" }, protocol: number | null): string {
  const words = [
    when.protocol === protocol ? "" : PROTOCOL_NAMES[when.protocol] ?? `protocol ${when.protocol}`,
    when.field === "srcPort" ? "source" : "",
    "port",
    rangesCaption(when.in),
  ].filter((word) => word !== "").join(" ");
  return `${words.charAt(0).toUpperCase()}${words.slice(1)}`;
}

function rangesCaption(ranges: readonly Interval[]): string {
  const texts = ranges.map(({ first, last }) => first === last ? `${first}` : `${first}-${last}`);
  if (texts.length > 1) return `in {${texts.join(", ")}}`;
  return `${texts[0]!.includes("-") ? "in" : "="} ${texts[0]}`;
}

function icmpCaption(type: number, code: number | null): string | null {
  const known = ICMP_TYPES[type];
  if (known === undefined) return null;
  const name = `ICMPv4 ${known.name}`;
  return code === null ? name : `${name}, ${known.codes?.[code] ?? `code ${code}`}`;
}
