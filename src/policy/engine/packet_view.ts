/**
 * A PDU as a user's function sees it. One view serves all packets, so a call allocates nothing; a
 * policy without such a function has no view.
 */
import { PROTOCOL_ICMP, PROTOCOL_TCP, PROTOCOL_UDP } from "../../wire/ipv4.ts";
import { addressOfWords, type HostAddress } from "../../wire/host_address.ts";
import { FROM_B, isStray, OVER_IPV6, Pdu, STATE_ESTABLISHED, STATE_NEW } from "../../wire/pdu.ts";
import type { Packet } from "../language/packet.ts";
import { familyOf, protocolIn } from "./family.ts";

export class PacketView implements Packet {
  #pdu: Readonly<Pdu> = new Pdu();

  constructor() {
    Object.freeze(this); // nothing can be left on it for the next packet
  }

  /** Lets the view show this PDU. Not a method: users hold the view. */
  static show(view: PacketView, pdu: Readonly<Pdu>): void {
    view.#pdu = pdu;
  }

  get isIpv6(): boolean {
    return familyOf(this.#pdu) === 6;
  }

  get src(): HostAddress {
    return this.isIpv6 ? addressOfWords(this.#pdu.addresses, 0) : this.#pdu.src;
  }

  get dst(): HostAddress {
    return this.isIpv6 ? addressOfWords(this.#pdu.addresses, 4) : this.#pdu.dst;
  }

  get protocol(): number {
    return this.#pdu.protocol & ~OVER_IPV6;
  }

  get ttl(): number {
    return this.#pdu.ttl;
  }

  get length(): number {
    return this.#pdu.totalLength;
  }

  get isFragment(): boolean {
    return this.#pdu.fragment !== 0;
  }

  // A PDU keeps fields of other protocols from earlier packets, and has ICMP identifiers as ports.

  get srcPort(): number {
    return this.#hasPorts() ? this.#pdu.srcPort : 0;
  }

  get dstPort(): number {
    return this.#hasPorts() ? this.#pdu.dstPort : 0;
  }

  get tcpFlags(): number {
    return this.#is(PROTOCOL_TCP) ? this.#pdu.tcpFlags : 0;
  }

  get icmpType(): number {
    return this.#is(PROTOCOL_ICMP) ? this.#pdu.icmpType : -1;
  }

  get icmpCode(): number {
    return this.#is(PROTOCOL_ICMP) ? this.#pdu.icmpCode : -1;
  }

  get state(): Packet["state"] {
    const { state } = this.#pdu;
    return state === STATE_NEW ? "new" : state === STATE_ESTABLISHED ? "established" : "invalid";
  }

  get isStray(): boolean {
    return isStray(this.#pdu);
  }

  get side(): Packet["side"] {
    return this.#pdu.side === FROM_B ? "b" : "a";
  }

  #hasPorts(): boolean {
    return this.#is(PROTOCOL_TCP) || this.#is(PROTOCOL_UDP);
  }

  /** The protocol of that number, in the PDU's own family. */
  #is(number: number): boolean {
    return this.#pdu.protocol === protocolIn(familyOf(this.#pdu), number);
  }
}
