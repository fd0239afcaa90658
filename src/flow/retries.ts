/**
 * Another try: which connections have not been answered yet, whom they have tried, and their SYNs,
 * so that one that a backend refuses or leaves unanswered goes to another backend before its client
 * notices.
 *
 * What is kept for each entry is 7 bytes and two for each retry. SYNs are kept as they left, in a
 * fixed number of slots; where none is free, or the SYN is too long, the client's own next one is
 * the other try.
 *
 * Slots are ordered by when their SYN left: all have the same time to be answered.
 */
import { type Arena, VNET_BYTES } from "../core/arena.ts";
import { LinkedLists, List } from "../core/linked_lists.ts";
import type { Target } from "./backends/backends.ts";

export const MOST_RETRIES = 8;

/** SYNs that are remembered at a time. */
const SLOTS = 4096;
/** The longest frame of one. */
const FRAME_BYTES = 128;
const SLOT_BYTES = VNET_BYTES + FRAME_BYTES;

/** The least time after which a client begins anew by the same port: its first wait (RFC 6298). */
const GIVES_UP_MS = 1000;

// An entry's flags: how many members were left behind, and
const COUNT = 0x0f;
/** its member has refused it: the client's next packet goes to another. */
const REFUSED = 0x10;
/** its SYN had data, which a member that is silent may have taken. */
const HAS_DATA = 0x20;
/** its SYN has been sent to its member once more; */
const SENT_AGAIN = 0x40;
/** its SYN is about to leave for the first time. */
const IS_NEW = 0x80;

export interface RetryOptions {
  /** Most members that a connection tries after the first one; up to MOST_RETRIES. */
  readonly retries: number;
  /** A SYN without an answer for so long is tried elsewhere. */
  readonly connectTimeoutMs: number;
}

export class Retries {
  readonly #retries: number;
  readonly #timeoutMs: number;
  readonly #flags: Uint8Array<ArrayBuffer>;
  /** Numbers of the members that were left behind. */
  readonly #tried: Uint16Array<ArrayBuffer>;
  /** When the connection was sent to its present member, modulo 2³². */
  readonly #sinceMs: Int32Array<ArrayBuffer>;
  /** The slot of an entry plus 1, or 0. */
  readonly #slots: Uint16Array<ArrayBuffer>;

  // Of slots
  readonly #lists = new LinkedLists(SLOTS);
  readonly #free = new List();
  readonly #waiting = new List();
  readonly #entries = new Int32Array(SLOTS);
  readonly #lengths = new Uint8Array(SLOTS);
  readonly #targets: (Target | null)[] = new Array(SLOTS).fill(null);
  readonly #bytes = new Uint8Array(SLOTS * SLOT_BYTES);

  constructor(capacity: number, { retries, connectTimeoutMs }: RetryOptions) {
    this.#retries = retries;
    this.#timeoutMs = connectTimeoutMs;
    this.#flags = new Uint8Array(capacity);
    this.#tried = new Uint16Array(capacity * retries);
    this.#sinceMs = new Int32Array(capacity);
    this.#slots = new Uint16Array(capacity);
    for (let slot = 0; slot < SLOTS; slot++) this.#lists.append(this.#free, slot);
  }

  /** SYNs that are remembered now. */
  get remembered(): number {
    return this.#waiting.count;
  }

  // Of entries

  /** The entry is that of a new connection. */
  opened(entry: number, hasData: boolean, nowMs: number): void {
    this.#flags[entry] = IS_NEW | (hasData ? HAS_DATA : 0);
    this.#sinceMs[entry] = nowMs;
  }

  /**
   * Its client begins anew, with another number. A client does not give up so soon; who sends a SYN
   * in its name does.
   */
  openedAnew(entry: number, hasData: boolean, nowMs: number): void {
    if (((nowMs - this.#sinceMs[entry]!) | 0) < GIVES_UP_MS) return;
    this.forget(entry);
    this.opened(entry, hasData, nowMs);
  }

  /** The connection has left `member` for another one. */
  moved(entry: number, member: number, nowMs: number): void {
    const count = this.#flags[entry]! & COUNT;
    this.#tried[this.#retries * entry + count] = member;
    this.#flags[entry] = (this.#flags[entry]! & HAS_DATA) | (count + 1);
    this.#sinceMs[entry] = nowMs;
    const slot = this.#slots[entry]! - 1;
    if (slot < 0) return;
    this.#lists.remove(this.#waiting, slot);
    this.#lists.append(this.#waiting, slot);
  }

  /** The member has refused the connection, whose packet is not remembered. */
  refuse(entry: number): void {
    this.#flags[entry]! |= REFUSED;
  }

  /** There is no other member for it: it has its last try. */
  giveUp(entry: number): void {
    this.#flags[entry] = (this.#flags[entry]! & HAS_DATA) | this.#retries;
    this.forget(entry);
  }

  isLeft(entry: number): boolean {
    return (this.#flags[entry]! & COUNT) < this.#retries;
  }

  hasTried(entry: number, member: number): boolean {
    const first = this.#retries * entry;
    for (let i = first + (this.#flags[entry]! & COUNT) - 1; i >= first; i--) {
      if (this.#tried[i] === member) return true;
    }
    return false;
  }

  /** True for the first time since it came to its member. */
  maySendAgain(entry: number): boolean {
    const flags = this.#flags[entry]!;
    this.#flags[entry] = flags | SENT_AGAIN;
    return (flags & SENT_AGAIN) === 0;
  }

  hasData(entry: number): boolean {
    return (this.#flags[entry]! & HAS_DATA) !== 0;
  }

  /** True if the member has refused the connection. */
  isRefused(entry: number): boolean {
    return (this.#flags[entry]! & REFUSED) !== 0;
  }

  /** True if the member has had its time to answer the SYN, and has not taken data with it. */
  isOverdue(entry: number, nowMs: number): boolean {
    return ((nowMs - this.#sinceMs[entry]!) | 0) >= this.#timeoutMs && !this.hasData(entry);
  }

  // Of SYNs

  /** Keeps the first SYN of the connection, as it leaves by `arena`, if there is room. */
  remember(entry: number, target: Target, arena: Arena, frame: number, lengthBytes: number): void {
    if ((this.#flags[entry]! & IS_NEW) === 0) return;
    this.#flags[entry]! &= ~IS_NEW;
    const slot = this.#free.first;
    if (slot < 0 || lengthBytes > FRAME_BYTES) return;
    this.#lists.remove(this.#free, slot);
    this.#lists.append(this.#waiting, slot);
    this.#slots[entry] = slot + 1;
    this.#entries[slot] = entry;
    this.#lengths[slot] = lengthBytes;
    this.#targets[slot] = target;
    const { bytes } = arena;
    const to = slot * SLOT_BYTES;
    const from = frame - VNET_BYTES;
    for (let i = 0; i < VNET_BYTES + lengthBytes; i++) this.#bytes[to + i] = bytes[from + i]!;
  }

  /** Where the connection's SYN was sent by the tree; null: it is not remembered. */
  target(entry: number): Target | null {
    const slot = this.#slots[entry]! - 1;
    return slot < 0 ? null : this.#targets[slot]!;
  }

  /** Writes the SYN to scratch space: its frame there, or -1. Its length is `lengthOf`. */
  write(entry: number, arena: Arena): number {
    const slot = this.#slots[entry]! - 1;
    const frame = arena.scratch(this.#lengths[slot]!);
    if (frame < 0) return -1;
    const from = slot * SLOT_BYTES;
    arena.bytes.set(
      this.#bytes.subarray(from, from + VNET_BYTES + this.#lengths[slot]!),
      frame - VNET_BYTES,
    );
    return frame;
  }

  lengthOf(entry: number): number {
    return this.#lengths[this.#slots[entry]! - 1]!;
  }

  /** A connection whose remembered SYN has been without an answer for too long, or -1. */
  due(nowMs: number): number {
    const slot = this.#waiting.first;
    if (slot < 0) return -1;
    const entry = this.#entries[slot]!;
    return ((nowMs - this.#sinceMs[entry]!) | 0) >= this.#timeoutMs ? entry : -1;
  }

  /** The connection needs its SYN no more. */
  forget(entry: number): void {
    const slot = this.#slots[entry]! - 1;
    if (slot < 0) return;
    this.#slots[entry] = 0;
    this.#targets[slot] = null;
    this.#lists.remove(this.#waiting, slot);
    this.#lists.append(this.#free, slot);
  }
}
