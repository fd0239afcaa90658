/** What the text of a policy says of IPv6: read, and written again. */
import assert from "node:assert/strict";
import { formatError, parse } from "../../../src/policy/notation/parse.ts";
import { print } from "../../../src/policy/printing/print.ts";
import { format } from "../../../src/policy/printing/format.ts";

function errorsOf(text: string): string[] {
  return parse(text, { file: "x" }).errors.map((error) => formatError(error).split("\n")[0]!);
}

/** A policy's text after it has been read and printed, without its first line. */
function again(text: string): string {
  const { policy, errors } = parse(`default drop\n${text}\n`, { file: "x" });
  assert.deepEqual(errors.map(formatError), [], text);
  const printed = print(policy!);
  assert.deepEqual(parse(printed, { file: "y" }).policy, policy, text);
  return printed.replace(/^default drop\n+/, "").trimEnd();
}

Deno.test("a predicate of IPv6 is read, and printed in its canonical form", () => {
  const cases: [text: string, canonical?: string][] = [
    ["ipv4"],
    ["not ipv6 or ipv4 and tcp"],
    ["ip.src = 2001:db8::1"],
    ["ip.src = [2001:DB8:0:0:0:0:0:1]", "ip.src = 2001:db8::1"],
    ["ip.src in ::/0"],
    ["ip.dst = ::"],
    ["ip.dst = ::ffff:192.0.2.1"],
    ["ip.dst in {10.0.0.0/8, 2001:db8::/32, $dst-addrs}"],
    ["ip.dst in {[fd00::]/8,1::2,}", "ip.dst in {fd00::/8, 1::2}"],
    ["ip.src in 2001:db8::1/128", "ip.src = 2001:db8::1"],
    ["(ip.src = abcd:ef01::)", "ip.src = abcd:ef01::"],
    ["protocol = 58"],
    ["protocol = 1", "icmp"],
    ["packet-too-big"],
    ["packet-too-big code 3"],
    ["neighbor-solicitation or multicast-listener-report-version-2"],
    ["icmp.type = packet-too-big", "packet-too-big"],
    ["icmp.type = 8", "echo-request"],
    ["icmpv6.type = 128"],
    ["icmpv6.type = echo-request code 0", "icmpv6.type = 128 code 0"],
    ["icmpv6.type = 2", "packet-too-big"],
    ["icmpv6.type = 77 code 9"],
    ["destination-unreachable code port-unreachable"],
    ["destination-unreachable code no-route-to-destination"],
    ["icmpv6.type = 1 code port-unreachable"],
    ["icmpv6.type = 1 code 3", "destination-unreachable code address-unreachable"],
    ["time-exceeded code hop-limit-exceeded-in-transit"],
    ["extended-echo-reply code malformed-query"],
  ];
  for (const [text, canonical = text] of cases) {
    assert.equal(again(`${text} -> drop`), `${canonical} -> drop`);
  }
});

Deno.test("pools and lists have addresses of both families", () => {
  const text = `pool $web = 10.0.0.1, 2001:db8::1 port 8080 weight 2, 2001:db8::1
define $all = $web, 2001:db8:1::/48, 192.0.2.1

ip.src in $all -> translate-a-to-b to $web, forward
otherwise      -> drop`;
  assert.equal(again(text), text);
  assert.equal(again(text.replaceAll("2001:db8::1", "[2001:db8::1]")), text);
});

Deno.test("a colon between words is no address", () => {
  const cases = [
    "in turn: drop | track, echo",
    "by hash:drop | forward",
    "at random: 3x drop | drop",
  ];
  for (const chain of cases) {
    assert.equal(again(`-> ${chain}`), `-> ${chain.replace("hash:drop", "hash: drop")}`);
  }
  const selectors = { "ab": () => 0, "abc": () => 0 };
  const options = { file: "x", customs: { selectors } };
  for (const chain of ["custom ab:drop | drop", "custom abc: custom | drop"]) {
    const { policy } = parse(`default drop\n-> ${chain}\n`, options);
    assert.equal(policy !== null, chain.startsWith("custom ab:"), chain);
  }
});

Deno.test("what is wrong with an IPv6 address is said", () => {
  const found = (text: string) => errorsOf(`default drop\nip.src = ${text} -> drop\n`);
  const expected = "expected an address, as in 10.0.0.1, 10.0.0.0/8 or $list";
  const cases: [string, string][] = [
    ["fe80::1%eth0", `${expected}; a zone ("%…") is not supported`],
    ["2001:db8::1::2", `${expected}; "::" must occur only once`],
    ["1:2:3", expected],
    ["2001:db8::xyz", expected],
    ["2001:db8::/129", `${expected}; prefix length must be 0 to 128`],
    ["[2001:db8::1", expected],
    ["2001:db8::1/32", `expected a network: host bits must be zero; did you mean "2001:db8::/32"?`],
    ["2001:db8::/32", `expected one address after "="; did you mean "in 2001:db8::/32"?`],
  ];
  for (const [text, message] of cases) {
    assert.equal(found(text)[0]?.includes(message), true, `${text}: ${found(text)[0]}`);
  }
  assert.match(
    errorsOf(`default drop\npool $web = [2001:db8::1]:80\n-> drop\n`)[0]!,
    /Found "\[2001:db8::1\]:80", expected the address of a backend.*; did you mean "\[2001:db8::1\] port 80"\?$/,
  );
});

Deno.test("a long line of brackets is looked at once", () => {
  const started = performance.now();
  const { errors } = format(`default drop\n${"[a".repeat(400_000)} -> drop\n`, "x");
  assert.ok(errors.length > 0);
  assert.ok(performance.now() - started < 10_000);
});

Deno.test("format keeps IPv6 addresses as they are written", () => {
  const { text } = format("default drop\nip.src in {[2001:DB8::1] ,::/0 , ::1}->drop\n", "x");
  assert.equal(text, "default drop\nip.src in {[2001:DB8::1], ::/0, ::1} -> drop\n");
});
