/** Has each thread of a running proxy try what its sandbox is to forbid: see `attempts.c`. */
import { fileURLToPath } from "node:url";
import { type Background, must } from "../support/shell.ts";
import type { Lab } from "./lab.ts";

/** What each thread says of each attempt: 0 or more, it worked; else -errno. */
export type Attempts = ReadonlyMap<number, ReadonlyMap<string, number>>;

const ASK = 40;
const patienceMs = 10_000;

export class Attempter {
  /** In front of the words that start the proxy. */
  readonly words: readonly string[];
  readonly #file: string;

  private constructor(file: string, words: readonly string[]) {
    this.#file = file;
    this.words = words;
  }

  /**
   * Builds what tries. `kept` is a folder in which it may write, `readable` a file that it may
   * read, `away` a folder that is none of its business. With `isMild`, what would change or end a
   * program that can do it is left out.
   */
  static async build(
    lab: Lab,
    places: { readonly kept: string; readonly readable: string; readonly away: string },
    isMild: boolean,
  ): Promise<Attempter> {
    const library = `${lab.folder}/attempts.so`;
    const file = `${lab.folder}/attempts`;
    const source = fileURLToPath(new URL("attempts.c", import.meta.url));
    const flags = ["-O2", "-Wall", "-Wextra", "-Werror", "-shared", "-fPIC"];
    await must(["cc", ...flags, "-o", library, source, "-ldl"]);
    await Deno.writeTextFile(file, "");
    await Deno.chmod(file, 0o666); // whoever the program is
    return new Attempter(file, [
      "env",
      `LD_PRELOAD=${library}`,
      `ATTEMPTS=${file}`,
      `ATTEMPTS_AWAY=${places.away}`,
      `ATTEMPTS_KEPT=${places.kept}`,
      `ATTEMPTS_READ=${places.readable}`,
      ...(isMild ? ["ATTEMPTS_MILD=1"] : []),
    ]);
  }

  /** Has all threads try, and waits for those that are there the whole time. */
  async attempt(proxy: Background): Promise<Attempts> {
    const before = threadsOf(proxy.pid);
    await must(["kill", `-${ASK}`, String(proxy.pid)]);
    const deadline = performance.now() + patienceMs;
    for (;;) {
      const attempts = parse(await Deno.readTextFile(this.#file));
      const missing = threadsOf(proxy.pid).filter((thread) =>
        before.includes(thread) && !attempts.get(thread)?.has("end")
      );
      if (missing.length === 0) return attempts;
      if (await proxy.ended(20)) throw new Error(`Cannot try: it has ended: ${proxy.stderr}`);
      if (performance.now() > deadline) throw new Error(`Cannot try in threads ${missing}`);
    }
  }
}

/** The ids of a process's threads. */
export function threadsOf(pid: number): number[] {
  return [...Deno.readDirSync(`/proc/${pid}/task`)].map(({ name }) => Number(name));
}

function parse(text: string): Attempts {
  const attempts = new Map<number, Map<string, number>>();
  for (const [, thread, name, result] of text.matchAll(/^(\d+) (\S+) (-?\d+)$/gm)) {
    const id = Number(thread);
    if (!attempts.has(id)) attempts.set(id, new Map());
    attempts.get(id)!.set(name!, Number(result));
  }
  return attempts;
}
