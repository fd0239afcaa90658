/** IPv6 on one interface: the proxy's addresses, Neighbor Discovery, and the ways from there. */
import type { Random } from "../core/random.ts";
import { Reason } from "../core/reason.ts";
import { NEW_SOURCE, type NextHops6, Translation } from "../flow/translate.ts";
import { admit6, admitTransit6, OwnAddresses6 } from "../stack/admit6.ts";
import { NeighborDiscovery, type NeighborDiscoveryOptions } from "../stack/discovery.ts";
import type { OwnState } from "../stack/own_state.ts";
import { Routes6 } from "../stack/routes6.ts";
import {
  ADDRESS6_WORDS,
  GROUP_MAC_HI,
  isMulticast6,
  isSameAddress6,
  linkLocalOf,
  type Subnet6,
  subnetOf6,
} from "../wire/address6.ts";
import { AddressDigest } from "../wire/address_digest.ts";
import type { Groups } from "../wire/ethernet.ts";
import { addressOfWords, wordsOf } from "../wire/host_address.ts";
import { MIN_MTU6_BYTES } from "../wire/ipv6.ts";
import type { Pdu } from "../wire/pdu.ts";
import type { Ipv6Config, LinkConfig } from "./config.ts";
import type { Link } from "./link.ts";

/** Places in `Pdu.addresses` and `Translation.addresses`. */
const SOURCE_AT = 0;
const DESTINATION_AT = ADDRESS6_WORDS;

export interface Link6Options
  extends
    Omit<NeighborDiscoveryOptions, "own" | "onLink" | "acceptRa" | "hasDefault" | "isRouter"> {
  readonly config: Ipv6Config;
  readonly digest: AddressDigest;
  /** Takes packets to other hosts, too, which may belong to connections. */
  readonly isTransit: boolean;
}

export class Link6 implements NextHops6, Groups {
  /** The proxy's addresses here, the link-local one last. */
  readonly addresses: readonly bigint[];
  readonly own: OwnAddresses6;
  readonly routes: Routes6;
  readonly nd: NeighborDiscovery;
  /** The other side's, if that has an interface of its own and IPv6. */
  other: Link6 | null = null;
  /** Digests of the proxy's addresses here: see `digestFor`. */
  readonly #keys: Int32Array;
  readonly #isTransit: boolean;
  /** A packet's way back. */
  readonly #back = new Translation();

  constructor(options: Link6Options) {
    const { config, digest, isTransit, mac } = options;
    this.#isTransit = isTransit;
    const linkLocal = linkLocalOf(mac);
    const given = config.addresses.map(({ address }) => address);
    this.addresses = [...given, addressOfWords(linkLocal)];
    this.own = new OwnAddresses6(mac, given.map(wordsOf), linkLocal);
    this.#keys = Int32Array.from(
      { length: this.own.count },
      (_, i) => digest.ofWords(this.own.words, ADDRESS6_WORDS * i),
    );
    this.routes = routes6On(config, digest);
    this.nd = new NeighborDiscovery({
      ...options,
      own: this.own,
      onLink: subnetsOn(config),
      acceptRa: config.acceptRa,
      hasDefault: config.routes.some(({ to }) => to.prefixLength === 0),
      isRouter: isTransit,
    });
  }

  /** Each of the proxy's addresses here, and whether it is used. */
  ownStates(): readonly { readonly address: bigint; readonly state: OwnState }[] {
    return this.addresses.map((address, i) => ({ address, state: this.nd.ownState(i) }));
  }

  hears(hi: number, lo: number): boolean {
    return hi === GROUP_MAC_HI && this.nd.listensTo(lo);
  }

  /** True if that is the digest of one of the proxy's addresses here. */
  hasKey(key: number): boolean {
    const keys = this.#keys;
    for (let i = 0; i < keys.length; i++) if (keys[i] === key) return true;
    return false;
  }

  /** 0 if the packet that came in here may enter the tree, else the reason to drop it. */
  admit(pdu: Pdu): number {
    const { other, own, routes } = this;
    const { addresses } = pdu;
    // The proxy has each address on its own side only, and on neither another host sends from it.
    const mayPass = this.#isTransit &&
      (other === null || !other.own.has(addresses, DESTINATION_AT));
    const reason = mayPass ? admitTransit6(pdu, own) : admit6(pdu, own);
    if (reason !== 0 || other === null) return reason;
    if (other.own.has(addresses, SOURCE_AT)) return Reason["own-source"];
    // As `Link.admit` has it.
    return other.routes.prefixTo(addresses, SOURCE_AT) > routes.prefixTo(addresses, SOURCE_AT)
      ? Reason["wrong-side"]
      : 0;
  }

  /** True for an admitted packet to another host. */
  isInTransit({ addresses }: Readonly<Pdu>): boolean {
    return this.#isTransit && !this.own.has(addresses, DESTINATION_AT) &&
      !isMulticast6(addresses[DESTINATION_AT]!);
  }

  route(to: Translation): boolean {
    return this.routes.route(to);
  }

  /** False if the source in `to` is an address of the proxy here that must not be used now. */
  maySend({ addresses }: Translation): boolean {
    const { own } = this;
    if (own.areAllUsable) return true;
    const index = own.indexOf(addresses, NEW_SOURCE);
    return index < 0 || own.isUsable(index);
  }

  /** See `Neighbors.send`: to the next hop of `to`. */
  send(frame: number, bytes: number, to: Translation, nowMs: number, entry: number): number {
    return this.nd.send(frame, bytes, to.nextHop, to.hops, to.hopAt, nowMs, entry);
  }

  /** Number of the next hop of `to`, if it is known where that is; else -1. */
  numberOfNextHop({ nextHop, hops, hopAt }: Translation): number {
    return this.nd.neighbors.numberOf(nextHop, hops, hopAt);
  }

  /** See `Neighbors.sendNow`. */
  sendNow(frame: number, bytes: number, to: Translation, entry: number): boolean {
    return this.nd.sendNow(frame, bytes, to.nextHop, to.hops, to.hopAt, entry);
  }

  /** See `Neighbors.expectAnswer`. */
  expectAnswer({ nextHop, hops, hopAt }: Translation, nowMs: number): void {
    this.nd.expectAnswer(nextHop, hops, hopAt, nowMs);
  }

  /** Longest packet, where the device takes `deviceMtu` bytes: 1,280 at least (RFC 8200 §5). */
  mtuOf(deviceMtu: number): number {
    const { mtu } = this.nd;
    return Math.max(MIN_MTU6_BYTES, mtu === 0 ? deviceMtu : Math.min(mtu, deviceMtu));
  }

  /** The next hop to the packet's sender has answered. */
  answered({ src, addresses }: Readonly<Pdu>): void {
    const back = this.#back;
    back.dst = src;
    for (let i = 0; i < ADDRESS6_WORDS; i++) back.addresses[DESTINATION_AT + i] = addresses[i]!;
    if (this.routes.route(back)) this.nd.answered(back.nextHop, back.hops, back.hopAt);
  }

  /** To be called several times a second. */
  tick(nowMs: number): void {
    this.nd.tick(nowMs);
    const { learned } = this.routes;
    const router = this.nd.router(nowMs);
    const isLeft = learned !== null && (router === null || !isSameAddress6(router, 0, learned, 0));
    if (isLeft) this.nd.endWays(learned);
    this.routes.setDefault(router);
  }
}

/**
 * A digest under which the proxy's own addresses differ on all links: of one of them it tells which
 * it is. Null: there is no IPv6.
 */
export function digestFor(links: readonly LinkConfig[], random: Random): AddressDigest | null {
  const own = links.flatMap(({ ipv6, mac }) =>
    ipv6 === null
      ? []
      : [addressOfWords(linkLocalOf(mac)), ...ipv6.addresses.map(({ address }) => address)]
  );
  if (own.length === 0) return null;
  const all = [...new Set(own)].map(wordsOf);
  for (;;) {
    const digest = new AddressDigest(random);
    if (new Set(all.map((words) => digest.ofWords(words, 0))).size === all.length) return digest;
  }
}

/**
 * The proxy's addresses on all links, four words each; the one that forwarded packets leave with is
 * first.
 */
export function ownAddresses6(links: readonly Link[]): Int32Array {
  return Int32Array.from(links.toReversed().flatMap(({ v6 }) => [...v6?.own.words ?? []]));
}

/** The ways from there. */
export function routes6On(config: Ipv6Config, digest: AddressDigest): Routes6 {
  const routes = config.routes.map(({ to, nextHop }) => ({
    to: { network: wordsOf(to.network as bigint), prefixLength: to.prefixLength },
    nextHop: wordsOf(nextHop),
  }));
  return new Routes6(digest, subnetsOn(config), routes);
}

function subnetsOn({ addresses }: Ipv6Config): readonly Subnet6[] {
  return addresses.map(({ address, prefixLength }) => subnetOf6(wordsOf(address), prefixLength));
}
