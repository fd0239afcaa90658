/**
 * Where each number is in the memory by which the packet thread tells the admin thread what it has
 * counted: doubles, first those of which there is one set, then a row for each member of a pool,
 * then how many PDUs ended at each node of the policy. Each change of the policy makes new memory.
 */
import { REASON_COUNT } from "../../core/reason.ts";
import { Count } from "../../datapath/metrics.ts";
import { DECISION_NAMES } from "../../policy/language/ast.ts";
import { PumpCounts } from "../pump.ts";

/** Numbers of the whole proxy. */
export const VALUES = [
  /** Of the packet thread's clock. */
  "nowMs",
  "tracked",
  "opened",
  "evicted",
  "portsInUse",
  "portsMost",
  "checkFramesIn",
  "checkFramesOut",
  "reloaded",
  "notReloaded",
  /** Whether the last reload has failed; of the last that did not: Unix time (-1: none), length. */
  "reloadFailed",
  "reloadedMs",
  "reloadMs",
  /** Entries that the console and the log have lost, and packets that captures have. */
  "traceLost",
  "logLost",
  "captureLost",
  /** Rows of members that count. */
  "members",
] as const;

/** Numbers of a link; there is room for two. */
export const LINK_FIELDS = ["isUp", "mtu", "arpOut", "neighborOut", "neighbors"] as const;

/** Numbers of a member. */
export const MEMBER_FIELDS = [
  /** Place among the names that were told. */
  "pool",
  "isIpv6",
  /** Of an IPv6 address; an IPv4 address is the last of them. */
  "word0",
  "word1",
  "word2",
  "word3",
  "port",
  /** Place in MEMBER_STATUSES. */
  "status",
  "weight",
  "open",
  "tracked",
  "opened",
  "changedMs",
  /** Of checks; `checks` 0: it is not checked. */
  "checks",
  "succeeded",
  "failed",
  "tookMs",
  /** Place among the texts that were told, of why the last one failed; -1: it did not. */
  "failure",
] as const;

/** Names of the classes of connections, in the order of `flow/eviction.ts`. */
export const CLASS_NAMES = [
  "answered-here",
  "unanswered",
  "half-open",
  "reset",
  "finished",
  "live",
] as const;

const { turns, bursts } = new PumpCounts();

/** Lengths of the parts of which there is one. */
const LENGTHS = {
  values: VALUES.length,
  links: 2 * LINK_FIELDS.length,
  counts: Object.keys(Count).length,
  decisions: DECISION_NAMES.length,
  drops: REASON_COUNT,
  classes: CLASS_NAMES.length,
  turns: turns.numbers.length,
  bursts: bursts.numbers.length,
};

/** Bounds of the histograms. */
export const BOUNDS = { turns: turns.bounds, bursts: bursts.bounds } as const;

export type Part = keyof typeof LENGTHS;
export type Value = typeof VALUES[number];
export type LinkField = typeof LINK_FIELDS[number];
export type MemberField = typeof MEMBER_FIELDS[number];

const PLACES = {} as Record<Part, number>;
let end = 0;
for (const [part, length] of Object.entries(LENGTHS)) {
  PLACES[part as Part] = end;
  end += length;
}

/** Where the rows of members begin. */
const MEMBERS = end;

const VALUE_PLACES = placesOf(VALUES);
const LINK_PLACES = placesOf(LINK_FIELDS);
const MEMBER_PLACES = placesOf(MEMBER_FIELDS);

function placesOf<Name extends string>(names: readonly Name[]): Readonly<Record<Name, number>> {
  return Object.fromEntries(names.map((name, i) => [name, i])) as Record<Name, number>;
}

/** The numbers, as one thread writes them and the other reads them. */
export class Board<Memory extends ArrayBufferLike = ArrayBufferLike> {
  readonly numbers: Float64Array<Memory>;
  /** Rows that there is room for. */
  readonly memberRows: number;
  /** How many PDUs ended at each node. */
  readonly exits: Float64Array<Memory>;

  constructor(memory: Memory, memberRows: number) {
    this.numbers = new Float64Array(memory);
    this.memberRows = memberRows;
    this.exits = this.numbers.subarray(MEMBERS + memberRows * MEMBER_FIELDS.length);
  }

  static make(memberRows: number, nodes: number): Board<SharedArrayBuffer> {
    const length = MEMBERS + memberRows * MEMBER_FIELDS.length + nodes;
    return new Board(
      new SharedArrayBuffer(length * Float64Array.BYTES_PER_ELEMENT),
      memberRows,
    );
  }

  /** The same as they are now, in memory that nobody else writes. */
  copy(): Board<ArrayBuffer> {
    return new Board(this.numbers.slice().buffer as ArrayBuffer, this.memberRows);
  }

  part(part: Part): Float64Array<Memory> {
    return this.numbers.subarray(PLACES[part], PLACES[part] + LENGTHS[part]);
  }

  get(value: Value): number {
    return this.numbers[PLACES.values + VALUE_PLACES[value]]!;
  }

  set(values: Readonly<Record<Value, number>>): void {
    for (const name of VALUES) this.numbers[PLACES.values + VALUE_PLACES[name]] = values[name];
  }

  link(link: number, field: LinkField): number {
    return this.numbers[PLACES.links + link * LINK_FIELDS.length + LINK_PLACES[field]]!;
  }

  setLink(link: number, values: Readonly<Record<LinkField, number>>): void {
    const row = PLACES.links + link * LINK_FIELDS.length;
    for (const name of LINK_FIELDS) this.numbers[row + LINK_PLACES[name]] = values[name];
  }

  member(member: number, field: MemberField): number {
    return this.numbers[MEMBERS + member * MEMBER_FIELDS.length + MEMBER_PLACES[field]]!;
  }

  setMember(member: number, values: Readonly<Record<MemberField, number>>): void {
    const row = MEMBERS + member * MEMBER_FIELDS.length;
    for (const name of MEMBER_FIELDS) this.numbers[row + MEMBER_PLACES[name]] = values[name];
  }
}
