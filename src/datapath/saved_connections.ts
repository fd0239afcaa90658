/**
 * Connections in a saved state: a record of 20 words each, an entry of the flow table with all that
 * belongs to it (`FlowTable.copyOut`). LAST_SEEN is how many milliseconds it has been idle, OPENED
 * its age, and MEMBER its member's place among those of the file.
 *
 * Whoever writes such a file could redirect connections, so a record is accepted only if this run
 * could have made it itself: it must be between a host and one of the proxy's addresses, and
 * between a port of the range and a configured backend, in a state that its protocol has.
 */
import type { Member } from "../flow/backends/member.ts";
import type { Pool } from "../flow/backends/pool.ts";
import type { Connections } from "../flow/connections.ts";
import {
  DATA,
  DST,
  ENTRY_WORDS,
  LAST_SEEN,
  MEMBER,
  META,
  OFFERS_SHIFT,
  ONE_TUPLE,
  OPENED,
  PORTS,
  PROTOCOL_MASK,
  SAVED_WORDS,
  SRC,
  STATE_MASK,
  STATE_SHIFT,
  TUPLE_WORDS,
} from "../flow/entry.ts";
import {
  ONE_SIDED_QUERY,
  QUERY_ANSWERED,
  QUERY_NEW,
  UDP_ANSWERED,
  UDP_NEW,
  UDP_ONGOING,
} from "../flow/lifetimes.ts";
import { ABORTED, hasBeenOpen, SYN_SENT } from "../flow/tcp_state.ts";
import { areOffers } from "../flow/tcp_offers.ts";
import { MAX_WIN, MOST_WINDOW, WORDS_PER_SIDE } from "../flow/tcp_window.ts";
import { isHost, type OwnAddress } from "../stack/admit.ts";
import { PROTOCOL_ICMP, PROTOCOL_TCP, PROTOCOL_UDP } from "../wire/ipv4.ts";
import type { Config } from "./config.ts";

/** A connection's age. */
const AGE = ENTRY_WORDS + OPENED;

/** Longest idle time that is noted, beyond any timeout. */
const MOST_IDLE_MS = 0x7fff_ffff;

/** What became of the connections of a file. */
export interface ResumedConnections {
  resumed: number;
  /** Their time was over meanwhile. */
  expired: number;
  /** Those for which the table is too small now. */
  withoutRoom: number;
  /** Those that this run could not have made, or twice. */
  invalid: number;
}

/** What a connection must fit. */
export interface Rules extends Pick<Config, "ports" | "preserveSource"> {
  /** The proxy's addresses, that of side B last. */
  readonly own: readonly OwnAddress[];
  /** Ports to which translators send a pool's new connections, beside the connections' own. */
  readonly targetPorts: ReadonlyMap<Pool, ReadonlySet<number>>;
  /** The members of the file, in its order; null: there is no such member now. */
  readonly members: readonly (Member | null)[];
}

/** The records of all connections; `placeOf` gives a member's place by its number. */
export function saveConnections(
  connections: Connections,
  placeOf: Readonly<Int32Array>,
  nowMs: number,
): Int32Array<ArrayBuffer> {
  const { table } = connections;
  const records = new Int32Array(SAVED_WORDS * table.count);
  let at = 0;
  for (const entry of connections) {
    table.copyOut(entry, records, at);
    records[at + LAST_SEEN] = Math.max(0, table.idleMs(entry, nowMs));
    records[at + AGE] = connections.ageMs(entry, nowMs);
    records[at + MEMBER] = table.hasSideB(entry) ? placeOf[table.member(entry)]! : 0;
    for (const side of [0, WORDS_PER_SIDE]) {
      const window = at + DATA + side + MAX_WIN; // negative: from a file before
      records[window] = Math.abs(records[window]!);
    }
    at += SAVED_WORDS;
  }
  return records;
}

/** Takes up the connections of `records`, which were saved `agoMs` ago. `records` is changed. */
export function resumeConnections(
  connections: Connections,
  records: Int32Array<ArrayBuffer>,
  rules: Rules,
  agoMs: number,
  nowMs: number,
): ResumedConnections {
  const became = { resumed: 0, expired: 0, withoutRoom: 0, invalid: 0 };
  for (let at = 0; at < records.length; at += SAVED_WORDS) {
    if (!isPossible(records, at, rules) || isKnown(connections, records, at)) {
      became.invalid++;
      continue;
    }
    records[at + LAST_SEEN] = Math.min(records[at + LAST_SEEN]! + agoMs, MOST_IDLE_MS);
    records[at + AGE]! += agoMs;
    records[at + MEMBER] = rules.members[records[at + MEMBER]!]?.index ?? 0;
    const outcome = connections.resume(records, at, nowMs);
    if (outcome === "no room") became.withoutRoom++;
    else became[outcome]++;
  }
  return became;
}

/** True if one of the connection's tuples is in the table, or both are the same. */
function isKnown(
  { table }: Connections,
  words: Readonly<Int32Array>,
  at: number,
): boolean {
  const meta = words[at + META]!;
  const b = at + TUPLE_WORDS;
  const has = (tuple: number): boolean =>
    table.find(
      meta & PROTOCOL_MASK,
      words[tuple + SRC]!,
      words[tuple + DST]!,
      words[tuple + PORTS]!,
    ) >= 0;
  if (has(at)) return true;
  if ((meta & ONE_TUPLE) !== 0) return false;
  const areSame = words[at + SRC] === words[b + SRC] && words[at + DST] === words[b + DST] &&
    words[at + PORTS] === words[b + PORTS];
  return areSame || has(b);
}

/** True if the connection is one that this run could have made. */
function isPossible(words: Readonly<Int32Array>, at: number, rules: Rules): boolean {
  const meta = words[at + META]!;
  const protocol = meta & PROTOCOL_MASK;
  const state = (meta >>> STATE_SHIFT) & STATE_MASK;
  const src = words[at + SRC]!;
  const own = rules.own.find(({ address }) => address === words[at + DST]);
  if (own === undefined || !isHost(src, own.subnet)) return false;
  if (protocol === 0 || rules.own.some(({ address }) => address === src)) return false;
  if (words[at + LAST_SEEN]! < 0) return false;
  if ((meta & ONE_TUPLE) !== 0) return state === ONE_SIDED_QUERY && isBare(words, at);
  return arePortsPossible(protocol, words[at + PORTS]!) && isSideBPossible(words, at, rules) &&
    (protocol === PROTOCOL_TCP
      ? isTcpPossible(words, at, state)
      : isStateOf(protocol, state) && isBare(words, at));
}

function arePortsPossible(protocol: number, ports: number): boolean {
  if (protocol === PROTOCOL_ICMP) return (ports & 0xffff) === 0; // an identifier, and nothing
  return (ports & 0xffff) !== 0 && (protocol === PROTOCOL_UDP || ports >>> 16 !== 0);
}

function isSideBPossible(
  words: Readonly<Int32Array>,
  at: number,
  { own, members, ports, preserveSource, targetPorts }: Rules,
): boolean {
  const b = at + TUPLE_WORDS;
  const clientPort = words[at + PORTS]! >>> 16;
  const port = words[b + PORTS]! & 0xffff;
  const member = members[words[at + MEMBER]!] ?? null;
  if (member === null || member.key !== words[b + SRC]) return false;
  const isQuery = (words[at + META]! & PROTOCOL_MASK) === PROTOCOL_ICMP;
  const servicePort = words[at + PORTS]! & 0xffff;
  const backendPort = words[b + PORTS]! >>> 16;
  const isRightPort = backendPort === (isQuery ? 0 : member.port || servicePort) ||
    (!isQuery && member.port === 0 && targetPorts.get(member.pool)?.has(backendPort) === true);
  if (!isRightPort) return false;
  return words[b + DST] === own.at(-1)!.address
    ? port >= ports.first && port <= ports.last
    : preserveSource && words[b + DST] === words[at + SRC] && port === clientPort;
}

function isStateOf(protocol: number, state: number): boolean {
  if (protocol === PROTOCOL_UDP) {
    return state === UDP_NEW || state === UDP_ANSWERED || state === UDP_ONGOING;
  }
  return protocol === PROTOCOL_ICMP && (state === QUERY_NEW || state === QUERY_ANSWERED);
}

/**
 * Any numbers will do for where a window is; how large it is must be known of both sides that have
 * spoken.
 */
function isTcpPossible(words: Readonly<Int32Array>, at: number, state: number): boolean {
  if (state < SYN_SENT || state > ABORTED) return false;
  if (!areOffers(words[at + META]! >>> OFFERS_SHIFT)) return false;
  const least = hasBeenOpen(state) ? 1 : 0;
  return [0, WORDS_PER_SIDE].every((side) => {
    const window = words[at + DATA + side + MAX_WIN]!;
    return window >= least && window <= MOST_WINDOW;
  });
}

/** True if there is nothing of what TCP keeps. */
function isBare(words: Readonly<Int32Array>, at: number): boolean {
  for (let word = DATA; word < AGE; word++) if (words[at + word] !== 0) return false;
  return words[at + META]! >>> OFFERS_SHIFT === 0;
}
