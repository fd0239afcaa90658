/**
 * The admin thread: listens at the address of `--admin`, and asks the packet thread for numbers.
 */
import type { Server } from "node:http";
import { loadThread } from "../../../ffi/thread.ts";
import { Feed } from "./feed.ts";
import type { FromServing } from "../serving_thread.ts";
import type { FromAdmin, ToAdmin } from "./messages.ts";
import { pageOf } from "./page.ts";
import { Readings } from "./readings.ts";
import { makeAdminServer } from "./server.ts";

/** The name by which a thread knows what it is for. */
export const ADMIN_THREAD = "admin";

/** As the control thread's: where packets want all processors they get some ten times as much. */
const NICE = 10;

/** Why an address can't be listened at; EINVAL is what Deno says for EADDRNOTAVAIL. */
const REASONS: Readonly<Record<string, string>> = {
  EADDRINUSE: "another program listens there",
  EACCES: "this user may not, expected root, or a port from 1024 on",
  EINVAL: "this host has no such address",
};

/** The part of the thread's global scope that is used. */
interface Scope {
  postMessage(message: FromAdmin | FromServing): void;
  onmessage: ((event: MessageEvent<ToAdmin>) => void) | null;
}

interface Opened {
  readonly server: Server;
  readonly readings: Readings;
}

/** Reads the dashboard; null: it was not built. */
type ReadPage = () => Promise<string | null>;

/** Serves until told to close. */
export function serveAdmin(readPage: ReadPage): void {
  const scope = globalThis as unknown as Scope;
  const post = (message: FromAdmin | FromServing) => scope.postMessage(message);
  let opened: Opened | null = null;
  scope.onmessage = ({ data }) => {
    switch (data.to) {
      case "open":
        open(data, readPage, () => post({ from: "fill" })).then((done) => {
          opened = done;
          post({ from: "opened", at: `${data.config.host}:${data.config.port}` });
        }, (error) => {
          post({ from: "failed", reason: error instanceof Error ? error.message : String(error) });
        });
        break;
      case "close":
        opened?.server.close(() => post({ from: "closed" }));
        opened?.server.closeAllConnections();
        break;
      default:
        opened?.readings.hear(data);
    }
  };
}

/** As `Feed` wants it. */
export function every(ms: number, call: () => void): () => void {
  const timer = setInterval(call, ms);
  return () => clearInterval(timer);
}

async function open(
  { config, about, maxConnections, shim }: Extract<ToAdmin, { to: "open" }>,
  readPage: ReadPage,
  fill: () => void,
): Promise<Opened> {
  const thread = loadThread(shim);
  thread.symbols.thread_nice(NICE); // to ask for less is always allowed
  thread.close();
  // What renders the metrics is loaded for nothing else.
  const { Exposition } = await import("./exposition.ts");
  const own = { refused: 0 };
  const readings = new Readings({
    about,
    fill,
    delay: (ms) => new Promise((resolve) => setTimeout(resolve, ms)),
    nowMs: () => performance.now(),
    wallMs: () => Date.now(),
  });
  const server = makeAdminServer({
    config,
    about,
    readings,
    exposition: new Exposition(about, own),
    page: pageOf(await readPage()),
    feed: new Feed({ readings, about, every }),
    maxConnections,
    refused: () => own.refused++,
  });
  const { host, port } = config;
  try {
    await new Promise<void>((resolve, reject) => {
      server.once("error", reject);
      server.listen({ host: host.replace(/^\[|\]$/g, ""), port }, resolve);
    });
  } catch (error) {
    const { code = "", message } = error as { code?: string; message: string };
    throw new Error(`Cannot listen at ${host}:${port}: ${REASONS[code] ?? message}`);
  }
  return { server, readings };
}
