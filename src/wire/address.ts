/**
 * IPv4 and MAC addresses as numbers, and the only place that turns them to and from text.
 *
 * An IPv4 address is a signed 32-bit integer in host order (192.168.0.1 is -1062731775), so that it
 * is a small integer everywhere. A MAC address is its upper 16 and its lower 32 bits (signed).
 */

/**
 * An IPv4 address. A plain number can be used as one, but nothing that has another type of its own:
 * the type says what a number means, where a signature has many.
 */
export type Address = number & { readonly kind?: "IPv4 address" };

export interface Mac {
  readonly hi: number;
  readonly lo: number;
}

export interface Subnet {
  /** First address of the subnet. */
  readonly network: Address;
  readonly prefixLength: number;
}

export const BROADCAST_ADDRESS = -1;

/**
 * Reads dotted-decimal text (RFC 6943 §3.1.1, strict form) as a signed 32-bit integer in host
 * order.
 *
 * @throws {SyntaxError} for what is not four decimal numbers without leading zeros
 * @throws {RangeError} for a number above 255
 */
export function parseAddress(text: string): Address {
  const octets = text.split(".");
  const fail = `Cannot parse "${text}" as IPv4 address`;
  if (octets.length !== 4 || !octets.every((octet) => /^\d{1,10}$/.test(octet))) {
    throw new SyntaxError(`${fail}: expected four decimal octets, as in 192.168.0.1`);
  }
  let address = 0;
  for (const octet of octets) {
    if (octet.length > 1 && octet.startsWith("0")) {
      throw new SyntaxError(`${fail}: octet must not start with 0`);
    }
    if (Number(octet) > 255) throw new RangeError(`${fail}: octet must be ≤ 255`);
    address = (address << 8) | Number(octet);
  }
  return address;
}

/** Dotted-decimal text of an address, a signed or unsigned 32-bit integer. */
export function formatAddress(address: Address): string {
  return `${address >>> 24}.${(address >>> 16) & 255}.${(address >>> 8) & 255}.${address & 255}`;
}

/** Reads `address/prefix` text, e.g. `192.168.0.100/24`; without a prefix, `defaultPrefix`. */
export function parseInterface(
  text: string,
  defaultPrefix: number,
): { readonly address: Address; readonly prefixLength: number } {
  const slash = text.indexOf("/");
  if (slash < 0) return { address: parseAddress(text), prefixLength: defaultPrefix };
  const prefix = text.slice(slash + 1);
  if (!/^\d{1,2}$/.test(prefix) || Number(prefix) > 32) {
    throw new RangeError(`Cannot parse "${text}" as IPv4 address: prefix length must be 0 to 32`);
  }
  return { address: parseAddress(text.slice(0, slash)), prefixLength: Number(prefix) };
}

/** The prefix as a signed 32-bit mask. */
export function maskOf(prefixLength: number): number {
  return prefixLength === 0 ? 0 : -1 << (32 - prefixLength);
}

export function subnetOf(address: Address, prefixLength: number): Subnet {
  return { network: address & maskOf(prefixLength), prefixLength };
}

export function inSubnet(address: Address, subnet: Subnet): boolean {
  return (address & maskOf(subnet.prefixLength)) === subnet.network;
}

/** The subnet's directed broadcast address; /31 and /32 have none (RFC 3021) and give null. */
export function directedBroadcast(subnet: Subnet): number | null {
  return subnet.prefixLength > 30 ? null : subnet.network | ~maskOf(subnet.prefixLength);
}

export function isMulticast(address: Address): boolean {
  return (address >>> 28) === 0xe;
}

export function isLoopback(address: Address): boolean {
  return (address >>> 24) === 127;
}

/** 0.0.0.0/8, "this network" (RFC 1122 §3.2.1.3). */
export function isThisNetwork(address: Address): boolean {
  return (address >>> 24) === 0;
}

/** 240.0.0.0/4, reserved, the limited broadcast address included (RFC 1112 §4). */
export function isReserved(address: Address): boolean {
  return (address >>> 28) === 0xf;
}

/** Reads `02:00:5e:10:00:01` (or with `-`). Throws SyntaxError. */
export function parseMac(text: string): Mac {
  if (!/^[0-9a-fA-F]{2}([:-][0-9a-fA-F]{2}){5}$/.test(text)) {
    throw new SyntaxError(
      `Cannot parse "${text}" as MAC address: expected six hex octets, as in 02:00:5e:10:00:01`,
    );
  }
  const digits = text.replaceAll(/[:-]/g, "");
  return { hi: parseInt(digits.slice(0, 4), 16), lo: parseInt(digits.slice(4), 16) | 0 };
}

export function formatMac(mac: Mac): string {
  const digits = mac.hi.toString(16).padStart(4, "0") +
    (mac.lo >>> 0).toString(16).padStart(8, "0");
  return digits.match(/../g)!.join(":");
}

/**
 * The I/G bit in `Mac.hi`: set in group (multicast and broadcast) addresses (IEEE 802.3 §3.2.3).
 */
export const GROUP_HI = 0x0100;

export function isGroupMac(mac: Mac): boolean {
  return (mac.hi & GROUP_HI) !== 0;
}

/**
 * A locally administered unicast MAC (U/L bit set, I/G bit clear) that depends only on `name` and
 * `address`, so that a restarted proxy keeps its own: FNV-1a, 64 bits in two halves.
 */
export function stableMac(name: string, address: Address): Mac {
  const hash = (start: number): number => {
    let value = start;
    for (const char of `${name} ${formatAddress(address)}`) {
      value = Math.imul(value ^ char.codePointAt(0)!, 0x01000193);
    }
    return value;
  };
  return { hi: 0x0200 | (hash(0x811c9dc5) & 0xff), lo: hash(0x050c5d1f) };
}
