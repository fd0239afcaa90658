/** Packets of the proxy's own to the sender of a PDU: the station and the host it came from. */
import type { Arena } from "../core/arena.ts";
import { complement, sumBytes } from "../wire/checksum.ts";
import * as ethernet from "../wire/ethernet.ts";
import * as ipv4 from "../wire/ipv4.ts";
import type { Pdu } from "../wire/pdu.ts";

const HEADER_BYTES = ethernet.ETHERNET_BYTES + ipv4.IPV4_MIN_BYTES;

/**
 * Allocates a reply to `pdu`, which must not have been rewritten yet, and writes its Ethernet and
 * IPv4 headers. Returns the offset for its `l4Bytes` bytes of layer 4, or -1 without buffer space.
 */
export function beginReply(
  arena: Arena,
  pdu: Pdu,
  answer: {
    readonly src: number;
    readonly protocol: number;
    readonly l4Bytes: number;
    readonly tos: number;
    readonly id: number;
    readonly flags: number;
  },
): number {
  const frame = arena.scratch(HEADER_BYTES + answer.l4Bytes);
  if (frame < 0) return -1;
  const { bytes, view } = arena;
  bytes.copyWithin(frame, pdu.frame, pdu.frame + ethernet.ETHERNET_BYTES);
  ethernet.turnAround(view, frame);
  const ip = frame + ethernet.ETHERNET_BYTES;
  ipv4.writeHeader(view, ip, {
    totalLength: ipv4.IPV4_MIN_BYTES + answer.l4Bytes,
    tos: answer.tos,
    id: answer.id,
    flags: answer.flags,
    ttl: ipv4.DEFAULT_TTL,
    protocol: answer.protocol,
    src: answer.src,
    dst: pdu.src,
  });
  ipv4.setChecksum(view, ip, complement(sumBytes(view, ip, ipv4.IPV4_MIN_BYTES, 0)));
  return frame + HEADER_BYTES;
}

/** Queues a reply whose layer 4 has been written at `l4`; false when the list is full. */
export function sendReply(arena: Arena, l4: number, l4Bytes: number): boolean {
  return arena.send(l4 - HEADER_BYTES, HEADER_BYTES + l4Bytes);
}
