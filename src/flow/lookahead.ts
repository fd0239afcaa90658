/**
 * Looks up the connections of a whole burst before its first frame is handled, so that the memory of
 * large tables is waited for once and not frame by frame. It reads what only decoding will check, and
 * so finds *candidates*: `Connections.classify` confirms each, or looks again.
 */
import { type Arena, BURST_FRAMES } from "../core/arena.ts";
import { ETHERNET_BYTES } from "../wire/ethernet.ts";
import * as ipv4 from "../wire/ipv4.ts";
import * as tcp from "../wire/tcp.ts";
import { type FlowTable, KEY_WORDS } from "./table.ts";

/** Up to the ports of TCP or UDP behind an IPv4 header without options. */
const NEEDED_BYTES = ETHERNET_BYTES + ipv4.IPV4_MIN_BYTES + 4;

export class Lookahead {
  /** References by frame, or -1. */
  readonly candidates: Int32Array<ArrayBuffer> = new Int32Array(new ArrayBuffer(4 * BURST_FRAMES));
  readonly #keys = new Int32Array(new ArrayBuffer(4 * BURST_FRAMES * KEY_WORDS));

  read({ view, rx, rxCount }: Arena, table: FlowTable): void {
    const keys = this.#keys;
    for (let i = 0; i < rxCount; i++) {
      const at = i * KEY_WORDS;
      if (rx[2 * i + 1]! < NEEDED_BYTES) {
        keys[at] = 0; // no protocol that is tracked
        continue;
      }
      const ip = rx[2 * i]! + ETHERNET_BYTES;
      keys[at] = ipv4.protocol(view, ip);
      keys[at + 1] = ipv4.source(view, ip);
      keys[at + 2] = ipv4.destination(view, ip);
      keys[at + 3] = tcp.ports(view, ip + ipv4.IPV4_MIN_BYTES);
    }
    table.findAll(keys, rxCount, this.candidates);
  }
}
