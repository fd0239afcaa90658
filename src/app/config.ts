/**
 * What one run of the proxy is told, and the rules that its addresses must keep: every host address
 * is unicast and can be reached (RFC 1122 §3.2.1.3, RFC 3021 for /31).
 *
 * The checks return their argument's verdict by throwing a RangeError that quotes the bad value and
 * says what is expected. Text becomes values in `args.ts`.
 */
import type { Timeouts } from "../flow/lifetimes.ts";
import type { Mac, Subnet } from "../wire/address.ts";
import {
  BROADCAST_ADDRESS,
  directedBroadcast,
  formatAddress,
  inSubnet,
  isLoopback,
  isMulticast,
  isReserved,
  isThisNetwork,
  subnetOf,
} from "../wire/address.ts";

/** Which PDUs the console shows: some of many, all, or none (see `trace.ts`). */
export type TraceMode = "auto" | "all" | "off";

export interface Config {
  /** Name of the TAP device. */
  readonly net: string;
  /** The backends (side B), in the order given; at least one. */
  readonly dstAddrs: readonly number[];
  /** The proxy's own address. */
  readonly address: number;
  readonly prefixLength: number;
  /** Next hop for everything outside the own subnet. */
  readonly gateway: number | null;
  readonly mac: Mac;
  /** Source ports towards the backends, both ends included. */
  readonly ports: { readonly first: number; readonly last: number };
  /** Most connections that are tracked at the same time. */
  readonly maxConn: number;
  /** Longest idle times of connections. */
  readonly timeouts: Timeouts;
  /** Makes a run repeatable; null: randomness is cryptographic. */
  readonly seed: number | null;
  readonly trace: TraceMode;
  /** Path of the policy file; null: the program's own policy. */
  readonly policy: string | null;
}

/** What a run on a TAP device is told besides. */
export interface TapConfig {
  /** Takes TCP segments of up to 64 KiB, and frames whose checksums are made where they leave. */
  readonly offload: boolean;
  /** How long a device that has just given frames is asked for more before the proxy sleeps, in µs. */
  readonly spinUs: number;
}

/** Throws RangeError unless a host on a subnet of `prefixLength` can have `address`. */
export function checkOwnAddress(address: number, prefixLength: number): void {
  const fail = `Cannot use "${formatAddress(address)}/${prefixLength}" as own address`;
  if (prefixLength === 32) {
    throw new RangeError(`${fail}: expected a prefix length of at most 31, /32 has no neighbours`);
  }
  throwIfNoHost(fail, address, subnetOf(address, prefixLength));
}

/** Throws RangeError unless `gateway` is another host in the own subnet. */
export function checkGateway(gateway: number, address: number, prefixLength: number): void {
  const fail = `Cannot use "${formatAddress(gateway)}" as gateway`;
  const subnet = subnetOf(address, prefixLength);
  throwIfNoHost(fail, gateway, subnet);
  if (gateway === address) throw new RangeError(`${fail}: expected another host, not the proxy`);
  if (!inSubnet(gateway, subnet)) {
    throw new RangeError(`${fail}: expected an address in ${formatSubnet(subnet)}`);
  }
}

/** Throws RangeError unless each backend is another host, reachable, and given once. */
export function checkBackends(
  backends: readonly number[],
  address: number,
  prefixLength: number,
  gateway: number | null,
): void {
  const subnet = subnetOf(address, prefixLength);
  const seen = new Set<number>();
  for (const backend of backends) {
    const fail = `Cannot use "${formatAddress(backend)}" as backend`;
    throwIfNoHost(fail, backend, subnet);
    if (backend === address) throw new RangeError(`${fail}: expected another host, not the proxy`);
    if (seen.has(backend)) throw new RangeError(`${fail}: expected each backend once`);
    if (gateway === null && !inSubnet(backend, subnet)) {
      throw new RangeError(
        `${fail}: expected an address in ${formatSubnet(subnet)}, or a --gateway to reach it`,
      );
    }
    seen.add(backend);
  }
}

function throwIfNoHost(fail: string, address: number, subnet: Subnet): void {
  const kind = nonHostKind(address, subnet);
  if (kind !== null) throw new RangeError(`${fail}: expected the address of one host, not ${kind}`);
}

/** What `address` is if it cannot belong to one host, else null. */
function nonHostKind(address: number, subnet: Subnet): string | null {
  if (isThisNetwork(address)) return `"this network" (0.0.0.0/8)`;
  if (isLoopback(address)) return "loopback (127.0.0.0/8)";
  if (isMulticast(address)) return "multicast (224.0.0.0/4)";
  if (address === BROADCAST_ADDRESS) return "broadcast";
  if (isReserved(address)) return "reserved (240.0.0.0/4)";
  const broadcast = directedBroadcast(subnet);
  if (broadcast === null) return null;
  if (address === broadcast) return `the broadcast address of ${formatSubnet(subnet)}`;
  if (address === subnet.network) return `the network address of ${formatSubnet(subnet)}`;
  return null;
}

function formatSubnet(subnet: Subnet): string {
  return `${formatAddress(subnet.network)}/${subnet.prefixLength}`;
}
