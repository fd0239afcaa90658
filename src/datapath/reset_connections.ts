/**
 * Ends open TCP connections for both of their ends, though no packet asks for it: when the proxy
 * ends, or a backend has gone. Each end gets an RST with the very number that it takes (RFC 9293
 * §3.10.7.4, RFC 5961 §3.2). What has been sent to it and what it has acknowledged may differ: then
 * it gets one with each of the two.
 *
 *     client ◀─ RST ─ proxy:sp      proxy:pp ─ RST ─▶ backend
 *
 * A large table takes many turns: `step` looks at a slice of it and stops before a transmit list is
 * full. An RST waits for nobody: where the next hop's MAC address is not known it is counted as
 * unsent.
 */
import type { Random } from "../core/random.ts";
import type { Connections } from "../flow/connections.ts";
import { SIDE_A, SIDE_B } from "../flow/table.ts";
import * as tcpState from "../flow/tcp_state.ts";
import * as tcpWindow from "../flow/tcp_window.ts";
import { Translation } from "../flow/translate.ts";
import { makeReset, RESET6_FRAME_BYTES, RESET_FRAME_BYTES } from "../stack/reset.ts";
import { ADDRESS6_WORDS } from "../wire/address6.ts";
import { isIpv6, isTcp } from "../wire/pdu.ts";
import type { Link } from "./link.ts";

/** Most entries that a turn looks at. */
const SLICE_ENTRIES = 1000;

/** Most RSTs of one connection: two to each end. */
const MOST_RESETS = 4;

export interface ConnectionResetsOptions {
  readonly connections: Connections;
  readonly links: readonly Link[];
  /** The link over which an end of a connection is reached, by its reference. */
  readonly linkTowards: (reference: number) => Link;
  readonly random: Random;
  /** Which entries are meant, of those that are open TCP connections. */
  readonly isMeant: (entry: number) => boolean;
  /** The first entry that is looked at. */
  readonly from: number;
  /** What becomes of an entry of which both ends were told. */
  readonly told: (entry: number, nowMs: number) => void;
}

export class ConnectionResets {
  /** Connections that were reset. */
  connections = 0;
  /** Ends of them to which no RST could be sent. */
  unsent = 0;
  readonly #options: ConnectionResetsOptions;
  readonly #to = new Translation();
  #next: number;

  constructor(options: ConnectionResetsOptions) {
    this.#options = options;
    this.#next = options.from;
  }

  /** The entry at which the next slice begins. */
  get next(): number {
    return this.#next;
  }

  /**
   * Goes on with the next slice, and queues its RSTs; false once all entries have been looked at.
   */
  step(nowMs: number): boolean {
    const { connections: { table }, links, told } = this.#options;
    const end = Math.min(this.#next + SLICE_ENTRIES, table.end);
    for (; this.#next < end; this.#next++) {
      if (!this.#takes(this.#next)) continue;
      const hasRoom = links.every(({ arena }) =>
        arena.hasRoom(MOST_RESETS, MOST_RESETS * RESET6_FRAME_BYTES)
      );
      if (!hasRoom) return true;
      for (const side of [SIDE_A, SIDE_B]) if (!this.#tell(this.#next, side)) this.unsent++;
      told(this.#next, nowMs | 0);
      this.connections++;
    }
    return this.#next < table.end;
  }

  /** How many connections are still to be reset. */
  left(): number {
    let count = 0;
    for (let entry = this.#next; entry < this.#options.connections.table.end; entry++) {
      if (this.#takes(entry)) count++;
    }
    return count;
  }

  #takes(entry: number): boolean {
    const { connections: { table }, isMeant } = this.#options;
    return isTcp(table.protocol(entry)) && table.hasSideB(entry) &&
      tcpState.isOpen(table.state(entry)) && isMeant(entry);
  }

  /** Resets the connection for that side; false if nothing could be sent. */
  #tell(entry: number, side: number): boolean {
    const { connections, connections: { table }, linkTowards, random } = this.#options;
    const link = linkTowards((entry << 1) | side);
    const protocol = table.protocolOf((entry << 1) | side);
    const to = this.#to;
    if (isIpv6(protocol)) {
      connections.aim6((entry << 1) | (1 - side), to);
      if (link.v6?.maySend(to) === false) return false;
    } else {
      to.src = table.dst(entry, side);
      to.dst = table.src(entry, side);
    }
    if (!link.isUp || !link.hasFamily(protocol) || !link.route(protocol, to)) return false;
    const send = (seq: number): boolean => {
      const reset = {
        src: isIpv6(protocol) ? to.addresses.subarray(0, ADDRESS6_WORDS) : to.src,
        dst: isIpv6(protocol) ? to.addresses.subarray(ADDRESS6_WORDS, 2 * ADDRESS6_WORDS) : to.dst,
        srcPort: table.dstPort(entry, side),
        dstPort: table.srcPort(entry, side),
        seq,
        // Only one that acknowledges the SYN ends a connection attempt (RFC 9293 §3.10.7.3).
        ack: tcpWindow.isSilent(table, entry, side)
          ? null
          : tcpWindow.endOfSent(table, entry, side),
      };
      const frame = makeReset(link.arena, reset, random);
      return frame >= 0 &&
        link.sendNow(
          protocol,
          frame,
          isIpv6(protocol) ? RESET6_FRAME_BYTES : RESET_FRAME_BYTES,
          to,
          entry,
        );
    };
    if (tcpWindow.isSilent(table, entry, 1 - side)) return send(0);
    const isHandshake = tcpState.isHandshake(table.state(entry));
    const lowest = tcpWindow.lowestExpected(table, entry, side, isHandshake);
    const highest = tcpWindow.endOfSent(table, entry, 1 - side);
    const isSent = send(lowest);
    return (lowest === highest || send(highest)) && isSent;
  }
}
