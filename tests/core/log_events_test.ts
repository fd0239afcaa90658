/** The events of the log: each is described, used, and limited where a packet can cause it. */
import assert from "node:assert/strict";
import { LOG_EVENTS } from "../../src/core/log_events.ts";

const ROOT = new URL("../../", import.meta.url);
const canRead = Deno.permissions.querySync({ name: "read", path: "." }).state === "granted";

/** The rooms through which packets go. */
const PACKET_ROOMS = ["wire", "flow", "stack", "device", "fastpath", "datapath", "policy"];

function* sources(folder: string): Generator<[path: string, text: string]> {
  for (const { name, isDirectory } of Deno.readDirSync(new URL(folder, ROOT))) {
    if (isDirectory) yield* sources(`${folder}${name}/`);
    else if (name.endsWith(".ts")) {
      yield [`${folder}${name}`, Deno.readTextFileSync(new URL(`${folder}${name}`, ROOT))];
    }
  }
}

Deno.test("log events: names are words and hyphens, and each is there once", () => {
  const names = LOG_EVENTS.map(([name]) => name);
  assert.equal(new Set(names).size, names.length);
  for (const name of names) assert.match(name, /^[a-z]+(-[a-z]+)*$/);
});

Deno.test({
  name: "log events: the README has all of them, in this order, with their meanings",
  ignore: !canRead,
  fn: () => {
    const readme = Deno.readTextFileSync(new URL("README.md", ROOT));
    const table = readme.slice(readme.indexOf("\n| event "));
    const rows = [
      ...table.slice(0, table.indexOf("\n\n")).matchAll(/^\| `(.*?)` +\| (.*?) +\|$/gm),
    ];
    assert.deepEqual(rows.map(([, name, meaning]) => [name, meaning]), LOG_EVENTS);
  },
});

Deno.test({
  name: "log events: each is written somewhere",
  ignore: !canRead,
  fn: () => {
    const all = [...sources("src/")].filter(([path]) => path !== "src/core/log_events.ts");
    const unused = LOG_EVENTS.filter(([name]) =>
      !all.some(([, text]) => text.includes(`"${name}"`))
    );
    assert.deepEqual(unused, []);
  },
});

Deno.test({
  name: "log events: on a packet's way everybody writes to the limited log",
  ignore: !canRead,
  fn: () => {
    const seen: string[] = [];
    const writers: string[] = [];
    for (const room of PACKET_ROOMS) {
      for (const [path, text] of sources(`src/${room}/`)) {
        if (/import[^;]*\bLog\b[^;]*core\/log\.ts/.test(text)) seen.push(path);
        if (/\blog\.(info|warning|error|debug)\(/i.test(text)) writers.push(path);
      }
    }
    // It makes the limited one of the other.
    assert.deepEqual(seen, ["src/datapath/appliance.ts"]);
    assert.deepEqual(writers, []);
  },
});
