/**
 * The console text of a PDU, in the layout of the demo this project descends from:
 *
 *     Received pdu
 *     Layer 3 | IPv4     | src  192.168.0.254
 *                        | dst  192.168.0.100
 *     Layer 3 | ICMPv4   | type Echo request, id 4a49, seq 17
 *                        | data
 *                        |      00000000: 0800 548d 4a49 0011 5fa8 a45c 0000 0000  ..T.JI.._..\....
 *
 * Over IPv6 it is `Layer 3 | IPv6` and `Layer 3 | ICMPv6`. The number in front of a row counts
 * rows. Bytes that are not printable ASCII show as `.`: a packet must never be able to drive the
 * terminal. Expects a decoded PDU.
 */
import { formatAddress } from "../wire/address.ts";
import { ADDRESS6_WORDS, formatAddress6 } from "../wire/address6.ts";
import * as icmpv4 from "../wire/icmpv4.ts";
import { ICMPV6_TYPES } from "../wire/icmpv6.ts";
import { isIcmp, isIpv6, isTcp, isUdp, OVER_IPV6, type Pdu } from "../wire/pdu.ts";
import { FLAG_NAMES } from "../wire/tcp.ts";

const ROW_BYTES = 16;
const CONTINUED = " ".repeat(19) + "| ";

/** The PDU as lines, each ended by a newline; data beyond `dumpLimitBytes` is only counted. */
export function formatPdu(view: DataView, pdu: Readonly<Pdu>, dumpLimitBytes: number): string {
  return "Received pdu\n" +
    formatAddresses(pdu) +
    formatTransport(view, pdu) +
    formatData(view, pdu.payload, pdu.end, dumpLimitBytes);
}

function formatAddresses({ protocol, src, dst, addresses }: Readonly<Pdu>): string {
  return isIpv6(protocol)
    ? section("Layer 3 | IPv6", [
      `src  ${formatAddress6(addresses, 0)}`,
      `dst  ${formatAddress6(addresses, ADDRESS6_WORDS)}`,
    ])
    : section("Layer 3 | IPv4", [`src  ${formatAddress(src)}`, `dst  ${formatAddress(dst)}`]);
}

function formatTransport(view: DataView, pdu: Readonly<Pdu>): string {
  const { protocol } = pdu;
  if (isIcmp(protocol)) {
    const family = isIpv6(protocol) ? "ICMPv6" : "ICMPv4";
    return section(`Layer 3 | ${family}`, [formatIcmp(view, pdu), "data"]);
  }
  if (isTcp(protocol)) {
    return section("Layer 4 | TCP", [
      `src port ${pdu.srcPort}`,
      `dst port ${pdu.dstPort}`,
      `flags ${formatFlags(pdu.tcpFlags)}`,
      `seq ${pdu.seq >>> 0}`,
      `ack ${pdu.ack >>> 0}`,
      "data",
    ]);
  }
  if (isUdp(protocol)) {
    return section("Layer 4 | UDP", [
      `src port ${pdu.srcPort}`,
      `dst port ${pdu.dstPort}`,
      "data",
    ]);
  }
  return section("Layer 4 | Other", [`protocol ${protocol & ~OVER_IPV6}`, "data"]);
}

function section(title: string, lines: readonly string[]): string {
  return `${title.padEnd(19)}| ${lines.join(`\n${CONTINUED}`)}\n`;
}

function formatIcmp(view: DataView, pdu: Readonly<Pdu>): string {
  const type = (isIpv6(pdu.protocol) ? ICMPV6_TYPES : icmpv4.ICMP_TYPES)[pdu.icmpType];
  const text = `type ${type?.name ?? pdu.icmpType}`;
  if (type?.query !== undefined) {
    const id = icmpv4.identifier(view, pdu.l4).toString(16).padStart(4, "0");
    return `${text}, id ${id}, seq ${icmpv4.sequence(view, pdu.l4)}`;
  }
  const code = type?.codes?.[pdu.icmpCode];
  return code === undefined ? `${text}, code ${pdu.icmpCode}` : `${text}, code ${code}`;
}

/** `SYN ACK`; `none` for an empty set. */
export function formatFlags(flags: number): string {
  return FLAG_NAMES.filter((_, bit) => (flags & (1 << bit)) !== 0).join(" ") || "none";
}

function formatData(view: DataView, start: number, end: number, limitBytes: number): string {
  const shownEnd = Math.min(end, start + limitBytes);
  let text = "";
  for (let row = 0; start + row * ROW_BYTES < shownEnd; row++) {
    const at = start + row * ROW_BYTES;
    text += `${CONTINUED}     ${formatRow(view, at, Math.min(shownEnd, at + ROW_BYTES), row)}\n`;
  }
  return end > shownEnd ? `${text}${CONTINUED}     … ${end - shownEnd} more bytes\n` : text;
}

function formatRow(view: DataView, start: number, end: number, row: number): string {
  let hex = "";
  let ascii = "";
  for (let at = start; at < end; at++) {
    const byte = view.getUint8(at);
    hex += ((at - start) & 1) === 0 ? " " : "";
    hex += byte.toString(16).padStart(2, "0");
    ascii += byte >= 0x20 && byte < 0x7f ? String.fromCharCode(byte) : ".";
  }
  return `${row.toString(16).padStart(8, "0")}:${hex.padEnd(40)}  ${ascii}`;
}
