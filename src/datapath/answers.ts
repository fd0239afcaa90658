/** What the proxy itself says to the sender of a PDU, by the link on which the PDU came. */
import type { Random } from "../core/random.ts";
import { Reason } from "../core/reason.ts";
import { TokenBucket } from "../core/token_bucket.ts";
import { placeStart } from "../stack/datagram.ts";
import { type Fragmenter, leavesWhole } from "../stack/fragmentation.ts";
import { IcmpErrors, makeEchoReply } from "../stack/icmp.ts";
import { makeEchoReply6 } from "../stack/icmp6.ts";
import { sendReset } from "../stack/reset.ts";
import type { Chain } from "../wire/extension_headers.ts";
import { isIpv6, isTcp, isUdp, type Pdu } from "../wire/pdu.ts";
import { type Complaint, NO_PORT, NOT_WHOLE, PROHIBITED } from "./complaint.ts";
import type { Link } from "./link.ts";

/**
 * Answers to those for whom there is no port or no room: in a flood, each costs as much as
 * forwarding.
 */
const REFUSALS_PER_SECOND = 1000;
const REFUSALS_AT_ONCE = 100;

export class Answers {
  readonly #random: Random;
  readonly #fragmenter: Fragmenter;
  readonly #errors: IcmpErrors;
  readonly #refusals: TokenBucket;

  constructor(fragmenter: Fragmenter, random: Random, nowMs: number) {
    this.#random = random;
    this.#fragmenter = fragmenter;
    this.#errors = new IcmpErrors(random, nowMs);
    this.#refusals = new TokenBucket(REFUSALS_PER_SECOND, REFUSALS_AT_ONCE, nowMs);
  }

  /** Sends the echo request back as its reply, in fragments if need be: 0 or a reason. */
  echo(link: Link, pdu: Pdu): number {
    const { arena, v6 } = link;
    const mtu = link.mtuFor(pdu.protocol);
    if (isIpv6(pdu.protocol)) makeEchoReply6(arena, pdu, v6!.own);
    else makeEchoReply(arena.view, pdu);
    if (leavesWhole(arena, pdu, mtu)) {
      return arena.send(pdu.frame, pdu.end - pdu.frame) ? 0 : Reason["no-buffer"];
    }
    return this.#fragmenter.split(
      arena,
      pdu,
      mtu,
      (frame, bytes) => arena.send(frame, bytes) ? 0 : Reason["no-buffer"],
    );
  }

  /**
   * Says no: an RST to TCP, port unreachable to UDP, administratively prohibited to anything else.
   */
  reject(link: Link, pdu: Pdu, nowMs: number): void {
    if (isTcp(pdu.protocol)) {
      sendReset(link.arena, pdu, this.#random);
      return;
    }
    this.error(link, pdu, isUdp(pdu.protocol) ? NO_PORT : PROHIBITED, 0, nowMs);
  }

  /** No port or no room: better a clear answer than silence, as long as there are not too many. */
  refuse(link: Link, pdu: Pdu, nowMs: number): void {
    if (this.#refusals.take(nowMs)) this.reject(link, pdu, nowMs);
  }

  /** An ICMP error; `rest` is its bytes 4 to 7. */
  error({ arena, own, v6 }: Link, pdu: Pdu, about: Complaint, rest: number, nowMs: number): void {
    const { type, code, type6, code6 } = about;
    if (isIpv6(pdu.protocol)) this.#errors.send6(arena, pdu, v6!.own, type6, code6, rest, nowMs);
    else this.#errors.send(arena, pdu, own.address, type, code, rest, nowMs);
  }

  /** Tells the sender what is wrong with its packet's extension headers, if it may be told. */
  chainFault({ arena, v6 }: Link, pdu: Pdu, chain: Chain, nowMs: number): void {
    this.#errors.tellChainFault(arena, pdu, v6!.own, chain, nowMs);
  }

  /**
   * Tells the sender of `start`, the frame of a first fragment, that the others did not come (RFC
   * 1122 §3.3.2; RFC 8200 §4.5).
   */
  reassemblyTimedOut(link: Link, start: Uint8Array<ArrayBuffer>, nowMs: number): void {
    const pdu = placeStart(link.arena, start);
    if (pdu !== null) this.error(link, pdu, NOT_WHOLE, 0, nowMs);
  }
}
