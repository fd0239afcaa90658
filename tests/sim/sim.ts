/**
 * One simulated run: clients and servers with a TCP of their own on a LAN that loses, doubles,
 * delays, reorders and damages frames, and the real appliance between them, all from one seed and
 * in virtual time.
 *
 *     clients .201 … ──┐             impairments on every way, in both directions
 *                      ├── LAN ── proxy .100 (World)
 *     backends .1 … ───┘                                or ── LAN ── proxy ── LAN ── backends
 *
 * The kernel may carry connections past the proxy (`carrier.ts`): then frames wait to be read.
 *
 * Hosts leave checksums, and the cutting up of what is longer than a packet, to interfaces at
 * times: then the proxy gets and sends frames with vnet headers, which are completed before anybody
 * sees them.
 *
 * A *step* is what the proxy does at one moment. After each, `watch.ts` checks what must always
 * hold. At the end every connection must have got all that was sent to it or have ended as it was
 * meant to, every packet that brought something new must have been sent on, and when all timers
 * have run out the table must be empty and, where ports were few, each of them free again.
 *
 * `SIM_SEED=7 deno test -A tests/sim` repeats a run; a failure prints its seed and the frames in
 * question.
 */
import { below, SeededRandom } from "../../src/core/random.ts";
import type { MemoryDevice } from "../../src/device/memory.ts";
import type { Policy } from "../../src/policy/language/ast.ts";
import { parse } from "../../src/policy/notation/parse.ts";
import { Count, ofLinks } from "../../src/datapath/metrics.ts";
import { parseAddress } from "../../src/wire/address.ts";
import { complete, leaveToNic, readVnet, refusalOf, segments, vnetBytes } from "../support/nic.ts";
import { address6Bytes, isLinkMessage } from "../support/frames6.ts";
import {
  macOf,
  PROXY,
  PROXY6,
  PROXY6_B,
  PROXY_B,
  PROXY_B_MAC,
  PROXY_MAC,
  World,
} from "../support/world.ts";
import type { Carried } from "../fastpath/kernel.ts";
import { Attacker } from "./attacker.ts";
import { type Arrival, CARRIED_MAX_CONN, Carrier } from "./carrier.ts";
import type { Endpoint } from "./endpoint.ts";
import { Datagrams, withDatagrams } from "./datagrams.ts";
import { Deaths } from "./deaths.ts";
import { Disturbances, policyOf } from "./disturbances.ts";
import { Events } from "./events.ts";
import { Failures } from "./failures.ts";
import { History, textOf } from "./history.ts";
import { type HostAddress, type LeftToNic, SimHost, type Surroundings } from "./host.ts";
import { isnAfter } from "./isn.ts";
import { type Connection, drawConnection, SERVER_PORTS, USUAL } from "./plan.ts";
import {
  ACK,
  FIN,
  isOverIpv6,
  read16,
  readHost,
  readSegment,
  RST,
  Segment,
  SYN,
  writeSegment,
} from "./segment.ts";
import { probePorts } from "./port_probe.ts";
import { LATE_SYNS, LATEST_MS, Returns } from "./returns.ts";
import { Streams } from "./stream.ts";
import { type Sent, Watch } from "./watch.ts";

/** How often each thing happens to a frame, in parts of 1. */
export interface Impairments {
  readonly loss: number;
  readonly duplication: number;
  readonly reordering: number;
  readonly corruption: number;
  /** How often a stranger sends something under the sender's name after it. */
  readonly mischief: number;
}

export const ROUGH: Impairments = {
  loss: 0.05,
  duplication: 0.05,
  reordering: 0.1,
  corruption: 0.005,
  mischief: 0.01,
};

export const CALM: Impairments = {
  loss: 0,
  duplication: 0,
  reordering: 0,
  corruption: 0,
  mischief: 0,
};

/**
 * Of every host; in a mixed run every other client is of IPv6, and there are backends of both. In a
 * crossed run so are the clients, backends are of one family or of both, and any client may get any
 * of them.
 */
export type Family = "IPv4" | "IPv6" | "mixed" | "crossed";

export interface SimOptions {
  readonly seed: number;
  readonly connections?: number;
  readonly impairments?: Impairments;
  /** An interface and a LAN for each side; default one for both. */
  readonly twoSided?: boolean;
  readonly family?: Family;
  /**
   * Clients come back from the same ports, for hours (`returns.ts`); default: from many, at once.
   */
  readonly returning?: boolean;
  /**
   * With `returning`: backends die and come back (`deaths.ts`), and UDP clients have one socket
   * each.
   */
  readonly mortal?: boolean;
  /** Services of backends refuse, fall silent and begin again (`failures.ts`). */
  readonly failing?: boolean;
  /** Two-sided: backends see clients' addresses, and all services are on one port of theirs. */
  readonly preserving?: boolean;
  /**
   * The kernel carries connections, and the proxy reads late what is left to it (`carrier.ts`);
   * policies change, links go down (`disturbances.ts`).
   */
  readonly carried?: boolean;
  /** A stranger forges what it can without knowing any number (`attacker.ts`). */
  readonly attacked?: boolean;
  /** Clients know no simultaneous open. */
  readonly deafToSyn?: boolean;
  /** Breaks the appliance before the run. */
  readonly sabotage?: (sim: Sim) => void;
  /** Changes what the appliance sends, before anybody sees it. */
  readonly tamper?: (frame: Uint8Array<ArrayBuffer>, sim: Sim) => Uint8Array<ArrayBuffer>;
}

export interface SimResult {
  readonly connections: number;
  readonly forwarded: number;
  /** Of these, those that the kernel has. */
  readonly carried: number;
  readonly refused: number;
  readonly evicted: number;
  /** Frames of the proxy that its interface has cut up. */
  readonly cutUp: number;
  /** Datagrams that had to be answered, and were; 0 unless backends die. */
  readonly datagrams: number;
  readonly virtualMs: number;
  readonly drops: Readonly<Record<string, number>>;
}

const CLIENTS = 4;
const CLIENT_PORTS = 24;
/** Where the kernel carries connections: entries and tuples serve again. */
const FEW_CLIENT_PORTS = 6;
const START_MS = 1_000_000;
/** Connections begin after the backends have had time to answer ARP, over this long for each. */
const SETTLE_MS = 3000;
const BETWEEN_STARTS_MS = 150;
/** All must be over so long after the last has begun. */
const BOUND_MS = 300_000;
/** … and where ports come round, so long for each connection. */
const RETURN_BOUND_MS = 400_000;
const TICK_MS = 100;
/** How long a frame may be on its way to the proxy and on: longer where it waits to be read. */
const LIFE_MS = 250;
const CARRIED_LIFE_MS = 1500;
/** Without a packet: longer than any pause of a living connection, with some probes lost. */
const CARRIED_TIMEOUTS = { established: 40 };
const RETURN_TICK_MS = 1000;
/** Fits into one packet. */
const MAX_FORGED_BYTES = 1400;
/** Farther off than any window. */
const FAR = 1 << 24;
/** Longer than any timer of the appliance. */
const DRAIN_MS = 130 * 60_000;
const DRAIN_STEP_MS = 5000;
const ANY_NUMBER = 1000;
export class Sim implements Surroundings {
  readonly world: World;
  readonly streams: Streams;
  readonly watch: Watch;
  readonly clients: readonly SimHost[];
  readonly backends: readonly SimHost[];
  readonly stranger: SimHost;
  readonly connections: readonly Connection[];
  readonly ports: { readonly first: number; readonly last: number };
  readonly longestLifeMs: number;
  readonly carrier: Carrier | null;
  readonly #options: SimOptions;
  readonly #impairments: Impairments;
  readonly #random: SeededRandom;
  readonly #events = new Events();
  readonly #returns: Returns | null;
  readonly #attacker: Attacker | null;
  readonly #deaths: Deaths | null;
  readonly #failures: Failures | null;
  readonly #datagrams: Datagrams | null;
  readonly #disturbances: Disturbances | null;
  readonly #byIss = new Map<number, Connection>();
  /** Whether frames of one moment are handed over as one burst, or one at a time. */
  readonly #bursts: boolean;
  /** Whether ports are so few that connections must take over those of earlier ones. */
  readonly #fewPorts: boolean;
  readonly #firstClientPort: number;
  readonly #clientPorts: number;
  readonly #firstIss: number;
  #issued = 0;
  #forged = 0;
  #nowMs = START_MS;
  #began = 0;
  #draining = false;
  #cutUp = 0;
  readonly #history = new History(START_MS);

  constructor(options: SimOptions) {
    const { seed } = options;
    const random = new SeededRandom(seed);
    this.#options = options;
    this.#random = random;
    this.#impairments = options.impairments ?? ROUGH;
    const { twoSided = false, returning = false, mortal = false, deafToSyn = false } = options;
    const { failing = false, preserving = false, carried = false } = options;
    const isUsual = !deafToSyn && !mortal && !failing && !preserving;
    const fewPorts = below(random, 4) === 0 && isUsual;
    // One at a time where a connection may be evicted in the step in which it was heard of.
    // Or where the order in which frames leave by two interfaces does not tell in which they came.
    this.#bursts = !fewPorts && below(random, 2) === 0 && !twoSided;
    this.#fewPorts = fewPorts;
    const few = returning ? { first: 30_000, last: 30_005 } : { first: 30_000, last: 30_047 };
    this.ports = fewPorts ? few : { first: 1024, last: 65_535 };
    // Clients share their ports, and half of them lie in the proxy's range.
    this.#clientPorts = carried ? FEW_CLIENT_PORTS : CLIENT_PORTS;
    this.#firstClientPort = 30_000 - this.#clientPorts / 2;
    this.longestLifeMs = carried ? CARRIED_LIFE_MS : LIFE_MS;
    // In every other run the sequence numbers wrap in the middle of it.
    const wrapsAtMs = below(random, 30_000);
    const first = below(random, 2) === 0 ? random.uint32() : -wrapsAtMs * 4096;
    this.#firstIss = (first - START_MS * 4096) | 0;
    const { family = "IPv4" } = options;
    const backendCount = fewPorts ? 1 : mortal || failing ? 3 : 1 + below(random, 3);
    const backends = backendsOf(family, twoSided, backendCount, seed);
    this.carrier = !carried ? null : new Carrier({
      random,
      isIpv6On: family !== "IPv4",
      oneByOne: !this.#bursts,
      nowMs: () => this.#nowMs,
      at: (ms, run) => this.at(this.#nowMs + ms, run),
      pass: (ms) => this.#pass(ms),
      carried: (...args) => this.#carried(...args),
      entryOf: (sent) => this.watch.entryOfSent(sent),
      stopped: (sent) => this.watch.hold(sent),
      fail: (what) => this.fail(what),
      read: (sent) => this.watch.read(sent),
    });
    this.world = new World({
      seed,
      startMs: START_MS,
      twoSided,
      ipv6: family !== "IPv4",
      translateFamilies: family === "crossed",
      backends,
      ports: this.ports,
      maxConn: 4096,
      preserveSource: preserving,
      ...(this.carrier === null ? {} : {
        maxConn: CARRIED_MAX_CONN,
        fastPath: this.carrier.fastPath,
        evaluator: this.carrier.evaluator,
        timeouts: CARRIED_TIMEOUTS,
        policy: policyOf("usual", twoSided),
      }),
      ...(mortal ? { policy: withDatagrams(twoSided) } : {}),
      ...(preserving ? { policy: withOnePort(backends) } : {}),
    });
    this.carrier?.start(this.world);
    this.streams = new Streams(seed, carried);
    const a = [PROXY, PROXY6].map((address) => addressOf("proxy", address, PROXY_MAC));
    const b = !twoSided
      ? a
      : [PROXY_B, PROXY6_B].map((address) => addressOf("proxy", address, PROXY_B_MAC));
    const host = (
      name: string,
      address: string,
      proxies: readonly HostAddress[],
      listens: readonly number[],
    ) => {
      const at = addressOf(name, address, macOf(address));
      const proxy = proxies.find(({ isIpv6 }) => isIpv6 === at.isIpv6)!;
      return new SimHost(at, proxy, listens, this, below(random, 0x10000));
    };
    this.backends = this.world.backends.map((address, i) =>
      host(`backend ${1 + i}`, address, b, SERVER_PORTS)
    );
    this.clients = Array.from({ length: CLIENTS }, (_, i) => {
      const isOfBoth = family === "mixed" || family === "crossed";
      const isIpv6 = family === "IPv6" || (isOfBoth && i % 2 === 1);
      const address = isIpv6 ? `2001:db8::${(201 + i).toString(16)}` : `192.168.0.${201 + i}`;
      return host(`client ${201 + i}`, address, a, []);
    });
    const stranger = family === "IPv6" ? "2001:db8::fa" : "192.168.0.250";
    this.stranger = host("stranger", stranger, a, []);
    this.watch = new Watch({
      appliance: this.world.appliance,
      proxies: [a, b],
      hosts: [...this.backends, ...this.clients],
      backends: this.backends,
      stranger: this.stranger,
      ports: this.ports,
      crosses: family === "crossed",
      evicts: fewPorts,
      nowMs: () => this.#nowMs,
      waits: carried,
      owesAll: carried && this.#impairments === CALM,
      isOwed: ({ serverPort }) => this.#disturbances?.isOwed(serverPort) ?? true,
      preserves: preserving,
      portThere: (port) => preserving && SERVER_PORTS.includes(port) ? SERVER_PORTS[0]! : port,
      fail: (what, connection) => this.fail(what, connection),
    });
    this.#returns = !returning ? null : new Returns({
      random,
      hosts: this.clients,
      nowMs: () => this.#nowMs,
      at: (atMs, run) => this.at(atMs, run),
      begin: (...args) => this.#connect(...args),
    });
    const inMs = (ms: number, run: () => void) => {
      if (!this.#draining) this.at(this.#nowMs + ms, run);
    };
    this.#disturbances = !carried ? null : new Disturbances({
      random,
      appliance: this.world.appliance,
      twoSided,
      keepsPolicy: mortal || preserving,
      nowMs: () => this.#nowMs,
      at: (ms, run) => this.at(this.#nowMs + ms, () => this.carrier!.whenFree(run)),
      isOver: () => this.#draining,
      linkDown: (link) => void (this.world.devices[link]!.inbox.length = 0),
      memberDown: () => this.#strikeYoung(),
      forget: () => this.carrier!.whenStopped((...args) => this.#forget(...args)),
      changed: () => this.watch.excuse(this.#nowMs - CARRIED_LIFE_MS),
    });
    const deaths = !mortal ? null : new Deaths({
      random,
      backends: this.backends,
      known: () => this.world.appliance.snapshot().pools[0]!.members,
      at: inMs,
      changed: () => {
        this.#datagrams!.disturb();
        this.#returns?.excuse(() => true, ANY_NUMBER);
      },
    });
    this.#deaths = deaths;
    this.#datagrams = deaths === null ? null : new Datagrams({
      random,
      clients: this.clients,
      backends: this.backends,
      isKnown: () => deaths.isKnown(),
      at: inMs,
      arrive: (frame, host) => this.#arriveWhole(frame, host),
      fail: (what) => this.fail(what),
    });
    this.#failures = !failing ? null : new Failures({
      random,
      backends: this.backends,
      at: inMs,
      isCalm: this.#impairments === CALM,
    });
    this.#attacker = options.attacked === true
      ? new Attacker(this.stranger.at, new SeededRandom(~seed), {
        table: this.world.appliance.connections.table,
        entryOf: (...ends) => this.watch.entryOf(...ends),
        memberOf: (entry) => this.watch.hostOf(entry, 1, "source"),
      })
      : null;
    const count = options.connections ?? 200;
    const style = { ...USUAL, deafToSyn, isBulky: carried };
    this.connections = Array.from(
      { length: count },
      (_, i) => drawConnection(i, random, this.#returns?.styleOf(i) ?? style),
    );
    options.sabotage?.(this);
  }

  /** Runs to the end. Throws an Error that names the seed when something does not hold. */
  run(): SimResult {
    const { world } = this;
    const { table } = world.appliance.connections;
    const boundMs = START_MS + SETTLE_MS + BOUND_MS +
      this.connections.length * (this.#returns === null ? BETWEEN_STARTS_MS : RETURN_BOUND_MS);
    this.#start();
    this.#tick();
    const over = (): boolean =>
      this.#began === this.connections.length && this.connections.every(({ over }) => over);
    let nextCheckMs = 0;
    for (;;) {
      this.#runOne();
      if (this.#nowMs < nextCheckMs) continue;
      nextCheckMs = this.#nowMs + 1000;
      if (this.#nowMs >= boundMs || over()) break;
    }
    for (const connection of this.connections) {
      if (this.#failures?.excuses(connection)) continue;
      const fault = connection.fault() || (this.#returns ?? this.#failures)?.fault(connection);
      if (fault) {
        this.fail(`${connection.kind} ${connection.number} ${fault}`, connection);
      }
    }
    const drops = this.world.drops();
    const [swallowed] = this.watch.swallowed();
    const lost = drops["arp-unanswered"] ?? drops["arp-queue-full"] ?? 0;
    if (swallowed !== undefined && lost === 0) {
      this.fail(`never sent on: ${textOf(swallowed.frame)}`, swallowed.connection!);
    }
    const virtualMs = this.#nowMs - START_MS;
    this.watch.checkTable();
    this.carrier?.end();
    this.#drain();
    this.carrier?.end();
    if (table.count !== 0) this.fail(`${table.count} entries are left after all timers`);
    if (/[1-9]\d* tracked/.test(world.summary())) {
      this.fail(`a backend still counts connections:\n${world.summary()}`);
    }
    if (this.carrier !== null) this.#checkCarried(this.carrier);
    if (this.#fewPorts) {
      const [backend] = this.backends;
      const fault = probePorts(world, this.clients[0]!, backend!, this.ports);
      if (fault !== "") this.fail(fault);
    }
    return {
      connections: this.connections.length,
      forwarded: this.watch.forwarded,
      carried: this.carrier?.packets ?? 0,
      evicted: this.connections.filter(({ evicted }) => evicted).length,
      cutUp: this.#cutUp,
      datagrams: this.#datagrams?.owed ?? 0,
      refused: this.connections.filter(({ refusedByProxy }) => refusedByProxy).length,
      virtualMs,
      drops,
    };
  }

  #start(): void {
    if (this.#returns !== null) {
      return this.at(START_MS + SETTLE_MS, () => {
        this.#returns!.start(this.connections);
        this.#deaths?.start();
        this.#datagrams?.start();
        this.#disturbances?.start();
      });
    }
    this.at(START_MS + SETTLE_MS, () => {
      this.#failures?.start();
      this.#disturbances?.start();
    });
    this.connections.forEach((connection, i) => {
      const jitter = below(this.#random, 4 * BETWEEN_STARTS_MS);
      this.at(START_MS + SETTLE_MS + i * BETWEEN_STARTS_MS + jitter, () => this.#begin(connection));
    });
  }

  // For hosts

  nowMs(): number {
    return this.#nowMs;
  }

  at(atMs: number, run: () => void): void {
    this.#events.at(atMs, run);
  }

  send(
    host: SimHost,
    frame: Uint8Array<ArrayBuffer>,
    connection: Connection | null,
    left: LeftToNic,
  ): void {
    const sent = this.watch.sent(host, frame, connection);
    this.#travel(
      frame,
      (copy, unharmed, isLate) => {
        // In bulk a connection that is not carried has sent more than a window meanwhile.
        if (isLate && this.carrier !== null) sent.mayBeOld = true;
        this.#arrive(copy, unharmed ? sent : null, host, left);
      },
    );
    if (connection?.busy === true && this.#happens(this.#impairments.mischief)) {
      this.#forge(frame, connection);
    }
    if (this.#returns !== null && connection !== null) this.#delay(frame, connection, sent, host);
  }

  connectionOf(clientIss: number): Connection | undefined {
    return this.#byIss.get(clientIss);
  }

  serverIss(syn: Segment, earlier: Endpoint | undefined): number {
    if (this.#returns === null) return this.#nextIss();
    if (earlier !== undefined) return isnAfter(earlier.sendNext);
    return this.#returns.isns.at(this.#nowMs, syn.dst, syn.dstPort, syn.src, syn.srcPort);
  }

  challenged(connection: Connection, holder: Connection | null): void {
    const isOwn = holder !== null && holder.clientAddress === connection.clientAddress;
    if (isOwn) connection.excusedRetries++;
    else if (this.#failures !== null) connection.excusedRetries += ANY_NUMBER;
  }

  /** Stops the run; shows the first and last frames, or those of `connection`. */
  fail(what: string, connection?: Connection): never {
    throw new Error(
      `Seed ${this.#options.seed} at ${this.#nowMs - START_MS} ms: ${what}\n${
        this.#history.about(connection)
      }`,
    );
  }

  // Time

  #runOne(): void {
    const event = this.#events.take();
    if (event === undefined) this.fail("nothing is left to happen");
    this.#advanceTo(event.atMs);
    event.run();
    // The proxy sees what one moment brought when the next begins.
    if (this.#events.nextMs > this.#nowMs) this.#poll();
  }

  #advanceTo(atMs: number): void {
    if (atMs <= this.#nowMs) return;
    this.world.clock.advance(atMs - this.#nowMs);
    this.#nowMs = atMs;
  }

  /** What happens in that time, but for what the proxy does. */
  #pass(ms: number): void {
    const endMs = this.#nowMs + ms;
    while (this.#events.nextMs <= endMs) this.#runOne();
    this.#advanceTo(endMs);
  }

  #tick(): void {
    if (this.#draining) return;
    this.at(this.#nowMs + (this.#returns === null ? TICK_MS : RETURN_TICK_MS), () => {
      this.#pollNow();
      this.#tick();
    });
  }

  /** The LAN is quiet; only ARP goes on until every timer has run out. */
  #drain(): void {
    const endMs = this.#nowMs + DRAIN_MS;
    this.#draining = true;
    while (this.#nowMs < endMs) {
      const stepMs = Math.min(endMs, this.#nowMs + DRAIN_STEP_MS);
      while (this.#events.nextMs <= stepMs) this.#runOne();
      this.#advanceTo(stepMs);
      this.#pollNow();
    }
  }

  // Connections

  #begin(connection: Connection): void {
    const host = this.clients[below(this.#random, CLIENTS)]!;
    const port = this.#firstClientPort + below(this.#random, this.#clientPorts);
    const earlier = host.endpoint(port, connection.serverPort);
    const busy = earlier !== undefined && earlier.state !== "time-wait";
    if (busy || !host.rested(port, connection.serverPort)) {
      this.at(this.#nowMs + 100, () => this.#begin(connection));
      return;
    }
    this.#connect(connection, host, port, this.#nextIss());
  }

  #connect(connection: Connection, host: SimHost, port: number, iss: number): void {
    this.#byIss.set(iss, connection);
    this.#began++;
    connection.beganMs = this.#nowMs;
    this.#returns?.opening.add(connection);
    if (this.#deaths?.isKnown() === false) connection.excusedRetries += ANY_NUMBER;
    // A forged SYN that came first holds the client's own up, on a wire, too.
    const isTaken = this.#attacker?.isHalfOpen(connection, host, port) === true;
    if (isTaken) connection.excusedRetries++;
    host.connect(connection, port, iss);
    for (const inMs of this.#attacker?.moments() ?? []) {
      this.at(this.#nowMs + inMs, () => this.#attack(connection, host, port));
    }
  }

  /**
   * Sequence numbers that grow with time faster than anybody sends, for all hosts (RFC 9293
   * §3.4.1): what is left of an old connection lies outside the window of a new one.
   */
  #nextIss(): number {
    return (this.#firstIss + this.#nowMs * 4096 + this.#issued++) | 0;
  }

  // The LAN

  /**
   * Takes a frame over the LAN; `arrive` gets what comes out, and whether it is as it was sent, and
   * later than others.
   */
  #travel(
    frame: Uint8Array<ArrayBuffer>,
    arrive: (frame: Uint8Array<ArrayBuffer>, unharmed: boolean, isLate: boolean) => void,
  ): void {
    const { loss, duplication, reordering } = this.#impairments;
    // Datagrams are not sent again: where there are some, neighbours are always found.
    const isSafe = this.#datagrams !== null && isAboutNeighbors(frame);
    if (!isSafe && this.#happens(loss)) return this.#returns?.excuse(() => true);
    for (let copies = this.#happens(duplication) ? 2 : 1; copies > 0; copies--) {
      const delayMs = 1 + (this.#happens(reordering) ? 1 + below(this.#random, 60) : 0);
      const damaged = this.#damaged(frame);
      if (damaged !== null) this.#returns?.excuse(() => true);
      const isLate = delayMs > 1;
      this.at(this.#nowMs + delayMs, () => arrive(damaged ?? frame, damaged === null, isLate));
    }
  }

  /** A copy of a client's first SYN may come so late that another connection has its tuple. */
  #delay(
    frame: Uint8Array<ArrayBuffer>,
    connection: Connection,
    sent: Sent,
    host: SimHost,
  ): void {
    const isSyn = connection.clientEnd?.state === "syn-sent" && host === this.#hostOf(connection);
    if (!isSyn || !this.#happens(LATE_SYNS)) return;
    this.at(this.#nowMs + below(this.#random, LATEST_MS), () => {
      this.#returns?.excuse((other) => other !== connection && host === this.#hostOf(other));
      this.#arrive(frame, sent, host, "nothing");
    });
  }

  #hostOf({ clientAddress }: Connection): SimHost | undefined {
    return this.clients.find(({ at }) => at.address === clientAddress);
  }

  /**
   * A copy in which one byte of the IP packet is wrong, or null: the checksums find every such
   * error.
   */
  #damaged(frame: Uint8Array<ArrayBuffer>): Uint8Array<ArrayBuffer> | null {
    const from = firstCovered(frame);
    if (from === 0 || !this.#happens(this.#impairments.corruption)) return null;
    const copy = frame.slice();
    if (below(this.#random, 4) === 0) return copy.slice(0, below(this.#random, copy.length));
    copy[from + below(this.#random, copy.length - from)]! ^= 1 + below(this.#random, 255);
    return copy;
  }

  /**
   * An RST, a SYN or data under the name of who sent `frame`, with numbers that are far off: it
   * must not touch the connection (RFC 5961). It arrives while both ends are in the middle of it.
   */
  #forge(frame: Uint8Array<ArrayBuffer>, connection: Connection): void {
    const s = new Segment();
    readSegment(frame, s);
    s.srcMac = this.stranger.at.mac;
    s.payloadBytes = Math.min(s.payloadBytes, MAX_FORGED_BYTES);
    s.id = this.#forged++ & 0xffff;
    s.seq = (s.seq + FAR + below(this.#random, 0x7000_0000)) | 0;
    s.ack = (s.ack + FAR + below(this.#random, 0x7000_0000)) | 0;
    s.flags = [RST, RST | ACK, SYN, SYN | ACK, ACK, FIN | ACK][below(this.#random, 6)]!;
    if ((s.flags & (SYN | ACK)) === SYN) {
      connection.forgedMs = this.#nowMs;
      // Its backend is said to be down: a SYN opens the next one.
      if (this.#disturbances?.isMemberDown) connection.struck = true;
    }
    const forged = writeSegment(s);
    const sent = this.watch.sent(this.stranger, forged, null);
    this.at(this.#nowMs, () => {
      if (connection.busy) this.#arrive(forged, sent, this.stranger, "nothing");
    });
  }

  #attack(connection: Connection, host: SimHost, port: number): void {
    const forged = this.#attacker!.forge(connection, host, port, this.backends);
    const sent = this.watch.sent(this.stranger, forged, null);
    this.#arrive(forged, sent, this.stranger, "nothing");
  }

  #happens(parts: number): boolean {
    return parts > 0 && this.#random.uint32() < parts * 0x1_0000_0000;
  }

  /**
   * A frame reaches the proxy. Short ones are padded with what happens to lie around. What was left
   * to an interface is left to the proxy's, but for a frame that was damaged: that has been on a
   * cable.
   */
  #arrive(
    frame: Uint8Array<ArrayBuffer>,
    sent: Sent | null,
    host: SimHost,
    left: LeftToNic,
  ): void {
    this.#note(`${host.at.name} →`, frame);
    const device = host === this.stranger
      ? this.world.deviceTowards(frame) // that of the host whose name it takes
      : this.#deviceOf(host);
    if (sent === null) return this.#give(device, { frame, vnet: null, sent });
    const open = left === "nothing" ? null : leaveToNic(frame, left === "checksum" ? 0 : left);
    this.#give(device, { frame: padded(open?.frame ?? frame), vnet: open?.vnet ?? null, sent });
  }

  #give(device: MemoryDevice, { frame, vnet, sent }: Omit<Arrival, "link">): void {
    if (this.carrier !== null) {
      const link = this.world.devices.indexOf(device);
      if (!this.world.appliance.links[link]!.isUp) return;
      if (sent !== null) this.watch.delivered(sent);
      return this.carrier.arrive({ frame, vnet, link, sent });
    }
    if (sent !== null) {
      this.watch.delivered(sent);
      this.watch.read(sent);
    }
    if (vnet !== null) device.vnet.set(frame, vnet);
    device.inbox.push(frame);
    if (!this.#bursts) this.#poll();
  }

  /** A datagram reaches the proxy. */
  #arriveWhole(frame: Uint8Array<ArrayBuffer>, host: SimHost): void {
    this.#note(`${host.at.name} →`, frame);
    this.#give(this.#deviceOf(host), { frame, vnet: null, sent: null });
  }

  #deviceOf(host: SimHost): MemoryDevice {
    return this.world.devices.at(this.backends.includes(host) ? -1 : 0)!;
  }

  #poll(): void {
    if (!this.world.devices.some(({ inbox }) => inbox.length > 0)) return;
    if (this.carrier === null) this.#pollNow();
    else this.#pollSlowly(this.carrier, false);
  }

  #pollNow(): void {
    if (this.carrier !== null) return this.#pollSlowly(this.carrier, true);
    for (const made of this.world.poll()) this.#emitted(made);
    this.watch.step();
  }

  /** A burst at a time, if the proxy reads at all. */
  #pollSlowly(carrier: Carrier, isTick: boolean): void {
    for (let reads = carrier.mayPoll(isTick); reads; reads = carrier.goesOn()) {
      for (const made of carrier.poll()) this.#emitted(made);
      this.watch.step();
    }
  }

  /** The proxy has sent a frame. */
  #emitted(made: Uint8Array<ArrayBuffer>): void {
    const { tamper } = this.#options;
    const vnet = this.world.vnetOf(made);
    const whole = vnet === undefined ? made : this.#completed(made, vnet);
    const frame = tamper === undefined ? whole : tamper(whole, this);
    this.#note("proxy →", frame);
    this.#spread(frame, readVnet(vnet ?? NOTHING_LEFT).gsoSize);
  }

  /** The kernel has. */
  #carried({ frame: given, vnet, sent }: Arrival, carried: Carried, isLate: boolean): void {
    const { link, gsoSize } = carried;
    const whole = vnet === null ? carried.frame : this.#completed(carried.frame, vnet);
    this.#note("kernel →", whole);
    if (sent === null && !isUdp(given)) return this.#spreadDamaged(whole);
    // What was in the middle of it when the policy changed may go on.
    const fault = isLate ? "" : this.#disturbances!.fault(whole, link);
    if (fault !== "") this.fail(fault, sent?.connection ?? undefined);
    if (sent !== null && !isLate) this.watch.read(sent);
    this.#spread(whole, gsoSize);
  }

  #spread(frame: Uint8Array<ArrayBuffer>, gsoSize: number): void {
    if (this.#datagrams !== null && isUdp(frame)) return this.#datagrams.emitted(frame);
    const hosts = this.watch.emitted(frame);
    if (gsoSize !== 0) this.#cutUp++;
    // A receiver's interface may put together again what it was cut into.
    const isWhole = gsoSize === 0 || (this.carrier !== null && this.#happens(0.5));
    for (const packet of isWhole ? [frame] : segments(frame, gsoSize, false)) {
      for (const host of hosts) this.#travel(packet, (copy) => host.receive(copy));
    }
  }

  /** The kernel does not look at checksums: whoever gets it does. */
  #spreadDamaged(frame: Uint8Array<ArrayBuffer>): void {
    if (readSegment(frame, new Segment()) === "") {
      this.fail("carried a damaged frame as a whole one");
    }
    for (const host of [...this.clients, ...this.backends]) {
      if (host.at.mac === read16(frame, 4)) this.#travel(frame, (copy) => host.receive(copy));
    }
  }

  /** An operator has the proxy forget the connection. */
  #forget(sent: Sent, entry: number): void {
    if (sent.connection === null || this.watch.entryOfSent(sent) !== entry) return;
    sent.connection.struck = true;
    this.world.appliance.connections.remove(entry);
  }

  /** A SYN of these that comes late is not told from the next one, once their backend is down. */
  #strikeYoung(): void {
    for (const connection of this.connections) {
      const lastMs = Math.max(connection.beganMs, connection.forgedMs);
      const isYoung = connection.clientEnd !== null && !connection.over &&
        this.#nowMs - lastMs < 2 * CARRIED_LIFE_MS;
      if (isYoung || connection.clientEnd?.state === "syn-sent") connection.struck = true;
    }
  }

  /** What the kernel has carried is counted, once; nothing of it is left. */
  #checkCarried({ kernel: { memory }, packets, bytes }: Carrier): void {
    const { appliance } = this.world;
    appliance.count();
    const { counts, decisions } = appliance.metrics;
    const counted = [counts[Count.pdusCarried], counts[Count.pduBytesCarried]];
    if (counted.join() !== [packets, bytes].join()) {
      this.fail(`counts ${counted} packets and bytes as carried, and it were ${packets}, ${bytes}`);
    }
    const decided = decisions.reduce((sum, count) => sum + count);
    const pdusIn = ofLinks(counts, Count.pdusIn);
    if (decided !== pdusIn) this.fail(`has decided about ${decided} of ${pdusIn} packets`);
    if (appliance.resting !== 0) this.fail(`${appliance.resting} entries rest for ever`);
    for (let entry = 0; entry < memory.layout.connections; entry++) {
      if (memory.isPromoted(entry)) this.fail(`entry ${entry} is still promoted`);
    }
  }

  /** The frame as the proxy's interface makes it, but not cut up yet. */
  #completed(frame: Uint8Array, vnet: Uint8Array): Uint8Array<ArrayBuffer> {
    const refusal = refusalOf(frame, vnet);
    if (refusal !== "") this.fail(`sent what the interface refuses: ${refusal}`);
    try {
      return complete(frame, vnet);
    } catch (error) {
      this.fail(`sent a frame that can't be completed: ${error}`);
    }
  }

  #note(way: string, frame: Uint8Array): void {
    this.#history.note(this.#nowMs, way, frame);
  }
}

/** Beside those of IPv4 those of IPv6 have other last octets, and so other MAC addresses. */
function backendsOf(family: Family, twoSided: boolean, count: number, seed: number): string[] {
  const numbers = Array.from({ length: count }, (_, i) => 1 + i);
  const four = numbers.map((n) => `${twoSided ? "10.0.0" : "192.168.0"}.${n}`);
  const families = family === "crossed" ? CROSSED_TO[(seed >> 3) % CROSSED_TO.length]! : family;
  const first = families === "mixed" ? 0x10 : 0;
  const six = numbers.map((n) => `2001:db8:${twoSided ? "b:" : ""}:${(first + n).toString(16)}`);
  return [...(families === "IPv6" ? [] : four), ...(families === "IPv4" ? [] : six)];
}

/** Of whom the backends of crossed runs are. */
const CROSSED_TO: readonly Family[] = ["IPv4", "IPv6", "mixed"];

/** The service's ports lead to the first of them. */
function withOnePort(backends: readonly string[]): Policy {
  const members = backends.map((backend) => `${backend} port ${SERVER_PORTS[0]}`).join(", ");
  const { policy } = parse(
    `default drop
pool $web = ${members}
from side a
  tcp.dport = 80 -> drop
  tcp.dport = ${SERVER_PORTS.join(" or tcp.dport = ")} -> translate-a-to-b to $web, forward
  tcp       -> translate-a-to-b, forward
  otherwise -> drop
otherwise -> translate-b-to-a, forward
`,
    { file: "sim" },
  );
  return policy!;
}

function addressOf(name: string, text: string, macText: string): HostAddress {
  const mac = macText.split(":").map((octet) => parseInt(octet, 16));
  const isIpv6 = text.includes(":");
  const address = isIpv6 ? readHost(Uint8Array.from(address6Bytes(text)), 0) : parseAddress(text);
  return { name, text, macText, isIpv6, address, mac: mac[4]! * 256 + mac[5]! };
}

/**
 * Where the bytes begin that a checksum covers; 0 if it is not to be damaged. Of an IPv6 header
 * nobody would notice class, label and hop limit.
 */
function firstCovered(frame: Uint8Array): number {
  if (read16(frame, 12) === 0x0800) return 14;
  return isOverIpv6(frame) && frame[20] === 6 ? 22 : 0;
}

function isUdp(frame: Uint8Array): boolean {
  if (frame.length <= 23) return false;
  return isOverIpv6(frame) ? frame[20] === 17 : read16(frame, 12) === 0x0800 && frame[23] === 17;
}

function isAboutNeighbors(frame: Uint8Array): boolean {
  return read16(frame, 12) === 0x0806 ||
    (isOverIpv6(frame) && frame[20] !== 6 && isLinkMessage(frame));
}

const NOTHING_LEFT = vnetBytes({});
const PADDING = 0xa5;
const MIN_FRAME_BYTES = 60;

function padded(frame: Uint8Array<ArrayBuffer>): Uint8Array<ArrayBuffer> {
  if (frame.length >= MIN_FRAME_BYTES) return frame;
  const padded = new Uint8Array(MIN_FRAME_BYTES).fill(PADDING);
  padded.set(frame);
  return padded;
}
