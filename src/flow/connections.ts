/**
 * Connections: what the tree's scanner and translators do.
 *
 *     classify ──▶ (the tree runs; its steps only check and note) ──▶ commit
 *
 * Nothing is written before the tree has decided and the TTL has been checked. Then
 *
 *     A → B   client:cp → proxy:sp    becomes   proxy:pp → backend:sp
 *     B → A   backend:sp → proxy:pp   becomes   proxy:sp → client:cp
 *
 * or, where the source is preserved (the client has another port towards the backend only if its
 * own is that of another connection of it there)
 *
 *     A → B   client:cp → proxy:sp    becomes   client:cp → backend:sp
 *     B → A   backend:sp → client:cp  becomes   proxy:sp → client:cp
 *
 * Where families are translated, the two sides may be of different ones; the source is not
 * preserved then.
 *
 * Long because what `commit` writes (entry, eviction class, port, share) has to change together.
 */
import type { Address } from "../wire/address.ts";
import type { Arena } from "../core/arena.ts";
import type { Random } from "../core/random.ts";
import { Reason } from "../core/reason.ts";
import { isActive } from "../policy/language/health.ts";
import type { Steps } from "../policy/engine/environment.ts";
import { ADDRESS6_WORDS, copyAddress6 } from "../wire/address6.ts";
import type { AddressDigest } from "../wire/address_digest.ts";
import * as icmpv4 from "../wire/icmpv4.ts";
import { ICMPV6_ECHO_REPLY, ICMPV6_ECHO_REQUEST } from "../wire/icmpv6.ts";
import {
  acrossOf,
  isIcmp,
  isIpv6,
  isStray,
  isTcp,
  isUdp,
  type Pdu,
  RAISES_TTL,
  STATE_ESTABLISHED,
  STATE_INVALID,
  STATE_NEW,
  STEP_A_TO_B,
  STEP_B_TO_A,
  STEP_TRACK,
} from "../wire/pdu.ts";
import type { Backends, Target } from "./backends/backends.ts";
import type { Handshakes } from "./backends/handshakes.ts";
import type { Member } from "./backends/member.ts";
import {
  type ConnectionEvents,
  EVICTED,
  EXPIRED,
  KILLED,
  REPLACED,
  RESET_BY_PROXY,
} from "./connection_events.ts";
import {
  CLASS_OF_STATE,
  ONE_SIDED_QUERY,
  QUERY_ANSWERED,
  QUERY_NEW,
  type Timeouts,
  timeoutsMs,
  UDP_ANSWERED,
  UDP_NEW,
  UDP_ONGOING,
} from "./lifetimes.ts";
import { LinkedLists } from "../core/linked_lists.ts";
import { LAST_SEEN, META, OPENED, SAVED_WORDS, STATE_MASK, STATE_SHIFT } from "./entry.ts";
import { Lookahead } from "./lookahead.ts";
import { EvictionClasses, FINISHED, LIVE, ONE_SIDED, RESET } from "./eviction.ts";
import { type PortRange, Ports, type PortsInUse } from "./ports.ts";
import { VictimSelector } from "./victim.ts";
import { Retries, type RetryOptions } from "./retries.ts";
import { ALL, isCounted, Shares } from "./shares.ts";
import { FlowTable, SIDE_A, SIDE_B, type TableMemory } from "./table.ts";
import * as tcpState from "./tcp_state.ts";
import { type SegmentCarrier, TcpTracker, UNTOUCHED } from "./tcp_tracker.ts";
import { endOfSent, isFirstOfA, isOwnSyn, resumeWindow } from "./tcp_window.ts";
import {
  NEW_DESTINATION,
  NEW_SOURCE,
  type NextHops,
  type NextHops6,
  Translation,
} from "./translate.ts";

/** Default share of one source: of the table, and of the ports towards each (backend, port). */
const SHARE = 1 / 4;

/** When more than this is in use, a source's live connections count towards its share as well. */
const FULL = 3 / 4;

export interface ConnectionsOptions {
  readonly maxConnections: number;
  /**
   * A source's share of the table and of the ports towards each (backend, port); default a quarter.
   */
  readonly maxPerSource?: number | null;
  readonly ports: PortRange;
  readonly timeouts: Timeouts;
  /** The address that forwarded packets leave with. */
  readonly ownAddress: Address;
  /** Null, the default: there is no IPv6. */
  readonly ipv6?: Ipv6Options | null;
  /**
   * Whether the PDU's new connection reaches its backend under the client's address; default no.
   */
  readonly preservesSource?: (pdu: Readonly<Pdu>) => boolean;
  /** Whether a connection may get a member of the other family; default no. */
  readonly translatesFamilies?: boolean;
  readonly backends: Backends;
  /** Is told which handshakes fail; null: nobody is. */
  readonly handshakes?: Handshakes<Member> | null;
  /** Connections that a member has not answered are tried elsewhere; default no. */
  readonly retries?: RetryOptions | null;
  readonly random: Random;
  /** Where the table is; default memory of its own. */
  readonly tableMemory?: TableMemory | null;
  /** Default: nobody carries them. */
  readonly carrier?: Carrier | null;
}

export interface Ipv6Options {
  readonly digest: AddressDigest;
  /**
   * Four words for each of the proxy's addresses, on all links; that with which forwarded packets
   * leave is first.
   */
  readonly own: Int32Array;
}

/** Who may forward packets of connections meanwhile, with the same words of the table. */
export interface Carrier extends SegmentCarrier {
  /**
   * Whether it may still be at work on the connection, which is to be removed: then its entry rests
   * until all such work has ended, and is released.
   */
  rests(entry: number): boolean;
}

/** What became of a connection that an earlier run has left. */
export type Resumed = "resumed" | "expired" | "no room";

export class Connections {
  readonly table: FlowTable;
  /** For each frame of the burst a reference to its connection, to be confirmed, or -1. */
  readonly candidates: Int32Array<ArrayBuffer>;
  /** By frame, the digests of source and destination of IPv6. */
  readonly digests: Int32Array<ArrayBuffer>;
  /** Connections ever opened. */
  opened = 0;
  /** Connections evicted before their idle timeout. */
  evicted = 0;
  /** Is told which connections open and end; null: nobody is. */
  events: ConnectionEvents | null = null;
  /** Null: no connection is tried elsewhere. */
  readonly retries: Retries | null;
  readonly #options: ConnectionsOptions;
  readonly #timeoutsMs: Int32Array;
  readonly #classes: EvictionClasses;
  readonly #ports: Ports;
  readonly #tcp: TcpTracker;
  readonly #victims: VictimSelector;
  readonly #shares: Shares;
  readonly #shareOfTable: number;
  readonly #shareOfPorts: number;
  readonly #lookahead: Lookahead;
  /** Source and destination of IPv6, eight words. */
  readonly #addresses = new Int32Array(2 * ADDRESS6_WORDS);
  readonly #tried = new Translation();
  readonly #ownAddress: Address;
  /** Its counterpart over IPv6. */
  readonly #ownKey: number;
  readonly #mayCross: boolean;
  readonly #carrier: Carrier | null;
  readonly #remove = (entry: number): void => this.#end(entry, EXPIRED);
  /** Number of the target of the current PDU's translator. */
  #target = 0;

  constructor(options: ConnectionsOptions) {
    const { maxConnections, maxPerSource, ports, random, timeouts, tableMemory } = options;
    const { backends, ipv6 = null } = options;
    const whole = ipv6 === null ? null : { ...ipv6, members: backends.words! };
    this.table = new FlowTable(maxConnections, random, tableMemory, whole);
    this.#ownAddress = options.ownAddress;
    this.#ownKey = this.table.whole?.ownKey ?? 0;
    this.#mayCross = options.translatesFamilies ?? false;
    this.#carrier = options.carrier ?? null;
    this.retries = options.retries ? new Retries(maxConnections, options.retries) : null;
    this.#tcp = new TcpTracker(this.table, this.#carrier);
    this.#lookahead = new Lookahead(ipv6?.digest);
    this.candidates = this.#lookahead.candidates;
    this.digests = this.#lookahead.digests;
    this.#options = options;
    this.#timeoutsMs = timeoutsMs(timeouts);
    this.#classes = new EvictionClasses(new LinkedLists(maxConnections));
    this.#ports = new Ports(this.table, new LinkedLists(maxConnections), ports, random);
    this.#victims = new VictimSelector(this.table);
    this.#shares = new Shares(this.table, random, ipv6?.digest);
    this.#shareOfTable = maxPerSource ?? Math.ceil(maxConnections * SHARE);
    this.#shareOfPorts = maxPerSource ?? Math.ceil(this.#ports.size * SHARE);
  }

  /** Those that have been idle for longer end when `expire` comes to them. */
  setTimeouts(timeouts: Timeouts): void {
    this.#timeoutsMs.set(timeoutsMs(timeouts));
  }

  /** Null: there is no IPv6. */
  get ipv6(): Ipv6Options | null {
    return this.#options.ipv6 ?? null;
  }

  /** How many there are of each class, in the order of `eviction.ts`. */
  get classes(): Pick<EvictionClasses, "size"> {
    return this.#classes;
  }

  /** How many source ports are in use. */
  get portsInUse(): PortsInUse {
    return this.#ports;
  }

  /** Ports for the proxy's own use. */
  get ownPorts(): Pick<Ports, "reserve" | "release"> {
    return this.#ports;
  }

  // Before the tree

  /** Looks up the connections of a burst's frames: `candidates[i]` for frame i. */
  lookAhead(arena: Arena): void {
    this.#lookahead.read(arena, this.table);
  }

  /**
   * Finds the PDU's connection: sets `pdu.flow`, `pdu.state` and `pdu.invalid`. Before the call
   * `pdu.flow` is the candidate of `lookAhead`, or -1; earlier frames of the burst may have changed
   * it. `nowMs` as in `commit`.
   */
  classify(view: DataView, pdu: Pdu, nowMs: number): void {
    const ports = (pdu.srcPort << 16) | pdu.dstPort;
    pdu.steps = 0;
    pdu.newTtl = 0;
    pdu.opened = 0;
    pdu.invalid = 0;
    pdu.verdict = 0;
    if (isIpv6(pdu.protocol)) {
      this.#find6(pdu, ports);
    } else if (pdu.flow < 0 || !this.table.has(pdu.flow, pdu.protocol, pdu.src, pdu.dst, ports)) {
      pdu.flow = this.table.find(pdu.protocol, pdu.src, pdu.dst, ports);
    }
    if (pdu.flow < 0 ? asks(pdu) : this.#reopens(view, pdu, nowMs)) {
      pdu.state = STATE_NEW;
      return;
    }
    pdu.invalid = pdu.flow < 0 ? Reason.invalid : this.#fault(pdu);
    pdu.state = pdu.invalid !== 0 ? STATE_INVALID : STATE_ESTABLISHED;
  }

  #find6(pdu: Pdu, ports: number): void {
    const { table } = this;
    const { flow, protocol, src, dst, addresses } = pdu;
    if (flow >= 0 && table.has6(flow, protocol, src, dst, ports, addresses)) return;
    pdu.flow = table.find6(protocol, src, dst, ports, addresses);
  }

  /** The reason why the PDU does not fit its connection; 0 if it fits. */
  #fault(pdu: Pdu): number {
    if (isTcp(pdu.protocol)) return this.#tcp.fault(pdu);
    if (!isIcmp(pdu.protocol)) return 0;
    // Requests come from side A, replies from side B. With identifier 0 all of a host's messages
    // have the same tuple, errors and other types included.
    const fits = (pdu.flow & 1) === SIDE_A ? isRequest(pdu) : isReply(pdu);
    return fits ? 0 : Reason.invalid;
  }

  /**
   * True for a PDU that opens a new connection although its tuple has an entry: the earlier one is
   * over, or its backend no longer answers.
   */
  #reopens(view: DataView, pdu: Pdu, nowMs: number): boolean {
    const { backends } = this.#options;
    const isSegment = isTcp(pdu.protocol);
    const mayBeLost = backends.down > 0;
    if ((pdu.flow & 1) !== SIDE_A || !(isSegment || mayBeLost) || !asks(pdu)) return false;
    return this.isLost(pdu.flow >>> 1) || (isSegment && this.#tcp.beginsNext(view, pdu, nowMs));
  }

  /** True if the connection's member is gone: its client's next SYN or datagram opens another. */
  isLost(entry: number): boolean {
    const { backends } = this.#options;
    return backends.down > 0 && this.table.hasSideB(entry) &&
      isGone(backends.all[this.table.member(entry)]!);
  }

  // In the tree

  /** What the tree's nodes call. They only check and note; `commit` acts. */
  readonly steps: Steps = {
    track: (pdu) => {
      if (pdu.state === STATE_INVALID) return pdu.invalid;
      pdu.steps |= STEP_TRACK;
      return 0;
    },
    translateAToB: (pdu, target) => {
      if (isStraySegment(pdu)) return Reason.stray;
      if (pdu.state === STATE_INVALID) return pdu.invalid;
      if (!hasPorts(pdu)) return Reason["not-translatable"];
      if (pdu.flow >= 0 && !this.#belongsTo(pdu, SIDE_A)) return Reason.invalid;
      pdu.steps |= STEP_A_TO_B;
      this.#target = target;
      return 0;
    },
    translateBToA: (pdu) => {
      if (isStraySegment(pdu)) return Reason.stray;
      if (pdu.flow < 0 || !this.#belongsTo(pdu, SIDE_B)) return Reason["no-mapping"];
      if (pdu.state === STATE_INVALID) return pdu.invalid;
      pdu.steps |= STEP_B_TO_A;
      return 0;
    },
    setTtl: (pdu, ttl, raise) => {
      pdu.newTtl = raise ? RAISES_TTL | ttl : ttl;
      return 0;
    },
  };

  #belongsTo(pdu: Pdu, side: number): boolean {
    return (pdu.flow & 1) === side && this.table.hasSideB(pdu.flow >>> 1);
  }

  // After the tree

  /** Before `commit`: with which protocol, and over which family, the PDU will leave. */
  protocolTowards(pdu: Pdu): number {
    if (!this.#mayCross) return pdu.protocol;
    if (pdu.flow >= 0 && pdu.state !== STATE_NEW) return this.table.protocolOf(pdu.flow ^ 1);
    return this.#crosses(pdu) ? acrossOf(pdu.protocol) : pdu.protocol;
  }

  /** True if the PDU's new connection gets a member of the other family. */
  #crosses({ protocol }: Pdu): boolean {
    return this.#mayCross && this.target.pool.crossesFor(isIpv6(protocol));
  }

  /**
   * Carries out what the tree's steps noted: creates or refreshes the entry and writes to `to` the
   * PDU's new addresses and ports, and its next hop by the routes of its family unless these are
   * null. Returns 0, or a reason, `no-route` among them; then nothing has changed. `nowMs` is
   * modulo 2³², a 32-bit integer: V8 would allocate a fraction wherever it is passed on.
   */
  commit(
    view: DataView,
    pdu: Pdu,
    nowMs: number,
    to: Translation,
    routes: NextHops | null = null,
    routes6: NextHops6 | null = null,
  ): number {
    if ((pdu.steps & (STEP_A_TO_B | STEP_B_TO_A)) === 0) {
      return (pdu.steps & STEP_TRACK) === 0 ? 0 : this.#track(pdu, nowMs);
    }
    const table = this.table;
    let hasMoved = false;
    if (pdu.flow < 0 || pdu.state === STATE_NEW) {
      const reason = this.#open(pdu, nowMs, to, routes, routes6);
      if (reason !== 0) return reason;
    } else {
      hasMoved = this.#leavesMember(pdu, nowMs) &&
        this.tryElsewhere(this.target, pdu, nowMs, routes, routes6);
      if (!this.#aim(pdu, to, routes, routes6)) return Reason["no-route"];
    }
    const entry = pdu.flow >>> 1;
    const other = 1 - (pdu.flow & 1);
    to.protocol = table.protocolOf(pdu.flow ^ 1);
    to.src = table.dst(entry, other);
    to.srcPort = table.dstPort(entry, other);
    to.dstPort = table.srcPort(entry, other);
    if (isTcp(pdu.protocol)) this.#advanceTcp(view, pdu, nowMs, hasMoved);
    else this.#renew(entry, stateOfAnswer(pdu, table.state(entry)), nowMs);
    return 0;
  }

  /** Writes to `to` where the PDU goes; false: there is no route. */
  #aim(pdu: Pdu, to: Translation, routes: NextHops | null, routes6: NextHops6 | null): boolean {
    if (isIpv6(this.table.protocolOf(pdu.flow ^ 1))) {
      this.aim6(pdu.flow, to);
      return routes6 === null || routes6.route(to);
    }
    to.dst = this.table.src(pdu.flow >>> 1, 1 - (pdu.flow & 1));
    return routes === null || (to.nextHop = routes.nextHop(to.dst)) !== 0;
  }

  /** Writes to `to` that it goes to the member; false: there is no route. */
  #aimAt(
    member: Member,
    to: Translation,
    routes: NextHops | null,
    routes6: NextHops6 | null,
  ): boolean {
    to.dst = member.key;
    if (!member.isIpv6) return routes === null || (to.nextHop = routes.nextHop(to.dst)) !== 0;
    const words = this.#options.backends.words!;
    copyAddress6(words, member.index * ADDRESS6_WORDS, to.addresses, NEW_DESTINATION);
    return routes6 === null || routes6.route(to);
  }

  /** Writes to `to` where a packet of `reference` goes that leaves over IPv6; no ports. */
  aim6(reference: number, to: Translation): void {
    const { table } = this;
    const other = 1 - (reference & 1);
    to.src = table.dst(reference >>> 1, other);
    to.dst = table.src(reference >>> 1, other);
    table.whole!.copyDestination(reference ^ 1, to.addresses, NEW_SOURCE);
    table.whole!.copySource(reference ^ 1, to.addresses, NEW_DESTINATION);
  }

  /** Before `commit`: writes to `to` with which source the PDU will leave over IPv6. */
  writeSource6(pdu: Pdu, to: Translation): void {
    const { flow, state, addresses } = pdu;
    const { ipv6, preservesSource } = this.#options;
    if (flow >= 0 && state !== STATE_NEW) {
      this.table.whole!.copyDestination(flow ^ 1, to.addresses, NEW_SOURCE);
    } else {
      const isPreserved = preservesSource?.(pdu) ?? false;
      copyAddress6(isPreserved ? addresses : ipv6!.own, 0, to.addresses, NEW_SOURCE);
    }
  }

  /** Writes source and destination of a packet of `reference`, over IPv6, as it comes: 8 words. */
  writeTuple6(reference: number, to: Int32Array, at: number): void {
    this.table.whole!.copySource(reference, to, at);
    this.table.whole!.copyDestination(reference, to, at + ADDRESS6_WORDS);
  }

  #advanceTcp(view: DataView, pdu: Pdu, nowMs: number, hasMoved: boolean): void {
    const entry = pdu.flow >>> 1;
    const before = this.table.state(entry);
    const { retries } = this;
    if (retries !== null && before === tcpState.SYN_SENT && this.#isOtherSyn(pdu)) {
      retries.openedAnew(entry, pdu.end > pdu.payload, nowMs);
    }
    const state = this.#tcp.advance(view, pdu);
    if (before === tcpState.SYN_SENT) {
      if (!hasMoved) this.#noteHandshake(pdu, state);
      if (state !== before && state !== UNTOUCHED) retries?.forget(entry);
    }
    if (state !== UNTOUCHED) this.#renew(entry, state, nowMs);
  }

  /** True for a SYN with another number than the one that nobody has answered yet. */
  #isOtherSyn(pdu: Pdu): boolean {
    return (pdu.flow & 1) === SIDE_A && tcpState.isFirstSyn(pdu.tcpFlags) && pdu.opened === 0 &&
      !isOwnSyn(this.table, pdu.flow >>> 1, pdu);
  }

  /** What became of a SYN by this PDU: a SYN ACK, an RST, or only the SYN once more. */
  #noteHandshake(pdu: Pdu, state: number): void {
    const { backends, handshakes } = this.#options;
    if (!handshakes) return;
    const entry = pdu.flow >>> 1;
    const isFromB = (pdu.flow & 1) === SIDE_B;
    const isRepeated = !isFromB && pdu.opened === 0 && state === tcpState.SYN_SENT;
    if (isRepeated || (isFromB && state === tcpState.ABORTED)) this.noteFailure(entry);
    if (!isFromB || state !== tcpState.SYN_RECEIVED) return;
    const member = backends.all[this.table.member(entry)]!;
    if (!isActive(member.pool.health.check)) return;
    handshakes.answered(member, this.table.srcPort(entry, SIDE_B));
  }

  /** The member of the connection has refused its SYN, or not answered. */
  noteFailure(entry: number): void {
    const { backends, handshakes } = this.#options;
    const member = backends.all[this.table.member(entry)]!;
    if (!handshakes || !isActive(member.pool.health.check)) return;
    handshakes.failed(member, this.table.srcPort(entry, SIDE_B));
  }

  // Another try

  /** Where the tree has sent the PDU at hand. */
  get target(): Target {
    return this.#options.backends.targets[this.#target]!;
  }

  /**
   * True for a SYN or datagram of a client that its member has refused, or that has waited too
   * long.
   */
  #leavesMember(pdu: Pdu, nowMs: number): boolean {
    const { retries } = this;
    if (retries === null || (pdu.flow & 1) !== SIDE_A || isIcmp(pdu.protocol)) return false;
    const entry = pdu.flow >>> 1;
    if (!this.isUnanswered(entry) || !retries.isLeft(entry)) return false;
    const isSegment = isTcp(pdu.protocol);
    if (isSegment && !tcpState.isFirstSyn(pdu.tcpFlags)) return false;
    return retries.isRefused(entry) || (isSegment && retries.isOverdue(entry, nowMs));
  }

  /**
   * True if nothing has come from the connection's member that it has sent on: a TCP connection's,
   * or UDP's.
   */
  isUnanswered(entry: number): boolean {
    const state = this.table.state(entry);
    return state === tcpState.SYN_SENT || state === UDP_NEW;
  }

  /** True if there is a member of the same pool that the connection has not tried. */
  hasOther(entry: number): boolean {
    const { all } = this.#options.backends;
    const { pool, isIpv6 } = all[this.table.member(entry)]!;
    const tried = this.#triedBy(entry);
    return this.retries!.isLeft(entry) &&
      (pool.hasOther(isIpv6, tried) || (this.#mayCross && pool.hasOther(!isIpv6, tried)));
  }

  #triedBy(entry: number): (member: Member) => boolean {
    const current = this.table.member(entry);
    return ({ index }) => index === current || this.retries!.hasTried(entry, index);
  }

  /**
   * Takes the connection of `pdu`, of which only the client's tuple counts, from its member to one
   * of the target's that it has not tried. False if there is none that it can reach: then it has
   * had its last try.
   */
  tryElsewhere(
    target: Target,
    pdu: Pdu,
    nowMs: number,
    routes: NextHops | null,
    routes6: NextHops6 | null = null,
  ): boolean {
    const { backends } = this.#options;
    const { table } = this;
    const retries = this.retries!;
    const entry = pdu.flow >>> 1;
    const { protocol, src } = pdu;
    const member = retries.isLeft(entry) ? this.#pickOther(target, pdu) : null;
    const dstPort = member === null ? 0 : member.port || target.port || pdu.dstPort;
    const port = member === null || !this.#aimAt(member, this.#tried, routes, routes6)
      ? -1
      : this.#portTowards(entry, member, dstPort, pdu);
    if (member === null || port < 0) {
      retries.giveUp(entry);
      return false;
    }
    if (isTcp(protocol)) this.noteFailure(entry);
    const evictionClass = CLASS_OF_STATE[table.state(entry)]!;
    const isPooled = this.#hasPort(entry);
    if (isPooled) this.#ports.remove(entry, evictionClass);
    this.#shares.move(entry, evictionClass, -1, isPooled);
    const there = protocolAt(member, protocol);
    const source = isPooled ? this.#ownOf(there) : src;
    table.moveSideB(entry, member.key, source, (dstPort << 16) | port, there !== protocol);
    if (isIpv6(there)) table.whole!.setSideB(entry, member.index, source);
    if (isPooled) this.#ports.add(entry, evictionClass);
    this.#shares.move(entry, -1, evictionClass, isPooled);
    const left = table.member(entry);
    table.setMember(entry, member.index);
    backends.opened(member);
    backends.forgotten(backends.all[left]!, false);
    retries.moved(entry, left, nowMs);
    return true;
  }

  /** A member of the target's that the connection of `pdu` has not tried. */
  #pickOther({ by, pool }: Target, pdu: Pdu): Member | null {
    const { random } = this.#options;
    const tried = this.#triedBy(pdu.flow >>> 1);
    if (!this.#mayCross) return pool.pickOther(by, pdu, random, tried);
    const first = isIpv6(pdu.protocol) !== pool.crossesFor(isIpv6(pdu.protocol));
    return pool.pickOther(by, pdu, random, tried, first) ??
      pool.pickOther(by, pdu, random, tried, !first);
  }

  /**
   * The port by which the connection may reach that backend, or -1: none is taken from another for
   * this.
   */
  #portTowards(entry: number, member: Member, dstPort: number, pdu: Pdu): number {
    const { protocol, src, srcPort } = pdu;
    const { key } = member;
    if (!this.#hasPort(entry)) return this.#keptPort(member, dstPort, pdu, -1);
    const avoid = key === src && dstPort === srcPort ? dstPort : -1;
    const there = protocolAt(member, protocol);
    return this.#ports.choose(there, key, this.#ownOf(there), dstPort, srcPort, -1, avoid);
  }

  /**
   * The port with which the member knows a client whose address is kept, or -1: its own, unless
   * another of its connections has that. The port of entry `successorOf` counts as free.
   */
  #keptPort(member: Member, dstPort: number, pdu: Pdu, successorOf: number): number {
    return this.#ports.keep(pdu.srcPort, (port) => {
      const reference = this.#findKept(member, pdu, (dstPort << 16) | port);
      return reference < 0 || reference >> 1 === successorOf;
    });
  }

  /** The connection by which the member knows the client's address with these ports, or -1. */
  #findKept({ key, index }: Member, { protocol, src, addresses }: Pdu, ports: number): number {
    const { table } = this;
    if (!isIpv6(protocol)) return table.find(protocol, key, src, ports);
    copyAddress6(this.#options.backends.words!, index * ADDRESS6_WORDS, this.#addresses, 0);
    copyAddress6(addresses, 0, this.#addresses, ADDRESS6_WORDS);
    return table.find6(protocol, key, src, ports, this.#addresses);
  }

  /** What tuples have for the address with which forwarded packets leave. */
  #ownOf(protocol: number): number {
    return isIpv6(protocol) ? this.#ownKey : this.#ownAddress;
  }

  /** Marks the connection as used now, and sets its state. If it ends, `reason` says why. */
  #renew(entry: number, state: number, nowMs: number, reason: number = state): void {
    const from = CLASS_OF_STATE[this.table.state(entry)]!;
    const to = CLASS_OF_STATE[state]!;
    if (from !== to && this.events !== null) this.#tellChange(entry, from, to, reason);
    this.table.touch(entry, nowMs);
    if (this.#carrier !== null && this.table.state(entry) !== state) this.#carrier.demote(entry);
    if (from === LIVE && to === LIVE) {
      this.table.setState(entry, state); // live ones are not ordered
      return;
    }
    this.table.setState(entry, state);
    this.#classes.renew(entry, from, to);
    if (isOver(from) !== isOver(to) && this.table.hasSideB(entry)) {
      const { backends } = this.#options;
      backends.changeLoad(backends.all[this.table.member(entry)]!, isOver(to) ? -1 : 1);
    }
    const isPooled = this.#hasPort(entry);
    if (isPooled) this.#ports.renew(entry, from, to);
    this.#shares.move(entry, from, to, isPooled);
  }

  /** Segments end a TCP connection, and may revive it; others end when they are forgotten. */
  #tellChange(entry: number, from: number, to: number, reason: number): void {
    if (isOver(from) === isOver(to) || !isTcp(this.table.protocol(entry))) return;
    if (isOver(to)) this.events!.closed(entry, reason);
    else this.events!.opened(entry);
  }

  #open(
    pdu: Pdu,
    nowMs: number,
    to: Translation,
    routes: NextHops | null,
    routes6: NextHops6 | null,
  ): number {
    const { backends, preservesSource, random } = this.#options;
    const { protocol } = pdu;
    const { pool, port: newPort, by } = backends.targets[this.#target]!;
    const crosses = this.#crosses(pdu);
    const member = pool.pick(by, pdu, random, isIpv6(protocol) !== crosses);
    if (member === null) return pool.refusal(pdu, this.#mayCross);
    const { key: address } = member;
    const there = crosses ? acrossOf(protocol) : protocol;
    // A query's identifier is no port.
    const dstPort = isIcmp(protocol) ? pdu.dstPort : member.port || newPort || pdu.dstPort;
    if (!this.#aimAt(member, to, routes, routes6)) return Reason["no-route"];
    const earlier = pdu.flow >> 1;
    const ports = this.#ports;
    const own = this.#ownOf(there);
    // A client whose key is that of the proxy's address is not told apart from it: once in 2³².
    const source = preservesSource?.(pdu) ?? false ? pdu.src : own;
    const isPooled = source === own;
    // Replacing an entry that already counts does not change its source's count.
    if (earlier < 0 || !isCounted(CLASS_OF_STATE[this.table.state(earlier)]!)) {
      const reason = this.#holdToShare(pdu, there, isPooled ? address : 0, dstPort);
      if (reason !== 0) return reason;
    }
    const state = firstState(protocol);
    const evictionClass = CLASS_OF_STATE[state]!;
    const avoid = address === pdu.src && dstPort === pdu.srcPort ? dstPort : -1;
    let port = isPooled
      ? ports.choose(there, address, own, dstPort, pdu.srcPort, earlier, avoid)
      : this.#keptPort(member, dstPort, pdu, earlier);
    if (port >= 0) {
      const reason = earlier >= 0 ? 0 : this.#makeRoom(evictionClass, nowMs);
      if (reason !== 0) return reason;
    } else {
      const pool = isPooled ? ports.pool(there, address, dstPort) : null;
      const victim = pool === null ? -1 : this.#victims.select(pool, evictionClass, nowMs);
      if (victim < 0) return Reason["no-port"];
      port = this.table.dstPort(victim, SIDE_B);
      if (victim !== earlier) this.#evict(victim);
    }
    if (earlier >= 0) this.#end(earlier, REPLACED);
    const entry = this.table.insert(
      protocol,
      pdu.src,
      pdu.dst,
      (pdu.srcPort << 16) | pdu.dstPort,
      address,
      source,
      (dstPort << 16) | port,
      crosses,
    );
    if (entry < 0) return Reason["table-full"]; // the one that made room still rests
    const { whole } = this.table;
    if (isIpv6(protocol)) whole!.setSideA(entry, pdu.addresses, 0, pdu.dst);
    if (isIpv6(there)) {
      whole!.setSideB(entry, member.index, source);
      whole!.copyDestination((entry << 1) | SIDE_B, to.addresses, NEW_SOURCE);
    }
    this.table.setExtra(entry, OPENED, nowMs);
    this.table.setState(entry, state);
    this.#count(entry);
    this.table.setMember(entry, member.index);
    backends.opened(member);
    this.opened++;
    this.events?.opened(entry);
    this.retries?.opened(entry, pdu.end > pdu.payload, nowMs);
    pdu.flow = (entry << 1) | SIDE_A;
    pdu.opened = 1;
    return 0;
  }

  /**
   * Holds the source of a new connection to its share of the table, and of the ports towards
   * `backend` and its `dstPort` by that protocol (backend 0: it needs none). Returns 0 or a reason.
   * Unanswered connections never exceed the share: a source that wants more loses its own oldest.
   * Live ones are never evicted, and may exceed it while there is space: many users may share one
   * address.
   */
  #holdToShare(pdu: Pdu, protocol: number, backend: Address, dstPort: number): number {
    // Usually all sources together have less than a share, or this one has.
    const least = Math.min(this.#shareOfTable, this.#shareOfPorts);
    if (this.#classes.inUse < least) return 0;
    const source = this.#shares.sourceOf(pdu);
    if (this.#shares.total(source, ALL) < least) return 0;
    const { size } = this.#ports;
    const pool = backend === 0 ? null : this.#ports.pool(protocol, backend, dstPort);
    if (pool !== null) {
      const inPool = this.#shares.poolOf(protocol, backend, dstPort);
      const reason = this.#holdTo(this.#shareOfPorts, pool, size, pdu, source, inPool);
      if (reason !== 0) return reason;
    }
    return this.#holdTo(this.#shareOfTable, this.#classes, this.table.capacity, pdu, source, ALL);
  }

  #holdTo(
    share: number,
    classes: EvictionClasses,
    capacity: number,
    pdu: Pdu,
    source: number,
    pool: number,
  ): number {
    if (classes.pending >= share && this.#shares.pending(source, pool) >= share) {
      const own = this.#victims.oldestFrom(classes, pdu);
      if (own < 0) return Reason["source-limit"];
      this.#evict(own);
    }
    return classes.inUse >= capacity * FULL && this.#shares.total(source, pool) >= share
      ? Reason["source-limit"]
      : 0;
  }

  /**
   * True if the connection uses the proxy's address towards its backend, and so a port of its
   * range.
   */
  #hasPort(entry: number): boolean {
    const { table } = this;
    return table.hasSideB(entry) &&
      table.dst(entry, SIDE_B) === this.#ownOf(table.protocolOf((entry << 1) | SIDE_B));
  }

  /**
   * Creates or refreshes the entry of a query that the proxy answers itself: addresses and
   * identifier.
   */
  #track(pdu: Pdu, nowMs: number): number {
    if (pdu.flow < 0) {
      const reason = this.#makeRoom(ONE_SIDED, nowMs);
      if (reason !== 0) return reason;
      const ports = (pdu.srcPort << 16) | pdu.dstPort;
      const entry = this.table.insertOneSided(pdu.protocol, pdu.src, pdu.dst, ports);
      if (entry < 0) return Reason["table-full"];
      if (isIpv6(pdu.protocol)) this.table.whole!.setSideA(entry, pdu.addresses, 0, pdu.dst);
      this.table.setExtra(entry, OPENED, nowMs);
      this.table.setState(entry, ONE_SIDED_QUERY);
      this.#count(entry);
      this.opened++;
      this.events?.opened(entry);
      pdu.flow = (entry << 1) | SIDE_A;
      pdu.opened = 1;
    }
    const entry = pdu.flow >>> 1;
    this.#renew(entry, this.table.state(entry), nowMs);
    return 0;
  }

  /** Counts an entry that is new in the table. */
  #count(entry: number): void {
    const evictionClass = CLASS_OF_STATE[this.table.state(entry)]!;
    const isPooled = this.#hasPort(entry);
    this.#classes.add(entry, evictionClass);
    if (isPooled) this.#ports.add(entry, evictionClass);
    this.#shares.move(entry, -1, evictionClass, isPooled);
  }

  /**
   * Makes space for one more entry, of that class, by eviction if needed. Returns 0 or a reason.
   */
  #makeRoom(evictionClass: number, nowMs: number): number {
    if (this.table.count < this.table.capacity) return 0;
    const victim = this.#victims.select(this.#classes, evictionClass, nowMs);
    if (victim < 0) return Reason["table-full"];
    this.#evict(victim);
    return 0;
  }

  /**
   * Notes that the proxy has reset an open TCP connection. Its port rests, as after a backend's
   * RST; a client that tries the same port again begins anew.
   */
  markReset(entry: number, nowMs: number): void {
    const state = this.table.state(entry);
    const next = tcpState.isHandshake(state) ? tcpState.ABORTED : tcpState.RESET_B;
    this.#renew(entry, next, nowMs, RESET_BY_PROXY);
  }

  #evict(entry: number): void {
    this.#end(entry, EVICTED);
    this.evicted++;
  }

  /**
   * Removes connections that have reached their idle timeout; each call looks at a bounded slice of
   * the table.
   */
  expire(nowMs: number): void {
    this.table.expire(nowMs, this.#timeoutsMs, this.#remove);
  }

  /** How long ago the connection was opened, in milliseconds; right for up to 49 days. */
  ageMs(entry: number, nowMs: number): number {
    return (nowMs - this.table.extra(entry, OPENED)) >>> 0;
  }

  /** After how many milliseconds it is forgotten, if it is not used; 0: at once. */
  expiresInMs(entry: number, nowMs: number): number {
    const timeoutMs = this.#timeoutsMs[this.table.state(entry)]!;
    return Math.max(0, timeoutMs - this.table.idleMs(entry, nowMs));
  }

  /**
   * Every connection: live ones first, for a table that has less room, and of each class those
   * first that were not heard of for longer.
   */
  *[Symbol.iterator](): Generator<number> {
    for (let evictionClass = LIVE; evictionClass >= ONE_SIDED; evictionClass--) {
      yield* this.#classes.ofClass(evictionClass);
    }
  }

  /**
   * Takes a connection of an earlier run, given as `FlowTable.copyOut` writes it: what is read is
   * for the caller to check. LAST_SEEN is how long it has been idle by now, OPENED its age, and its
   * member is one of today's. Over IPv6, four words of its client follow.
   */
  resume(words: Readonly<Int32Array>, at: number, nowMs: number): Resumed {
    const { table } = this;
    const { backends } = this.#options;
    const idleMs = words[at + LAST_SEEN]!;
    const state = (words[at + META]! >>> STATE_SHIFT) & STATE_MASK;
    if (idleMs >= this.#timeoutsMs[state]!) return "expired";
    const entry = table.copyIn(words, at);
    if (entry < 0) return "no room";
    if (isIpv6(table.protocol(entry))) {
      table.whole!.setSideA(entry, words, at + SAVED_WORDS, table.dst(entry, SIDE_A));
    }
    if (table.hasSideB(entry) && isIpv6(table.protocolOf((entry << 1) | SIDE_B))) {
      table.whole!.setSideB(entry, table.member(entry), table.dst(entry, SIDE_B));
    }
    table.touch(entry, nowMs - idleMs);
    table.setExtra(entry, OPENED, nowMs - table.extra(entry, OPENED));
    if (tcpState.hasBeenOpen(state)) resumeWindow(table, entry);
    this.#count(entry);
    if (!table.hasSideB(entry)) return "resumed";
    // Its SYN is not remembered: its member has its time once more, then the client's next one is
    // the other try.
    const hasData = !isFirstOfA(table, entry, endOfSent(table, entry, SIDE_A));
    this.retries?.opened(entry, hasData, nowMs);
    backends.resumed(backends.all[table.member(entry)]!, isOver(CLASS_OF_STATE[state]!));
    return "resumed";
  }

  /** Forgets a connection because an operator has said so. */
  remove(entry: number): void {
    this.#end(entry, KILLED);
  }

  /** Forgets a connection; `reason` says why, if it is not over already. */
  #end(entry: number, reason: number): void {
    const { events } = this;
    if (events !== null && !tcpState.isOver(this.table.state(entry))) events.closed(entry, reason);
    const rests = this.#carrier?.rests(entry) ?? false;
    const evictionClass = CLASS_OF_STATE[this.table.state(entry)]!;
    this.#classes.remove(entry, evictionClass);
    const isPooled = this.#hasPort(entry);
    if (isPooled) this.#ports.remove(entry, evictionClass);
    this.#shares.move(entry, evictionClass, -1, isPooled);
    if (this.table.hasSideB(entry)) {
      const { backends } = this.#options;
      backends.forgotten(backends.all[this.table.member(entry)]!, isOver(evictionClass));
      this.retries?.forget(entry);
    }
    this.table.remove(entry, rests);
  }
}

/** What the protocol of a connection is called at that member. */
function protocolAt(member: Member, protocol: number): number {
  return member.isIpv6 === isIpv6(protocol) ? protocol : acrossOf(protocol);
}

/** True for a class of connections that are over, as far as can be seen. */
function isOver(evictionClass: number): boolean {
  return evictionClass === FINISHED || evictionClass === RESET;
}

/**
 * True for a member whose connections are of no use: it is down, and not one that is used all the
 * same.
 */
function isGone(member: Member): boolean {
  const { pool, status } = member;
  return status === "down" && (pool.health.allDown === "reject" || !pool.canUse(member));
}

/** True for a PDU that may open a connection: a first SYN, a datagram or a query. */
function asks(pdu: Pdu): boolean {
  if (isTcp(pdu.protocol)) return tcpState.isFirstSyn(pdu.tcpFlags);
  return !isIcmp(pdu.protocol) || isRequest(pdu);
}

/** True for an ICMP query; over IPv6 there is only the echo. */
function isRequest({ protocol, icmpType }: Pdu): boolean {
  return isIpv6(protocol) ? icmpType === ICMPV6_ECHO_REQUEST : icmpv4.isRequest(icmpType);
}

/** True for an answer to one. */
function isReply({ protocol, icmpType }: Pdu): boolean {
  return isIpv6(protocol) ? icmpType === ICMPV6_ECHO_REPLY : icmpv4.isReply(icmpType);
}

/** True for a TCP segment that has no connection and opens none. */
function isStraySegment(pdu: Pdu): boolean {
  return isTcp(pdu.protocol) && isStray(pdu);
}

/** True if the PDU has ports, or a query's identifier. */
function hasPorts(pdu: Pdu): boolean {
  const { protocol } = pdu;
  return isTcp(protocol) || isUdp(protocol) ||
    (isIcmp(protocol) && (isRequest(pdu) || isReply(pdu)));
}

function firstState(protocol: number): number {
  if (isTcp(protocol)) return tcpState.SYN_SENT;
  return isUdp(protocol) ? UDP_NEW : QUERY_NEW;
}

/** The state of a UDP or query connection after this PDU. */
function stateOfAnswer(pdu: Pdu, state: number): number {
  const isFromA = (pdu.flow & 1) === SIDE_A;
  if (!isUdp(pdu.protocol)) return isFromA ? state : QUERY_ANSWERED;
  if (isFromA) return state === UDP_ANSWERED ? UDP_ONGOING : state;
  return state === UDP_NEW ? UDP_ANSWERED : state;
}
