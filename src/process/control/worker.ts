/**
 * The control thread: opens the socket, serves it, and asks the packet thread one thing at a time.
 */
import type { Server } from "node:http";
import type { Around } from "../../control/pieces.ts";
import { type Answers, type Ask, Refusal, type Request } from "../../control/request.ts";
import { printable } from "../../core/text.ts";
import type { FromControl, ToControl } from "./messages.ts";
import { makeServer } from "./server.ts";
import { claimSocketPath } from "./socket_path.ts";

/** The name by which a thread knows what it is for. */
export const CONTROL_THREAD = "control";

/** Not the owner's execute bit, and nothing for others. */
const SOCKET_UMASK = 0o177;

/** The part of the thread's global scope that is used. */
interface Scope {
  postMessage(message: FromControl): void;
  onmessage: ((event: MessageEvent<ToControl>) => void) | null;
}

/** Serves until told to close. */
export function serveControl(): void {
  const scope = globalThis as unknown as Scope;
  const asking = new Asking((message) => scope.postMessage(message));
  let server: Server | null = null;
  scope.onmessage = ({ data }) => {
    switch (data.to) {
      case "open":
        open(data, asking).then((opened) => {
          server = opened.server;
          scope.postMessage({ from: "opened", path: opened.path });
        }, (error) => {
          scope.postMessage({
            from: "failed",
            reason: error instanceof Error ? error.message : String(error),
          });
        });
        break;
      case "close":
        // With the server its socket goes from the folder.
        server?.close(() => scope.postMessage({ from: "closed" }));
        server?.closeAllConnections();
        break;
      default:
        asking.settle(data);
    }
  };
}

async function open(
  { path, config, hashKey, about, maxConnections }: Extract<ToControl, { to: "open" }>,
  asking: Asking,
): Promise<{ server: Server; path: string }> {
  const around: Around = {
    ask: (request) => asking.ask(request),
    config,
    hashKey,
    about,
    delay: (ms) => new Promise((resolve) => setTimeout(resolve, ms)),
    nowMs: () => performance.now(),
  };
  const real = await claimSocketPath(path);
  const server = makeServer(around, maxConnections);
  const umask = Deno.umask(SOCKET_UMASK);
  try {
    await new Promise<void>((resolve, reject) => {
      server.once("error", reject);
      server.listen({ path: real }, resolve);
    });
  } catch (error) {
    const why = error instanceof Error ? error.message : String(error);
    throw new Error(`Cannot open control socket "${printable(path)}": ${why}`);
  } finally {
    Deno.umask(umask);
  }
  return { server, path: real };
}

interface Waiting {
  readonly resolve: (answer: unknown) => void;
  readonly reject: (error: Error) => void;
}

/**
 * Asks the packet thread. One request is under way at a time, so that a turn of that thread holds
 * at most one, however many clients there are; a reload, which waits for files, is not waited for
 * by others.
 */
class Asking {
  readonly #post: (message: FromControl) => void;
  readonly #waiting = new Map<number, Waiting>();
  #next = 0;
  #last: Promise<unknown> = Promise.resolve();

  constructor(post: (message: FromControl) => void) {
    this.#post = post;
  }

  ask<A extends Ask>(request: Extract<Request, { ask: A }>): Promise<Answers[A]> {
    if (request.ask === "reload") return this.#send(request) as Promise<Answers[A]>;
    const answer = this.#last.then(() => this.#send(request));
    this.#last = answer.catch(() => {});
    return answer as Promise<Answers[A]>;
  }

  settle(message: Extract<ToControl, { number: number }>): void {
    const waiting = this.#waiting.get(message.number);
    this.#waiting.delete(message.number);
    if (message.to === "answer") waiting?.resolve(message.answer);
    else waiting?.reject(new Refusal(message.status, message.message, message.details));
  }

  #send(request: Request): Promise<unknown> {
    const number = this.#next++;
    return new Promise((resolve, reject) => {
      this.#waiting.set(number, { resolve, reject });
      this.#post({ from: "request", number, request });
    });
  }
}
