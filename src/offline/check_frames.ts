/**
 * The frames of backends' checks in a capture. When they were sent hangs on the moments of ticks
 * and on chance, so a replay makes none and leaves those of the capture out, both ways:
 *
 *     a check begins with a frame that only the proxy makes: a SYN without options, a ping or a
 *     datagram of the check's bytes, TTL 64, to a backend that is checked, and of no connection;
 *     what has its addresses and ports from then on, and is of no connection, is the check's
 */
import type { Address } from "../wire/address.ts";
import type { HostAddress } from "../wire/host_address.ts";
import { isActive } from "../policy/language/health.ts";
import type { ActiveCheck, Health } from "../policy/language/health.ts";
import * as ethernet from "../wire/ethernet.ts";
import * as icmpv4 from "../wire/icmpv4.ts";
import * as ipv4 from "../wire/ipv4.ts";
import { quotesPacket } from "../wire/quoted.ts";
import * as tcp from "../wire/tcp.ts";
import * as udp from "../wire/udp.ts";

const IP = ethernet.ETHERNET_BYTES;
/** What is looked at of any packet: its IPv4 header, and ports or an identifier. */
const LEAST_BYTES = ipv4.IPV4_MIN_BYTES + 8;

export interface CheckFramesOptions {
  /** The proxy's address towards the backends. */
  readonly own: Address;
  /** How backends are checked, pool by pool. */
  readonly pools: readonly {
    readonly addresses: readonly HostAddress[];
    readonly health: Health;
  }[];
  /** True if a connection has this tuple, as a frame from the backend shows it. */
  readonly isConnection: (protocol: number, src: Address, dst: Address, ports: number) => boolean;
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
    if (this.#checks.size === 0 || frame.length < IP + LEAST_BYTES) return false;
    const view = new DataView(frame.buffer, frame.byteOffset, frame.byteLength);
    if (ethernet.etherType(view, 0) !== ethernet.ETHERTYPE_IPV4) return false;
    const isTaken = this.#belongs(view, IP, this.#begins(view));
    if (isTaken) this.count++;
    return isTaken;
  }

  /** Of the packet at `ip`; `begins`: of a check that begins with it. */
  #belongs(view: DataView, ip: number, begins: boolean): boolean {
    const l4 = ip + ipv4.headerBytes(view, ip);
    if (l4 + 8 > view.byteLength) return false;
    const protocol = ipv4.protocol(view, ip);
    const isIcmp = protocol === ipv4.PROTOCOL_ICMP;
    if (isIcmp && quotesPacket(icmpv4.type(view, l4))) {
      const quoted = l4 + icmpv4.ICMP_BYTES;
      return ip === IP && quoted + LEAST_BYTES <= view.byteLength &&
        this.#belongs(view, quoted, false);
    }
    const isOurs = ipv4.source(view, ip) === this.#options.own;
    const backend = isOurs ? ipv4.destination(view, ip) : ipv4.source(view, ip);
    const [from, to] = isIcmp
      ? [0, icmpv4.identifier(view, l4)]
      : [udp.sourcePort(view, l4), udp.destinationPort(view, l4)];
    const [port, ownPort] = isOurs && !isIcmp ? [to, from] : [from, to];
    if (!isOurs && ipv4.destination(view, ip) !== this.#options.own) return false;
    const ports = (port << 16) | ownPort;
    if (this.#options.isConnection(protocol, backend, this.#options.own, ports)) return false;
    const tuple = `${protocol} ${backend} ${ports}`;
    if (begins) this.#begun.add(tuple);
    return this.#begun.has(tuple);
  }

  /** True for a frame as a check begins with. */
  #begins(view: DataView): boolean {
    const l4 = IP + ipv4.IPV4_MIN_BYTES;
    const bytes = ipv4.totalLength(view, IP) - ipv4.IPV4_MIN_BYTES;
    const isProbable = ipv4.headerBytes(view, IP) === ipv4.IPV4_MIN_BYTES &&
      ipv4.ttl(view, IP) === ipv4.DEFAULT_TTL && ipv4.source(view, IP) === this.#options.own &&
      l4 + bytes <= view.byteLength;
    if (!isProbable) return false;
    const checks = this.#checks.get(ipv4.destination(view, IP)) ?? [];
    return checks.some((check) => beginsWith(view, l4, bytes, check));
  }
}

/** True for layer 4 of a frame that begins such a check. */
function beginsWith(view: DataView, l4: number, bytes: number, check: ActiveCheck): boolean {
  const protocol = ipv4.protocol(view, IP);
  switch (check.kind) {
    case "icmp":
      return protocol === ipv4.PROTOCOL_ICMP && bytes === icmpv4.ICMP_BYTES &&
        icmpv4.type(view, l4) === icmpv4.ICMP_ECHO_REQUEST;
    case "udp":
      return protocol === ipv4.PROTOCOL_UDP &&
        bytes === udp.UDP_BYTES + check.payload.length / 2 &&
        udp.destinationPort(view, l4) === check.port &&
        hexOf(view, l4 + udp.UDP_BYTES, bytes - udp.UDP_BYTES) === check.payload;
    default:
      return protocol === ipv4.PROTOCOL_TCP && bytes === tcp.TCP_MIN_BYTES &&
        tcp.flags(view, l4) === tcp.SYN && (tcp.ports(view, l4) & 0xffff) === check.port;
  }
}

function hexOf(view: DataView, at: number, bytes: number): string {
  return Array.from(
    { length: bytes },
    (_, i) => view.getUint8(at + i).toString(16).padStart(2, "0"),
  ).join("");
}
