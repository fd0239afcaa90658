/**
 * The way to one backend, by either family: the address that traffic takes, the next hop, and who
 * finds that.
 */
import type { Address } from "../../wire/address.ts";
import type { AddressDigest } from "../../wire/address_digest.ts";
import { ADDRESS6_WORDS, isSameAddress6 } from "../../wire/address6.ts";
import { type HostAddress, isIpv6, wordsOf } from "../../wire/host_address.ts";
import type { OwnAddresses6 } from "../admit6.ts";
import type { Arp } from "../arp.ts";
import type { NeighborDiscovery } from "../discovery.ts";
import type { PacketAddress } from "../reply.ts";
import type { Routes } from "../routes.ts";
import type { Routes6, Way6 } from "../routes6.ts";

export interface WaysOptions {
  readonly arp: Pick<Arp, "send" | "expectAnswer" | "answered">;
  readonly routes: Pick<Routes, "nextHop">;
  /** The address from which traffic goes to the backends. */
  readonly own: Address;
  /** Null: there is no IPv6. */
  readonly v6: {
    readonly nd: Pick<NeighborDiscovery, "send" | "expectAnswer" | "answered">;
    readonly routes: Pick<Routes6, "route">;
    /** Traffic goes to the backends from the main one. */
    readonly own: OwnAddresses6;
    readonly digest: AddressDigest;
  } | null;
}

export interface Way {
  /** Both ends, as a packet has them, and as connections know them. */
  readonly own: PacketAddress;
  readonly backend: PacketAddress;
  readonly ownKey: number;
  readonly backendKey: number;
  /** What it means that the next hop is not found. */
  readonly silence: string;
  /** Finds the next hop; false: there is none now. */
  find(): boolean;
  /** Sends a frame to the next hop found. Returns 0 or a reason. */
  send(frame: number, lengthBytes: number, nowMs: number): number;
  expectAnswer(nowMs: number): void;
  answered(): void;
  /** True if a packet to `dst`, or of IPv6 between `addresses`, comes from the backend. */
  isBack(dst: number, addresses: Int32Array): boolean;
}

/** Throws a RangeError for a backend of IPv6 where there is none. */
export function wayTo(address: HostAddress, options: WaysOptions): Way {
  if (!isIpv6(address)) return wayTo4(address, options);
  if (options.v6 === null) throw new RangeError("Cannot check a backend of IPv6 without IPv6");
  return wayTo6(address, options.v6);
}

function wayTo4(backend: Address, { arp, own, routes }: WaysOptions): Way {
  let hop = 0;
  return {
    own,
    backend,
    ownKey: own,
    backendKey: backend,
    silence: "it does not answer ARP",
    find: () => (hop = routes.nextHop(backend)) !== 0,
    send: (frame, lengthBytes, nowMs) => arp.send(frame, lengthBytes, hop, nowMs, -1),
    expectAnswer: (nowMs) => arp.expectAnswer(hop, nowMs),
    answered: () => arp.answered(hop),
    isBack: (dst) => dst === own,
  };
}

const BACKEND_AT = ADDRESS6_WORDS;

function wayTo6(address: bigint, { nd, routes, own, digest }: NonNullable<WaysOptions["v6"]>): Way {
  const backend = wordsOf(address);
  const addresses = Int32Array.from([...own.main, ...backend]);
  const dst = digest.ofWords(backend, 0);
  const to: Way6 = { dst, addresses, nextHop: 0, hops: addresses, hopAt: 0 };
  return {
    own: own.main,
    backend,
    ownKey: digest.ofWords(own.main, 0),
    backendKey: to.dst,
    silence: "it does not answer Neighbor Discovery",
    find: () => own.isUsable(0) && routes.route(to),
    send: (frame, lengthBytes, nowMs) =>
      nd.send(frame, lengthBytes, to.nextHop, to.hops, to.hopAt, nowMs, -1),
    expectAnswer: (nowMs) => nd.expectAnswer(to.nextHop, to.hops, to.hopAt, nowMs),
    answered: () => nd.answered(to.nextHop, to.hops, to.hopAt),
    isBack: (_, others) =>
      isSameAddress6(others, 0, addresses, BACKEND_AT) &&
      isSameAddress6(others, ADDRESS6_WORDS, addresses, 0),
  };
}
