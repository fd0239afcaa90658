/** The benchmarks that need no network: each is a program of its own, so that no code warms another's. */
import { fileURLToPath } from "node:url";
import { must } from "../support/shell.ts";

export interface MemoryPart {
  readonly name: string;
  /** Words after `deno run`, the file's name the last. */
  readonly words: readonly string[];
}

export const memoryParts: readonly MemoryPart[] = [
  { name: "parts", words: ["--v8-flags=--expose-gc", "parts.ts"] },
  { name: "table", words: ["table.ts"] },
  { name: "rules", words: ["rules.ts"] },
  { name: "alloc", words: ["--allow-run", "--allow-read", "alloc.ts"] },
];

const timeoutMs = 600_000;

/** Runs one of them: what it prints. */
export async function runPart({ words }: MemoryPart): Promise<string> {
  const flags = words.slice(0, -1);
  const path = fileURLToPath(new URL(words.at(-1)!, import.meta.url));
  const text = await must([Deno.execPath(), "run", "--quiet", ...flags, path], { timeoutMs });
  return text.trimEnd();
}
