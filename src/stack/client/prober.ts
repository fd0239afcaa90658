/**
 * The proxy as a client of its backends: makes the frames of checks, and knows those that come back
 * by their address and ports. It uses the link that traffic takes, and its ports are nobody else's
 * (`Own`).
 *
 *     start ──▶ IPv4 with ICMP, UDP or TCP ──▶ ARP ──▶ link
 *     take  ◀── before the tree; what an answer means is in `probe.ts`
 *
 * A port stays with its probe until the next check has another one, so that what comes late is
 * still known.
 */
import type { Arena } from "../../core/arena.ts";
import type { Random } from "../../core/random.ts";
import { Reason } from "../../core/reason.ts";
import type { ActiveCheck } from "../../policy/language/health.ts";
import { type Address, formatAddress } from "../../wire/address.ts";
import { complement, pseudoHeaderSum, sumBytes } from "../../wire/checksum.ts";
import * as ethernet from "../../wire/ethernet.ts";
import * as icmpv4 from "../../wire/icmpv4.ts";
import * as ipv4 from "../../wire/ipv4.ts";
import type { Pdu } from "../../wire/pdu.ts";
import { decodeQuoted, Quoted, quotesPacket } from "../../wire/quoted.ts";
import * as tcp from "../../wire/tcp.ts";
import * as udp from "../../wire/udp.ts";
import type { Arp } from "../arp.ts";
import type { Routes } from "../routes.ts";
import { Probe, type ProbeEnd, type SendSegment } from "./probe.ts";

const L4_OFFSET = ethernet.ETHERNET_BYTES + ipv4.IPV4_MIN_BYTES;

/** Source ports towards backends that no connection uses. */
export interface OwnPorts {
  /** -1: there is none. */
  reserve(protocol: number, backend: Address, own: Address, port: number, random: Random): number;
  release(protocol: number, backend: Address, port: number, ownPort: number): void;
}

export interface ProberOptions {
  readonly arena: Arena;
  readonly arp: Pick<Arp, "send" | "expectAnswer" | "answered">;
  readonly routes: Pick<Routes, "nextHop">;
  /** The address from which traffic goes to the backends. */
  readonly own: Address;
  readonly ports: OwnPorts;
  readonly random: Random;
  /** A check has ended by an answer, or could not reach its backend. */
  ended(probe: Probe, failure: string | null, isSilent: boolean, nowMs: number): void;
}

export class Prober {
  /** Frames, as doubles from the start. */
  readonly #sent = new Float64Array(1);
  readonly #received = new Float64Array(1);
  readonly #options: ProberOptions;
  /** By own port and protocol: there are seldom two. */
  readonly #probes = new Map<number, Probe[]>();
  readonly #quoted = new Quoted();
  #nowMs = 0;

  constructor(options: ProberOptions) {
    this.#options = options;
  }

  get sent(): number {
    return this.#sent[0]!;
  }

  get received(): number {
    return this.#received[0]!;
  }

  /** A probe that can be started again and again. */
  probe(check: ActiveCheck, address: Address): Probe {
    return new Probe(check, address, formatAddress(address));
  }

  /** Sends the probe's first frame; false if there is no port or no room for it now. */
  start(probe: Probe, nowMs: number): boolean {
    const { own, ports, random } = this.#options;
    const { protocol, address, port } = probe;
    const next = ports.reserve(protocol, address, own, port, random);
    if (next < 0 && probe.ownPort < 0) return false;
    if (next >= 0) {
      this.#forget(probe);
      probe.begin(next, random.uint32() | 0);
      this.#remember(probe);
    } else probe.begin(probe.ownPort, random.uint32() | 0);
    const reason = this.#sendFirst(probe, nowMs);
    if (reason === 0) return true;
    probe.abandon(this.#send);
    if (reason !== Reason["arp-unanswered"]) return false;
    this.#options.ended(probe, "it does not answer ARP", true, nowMs);
    return true;
  }

  /** Gives up a check that is under way. */
  stop(probe: Probe, nowMs: number): void {
    this.#nowMs = nowMs;
    probe.abandon(this.#send);
  }

  /** The probe is not needed any more. */
  remove(probe: Probe, nowMs: number): void {
    this.stop(probe, nowMs);
    this.#forget(probe);
  }

  /** Takes the PDU if it answers a probe, now or late; it is decoded and for the proxy. */
  take(view: DataView, pdu: Pdu, nowMs: number): boolean {
    if (this.#probes.size === 0) return false;
    const { protocol } = pdu;
    if (protocol === ipv4.PROTOCOL_ICMP && quotesPacket(pdu.icmpType)) {
      return this.#takeError(view, pdu, nowMs);
    }
    const probe = this.#find(protocol, pdu.dstPort, pdu.src, pdu.srcPort);
    if (probe === undefined || pdu.dst !== this.#options.own) return false;
    this.#received[0]!++;
    this.#nowMs = nowMs;
    this.#conclude(probe, probe.take(view, pdu, this.#send));
    return true;
  }

  #takeError(view: DataView, pdu: Pdu, nowMs: number): boolean {
    const quoted = this.#quoted;
    if (decodeQuoted(view, pdu, quoted) !== 0 || quoted.hasTuple === 0) return false;
    const probe = this.#find(quoted.protocol, quoted.srcPort, quoted.dst, quoted.dstPort);
    if (probe === undefined || quoted.src !== this.#options.own) return false;
    this.#received[0]!++;
    this.#nowMs = nowMs;
    this.#conclude(probe, probe.takeError(pdu, tcp.sequence(view, quoted.l4)));
    return true;
  }

  #conclude(probe: Probe, end: ProbeEnd): void {
    const { arp, routes } = this.#options;
    arp.answered(routes.nextHop(probe.address));
    if (end !== null) this.#options.ended(probe, end.failure, false, this.#nowMs);
  }

  // Frames

  /** 0 or a reason. */
  #sendFirst(probe: Probe, nowMs: number): number {
    this.#nowMs = nowMs;
    const { arp, routes } = this.#options;
    const { check, ownPort, isn, port } = probe;
    const reason = check.kind === "icmp"
      ? this.#sendPacket(probe, icmpv4.ICMP_BYTES, (view, l4, l4Bytes) => {
        const rest = (ownPort << 16) | (isn & 0xffff);
        icmpv4.writeHeader(view, l4, icmpv4.ICMP_ECHO_REQUEST, 0, rest);
        icmpv4.setChecksum(view, l4, complement(sumBytes(view, l4, l4Bytes, 0)));
      })
      : check.kind === "udp"
      ? this.#sendPacket(probe, udp.UDP_BYTES + check.payload.length / 2, (view, l4, l4Bytes) => {
        udp.writeHeader(view, l4, { srcPort: ownPort, dstPort: port, lengthBytes: l4Bytes });
        bytesOfHex(check.payload).forEach((byte, i) => view.setUint8(l4 + udp.UDP_BYTES + i, byte));
        udp.setChecksum(view, l4, this.#transportChecksum(view, probe, l4, l4Bytes));
      })
      : this.#sendSegment(probe, { seq: isn, ack: 0, flags: tcp.SYN, window: 1024 });
    if (reason === 0) arp.expectAnswer(routes.nextHop(probe.address), nowMs);
    return reason;
  }

  readonly #send: SendSegment = (probe, segment) => void this.#sendSegment(probe, segment);

  #sendSegment(probe: Probe, segment: Parameters<SendSegment>[1]): number {
    const data = segment.data ?? new Uint8Array();
    return this.#sendPacket(probe, tcp.TCP_MIN_BYTES + data.length, (view, l4, l4Bytes) => {
      tcp.writeHeader(view, l4, { ...segment, srcPort: probe.ownPort, dstPort: probe.port });
      this.#options.arena.bytes.set(data, l4 + tcp.TCP_MIN_BYTES);
      tcp.setChecksum(view, l4, this.#transportChecksum(view, probe, l4, l4Bytes));
    });
  }

  #sendPacket(
    { address, protocol }: Probe,
    l4Bytes: number,
    write: (view: DataView, l4: number, l4Bytes: number) => void,
  ): number {
    const { arena, arp, own, random, routes } = this.#options;
    const nextHop = routes.nextHop(address);
    if (nextHop === 0) return Reason["no-route"];
    const frame = arena.hasRoom(1, L4_OFFSET + l4Bytes) ? arena.scratch(L4_OFFSET + l4Bytes) : -1;
    if (frame < 0) return Reason["no-buffer"];
    const { view } = arena;
    const ip = frame + ethernet.ETHERNET_BYTES;
    ethernet.setEtherType(view, frame, ethernet.ETHERTYPE_IPV4);
    ipv4.writeHeader(view, ip, {
      totalLength: ipv4.IPV4_MIN_BYTES + l4Bytes,
      tos: 0,
      id: random.uint32() & 0xffff,
      flags: ipv4.DONT_FRAGMENT,
      ttl: ipv4.DEFAULT_TTL,
      protocol,
      src: own,
      dst: address,
    });
    ipv4.setChecksum(view, ip, complement(sumBytes(view, ip, ipv4.IPV4_MIN_BYTES, 0)));
    write(view, frame + L4_OFFSET, l4Bytes);
    const reason = arp.send(frame, L4_OFFSET + l4Bytes, nextHop, this.#nowMs, -1);
    if (reason === 0) this.#sent[0]!++;
    return reason;
  }

  #transportChecksum(
    view: DataView,
    { address, protocol }: Probe,
    l4: number,
    l4Bytes: number,
  ): number {
    const pseudo = pseudoHeaderSum(this.#options.own, address, protocol, l4Bytes);
    return complement(sumBytes(view, l4, l4Bytes, pseudo));
  }

  // Who is whose

  #find(protocol: number, ownPort: number, address: Address, port: number): Probe | undefined {
    const probes = this.#probes.get(keyOf(protocol, ownPort));
    return probes?.find((probe) => probe.address === address && probe.port === port);
  }

  #remember(probe: Probe): void {
    const key = keyOf(probe.protocol, probe.ownPort);
    const others = this.#probes.get(key);
    if (others === undefined) this.#probes.set(key, [probe]);
    else others.push(probe);
  }

  #forget(probe: Probe): void {
    const { protocol, address, port, ownPort } = probe;
    if (ownPort < 0) return;
    const key = keyOf(protocol, ownPort);
    const others = (this.#probes.get(key) ?? []).filter((other) => other !== probe);
    if (others.length > 0) this.#probes.set(key, others);
    else this.#probes.delete(key);
    this.#options.ports.release(protocol, address, port, ownPort);
  }
}

/** A small integer: looking for it allocates nothing. */
function keyOf(protocol: number, ownPort: number): number {
  return (protocol << 16) | ownPort;
}

function bytesOfHex(hex: string): number[] {
  return Array.from(
    { length: hex.length / 2 },
    (_, i) => parseInt(hex.slice(2 * i, 2 * i + 2), 16),
  );
}
