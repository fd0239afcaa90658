/**
 * Keeps the layers apart: a file imports from its own folder and from folders to the left, never to the
 * right, and only the outermost ones touch the world.
 */
import assert from "node:assert/strict";

/** From left to right; what is not listed here lies nowhere and may not be imported. */
const LAYERS = ["core", "wire", "tree", "flow", "stack", "device", "app"];

/** The only ways into `ffi`, and out of it. */
const FFI_ARROWS = [
  ["src/device/tap.ts", "ffi/tap.ts"],
  ["src/mod.ts", "ffi/source.ts"],
  ["ffi/source.ts", "src/app/main.ts"],
  ["ffi/source.ts", "src/app/svg.ts"],
  ["ffi/portable.ts", "src/app/main.ts"],
  ["ffi/portable.ts", "src/tree/demo.ts"],
  ["ffi/portable.ts", "what only a run can tell"], // the bundle of src/app/svg.ts, by its descriptor
];

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

const BAD: [string, string, string][] = [
  ["src/tree/a.ts", 'import { x } from "../flow/table.ts";', "imports src/flow/table.ts"],
  ["src/core/a.ts", 'import type { Pdu } from "../wire/pdu.ts";', "imports src/wire/pdu.ts"],
  [
    "src/core/a.ts",
    'import {\n  type A,\n  b,\n} from "../app/args.ts";',
    "imports src/app/args.ts",
  ],
  ["src/wire/a.ts", 'export * from "../stack/arp.ts";', "imports src/stack/arp.ts"],
  ["src/wire/a.ts", 'export { a } from "../stack/arp.ts";', "imports src/stack/arp.ts"],
  ["src/wire/a.ts", 'import "../stack/arp.ts";', "imports src/stack/arp.ts"],
  ["src/wire/a.ts", 'const a = await import("../stack/arp.ts");', "imports src/stack/arp.ts"],
  ["src/wire/a.ts", "let a: typeof import('../stack/arp.ts');", "imports src/stack/arp.ts"],
  ["src/wire/a.ts", "await import(name);", "imports what only a run can tell"],
  ["src/app/a.ts", 'import { tap } from "../../ffi/tap.ts";', "imports ffi/tap.ts"],
  ["src/device/pcap.ts", 'import { tap } from "../../ffi/tap.ts";', "imports ffi/tap.ts"],
  ["src/device/tap.ts", 'import { a } from "../../ffi/build.ts";', "imports ffi/build.ts"],
  ["ffi/tap.ts", 'import { main } from "../src/app/main.ts";', "imports src/app/main.ts"],
  ["ffi/portable.ts", 'import { run } from "../src/app/run.ts";', "imports src/app/run.ts"],
  ["src/app/a.ts", 'import { main } from "../../main.ts";', "imports main.ts"],
  [
    "src/app/a.ts",
    'import { f } from "../../tests/support/frames.ts";',
    "imports tests/support/frames.ts",
  ],
  ["src/wire/a.ts", 'import { Command } from "commander";', "imports commander"],
  ["src/stack/a.ts", "const now = Deno.pid;", "touches Deno."],
  ["src/stack/a.ts", 'const env = Deno["env"];', "touches Deno["],
  ["src/core/a.ts", 'const s = "// no comment"; console.log(s);', "touches console."],
  ["src/device/a.ts", "setTimeout(f, 1);", "touches setTimeout"],
  ["src/flow/a.ts", "const now = Date.now();", "touches Date."],
];

for (const [path, source, fault] of BAD) {
  Deno.test(`layers: "${source.replaceAll(/\s+/g, " ")}" in ${path} would be caught`, () => {
    assert.deepEqual(faultsOf(path, source), [`${path} ${fault}`]);
  });
}

const GOOD: [string, string][] = [
  ["src/flow/a.ts", 'import { a } from "./table.ts";\nimport type { b } from "../tree/ast.ts";'],
  ["src/app/a.ts", 'import { Command } from "commander";\nDeno.exit(0);'],
  ["src/app/main.ts", 'import manifest from "../../deno.json" with { type: "json" };'],
  ["src/device/tap.ts", 'import { tap } from "../../ffi/tap.ts";'],
  ["src/wire/a.ts", '// import { a } from "../app/args.ts"; Deno.pid\nexport const a = 1;'],
  ["src/wire/a.ts", '/**\n * import { a } from "../app/args.ts";\n * Deno.pid\n */\nconst a = 1;'],
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
  const world = layerOf(path) < LAYERS.indexOf("app") ? WORLD.exec(withoutText(code)) : null;
  if (world !== null) faults.push(`${path} touches ${world[0]}`);
  return faults;
}

function allowed(path: string, target: string): boolean {
  if (path.startsWith("ffi/") && /^ffi\/[^/]+$/.test(target)) return true;
  if (path.startsWith("ffi/") || target.startsWith("ffi/")) {
    return FFI_ARROWS.some(([from, to]) => from === path && to === target);
  }
  const isOutside = !target.includes("/") && !target.endsWith(".ts") || target.startsWith("@");
  if (isOutside) return layerOf(path) >= LAYERS.indexOf("app");
  return layerOf(target) >= 0 && layerOf(target) <= layerOf(path) && target !== "main.ts";
}

/** The number of the file's layer; the ways in and `ffi` are outside all of them, -1 is nowhere. */
function layerOf(path: string): number {
  if (path === "main.ts" || path === "src/mod.ts" || path.startsWith("ffi/")) return LAYERS.length;
  const [, folder] = /^src\/([^/]+)\/[^/]+\.ts$/.exec(path) ?? [];
  return folder === undefined ? -1 : LAYERS.indexOf(folder);
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
  if (specifier === "?") return "what only a run can tell";
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
