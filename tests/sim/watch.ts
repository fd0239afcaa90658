/**
 * Invariants, checked on every frame that the proxy sends and on its table:
 *
 *   - the frame is valid, and a packet that a host sent, with only those fields changed that a
 *     translator and a router change (addresses, ports, TTL, checksums, MAC addresses), and it is
 *     sent as often as it was received; where it leaves over the other family, the segment in it
 *     is;
 *   - a packet to a backend has the proxy's address and a port of the range; where sources are
 *     preserved, its client's address, and the client's port unless that is taken; only a SYN takes
 *     a (backend, port there, address, port) tuple, and never that of a connection in use at both
 *     ends;
 *   - a packet to a client has a tuple that its connection holds, and looks as if the proxy
 *     were the server;
 *   - the table finds an entry from both sides, and agrees with what was sent.
 *
 * Which connection holds which tuple is determined here from the frames alone, independently of the
 * table.
 */
import type { Appliance } from "../../src/datapath/appliance.ts";
import { isIpv6, OVER_IPV6 } from "../../src/wire/pdu.ts";
import { readArp, readIcmp, readTcp } from "../support/frames.ts";
import { isLinkMessage, readIcmp6, readTcp6 } from "../support/frames6.ts";
import { FORGED_TTL } from "./attacker.ts";
import type { HostAddress, SimHost } from "./host.ts";
import type { Connection } from "./plan.ts";
import {
  ACK,
  FIN,
  idOf,
  isOverIpv6,
  read16,
  read32,
  readHost,
  readSegment,
  RST,
  Segment,
  SYN,
} from "./segment.ts";

const PROTOCOL_TCP = 6;
/** Errors that the proxy may send in its own name, in each family: unreachable, time exceeded. */
const ERRORS = [3, 11];
const ERRORS6 = [1, 3];
const RECORDS = 8192;
/** Segments that say the same and are known at a time, less one. */
const MOST_ALIKE = 255;
/** What fits into packets of 1,500 bytes of either family. */
const MSS_OF_BOTH = 1440;
/** A client's SYN may be sent to so many other backends besides, to each again after an RST. */
const RETRIES = 7;
/** One frame in so many is also read by `tests/support/frames.ts`. */
const SECOND_OPINION_EVERY = 64;
/** The whole table is checked once in so many steps. */
const WHOLE_TABLE_EVERY = 64;

/** A frame that a host has put on the wire. */
export interface Sent {
  readonly id: number;
  readonly frame: Uint8Array<ArrayBuffer>;
  readonly host: SimHost;
  readonly connection: Connection | null;
  /** Copies that reached the proxy unharmed, and copies that it sent on. */
  delivered: number;
  /** When the last of them did. */
  deliveredMs: number;
  emitted: number;
  /** Copies that it must send on: new to the other end, in the middle of the connection. */
  owed: number;
  /** It has come so late that it may be dropped as too old. */
  mayBeOld: boolean;
  /** Who had its tuple when it came, if it had to wait for ARP. */
  holder: Holder | null;
}

/** Who has a tuple towards a backend. */
interface Holder {
  readonly client: number;
  readonly connection: Connection | null;
}

export interface WatchOptions {
  readonly appliance: Appliance;
  /** The proxy as side A and as side B sees it, which may be the same, in each family. */
  readonly proxies: readonly [a: readonly HostAddress[], b: readonly HostAddress[]];
  readonly hosts: readonly SimHost[];
  readonly backends: readonly SimHost[];
  /** Sends under the others' names and gets nothing. */
  readonly stranger: SimHost;
  readonly ports: { readonly first: number; readonly last: number };
  /** Backends see clients' addresses. */
  readonly preserves: boolean;
  /** The port of backends to which that of the proxy leads. */
  readonly portThere: (port: number) => number;
  /** A packet may leave over the other family. */
  readonly crosses: boolean;
  /** Ports are so few that a connection that is not in full swing may lose its own. */
  readonly evicts: boolean;
  readonly nowMs: () => number;
  /** What comes while a connection is in full swing must be sent on, new or not. */
  readonly owesAll: boolean;
  /** What has come may wait to be read. */
  readonly waits: boolean;
  /** Whether something must be sent on at this moment, as far as is known. */
  readonly isOwed: (connection: Connection) => boolean;
  readonly fail: (what: string, connection?: Connection) => never;
}

export class Watch {
  /** What the proxy said in its own name. */
  ownResets = 0;
  ownErrors = 0;
  forwarded = 0;
  readonly #options: WatchOptions;
  readonly #backends: ReadonlySet<number>;
  readonly #byMac: ReadonlyMap<number, SimHost>;
  readonly #sent: ReadonlyMap<SimHost, (Sent | undefined)[]>;
  /** By what a segment says: what has left over the other family has no number of its sender's. */
  readonly #bySegment = new Map<number, Sent[]>();
  readonly #holders = new Map<number, Holder>();
  /** The tuple that a client's last SYN took. */
  readonly #tuples = new Map<number, number>();
  readonly #s = new Segment();
  readonly #original = new Segment();
  readonly #quoted = new Segment();
  readonly #words = new Int32Array(8);
  /** What arrived in this step. */
  #burst: Sent[] = [];
  /**
   * Clients' tuples without an entry after this step, which only an RST or another try in it
   * explains.
   */
  readonly #gone: number[] = [];
  readonly #resets = new Set<number>();
  readonly #owed: Sent[] = [];
  /** The proxy has ended or died in this step, and begun again. */
  #isRestarting = false;
  #steps = 0;

  constructor(options: WatchOptions) {
    this.#options = options;
    this.#backends = new Set(options.backends.map((host) => host.at.address));
    const heard = [...options.hosts, options.stranger];
    this.#byMac = new Map(heard.map((host) => [host.at.mac, host]));
    this.#sent = new Map([...options.hosts, options.stranger].map((host) => [host, []]));
  }

  /** A host puts a frame on the wire. */
  sent(
    host: SimHost,
    frame: Uint8Array<ArrayBuffer>,
    connection: Connection | null,
  ): Sent {
    const id = idOf(frame);
    const counts = { delivered: 0, deliveredMs: 0, emitted: 0, owed: 0 };
    const sent = { id, frame, host, connection, ...counts, mayBeOld: false, holder: null };
    if (id >= 0 && !isLinkMessage(frame)) {
      this.#sent.get(host)![id % RECORDS] = sent;
      this.#noteSegment(sent);
    }
    return sent;
  }

  #noteSegment(sent: Sent): void {
    if (!this.#options.crosses || readSegment(sent.frame, this.#original) !== "") return;
    const key = keyOfSegment(this.#original);
    const same = this.#bySegment.get(key) ?? [];
    this.#bySegment.set(key, [...same.slice(-MOST_ALIKE), sent]);
  }

  /** A copy of it reaches the proxy, unharmed, and may wait there. */
  delivered(sent: Sent): void {
    sent.delivered++;
    sent.deliveredMs = this.#options.nowMs();
    const { connection, frame, host } = sent;
    if (connection?.busy !== true || connection.struck) return;
    if (sent.mayBeOld || !this.#options.isOwed(connection)) return;
    if (connection.serverEnds.length > 1) return;
    readSegment(frame, this.#original);
    const from = host.at.address === connection.clientAddress;
    const receiver = from ? connection.serverEnds[0]! : connection.clientEnd!;
    // What the other end has had already may be dropped as too old.
    const isOwed = this.#options.owesAll || receiver.isNews(this.#original);
    if (isOwed && sent.owed++ === 0) this.#owed.push(sent);
  }

  /** The proxy has it in hand now. */
  read(sent: Sent): void {
    this.#burst.push(sent);
  }

  /** What has come since then and not been sent on may be dropped. */
  excuse(sinceMs: number): void {
    const owed = this.swallowed().filter(({ deliveredMs }) => deliveredMs < sinceMs);
    this.#owed.splice(0, this.#owed.length, ...owed);
  }

  /** The proxy forgets everything; until the end of the step it may reset whom it likes. */
  restarted(): void {
    this.#holders.clear();
    this.#tuples.clear();
    this.#owed.length = 0;
    this.#isRestarting = true;
  }

  /** Packets of connections in full swing that came and never left. */
  swallowed(): readonly Sent[] {
    return this.#owed.filter(({ connection, owed, emitted }) =>
      emitted < owed && connection?.struck === false
    );
  }

  /** The proxy sends a frame; returns the hosts that hear it. */
  emitted(frame: Uint8Array<ArrayBuffer>): readonly SimHost[] {
    const { hosts, proxies } = this.#options;
    if (frame.length >= 14 && read16(frame, 12) === 0x0806) {
      const arp = this.#second(() => readArp(frame));
      const proxy = proxies.flat().find(({ isIpv6, macText }) =>
        !isIpv6 && macText === arp.senderMac
      );
      const known = arp.senderAddress === proxy?.text || arp.senderAddress === "0.0.0.0";
      if (proxy === undefined || !known) this.#fail("ARP under another's name");
      const host = this.#byMac.get(read16(frame, 4));
      return hosts.filter((one) => one.proxy === proxy && (host ?? one) === one);
    }
    const isIpv6 = isOverIpv6(frame);
    if (isIpv6 && this.#second(() => isLinkMessage(frame))) return this.#discovery(frame);
    if (isIpv6 ? frame[20] === 58 : frame[23] === 1) return [this.#icmp(frame, isIpv6)];
    return [this.#tcp(frame)];
  }

  /** Who hears a message of Neighbor or Multicast Listener Discovery. */
  #discovery(frame: Uint8Array): readonly SimHost[] {
    const { hosts } = this.#options;
    this.#second(() => readIcmp6(frame));
    const mac = read16(frame, 10);
    const host = frame[0] === 0x33 ? undefined : this.#byMac.get(read16(frame, 4));
    return hosts.filter((one) => one.at.isIpv6 && one.proxy.mac === mac && (host ?? one) === one);
  }

  /** The frames of this step have been handled. */
  step(): void {
    for (const client of this.#gone) {
      if (!this.#resets.has(client) && !this.#hasSyn(client)) {
        this.#fail("translated a packet, and one direction of its entry is missing");
      }
    }
    for (const sent of this.#burst) this.hold(sent);
    this.#burst = [];
    this.#isRestarting = false;
    this.#gone.length = 0;
    this.#resets.clear();
    if (++this.#steps % WHOLE_TABLE_EVERY === 0) this.checkTable();
  }

  /** Every entry is found from both sides, has a port of the range, and no two share a tuple. */
  checkTable(): void {
    const { appliance, portThere, preserves, proxies } = this.#options;
    const { table } = appliance.connections;
    let count = 0;
    for (const entry of table) {
      count++;
      if (!table.hasSideB(entry)) this.#fail(`entry ${entry} is half a connection`);
      for (const side of [0, 1] as const) {
        const found = this.#found(entry, side);
        if (found !== ((entry << 1) | side)) {
          this.#fail(`entry ${entry} is not found from side ${side}: reference ${found}`);
        }
        const dst = this.hostOf(entry, side, "destination");
        const isSix = isIpv6(table.protocolOf((entry << 1) | side));
        const own = proxies[side].find((proxy) => proxy.isIpv6 === isSix)?.address;
        const isKept = side === 1 && preserves;
        if (dst !== (isKept ? this.hostOf(entry, 0, "source") : own)) {
          this.#fail(`entry ${entry} is not to the proxy`);
        }
      }
      const port = table.dstPort(entry, 1);
      const member = this.hostOf(entry, 1, "source");
      if (!this.#backends.has(member)) this.#fail(`entry ${entry} has no backend`);
      if (!this.#mayUse(port, table.srcPort(entry, 0))) {
        this.#fail(`entry ${entry} has port ${port}`);
      }
      if (portThere(table.dstPort(entry, 0)) !== table.srcPort(entry, 1)) {
        this.#fail(`entry ${entry} has another port of the server`);
      }
    }
    if (count + appliance.resting !== table.count) {
      this.#fail(`the table counts ${table.count} entries and has ${count}`);
    }
  }

  /** True if a backend may hear from that port of a client that has the other. */
  #mayUse(port: number, clientPort: number): boolean {
    const { ports, preserves } = this.#options;
    return (port >= ports.first && port <= ports.last) || (preserves && port === clientPort);
  }

  /** What the table finds for the tuple of a side of this entry. */
  #found(entry: number, side: 0 | 1): number {
    const { appliance: { connections } } = this.#options;
    const { table } = connections;
    const ports = (table.srcPort(entry, side) << 16) | table.dstPort(entry, side);
    const [protocol, src, dst] = [
      table.protocolOf((entry << 1) | side),
      table.src(entry, side),
      table.dst(entry, side),
    ];
    if (!isIpv6(protocol)) return table.find(protocol, src, dst, ports);
    connections.writeTuple6((entry << 1) | side, this.#words, 0);
    return table.find6(protocol, src, dst, ports, this.#words);
  }

  /** The number of the host that is source or destination of a side's tuple. */
  hostOf(entry: number, side: 0 | 1, which: "source" | "destination"): number {
    const { appliance: { connections } } = this.#options;
    const { table } = connections;
    const isSource = which === "source";
    if (!isIpv6(table.protocolOf((entry << 1) | side))) {
      return isSource ? table.src(entry, side) : table.dst(entry, side);
    }
    connections.writeTuple6((entry << 1) | side, this.#words, 0);
    const [, second, , last] = this.#words.subarray(isSource ? 0 : 4);
    return (second! & 0xffff_0000) | (last! & 0xffff);
  }

  /**
   * A packet that waits for ARP, or for a program that has stopped, leaves as its connection was
   * when it came.
   */
  hold(sent: Sent): void {
    if (sent.emitted >= sent.delivered || readSegment(sent.frame, this.#original) !== "") return;
    const { src, srcPort, dst, dstPort } = this.#original;
    sent.holder = this.#holders.get(tupleOf(src, srcPort, dstPort, dst)) ?? null;
  }

  /** A SYN that came from this client's tuple in this step may have opened the entry anew. */
  #hasSyn(client: number): boolean {
    const s = this.#original;
    return this.#burst.some(({ frame }) =>
      readSegment(frame, s) === "" && (s.flags & (SYN | ACK)) === SYN &&
      tupleOf(s.src, s.srcPort, s.dstPort) === client
    );
  }

  // One frame

  #tcp(frame: Uint8Array<ArrayBuffer>): SimHost {
    const s = this.#s;
    const broken = readSegment(frame, s);
    if (broken !== "") this.#fail(`sent a frame with ${broken}`);
    if (this.forwarded % SECOND_OPINION_EVERY === 0) {
      this.#second(() => s.isIpv6 ? readTcp6(frame) : readTcp(frame));
    }
    const host = this.#receiver(frame, s.isIpv6, s.srcMac, s.dstMac, s.src, s.dst);
    const sent = this.#originalOf(frame, s);
    if (sent === null) {
      this.#ownReset(s);
      return host;
    }
    this.forwarded++;
    readSegment(sent.frame, this.#original);
    const original = this.#original;
    const mayRetry = (original.flags & (SYN | ACK)) === SYN && !this.#backends.has(original.src);
    if (++sent.emitted > sent.delivered * (mayRetry ? 1 + RETRIES : 1)) {
      this.#fail("sent a packet more often than it came");
    }
    const now = this.#burst.includes(sent);
    if (this.#backends.has(original.src)) {
      const { src, srcPort, dst, dstPort } = original;
      const tuple = tupleOf(src, srcPort, dstPort, dst);
      // What waits is not always told from what is alike, and has left over the other family.
      const held = sent.holder ?? (this.#options.waits ? this.#holders.get(tuple) : null);
      const holder = now ? this.#holders.get(tuple) : held;
      if (holder !== undefined && holder !== null) {
        this.#toClient(s, original, holder, sent, now);
        return host;
      }
    }
    this.#toBackend(s, original, sent, now);
    return host;
  }

  #toBackend(s: Segment, original: Segment, sent: Sent, now: boolean): void {
    const { portThere, preserves } = this.#options;
    if (!this.#backends.has(s.dst)) this.#fail(`sent a client's packet to ${s.dst & 255}`);
    if (s.dstPort !== portThere(original.dstPort)) this.#fail("took another port of the server");
    if (!this.#mayUse(s.srcPort, original.srcPort)) {
      this.#fail(`sent from port ${s.srcPort}, which is outside the range`);
    }
    if (preserves && s.src !== original.src) this.#fail("sent under another client's name");
    const tuple = tupleOf(s.dst, s.dstPort, s.srcPort, s.src);
    const client = tupleOf(original.src, original.srcPort, original.dstPort);
    const holder = this.#holders.get(tuple);
    const opens = (s.flags & (SYN | ACK)) === SYN;
    if (holder?.client !== client) {
      if (!opens && now) this.#fail(`sent a packet from port ${s.srcPort} without a SYN before it`);
      if (holder?.connection?.busy === true && !holder.connection.struck) {
        const what = `port ${s.srcPort} was taken from a connection that both ends are busy with`;
        this.#fail(what, holder.connection);
      }
      if (opens && holder?.connection?.over === false && this.#options.evicts) {
        holder.connection.evicted = true;
      }
    }
    if (opens) {
      if (holder !== undefined && holder.client !== client) this.#tuples.delete(holder.client);
      const connection = sent.connection ?? (holder?.client === client ? holder.connection : null);
      const earlier = this.#tuples.get(client);
      if (earlier !== undefined) this.#holders.delete(earlier);
      this.#holders.set(tuple, { client, connection });
      this.#tuples.set(client, tuple);
    }
    // What has left in the same step may have gone to the member that the SYN is taken from.
    if ((s.flags & RST) !== 0 || (opens && !now)) this.#resets.add(client);
    if (now) this.#checkEntry(original, s, sent);
  }

  #toClient(s: Segment, original: Segment, holder: Holder, sent: Sent, now: boolean): void {
    if (this.#options.portThere(s.srcPort) !== original.srcPort) {
      this.#fail("answered from another port than the server's");
    }
    const client = tupleOf(s.dst, s.dstPort, s.srcPort);
    if (holder.client !== client) this.#fail(`sent a backend's packet to another connection`);
    if ((s.flags & RST) !== 0) this.#resets.add(client);
    if (now) this.#checkEntry(original, s, sent);
  }

  /** The table has an entry that translates `original` into `s`, and back. */
  #checkEntry(original: Segment, s: Segment, { connection }: Sent): void {
    // An operator may have had it forgotten, while a program was at work on it.
    if (this.#options.waits && connection?.struck === true) return;
    const there = this.#referenceOf(original.isIpv6, original);
    const back = this.#referenceOf(s.isIpv6, {
      ...{ src: s.dst, srcPort: s.dstPort, dst: s.src, dstPort: s.srcPort },
    });
    if (there >= 0 && there >> 1 === back >> 1 && there !== back) return;
    const client = this.#backends.has(original.src)
      ? tupleOf(s.dst, s.dstPort, s.srcPort)
      : tupleOf(original.src, original.srcPort, original.dstPort);
    if (there >= 0 && back >= 0) {
      this.#fail(`the two directions of an entry disagree: ${there} there, ${back} back`);
    }
    this.#gone.push(client);
  }

  /** The entry of the packet's connection, or -1. */
  entryOfSent({ frame }: Sent): number {
    if (readSegment(frame, this.#original) !== "") return -1;
    return this.#referenceOf(this.#original.isIpv6, this.#original) >> 1;
  }

  /** The entry of a client's port, or -1. */
  entryOf({ at, proxy }: SimHost, port: number, serverPort: number): number {
    const ends = { src: at.address, srcPort: port, dst: proxy.address, dstPort: serverPort };
    return this.#referenceOf(at.isIpv6, ends) >> 1;
  }

  /** What the table finds for a packet from the one to the other. */
  #referenceOf(
    isIpv6: boolean,
    { src, srcPort, dst, dstPort }: Pick<Segment, "src" | "srcPort" | "dst" | "dstPort">,
  ): number {
    const { appliance: { connections: { table }, digest } } = this.#options;
    const ports = (srcPort << 16) | dstPort;
    if (!isIpv6) return table.find(PROTOCOL_TCP, src, dst, ports);
    [src, dst].forEach((host, i) => {
      this.#words.set([0x2001_0db8, host & ~0xffff, 0, host & 0xffff], 4 * i);
    });
    const [from, to] = [0, 4].map((at) => digest!.ofWords(this.#words, at));
    return table.find6(PROTOCOL_TCP | OVER_IPV6, from!, to!, ports, this.#words);
  }

  /** The packet that `frame` is a translation of. */
  #originalOf(frame: Uint8Array, s: Segment): Sent | null {
    for (const ring of this.#sent.values()) {
      const sent = ring[s.id % RECORDS];
      if (sent === undefined || sent.id !== s.id || sent.delivered === 0) continue;
      if (isTranslation(sent.frame, frame)) return sent;
    }
    return this.#options.crosses ? this.#originalAcross(frame, s) : null;
  }

  /**
   * The same, of the other family: of those that are alike one that has not been sent on yet, from
   * a backend that has the connection.
   */
  #originalAcross(frame: Uint8Array, s: Segment): Sent | null {
    const alike = (this.#bySegment.get(keyOfSegment(s)) ?? []).filter((sent) =>
      sent.delivered > 0 && isTranslationAcross(sent.frame, frame)
    );
    const holds = ({ frame }: Sent): boolean => {
      readSegment(frame, this.#original);
      const { src, srcPort, dst, dstPort } = this.#original;
      return this.#holders.get(tupleOf(src, srcPort, dstPort, dst))?.client ===
        tupleOf(s.dst, s.dstPort, s.srcPort);
    };
    const owed = alike.filter(({ delivered, emitted }) => emitted < delivered)
      .sort((one, other) => Number(holds(other)) - Number(holds(one)));
    return owed.find((sent) => this.#burst.includes(sent)) ?? owed[0] ?? alike.at(-1) ?? null;
  }

  /** Nothing but an RST that answers a packet of this step may be the proxy's own. */
  #ownReset(s: Segment): void {
    const o = this.#original;
    if ((s.flags & RST) === 0 || s.payloadBytes !== 0) {
      this.#fail("sent a packet that nobody sent it");
    }
    if (this.#isRestarting) return;
    for (const { frame, connection } of this.#burst) {
      if (readSegment(frame, o) !== "") continue;
      if (o.src !== s.dst || o.srcPort !== s.dstPort || o.dstPort !== s.srcPort) continue;
      const taken = o.payloadBytes + ((o.flags & SYN) !== 0 ? 1 : 0) + (o.flags & FIN);
      const fits = (o.flags & ACK) !== 0
        ? s.seq === o.ack && s.flags === RST
        : s.seq === 0 && s.ack === ((o.seq + taken) | 0);
      if (!fits) continue;
      this.ownResets++;
      // Only an attempt may be refused, and who answers one too late; what belongs to no connection
      // must not be a living one's.
      const isLate = (o.flags & SYN) !== 0 && (connection?.serverEnds.length ?? 0) > 1;
      const isLost = connection?.busy === true && !connection.struck && !isLate &&
        (o.flags & (SYN | ACK)) !== SYN;
      if (isLost && !this.#options.evicts) this.#fail("reset a living connection", connection!);
      if (connection !== null) connection.refusedByProxy = true;
      return;
    }
    this.#fail("sent an RST that answers nothing");
  }

  #icmp(frame: Uint8Array<ArrayBuffer>, isIpv6: boolean): SimHost {
    const icmp = this.#second(() => isIpv6 ? readIcmp6(frame) : readIcmp(frame));
    const [src, dst] = isIpv6
      ? [readHost(frame, 22), readHost(frame, 38)]
      : [read32(frame, 26), read32(frame, 30)];
    const host = this.#receiver(frame, isIpv6, read16(frame, 10), read16(frame, 4), src, dst);
    if (!(isIpv6 ? ERRORS6 : ERRORS).includes(icmp.type)) {
      this.#fail(`sent ICMP of type ${icmp.type}`);
    }
    const quote = Uint8Array.from(icmp.payload);
    const [headerBytes, ttlAt, idAt] = isIpv6 ? [48, 7, 2] : [28, 8, 4];
    const isWhole = quote.length >= headerBytes!;
    const at = !isWhole ? -1 : isIpv6 ? readHost(quote, 8) : read32(quote, 12);
    if (at !== dst) this.#fail("sent an ICMP error about another host's packet");
    if (quote[ttlAt!] === FORGED_TTL) {
      this.#fail("passed on an ICMP error with a number that is not right");
    }
    this.ownErrors++;
    for (const { frame, connection } of this.#burst) {
      if (readSegment(frame, this.#quoted) !== "" || connection === null) continue;
      const same = this.#quoted.src === at && this.#quoted.id === read16(quote, idAt!);
      if (same) connection.refusedByProxy = true;
    }
    return host;
  }

  #receiver(
    frame: Uint8Array,
    isIpv6: boolean,
    srcMac: number,
    dstMac: number,
    src: number,
    dst: number,
  ): SimHost {
    const host = this.#byMac.get(dstMac);
    const { stranger, proxies } = this.#options;
    // A stranger's SYN tells its MAC address for what it opens, until the client's own answer
    // comes, in whatever family.
    const isStranger = host === stranger;
    const proxy = isStranger
      ? proxies.flat().find((one) => one.isIpv6 === isIpv6 && one.mac === srcMac)
      : host?.proxy;
    const lengthBytes = isIpv6 ? 40 + read16(frame, 18) : read16(frame, 16);
    if (frame.length !== 14 + lengthBytes) this.#fail("sent padding");
    const isKept = this.#options.preserves && this.#backends.has(dst);
    const isKnown = src === proxy?.address ||
      (isKept && this.#options.hosts.some(({ at }) => at.address === src));
    if (srcMac !== proxy?.mac || !isKnown) this.#fail("sent under another's name");
    const isRight = host?.at.address === dst && host.at.isIpv6 === isIpv6;
    if (host === undefined || (!isRight && !isStranger)) {
      this.#fail(`sent a packet for ${dst & 255} to MAC address ${dstMac}`);
    }
    return host;
  }

  #second<T>(read: () => T): T {
    try {
      return read();
    } catch (error) {
      this.#fail(
        `sent a frame that can't be read: ${error instanceof Error ? error.message : error}`,
      );
    }
  }

  #fail(what: string, connection?: Connection): never {
    return this.#options.fail(what, connection);
  }
}

/** A number for (host, port there, port here): hosts differ in their last octet. */
/** `other` is the near end's address where hosts may be known by several. */
function tupleOf(address: number, port: number, otherPort: number, other = 0): number {
  return (((other & 255) * 0x100 + (address & 255)) * 0x10000 + port) * 0x10000 + otherPort;
}

/** That of a SYN which is sent to another member is what it was for the first one. */
function fitsBoth(mss: number, sent: number): boolean {
  return sent === Math.min(MSS_OF_BOTH, mss) || sent === mss;
}

/** What a segment says of itself, which nobody changes on the way. */
function keyOfSegment({ seq, ack, flags, window, payloadBytes }: Segment): number {
  return seq ^ Math.imul(ack, 31) ^ Math.imul((flags << 16) | window, 37) ^ (payloadBytes << 20);
}

/**
 * True if the frames are of two families, and their segments differ only in ports, checksum and, in
 * a SYN, the MSS, which fits both.
 */
function isTranslationAcross(from: Uint8Array, to: Uint8Array): boolean {
  const [isFrom6, isTo6] = [from, to].map((frame) => read16(frame, 12) === 0x86dd);
  if (isFrom6 === isTo6) return false;
  const ip = 14;
  const tcp = isFrom6 ? ip + 40 : ip + (from[ip]! & 15) * 4;
  const toTcp = ip + (isTo6 ? 40 : 20);
  const end = isFrom6 ? tcp + read16(from, ip + 4) : ip + read16(from, ip + 2);
  const ttls = [from[isFrom6 ? ip + 7 : ip + 8]!, to[isTo6 ? ip + 7 : ip + 8]!];
  if (to.length - toTcp !== end - tcp || ttls[0]! - 1 !== ttls[1]) return false;
  const hasMss = (from[tcp + 13]! & SYN) !== 0 && from[tcp + 20] === 2;
  if (hasMss && !fitsBoth(read16(from, tcp + 22), read16(to, toTcp + 22))) return false;
  for (let i = 0; i < end - tcp; i++) {
    const rewritten = i < 4 || i === 16 || i === 17 || (hasMss && (i === 22 || i === 23));
    if (!rewritten && from[tcp + i] !== to[toTcp + i]) return false;
  }
  return true;
}

/** True if both frames differ only in what a translator and a router change. */
function isTranslation(from: Uint8Array, to: Uint8Array): boolean {
  const ip = 14;
  const isIpv6 = isOverIpv6(from);
  if (isIpv6 !== isOverIpv6(to)) return false;
  const end = isIpv6 ? ip + 40 + read16(from, ip + 4) : ip + read16(from, ip + 2);
  const [ttl, checksum, addresses] = isIpv6 ? [ip + 7, ip + 8, ip + 8] : [ip + 8, ip + 10, ip + 12];
  const tcp = isIpv6 ? ip + 40 : ip + (from[ip]! & 15) * 4;
  if (to.length !== end || from[ttl!]! - 1 !== to[ttl!]) return false;
  const addressesEnd = isIpv6 ? tcp : addresses! + 8;
  for (let i = ip; i < end; i++) {
    if (from[i] === to[i]) continue;
    const rewritten = i === ttl || (i >= checksum! && i < addressesEnd) ||
      (i >= tcp && i < tcp + 4) || i === tcp + 16 || i === tcp + 17;
    if (!rewritten) return false;
  }
  return true;
}
