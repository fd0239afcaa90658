/**
 * ICMPv6 header (RFC 4443) and the names of every assigned type and code (IANA "ICMPv6
 * Parameters"). `icmp` is the offset of the header's first byte, `ip` that of the IPv6 header,
 * whose addresses the checksum covers.
 */
import { complement, CORRECT, pseudoHeaderSum6, sumBytes, updated } from "./checksum.ts";
import { checksum, setChecksum } from "./icmpv4.ts";
import { PROTOCOL_ICMPV6, SOURCE } from "./ipv6.ts";

/** Both families begin alike, and their echoes are the same (RFC 792; RFC 4443 §2.1, §4). */
export {
  checksum,
  code,
  identifier,
  sequence,
  setChecksum,
  setIdentifier,
  setType,
  type,
  writeHeader,
} from "./icmpv4.ts";

export const ICMPV6_BYTES = 8;

export const ICMPV6_UNREACHABLE = 1;
export const ICMPV6_PACKET_TOO_BIG = 2;
export const ICMPV6_TIME_EXCEEDED = 3;
export const ICMPV6_PARAMETER_PROBLEM = 4;
export const ICMPV6_ECHO_REQUEST = 128;
export const ICMPV6_ECHO_REPLY = 129;
export const ICMPV6_LISTENER_QUERY = 130;
export const ICMPV6_LISTENER_REPORT_V1 = 131;
export const ICMPV6_ROUTER_SOLICITATION = 133;
export const ICMPV6_ROUTER_ADVERTISEMENT = 134;
export const ICMPV6_NEIGHBOR_SOLICITATION = 135;
export const ICMPV6_NEIGHBOR_ADVERTISEMENT = 136;
export const ICMPV6_REDIRECT = 137;
export const ICMPV6_LISTENER_REPORT_V2 = 143;

export const CODE_NO_ROUTE = 0;
export const CODE_PROHIBITED = 1;
export const CODE_BEYOND_SCOPE = 2;
export const CODE_ADDRESS_UNREACHABLE = 3;
export const CODE_PORT_UNREACHABLE6 = 4;
export const CODE_HOP_LIMIT_EXCEEDED = 0;
export const CODE_REASSEMBLY_TIME_EXCEEDED6 = 1;
export const CODE_ERRONEOUS_FIELD = 0;
export const CODE_UNKNOWN_NEXT_HEADER = 1;
export const CODE_UNKNOWN_OPTION = 2;
export const CODE_INCOMPLETE_CHAIN = 3;
export const CODE_CHAIN_TOO_LONG = 7;
export const CODE_TOO_MANY_HEADERS = 8;

/** Bytes 4 to 7: identifier and sequence number of an echo, MTU or pointer of an error. */
const REST = 4;

/** MTU of the link that a packet was too big for (RFC 4443 §3.2). */
export function mtu(view: DataView, icmp: number): number {
  return view.getUint32(icmp + REST);
}

/** Where in the quoted packet a problem is (RFC 4443 §3.4). */
export function pointer(view: DataView, icmp: number): number {
  return view.getUint32(icmp + REST);
}

/**
 * Length of the quote in 64-bit words of an unreachable or time exceeded message, or 0 if it is not
 * given (RFC 4884 §4).
 */
export function quoteWords(view: DataView, icmp: number): number {
  return view.getUint8(icmp + REST);
}

/** True for errors, which quote a packet; other messages inform (RFC 4443 §2.1). */
export function isError(type: number): boolean {
  return type < 128;
}

/**
 * True for messages that are about the link, and are never forwarded (RFC 4890 §4.3.3): those of
 * listeners, routers and neighbours. No policy hears of them.
 */
export function isLinkMessage(type: number): boolean {
  return (type >= ICMPV6_LISTENER_QUERY && type <= ICMPV6_REDIRECT) ||
    type === ICMPV6_LISTENER_REPORT_V2;
}

/**
 * True if the checksum of the message that ends at `end` is right (RFC 4443 §2.3). It covers the
 * addresses, the length and the protocol number, too, and no value means that there is none.
 */
export function isChecksumRight(view: DataView, ip: number, icmp: number, end: number): boolean {
  return sumOf(view, ip, icmp, end) === CORRECT;
}

/** Computes and writes the checksum of a message that ends at `end`. */
export function writeChecksum(view: DataView, ip: number, icmp: number, end: number): void {
  setChecksum(view, icmp, 0);
  setChecksum(view, icmp, complement(sumOf(view, ip, icmp, end)));
}

/** Adjusts the checksum by the delta of a change already made in the message or its addresses. */
export function updateChecksum(view: DataView, icmp: number, delta: number): void {
  setChecksum(view, icmp, updated(checksum(view, icmp), delta));
}

function sumOf(view: DataView, ip: number, icmp: number, end: number): number {
  const lengthBytes = end - icmp;
  const pseudoHeader = pseudoHeaderSum6(view, ip + SOURCE, PROTOCOL_ICMPV6, lengthBytes);
  return sumBytes(view, icmp, lengthBytes, pseudoHeader);
}

interface Icmpv6Type {
  readonly name: string;
  /** Bytes 4 to 7 are an identifier and a sequence number. */
  readonly query?: true;
  readonly codes?: readonly string[];
}

/** Type number → name; types that IANA lists as unassigned or reserved have no entry. */
export const ICMPV6_TYPES: Readonly<Record<number, Icmpv6Type>> = {
  1: {
    name: "Destination unreachable",
    codes: [
      "No route to destination",
      "Communication administratively prohibited",
      "Beyond scope of source address",
      "Address unreachable",
      "Port unreachable",
      "Source address failed ingress or egress policy",
      "Reject route to destination",
      "Error in source routing header",
      "Headers too long",
    ],
  },
  2: { name: "Packet too big" },
  3: {
    name: "Time exceeded",
    codes: ["Hop limit exceeded in transit", "Fragment reassembly time exceeded"],
  },
  4: {
    name: "Parameter problem",
    codes: [
      "Erroneous header field",
      "Unrecognized next header",
      "Unrecognized IPv6 option",
      "Incomplete header chain in first fragment",
      "SR upper-layer header error",
      "Unrecognized next header at intermediate node",
      "Extension header too big",
      "Extension header chain too long",
      "Too many extension headers",
      "Too many options in extension header",
      "Option too big",
    ],
  },
  100: { name: "Private error experiment 1" },
  101: { name: "Private error experiment 2" },
  128: { name: "Echo request", query: true },
  129: { name: "Echo reply", query: true },
  130: { name: "Multicast listener query" },
  131: { name: "Multicast listener report" },
  132: { name: "Multicast listener done" },
  133: { name: "Router solicitation" },
  134: { name: "Router advertisement" },
  135: { name: "Neighbor solicitation" },
  136: { name: "Neighbor advertisement" },
  137: { name: "Redirect" },
  138: { name: "Router renumbering", codes: ["Command", "Result"] },
  139: { name: "Node information query", codes: ["IPv6 address", "Name", "IPv4 address"] },
  140: { name: "Node information response", codes: ["Success", "Refused", "Unknown query type"] },
  141: { name: "Inverse neighbor discovery solicitation" },
  142: { name: "Inverse neighbor discovery advertisement" },
  143: { name: "Multicast listener report version 2" },
  144: { name: "Home agent address discovery request" },
  145: { name: "Home agent address discovery reply" },
  146: { name: "Mobile prefix solicitation" },
  147: { name: "Mobile prefix advertisement" },
  148: { name: "Certification path solicitation" },
  149: { name: "Certification path advertisement" },
  150: { name: "Experimental mobility" },
  151: { name: "Multicast router advertisement" },
  152: { name: "Multicast router solicitation" },
  153: { name: "Multicast router termination" },
  154: { name: "FMIPv6" },
  155: { name: "RPL control" },
  156: { name: "ILNPv6 locator update" },
  157: { name: "Duplicate address request" },
  158: { name: "Duplicate address confirmation" },
  159: { name: "MPL control" },
  160: { name: "Extended echo request" },
  161: {
    name: "Extended echo reply",
    codes: [
      "No error",
      "Malformed query",
      "No such interface",
      "No such table entry",
      "Multiple interfaces satisfy query",
    ],
  },
  200: { name: "Private experiment 1" },
  201: { name: "Private experiment 2" },
};
