import assert from "node:assert/strict";
import { openLog } from "../../src/process/log.ts";
import { Outlet } from "../../src/process/outlet.ts";

/** A log, and a function that gives what reached stderr. */
function make(hasColor = false) {
  let text = "";
  const decoder = new TextDecoder();
  const outlet = new Outlet({
    write: (bytes) => {
      text += decoder.decode(bytes);
      return Promise.resolve(bytes.length);
    },
  });
  const printed = async () => {
    await outlet.flush(5000);
    return text;
  };
  return { log: openLog(outlet, hasColor), printed };
}

const TIME = /^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z /gm;

Deno.test("openLog begins each line with the time in UTC and the level", async () => {
  const { log, printed } = make();
  const before = Date.now();
  log.info("tap100 is up");
  log.warning("backend 192.168.0.1 does not answer");
  log.error("address conflict");
  const text = await printed();
  assert.equal(
    text.replaceAll(TIME, ""),
    "info: tap100 is up\nwarning: backend 192.168.0.1 does not answer\nerror: address conflict\n",
  );
  const times = text.match(TIME)!.map((time) => Date.parse(time.trim()));
  assert.equal(times.length, 3);
  for (const time of times) assert.ok(time >= before && time <= Date.now());
});

Deno.test("openLog writes lines of its level and above, from info on until it is told", async () => {
  const { log, printed } = make();
  const levels = ["error", "warning", "info"] as const;
  for (const level of levels) {
    log.setLevel(level);
    for (const one of levels) log[one](`at ${level}`);
  }
  assert.deepEqual((await printed()).replaceAll(TIME, "").trim().split("\n"), [
    "error: at error",
    "error: at warning",
    "warning: at warning",
    "error: at info",
    "warning: at info",
    "info: at info",
  ]);
});

Deno.test("openLog colours the level on a terminal, and only there", async () => {
  const { log, printed } = make(true);
  log.warning("text");
  const text = await printed();
  // deno-lint-ignore no-control-regex
  assert.match(text, /\x1b\[.*warning.*\x1b\[0m: text\n$/);
});

Deno.test("openLog takes messages as they are, braces and percent signs too", async () => {
  for (const hasColor of [false, true]) {
    const { log, printed } = make(hasColor);
    const message = '{net} {{}} %s %d ${x} \\ " … 🌳';
    log.info(message);
    log.error(`${message}\n  two`);
    const text = await printed();
    assert.ok(text.includes(`: ${message}\n`), text);
    assert.ok(text.endsWith(`: ${message}\n  two\n`), text);
  }
});

Deno.test("openLog survives a console that has gone", async () => {
  const gone = new Outlet({ write: () => Promise.reject(new Error("Broken pipe")) });
  const log = openLog(gone, false);
  for (let i = 0; i < 3; i++) {
    log.info("text");
    log.error("text");
    await gone.flush(5000);
  }
  assert.equal(gone.lost, 6);
});

Deno.test("openLog opened again writes to the new console only", async () => {
  const first = make();
  const second = make();
  second.log.info("text");
  assert.equal(await first.printed(), "");
  assert.match(await second.printed(), / info: text\n$/);
});
