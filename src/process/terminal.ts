/**
 * A terminal that a picture fills: its alternate screen, its size, its keys (xterm's control
 * sequences). What a terminal that does not read can't take is left out: the next picture has all
 * that counts.
 */
import { type Key, keysOf } from "../control/top/keys.ts";
import { writeBytes, type Writer } from "./writer.ts";

/** The alternate screen, no cursor, no wrapping; and all of that undone. */
const ENTER = "\x1b[?1049h\x1b[?25l\x1b[?7l";
const LEAVE = "\x1b[?7h\x1b[?25h\x1b[?1049l";
const CLEAR = "\x1b[2J";
/** Before a line: after one that fills the screen's width it would take the last cell away. */
const CLEAR_LINE = "\x1b[K";

/** Of a terminal that does not say: RFC 854's, and everybody's since. */
const USUAL_SIZE = { columns: 80, rows: 24 };

/** How long a terminal that does not read may hold up the end. */
const LEAVE_MS = 500;

const ENCODER = new TextEncoder();

export class Terminal {
  /** Lines that the screen shows; empty: nobody knows. */
  #shown: readonly string[] = [];
  /** The picture that is to be shown when the last one has been written. */
  #next: readonly string[] | null = null;
  #writing: Promise<void> | null = null;
  /** Why it can't be written to any more. */
  #fault: Error | null = null;

  readonly #writer: Writer;

  private constructor(writer: Writer) {
    this.#writer = writer;
  }

  /** Throws an Error if standard input or output is no terminal. */
  static open(): Terminal {
    for (const [name, stream] of [["input", Deno.stdin], ["output", Deno.stdout]] as const) {
      if (stream.isTerminal()) continue;
      throw new Error(
        `Cannot draw: standard ${name} is no terminal; "ctl top --once" prints one picture`,
      );
    }
    const terminal = new Terminal(Deno.stdout);
    terminal.resume();
    return terminal;
  }

  /** Takes the terminal (again: another program may have used it meanwhile). */
  resume(): void {
    Deno.stdin.setRaw(true);
    this.#shown = [];
    this.#write(ENTER + CLEAR);
  }

  /** As it is now; the whole picture is drawn when it has changed. */
  size(): { columns: number; rows: number } {
    const { columns, rows } = Deno.consoleSize();
    return columns === 0 || rows === 0 ? USUAL_SIZE : { columns, rows };
  }

  /** After a change of size nothing is where it was. */
  forget(): void {
    this.#shown = [];
  }

  /** Shows these lines: what has changed of them, when the terminal takes it. */
  show(lines: readonly string[]): void {
    this.#next = lines;
    if (this.#writing === null) this.#draw();
  }

  #draw(): void {
    const lines = this.#next;
    if (lines === null) return;
    this.#next = null;
    const shown = this.#shown;
    this.#shown = lines;
    let text = shown.length === 0 ? CLEAR : "";
    for (let i = 0; i < Math.max(lines.length, shown.length); i++) {
      if (lines[i] === shown[i]) continue;
      text += `\x1b[${i + 1};1H${CLEAR_LINE}${lines[i] ?? ""}`;
    }
    if (text !== "") this.#write(text);
  }

  #write(text: string): void {
    const before = this.#writing ?? Promise.resolve();
    const writing = before
      .then(() => this.#fault === null ? writeBytes(this.#writer, ENCODER.encode(text)) : undefined)
      .catch((error: unknown) => {
        this.#fault = error instanceof Error ? error : new Error(String(error));
      })
      .then(() => {
        if (this.#writing !== writing) return;
        this.#writing = null;
        this.#draw();
      });
    this.#writing = writing;
  }

  /** Keys as they are pressed; ends when the terminal has gone, or `stop` is aborted. */
  async *keys(stop: AbortSignal): AsyncGenerator<Key> {
    const stopped = new Promise<null>((resolve) => {
      stop.addEventListener("abort", () => resolve(null), { once: true });
    });
    const decoder = new TextDecoder();
    const buffer = new Uint8Array(256);
    while (!stop.aborted) {
      const read = Deno.stdin.read(buffer).catch(() => null);
      const bytes = await Promise.race([read, stopped]);
      if (bytes === null || stop.aborted) return;
      yield* keysOf(decoder.decode(buffer.subarray(0, bytes), { stream: true }));
    }
  }

  /**
   * Gives the terminal back as it was; one that does not read stays as it is, as its mode waits for
   * what is being written.
   */
  async close(): Promise<void> {
    this.#next = null;
    this.#write(LEAVE);
    let timer: ReturnType<typeof setTimeout> | undefined;
    const late = new Promise<"late">((resolve) => {
      timer = setTimeout(() => resolve("late"), LEAVE_MS);
    });
    const ended = await Promise.race([this.#writing, late]);
    clearTimeout(timer);
    if (ended === "late") return;
    try {
      Deno.stdin.setRaw(false);
    } catch {
      // the terminal has gone
    }
  }
}
