import assert from "node:assert/strict";
import { SeededRandom } from "../../src/core/random.ts";
import { parseAddress } from "../../src/wire/address.ts";
import { formatAddress6, inSubnet6, subnetOf6 } from "../../src/wire/address6.ts";
import * as host from "../../src/wire/host_address.ts";

Deno.test("an IPv4 address is its number, an IPv6 address a bigint", () => {
  assert.equal(host.parseHostAddress("192.168.0.1"), -1062731775);
  assert.equal(host.parseHostAddress("::1"), 1n);
  assert.equal(host.parseHostAddress("2001:db8::1"), 0x20010db8000000000000000000000001n);
  assert.equal(host.parseHostAddress("[ffff:ffff:ffff:ffff::]"), 0xffffffffffffffffn << 64n);
  assert.notEqual(host.parseHostAddress("::10.0.0.1"), host.parseHostAddress("10.0.0.1"));
  assert.equal(host.isIpv6(host.parseHostAddress("::10.0.0.1")), true);
  assert.equal(host.isIpv6(host.parseHostAddress("10.0.0.1")), false);
  assert.equal(host.bitsOf(parseAddress("10.0.0.1")), 32);
  assert.equal(host.bitsOf(0n), 128);
});

Deno.test("texts are canonical, with brackets only before a port", () => {
  for (
    const [text, canonical, port80] of [
      ["192.168.0.1", "192.168.0.1", "192.168.0.1:80"],
      ["2001:DB8:0:0::1", "2001:db8::1", "[2001:db8::1]:80"],
      ["[::]", "::", "[::]:80"],
      ["::ffff:c000:201", "::ffff:192.0.2.1", "[::ffff:192.0.2.1]:80"],
    ] as const
  ) {
    const address = host.parseHostAddress(text);
    assert.equal(host.formatHostAddress(address), canonical);
    assert.equal(host.formatEndpoint(address, 0), canonical);
    assert.equal(host.formatEndpoint(address, 80), port80);
  }
});

Deno.test("what is no address is refused as what it looks like", () => {
  assert.throws(() => host.parseHostAddress("1.2.3"), {
    name: "SyntaxError",
    message:
      'Cannot parse "1.2.3" as IPv4 address: expected four decimal octets, as in 192.168.0.1',
  });
  for (const bare of ["192.168.0.1", "[2001:db8::1]"]) {
    assert.throws(() => host.parseHostAddress(`${bare}:80`), {
      name: "SyntaxError",
      message:
        `Cannot parse "${bare}:80" as address: expected none with a port; did you mean "${bare}"?`,
    });
  }
  for (const text of ["", "nope", "nope/64", "1:2", "web:80", "7"]) {
    assert.throws(() => host.parseHostAddress(text), {
      name: "SyntaxError",
      message: `Cannot parse "${text}" as address: ` +
        "expected an IPv4 or IPv6 address, as in 192.168.0.1 or 2001:db8::1",
    });
  }
  for (const bare of ["192.168.0.1", "2001:db8::1", "[2001:db8::1]"]) {
    assert.throws(() => host.parseHostAddress(`${bare}/24`), {
      name: "SyntaxError",
      message:
        `Cannot parse "${bare}/24" as address: expected none with a prefix; did you mean "${bare}"?`,
    });
  }
  assert.throws(() => host.parseHostAddress("fe80::1%eth0"), {
    name: "SyntaxError",
    message: 'Cannot parse "fe80::1%eth0" as IPv6 address: a zone ("%…") is not supported',
  });
  for (const text of ["1::2::3", "12345::", "[::1", "::1]", "g::", "1:2"]) {
    assert.throws(() => host.parseHostAddress(text), SyntaxError, text);
  }
});

Deno.test("words and text of 10,000 addresses agree", () => {
  const random = new SeededRandom(17);
  const words = new Int32Array(6);
  for (let i = 0; i < 10_000; i++) {
    for (let w = 0; w < 6; w++) words[w] = random.uint32() & random.uint32();
    const address = host.addressOfWords(words, 2);
    assert.ok(address >= 0n && address < 1n << 128n);
    assert.deepEqual(host.wordsOf(address), words.slice(2));
    assert.equal(host.formatHostAddress(address), formatAddress6(words, 2));
    assert.equal(host.parseHostAddress(formatAddress6(words, 2)), address);
    const prefixLength = random.uint32() % 129;
    const subnet = host.hostSubnetOf(address, prefixLength);
    const subnet6 = subnetOf6(words.slice(2), prefixLength);
    assert.deepEqual(host.wordsOf(subnet.network as bigint), subnet6.network);
    words[5]! ^= 1 << (random.uint32() & 31);
    assert.equal(
      host.inHostSubnet(host.addressOfWords(words, 2), subnet),
      inSubnet6(words, 2, subnet6),
    );
  }
});

Deno.test("interfaces and networks of either family", () => {
  const defaults = { ipv4: 24, ipv6: 64 };
  assert.deepEqual(host.parseHostInterface("10.0.0.1", defaults), {
    address: parseAddress("10.0.0.1"),
    prefixLength: 24,
  });
  assert.deepEqual(host.parseHostInterface("2001:db8::1", defaults).prefixLength, 64);
  assert.deepEqual(host.parseHostInterface("2001:db8::1").prefixLength, 128);
  assert.deepEqual(host.parseHostInterface("[2001:db8::1]/48").prefixLength, 48);
  assert.throws(() => host.parseHostInterface("10.0.0.1/33"), {
    name: "RangeError",
    message: 'Cannot parse "10.0.0.1/33" as IPv4 address: prefix length must be 0 to 32',
  });
  assert.throws(() => host.parseHostInterface("::/129"), {
    name: "RangeError",
    message: 'Cannot parse "::/129" as IPv6 address: prefix length must be 0 to 128',
  });
  assert.throws(() => host.parseHostSubnet("2001:db8::1/32"), {
    name: "RangeError",
    message: 'Cannot use "2001:db8::1/32" as network: host bits must be zero; ' +
      'did you mean "2001:db8::/32"?',
  });
  for (const text of ["10.0.0.0/8", "0.0.0.0/0", "::/0", "2001:db8::/32", "::1/128"]) {
    assert.equal(host.formatHostSubnet(host.parseHostSubnet(text)), text);
  }
});

Deno.test("a subnet has a last address, and none of the other family", () => {
  for (
    const [text, last] of [
      ["10.0.0.0/8", "10.255.255.255"],
      ["0.0.0.0/0", "255.255.255.255"],
      ["10.1.2.3/32", "10.1.2.3"],
      ["::/0", "ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff"],
      ["2001:db8::/33", "2001:db8:7fff:ffff:ffff:ffff:ffff:ffff"],
      ["2001:db8::1/128", "2001:db8::1"],
    ] as const
  ) {
    const subnet = host.parseHostSubnet(text);
    assert.equal(host.formatHostAddress(host.lastOf(subnet)), last);
    assert.equal(host.inHostSubnet(host.lastOf(subnet), subnet), true);
    const other = host.isIpv6(subnet.network) ? parseAddress("10.0.0.1") : 1n;
    assert.equal(host.inHostSubnet(other, subnet), false);
  }
});

Deno.test("endpoints are split at their port's colon", () => {
  for (
    const [text, address, port] of [
      ["192.168.0.1:80", "192.168.0.1", "80"],
      ["192.168.0.1", "192.168.0.1", null],
      ["[2001:db8::1]:80", "[2001:db8::1]", "80"],
      ["[2001:db8::1]", "[2001:db8::1]", null],
      ["2001:db8::1", "2001:db8::1", null],
      ["192.168.0.1:", "192.168.0.1", ""],
    ] as const
  ) assert.deepEqual(host.splitEndpoint(text), { host: address, port });
});

Deno.test("addresses are ordered as numbers, IPv4 first", () => {
  const sorted = ["0.0.0.1", "10.0.0.1", "192.168.0.1", "::", "::1", "2001:db8::", "ff02::1"];
  const addresses = sorted.map(host.parseHostAddress).toReversed();
  assert.deepEqual(
    addresses.toSorted(host.compareHostAddresses).map(host.formatHostAddress),
    sorted,
  );
  assert.equal(host.compareHostAddresses(5n, 5n), 0);
});
