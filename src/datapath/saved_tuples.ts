/**
 * The two tuples of a saved connection, each of its side's family: what is saved of them, and how
 * they are read and compared with the table (`saved_connections.ts`).
 */
import type { Member } from "../flow/backends/member.ts";
import type { Connections } from "../flow/connections.ts";
import {
  CROSSED,
  DST,
  MEMBER,
  META,
  ONE_TUPLE,
  PORTS,
  PROTOCOL_MASK,
  SAVED_WORDS,
  SRC,
  TUPLE_WORDS,
} from "../flow/entry.ts";
import { type FlowTable, SIDE_A, SIDE_B } from "../flow/table.ts";
import { isHost, type OwnAddress } from "../stack/admit.ts";
import { isHost6 } from "../stack/admit6.ts";
import { ADDRESS6_WORDS, isSameAddress6 } from "../wire/address6.ts";
import { wordsOf } from "../wire/host_address.ts";
import { acrossOf, isIpv6 } from "../wire/pdu.ts";
import type { Config } from "./config.ts";

/** Words of a record of a client of IPv6, and where its addresses are. */
const CLIENT6 = SAVED_WORDS;
const ASKED6: number = CLIENT6 + ADDRESS6_WORDS;
export const SAVED6_WORDS: number = ASKED6 + ADDRESS6_WORDS;

/** In place of the key that side B has for the client: the client's own; else 0. */
const KEEPS_CLIENT = 1;

/** What tuples must fit. */
export interface TupleRules extends Pick<Config, "translateFamilies"> {
  /** The proxy's addresses, that of side B last. */
  readonly own: readonly OwnAddress[];
  /** The members of the file, in its order; null: there is no such member now. */
  readonly members: readonly (Member | null)[];
}

/** Writes addresses of IPv6 into the record, instead of keys. */
export function saveAddresses(
  table: FlowTable,
  entry: number,
  records: Int32Array,
  at: number,
): void {
  const whole = table.whole!;
  const [a, b] = [(entry << 1) | SIDE_A, (entry << 1) | SIDE_B];
  if (isIpv6(table.protocolOf(a))) {
    records.fill(0, at + SRC, at + PORTS);
    whole.copySource(a, records, at + CLIENT6);
    whole.copyDestination(a, records, at + ASKED6);
  }
  if (table.hasSideB(entry) && !isIpv6(table.protocolOf(b))) return;
  const keepsClient = table.hasSideB(entry) && table.dst(entry, SIDE_B) !== whole.ownKey;
  const side = at + TUPLE_WORDS;
  records.fill(0, side + SRC, side + PORTS);
  records[side + DST] = keepsClient ? KEEPS_CLIENT : 0;
}

export function protocolOf(words: Readonly<Int32Array>, at: number): number {
  return words[at + META]! & PROTOCOL_MASK;
}

/** That of a side; it may be over the other family. */
export function protocolOn(words: Readonly<Int32Array>, at: number, side: number): number {
  const protocol = protocolOf(words, at);
  return side === SIDE_B && crosses(words, at) ? acrossOf(protocol) : protocol;
}

export function crosses(words: Readonly<Int32Array>, at: number): boolean {
  return (words[at + META]! & CROSSED) !== 0;
}

/** What tuples have for the address with which packets leave to the connection's member. */
export function ownKeyOf(
  { table }: Connections,
  words: Readonly<Int32Array>,
  at: number,
  { own }: TupleRules,
): number {
  return isIpv6(protocolOn(words, at, SIDE_B)) ? table.whole!.ownKey : own.at(-1)!.address;
}

/** Of each side: source and destination, eight words; null: it is of IPv4. */
export type Tuples = readonly (Int32Array | null)[];

/** True if one of the connection's tuples is in the table, or both are the same. */
export function isKnown(
  table: FlowTable,
  words: Readonly<Int32Array>,
  at: number,
  tuples: Tuples,
): boolean {
  const isOneSided = (words[at + META]! & ONE_TUPLE) !== 0;
  const areSame = !isOneSided && !crosses(words, at) &&
    words[at + PORTS] === words[at + TUPLE_WORDS + PORTS] && haveSameEnds(words, at, tuples);
  return areSame || tuples.some((addresses, side) => {
    const tuple = at + side * TUPLE_WORDS;
    const protocol = protocolOn(words, at, side);
    const [src, dst, ports] = [SRC, DST, PORTS].map((word) => words[tuple + word]!);
    const reference = addresses === null
      ? table.find(protocol, src!, dst!, ports!)
      : table.find6(protocol, src!, dst!, ports!, addresses);
    return reference >= 0;
  });
}

function haveSameEnds(words: Readonly<Int32Array>, at: number, [a, b]: Tuples): boolean {
  if (a && b) return a.every((word, i) => word === b[i]);
  const side = at + TUPLE_WORDS;
  return words[at + SRC] === words[side + SRC] && words[at + DST] === words[side + DST];
}

/** True if it is between a host and one of the proxy's addresses. */
function hasAddresses(words: Readonly<Int32Array>, at: number, { own: all }: TupleRules): boolean {
  const src = words[at + SRC]!;
  const own = all.find(({ address }) => address === words[at + DST]);
  return own !== undefined && isHost(src, own.subnet) &&
    !all.some(({ address }) => address === src);
}

/** The tuples of a record; those of IPv6 get their keys. Null: no such connection can be. */
export function addressesOf(
  connections: Connections,
  words: Int32Array<ArrayBuffer>,
  at: number,
  rules: TupleRules,
): Tuples | null {
  const isOneSided = (words[at + META]! & ONE_TUPLE) !== 0;
  if (crosses(words, at) && (isOneSided || !rules.translateFamilies)) return null;
  const isOver6 = isIpv6(protocolOf(words, at));
  const a = isOver6 ? client6Of(connections, words, at) : null;
  if (isOver6 ? a === null : !hasAddresses(words, at, rules)) return null;
  if (isOneSided) return [a];
  if (!isIpv6(protocolOn(words, at, SIDE_B))) return [a, null];
  const b = member6Of(connections, words, at, a, rules);
  return b === null ? null : [a, b];
}

/** Gives side A its keys. Returns its addresses; null: it can't be. */
function client6Of(
  { ipv6 }: Connections,
  words: Int32Array<ArrayBuffer>,
  at: number,
): Int32Array | null {
  if (ipv6 === null) return null;
  const { digest, own } = ipv6;
  const a = words.slice(at + CLIENT6, at + SAVED6_WORDS);
  const isOwn = (place: number) =>
    Array.from({ length: own.length / ADDRESS6_WORDS }, (_, i) => ADDRESS6_WORDS * i)
      .some((other) => isSameAddress6(a, place, own, other));
  if (!isHost6(a, 0) || isOwn(0) || !isOwn(ADDRESS6_WORDS)) return null;
  words[at + SRC] = digest.ofWords(a, 0);
  words[at + DST] = digest.ofWords(a, ADDRESS6_WORDS);
  return a;
}

/** The same of side B; `client` are the addresses of side A, if it is of IPv6. */
function member6Of(
  { ipv6, table }: Connections,
  words: Int32Array<ArrayBuffer>,
  at: number,
  client: Int32Array | null,
  { members }: TupleRules,
): Int32Array | null {
  const member = members[words[at + MEMBER]!] ?? null;
  if (ipv6 === null || member === null || typeof member.address !== "bigint") return null;
  const side = at + TUPLE_WORDS;
  const keepsClient = client !== null && words[side + DST] === KEEPS_CLIENT;
  if (!keepsClient && words[side + DST] !== 0) return null;
  words[side + SRC] = member.key;
  words[side + DST] = keepsClient ? words[at + SRC]! : table.whole!.ownKey;
  const destination = keepsClient ? client : ipv6.own;
  return Int32Array.of(...wordsOf(member.address), ...destination.subarray(0, ADDRESS6_WORDS));
}
