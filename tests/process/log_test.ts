import assert from "node:assert/strict";
import { type LogFormat, lostLine, openLog } from "../../src/process/log.ts";
import { Outlet } from "../../src/process/outlet.ts";

/** A log, and a function that gives what reached stderr. */
function make(hasColor = false, format: LogFormat = "text") {
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
  return { log: openLog(outlet, hasColor, format), printed };
}

const TIME = /^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z /gm;

Deno.test("openLog begins each line with the time in UTC and the level", async () => {
  const { log, printed } = make();
  const before = Date.now();
  log.info("tap100 is up", "device-up");
  log.warning("backend 192.168.0.1 does not answer", "next-hop-lost");
  log.error("address conflict", "own-conflict");
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
  const levels = ["error", "warning", "info", "debug"] as const;
  for (const level of levels) {
    log.setLevel(level);
    for (const one of levels) log[one](`at ${level}`, "device");
  }
  assert.deepEqual((await printed()).replaceAll(TIME, "").trim().split("\n"), [
    "error: at error",
    "error: at warning",
    "warning: at warning",
    "error: at info",
    "warning: at info",
    "info: at info",
    "error: at debug",
    "warning: at debug",
    "info: at debug",
    "debug: at debug",
  ]);
});

Deno.test("openLog colours the level on a terminal, and only there", async () => {
  const { log, printed } = make(true);
  log.warning("text", "device");
  const text = await printed();
  // deno-lint-ignore no-control-regex
  assert.match(text, /\x1b\[.*warning.*\x1b\[0m: text\n$/);
});

Deno.test("openLog takes messages as they are, braces and percent signs too", async () => {
  for (const hasColor of [false, true]) {
    const { log, printed } = make(hasColor);
    const message = '{net} {{}} %s %d ${x} \\ " … 🌳';
    log.info(message, "device");
    log.error(`${message}\n  two`, "device");
    const text = await printed();
    assert.ok(text.includes(`: ${message}\n`), text);
    assert.ok(text.endsWith(`: ${message}\n  two\n`), text);
  }
});

Deno.test("openLog survives a console that has gone", async () => {
  const gone = new Outlet({ write: () => Promise.reject(new Error("Broken pipe")) });
  const log = openLog(gone, false);
  for (let i = 0; i < 3; i++) {
    log.info("text", "device");
    log.error("text", "device");
    await gone.flush(5000);
  }
  assert.equal(gone.lost, 6);
});

Deno.test("openLog opened again writes to the new console only", async () => {
  const first = make();
  const second = make();
  second.log.info("text", "device");
  assert.equal(await first.printed(), "");
  assert.match(await second.printed(), / info: text\n$/);
});

Deno.test("openLog as JSON: one object a line, with time, level, event, fields and message", async () => {
  const { log, printed } = make(false, "json");
  const before = Date.now();
  const message = 'policy "a\tb" has\n  {braces} \x1b[31m and \u2028 "quotes" 🌳';
  log.warning(message, "policy-warnings", { policy: 'a\t"b"', count: 3, isLast: true, none: null });
  log.info("tap100 is up", "device-up");
  log.debug("hidden", "reload-times");
  log.setLevel("debug");
  log.debug("shown", "reload-times", { read_ms: 0.25 });
  log.error("address conflict", "own-conflict", { mac: "02:00:00:00:00:01" });
  const text = await printed();
  assert.ok(text.endsWith("}\n"));
  const lines = text.trimEnd().split("\n").map((line) => JSON.parse(line));
  for (const { ts } of lines) {
    assert.match(ts, /^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z$/);
    assert.ok(Date.parse(ts) >= before && Date.parse(ts) <= Date.now());
  }
  assert.deepEqual(lines.map(({ ts: _, ...rest }) => rest), [
    {
      ...{ level: "warning", event: "policy-warnings", policy: 'a\t"b"', count: 3, isLast: true },
      ...{ none: null, message },
    },
    { level: "info", event: "device-up", message: "tap100 is up" },
    { level: "debug", event: "reload-times", read_ms: 0.25, message: "shown" },
    {
      ...{ level: "error", event: "own-conflict", mac: "02:00:00:00:00:01" },
      message: "address conflict",
    },
  ]);
  assert.deepEqual(Object.keys(lines[0]!).slice(0, 3), ["ts", "level", "event"]);
});

Deno.test("a slow reader of JSON lines is told of its loss in JSON, one of text in text", () => {
  const line = lostLine("json", () => 0)(17, false);
  assert.ok(line.endsWith("}\n"));
  assert.deepEqual(JSON.parse(line), {
    ts: "1970-01-01T00:00:00.000Z",
    level: "warning",
    event: "lines-lost",
    count: 17,
    message: "17 lines lost: the reader of the log was too slow",
  });
  assert.equal(lostLine("text", () => 0)(1, false), "… 1 entry lost: the console was too slow\n");
  assert.equal(lostLine("text", () => 0)(2, true), "… 2 entries lost: its disk was full\n");
});
