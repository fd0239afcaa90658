/** `proxy ctl top` on a pseudo-terminal, with a proxy that answers what the test wants. */
import assert from "node:assert/strict";
import { createServer, type Server, type ServerResponse } from "node:http";
import { proxyCommand } from "../lab/proxy.ts";
import { Background, isRunning, run, which } from "../support/shell.ts";
import { Screen } from "../support/screen.ts";
import { sampleAt } from "../control/top/samples.ts";

const isPermitted = (await Promise.all(
  (["run", "read", "write", "env", "sys", "net"] as const).map((name) =>
    Deno.permissions.query({ name })
  ),
)).every(({ state }) => state === "granted");
const lacks = !isPermitted ? "" : await which("script") === "" ? "the program script" : null;

function terminalTest(name: string, fn: () => Promise<void>): void {
  if (lacks === null) return Deno.test(name, fn);
  if (lacks === "") return Deno.test({ name, ignore: true, fn });
  const ignore = Deno.env.get("CI") !== "true";
  Deno.test({ name: `${name} (skipped: ${lacks} is missing)`, ignore, fn });
}

/** What a proxy answers at its control socket; `answers` is called for each path. */
class FakeProxy implements AsyncDisposable {
  readonly folder = Deno.makeTempDirSync();
  readonly socket = `${this.folder}/s`;
  seconds = 10;
  /** It takes requests, and says nothing. */
  isSilent = false;
  answer: (path: string) => unknown = (path) => {
    if (path === "/status") this.seconds += 2;
    return sampleAt(this.seconds)[path.slice(1) as "status"];
  };
  readonly #server: Server = createServer(({ url }, response: ServerResponse) => {
    if (!this.isSilent) response.end(JSON.stringify(this.answer(url!)));
  });

  async open(): Promise<this> {
    await new Promise<void>((resolve) => this.#server.listen({ path: this.socket }, resolve));
    return this;
  }

  async close(): Promise<void> {
    this.#server.closeAllConnections();
    await new Promise((resolve) => this.#server.close(resolve));
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.close();
    Deno.removeSync(this.folder, { recursive: true });
  }
}

/** `ctl top` on a terminal of its own. */
class OnTerminal implements AsyncDisposable {
  readonly #script: Background;
  #columns = 0;
  #rows = 0;

  constructor(folder: string, columns: number, rows: number, words: readonly string[], env = {}) {
    [this.#columns, this.#rows] = [columns, rows];
    const command = [
      `stty cols ${columns} rows ${rows}`,
      'echo "tty=$(tty) pid=$$"',
      `exec ${words.map((word) => `'${word}'`).join(" ")}`,
    ].join("; ");
    Deno.writeTextFileSync(`${folder}/command`, command);
    this.#script = new Background(
      ["script", "-qec", `sh ${folder}/command`, "/dev/null"],
      { keepStdin: true, env: { TERM: "xterm", NO_COLOR: "1", ...env } },
    );
  }

  get output(): string {
    return this.#script.stdout;
  }

  async #named(name: string): Promise<string> {
    return (await this.#script.waitFor(new RegExp(`${name}=(\\S+)`)))[1]!;
  }

  /** What is on the screen since its size was set last. */
  screen(): Screen {
    const screen = new Screen(this.#columns, this.#rows);
    const start = this.output.lastIndexOf("\x1b[2J"); // all that was drawn before is gone
    return start < 0 ? screen : screen.write(this.output.slice(start));
  }

  async press(keys: string): Promise<void> {
    await this.#script.write(keys);
  }

  async resize(columns: number, rows: number): Promise<void> {
    const tty = await this.#named("tty");
    const { code } = await run(["stty", "-F", tty, "cols", `${columns}`, "rows", `${rows}`]);
    assert.equal(code, 0);
    [this.#columns, this.#rows] = [columns, rows];
  }

  async pid(): Promise<number> {
    return Number(await this.#named("pid"));
  }

  async signal(signal: Deno.Signal): Promise<void> {
    Deno.kill(await this.pid(), signal);
  }

  /** What is written to the terminal from now on stays in the kernel. */
  stopReading(): void {
    this.#script.signal("SIGSTOP");
  }

  /** Until the screen has it; what is drawn while a size changes is none. */
  async shows(wanted: RegExp): Promise<string> {
    let seen = "";
    for (const end = performance.now() + 20_000; performance.now() < end;) {
      try {
        seen = this.screen().lines().join("\n");
        if (wanted.test(seen)) return seen;
      } catch (error) {
        seen = String(error);
      }
      if (await this.#script.ended(50)) break;
    }
    throw new Error(`Cannot find ${wanted} on the screen:\n${seen}\n${this.output.slice(-2000)}`);
  }

  /** After its end: the exit code, and what it has printed on the usual screen. */
  async end(): Promise<{ code: number; text: string }> {
    assert.ok(await this.#script.ended(20_000), "it ends");
    const { code, stdout } = await this.#script.result();
    for (const [on, off] of [["?1049h", "?1049l"], ["?25l", "?25h"], ["?7l", "?7h"]]) {
      if (!stdout.includes(`\x1b[${on}`)) continue;
      assert.ok(stdout.lastIndexOf(`\x1b[${off}`) > stdout.lastIndexOf(`\x1b[${on}`), off);
    }
    const left = stdout.lastIndexOf("\x1b[?1049l");
    return { code, text: stdout.slice(left < 0 ? 0 : left + "\x1b[?1049l".length) };
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#script.signal("SIGKILL");
    await this.#script.result();
  }
}

function pause(ms: number): Promise<void> {
  return new Promise((resolve) => setTimeout(resolve, ms));
}

function top(proxy: FakeProxy, ...words: string[]): string[] {
  return proxyCommand(["ctl", "top", `--control=${proxy.socket}`, "--interval=200ms", ...words]);
}

terminalTest(
  "ctl top draws in place, takes keys and sizes, and gives the screen back",
  async () => {
    await using proxy = await new FakeProxy().open();
    await using terminal = new OnTerminal(proxy.folder, 100, 24, top(proxy));
    const first = await terminal.shows(/ 800 +80% /);
    const { isAlternate, wraps, hasCursor } = new Screen(100, 24).write(
      terminal.output.slice(terminal.output.indexOf("\x1b[?1049h")),
    );
    assert.deepEqual({ isAlternate, wraps, hasCursor }, {
      ...{ isAlternate: true, wraps: false, hasCursor: false },
    });
    assert.match(first, /^treegate 1\.2\.3 .*● live\n/);
    assert.equal(terminal.screen().hasColor, false, "NO_COLOR");
    // What does not change is not written again.
    const wide = terminal.output.length;
    await terminal.shows(/up 0:3\d/);
    assert.equal(terminal.output.slice(wide).split("TREE (").length, 1);

    await terminal.press("s");
    await terminal.shows(/TREE \(rate\)/);
    await terminal.press("\t\x1b[B");
    await terminal.shows(/\n> +NEW\/S/);
    await terminal.press("/naive");
    await terminal.shows(/filter: naive_/);
    await terminal.press("\r");
    await terminal.shows(/none fits the filter/);
    await terminal.press("\x1b");
    await terminal.resize(60, 14);
    const narrow = await terminal.shows(/^treegate 1\.2\.3 .*● live\n/);
    assert.equal(narrow.split("\n").length, 14);
    await terminal.resize(120, 40);
    await terminal.shows(/^treegate 1\.2\.3.{100}● live\n/);
    await terminal.press("?");
    await terminal.shows(/shift-tab +next or previous section/);
    await terminal.press("x");
    await terminal.press("p");
    const paused = /up \S+/.exec(await terminal.shows(/‖ paused/))![0];
    const asked = proxy.seconds;
    await pause(1000);
    assert.ok(proxy.seconds <= asked + 2, "a proxy is not asked while nobody looks");
    await terminal.shows(new RegExp(paused));
    await terminal.press(" ");
    await terminal.shows(/● live/);
    await terminal.press("q");
    assert.deepEqual(await terminal.end(), { code: 0, text: "" });
  },
);

terminalTest("ctl top tells that the proxy is silent, has gone, and is back", async () => {
  await using proxy = await new FakeProxy().open();
  await using terminal = new OnTerminal(proxy.folder, 100, 24, top(proxy));
  await terminal.shows(/ 800 +80% /);
  proxy.isSilent = true;
  await terminal.shows(/○ stale 0:0\d/);
  await terminal.press("s"); // keys are taken meanwhile
  await terminal.shows(/TREE \(rate\)/);
  await proxy.close();
  await terminal.shows(/✕ lost 0:\d\d\n[^]*trying again: Cannot reach a proxy at /);
  proxy.isSilent = false;
  proxy.seconds = 0;
  await proxy.open();
  await terminal.shows(/● live[^]* 800 +80% /);
  await terminal.press("\x03");
  assert.deepEqual(await terminal.end(), { code: 0, text: "" });
});

for (const signal of ["SIGTERM", "SIGINT", "SIGHUP", "SIGQUIT"] as const) {
  terminalTest(`ctl top gives the screen back at ${signal}`, async () => {
    await using proxy = await new FakeProxy().open();
    await using terminal = new OnTerminal(proxy.folder, 80, 24, top(proxy));
    await terminal.shows(/ 800 +80% /);
    await terminal.signal(signal);
    assert.deepEqual(await terminal.end(), { code: 0, text: "" });
  });
}

terminalTest("ctl top gives the screen back when an answer can't be drawn", async () => {
  await using proxy = await new FakeProxy().open();
  await using terminal = new OnTerminal(proxy.folder, 80, 24, top(proxy));
  await terminal.shows(/ 800 +80% /);
  proxy.answer = () => ({});
  const { code, text } = await terminal.end();
  assert.equal(code, 1);
  assert.match(text, /^error: [^\n]*\r\n$/);
});

terminalTest("ctl top ends at a signal though its terminal reads nothing", async () => {
  await using proxy = await new FakeProxy().open();
  await using terminal = new OnTerminal(proxy.folder, 200, 50, top(proxy));
  await terminal.shows(/ 800 +80% /);
  const pid = await terminal.pid();
  terminal.stopReading();
  const asked = proxy.seconds;
  // More than the kernel keeps for a terminal; the proxy is asked all the same.
  for (let tries = 0; proxy.seconds < asked + 40 && tries < 200; tries++) {
    Deno.kill(pid, "SIGWINCH"); // all of it is drawn again
    await pause(100);
  }
  assert.ok(proxy.seconds >= asked + 40);
  Deno.kill(pid, "SIGTERM");
  for (let tries = 0; isRunning(pid) && tries < 100; tries++) await pause(100);
  assert.ok(!isRunning(pid), "it has ended");
});

terminalTest("ctl top has colours where nobody forbids them", async () => {
  await using proxy = await new FakeProxy().open();
  await using terminal = new OnTerminal(proxy.folder, 80, 24, top(proxy), { NO_COLOR: "" });
  await terminal.shows(/ 800 +80% /);
  assert.ok(terminal.screen().hasColor);
});

terminalTest(
  "ctl top --once prints one plain picture; without a terminal that is all",
  async () => {
    await using proxy = await new FakeProxy().open();
    const once = await run(top(proxy, "--once"));
    assert.deepEqual([once.code, once.stderr], [0, ""]);
    assert.match(once.stdout, /^treegate 1\.2\.3 .*● live\n[^]* 800 +80% /);
    // deno-lint-ignore no-control-regex -- of terminals
    assert.doesNotMatch(once.stdout, /\x1b|^> /m);
    const none = await run(top(proxy));
    assert.deepEqual([none.code, none.stdout], [1, ""]);
    assert.equal(
      none.stderr,
      'error: Cannot draw: standard input is no terminal; "ctl top --once" prints one picture\n',
    );
    await proxy.close();
    const gone = await run(top(proxy, "--once"));
    assert.deepEqual([gone.code, gone.stdout], [1, ""]);
    assert.match(gone.stderr, /^error: Cannot reach a proxy at /);
    await proxy.open();
  },
);
