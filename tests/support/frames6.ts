/**
 * IPv6 frames for tests, made without any code of `src/wire`, as those of `frames.ts`. Builders
 * fill in lengths and checksums; what a test wants broken it breaks afterwards, or says so.
 */
import { buildEthernet, type Ethernet, naiveChecksum } from "./frames.ts";

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
  /** The byte of flags. */
  flags: number;
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
    flags: 0x10,
    window: 64_240,
    tcpOptions: [],
    payload: [],
    ...fields,
    protocol: 6,
  };
  const segment = [
    ...word16(f.srcPort),
    ...word16(f.dstPort),
    ...word16(f.seq >>> 16),
    ...word16(f.seq),
    ...word16(f.ack >>> 16),
    ...word16(f.ack),
    (5 + f.tcpOptions.length / 4) << 4,
    f.flags,
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

function word16(value: number): number[] {
  return [(value >> 8) & 255, value & 255];
}
