/** Connections of either family with the same hosts around them. */
import assert from "node:assert/strict";
import { type Random, SeededRandom } from "../../src/core/random.ts";
import { reasonName } from "../../src/core/reason.ts";
import { Backends } from "../../src/flow/backends/backends.ts";
import { plainMember } from "../../src/flow/backends/member.ts";
import { Connections, type ConnectionsOptions } from "../../src/flow/connections.ts";
import { DEFAULT_TIMEOUTS } from "../../src/flow/lifetimes.ts";
import { SIDE_A, SIDE_B } from "../../src/flow/table.ts";
import { type NextHops6, Translation } from "../../src/flow/translate.ts";
import { AddressDigest } from "../../src/wire/address_digest.ts";
import { formatAddress6 } from "../../src/wire/address6.ts";
import { formatHostAddress, parseHostAddress, wordsOf } from "../../src/wire/host_address.ts";
import { OVER_IPV6, Pdu } from "../../src/wire/pdu.ts";
import { SYN } from "../../src/wire/tcp.ts";

export const [TCP, UDP, ICMP] = [6, 17, 1];
const ICMPV6 = 58;
export const NO_BYTES = new DataView(new ArrayBuffer(0));

/** The same hosts over either family. */
export const HOSTS = {
  proxy: ["192.168.0.100", "2001:db8::64"],
  other: ["192.168.0.99", "2001:db8:7::63"],
  b1: ["192.168.0.1", "2001:db8::1"],
  b2: ["192.168.0.2", "2001:db8:1::1"],
  b3: ["192.168.0.3", "2001:db8:0:5::1"],
  c1: ["10.0.0.1", "2001:db8:c:1::1"],
  c2: ["10.0.0.2", "2001:db8:c:2::1"],
  c3: ["10.0.0.3", "2001:db8:c:3::1"],
  c4: ["10.0.0.4", "2001:db8:c:4::1"],
} as const;

export type Host = keyof typeof HOSTS;
export const MEMBERS: readonly Host[] = ["b1", "b2", "b3"];
export const CLIENTS: readonly Host[] = ["c1", "c2", "c3", "c4"];

export interface Packet {
  readonly step: "track" | "a" | "b";
  readonly src: Host;
  readonly srcPort: number;
  readonly dst: Host;
  readonly dstPort: number;
  readonly protocol: number;
  readonly fields: Partial<Pdu>;
}

/** Connections of one family, which names hosts as both do. */
export class World {
  readonly backends: Backends;
  readonly connections: Connections;
  readonly digest: AddressDigest | null;
  readonly to = new Translation();
  readonly pdu = new Pdu();
  nowMs = 0;
  readonly #family: 0 | 1;
  readonly #names = new Map<string, Host>();

  constructor(
    isIpv6: boolean,
    seed: number,
    { digest = new SeededRandom(seed) as Random, ...options }:
      & Partial<ConnectionsOptions>
      & { digest?: Random } = {},
  ) {
    this.#family = isIpv6 ? 1 : 0;
    this.digest = isIpv6 ? new AddressDigest(digest) : null;
    const members = MEMBERS.map((host) => plainMember(this.addressOf(host)));
    const none = undefined;
    const pools = { web: { members } };
    this.backends = new Backends([9], pools, none, none, none, none, this.digest);
    for (const host of Object.keys(HOSTS) as Host[]) {
      this.#names.set(HOSTS[host][this.#family], host);
    }
    const own = (["proxy", "other"] as const).flatMap((host) => [...this.wordsOf(host)]);
    this.connections = new Connections({
      maxConnections: 24,
      ports: { first: 1024, last: 1043 },
      timeouts: DEFAULT_TIMEOUTS,
      ownAddress: isIpv6 ? 5 : this.addressOf("proxy") as number,
      ipv6: isIpv6 ? { digest: this.digest!, own: Int32Array.from(own) } : null,
      backends: this.backends,
      random: new SeededRandom(seed),
      ...options,
    });
  }

  addressOf(host: Host): number | bigint {
    return parseHostAddress(HOSTS[host][this.#family]);
  }

  wordsOf(host: Host): Int32Array {
    const address = this.addressOf(host);
    return typeof address === "bigint" ? wordsOf(address) : new Int32Array(4);
  }

  keyOf(host: Host): number {
    const address = this.addressOf(host);
    return typeof address === "bigint" ? this.digest!.ofWords(wordsOf(address), 0) : address;
  }

  send(packet: Packet, routes6: NextHops6 | null = null): string {
    const { step, src, dst, srcPort, dstPort, fields } = packet;
    const { pdu, connections, to } = this;
    Object.assign(pdu, { ack: 0, seq: 1, window: 1000, tcpFlags: 0, flow: -1, ...fields });
    Object.assign(pdu, { srcPort, dstPort, src: this.keyOf(src), dst: this.keyOf(dst) });
    const isIpv6 = this.#family === 1;
    pdu.protocol = packet.protocol === ICMP && isIpv6 ? ICMPV6 : packet.protocol;
    if (isIpv6) {
      pdu.protocol |= OVER_IPV6;
      pdu.addresses.set([...this.wordsOf(src), ...this.wordsOf(dst)]);
    }
    if (packet.protocol === ICMP) {
      pdu.icmpType = isIpv6 ? fields.icmpType === 8 ? 128 : 129 : fields.icmpType!;
    }
    connections.classify(NO_BYTES, pdu, this.nowMs);
    const { steps } = connections;
    const target = this.backends.target("web", 0, "at random");
    const asked = step === "a"
      ? steps.translateAToB(pdu, target)
      : step === "b"
      ? steps.translateBToA(pdu)
      : steps.track(pdu);
    const reason = asked || connections.commit(NO_BYTES, pdu, this.nowMs, to, null, routes6);
    if (reason !== 0) return reasonName(reason);
    if (step === "track") return "tracked";
    return `${this.#end("src", 0)}:${to.srcPort} -> ${this.#end("dst", 4)}:${to.dstPort}`;
  }

  /** The host of the last translation: its key and its words agree. */
  #end(end: "src" | "dst", at: 0 | 4): string {
    const { to } = this;
    const text = this.#family === 1 ? formatAddress6(to.addresses, at) : formatHostAddress(to[end]);
    const host = this.#names.get(text) ?? text;
    if (host in HOSTS) assert.equal(to[end], this.keyOf(host as Host), `${end} is ${host}`);
    return host;
  }

  snapshot(): unknown {
    const { table } = this.connections;
    const { inUse, most } = this.connections.portsInUse;
    return {
      entries: [...table].map((entry) => [
        entry,
        table.state(entry),
        table.hasSideB(entry) ? table.member(entry) : -1,
        table.dstPort(entry, SIDE_B),
        table.srcPort(entry, SIDE_A),
      ]),
      members: this.backends.all.map(({ active, load, opened }) => [active, load, opened]),
      evicted: this.connections.evicted,
      ports: [inUse, most],
    };
  }
}

/** A SYN of `src` to `dst`, from and to these ports. */
export function syn(src: Host, srcPort = 40_000, dst: Host = "proxy", dstPort = 80): Packet {
  const fields = { tcpFlags: SYN, seq: 0 };
  return { step: "a", src, srcPort, dst, dstPort, protocol: TCP, fields };
}
