/** Numbers and states as people read them. */
import type { MemberStatus } from "../../flow/backends/member.ts";
import type { NodeShape } from "./feed.ts";
import type { LinkState } from "./link.ts";

const UNITS = ["", " k", " M", " G", " T"];

/** With three digits: `0`, `0.4`, `12.3`, `1.23 k`. */
export function short(value: number): string {
  let [scaled, unit] = [value, 0];
  while (scaled >= 999.5 && unit < UNITS.length - 1) {
    scaled /= 1000;
    unit++;
  }
  const digits = unit === 0
    ? (scaled < 99.95 ? 1 : 0)
    : scaled < 9.995
    ? 2
    : scaled < 99.95
    ? 1
    : 0;
  const text = scaled.toFixed(digits);
  return (unit === 0 ? text.replace(/\.0$/, "") : text) + UNITS[unit];
}

/** With its thousands apart: `1,234,567`. */
export function whole(value: number): string {
  return String(Math.round(value)).replace(/\B(?=(\d{3})+$)/g, ",");
}

/** A part of a whole: `45 %`, `<1 %`; nothing of nothing is a dash. */
export function percent(part: number, all: number): string {
  if (!(all > 0)) return "–";
  const share = Math.min(100, 100 * part / all);
  return share > 0 && share < 0.5 ? "<1 %" : `${Math.round(share)} %`;
}

/** `12 s`, `3 min 20 s`, `5 h 12 min`, `3 d 4 h`. */
export function duration(seconds: number): string {
  const whole = Math.floor(seconds);
  const [s, min, h, d] = [whole % 60, Math.floor(whole / 60) % 60, Math.floor(whole / 3600) % 24]
    .concat(Math.floor(whole / 86_400)) as [number, number, number, number];
  if (d > 0) return `${d} d ${h} h`;
  if (h > 0) return `${h} h ${min} min`;
  return min > 0 ? `${min} min ${s} s` : `${s} s`;
}

/** A node as the policy has it, with what leads to it. */
export function nodeWords({ arm, text }: NodeShape): string {
  return arm === null ? text : `${arm} → ${text}`;
}

/** A sign and a word, so that no colour has to tell anything. */
export interface Mark {
  readonly sign: string;
  readonly word: string;
}

export const MEMBER_MARKS: Readonly<Record<MemberStatus, Mark>> = {
  up: { sign: "●", word: "up" },
  down: { sign: "✕", word: "down" },
  draining: { sign: "◐", word: "draining" },
  maintenance: { sign: "■", word: "maintenance" },
  unknown: { sign: "○", word: "unknown" },
};

export function linkMark(state: LinkState, isPaused: boolean): Mark {
  switch (state.kind) {
    case "connecting":
      return { sign: "…", word: "connecting" };
    case "stale":
      return { sign: "◔", word: `stale: nothing for ${duration(state.silentMs / 1000)}` };
    case "lost":
      return {
        sign: "✕",
        word: state.retryMs > 0
          ? `lost: tries again in ${duration(Math.ceil(state.retryMs / 1000))}`
          : "lost: tries again",
      };
  }
  if (isPaused) return { sign: "❚❚", word: "paused" };
  switch (state.kind) {
    case "reloaded":
      return { sign: "↻", word: "reloaded" };
    case "idle":
      return { sign: "○", word: "idle" };
    case "live":
      return { sign: "●", word: "live" };
  }
}
