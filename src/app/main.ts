/** From a command line to an exit code. */
import manifest from "../../deno.json" with { type: "json" };
import { demo } from "../tree/demo.ts";
import { parseArgs } from "./args.ts";
import { openLog } from "./log.ts";
import { Outlet } from "./outlet.ts";
import { run } from "./run.ts";

/** How long a console that does not read may hold up the end. */
const FLUSH_MS = 500;

export interface Platform {
  /** Path of the shim, built first where it must be. Throws an Error with the compiler's words. */
  readonly shim: () => Promise<string>;
  readonly build: "source" | "compiled" | "portable";
}

/** Runs the command line; the exit code: 0, 1 for a failure at run time, 2 for wrong usage. */
export async function main(args: readonly string[], platform: Platform): Promise<number> {
  const stdout = new Outlet(Deno.stdout);
  const stderr = new Outlet(Deno.stderr);
  const log = openLog(stdout, stderr);
  const command = parseArgs(args, { version: manifest.version, build: platform.build });
  let code = 0;
  switch (command.kind) {
    case "print":
      stdout.offer(command.text);
      break;
    case "usage-error":
      stderr.offer(`${command.message}\n`);
      code = 2;
      break;
    case "run":
      try {
        const { config } = command;
        await run({ config, policy: demo, shim: platform.shim, stdout, log });
      } catch (error) {
        log.error(error instanceof Error ? error.message : String(error));
        code = 1;
      }
  }
  await Promise.all([stdout.flush(FLUSH_MS), stderr.flush(FLUSH_MS)]);
  return code;
}
