/**
 * Addresses of either family as configuration, policies and texts have them: one value each, which
 * can be compared with ===, be a key of a Map, and go to another thread. Packets have keys and
 * words instead.
 */
import { type Address, formatAddress, maskOf, parseAddress } from "./address.ts";
import { type Address6, formatAddress6, parseAddress6 } from "./address6.ts";

/** An IPv4 address, a signed 32-bit integer; or an IPv6 address, a bigint, 0 … 2¹²⁸ − 1. */
export type HostAddress = Address | bigint;

/** A network of either family. */
export interface HostSubnet {
  /** First address of the subnet. */
  readonly network: HostAddress;
  /** 0 … 32, of IPv6 0 … 128. */
  readonly prefixLength: number;
}

const ALL_ONES = (1n << 128n) - 1n;

export function isIpv6(address: HostAddress): address is bigint {
  return typeof address === "bigint";
}

/** Bits of an address of this family: the longest prefix. */
export function bitsOf(address: HostAddress): 32 | 128 {
  return isIpv6(address) ? 128 : 32;
}

/** The four words of an IPv6 address. */
export function wordsOf(address: bigint): Address6 {
  return Int32Array.from(
    [96n, 64n, 32n, 0n],
    (shift) => Number(BigInt.asIntN(32, address >> shift)),
  );
}

/** The IPv6 address whose words are at `at`. */
export function addressOfWords(words: Int32Array, at: number = 0): bigint {
  let address = 0n;
  for (let i = at; i < at + 4; i++) address = address << 32n | BigInt(words[i]! >>> 0);
  return address;
}

/**
 * Reads an IPv4 address; or, if there are two colons or brackets, an IPv6 address.
 *
 * @throws {SyntaxError} if it looks like neither, or has a prefix or a port; and RangeError as
 * `parseAddress` and `parseAddress6` do
 */
export function parseHostAddress(text: string): HostAddress {
  const [, host] = /^(\d+\.[\d.]*|\[[^\]]*\]):\d*$/.exec(text) ?? [];
  if (host !== undefined) {
    throw new SyntaxError(
      `Cannot parse "${text}" as address: expected none with a port; did you mean "${host}"?`,
    );
  }
  const [bare = "", ...rest] = text.split("/");
  const isIpv6Text = /:.*:|^\[/.test(bare);
  if (!isIpv6Text && !/^\d+\./.test(bare)) {
    throw new SyntaxError(
      `Cannot parse "${text}" as address: ` +
        "expected an IPv4 or IPv6 address, as in 192.168.0.1 or 2001:db8::1",
    );
  }
  const address = isIpv6Text ? addressOfWords(parseAddress6(bare)) : parseAddress(bare);
  if (rest.length === 0) return address;
  throw new SyntaxError(
    `Cannot parse "${text}" as address: expected none with a prefix; did you mean "${bare}"?`,
  );
}

/** `192.168.0.1`, or `2001:db8::1` (RFC 5952). */
export function formatHostAddress(address: HostAddress): string {
  return isIpv6(address) ? formatAddress6(wordsOf(address)) : formatAddress(address);
}

/** `192.168.0.1`, or `[2001:db8::1]` (RFC 3986 §3.2.2). */
export function formatUrlHost(address: HostAddress): string {
  const text = formatHostAddress(address);
  return isIpv6(address) ? `[${text}]` : text;
}

/** `192.168.0.1:80`, or `[2001:db8::1]:80` (RFC 5952 §6). */
export function formatSocket(address: HostAddress, port: number): string {
  return `${formatUrlHost(address)}:${port}`;
}

/** The same; port 0 is none, and there are no brackets. */
export function formatEndpoint(address: HostAddress, port: number): string {
  return port === 0 ? formatHostAddress(address) : formatSocket(address, port);
}

/**
 * Splits `192.168.0.1:80` or `[2001:db8::1]:80` at the colon before the port, which may be missing
 * (null). More than one colon without brackets are an IPv6 address.
 */
export function splitEndpoint(
  text: string,
): { readonly host: string; readonly port: string | null } {
  const [, host, port = null] = /^(\[[^\]]*\]|[^:]*)(?::([^:]*))?$/.exec(text) ?? [];
  return host === undefined ? { host: text, port: null } : { host, port };
}

/** Reads `address/prefix` text; without a prefix, `defaultPrefix` has it for each family. */
export function parseHostInterface(
  text: string,
  defaultPrefix: { readonly ipv4: number; readonly ipv6: number } = { ipv4: 32, ipv6: 128 },
): { readonly address: HostAddress; readonly prefixLength: number } {
  const slash = text.indexOf("/");
  const address = parseHostAddress(slash < 0 ? text : text.slice(0, slash));
  if (slash < 0) {
    const { ipv4, ipv6 } = defaultPrefix;
    return { address, prefixLength: isIpv6(address) ? ipv6 : ipv4 };
  }
  const [most, prefix] = [bitsOf(address), text.slice(slash + 1)];
  if (!/^\d{1,3}$/.test(prefix) || Number(prefix) > most) {
    const family = isIpv6(address) ? "IPv6" : "IPv4";
    throw new RangeError(
      `Cannot parse "${text}" as ${family} address: prefix length must be 0 to ${most}`,
    );
  }
  return { address, prefixLength: Number(prefix) };
}

/** Reads `10.0.0.0/8` or `2001:db8::/32`. Throws a RangeError if host bits are not zero. */
export function parseHostSubnet(text: string): HostSubnet {
  const { address, prefixLength } = parseHostInterface(text);
  const subnet = hostSubnetOf(address, prefixLength);
  if (subnet.network === address) return subnet;
  throw new RangeError(
    `Cannot use "${text}" as network: host bits must be zero; ` +
      `did you mean "${formatHostSubnet(subnet)}"?`,
  );
}

export function formatHostSubnet({ network, prefixLength }: HostSubnet): string {
  return `${formatHostAddress(network)}/${prefixLength}`;
}

/** The subnet of that prefix which the address is in. */
export function hostSubnetOf(address: HostAddress, prefixLength: number): HostSubnet {
  if (!isIpv6(address)) return { network: address & maskOf(prefixLength), prefixLength };
  return { network: address & (ALL_ONES << BigInt(128 - prefixLength)), prefixLength };
}

/** Its last address. */
export function lastOf({ network, prefixLength }: HostSubnet): HostAddress {
  if (!isIpv6(network)) return network | ~maskOf(prefixLength);
  return network | (ALL_ONES >> BigInt(prefixLength));
}

/** No address is in a subnet of the other family. */
export function inHostSubnet(address: HostAddress, subnet: HostSubnet): boolean {
  return isIpv6(address) === isIpv6(subnet.network) &&
    hostSubnetOf(address, subnet.prefixLength).network === subnet.network;
}

/** Orders addresses as numbers: negative if `one` is first, 0 if they are one. IPv4 comes first. */
export function compareHostAddresses(one: HostAddress, other: HostAddress): number {
  if (!isIpv6(one)) return isIpv6(other) ? -1 : (one >>> 0) - (other >>> 0);
  if (!isIpv6(other)) return 1;
  return one < other ? -1 : Number(one > other);
}
