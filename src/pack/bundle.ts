/** Runs this Deno in the project, to bundle and to compile. */

/** The project's folder. */
export const ROOT: string = decodeURIComponent(new URL("../..", import.meta.url).pathname);

/** Makes one minified file of a program. Throws an Error with Deno's words. */
export function bundle(entry: string, target: string, platform: "deno" | "browser"): void {
  // Minified: where there are no caches, Deno looks through all of it at each start.
  const failure = runDeno([
    ...["bundle", "--quiet", "--minify", "--platform", platform, "--output", target, entry],
  ]);
  if (failure !== "") throw new Error(`Cannot bundle "${entry}": ${failure}`);
  if (platform === "deno") {
    Deno.writeTextFileSync(target, withRequire(Deno.readTextFileSync(target)));
  }
}

/**
 * A bundle in which CommonJS modules find those of Node.js. Deno 2.9 puts in what they need, but
 * not where the minifier has chosen a name with a "$" for it: then they fail when they are loaded.
 */
export function withRequire(program: string): string {
  if (!program.includes(`Error('Dynamic require of "'`)) return program;
  return 'import{createRequire as requireFrom}from"node:module";' +
    `var require=requireFrom("/");${program}`;
}

/** Its error output when it failed, else nothing. */
export function runDeno(args: string[]): string {
  const { success, stderr } = new Deno.Command(Deno.execPath(), {
    args,
    cwd: ROOT,
    env: { NO_COLOR: "1" },
    stdin: "null",
    stdout: "null",
    stderr: "piped",
  }).outputSync();
  if (success) return "";
  const [words] = new TextDecoder().decode(stderr).split("\nStack backtrace:");
  return words!.trim() || "it gave no reason";
}
