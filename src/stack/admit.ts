/**
 * Which IPv4 packets are the proxy's business, before any policy: sent from an address that a host can
 * have (RFC 1812 §5.3.7, RFC 1122 §3.2.1.3), to the proxy's own.
 */
import { Reason } from "../core/reason.ts";
import {
  directedBroadcast,
  isLoopback,
  isMulticast,
  isReserved,
  isThisNetwork,
  type Subnet,
} from "../wire/address.ts";
import type { Pdu } from "../wire/pdu.ts";

export interface OwnAddress {
  readonly address: number;
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
 * As `admit`, where backends answer clients under their own addresses and the proxy is on the way: 0 for
 * a packet to another host, too, if it may belong to a connection.
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

/** True for an address that one host can have and send from. */
export function isHost(address: number, subnet: Subnet): boolean {
  return !isMulticast(address) && !isReserved(address) && !isLoopback(address) &&
    !isThisNetwork(address) && !isSubnetBroadcast(address, subnet);
}

/** The subnet's broadcast address, or its network address, the broadcast of old (RFC 1122 §3.3.6). */
function isSubnetBroadcast(address: number, subnet: Subnet): boolean {
  const broadcast = directedBroadcast(subnet);
  return broadcast !== null && (address === broadcast || address === subnet.network);
}
