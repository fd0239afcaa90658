/**
 * Selects the source port of a new connection. A port is in use per (backend, port, protocol) and
 * may serve another backend or backend port at the same time, so the total is not limited to one
 * port range. For an ICMP query, "port" is its identifier.
 *
 *   1. The client's own port where it is free (RFC 4787 calls this port preservation), so ports
 *      are reused no faster than the client reuses them.
 *   2. A free port found from a random start (RFC 6056 §3.3.2). Connections that are over keep
 *      their port until they expire, so a free port has been unused for a while.
 *   3. When all are taken, the port of the connection that `victim.ts` selects; never that
 *      of a live one.
 *
 * No step searches the range: while few ports are in use a random one is likely free; with many a
 * PortSet finds one.
 */
import type { Address } from "../wire/address.ts";
import { below, type Random } from "../core/random.ts";
import type { LinkedLists } from "../core/linked_lists.ts";
import { EvictionClasses } from "./eviction.ts";
import { PortSet } from "./port_set.ts";
import { type FlowTable, SIDE_B } from "./table.ts";

export interface PortRange {
  readonly first: number;
  readonly last: number;
}

/** How many are in use. */
export interface PortsInUse {
  readonly inUse: number;
  /** Towards the (backend, port) that has the most. */
  readonly most: number;
  /** How many there are towards each. */
  readonly size: number;
}

/** A pool gets a PortSet when it has more connections than this, or more than half the range. */
const DENSE = 1024;

const MAX_PORTS = 65_536;

/** Random ports that are tried: where at least half are free, all fail once in 2⁶⁴. */
const TRIES = 64;

/** The connections towards one backend and port. */
class Pool extends EvictionClasses {
  ports: PortSet | null = null;
}

export class Ports implements PortsInUse {
  inUse = 0;
  most = 0;
  readonly #table: FlowTable;
  readonly #linkedLists: LinkedLists;
  readonly #range: PortRange;
  /** Number of ports towards each (backend, port). */
  readonly size: number;
  readonly #dense: number;
  readonly #random: Random;
  readonly #pools = new Map<number, Pool>();
  /** How many of them have each number of connections. */
  readonly #poolsOfSize = new Uint32Array(MAX_PORTS + 1);
  /** Ports that the proxy itself uses, towards each (backend, port). */
  readonly #reserved = new Map<number, number[]>();

  constructor(table: FlowTable, linkedLists: LinkedLists, range: PortRange, random: Random) {
    this.#table = table;
    this.#linkedLists = linkedLists;
    this.#range = range;
    this.size = range.last - range.first + 1;
    this.#dense = Math.min(DENSE, this.size >> 1);
    this.#random = random;
  }

  /**
   * A port that is free towards `backendPort` of `backend`, or -1. `preferred` is the client's own.
   * The port of entry `successorOf` (-1: none) counts as free, since that entry is about to be
   * replaced. `avoid` (-1: none) is never used: with it, a backend that gets its own connection
   * would be on both sides of one tuple.
   */
  choose(
    protocol: number,
    backend: Address,
    own: Address,
    backendPort: number,
    preferred: number,
    successorOf: number,
    avoid: number,
    random: Random = this.#random,
  ): number {
    const { first, last } = this.#range;
    const key = keyOf(protocol, backend, backendPort);
    const reserved = this.#reserved.size > 0 ? this.#reserved.get(key) : undefined;
    const isFree = (port: number): boolean => {
      if (port === avoid || reserved?.includes(port)) return false;
      const reference = this.#table.find(protocol, backend, own, (backendPort << 16) | port);
      return reference < 0 || reference >> 1 === successorOf;
    };
    if (preferred >= first && preferred <= last && isFree(preferred)) return preferred;
    const known = this.#pools.get(key)?.ports ?? null;
    if (known !== null) {
      let start = first + below(random, this.size);
      for (let tries = TRIES; tries > 0; tries--) {
        let port = known.firstFree(start, last);
        if (port < 0) port = known.firstFree(first, start);
        if (port < 0 || isFree(port)) return port;
        start = port === last ? first : port + 1; // the backend itself is a client with this port
      }
      return -1;
    }
    return this.#anyFree(isFree, random);
  }

  /**
   * The port of a client whose address is kept: its own; or if another of its connections has that
   * towards the backend's port, one of the range that is free, so that each has a tuple of its own.
   * -1: none was found.
   */
  keep(clientPort: number, isFree: (port: number) => boolean): number {
    return isFree(clientPort) ? clientPort : this.#anyFree(isFree, this.#random);
  }

  #anyFree(isFree: (port: number) => boolean, random: Random): number {
    for (let tries = TRIES; tries > 0; tries--) {
      const port = this.#range.first + below(random, this.size);
      if (isFree(port)) return port;
    }
    return -1;
  }

  /**
   * A port for the proxy's own use, which no connection gets until it is released; -1: all are
   * taken.
   */
  reserve(
    protocol: number,
    backend: Address,
    own: Address,
    backendPort: number,
    random: Random,
  ): number {
    const port = this.choose(protocol, backend, own, backendPort, -1, -1, -1, random);
    if (port < 0) return -1;
    const key = keyOf(protocol, backend, backendPort);
    const reserved = this.#reserved.get(key);
    if (reserved === undefined) this.#reserved.set(key, [port]);
    else reserved.push(port);
    return port;
  }

  release(protocol: number, backend: Address, backendPort: number, port: number): void {
    const key = keyOf(protocol, backend, backendPort);
    const others = (this.#reserved.get(key) ?? []).filter((other) => other !== port);
    if (others.length > 0) this.#reserved.set(key, others);
    else this.#reserved.delete(key);
  }

  /** The connections towards `backendPort` of `backend`; null if there are none. */
  pool(protocol: number, backend: Address, backendPort: number): EvictionClasses | null {
    return this.#pools.get(keyOf(protocol, backend, backendPort)) ?? null;
  }

  /** The connection was used; its class was `from` and is `to`. */
  renew(entry: number, from: number, to: number): void {
    this.#pools.get(this.#keyOfEntry(entry))!.renew(entry, from, to);
  }

  /** The connection was inserted into the table. */
  add(entry: number, evictionClass: number): void {
    const key = this.#keyOfEntry(entry);
    let pool = this.#pools.get(key);
    if (pool === undefined) {
      pool = new Pool(this.#linkedLists);
      this.#pools.set(key, pool);
    }
    pool.add(entry, evictionClass);
    this.#counted(pool.count - 1, pool.count);
    if (pool.ports !== null) {
      pool.ports.take(this.#table.dstPort(entry, SIDE_B));
    } else if (pool.count > this.#dense) {
      pool.ports = new PortSet();
      for (const member of pool) pool.ports.take(this.#table.dstPort(member, SIDE_B));
    }
  }

  /** The connection is about to leave the table. */
  remove(entry: number, evictionClass: number): void {
    const key = this.#keyOfEntry(entry);
    const pool = this.#pools.get(key)!;
    pool.remove(entry, evictionClass);
    this.#counted(pool.count + 1, pool.count);
    pool.ports?.release(this.#table.dstPort(entry, SIDE_B));
    if (pool.count <= this.#dense >> 1) pool.ports = null;
    if (pool.count === 0) this.#pools.delete(key);
  }

  /** A pool has one connection more or less than before. */
  #counted(before: number, now: number): void {
    this.inUse += now - before;
    this.#poolsOfSize[before]!--; // of none there may be any number: nobody asks
    this.#poolsOfSize[now]!++;
    if (now > this.most || (before === this.most && this.#poolsOfSize[before] === 0)) {
      this.most = now;
    }
  }

  #keyOfEntry(entry: number): number {
    const table = this.#table;
    const protocol = table.protocolOf((entry << 1) | SIDE_B);
    return keyOf(protocol, table.src(entry, SIDE_B), table.srcPort(entry, SIDE_B));
  }
}

/**
 * 32 bits of address, 16 of port and 5 that distinguish ICMP, TCP and UDP over either family: an
 * exact integer. Two IPv6 backends that have one key share their ports.
 */
function keyOf(protocol: number, backend: Address, backendPort: number): number {
  return (backend >>> 0) * 0x20_0000 + backendPort * 32 + protocol % 31;
}
