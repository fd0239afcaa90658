/** Lab tests in either family: the same hosts and programs, by other addresses. */
import type { Lab } from "./lab.ts";
import type { DeclareTest, Needs } from "./suite.ts";
import { addTwins, onlyTwins, twinOf } from "./twins.ts";

export interface Family {
  readonly number: 4 | 6;
  /** The capture filter of its packets, pcap-filter(7), without those that find neighbours. */
  readonly packets: string;
  /** The capture filter of its ICMP errors. */
  readonly errors: string;
  /** Its ICMP as tshark names it; and type and code of what is said about a packet too big. */
  readonly icmp: { readonly name: string; readonly tooBig: string };
  /** The largest segment where packets may be so long, in bytes. */
  mss(mtu: number): number;
  /** The family's address of the host that has this one of IPv4. */
  of(address: string): string;
  /** What `of` gives, for a regular expression. */
  pattern(address: string): string;
  /** `of`, in brackets where a port follows. */
  host(address: string): string;
  /** The flags of a run whose backends are of this family. */
  options(options: readonly string[]): string[];
  /** Has the lab's hosts speak it. */
  speak(lab: Lab): Promise<void>;
}

export const IPV4: Family = {
  number: 4,
  packets: "ip",
  errors: "icmp",
  icmp: { name: "icmp", tooBig: "3\t4" },
  mss: (mtu) => mtu - 40,
  of: (address) => address,
  pattern: RegExp.escape,
  host: (address) => address,
  options: (options) => [...options],
  speak: () => Promise.resolve(),
};

export const IPV6: Family = {
  number: 6,
  packets: "ip6 and not (icmp6 and ip6[40] >= 133)",
  errors: "icmp6 and ip6[40] < 128",
  icmp: { name: "icmpv6", tooBig: "2\t0" },
  mss: (mtu) => mtu - 60,
  of: twinOf,
  pattern: (address) => RegExp.escape(twinOf(address)),
  host: (address) => `[${twinOf(address)}]`,
  options: onlyTwins,
  speak: addTwins,
};

/** Declares a test in each of the two. */
export function inEachFamily(
  declare: DeclareTest,
  name: string,
  body: (family: Family) => Promise<void>,
  needs?: Needs,
): void {
  for (const family of [IPV4, IPV6]) {
    const title = family === IPV4 ? name : `${name}, over IPv6`;
    declare(title, () => body(family), needs);
  }
}
