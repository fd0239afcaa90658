/**
 * A host off the path that forges segments and ICMP errors under the names of a connection's two
 * ends. It knows addresses and ports, and when the connection is opened, but no sequence number: so
 * what it sends would do nothing on a wire between two hosts that keep to RFC 9293 and RFC 5961,
 * and must do nothing here. Its numbers are random, or near those that would do, which the
 * simulation knows, but never them.
 *
 * What no wire is safe from is left out: a SYN in place of the client's own, before that comes, and
 * a SYN from the server for a client that knows the simultaneous open: those here do not.
 */
import { below, type Random } from "../../src/core/random.ts";
import { type FlowTable, SIDE_B } from "../../src/flow/table.ts";
import { isHandshake } from "../../src/flow/tcp_state.ts";
import { buildIcmp, buildIp } from "../support/frames.ts";
import { buildIcmp6, buildIp6 } from "../support/frames6.ts";
import type { Endpoint } from "./endpoint.ts";
import type { HostAddress, SimHost } from "./host.ts";
import type { Connection } from "./plan.ts";
import { ACK, FIN, RST, Segment, SYN, writeSegment } from "./segment.ts";

/**
 * What an end of a connection is, seen from the attacker: whose name to take, and its true numbers.
 */
interface Target {
  readonly from: HostAddress;
  readonly proxy: HostAddress;
  readonly srcPort: number;
  readonly dstPort: number;
  /** Null: it has nothing yet, or nothing any more. */
  readonly own: Endpoint | null;
  readonly peer: Endpoint | null;
  readonly isClient: boolean;
  /** The client's own SYN has come. */
  readonly hasBegun: boolean;
}

/** What the attacker looks up, to miss the truth. */
export interface Table {
  readonly table: FlowTable;
  /** The entry of a client's port, or -1. */
  entryOf(host: SimHost, port: number, serverPort: number): number;
  /** The number of its backend. */
  memberOf(entry: number): number;
}

/** Where the table keeps it, apart from the entry. */
const ISN = 0;
/** Segments during the handshake, which takes 6 ms on a calm LAN; soon after; and long after. */
const MOMENTS: readonly [count: number, withinMs: number][] = [[8, 7], [6, 600], [4, 60_000]];
const GUESS_BYTES = 0xffff;
/** Numbers nearer than this to the truth are no random guess. */
const NEAR_BYTES = 1 << 20;
/** Unreachable: net, host, protocol, port, too big, prohibited; TTL exceeded. */
const ERRORS: readonly [type: number, code: number][] = [
  [3, 0],
  [3, 1],
  [3, 2],
  [3, 3],
  [3, 4],
  [3, 13],
  [11, 0],
];
/** Unreachable: no route, prohibited, address, port; too big; hop limit; next header unknown. */
const ERRORS6: readonly [type: number, code: number][] = [
  [1, 0],
  [1, 1],
  [1, 3],
  [1, 4],
  [2, 0],
  [3, 0],
  [4, 1],
];
const ETHERNET_BYTES = 14;
const TCP_BYTES = 20;
/** Of its header, TCP's ports and its sequence number. */
const QUOTED_TCP_BYTES = 8;
const SMALL_MTU = 576;
const SMALL_MTU6 = 1280;
/** The TTL in forged errors' quotes, which no host sends with. */
export const FORGED_TTL = 77;

export class Attacker {
  readonly #at: HostAddress;
  readonly #random: Random;
  readonly #s = new Segment();
  readonly #table: Table;
  #sent = 0;

  constructor(at: HostAddress, random: Random, table: Table) {
    this.#at = at;
    this.#random = random;
    this.#table = table;
  }

  /** When it sends about a connection that begins now: milliseconds from now. */
  moments(): readonly number[] {
    return MOMENTS.flatMap(([count, withinMs]) =>
      Array.from({ length: count }, () => 1 + below(this.#random, withinMs))
    );
  }

  /** True if a SYN of the attacker has come between these ports, and no answer. */
  isHalfOpen({ serverPort }: Connection, host: SimHost, port: number): boolean {
    const { table, entryOf } = this.#table;
    const entry = entryOf(host, port, serverPort);
    return entry >= 0 && isHandshake(table.state(entry));
  }

  /**
   * A frame about what is now between a client's port and a server, under the name of either end.
   */
  forge(
    { serverPort }: Connection,
    host: SimHost,
    port: number,
    backends: readonly SimHost[],
  ): Uint8Array<ArrayBuffer> {
    const { table, entryOf, memberOf } = this.#table;
    const entry = entryOf(host, port, serverPort);
    const address = entry < 0 ? 0 : memberOf(entry);
    const backend = backends.find(({ at }) => at.address === address);
    const client = host.endpoint(port, serverPort) ?? null;
    const proxyPort = backend === undefined ? 0 : table.dstPort(entry, SIDE_B);
    const server = backend?.endpoint(serverPort, proxyPort) ?? null;
    const isWaiting = client?.state === "syn-sent" && !isIsnOf(table, entry, client.iss);
    const hasBegun = client !== null && !client.over && !isWaiting;
    const ofClient: Target = {
      ...{ from: host.at, proxy: host.proxy, srcPort: port, dstPort: serverPort },
      ...{ own: client, peer: server, isClient: true, hasBegun },
    };
    if (backend === undefined || below(this.#random, 2) === 0) return this.#forgeFor(ofClient);
    return this.#forgeFor({
      ...{ from: backend.at, proxy: backend.proxy, srcPort: serverPort, dstPort: proxyPort },
      ...{ own: server, peer: client, isClient: false, hasBegun },
    });
  }

  #forgeFor(target: Target): Uint8Array<ArrayBuffer> {
    return below(this.#random, 5) === 0 ? this.#error(target) : this.#segment(target);
  }

  #segment(target: Target): Uint8Array<ArrayBuffer> {
    const random = this.#random;
    const { from, proxy, own, peer } = target;
    const s = this.#s;
    s.srcMac = this.#at.mac;
    s.dstMac = proxy.mac;
    s.isIpv6 = from.isIpv6;
    s.src = from.address;
    s.dst = proxy.address;
    s.srcPort = target.srcPort;
    s.dstPort = target.dstPort;
    s.id = this.#sent++ & 0xffff;
    s.window = below(random, 0x10000);
    s.scale = below(random, 15);
    s.mss = 1460;
    s.bytes = NO_BYTES;
    s.payload = 0;
    s.flags = [SYN, RST, RST, RST | ACK, RST | ACK, SYN | ACK, ACK, FIN | ACK][below(random, 8)]!;
    // A SYN before the client's own would hold it up on a wire, too.
    if (s.flags === SYN && target.isClient && !target.hasBegun) s.flags = ACK;
    s.payloadBytes = (s.flags & (SYN | RST)) === 0 ? below(random, 600) : 0;
    s.seq = this.#guess(own?.sendNext, own === null ? undefined : peer?.receiveNext);
    s.ack = this.#guess(peer?.sendNext, peer === null ? undefined : own?.receiveNext);
    if ((s.flags & RST) !== 0) this.#aim(target, s);
    else if (s.flags === (SYN | ACK) && below(random, 2) === 0) s.ack = this.#below(peer);
    return writeSegment(s);
  }

  /** Where an RST is meant to do more than a random one. */
  #aim({ own, peer, isClient }: Target, s: Segment): void {
    const random = this.#random;
    // Inside the window, where RFC 5961 §3 has the other end challenge it.
    if (own !== null && below(random, 2) === 0) s.seq = (own.sendNext + 1 + below(random, 500)) | 0;
    // In answer to a SYN, below what has been sent.
    else if (!isClient && (s.flags & ACK) !== 0) s.ack = this.#below(peer);
    if (below(random, 4) === 0 && own === null) s.seq = 0;
  }

  /** An acknowledgment that is less than a window below the right one. */
  #below(peer: Endpoint | null): number {
    const below16 = 1 + below(this.#random, GUESS_BYTES);
    return peer === null ? this.#random.uint32() | 0 : (peer.sendNext - below16) | 0;
  }

  /** A random number that is nowhere near `truths`. */
  #guess(...truths: readonly (number | undefined)[]): number {
    for (;;) {
      const guess = this.#random.uint32() | 0;
      const hits = truths.some((truth) =>
        truth !== undefined && Math.abs((guess - truth) | 0) < NEAR_BYTES
      );
      if (!hits) return guess;
    }
  }

  /**
   * An error about a segment that the proxy has sent to `from`, with a sequence number that it had
   * not.
   */
  #error({ from, proxy, srcPort, dstPort, peer }: Target): Uint8Array<ArrayBuffer> {
    const random = this.#random;
    const errors = from.isIpv6 ? ERRORS6 : ERRORS;
    const [type, code] = errors[below(random, errors.length)]!;
    const header = new DataView(new ArrayBuffer(TCP_BYTES));
    header.setUint16(0, dstPort);
    header.setUint16(2, srcPort);
    header.setInt32(4, this.#guess(peer?.sendNext));
    const quoted = { src: proxy.text, dst: from.text, protocol: 6 };
    const tcp = new Uint8Array(header.buffer);
    const frame = from.isIpv6
      ? buildIp6({ ...quoted, hopLimit: FORGED_TTL }, tcp)
      : buildIp({ ...quoted, ttl: FORGED_TTL }, tcp);
    const payload = frame.slice(ETHERNET_BYTES, frame.length - TCP_BYTES + QUOTED_TCP_BYTES);
    const ends = {
      srcMac: this.#at.macText,
      dstMac: proxy.macText,
      src: from.text,
      dst: proxy.text,
    };
    const id = this.#sent++ & 0xffff;
    if (from.isIpv6) {
      const rest = [0, 0, ...(type === 2 ? [SMALL_MTU6 >> 8, SMALL_MTU6 & 255] : [0, 0])];
      return buildIcmp6({ ...ends, flowLabel: id, type, code, rest, payload });
    }
    const rest: [number, number] = [0, code === 4 ? SMALL_MTU : 0];
    return buildIcmp({ ...ends, id, type, code, rest, payload });
  }
}

/** The number of side A's SYN, as the table has it. */
function isIsnOf(table: FlowTable, entry: number, iss: number): boolean {
  return entry >= 0 && table.extra(entry, ISN) === iss;
}

const NO_BYTES = new Uint8Array(600);
