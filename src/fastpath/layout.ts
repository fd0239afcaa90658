/**
 * The memory that the proxy and the fast path's program share: one value of one array map, 32-bit
 * words in the machine's order. What lies in it, in this order, each part from a new page on:
 *
 *     settings    the epoch, and the links
 *     filter      which packets are certainly of no promoted connection, by their ports
 *     hash        the flow table's own: tables of its hash (`flow/keyed_hash.ts`),
 *     index         its index,
 *     entries       and its entries (`flow/entry.ts`)
 *     ways        for each entry, where its packets go: half a cache line
 *     neighbors   MAC addresses, and when they were used
 *     counters    for each processor, what it has forwarded
 *     digest      with IPv6, the words of which addresses' digests are made,
 *     addresses     and for each entry those that its tuples' digests stand for
 *                   (`flow/whole_addresses.ts`)
 *
 * A connection is *promoted* when its packets may go this way: its TICKET has the present epoch in
 * the upper half; in the lower half is a number that changes with each promotion. So one store
 * demotes a connection, and a new epoch all of them. Who reads an entry reads the ticket first, and
 * again after it, so that it has not used what was changed meanwhile.
 *
 *     | TICKET | NEIGHBOR, COUNTER, WAY of packets from side A | the same from side B | BARRIER |
 */
import { ENTRY_WORDS } from "../flow/entry.ts";
import { HASH_WORDS } from "../flow/keyed_hash.ts";
import { SLOTS_PER_ENTRY } from "../flow/table.ts";
import { WHOLE_WORDS } from "../flow/whole_addresses.ts";
import { DIGEST_WORDS } from "../wire/address_digest.ts";

/** How much there is room for; it can't grow. */
export interface Sizes {
  /** Of the flow table. */
  readonly connections: number;
  readonly neighbors: number;
  readonly counters: number;
  readonly processors: number;
  /** With room for connections over IPv6; default not. */
  readonly isIpv6On?: boolean;
}

export interface Layout extends Sizes {
  /** Where each part begins, in bytes. */
  readonly at: Readonly<Record<Part, number>>;
  /** Of all parts. */
  readonly bytes: number;
}

export type Part =
  | "settings"
  | "filter"
  | "hash"
  | "index"
  | "entries"
  | "ways"
  | "neighbors"
  | "counters"
  | "digest"
  | "addresses";

// Settings. The epoch is 1 … 0xffff.
export const EPOCH = 0;
/** The links, a cache line each, begin here. */
export const LINKS = 16;
export const LINK_WORDS = 16;
export const MAX_LINKS = 2;
/** Of a link: its MAC address in the first 6 bytes. */
export const LINK_MAC = 0;
/** Number of the interface; 0: it is down. */
export const LINK_IFINDEX = 2;
export const LINK_MTU = 3;
/** For packets of IPv6. */
export const LINK_MTU6 = 4;
/** Not 0: packets of IPv6 that come in may be forwarded. */
export const LINK_TAKES6 = 5;

// The filter: a bit for each *bucket*, the exclusive or of a packet's two ports. It is set if a
// promoted connection has packets in that bucket.
export const BUCKETS = 0x1_0000;

// Ways.
export const WAY_WORDS = 8;
/** 0, or `epoch << 16 | number`. */
export const TICKET = 0;
/** The first of the three words of a direction. */
export const DIRECTION = 1;
export const DIRECTION_WORDS = 3;
/** Of these: number and issue of the next hop. */
export const NEIGHBOR = 0;
/** Bits of the number; the issue is in those above. */
export const NEIGHBOR_BITS = 21;
/** Where the packets are counted. */
export const COUNTER = 1;
/** `Pdu.newTtl` in the lower 9 bits; and these; and the packets' bucket in the upper 16. */
export const WAY = 2;
/** It comes in on link 1, not 0. */
export const FROM_LINK_1 = 0x200;
/** It leaves on link 1. */
export const TO_LINK_1_SHIFT = 10;
export const BUCKET_SHIFT = 16;

/** The barrier after which no program works on the entry any more (`limbo.ts`). */
export const BARRIER = 7;

// Neighbours. A neighbour's number serves again for another one, with the next *issue*: ways of
// the one before lead nowhere. It is 1 … 0x7ff.
export const NEIGHBOR_WORDS = 8;
/**
 * The MAC address in 6 bytes, then its issue in two, 0 while it is not known: one 64-bit word,
 * written at once.
 */
export const MAC = 0;
/** When a packet was last sent to it, ms modulo 2³². */
export const USED = 2;
/** When a datagram was last sent to it that wants an answer. */
export const ASKED = 3;
/** When such an answer last came from it. */
export const ANSWERED = 4;

// Counters: of packets and of bytes, 64 bits each, for each counter of a processor.
export const COUNTER_BYTES = 16;

const PAGE_BYTES = 4096;

export function layoutOf(sizes: Sizes): Layout {
  let bytes = 0;
  const place = (words: number): number => {
    const start = bytes;
    bytes += Math.ceil(4 * words / PAGE_BYTES) * PAGE_BYTES;
    return start;
  };
  const { connections, neighbors, counters, processors, isIpv6On = false } = sizes;
  const at = {
    settings: place(LINKS + MAX_LINKS * LINK_WORDS),
    filter: place(BUCKETS / 32),
    hash: place(HASH_WORDS),
    index: place(SLOTS_PER_ENTRY * connections),
    entries: place(ENTRY_WORDS * connections),
    ways: place(WAY_WORDS * connections),
    neighbors: place(NEIGHBOR_WORDS * neighbors),
    counters: place(COUNTER_BYTES / 4 * counters * processors),
    digest: place(isIpv6On ? DIGEST_WORDS : 0),
    addresses: place(isIpv6On ? WHOLE_WORDS * connections : 0),
  };
  return { ...sizes, at, bytes };
}
