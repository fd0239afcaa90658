/**
 * The proxy on one interface: a device, the addresses answered for there, ARP, and the ways from
 * there. What a packet of either family needs of it is asked with the packet's protocol; IPv6's own
 * part is in `link6.ts`.
 */
import { Arena } from "../core/arena.ts";
import type { LimitedLog } from "../core/limited_log.ts";
import type { Random } from "../core/random.ts";
import { Reason } from "../core/reason.ts";
import type { Device } from "../device/device.ts";
import type { Backends } from "../flow/backends/backends.ts";
import type { Member } from "../flow/backends/member.ts";
import { admit, admitTransit, type OwnAddress } from "../stack/admit.ts";
import { Arp, type ArpEvents } from "../stack/arp.ts";
import { BackendWatch } from "../flow/backends/arp_watch.ts";
import type { Translation } from "../flow/translate.ts";
import type { HeldPacket } from "../stack/held_packets.ts";
import type { OtherWay } from "../stack/neighbors.ts";
import { Openers } from "../stack/openers.ts";
import type { Routes } from "../stack/routes.ts";
import { type Address, isGroupMac, type Mac } from "../wire/address.ts";
import * as ethernet from "../wire/ethernet.ts";
import type { AddressDigest } from "../wire/address_digest.ts";
import { type HostAddress, isIpv6 as isIpv6Address } from "../wire/host_address.ts";
import { isIpv6, type Pdu } from "../wire/pdu.ts";
import { type Config, type LinkConfig, routesOn, sideB, subnetOn } from "./config.ts";
import { Link6, routes6On } from "./link6.ts";

export interface LinkOptions {
  /** 0, or 1 for side B's own. */
  readonly number: 0 | 1;
  readonly config: LinkConfig;
  readonly device: Device;
  readonly arena: Arena;
  /** Takes packets to other hosts, too, which may belong to connections. */
  readonly isTransit: boolean;
  /** Next hops that ARP keeps an eye on. */
  readonly watched: readonly Address[];
  /** Most other neighbours. */
  readonly maxNeighbors: number;
  readonly openers: Openers;
  readonly events: ArpEvents;
  readonly otherWay: OtherWay | null;
  readonly v6: Link6 | null;
  readonly log: LimitedLog;
  readonly nowMs: number;
}

export class Link {
  readonly number: 0 | 1;
  readonly device: Device;
  readonly arena: Arena;
  readonly mac: Mac;
  readonly own: OwnAddress;
  readonly routes: Routes;
  readonly arp: Arp;
  /** Null: without IPv6. */
  readonly v6: Link6 | null;
  readonly #openers: Openers;
  readonly isTransit: boolean;
  /** False while the device is down or gone. */
  isUp = true;
  /** The other side's, if that has an interface of its own. */
  other: Link | null = null;

  constructor(options: LinkOptions) {
    const { config, device, arena, isTransit, openers } = options;
    const { mac, address } = config;
    this.number = options.number;
    this.device = device;
    this.arena = arena;
    this.isTransit = isTransit;
    this.mac = mac;
    this.own = { address, subnet: subnetOn(config) };
    this.routes = routesOn(config);
    this.arp = new Arp({ ...options, mac, own: this.own });
    this.v6 = options.v6;
    this.#openers = openers;
  }

  /** 0 if the packet that came in here may enter the tree, else the reason to drop it. */
  admit(pdu: Pdu): number {
    const { other, own } = this;
    if (other === null) return this.isTransit ? admitTransit(pdu, own) : admit(pdu, own);
    // The proxy has each address on its own side only, and on neither another host sends from it.
    const mayPass = this.isTransit && pdu.dst !== other.own.address;
    const reason = mayPass ? admitTransit(pdu, own) : admit(pdu, own);
    if (reason !== 0) return reason;
    if (pdu.src === other.own.address) return Reason["own-source"];
    // A source to which the other side has the better route (RFC 1812 §5.3.8, RFC 3704).
    return other.routes.prefixTo(pdu.src) > this.routes.prefixTo(pdu.src)
      ? Reason["wrong-side"]
      : 0;
  }

  /**
   * The PDU that came in here has opened its connection: what that sends back may go to the station
   * that sent the frame until ARP has found the client, if the client is a host on this link.
   */
  opened({ frame, flow, protocol, src, addresses }: Pdu): void {
    const { view } = this.arena;
    const hi = ethernet.sourceHi(view, frame);
    const lo = ethernet.sourceLo(view, frame);
    const isOnLink = isIpv6(protocol)
      ? this.v6!.routes.isOnLinkHost(addresses, 0)
      : src !== this.own.address && this.routes.isOnLinkHost(src);
    const isOwn = hi === this.mac.hi && lo === this.mac.lo;
    if (isOwn || isGroupMac({ hi, lo }) || !isOnLink) {
      this.#openers.forget(flow >>> 1);
    } else {
      this.#openers.note(flow >>> 1, hi, lo);
    }
  }

  /** True if packets of that protocol's family can leave here. */
  hasFamily(protocol: number): boolean {
    return !isIpv6(protocol) || this.v6 !== null;
  }

  /** Longest packet of that protocol's family that leaves here; a router may say less for IPv6. */
  mtuFor(protocol: number): number {
    const { mtu } = this.device;
    return isIpv6(protocol) ? this.v6!.mtuOf(mtu) : mtu;
  }

  /** True for a packet to the proxy itself on this link, or to a group of it. */
  isFor(pdu: Readonly<Pdu>): boolean {
    return isIpv6(pdu.protocol) ? !this.v6!.isInTransit(pdu) : pdu.dst === this.own.address;
  }

  /** Finds the next hop to `to.dst`; false: there is no route. */
  route(protocol: number, to: Translation): boolean {
    if (isIpv6(protocol)) return this.v6!.route(to);
    to.nextHop = this.routes.nextHop(to.dst);
    return to.nextHop !== 0;
  }

  /** Sends a packet of that protocol to the next hop of `to`: see `Neighbors.send`. */
  send(
    protocol: number,
    frame: number,
    lengthBytes: number,
    to: Translation,
    nowMs: number,
    entry: number,
  ): number {
    return isIpv6(protocol)
      ? this.v6!.send(frame, lengthBytes, to, nowMs, entry)
      : this.arp.send(frame, lengthBytes, to.nextHop, nowMs, entry);
  }

  /** As `send`, for one that waits for nobody: see `Neighbors.sendNow`. */
  sendNow(
    protocol: number,
    frame: number,
    lengthBytes: number,
    to: Translation,
    entry: number,
  ): boolean {
    return isIpv6(protocol)
      ? this.v6!.sendNow(frame, lengthBytes, to, entry)
      : this.arp.sendNow(frame, lengthBytes, to.nextHop, entry);
  }

  /** The next hop of `to` owes an answer from now on. */
  expectAnswer(protocol: number, to: Translation, nowMs: number): void {
    if (isIpv6(protocol)) this.v6!.expectAnswer(to, nowMs);
    else this.arp.expectAnswer(to.nextHop, nowMs);
  }

  /** The next hop to the packet's sender has given one. */
  answered(pdu: Readonly<Pdu>): void {
    if (isIpv6(pdu.protocol)) this.v6!.answered(pdu);
    else this.arp.answered(this.routes.nextHop(pdu.src));
  }

  /** The link has come (back) up: makes the proxy's addresses known again. */
  restart(nowMs: number): void {
    this.arp.restart(nowMs);
    this.v6?.nd.restart(nowMs);
  }

  /** To be called several times a second. */
  tick(nowMs: number): void {
    this.arp.tick(nowMs);
    this.v6?.tick(nowMs);
  }
}

/**
 * The links of a run, on one device or two; ARP on side B finds out which backends answer, and is
 * to be told when there are others.
 */
export function makeLinks(
  { links, maxConn, maxNeighbors, preserveSource }: Config,
  devices: readonly Device[],
  { backends, digest, random, isDecisive, lost, dropped, undelivered, otherWay, log, nowMs }: {
    readonly backends: Backends;
    /** Of IPv6 addresses; null: there is no IPv6. */
    readonly digest: AddressDigest | null;
    readonly random: Random;
    /** Whether what ARP finds out about the way to it is the member's status. */
    readonly isDecisive: (member: Member) => boolean;
    /** It is down by that, and its connections are to be reset. */
    readonly lost: (member: Member) => void;
    /** Packets that waited for a neighbour were dropped. */
    readonly dropped: (reason: number, count: number) => void;
    /** These of IPv6 among them, on the link of that number, are to be told of. */
    readonly undelivered: (link: number, packets: readonly HeldPacket[]) => void;
    /** The kernel's way to a family's neighbours on a link; null: there is none. */
    readonly otherWay: (link: number, isIpv6: boolean) => OtherWay | null;
    readonly log: LimitedLog;
    readonly nowMs: number;
  },
): { readonly links: readonly Link[]; readonly backendsChanged: (nowMs: number) => void } {
  const arenas = Arena.share(links.length);
  const { ipv6 } = sideB(links);
  const routes = routesOn(sideB(links));
  const routes6 = ipv6 === null ? null : routes6On(ipv6, digest!);
  const watch = new BackendWatch(
    backends,
    (address) => isIpv6Address(address) ? routes6!.nextHopOf(address)! : routes.nextHop(address),
    log,
    { isDecisive, lost },
  );
  const openers = new Openers(maxConn);
  const events = {
    resolved: (address: HostAddress, mac: Mac, atMs: number) => watch.resolved(address, mac, atMs),
    unanswered: (address: HostAddress, atMs: number) => watch.unanswered(address, atMs),
    dropped,
  };
  const made = links.map((config, i) => {
    const isB = config === sideB(links);
    const hops = isB ? watch.nextHops() : [];
    const shared = {
      arena: arenas[i]!,
      mac: config.mac,
      isTransit: preserveSource && isB,
      maxNeighbors,
      openers,
      events: {
        ...events,
        undelivered: (packets: readonly HeldPacket[]) => undelivered(i, packets),
      },
      log,
      nowMs,
    };
    return new Link({
      ...shared,
      number: i === 0 ? 0 : 1,
      config,
      device: devices[i]!,
      watched: hops.filter((hop) => !isIpv6Address(hop)),
      otherWay: otherWay(i, false),
      v6: config.ipv6 === null ? null : new Link6({
        ...shared,
        device: config.net,
        config: config.ipv6,
        digest: digest!,
        random,
        watched: hops.filter(isIpv6Address),
        otherWay: otherWay(i, true),
      }),
    });
  });
  const [a, b] = made;
  if (a !== undefined && b !== undefined) {
    a.other = b;
    b.other = a;
    if (a.v6 !== null && b.v6 !== null) {
      a.v6.other = b.v6;
      b.v6.other = a.v6;
    }
  }
  const backendsChanged = (nowMs: number) => {
    const { added, removed } = watch.update();
    const { arp, v6 } = made.at(-1)!;
    for (const hop of removed) {
      if (isIpv6Address(hop)) v6!.nd.unwatch(hop);
      else arp.unwatch(hop);
    }
    for (const hop of added) {
      if (isIpv6Address(hop)) v6!.nd.watch(hop, nowMs);
      else arp.watch(hop, nowMs);
    }
  };
  return { links: made, backendsChanged };
}
