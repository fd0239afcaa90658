/**
 * Why a packet was dropped. A function on the packet path returns 0 or one of these numbers; each is
 * counted, named in the log and the summary, and explained here once, in the order in which a packet
 * can meet them.
 */

const TABLE = [
  ["none", "the packet was not dropped"],
  ["policy", "the policy decided Drop"],
  ["frame-too-short", "shorter than an Ethernet header"],
  ["multicast-mac", "sent to an Ethernet group address other than broadcast"],
  ["foreign-mac", "sent to another station's MAC address (a bridge floods such frames)"],
  ["vlan-tagged", "carries an IEEE 802.1Q tag that names a VLAN, or two tags"],
  ["unknown-ethertype", "neither IPv4 nor ARP"],
  ["source-mac", "an IPv4 packet from an Ethernet group address, or from the proxy's own"],
  ["arp-malformed", "not an Ethernet/IPv4 ARP packet, or cut short"],
  ["ip-truncated", "shorter than an IPv4 header, or than its own total length"],
  ["ip-version", "IP version is not 4"],
  ["ip-header-length", "IHL below 5 words, or beyond the total length"],
  ["ip-checksum", "IPv4 header checksum is wrong"],
  ["ip-options", "malformed IPv4 options, or a source route"],
  ["broadcast-destination", "destination is a broadcast address"],
  ["multicast-destination", "destination is a multicast address"],
  ["foreign-destination", "destination is not the proxy's address"],
  ["broadcast-mac", "sent to the proxy's address, but to every station's MAC address"],
  ["own-source", "source address is the proxy's own (a land attack)"],
  ["martian-source", "source address is multicast, broadcast, loopback or unspecified"],
  ["wrong-side", "source address lies on the other side, by the routes"],
  ["fragment-length", "an IPv4 fragment whose length can't be, or that ends beyond 64 KiB"],
  ["fragment-tiny", "a fragment that cuts through the layer 4 header"],
  ["fragment-overlap", "of a datagram whose fragments overlap or disagree about its end"],
  ["fragment-limit", "too many fragments wait for the rest of their datagrams"],
  ["fragment-timeout", "the rest of the fragment's datagram did not come within 30 s"],
  ["vnet-header", "its virtio_net_hdr leaves work to the interface that can't be done"],
  ["icmp-truncated", "shorter than an ICMP header"],
  ["icmp-checksum", "ICMP checksum is wrong"],
  ["tcp-truncated", "shorter than a TCP header"],
  ["tcp-header-length", "TCP data offset below 5 words, or beyond the segment"],
  ["tcp-flags", "no flag, or a set of TCP flags that no endpoint sends"],
  ["tcp-checksum", "TCP checksum is wrong"],
  ["udp-truncated", "shorter than a UDP header, or than its own length field"],
  ["udp-checksum", "UDP checksum is wrong"],
  ["port-zero", "TCP port 0, or UDP destination port 0"],
  ["icmp-quote", "an ICMP error that does not quote an IPv4 header and 8 bytes behind it"],
  ["icmp-quote-checksum", "the IPv4 header that an ICMP error quotes has a wrong checksum"],
  ["invalid", "belongs to no connection and can't open one"],
  [
    "out-of-window",
    "TCP segment, or one that an ICMP error quotes, outside its connection's window",
  ],
  ["no-mapping", "from a backend, without a connection to translate back to"],
  ["not-translatable", "no ports or query identifier to translate by"],
  ["not-translated", "decided Forward while still addressed to the proxy"],
  ["not-echo-request", "decided Echo_reply for something else than an echo request"],
  ["ttl-expired", "TTL would reach 0"],
  ["mtu-exceeded", "longer than the device's MTU, and must not be fragmented"],
  ["link-down", "the device that it would leave by is down or gone"],
  ["no-backend", "no backend answers ARP"],
  ["backends-full", "every backend that could take the connection has as many as it may"],
  ["no-route", "destination is off-link, and neither a route nor a gateway leads there"],
  ["source-limit", "its source has its share of the connections, or of those towards that port"],
  ["no-port", "every source port towards this backend and port belongs to a live connection"],
  ["table-full", "the connection table is full of live connections"],
  ["arp-queue-full", "too many packets wait for the same ARP reply"],
  ["arp-unanswered", "waited for an ARP reply that did not come"],
  ["no-buffer", "no scratch space left in this burst"],
  ["send-failed", "the device did not take the frame"],
] as const;

export type ReasonName = typeof TABLE[number][0];

/** Name → number, e.g. `Reason["no-route"]`. */
export const Reason: Readonly<Record<ReasonName, number>> = Object.freeze(
  Object.fromEntries(TABLE.map(([name], number) => [name, number])),
) as Record<ReasonName, number>;

export const REASON_COUNT: number = TABLE.length;

/** By number. */
export const REASON_NAMES: readonly ReasonName[] = TABLE.map(([name]) => name);

export function reasonName(reason: number): ReasonName {
  return TABLE[reason]![0];
}

export function reasonText(reason: number): string {
  return TABLE[reason]![1];
}
