/**
 * Which IPv6 packets the proxy accepts, before any policy, as `admit.ts` says it of IPv4: sent to
 * an address of its own, or as ICMPv6 to a group that it listens to while it has an address to
 * answer from; and from an address that a host can have. Neighbor Discovery does not come here:
 * some of its messages are from `::`.
 */
import { Reason } from "../core/reason.ts";
import type { Mac } from "../wire/address.ts";
import {
  type Address6,
  ADDRESS6_WORDS,
  ALL_NODES,
  isLinkLocal,
  isLoopback6,
  isMapped,
  isMulticast6,
  isSameAddress6,
  isSolicitedNode,
  isUnspecified,
  solicitedNodeWord,
} from "../wire/address6.ts";
import { ChainFault } from "../wire/extension_headers.ts";
import { PROTOCOL_ICMPV6 } from "../wire/ipv6.ts";
import { OVER_IPV6, type Pdu } from "../wire/pdu.ts";

/** Places of a packet's addresses in `Pdu.addresses`. */
const SOURCE_AT = 0;
const DESTINATION_AT = ADDRESS6_WORDS;

/** Who the proxy is on one link. */
export class OwnAddresses6 {
  readonly mac: Mac;
  /** Four words each, in the order given; the link-local address is the last. */
  readonly words: Int32Array;
  readonly count: number;
  /** The one with which forwarded packets leave: the first. */
  readonly main: Address6;
  readonly linkLocal: Address6;
  readonly #areUsable: Uint8Array;
  /** How many must not be used. */
  #unusable = 0;

  /** All are used from the start. */
  constructor(mac: Mac, addresses: readonly Address6[], linkLocal: Address6) {
    const all = [...addresses, linkLocal];
    this.mac = mac;
    this.main = all[0]!;
    this.linkLocal = linkLocal;
    this.count = all.length;
    this.words = Int32Array.from(all.flatMap((address) => Array.from(address)));
    this.#areUsable = new Uint8Array(all.length).fill(1);
  }

  isUsable(index: number): boolean {
    return this.#areUsable[index] !== 0;
  }

  /** True while every one may be used. */
  get areAllUsable(): boolean {
    return this.#unusable === 0;
  }

  /** Whether the address of that index may be used: no other host has it. */
  setUsable(index: number, isUsable: boolean): void {
    this.#areUsable[index] = isUsable ? 1 : 0;
    this.#unusable = this.#areUsable.reduce((count, usable) => count + 1 - usable, 0);
  }

  /** Index of the address at `at`, used or not, or -1 if it is not the proxy's. */
  indexOf(words: Int32Array, at: number): number {
    const own = this.words;
    for (let i = 0; i < this.count; i++) {
      if (isSameAddress6(words, at, own, ADDRESS6_WORDS * i)) return i;
    }
    return -1;
  }

  /** As `indexOf`, but -1 also for one that must not be used. */
  find(words: Int32Array, at: number): number {
    const index = this.indexOf(words, at);
    return index >= 0 && this.isUsable(index) ? index : -1;
  }

  has(words: Int32Array, at: number): boolean {
    return this.find(words, at) >= 0;
  }

  /**
   * True for a group of this link that every node listens to, or that one of the proxy's addresses
   * makes it listen to, used or not (RFC 4291 §2.8).
   */
  listensTo(words: Int32Array, at: number): boolean {
    if (isSameAddress6(words, at, ALL_NODES, 0)) return true;
    const last = words[at + 3]!;
    if (!isSolicitedNode(words[at]!, words[at + 1]!, words[at + 2]!, last)) return false;
    const own = this.words;
    for (let i = 0; i < this.count; i++) {
      if (solicitedNodeWord(own[ADDRESS6_WORDS * i + 3]!) === last) return true;
    }
    return false;
  }

  /**
   * Index of the address that answers a packet: the one it was sent to, if that is the proxy's;
   * else one of the same scope as its sender's (RFC 4443 §2.2). It may be used unless none may.
   */
  sourceFor({ addresses }: Readonly<Pdu>): number {
    const asked = this.find(addresses, DESTINATION_AT);
    if (asked >= 0) return asked;
    const last = this.count - 1;
    if (isLinkLocal(addresses[SOURCE_AT]!) && this.isUsable(last)) return last;
    const first = this.#areUsable.indexOf(1);
    return first < 0 ? last : first;
  }
}

/** 0 if the packet may enter the tree, else the reason to drop it. */
export function admit6(pdu: Pdu, own: OwnAddresses6): number {
  const { addresses } = pdu;
  if (own.has(addresses, DESTINATION_AT)) {
    return pdu.broadcastFrame !== 0 ? Reason["broadcast-mac"] : admitSource6(pdu, own);
  }
  if (!isMulticast6(addresses[DESTINATION_AT]!)) return Reason["foreign-destination"];
  const isHeard = pdu.protocol === (PROTOCOL_ICMPV6 | OVER_IPV6) &&
    own.listensTo(addresses, DESTINATION_AT) && own.isUsable(own.sourceFor(pdu));
  return isHeard ? admitSource6(pdu, own) : Reason["multicast-destination"];
}

/**
 * As `admit6`, where backends answer clients' own addresses and the proxy is on the path: also 0
 * for a packet to another host, as it may belong to a connection.
 */
export function admitTransit6(pdu: Pdu, own: OwnAddresses6): number {
  const reason = admit6(pdu, own);
  if (reason !== Reason["foreign-destination"]) return reason;
  if (!isHost6(pdu.addresses, DESTINATION_AT)) return reason;
  return pdu.broadcastFrame !== 0 ? Reason["broadcast-mac"] : admitSource6(pdu, own);
}

function admitSource6(pdu: Pdu, own: OwnAddresses6): number {
  if (own.has(pdu.addresses, SOURCE_AT)) return Reason["own-source"];
  return isHost6(pdu.addresses, SOURCE_AT) ? 0 : Reason["martian-source"];
}

/** True for an address that a single host can have, and use on a link (RFC 4291 §2.5.2, §2.7). */
export function isHost6(words: Int32Array, at: number): boolean {
  const word0 = words[at]!;
  const word1 = words[at + 1]!;
  const word2 = words[at + 2]!;
  const word3 = words[at + 3]!;
  return !isMulticast6(word0) && !isUnspecified(word0, word1, word2, word3) &&
    !isLoopback6(word0, word1, word2, word3) && !isMapped(word0, word1, word2);
}

/**
 * True if the packet's source or destination means something on its own link only: no router passes
 * it on to another (RFC 4291 §2.5.6).
 */
export function isOfOneLink({ addresses }: Readonly<Pdu>): boolean {
  return isLinkLocal(addresses[SOURCE_AT]!) || isLinkLocal(addresses[DESTINATION_AT]!);
}

/** The reason to count for a `ChainFault`. */
export function reasonOfChainFault(fault: number): number {
  switch (fault) {
    case ChainFault["routing-header"]:
      return Reason["routing-header"];
    case ChainFault["unknown-option"]:
      return Reason["header-option"];
    case ChainFault["unknown-next-header"]:
      return Reason["next-header"];
    case ChainFault["incomplete-chain"]:
      return Reason["fragment-tiny"];
    case ChainFault["fragment-length"]:
    case ChainFault["fragment-end"]:
      return Reason["fragment-length"];
    default:
      return Reason["header-chain"];
  }
}
