/**
 * ARP (RFC 826) with the duties of a host (RFC 1122 §2.3.2) and address conflict detection (RFC 5227).
 *
 *     receive   answers requests for the proxy's address, learns from every packet meant for it
 *     send      puts the Ethernet header on an outgoing packet, or holds it and asks
 *     tick      asks again, keeps backends fresh, announces and probes the own address
 *
 * The proxy uses its address from the start and probes for a conflict beside it: it is configured for a
 * service that must not wait. A conflict is defended as RFC 5227 §2.4(b) says, with one announcement;
 * within ten seconds of the last one it is only reported and the address kept, as §2.4(c) allows.
 */
import type { Arena } from "../core/arena.ts";
import type { Log } from "../core/log.ts";
import { Reason } from "../core/reason.ts";
import { formatAddress, formatMac, inSubnet, isGroupMac, type Mac } from "../wire/address.ts";
import * as wire from "../wire/arp.ts";
import * as ethernet from "../wire/ethernet.ts";
import type { Pdu } from "../wire/pdu.ts";
import * as vnet from "../wire/vnet.ts";
import { isHost, type OwnAddress } from "./admit.ts";
import { type Neighbor, Neighbors } from "./neighbors.ts";
import { TokenBucket } from "../core/token_bucket.ts";

/** RFC 1122 §2.3.2.1: at most one request a second for the same address. */
const REQUEST_INTERVAL_MS = 1000;
const MAX_UNANSWERED = 3;
/** How often a watched neighbour that does not answer is asked, once it has been given up. */
const RETRY_INTERVAL_MS = 5000;

/** A watched neighbour is asked again this long after it last spoke; another one when it is used. */
const FRESH_MS = 30_000;
const FORGET_MS = 10 * 60_000;

/** Requests a second for neighbours that are not watched, however many are asked for. */
const REQUESTS_PER_SECOND = 100;

/** RFC 5227 §1.1. */
const PROBE_COUNT = 3;
const PROBE_INTERVAL_MS = 1000;
const ANNOUNCE_COUNT = 2;
const ANNOUNCE_INTERVAL_MS = 2000;
const DEFEND_INTERVAL_MS = 10_000;

const FRAME_BYTES = ethernet.ETHERNET_BYTES + wire.ARP_BYTES;

/** What the owner of a watched neighbour is told. */
export interface ArpEvents {
  /** The neighbour answers (again), or its MAC address has changed. */
  resolved(address: number, mac: Mac): void;
  /** Three requests in a row went unanswered. */
  unanswered(address: number): void;
  /** Packets that waited for a neighbour were dropped. */
  dropped(reason: number, count: number): void;
}

export interface ArpOptions {
  readonly arena: Arena;
  readonly mac: Mac;
  readonly own: OwnAddress;
  readonly watched: readonly number[];
  readonly log: Log;
  readonly events: ArpEvents;
  readonly nowMs: number;
}

export class Arp {
  readonly #options: ArpOptions;
  readonly #neighbors: Neighbors;
  readonly #requests: TokenBucket;
  #probesLeft = 0;
  #announcementsLeft = 0;
  #nextProbeMs = 0;
  #nextAnnouncementMs = 0;
  #defendedMs = -Infinity;

  constructor(options: ArpOptions) {
    this.#options = options;
    this.#requests = new TokenBucket(REQUESTS_PER_SECOND, REQUESTS_PER_SECOND, options.nowMs);
    this.#neighbors = new Neighbors((packets) =>
      options.events.dropped(Reason["arp-unanswered"], packets)
    );
    for (const address of options.watched) this.#neighbors.watch(address);
    this.restart(options.nowMs);
  }

  /** The link has come up: probes and announces from the next tick on; what has waited is too old. */
  restart(nowMs: number): void {
    for (const neighbor of this.#neighbors.values()) this.#neighbors.dropHeld(neighbor);
    this.#probesLeft = PROBE_COUNT;
    this.#announcementsLeft = ANNOUNCE_COUNT;
    this.#nextProbeMs = nowMs;
    this.#nextAnnouncementMs = nowMs;
  }

  /** Handles the ARP packet of a decoded frame; an answer goes out from where the request came in. */
  receive(pdu: Pdu, nowMs: number): number {
    const { arena, mac, own } = this.#options;
    const { view } = arena;
    const sender = wire.senderAddress(view, pdu.ip);
    const senderMac: Mac = { hi: wire.senderHi(view, pdu.ip), lo: wire.senderLo(view, pdu.ip) };
    const request = wire.operation(view, pdu.ip) === wire.ARP_REQUEST;
    const forUs = wire.targetAddress(view, pdu.ip) === own.address;
    if (senderMac.hi === mac.hi && senderMac.lo === mac.lo) return Reason["own-source"];
    if (isGroupMac(senderMac)) return Reason["arp-malformed"];
    if (sender === own.address) {
      this.#conflict(senderMac, nowMs);
      return 0;
    }
    if (isHost(sender, own.subnet) && inSubnet(sender, own.subnet)) {
      const neighbor = forUs ? this.#neighbors.obtain(sender) : this.#neighbors.get(sender);
      if (neighbor !== undefined) this.#learn(neighbor, senderMac, nowMs);
    }
    if (request && forUs) {
      // A probe (sender 0.0.0.0) is answered too: whoever asks learns that the address is taken.
      const target = { mac: senderMac, address: sender };
      vnet.clear(view, pdu.frame);
      wire.writeArp(view, pdu.frame, wire.ARP_REPLY, { mac, address: own.address }, target);
      return arena.send(pdu.frame, FRAME_BYTES) ? 0 : Reason["no-buffer"];
    }
    return 0;
  }

  /**
   * Sends the packet at `frame` to `nextHop`: queues it with its Ethernet header, or holds a copy of it
   * and asks for the MAC address. Returns 0 or a reason.
   */
  send(frame: number, lengthBytes: number, nextHop: number, nowMs: number): number {
    const neighbor = this.#neighbors.get(nextHop);
    if (neighbor === undefined || !neighbor.known) {
      return this.#hold(neighbor ?? this.#neighbors.obtain(nextHop), frame, lengthBytes, nowMs);
    }
    if (nowMs - neighbor.confirmedMs > FRESH_MS) this.#want(neighbor, nowMs);
    this.#address(frame, neighbor);
    return this.#options.arena.send(frame, lengthBytes) ? 0 : Reason["no-buffer"];
  }

  /** To be called some times a second. */
  tick(nowMs: number): void {
    this.#probeAndAnnounce(nowMs);
    for (const neighbor of this.#neighbors.values()) this.#tend(neighbor, nowMs);
  }

  #hold(neighbor: Neighbor, frame: number, lengthBytes: number, nowMs: number): number {
    const reason = this.#neighbors.hold(neighbor, this.#options.arena, frame, lengthBytes);
    this.#want(neighbor, nowMs);
    return reason;
  }

  /** Asks for the sake of a packet; once it has not answered three times, that is up to `tick`. */
  #want(neighbor: Neighbor, nowMs: number): void {
    if (neighbor.unanswered < MAX_UNANSWERED) this.#request(neighbor, nowMs);
  }

  #learn(neighbor: Neighbor, mac: Mac, nowMs: number): void {
    const changed = !neighbor.known || neighbor.hi !== mac.hi || neighbor.lo !== mac.lo;
    neighbor.hi = mac.hi;
    neighbor.lo = mac.lo;
    neighbor.known = true;
    neighbor.confirmedMs = nowMs;
    neighbor.unanswered = 0;
    if (changed && neighbor.watched) this.#options.events.resolved(neighbor.address, mac);
    this.#release(neighbor);
  }

  /** Sends what waited for the neighbour. */
  #release(neighbor: Neighbor): void {
    const { arena, events } = this.#options;
    for (;;) {
      const record = this.#neighbors.takeHeld(neighbor);
      if (record === undefined) return;
      const frame = arena.sendCopy(record);
      if (frame < 0) events.dropped(Reason["no-buffer"], 1);
      else this.#address(frame, neighbor);
    }
  }

  #address(frame: number, neighbor: Neighbor): void {
    const { arena: { view }, mac } = this.#options;
    ethernet.setAddresses(view, frame, neighbor.hi, neighbor.lo, mac.hi, mac.lo);
  }

  #tend(neighbor: Neighbor, nowMs: number): void {
    if (nowMs - neighbor.requestedMs < REQUEST_INTERVAL_MS) return; // an answer may still come
    const silentMs = nowMs - neighbor.confirmedMs;
    if (neighbor.unanswered >= MAX_UNANSWERED) {
      this.#giveUp(neighbor, nowMs);
    } else if (neighbor.watched) {
      if (!neighbor.known || silentMs > FRESH_MS) this.#request(neighbor, nowMs);
    } else if (neighbor.known ? silentMs > FORGET_MS : neighbor.held.length === 0) {
      this.#neighbors.remove(neighbor);
    } else if (!neighbor.known || neighbor.unanswered > 0) {
      this.#request(neighbor, nowMs);
    }
  }

  /** After three requests without an answer. */
  #giveUp(neighbor: Neighbor, nowMs: number): void {
    if (!neighbor.watched) return this.#neighbors.remove(neighbor);
    this.#neighbors.dropHeld(neighbor);
    if (neighbor.unanswered === MAX_UNANSWERED) {
      neighbor.known = false;
      neighbor.unanswered++;
      this.#options.events.unanswered(neighbor.address);
    }
    if (nowMs - neighbor.requestedMs >= RETRY_INTERVAL_MS) this.#request(neighbor, nowMs);
  }

  /** Asks, if it is not too soon: the neighbour itself while it is known, else everybody. */
  #request(neighbor: Neighbor, nowMs: number): void {
    if (nowMs - neighbor.requestedMs < REQUEST_INTERVAL_MS) return;
    if (!neighbor.watched && !this.#requests.take(nowMs)) return;
    neighbor.requestedMs = nowMs;
    neighbor.unanswered++;
    const { own } = this.#options;
    this.#ask(own.address, neighbor.address, neighbor.known ? neighbor : null);
  }

  #ask(senderAddress: number, address: number, targetMac: Mac | null): void {
    const { arena, mac } = this.#options;
    const frame = arena.scratch(FRAME_BYTES);
    if (frame < 0) return;
    wire.writeArp(
      arena.view,
      frame,
      wire.ARP_REQUEST,
      { mac, address: senderAddress },
      { mac: targetMac, address },
    );
    arena.send(frame, FRAME_BYTES);
  }

  #probeAndAnnounce(nowMs: number): void {
    const { own } = this.#options;
    if (this.#probesLeft > 0 && nowMs >= this.#nextProbeMs) {
      this.#probesLeft--;
      this.#nextProbeMs = nowMs + PROBE_INTERVAL_MS;
      this.#ask(0, own.address, null);
    }
    if (this.#announcementsLeft > 0 && nowMs >= this.#nextAnnouncementMs) {
      this.#announcementsLeft--;
      this.#nextAnnouncementMs = nowMs + ANNOUNCE_INTERVAL_MS;
      this.#announce();
    }
  }

  #announce(): void {
    const { own } = this.#options;
    this.#ask(own.address, own.address, null);
  }

  #conflict(other: Mac, nowMs: number): void {
    if (nowMs - this.#defendedMs < DEFEND_INTERVAL_MS) return;
    const { log, own } = this.#options;
    this.#defendedMs = nowMs;
    log.error(
      `${formatAddress(own.address)} is also used by ${formatMac(other)}: address conflict, ` +
        "defending ours with an announcement; one of the two must be given another address",
    );
    this.#announce();
  }
}
