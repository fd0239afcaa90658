/**
 * ICMPv4 header (RFC 792) and the names of every assigned type and code (IANA "ICMP Type Numbers").
 * `icmp` is the offset of the header's first byte.
 */
import { complement, sumBytes, updated } from "./checksum.ts";

export const ICMP_BYTES = 8;

export const ICMP_ECHO_REPLY = 0;
export const ICMP_UNREACHABLE = 3;
export const ICMP_ECHO_REQUEST = 8;
export const ICMP_TIME_EXCEEDED = 11;
export const ICMP_PARAMETER_PROBLEM = 12;

export const CODE_NET_UNREACHABLE = 0;
export const CODE_HOST_UNREACHABLE = 1;
export const CODE_PROTOCOL_UNREACHABLE = 2;
export const CODE_PORT_UNREACHABLE = 3;
export const CODE_FRAGMENTATION_NEEDED = 4;
export const CODE_HOST_PROHIBITED = 10;
export const CODE_ADMIN_PROHIBITED = 13;
export const CODE_REASSEMBLY_TIME_EXCEEDED = 1;
export const CODE_POINTER = 0;
export const CODE_BAD_LENGTH = 2;

/**
 * Requests with an identifier, which their replies carry too: echo, timestamp, information, mask.
 */
export function isRequest(type: number): boolean {
  return type === ICMP_ECHO_REQUEST || type === 13 || type === 15 || type === 17;
}

/** Replies to `isRequest` types; each is numbered one higher, except echo. */
export function isReply(type: number): boolean {
  return type === ICMP_ECHO_REPLY || type === 14 || type === 16 || type === 18;
}

const TYPE = 0;
const CODE = 1;
const CHECKSUM = 2;
const IDENTIFIER = 4;
const POINTER = 4;
const QUOTE_WORDS = 5;
const SEQUENCE = 6;
const MTU = 6;

export function type(view: DataView, icmp: number): number {
  return view.getUint8(icmp + TYPE);
}

export function code(view: DataView, icmp: number): number {
  return view.getUint8(icmp + CODE);
}

export function checksum(view: DataView, icmp: number): number {
  return view.getUint16(icmp + CHECKSUM);
}

/** Identifier of an echo, timestamp, information or address mask message. */
export function identifier(view: DataView, icmp: number): number {
  return view.getUint16(icmp + IDENTIFIER);
}

export function sequence(view: DataView, icmp: number): number {
  return view.getUint16(icmp + SEQUENCE);
}

/** Length of an error's quote in 32-bit words, or 0 if it is not given (RFC 4884 §4). */
export function quoteWords(view: DataView, icmp: number): number {
  return view.getUint8(icmp + QUOTE_WORDS);
}

/** Where in the quoted packet a problem is (RFC 792). */
export function pointer(view: DataView, icmp: number): number {
  return view.getUint8(icmp + POINTER);
}

/** MTU of the link that would have had to fragment a packet; 0: an old router (RFC 1191 §4). */
export function mtu(view: DataView, icmp: number): number {
  return view.getUint16(icmp + MTU);
}

export function setIdentifier(view: DataView, icmp: number, identifier: number): void {
  view.setUint16(icmp + IDENTIFIER, identifier);
}

export function setType(view: DataView, icmp: number, type: number): void {
  view.setUint8(icmp + TYPE, type);
}

export function setChecksum(view: DataView, icmp: number, checksum: number): void {
  view.setUint16(icmp + CHECKSUM, checksum);
}

/**
 * Adjusts the checksum by the delta of a change already made in the message, which ends at `end`.
 * An incremental update can't tell a sum of +0 from -0, and unlike other messages a reply may be
 * all zeroes: if the result is 0, the whole sum is computed.
 */
export function updateChecksum(view: DataView, icmp: number, end: number, delta: number): void {
  let now = updated(checksum(view, icmp), delta);
  if (now === 0) {
    setChecksum(view, icmp, 0);
    now = complement(sumBytes(view, icmp, end - icmp, 0));
  }
  setChecksum(view, icmp, now);
}

/** Writes the 8 header bytes with checksum field 0; `rest` is bytes 4 to 7. */
export function writeHeader(
  view: DataView,
  icmp: number,
  type: number,
  code: number,
  rest: number,
): void {
  view.setUint8(icmp + TYPE, type);
  view.setUint8(icmp + CODE, code);
  view.setUint16(icmp + CHECKSUM, 0);
  view.setInt32(icmp + IDENTIFIER, rest);
}

interface IcmpType {
  readonly name: string;
  /** Bytes 4 to 7 are an identifier and a sequence number. */
  readonly query?: true;
  readonly codes?: readonly string[];
}

/** Type number → name; types that IANA lists as unassigned or reserved have no entry. */
export const ICMP_TYPES: Readonly<Record<number, IcmpType>> = {
  0: { name: "Echo reply", query: true },
  3: {
    name: "Destination unreachable",
    codes: [
      "Net unreachable",
      "Host unreachable",
      "Protocol unreachable",
      "Port unreachable",
      "Fragmentation needed",
      "Source route failed",
      "Destination network unknown",
      "Destination host unknown",
      "Source host isolated",
      "Network administratively prohibited",
      "Host administratively prohibited",
      "Network unreachable for type of service",
      "Host unreachable for type of service",
      "Communication administratively prohibited",
      "Host precedence violation",
      "Precedence cutoff in effect",
    ],
  },
  4: { name: "Source quench" },
  5: {
    name: "Redirect",
    codes: ["Network", "Host", "Type of service and network", "Type of service and host"],
  },
  6: { name: "Alternate host address" },
  8: { name: "Echo request", query: true },
  9: { name: "Router advertisement" },
  10: { name: "Router solicitation" },
  11: { name: "Time exceeded", codes: ["TTL exceeded in transit", "Reassembly time exceeded"] },
  12: {
    name: "Parameter problem",
    codes: ["Pointer indicates the error", "Missing a required option", "Bad length"],
  },
  13: { name: "Timestamp request", query: true },
  14: { name: "Timestamp reply", query: true },
  15: { name: "Information request", query: true },
  16: { name: "Information reply", query: true },
  17: { name: "Address mask request", query: true },
  18: { name: "Address mask reply", query: true },
  30: { name: "Traceroute" },
  31: { name: "Datagram conversion error" },
  32: { name: "Mobile host redirect" },
  33: { name: "IPv6 where-are-you" },
  34: { name: "IPv6 I-am-here" },
  35: { name: "Mobile registration request" },
  36: { name: "Mobile registration reply" },
  37: { name: "Domain name request" },
  38: { name: "Domain name reply" },
  39: { name: "SKIP" },
  40: { name: "Photuris" },
  41: { name: "Experimental mobility" },
  42: { name: "Extended echo request" },
  43: { name: "Extended echo reply" },
  253: { name: "Experiment 1" },
  254: { name: "Experiment 2" },
};
