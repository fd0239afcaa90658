import assert from "node:assert/strict";
import { type ReasonName, reasonName } from "../../src/core/reason.ts";
import {
  admit6,
  admitTransit6,
  isHost6,
  isOfOneLink,
  OwnAddresses6,
} from "../../src/stack/admit6.ts";
import { parseMac } from "../../src/wire/address.ts";
import { formatAddress6, parseAddress6 } from "../../src/wire/address6.ts";
import { OVER_IPV6, Pdu } from "../../src/wire/pdu.ts";

const TCP = 6;
const ICMPV6 = 58;

function ownAddresses(): OwnAddresses6 {
  return new OwnAddresses6(
    parseMac("02:00:00:00:01:00"),
    ["2001:db8::64", "2001:db8:1::aa:bbcc"].map(parseAddress6),
    parseAddress6("fe80::ff:fe00:100"),
  );
}

function pduOf(src: string, dst: string, protocol = ICMPV6, broadcastFrame = 0): Pdu {
  const pdu = Object.assign(new Pdu(), { protocol: protocol | OVER_IPV6, broadcastFrame });
  pdu.addresses.set([...parseAddress6(src), ...parseAddress6(dst)]);
  return pdu;
}

const CLIENT = "2001:db8::fe";
const OWN = "2001:db8::64";

/** Source, destination, protocol, sent to a group's MAC; reason of `admit6`, of `admitTransit6`. */
const CASES: [string, string, number, number, ReasonName, ReasonName?][] = [
  [CLIENT, OWN, TCP, 0, "none"],
  [CLIENT, "2001:db8:1::aa:bbcc", TCP, 0, "none"],
  [CLIENT, "fe80::ff:fe00:100", TCP, 0, "none"],
  ["fe80::7", OWN, TCP, 0, "none"],
  ["fe80::7", "fe80::ff:fe00:100", TCP, 0, "none"],
  [CLIENT, OWN, TCP, 1, "broadcast-mac"],
  [CLIENT, OWN, ICMPV6, 1, "broadcast-mac"],
  [CLIENT, "2001:db8::65", TCP, 0, "foreign-destination", "none"],
  [CLIENT, "2001:db8::65", TCP, 1, "foreign-destination", "broadcast-mac"],
  [CLIENT, "fe80::65", TCP, 0, "foreign-destination", "none"],
  [CLIENT, "::", TCP, 0, "foreign-destination"],
  [CLIENT, "::1", TCP, 0, "foreign-destination"],
  [CLIENT, "::ffff:192.0.2.1", TCP, 0, "foreign-destination"],
  // Groups: ICMPv6 to those that the proxy listens to.
  [CLIENT, "ff02::1", ICMPV6, 1, "none"],
  [CLIENT, "ff02::1", TCP, 1, "multicast-destination"],
  [CLIENT, "ff02::1:ff00:64", ICMPV6, 1, "none"],
  [CLIENT, "ff02::1:ffaa:bbcc", ICMPV6, 1, "none"],
  [CLIENT, "ff02::1:ff00:100", ICMPV6, 1, "none"],
  [CLIENT, "ff02::1:ff00:65", ICMPV6, 1, "multicast-destination"],
  [CLIENT, "ff02::2", ICMPV6, 1, "multicast-destination"],
  [CLIENT, "ff01::1", ICMPV6, 1, "multicast-destination"],
  [CLIENT, "ff05::1", ICMPV6, 1, "multicast-destination"],
  [CLIENT, "ff0e::1:ff00:64", ICMPV6, 1, "multicast-destination"],
  // Sources.
  [OWN, OWN, TCP, 0, "own-source"],
  ["2001:db8:1::aa:bbcc", OWN, TCP, 0, "own-source"],
  ["fe80::ff:fe00:100", "ff02::1", ICMPV6, 1, "own-source"],
  [OWN, "2001:db8::65", TCP, 0, "foreign-destination", "own-source"],
  ["::", OWN, TCP, 0, "martian-source"],
  ["::", "ff02::1", ICMPV6, 1, "martian-source"],
  ["::1", OWN, TCP, 0, "martian-source"],
  ["ff02::1", OWN, TCP, 0, "martian-source"],
  ["::ffff:192.0.2.1", OWN, TCP, 0, "martian-source"],
  ["ff0e::7", "2001:db8::65", TCP, 0, "foreign-destination", "martian-source"],
  ["::2", OWN, TCP, 0, "none"],
];

for (const [src, dst, protocol, broadcastFrame, reason, transit = reason] of CASES) {
  const kind = broadcastFrame === 0 ? "to its own MAC" : "to a group's MAC";
  const name = `admit6 of ${src} to ${dst}, protocol ${protocol}, ${kind}`;
  Deno.test(`${name}, gives ${reason}, in transit ${transit}`, () => {
    const pdu = pduOf(src, dst, protocol, broadcastFrame);
    const own = ownAddresses();
    assert.equal(reasonName(admit6(pdu, own)), reason);
    assert.equal(reasonName(admitTransit6(pdu, own)), transit);
  });
}

Deno.test("OwnAddresses6 has them in the order given, the link-local one last", () => {
  const own = ownAddresses();
  const texts = ["2001:db8::64", "2001:db8:1::aa:bbcc", "fe80::ff:fe00:100"];
  assert.equal(own.count, 3);
  assert.deepEqual(texts.map((_, i) => formatAddress6(own.words, 4 * i)), texts);
  assert.deepEqual([own.main, own.linkLocal].map((one) => formatAddress6(one)), [
    texts[0],
    texts[2],
  ]);
  const places = texts.map((text) => own.find(parseAddress6(text), 0));
  assert.deepEqual(places, [0, 1, 2]);
});

Deno.test("OwnAddresses6.find compares all four words, and reads where it is told", () => {
  const own = ownAddresses();
  for (let bit = 0; bit < 128; bit++) {
    const words = parseAddress6(OWN);
    words[bit >> 5]! ^= 1 << (bit & 31);
    assert.equal(own.find(words, 0), -1, `bit ${bit}`);
  }
  const placed = Int32Array.of(1, 2, 3, ...parseAddress6(OWN), 4);
  assert.deepEqual([own.has(placed, 3), own.has(placed, 2)], [true, false]);
});

Deno.test("OwnAddresses6.setUsable withholds an address, but its group is listened to", () => {
  const own = ownAddresses();
  own.setUsable(0, false);
  const words = parseAddress6(OWN);
  assert.deepEqual([own.find(words, 0), own.indexOf(words, 0), own.isUsable(0)], [-1, 0, false]);
  assert.equal(reasonName(admit6(pduOf(CLIENT, OWN, TCP), own)), "foreign-destination");
  assert.equal(own.listensTo(parseAddress6("ff02::1:ff00:64"), 0), true);
  own.setUsable(0, true);
  assert.equal(reasonName(admit6(pduOf(CLIENT, OWN, TCP), own)), "none");
});

Deno.test("OwnAddresses6.sourceFor is the address that was asked, else one of the sender's scope", () => {
  const own = ownAddresses();
  const source = (src: string, dst: string) =>
    formatAddress6(own.words, 4 * own.sourceFor(pduOf(src, dst)));
  assert.equal(source(CLIENT, "2001:db8:1::aa:bbcc"), "2001:db8:1::aa:bbcc");
  assert.equal(source("fe80::7", OWN), OWN);
  assert.equal(source(CLIENT, "fe80::ff:fe00:100"), "fe80::ff:fe00:100");
  assert.equal(source(CLIENT, "ff02::1"), OWN);
  assert.equal(source("fe80::7", "ff02::1"), "fe80::ff:fe00:100");
  assert.equal(source(CLIENT, "2001:db8::65"), OWN);
  own.setUsable(0, false);
  assert.equal(source(CLIENT, "ff02::1"), "2001:db8:1::aa:bbcc");
  own.setUsable(1, false);
  assert.equal(source(CLIENT, "ff02::1"), "fe80::ff:fe00:100");
  own.setUsable(2, false);
  assert.equal(source(CLIENT, "ff02::1"), "fe80::ff:fe00:100");
  own.setUsable(0, true);
  assert.equal(source("fe80::7", "ff02::1"), OWN);
});

Deno.test("admit6 hears no group while there is no address to answer from", () => {
  const own = ownAddresses();
  const heard = () => reasonName(admit6(pduOf(CLIENT, "ff02::1", ICMPV6, 1), own));
  for (let i = 0; i < own.count; i++) own.setUsable(i, false);
  assert.equal(heard(), "multicast-destination");
  own.setUsable(2, true);
  assert.equal(heard(), "none");
});

Deno.test("isHost6 is true for addresses that one host can have", () => {
  const hosts = [
    "2001:db8::1",
    "fe80::1",
    "fd00::1",
    "::2",
    "::1:0:0:1",
    "2001:db8::",
    "::192.0.2.1",
  ];
  const others = ["::", "::1", "ff02::1", "ff00::", "::ffff:0:0", "::ffff:192.0.2.1"];
  for (const text of hosts) assert.equal(isHost6(parseAddress6(text), 0), true, text);
  for (const text of others) assert.equal(isHost6(parseAddress6(text), 0), false, text);
});

Deno.test("isOfOneLink asks source and destination", () => {
  const cases: [string, string, boolean][] = [
    [CLIENT, OWN, false],
    ["fe80::7", OWN, true],
    [CLIENT, "febf::7", true],
    [CLIENT, "fec0::7", false],
  ];
  for (const [src, dst, expected] of cases) {
    assert.equal(isOfOneLink(pduOf(src, dst)), expected, `${src} to ${dst}`);
  }
});
