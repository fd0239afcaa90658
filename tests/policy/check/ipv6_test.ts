/** What the check knows of families and of IPv6 addresses. */
import assert from "node:assert/strict";
import { AddressSpace } from "../../../src/policy/check/address_space.ts";
import { check } from "../../../src/policy/check/check.ts";
import { formatError, parse } from "../../../src/policy/notation/parse.ts";
import { formatHostAddress, parseHostSubnet } from "../../../src/wire/host_address.ts";

function findings(text: string): string[] {
  const parsed = parse(`default drop\n${text}`, { file: "x" });
  assert.ok(parsed.policy !== null, parsed.errors.map(formatError).join("\n"));
  const { policy, positions } = parsed;
  return check(policy).map(({ node, check, message }) =>
    `${positions.get(node)?.line}: ${check}: ${message}`
  );
}

Deno.test("check: what asks for one family below the other can never hold", () => {
  assert.deepEqual(
    findings(`ipv6
  ip.src in 10.0.0.0/8    -> drop
  ip.dst = 2001:db8::1    -> drop
  timestamp-request       -> drop
  packet-too-big          -> drop
ipv4
  ip.dst = 2001:db8::1    -> drop
  packet-too-big          -> drop
  icmpv6.type = 128       -> drop
  echo-request            -> drop
  ip.src in {10.0.0.0/8, 2001:db8::/32} -> drop
otherwise -> drop
`),
    [
      '3: never-holds: "ip.src in 10.0.0.0/8" can never hold below "ipv6"',
      '5: never-holds: "timestamp-request" can never hold below "ipv6"',
      '8: never-holds: "ip.dst = 2001:db8::1" can never hold below "ipv4"',
      '9: never-holds: "packet-too-big" can never hold below "ipv4"',
      '10: never-holds: "icmpv6.type = 128" can never hold below "ipv4"',
      '13: unreachable: "otherwise" is unreachable: the arms above it take all that comes here',
    ],
  );
});

Deno.test("check: families exclude each other, and no packet is of none", () => {
  assert.deepEqual(
    findings(`ipv4 and ipv6 -> drop
not ipv4 and not ipv6 -> drop
ip.src = 10.0.0.1 and ip.dst = 2001:db8::1 -> drop
ipv6
  ipv6 -> drop
`).map((finding) => finding.split(": ").slice(0, 2).join(" ")),
    ["2 never-holds", "3 never-holds", "4 never-holds", "6 always-holds"],
  );
});

Deno.test("check: an IPv6 network takes all of its addresses, and no others", () => {
  assert.deepEqual(
    findings(`ip.src in 2001:db8::/32 -> drop
ip.src in 2001:db8:1::/48 -> drop
ip.src in 2001:db9::/32   -> drop
ip.src = 2001:db8::1      -> drop
ip.src in 2001:db0::/28   -> drop
ip.src in 2001:da0::/27   -> drop
ip.src in {2001:db0::/28, 2001:db9::7} -> drop
`).map((finding) => finding.split(": ").slice(0, 2).join(" ")),
    ["3 unreachable", "5 unreachable", "8 unreachable"],
  );
});

Deno.test("check: what no IPv6 host has as its address never comes", () => {
  const dropped = "such packets are dropped before they come to the policy";
  const sources = ["= ::", "= ::1", "in ff00::/8", "= ::ffff:192.0.2.1"];
  const lines = sources.map((source) => `ip.src ${source} -> drop\n`).join("");
  assert.deepEqual(
    findings(`${lines}ip.dst = ff02::1 -> drop\nip.src in ::/8 -> drop\n`),
    sources.map((source, i) =>
      `${i + 2}: never-holds: "ip.src ${source}" can never hold: ${dropped}`
    ),
  );
});

Deno.test("check: what no chain of IPv6 headers ends in never comes", () => {
  assert.deepEqual(
    findings(`ipv6
  protocol = 47 -> drop
  protocol = 59 -> drop
  protocol = 58 and not icmp -> drop
  redirect or neighbor-solicitation   -> drop
  time-exceeded and ip.length in 0-95 -> drop
  time-exceeded and ip.length in 0-96 -> drop
  tcp and ip.length in 0-59 -> drop
protocol = 47 and ip.length in 0-20 -> drop
`).map((finding) => finding.split(": ").slice(0, 2).join(" ")),
    ["3 never-holds", "5 never-holds", "6 never-holds", "7 never-holds", "9 never-holds"],
  );
});

Deno.test("check: echo and translators suit IPv6 as they suit IPv4", () => {
  assert.deepEqual(
    findings(`not ip.src in $dst-addrs
  echo-request -> echo
  tcp          -> translate-a-to-b, forward
  ipv6 and time-exceeded -> translate-a-to-b, forward
otherwise      -> translate-b-to-a, forward
`).map((finding) => finding.split(": ").slice(0, 3).join(": ")),
    [
      "5: never-holds: translate-a-to-b lets nothing pass here",
    ],
  );
});

Deno.test("AddressSpace: a network's numbers are the stretches in it, in the order of addresses", () => {
  const networks = ["2001:db8::/32", "2001:db8::1/128", "::/0", "::/8"].map(parseHostSubnet);
  const space = new AddressSpace(networks);
  const shown = (text: string) =>
    space.numbersOf(parseHostSubnet(text)).flatMap(({ first, last }) =>
      [space.stretchAt(first).first, space.stretchAt(last).last].map(formatHostAddress)
    );
  assert.deepEqual(shown("2001:db8::/32"), [
    "2001:db8::",
    "2001:db8:ffff:ffff:ffff:ffff:ffff:ffff",
  ]);
  assert.deepEqual(shown("2001:db8::1/128"), ["2001:db8::1", "2001:db8::1"]);
  assert.deepEqual(space.numbersOf(parseHostSubnet("10.0.0.0/8")), [
    { first: 0x0a00_0000, last: 0x0aff_ffff },
  ]);
  const all = shown("::/0");
  assert.equal(all.length, 12); // regions
  assert.deepEqual([all[0], all.at(-1)], ["::", "ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff"]);
});
