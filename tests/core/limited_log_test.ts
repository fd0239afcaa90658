import assert from "node:assert/strict";
import { LimitedLog } from "../../src/core/limited_log.ts";

function make(): { readonly log: LimitedLog; readonly lines: string[] } {
  const lines: string[] = [];
  const line = (level: string) => (text: string) => void lines.push(`${level}: ${text}`);
  const log = new LimitedLog({
    info: line("info"),
    warning: line("warning"),
    error: line("error"),
  });
  return { log, lines };
}

Deno.test("LimitedLog writes so many lines of a kind at once, and others beside them", () => {
  const { log, lines } = make();
  for (let i = 1; i <= 100; i++) log.write("warning", "next-hop-found", 3, i, () => `flood ${i}`);
  log.write("info", "next-hop-lost", 1, 101, () => "other 1");
  assert.deepEqual(lines, [
    "warning: flood 1",
    "warning: flood 2",
    "warning: flood 3",
    "info: other 1",
  ]);
});

Deno.test("LimitedLog.tick tells how many lines it has left out, at the level of the kind, once", () => {
  const { log, lines } = make();
  for (let i = 1; i <= 100; i++) log.write("error", "next-hop-found", 1, 0, () => `flood ${i}`);
  for (let ms = 0; ms <= 60_000; ms += 100) log.tick(ms);
  assert.deepEqual(lines, ["error: flood 1", "error: next-hop-found: 99 more lines were left out"]);
});

Deno.test("LimitedLog writes six lines a minute of a kind that never stops, and loses no count", () => {
  const { log, lines } = make();
  let asked = 0;
  for (let ms = 0; ms < 600_000; ms += 10) {
    log.write("info", "next-hop-found", 1, ms, () => `made ${++asked}`);
    if (ms % 100 === 0) log.tick(ms);
  }
  assert.ok(lines.length >= 59 && lines.length <= 61, `${lines.length} lines in ten minutes`);
  assert.ok(asked <= 61, "no text is made in vain");
  log.tick(700_000);
  const leftOut = lines.map((line) => Number(/ (\d+) more/.exec(line)?.[1] ?? 1));
  assert.equal(leftOut.reduce((sum, count) => sum + count), 60_000);
});
