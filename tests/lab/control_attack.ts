/**
 * Clients of a control socket, or of `--admin`, that do what they should not, until they are
 * stopped. As a program, with the socket's path or `ADDR:PORT`, and their number: until SIGTERM;
 * then it says how many connections there were.
 */
import { connect, type Socket } from "node:net";

export class ControlAttack {
  /** Made so far. */
  connections = 0;
  #isOver = false;
  readonly #sockets = new Set<Socket>();
  readonly #running: Promise<void>[];

  /** `at`: the socket's path, or `ADDR:PORT`. */
  constructor(readonly at: string, clients = 200) {
    const body = "x".repeat(100_000);
    const head = "POST /kill HTTP/1.1\r\nHost: localhost\r\nContent-Length: 10000000\r\n\r\n";
    const all = "GET /connections?limit=1000000 HTTP/1.1\r\nHost: localhost\r\n\r\n";
    const beginnings = ["GET /", head + body, all, "BREW /tree HTTP/1.1\r\nHost: x\r\n\r\n"];
    this.#running = Array.from({ length: clients }, (_, i) => this.#go(beginnings[i % 4]!));
  }

  async #go(bytes: string): Promise<void> {
    while (!this.#isOver) {
      await new Promise<void>((resolve) => {
        const [host, port] = this.at.split(":");
        const socket = port === undefined
          ? connect({ path: this.at })
          : connect({ host, port: Number(port) });
        this.#sockets.add(socket);
        socket.on("connect", () => this.connections++);
        socket.on("error", () => {});
        socket.on("close", () => {
          this.#sockets.delete(socket);
          setTimeout(resolve, 5);
        });
        socket.on("data", () => {});
        socket.write(bytes);
      });
    }
  }

  async stop(): Promise<void> {
    this.#isOver = true;
    for (const socket of this.#sockets) socket.destroy();
    await Promise.all(this.#running);
  }
}

if (import.meta.main) {
  const attack = new ControlAttack(Deno.args[0]!, Number(Deno.args[1]));
  Deno.addSignalListener("SIGTERM", () => {
    Deno.stdout.writeSync(new TextEncoder().encode(`${attack.connections} connections\n`));
    Deno.exit(0);
  });
}
