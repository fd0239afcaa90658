/** States and protocols of connections as words, as `ipvsadm -Lc` and conntrack have them. */
import * as lifetimes from "../flow/lifetimes.ts";
import * as tcp from "../flow/tcp_state.ts";
import { PROTOCOL_WORDS } from "../policy/language/words.ts";
import { PROTOCOL_ICMP } from "../wire/ipv4.ts";
import { isIcmp, OVER_IPV6 } from "../wire/pdu.ts";

/** By the state's number; empty: there is no such state. */
export const STATE_NAMES: readonly string[] = (() => {
  const names: string[] = Array.from({ length: lifetimes.ONE_SIDED_QUERY + 1 }, () => "");
  names[tcp.SYN_SENT] = "syn-sent";
  names[tcp.SYN_BOTH] = "syn-both";
  names[tcp.SYN_RECEIVED] = "syn-received";
  names[tcp.ESTABLISHED] = "established";
  names[tcp.FIN_A] = "fin-client";
  names[tcp.FIN_B] = "fin-backend";
  names[tcp.CLOSED] = "closed";
  names[tcp.RESET_A] = "reset-client";
  names[tcp.RESET_B] = "reset-backend";
  names[tcp.ABORTED] = "aborted";
  names[lifetimes.UDP_NEW] = names[lifetimes.QUERY_NEW] = "unanswered";
  names[lifetimes.UDP_ANSWERED] = names[lifetimes.QUERY_ANSWERED] = "answered";
  names[lifetimes.UDP_ONGOING] = "ongoing";
  names[lifetimes.ONE_SIDED_QUERY] = "echoed";
  return names;
})();

/** A bit for each state of that name; 0: there is none. */
export function statesNamed(name: string): number {
  return STATE_NAMES.reduce(
    (bits, own, state) => bits | (own === name && name !== "" ? 1 << state : 0),
    0,
  );
}

const PROTOCOL_NAMES = new Map([...PROTOCOL_WORDS].map(([name, number]) => [number, name]));

/** Of a connection's protocol, as the flow table has it: one name in both families. */
export function protocolName(protocol: number): string {
  const number = protocolNumber(protocol);
  return PROTOCOL_NAMES.get(number) ?? `${number}`;
}

/** Its number, without the family: that of ICMP for ICMPv6, too. */
export function protocolNumber(protocol: number): number {
  return isIcmp(protocol) ? PROTOCOL_ICMP : protocol & ~OVER_IPV6;
}
