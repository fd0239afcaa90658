import assert from "node:assert/strict";
import { Reason, REASON_COUNT, reasonName, reasonText } from "../../src/core/reason.ts";

Deno.test("Reason numbers every name once, none is 0", () => {
  const names = Object.keys(Reason);
  assert.equal(names.length, REASON_COUNT);
  assert.equal(Reason.none, 0);
  assert.deepEqual(Object.values(Reason), names.map((_, place) => 0 - place));
});

Deno.test("reasonName is the inverse of Reason, and each has a text of its own", () => {
  const texts = new Set<string>();
  for (const [name, number] of Object.entries(Reason)) {
    assert.equal(reasonName(number), name);
    assert.match(name, /^[a-z]+(-[a-z0-9]+)*$/);
    texts.add(reasonText(number));
  }
  assert.equal(texts.size, REASON_COUNT);
});

Deno.test("reasons about next hops speak of both families", () => {
  for (const name of ["no-backend", "arp-queue-full", "arp-unanswered"] as const) {
    assert.match(reasonText(Reason[name]), /ARP or (to )?neighbor solicitations/, name);
  }
});
