/**
 * Why a connection is not carried past the policy: the node because of which the proxy has to see
 * each packet of it, once it is established.
 */
import type { Connections } from "../flow/connections.ts";
import { SIDE_A, SIDE_B } from "../flow/table.ts";
import type { Keeper } from "../policy/engine/constant.ts";
import { makePlain } from "../policy/engine/unknown.ts";
import { isIpv6, Pdu } from "../wire/pdu.ts";
import type { Dispatch } from "./dispatch.ts";
import type { RunningPolicy } from "./running_policy.ts";

/** A keeper, and whose packets come to it. */
export interface KeptEnd {
  readonly keeper: Keeper;
  readonly from: "client" | "backend";
}

export interface KeeperOptions {
  readonly connections: Connections;
  readonly dispatch: Dispatch;
  readonly policy: RunningPolicy;
}

/** What keeps the connection, which has both its tuples; null: nothing does, at neither end. */
export function keeperOf(entry: number, options: KeeperOptions): KeptEnd | null {
  for (const [side, from] of [[SIDE_A, "client"], [SIDE_B, "backend"]] as const) {
    const constancy = options.policy.constancyOf(plainPdu((entry << 1) | side, options));
    if (!("exit" in constancy)) return { keeper: constancy, from };
  }
  return null;
}

/** A plain packet of the connection, from the end that the reference tells. */
function plainPdu(reference: number, { connections, dispatch }: KeeperOptions): Pdu {
  const { table } = connections;
  const [entry, side] = [reference >>> 1, reference & 1];
  const pdu = new Pdu();
  pdu.protocol = table.protocolOf(reference);
  pdu.src = table.src(entry, side);
  pdu.dst = table.dst(entry, side);
  pdu.srcPort = table.srcPort(entry, side);
  pdu.dstPort = table.dstPort(entry, side);
  if (isIpv6(pdu.protocol)) connections.writeTuple6(reference, pdu.addresses, 0);
  pdu.flow = reference;
  pdu.side = dispatch.sideOf(dispatch.linkTowards(reference), reference);
  makePlain(pdu);
  return pdu;
}
