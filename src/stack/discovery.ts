/**
 * Neighbor Discovery on a link (RFC 4861), as ARP is for IPv4, with what belongs to it:
 *
 *     duplicate_detection   which of its own addresses the proxy may use
 *     listener              tells switches and routers which groups the proxy listens to (MLD)
 *     default_routers       what router advertisements say, with --accept-ra
 *     neighbors             the neighbour cache, and when neighbours are asked (RFC 4861 §7.3)
 *
 * Unlike with ARP, no address is used before it is known, a second or two after the start, that
 * nobody else has it (RFC 4862 §5.4). Redirects are dropped: packets go where the flags say.
 *
 * Long because it answers for five types of messages, and has all that a link asks of ARP.
 */
import type { Arena } from "../core/arena.ts";
import type { LimitedLog } from "../core/limited_log.ts";
import { below, type Random } from "../core/random.ts";
import { Reason } from "../core/reason.ts";
import { isGroupMac, type Mac } from "../wire/address.ts";
import {
  type Address6,
  ADDRESS6_WORDS,
  ALL_NODES,
  inSubnet6,
  isLinkLocal,
  isMulticast6,
  readAddress6,
  solicitedNodeOf,
  solicitedNodeWord,
  type Subnet6,
} from "../wire/address6.ts";
import type { AddressDigest } from "../wire/address_digest.ts";
import { hasExtensionHeaders } from "../wire/decode6.ts";
import * as ethernet from "../wire/ethernet.ts";
import { Chain } from "../wire/extension_headers.ts";
import { addressOfWords, wordsOf } from "../wire/host_address.ts";
import * as icmpv6 from "../wire/icmpv6.ts";
import * as wire from "../wire/neighbor_discovery.ts";
import {
  NEIGHBOR_FRAME_BYTES,
  writeNeighborAdvertisement,
  writeNeighborSolicitation,
} from "../wire/neighbor_messages.ts";
import type { Pdu } from "../wire/pdu.ts";
import type { OwnAddresses6 } from "./admit6.ts";
import { DefaultRouters } from "./default_routers.ts";
import { DuplicateDetection } from "./duplicate_detection.ts";
import type { OwnState } from "./own_state.ts";
import type { HeldPacket } from "./held_packets.ts";
import { Listener } from "./listener.ts";
import { Neighbors, type OtherWay } from "./neighbors.ts";
import type { Openers } from "./openers.ts";

/** The first message on a link waits up to this long (RFC 4862 §5.4.2). */
const MAX_START_DELAY_MS = 1000;
/** RFC 4861 §10: how long a neighbour counts as reached, times a random factor. */
const REACHABLE_MS = 30_000;
const MIN_RANDOM_FACTOR = 0.5;
/** "At least every few hours" a new factor is drawn (RFC 4861 §6.3.2). */
const FACTOR_MS = 2 * 3600 * 1000;

/** Events about watched neighbours, and packets. */
export interface DiscoveryEvents {
  /** See `NeighborsOptions`. */
  resolved(address: bigint, mac: Mac, nowMs: number): void;
  unanswered(address: bigint, nowMs: number): void;
  dropped(reason: number, count: number): void;
  /**
   * These packets waited for a neighbour that did not answer: their senders are to be told (RFC
   * 4861 §7.2.2). Each is as `Arena.copyOut` has made it of the frame that was to leave.
   */
  undelivered(packets: readonly HeldPacket[]): void;
}

export interface NeighborDiscoveryOptions {
  /** Name of the device, for the log. */
  readonly device: string;
  readonly arena: Arena;
  readonly mac: Mac;
  readonly digest: AddressDigest;
  readonly random: Random;
  /** The proxy's addresses; which of them may be used is told here. */
  readonly own: OwnAddresses6;
  /** The subnet of each of them but the link-local one. */
  readonly onLink: readonly Subnet6[];
  readonly watched: readonly bigint[];
  /** Most neighbours that are not watched. */
  readonly maxNeighbors: number;
  readonly openers: Openers;
  readonly log: LimitedLog;
  readonly events: DiscoveryEvents;
  /** The proxy passes packets on for clients' own addresses, as routers do. */
  readonly isRouter: boolean;
  /** Router advertisements name default routers and the MTU. */
  readonly acceptRa: boolean;
  /** There is a route to ::/0 that comes before what they name. */
  readonly hasDefault: boolean;
  readonly otherWay?: OtherWay | null;
  readonly nowMs: number;
}

export class NeighborDiscovery {
  readonly #options: NeighborDiscoveryOptions;
  readonly neighbors: Neighbors;
  readonly #own: OwnAddresses6;
  readonly #duplicates: DuplicateDetection;
  readonly #listener: Listener;
  /** Null: no advertisement counts. */
  readonly #routers: DefaultRouters | null;
  /** Of a packet without extension headers. */
  readonly #plain = new Chain();
  readonly #found = new wire.DiscoveryOptions();
  /** The address that a message is about. */
  readonly #target: Int32Array<ArrayBuffer> = new Int32Array(ADDRESS6_WORDS);
  #nextFactorMs = 0;
  /** A double from the start, as all counts. */
  readonly #sent = new Float64Array(1);

  constructor(options: NeighborDiscoveryOptions) {
    const { mac, own, random, watched, maxNeighbors, events } = options;
    this.#options = options;
    this.#own = own;
    const linkLocal = own.count - 1;
    const emit = this.#emit.bind(this);
    this.#duplicates = new DuplicateDetection({
      ...options,
      emit,
      usable: (index, nowMs) => {
        if (index === linkLocal) this.#listener.restart(nowMs);
      },
    });
    const source = () => own.isUsable(linkLocal) ? own.linkLocal : null;
    this.#listener = new Listener({ mac, groups: groupsOf(own), random, emit, source });
    this.#routers = options.acceptRa
      ? new DefaultRouters({
        ...options,
        emit,
        source,
        isSourceExpected: () => !this.#duplicates.isWithheld(linkLocal),
        isKnown: ({ key, address }) => this.neighbors.numberOf(key, address, 0) >= 0,
      })
      : null;
    this.neighbors = new Neighbors({
      ...options,
      isIpv6: true,
      watched: [],
      maxNeighbors: maxNeighbors + watched.length,
      ask: (_key, neighborMac, whole, from) => this.#ask(neighborMac, whole, from),
      resolved: (_key, neighborMac, nowMs, whole, from) =>
        events.resolved(addressOfWords(whole, from), neighborMac, nowMs),
      unanswered: (_key, nowMs, whole, from) =>
        events.unanswered(addressOfWords(whole, from), nowMs),
      dropped: (reason, count) => events.dropped(reason, count),
      undelivered: (packets) => events.undelivered(packets),
    });
    // No address may be used yet, so that nobody is asked before.
    this.restart(options.nowMs);
    for (const address of watched) this.watch(address, options.nowMs);
  }

  /** Frames that were queued for sending, those of listeners and to routers included. */
  get sent(): number {
    return this.#sent[0]!;
  }

  /** Counts those of earlier runs, too. */
  addSent(frames: number): void {
    this.#sent[0]! += frames;
  }

  /** True if a frame to the MAC address 33:33 and these 32 bits is for the proxy. */
  listensTo(macLo: number): boolean {
    if (macLo === ALL_NODES[3]) return true;
    const { words, count } = this.#own;
    for (let i = 0; i < count; i++) {
      if (macLo === solicitedNodeWord(words[ADDRESS6_WORDS * i + 3]!)) return true;
    }
    return false;
  }

  /** Whether the proxy's address of that index is used. */
  ownState(index: number): OwnState {
    return this.#duplicates.stateOf(index);
  }

  /** The router to which packets go that no other route is for; null: there is none. */
  router(nowMs: number): Address6 | null {
    return this.#routers?.pick(nowMs)?.address ?? null;
  }

  /** The link's MTU in bytes as a router has told it; 0: none has. */
  get mtu(): number {
    return this.#routers?.mtu ?? 0;
  }

  /**
   * The link has come up: drops held packets, which are too old, and makes sure again that nobody
   * else has the proxy's addresses.
   */
  restart(nowMs: number): void {
    const startMs = nowMs + below(this.#options.random, MAX_START_DELAY_MS + 1);
    this.neighbors.dropHeld();
    this.#listener.restart(startMs);
    this.#duplicates.restart(startMs);
    this.#routers?.restart(startMs);
  }

  /**
   * To be called at the start: the run before this one has used the proxy's addresses until now, so
   * that connections go on.
   */
  resumeAddresses(nowMs: number): void {
    this.#duplicates.resume(nowMs);
  }

  /**
   * Handles a decoded message of which `isLinkMessage` is true; `chain` is that of its extension
   * headers. Returns 0 or a reason.
   */
  receive(pdu: Pdu, chain: Chain, nowMs: number): number {
    const { view } = this.#options.arena;
    const walked = hasExtensionHeaders(pdu) ? chain : this.#plain;
    this.#plain.l4 = pdu.l4;
    if (!this.#own.listensTo(pdu.addresses, 4) && this.#own.indexOf(pdu.addresses, 4) < 0) {
      return isMulticast6(pdu.addresses[4]!)
        ? Reason["multicast-destination"]
        : Reason["foreign-destination"];
    }
    if (isMulticast6(pdu.addresses[0]!)) return Reason["martian-source"];
    if (pdu.icmpType === icmpv6.ICMPV6_LISTENER_QUERY) {
      return this.#listener.receive(view, pdu.ip, pdu.end, walked, nowMs);
    }
    if (!wire.isDiscovery(pdu.icmpType)) return 0; // what other listeners report
    if (pdu.fragmentBytes !== 0) return Reason["discovery-fragment"];
    const fault = wire.checkDiscovery(view, pdu.ip, pdu.end, walked, this.#found);
    if (fault !== 0) return reasonOf(fault);
    if (pdu.icmpType === icmpv6.ICMPV6_NEIGHBOR_SOLICITATION) return this.#solicited(pdu, nowMs);
    if (pdu.icmpType === icmpv6.ICMPV6_NEIGHBOR_ADVERTISEMENT) return this.#advertised(pdu, nowMs);
    if (pdu.icmpType === icmpv6.ICMPV6_REDIRECT) return Reason["redirect"];
    const isAdvertisement = pdu.icmpType === icmpv6.ICMPV6_ROUTER_ADVERTISEMENT;
    if (this.#routers === null || !isAdvertisement) return Reason["router-message"];
    return this.#routed(this.#routers, pdu, nowMs);
  }

  /**
   * Handles a decoded message that has the proxy's own MAC address, all of which are dropped: of
   * an address that is on trial, the link may have sent the question back, or a station with the
   * same MAC address may want it (RFC 7527 §4.2).
   */
  looped(pdu: Pdu, chain: Chain, nowMs: number): void {
    const { mac, arena: { view } } = this.#options;
    const isOwn = ethernet.sourceHi(view, pdu.frame) === mac.hi &&
      ethernet.sourceLo(view, pdu.frame) === mac.lo;
    if (isOwn && pdu.icmpType === icmpv6.ICMPV6_NEIGHBOR_SOLICITATION) {
      this.receive(pdu, chain, nowMs);
    }
  }

  /** See `Neighbors.send`; the next hop's whole address is at `from`. */
  send(
    frame: number,
    lengthBytes: number,
    key: number,
    words: Int32Array,
    from: number,
    nowMs: number,
    entry: number,
  ): number {
    return this.neighbors.send(frame, lengthBytes, key, nowMs, entry, words, from);
  }

  /** See `Neighbors.sendNow`. */
  sendNow(
    frame: number,
    lengthBytes: number,
    key: number,
    words: Int32Array,
    from: number,
    entry: number,
  ): boolean {
    return this.neighbors.sendNow(frame, lengthBytes, key, entry, words, from);
  }

  /** See `Neighbors.watch`. */
  watch(nextHop: bigint, nowMs: number): void {
    const words = wordsOf(nextHop);
    this.neighbors.watch(this.#keyOf(words), nowMs, words, 0);
  }

  /** See `Neighbors.unwatch`. */
  unwatch(nextHop: bigint): void {
    const words = wordsOf(nextHop);
    this.neighbors.unwatch(this.#keyOf(words), words, 0);
  }

  /** See `Neighbors.endWays`. */
  endWays(router: Address6): void {
    this.neighbors.endWays(this.#keyOf(router), router, 0);
  }

  /** See `Neighbors.expectAnswer`. */
  expectAnswer(key: number, words: Int32Array, from: number, nowMs: number): void {
    this.neighbors.expectAnswer(key, nowMs, words, from);
  }

  /** See `Neighbors.answered`. */
  answered(key: number, words: Int32Array, from: number): void {
    this.neighbors.answered(key, words, from);
  }

  /** Takes a neighbour of an earlier run, if it can be one: see `Neighbors.resume`. */
  resume(address: bigint, mac: Mac, confirmedMs: number, nowMs: number): boolean {
    const words = wordsOf(address);
    return this.#canBeNeighbor(words, 0) && this.#canBeAt(mac) &&
      this.neighbors.resume(this.#keyOf(words), mac, confirmedMs, nowMs, words, 0);
  }

  /** To be called several times a second. */
  tick(nowMs: number): void {
    if (nowMs >= this.#nextFactorMs) {
      const factor = MIN_RANDOM_FACTOR + this.#options.random.uint32() / 2 ** 32;
      this.neighbors.freshMs = REACHABLE_MS * factor;
      this.#nextFactorMs = nowMs + FACTOR_MS;
    }
    this.#listener.tick(nowMs);
    this.#duplicates.tick(nowMs);
    this.#routers?.tick(nowMs);
    this.neighbors.tick(nowMs);
  }

  #keyOf(words: Address6): number {
    return this.#options.digest.ofWords(words, 0);
  }

  #isOnLink(words: Int32Array, from: number): boolean {
    return isLinkLocal(words[from]!) ||
      this.#options.onLink.some((subnet) => inSubnet6(words, from, subnet));
  }

  /**
   * Index of the address to ask from for the one at `from`: in the same subnet if there is one (RFC
   * 4861 §7.2.2 leaves it open), else any; -1: none may be used yet.
   */
  #sourceFor(words: Int32Array, from: number): number {
    const own = this.#own;
    let any = -1;
    for (let i = 0; i < own.count; i++) {
      if (!own.isUsable(i)) continue;
      const subnet = this.#options.onLink[i];
      const isNear = subnet === undefined
        ? isLinkLocal(words[from]!)
        : inSubnet6(words, from, subnet);
      if (isNear) return i;
      if (any < 0) any = i;
    }
    return any;
  }

  /** Index of the proxy's address at `offset` of a packet, used or not, or -1. */
  #indexIn(view: DataView, offset: number): number {
    readAddress6(view, offset, this.#target, 0);
    return this.#own.indexOf(this.#target, 0);
  }

  /** True for the address of another host on this link. */
  #canBeNeighbor(words: Int32Array, from: number): boolean {
    return this.#isOnLink(words, from) && this.#own.indexOf(words, from) < 0;
  }

  /** True for a MAC address that another station can have. */
  #canBeAt(mac: Mac): boolean {
    const { mac: own } = this.#options;
    return !isGroupMac(mac) && (mac.hi !== 0 || mac.lo !== 0) &&
      (mac.hi !== own.hi || mac.lo !== own.lo);
  }

  /** A solicitation (RFC 4861 §7.2.3, RFC 4862 §5.4.3). */
  #solicited(pdu: Pdu, nowMs: number): number {
    const { view } = this.#options.arena;
    const index = this.#indexIn(view, wire.targetAt(pdu.l4));
    if (index < 0) return 0;
    const isFromNobody = wire.isFromUnspecified(view, pdu.ip);
    if (!this.#own.isUsable(index)) {
      const { nonce, nonceBytes } = this.#found;
      if (isFromNobody) this.#duplicates.probed(index, view, nonce, nonceBytes, nowMs);
      return 0;
    }
    if (!ethernet.isFromStation(view, pdu.frame, this.#options.mac)) return Reason["source-mac"];
    if (isFromNobody) return this.#advertise(index, { address: ALL_NODES, mac: null });
    const { sourceMac } = this.#found;
    const mac = sourceMac === 0
      ? { hi: ethernet.sourceHi(view, pdu.frame), lo: ethernet.sourceLo(view, pdu.frame) }
      : macAt(view, sourceMac);
    if (!this.#canBeAt(mac)) return Reason["discovery-malformed"];
    const ownSource = this.#own.indexOf(pdu.addresses, 0);
    if (ownSource >= 0) {
      this.#duplicates.claimed(ownSource, mac, nowMs);
      return 0;
    }
    if (sourceMac !== 0 && this.#isOnLink(pdu.addresses, 0)) {
      this.neighbors.hear(pdu.src, mac, nowMs, true, pdu.addresses, 0);
    }
    return this.#advertise(index, { address: pdu.addresses.slice(0, ADDRESS6_WORDS), mac });
  }

  /** An advertisement (RFC 4861 §7.2.5, RFC 4862 §5.4.4). */
  #advertised(pdu: Pdu, nowMs: number): number {
    const { digest, arena: { view } } = this.#options;
    const target = wire.targetAt(pdu.l4);
    const { targetMac } = this.#found;
    const mac = targetMac === 0 ? null : macAt(view, targetMac);
    const index = this.#indexIn(view, target);
    if (index >= 0) {
      const hi = ethernet.sourceHi(view, pdu.frame);
      const lo = ethernet.sourceLo(view, pdu.frame);
      this.#duplicates.claimed(index, mac ?? { hi, lo }, nowMs);
      return 0;
    }
    if (mac !== null && !this.#canBeAt(mac)) return Reason["discovery-malformed"];
    const key = digest.ofPacket(view, target);
    if (!wire.isRouter(view, pdu.l4)) this.#routers?.remove(key, this.#target, 0);
    const flags = {
      isSolicited: wire.isSolicited(view, pdu.l4),
      isOverride: wire.isOverride(view, pdu.l4),
    };
    this.neighbors.advertised(key, mac, flags, nowMs, this.#target, 0);
    return 0;
  }

  /** A router's advertisement (RFC 4861 §6.3.4). */
  #routed(routers: DefaultRouters, pdu: Pdu, nowMs: number): number {
    const { view } = this.#options.arena;
    const { sourceMac } = this.#found;
    const mac = sourceMac === 0 ? null : macAt(view, sourceMac);
    if (mac !== null && !this.#canBeAt(mac)) return Reason["discovery-malformed"];
    if (this.#own.indexOf(pdu.addresses, 0) >= 0) return Reason["own-source"];
    if (mac !== null) this.neighbors.hear(pdu.src, mac, nowMs, true, pdu.addresses, 0);
    routers.advertised(view, pdu.ip, pdu.l4, this.#found, pdu.src, nowMs);
    return 0;
  }

  /** Answers a solicitation (RFC 4861 §7.2.4). */
  #advertise(
    index: number,
    receiver: { readonly address: Address6; readonly mac: Mac | null },
  ): number {
    const { mac, isRouter } = this.#options;
    const address = addressAt(this.#own, index);
    const flags = { router: isRouter, solicited: receiver.mac !== null, override: true };
    const isQueued = this.#emit(
      NEIGHBOR_FRAME_BYTES,
      (view, frame) =>
        writeNeighborAdvertisement(view, frame, { mac, address }, receiver, address, flags),
    );
    return isQueued ? 0 : Reason["no-buffer"];
  }

  /** Asks who has the address at `from`, or the station at `neighborMac` whether it still does. */
  #ask(neighborMac: Mac | null, words: Int32Array, from: number): boolean {
    const source = this.#sourceFor(words, from);
    if (source < 0) return false;
    const sender = { mac: this.#options.mac, address: addressAt(this.#own, source) };
    const target = { address: words.slice(from, from + ADDRESS6_WORDS), mac: neighborMac };
    return this.#emit(
      NEIGHBOR_FRAME_BYTES,
      (view, frame) => writeNeighborSolicitation(view, frame, sender, target),
    );
  }

  #emit(mostBytes: number, write: (view: DataView, frame: number) => number): boolean {
    const { arena } = this.#options;
    if (!arena.hasRoom(1, mostBytes)) return false;
    const frame = arena.scratch(mostBytes);
    arena.send(frame, write(arena.view, frame));
    this.#sent[0]!++;
    return true;
  }
}

/** The solicited-node groups of addresses, each once. */
function groupsOf(own: OwnAddresses6): Int32Array {
  const groups = new Map<number, Address6>();
  for (let i = 0; i < own.count; i++) {
    const group = solicitedNodeOf(addressAt(own, i));
    groups.set(group[3]!, group);
  }
  return Int32Array.from([...groups.values()].flatMap((group) => [...group]));
}

function addressAt(own: OwnAddresses6, index: number): Address6 {
  return own.words.subarray(ADDRESS6_WORDS * index, ADDRESS6_WORDS * (index + 1));
}

function macAt(view: DataView, at: number): Mac {
  return { hi: wire.macHi(view, at), lo: wire.macLo(view, at) };
}

function reasonOf(fault: number): number {
  if (fault === wire.DiscoveryFault["hop-limit"]) return Reason["discovery-hop-limit"];
  if (fault === wire.DiscoveryFault["fragment"]) return Reason["discovery-fragment"];
  return Reason["discovery-malformed"];
}
