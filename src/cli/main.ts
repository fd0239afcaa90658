/** From a command line to an exit code. */
import manifest from "../../deno.json" with { type: "json" };
import type { BuiltIn } from "../policy/language/built_in.ts";
import type { Customs } from "../policy/notation/parse.ts";
import { printable } from "../core/text.ts";
import { type About, type Command, parseArgs } from "./args.ts";
import { complain, reported } from "./command.ts";
import { MAX_CONFIG_BYTES } from "./config_file.ts";
import { ctlCommand } from "./ctl_command.ts";
import { topCommand } from "./top_command.ts";
import { explainCommand } from "./explain_command.ts";
import { nameOf } from "../process/captures.ts";
import { reasonOf } from "../process/file_error.ts";
import { lostLine, openLog } from "../process/log.ts";
import type { LogEvent } from "../core/log_events.ts";
import { Outlet } from "../process/outlet.ts";
import { policyCommand } from "./policy_command.ts";
import { replayCommand } from "./replay_command.ts";
import { run } from "../process/run.ts";
import { findSameFile, type NamedFile } from "../process/same_file.ts";
import { giveUp } from "../process/permissions.ts";
import { ignoreSignals } from "../process/signals.ts";
import { readTextFile, readTextFileAgain } from "../process/text_file.ts";
import { writeAll } from "../process/write_all.ts";

/** How long a console that does not read may hold up the end. */
const FLUSH_MS = 500;

export interface Platform {
  /** How the program was called. */
  readonly name: string;
  /** Path of the shim, built first where it must be. Throws an Error with the compiler's words. */
  readonly shim: () => Promise<string>;
  /** Loads what draws SVG: too large to be part of every run. */
  readonly svg: () => Promise<typeof import("./svg.ts")>;
  readonly build: "source" | "compiled" | "portable";
  /** The folder from which threads are loaded while it runs; null: they are within it. */
  readonly sources: string | null;
  /** Starts the thread that serves `--admin` (`src/process/admin/worker.ts`). */
  readonly adminThread: () => Worker;
  /** Starts the thread that serves the control socket (`src/process/control/worker.ts`). */
  readonly controlThread: () => Worker;
  /** Starts the thread that makes policies (`src/process/policies/worker.ts`). */
  readonly policyThread: () => Worker;
}

/**
 * What makes the program this one: its own policy, and what `custom NAME` means in policy files.
 */
export interface Program {
  readonly policy: BuiltIn;
  readonly customs: Customs;
}

/** A command, once the file of `--config` is read; or why that can't be. */
type GivenCommand =
  & (
    | Exclude<Command, { kind: "read-config" }>
    | { readonly kind: "failure"; readonly message: string }
  )
  & { readonly configFile?: string };

/** Runs the command line; the exit code: 0, 1 for a failure at run time, 2 for wrong usage. */
export async function main(
  args: readonly string[],
  platform: Platform,
  program: Program,
): Promise<number> {
  const { stdout, stderr } = Deno;
  const about = { name: platform.name, version: manifest.version, build: platform.build };
  const command = await readCommand(args, about);
  if (command.kind === "run") ignoreSignals();
  giveUp(unneededBy(command, platform.build === "source"));
  const { inputs, outputs } = filesOf(command);
  if (command.kind === "failure") {
    await complain(stderr, `error: ${command.message}`);
    return 1;
  }
  const wrong = command.kind === "usage-error" ? command.message : findSameFile(inputs, outputs);
  if (wrong !== null) {
    await complain(stderr, wrong);
    return 2;
  }
  const { policy: builtIn, customs } = program;
  const options = { stdout, stderr, builtIn, customs };
  switch (command.kind) {
    case "print":
      return await reported(stderr, async () => {
        await writeAll(stdout, command.text);
        return 0;
      });
    case "policy":
      return await policyCommand(command, {
        ...options,
        builtIn: builtIn(1),
        svg: platform.svg,
      });
    case "explain":
      return await explainCommand(command, options);
    case "replay":
      return await replayCommand(command, options);
    case "ctl":
      return await ctlCommand(command, options);
    case "top":
      return await topCommand(command, options);
    case "run":
      return await runCommand(
        command,
        platform,
        program,
        command.configFile ?? null,
        () => readCommand(args, about, readTextFileAgain),
      );
    case "usage-error":
      return 2;
  }
}

/** What the command line, and the file of `--config`, ask for. */
async function readCommand(
  args: readonly string[],
  about: About,
  read = readTextFile,
): Promise<GivenCommand> {
  const command = parseArgs(args, about);
  if (command.kind !== "read-config") return command;
  const { path } = command;
  let text: string;
  try {
    ({ text } = await read(path, MAX_CONFIG_BYTES));
  } catch (error) {
    const message = `Cannot read config "${printable(path)}": ${reasonOf(error, path)}`;
    return { kind: "failure", message };
  }
  const given = parseArgs(args, about, { file: path, text }) as GivenCommand;
  return { ...given, configFile: path };
}

/** What the command will not need; a run gives up the rest when all is open. */
function unneededBy(command: GivenCommand, isSource: boolean): Deno.PermissionName[] {
  switch (command.kind) {
    case "run": // sources make the shim
      return command.control !== null || command.tap.admin !== null
        ? []
        : isSource
        ? ["net", "sys"]
        : ["net", "sys", "write"];
    case "top":
    case "ctl": // a Unix socket is written and read
      return ["sys", "ffi"];
    case "replay":
      return ["net", "sys", "ffi"];
    default:
      return ["net", "sys", "write", "ffi"];
  }
}

/** What the command reads and writes; its own words go to standard output and error. */
function filesOf(command: GivenCommand): { inputs: NamedFile[]; outputs: NamedFile[] } {
  const inputs: NamedFile[] = [];
  const outputs: NamedFile[] = [
    { name: "standard output", file: 1 },
    { name: "standard error", file: 2 },
  ];
  const policy = command.kind === "policy"
    ? command.file
    : "config" in command
    ? command.config.policy
    : null;
  if (command.configFile !== undefined) {
    inputs.push({ name: "--config", file: command.configFile });
  }
  if (command.kind === "run" && command.config.hashKeyFile !== null) {
    inputs.push({ name: "--hash-key-file", file: command.config.hashKeyFile });
  }
  if (policy === "-") inputs.push({ name: "standard input", file: 0 });
  else if (policy !== null) inputs.push({ name: "the policy", file: policy });
  if (command.kind === "run" && command.state !== null) {
    outputs.push({ name: "--state", file: command.state.file });
  }
  if (command.kind === "run" && command.captures.file !== null) {
    const { file, options } = command.captures;
    for (let i = 0; i < options.files; i++) {
      outputs.push({ name: "--capture", file: nameOf(file, options, i) });
    }
  }
  if (command.kind !== "replay") return { inputs, outputs };
  for (const [i, { pcap, out }] of command.captures.entries()) {
    const suffix = i === 0 ? "" : "-b";
    if (pcap !== null) inputs.push({ name: `--pcap${suffix}`, file: pcap });
    if (out !== null) outputs.push({ name: `--out${suffix}`, file: out });
  }
  return { inputs, outputs };
}

/** A run: the console never holds it up, and when that fails the run goes on without. */
async function runCommand(
  settings: Extract<Command, { kind: "run" }>,
  { shim, sources, adminThread, controlThread, policyThread, build }: Platform,
  { policy: builtIn, customs }: Program,
  configFile: string | null,
  reread: () => Promise<GivenCommand>,
): Promise<number> {
  let code = 0;
  const { format } = settings.log;
  const stderr: Outlet = new Outlet(
    Deno.stderr,
    undefined,
    () => code = 1,
    lostLine(format, Date.now),
  );
  const log = openLog(stderr, Deno.stderr.isTerminal() && !Deno.noColor, format);
  const complainOf = (message: string, event: LogEvent) => {
    code = 1;
    if (format === "json") log.error(message, event);
    else stderr.offer(`error: ${message}\n`);
  };
  const stdout = new Outlet(
    Deno.stdout,
    undefined,
    (reason) => complainOf(`Cannot write output: ${reason}`, "output-failed"),
  );
  log.setLevel(settings.logLevel);
  try {
    const about = { version: manifest.version, build };
    const rereadSettings = async () => {
      const command = await reread();
      if (command.kind === "run") return command;
      throw new Error("message" in command ? command.message : "it asks for no run");
    };
    await run({
      settings,
      configFile,
      reread: rereadSettings,
      builtIn,
      customs,
      shim,
      sources,
      stdout,
      stderr,
      log,
      adminThread,
      controlThread,
      policyThread,
      about,
    });
  } catch (error) {
    complainOf(error instanceof Error ? error.message : String(error), "failed");
  }
  await stdout.flush(FLUSH_MS);
  await stderr.flush(FLUSH_MS);
  return code;
}
