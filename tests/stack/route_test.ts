import assert from "node:assert/strict";
import { Routes } from "../../src/stack/route.ts";
import { formatAddress, parseAddress, parseInterface, subnetOf } from "../../src/wire/address.ts";

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
    const { address, prefixLength } = parseInterface(own, 24);
    const via = gateway === null ? null : parseAddress(gateway);
    const routes = new Routes(subnetOf(address, prefixLength), via);
    assert.equal(formatAddress(routes.nextHop(parseAddress(to))), expected, `${to} from ${own}`);
  }
});
