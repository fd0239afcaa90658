/**
 * Runs commands for tests: to the end within a time limit, or in the background with what they
 * print kept in memory. A command is a list of words and is never seen by a shell.
 */

/** How a command ended, and what it printed. */
export interface Result {
  /** Exit code; 128 + the signal's number after a signal. */
  readonly code: number;
  readonly stdout: string;
  readonly stderr: string;
  /** The time limit passed and the command was killed. */
  readonly timedOut: boolean;
}

export interface RunOptions {
  /** Text given to the command; without it the standard input is empty. */
  readonly stdin?: string;
  readonly env?: Record<string, string>;
  readonly cwd?: string;
  /** After this long the command is killed. Default 30,000. */
  readonly timeoutMs?: number;
}

const defaultTimeoutMs = 30_000;

/** Runs a command to its end. A failing command is a result, not an exception. */
export async function run(argv: readonly string[], options: RunOptions = {}): Promise<Result> {
  return await finish(new Background(argv, options), options);
}

/** Sees a command that was just started to its end, as `run` does. */
export async function finish(command: Background, options: RunOptions = {}): Promise<Result> {
  if (options.stdin !== undefined) await command.write(options.stdin, { close: true });
  const ended = await command.ended(options.timeoutMs ?? defaultTimeoutMs);
  if (!ended) command.signal("SIGKILL");
  return { ...(await command.result()), timedOut: !ended };
}

/** As `run`, for commands that must succeed: returns what was printed, throws what went wrong. */
export async function must(argv: readonly string[], options: RunOptions = {}): Promise<string> {
  return outputOf(argv, await run(argv, options));
}

/** What a command printed that must have succeeded. */
export function outputOf(argv: readonly string[], result: Result): string {
  const { code, stdout, stderr, timedOut } = result;
  if (code === 0) return stdout;
  const why = timedOut ? "killed after its time limit" : `exit code ${code}`;
  throw new Error(`Cannot run "${argv.join(" ")}": ${why}: ${(stderr || stdout).trim()}`);
}

/** The path of a program, or "" where there is none; looks into the sbin folders as well. */
export async function which(program: string): Promise<string> {
  const { stdout } = await run(["sh", "-c", 'command -v -- "$0"', program]);
  return stdout.trim();
}

/** Whether a process has not ended: a zombie has, whose parent does not ask for it. */
export function isRunning(pid: number): boolean {
  try {
    return !/^State:\s+Z/m.test(Deno.readTextFileSync(`/proc/${pid}/status`));
  } catch {
    return false;
  }
}

/** A command in the background. Whoever starts it stops it: `await using`, or `stop()`. */
export class Background implements AsyncDisposable {
  readonly argv: readonly string[];
  readonly pid: number;
  readonly #child: Deno.ChildProcess;
  readonly #stdin: WritableStreamDefaultWriter<Uint8Array> | null;
  readonly #stdout: Collected;
  readonly #stderr: Collected;
  readonly #status: Promise<Deno.CommandStatus>;

  constructor(
    argv: readonly string[],
    options: RunOptions & { readonly keepStdin?: boolean } = {},
  ) {
    this.argv = argv;
    const [program, ...args] = argv;
    const wantsStdin = options.stdin !== undefined || options.keepStdin === true;
    const path = `${Deno.env.get("PATH") ?? ""}:/usr/sbin:/sbin:/usr/bin:/bin`;
    this.#child = new Deno.Command(program!, {
      args,
      env: { PATH: path, ...options.env },
      ...(options.cwd === undefined ? {} : { cwd: options.cwd }),
      stdin: wantsStdin ? "piped" : "null",
      stdout: "piped",
      stderr: "piped",
    }).spawn();
    this.pid = this.#child.pid;
    this.#stdin = wantsStdin ? this.#child.stdin.getWriter() : null;
    this.#stdout = new Collected(this.#child.stdout);
    this.#stderr = new Collected(this.#child.stderr);
    this.#status = this.#child.status;
  }

  /** Everything printed so far. */
  get stdout(): string {
    return this.#stdout.text;
  }

  get stderr(): string {
    return this.#stderr.text;
  }

  /** Writes to the command's input; a command that no longer reads is no error. */
  async write(text: string, { close = false } = {}): Promise<void> {
    try {
      await this.#stdin?.write(new TextEncoder().encode(text));
      if (close) await this.#stdin?.close();
    } catch { /* it has ended, or has closed its input */ }
  }

  /**
   * Waits until the output (either stream) matches, and returns the match.
   *
   * @throws {Error} with everything printed so far when the command ends first, or in `timeoutMs`
   */
  async waitFor(wanted: RegExp | string, timeoutMs = 10_000): Promise<RegExpExecArray> {
    const pattern = typeof wanted === "string" ? new RegExp(RegExp.escape(wanted)) : wanted;
    const deadline = performance.now() + timeoutMs;
    while (true) {
      const last = await this.ended(0);
      if (last) await this.#drained();
      const match = pattern.exec(this.stdout) ?? pattern.exec(this.stderr);
      if (match) return match;
      const late = performance.now() > deadline;
      if (late || last) {
        const why = late ? `not seen in ${timeoutMs} ms` : "the command ended";
        const seen = `${this.stdout.slice(-4000)}\n${this.stderr.slice(-4000)}`;
        throw new Error(`Cannot find ${pattern} in the output of "${this.argv.join(" ")}": ${why}
${seen}`);
      }
      await this.ended(20);
    }
  }

  /** Sends a signal; one that comes after the end is lost. */
  signal(signal: Deno.Signal): void {
    try {
      this.#child.kill(signal);
    } catch { /* it has ended */ }
  }

  /** Waits for the end for at most so long; whether it has come. */
  async ended(timeoutMs: number): Promise<boolean> {
    return await within(this.#status, timeoutMs);
  }

  /** Waits for the end, then gives all that was printed. */
  async result(): Promise<Result> {
    const { code } = await this.#status;
    await this.#drained();
    return { code, stdout: this.stdout, stderr: this.stderr, timedOut: false };
  }

  /** Ends the command: asks first, kills after `timeoutMs` (`timedOut` tells). */
  async stop(signal: Deno.Signal = "SIGTERM", timeoutMs = 5_000): Promise<Result> {
    this.signal(signal);
    const ended = await this.ended(timeoutMs);
    if (!ended) this.signal("SIGKILL");
    return { ...(await this.result()), timedOut: !ended };
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.stop("SIGKILL");
  }

  /** All output has been read. A grandchild may keep the pipe open: then it is cut off. */
  async #drained(): Promise<void> {
    await this.#stdin?.close().catch(() => {});
    await Promise.all([this.#stdout.close(500), this.#stderr.close(500)]);
  }
}

/** A stream's text so far. */
class Collected {
  #text = "";
  readonly #reader: ReadableStreamDefaultReader<Uint8Array>;
  readonly #done: Promise<void>;

  constructor(stream: ReadableStream<Uint8Array>) {
    this.#reader = stream.getReader();
    this.#done = this.#collect();
  }

  get text(): string {
    return this.#text;
  }

  /** Reads to the end for at most so long, then lets go of the stream. */
  async close(timeoutMs: number): Promise<void> {
    if (!await within(this.#done, timeoutMs)) await this.#reader.cancel();
    await this.#done;
  }

  async #collect(): Promise<void> {
    const decoder = new TextDecoder();
    while (true) {
      const { value, done } = await this.#reader.read();
      if (done) return;
      this.#text += decoder.decode(value, { stream: true });
    }
  }
}

/** Whether a promise settles in time. */
async function within(promise: Promise<unknown>, timeoutMs: number): Promise<boolean> {
  let timer: ReturnType<typeof setTimeout> | undefined;
  const late = new Promise<boolean>((resolve) => {
    timer = setTimeout(() => resolve(false), timeoutMs);
  });
  try {
    return await Promise.race([promise.then(() => true), late]);
  } finally {
    clearTimeout(timer);
  }
}
