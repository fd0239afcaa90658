/** What is suggested for words of other tools. */
import assert from "node:assert/strict";
import { parse } from "../../../src/policy/notation/parse.ts";

const suggestions: readonly [predicate: string, hint: string][] = [
  ["tcp.port = 80", 'did you mean "tcp.dport"?'],
  ["udp.port = 53", 'did you mean "udp.dport"?'],
  ["ip.saddr = 10.0.0.1", 'did you mean "ip.src"?'],
  ["ip.daddr = 10.0.0.1", 'did you mean "ip.dst"?'],
  ["ip6.saddr = 2001:db8::1", 'did you mean "ip.src"?'],
  ["ip6 and tcp", 'did you mean "ipv6"?'],
  ["icmpv6 and fragment", 'did you mean "ipv6 and icmp"?'],
  ["ct state established", 'did you mean "established"?'],
  ["gre", 'did you mean "protocol = 47"?'],
  ["esp", 'did you mean "protocol = 50"?'],
  ["tcp.dport = 80,443", 'did you mean "in {80, 443}"?'],
  ["tcp.dport in 80, 443, 8000-8080", 'did you mean "in {80, 443, 8000-8080}"?'],
  ["ip.src = 10.0.0.1,10.0.0.2", 'did you mean "in {10.0.0.1, 10.0.0.2}"?'],
  ["tcp.flags syn,ack", 'did you mean "syn ack"?'],
  ["tcp.dport >= 1024", 'did you mean "in 1024-65535"?'],
  ["tcp.dport > 1023", 'did you mean "in 1024-65535"?'],
  ["tcp.dport < 1024", 'did you mean "in 0-1023"?'],
  ["ip.ttl <= 5", 'did you mean "in 0-5"?'],
  ["ip.ttl > 255", 'write a range, as in "in 0-1023"'],
  ["tcp.dport < 0", 'write a range, as in "in 0-1023"'],
];
for (const [predicate, hint] of suggestions) {
  Deno.test(`parse, for ${predicate} suggests: ${hint}`, () => {
    const { errors } = parse(`default drop\n${predicate} -> drop\n`, { file: "p" });
    assert.deepEqual(errors.map((error) => error.hint), [hint]);
  });
}
