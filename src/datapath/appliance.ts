/**
 * The appliance: everything between the device's bursts. With an in-memory device, a manual clock
 * and seeded randomness it is the whole world of a test.
 *
 *     read ─ decode ─ admit ─ classify ─ tree ─┬─ forward: TTL, route, commit, translate ─┐
 *              │       │ └─ reassemble         ├─ echo reply in place ────────────────────┼─ write
 *              └─ ARP  └─ dropped              └─ drop                                    │
 *                  └──────────────────────────────────────────────────────────────────────┘
 *
 * Nothing here throws for a packet's sake: each ends as a decision, a drop with a counted reason,
 * or ARP.
 *
 * Long because a frame's way through all rooms can be read here from top to bottom.
 */
import type { Clock } from "../core/clock.ts";
import { LimitedLog } from "../core/limited_log.ts";
import type { Log } from "../core/log.ts";
import { type Random, SeededRandom } from "../core/random.ts";
import { HELD, NOT_MINE, Reason } from "../core/reason.ts";
import type { Slices } from "../core/slices.ts";
import type { Device } from "../device/device.ts";
import { Backends } from "../flow/backends/backends.ts";
import { Handshakes } from "../flow/backends/handshakes.ts";
import type { Checked } from "../flow/backends/health.ts";
import type { Member } from "../flow/backends/member.ts";
import { Connections } from "../flow/connections.ts";
import type { Timeouts } from "../flow/lifetimes.ts";
import { RelatedErrors } from "../flow/icmp_error.ts";
import { Fragmenter, MAX_PACKET_FRAGMENTS } from "../stack/fragmentation.ts";
import { reasonOfChainFault } from "../stack/admit6.ts";
import { fragments6 } from "../stack/fragment_format.ts";
import { Reassembly } from "../stack/reassembly.ts";
import type { AnnotatedTree } from "../policy/engine/annotate.ts";
import type { Image } from "../policy/engine/image.ts";
import { isPlain } from "../policy/engine/unknown.ts";
import { DROP, DST_ADDRS, FORWARD, type Policy, type Predicate } from "../policy/language/ast.ts";
import { isActive } from "../policy/language/health.ts";
import { ADDRESS6_WORDS, isSameAddress6 } from "../wire/address6.ts";
import type { AddressDigest } from "../wire/address_digest.ts";
import { decodeFrame, decodeIpv4, decodeTransport } from "../wire/decode.ts";
import {
  chainFaultOf,
  decodeIpv6,
  decodeTransport6,
  hasExtensionHeaders,
} from "../wire/decode6.ts";
import {
  ETHERNET_BYTES,
  etherType,
  ETHERTYPE_ARP,
  ETHERTYPE_IPV4,
  ETHERTYPE_IPV6,
} from "../wire/ethernet.ts";
import { Chain } from "../wire/extension_headers.ts";
import * as icmpv6 from "../wire/icmpv6.ts";
import * as ipv4 from "../wire/ipv4.ts";
import * as ipv6 from "../wire/ipv6.ts";
import type { HashKey } from "../wire/keyed_hash.ts";
import {
  FROM_A,
  FROM_B,
  isIpv6,
  OVER_IPV6,
  Pdu,
  STATE_ESTABLISHED,
  STATE_INVALID,
} from "../wire/pdu.ts";
import { Answers } from "./answers.ts";
import { checkPools } from "./address_rules.ts";
import { otherWayOf } from "./carried_neighbors.ts";
import type { Config } from "./config.ts";
import { Dispatch } from "./dispatch.ts";
import { Endings } from "./endings.ts";
import { HealthChecks } from "./health_checks.ts";
import type { Ask, Asked } from "./interest.ts";
import { keeperOf, type KeptEnd } from "./keeper.ts";
import { type Link, makeLinks } from "./link.ts";
import { digestFor, type Link6, ownAddresses6 } from "./link6.ts";
import { LostConnections } from "./lost_connections.ts";
import { Count, Metrics } from "./metrics.ts";
import { PlainSegments } from "./header_prediction.ts";
import { isIpv6Frame, PlainSegments6 } from "./header_prediction6.ts";
import { Resends } from "./resends.ts";
import { type FastPath, Promotions } from "./promotions.ts";
import type { FrameWatcher, Observer, Outcome, SentFrame } from "./observer.ts";
import { together } from "./observers.ts";
import type { SavedChange } from "./saved_members.ts";
import {
  type Moment,
  readState,
  resumeState,
  type Resumption,
  type SavedState,
  saveState,
} from "./saved_state.ts";
import {
  type Counters,
  countersOf,
  frozen,
  type MemberSnapshot,
  type Snapshot,
  snapshotOfMember,
} from "./snapshot.ts";
import { Strays } from "./strays.ts";
import { Undelivered } from "./undelivered.ts";
import {
  type Definitions,
  type Evaluator,
  type Nodes,
  RunningPolicy,
  type Surroundings,
} from "./running_policy.ts";

/** How often timers are looked at. */
const TICK_MS = 100;

/** Scratch space for the longest datagram, once whole and once in fragments. */
const REASSEMBLY_ROOM_BYTES = 3 << 16;

export interface ApplianceOptions {
  /** One for each of `config.links`. */
  readonly devices: readonly Device[];
  readonly clock: Clock;
  readonly random: Random;
  readonly policy: Policy;
  readonly config: Config;
  readonly log: Log;
  /** Is handed what became of PDUs; null: nobody is. */
  readonly observer: Observer | null;
  readonly evaluator?: Evaluator;
  /**
   * Chance of the checks of backends: theirs alone, so that they change nobody's else; without it
   * none are made.
   */
  readonly checkRandom?: Random;
  /** Of `--hash-key-file`; default none. */
  readonly hashKey?: HashKey;
  /** Has the kernel carry connections; default: the proxy forwards each packet. */
  readonly fastPath?: FastPath | null;
}

/** What can change while the appliance runs. */
export interface Change {
  readonly policy?: Policy;
  /** Instead of a policy: one that another thread has made for `pools`. */
  readonly image?: Image;
  /** Instead of the policy's, and `$dst-addrs` among them. */
  readonly pools?: Policy["pools"];
  readonly timeouts?: Timeouts;
  /** Instead of the console: one that asks in the words of the policy that runs then. */
  readonly observer?: (asked: Asked) => Observer | null;
}

export class Appliance {
  readonly links: readonly Link[];
  readonly metrics = new Metrics();
  readonly connections: Connections;
  readonly backends: Backends;
  /** Ends connections though no packet asks for it. */
  readonly endings: Endings;
  readonly #config: Config;
  readonly #clock: Clock;
  /** Side A's link and side B's, which may be one and the same. */
  readonly #a: Link;
  readonly #b: Link;
  /** Shows PDUs on the console; null: nobody does. */
  #console: Observer | null;
  /** Watch for PDUs besides. */
  #watchers: readonly Observer[] = [];
  /** Is handed what became of PDUs: all of these as one, or nobody. */
  #observer: Observer | null;
  /** That one of them that wants all frames. */
  #frames: FrameWatcher | null = null;
  readonly #checks: HealthChecks | null;
  readonly #lost: LostConnections;
  readonly #limitedLog: LimitedLog;
  readonly #policy: RunningPolicy;
  /** Has ARP look after the backends that there are now. */
  readonly #backendsChanged: (nowMs: number) => void;
  readonly #answers: Answers;
  readonly #reassembly: Reassembly;
  /** Null, as all of IPv6: without it. */
  readonly #reassembly6: Reassembly | null;
  /** Makes the keys of IPv6 addresses; null: there are none. */
  readonly digest: AddressDigest | null;
  /** Extension headers of the frame at hand. */
  readonly #chain = new Chain();
  readonly #related: RelatedErrors;
  readonly #resends: Resends | null;
  readonly #dispatch: Dispatch;
  readonly #undelivered: Undelivered | null;
  readonly #plain: PlainSegments;
  readonly #plain6: PlainSegments6 | null;
  /** Null: the kernel carries no connections. */
  readonly #promotions: Promotions | null;
  readonly #pdu = new Pdu();
  /** A tuple's addresses, for a look at them. */
  readonly #words = new Int32Array(2 * ADDRESS6_WORDS);
  /** By link, frames that were queued before the PDU at hand. */
  readonly #queued = new Int32Array(2);
  /** Where the PDU at hand came in. */
  #in: Link;
  #nowMs: number;
  #nextTickMs: number;

  constructor(options: ApplianceOptions) {
    const {
      devices,
      clock,
      random,
      policy,
      config,
      log,
      observer,
      evaluator,
      checkRandom,
      hashKey,
      fastPath = null,
    } = options;
    this.#config = config;
    this.#clock = clock;
    this.#console = this.#observer = observer;
    this.#nowMs = clock.nowMs();
    this.#nextTickMs = this.#nowMs;
    checkPools(policy.pools, config.links);
    const digest = this.digest = digestFor(config.links, random);
    this.backends = new Backends(
      config.dstAddrs,
      policy.pools,
      hashKey,
      config.health,
      () => this.#promotions?.membersLost(),
      () => this.#nowMs,
      digest,
    );
    const isChecked = ({ pool }: Member) =>
      checkRandom !== undefined && isActive(pool.health.check);
    this.#limitedLog = new LimitedLog(log);
    const { links, backendsChanged } = makeLinks(config, devices, {
      backends: this.backends,
      digest,
      // Its own chance: what Neighbor Discovery draws when must not change what a seed chooses.
      random: digest === null ? random : new SeededRandom(random.uint32()),
      lost: (member) => this.#lost.add(member),
      isDecisive: (member) => !isChecked(member) && member.pool.health.check.kind !== "off",
      log: this.#limitedLog,
      dropped: (reason, count) => this.metrics.drop(reason, count),
      undelivered: (link, packets) =>
        this.#undelivered?.tell(this.links[link]!, packets, this.#nowMs),
      otherWay: (link, isIpv6) =>
        fastPath === null
          ? null
          : otherWayOf(fastPath.memory, { link, links: config.links.length, isIpv6 }),
      nowMs: this.#nowMs,
    });
    this.links = links;
    this.#backendsChanged = backendsChanged;
    this.#a = this.#in = this.links[0]!;
    this.#b = this.links.at(-1)!;
    const fragmenter = new Fragmenter(random);
    this.#answers = new Answers(fragmenter, random, this.#nowMs);
    const reassemblyEvents = {
      dropped: (reason: number, count: number) => this.metrics.drop(reason, count),
      timedOut: (start: Uint8Array<ArrayBuffer> | null) => this.#reassemblyTimedOut(start),
    };
    this.#reassembly = new Reassembly(reassemblyEvents);
    this.#reassembly6 = digest === null
      ? null
      : new Reassembly(reassemblyEvents, fragments6(this.#chain));
    this.connections = new Connections({
      maxConnections: config.maxConn,
      maxPerSource: config.maxConnPerSource,
      ports: config.ports,
      timeouts: config.timeouts,
      ownAddress: this.#b.own.address,
      ipv6: digest === null ? null : { digest, own: ownAddresses6(this.links) },
      preservesSource: (pdu) => config.preserveSource && this.#isFromA(pdu),
      translatesFamilies: config.translateFamilies,
      backends: this.backends,
      handshakes: checkRandom === undefined
        ? null
        : new Handshakes((member) => this.#checks?.hurry(member, this.#nowMs)),
      retries: config.retries === 0
        ? null
        : { retries: config.retries, connectTimeoutMs: config.connectTimeout * 1000 },
      random,
      tableMemory: fastPath?.memory.table ?? null,
      carrier: fastPath === null ? null : {
        hasCarried: (entry) => this.#promotions?.hasCarried(entry) ?? false,
        demote: (entry) => this.#promotions?.demote(entry),
        rests: (entry) => this.#promotions?.rests(entry) ?? false,
      },
    });
    this.#lost = new LostConnections({
      table: this.connections.table,
      resets: (isMeant) => this.endings.resets(isMeant),
    });
    this.#checks = checkRandom === undefined ? null : new HealthChecks({
      backends: this.backends,
      lost: this.#lost,
      link: this.#b,
      digest,
      ports: this.connections.ownPorts,
      translatesFamilies: config.translateFamilies,
      random: checkRandom,
      log: this.#limitedLog,
      nowMs: this.#nowMs,
    });
    this.#related = new RelatedErrors(this.connections.table, digest);
    const { connections, connections: { retries } } = this;
    this.#resends = retries === null
      ? null
      : new Resends({ connections, retries, related: this.#related, b: this.#b, fragmenter });
    this.#dispatch = new Dispatch({
      a: this.#a,
      b: this.#b,
      connections: this.connections,
      related: this.#related,
      answers: this.#answers,
      strays: config.strays === "drop" ? null : new Strays(random, this.#nowMs),
      resends: this.#resends,
      fragmenter,
      metrics: this.metrics,
      clampMss: config.clampMss,
    });
    this.#undelivered = digest === null
      ? null
      : new Undelivered({ digest, related: this.#related, dispatch: this.#dispatch });
    this.endings = new Endings({
      connections: this.connections,
      links: this.links,
      linkTowards: (reference) => this.#dispatch.linkTowards(reference),
      random,
      clock,
      flush: () => this.#flush(),
    });
    this.#policy = new RunningPolicy({
      policy,
      config,
      steps: this.connections.steps,
      backends: this.backends,
      random,
      nowMs: () => this.#nowMs,
      limitedLog: this.#limitedLog,
      evaluator,
      isCarried: fastPath !== null,
      isIpv6On: digest !== null,
    });
    this.#promotions = fastPath === null ? null : new Promotions({
      digest,
      ...fastPath,
      connections: this.connections,
      dispatch: this.#dispatch,
      links: this.links,
      metrics: this.metrics,
      policy: this.#policy,
      limitedLog: this.#limitedLog,
    });
    for (let link = 0; link < this.links.length; link++) this.#promotions?.linkUp(link);
    const plainOptions = {
      connections: this.connections,
      metrics: this.metrics,
      dispatch: this.#dispatch,
      promotions: this.#promotions,
    };
    const { whole } = this.connections.table;
    this.#plain = new PlainSegments(plainOptions);
    this.#plain6 = whole === null ? null : new PlainSegments6(plainOptions, whole);
  }

  /** The time as `poll` has read it. */
  get nowMs(): number {
    return this.#nowMs;
  }

  /**
   * Reads one burst from each device that is up, handles it and sends what came of it. A single
   * device is waited for up to `waitMs`. Returns the number of frames read, at least 1 if there is
   * more to do, or `-errno`.
   */
  poll(waitMs: number): number {
    const links = this.links;
    let outcome = 0;
    let up = 0;
    for (let i = 0; i < links.length; i++) {
      const link = links[i]!;
      if (!link.isUp) continue;
      up++;
      const { arena } = link;
      const count = link.device.read(arena, links.length === 1 ? waitMs : 0);
      this.#nowMs = this.#clock.nowMs();
      this.#in = link;
      if (count > 0) {
        this.metrics.counts[Count.framesIn + i]! += count;
        this.#burst(link, count);
      }
      outcome = count < 0 || outcome < 0 ? Math.min(count, outcome) : outcome + count;
    }
    if (up === 0) this.#nowMs = this.#clock.nowMs();
    this.#tick();
    if (this.#lost.step(this.#nowMs) && outcome === 0) outcome = 1;
    this.#flush();
    this.#promotions?.sent(this.#nowMs);
    return outcome;
  }

  /** The device of that number is down or gone: it is left alone. */
  linkDown(number: number): void {
    const link = this.links[number]!;
    link.isUp = false;
    this.#promotions?.linkDown(number);
    if (link === this.#b) this.#checks?.linkDown(this.#clock.nowMs());
  }

  /** It has come (back) up: makes the proxy's address known again. */
  linkUp(number: number): void {
    const link = this.links[number]!;
    link.isUp = true;
    link.restart(this.#clock.nowMs());
    this.#promotions?.linkUp(number); // with what may be used there
    if (link === this.#b) this.#checks?.linkUp(this.#clock.nowMs());
  }

  /**
   * Makes a change ready while all goes on as it was. What is returned makes it, in one step,
   * between two bursts. Connections stay; so do positions and counters of nodes that both policies
   * have, and members of pools that both have. One that only the old one has stays until its last
   * connection has gone. Throws a RangeError for a policy that can't run, as does the step, which
   * then changes nothing. One change at a time.
   */
  *prepare({ policy, image, pools, timeouts, observer }: Change): Slices<() => void> {
    const ready = image !== undefined
      ? yield* this.#policy.prepareImage(image, pools!)
      : policy !== undefined || pools !== undefined
      ? yield* this.#policy.prepare(policy ?? null, pools ?? this.#poolsOf(policy!))
      : null;
    const console = observer === undefined ? undefined : observer(ready ?? this);
    return () => {
      if (ready !== null) {
        this.#promotions?.policyChanges();
        ready.run();
        this.#backendsChanged(this.#nowMs);
        this.#checks?.update(this.#nowMs);
      }
      if (timeouts !== undefined) this.connections.setTimeouts(timeouts);
      if (console !== undefined) this.#observe(console, this.#watchers);
    };
  }

  /** Has `watcher` handed what became of PDUs, beside the console. Changes between two polls. */
  watch(watcher: Observer): void {
    this.#observe(this.#console, [...this.#watchers, watcher]);
  }

  /** It watches no more. */
  unwatch(watcher: Observer): void {
    this.#observe(this.#console, this.#watchers.filter((other) => other !== watcher));
  }

  #observe(console: Observer | null, watchers: readonly Observer[]): void {
    this.#console = console;
    this.#watchers = watchers;
    this.#observer = together(console === null ? watchers : [console, ...watchers]);
    this.#frames = watchers.find(({ frames }) => frames)?.frames ?? null;
    this.#promotions?.follow(this.#observer, this.#nowMs);
  }

  /** Is handed what became of PDUs; null: nobody is. */
  get observer(): Observer | null {
    return this.#observer;
  }

  /** What another thread needs to make an image for these `pools`. Throws as `prepare`. */
  surroundings(pools: Policy["pools"]): Surroundings {
    return this.#policy.surroundings(pools);
  }

  /** What the policy that runs says beside its tree. */
  get policy(): Definitions {
    return this.#policy.definitions;
  }

  /** All pools as they are defined, `$dst-addrs` among them. */
  get pools(): Policy["pools"] {
    return this.#poolsOf(this.policy);
  }

  #poolsOf({ pools }: Pick<Policy, "pools">): Policy["pools"] {
    return { ...pools, [DST_ADDRS]: this.backends.dstAddrs };
  }

  /** The member is in service again: its status is what checks or ARP know of it. */
  returnToService(member: Member): void {
    this.backends.setStatus(member, member.pool.health.check.kind === "off" ? "up" : "unknown");
    this.#backendsChanged(this.#nowMs);
    this.#checks?.update(this.#nowMs);
  }

  /** A function that asks this of a PDU, for an observer; it may name the policy's lists. */
  predicate(when: Predicate): Ask {
    return this.#policy.predicate(when);
  }

  /** Entries of ended connections of the fast path which no new one may have yet. */
  get resting(): number {
    return this.#promotions?.resting ?? 0;
  }

  /** Why the proxy has to see each packet of the connection; null: it need not see plain ones. */
  keeperOf(entry: number): KeptEnd | null {
    const { connections } = this;
    return keeperOf(entry, { connections, dispatch: this.#dispatch, policy: this.#policy });
  }

  snapshotOf(member: Member): MemberSnapshot {
    return snapshotOfMember(member, this.#checks);
  }

  /** What has been counted so far, as plain frozen data. */
  snapshot(): Snapshot {
    return frozen({ ...this.counters(), policy: this.#policy.annotated() });
  }

  /** The tree with its counts, made with a `pause` now and then: it may be large. */
  tree(pause: () => Promise<void>): Promise<AnnotatedTree> {
    return this.#policy.annotatedInPieces(pause);
  }

  /** The shape of the tree that runs and its counts; another object after each change of it. */
  get nodes(): Nodes {
    return this.#policy.nodes;
  }

  /** What is known by checks of a member; undefined: none are made. */
  checkOf(member: Member): Readonly<Checked<Member>> | undefined {
    return this.#checks?.of(member);
  }

  /** Frames that checks have sent and received. */
  get checkFrames(): { readonly out: number; readonly in: number } {
    return this.#checks?.frames ?? { out: 0, in: 0 };
  }

  /** Adds to the counters what the kernel has carried by now. */
  count(): void {
    this.#promotions?.count();
  }

  /** As `snapshot`, without the tree: costs the same whatever the policy. */
  counters(): Counters {
    this.count();
    return countersOf(
      this.metrics,
      this.connections,
      this.links,
      this.backends.pools,
      this.#checks,
    );
  }

  /**
   * All that a restart would lose, as the bytes of a file: see `saved_state.ts`. `changes` are
   * those of pools' members that no policy says.
   */
  saveState(
    boot: string,
    wallMs: number,
    changes: readonly SavedChange[] = [],
  ): Uint8Array<ArrayBuffer> {
    return saveState(this.#stateful(), changes, this.#moment(boot, wallMs));
  }

  /** What an earlier run has saved. Throws an Error that says why it can't be used. */
  readState(
    bytes: Uint8Array<ArrayBuffer>,
    boot: string,
    wallMs: number,
    maxAgeMs: number,
  ): SavedState {
    return readState(bytes, this.links, this.#moment(boot, wallMs), maxAgeMs);
  }

  /** Takes it up, before the first frame. */
  resumeState(saved: SavedState): Resumption {
    const resumption = resumeState(this.#stateful(), saved, this.#clock.nowMs());
    this.#checks?.resume();
    return resumption;
  }

  #stateful() {
    const { backends, connections, links, metrics } = this;
    return { config: this.#config, backends, connections, links, metrics };
  }

  #moment(boot: string, wallMs: number): Moment {
    return { boot, wallMs, nowMs: this.#clock.nowMs() };
  }

  // A frame's way

  #burst(link: Link, count: number): void {
    const { candidates } = this.connections;
    const { rx, view } = link.arena;
    const pdu = this.#pdu;
    this.connections.lookAhead(link.arena);
    const policy = this.#policy;
    const { evaluate, evaluate6 } = policy;
    const plain = this.#plain;
    const plain6 = this.#plain6;
    const observer = this.#observer;
    policy.forget(); // for an evaluation that has thrown
    const wanted = observer === null ? "none" : observer.plain(this.#nowMs);
    const ask = typeof wanted === "function" ? wanted : null;
    const seesDrops = observer !== null && observer.seesDrops;
    const promotions = this.#promotions;
    promotions?.follow(observer, this.#nowMs);
    for (let i = 0; i < count; i++) {
      const frame = rx[2 * i]!;
      const frameBytes = rx[2 * i + 1]!;
      const flow = candidates[i]!;
      if (seesDrops) this.#noteQueued();
      const outcome = wanted === "all"
        ? NOT_MINE
        : plain6 !== null && isIpv6Frame(view, frame)
        ? plain6.take(link, frame, frameBytes, flow, pdu, evaluate6, ask, this.#nowMs)
        : plain.take(link, frame, frameBytes, flow, pdu, evaluate, ask, this.#nowMs);
      if (outcome === NOT_MINE) {
        pdu.flow = flow;
        this.#frame(link, frame, frameBytes, i);
      } else {
        policy.settle(pdu, outcome);
        const reason = this.#conclude(outcome);
        if (outcome === FORWARD) promotions?.consider(pdu, this.#nowMs);
        if (observer === null) continue;
        if (seesDrops && reason !== 0) this.#observeDrop(observer, pdu, reason);
        else observer.skipped(outcome < 0 ? DROP : outcome, this.#nowMs);
      }
    }
  }

  /** Frame `i` of the burst. */
  #frame(link: Link, frame: number, frameBytes: number, i: number): void {
    const pdu = this.#pdu;
    const { view } = link.arena;
    this.#frames?.arrived(link.number, view, frame, frameBytes, this.#nowMs);
    let reason = decodeFrame(view, frame, frameBytes, link.mac, pdu, link.v6);
    if (reason === 0) {
      reason = pdu.etherType === ETHERTYPE_IPV4
        ? this.#ipv4(link, pdu)
        : pdu.etherType === ETHERTYPE_ARP
        ? this.#arp(link, pdu)
        : this.#ipv6(link, link.v6!, pdu, pdu.frame === frame ? i : -1);
      if (reason === 0 && link === this.#b && this.#checks?.take(pdu, this.#nowMs)) return;
      if (reason === 0) return this.#received(pdu);
      if (reason === HELD) return;
    } else if (reason === Reason["source-mac"] && link.v6 !== null) {
      this.#looped(link.arena.view, link.v6, pdu);
    }
    this.metrics.drop(reason);
    this.#observer?.refused(pdu, reason, view, link.number);
  }

  /** A frame that is dropped for its source: it may be the proxy's own, sent back by the link. */
  #looped(view: DataView, v6: Link6, pdu: Pdu): void {
    if (pdu.etherType !== ETHERTYPE_IPV6 || v6.own.areAllUsable) return;
    const isMessage = decodeIpv6(view, pdu, this.digest!, this.#chain) === 0 &&
      pdu.fragment === 0 && isNeighborMessage(view, pdu) && decodeTransport6(view, pdu) === 0;
    if (isMessage) v6.nd.looped(pdu, this.#chain, this.#nowMs);
  }

  // What came in a frame: 0 if it is a PDU now, a reason, or HELD if it has been seen to.

  #arp(link: Link, pdu: Pdu): number {
    this.metrics.counts[Count.arpIn]!++;
    return link.arp.receive(pdu, this.#nowMs) || HELD;
  }

  #ipv4(link: Link, pdu: Pdu): number {
    const { view } = link.arena;
    const reason = decodeIpv4(view, pdu) || link.admit(pdu) ||
      (pdu.fragment !== 0 ? this.#fragment(link, pdu) : 0) || decodeTransport(view, pdu);
    if (reason !== 0 || !link.isTransit || pdu.dst === link.own.address) return reason;
    return this.#isTracked(pdu) ? 0 : Reason["foreign-destination"];
  }

  /** `ahead`: the frame's number in the burst, if it lies as it came; else -1. */
  #ipv6(link: Link, v6: Link6, pdu: Pdu, ahead: number): number {
    const { view } = link.arena;
    let reason = this.#decode6(link, v6, pdu, ahead);
    if (reason !== 0) return reason;
    const isOfLink = pdu.fragment === 0 && isNeighborMessage(view, pdu);
    if (!isOfLink) {
      reason = v6.admit(pdu) || (pdu.fragment !== 0 ? this.#fragment(link, pdu) : 0);
      if (reason !== 0) return reason;
    }
    reason = decodeTransport6(view, pdu);
    if (reason !== 0) return reason;
    if (isNeighborMessage(view, pdu)) {
      this.metrics.counts[Count.neighborIn]!++;
      return v6.nd.receive(pdu, this.#chain, this.#nowMs) || HELD;
    }
    if (!v6.isInTransit(pdu)) return 0;
    return this.#isTracked(pdu) ? 0 : Reason["foreign-destination"];
  }

  /** Decodes the headers, and tells the sender of a packet for us what is wrong with them. */
  #decode6(link: Link, v6: Link6, pdu: Pdu, ahead: number): number {
    const { digests } = this.connections;
    const chain = this.#chain;
    const reason = decodeIpv6(
      link.arena.view,
      pdu,
      this.digest!,
      chain,
      ahead < 0 ? null : digests,
      2 * ahead,
    );
    const fault = chainFaultOf(reason);
    if (fault !== 0) {
      const notOurs = v6.admit(pdu);
      // Of packets to groups only some get here whose sender wants to be told.
      if (notOurs === 0 || notOurs === Reason["multicast-destination"]) {
        this.#answers.chainFault(link, pdu, chain, this.#nowMs);
      }
      return notOurs || reasonOfChainFault(fault);
    }
    const isUnusual = reason === 0 && hasExtensionHeaders(pdu) && chain.unusual !== 0;
    return isUnusual ? Reason["unusual-headers"] : reason;
  }

  /**
   * Gives a fragment to the reassembly: HELD, a reason, or 0 when `pdu` has become the whole
   * datagram, decoded as far as the fragment was.
   */
  #fragment(link: Link, pdu: Pdu): number {
    const { arena, mac, v6 } = link;
    // Room for a whole datagram and its fragments: what is queued so far leaves now.
    const roomy = this.links.every(({ arena }) =>
      arena.hasRoom(MAX_PACKET_FRAGMENTS, REASSEMBLY_ROOM_BYTES)
    );
    if (!roomy) this.#flush();
    const isOfIpv6 = isIpv6(pdu.protocol);
    const reassembly = isOfIpv6 ? this.#reassembly6! : this.#reassembly;
    const frame = reassembly.add(arena, pdu, this.#nowMs);
    if (frame < 0) return frame;
    const { view } = arena;
    const ip = frame + ETHERNET_BYTES;
    const totalLength = isOfIpv6
      ? ipv6.IPV6_BYTES + ipv6.payloadLength(view, ip)
      : ipv4.totalLength(view, ip);
    const reason = decodeFrame(view, frame, ETHERNET_BYTES + totalLength, mac, pdu, v6) ||
      (isOfIpv6 ? this.#decode6(link, v6!, pdu, -1) : decodeIpv4(view, pdu));
    pdu.fragment = 1;
    pdu.fragmentBytes = reassembly.longestBytes;
    return reason;
  }

  /**
   * True if a backend's packet to another host belongs to a connection, or is an error about one.
   */
  #isTracked(pdu: Pdu): boolean {
    const { table } = this.connections;
    const ports = (pdu.srcPort << 16) | pdu.dstPort;
    const related = this.#related.find(this.#in.arena.view, pdu);
    if (isIpv6(pdu.protocol)) {
      const reference = related === NOT_MINE
        ? table.find6(pdu.protocol, pdu.src, pdu.dst, ports, pdu.addresses)
        : related;
      if (reference < 0) return false;
      const words = this.#words;
      this.connections.writeTuple6(reference, words, 0);
      return isSameAddress6(words, ADDRESS6_WORDS, pdu.addresses, ADDRESS6_WORDS);
    }
    const reference = related === NOT_MINE
      ? table.find(pdu.protocol, pdu.src, pdu.dst, ports)
      : related;
    return reference >= 0 && table.dst(reference >>> 1, reference & 1) === pdu.dst;
  }

  #received(pdu: Pdu): void {
    const { counts } = this.metrics;
    const { number } = this.#in;
    counts[Count.pdusIn + number]!++;
    counts[Count.pduBytesIn + number]! += pdu.totalLength;
    const related = this.#related.find(this.#in.arena.view, pdu);
    if (this.#observer === null) this.#conclude(this.#handle(pdu, related));
    else this.#observed(this.#observer, pdu, related);
  }

  /** Decides about the PDU and does it: the decision carried out, or a reason. */
  #handle(pdu: Pdu, related: number): number {
    if (related !== NOT_MINE) return this.#dispatch.relay(pdu, related, this.#nowMs);
    const outcome = this.#decide(pdu);
    this.#policy.settle(pdu, outcome);
    const promotions = this.#promotions;
    if (promotions !== null && outcome === FORWARD && isPlain(pdu)) {
      promotions.consider(pdu, this.#nowMs);
    }
    return outcome;
  }

  /** As without an observer, and tells it. */
  #observed(observer: Observer, pdu: Pdu, related: number): void {
    const isWanted = observer.wants(this.#nowMs, pdu);
    if (isWanted) {
      observer.received(this.#in.arena.view, pdu, this.#in.number);
      this.#noteQueued();
    }
    if (isWanted && related !== NOT_MINE) {
      // The tree is not asked; who watches may ask the same of it.
      pdu.state = related >= 0 ? STATE_ESTABLISHED : STATE_INVALID;
      pdu.side = this.#isFromA(pdu) ? FROM_A : FROM_B;
    }
    const outcome = this.#handle(pdu, related);
    const reason = this.#conclude(outcome);
    const decision = outcome < 0 ? DROP : outcome;
    if (!isWanted) return observer.skipped(decision, this.#nowMs);
    if (observer.takes(pdu, decision)) observer.decided(this.#told(pdu, decision, reason, related));
  }

  /** Tells of a plain segment that was dropped by header prediction, which leaves it as it came. */
  #observeDrop(observer: Observer, pdu: Pdu, reason: number): void {
    if (!observer.wants(this.#nowMs, pdu)) return observer.skipped(DROP, this.#nowMs);
    observer.received(this.#in.arena.view, pdu, this.#in.number);
    if (observer.takes(pdu, DROP)) observer.decided(this.#told(pdu, DROP, reason, NOT_MINE));
  }

  #told(pdu: Pdu, decision: number, reason: number, related: number): Outcome {
    const node = related === NOT_MINE ? pdu.exit : null;
    const entry = (related === NOT_MINE ? pdu.flow : related) >>> 1;
    return {
      pdu,
      decision,
      reason,
      node,
      label: node === null ? null : this.#policy.labelOf(node),
      isRelated: related >= 0,
      backend: decision === FORWARD
        ? this.backends.all[this.connections.table.member(entry)]!.address
        : null,
      sent: this.#queuedSince(),
    };
  }

  /** What is queued from now on is because of the PDU at hand. */
  #noteQueued(): void {
    for (let i = 0; i < this.links.length; i++) this.#queued[i] = this.links[i]!.arena.txCount;
  }

  #queuedSince(): SentFrame[] {
    const sent: SentFrame[] = [];
    for (let link = 0; link < this.links.length; link++) {
      const { tx, txCount, view } = this.links[link]!.arena;
      for (let i = this.#queued[link]!; i < txCount; i++) {
        sent.push({ link, view, frame: tx[2 * i]!, frameBytes: tx[2 * i + 1]! });
      }
    }
    return sent;
  }

  /** Counts what became of a PDU; the reason if it was dropped. */
  #conclude(outcome: number): number {
    const reason = outcome < 0 ? outcome : outcome === DROP ? Reason.policy : 0;
    this.metrics.decisions[outcome < 0 ? DROP : outcome]!++;
    if (reason !== 0) this.metrics.drop(reason);
    return reason;
  }

  /** The decision that was carried out, or the reason for which the PDU was dropped. */
  #decide(pdu: Pdu): number {
    this.connections.classify(this.#in.arena.view, pdu, this.#nowMs);
    pdu.side = this.#sideOf(pdu);
    const policy = this.#policy;
    const outcome = isIpv6(pdu.protocol) ? policy.evaluate6(pdu) : policy.evaluate(pdu);
    return this.#dispatch.carryOut(this.#in, pdu, outcome, this.#nowMs);
  }

  /**
   * The side that the PDU came from; with one interface for both sides its connection knows best.
   */
  #sideOf(pdu: Readonly<Pdu>): number {
    if (pdu.flow >= 0) return this.#dispatch.sideOf(this.#in, pdu.flow);
    return this.#isFromA(pdu) ? FROM_A : FROM_B;
  }

  /** By the interface; if it serves both sides, by whether the source is a backend. */
  #isFromA(pdu: Readonly<Pdu>): boolean {
    if (this.#a !== this.#b) return this.#in === this.#a;
    return isIpv6(pdu.protocol)
      ? !this.backends.has6(pdu.src, pdu.addresses, 0)
      : !this.backends.has(pdu.src);
  }

  // Between bursts

  #tick(): void {
    if (this.#nowMs < this.#nextTickMs) return;
    this.#nextTickMs = this.#nowMs + TICK_MS;
    for (const link of this.links) if (link.isUp) link.tick(this.#nowMs);
    this.connections.expire(this.#nowMs);
    this.#resends?.tick(this.#nowMs);
    this.#checks?.tick(this.#nowMs);
    this.#reassembly.expire(this.#nowMs);
    this.#reassembly6?.expire(this.#nowMs);
    this.#promotions?.tick(this.#observer, this.#nowMs);
    this.#observer?.tick(this.#nowMs);
    this.#limitedLog.tick(this.#nowMs);
  }

  /** The first fragment of a datagram that will not be whole, if it has come, says whom to tell. */
  #reassemblyTimedOut(start: Uint8Array<ArrayBuffer> | null): void {
    if (start === null) return;
    const view = new DataView(start.buffer);
    const isForA = etherType(view, 0) === ETHERTYPE_IPV6
      ? this.#a.v6?.hasKey(this.digest!.ofPacket(view, ETHERNET_BYTES + ipv6.DESTINATION))
      : ipv4.destination(view, ETHERNET_BYTES) === this.#a.own.address;
    this.#answers.reassemblyTimedOut(isForA ? this.#a : this.#b, start, this.#nowMs);
  }

  #flush(): void {
    for (let i = 0; i < this.links.length; i++) {
      const { arena, device } = this.links[i]!;
      const queued = arena.txCount;
      if (queued === 0) {
        arena.sent(); // what was made in its scratch space may have left by the other link
        continue;
      }
      const taken = Math.max(0, device.write(arena));
      if (this.#frames !== null) this.#showLeft(this.#frames, i, taken);
      this.metrics.counts[Count.framesOut + i]! += taken;
      if (taken < queued) this.metrics.drop(Reason["send-failed"], queued - taken);
    }
  }

  /** The first `count` frames of those that have just been written. */
  #showLeft(frames: FrameWatcher, link: number, count: number): void {
    const { tx, view } = this.links[link]!.arena;
    for (let i = 0; i < count; i++) {
      frames.left(link, view, tx[2 * i]!, tx[2 * i + 1]!, this.#nowMs);
    }
  }
}

/**
 * True for a message between neighbours, of which no policy hears; its checksum may be wrong.
 */
function isNeighborMessage(view: DataView, { protocol, l4, end }: Readonly<Pdu>): boolean {
  return protocol === (ipv6.PROTOCOL_ICMPV6 | OVER_IPV6) && l4 < end &&
    icmpv6.isLinkMessage(icmpv6.type(view, l4));
}
