/**
 * The frames of backends' checks in a capture. When they were sent hangs on the moments of ticks
 * and on chance, so a replay makes none and leaves those of the capture out, both ways:
 *
 *     a check begins with a frame that only the proxy makes: a SYN without options, a ping or a
 *     datagram of the check's bytes, TTL 64, to a backend that is checked, and of no connection;
 *     what has its addresses and ports from then on, and is of no connection, is the check's
 */
import { isActive } from "../policy/language/health.ts";
import type { ActiveCheck, Health } from "../policy/language/health.ts";
import * as ethernet from "../wire/ethernet.ts";
import { addressOfWords, type HostAddress } from "../wire/host_address.ts";
import * as icmpv4 from "../wire/icmpv4.ts";
import * as icmpv6 from "../wire/icmpv6.ts";
import * as ipv4 from "../wire/ipv4.ts";
import * as ipv6 from "../wire/ipv6.ts";
import { isIcmp, isTcp, isUdp, OVER_IPV6 } from "../wire/pdu.ts";
import { quotesPacket } from "../wire/quoted.ts";
import { quotesPacket6 } from "../wire/quoted6.ts";
import * as tcp from "../wire/tcp.ts";
import * as udp from "../wire/udp.ts";

const IP = ethernet.ETHERNET_BYTES;
/** What is looked at of layer 4 of any packet: ports or an identifier. */
const LEAST_L4_BYTES = 8;

export interface CheckFramesOptions {
  /** The proxy's addresses towards the backends: traffic goes there from these. */
  readonly own: readonly HostAddress[];
  /** How backends are checked, pool by pool. */
  readonly pools: readonly {
    readonly addresses: readonly HostAddress[];
    readonly health: Health;
  }[];
  /** True if a connection has this tuple, as a frame from the backend shows it. */
  readonly isConnection: (
    protocol: number,
    src: HostAddress,
    dst: HostAddress,
    ports: number,
  ) => boolean;
}

/** A packet, as far as its headers are as those of checks. */
interface Packet {
  /** As in a Pdu. */
  readonly protocol: number;
  readonly src: HostAddress;
  readonly dst: HostAddress;
  readonly ttl: number;
  readonly l4: number;
  /** Length of layer 4, as the header says. */
  readonly bytes: number;
  /** Without options. */
  readonly isPlain: boolean;
}

export class CheckFrames {
  /** Frames that were left out. */
  count = 0;
  readonly #options: CheckFramesOptions;
  /** The checks of an address. */
  readonly #checks = new Map<HostAddress, ActiveCheck[]>();
  /** Tuples of checks. */
  readonly #begun = new Set<string>();

  constructor(options: CheckFramesOptions) {
    this.#options = options;
    for (const { addresses, health: { check } } of options.pools) {
      if (!isActive(check)) continue;
      for (const address of addresses) {
        this.#checks.set(address, [...this.#checks.get(address) ?? [], check]);
      }
    }
  }

  /** True, and counted, for a frame that belongs to a check. */
  take(frame: Uint8Array): boolean {
    if (this.#checks.size === 0) return false;
    const view = new DataView(frame.buffer, frame.byteOffset, frame.byteLength);
    const packet = frame.length < IP ? null : packetIn(view, IP, ethernet.etherType(view, 0));
    const isTaken = packet !== null && this.#belongs(view, packet, this.#begins(view, packet));
    if (isTaken) this.count++;
    return isTaken;
  }

  /** `begins`: of a check that begins with it. */
  #belongs(view: DataView, packet: Packet, begins: boolean, isQuoted = false): boolean {
    const { dst, l4, protocol, src } = packet;
    const { isConnection, own } = this.#options;
    if (isIcmp(protocol) && quotes(view, packet)) {
      const quoted = packetIn(view, l4 + icmpv4.ICMP_BYTES, etherTypeOf(protocol));
      return !isQuoted && quoted !== null && this.#belongs(view, quoted, false, true);
    }
    const isOurs = own.includes(src);
    const [backend, ourAddress] = isOurs ? [dst, src] : [src, dst];
    const [from, to] = isIcmp(protocol)
      ? [0, icmpv4.identifier(view, l4)]
      : [udp.sourcePort(view, l4), udp.destinationPort(view, l4)];
    const [port, ownPort] = isOurs && !isIcmp(protocol) ? [to, from] : [from, to];
    if (!isOurs && !own.includes(dst)) return false;
    const ports = (port << 16) | ownPort;
    if (isConnection(protocol, backend, ourAddress, ports)) return false;
    const tuple = `${protocol} ${backend} ${ports}`;
    if (begins) this.#begun.add(tuple);
    return this.#begun.has(tuple);
  }

  /** True for a frame as a check begins with. */
  #begins(view: DataView, packet: Packet): boolean {
    const { bytes, dst, isPlain, l4, src, ttl } = packet;
    const isProbable = isPlain && ttl === ipv4.DEFAULT_TTL && this.#options.own.includes(src) &&
      l4 + bytes <= view.byteLength;
    if (!isProbable) return false;
    const checks = this.#checks.get(dst) ?? [];
    return checks.some((check) => beginsWith(view, packet, check));
  }
}

/** The packet at `ip`; null if it can be none of a check. */
function packetIn(view: DataView, ip: number, etherType: number): Packet | null {
  const isOverIpv6 = etherType === ethernet.ETHERTYPE_IPV6;
  const headerBytes = isOverIpv6 ? ipv6.IPV6_BYTES : ipv4.IPV4_MIN_BYTES;
  const isKnown = isOverIpv6 || etherType === ethernet.ETHERTYPE_IPV4;
  if (!isKnown || ip + headerBytes + LEAST_L4_BYTES > view.byteLength) return null;
  if (isOverIpv6) {
    const addresses = new Int32Array(8);
    ipv6.readSource(view, ip, addresses, 0);
    ipv6.readDestination(view, ip, addresses, 4);
    return {
      protocol: ipv6.nextHeader(view, ip) | OVER_IPV6,
      src: addressOfWords(addresses, 0),
      dst: addressOfWords(addresses, 4),
      ttl: ipv6.hopLimit(view, ip),
      l4: ip + headerBytes,
      bytes: ipv6.payloadLength(view, ip),
      isPlain: true,
    };
  }
  const l4 = ip + ipv4.headerBytes(view, ip);
  if (l4 + LEAST_L4_BYTES > view.byteLength) return null;
  return {
    protocol: ipv4.protocol(view, ip),
    src: ipv4.source(view, ip),
    dst: ipv4.destination(view, ip),
    ttl: ipv4.ttl(view, ip),
    l4,
    bytes: ipv4.totalLength(view, ip) - (l4 - ip),
    isPlain: l4 === ip + headerBytes,
  };
}

function etherTypeOf(protocol: number): number {
  return (protocol & OVER_IPV6) !== 0 ? ethernet.ETHERTYPE_IPV6 : ethernet.ETHERTYPE_IPV4;
}

/** True for an error about another packet; `packet` is ICMP. */
function quotes(view: DataView, { l4, protocol }: Packet): boolean {
  const type = icmpv4.type(view, l4);
  return (protocol & OVER_IPV6) !== 0 ? quotesPacket6(type) : quotesPacket(type);
}

/** True for a packet that begins such a check. */
function beginsWith(view: DataView, packet: Packet, check: ActiveCheck): boolean {
  const { bytes, l4, protocol } = packet;
  switch (check.kind) {
    case "icmp":
      return isIcmp(protocol) && bytes === icmpv4.ICMP_BYTES && icmpv4.type(view, l4) ===
          ((protocol & OVER_IPV6) !== 0 ? icmpv6.ICMPV6_ECHO_REQUEST : icmpv4.ICMP_ECHO_REQUEST);
    case "udp":
      return isUdp(protocol) &&
        bytes === udp.UDP_BYTES + check.payload.length / 2 &&
        udp.destinationPort(view, l4) === check.port &&
        hexOf(view, l4 + udp.UDP_BYTES, bytes - udp.UDP_BYTES) === check.payload;
    default:
      return isTcp(protocol) && bytes === tcp.TCP_MIN_BYTES &&
        tcp.flags(view, l4) === tcp.SYN && (tcp.ports(view, l4) & 0xffff) === check.port;
  }
}

function hexOf(view: DataView, at: number, bytes: number): string {
  return Array.from(
    { length: bytes },
    (_, i) => view.getUint8(at + i).toString(16).padStart(2, "0"),
  ).join("");
}
