/** What the proxy tells the sender of a packet that it keeps: one thing, by either family. */
import * as icmpv4 from "../wire/icmpv4.ts";
import * as icmpv6 from "../wire/icmpv6.ts";

/** Type and code of the ICMP error (RFC 792, RFC 1812 §5.2.7.1) and of ICMPv6's (RFC 4443 §3). */
export interface Complaint {
  readonly type: number;
  readonly code: number;
  readonly type6: number;
  readonly code6: number;
}

export const NO_ROUTE: Complaint = unreachable(
  icmpv4.CODE_NET_UNREACHABLE,
  icmpv6.CODE_NO_ROUTE,
);

/** Nobody is there who could take it. */
export const NO_HOST: Complaint = unreachable(
  icmpv4.CODE_HOST_UNREACHABLE,
  icmpv6.CODE_ADDRESS_UNREACHABLE,
);

export const NO_PORT: Complaint = unreachable(
  icmpv4.CODE_PORT_UNREACHABLE,
  icmpv6.CODE_PORT_UNREACHABLE6,
);

export const PROHIBITED: Complaint = unreachable(
  icmpv4.CODE_ADMIN_PROHIBITED,
  icmpv6.CODE_PROHIBITED,
);

/** Its source means something on one link only; IPv4 has no word for that. */
export const BEYOND_SCOPE: Complaint = unreachable(
  icmpv4.CODE_NET_UNREACHABLE,
  icmpv6.CODE_BEYOND_SCOPE,
);

/** Longer than the MTU, which the error names. */
export const TOO_LONG: Complaint = {
  type: icmpv4.ICMP_UNREACHABLE,
  code: icmpv4.CODE_FRAGMENTATION_NEEDED,
  type6: icmpv6.ICMPV6_PACKET_TOO_BIG,
  code6: 0,
};

/** Its TTL or hop limit is used up. */
export const TOO_FAR: Complaint = timeExceeded(0, icmpv6.CODE_HOP_LIMIT_EXCEEDED);

/** Other fragments of its datagram did not come. */
export const NOT_WHOLE: Complaint = timeExceeded(
  icmpv4.CODE_REASSEMBLY_TIME_EXCEEDED,
  icmpv6.CODE_REASSEMBLY_TIME_EXCEEDED6,
);

function unreachable(code: number, code6: number): Complaint {
  return {
    type: icmpv4.ICMP_UNREACHABLE,
    code,
    type6: icmpv6.ICMPV6_UNREACHABLE,
    code6,
  };
}

function timeExceeded(code: number, code6: number): Complaint {
  return {
    type: icmpv4.ICMP_TIME_EXCEEDED,
    code,
    type6: icmpv6.ICMPV6_TIME_EXCEEDED,
    code6,
  };
}
