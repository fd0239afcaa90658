/**
 * The packet thread's side of the control socket: starts the control thread, and answers what it
 * asks.
 */
import type { Controller } from "../../control/controller.ts";
import { failureOf } from "../../control/replies.ts";
import type { ErrorShape, VersionShape } from "../../control/shapes.ts";
import type { Log } from "../../core/log.ts";
import { printable } from "../../core/text.ts";
import type { Config } from "../../datapath/config.ts";
import type { HashKey } from "../../wire/keyed_hash.ts";
import type { FromControl, ToControl } from "./messages.ts";

/** Most connections at a time. */
const MAX_CONNECTIONS = 64;

/** Descriptors that are left for devices, files and what is read again. */
const RESERVED_DESCRIPTORS = 32;

/** What the thread, its socket, and a connection that is refused take. */
const OWN_DESCRIPTORS = 12;

/** How long the socket may take to go from its folder at the end. */
const CLOSE_MS = 500;

export interface ControlOptions {
  /** Where the socket is to be. */
  readonly path: string;
  /** Starts a thread that runs `serveControl`. */
  readonly thread: () => Worker;
  readonly controller: Controller;
  readonly config: Config;
  readonly hashKey: HashKey;
  readonly about: VersionShape;
  /** How many more descriptors the process may open. */
  readonly spareDescriptors: number;
  readonly log: Log;
}

/** An open control socket. */
export class Control {
  readonly #worker: Worker;
  readonly #closed: Promise<void>;

  private constructor(worker: Worker, closed: Promise<void>) {
    this.#worker = worker;
    this.#closed = closed;
  }

  /** Resolves when the socket is open. Throws an Error of one line if it can't be. */
  static async open(options: ControlOptions): Promise<Control> {
    const { controller, log, path, config, hashKey, about, spareDescriptors } = options;
    const fail = `Cannot open control socket "${printable(path)}"`;
    const spare = spareDescriptors - RESERVED_DESCRIPTORS - OWN_DESCRIPTORS;
    if (spare < 1) {
      throw new Error(
        `${fail}: the limit of open files (ulimit -n) leaves too few: ` +
          `expected at least ${1 - spare} more`,
      );
    }
    const maxConnections = Math.min(MAX_CONNECTIONS, spare);
    const worker = options.thread();
    const closed = Promise.withResolvers<void>();
    const opened = Promise.withResolvers<void>();
    const post = (message: ToControl) => worker.postMessage(message);
    let isOpen = false;
    worker.onerror = (event) => {
      event.preventDefault();
      opened.reject(new Error(`${fail}: ${event.message}`));
      if (isOpen) log.error(`the control socket is closed: ${event.message}`);
      closed.resolve();
    };
    worker.onmessage = ({ data }: MessageEvent<FromControl>) => {
      switch (data.from) {
        case "opened":
          log.info(`control socket "${data.path}" is open`);
          isOpen = true;
          opened.resolve();
          break;
        case "failed":
          opened.reject(new Error(data.reason));
          break;
        case "request":
          void answer(data, controller, post);
          break;
        case "closed":
          closed.resolve();
      }
    };
    post({ to: "open", path, config, hashKey, about, maxConnections });
    try {
      await opened.promise;
    } catch (error) {
      worker.terminate();
      throw error;
    }
    return new Control(worker, closed.promise);
  }

  /** Closes the socket and what is connected to it. */
  async close(): Promise<void> {
    this.#worker.postMessage({ to: "close" } satisfies ToControl);
    let timer: ReturnType<typeof setTimeout> | undefined;
    const late = new Promise<void>((resolve) => timer = setTimeout(resolve, CLOSE_MS));
    await Promise.race([this.#closed, late]);
    clearTimeout(timer);
    this.#worker.terminate();
  }
}

async function answer(
  { number, request }: Extract<FromControl, { from: "request" }>,
  controller: Controller,
  post: (message: ToControl) => void,
): Promise<void> {
  try {
    post({ to: "answer", number, answer: await controller.answer(request) });
  } catch (error) {
    const { status, json } = failureOf(error);
    const { error: message, details = [] } = json as ErrorShape;
    post({ to: "refuse", number, status, message, details });
  }
}
