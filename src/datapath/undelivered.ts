/**
 * Packets that waited for a neighbour which did not answer: an address unreachable goes to whoever
 * sent each of them (RFC 4861 §7.2.2). They wait as they were to leave, so the message is made as a
 * router behind the proxy would send it, and takes the way of such a one: what it quotes becomes
 * the sender's own packet again.
 */
import { VNET_BYTES } from "../core/arena.ts";
import type { RelatedErrors } from "../flow/icmp_error.ts";
import type { HeldPacket } from "../stack/held_packets.ts";
import { readAddress6 } from "../wire/address6.ts";
import type { AddressDigest } from "../wire/address_digest.ts";
import { decodeIpv6, decodeTransport6 } from "../wire/decode6.ts";
import { ETHERNET_BYTES, ETHERTYPE_IPV6, setEtherType } from "../wire/ethernet.ts";
import { Chain } from "../wire/extension_headers.ts";
import * as icmpv6 from "../wire/icmpv6.ts";
import * as ipv6 from "../wire/ipv6.ts";
import { Pdu } from "../wire/pdu.ts";
import type { Dispatch } from "./dispatch.ts";
import type { Link } from "./link.ts";

const HEADER_BYTES = ipv6.IPV6_BYTES + icmpv6.ICMPV6_BYTES;
/** An error is no longer than what every link takes (RFC 4443 §2.4 (c)). */
const MOST_QUOTED_BYTES = ipv6.MIN_MTU6_BYTES - HEADER_BYTES;

export interface UndeliveredOptions {
  readonly digest: AddressDigest;
  readonly related: RelatedErrors;
  readonly dispatch: Dispatch;
}

export class Undelivered {
  readonly #options: UndeliveredOptions;
  readonly #pdu = new Pdu();
  readonly #chain = new Chain();
  readonly #sender = new Int32Array(4);

  constructor(options: UndeliveredOptions) {
    this.#options = options;
  }

  /** Tells the senders of packets that were to leave by `link`; the proxy's own have none. */
  tell(link: Link, packets: readonly HeldPacket[], nowMs: number): void {
    const { related, dispatch } = this.#options;
    for (const packet of packets) {
      if (!this.#make(link, packet)) continue;
      const reference = related.find(link.arena.view, this.#pdu);
      if (reference >= 0) dispatch.relay(this.#pdu, reference, nowMs);
    }
  }

  /** Makes the message about it; false: there is no room for one of that length. */
  #make({ arena, other, v6 }: Link, packet: HeldPacket): boolean {
    const quoted = packet.subarray(VNET_BYTES + ETHERNET_BYTES);
    const quotedBytes = Math.min(quoted.length, MOST_QUOTED_BYTES);
    const frame = arena.scratch(ETHERNET_BYTES + HEADER_BYTES + quotedBytes);
    if (frame < 0) return false;
    const { bytes, view } = arena;
    setEtherType(view, frame, ETHERTYPE_IPV6);
    const ip = frame + ETHERNET_BYTES;
    const icmp = ip + ipv6.IPV6_BYTES;
    bytes.set(quoted.subarray(0, quotedBytes), ip + HEADER_BYTES);
    readAddress6(view, ip + HEADER_BYTES + ipv6.SOURCE, this.#sender, 0);
    ipv6.writeHeader(view, ip, {
      trafficClass: 0,
      flowLabel: 0,
      payloadLength: icmpv6.ICMPV6_BYTES + quotedBytes,
      nextHeader: ipv6.PROTOCOL_ICMPV6,
      hopLimit: ipv6.DEFAULT_HOP_LIMIT + 1,
      src: (other?.v6 ?? v6!).own.main,
      dst: this.#sender,
    });
    const code = icmpv6.CODE_ADDRESS_UNREACHABLE;
    icmpv6.writeHeader(view, icmp, icmpv6.ICMPV6_UNREACHABLE, code, 0);
    icmpv6.writeChecksum(view, ip, icmp, ip + HEADER_BYTES + quotedBytes);
    const pdu = this.#pdu;
    pdu.frame = frame;
    pdu.frameBytes = ETHERNET_BYTES + HEADER_BYTES + quotedBytes;
    pdu.ip = ip;
    pdu.etherType = ETHERTYPE_IPV6;
    return decodeIpv6(view, pdu, this.#options.digest, this.#chain) === 0 &&
      decodeTransport6(view, pdu) === 0;
  }
}
