/**
 * IPv6 frames for tests, made and read without any code of `src/wire`, as those of `frames.ts`.
 * Builders fill in lengths and checksums; what a test wants broken it breaks afterwards, or says
 * so. Readers throw if a length or a checksum is wrong.
 */
import {
  buildEthernet,
  type Ethernet,
  flagBits,
  flagText,
  macBytes,
  macText,
  naiveChecksum,
  read16,
  read32,
  readEthernet,
  word16,
  word32,
} from "./frames.ts";

export interface Ip6 extends Ethernet {
  src: string;
  dst: string;
  hopLimit: number;
  trafficClass: number;
  flowLabel: number;
  protocol: number;
  /**
   * Extension headers, each with its number and its bytes; the first byte of each, the next
   * header, is filled in.
   */
  headers: readonly (readonly [number, readonly number[]])[];
}

export interface Icmp6 extends Ip6 {
  type: number;
  code: number;
  /** Bytes 4 to 7. */
  rest: readonly number[];
  payload: ArrayLike<number>;
}

export interface Tcp6 extends Ip6 {
  srcPort: number;
  dstPort: number;
  seq: number;
  ack: number;
  /** Letters of FSRPAUEC, e.g. "SA" for SYN ACK. */
  flags: string;
  window: number;
  /** Option bytes, a multiple of 4. */
  tcpOptions: readonly number[];
  payload: ArrayLike<number>;
}

export interface Udp6 extends Ip6 {
  srcPort: number;
  dstPort: number;
  payload: ArrayLike<number>;
}

/** A solicitation or an advertisement of a neighbour. */
export interface Neighbor6 extends Icmp6 {
  target: string;
  /** Of the target in an advertisement, of the source in a solicitation; null: none is told. */
  mac: string | null;
  /** Letters of RSO: router, solicited, override. */
  neighborFlags: string;
}

const DEFAULTS: Ip6 = {
  dstMac: "02:00:00:00:01:00",
  srcMac: "02:00:00:00:00:fe",
  etherType: 0x86dd,
  src: "2001:db8::fe",
  dst: "2001:db8::64",
  hopLimit: 64,
  trafficClass: 0,
  flowLabel: 0,
  protocol: 59,
  headers: [],
};

/** Hop-by-hop options with a router alert for MLD, and padding. */
export const ROUTER_ALERT: readonly [number, readonly number[]] = [0, [0, 0, 5, 2, 0, 0, 1, 0]];

export function buildIp6(
  fields: Partial<Ip6>,
  payload: ArrayLike<number>,
): Uint8Array<ArrayBuffer> {
  const f = { ...DEFAULTS, ...fields };
  const numbers = [...f.headers.map(([number]) => number), f.protocol];
  const extensions = f.headers.flatMap(([, bytes], i) => [numbers[i + 1]!, ...bytes.slice(1)]);
  const lengthBytes = extensions.length + payload.length;
  return buildEthernet(f, [
    0x60 | (f.trafficClass >> 4),
    ((f.trafficClass & 15) << 4) | (f.flowLabel >> 16),
    (f.flowLabel >> 8) & 255,
    f.flowLabel & 255,
    ...word16(lengthBytes),
    numbers[0]!,
    f.hopLimit,
    ...address6Bytes(f.src),
    ...address6Bytes(f.dst),
    ...extensions,
    ...Array.from(payload),
  ]);
}

/** An echo request unless told otherwise. */
export function buildIcmp6(fields: Partial<Icmp6> = {}): Uint8Array<ArrayBuffer> {
  const f = {
    ...DEFAULTS,
    type: 128,
    code: 0,
    rest: [0x4a, 0x49, 0, 1],
    payload: new Uint8Array(56),
    ...fields,
    protocol: 58,
  };
  const message = [f.type, f.code, 0, 0, ...f.rest, ...Array.from(f.payload)];
  const pseudoHeader = pseudoHeader6(f.src, f.dst, 58, message.length);
  message.splice(2, 2, ...word16(naiveChecksum([...pseudoHeader, ...message])));
  return buildIp6(f, message);
}

/** A segment with ACK unless told otherwise. */
export function buildTcp6(fields: Partial<Tcp6> = {}): Uint8Array<ArrayBuffer> {
  const f = {
    ...DEFAULTS,
    srcPort: 40_000,
    dstPort: 2000,
    seq: 1000,
    ack: 2000,
    flags: "A",
    window: 64_240,
    tcpOptions: [],
    payload: [],
    ...fields,
    protocol: 6,
  };
  const segment = [
    ...word16(f.srcPort),
    ...word16(f.dstPort),
    ...word32(f.seq),
    ...word32(f.ack),
    (5 + f.tcpOptions.length / 4) << 4,
    flagBits(f.flags),
    ...word16(f.window),
    ...[0, 0, 0, 0],
    ...f.tcpOptions,
    ...Array.from(f.payload),
  ];
  const pseudoHeader = pseudoHeader6(f.src, f.dst, 6, segment.length);
  segment.splice(16, 2, ...word16(naiveChecksum([...pseudoHeader, ...segment])));
  return buildIp6(f, segment);
}

export function buildUdp6(fields: Partial<Udp6> = {}): Uint8Array<ArrayBuffer> {
  const f = {
    ...DEFAULTS,
    srcPort: 40_000,
    dstPort: 2000,
    payload: [],
    ...fields,
    protocol: 17,
  };
  const lengthBytes = 8 + f.payload.length;
  const datagram = [
    ...word16(f.srcPort),
    ...word16(f.dstPort),
    ...word16(lengthBytes),
    ...[0, 0],
    ...Array.from(f.payload),
  ];
  const pseudoHeader = pseudoHeader6(f.src, f.dst, 17, lengthBytes);
  datagram.splice(6, 2, ...word16(naiveChecksum([...pseudoHeader, ...datagram]) || 0xffff));
  return buildIp6(f, datagram);
}

/**
 * A solicitation: to the target's solicited-node group, with the sender's MAC address, unless told
 * otherwise.
 */
export function buildSolicitation(fields: Partial<Neighbor6> = {}): Uint8Array<ArrayBuffer> {
  const { target = DEFAULTS.dst } = fields;
  const dst = fields.dst ?? solicitedNode(target);
  const srcMac = fields.srcMac ?? DEFAULTS.srcMac;
  const mac = fields.mac === undefined ? srcMac : fields.mac;
  const option = mac === null ? [] : [1, 1, ...macBytes(mac)];
  const payload = fields.payload ?? [...address6Bytes(target), ...option];
  const isGroup = address6Bytes(dst)[0] === 0xff;
  const dstMac = fields.dstMac ?? (isGroup ? groupMacOf(dst) : DEFAULTS.dstMac);
  const rest = [0, 0, 0, 0];
  return buildIcmp6({ hopLimit: 255, rest, ...fields, type: 135, srcMac, dst, dstMac, payload });
}

/**
 * An advertisement: of the sender's own address, solicited and with its MAC address, unless told
 * otherwise.
 */
export function buildAdvertisement(fields: Partial<Neighbor6> = {}): Uint8Array<ArrayBuffer> {
  const { target = fields.src ?? DEFAULTS.src, neighborFlags = "SO" } = fields;
  const srcMac = fields.srcMac ?? DEFAULTS.srcMac;
  const mac = fields.mac === undefined ? srcMac : fields.mac;
  const option = mac === null ? [] : [2, 1, ...macBytes(mac)];
  const payload = fields.payload ?? [...address6Bytes(target), ...option];
  const bits = [..."OSR"].reduce(
    (sum, letter, i) => sum | (neighborFlags.includes(letter) ? 0x20 << i : 0),
    0,
  );
  return buildIcmp6({
    hopLimit: 255,
    rest: [bits, 0, 0, 0],
    ...fields,
    type: 136,
    srcMac,
    payload,
  });
}

/** What a router advertises; `mac` null: not where it is. */
export interface Router6 extends Icmp6 {
  readonly seconds: number;
  readonly mtu: number;
  readonly mac: string | null;
  /** Behind those. */
  readonly options: readonly number[];
}

/** A router advertisement to all, for half an hour, with its MAC address, unless told otherwise. */
export function buildRouterAdvertisement(fields: Partial<Router6> = {}): Uint8Array<ArrayBuffer> {
  const { seconds = 1800, mtu = 0, options = [], srcMac = DEFAULTS.srcMac } = fields;
  const mac = fields.mac === undefined ? srcMac : fields.mac;
  return buildIcmp6({
    type: 134,
    ...{ src: "fe80::1", dst: "ff02::1", dstMac: groupMacOf("ff02::1"), hopLimit: 255 },
    rest: [64, 0, seconds >> 8, seconds & 255],
    payload: [
      ...new Array<number>(8).fill(0),
      ...(mac === null ? [] : [1, 1, ...macBytes(mac)]),
      ...(mtu === 0 ? [] : [5, 1, 0, 0, 0, mtu >> 16, (mtu >> 8) & 255, mtu & 255]),
      ...options,
    ],
    ...fields,
    srcMac,
  });
}

/** The header, its extension headers, and what they carry up to the payload length. */
export function readIp6(frame: Uint8Array, protocol?: number): { ip: Ip6; l4: Uint8Array } {
  const ethernet = readEthernet(frame);
  const header = frame.subarray(14);
  if (ethernet.etherType !== 0x86dd || header[0]! >> 4 !== 6) throw new Error("Not IPv6");
  const end = 40 + read16(header, 4);
  if (end > header.length) throw new Error("IPv6 payload length is wrong");
  const headers: [number, number[]][] = [];
  let at = 40;
  let next = header[6]!;
  while (EXTENSIONS.includes(next)) {
    const lengthBytes = next === FRAGMENT ? 8 : ((header[at + 1] ?? 0) + 1) * 8;
    if (at + lengthBytes > end) throw new Error("An extension header is too long");
    headers.push([next, [...header.subarray(at, at + lengthBytes)]]);
    next = header[at]!;
    at += lengthBytes;
  }
  if (protocol !== undefined && next !== protocol) {
    throw new Error(`Expected protocol ${protocol}, found ${next}`);
  }
  const ip = {
    ...ethernet,
    src: address6Text(header.subarray(8, 24)),
    dst: address6Text(header.subarray(24, 40)),
    hopLimit: header[7]!,
    trafficClass: ((header[0]! & 15) << 4) | (header[1]! >> 4),
    flowLabel: read32(header, 0) % 0x10_0000,
    protocol: next,
    headers,
  };
  return { ip, l4: header.slice(at, end) };
}

const FRAGMENT = 44;
const EXTENSIONS = [0, 43, FRAGMENT, 60];

export function readTcp6(frame: Uint8Array): Tcp6 {
  const { ip, l4 } = readIp6(frame, 6);
  const headerBytes = (l4[12]! >> 4) * 4;
  if (headerBytes < 20 || headerBytes > l4.length) throw new Error("TCP data offset is wrong");
  checkSum6(ip, l4, "TCP");
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

export function readUdp6(frame: Uint8Array): Udp6 {
  const { ip, l4 } = readIp6(frame, 17);
  if (read16(l4, 4) !== l4.length) throw new Error("UDP length is wrong");
  if (read16(l4, 6) === 0) throw new Error("UDP over IPv6 without a checksum");
  checkSum6(ip, l4, "UDP");
  return { ...ip, srcPort: read16(l4, 0), dstPort: read16(l4, 2), payload: l4.slice(8) };
}

export function readIcmp6(frame: Uint8Array): Icmp6 {
  const { ip, l4 } = readIp6(frame, 58);
  checkSum6(ip, l4, "ICMPv6");
  return {
    ...ip,
    type: l4[0]!,
    code: l4[1]!,
    rest: [...l4.subarray(4, 8)],
    payload: l4.slice(8),
  };
}

/** Reads a solicitation or an advertisement; its options are one MAC address, or none it knows. */
export function readNeighbor(frame: Uint8Array): Neighbor6 {
  const icmp = readIcmp6(frame);
  if (icmp.type !== 135 && icmp.type !== 136) throw new Error(`ICMPv6 type ${icmp.type}`);
  const bytes = Uint8Array.from(icmp.payload);
  const hasMac = bytes[16] === icmp.type - 134 && bytes[17] === 1;
  return {
    ...icmp,
    target: address6Text(bytes.subarray(0, 16)),
    mac: hasMac ? macText(bytes.subarray(18, 24)) : null,
    neighborFlags: [..."RSO"].filter((_, i) => (icmp.rest[0]! & (0x80 >> i)) !== 0).join(""),
  };
}

/** True for the messages of Neighbor Discovery and of Multicast Listener Discovery. */
export function isLinkMessage(frame: Uint8Array): boolean {
  if (readEthernet(frame).etherType !== 0x86dd) return false;
  const { ip, l4 } = readIp6(frame);
  const type = l4[0]!;
  return ip.protocol === 58 && (type === 143 || (type >= 130 && type <= 137));
}

function checkSum6(ip: Ip6, l4: Uint8Array, what: string): void {
  const pseudoHeader = pseudoHeader6(ip.src, ip.dst, ip.protocol, l4.length);
  if (naiveChecksum([...pseudoHeader, ...l4]) !== 0) throw new Error(`${what} checksum is wrong`);
}

/** RFC 8200 §8.1. */
export function pseudoHeader6(
  src: string,
  dst: string,
  protocol: number,
  lengthBytes: number,
): number[] {
  const length = [0, lengthBytes >> 16, ...word16(lengthBytes)];
  return [...address6Bytes(src), ...address6Bytes(dst), ...length, 0, 0, 0, protocol];
}

/** The sixteen bytes of an address, read the simple way: right texts only. */
export function address6Bytes(text: string): number[] {
  const bytes = (part: string) =>
    part === ""
      ? []
      : part.split(":").flatMap((group) =>
        group.includes(".") ? group.split(".").map(Number) : word16(parseInt(group, 16))
      );
  const [first, last] = text.split("::");
  const start = bytes(first!);
  const end = bytes(last ?? "");
  return [...start, ...new Array<number>(16 - start.length - end.length).fill(0), ...end];
}

/** The same as four signed words. */
export function address6Words(text: string): Int32Array {
  const view = new DataView(Uint8Array.from(address6Bytes(text)).buffer);
  return Int32Array.from({ length: 4 }, (_, i) => view.getInt32(4 * i));
}

/** Canonical text (RFC 5952 §4) of sixteen bytes. */
export function address6Text(bytes: ArrayLike<number>): string {
  const groups = Array.from(
    { length: 8 },
    (_, i) => (bytes[2 * i]! * 256 + bytes[2 * i + 1]!).toString(16),
  );
  const text = groups.join(":");
  const runs = text.match(/(?<![^:])0(:0)+(?![^:])/g) ?? [];
  const [longest] = runs.toSorted((a, b) => b.length - a.length);
  if (longest === undefined) return text;
  const at = text.search(new RegExp(`(?<![^:])${longest}(?![^:])`));
  return `${text.slice(0, at).replace(/:$/, "")}::${
    text.slice(at + longest.length).replace(/^:/, "")
  }`;
}

/** The group of an address's last 24 bits. */
export function solicitedNode(address: string): string {
  const [a, b, c] = address6Bytes(address).slice(13);
  return address6Text([...address6Bytes("ff02::1:ff00:0").slice(0, 13), a!, b!, c!]);
}

/** The MAC address of a group's frames (RFC 2464 §7). */
export function groupMacOf(group: string): string {
  return macText(Uint8Array.of(0x33, 0x33, ...address6Bytes(group).slice(12)));
}
