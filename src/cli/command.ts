/** What commands that run nothing on a device have in common. */
import type { BuiltIn } from "../policy/language/built_in.ts";
import type { Customs } from "../policy/notation/parse.ts";
import type { Writer } from "../process/writer.ts";
import { writeAll } from "../process/write_all.ts";

export interface CommandOptions {
  readonly stdout: Writer;
  readonly stderr: Writer;
  /** The program's own policy, for when the command line names no file. */
  readonly builtIn: BuiltIn;
  /** What `custom NAME` means in a policy file. */
  readonly customs: Customs;
}

/** Runs a command to its exit code; an Error, also of its output, becomes a message, and 1. */
export async function reported(stderr: Writer, run: () => Promise<number>): Promise<number> {
  try {
    return await run();
  } catch (error) {
    const message = error instanceof Error ? error.message : String(error);
    await complain(stderr, `error: ${message}`);
    return 1;
  }
}

/** Writes the line to `stderr`; if that fails, there is nobody left to tell. */
export async function complain(stderr: Writer, line: string): Promise<void> {
  await writeAll(stderr, `${line}\n`).catch(() => {});
}
