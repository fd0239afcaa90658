/** `proxy ctl COMMAND`: asks a running proxy, or changes it, and prints the answer. */
import type { ErrorShape } from "../control/shapes.ts";
import { TABLES } from "../control/tables.ts";
import { type Answer, askProxy } from "../process/control/client.ts";
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
/** How long a proxy may take to begin an answer; these may take as long as they need. */
const ANSWER_MS = 30_000;
const LONG: readonly CtlCommand["name"][] = ["trace", "reload", "drain", "upgrade"];
/** Home, and clear the screen. */
const CLEAR = "\x1b[H\x1b[2J";

/**
 * Runs the command; the exit code: 0, 1 for a failure, 2 for what the proxy calls a wrong request.
 */
export async function ctlCommand(
  command: CtlCommand,
  { stdout, stderr }: Pick<CommandOptions, "stdout" | "stderr">,
  answerMs = ANSWER_MS,
): Promise<number> {
  const { isWatching } = command;
  const isTerminal = isWatching && !command.isJson && Deno.stdout.isTerminal();
  return await reported(stderr, async () => {
    for (;;) {
      const { status, pieces } = await ask(command, answerMs);
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

async function ask(command: CtlCommand, answerMs: number): Promise<Answer> {
  const { control, name, method, target } = command;
  const stop = new AbortController();
  const timer = LONG.includes(name) ? undefined : setTimeout(() => stop.abort(), answerMs);
  try {
    return await askProxy(control, method, target, stop.signal);
  } finally {
    clearTimeout(timer);
  }
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

export async function textOf(pieces: AsyncIterable<string>): Promise<string> {
  const texts: string[] = [];
  for await (const piece of pieces) texts.push(piece);
  return texts.join("");
}

/** What the proxy says is wrong. */
export function errorText(text: string, status: number): string {
  try {
    const { error, details = [] } = JSON.parse(text) as ErrorShape;
    return [`error: ${error}`, ...details].join("\n");
  } catch {
    return `error: The proxy answers with status ${status}`;
  }
}
