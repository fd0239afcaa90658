/** From a command line to an exit code. */
import manifest from "../../deno.json" with { type: "json" };
import type { BuiltIn } from "../tree/demo.ts";
import type { Customs } from "../tree/parse.ts";
import { parseArgs } from "./args.ts";
import { explainCommand } from "./explain.ts";
import { openLog } from "./log.ts";
import { Outlet } from "./outlet.ts";
import { policyCommand } from "./policy_command.ts";
import { replayCommand } from "./replay_command.ts";
import { run } from "./run.ts";

/** How long a console that does not read may hold up the end. */
const FLUSH_MS = 500;

export interface Platform {
  /** Path of the shim, built first where it must be. Throws an Error with the compiler's words. */
  readonly shim: () => Promise<string>;
  /** Loads what draws SVG: too large to be part of every run. */
  readonly svg: () => Promise<typeof import("./svg.ts")>;
  readonly build: "source" | "compiled" | "portable";
}

/** What makes the program this one: its own policy, and what `custom NAME` means in policy files. */
export interface Program {
  readonly policy: BuiltIn;
  readonly customs: Customs;
}

/** Runs the command line; the exit code: 0, 1 for a failure at run time, 2 for wrong usage. */
export async function main(
  args: readonly string[],
  platform: Platform,
  { policy: builtIn, customs }: Program,
): Promise<number> {
  const stdout = new Outlet(Deno.stdout);
  const stderr = new Outlet(Deno.stderr);
  const log = openLog(stdout, stderr);
  const command = parseArgs(args, { version: manifest.version, build: platform.build });
  const writes = command.kind === "replay" || platform.build === "source"; // sources make the shim
  if (!writes) Deno.permissions.revokeSync({ name: "write" });
  let code = 0;
  switch (command.kind) {
    case "print":
      stdout.offer(command.text);
      break;
    case "usage-error":
      stderr.offer(`${command.message}\n`);
      code = 2;
      break;
    case "policy": {
      const { stdout, stderr } = Deno;
      code = await policyCommand(command, {
        stdout,
        stderr,
        builtIn: builtIn(1),
        customs,
        svg: platform.svg,
      });
      break;
    }
    case "explain":
    case "replay": {
      const { stdout, stderr } = Deno;
      const options = { stdout, stderr, builtIn, customs };
      code = command.kind === "explain"
        ? await explainCommand(command, options)
        : await replayCommand(command, options);
      break;
    }
    case "run":
      try {
        const { config, tap } = command;
        await run({ config, tap, builtIn, customs, shim: platform.shim, stdout, log });
      } catch (error) {
        log.error(error instanceof Error ? error.message : String(error));
        code = 1;
      }
  }
  await Promise.all([stdout.flush(FLUSH_MS), stderr.flush(FLUSH_MS)]);
  return code;
}
