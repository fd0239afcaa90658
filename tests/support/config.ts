/** Configurations for tests: one interface on the network of `world.ts`, and all defaults. */
import type { Config, Ipv6Config, LinkConfig, SandboxConfig } from "../../src/datapath/config.ts";
import { healthOf } from "../../src/policy/language/health.ts";
import { DEFAULT_TIMEOUTS } from "../../src/flow/lifetimes.ts";
import type { Route } from "../../src/stack/routes.ts";
import { parseAddress, parseInterface, parseMac, subnetOf } from "../../src/wire/address.ts";
import { parseAddress6 } from "../../src/wire/address6.ts";
import { addressOfWords, parseHostSubnet } from "../../src/wire/host_address.ts";

export const PROXY = "192.168.0.100";
export const PROXY_MAC = "02:00:00:00:01:00";
export const PROXY_B = "10.0.0.100";
export const PROXY_B_MAC = "02:00:00:00:02:00";
export const BACKENDS_B: readonly string[] = ["10.0.0.1", "10.0.0.2", "10.0.0.3"];
export const BACKENDS: readonly string[] = ["192.168.0.1", "192.168.0.2", "192.168.0.3"];
export const PROXY6 = "2001:db8::64";
export const PROXY6_B = "2001:db8:b::64";
export const BACKENDS6_B: readonly string[] = ["2001:db8:b::1", "2001:db8:b::2", "2001:db8:b::3"];
export const BACKENDS6: readonly string[] = ["2001:db8::1", "2001:db8::2", "2001:db8::3"];

/** `10.0.0.0/8 via 192.168.0.1`. */
export function routeOf(text: string): Route {
  const [network = "", nextHop = ""] = text.split(" via ");
  const { address, prefixLength } = parseInterface(network, 32);
  return { to: subnetOf(address, prefixLength), nextHop: parseAddress(nextHop) };
}

/** The route of `--gateway`. */
export function gatewayOf(nextHop: string): Route {
  return routeOf(`0.0.0.0/0 via ${nextHop}`);
}

/** A link's own address of IPv6, a /64, and its ways out: `2001:db8:f::/48 via 2001:db8::fd`. */
export function ipv6Config(
  own: string,
  routes: readonly string[] = [],
  more: readonly string[] = [],
): Ipv6Config {
  return {
    addresses: [own, ...more].map((text) => ({ address: addressOf6(text), prefixLength: 64 })),
    routes: routes.map((text) => {
      const [network = "", nextHop = ""] = text.split(" via ");
      return { to: parseHostSubnet(network), nextHop: addressOf6(nextHop) };
    }),
    host: null,
    acceptRa: false,
  };
}

function addressOf6(text: string): bigint {
  return addressOfWords(parseAddress6(text));
}

export function linkConfig(changes: Partial<LinkConfig> = {}): LinkConfig {
  return {
    net: "memory",
    address: parseAddress(PROXY),
    prefixLength: 24,
    mac: parseMac(PROXY_MAC),
    routes: [],
    host: null,
    ipv6: null,
    ...changes,
  };
}

/** Side B's, where there are two. */
export const LINK_B: LinkConfig = linkConfig({
  net: "memory-b",
  address: parseAddress(PROXY_B),
  mac: parseMac(PROXY_B_MAC),
});

/** Nothing is given up. */
export const FREE: SandboxConfig = { mode: "off", user: null, includeDirs: [] };

export function testConfig(changes: Partial<Config> = {}): Config {
  return {
    links: [linkConfig()],
    dstAddrs: BACKENDS.map(parseAddress),
    health: healthOf(),
    ports: { first: 1024, last: 65_535 },
    maxConn: 1000,
    maxLimitSources: 262_144,
    maxNeighbors: 1000,
    maxConnPerSource: null,
    timeouts: DEFAULT_TIMEOUTS,
    seed: 1,
    trace: "off",
    preserveSource: false,
    translateFamilies: false,
    clampMss: null,
    retries: 3,
    connectTimeout: 3,
    strays: "reset",
    hashKeyFile: null,
    policy: null,
    ...changes,
  };
}
