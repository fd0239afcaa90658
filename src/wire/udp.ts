/** UDP header (RFC 768). `udp` is the offset of the header's first byte. */

export const UDP_BYTES = 8;

const SOURCE_PORT = 0;
const DESTINATION_PORT = 2;
export const LENGTH = 4;
export const CHECKSUM = 6;

export function sourcePort(view: DataView, udp: number): number {
  return view.getUint16(udp + SOURCE_PORT);
}

export function destinationPort(view: DataView, udp: number): number {
  return view.getUint16(udp + DESTINATION_PORT);
}

/** Header and data, in bytes. */
export function length(view: DataView, udp: number): number {
  return view.getUint16(udp + LENGTH);
}

/** 0: the sender computed no checksum. */
export function checksum(view: DataView, udp: number): number {
  return view.getUint16(udp + CHECKSUM);
}

export function setPorts(view: DataView, udp: number, source: number, destination: number): void {
  view.setUint16(udp + SOURCE_PORT, source);
  view.setUint16(udp + DESTINATION_PORT, destination);
}

/** Writes a computed checksum; 0 is sent as 0xffff, its other form (RFC 768). */
export function setChecksum(view: DataView, udp: number, checksum: number): void {
  view.setUint16(udp + CHECKSUM, checksum === 0 ? 0xffff : checksum);
}

/** Writes the 8 header bytes with checksum field 0; `lengthBytes` counts header and data. */
export function writeHeader(
  view: DataView,
  udp: number,
  header: { readonly srcPort: number; readonly dstPort: number; readonly lengthBytes: number },
): void {
  setPorts(view, udp, header.srcPort, header.dstPort);
  view.setUint16(udp + LENGTH, header.lengthBytes);
  view.setUint16(udp + CHECKSUM, 0);
}
