/**
 * What a connection costs, and whether that stays so with a million of them: memory, a look-up from
 * either side, opening, a check by the timers, and removal. Look-ups go as on the packet
 * path, the first one of a burst for all of it at once: in a large table each has two
 * cache misses, the index and the entry. Random ones are the worst case, and
 * alone, without the burst, they are worse still. Subjects alternate; medians of ROUNDS.
 *
 *     deno task bench table
 *
 * With "IPv6" as its argument: the same over IPv6, where a look-up begins with two digests.
 */
import { BURST_FRAMES } from "../../src/core/arena.ts";
import { SeededRandom } from "../../src/core/random.ts";
import { Backends } from "../../src/flow/backends/backends.ts";
import { DST_ADDRS } from "../../src/policy/language/ast.ts";
import { Connections } from "../../src/flow/connections.ts";
import { DEFAULT_TIMEOUTS } from "../../src/flow/lifetimes.ts";
import { Translation } from "../../src/flow/translate.ts";
import { parseAddress } from "../../src/wire/address.ts";
import { ADDRESS6_WORDS } from "../../src/wire/address6.ts";
import { AddressDigest } from "../../src/wire/address_digest.ts";
import { addressOfWords } from "../../src/wire/host_address.ts";
import { OVER_IPV6, Pdu } from "../../src/wire/pdu.ts";
import { ACK, SYN } from "../../src/wire/tcp.ts";

const { gc } = globalThis as unknown as { readonly gc: () => void };

const SIZES = [1_000, 65_536, 262_144, 1_000_000];
const ROUNDS = 7;
const LOOKUPS = 1_000_000;
/** Packets of one connection in a row, as a window of segments and their acknowledgments come. */
const TRAIN = 8;

const TCP = 6;
const PROXY = parseAddress("192.168.0.100");
const FIRST_CLIENT = parseAddress("10.0.0.0");
const FIRST_BACKEND = parseAddress("192.168.1.0");

const isIpv6 = Deno.args[0] === "IPv6";
const PROTOCOL = isIpv6 ? TCP | OVER_IPV6 : TCP;
/** Second words of addresses over IPv6: each client has a network of its own, as a source has. */
const [CLIENTS6, BACKENDS6, PROXIES6] = [0x100_0000, 1, 2];
/** Words of a packet's source and destination over IPv6. */
const PAIR_WORDS = 2 * ADDRESS6_WORDS;
/** Words of a tuple: protocol, source, destination, ports. */
const KEY_WORDS = 4;

/** Backends, a power of 2: connections go to them by turns. */
const BACKEND_BITS = 6;
const BACKEND_MASK = (1 << BACKEND_BITS) - 1;
const SERVICE = 2000;
const FIRST_PORT = 1024;
const NO_BYTES = new DataView(new ArrayBuffer(0));
const HOUR_MS = 3_600_000;

/** A table with room for `size` connections, and its connections by number. */
class Subject {
  readonly size: number;
  readonly nsAlone: number[] = [];
  readonly nsPerLookup: number[] = [];
  readonly nsInTrains: number[] = [];
  readonly nsPerVisit: number[] = [];
  readonly nsPerOpen: number[] = [];
  readonly nsPerRemove: number[] = [];
  readonly bytes: number;
  readonly #backends: Backends;
  readonly #connections: Connections;
  readonly #random: SeededRandom;
  readonly #pdu = new Pdu();
  readonly #digest: AddressDigest | null;
  /** Whole addresses of a burst's keys over IPv6. */
  readonly #pairs = new Int32Array(BURST_FRAMES * PAIR_WORDS);
  readonly #to = new Translation();
  readonly #keys = new Int32Array(BURST_FRAMES * KEY_WORDS);
  readonly #hashes = new Int32Array(BURST_FRAMES);
  readonly #candidates = new Int32Array(BURST_FRAMES);
  #nowMs = 0;
  /** Connections opened in earlier rounds. */
  #opened = 0;

  constructor(size: number) {
    this.size = size;
    this.#random = new SeededRandom(size);
    const before = heldBytes();
    this.#digest = isIpv6 ? new AddressDigest(this.#random) : null;
    const backends = Array.from(
      { length: BACKEND_MASK + 1 },
      (_, i) => isIpv6 ? addressOfWords(address6(BACKENDS6, i), 0) : FIRST_BACKEND + i,
    );
    this.#backends = new Backends(
      backends,
      undefined,
      undefined,
      undefined,
      undefined,
      undefined,
      this.#digest,
    );
    this.#backends.target(DST_ADDRS, 0, "in turn");
    this.#connections = new Connections({
      maxConnections: size,
      ports: { first: FIRST_PORT, last: 65_535 },
      timeouts: DEFAULT_TIMEOUTS,
      ownAddress: PROXY,
      ipv6: this.#digest === null ? null : { digest: this.#digest, own: address6(PROXIES6, 0) },
      backends: this.#backends,
      retries: { retries: 3, connectTimeoutMs: 3000 },
      random: this.#random,
    });
    this.open();
    this.bytes = (heldBytes() - before) / size;
    this.forget(); // every page of memory was new
  }

  /** Opens all connections and completes their handshakes; the opening alone is measured. */
  open(): void {
    const elapsedMs = time(() => {
      for (let i = 0; i < this.size; i++) this.#segment(i, 0, SYN);
    });
    for (let i = 0; i < this.size; i++) {
      this.#segment(i, 1, SYN | ACK);
      this.#segment(i, 0, ACK);
    }
    if (this.#connections.table.count !== this.size) {
      throw new Error(`Cannot measure: ${this.#connections.table.count} of ${this.size} are open`);
    }
    this.nsPerOpen.push(elapsedMs * 1e6 / this.size);
  }

  /**
   * Looks connections up in random order, each `train` times in a row, from its two sides in turn,
   * in bursts or one by one.
   */
  lookUp(train: number, inBursts: boolean): number {
    const keys = this.#keys;
    let found = 0;
    const elapsedMs = time(() => {
      let state = 1;
      let at = 0;
      for (let lookups = 0; lookups < LOOKUPS; lookups += train) {
        state = (Math.imul(state, 1_664_525) + 1_013_904_223) | 0;
        const i = Math.floor(((state >>> 0) / 0x1_0000_0000) * this.size);
        const port = FIRST_PORT + (i >> BACKEND_BITS);
        for (let packet = 0; packet < train; packet++) {
          const isA = ((i + packet) & 1) === 0;
          keys[at] = PROTOCOL;
          if (isIpv6) {
            this.#writePair(this.#pairs, at / KEY_WORDS * PAIR_WORDS, i, isA);
          } else {
            keys[at + 1] = isA ? FIRST_CLIENT + i : FIRST_BACKEND + this.#backendOf(i);
            keys[at + 2] = PROXY;
          }
          keys[at + 3] = isA ? (port << 16) | SERVICE : (SERVICE << 16) | port;
          at += KEY_WORDS;
        }
        if (at < keys.length) continue;
        at = 0;
        found += inBursts ? this.#findBurst() : this.#findEach();
      }
    });
    if (found !== LOOKUPS) throw new Error(`Cannot measure: ${found} of ${LOOKUPS} were found`);
    return elapsedMs * 1e6 / LOOKUPS;
  }

  /** Looks a burst's keys up as `Connections` does; returns how many have a connection. */
  #findBurst(): number {
    const { table } = this.#connections;
    const keys = this.#keys;
    const candidates = this.#candidates;
    const hashes = this.#hashes;
    for (let i = 0; i < BURST_FRAMES; i++) {
      const at = i * KEY_WORDS;
      if (isIpv6) this.#digestPair(i);
      hashes[i] = table.hashOf(keys[at]!, keys[at + 1]!, keys[at + 2]!, keys[at + 3]!);
    }
    table.findAll(hashes, BURST_FRAMES, candidates);
    let found = 0;
    for (let i = 0; i < BURST_FRAMES; i++) {
      const at = i * KEY_WORDS;
      const src = keys[at + 1]!;
      const dst = keys[at + 2]!;
      const ports = keys[at + 3]!;
      const candidate = candidates[i]!;
      if (isIpv6) {
        const { addresses } = this.#pdu;
        this.#readPair(i);
        if (
          (candidate >= 0 && table.has6(candidate, PROTOCOL, src, dst, ports, addresses)) ||
          table.find6(PROTOCOL, src, dst, ports, addresses) >= 0
        ) found++;
        continue;
      }
      if (
        (candidate >= 0 && table.has(candidate, keys[at]!, src, dst, ports)) ||
        table.find(keys[at]!, src, dst, ports) >= 0
      ) found++;
    }
    return found;
  }

  #findEach(): number {
    const { table } = this.#connections;
    const keys = this.#keys;
    let found = 0;
    for (let at = 0; at < keys.length; at += KEY_WORDS) {
      if (isIpv6) {
        const i = at / KEY_WORDS;
        this.#digestPair(i);
        this.#readPair(i);
        const { addresses } = this.#pdu;
        if (table.find6(PROTOCOL, keys[at + 1]!, keys[at + 2]!, keys[at + 3]!, addresses) >= 0) {
          found++;
        }
        continue;
      }
      if (table.find(keys[at]!, keys[at + 1]!, keys[at + 2]!, keys[at + 3]!) >= 0) found++;
    }
    return found;
  }

  /** Looks at every connection once or more often, as timers do, and finds none too old. */
  visit(): void {
    const { table } = this.#connections;
    const slice = Math.min(this.size, Math.max(256, this.size >>> 9));
    const calls = Math.ceil(LOOKUPS / slice);
    const elapsedMs = time(() => {
      for (let call = 0; call < calls; call++) this.#connections.expire(this.#nowMs);
    });
    if (table.count !== this.size) throw new Error("Cannot measure: connections have expired");
    this.nsPerVisit.push(elapsedMs * 1e6 / (calls * slice));
  }

  /** Lets all connections expire. */
  expire(): void {
    const { table } = this.#connections;
    this.#nowMs += 3 * HOUR_MS;
    const elapsedMs = time(() => {
      while (table.count > 0) this.#connections.expire(this.#nowMs);
    });
    this.nsPerRemove.push(elapsedMs * 1e6 / this.size);
    this.#opened += this.size;
  }

  /** Forgets what has been measured. */
  forget(): void {
    const { nsAlone, nsPerLookup, nsInTrains, nsPerVisit, nsPerOpen, nsPerRemove } = this;
    const all = [nsAlone, nsPerLookup, nsInTrains, nsPerVisit, nsPerOpen, nsPerRemove];
    for (const figures of all) figures.length = 0;
  }

  /** Number of the backend that connection i went to. */
  #backendOf(i: number): number {
    return (i + this.#opened) & BACKEND_MASK;
  }

  /** Source and destination of a packet of connection i over IPv6. */
  #writePair(to: Int32Array, at: number, i: number, isA: boolean): void {
    to[at] = to[at + 4] = 0x2001_0db8;
    to[at + 1] = isA ? CLIENTS6 + i : BACKENDS6;
    to[at + 3] = isA ? 1 : this.#backendOf(i);
    to[at + 5] = PROXIES6;
  }

  /** Computes the keys of packet i of the burst, as the look-ahead does. */
  #digestPair(i: number): void {
    const digest = this.#digest!;
    this.#keys[i * KEY_WORDS + 1] = digest.ofWords(this.#pairs, i * PAIR_WORDS);
    this.#keys[i * KEY_WORDS + 2] = digest.ofWords(this.#pairs, i * PAIR_WORDS + ADDRESS6_WORDS);
  }

  /** Copies its addresses to the PDU, as decoding does. */
  #readPair(i: number): void {
    const { addresses } = this.#pdu;
    for (let word = 0; word < PAIR_WORDS; word++) {
      addresses[word] = this.#pairs[i * PAIR_WORDS + word]!;
    }
  }

  /** A segment of connection i. */
  #segment(i: number, side: number, flags: number): void {
    const pdu = this.#pdu;
    const { steps } = this.#connections;
    const port = FIRST_PORT + (i >> BACKEND_BITS);
    pdu.protocol = PROTOCOL;
    if (isIpv6) {
      this.#writePair(pdu.addresses, 0, i, side === 0);
      pdu.src = this.#digest!.ofWords(pdu.addresses, 0);
      pdu.dst = this.#digest!.ofWords(pdu.addresses, ADDRESS6_WORDS);
    } else {
      pdu.dst = PROXY;
      pdu.src = side === 0 ? FIRST_CLIENT + i : FIRST_BACKEND + this.#backendOf(i);
    }
    pdu.srcPort = side === 0 ? port : SERVICE;
    pdu.dstPort = side === 0 ? SERVICE : port;
    pdu.tcpFlags = flags;
    pdu.seq = (flags & SYN) === 0 ? 1 : 0;
    pdu.ack = (flags & ACK) === 0 ? 0 : 1;
    pdu.window = 1000;
    this.#connections.classify(NO_BYTES, pdu, this.#nowMs);
    const reason = side === 0 ? steps.translateAToB(pdu, 0) : steps.translateBToA(pdu);
    const failed = reason || this.#connections.commit(NO_BYTES, pdu, this.#nowMs, this.#to);
    if (failed !== 0) throw new Error(`Cannot measure: connection ${i} fails, reason ${failed}`);
  }
}

/** The host of that number in a network. */
function address6(network: number, host: number): Int32Array {
  return Int32Array.of(0x2001_0db8, network, 0, host);
}

/** What this process holds; how much more is resident, V8's compilers decide. */
function heldBytes(): number {
  gc();
  const { external, heapUsed } = Deno.memoryUsage();
  return external + heapUsed;
}

function time(work: () => void): number {
  const startMs = performance.now();
  work();
  return performance.now() - startMs;
}

function median(values: readonly number[]): number {
  return values.toSorted((a, b) => a - b)[values.length >> 1]!;
}

function cell(value: number, digits: number, width: number): string {
  return value.toFixed(digits).padStart(width);
}

const subjects = SIZES.map((size) => new Subject(size));
for (let round = 0; round <= ROUNDS; round++) {
  for (const subject of subjects) {
    subject.nsAlone.push(subject.lookUp(1, false));
    subject.nsPerLookup.push(subject.lookUp(1, true));
    subject.nsInTrains.push(subject.lookUp(TRAIN, true));
    subject.visit();
    subject.expire();
    subject.open();
    if (round === 0) subject.forget(); // it warmed up
  }
}

const text = [
  `flow table${
    isIpv6 ? " over IPv6" : ""
  }, ns each, median of ${ROUNDS} rounds; bytes of memory held`,
  `                    look-up, random:`,
  `connections  bytes         in bursts    in trains of ${TRAIN}          one by one   open  visit  expire`,
  ...subjects.map((subject) => {
    const { size, bytes } = subject;
    const lookups = (["nsPerLookup", "nsInTrains", "nsAlone"] as const).map((figures) => {
      const base = median(subjects[0]![figures]);
      const ns = median(subject[figures]);
      return `${cell(ns, 0, 9)} ${cell(ns / base, 2, 6)}×`;
    });
    const rest = [subject.nsPerOpen, subject.nsPerVisit, subject.nsPerRemove];
    return `${String(size).padStart(11)} ${size < 10_000 ? "     –" : cell(bytes, 1, 6)} ` +
      `${lookups.join(" ")} ${rest.map((figures) => cell(median(figures), 0, 6)).join(" ")}`;
  }),
];
await Deno.stdout.write(new TextEncoder().encode(`${text.join("\n")}\n`));
