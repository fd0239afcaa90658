/** `proxy ctl COMMAND`: asks a running proxy, or changes it, and prints the answer. */
import type { ErrorShape } from "../control/shapes.ts";
import { TABLES } from "../control/tables.ts";
import { askProxy } from "../process/control/client.ts";
import { writeAll } from "../process/write_all.ts";
import { type CommandOptions, complain, reported } from "./command.ts";

export interface CtlCommand {
  /** Path of the control socket. */
  readonly control: string;
  readonly name: keyof typeof TABLES;
  readonly method: "GET" | "POST";
  /** Path and query. */
  readonly target: string;
  /** Prints the JSON as it comes. */
  readonly isJson: boolean;
  /** Asks again every second until it is ended. */
  readonly isWatching: boolean;
}

const WATCH_MS = 1000;
/** Home, and clear the screen. */
const CLEAR = "\x1b[H\x1b[2J";

/**
 * Runs the command; the exit code: 0, 1 for a failure, 2 for what the proxy calls a wrong request.
 */
export async function ctlCommand(
  command: CtlCommand,
  { stdout, stderr }: Pick<CommandOptions, "stdout" | "stderr">,
): Promise<number> {
  const { isWatching } = command;
  const isTerminal = isWatching && !command.isJson && Deno.stdout.isTerminal();
  return await reported(stderr, async () => {
    for (;;) {
      const { status, pieces } = await askProxy(command.control, command.method, command.target);
      if (status >= 400) {
        await complain(stderr, errorText(await textOf(pieces), status));
        return status === 400 ? 2 : 1;
      }
      const before = isTerminal ? CLEAR : "";
      for await (const text of printed(command, pieces)) {
        if (!await writeAll(stdout, before + text)) return 0;
      }
      if (!isWatching) return 0;
      await new Promise((resolve) => setTimeout(resolve, WATCH_MS));
      if (!isTerminal && !command.isJson && !await writeAll(stdout, "\n")) return 0;
    }
  });
}

/** What is printed of an answer: a trace line by line, everything else whole. */
async function* printed(
  { name, isJson }: CtlCommand,
  pieces: AsyncIterable<string>,
): AsyncGenerator<string> {
  if (isJson) return yield* pieces;
  if (name !== "trace") return yield TABLES[name](JSON.parse(await textOf(pieces)) as never);
  let rest = "";
  for await (const piece of pieces) {
    const lines = (rest + piece).split("\n");
    rest = lines.pop()!;
    for (const line of lines) yield TABLES.trace(JSON.parse(line));
  }
}

async function textOf(pieces: AsyncIterable<string>): Promise<string> {
  const texts: string[] = [];
  for await (const piece of pieces) texts.push(piece);
  return texts.join("");
}

function errorText(text: string, status: number): string {
  try {
    const { error, details = [] } = JSON.parse(text) as ErrorShape;
    return [`error: ${error}`, ...details].join("\n");
  } catch {
    return `error: The proxy answers with status ${status}`;
  }
}
