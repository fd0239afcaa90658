/**
 * The packet thread's side of the control socket: starts the control thread, and answers what it
 * asks.
 */
import type { Controller } from "../../control/controller.ts";
import { failureOf } from "../../control/replies.ts";
import type { ErrorShape, SandboxShape, VersionShape } from "../../control/shapes.ts";
import type { Log } from "../../core/log.ts";
import { printable } from "../../core/text.ts";
import type { Config } from "../../datapath/config.ts";
import type { HashKey } from "../../wire/keyed_hash.ts";
import { connectionsWithin, type Descriptors, ServingThread } from "../serving_thread.ts";
import type { FromControl, ToControl } from "./messages.ts";

export interface ControlOptions {
  /** Where the socket is to be. */
  readonly path: string;
  /** Starts a thread that runs `serveControl`. */
  readonly thread: () => Worker;
  readonly controller: Controller;
  readonly config: Config;
  readonly hashKey: HashKey;
  readonly about: VersionShape;
  /** Path of the shim. */
  readonly shim: string;
  readonly descriptors: Descriptors;
  readonly log: Log;
}

/** Resolves when the socket is open. Throws an Error of one line if it can't be. */
export async function openControl(options: ControlOptions): Promise<ServingThread> {
  const { controller, log, path, config, hashKey, about, shim, descriptors, thread } = options;
  const fail = `Cannot open control socket "${printable(path)}"`;
  const maxConnections = connectionsWithin(descriptors, fail);
  const serving = await ServingThread.open<ToControl, FromControl>({
    fail,
    thread,
    first: { to: "open", path, config, hashKey, about, maxConnections, shim },
    hear: (message, post) => void answer(message, controller, post),
    lost: (reason) => log.error(`the control socket is closed: ${reason}`, "control-failed"),
  });
  log.info(`control socket "${serving.at}" is open`, "control-open", { path: serving.at });
  return serving;
}

/** What the run has given up, for who asks at the control socket. */
export function tellSandbox(control: ServingThread | null, sandbox: SandboxShape): void {
  control?.post({ to: "sandbox", sandbox } satisfies ToControl);
}

async function answer(
  { number, request }: FromControl,
  controller: Controller,
  post: (message: ToControl) => void,
): Promise<void> {
  const startMs = performance.now();
  const tookMs = () => performance.now() - startMs;
  try {
    const answer = await controller.answer(request);
    post({ to: "answer", number, answer, tookMs: tookMs() });
  } catch (error) {
    const { status, json } = failureOf(error);
    const { error: message, details = [] } = json as ErrorShape;
    post({ to: "refuse", number, tookMs: tookMs(), status, message, details });
  }
}
