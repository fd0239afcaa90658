/** Builds `supervisor.c` and runs the proxy under it in a host of a lab. */
import { fileURLToPath } from "node:url";
import { type Background, must } from "../support/shell.ts";
import type { Host } from "./lab.ts";
import { proxyCommand } from "./proxy.ts";

/** From its sources the proxy may first have to compile its shim. */
const startTimeoutMs = 20_000;

/** A proxy, and who starts it again and keeps its device. */
export class Supervised {
  /**
   * The supervisor; its output is the proxy's as well, and what that has told it, as `notify: …`.
   */
  readonly program: Background;

  private constructor(program: Background) {
    this.program = program;
  }

  /**
   * Starts both, and waits until the proxy is ready. `kind` is that of the socket for messages,
   * `command` what is started in place of the proxy with these options.
   */
  static async start(
    host: Host,
    kind: "path" | "abstract",
    options: readonly string[],
    command: readonly string[] = proxyCommand(options),
  ): Promise<Supervised> {
    const path = `${host.lab.folder}/supervisor`;
    const source = fileURLToPath(new URL("supervisor.c", import.meta.url));
    await must(["cc", "-O2", "-Wall", "-Wextra", "-Werror", "-o", path, source]);
    const program = host.start([path, kind, ...command]);
    await program.waitFor("notify: READY=1", startTimeoutMs);
    return new Supervised(program);
  }

  /**
   * Ends the proxy (SIGUSR1: by SIGTERM, SIGUSR2: by SIGKILL), and waits until the next one is
   * ready and has said `wanted`: all that was said.
   */
  async restart(signal: "SIGUSR1" | "SIGUSR2", wanted: RegExp): Promise<string> {
    const { stdout, stderr } = this.program;
    this.program.signal(signal);
    return await this.restarted(stdout.length, stderr.length, wanted);
  }

  /** As `restart`, when it has been brought about otherwise, since so much had been said. */
  async restarted(fromStdout: number, fromStderr: number, wanted: RegExp): Promise<string> {
    const said = () =>
      this.program.stdout.slice(fromStdout) + this.program.stderr.slice(fromStderr);
    for (let waits = 0; !said().includes("notify: READY=1") || !wanted.test(said()); waits++) {
      if (waits * 50 > startTimeoutMs || await this.program.ended(50)) {
        throw new Error(`Cannot start the proxy again: ${said()}`);
      }
    }
    return said();
  }
}
