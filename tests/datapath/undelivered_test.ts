import assert from "node:assert/strict";
import { Arena, VNET_BYTES } from "../../src/core/arena.ts";
import { SeededRandom } from "../../src/core/random.ts";
import type { Dispatch } from "../../src/datapath/dispatch.ts";
import type { Link } from "../../src/datapath/link.ts";
import { Undelivered } from "../../src/datapath/undelivered.ts";
import type { RelatedErrors } from "../../src/flow/icmp_error.ts";
import { parseAddress6 } from "../../src/wire/address6.ts";
import { AddressDigest } from "../../src/wire/address_digest.ts";
import { buildUdp6 } from "../support/frames6.ts";

/** A packet that has waited, its UDP datagram that long. */
function held(payloadBytes: number): Uint8Array<ArrayBuffer> {
  const frame = buildUdp6({ payload: new Array<number>(payloadBytes).fill(1) });
  const packet = new Uint8Array(VNET_BYTES + frame.length);
  packet.set(frame, VNET_BYTES);
  return packet;
}

Deno.test("Undelivered: a message for which there is no room keeps no shorter one from its sender", () => {
  const arena = new Arena();
  const link = { arena, other: null, v6: { own: { main: parseAddress6("2001:db8::64") } } };
  const lengths: number[] = [];
  const undelivered = new Undelivered({
    digest: new AddressDigest(new SeededRandom(1)),
    related: { find: () => 0 } as unknown as RelatedErrors,
    dispatch: {
      relay: (pdu: { readonly frameBytes: number }) => void lengths.push(pdu.frameBytes),
    } as unknown as Dispatch,
  });
  while (arena.hasRoom(1, 1000)) arena.scratch(500);
  undelivered.tell(link as unknown as Link, [1200, 20, 1100, 30].map(held), 0);
  assert.deepEqual(lengths, [20, 30].map((payload) => 14 + 48 + 48 + payload));
});
