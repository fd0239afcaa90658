/**
 * Keeps the rooms of the house apart: a file imports from its own room and from rooms to the left,
 * never to the right, and only the world's rooms touch the world.
 */
import assert from "node:assert/strict";

/**
 * From left to right, nothing of them touches the world; what is not listed may not be imported.
 */
const PURE = [
  "core",
  "wire",
  "bpf",
  "policy/language",
  "policy/notation",
  "policy/printing",
  "policy/engine",
  "policy/check",
  "policy/picture",
  "flow",
  "stack",
  "device",
  "fastpath",
  "datapath",
  "console",
  "capture",
  "offline",
  "control",
  "page/model",
];

/** The world: the browser; files, descriptors, timers, signals, the command line, the builds. */
const WORLDLY = ["page/view", "process", "cli", "pack"];

const ROOMS = [...PURE, ...WORLDLY];

/** Beside these, only `ffi` imports from `ffi`. */
const FFI_ARROWS = [
  ["src/device/tap.ts", "ffi/tap.ts"],
  ["src/process/state_file.ts", "ffi/file.ts"],
  ["src/process/captures.ts", "ffi/file.ts"],
  ["src/process/supervisor.ts", "ffi/notify.ts"],
  ["src/process/admin/worker.ts", "ffi/thread.ts"],
  ["src/process/compilers.ts", "ffi/thread.ts"],
  ["src/process/control/worker.ts", "ffi/thread.ts"],
  ["src/process/sandbox.ts", "ffi/sandbox.ts"],
  ["src/bpf/kernel.ts", "ffi/bpf.ts"],
];

const COMPUTED = "what only a run can tell";
/** The bundle of `src/cli/svg.ts` is imported by its descriptor. */
const COMPUTING = ["src/pack/portable.ts"];

/** Globals through which a program sees or changes the world around it. */
const WORLD =
  /\b(Deno\s*[.[]|console\s*[.[]|process\s*[.[]|performance\s*[.[]|Date\s*[.(]|set(Timeout|Interval|Immediate)\b|Math\s*\.\s*random\b|fetch\s*\()/;

const canRead = Deno.permissions.querySync({ name: "read", path: "." }).state === "granted";

Deno.test({
  name: "layers: no arrow to the right, and the world only at the edge, in every source file",
  ignore: !canRead,
  fn: () => {
    const root = new URL("../", import.meta.url);
    const paths = [...tsFiles(root, "src/"), ...tsFiles(root, "ffi/"), "main.ts"];
    assert.ok(paths.length > 30 && paths.includes("src/wire/decode.ts"), `${paths.length} files`);
    const faults = paths.flatMap((path) =>
      faultsOf(path, Deno.readTextFileSync(new URL(path, root)))
    );
    assert.deepEqual(faults, []);
  },
});

/** Lines of a file that can be read in one go. */
const MOST_LINES = 350;

Deno.test({
  name: `layers: a source file above ${MOST_LINES} lines says in its head why ("Long because …")`,
  ignore: !canRead,
  fn: () => {
    const root = new URL("../", import.meta.url);
    const shim = [...Deno.readDirSync(new URL("ffi/", root))]
      .flatMap(({ name }) => name.endsWith(".c") ? [`ffi/${name}`] : []);
    const unexplained = [...tsFiles(root, "src/"), ...tsFiles(root, "ffi/"), ...shim].filter(
      (path) => {
        const source = Deno.readTextFileSync(new URL(path, root));
        const head = source.slice(0, source.indexOf("*/"));
        return source.split("\n").length > MOST_LINES + 1 && !head.includes("Long because");
      },
    );
    assert.deepEqual(unexplained, []);
  },
});

Deno.test({
  name: "layers: no comment line is above 100 columns",
  ignore: !canRead,
  fn: () => {
    const root = new URL("../", import.meta.url);
    const paths = ["src/", "ffi/", "tests/"].flatMap((folder) => tsFiles(root, folder));
    const long = paths.flatMap((path) =>
      Deno.readTextFileSync(new URL(path, root)).split("\n").flatMap((line, i) =>
        line.length > 100 && /^\s*(\/\/|\/?\*)/.test(line) ? [`${path}:${i + 1}`] : []
      )
    );
    assert.deepEqual(long, []);
  },
});

const BAD: [string, string, string][] = [
  ["src/policy/check/a.ts", 'import { x } from "../../flow/a.ts";', "imports src/flow/a.ts"],
  [
    "src/policy/language/a.ts",
    'import { x } from "../check/a.ts";',
    "imports src/policy/check/a.ts",
  ],
  ["src/flow/a.ts", 'import { x } from "../policy/a.ts";', "imports src/policy/a.ts"],
  ["src/core/a.ts", 'import type { Pdu } from "../wire/pdu.ts";', "imports src/wire/pdu.ts"],
  ["src/core/a.ts", 'import {\n  type A,\n  b,\n} from "../cli/a.ts";', "imports src/cli/a.ts"],
  ["src/wire/a.ts", 'export * from "../stack/arp.ts";', "imports src/stack/arp.ts"],
  ["src/wire/a.ts", 'export { a } from "../stack/arp.ts";', "imports src/stack/arp.ts"],
  ["src/wire/a.ts", 'import "../stack/arp.ts";', "imports src/stack/arp.ts"],
  ["src/wire/a.ts", 'const a = await import("../stack/arp.ts");', "imports src/stack/arp.ts"],
  ["src/wire/a.ts", "let a: typeof import('../stack/arp.ts');", "imports src/stack/arp.ts"],
  ["src/wire/a.ts", "await import(name);", "imports what only a run can tell"],
  ["src/process/a.ts", 'import { tap } from "../../ffi/tap.ts";', "imports ffi/tap.ts"],
  ["src/device/capture/a.ts", 'import { t } from "../../../ffi/tap.ts";', "imports ffi/tap.ts"],
  ["src/process/a.ts", 'import { a } from "../pack/a.ts";', "imports src/pack/a.ts"],
  ["ffi/tap.ts", 'import { main } from "../src/core/a.ts";', "imports src/core/a.ts"],
  ["src/process/a.ts", 'import { main } from "../../main.ts";', "imports main.ts"],
  ["src/process/a.ts", 'import { m } from "../mod.ts";', "imports src/mod.ts"],
  ["src/cli/a.ts", 'import { f } from "../../tests/a.ts";', "imports tests/a.ts"],
  [
    "src/datapath/a.ts",
    'import { t } from "../console/trace.ts";',
    "imports src/console/trace.ts",
  ],
  [
    "src/offline/a.ts",
    'import { f } from "../control/filter.ts";',
    "imports src/control/filter.ts",
  ],
  ["src/nowhere/a.ts", 'import { a } from "../core/a.ts";', "imports src/core/a.ts"],
  ["src/wire/a.ts", 'import { Command } from "commander";', "imports commander"],
  ["src/datapath/a.ts", 'import { statSync } from "node:fs";', "imports node:fs"],
  ["src/stack/a.ts", "const now = Deno.pid;", "touches Deno."],
  ["src/stack/a.ts", 'const env = Deno["env"];', "touches Deno["],
  ["src/core/a.ts", 'const s = "// no comment"; console.log(s);', "touches console."],
  ["src/device/capture/a.ts", "setTimeout(f, 1);", "touches setTimeout"],
  ["src/datapath/a.ts", "performance.now();", "touches performance."],
  ["src/flow/a.ts", "const now = Date.now();", "touches Date."],
];

for (const [path, source, fault] of BAD) {
  Deno.test(`layers: "${source.replaceAll(/\s+/g, " ")}" in ${path} would be caught`, () => {
    assert.deepEqual(faultsOf(path, source), [`${path} ${fault}`]);
  });
}

const GOOD: [string, string][] = [
  ["src/flow/a.ts", 'import { a } from "./table.ts";\nimport type { b } from "../wire/pdu.ts";'],
  ["src/flow/backends/a.ts", 'import { a } from "../table.ts";'],
  ["src/flow/a.ts", 'import { a } from "../policy/language/ast.ts";'],
  ["src/process/a.ts", 'import { Command } from "commander";\nDeno.exit(0);'],
  ["src/cli/main.ts", 'import manifest from "../../deno.json" with { type: "json" };'],
  ["src/device/tap.ts", 'import { tap } from "../../ffi/tap.ts";'],
  ["src/wire/a.ts", '// import { a } from "../cli/args.ts"; Deno.pid\nexport const a = 1;'],
  ["src/wire/a.ts", '/**\n * import { a } from "../cli/args.ts";\n * Deno.pid\n */\nconst a = 1;'],
  ["src/wire/a.ts", 'const url = "http://x"; const a = 1 / 2; // Deno.pid'],
];

for (const [path, source] of GOOD) {
  Deno.test(`layers: "${source.replaceAll(/\s+/g, " ")}" in ${path} is allowed`, () => {
    assert.deepEqual(faultsOf(path, source), []);
  });
}

/** What a file does that its place forbids, one line each. */
function faultsOf(path: string, source: string): string[] {
  const code = withoutComments(source);
  const faults = importsOf(code)
    .map((specifier) => resolve(path, specifier))
    .filter((target) => !allowed(path, target))
    .map((target) => `${path} imports ${target}`);
  const world = isPure(path) ? WORLD.exec(withoutText(code)) : null;
  if (world !== null) faults.push(`${path} touches ${world[0]}`);
  return faults;
}

function allowed(path: string, target: string): boolean {
  if (path.startsWith("ffi/")) return target.startsWith("ffi/");
  if (target.startsWith("ffi/")) {
    return FFI_ARROWS.some(([from, to]) => from === path && to === target);
  }
  if (target === COMPUTED) return COMPUTING.includes(path);
  const isOutside = !target.includes("/") && !target.endsWith(".ts") || target.startsWith("@");
  if (isOutside) return !isPure(path);
  const room = roomOf(target);
  return room >= 0 && room <= roomOf(path) && target !== "main.ts";
}

function isPure(path: string): boolean {
  return roomOf(path) < PURE.length;
}

/** The number of the file's room; the ways in and `ffi` come after all of them, -1 is nowhere. */
function roomOf(path: string): number {
  if (path === "main.ts" || path.startsWith("ffi/")) return ROOMS.length + 1;
  if (path === "src/mod.ts") return ROOMS.length;
  const [, outer, inner] = /^src\/([^/]+)\/(?:([^/]+)\/)?[^/]+\.ts$/.exec(path) ?? [];
  return ROOMS.findIndex((room) => room === outer || room === `${outer}/${inner}`);
}

/** The specifiers of all imports and re-exports, type-only, bare and dynamic ones included. */
function importsOf(code: string): string[] {
  const literal = /(?<!["'])(?:\bfrom\s*|\bimport\s*|\bimport\s*\(\s*)(["'])([^"']+)\1/g;
  const found = [...code.matchAll(literal)].map((match) => match[2]!);
  const computed = /\bimport\s*\(\s*[^\s"']/.test(code) ? ["?"] : [];
  return [...found, ...computed];
}

/** The path, from the root, of what `specifier` means in the file at `path`. */
function resolve(path: string, specifier: string): string {
  if (specifier === "?") return COMPUTED;
  if (!specifier.startsWith(".")) return specifier;
  return new URL(specifier, `file:///${path}`).pathname.slice(1);
}

/** The source with its comments gone; quoted text stays, as it may look like a comment. */
function withoutComments(source: string): string {
  const token =
    /("(?:\\.|[^"\\\n])*"|'(?:\\.|[^'\\\n])*'|`(?:\\.|[^`\\])*`)|\/\*[^]*?\*\/|\/\/[^\n]*/g;
  return source.replaceAll(token, (_, text?: string) => text ?? " ");
}

/** The code with what stands in quotes gone, except in an index such as `Deno["env"]`. */
function withoutText(code: string): string {
  return code.replaceAll(/"(?:\\.|[^"\\\n])*"|'(?:\\.|[^'\\\n])*'/g, '""');
}

function tsFiles(root: URL, folder: string): string[] {
  return [...Deno.readDirSync(new URL(folder, root))].flatMap((entry) => {
    if (entry.isDirectory) return tsFiles(root, `${folder}${entry.name}/`);
    return entry.name.endsWith(".ts") ? [`${folder}${entry.name}`] : [];
  });
}
