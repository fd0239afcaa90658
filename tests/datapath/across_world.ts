/** A world whose families are translated, and everything is forwarded to backends, and back. */
import assert from "node:assert/strict";
import { EVERYTHING } from "../flow/dialogue.ts";
import { packetsOf, World, type WorldOptions } from "../support/world.ts";

export function settledAcross(backends: readonly string[], options: WorldOptions = {}): World {
  return World.settled({
    ipv6: true,
    translateFamilies: true,
    policy: EVERYTHING,
    backends,
    ...options,
  });
}

/** The one IP packet among what was sent. */
export function only(frames: readonly Uint8Array<ArrayBuffer>[]): Uint8Array<ArrayBuffer> {
  const packets = packetsOf(frames);
  assert.equal(packets.length, 1);
  return packets[0]!;
}
