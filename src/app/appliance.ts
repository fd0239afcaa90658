/**
 * The appliance: everything between the device's bursts. With an in-memory device, a manual clock and
 * seeded randomness it is the whole world of a test.
 *
 *     read ─ decode ─ admit ─ classify ─ tree ─┬─ forward: TTL, commit, route, translate, ARP ─┐
 *              │       │ └─ reassemble         ├─ echo reply in place ─────────────────────────┼─ write
 *              └─ ARP  └─ dropped              └─ drop                                         │
 *                  └───────────────────────────────────────────────────────────────────────────┘
 *
 * Nothing here throws for a packet's sake: each ends as a decision, a drop with a counted reason, or ARP.
 */
import { Arena } from "../core/arena.ts";
import type { Clock } from "../core/clock.ts";
import type { Log } from "../core/log.ts";
import type { Random } from "../core/random.ts";
import { Reason } from "../core/reason.ts";
import { TokenBucket } from "../core/token_bucket.ts";
import type { Device } from "../device/device.ts";
import { Backends } from "../flow/backends.ts";
import { Connections } from "../flow/connections.ts";
import { RelatedErrors, UNRELATED } from "../flow/icmp_error.ts";
import { SIDE_A, SIDE_B } from "../flow/table.ts";
import { setTtl, translate, Translation } from "../flow/translate.ts";
import { admit, type OwnAddress } from "../stack/admit.ts";
import { Arp } from "../stack/arp.ts";
import { BackendWatch } from "../stack/backend_watch.ts";
import {
  dontFragment,
  Fragmenter,
  leavesWhole,
  MAX_PACKET_FRAGMENTS,
} from "../stack/fragmentation.ts";
import { echoReply, IcmpErrors, makeEchoReply } from "../stack/icmp.ts";
import { Reassembly } from "../stack/reassembly.ts";
import { Routes } from "../stack/route.ts";
import { sendReset } from "../stack/reset.ts";
import { DROP, ECHO_REPLY, FORWARD, type Policy, REJECT } from "../tree/ast.ts";
import { annotate } from "../tree/annotate.ts";
import { compile } from "../tree/compile.ts";
import type { Environment, Evaluate } from "../tree/environment.ts";
import { adopt, makePlan, type Plan } from "../tree/plan.ts";
import { subnetOf } from "../wire/address.ts";
import { decodeFrame, decodeIpv4, decodeTransport } from "../wire/decode.ts";
import { ETHERNET_BYTES, ETHERTYPE_ARP } from "../wire/ethernet.ts";
import { formatPdu } from "../wire/format.ts";
import * as icmpv4 from "../wire/icmpv4.ts";
import * as ipv4 from "../wire/ipv4.ts";
import { Pdu, STEP_A_TO_B, STEP_B_TO_A } from "../wire/pdu.ts";
import type { Config } from "./config.ts";
import { formatDecision, formatSummary, Metrics } from "./metrics.ts";
import type { Trace } from "./trace.ts";

/** How often timers are looked at. */
const TICK_MS = 100;

/** Scratch space for the longest datagram, once whole and once in fragments. */
const REASSEMBLY_ROOM_BYTES = 3 << 16;

/** What `#fragment` gives for a fragment that is held: no reason. */
const HELD = -1;

/** Answers to those for whom there is no port or no room: in a flood, each costs as much as forwarding. */
const REFUSALS_PER_SECOND = 1000;
const REFUSALS_AT_ONCE = 100;

export interface ApplianceOptions {
  readonly device: Device;
  readonly clock: Clock;
  readonly random: Random;
  readonly policy: Policy;
  readonly config: Config;
  readonly log: Log;
  /** Shows PDUs on the console; null: none. */
  readonly trace: Trace | null;
  /** Makes the function that runs the tree: `compile`, or one that can tell what it does. */
  readonly evaluator?: (plan: Plan) => Evaluate;
}

export class Appliance {
  readonly arena = new Arena();
  readonly metrics = new Metrics();
  readonly connections: Connections;
  readonly #device: Device;
  readonly #clock: Clock;
  readonly #config: Config;
  readonly #trace: Trace | null;
  readonly #own: OwnAddress;
  readonly #backends: Backends;
  readonly #random: Random;
  readonly #environment: Environment;
  readonly #evaluator: (plan: Plan) => Evaluate;
  #plan: Plan;
  #evaluate: Evaluate;
  readonly #arp: Arp;
  readonly #icmpErrors: IcmpErrors;
  readonly #refusals: TokenBucket;
  readonly #reassembly: Reassembly;
  readonly #fragmenter: Fragmenter;
  readonly #routes: Routes;
  readonly #related: RelatedErrors;
  readonly #pdu = new Pdu();
  readonly #translation = new Translation();
  #nowMs: number;
  #nextTickMs: number;

  constructor(options: ApplianceOptions) {
    const { device, clock, random, policy, config, log, trace, evaluator = compile } = options;
    this.#device = device;
    this.#clock = clock;
    this.#config = config;
    this.#trace = trace;
    this.#nowMs = clock.nowMs();
    this.#nextTickMs = this.#nowMs;
    const subnet = subnetOf(config.address, config.prefixLength);
    this.#own = { address: config.address, subnet };
    this.#backends = new Backends(config.dstAddrs);
    this.#routes = new Routes(subnet, config.gateway);
    this.#icmpErrors = new IcmpErrors(random, this.#nowMs);
    this.#refusals = new TokenBucket(REFUSALS_PER_SECOND, REFUSALS_AT_ONCE, this.#nowMs);
    this.#fragmenter = new Fragmenter(random);
    this.#reassembly = new Reassembly({
      dropped: (reason, count) => this.metrics.drop(reason, count),
      timedOut: (start) => this.#reassemblyTimedOut(start),
    });
    this.connections = new Connections({
      maxConnections: config.maxConn,
      ports: config.ports,
      timeouts: config.timeouts,
      ownAddress: config.address,
      backends: this.#backends,
      random,
    });
    this.#related = new RelatedErrors(this.connections.table);
    this.#random = random;
    this.#environment = {
      dstAddrs: config.dstAddrs,
      steps: this.connections.steps,
      sideOf: (pdu) => this.#sideOf(pdu),
      random,
      clock: { nowMs: () => this.#nowMs },
      maxConnections: config.maxConn,
      customFailed: (name, error) => log.error(`custom ${name} threw: ${error}`),
    };
    this.#plan = makePlan(policy, this.#environment);
    this.#evaluator = evaluator;
    this.#evaluate = evaluator(this.#plan);
    const watch = new BackendWatch(this.#backends, this.#routes, log);
    this.#arp = new Arp({
      arena: this.arena,
      mac: config.mac,
      own: this.#own,
      watched: watch.nextHops(),
      log,
      nowMs: this.#nowMs,
      events: {
        resolved: (address, mac) => watch.resolved(address, mac),
        unanswered: (address) => watch.unanswered(address),
        dropped: (reason, count) => this.metrics.drop(reason, count),
      },
    });
  }

  /**
   * Reads one burst, handles it and sends what came of it; waits up to `waitMs` for a first frame.
   * Returns the number of frames read, or `-errno`.
   */
  poll(waitMs: number): number {
    const count = this.#device.read(this.arena, waitMs);
    this.#nowMs = this.#clock.nowMs();
    const { rx } = this.arena;
    if (count > 0) this.connections.lookAhead(this.arena);
    for (let i = 0; i < count; i++) {
      this.#pdu.flow = this.connections.candidates[i]!;
      this.#frame(rx[2 * i]!, rx[2 * i + 1]!);
    }
    this.#tick();
    this.#flush();
    return count;
  }

  /** The device has come (back) up: makes the proxy's address known again. */
  linkUp(): void {
    this.#arp.restart(this.#clock.nowMs());
  }

  /**
   * Runs `policy` from the next PDU on. Connections stay; so do positions and counters of nodes that
   * both policies have. Throws a RangeError for a policy that can't run; then the old one goes on.
   */
  setPolicy(policy: Policy): void {
    const plan = makePlan(policy, this.#environment);
    adopt(plan, this.#plan);
    this.#evaluate = this.#evaluator(plan);
    this.#plan = plan;
  }

  summary(): string {
    return formatSummary(this.metrics, this.connections, this.#backends.all) +
      annotate(this.#plan);
  }

  // A frame's way

  #frame(frame: number, frameBytes: number): void {
    const pdu = this.#pdu;
    const { view } = this.arena;
    this.metrics.framesIn++;
    let reason = decodeFrame(view, frame, frameBytes, this.#config.mac, pdu);
    if (reason === 0 && pdu.etherType === ETHERTYPE_ARP) {
      this.metrics.arpIn++;
      reason = this.#arp.receive(pdu, this.#nowMs);
    } else if (reason === 0) {
      reason = decodeIpv4(view, pdu);
      if (reason === 0) reason = admit(pdu, this.#own);
      if (reason === 0 && pdu.fragment !== 0) reason = this.#fragment(pdu);
      if (reason === HELD) return;
      if (reason === 0) reason = decodeTransport(view, pdu);
      if (reason === 0) return this.#received(pdu);
    }
    if (reason !== 0) this.metrics.drop(reason);
  }

  /**
   * Gives a fragment to the reassembly: HELD, a reason, or 0 when `pdu` has become the whole datagram,
   * decoded as far as the fragment was.
   */
  #fragment(pdu: Pdu): number {
    const { arena } = this;
    // Room for a whole datagram and its fragments: what is queued so far leaves now.
    if (!arena.hasRoom(MAX_PACKET_FRAGMENTS, REASSEMBLY_ROOM_BYTES)) this.#flush();
    const frame = this.#reassembly.add(arena, pdu, this.#nowMs);
    if (frame <= 0) return frame === 0 ? HELD : -frame;
    const frameBytes = ETHERNET_BYTES + ipv4.totalLength(arena.view, frame + ETHERNET_BYTES);
    const reason = decodeFrame(arena.view, frame, frameBytes, this.#config.mac, pdu) ||
      decodeIpv4(arena.view, pdu);
    pdu.fragment = 1;
    pdu.fragmentBytes = this.#reassembly.longestBytes;
    return reason;
  }

  #received(pdu: Pdu): void {
    const { metrics } = this;
    metrics.pdusIn++;
    metrics.pduBytesIn += pdu.totalLength;
    const trace = this.#trace;
    const shown = trace !== null && trace.wants(this.#nowMs);
    if (shown) trace.received(formatPdu(this.arena.view, pdu, trace.dumpLimitBytes));
    const related = this.#related.find(this.arena.view, pdu);
    const asked = related === UNRELATED;
    const outcome = asked ? this.#decide(pdu) : this.#relay(pdu, related);
    const decision = outcome < 0 ? DROP : outcome;
    const reason = outcome < 0 ? -outcome : outcome === DROP ? Reason.policy : 0;
    if (asked) this.#settle(pdu, decision === FORWARD || decision === ECHO_REPLY);
    metrics.decisions[decision]!++;
    if (reason !== 0) metrics.drop(reason);
    if (shown) trace.decided(formatDecision(decision, reason, this.#label(pdu, related)));
    else if (trace !== null) trace.skipped(decision);
  }

  /** The decision that was carried out, or the negative of the reason for which the PDU was dropped. */
  #decide(pdu: Pdu): number {
    this.connections.classify(pdu);
    const outcome = this.#evaluate(pdu);
    switch (outcome) {
      case FORWARD:
        return this.#forward(pdu);
      case ECHO_REPLY:
        return this.#echo(pdu);
      case REJECT:
        return this.#reject(pdu);
      default:
        return outcome;
    }
  }

  /**
   * Sends an ICMP error about connection `related` on to its other end; the tree is not asked, it
   * admitted the connection. A negative `related` is why the error can't be used.
   */
  #relay(pdu: Pdu, related: number): number {
    if (related < 0) return related;
    if (pdu.ttl <= 1) return -Reason["ttl-expired"];
    const { view } = this.arena;
    const nextHop = this.#routes.nextHop(this.#related.translate(view, pdu, related));
    if (nextHop === 0) return -Reason["no-route"];
    setTtl(view, pdu, pdu.ttl - 1, 0);
    return this.#leave(pdu, nextHop);
  }

  /** Where the PDU came from: what its connection says, else whether its source is a backend. */
  #sideOf(pdu: Readonly<Pdu>): number {
    if (pdu.flow >= 0) return pdu.flow & 1;
    return this.#backends.get(pdu.src) === undefined ? SIDE_A : SIDE_B;
  }

  /** Tells balancers which connection they have chosen for, if it has an entry now. */
  #settle(pdu: Pdu, committed: boolean): void {
    const { settling } = this.#plan;
    const entry = committed ? pdu.flow >> 1 : -1;
    for (let i = 0; i < settling.length; i++) settling[i]!.settle!(entry, pdu.opened !== 0);
  }

  /** Label of the decision at which the PDU ended, if it has one; "related" if the tree was not asked. */
  #label(pdu: Pdu, related: number): string | null {
    if (related !== UNRELATED) return related < 0 ? null : "related";
    const { tree } = this.#plan.nodes[pdu.exit]!;
    return tree.node === "decide" ? tree.label : null;
  }

  #forward(pdu: Pdu): number {
    if ((pdu.steps & (STEP_A_TO_B | STEP_B_TO_A)) === 0) return -Reason["not-translated"];
    if (pdu.ttl <= 1) {
      this.#error(pdu, icmpv4.ICMP_TIME_EXCEEDED, 0);
      return -Reason["ttl-expired"];
    }
    if (!leavesWhole(this.arena, pdu, this.#device.mtu) && dontFragment(this.arena.view, pdu)) {
      const code = icmpv4.CODE_FRAGMENTATION_NEEDED;
      this.#error(pdu, icmpv4.ICMP_UNREACHABLE, code, this.#device.mtu);
      return -Reason["mtu-exceeded"];
    }
    const to = this.#translation;
    const reason = this.connections.commit(this.arena.view, pdu, this.#nowMs | 0, to);
    if (reason === Reason["no-backend"]) {
      this.#error(pdu, icmpv4.ICMP_UNREACHABLE, icmpv4.CODE_HOST_UNREACHABLE);
    } else if (reason !== 0 && this.#refusals.take(this.#nowMs)) {
      this.#reject(pdu); // no port or no room: better a clear answer than silence
    }
    if (reason !== 0) return -reason;
    const nextHop = this.#routes.nextHop(to.dst);
    if (nextHop === 0) return -Reason["no-route"];
    const { view } = this.arena;
    translate(view, pdu, to, pdu.newTtl === 0 ? pdu.ttl - 1 : pdu.newTtl);
    return this.#leave(pdu, nextHop);
  }

  /** Sends the rewritten PDU, in fragments if need be: FORWARD or the negative of a reason. */
  #leave(pdu: Pdu, nextHop: number): number {
    const lengthBytes = pdu.end - pdu.frame;
    const reason = leavesWhole(this.arena, pdu, this.#device.mtu)
      ? this.#arp.send(pdu.frame, lengthBytes, nextHop, this.#nowMs)
      : this.#fragmenter.split(
        this.arena,
        pdu,
        this.#device.mtu,
        (frame, bytes) => this.#arp.send(frame, bytes, nextHop, this.#nowMs),
      );
    if (reason !== 0) return -reason;
    this.#sent(pdu);
    return FORWARD;
  }

  #echo(pdu: Pdu): number {
    if (pdu.protocol !== ipv4.PROTOCOL_ICMP || pdu.icmpType !== icmpv4.ICMP_ECHO_REQUEST) {
      return -Reason["not-echo-request"];
    }
    const reason = this.connections.commit(
      this.arena.view,
      pdu,
      this.#nowMs | 0,
      this.#translation,
    );
    if (reason !== 0) return -reason;
    const { arena } = this;
    if (leavesWhole(arena, pdu, this.#device.mtu)) {
      if (!echoReply(arena, pdu)) return -Reason["no-buffer"];
    } else {
      makeEchoReply(arena.view, pdu);
      const split = this.#fragmenter.split(
        arena,
        pdu,
        this.#device.mtu,
        (frame, bytes) => arena.send(frame, bytes) ? 0 : Reason["no-buffer"],
      );
      if (split !== 0) return -split;
    }
    this.#sent(pdu);
    return ECHO_REPLY;
  }

  /** Says no: an RST to TCP, port unreachable to UDP, administratively prohibited to anything else. */
  #reject(pdu: Pdu): number {
    if (pdu.protocol === ipv4.PROTOCOL_TCP) {
      sendReset(this.arena, pdu, this.#random);
    } else {
      const code = pdu.protocol === ipv4.PROTOCOL_UDP
        ? icmpv4.CODE_PORT_UNREACHABLE
        : icmpv4.CODE_ADMIN_PROHIBITED;
      this.#error(pdu, icmpv4.ICMP_UNREACHABLE, code);
    }
    return REJECT;
  }

  #sent(pdu: Pdu): void {
    this.metrics.pdusOut++;
    this.metrics.pduBytesOut += pdu.totalLength;
  }

  #error(pdu: Pdu, type: number, code: number, rest = 0): void {
    this.#icmpErrors.send(this.arena, pdu, type, code, rest, this.#nowMs);
  }

  // Between bursts

  #tick(): void {
    if (this.#nowMs < this.#nextTickMs) return;
    this.#nextTickMs = this.#nowMs + TICK_MS;
    this.#arp.tick(this.#nowMs);
    this.connections.expire(this.#nowMs);
    this.#reassembly.expire(this.#nowMs);
    this.#trace?.tick(this.#nowMs);
  }

  /** RFC 1122 §3.3.2: tells the sender, if the fragment came that says who it is. */
  #reassemblyTimedOut(start: Uint8Array<ArrayBuffer> | null): void {
    const frame = start === null ? -1 : this.arena.scratch(start.length);
    if (frame < 0) return;
    this.arena.bytes.set(start!, frame);
    const pdu = new Pdu();
    pdu.frame = frame;
    pdu.ip = frame + ETHERNET_BYTES;
    const { view } = this.arena;
    pdu.l4 = pdu.ip + ipv4.headerBytes(view, pdu.ip);
    pdu.end = frame + start!.length;
    pdu.src = ipv4.source(view, pdu.ip);
    pdu.dst = ipv4.destination(view, pdu.ip);
    pdu.protocol = ipv4.protocol(view, pdu.ip);
    pdu.icmpType = icmpv4.type(view, pdu.l4);
    this.#error(pdu, icmpv4.ICMP_TIME_EXCEEDED, icmpv4.CODE_REASSEMBLY_TIME_EXCEEDED);
  }

  #flush(): void {
    const queued = this.arena.txCount;
    if (queued === 0) return;
    const taken = Math.max(0, this.#device.write(this.arena));
    this.metrics.framesOut += taken;
    if (taken < queued) this.metrics.drop(Reason["send-failed"], queued - taken);
  }
}
