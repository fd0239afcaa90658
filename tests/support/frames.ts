/**
 * Frames for tests, made and read without any code of `src/wire`: a second, naive opinion about
 * every header. Builders fill in lengths and checksums; what a test wants broken it breaks
 * afterwards.
 */

export interface Ethernet {
  dstMac: string;
  srcMac: string;
  etherType: number;
}

export interface Ip extends Ethernet {
  src: string;
  dst: string;
  ttl: number;
  tos: number;
  id: number;
  /** The flags-and-offset word: 0x4000 is don't fragment. */
  fragment: number;
  protocol: number;
  /** Option bytes, a multiple of 4. */
  options: number[];
}

export interface Tcp extends Ip {
  srcPort: number;
  dstPort: number;
  seq: number;
  ack: number;
  /** Letters of FSRPAUEC, e.g. "SA" for SYN ACK. */
  flags: string;
  window: number;
  tcpOptions: number[];
  payload: Uint8Array;
}

export interface Udp extends Ip {
  srcPort: number;
  dstPort: number;
  payload: Uint8Array;
  /** Send the checksum as 0: none. */
  noChecksum: boolean;
}

export interface Icmp extends Ip {
  type: number;
  code: number;
  /** Bytes 4 to 7: identifier and sequence number of an echo. */
  rest: [number, number];
  payload: Uint8Array;
}

export interface Arp extends Ethernet {
  operation: number;
  senderMac: string;
  senderAddress: string;
  targetMac: string;
  targetAddress: string;
}

/** Of the bits of TCP's flags, the lowest first. */
const FLAG_LETTERS = "FSRPAUEC";

const IP_DEFAULTS: Ip = {
  dstMac: "02:00:00:00:01:00",
  srcMac: "02:00:00:00:00:fe",
  etherType: 0x0800,
  src: "192.168.0.254",
  dst: "192.168.0.100",
  ttl: 64,
  tos: 0,
  id: 0x1234,
  fragment: 0x4000,
  protocol: 0,
  options: [],
};

export function bytesOf(text: string): Uint8Array {
  return new TextEncoder().encode(text);
}

export function buildTcp(fields: Partial<Tcp> = {}): Uint8Array<ArrayBuffer> {
  const f = {
    ...IP_DEFAULTS,
    srcPort: 40_000,
    dstPort: 2000,
    seq: 1000,
    ack: 0,
    flags: "S",
    window: 64_240,
    tcpOptions: [],
    payload: new Uint8Array(),
    ...fields,
    protocol: fields.protocol ?? 6,
  };
  const headerBytes = 20 + f.tcpOptions.length;
  const segment = [
    ...word16(f.srcPort),
    ...word16(f.dstPort),
    ...word32(f.seq),
    ...word32(f.ack),
    (headerBytes / 4) << 4,
    flagBits(f.flags),
    ...word16(f.window),
    0,
    0,
    0,
    0,
    ...f.tcpOptions,
    ...f.payload,
  ];
  segment.splice(16, 2, ...word16(naiveChecksum([...pseudoHeader(f, segment.length), ...segment])));
  return buildIp(f, segment);
}

export function buildUdp(fields: Partial<Udp> = {}): Uint8Array<ArrayBuffer> {
  const f = {
    ...IP_DEFAULTS,
    srcPort: 40_000,
    dstPort: 2000,
    payload: new Uint8Array(),
    noChecksum: false,
    ...fields,
    protocol: fields.protocol ?? 17,
  };
  const datagram = [
    ...word16(f.srcPort),
    ...word16(f.dstPort),
    ...word16(8 + f.payload.length),
    0,
    0,
    ...f.payload,
  ];
  const checksum = naiveChecksum([...pseudoHeader(f, datagram.length), ...datagram]) || 0xffff;
  if (!f.noChecksum) datagram.splice(6, 2, ...word16(checksum));
  return buildIp(f, datagram);
}

/** An echo request unless told otherwise. */
export function buildIcmp(fields: Partial<Icmp> = {}): Uint8Array<ArrayBuffer> {
  const f = {
    ...IP_DEFAULTS,
    type: 8,
    code: 0,
    rest: [0x4a49, 1] as [number, number],
    payload: new Uint8Array(56),
    ...fields,
    protocol: fields.protocol ?? 1,
  };
  const message = [f.type, f.code, 0, 0, ...word16(f.rest[0]), ...word16(f.rest[1]), ...f.payload];
  message.splice(2, 2, ...word16(naiveChecksum(message)));
  return buildIp(f, message);
}

export function buildIp(fields: Partial<Ip>, payload: ArrayLike<number>): Uint8Array<ArrayBuffer> {
  const f = { ...IP_DEFAULTS, ...fields };
  const headerBytes = 20 + f.options.length;
  const header = [
    0x40 | (headerBytes / 4),
    f.tos,
    ...word16(headerBytes + payload.length),
    ...word16(f.id),
    ...word16(f.fragment),
    f.ttl,
    f.protocol,
    0,
    0,
    ...octets(f.src),
    ...octets(f.dst),
    ...f.options,
  ];
  header.splice(10, 2, ...word16(naiveChecksum(header)));
  return buildEthernet(f, [...header, ...Array.from(payload)]);
}

/** A request from the default client for the default proxy address unless told otherwise. */
export function buildArp(fields: Partial<Arp> = {}): Uint8Array<ArrayBuffer> {
  const f = {
    dstMac: "ff:ff:ff:ff:ff:ff",
    srcMac: fields.senderMac ?? IP_DEFAULTS.srcMac,
    etherType: 0x0806,
    operation: 1,
    senderMac: IP_DEFAULTS.srcMac,
    senderAddress: IP_DEFAULTS.src,
    targetMac: "00:00:00:00:00:00",
    targetAddress: IP_DEFAULTS.dst,
    ...fields,
  };
  return buildEthernet(f, [
    ...[0, 1, 8, 0, 6, 4],
    ...word16(f.operation),
    ...macBytes(f.senderMac),
    ...octets(f.senderAddress),
    ...macBytes(f.targetMac),
    ...octets(f.targetAddress),
  ]);
}

/** The frame with an IEEE 802.1Q tag: priority, DEI and VLAN identifier in one word. */
export function tagged(
  frame: Uint8Array,
  word: number,
  etherType = 0x8100,
): Uint8Array<ArrayBuffer> {
  const tag = [...word16(etherType), ...word16(word)];
  return Uint8Array.from([...frame.subarray(0, 12), ...tag, ...frame.subarray(12)]);
}

export function buildEthernet(f: Ethernet, payload: readonly number[]): Uint8Array<ArrayBuffer> {
  return Uint8Array.from([
    ...macBytes(f.dstMac),
    ...macBytes(f.srcMac),
    ...word16(f.etherType),
    ...payload,
  ]);
}

/** Reads an IPv4 frame back; throws if a length or a checksum is wrong. */
export function readTcp(frame: Uint8Array): Tcp {
  const { ip, l4 } = readIp(frame, 6);
  const headerBytes = (l4[12]! >> 4) * 4;
  if (headerBytes < 20 || headerBytes > l4.length) throw new Error("TCP data offset is wrong");
  if (naiveChecksum([...pseudoHeader(ip, l4.length), ...l4]) !== 0) {
    throw new Error("TCP checksum is wrong");
  }
  return {
    ...ip,
    srcPort: read16(l4, 0),
    dstPort: read16(l4, 2),
    seq: read32(l4, 4),
    ack: read32(l4, 8),
    flags: flagText(l4[13]!),
    window: read16(l4, 14),
    tcpOptions: [...l4.subarray(20, headerBytes)],
    payload: l4.slice(headerBytes),
  };
}

export function readUdp(frame: Uint8Array): Udp {
  const { ip, l4 } = readIp(frame, 17);
  const noChecksum = read16(l4, 6) === 0;
  if (read16(l4, 4) !== l4.length) throw new Error("UDP length is wrong");
  if (!noChecksum && naiveChecksum([...pseudoHeader(ip, l4.length), ...l4]) !== 0) {
    throw new Error("UDP checksum is wrong");
  }
  return {
    ...ip,
    srcPort: read16(l4, 0),
    dstPort: read16(l4, 2),
    payload: l4.slice(8),
    noChecksum,
  };
}

export function readIcmp(frame: Uint8Array): Icmp {
  const { ip, l4 } = readIp(frame, 1);
  if (naiveChecksum(l4) !== 0) throw new Error("ICMP checksum is wrong");
  return {
    ...ip,
    type: l4[0]!,
    code: l4[1]!,
    rest: [read16(l4, 4), read16(l4, 6)],
    payload: l4.slice(8),
  };
}

export function readArp(frame: Uint8Array): Arp {
  const ethernet = readEthernet(frame);
  if (ethernet.etherType !== 0x0806) throw new Error("Not an ARP frame");
  const arp = frame.subarray(14);
  if (arp.length < 28 || [0, 1, 8, 0, 6, 4].some((byte, i) => arp[i] !== byte)) {
    throw new Error("Not an Ethernet/IPv4 ARP packet");
  }
  return {
    ...ethernet,
    operation: read16(arp, 6),
    senderMac: macText(arp.subarray(8, 14)),
    senderAddress: addressText(arp, 14),
    targetMac: macText(arp.subarray(18, 24)),
    targetAddress: addressText(arp, 24),
  };
}

/** The IPv4 header, and what it carries up to the total length. */
export function readIp(frame: Uint8Array, protocol?: number): { ip: Ip; l4: Uint8Array } {
  const ethernet = readEthernet(frame);
  const header = frame.subarray(14);
  const headerBytes = (header[0]! & 15) * 4;
  const totalLength = read16(header, 2);
  if (ethernet.etherType !== 0x0800 || header[0]! >> 4 !== 4) throw new Error("Not IPv4");
  if (headerBytes < 20 || totalLength < headerBytes || totalLength > header.length) {
    throw new Error("IPv4 lengths are wrong");
  }
  if (naiveChecksum(header.subarray(0, headerBytes)) !== 0) {
    throw new Error("IPv4 header checksum is wrong");
  }
  if (protocol !== undefined && header[9] !== protocol) {
    throw new Error(`Expected protocol ${protocol}, found ${header[9]}`);
  }
  const ip = {
    ...ethernet,
    src: addressText(header, 12),
    dst: addressText(header, 16),
    ttl: header[8]!,
    tos: header[1]!,
    id: read16(header, 4),
    fragment: read16(header, 6),
    protocol: header[9]!,
    options: [...header.subarray(20, headerBytes)],
  };
  return { ip, l4: header.slice(headerBytes, totalLength) };
}

export function readEthernet(frame: Uint8Array): Ethernet {
  if (frame.length < 14) throw new Error("Shorter than an Ethernet header");
  return {
    dstMac: macText(frame.subarray(0, 6)),
    srcMac: macText(frame.subarray(6, 12)),
    etherType: read16(frame, 12),
  };
}

/** RFC 1071, word by word; 0 for bytes that include their own right checksum. */
export function naiveChecksum(bytes: ArrayLike<number>): number {
  let sum = 0;
  for (let i = 0; i < bytes.length; i += 2) {
    sum += bytes[i]! * 256 + (bytes[i + 1] ?? 0);
    if (sum > 0xffff) sum -= 0xffff;
  }
  return 0xffff - sum;
}

function pseudoHeader(ip: Ip, lengthBytes: number): number[] {
  return [...octets(ip.src), ...octets(ip.dst), 0, ip.protocol, ...word16(lengthBytes)];
}

/** TCP's flags from their letters. */
export function flagBits(letters: string): number {
  return [...letters].reduce((bits, letter) => bits | (1 << FLAG_LETTERS.indexOf(letter)), 0);
}

/** The letters of TCP's flags. */
export function flagText(bits: number): string {
  return [...FLAG_LETTERS].filter((_, bit) => (bits & (1 << bit)) !== 0).join("");
}

function octets(address: string): number[] {
  return address.split(".").map(Number);
}

export function macBytes(mac: string): number[] {
  return mac.split(":").map((octet) => parseInt(octet, 16));
}

export function macText(bytes: Uint8Array): string {
  return [...bytes].map((byte) => byte.toString(16).padStart(2, "0")).join(":");
}

function addressText(bytes: Uint8Array, at: number): string {
  return bytes.subarray(at, at + 4).join(".");
}

export function word16(value: number): number[] {
  return [(value >>> 8) & 255, value & 255];
}

export function word32(value: number): number[] {
  return [...word16(value >>> 16), ...word16(value)];
}

export function read16(bytes: Uint8Array, at: number): number {
  return bytes[at]! * 256 + bytes[at + 1]!;
}

export function read32(bytes: Uint8Array, at: number): number {
  return read16(bytes, at) * 65_536 + read16(bytes, at + 2);
}
