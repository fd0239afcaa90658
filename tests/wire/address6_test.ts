import assert from "node:assert/strict";
import { isIPv6 } from "node:net";
import { SeededRandom } from "../../src/core/random.ts";
import { parseMac } from "../../src/wire/address.ts";
import * as address6 from "../../src/wire/address6.ts";
import { address6Bytes, address6Words } from "../support/frames6.ts";

/** Canonical text, and other texts of the same address. */
const TEXTS: readonly (readonly [string, ...string[]])[] = [
  ["::", "0::", "::0", "0:0:0:0:0:0:0:0", "0000:0000:0000::", "::0.0.0.0", "[::]"],
  ["::1", "0:0:0:0:0:0:0:1", "::0.0.0.1", "[::1]", "0::1"],
  ["1::", "1:0:0:0:0:0:0:0", "0001::"],
  ["2001:db8::1", "2001:DB8:0:0::1", "2001:0db8::0001", "2001:db8:0:0:0:0:0:1"],
  // RFC 5952 §4.2.2: a single group of zeroes stays.
  ["2001:db8:0:1:1:1:1:1", "2001:db8::1:1:1:1:1"],
  // §4.2.3: the longest run; of equal ones the first.
  ["2001:0:0:1::1", "2001:0:0:1:0:0:0:1"],
  ["2001:db8::1:0:0:1", "2001:db8:0:0:1:0:0:1", "2001:db8:0:0:1::1"],
  ["::2:3:4:5:0:0", "0:0:2:3:4:5:0:0", "0:0:2:3:4:5::"],
  ["1:2:3:4:5:6:7:8", "[1:2:3:4:5:6:7:8]"],
  ["1:2:3:4:5:6:7:0", "1:2:3:4:5:6:7::"],
  ["0:2:3:4:5:6:7:8", "::2:3:4:5:6:7:8"],
  ["ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff"],
  ["fe80::ff:fe00:fe", "FE80::00FF:FE00:00FE"],
  // §5: IPv4-mapped addresses in mixed form, others not.
  ["::ffff:192.0.2.1", "::ffff:c000:201", "0:0:0:0:0:FFFF:192.0.2.1"],
  ["::ffff:0.0.0.0", "::ffff:0:0"],
  ["64:ff9b::c000:201", "64:ff9b::192.0.2.1"],
  ["1:2:3:4:5:6:102:304", "1:2:3:4:5:6:1.2.3.4"],
];

Deno.test("parseAddress6 reads every form, and formatAddress6 writes the canonical one", () => {
  for (const [canonical, ...others] of TEXTS) {
    for (const text of [canonical, ...others]) {
      const words = address6.parseAddress6(text);
      assert.deepEqual(words, address6Words(canonical), text);
      assert.equal(address6.formatAddress6(words), canonical, text);
    }
  }
});

Deno.test("formatAddress6 agrees with URLs about 10,000 addresses with many zeroes", () => {
  const random = new SeededRandom(6);
  const words = new Int32Array(9);
  for (let i = 0; i < 10_000; i++) {
    const mask = random.uint32();
    const groups = Array.from(
      { length: 8 },
      (_, group) => (mask >>> group & 1) === 0 ? 0 : random.uint32() >>> (16 + (mask >>> 8 & 15)),
    );
    groups.forEach((group, at) => words[3 + (at >> 1)] = (words[3 + (at >> 1)]! << 16) | group);
    const text = address6.formatAddress6(words, 3);
    const full = groups.map((group) => group.toString(16)).join(":");
    if (!text.includes(".")) assert.equal(`[${text}]`, new URL(`http://[${full}]/`).hostname);
    assert.deepEqual(address6.parseAddress6(text), words.slice(3, 7));
    assert.deepEqual(address6.parseAddress6(full), words.slice(3, 7));
  }
});

Deno.test("parseAddress6 refuses all else, quoting it and saying what it expects", () => {
  const groups = "expected groups of one to four hex digits, as in 2001:db8::1";
  const eight = 'expected eight groups, or "::" for groups of zeroes';
  const once = '"::" must occur only once';
  const zone = 'a zone ("%…") is not supported';
  const none = '"::" must stand for at least one group';
  const cases: [string, string][] = [
    ["", eight],
    ["[]", eight],
    ["1", eight],
    ["1:2:3:4:5:6:7", eight],
    ["1:2:3:4:5:6:7:8:9", eight],
    ["1:2:3:4:5:6:7:1.2.3.4", eight],
    ["192.0.2.1", eight],
    ["1:2:3:4:5:6:7:8::", none],
    ["::1:2:3:4:5:6:7:8", none],
    ["1:2:3:4::5:6:7:8", none],
    ["1::2::3", once],
    ["::::", once],
    [":::", groups],
    ["1:::2", groups],
    [":1:2:3:4:5:6:7", groups],
    ["1:2:3:4:5:6:7:", groups],
    ["::1:", groups],
    [":::1", groups],
    ["::12345", groups],
    ["::g", groups],
    [" ::1", groups],
    ["::1 ", groups],
    ["::1\n", groups],
    ["::-1", groups],
    ["::0x1", groups],
    ["::٤", groups],
    ["[::1", groups],
    ["::1]", groups],
    ["[[::1]]", groups],
    ["[::1]:80", groups],
    ["::1/64", groups],
    ["1.2.3.4::", groups],
    ["::1.2.3.4:5", groups],
    ["backend", groups],
    ["fe80::1%eth0", zone],
    ["[fe80::1%25eth0]", zone],
    ["%", zone],
  ];
  for (const [text, why] of cases) {
    const message = `Cannot parse "${text}" as IPv6 address: ${why}`;
    assert.throws(() => address6.parseAddress6(text), { name: "SyntaxError", message }, text);
  }
  const octet = { name: "RangeError", message: /"1.2.3.256" as IPv4 address: octet must be ≤ 255/ };
  assert.throws(() => address6.parseAddress6("::1.2.3.256"), octet);
  assert.throws(() => address6.parseAddress6("::1.2.3"), SyntaxError);
  assert.throws(() => address6.parseAddress6("::1.2.3.04"), SyntaxError);
});

Deno.test("parseAddress6 and node:net agree about 20,000 texts of an address's letters", () => {
  const random = new SeededRandom(8);
  const pieces = ["::", ":", "0", "1", "f", "ffff", "2001", "db8", "1.2.3.4", "g", "10000", ":0:0"];
  const counts = { taken: 0, refused: 0 };
  for (let i = 0; i < 20_000; i++) {
    const length = 1 + random.uint32() % 16;
    const text = Array.from(
      { length },
      (_, at) =>
        (at & 1) === 1 && random.uint32() % 8 !== 0 ? ":" : pieces[random.uint32() % pieces.length],
    )
      .join("");
    const isTaken = takes(text);
    assert.equal(isTaken, isIPv6(text), text);
    counts[isTaken ? "taken" : "refused"]++;
  }
  assert.ok(counts.taken > 200 && counts.refused > 200, JSON.stringify(counts));
});

function takes(text: string): boolean {
  try {
    address6.parseAddress6(text);
    return true;
  } catch (error) {
    assert.ok(error instanceof SyntaxError || error instanceof RangeError, `${text}: ${error}`);
    return false;
  }
}

Deno.test("subnetOf6 and inSubnet6 compare as many bits as the prefix has, of every length", () => {
  const address = address6Words("a5a5:5a5a:ffff:0:1234:8000:1:fffe");
  const bitsOf = (words: Int32Array) =>
    [...words].map((word) => (word >>> 0).toString(2).padStart(32, "0")).join("");
  for (let prefixLength = 0; prefixLength <= 128; prefixLength++) {
    const subnet = address6.subnetOf6(address, prefixLength);
    const kept = bitsOf(address).slice(0, prefixLength).padEnd(128, "0");
    assert.equal(bitsOf(subnet.network), kept);
    for (let bit = 0; bit < 128; bit++) {
      const words = Int32Array.of(7, 7, ...address);
      words[2 + (bit >> 5)]! ^= 1 << (31 - (bit & 31));
      assert.equal(address6.inSubnet6(words, 2, subnet), bit >= prefixLength);
    }
  }
});

Deno.test("addresses are copied from packets and to them, compared and ordered", () => {
  const one = address6Words("8000::1:2:3");
  const bytes = new Uint8Array(24).fill(0xee);
  const view = new DataView(bytes.buffer);
  address6.writeAddress6(view, 5, Int32Array.of(9, ...one), 1);
  assert.deepEqual([...bytes.subarray(5, 21)], address6Bytes("8000::1:2:3"));
  assert.ok([...bytes.subarray(0, 5), ...bytes.subarray(21)].every((byte) => byte === 0xee));
  const words = new Int32Array(6);
  address6.readAddress6(view, 5, words, 2);
  assert.deepEqual([...words], [0, 0, ...one]);
  assert.ok(address6.isAddress6(view, 5, words, 2));
  assert.ok(address6.isSameAddress6(words, 2, one, 0));
  for (let i = 0; i < 4; i++) {
    const other = one.slice();
    other[i]! ^= 1;
    assert.ok(!address6.isAddress6(view, 5, other, 0));
    assert.ok(!address6.isSameAddress6(words, 2, other, 0));
  }
});

Deno.test("an address's class is what RFC 4291 says", () => {
  const cases: [string, string[]][] = [
    ["::", ["unspecified"]],
    ["::1", ["loopback"]],
    ["::2", []],
    ["1::1", []],
    ["2001:db8::1", []],
    ["fe7f:ffff::", []],
    ["fe80::1", ["link-local"]],
    ["febf:ffff::", ["link-local"]],
    ["fec0::1", []],
    ["feff::1", []],
    ["ff00::", ["multicast"]],
    ["ff02::1", ["multicast"]],
    ["ff15::1", ["multicast"]],
    ["ff02::1:ff00:0", ["multicast", "solicited-node"]],
    ["ff02::1:ffab:cdef", ["multicast", "solicited-node"]],
    ["ff02::1:fe00:0", ["multicast"]],
    ["ff02::2:ff00:0", ["multicast"]],
    ["ff02:0:1::1:ff00:0", ["multicast"]],
    ["ff05::1:ff00:0", ["multicast"]],
    ["::ffff:192.0.2.1", ["mapped"]],
    ["::fffe:192.0.2.1", []],
    ["0:1::ffff:192.0.2.1", []],
    ["::192.0.2.1", []],
  ];
  for (const [text, classes] of cases) {
    const [a, b, c, d] = address6Words(text) as unknown as [number, number, number, number];
    const found = [
      ...(address6.isUnspecified(a, b, c, d) ? ["unspecified"] : []),
      ...(address6.isLoopback6(a, b, c, d) ? ["loopback"] : []),
      ...(address6.isLinkLocal(a) ? ["link-local"] : []),
      ...(address6.isMulticast6(a) ? ["multicast"] : []),
      ...(address6.isSolicitedNode(a, b, c, d) ? ["solicited-node"] : []),
      ...(address6.isMapped(a, b, c) ? ["mapped"] : []),
    ];
    assert.deepEqual(found, classes, text);
  }
});

Deno.test("an address has its solicited-node group", () => {
  // The example of RFC 4291 §2.7.1.
  const group = address6.solicitedNodeOf(address6Words("4037::1:800:200e:8c6c"));
  assert.equal(address6.formatAddress6(group), "ff02::1:ff0e:8c6c");
  assert.equal(address6.solicitedNodeWord(address6Words("::1234:5678")[3]!), 0xff34_5678 | 0);
  const texts = [address6.UNSPECIFIED, address6.ALL_NODES, address6.ALL_ROUTERS];
  assert.deepEqual(texts.map((words) => address6.formatAddress6(words)), [
    "::",
    "ff02::1",
    "ff02::2",
  ]);
});

Deno.test("linkLocalOf makes the modified EUI-64 of RFC 2464 §4 of a MAC address", () => {
  const cases: [string, string][] = [
    ["34:56:78:9a:bc:de", "fe80::3656:78ff:fe9a:bcde"],
    ["02:00:5e:10:00:01", "fe80::5eff:fe10:1"],
    ["00:00:00:00:00:00", "fe80::200:ff:fe00:0"],
    ["fe:ff:ff:ff:ff:ff", "fe80::fcff:ffff:feff:ffff"],
  ];
  for (const [mac, text] of cases) {
    assert.equal(address6.formatAddress6(address6.linkLocalOf(parseMac(mac))), text);
  }
});
