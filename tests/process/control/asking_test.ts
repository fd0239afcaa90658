/** What the control thread may ask of the packet thread, and when. */
import assert from "node:assert/strict";
import { Asking } from "../../../src/process/control/asking.ts";
import type { FromControl } from "../../../src/process/control/messages.ts";

/** A packet thread that answers when told, and rests that end when told. */
class Rig {
  readonly sent: Extract<FromControl, { from: "request" }>[] = [];
  readonly restsMs: number[] = [];
  endRest: () => void = () => {};
  readonly asking = new Asking({
    post: (message) => {
      assert.equal(message.from, "request");
      this.sent.push(message as Rig["sent"][number]);
    },
    delay: (ms) => {
      this.restsMs.push(ms);
      return new Promise((resolve) => this.endRest = resolve);
    },
  });

  async answer(tookMs: number): Promise<void> {
    const { number } = this.sent.at(-1)!;
    this.asking.settle({ to: "answer", number, answer: number, tookMs });
    await turns();
  }
}

/** Until all promises that can be settled are. */
async function turns(): Promise<void> {
  for (let i = 0; i < 20; i++) await Promise.resolve();
}

Deno.test("asking: one at a time, and packets have nineteen times as long after it", async () => {
  const rig = new Rig();
  const asked = [rig.asking.ask({ ask: "counters" }), rig.asking.ask({ ask: "counters" })];
  await turns();
  assert.equal(rig.sent.length, 1);
  await rig.answer(2);
  assert.equal(await asked[0] as unknown, 0);
  assert.deepEqual(rig.restsMs, [38]);
  assert.equal(rig.sent.length, 1);
  rig.endRest();
  await turns();
  assert.equal(rig.sent.length, 2);
});

Deno.test("asking: what took no time has taken its messages, and no rest is without end", async () => {
  const rig = new Rig();
  for (const tookMs of [0, 1e6]) {
    void rig.asking.ask({ ask: "counters" });
    await turns();
    await rig.answer(tookMs);
    rig.endRest();
  }
  assert.deepEqual(rig.restsMs.map((ms) => Math.round(ms * 100) / 100), [0.95, 100]);
});

Deno.test("asking: after a refusal, too; a reload waits for none", async () => {
  const rig = new Rig();
  const refused = rig.asking.ask({ ask: "counters" });
  void rig.asking.ask({ ask: "reload" });
  await turns();
  assert.deepEqual(rig.sent.map(({ request }) => request.ask).toSorted(), ["counters", "reload"]);
  const { number } = rig.sent.find(({ request }) => request.ask === "counters")!;
  rig.asking.settle({ to: "refuse", number, tookMs: 1, status: 400, message: "no", details: [] });
  await assert.rejects(refused, /no/);
  assert.deepEqual(rig.restsMs, [19]);
});
