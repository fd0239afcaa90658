/**
 * Writes what the packet thread has counted where the admin thread reads it, in slices: what comes
 * first is of one moment, and with few nodes and members all is.
 *
 * The data path counts nothing for this: its counters are copied. What they mean, the policy's
 * nodes and the pools' names, is told after each change of the policy.
 */
import type { Slices } from "../../core/slices.ts";
import type { Appliance } from "../../datapath/appliance.ts";
import type { Nodes } from "../../datapath/running_policy.ts";
import { ownOf } from "../../datapath/snapshot.ts";
import { type Member, MEMBER_STATUSES } from "../../flow/backends/member.ts";
import { isIpv6, wordsOf } from "../../wire/host_address.ts";
import type { Outline } from "../../policy/engine/outline.ts";
import { printHealth } from "../../policy/notation/parse_health.ts";
import type { PumpCounts } from "../pump.ts";
import type { ReloadCounts } from "../reload.ts";
import { Board, CLASS_NAMES } from "./layout.ts";
import type { Shape, SharedOutline, ToAdmin } from "./messages.ts";

/** Nodes, members and bytes between two places where the work can be interrupted. */
const NODES_AT_ONCE = 16_384;
const MEMBERS_AT_ONCE = 256;
const BYTES_AT_ONCE = 131_072;

export interface FillerOptions {
  readonly appliance: Pick<
    Appliance,
    "backends" | "checkFrames" | "checkOf" | "connections" | "count" | "links" | "metrics" | "nodes"
  >;
  /** The appliance's clock. */
  readonly nowMs: () => number;
  readonly pump: PumpCounts;
  readonly reloads: ReloadCounts;
  readonly trace: { readonly lost: number };
  readonly log: { readonly lost: number };
  readonly captures: { readonly lost: number };
  readonly post: (message: Extract<ToAdmin, { to: "shape" | "failure" | "own" }>) => void;
}

export class Filler {
  readonly #options: FillerOptions;
  /** What the memory is for. */
  #nodes: Nodes | null = null;
  #board: Board = Board.make(0, 0);
  /** Numbers of pools by name. */
  #pools = new Map<string, number>();
  /** Numbers of the texts that were told. */
  readonly #failures = new Map<string, number>();
  /** States of the proxy's addresses, as they were told. */
  #own = "";

  constructor(options: FillerOptions) {
    this.#options = options;
  }

  *fill(): Slices<void> {
    const { appliance } = this.#options;
    const { nodes } = appliance;
    if (nodes !== this.#nodes) yield* this.#tell(nodes);
    const board = this.#board;
    const { pools } = appliance.backends;
    const members = pools.flatMap(({ members }) => members).slice(0, board.memberRows);
    this.#fillParts(board, members.length);
    this.#tellOwn();
    const { exits } = nodes;
    for (let at = 0; at < exits.length; at += NODES_AT_ONCE) {
      board.exits.set(exits.subarray(at, at + NODES_AT_ONCE), at);
      yield;
    }
    for (const [i, member] of members.entries()) {
      this.#fillMember(board, i, member);
      if (i % MEMBERS_AT_ONCE === 0) yield;
    }
  }

  *#tell(nodes: Nodes): Slices<void> {
    const { appliance, post } = this.#options;
    const outline = yield* shared(yield* nodes.outline());
    const { pools } = appliance.backends;
    const names: { name: string; check: string }[] = [];
    this.#pools = new Map();
    for (const { name, health } of pools) {
      this.#pools.set(name, names.push({ name, check: printHealth(health) }) - 1);
      yield;
    }
    const memberRows = pools.reduce((sum, { members }) => sum + members.length, 0);
    this.#board = Board.make(memberRows, nodes.exits.length);
    this.#nodes = nodes;
    const memory = this.#board.numbers.buffer as SharedArrayBuffer;
    const shape: Shape = { memory, memberRows, pools: names, outline };
    post({ to: "shape", shape });
  }

  #fillParts(board: Board, members: number): void {
    const { appliance, captures, pump, reloads, trace, log, nowMs } = this.#options;
    const { connections, links, metrics, checkFrames } = appliance;
    const { classes, portsInUse } = connections;
    appliance.count();
    board.part("counts").set(metrics.counts);
    board.part("decisions").set(metrics.decisions);
    board.part("drops").set(metrics.drops);
    board.part("classes").set(CLASS_NAMES.map((_, i) => classes.size(i)));
    board.part("turns").set(pump.turns.numbers);
    board.part("bursts").set(pump.bursts.numbers);
    for (const [i, { isUp, device: { mtu }, arp, v6 }] of links.entries()) {
      board.setLink(i, {
        isUp: Number(isUp),
        mtu,
        arpOut: arp.sent,
        neighborOut: v6?.nd.sent ?? 0,
        neighbors: arp.neighbors.count + (v6?.nd.neighbors.count ?? 0),
      });
    }
    board.set({
      nowMs: nowMs(),
      tracked: connections.table.count,
      opened: connections.opened,
      evicted: connections.evicted,
      portsInUse: portsInUse.inUse,
      portsMost: portsInUse.most,
      checkFramesIn: checkFrames.in,
      checkFramesOut: checkFrames.out,
      reloaded: reloads.done,
      notReloaded: reloads.failed,
      reloadFailed: Number(reloads.hasFailed),
      reloadedMs: reloads.doneMs,
      reloadMs: reloads.tookMs,
      traceLost: trace.lost,
      logLost: log.lost,
      captureLost: captures.lost,
      members,
    });
  }

  #tellOwn(): void {
    const own = ownOf(this.#options.appliance.links);
    const states = own.map(({ state }) => state).join();
    if (states === this.#own) return;
    this.#own = states;
    this.#options.post({ to: "own", own });
  }

  #fillMember(board: Board, place: number, member: Member): void {
    const { pool, address, port, status, weight, load, active, opened, changedMs } = member;
    const check = this.#options.appliance.checkOf(member);
    const failure = check?.failure ?? null;
    const [word0, word1, word2, word3] = isIpv6(address) ? wordsOf(address) : [0, 0, 0, address];
    board.setMember(place, {
      pool: this.#pools.get(pool.name) ?? -1,
      isIpv6: Number(isIpv6(address)),
      word0: word0!,
      word1: word1!,
      word2: word2!,
      word3: word3!,
      port,
      status: MEMBER_STATUSES.indexOf(status),
      weight,
      open: load,
      tracked: active,
      opened,
      changedMs,
      checks: Number(check !== undefined),
      succeeded: check?.succeeded ?? 0,
      failed: check?.failed ?? 0,
      tookMs: check?.tookMs ?? 0,
      failure: failure === null ? -1 : this.#failureNumber(failure),
    });
  }

  /** There are some hundred texts. */
  #failureNumber(text: string): number {
    let number = this.#failures.get(text);
    if (number === undefined) {
      this.#failures.set(text, number = this.#failures.size);
      this.#options.post({ to: "failure", text });
    }
    return number;
  }
}

/** The outline in memory that both threads have. */
function* shared({ texts, ...outline }: Outline): Slices<SharedOutline> {
  const { sizes, heads, words, labels, kinds } = outline;
  return {
    default: outline.default,
    sizes: yield* copied(sizes, Int32Array),
    heads: yield* copied(heads, Int32Array),
    words: yield* copied(words, Int32Array),
    labels: yield* copied(labels, Int32Array),
    kinds: yield* copied(kinds, Int32Array),
    bytes: yield* copied(texts.bytes, Uint8Array),
    ends: yield* copied(texts.ends, Uint32Array),
  };
}

function* copied<Numbers extends Int32Array | Uint8Array | Uint32Array>(
  from: Numbers,
  Numbers: new (memory: SharedArrayBuffer) => Numbers,
): Slices<Numbers> {
  const memory = new SharedArrayBuffer(from.byteLength);
  const bytes = new Uint8Array(from.buffer, from.byteOffset, from.byteLength);
  const to = new Uint8Array(memory);
  for (let at = 0; at < bytes.length; at += BYTES_AT_ONCE) {
    to.set(bytes.subarray(at, at + BYTES_AT_ONCE), at);
    yield;
  }
  return new Numbers(memory);
}
