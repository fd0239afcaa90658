/** The frames of a run, for the message about one that fails. */
import type { Connection } from "./plan.ts";
import { read16, readSegment, Segment } from "./segment.ts";

/** Frames that are remembered, and how many of the first and the last of them are shown. */
const FRAMES = 1 << 15;
const SHOWN = 30;
/**
 * How long before and after a connection its tuples are looked at: something may be left of another
 * one.
 */
const MARGIN_MS = 500;

interface Seen {
  readonly atMs: number;
  readonly way: string;
  readonly frame: Uint8Array;
}

export class History {
  readonly #startMs: number;
  readonly #seen: Seen[] = [];

  constructor(startMs: number) {
    this.#startMs = startMs;
  }

  note(atMs: number, way: string, frame: Uint8Array): void {
    if (this.#seen.length === FRAMES) this.#seen.splice(0, FRAMES / 2);
    this.#seen.push({ atMs, way, frame });
  }

  /** The first and the last frames, or those of the connection, a line each. */
  about(connection?: Connection): string {
    const fromMs = (connection?.beganMs ?? 0) - MARGIN_MS;
    const toMs = (connection?.clientEnd?.overAtMs || Infinity) + MARGIN_MS;
    const lines = this.#seen
      .filter(({ atMs, frame }) =>
        atMs >= fromMs && atMs <= toMs && connection?.owns(frame) !== false
      )
      .map(({ atMs, way, frame }) =>
        `  ${String(atMs - this.#startMs).padStart(7)} ms ${way} ${textOf(frame)}`
      );
    const cut = lines.length - 2 * SHOWN;
    if (cut > 0) lines.splice(SHOWN, cut, `  … ${cut} frames …`);
    return lines.join("\n");
  }
}

/** One line about a frame. */
export function textOf(frame: Uint8Array): string {
  if (frame.length >= 14 && read16(frame, 12) === 0x0806) return "ARP";
  const s = new Segment();
  const broken = readSegment(frame, s);
  const flags = [..."FSRPAU"].filter((_, bit) => (s.flags & (1 << bit)) !== 0).join("");
  return broken !== "" ? `(${broken})` : `.${s.src & 255}:${s.srcPort} → .${s.dst & 255}:` +
    `${s.dstPort} ${flags} seq ${s.seq >>> 0} ack ${s.ack >>> 0} win ${s.window} ` +
    `${s.payloadBytes} bytes, ttl ${s.ttl}, id ${s.id}`;
}
