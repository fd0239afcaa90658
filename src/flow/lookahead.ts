/**
 * Looks up the connections of a whole burst before its first frame is handled, so that the cache
 * misses of a large table overlap. It reads headers that are not checked yet, so what it finds are
 * *candidates*: `Connections.classify` confirms each, or looks it up again.
 */
import { type Arena, BURST_FRAMES } from "../core/arena.ts";
import { ETHERNET_BYTES } from "../wire/ethernet.ts";
import * as ipv4 from "../wire/ipv4.ts";
import * as tcp from "../wire/tcp.ts";
import type { FlowTable } from "./table.ts";

/** Up to the ports of TCP or UDP after an IPv4 header without options. */
const NEEDED_BYTES = ETHERNET_BYTES + ipv4.IPV4_MIN_BYTES + 4;

export class Lookahead {
  /** References by frame, or -1. */
  readonly candidates: Int32Array<ArrayBuffer> = new Int32Array(new ArrayBuffer(4 * BURST_FRAMES));
  readonly #hashes = new Int32Array(new ArrayBuffer(4 * BURST_FRAMES));

  read({ view, rx, rxCount }: Arena, table: FlowTable): void {
    const hashes = this.#hashes;
    for (let i = 0; i < rxCount; i++) {
      const ip = rx[2 * i]! + ETHERNET_BYTES;
      hashes[i] = rx[2 * i + 1]! < NEEDED_BYTES ? 0 : table.hashOf(
        ipv4.protocol(view, ip),
        ipv4.source(view, ip),
        ipv4.destination(view, ip),
        tcp.ports(view, ip + ipv4.IPV4_MIN_BYTES),
      );
    }
    table.findAll(hashes, rxCount, this.candidates);
  }
}
