import assert from "node:assert/strict";
import { Routes } from "../../src/stack/routes.ts";
import { formatAddress, parseAddress, parseInterface, subnetOf } from "../../src/wire/address.ts";
import { routeOf } from "../support/config.ts";

function routesOf(own: string, routes: readonly string[]): Routes {
  const { address, prefixLength } = parseInterface(own, 24);
  return new Routes(subnetOf(address, prefixLength), routes.map(routeOf));
}

Deno.test("Routes.nextHop is the address itself on the link, else the gateway, else none", () => {
  const cases: [string, string | null, string, string][] = [
    ["192.168.0.100/24", null, "192.168.0.1", "192.168.0.1"],
    ["192.168.0.100/24", "192.168.0.254", "192.168.0.1", "192.168.0.1"],
    ["192.168.0.100/24", "192.168.0.254", "192.168.1.1", "192.168.0.254"],
    ["192.168.0.100/24", null, "192.168.1.1", "0.0.0.0"],
    ["192.168.0.100/24", null, "255.0.0.1", "0.0.0.0"],
    ["10.0.0.1/0", null, "200.1.2.3", "200.1.2.3"],
    ["10.0.0.1/32", "10.0.0.2", "10.0.0.3", "10.0.0.2"],
  ];
  for (const [own, gateway, to, expected] of cases) {
    const routes = routesOf(own, gateway === null ? [] : [`0.0.0.0/0 via ${gateway}`]);
    assert.equal(formatAddress(routes.nextHop(parseAddress(to))), expected, `${to} from ${own}`);
  }
});

const TABLE = [
  "10.0.0.0/8 via 192.168.0.1",
  "0.0.0.0/0 via 192.168.0.9",
  "10.1.0.0/16 via 192.168.0.2",
  "10.1.2.3/32 via 192.168.0.3",
  "192.168.0.128/25 via 192.168.0.4",
  "200.0.0.0/6 via 192.168.0.5",
];

Deno.test("Routes.nextHop takes the longest prefix that fits, in whatever order they were given", () => {
  const cases: [string, string][] = [
    ["10.2.0.1", "192.168.0.1"],
    ["10.1.0.1", "192.168.0.2"],
    ["10.1.2.3", "192.168.0.3"],
    ["10.1.2.4", "192.168.0.2"],
    ["11.0.0.1", "192.168.0.9"],
    ["192.168.0.127", "192.168.0.127"],
    ["192.168.0.128", "192.168.0.4"],
    ["203.255.255.255", "192.168.0.5"],
    ["204.0.0.0", "192.168.0.9"],
  ];
  for (const table of [TABLE, TABLE.toReversed()]) {
    const routes = routesOf("192.168.0.100/24", table);
    for (const [to, expected] of cases) {
      assert.equal(formatAddress(routes.nextHop(parseAddress(to))), expected, to);
    }
  }
});

Deno.test("Routes.prefixTo tells the better of two ways, -1 is none", () => {
  const routes = routesOf("192.168.0.100/24", TABLE);
  const bare = routesOf("10.9.0.1/16", []);
  const prefixes = ["192.168.0.1", "10.1.2.3", "10.9.0.2", "1.1.1.1"].map((address) =>
    [routes, bare].map((table) => table.prefixTo(parseAddress(address)))
  );
  assert.deepEqual(prefixes, [[24, -1], [32, -1], [8, 16], [0, -1]]);
});

Deno.test("Routes.isOnLinkHost is true for hosts of the link alone, not for gateways", () => {
  const routes = new Routes(subnetOf(parseAddress("192.168.0.0"), 24), [
    { to: subnetOf(0, 0), nextHop: parseAddress("192.168.0.1") },
    { to: subnetOf(parseAddress("192.168.0.128"), 25), nextHop: parseAddress("192.168.0.2") },
  ]);
  const isHost = (address: string) => routes.isOnLinkHost(parseAddress(address));
  assert.deepEqual(["192.168.0.3", "192.168.0.127"].map(isHost), [true, true]);
  for (const other of ["192.168.0.1", "192.168.0.2", "192.168.0.129", "10.0.0.1"]) {
    assert.equal(isHost(other), false, other);
  }
});
