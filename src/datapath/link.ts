/**
 * The proxy on one interface: a device, the address answered for there, ARP, and the ways from
 * there.
 */
import { Arena } from "../core/arena.ts";
import type { LimitedLog } from "../core/limited_log.ts";
import { Reason } from "../core/reason.ts";
import type { Device } from "../device/device.ts";
import type { Backends } from "../flow/backends/backends.ts";
import type { Member } from "../flow/backends/member.ts";
import { admit, admitTransit, type OwnAddress } from "../stack/admit.ts";
import { Arp, type ArpEvents } from "../stack/arp.ts";
import { BackendWatch } from "../flow/backends/arp_watch.ts";
import type { OtherWay } from "../stack/neighbors.ts";
import { Openers } from "../stack/openers.ts";
import type { Routes } from "../stack/routes.ts";
import { type Address, isGroupMac, type Mac } from "../wire/address.ts";
import * as ethernet from "../wire/ethernet.ts";
import type { Pdu } from "../wire/pdu.ts";
import { type Config, type LinkConfig, routesOn, sideB, subnetOn } from "./config.ts";

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
  opened({ frame, flow, src }: Pdu): void {
    const { view } = this.arena;
    const hi = ethernet.sourceHi(view, frame);
    const lo = ethernet.sourceLo(view, frame);
    const isOwn = (hi === this.mac.hi && lo === this.mac.lo) || src === this.own.address;
    if (isOwn || isGroupMac({ hi, lo }) || !this.routes.isOnLinkHost(src)) {
      this.#openers.forget(flow >>> 1);
    } else {
      this.#openers.note(flow >>> 1, hi, lo);
    }
  }
}

/**
 * The links of a run, on one device or two; ARP on side B finds out which backends answer, and is
 * to be told when there are others.
 */
export function makeLinks(
  { links, maxConn, maxNeighbors, preserveSource }: Config,
  devices: readonly Device[],
  { backends, isDecisive, lost, dropped, otherWay, log, nowMs }: {
    readonly backends: Backends;
    /** Whether what ARP finds out about the way to it is the member's status. */
    readonly isDecisive: (member: Member) => boolean;
    /** It is down by that, and its connections are to be reset. */
    readonly lost: (member: Member) => void;
    /** Packets that waited for ARP were dropped. */
    readonly dropped: (reason: number, count: number) => void;
    /** The kernel's way to the neighbours on a link; null: there is none. */
    readonly otherWay: (link: number) => OtherWay | null;
    readonly log: LimitedLog;
    readonly nowMs: number;
  },
): { readonly links: readonly Link[]; readonly backendsChanged: (nowMs: number) => void } {
  const arenas = Arena.share(links.length);
  const routes = routesOn(sideB(links));
  const watch = new BackendWatch(
    backends,
    (address) => routes.nextHop(address),
    log,
    { isDecisive, lost },
  );
  const openers = new Openers(maxConn);
  const events: ArpEvents = {
    resolved: (address, mac, atMs) => watch.resolved(address, mac, atMs),
    unanswered: (address, atMs) => watch.unanswered(address, atMs),
    dropped,
  };
  const made = links.map((config, i) => {
    const isB = config === sideB(links);
    return new Link({
      number: i === 0 ? 0 : 1,
      config,
      device: devices[i]!,
      arena: arenas[i]!,
      isTransit: preserveSource && isB,
      watched: isB ? watch.nextHops() : [],
      maxNeighbors,
      openers,
      events,
      otherWay: otherWay(i),
      log,
      nowMs,
    });
  });
  const [a, b] = made;
  if (a !== undefined && b !== undefined) {
    a.other = b;
    b.other = a;
  }
  const backendsChanged = (nowMs: number) => {
    const { added, removed } = watch.update();
    const { arp } = made.at(-1)!;
    for (const hop of removed) arp.unwatch(hop);
    for (const hop of added) arp.watch(hop, nowMs);
  };
  return { links: made, backendsChanged };
}
