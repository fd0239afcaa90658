/** What was probably meant by words of nft, iptables or tcpdump where a predicate is expected. */
import { FLAG_WORDS } from "../language/words.ts";
import type { Cursor, Token } from "./lex.ts";

/** Words that other languages use for a whole predicate. */
const FOREIGN: ReadonlyMap<string, string> = new Map([
  ["tcp.port", "tcp.dport"],
  ["udp.port", "udp.dport"],
  ["tcp.dstport", "tcp.dport"],
  ["tcp.srcport", "tcp.sport"],
  ["udp.dstport", "udp.dport"],
  ["udp.srcport", "udp.sport"],
  ["ip.saddr", "ip.src"],
  ["ip.daddr", "ip.dst"],
  ["ip6.src", "ip.src"],
  ["ip6.dst", "ip.dst"],
  ["ip6.saddr", "ip.src"],
  ["ip6.daddr", "ip.dst"],
  ["ip6.hoplimit", "ip.ttl"],
  ["ip6", "ipv6"],
  ["icmpv6", "ipv6 and icmp"],
  ["icmp6", "ipv6 and icmp"],
  ["ip.protocol", "protocol"],
  ["ip.proto", "protocol"],
  ["ct", "established"],
  ["ct.state", "established"],
  ["conntrack", "established"],
  ["igmp", "protocol = 2"],
  ["gre", "protocol = 47"],
  ["esp", "protocol = 50"],
  ["ah", "protocol = 51"],
  ["ospf", "protocol = 89"],
  ["sctp", "protocol = 132"],
]);

/** For a word that is no predicate here; null if it is none elsewhere either. */
export function foreignHint({ text }: Token): string | null {
  const meant = FOREIGN.get(text.toLowerCase());
  return meant === undefined ? null : `did you mean "${meant}"?`;
}

/** For a comparison, as in `>= 1024`, of a field whose greatest value is `max`. */
export function comparisonHint(sign: string, token: Token, max: number): string | null {
  const number = /^\d{1,9}$/.test(token.text) ? Number(token.text) : NaN;
  const first = sign === ">=" ? number : sign === ">" ? number + 1 : 0;
  const last = sign === "<=" ? number : sign === "<" ? number - 1 : max;
  return first <= last && last <= max ? `did you mean "in ${first}-${last}"?` : null;
}

/** For a comma after a value: the values up to the end of the list in braces. */
export function commaHint(cursor: Cursor, first: Token): string | null {
  const texts = followers(cursor);
  return texts.length === 0 ? null : `did you mean "in {${[first.text, ...texts].join(", ")}}"?`;
}

/** For a comma after a TCP flag: flags are separated by spaces. */
export function flagsHint(cursor: Cursor, first: Token): string | null {
  const texts = followers(cursor);
  const areFlags = texts.length > 0 && texts.every((text) => FLAG_WORDS.includes(text));
  return areFlags ? `did you mean "${[first.text, ...texts].join(" ")}"?` : null;
}

/** The words after commas from here on; the line is given up, so what is read is lost. */
function followers(cursor: Cursor): readonly string[] {
  const texts: string[] = [];
  while (cursor.take(",") && cursor.token.kind === "word" && texts.length < 8) {
    texts.push(cursor.token.text);
    cursor.next();
  }
  return texts;
}
