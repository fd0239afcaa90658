/**
 * The packet thread's side of `--admin`: starts the admin thread, and fills in the numbers when
 * that asks for them. While nobody looks nothing is done here.
 */
import type { Log } from "../../core/log.ts";
import type { AdminConfig } from "../../datapath/config.ts";
import { connectionsWithin, type Descriptors, ServingThread } from "../serving_thread.ts";
import type { Work } from "../turns.ts";
import type { Filler } from "./filler.ts";
import type { About, FromAdmin, ToAdmin } from "./messages.ts";

export interface AdminOptions {
  readonly config: AdminConfig;
  /** Starts a thread that runs `serveAdmin`. */
  readonly thread: () => Worker;
  /** Makes what fills in the numbers, and tells `post` what they mean. */
  readonly filler: (post: (message: ToAdmin) => void) => Filler;
  readonly work: Work;
  readonly about: About;
  /** Path of the shim. */
  readonly shim: string;
  readonly descriptors: Descriptors;
  readonly log: Log;
}

/** Resolves when the address is listened at. Throws an Error of one line if it can't be. */
export async function openAdmin(options: AdminOptions): Promise<ServingThread> {
  const { config, thread, about, shim, descriptors, log, work } = options;
  const at = `${config.host}:${config.port}`;
  const fail = `Cannot listen at ${at}`;
  const maxConnections = connectionsWithin(descriptors, fail);
  let filler: Filler | null = null;
  const serving = await ServingThread.open<ToAdmin, FromAdmin>({
    fail,
    thread,
    first: { to: "open", config, about, maxConnections, shim },
    hear: (_fill, post) => void fill(filler ??= options.filler(post), work, post),
    lost: (reason) => log.error(`nobody listens at ${at} any more: ${reason}`, "admin-failed"),
  });
  log.info(`metrics are served at http://${serving.at}/metrics`, "admin-open", {
    address: serving.at,
  });
  return serving;
}

async function fill(filler: Filler, work: Work, post: (message: ToAdmin) => void): Promise<void> {
  const startMs = performance.now();
  await work(filler.fill());
  post({ to: "filled", tookMs: performance.now() - startMs });
}
