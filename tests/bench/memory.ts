/**
 * The benchmarks that need no network. Each is a program of its own, so that no code warms
 * another's, and bundled and run as `./proxy` is: in separate modules every call to another file's
 * function looks first whether it is still the same.
 */
import { fileURLToPath } from "node:url";
import { V8_FLAGS } from "../../src/pack/package.ts";
import { must } from "../support/shell.ts";

export interface MemoryPart {
  readonly name: string;
  /** It runs once with each of these as its argument. */
  readonly runs: readonly string[];
}

export const memoryParts: readonly MemoryPart[] = [
  { name: "parts", runs: ["", "IPv6"] },
  { name: "table", runs: ["", "IPv6"] },
  { name: "rules", runs: [""] },
  { name: "reload", runs: [""] },
  { name: "backends", runs: [""] },
  { name: "state", runs: [""] },
  { name: "path", runs: ["1000", "65536", "1000000", "1000 IPv6", "65536 IPv6"] },
];

const timeoutMs = 600_000;

/** Runs one of them: what it prints. */
export async function runPart({ name, runs }: MemoryPart): Promise<string> {
  const folder = await Deno.makeTempDir({ prefix: "treegate-bench-" });
  try {
    const program = `${folder}/${name}.js`;
    const entry = fileURLToPath(new URL(`${name}.ts`, import.meta.url));
    await must([Deno.execPath(), "bundle", "--quiet", "--output", program, entry], { timeoutMs });
    const flags = [`${V8_FLAGS},--expose-gc`, "--no-config", "--quiet", "--allow-ffi"]
      .concat(`--allow-read=${folder}`); // a thread runs the same bundle
    const texts: string[] = [];
    for (const run of runs) {
      const text = await must([Deno.execPath(), "run", ...flags, program, run], { timeoutMs });
      texts.push(text.trimEnd());
    }
    return texts.join("\n\n");
  } finally {
    await Deno.remove(folder, { recursive: true });
  }
}
