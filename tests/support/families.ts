/**
 * One test for both families: it speaks IPv4, in addresses, fields and ICMP types, and a family
 * says the same in its own frames. `192.168.0.7` and `10.0.0.7` are over IPv6 2001:db8::7 and
 * 2001:db8:b::7, where `world.ts` has its hosts; any other address is one of 2001:db8:f::/96.
 */
import {
  buildIcmp,
  buildTcp,
  buildUdp,
  type Icmp,
  type Ip,
  readEthernet,
  readIcmp,
  readTcp,
  readUdp,
  type Tcp,
  type Udp,
  word16,
  word32,
} from "./frames.ts";
import {
  address6Bytes,
  address6Text,
  buildIcmp6,
  buildTcp6,
  buildUdp6,
  type Icmp6,
  type Ip6,
  readIcmp6,
  readIp6,
  readTcp6,
  readUdp6,
} from "./frames6.ts";
import { cut, join } from "./fragments.ts";
import { cut6, join6 } from "./fragments6.ts";

/** What is IPv4's alone has no meaning over IPv6: identification, fragments, options. */
export interface Family {
  readonly name: "IPv4" | "IPv6";
  readonly ipv6: boolean;
  /** Bytes of the IP header, and where the addresses begin in it. */
  readonly ipBytes: number;
  readonly addressesAt: number;
  /** The family's address of the host that has this one of IPv4. */
  of(address: string): string;
  buildTcp(fields?: Partial<Tcp>): Uint8Array<ArrayBuffer>;
  buildUdp(fields?: Partial<Udp>): Uint8Array<ArrayBuffer>;
  /** An echo request unless told otherwise, by the numbers of ICMP for IPv4. */
  buildIcmp(fields?: Partial<Icmp>): Uint8Array<ArrayBuffer>;
  readTcp(frame: Uint8Array): Tcp;
  readUdp(frame: Uint8Array): Udp;
  readIcmp(frame: Uint8Array): Icmp;
  /** The number of what an IPv4 packet would carry: 1 for ICMP. */
  protocolOf(frame: Uint8Array): number;
  /** The frame's packet in fragments of so many bytes of data each. */
  cut(frame: Uint8Array, dataBytes: number, id: number): Uint8Array<ArrayBuffer>[];
  /** The packet whose fragments, in any order, these are; throws if one is missing. */
  join(fragments: readonly Uint8Array[]): Uint8Array<ArrayBuffer>;
}

export const IPV4: Family = {
  name: "IPv4",
  ipv6: false,
  ipBytes: 20,
  addressesAt: 12,
  of: (address) => address,
  buildTcp,
  buildUdp,
  buildIcmp,
  readTcp,
  readUdp,
  readIcmp,
  protocolOf: (frame) => frame[23]!,
  cut: (frame, dataBytes, id) => cut(frame, dataBytes, { id }),
  join,
};

export const IPV6: Family = {
  name: "IPv6",
  ipv6: true,
  ipBytes: 40,
  addressesAt: 8,
  of: sixOf,
  // Those of IPv4 have other defaults for some fields.
  buildTcp: (fields) => buildTcp6({ flags: "S", ack: 0, ...fields, ...endsOf(fields ?? {}) }),
  buildUdp: (fields) => buildUdp6({ ...fields, ...endsOf(fields ?? {}) }),
  buildIcmp: (fields = {}) => buildIcmp6({ ...fields, ...endsOf(fields), ...sixMessage(fields) }),
  readTcp: (frame) => {
    const tcp = readTcp6(frame);
    const bytes = { tcpOptions: [...tcp.tcpOptions], payload: Uint8Array.from(tcp.payload) };
    return { ...tcp, ...headerOf(tcp), ...bytes };
  },
  readUdp: (frame) => {
    const udp = readUdp6(frame);
    const payload = Uint8Array.from(udp.payload);
    return { ...udp, ...headerOf(udp), payload, noChecksum: false };
  },
  readIcmp: (frame) => {
    const icmp = readIcmp6(frame);
    const payload = Uint8Array.from(icmp.payload);
    return { ...icmp, ...headerOf(icmp), ...fourMessage(icmp), payload };
  },
  protocolOf: (frame) => {
    const { protocol } = readIp6(frame).ip;
    return protocol === 58 ? 1 : protocol;
  },
  cut: (frame, dataBytes, id) => cut6(frame, dataBytes, {}, id),
  join: join6,
};

export const FAMILIES: readonly Family[] = [IPV4, IPV6];

/** A test for each family; that over IPv6 says so in its name. */
export function bothFamilies(name: string, test: (family: Family) => void): void {
  Deno.test(name, () => test(IPV4));
  Deno.test(`${name}, over IPv6`, () => test(IPV6));
}

/** True for a frame of IPv6. */
export function isOver6(frame: Uint8Array): boolean {
  return readEthernet(frame).etherType === 0x86dd;
}

const SUBNETS = [["192.168.0.", "2001:db8::"], ["10.0.0.", "2001:db8:b::"]] as const;
const ELSEWHERE = "2001:db8:f::";

function sixOf(address: string): string {
  const octets = address.split(".").map(Number);
  const subnet = SUBNETS.find(([four]) => address.startsWith(four));
  if (subnet === undefined) {
    return address6Text([...address6Bytes(ELSEWHERE).slice(0, 12), ...octets]);
  }
  return address6Text([...address6Bytes(subnet[1]).slice(0, 15), octets[3]!]);
}

/** The address of IPv4 of which that is the counterpart; one that has none is left as it is. */
function fourOf(address: string): string {
  const octets = address6Bytes(address).slice(12);
  const subnet = SUBNETS.find(([, six]) => sixOf(`${subnetOf(six)}${octets[3]}`) === address);
  if (subnet !== undefined) return `${subnet[0]}${octets[3]}`;
  return sixOf(octets.join(".")) === address ? octets.join(".") : address;
}

function subnetOf(six: string): string {
  return SUBNETS.find(([, other]) => other === six)![0];
}

function endsOf(fields: Partial<Ip>): Partial<Ip6> {
  const { src, dst, ttl, tos } = fields;
  return {
    ...(src === undefined ? {} : { src: src.includes(":") ? src : sixOf(src) }),
    ...(dst === undefined ? {} : { dst: dst.includes(":") ? dst : sixOf(dst) }),
    ...(ttl === undefined ? {} : { hopLimit: ttl }),
    ...(tos === undefined ? {} : { trafficClass: tos }),
  };
}

function headerOf({ src, dst, hopLimit, trafficClass, protocol, ...ethernet }: Ip6): Ip {
  const { srcMac, dstMac, etherType } = ethernet;
  return {
    ...{ srcMac, dstMac, etherType },
    ...{ src: fourOf(src), dst: fourOf(dst), ttl: hopLimit, tos: trafficClass },
    ...{ id: 0, fragment: 0, protocol: protocol === 58 ? 1 : protocol, options: [] },
  };
}

/** Type and code over IPv4, and their counterparts (RFC 4443, as RFC 7915 §4.2 pairs them). */
const MESSAGES: readonly (readonly [four: number, code: number, six: number, code6: number])[] = [
  [8, 0, 128, 0],
  [0, 0, 129, 0],
  [3, 0, 1, 0],
  [3, 1, 1, 3],
  [3, 3, 1, 4],
  [3, 4, 2, 0],
  [3, 13, 1, 1],
  [11, 0, 3, 0],
  [11, 1, 3, 1],
  [12, 0, 4, 0],
];

function sixMessage({ type = 8, code = 0, rest }: Partial<Icmp>): Partial<Icmp6> {
  const found = MESSAGES.find(([four, code4]) => four === type && code4 === code);
  if (found === undefined) throw new Error(`ICMP ${type}, ${code} has no counterpart over IPv6`);
  const [, , six, code6] = found;
  const bytes = rest === undefined
    ? {}
    : { rest: six === 2 ? word32(rest[1]) : rest.flatMap(word16) };
  return { type: six, code: code6, ...bytes };
}

function fourMessage({ type, code, rest }: Icmp6): Pick<Icmp, "type" | "code" | "rest"> {
  const [four, code4] = MESSAGES.find(([, , six, code6]) => six === type && code6 === code) ??
    [type, code];
  const words: [number, number] = [rest[0]! * 256 + rest[1]!, rest[2]! * 256 + rest[3]!];
  return { type: four, code: code4, rest: words };
}
