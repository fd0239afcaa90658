/**
 * A saved state: all that a restart would lose, as one file, whatever policy runs.
 *
 *     | MAGIC | LAYOUT | CHECKSUM | bytes of text | connections | neighbours | of IPv6 |  32 bytes
 *     | text: JSON, what there is one of, and members; spaces up to a multiple of 4    |
 *     | connections: 80 bytes each, see `saved_connections.ts`                         |
 *     | neighbours: link, address, MAC address in two words, age in milliseconds       |
 *     | connections over IPv6: 112 bytes each                                          |
 *
 * LAYOUT is 2 where there are no connections over IPv6: then a program reads the file that knows
 * none. Words are little-endian. What is counted has its name there, so that a program which counts
 * more reads the file, too; LAYOUT changes with everything else, numbers of states in
 * `flow/tcp_state.ts` and `flow/lifetimes.ts` included. No time is that of a clock but `savedMs`:
 * others are ages. A member is known by its pool, address and port: what was changed about it while
 * the proxy ran goes on, unless the policy says something else of it than before, as at a reload.
 *
 * The checksum finds what was damaged, not what was forged: `saved_connections.ts` accepts nothing
 * that this run could not have made, nor does `stack/arp.ts`. Hash keys are not saved, every run
 * makes its own.
 */
import { REASON_NAMES } from "../core/reason.ts";
import type { Backends } from "../flow/backends/backends.ts";
import type { Connections } from "../flow/connections.ts";
import { SAVED_WORDS } from "../flow/entry.ts";
import { DECISION_NAMES } from "../policy/language/ast.ts";
import { formatAddress } from "../wire/address.ts";
import type { Config } from "./config.ts";
import type { Link } from "./link.ts";
import { Count, type Metrics } from "./metrics.ts";
import {
  type Records,
  resumeConnections,
  type ResumedConnections,
  saveConnections,
} from "./saved_connections.ts";
import { isSame6, isText6, resume6, type Text6, text6Of } from "./saved_ipv6.ts";
import { SAVED6_WORDS } from "./saved_tuples.ts";
import {
  areChanges,
  areMembers,
  isAddress,
  isCount,
  isRecord,
  resumeMembers,
  type SavedChange,
  type SavedMember,
  saveMembers,
  targetPortsOf,
} from "./saved_members.ts";

const MAGIC = "treegate";
export const LAYOUT = 2;
/** With anything of IPv6. */
export const LAYOUT6 = 3;

const HEADER_BYTES = 32;
/** Words of the header, after the magic. */
const LAYOUT_WORD = 2;
const CHECKSUM_WORD = 3;
const TEXT_WORD = 4;
const CONNECTIONS_WORD = 5;
const NEIGHBORS_WORD = 6;
/** Connections over IPv6. */
const CONNECTIONS6_WORD = 7;

const NEIGHBOR_WORDS = 5;
/** How far the wall clock may have been set back meanwhile. */
const CLOCK_STEP_MS = 1000;

const MOST_TEXT_BYTES = 1 << 24;
const MOST_AGE_MS = 0x7fff_ffff;

/** Largest file: a million connections, and as many neighbours on each side. */
export const MAX_STATE_BYTES: number = HEADER_BYTES + MOST_TEXT_BYTES +
  4 * 1_000_000 * (SAVED6_WORDS + 2 * NEIGHBOR_WORDS);

/** Where and when a state is saved or read. */
export interface Moment {
  /** What tells this start of the machine from others. */
  readonly boot: string;
  /** Milliseconds since 1970. */
  readonly wallMs: number;
  /** The appliance's clock. */
  readonly nowMs: number;
}

/** What a state is made of, and what takes it up again. */
export interface Stateful {
  readonly config: Config;
  readonly links: readonly Link[];
  readonly connections: Connections;
  readonly backends: Backends;
  readonly metrics: Metrics;
}

/** A file that counts. */
export interface SavedState {
  readonly text: Text;
  readonly records: Records;
  readonly neighbors: Int32Array<ArrayBuffer>;
  /** How long ago it was saved. */
  readonly agoMs: number;
}

/** What came of a file. */
export interface Resumption extends ResumedConnections {
  readonly neighbors: number;
  /** How long ago it was saved. */
  readonly agoMs: number;
}

/** What the text says. */
export interface Text {
  readonly boot: string;
  readonly savedMs: number;
  /** The proxy's addresses. */
  readonly own: readonly string[];
  readonly counts: Readonly<Record<string, number>>;
  readonly decisions: Readonly<Record<string, number>>;
  readonly drops: Readonly<Record<string, number>>;
  readonly evicted: number;
  readonly arpOut: number;
  readonly members: readonly SavedMember[];
  readonly changes: readonly SavedChange[];
  /** Only of a proxy with IPv6. */
  readonly ipv6?: Text6;
}

const COUNT_NAMES = Object.keys(Count);

/** The bytes of a file; `changes` are those of pools' members that no policy says. */
export function saveState(
  { connections, links, backends, metrics }: Stateful,
  changes: readonly SavedChange[],
  { boot, wallMs, nowMs }: Moment,
): Uint8Array<ArrayBuffer> {
  const { members, placeOf } = saveMembers(backends);
  const text: Text = {
    boot,
    savedMs: wallMs,
    own: links.map(({ own }) => formatAddress(own.address)),
    counts: named(COUNT_NAMES, metrics.counts),
    decisions: named(DECISION_NAMES, metrics.decisions),
    drops: named(REASON_NAMES, metrics.drops),
    evicted: connections.evicted,
    arpOut: links.reduce((sum, { arp }) => sum + arp.sent, 0),
    members,
    changes,
    ...(links.every(({ v6 }) => v6 === null) ? {} : { ipv6: text6Of(links, nowMs) }),
  };
  const encoded = new TextEncoder().encode(JSON.stringify(text));
  const textBytes = (encoded.length + 3) & ~3;
  const records = saveConnections(connections, placeOf, nowMs);
  const neighbors = saveNeighbors(links, nowMs);
  const sections = [records.over4, neighbors, records.over6];
  const sectionWords = sections.reduce((sum, { length }) => sum + length, 0);
  const bytes = new Uint8Array(HEADER_BYTES + textBytes + 4 * sectionWords);
  const words = new Int32Array(bytes.buffer);
  new TextEncoder().encodeInto(MAGIC, bytes);
  words[LAYOUT_WORD] = records.over6.length > 0 ? LAYOUT6 : LAYOUT;
  words[TEXT_WORD] = textBytes;
  words[CONNECTIONS_WORD] = records.over4.length / SAVED_WORDS;
  words[NEIGHBORS_WORD] = neighbors.length / NEIGHBOR_WORDS;
  words[CONNECTIONS6_WORD] = records.over6.length / SAVED6_WORDS;
  bytes.fill(0x20, HEADER_BYTES, HEADER_BYTES + textBytes);
  bytes.set(encoded, HEADER_BYTES);
  let at = (HEADER_BYTES + textBytes) >> 2;
  for (const section of sections) {
    words.set(section, at);
    at += section.length;
  }
  words[CHECKSUM_WORD] = checksumOf(words);
  return bytes;
}

/**
 * The state in `bytes`, for a proxy with these links. Throws an Error that says in a few words why
 * nothing of it can be used.
 */
export function readState(
  bytes: Uint8Array<ArrayBuffer>,
  links: readonly Link[],
  { boot, wallMs }: Moment,
  maxAgeMs: number,
): SavedState {
  const parts = partsOf(bytes);
  const { text } = parts;
  const agoMs = Math.max(0, wallMs - text.savedMs);
  const own = links.map((link) => formatAddress(link.own.address));
  if (text.boot !== boot) throw new Error("the machine has been started again since");
  if (text.savedMs - wallMs > CLOCK_STEP_MS) {
    throw new Error("by this machine's clock it is yet to be saved");
  }
  if (agoMs > maxAgeMs) {
    const [age, most] = [agoMs, maxAgeMs].map((ms) => Math.round(ms / 1000));
    throw new Error(`it is ${age} s old, expected at most ${most} (--state-max-age)`);
  }
  if (text.own.join() !== own.join()) {
    throw new Error(`it is of a proxy at ${text.own.join(" and ")}, not at ${own.join(" and ")}`);
  }
  return { ...parts, agoMs };
}

/** Takes up the state, whose records are changed. */
export function resumeState(of: Stateful, saved: SavedState, nowMs: number): Resumption {
  const { config, links, connections, backends, metrics } = of;
  const { text, records, agoMs } = saved;
  const neighbors = resumeNeighbors(links, saved.neighbors, agoMs, nowMs) +
    (text.ipv6 === undefined ? 0 : resume6(links, text.ipv6, agoMs, nowMs));
  addNamed(COUNT_NAMES, metrics.counts, text.counts);
  addNamed(DECISION_NAMES, metrics.decisions, text.decisions);
  addNamed(REASON_NAMES, metrics.drops, text.drops);
  connections.evicted += text.evicted;
  links[0]!.arp.addSent(text.arpOut);
  // Who left with another address of the proxy is not known by it any more.
  const isKept = isSame6(links, text.ipv6);
  const rules = {
    ...config,
    translateFamilies: config.translateFamilies && isKept,
    own: links.map((link) => link.own),
    targetPorts: targetPortsOf(backends),
    members: resumeMembers(backends, text.members),
  };
  const kept = isKept ? records : { ...records, over6: new Int32Array(0) };
  const became = resumeConnections(connections, kept, rules, Math.round(agoMs), nowMs);
  const lost = (records.over6.length - kept.over6.length) / SAVED6_WORDS;
  return { ...became, invalid: became.invalid + lost, neighbors, agoMs };
}

/** The parts of a file that is whole. */
function partsOf(bytes: Uint8Array<ArrayBuffer>): Omit<SavedState, "agoMs"> {
  const damaged = () => new Error("it is cut short or damaged");
  const magic = new TextEncoder().encode(MAGIC);
  if (!magic.every((byte, i) => bytes[i] === byte)) {
    throw new Error("it is not a state of this program");
  }
  if (bytes.length < HEADER_BYTES || bytes.length % 4 !== 0) throw damaged();
  const words = new Int32Array(bytes.buffer, bytes.byteOffset, bytes.length >> 2);
  const layout = words[LAYOUT_WORD]!;
  if (layout !== LAYOUT && layout !== LAYOUT6) {
    throw new Error(`it has layout ${layout}, expected ${LAYOUT} or ${LAYOUT6}`);
  }
  const sizes = [
    words[TEXT_WORD]! / 4,
    words[CONNECTIONS_WORD]! * SAVED_WORDS,
    words[NEIGHBORS_WORD]! * NEIGHBOR_WORDS,
    words[CONNECTIONS6_WORD]! * SAVED6_WORDS,
  ];
  const areSizes = sizes.every((size) => Number.isInteger(size) && size >= 0);
  const sum = sizes.reduce((sum, size) => sum + size, HEADER_BYTES >> 2);
  if (!areSizes || sum !== words.length) throw damaged();
  if (checksumOf(words) !== words[CHECKSUM_WORD]) throw damaged();
  const textBytes = words[TEXT_WORD]!;
  if (textBytes > MOST_TEXT_BYTES) throw damaged();
  const text = textOf(bytes.subarray(HEADER_BYTES, HEADER_BYTES + textBytes));
  if (text === null) throw damaged();
  let at = (HEADER_BYTES + textBytes) >> 2;
  const [over4, neighbors, over6] = sizes.slice(1).map((size) => words.subarray(at, at += size));
  return { text, records: { over4: over4!, over6: over6! }, neighbors: neighbors! };
}

/** What the text says; null if it does not say what it must. */
function textOf(bytes: Uint8Array): Text | null {
  let parsed: unknown;
  try {
    parsed = JSON.parse(new TextDecoder("utf-8", { fatal: true }).decode(bytes));
  } catch {
    return null;
  }
  if (!isRecord(parsed)) return null;
  const { boot, savedMs, own, counts, decisions, drops, evicted, arpOut } = parsed;
  const isRight = typeof boot === "string" && isCount(savedMs) && isCount(evicted) &&
    isCount(arpOut) &&
    Array.isArray(own) && own.length <= 2 && own.every(isAddress) &&
    [counts, decisions, drops].every(isRecord) && areMembers(parsed.members) &&
    areChanges(parsed.changes) && (parsed.ipv6 === undefined || isText6(parsed.ipv6));
  return isRight ? parsed as unknown as Text : null;
}

/**
 * Of all words but itself. Each step is one to one in the word and in what came before, so that a
 * change in a single word always shows.
 */
export function checksumOf(words: Readonly<Int32Array>): number {
  let sum = 0x811c9dc5 | 0;
  for (let i = 0; i < words.length; i++) {
    if (i === CHECKSUM_WORD) continue;
    sum = Math.imul(sum ^ words[i]!, 0x01000193);
    sum ^= sum >>> 15;
  }
  return sum;
}

function named(names: readonly string[], counts: Float64Array): Record<string, number> {
  return Object.fromEntries(names.map((name, i) => [name, counts[i]!]));
}

/** Adds what was counted under names that still count. */
function addNamed(
  names: readonly string[],
  counts: Float64Array,
  saved: Readonly<Record<string, unknown>>,
): void {
  for (const [i, name] of names.entries()) {
    const count = Object.hasOwn(saved, name) ? saved[name] : 0;
    if (isCount(count)) counts[i]! += count;
  }
}

function saveNeighbors(links: readonly Link[], nowMs: number): number[] {
  const words: number[] = [];
  for (const [i, { arp }] of links.entries()) {
    arp.neighbors.forEachKnown((address, { hi, lo }, confirmedMs) =>
      words.push(i, address, hi, lo, Math.min(nowMs - confirmedMs, MOST_AGE_MS))
    );
  }
  return words;
}

/** How many neighbours could be taken up. */
function resumeNeighbors(
  links: readonly Link[],
  words: Readonly<Int32Array>,
  agoMs: number,
  nowMs: number,
): number {
  let resumed = 0;
  for (let at = 0; at < words.length; at += NEIGHBOR_WORDS) {
    const link = links[words[at]!];
    const hi = words[at + 2]!;
    const ageMs = words[at + 4]!;
    if (link === undefined || hi >>> 16 !== 0 || ageMs < 0) continue;
    const mac = { hi, lo: words[at + 3]! };
    if (link.arp.resume(words[at + 1]!, mac, nowMs - ageMs - agoMs, nowMs)) resumed++;
  }
  return resumed;
}
