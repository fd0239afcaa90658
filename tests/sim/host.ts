/**
 * A simulated host on the LAN: answers ARP or solicitations, drops what is broken, and hands
 * segments to the endpoints of its connections, to its listener, or back with an RST (RFC 9293
 * §3.10.7.1).
 */
import { type Arp, buildArp, readArp } from "../support/frames.ts";
import {
  buildAdvertisement,
  isLinkMessage,
  type Neighbor6,
  readNeighbor,
} from "../support/frames6.ts";
import { type Behaviour, Endpoint, type Host } from "./endpoint.ts";
import type { Connection } from "./plan.ts";
import { ACK, FIN, read16, readSegment, RST, Segment, SYN, writeSegment } from "./segment.ts";
import type { Streams } from "./stream.ts";

/** What a host needs from the world around it. */
export interface Surroundings {
  /** A frame lives at most this long, over the LAN to the proxy and on: what TIME-WAIT is for. */
  readonly longestLifeMs: number;
  readonly streams: Streams;
  nowMs(): number;
  at(atMs: number, run: () => void): void;
  /**
   * Puts a frame of this host on the wire; `connection` is null where it belongs to none. `left` is
   * what the host leaves to its interface.
   */
  send(
    host: SimHost,
    frame: Uint8Array<ArrayBuffer>,
    connection: Connection | null,
    left: LeftToNic,
  ): void;
  /** Stops the run: an endpoint was given what nobody sent it. */
  fail(what: string): never;
  /** The connection whose client's first sequence number this is. */
  connectionOf(clientIss: number): Connection | undefined;
  /**
   * The initial sequence number of a server that answers `syn`; `earlier` holds its tuple, in
   * TIME-WAIT.
   */
  serverIss(syn: Segment, earlier: Endpoint | undefined): number;
  /** A backend answered this connection's SYN as one that does not fit what it has of the tuple. */
  challenged(connection: Connection, holder: Connection | null): void;
}

/** Nothing; the checksum; or with it the cutting up into packets of `left` bytes of data. */
export type LeftToNic = "nothing" | "checksum" | number;

export interface HostAddress {
  readonly name: string;
  readonly text: string;
  readonly macText: string;
  readonly isIpv6: boolean;
  /** Of IPv6 the number of `segment.ts`. */
  readonly address: number;
  readonly mac: number;
}

/** The largest segment over IPv6, where packets have 1,500 bytes. */
const MSS6 = 1440;

interface Slot {
  readonly endpoint: Endpoint;
  readonly connection: Connection | null;
}

export class SimHost implements Host {
  readonly at: HostAddress;
  /** Ports where a server listens. */
  readonly listens: ReadonlySet<number>;
  /** The proxy as seen from here. */
  readonly proxy: HostAddress;
  /** Hears and says nothing, not even ARP. */
  isDead = false;
  /** What its service does with segments; the host answers ARP all the same. */
  service: "well" | "refuses" | "silent" = "well";
  readonly #world: Surroundings;
  readonly #slots = new Map<number, Slot>();
  readonly #connections = new Map<Endpoint, Connection | null>();
  /** When a pair of ports was last sent from. */
  readonly #usedMs = new Map<number, number>();
  readonly #in = new Segment();
  readonly #out = new Segment();
  #id = 0;

  constructor(
    at: HostAddress,
    proxy: HostAddress,
    listens: readonly number[],
    world: Surroundings,
    firstId: number,
  ) {
    this.at = at;
    this.listens = new Set(listens);
    this.proxy = proxy;
    this.#world = world;
    this.#id = firstId;
  }

  /** Endpoint that holds this pair of ports with that host, if one does. */
  endpoint(
    localPort: number,
    remotePort: number,
    remote: number = this.proxy.address,
  ): Endpoint | undefined {
    return this.#slots.get(keyOf(localPort, remotePort, remote))?.endpoint;
  }

  /**
   * True if this pair of ports has not been used for so long that nothing of it can be under way.
   */
  rested(localPort: number, remotePort: number): boolean {
    const key = keyOf(localPort, remotePort, this.proxy.address);
    const usedMs = this.#usedMs.get(key) ?? -Infinity;
    return this.#world.nowMs() - usedMs > this.#world.longestLifeMs;
  }

  /** Begins the connection from `port`; what is left of an earlier one there makes room. */
  connect(connection: Connection, port: number, iss: number): void {
    this.endpoint(port, connection.serverPort)?.replace();
    const endpoint = new Endpoint(
      this,
      this.#fitting(connection.client),
      port,
      connection.serverPort,
      iss,
      connection.clientStream,
      connection.serverStream,
    );
    endpoint.remoteAddress = this.proxy.address;
    endpoint.tsOffset = connection.clientTsOffset;
    connection.clientAddress = this.at.address;
    connection.clientPort = port;
    connection.clientEnd = endpoint;
    this.#add(endpoint, connection);
    endpoint.connect();
  }

  /** Loses its power: all its connections are forgotten. Returns those it had. */
  die(): readonly Connection[] {
    this.isDead = true;
    const had = [...this.#connections];
    for (const [endpoint] of had) endpoint.replace();
    return had.flatMap(([, connection]) => connection ?? []);
  }

  receive(frame: Uint8Array<ArrayBuffer>): void {
    if (this.isDead) return;
    if (frame.length >= 14 && read16(frame, 12) === 0x0806) return this.#receiveArp(frame);
    if (this.at.isIpv6 && isDiscovery(frame)) return this.#receiveDiscovery(frame);
    const s = this.#in;
    if (this.service === "silent") return;
    if (readSegment(frame, s) !== "") return; // broken on the way, or ICMP: a soft error
    if (s.dstMac !== this.at.mac || s.dst !== this.at.address) return;
    if (s.isIpv6 !== this.at.isIpv6) return;
    const endpoint = this.endpoint(s.dstPort, s.srcPort, s.src);
    this.#noteChallenge(endpoint, s);
    if (endpoint !== undefined && !this.#reopens(endpoint, s)) return endpoint.receive(s);
    if ((s.flags & RST) !== 0) return;
    if ((s.flags & (SYN | ACK)) === SYN && this.#isOpen(s)) return this.#accept(s);
    this.#refuse(s);
  }

  // For endpoints

  nowMs(): number {
    return this.#world.nowMs();
  }

  transmit(
    endpoint: Endpoint,
    flags: number,
    seq: number,
    ack: number,
    offset: number,
    lengthBytes: number,
  ): void {
    const s = this.#out;
    const syn = (flags & SYN) !== 0;
    const { behaviour } = endpoint;
    s.srcPort = endpoint.localPort;
    s.dstPort = endpoint.remotePort;
    s.seq = seq;
    s.ack = ack;
    s.flags = flags;
    s.window = endpoint.windowField(syn);
    s.scale = syn ? behaviour.scale : -1;
    s.mss = syn ? behaviour.mss : 0;
    s.sackPermitted = syn && behaviour.sackPermitted;
    const offers = (flags & (SYN | ACK)) === SYN && behaviour.timestamps;
    s.hasTimestamps = (offers || endpoint.stamps) && (flags & RST) === 0;
    s.tsVal = (this.#world.nowMs() + endpoint.tsOffset) | 0;
    s.tsEcr = endpoint.tsRecent;
    s.bytes = this.#world.streams.bytes;
    s.payload = this.#world.streams.at(Math.max(0, endpoint.outStream), offset);
    s.payloadBytes = lengthBytes;
    const whole = behaviour.opensChecksums ? "checksum" : "nothing";
    const left = lengthBytes > endpoint.mss ? endpoint.mss : whole;
    this.#send(s, endpoint.remoteAddress, this.#connections.get(endpoint) ?? null, left);
  }

  wakeAt(endpoint: Endpoint, atMs: number): void {
    this.#world.at(atMs, () => endpoint.wake());
  }

  received(
    endpoint: Endpoint,
    offset: number,
    s: Segment,
    skip: number,
    lengthBytes: number,
  ): void {
    const { streams } = this.#world;
    const stream = endpoint.inStream;
    if (stream >= 0 && streams.matches(stream, offset, s.bytes, s.payload + skip, lengthBytes)) {
      return;
    }
    this.#world.fail(
      `${this.at.name}:${endpoint.localPort} received ${lengthBytes} bytes that are not those of ` +
        `stream ${stream} from ${offset} on`,
    );
  }

  ended(endpoint: Endpoint): void {
    const key = keyOf(endpoint.localPort, endpoint.remotePort, endpoint.remoteAddress);
    if (this.#slots.get(key)?.endpoint === endpoint) this.#slots.delete(key);
    this.#connections.delete(endpoint);
  }

  // Inside

  /** What is longest over IPv4 does not fit behind the longer header. */
  #fitting(behaviour: Behaviour): Behaviour {
    return this.at.isIpv6 ? { ...behaviour, mss: Math.min(behaviour.mss, MSS6) } : behaviour;
  }

  #add(endpoint: Endpoint, connection: Connection | null): void {
    const { localPort, remotePort, remoteAddress } = endpoint;
    this.#slots.set(keyOf(localPort, remotePort, remoteAddress), { endpoint, connection });
    this.#connections.set(endpoint, connection);
  }

  /**
   * RFC 9293 §3.10.7.4, RFC 6191, as Linux has them: a SYN may reopen a connection in TIME-WAIT if
   * its number is beyond the last, or its timestamp later, and the timestamp is not an earlier one.
   */
  #reopens(endpoint: Endpoint, s: Segment): boolean {
    if (endpoint.state !== "time-wait" || (s.flags & (SYN | ACK | RST)) !== SYN) return false;
    const later = endpoint.stamps && s.hasTimestamps ? (s.tsVal - endpoint.tsRecent) | 0 : 0;
    return later >= 0 && (later > 0 || ((s.seq - endpoint.receiveNext) | 0) > 0) &&
      this.#isOpen(s);
  }

  #isOpen(syn: Segment): boolean {
    return this.service === "well" && this.listens.has(syn.dstPort) &&
      this.#world.connectionOf(syn.seq)?.kind !== "refused";
  }

  #noteChallenge(endpoint: Endpoint | undefined, s: Segment): void {
    if (endpoint === undefined || (s.flags & (SYN | ACK | RST)) !== SYN) return;
    const connection = this.#world.connectionOf(s.seq);
    const holder = this.#connections.get(endpoint) ?? null;
    const isOwn = connection === holder || this.#reopens(endpoint, s);
    if (connection !== undefined && !isOwn) this.#world.challenged(connection, holder);
  }

  #accept(s: Segment): void {
    const earlier = this.endpoint(s.dstPort, s.srcPort, s.src);
    const connection = this.#world.connectionOf(s.seq);
    if (connection === undefined) return; // a stranger's SYN: this server is deaf to it
    earlier?.replace();
    const endpoint = new Endpoint(
      this,
      this.#fitting(connection.server),
      s.dstPort,
      s.srcPort,
      this.#world.serverIss(s, earlier),
      connection.serverStream,
      connection.clientStream,
    );
    endpoint.remoteAddress = s.src;
    endpoint.tsOffset = connection.serverTsOffset;
    connection.serverEnds.push(endpoint);
    this.#add(endpoint, connection);
    endpoint.accept(s);
  }

  #refuse(to: Segment): void {
    const s = this.#out;
    const acks = (to.flags & ACK) !== 0;
    const lengthBytes = to.payloadBytes + ((to.flags & SYN) !== 0 ? 1 : 0) + (to.flags & FIN);
    s.srcPort = to.dstPort;
    s.dstPort = to.srcPort;
    s.seq = acks ? to.ack : 0;
    s.ack = acks ? 0 : (to.seq + lengthBytes) | 0;
    s.flags = acks ? RST : RST | ACK;
    s.window = 0;
    s.payloadBytes = 0;
    s.hasTimestamps = false;
    this.#send(s, to.src, null, "nothing");
  }

  #send(s: Segment, to: number, connection: Connection | null, left: LeftToNic): void {
    this.#usedMs.set(keyOf(s.srcPort, s.dstPort, to), this.#world.nowMs());
    s.srcMac = this.at.mac;
    s.dstMac = this.proxy.mac;
    s.isIpv6 = this.at.isIpv6;
    s.src = this.at.address;
    s.dst = to;
    s.id = this.#id = (this.#id + 1) & 0xffff;
    s.ttl = 64;
    this.#world.send(this, writeSegment(s), connection, left);
  }

  #receiveDiscovery(frame: Uint8Array): void {
    let asked: Neighbor6;
    try {
      asked = readNeighbor(frame);
    } catch {
      return; // broken on the way, or another message
    }
    if (asked.type !== 135 || asked.target !== this.at.text || asked.src === "::") return;
    const answer = buildAdvertisement({
      src: this.at.text,
      srcMac: this.at.macText,
      dst: asked.src,
      dstMac: asked.srcMac,
    });
    this.#world.send(this, answer, null, "nothing");
  }

  #receiveArp(frame: Uint8Array): void {
    let arp: Arp;
    try {
      arp = readArp(frame);
    } catch {
      return; // broken on the way
    }
    if (arp.operation !== 1 || arp.targetAddress !== this.at.text) return;
    this.#world.send(
      this,
      buildArp({
        dstMac: arp.senderMac,
        operation: 2,
        senderMac: this.at.macText,
        senderAddress: this.at.text,
        targetMac: arp.senderMac,
        targetAddress: arp.senderAddress,
      }),
      null,
      "nothing",
    );
  }
}

/** True for a message of Neighbor or Multicast Listener Discovery that is not broken. */
function isDiscovery(frame: Uint8Array): boolean {
  try {
    return isLinkMessage(frame);
  } catch {
    return false;
  }
}

function keyOf(localPort: number, remotePort: number, remote: number): number {
  return ((remote & 0xffff) * 0x10000 + localPort) * 0x10000 + remotePort;
}
