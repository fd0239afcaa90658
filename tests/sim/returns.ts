/**
 * Clients with few ports: each port comes round 1 s to 300 s after its last connection ended, for
 * hours. Half of the clients make their numbers as Linux does, the others at random; with
 * timestamps or without.
 *
 * A connection that would be opened on a wire to its backend must be opened through the proxy, and
 * wait for no more than one SYN sent again more than there. What else explains one is counted while
 * it happens: a frame lost during the handshake, a backend that has something left of the client's
 * own last connection, a late duplicate of an old SYN, a backend whose death the proxy can't know
 * yet.
 */
import { below, type Random } from "../../src/core/random.ts";
import type { SimHost } from "./host.ts";
import { isnAfter, LinuxIsns } from "./isn.ts";
import type { Connection, Style } from "./plan.ts";

const CLIENT_PORT = 30_001;
/**
 * After which longest pauses a port comes round: within TIME-WAIT, about its end, and much later.
 */
const LONGEST_PAUSES_MS = [10_000, 65_000, 300_000, 300_000];
const SHORTEST_PAUSE_MS = 1000;
/** How late a duplicate of a SYN may come, and how often one does. */
export const LATEST_MS = 60_000;
export const LATE_SYNS = 0.15;
/** The SYNs sent again that the proxy may cost. */
const COST = 1;

/** What a client of the run is like. */
interface Client {
  readonly isLinux: boolean;
  readonly timestamps: boolean;
  readonly tsOffset: number;
}

export interface ReturnsOptions {
  readonly random: Random;
  readonly hosts: readonly SimHost[];
  readonly nowMs: () => number;
  readonly at: (atMs: number, run: () => void) => void;
  readonly begin: (connection: Connection, host: SimHost, port: number, iss: number) => void;
}

export class Returns {
  /** Connections whose client waits for an answer to its SYN. */
  readonly opening = new Set<Connection>();
  readonly #options: ReturnsOptions;
  readonly isns: LinuxIsns;
  readonly #clients: readonly Client[];

  constructor(options: ReturnsOptions) {
    const { random, hosts } = options;
    this.#options = options;
    this.isns = new LinuxIsns(random);
    this.#clients = hosts.map((_, i) => ({
      isLinux: i % 2 === 0,
      timestamps: below(random, 2) === 0,
      tsOffset: random.uint32() | 0,
    }));
  }

  /** Connections go round the clients, and what one draws for its own. */
  styleOf(number: number): Style {
    const { timestamps } = this.#clients[number % this.#clients.length]!;
    // Else a server that opens at the same time, upon a late duplicate, confuses it: on a wire,
    // too.
    return { returns: true, timestamps, deafToSyn: true, isBulky: false };
  }

  start(connections: readonly Connection[]): void {
    this.#options.hosts.forEach((_, i) => {
      const own = connections.filter(({ number }) => number % this.#clients.length === i);
      this.#next(i, own, null);
    });
  }

  /**
   * Something has happened that explains so many SYNs sent again, of those that wait for an answer.
   */
  excuse(of: (connection: Connection) => boolean, retries = 1): void {
    for (const connection of this.opening) {
      if (connection.clientEnd!.state !== "syn-sent") this.opening.delete(connection);
      else if (of(connection)) connection.excusedRetries += retries;
    }
  }

  /** What is wrong with how long the connection waited to be opened, or "". */
  fault({ kind, struck, evicted, refusedByProxy, clientEnd, excusedRetries }: Connection): string {
    if (kind === "blocked" || struck || evicted || refusedByProxy) return "";
    const retries = clientEnd!.openRetries;
    if (retries <= COST + excusedRetries) return "";
    return `was answered after ${retries} SYNs sent again, and only ${excusedRetries} are explained`;
  }

  #next(i: number, left: readonly Connection[], last: Connection | null): void {
    const [connection, ...others] = left;
    if (connection === undefined) return;
    const { random, nowMs, at } = this.#options;
    const again = (): void => {
      if (last !== null && !last.clientEnd!.over) return at(nowMs() + 1000, again);
      const longestMs = LONGEST_PAUSES_MS[below(random, LONGEST_PAUSES_MS.length)]!;
      const pauseMs = SHORTEST_PAUSE_MS + below(random, longestMs - SHORTEST_PAUSE_MS);
      at(nowMs() + pauseMs, () => this.#begin(i, connection, others));
    };
    again();
  }

  #begin(i: number, connection: Connection, others: readonly Connection[]): void {
    const { random, hosts, nowMs, at, begin } = this.#options;
    const client = this.#clients[i]!;
    const host = hosts[i]!;
    const { serverPort } = connection;
    const earlier = host.endpoint(CLIENT_PORT, serverPort);
    let iss = random.uint32() | 0;
    if (client.isLinux) {
      iss = this.isns.at(nowMs(), host.at.address, CLIENT_PORT, host.proxy.address, serverPort);
      if (earlier !== undefined) {
        // tcp_tw_reuse: only timestamps tell what is left of the last connection from the next one.
        if (!earlier.stamps) {
          return at(nowMs() + 1000, () => this.#begin(i, connection, others));
        }
        iss = isnAfter(earlier.sendNext);
      }
    }
    connection.clientTsOffset = client.isLinux ? client.tsOffset : random.uint32() | 0;
    connection.serverTsOffset = random.uint32() | 0;
    begin(connection, host, CLIENT_PORT, iss);
    this.#next(i, others, connection);
  }
}
