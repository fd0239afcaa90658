/**
 * What a capture says of a packet, e.g. `Drop "naive http", node 7` or
 * `Forward, node 3, backend 192.168.0.1`.
 */
import { formatDecision } from "../console/summary.ts";
import { reasonName } from "../core/reason.ts";
import type { Outcome } from "../datapath/observer.ts";
import { formatHostAddress } from "../wire/host_address.ts";

/** Comments that are kept: most packets have one of few. */
const MOST_KEPT = 1024;

type Told = Omit<Outcome, "pdu" | "sent">;

export class Comments {
  readonly #encoder = new TextEncoder();
  #kept = new Map<string, Uint8Array>();

  /** Of a PDU. */
  of(outcome: Told): Uint8Array {
    const { decision, reason, node, label, isRelated, backend } = outcome;
    const key = `${decision},${reason},${node},${backend},${isRelated},${label}`;
    return this.#kept.get(key) ?? this.#keep(key, textOf(outcome));
  }

  /** Of a frame that was dropped before it became a PDU. */
  ofRefusal(reason: number): Uint8Array {
    const key = String(reason);
    return this.#kept.get(key) ?? this.#keep(key, `Drop (${reasonName(reason)})`);
  }

  #keep(key: string, text: string): Uint8Array {
    const comment = this.#encoder.encode(text);
    if (this.#kept.size >= MOST_KEPT) this.#kept = new Map();
    this.#kept.set(key, comment);
    return comment;
  }
}

function textOf(outcome: Told): string {
  const { node, backend } = outcome;
  return [
    formatDecision(outcome).replace("Decision : ", ""),
    ...(node === null ? [] : [`node ${node}`]),
    ...(backend === null ? [] : [`backend ${formatHostAddress(backend)}`]),
  ].join(", ");
}
