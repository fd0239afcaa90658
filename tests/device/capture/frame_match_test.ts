import assert from "node:assert/strict";
import {
  firstDifference,
  FrameMatch,
  type Sighting,
} from "../../../src/device/capture/frame_match.ts";
import { below, SeededRandom } from "../../../src/core/random.ts";

let records = 0;
const sighting = (text: string): Sighting => ({
  frame: new TextEncoder().encode(text),
  record: records++,
  timeUs: 0,
});
const textOf = ({ frame }: Sighting) => new TextDecoder().decode(frame);

/** `c…` is in the capture, `s…` was sent here. */
function match(...words: string[]) {
  const frames = new FrameMatch();
  for (const word of words) {
    if (word[0] === "c") frames.captured(sighting(word.slice(1)));
    else frames.sent(sighting(word.slice(1)));
  }
  const { missing, unexpected, ...counts } = frames.result();
  return { ...counts, missing: missing.map(textOf), unexpected: unexpected.map(textOf) };
}

const NOTHING = { equal: 0, outOfOrder: 0, missing: [], unexpected: [] };

const cases: [words: string, result: Partial<ReturnType<typeof match>>][] = [
  ["", {}],
  ["sA cA sB cB", { equal: 2 }],
  ["sA sB cA cB", { equal: 2 }],
  ["cA cB sA sB", { equal: 2 }],
  ["sA sB cB cA", { equal: 2, outOfOrder: 1 }],
  ["sA sB sC cC cA cB", { equal: 3, outOfOrder: 2 }],
  ["sA sA cA", { equal: 1, unexpected: ["A"] }],
  ["cA sA cA cB", { equal: 1, missing: ["A", "B"] }],
  ["sA sB sC cX cB cY", { equal: 1, missing: ["X", "Y"], unexpected: ["A", "C"] }],
];
for (const [words, result] of cases) {
  Deno.test(`FrameMatch compares ${words || "nothing"}`, () => {
    assert.deepEqual(match(...words.split(" ").filter(Boolean)), { ...NOTHING, ...result });
  });
}

Deno.test("FrameMatch agrees with a count of equal frames, whatever the order", () => {
  const random = new SeededRandom(3);
  for (let round = 0; round < 300; round++) {
    const words = Array.from({ length: 40 }, () => "cs"[below(random, 2)]! + below(random, 12));
    const { equal, missing, unexpected } = match(...words);
    const count = (word: string) => words.filter((other) => other === word).length;
    let wanted = 0;
    for (let i = 0; i < 12; i++) wanted += Math.min(count(`c${i}`), count(`s${i}`));
    assert.equal(equal, wanted);
    assert.equal(2 * equal + missing.length + unexpected.length, words.length);
  }
});

Deno.test("firstDifference is an offset, or -1", () => {
  const of = (a: number[], b: number[]) => firstDifference(Uint8Array.from(a), Uint8Array.from(b));
  assert.equal(of([], []), -1);
  assert.equal(of([1, 2], [1, 2]), -1);
  assert.equal(of([1, 2], [1, 3]), 1);
  assert.equal(of([1, 2], [1]), 1);
  assert.equal(of([], [1]), 0);
});
