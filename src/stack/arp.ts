/**
 * ARP (RFC 826) with the duties of a host (RFC 1122 §2.3.2) and address conflict detection (RFC
 * 5227).
 *
 *     receive   answers requests for the proxy's address, learns from every packet for it
 *     send      writes the Ethernet header of an outgoing packet, or holds the packet and asks
 *     tick      repeats requests, polls watched neighbours, probes and announces the own address
 *
 * The messages are here; the neighbour cache and its timers are in `neighbors.ts`.
 *
 * The proxy uses its address from the start, and probes for conflicts meanwhile: its service must
 * not wait. On a conflict it defends its address with one announcement (RFC 5227 §2.4(b)); on
 * another within ten seconds it keeps the address (§2.4(c)).
 */
import type { Arena } from "../core/arena.ts";
import type { LimitedLog } from "../core/limited_log.ts";
import { Reason } from "../core/reason.ts";
import {
  type Address,
  formatAddress,
  formatMac,
  inSubnet,
  isGroupMac,
  type Mac,
} from "../wire/address.ts";
import * as wire from "../wire/arp.ts";
import * as ethernet from "../wire/ethernet.ts";
import type { Pdu } from "../wire/pdu.ts";
import * as vnet from "../wire/vnet.ts";
import { isHost, type OwnAddress } from "./admit.ts";
import { Neighbors, type NeighborsOptions, type OtherWay } from "./neighbors.ts";
import type { Openers } from "./openers.ts";

/** RFC 5227 §1.1. */
const PROBE_COUNT = 3;
const PROBE_INTERVAL_MS = 1000;
const ANNOUNCE_COUNT = 2;
const ANNOUNCE_INTERVAL_MS = 2000;
const DEFEND_INTERVAL_MS = 10_000;

const FRAME_BYTES = ethernet.ETHERNET_BYTES + wire.ARP_BYTES;

/** Events about watched neighbours. */
export type ArpEvents = Pick<NeighborsOptions, "resolved" | "unanswered" | "dropped">;

export interface ArpOptions {
  readonly arena: Arena;
  readonly mac: Mac;
  readonly own: OwnAddress;
  readonly watched: readonly Address[];
  /** Most neighbours that are not watched. */
  readonly maxNeighbors: number;
  readonly openers: Openers;
  readonly log: LimitedLog;
  readonly events: ArpEvents;
  readonly otherWay?: OtherWay | null;
  readonly nowMs: number;
}

export class Arp {
  readonly #options: ArpOptions;
  readonly neighbors: Neighbors;
  #probesLeft = 0;
  #announcementsLeft = 0;
  #nextProbeMs = 0;
  #nextAnnouncementMs = 0;
  #defendedMs = -Infinity;
  /** A double from the start, as all counts. */
  readonly #sent = new Float64Array(1);

  constructor(options: ArpOptions) {
    this.#options = options;
    this.neighbors = new Neighbors({
      ...options,
      ...options.events,
      ask: (address, mac) => this.#ask(options.own.address, address, mac),
    });
    this.restart(options.nowMs);
  }

  /** ARP frames that were queued for sending. */
  get sent(): number {
    return this.#sent[0]!;
  }

  /** Counts those of earlier runs, too. */
  addSent(frames: number): void {
    this.#sent[0]! += frames;
  }

  /**
   * The link has come up: drops held packets, which are too old, and probes and announces from the
   * next tick on.
   */
  restart(nowMs: number): void {
    this.neighbors.dropHeld();
    this.#probesLeft = PROBE_COUNT;
    this.#announcementsLeft = ANNOUNCE_COUNT;
    this.#nextProbeMs = nowMs;
    this.#nextAnnouncementMs = nowMs;
  }

  /**
   * Handles the ARP packet of a decoded frame; a reply is built in place of the request. Returns 0
   * or a reason.
   */
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
      this.neighbors.learn(sender, senderMac, nowMs, forUs);
    }
    if (request && forUs) {
      // A probe (sender 0.0.0.0) is answered too: its sender learns that the address is in use.
      const target = { mac: senderMac, address: sender };
      vnet.clear(view, pdu.frame);
      wire.writeArp(view, pdu.frame, wire.ARP_REPLY, { mac, address: own.address }, target);
      return this.#send(pdu.frame) ? 0 : Reason["no-buffer"];
    }
    return 0;
  }

  /** See `Neighbors.send`. */
  send(frame: number, lengthBytes: number, nextHop: Address, nowMs: number, entry: number): number {
    return this.neighbors.send(frame, lengthBytes, nextHop, nowMs, entry);
  }

  /** See `Neighbors.sendNow`. */
  sendNow(frame: number, lengthBytes: number, nextHop: Address, entry: number): boolean {
    return this.neighbors.sendNow(frame, lengthBytes, nextHop, entry);
  }

  /** See `Neighbors.watch`. */
  watch(nextHop: Address, nowMs: number): void {
    this.neighbors.watch(nextHop, nowMs);
  }

  /** See `Neighbors.unwatch`. */
  unwatch(nextHop: Address): void {
    this.neighbors.unwatch(nextHop);
  }

  /** See `Neighbors.expectAnswer`. */
  expectAnswer(nextHop: Address, nowMs: number): void {
    this.neighbors.expectAnswer(nextHop, nowMs);
  }

  /** See `Neighbors.answered`. */
  answered(nextHop: Address): void {
    this.neighbors.answered(nextHop);
  }

  /** Takes a neighbour of an earlier run, if it can be one: see `Neighbors.resume`. */
  resume(address: Address, mac: Mac, confirmedMs: number, nowMs: number): boolean {
    const { mac: ownMac, own } = this.#options;
    const isOwn = (mac.hi === ownMac.hi && mac.lo === ownMac.lo) || address === own.address;
    const canBe = isHost(address, own.subnet) && inSubnet(address, own.subnet) && !isOwn &&
      !isGroupMac(mac) && (mac.hi !== 0 || mac.lo !== 0);
    return canBe && this.neighbors.resume(address, mac, confirmedMs, nowMs);
  }

  /** To be called several times a second. */
  tick(nowMs: number): void {
    this.#probeAndAnnounce(nowMs);
    this.neighbors.tick(nowMs);
  }

  /** Sends a request for an address, to `targetMac` or to all stations; false: no buffer space. */
  #ask(senderAddress: Address, address: Address, targetMac: Mac | null): boolean {
    const { arena, mac } = this.#options;
    if (!arena.hasRoom(1, FRAME_BYTES)) return false;
    const frame = arena.scratch(FRAME_BYTES);
    const sender = { mac, address: senderAddress };
    wire.writeArp(arena.view, frame, wire.ARP_REQUEST, sender, { mac: targetMac, address });
    return this.#send(frame);
  }

  #send(frame: number): boolean {
    const isQueued = this.#options.arena.send(frame, FRAME_BYTES);
    if (isQueued) this.#sent[0]!++;
    return isQueued;
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
    const address = formatAddress(own.address);
    const mac = formatMac(other);
    log.write(
      "error",
      "own-conflict",
      1,
      nowMs,
      () =>
        `${address} is also used by ${mac}: address conflict, defending ours with an ` +
        "announcement; one of the two must be given another address",
      () => ({ address, mac }),
    );
    this.#announce();
  }
}
