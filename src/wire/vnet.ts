/**
 * `struct virtio_net_hdr` (virtio 1.2 §5.1.6): the header in front of each frame that tells an
 * interface which work the frame's sender has left to it. `frame` is the offset of the Ethernet
 * header, right after it.
 *
 *     NEEDS_CSUM   the layer 4 checksum field holds the sum of the pseudo-header; the interface
 *                  sums from csum_start to the packet's end and writes the complement at
 *                  csum_start + csum_offset
 *     GSO          the interface also splits the TCP segment into packets of gso_size bytes of data
 *
 * The kernel passes on what the sender requested, and that may be a virtual machine or a program
 * with a packet socket: these headers are checked like any other.
 */
import { VNET_BYTES } from "../core/arena.ts";
import { Reason } from "../core/reason.ts";
import { complement, sumBytes } from "./checksum.ts";
import * as ipv4 from "./ipv4.ts";
import { OVER_IPV6, type Pdu } from "./pdu.ts";
import * as tcp from "./tcp.ts";
import * as udp from "./udp.ts";

const NEEDS_CSUM = 1;

/** Segmentation types; the first is that of an ordinary frame. */
const GSO_NONE = 0;
export const GSO_TCPV4 = 1;
export const GSO_TCPV6 = 4;
/** Flag added to a type: only the first of the packets carries CWR (RFC 3168 §6.1.2). */
const GSO_ECN = 0x80;

/** No TCP sends smaller segments while it has more data, and splitting finer would be a flood. */
export const MIN_SEGMENT_BYTES = 8;

/** The Linux kernel reserves this gso_size, and refuses it. */
const GSO_BY_FRAGS = 0xffff;

// Offsets from the frame; the fields are little-endian.
const FLAGS = -VNET_BYTES;
const GSO_TYPE = FLAGS + 1;
const HEADER_LENGTH = FLAGS + 2;
const GSO_SIZE = FLAGS + 4;
const CSUM_START = FLAGS + 6;
const CSUM_OFFSET = FLAGS + 8;

/** True if the interface is to segment the frame. */
export function isSegmented(view: DataView, frame: number): boolean {
  return view.getUint8(frame + GSO_TYPE) !== GSO_NONE;
}

/** Bytes of data in each packet of a segmented frame; the last may have fewer. */
export function segmentBytes(view: DataView, frame: number): number {
  return view.getUint16(frame + GSO_SIZE, true);
}

export function setSegmentBytes(view: DataView, frame: number, lengthBytes: number): void {
  view.setUint16(frame + GSO_SIZE, lengthBytes, true);
}

/** Clears the header: no work is left to the interface. */
export function clear(view: DataView, frame: number): void {
  view.setInt32(frame + FLAGS, 0);
  view.setInt32(frame + GSO_SIZE, 0);
  view.setInt16(frame + CSUM_OFFSET, 0);
}

/** Adjusts the header of a frame that now begins `bytes` bytes later. */
export function cutFront(view: DataView, frame: number, bytes: number): void {
  for (const field of [HEADER_LENGTH, CSUM_START]) {
    view.setUint16(frame + field, Math.max(0, view.getUint16(frame + field, true) - bytes), true);
  }
}

/**
 * Adjusts the header of a frame whose IP header has become one of the other family: its checksum is
 * left to the interface, layer 4 is now at `l4`, its data at `payload`, and `tcpSegments` is the
 * new family's type.
 */
export function changeFamily(
  view: DataView,
  frame: number,
  l4: number,
  payload: number,
  tcpSegments: number,
): void {
  view.setUint16(frame + CSUM_START, l4 - frame, true);
  const type = view.getUint8(frame + GSO_TYPE);
  if (type === GSO_NONE) return;
  view.setUint8(frame + GSO_TYPE, tcpSegments | (type & GSO_ECN));
  view.setUint16(frame + HEADER_LENGTH, payload - frame, true);
}

/** Leaves the checksum of the segment at `l4` to the interface, if it is TCP or UDP. */
export function leaveChecksum(view: DataView, frame: number, l4: number, protocol: number): void {
  clear(view, frame);
  const offset = checksumOffset(protocol);
  if (offset < 0) return;
  view.setUint8(frame + FLAGS, NEEDS_CSUM);
  view.setUint16(frame + CSUM_START, l4 - frame, true);
  view.setUint16(frame + CSUM_OFFSET, offset, true);
}

/**
 * Also leaves it to the interface to split the TCP segment, whose data begins at `payload`; `type`
 * is its family's.
 */
export function leaveSegments(
  view: DataView,
  frame: number,
  payload: number,
  lengthBytes: number,
  type: number,
): void {
  view.setUint8(frame + GSO_TYPE, type);
  view.setUint16(frame + HEADER_LENGTH, payload - frame, true);
  setSegmentBytes(view, frame, lengthBytes);
}

/**
 * Reads the header of a packet that `decodeIpv4` has accepted and sets `pdu.partialChecksum`. A
 * partial checksum that is not TCP's or UDP's over the whole packet (say, inside a tunnel) is
 * completed here, as the interface would. Returns 0, or the reason why no interface could do what
 * the header requests.
 */
export function decodeVnet(view: DataView, pdu: Pdu): number {
  return decodeRequest(view, pdu, pdu.protocol, GSO_TCPV4);
}

/** As `decodeVnet`, of a packet that `decodeIpv6` has accepted. */
export function decodeVnet6(view: DataView, pdu: Pdu): number {
  return decodeRequest(view, pdu, pdu.protocol & ~OVER_IPV6, GSO_TCPV6);
}

/** `tcpSegments` is the type of the packet's family. */
function decodeRequest(view: DataView, pdu: Pdu, protocol: number, tcpSegments: number): number {
  const { frame } = pdu;
  const word = view.getInt32(frame + FLAGS); // with GSO_TYPE and HEADER_LENGTH
  pdu.partialChecksum = (word >>> 24) & NEEDS_CSUM;
  if (word === 0) return 0; // without these the other fields mean nothing
  const segmented = isSegmented(view, frame);
  if (pdu.partialChecksum === 0) {
    if (segmented) return Reason["vnet-header"];
    clear(view, frame); // DATA_VALID does not mean that the checksum is there
    return 0;
  }
  const start = frame + view.getUint16(frame + CSUM_START, true);
  const field = start + view.getUint16(frame + CSUM_OFFSET, true);
  if (start < pdu.l4 || field + 2 > pdu.end) return Reason["vnet-header"];
  const isOwn = start === pdu.l4 && field - start === checksumOffset(protocol) &&
    (protocol !== ipv4.PROTOCOL_UDP || udp.length(view, start) === pdu.end - start);
  if (segmented) {
    return isOwn && protocol === ipv4.PROTOCOL_TCP && canBeCut(view, pdu, tcpSegments)
      ? 0
      : Reason["vnet-header"];
  }
  if (isOwn) {
    view.setInt32(frame + HEADER_LENGTH, 0); // and GSO_SIZE: unused, but refused when too large
  } else {
    completeChecksum(view, frame, pdu.end);
    pdu.partialChecksum = 0;
  }
  return 0;
}

/** True if the only checksum left to the interface, if any, is that of the TCP segment at `l4`. */
export function leavesOnlyTcp(view: DataView, frame: number, l4: number): boolean {
  return (view.getUint8(frame + FLAGS) & NEEDS_CSUM) === 0 ||
    (view.getUint16(frame + CSUM_START, true) === l4 - frame &&
      view.getUint16(frame + CSUM_OFFSET, true) === tcp.CHECKSUM);
}

/**
 * Completes the checksum left to the interface, if any. The frame is not segmented, its packet ends
 * at `end`.
 */
export function completeChecksum(view: DataView, frame: number, end: number): void {
  if ((view.getUint8(frame + FLAGS) & NEEDS_CSUM) !== 0) {
    const start = frame + view.getUint16(frame + CSUM_START, true);
    const field = start + view.getUint16(frame + CSUM_OFFSET, true);
    // The field holds the pseudo-header's sum and is summed with the rest.
    const checksum = complement(sumBytes(view, start, end - start, 0));
    view.setUint16(field, checksum === 0 ? 0xffff : checksum);
  }
  clear(view, frame);
}

function canBeCut(view: DataView, pdu: Pdu, tcpSegments: number): boolean {
  const { frame } = pdu;
  const lengthBytes = segmentBytes(view, frame);
  return (view.getUint8(frame + GSO_TYPE) & ~GSO_ECN) === tcpSegments &&
    lengthBytes >= MIN_SEGMENT_BYTES && lengthBytes !== GSO_BY_FRAGS &&
    view.getUint16(frame + HEADER_LENGTH, true) <= pdu.end - frame;
}

/** Offset of the checksum in a segment; -1 for a protocol whose checksum is never offloaded. */
function checksumOffset(protocol: number): number {
  if (protocol === ipv4.PROTOCOL_TCP) return tcp.CHECKSUM;
  return protocol === ipv4.PROTOCOL_UDP ? udp.CHECKSUM : -1;
}
