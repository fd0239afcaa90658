/**
 * The control thread: opens the socket, serves it, and asks the packet thread one thing at a time.
 */
import type { Server } from "node:http";
import { loadThread } from "../../../ffi/thread.ts";
import type { Around } from "../../control/pieces.ts";
import type { SandboxShape } from "../../control/shapes.ts";
import { printable } from "../../core/text.ts";
import { Asking } from "./asking.ts";
import { threadCounter } from "../sandbox.ts";
import type { FromServing } from "../serving_thread.ts";
import type { FromControl, ToControl } from "./messages.ts";
import { makeServer } from "./server.ts";
import { claimSocketPath } from "./socket_path.ts";

/** The name by which a thread knows what it is for. */
export const CONTROL_THREAD = "control";

/** Not the owner's execute bit, and nothing for others. */
const SOCKET_UMASK = 0o177;

/**
 * Where packets want all processors, they get some ten times what this thread gets, whoever asks it
 * for whatever (sched(7), "The nice value").
 */
const NICE = 10;

/** Until it is told. */
const NOTHING: SandboxShape = {
  ...{ mode: "off", user: null, landlock: null },
  ...{ threads: 0, noNewPrivileges: 0, noCapabilities: 0, emptyBoundingSet: 0, filtered: 0 },
};

/** The part of the thread's global scope that is used. */
interface Scope {
  postMessage(message: FromControl | FromServing): void;
  onmessage: ((event: MessageEvent<ToControl>) => void) | null;
}

/** Serves until told to close. */
export function serveControl(): void {
  const scope = globalThis as unknown as Scope;
  const asking = new Asking({ post: (message) => scope.postMessage(message), delay });
  let server: Server | null = null;
  const sandbox = { shape: NOTHING };
  scope.onmessage = ({ data }) => {
    switch (data.to) {
      case "open":
        open(data, asking, sandbox).then((opened) => {
          server = opened.server;
          scope.postMessage({ from: "opened", at: opened.path });
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
      case "sandbox":
        sandbox.shape = data.sandbox;
        break;
      default:
        asking.settle(data);
    }
  };
}

async function open(
  { path, config, hashKey, about, maxConnections, shim }: Extract<ToControl, { to: "open" }>,
  asking: Asking,
  sandbox: { readonly shape: SandboxShape },
): Promise<{ server: Server; path: string }> {
  const count = threadCounter(shim);
  let refused = 0;
  const around: Around = {
    own: () => ({ sandbox: { ...sandbox.shape, ...count() }, control: { refused } }),
    ask: (request) => asking.ask(request),
    config,
    hashKey,
    about,
    delay,
    nowMs: () => performance.now(),
  };
  const thread = loadThread(shim);
  thread.symbols.thread_nice(NICE); // to ask for less is always allowed
  thread.close();
  const real = await claimSocketPath(path);
  const server = makeServer(around, maxConnections, () => refused++);
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

function delay(ms: number): Promise<void> {
  return new Promise((resolve) => setTimeout(resolve, ms));
}
