/** `proxy ctl top`: the policy's tree, backends and drops of a running proxy, as they change. */
import { figuresOf, type Sample } from "../control/top/figures.ts";
import { type Contact, picture, type Screen } from "../control/top/picture.ts";
import { FIRST_VIEW, press, type View } from "../control/top/view.ts";
import { askProxy } from "../process/control/client.ts";
import { listen } from "../process/signals.ts";
import { Terminal } from "../process/terminal.ts";
import { writeAll } from "../process/write_all.ts";
import { type CommandOptions, reported } from "./command.ts";
import { errorText, textOf } from "./ctl_command.ts";

export interface TopCommand {
  /** Path of the control socket. */
  readonly control: string;
  /** Time between two samples. */
  readonly intervalMs: number;
  /** Prints one picture and ends. */
  readonly isOnce: boolean;
}

/** A proxy that has not answered for so long is shown as stale, and later asked again. */
const STALE_MS = 3000;
const TIMEOUT_MS = 10_000;

/** How often what changes by itself is drawn: times, and a window that has another size. */
const REDRAW_MS = 500;

/** Runs the command; the exit code. */
export async function topCommand(
  command: TopCommand,
  { stdout, stderr }: Pick<CommandOptions, "stdout" | "stderr">,
): Promise<number> {
  return await reported(stderr, async () => {
    const first = await ask(command.control);
    if (command.isOnce) {
      await delay(command.intervalMs);
      const second = await ask(command.control);
      const figures = figuresOf(second, first);
      const screen = { columns: Infinity, rows: Infinity, hasColor: false };
      const { lines } = picture(figures, FIRST_VIEW, { is: "live" }, screen);
      await writeAll(stdout, lines.map((line) => `${line}\n`).join(""));
      return 0;
    }
    const terminal = Terminal.open();
    try {
      await new Top(command, terminal, first).run();
    } finally {
      await terminal.close();
    }
    return 0;
  });
}

/** What is shown, until the user has seen enough. */
class Top {
  readonly #command: TopCommand;
  readonly #terminal: Terminal;
  readonly #stop = new AbortController();
  /** Rejects when there is something that can't be drawn. */
  readonly #undrawable = Promise.withResolvers<never>();
  #view: View = FIRST_VIEW;
  #last: Sample;
  #before: Sample | null = null;
  /** When `#last` was there. */
  #lastMs = performance.now();
  /** Why the last question has failed. */
  #failure: string | null = null;

  constructor(command: TopCommand, terminal: Terminal, first: Sample) {
    this.#command = command;
    this.#terminal = terminal;
    this.#last = first;
  }

  /** Resolves at the key for it, at a signal, and when the terminal has gone. */
  async run(): Promise<void> {
    const stop = () => this.#stop.abort();
    const redraw = () => {
      this.#terminal.forget();
      this.#draw();
    };
    const unlisten = listen({
      SIGINT: stop,
      SIGTERM: stop,
      SIGHUP: stop,
      SIGQUIT: stop,
      SIGWINCH: redraw,
      SIGCONT: () => {
        this.#terminal.resume();
        this.#draw();
      },
    });
    const timer = setInterval(() => this.#draw(), REDRAW_MS);
    try {
      this.#draw();
      await Promise.race([this.#sample(), this.#press(), this.#undrawable.promise]);
    } finally {
      stop();
      clearInterval(timer);
      unlisten();
    }
  }

  async #press(): Promise<void> {
    for await (const key of this.#terminal.keys(this.#stop.signal)) {
      this.#view = press(this.#view, key);
      if (this.#view.isOver) return;
      this.#draw();
    }
  }

  /** Asks the proxy time after time; a failure is shown, and the next one may succeed. */
  async #sample(): Promise<void> {
    const { control, intervalMs } = this.#command;
    const { signal } = this.#stop;
    let wasPaused = false;
    while (!signal.aborted) {
      await delay(intervalMs);
      if (this.#view.isPaused) {
        wasPaused = true; // the next sample tells no rates
        continue;
      }
      try {
        const sample = await ask(control);
        if (this.#view.isPaused) continue;
        const isKnown = this.#failure === null && !wasPaused;
        this.#before = isKnown ? this.#last : null;
        this.#last = sample;
        this.#lastMs = performance.now();
        this.#failure = null;
        wasPaused = false;
      } catch (error) {
        this.#failure = error instanceof Error ? error.message : String(error);
      }
      this.#draw();
    }
  }

  #draw(): void {
    if (this.#stop.signal.aborted) return;
    try {
      const screen: Screen = { ...this.#terminal.size(), hasColor: !Deno.noColor };
      const figures = figuresOf(this.#last, this.#before);
      const { lines, view } = picture(figures, this.#view, this.#contact(), screen);
      this.#view = view;
      this.#terminal.show(lines);
    } catch (error) {
      this.#undrawable.reject(error);
    }
  }

  #contact(): Contact {
    const ms = performance.now() - this.#lastMs;
    if (this.#failure !== null) return { is: "lost", ms, why: this.#failure };
    return ms > STALE_MS + this.#command.intervalMs ? { is: "stale", ms } : { is: "live" };
  }
}

/** Throws an Error of one line if there is no answer, or it is none that this program knows. */
async function ask(control: string): Promise<Sample> {
  const timeout = AbortSignal.timeout(TIMEOUT_MS);
  const read = async <Shape>(target: string): Promise<Shape> => {
    const { status, pieces } = await askProxy(control, "GET", target, timeout);
    const text = await textOf(pieces);
    if (status >= 400) throw new Error(errorText(text, status).replace(/^error: /, ""));
    return JSON.parse(text);
  };
  return {
    status: await read("/status"),
    tree: await read("/tree"),
    backends: await read("/backends"),
    drops: await read("/drops"),
  };
}

function delay(ms: number): Promise<void> {
  return new Promise((resolve) => setTimeout(resolve, ms));
}
