/**
 * IPv6 beside IPv4 in a lab: each address and each route of a host gets a twin.
 *
 *     192.168.0.1/24                →   2001:db8:c0a8::1/64
 *     10.1.2.2/24                   →   2001:db8:a01:2::2/64
 *     10.1.0.0/16 via 10.0.0.253    →   2001:db8:a01::/48 via 2001:db8:a00::fd
 *     default via 10.0.0.253        →   default via 2001:db8:a00::fd
 */
import type { Host, Lab } from "./lab.ts";

/** The first 16 bits of an IPv4 address, the next 8 and the last 8 are groups of its twin. */
export function twinOf(address: string): string {
  const [a, b, c, d] = address.split(".").map(Number);
  const groups = [a! * 256 + b!, c!].map((group) => group.toString(16));
  const network = groups[1] === "0" ? groups[0] : groups.join(":");
  return `2001:db8:${network}::${d === 0 ? "" : d!.toString(16)}`;
}

const SETTINGS = [
  "accept_ra=0",
  "autoconf=0",
  "accept_dad=0",
  "keep_addr_on_down=1",
  "disable_ipv6=0",
];

const PREFIX_LENGTHS: Readonly<Record<string, string>> = { "16": "48", "24": "64", "32": "128" };

/** Of an interface's address, or of a network: `ADDRESS/LENGTH`. */
export function twinOfNetwork(text: string): string {
  const [address, length] = text.split("/");
  const twin = PREFIX_LENGTHS[length!];
  if (twin === undefined) throw new RangeError(`Cannot make a twin of "${text}"`);
  return `${twinOf(address!)}/${twin}`;
}

/**
 * The flags of a run in both families: `--ipv6` stands beside `--ipv4`, which is 192.168.0.100/24
 * unless told, and each other flag with addresses has their twins, too.
 */
export function twinOptions(options: readonly string[]): string[] {
  return withOwn(options).flatMap((option) => {
    const twin = twinOption(option);
    if (twin === null) return [option];
    const [name, value] = twin.split("=");
    return name === "--dst-addrs" ? [`${option},${value}`] : [option, twin];
  });
}

/** The flags of a run whose backends and routes are all of IPv6. */
export function onlyTwins(options: readonly string[]): string[] {
  return withOwn(options).flatMap((option) => {
    const twin = twinOption(option) ?? option;
    return option.startsWith("--ipv4") ? [option, twin] : [twin];
  });
}

function withOwn(options: readonly string[]): readonly string[] {
  const isTold = options.some((option) => option.startsWith("--ipv4="));
  return isTold ? options : ["--ipv4=192.168.0.100/24", ...options];
}

/** Null if there is no address in it. */
function twinOption(option: string): string | null {
  const [name = "", value = ""] = option.split("=");
  const [first = "", second = ""] = value.split(",");
  switch (name) {
    case "--ipv4":
    case "--ipv4-b":
      return `${name.replace("4", "6")}=${twinOfNetwork(value)}`;
    case "--dst-addrs":
      return `${name}=${value.split(",").map(twinOf).join(",")}`;
    case "--gateway":
    case "--gateway-b":
      return `${name}=${twinOf(value)}`;
    case "--route":
    case "--route-b":
      return `${name}=${twinOfNetwork(first)},${twinOf(second)}`;
    default:
      return null;
  }
}

/**
 * Gives every host of the lab its twins, on interfaces that have an address of IPv4. What has them
 * keeps them.
 */
export async function addTwins(lab: Lab): Promise<void> {
  await Promise.all(lab.hosts.map(addTwinsTo));
}

async function addTwinsTo(host: Host): Promise<void> {
  const links: Link[] = JSON.parse(await host.must(["ip", "-json", "-4", "addr", "show"]));
  const routes: Route[] = JSON.parse(await host.must(["ip", "-json", "-4", "route", "show"]));
  const lines = links.filter(({ ifname }) => ifname !== "lo").flatMap(({ ifname, addr_info }) => [
    // An address stays when its interface goes down, as one of IPv4 does.
    ...SETTINGS.map((setting) => {
      const [name, value] = setting.split("=");
      return `echo ${value} > /proc/sys/net/ipv6/conf/${ifname}/${name}`;
    }),
    // What a host has beside the address of its network it does not send from by itself.
    ...addr_info.map(({ local, prefixlen }) =>
      `ip -6 addr replace ${twinOfNetwork(`${local}/${prefixlen}`)} dev ${ifname} nodad` +
      (prefixlen === 32 ? " preferred_lft 0" : "")
    ),
  ]);
  for (const { dst, gateway } of routes) {
    if (gateway === undefined) continue;
    const network = dst === "default" ? dst : twinOfNetwork(dst);
    lines.push(`ip -6 route replace ${network} via ${twinOf(gateway)}`);
  }
  await host.script(`
    if [ "$(cat /proc/sys/net/ipv4/ip_forward)" = 1 ]; then
      echo 1 > /proc/sys/net/ipv6/conf/all/forwarding
    fi
    ${lines.join("\n")}`);
}

/** ip-address(8) and ip-route(8), with `-json`. */
interface Link {
  readonly ifname: string;
  readonly addr_info: readonly { readonly local: string; readonly prefixlen: number }[];
}

interface Route {
  readonly dst: string;
  readonly gateway?: string;
}
