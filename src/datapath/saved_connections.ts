/**
 * Connections in a saved state: a record of 20 words each, an entry of the flow table with all that
 * belongs to it (`FlowTable.copyOut`). LAST_SEEN is how many milliseconds it has been idle, OPENED
 * its age, and MEMBER its member's place among those of the file.
 *
 * Where the client is of IPv6 eight words follow: its address, and the one that it asked for. Keys
 * are this run's alone, so a tuple of IPv6 has only ports, and KEEPS_CLIENT where the member knows
 * the client. The sides may be of different families.
 *
 * Whoever writes such a file could redirect connections, so a record is accepted only if this run
 * could have made it itself: it must be between a host and one of the proxy's addresses, and
 * between a port of the range and a configured backend, in a state that its protocol has.
 */
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
import { SIDE_B } from "../flow/table.ts";
import { isIcmp, isIpv6, isTcp, isUdp } from "../wire/pdu.ts";
import type { Config } from "./config.ts";
import {
  addressesOf,
  crosses,
  isKnown,
  ownKeyOf,
  protocolOf,
  protocolOn,
  saveAddresses,
  SAVED6_WORDS,
  type TupleRules,
} from "./saved_tuples.ts";

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
export interface Rules extends TupleRules, Pick<Config, "ports" | "preserveSource"> {
  /** Ports to which translators send a pool's new connections, beside the connections' own. */
  readonly targetPorts: ReadonlyMap<Pool, ReadonlySet<number>>;
}

/** Records by the client's family. */
export interface Records {
  /** SAVED_WORDS each. */
  readonly over4: Int32Array<ArrayBuffer>;
  /** SAVED6_WORDS each. */
  readonly over6: Int32Array<ArrayBuffer>;
}

/** The records of all connections; `placeOf` gives a member's place by its number. */
export function saveConnections(
  connections: Connections,
  placeOf: Readonly<Int32Array>,
  nowMs: number,
): Records {
  const { table } = connections;
  let count6 = 0;
  if (table.whole !== null) {
    for (const entry of table) if (isIpv6(table.protocol(entry))) count6++;
  }
  const over4 = new Int32Array(SAVED_WORDS * (table.count - count6));
  const over6 = new Int32Array(SAVED6_WORDS * count6);
  let at4 = 0;
  let at6 = 0;
  for (const entry of connections) {
    const isOver6 = isIpv6(table.protocol(entry));
    const records = isOver6 ? over6 : over4;
    const at = isOver6 ? at6 : at4;
    table.copyOut(entry, records, at);
    records[at + LAST_SEEN] = Math.max(0, table.idleMs(entry, nowMs));
    records[at + AGE] = connections.ageMs(entry, nowMs);
    records[at + MEMBER] = table.hasSideB(entry) ? placeOf[table.member(entry)]! : 0;
    for (const side of [0, WORDS_PER_SIDE]) {
      const window = at + DATA + side + MAX_WIN; // negative: from a file before
      records[window] = Math.abs(records[window]!);
    }
    if (table.whole !== null) saveAddresses(table, entry, records, at);
    if (isOver6) at6 += SAVED6_WORDS;
    else at4 += SAVED_WORDS;
  }
  return { over4, over6 };
}

/** Takes up the connections of `records`, which were saved `agoMs` ago. They are changed. */
export function resumeConnections(
  connections: Connections,
  { over4, over6 }: Records,
  rules: Rules,
  agoMs: number,
  nowMs: number,
): ResumedConnections {
  const became = { resumed: 0, expired: 0, withoutRoom: 0, invalid: 0 };
  const resume = (records: Int32Array<ArrayBuffer>, at: number) => {
    records[at + LAST_SEEN] = Math.min(records[at + LAST_SEEN]! + agoMs, MOST_IDLE_MS);
    records[at + AGE]! += agoMs;
    records[at + MEMBER] = rules.members[records[at + MEMBER]!]?.index ?? 0;
    const outcome = connections.resume(records, at, nowMs);
    if (outcome === "no room") became.withoutRoom++;
    else became[outcome]++;
  };
  for (
    const [records, lengthWords] of [[over4, SAVED_WORDS], [over6, SAVED6_WORDS]] as const
  ) {
    for (let at = 0; at < records.length; at += lengthWords) {
      const isOver6 = isIpv6(protocolOf(records, at));
      const tuples = isOver6 === (records === over6)
        ? addressesOf(connections, records, at, rules)
        : null;
      const isRight = tuples !== null &&
        isPossible(records, at, rules, ownKeyOf(connections, records, at, rules)) &&
        !isKnown(connections.table, records, at, tuples);
      if (isRight) resume(records, at);
      else became.invalid++;
    }
  }
  return became;
}

/**
 * True if the connection is one that this run could have made; of its addresses that is known.
 * `ownKey` is that of the one with which forwarded packets leave.
 */
function isPossible(
  words: Readonly<Int32Array>,
  at: number,
  rules: Rules,
  ownKey: number,
): boolean {
  const protocol = protocolOf(words, at);
  const meta = words[at + META]!;
  const state = (meta >>> STATE_SHIFT) & STATE_MASK;
  if ((protocol & 0xff) === 0 || words[at + LAST_SEEN]! < 0) return false;
  if ((meta & ONE_TUPLE) !== 0) return state === ONE_SIDED_QUERY && isBare(words, at);
  return arePortsPossible(protocol, words[at + PORTS]!) &&
    isSideBPossible(words, at, rules, ownKey) &&
    (isTcp(protocol)
      ? isTcpPossible(words, at, state)
      : isStateOf(protocol, state) && isBare(words, at));
}

function arePortsPossible(protocol: number, ports: number): boolean {
  if (isIcmp(protocol)) return (ports & 0xffff) === 0; // an identifier, and nothing
  return (ports & 0xffff) !== 0 && (isUdp(protocol) || ports >>> 16 !== 0);
}

function isSideBPossible(
  words: Readonly<Int32Array>,
  at: number,
  { members, ports, preserveSource, targetPorts }: Rules,
  ownKey: number,
): boolean {
  const b = at + TUPLE_WORDS;
  const clientPort = words[at + PORTS]! >>> 16;
  const port = words[b + PORTS]! & 0xffff;
  const member = members[words[at + MEMBER]!] ?? null;
  if (member === null || member.key !== words[b + SRC]) return false;
  const protocol = protocolOn(words, at, SIDE_B);
  // A key of IPv6 may be any number, an IPv4 address among them.
  if (member.isIpv6 !== isIpv6(protocol)) return false;
  const isQuery = isIcmp(protocol);
  const servicePort = words[at + PORTS]! & 0xffff;
  const backendPort = words[b + PORTS]! >>> 16;
  const isRightPort = backendPort === (isQuery ? 0 : member.port || servicePort) ||
    (!isQuery && member.port === 0 && targetPorts.get(member.pool)?.has(backendPort) === true);
  if (!isRightPort) return false;
  const isOfRange = port >= ports.first && port <= ports.last;
  return words[b + DST] === ownKey
    ? isOfRange
    : preserveSource && !crosses(words, at) && words[b + DST] === words[at + SRC] &&
      (isOfRange || port === clientPort);
}

function isStateOf(protocol: number, state: number): boolean {
  if (isUdp(protocol)) {
    return state === UDP_NEW || state === UDP_ANSWERED || state === UDP_ONGOING;
  }
  return isIcmp(protocol) && (state === QUERY_NEW || state === QUERY_ANSWERED);
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
