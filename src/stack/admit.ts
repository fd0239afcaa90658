/**
 * Which IPv4 packets the proxy accepts, before any policy: sent to its own address, from an address
 * that a host can have (RFC 1812 §5.3.7, RFC 1122 §3.2.1.3).
 */
import { Reason } from "../core/reason.ts";
import {
  type Address,
  directedBroadcast,
  isLoopback,
  isMulticast,
  isReserved,
  isThisNetwork,
  type Subnet,
} from "../wire/address.ts";
import type { Pdu } from "../wire/pdu.ts";

export interface OwnAddress {
  readonly address: Address;
  readonly subnet: Subnet;
}

/** 0 if the packet may enter the tree, else the reason to drop it. */
export function admit(pdu: Pdu, own: OwnAddress): number {
  const { dst } = pdu;
  if (dst !== own.address) {
    if (dst === -1 || isSubnetBroadcast(dst, own.subnet)) return Reason["broadcast-destination"];
    return isMulticast(dst) ? Reason["multicast-destination"] : Reason["foreign-destination"];
  }
  return admitSource(pdu, own);
}

/**
 * As `admit`, where backends answer clients' own addresses and the proxy is on the path: also 0 for
 * a packet to another host, as it may belong to a connection.
 */
export function admitTransit(pdu: Pdu, own: OwnAddress): number {
  const reason = admit(pdu, own);
  return reason === Reason["foreign-destination"] ? admitSource(pdu, own) : reason;
}

function admitSource(pdu: Pdu, own: OwnAddress): number {
  if (pdu.broadcastFrame !== 0) return Reason["broadcast-mac"]; // RFC 1122 §3.3.6
  if (pdu.src === own.address) return Reason["own-source"];
  return isHost(pdu.src, own.subnet) ? 0 : Reason["martian-source"];
}

/** True for an address that a single host can have. */
export function isHost(address: Address, subnet: Subnet): boolean {
  return !isMulticast(address) && !isReserved(address) && !isLoopback(address) &&
    !isThisNetwork(address) && !isSubnetBroadcast(address, subnet);
}

/**
 * The subnet's broadcast address, or its network address, the obsolete broadcast address (RFC 1122
 * §3.3.6).
 */
function isSubnetBroadcast(address: Address, subnet: Subnet): boolean {
  const broadcast = directedBroadcast(subnet);
  return broadcast !== null && (address === broadcast || address === subnet.network);
}
