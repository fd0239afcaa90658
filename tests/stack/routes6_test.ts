import assert from "node:assert/strict";
import { SeededRandom } from "../../src/core/random.ts";
import { type Route6, Routes6 } from "../../src/stack/routes6.ts";
import { formatAddress6, parseAddress6, subnetOf6 } from "../../src/wire/address6.ts";
import { addressOfWords } from "../../src/wire/host_address.ts";
import { AddressDigest } from "../../src/wire/address_digest.ts";

const DIGEST = new AddressDigest(new SeededRandom(1));

function subnet(text: string) {
  const [address, prefixLength] = text.split("/");
  return subnetOf6(parseAddress6(address!), Number(prefixLength));
}

function routeOf(text: string): Route6 {
  const [to, nextHop] = text.split(" via ");
  return { to: subnet(to!), nextHop: parseAddress6(nextHop!) };
}

function routesOf(onLink: readonly string[], routes: readonly string[]): Routes6 {
  return new Routes6(DIGEST, onLink.map(subnet), routes.map(routeOf));
}

/** The next hop towards an address, or "none"; its digest must be right, all else untouched. */
function hop(routes: Routes6, text: string): string {
  const addresses = new Int32Array(8).fill(77);
  addresses.set(parseAddress6(text), 4);
  const dst = DIGEST.ofWords(addresses, 4);
  const to = { dst, addresses, nextHop: 5, hops: new Int32Array(0), hopAt: -1 };
  const whole = routes.nextHopOf(addressOfWords(addresses, 4));
  const isKnown = routes.route(to);
  assert.deepEqual([...addresses], [77, 77, 77, 77, ...parseAddress6(text)]);
  if (!isKnown) {
    assert.equal(whole, null);
    return "none";
  }
  assert.equal(whole, addressOfWords(to.hops, to.hopAt));
  assert.equal(to.nextHop, DIGEST.ofWords(to.hops, to.hopAt));
  return formatAddress6(to.hops, to.hopAt);
}

Deno.test("Routes6.route names the destination itself on the link, else the gateway, else none", () => {
  const cases: [string[], string[], string, string][] = [
    [["2001:db8::/64"], [], "2001:db8::1", "2001:db8::1"],
    [["2001:db8::/64"], [], "2001:db8:0:1::1", "none"],
    [["2001:db8::/64"], ["::/0 via 2001:db8::fe"], "2001:db8:0:1::1", "2001:db8::fe"],
    [["2001:db8::/64"], ["::/0 via fe80::1"], "2001:db8:0:1::1", "fe80::1"],
    [["2001:db8::/64", "fd00::/48"], [], "fd00:0:0:7::1", "fd00:0:0:7::1"],
    [["2001:db8::/64"], ["::/0 via 2001:db8::fe"], "fe80::7", "fe80::7"],
    [["2001:db8::64/128"], ["::/0 via fe80::1"], "2001:db8::65", "fe80::1"],
    [["::/0"], [], "2001:db8::65", "2001:db8::65"],
  ];
  for (const [onLink, routes, to, expected] of cases) {
    assert.equal(hop(routesOf(onLink, routes), to), expected, `${to} on ${onLink}`);
  }
});

const TABLE = [
  "2001:db8:1::/48 via fe80::1",
  "::/0 via fe80::9",
  "2001:db8:1:2::/64 via fe80::2",
  "2001:db8:1:2::3/128 via fe80::3",
  "2001:db8:0:0:8000::/65 via fe80::4",
  "2001:db8:2::/47 via fe80::5",
  "2001:db8::f0/125 via fe80::6",
];

Deno.test("Routes6.route takes the longest prefix that fits, in whatever order they were given", () => {
  const cases: [string, string][] = [
    ["2001:db8:1:3::1", "fe80::1"],
    ["2001:db8:1:2::1", "fe80::2"],
    ["2001:db8:1:2::3", "fe80::3"],
    ["2001:db8:1:2:0:0:1:3", "fe80::2"],
    ["2001:db8::1", "2001:db8::1"],
    ["2001:db8::8000:0:0:1", "fe80::4"],
    ["2001:db8:3:ffff::1", "fe80::5"],
    ["2001:db8:4::1", "fe80::9"],
    ["2001:db8::f7", "fe80::6"],
    ["2001:db8::f8", "2001:db8::f8"],
    ["3000::1", "fe80::9"],
  ];
  for (const table of [TABLE, TABLE.toReversed()]) {
    const routes = routesOf(["2001:db8::/64"], table);
    for (const [to, expected] of cases) assert.equal(hop(routes, to), expected, to);
  }
});

Deno.test("Routes6.prefixTo tells the better of two ways, -1 is none", () => {
  const routes = routesOf(["2001:db8::/64"], TABLE);
  const bare = routesOf(["2001:db8:1::/48"], []);
  const prefixes = ["2001:db8::1", "2001:db8:1:2::3", "2001:db8:1::1", "3000::1", "fe80::1"]
    .map((address) => [routes, bare].map((table) => table.prefixTo(parseAddress6(address), 0)));
  assert.deepEqual(prefixes, [[64, -1], [128, 48], [48, 48], [0, -1], [64, 64]]);
});

Deno.test("Routes6.isOnLinkHost is true for hosts of the link alone, not for gateways", () => {
  const routes = routesOf(["2001:db8::/64"], ["::/0 via fe80::1", "fd00::/8 via 2001:db8::fe"]);
  routes.setDefault(parseAddress6("fe80::2"));
  const isHost = (address: string) => routes.isOnLinkHost(parseAddress6(address), 0);
  assert.deepEqual(["2001:db8::1", "fe80::3"].map(isHost), [true, true]);
  for (const other of ["fe80::1", "fe80::2", "2001:db8::fe", "fd00::1", "3000::1"]) {
    assert.equal(isHost(other), false, other);
  }
});

Deno.test("Routes6.setDefault serves where no route does, until it is taken back", () => {
  const bare = routesOf(["2001:db8::/64"], []);
  const routes = routesOf(["2001:db8::/64"], ["::/0 via fe80::1"]);
  const ways = () => [bare, routes].map((table) => hop(table, "3000::1"));
  assert.deepEqual(ways(), ["none", "fe80::1"]);
  const learned = parseAddress6("fe80::2");
  for (const table of [bare, routes]) table.setDefault(learned);
  learned.fill(0); // its caller's array
  assert.deepEqual(ways(), ["fe80::2", "fe80::1"]);
  assert.equal(hop(bare, "2001:db8::1"), "2001:db8::1");
  assert.deepEqual([bare, routes].map((table) => table.prefixTo(parseAddress6("3000::1"), 0)), [
    0,
    0,
  ]);
  for (const table of [bare, routes]) table.setDefault(null);
  assert.deepEqual(ways(), ["none", "fe80::1"]);
  assert.equal(bare.prefixTo(parseAddress6("3000::1"), 0), -1);
});

Deno.test("Routes6.gateways has each once", () => {
  const routes = routesOf(["2001:db8::/64"], [
    "::/0 via fe80::1",
    "fd00::/8 via 2001:db8::fe",
    "fc00::/8 via fe80::1",
  ]);
  const texts = () => routes.gateways.map((address) => formatAddress6(address)).toSorted();
  assert.deepEqual(texts(), ["2001:db8::fe", "fe80::1"]);
  routes.setDefault(parseAddress6("fe80::2"));
  assert.deepEqual(texts(), ["2001:db8::fe", "fe80::1", "fe80::2"]);
});
