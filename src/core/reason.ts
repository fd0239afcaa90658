/**
 * Why a packet was dropped: each reason is counted, named in the log and the summary, and explained
 * here, in the order of the checks.
 *
 * One rule holds for the result of a function on the packet path:
 *
 *     ≥ 0        the packet goes on: 0, or a result (a decision, an offset, a reference)
 *     < 0        it is dropped, for this reason
 *     NOT_MINE   it is for another function; nothing was done
 *     HELD       it was kept, for now
 */

const TABLE = [
  ["none", "the packet was not dropped"],
  ["policy", "the policy decided Drop"],
  ["frame-too-short", "shorter than an Ethernet header"],
  ["multicast-mac", "sent to a multicast MAC address"],
  ["foreign-mac", "sent to another station's MAC address (flooded by a bridge)"],
  ["vlan-tagged", "has an IEEE 802.1Q tag that names a VLAN, or more than one tag"],
  ["unknown-ethertype", "neither IPv4 nor ARP, nor IPv6 where that is on"],
  ["source-mac", "an IP packet from a group MAC address, or from the proxy's own"],
  ["arp-malformed", "not an Ethernet/IPv4 ARP packet, or truncated"],
  ["ip-truncated", "shorter than an IPv4 header, or than its own total length"],
  ["ip-version", "IP version is not 4"],
  ["ip-header-length", "IHL below 5 words, or beyond the total length"],
  ["ip-checksum", "IPv4 header checksum is wrong"],
  ["ip-options", "malformed IPv4 options, or a source route"],
  ["header-chain", "a malformed chain of IPv6 extension headers, or one that is too long"],
  ["header-option", "an unknown IPv6 option whose sender wants the packet dropped"],
  ["routing-header", "an IPv6 routing header that names further stations"],
  ["next-header", "carries neither TCP, UDP nor ICMPv6 behind the IPv6 header"],
  ["unusual-headers", "has IPv6 extension headers or options that nobody needs here"],
  ["broadcast-destination", "destination is a broadcast address"],
  ["multicast-destination", "destination is a multicast address"],
  ["foreign-destination", "destination is not the proxy's address"],
  ["broadcast-mac", "sent to the proxy's address, but to the broadcast MAC address"],
  ["own-source", "source address is the proxy's own (a land attack)"],
  ["martian-source", "source address is multicast, broadcast, loopback or unspecified"],
  [
    "wrong-side",
    "failed the reverse-path check: its source is better reached through the other side",
  ],
  ["fragment-length", "a fragment with an impossible length, or that ends beyond 64 KiB"],
  ["fragment-tiny", "a fragment that splits the layer 4 header"],
  ["fragment-overlap", "its datagram's fragments overlap or disagree about the datagram's length"],
  ["fragment-limit", "too many datagrams are waiting for reassembly"],
  [
    "fragment-timeout",
    "reassembly timed out: the datagram was not complete within 30 s, of IPv6 60 s",
  ],
  ["vnet-header", "its virtio_net_hdr requests an offload that can't be performed"],
  ["icmp-truncated", "shorter than an ICMP header"],
  ["icmp-checksum", "ICMP checksum is wrong"],
  ["tcp-truncated", "shorter than a TCP header"],
  ["tcp-header-length", "TCP data offset below 5 words, or beyond the segment"],
  ["tcp-flags", "no TCP flags, or a combination that no endpoint sends"],
  ["tcp-checksum", "TCP checksum is wrong"],
  ["udp-truncated", "shorter than a UDP header, or than its own length field"],
  ["udp-checksum", "UDP checksum is wrong"],
  ["port-zero", "TCP port 0, or UDP destination port 0"],
  ["icmp-quote", "an ICMP error that does not quote an IP header and 8 bytes of data"],
  ["icmp-quote-checksum", "checksum of the IPv4 header quoted in an ICMP error is wrong"],
  ["discovery-malformed", "a Neighbor Discovery message that is to be ignored (RFC 4861)"],
  ["discovery-hop-limit", "a Neighbor Discovery message that has passed a router"],
  ["discovery-fragment", "a Neighbor Discovery message in fragments (RFC 6980)"],
  ["router-message", "a message to routers, or a router advertisement that nobody asked for"],
  ["redirect", "an ICMPv6 redirect: packets go where the flags say"],
  ["listener-malformed", "a multicast listener query that is to be ignored (RFC 3810)"],
  ["mtu-below-minimum", "a Packet Too Big that names less than 1,280 bytes"],
  ["invalid", "belongs to no connection and can't open one"],
  ["stray", "a TCP segment that belongs to no connection and opens none"],
  [
    "out-of-window",
    "TCP segment, or one quoted in an ICMP error, outside its connection's window",
  ],
  ["retried", "a backend's refusal of a connection that goes to another backend instead"],
  ["no-mapping", "from a backend, without a connection to translate back to"],
  ["not-translatable", "no ports or query identifier to translate by"],
  ["no-counterpart", "nothing of the other family corresponds to it (RFC 7915)"],
  ["not-translated", "the policy decided Forward for a packet still addressed to the proxy"],
  ["not-echo-request", "the policy decided Echo_reply for a packet that is not an echo request"],
  ["beyond-scope", "a link-local address of IPv6 means nothing on the other side"],
  ["ttl-expired", "TTL or hop limit would reach 0"],
  ["mtu-exceeded", "longer than the MTU, and not to be fragmented: DF, or IPv6"],
  ["link-down", "the outgoing device is down or gone"],
  [
    "address-on-trial",
    "would leave with an own IPv6 address that is not known to be free, or is withheld",
  ],
  [
    "no-backend",
    "no backend serves the client's family, or none in service answers ARP or neighbor solicitations",
  ],
  ["all-down", "every backend of the pool is down, as checks say"],
  ["backends-full", "every backend that could take the connection has its maximum"],
  ["no-route", "no route to the destination"],
  ["source-limit", "its source has reached its limit of connections (--max-conn-per-source)"],
  ["no-port", "every source port towards this backend and port is in use by a live connection"],
  ["table-full", "the connection table is full of live connections"],
  ["arp-queue-full", "too many packets are waiting for replies to ARP or neighbor solicitations"],
  ["arp-unanswered", "no reply to ARP or to neighbor solicitations came"],
  ["no-buffer", "no buffer space left in this burst"],
  ["send-failed", "the device did not take the frame"],
] as const;

export type ReasonName = typeof TABLE[number][0];

/** See above; below all reasons. */
export const NOT_MINE = -(1 << 30);
export const HELD: number = NOT_MINE - 1;

/** Name → number, e.g. `Reason["no-route"]`: `none` is 0, the others are negative. */
export const Reason: Readonly<Record<ReasonName, number>> = Object.freeze(
  Object.fromEntries(TABLE.map(([name], place) => [name, 0 - place])),
) as Record<ReasonName, number>;

export const REASON_COUNT: number = TABLE.length;

/** In the order above. */
export const REASON_NAMES: readonly ReasonName[] = TABLE.map(([name]) => name);

export function reasonName(reason: number): ReasonName {
  return TABLE[-reason]![0];
}

export function reasonText(reason: number): string {
  return TABLE[-reason]![1];
}
