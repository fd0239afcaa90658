/**
 * The proxy as a client of its backends: makes the frames of checks, and knows those that come back
 * by their address and ports. It uses the link that traffic takes, and its ports are nobody else's
 * (`Own`).
 *
 *     start ──▶ ICMP, UDP or TCP ──▶ `way.ts` ──▶ link
 *     take  ◀── before the tree; what an answer means is in `probe.ts`
 *
 * A port stays with its probe until the next check has another one, so that what comes late is
 * still known.
 */
import type { Arena } from "../../core/arena.ts";
import type { Random } from "../../core/random.ts";
import { Reason } from "../../core/reason.ts";
import type { ActiveCheck } from "../../policy/language/health.ts";
import { complement, sumBytes } from "../../wire/checksum.ts";
import { ETHERNET_BYTES } from "../../wire/ethernet.ts";
import { formatHostAddress, type HostAddress, isIpv6 } from "../../wire/host_address.ts";
import * as icmpv4 from "../../wire/icmpv4.ts";
import * as icmpv6 from "../../wire/icmpv6.ts";
import * as ipv4 from "../../wire/ipv4.ts";
import { IPV6_BYTES } from "../../wire/ipv6.ts";
import * as pdus from "../../wire/pdu.ts";
import type { Pdu } from "../../wire/pdu.ts";
import { decodeQuoted, Quoted, quotesPacket } from "../../wire/quoted.ts";
import { decodeQuoted6, Quoted6, quotesPacket6 } from "../../wire/quoted6.ts";
import * as tcp from "../../wire/tcp.ts";
import * as udp from "../../wire/udp.ts";
import { beginPacket, layer4Checksum, layer4Of } from "../reply.ts";
import { Probe, type ProbeEnd, type SendSegment } from "./probe.ts";
import { type WaysOptions, wayTo } from "./way.ts";

/** Longest headers before layer 4. */
const HEADER_BYTES = ETHERNET_BYTES + IPV6_BYTES;

/** Source ports towards backends that no connection uses; `protocol` as in a Pdu. */
export interface OwnPorts {
  /** -1: there is none. */
  reserve(protocol: number, backend: number, own: number, port: number, random: Random): number;
  release(protocol: number, backend: number, port: number, ownPort: number): void;
}

export interface ProberOptions extends WaysOptions {
  readonly arena: Arena;
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
  readonly #quoted6 = new Quoted6();
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
  probe(check: ActiveCheck, address: HostAddress): Probe {
    const text = formatHostAddress(address);
    const host = isIpv6(address) ? `[${text}]` : text; // RFC 3986 §3.2.2
    return new Probe(check, wayTo(address, this.#options), host);
  }

  /** Sends the probe's first frame; false if there is no port or no room for it now. */
  start(probe: Probe, nowMs: number): boolean {
    const { ports, random } = this.#options;
    const { protocol, port, way } = probe;
    const next = ports.reserve(protocol, way.backendKey, way.ownKey, port, random);
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
    this.#options.ended(probe, way.silence, true, nowMs);
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
    const { addresses, dst, dstPort, icmpType, protocol, src, srcPort } = pdu;
    if (pdus.isIcmp(protocol)) {
      const isOverIpv6 = pdus.isIpv6(protocol);
      if (isOverIpv6 && quotesPacket6(icmpType)) return this.#takeError6(view, pdu, nowMs);
      if (!isOverIpv6 && quotesPacket(icmpType)) return this.#takeError(view, pdu, nowMs);
    }
    const probe = this.#find(protocol, dstPort, src, srcPort);
    if (probe === undefined || !probe.way.isBack(dst, addresses)) return false;
    this.#note(nowMs);
    this.#conclude(probe, probe.take(view, pdu, this.#send));
    return true;
  }

  #takeError(view: DataView, pdu: Pdu, nowMs: number): boolean {
    const quoted = this.#quoted;
    if (decodeQuoted(view, pdu, quoted) !== 0 || quoted.hasTuple === 0) return false;
    const { dst, dstPort, protocol, src, srcPort } = quoted;
    const probe = this.#find(protocol, srcPort, dst, dstPort);
    if (probe === undefined || !probe.way.isBack(src, pdu.addresses)) return false;
    return this.#endByError(view, probe, pdu, quoted.l4, nowMs);
  }

  #takeError6(view: DataView, pdu: Pdu, nowMs: number): boolean {
    const { v6 } = this.#options;
    const quoted = this.#quoted6;
    if (v6 === null || decodeQuoted6(view, pdu, v6.digest, quoted) !== 0) return false;
    const { answer, dst, dstPort, protocol, src, srcPort } = quoted;
    const probe = quoted.hasTuple === 0 ? undefined : this.#find(protocol, srcPort, dst, dstPort);
    if (probe === undefined || !probe.way.isBack(src, answer)) return false;
    return this.#endByError(view, probe, pdu, quoted.l4, nowMs);
  }

  #endByError(view: DataView, probe: Probe, pdu: Pdu, l4: number, nowMs: number): true {
    this.#note(nowMs);
    this.#conclude(probe, probe.takeError(pdu, tcp.sequence(view, l4)));
    return true;
  }

  #note(nowMs: number): void {
    this.#received[0]!++;
    this.#nowMs = nowMs;
  }

  #conclude(probe: Probe, end: ProbeEnd): void {
    probe.way.answered();
    if (end !== null) this.#options.ended(probe, end.failure, false, this.#nowMs);
  }

  // Frames

  /** 0 or a reason. */
  #sendFirst(probe: Probe, nowMs: number): number {
    this.#nowMs = nowMs;
    const { check, ownPort, isn, port, way } = probe;
    const reason = check.kind === "icmp"
      ? this.#sendPacket(probe, icmpv4.ICMP_BYTES, (view, l4) => {
        const type = pdus.isIpv6(probe.protocol)
          ? icmpv6.ICMPV6_ECHO_REQUEST
          : icmpv4.ICMP_ECHO_REQUEST;
        icmpv4.writeHeader(view, l4, type, 0, (ownPort << 16) | (isn & 0xffff));
      })
      : check.kind === "udp"
      ? this.#sendPacket(probe, udp.UDP_BYTES + check.payload.length / 2, (view, l4, l4Bytes) => {
        udp.writeHeader(view, l4, { srcPort: ownPort, dstPort: port, lengthBytes: l4Bytes });
        bytesOfHex(check.payload).forEach((byte, i) => view.setUint8(l4 + udp.UDP_BYTES + i, byte));
      })
      : this.#sendSegment(probe, { seq: isn, ack: 0, flags: tcp.SYN, window: 1024 });
    if (reason === 0) way.expectAnswer(nowMs);
    return reason;
  }

  readonly #send: SendSegment = (probe, segment) => void this.#sendSegment(probe, segment);

  #sendSegment(probe: Probe, segment: Parameters<SendSegment>[1]): number {
    const data = segment.data ?? new Uint8Array();
    return this.#sendPacket(probe, tcp.TCP_MIN_BYTES + data.length, (view, l4) => {
      tcp.writeHeader(view, l4, { ...segment, srcPort: probe.ownPort, dstPort: probe.port });
      this.#options.arena.bytes.set(data, l4 + tcp.TCP_MIN_BYTES);
    });
  }

  /** Layer 4 is what `write` makes of it, and a checksum. */
  #sendPacket(
    { protocol, way }: Probe,
    l4Bytes: number,
    write: (view: DataView, l4: number, l4Bytes: number) => void,
  ): number {
    const { arena, random } = this.#options;
    if (!way.find()) return Reason["no-route"];
    const frame = !arena.hasRoom(1, HEADER_BYTES + l4Bytes) ? -1 : beginPacket(arena, way.backend, {
      src: way.own,
      protocol: protocol & ~pdus.OVER_IPV6,
      l4Bytes,
      tos: 0,
      id: pdus.isIpv6(protocol) ? 0 : random.uint32() & 0xffff,
      flags: ipv4.DONT_FRAGMENT,
    });
    if (frame < 0) return Reason["no-buffer"];
    const { view } = arena;
    const l4 = layer4Of(view, frame);
    write(view, l4, l4Bytes);
    if (protocol === ipv4.PROTOCOL_ICMP) {
      icmpv4.setChecksum(view, l4, complement(sumBytes(view, l4, l4Bytes, 0)));
    } else {
      const checksum = layer4Checksum(view, frame, protocol & ~pdus.OVER_IPV6, l4Bytes);
      if (pdus.isTcp(protocol)) tcp.setChecksum(view, l4, checksum);
      else if (pdus.isUdp(protocol)) udp.setChecksum(view, l4, checksum);
      else icmpv6.setChecksum(view, l4, checksum);
    }
    const reason = way.send(frame, l4 - frame + l4Bytes, this.#nowMs);
    if (reason === 0) this.#sent[0]!++;
    return reason;
  }

  // Who is whose

  #find(protocol: number, ownPort: number, backend: number, port: number): Probe | undefined {
    const probes = this.#probes.get(keyOf(protocol, ownPort));
    return probes?.find((probe) => probe.way.backendKey === backend && probe.port === port);
  }

  #remember(probe: Probe): void {
    const key = keyOf(probe.protocol, probe.ownPort);
    const others = this.#probes.get(key);
    if (others === undefined) this.#probes.set(key, [probe]);
    else others.push(probe);
  }

  #forget(probe: Probe): void {
    const { protocol, port, ownPort, way } = probe;
    if (ownPort < 0) return;
    const key = keyOf(protocol, ownPort);
    const others = (this.#probes.get(key) ?? []).filter((other) => other !== probe);
    if (others.length > 0) this.#probes.set(key, others);
    else this.#probes.delete(key);
    this.#options.ports.release(protocol, way.backendKey, port, ownPort);
  }
}

/** An integer that is small for every protocol of checks: looking for it allocates nothing. */
function keyOf(protocol: number, ownPort: number): number {
  const family = pdus.isIpv6(protocol) ? 1 << 24 : 0;
  return family | ((protocol & 0xff) << 16) | ownPort;
}

function bytesOfHex(hex: string): number[] {
  return Array.from(
    { length: hex.length / 2 },
    (_, i) => parseInt(hex.slice(2 * i, 2 * i + 2), 16),
  );
}
