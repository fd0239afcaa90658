/**
 * What a connection's SYNs offered, in the table's `offers`: 5 bits each for side A, side B and the
 * challenge SYN (`tcp_window.ts`), which are the window scale and whether it was offered (RFC 7323
 * §2.2).
 */
import type { Pdu } from "../wire/pdu.ts";
import * as tcp from "../wire/tcp.ts";
import type { FlowTable } from "./table.ts";

export const SCALE = 0x0f;
export const SCALE_OFFERED = 0x10;
export const OFFER_BITS = 5;
/** Both sides have offered one. */
export const BOTH_SCALES: number = SCALE_OFFERED | (SCALE_OFFERED << OFFER_BITS);
export const OFFER = 0x1f;
export const CHALLENGE_SHIFT: number = 2 * OFFER_BITS;
/** Of a challenge SYN without a scale. */
export const CHALLENGE_WITHOUT_SCALE = 1;

/** Window shift of `side`: used only if both sides have offered one (RFC 7323 §2.2). */
export function scaleOf(offers: number, side: number): number {
  return (offers & BOTH_SCALES) === BOTH_SCALES ? (offers >>> (OFFER_BITS * side)) & SCALE : 0;
}

/** True if SYNs can have offered this: no scale above the largest, none without being offered. */
export function areOffers(offers: number): boolean {
  const challenge = offers >>> CHALLENGE_SHIFT;
  return isOffer(offers & OFFER) && isOffer((offers >>> OFFER_BITS) & OFFER) &&
    (challenge === CHALLENGE_WITHOUT_SCALE || isOffer(challenge));
}

function isOffer(offer: number): boolean {
  return offer === 0 ||
    (offer >= SCALE_OFFERED && offer <= (SCALE_OFFERED | tcp.MAX_WINDOW_SCALE));
}

export function setOffer(table: FlowTable, entry: number, shift: number, offer: number): void {
  table.setOffers(entry, (table.offers(entry) & ~(OFFER << shift)) | (offer << shift));
}

/** What the SYN offers. */
export function offerOf(view: DataView, pdu: Pdu): number {
  const at = tcp.findOption(view, pdu.l4, pdu.payload, tcp.OPTION_WINDOW_SCALE, 3);
  return at < 0 ? 0 : SCALE_OFFERED | Math.min(tcp.MAX_WINDOW_SCALE, view.getUint8(at + 2));
}
