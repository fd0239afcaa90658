/**
 * A network interface with checksum and segmentation offload, as a second, naive opinion about
 * `struct virtio_net_hdr` (virtio 1.2 §5.1.6) without any code of `src/wire`: what a sender may
 * leave to it, what the Linux kernel refuses, and what then comes onto the wire.
 */
import { naiveChecksum } from "./frames.ts";

const IP = 14;
const NEEDS_CSUM = 1;
const TCPV4 = 1;
const TCPV6 = 4;
const ECN = 0x80;
const FIN_PSH = 0x09;
const CWR = 0x80;

/** The fields of a vnet header. */
export interface Vnet {
  readonly flags: number;
  readonly gsoType: number;
  readonly headerLength: number;
  readonly gsoSize: number;
  readonly csumStart: number;
  readonly csumOffset: number;
}

export function vnetBytes(fields: Partial<Vnet>): Uint8Array<ArrayBuffer> {
  const view = new DataView(new ArrayBuffer(10));
  view.setUint8(0, fields.flags ?? 0);
  view.setUint8(1, fields.gsoType ?? 0);
  view.setUint16(2, fields.headerLength ?? 0, true);
  view.setUint16(4, fields.gsoSize ?? 0, true);
  view.setUint16(6, fields.csumStart ?? 0, true);
  view.setUint16(8, fields.csumOffset ?? 0, true);
  return new Uint8Array(view.buffer);
}

export function readVnet(bytes: Uint8Array): Vnet {
  const view = new DataView(bytes.buffer, bytes.byteOffset, 10);
  return {
    flags: view.getUint8(0),
    gsoType: view.getUint8(1),
    headerLength: view.getUint16(2, true),
    gsoSize: view.getUint16(4, true),
    csumStart: view.getUint16(6, true),
    csumOffset: view.getUint16(8, true),
  };
}

/**
 * A frame as its sender hands it to the interface, and the vnet header that says what is left to
 * do.
 */
export interface Open {
  readonly frame: Uint8Array<ArrayBuffer>;
  readonly vnet: Uint8Array<ArrayBuffer>;
}

/**
 * A copy of a whole TCP or UDP frame whose checksum is left to the interface; with `gsoSize`
 * besides, of TCP, the cutting up into packets of so many bytes of data.
 */
export function leaveToNic(frame: Uint8Array, gsoSize = 0, ecn = false): Open {
  const copy = Uint8Array.from(frame);
  const view = viewOf(copy);
  const l4 = l4Of(frame);
  const csumOffset = protocolOf(frame) === 6 ? 16 : 6;
  view.setUint16(l4 + csumOffset, bareSum(frame));
  const segments = gsoSize === 0 ? {} : {
    gsoType: ecn ? segmentsOf(frame) | ECN : segmentsOf(frame),
    gsoSize,
    headerLength: l4 + (frame[l4 + 12]! >> 4) * 4,
  };
  return { frame: copy, vnet: vnetBytes({ flags: 1, csumStart: l4, csumOffset, ...segments }) };
}

/**
 * Why the Linux kernel would not take this from us (`virtio_net_hdr_to_skb`, `tun_get_user`), or
 * "".
 */
export function refusalOf(frame: Uint8Array, vnet: Uint8Array): string {
  const { flags, gsoType, headerLength, gsoSize, csumStart, csumOffset } = readVnet(vnet);
  const needsCsum = (flags & NEEDS_CSUM) !== 0;
  const linear = needsCsum ? Math.max(headerLength, csumStart + csumOffset + 2) : headerLength;
  if (linear > frame.length) return "a header longer than the frame";
  if (needsCsum && csumStart < IP + (isIpv6(frame) ? 40 : 20)) return "a checksum of the IP header";
  if (gsoType === 0) return "";
  if ((gsoType & ~ECN) !== segmentsOf(frame) || protocolOf(frame) !== 6) {
    return "segments of another kind";
  }
  if (gsoSize === 0 || gsoSize === 0xffff) return "an impossible segment size";
  if (!needsCsum || csumOffset !== 16) return "segments without a checksum";
  return csumStart + 20 > frame.length ? "a cut header" : "";
}

/**
 * The frame with its checksum complete, but not cut up. Throws where its field does not hold the
 * bare sum.
 */
export function complete(frame: Uint8Array, vnet: Uint8Array): Uint8Array<ArrayBuffer> {
  const copy = Uint8Array.from(frame);
  const { flags, csumStart, csumOffset } = readVnet(vnet);
  if ((flags & NEEDS_CSUM) === 0) return copy;
  const view = viewOf(copy);
  const field = csumStart + csumOffset;
  if (view.getUint16(field) % 0xffff !== bareSum(frame) % 0xffff) {
    throw new Error("An open checksum is not the sum of the pseudo-header");
  }
  view.setUint16(field, naiveChecksum(copy.subarray(csumStart)) || 0xffff);
  return copy;
}

/** What comes onto the wire. Throws for what the kernel refuses, or can't make right. */
export function transmit(frame: Uint8Array, vnet: Uint8Array): Uint8Array<ArrayBuffer>[] {
  const refusal = refusalOf(frame, vnet);
  if (refusal !== "") throw new Error(`The interface refuses ${refusal}`);
  const { gsoType, gsoSize } = readVnet(vnet);
  const whole = complete(frame, vnet);
  return gsoType === 0 ? [whole] : segments(whole, gsoSize, (gsoType & ECN) !== 0);
}

/**
 * A whole TCP frame as packets of at most `gsoSize` bytes of data; their checksums are made anew.
 */
export function segments(
  frame: Uint8Array,
  gsoSize: number,
  ecn: boolean,
): Uint8Array<ArrayBuffer>[] {
  const l4 = l4Of(frame);
  const headerBytes = l4 + (frame[l4 + 12]! >> 4) * 4;
  const given = viewOf(frame);
  const packets: Uint8Array<ArrayBuffer>[] = [];
  for (let at = headerBytes; at < frame.length || packets.length === 0; at += gsoSize) {
    const data = frame.subarray(at, at + gsoSize);
    const packet = new Uint8Array(headerBytes + data.length);
    packet.set(frame.subarray(0, headerBytes));
    packet.set(data, headerBytes);
    const view = viewOf(packet);
    view.setUint32(l4 + 4, given.getUint32(l4 + 4) + at - headerBytes);
    if (at + gsoSize < frame.length) packet[l4 + 13]! &= ~FIN_PSH;
    if (ecn && packets.length > 0) packet[l4 + 13]! &= ~CWR;
    if (isIpv6(frame)) {
      view.setUint16(IP + 4, packet.length - IP - 40);
    } else {
      view.setUint16(IP + 2, packet.length - IP);
      view.setUint16(IP + 4, given.getUint16(IP + 4) + packets.length);
      view.setUint16(IP + 10, 0);
      view.setUint16(IP + 10, naiveChecksum(packet.subarray(IP, l4)));
    }
    view.setUint16(l4 + 16, bareSum(packet));
    view.setUint16(l4 + 16, naiveChecksum(packet.subarray(l4)));
    packets.push(packet);
  }
  return packets;
}

/** Sum of the frame's pseudo-header. */
export function bareSum(frame: Uint8Array): number {
  const l4 = l4Of(frame);
  const addresses = isIpv6(frame)
    ? frame.subarray(IP + 8, IP + 40)
    : frame.subarray(IP + 12, IP + 20);
  const end = isIpv6(frame)
    ? IP + 40 + viewOf(frame).getUint16(IP + 4)
    : IP + viewOf(frame).getUint16(IP + 2);
  const length = [(end - l4) >> 8, (end - l4) & 255];
  return 0xffff - naiveChecksum([...addresses, 0, protocolOf(frame), ...length]);
}

function isIpv6(frame: Uint8Array): boolean {
  return frame[12] === 0x86 && frame[13] === 0xdd;
}

/** The type of its segments. */
function segmentsOf(frame: Uint8Array): number {
  return isIpv6(frame) ? TCPV6 : TCPV4;
}

/** An IPv6 packet has no extension headers here. */
function protocolOf(frame: Uint8Array): number {
  return frame[isIpv6(frame) ? IP + 6 : IP + 9]!;
}

function l4Of(frame: Uint8Array): number {
  return isIpv6(frame) ? IP + 40 : IP + (frame[IP]! & 15) * 4;
}

function viewOf(frame: Uint8Array): DataView {
  return new DataView(frame.buffer, frame.byteOffset, frame.length);
}
