/**
 * Recognizes offloaded work in a capture made on the sender's machine: checksum fields that hold
 * only the sum of the pseudo-header, and TCP segments longer than the MTU. A capture file has no
 * virtio_net_hdr (see `wire/vnet.ts`), so this is guessed from the bytes.
 */
import { VNET_BYTES } from "../../core/arena.ts";
import {
  complement,
  CORRECT,
  pseudoHeaderSum,
  pseudoHeaderSum6,
  sumBytes,
} from "../../wire/checksum.ts";
import * as ethernet from "../../wire/ethernet.ts";
import * as ipv4 from "../../wire/ipv4.ts";
import * as ipv6 from "../../wire/ipv6.ts";
import * as tcp from "../../wire/tcp.ts";
import * as udp from "../../wire/udp.ts";
import { GSO_TCPV4, GSO_TCPV6, leaveChecksum, leaveSegments } from "../../wire/vnet.ts";

/** Where a packet that is no fragment has its transport header, as offsets in the frame. */
interface Transport {
  readonly protocol: number;
  readonly l4: number;
  readonly end: number;
}

/** A TCP or UDP segment in a frame. */
interface Segment {
  readonly isTcp: boolean;
  /** Offset in the frame. */
  readonly l4: number;
  readonly lengthBytes: number;
  readonly pseudoSum: number;
  readonly checksum: number;
}

/** Guesses which frames of one capture have a partial checksum. */
export class OffloadGuess {
  readonly #mtuBytes: number;
  readonly #pathMtuBytes: number;

  /** Whether the last unambiguous frame had a partial checksum, by source MAC address. */
  readonly #habits = new Map<number, boolean>();

  /**
   * `mtuBytes` is the MTU of the link: a longer TCP segment was to be split; so that it passes the
   * whole way, whose MTU is `pathMtuBytes`, as its connection's MSS has it.
   */
  constructor(mtuBytes: number, pathMtuBytes: number = mtuBytes) {
    this.#mtuBytes = mtuBytes;
    this.#pathMtuBytes = pathMtuBytes;
  }

  /**
   * The frame's vnet header if its checksum is partial, else null. A field that is both the bare
   * sum and a correct checksum (one in 65,536) counts as its sender's last unambiguous frame.
   */
  vnetOf(frame: Uint8Array): Uint8Array<ArrayBuffer> | null {
    const view = viewOf(frame);
    const segment = segmentOf(view);
    if (segment === null) return null;
    const { isTcp, l4, lengthBytes, pseudoSum, checksum } = segment;
    const sender = ethernet.sourceHi(view, 0) * 2 ** 32 + (ethernet.sourceLo(view, 0) >>> 0);
    const bare = checksum === pseudoSum;
    const right = sumBytes(view, l4, lengthBytes, pseudoSum) === CORRECT;
    if (!bare || (right && this.#habits.get(sender) === false)) {
      if (right) this.#habits.set(sender, false);
      return null;
    }
    if (!right) this.#habits.set(sender, true);
    const vnet = new DataView(new ArrayBuffer(VNET_BYTES));
    const at = VNET_BYTES; // offset of the frame, after its header
    leaveChecksum(vnet, at, at + l4, isTcp ? ipv4.PROTOCOL_TCP : ipv4.PROTOCOL_UDP);
    const ip = ethernet.ETHERNET_BYTES;
    if (isTcp && l4 + lengthBytes - ip > this.#mtuBytes) {
      const payload = l4 + tcp.headerBytes(view, l4);
      const type = isIpv6(view) ? GSO_TCPV6 : GSO_TCPV4;
      leaveSegments(vnet, at, at + payload, this.#pathMtuBytes - (payload - ip), type);
    }
    return new Uint8Array(vnet.buffer);
  }
}

/** Completes the frame's checksum in place, as a network interface does. */
export function completeChecksum(frame: Uint8Array): void {
  const view = viewOf(frame);
  const segment = segmentOf(view);
  if (segment === null) return;
  const { isTcp, l4, lengthBytes } = segment;
  // The field holds the pseudo-header's sum and is summed with the rest.
  const checksum = complement(sumBytes(view, l4, lengthBytes, 0));
  if (isTcp) tcp.setChecksum(view, l4, checksum);
  else udp.setChecksum(view, l4, checksum);
}

function viewOf(frame: Uint8Array): DataView {
  return new DataView(frame.buffer, frame.byteOffset, frame.byteLength);
}

function isIpv6(view: DataView): boolean {
  return ethernet.etherType(view, 0) === ethernet.ETHERTYPE_IPV6;
}

/** The frame's whole, unfragmented TCP or UDP segment, or null. */
function segmentOf(view: DataView): Segment | null {
  if (view.byteLength < ethernet.ETHERNET_BYTES) return null;
  const transport = isIpv6(view) ? transportOf6(view) : transportOf(view);
  if (transport === null) return null;
  const { protocol, l4, end } = transport;
  const isTcp = protocol === ipv4.PROTOCOL_TCP;
  if (end > view.byteLength || (!isTcp && protocol !== ipv4.PROTOCOL_UDP)) return null;
  if (end - l4 < (isTcp ? tcp.TCP_MIN_BYTES : udp.UDP_BYTES)) return null;
  const lengthBytes = isTcp ? end - l4 : udp.length(view, l4);
  if (lengthBytes > end - l4 || lengthBytes < udp.UDP_BYTES) return null;
  const ip = ethernet.ETHERNET_BYTES;
  return {
    isTcp,
    l4,
    lengthBytes,
    pseudoSum: isIpv6(view)
      ? pseudoHeaderSum6(view, ip + ipv6.SOURCE, protocol, lengthBytes)
      : pseudoHeaderSum(ipv4.source(view, ip), ipv4.destination(view, ip), protocol, lengthBytes),
    checksum: isTcp ? tcp.checksum(view, l4) : udp.checksum(view, l4),
  };
}

function transportOf(view: DataView): Transport | null {
  const ip = ethernet.ETHERNET_BYTES;
  if (view.byteLength < ip + ipv4.IPV4_MIN_BYTES) return null;
  if (ethernet.etherType(view, 0) !== ethernet.ETHERTYPE_IPV4) return null;
  const parts = ipv4.flagsAndOffset(view, ip) & (ipv4.MORE_FRAGMENTS | ipv4.FRAGMENT_OFFSET);
  if (ipv4.version(view, ip) !== 4 || parts !== 0) return null;
  return {
    protocol: ipv4.protocol(view, ip),
    l4: ip + ipv4.headerBytes(view, ip),
    end: ip + ipv4.totalLength(view, ip),
  };
}

/** Of a packet of IPv6 without extension headers: what has some is left as it is. */
function transportOf6(view: DataView): Transport | null {
  const ip = ethernet.ETHERNET_BYTES;
  const l4 = ip + ipv6.IPV6_BYTES;
  if (view.byteLength < l4 || ipv6.version(view, ip) !== 6) return null;
  return { protocol: ipv6.nextHeader(view, ip), l4, end: l4 + ipv6.payloadLength(view, ip) };
}
