/**
 * What there is of IPv6 in the text of a saved state, beside connections and members: the proxy's
 * own addresses, neighbours, and what was sent to them.
 */
import { ADDRESS6_WORDS, formatAddress6, parseAddress6 } from "../wire/address6.ts";
import { addressOfWords, formatHostAddress } from "../wire/host_address.ts";
import type { Link } from "./link.ts";
import { isCount, isRecord } from "./saved_members.ts";

/** Longest age that is noted. */
const MOST_AGE_MS = 0x7fff_ffff;

/** Most neighbours that are noted, on all links: a text that is too long is not read. */
export const MOST_NEIGHBORS6: number = 1 << 16;

/** What the text says of IPv6. */
export interface Text6 {
  /** The proxy's addresses, link-local ones among them. */
  readonly own: readonly string[];
  /** None of them was on trial, or another host's. */
  readonly areUsed: boolean;
  /** Frames of Neighbor Discovery that were sent. */
  readonly ndOut: number;
  /** Of too many on a link those that were used last. */
  readonly neighbors: readonly SavedNeighbor6[];
}

/** Number of the link, address, both words of the MAC address, age in milliseconds. */
type SavedNeighbor6 = readonly [
  link: number,
  address: string,
  hi: number,
  lo: number,
  ageMs: number,
];

/** What there is of IPv6 beside connections. */
export function text6Of(links: readonly Link[], nowMs: number): Text6 {
  const neighbors: SavedNeighbor6[] = [];
  for (const [i, { v6 }] of links.entries()) {
    let tooMany = -Math.floor(MOST_NEIGHBORS6 / links.length);
    v6?.nd.neighbors.forEachKnown(() => tooMany++);
    v6?.nd.neighbors.forEachKnown((_, { hi, lo }, confirmedMs, words, at) => {
      if (tooMany-- > 0) return;
      const ageMs = Math.min(nowMs - confirmedMs, MOST_AGE_MS);
      neighbors.push([i, formatAddress6(words, at), hi, lo, ageMs]);
    });
  }
  const ndOut = links.reduce((sum, { v6 }) => sum + (v6?.nd.sent ?? 0), 0);
  const areUsed = links.every(({ v6 }) =>
    v6 === null || v6.addresses.every((_, i) => v6.own.isUsable(i))
  );
  return { own: own6Of(links), areUsed, ndOut, neighbors };
}

function own6Of(links: readonly Link[]): string[] {
  return links.flatMap(({ v6 }) => v6?.addresses.map(formatHostAddress) ?? []);
}

/** True if the proxy still has the addresses that the text says. */
export function isSame6(links: readonly Link[], saved: Text6 | undefined): boolean {
  return saved !== undefined && saved.own.join() === own6Of(links).join();
}

/**
 * Takes up what there is of IPv6 beside connections: how many neighbours. Addresses that have been
 * the proxy's until now need no second on trial.
 */
export function resume6(
  links: readonly Link[],
  saved: Text6,
  agoMs: number,
  nowMs: number,
): number {
  if (saved.areUsed && isSame6(links, saved)) {
    for (const { v6 } of links) v6?.nd.resumeAddresses(nowMs);
  }
  links.find(({ v6 }) => v6 !== null)?.v6?.nd.addSent(saved.ndOut);
  let resumed = 0;
  for (const [link, text, hi, lo, ageMs] of saved.neighbors) {
    const address = addressOfWords(parseAddress6(text));
    const confirmedMs = nowMs - ageMs - agoMs;
    if (links[link]?.v6?.nd.resume(address, { hi, lo }, confirmedMs, nowMs)) resumed++;
  }
  return resumed;
}

export function isText6(value: unknown): value is Text6 {
  return isRecord(value) && isCount(value.ndOut) && typeof value.areUsed === "boolean" &&
    Array.isArray(value.own) &&
    value.own.every((text) => typeof text === "string") && Array.isArray(value.neighbors) &&
    value.neighbors.every(isNeighbor6);
}

function isNeighbor6(value: unknown): value is SavedNeighbor6 {
  if (!Array.isArray(value) || value.length !== 5) return false;
  const [link, address, hi, lo, ageMs] = value;
  return isCount(link) && isAddress6(address) && isCount(hi) && hi <= 0xffff &&
    Number.isInteger(lo) && lo === (lo | 0) && isCount(ageMs);
}

function isAddress6(value: unknown): boolean {
  try {
    return typeof value === "string" && parseAddress6(value).length === ADDRESS6_WORDS;
  } catch {
    return false;
  }
}
