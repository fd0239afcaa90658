/**
 * A thread that serves others, from the packet thread's side: how it is started, until it listens,
 * and how it ends. What is asked and answered meanwhile is its owner's.
 */

/** Most connections at a time. */
const MAX_CONNECTIONS = 64;

/** Descriptors that are left for devices, files and what is read again. */
const RESERVED_DESCRIPTORS = 32;

/** What a thread, its socket, and a few connections that are being refused take. */
const OWN_DESCRIPTORS = 14;

/** How long the thread may take to close its socket at the end. */
const CLOSE_MS = 500;

/** What every such thread says. */
export type FromServing =
  | { readonly from: "opened"; readonly at: string }
  | { readonly from: "failed"; readonly reason: string }
  | { readonly from: "closed" };

/** `Own`: what it says besides. */
export interface ServingOptions<To, Own extends { readonly from: string }> {
  /** How a message begins that says why it can't listen. */
  readonly fail: string;
  /** Starts the thread. */
  readonly thread: () => Worker;
  /** What it is told first: it answers with `opened`, or with `failed` and one line. */
  readonly first: To;
  readonly hear: (message: Own, post: (message: To) => void) => void;
  /** It listens no more, though nobody has closed it. */
  readonly lost: (reason: string) => void;
}

/** How many more descriptors the process may open, and how many such threads share them. */
export interface Descriptors {
  readonly spare: number;
  readonly threads: number;
}

/**
 * How many connections it may take with its share of them. Throws an Error that begins with `fail`
 * if that is none.
 */
export function connectionsWithin({ spare, threads }: Descriptors, fail: string): number {
  const most = Math.floor(spare / threads) - RESERVED_DESCRIPTORS - OWN_DESCRIPTORS;
  if (most >= 1) return Math.min(MAX_CONNECTIONS, most);
  const missing = threads * (RESERVED_DESCRIPTORS + OWN_DESCRIPTORS + 1) - spare;
  throw new Error(
    `${fail}: the limit of open files (ulimit -n) leaves too few: expected at least ${missing} more`,
  );
}

export class ServingThread {
  /** Where it listens. */
  readonly at: string;
  readonly #worker: Worker;
  readonly #closed: Promise<void>;

  private constructor(at: string, worker: Worker, closed: Promise<void>) {
    this.at = at;
    this.#worker = worker;
    this.#closed = closed;
  }

  /** Resolves when it listens. Throws an Error of one line if it can't. */
  static async open<To, Own extends { readonly from: string }>(
    { fail, thread, first, hear, lost }: ServingOptions<To, Own>,
  ): Promise<ServingThread> {
    const worker = thread();
    const closed = Promise.withResolvers<void>();
    const opened = Promise.withResolvers<string>();
    const post = (message: To) => worker.postMessage(message);
    let isOpen = false;
    worker.onerror = (event) => {
      event.preventDefault();
      opened.reject(new Error(`${fail}: ${event.message}`));
      if (isOpen) lost(event.message);
      closed.resolve();
    };
    worker.onmessage = ({ data }: MessageEvent<FromServing | Own>) => {
      if (isOwn<Own>(data)) return hear(data, post);
      if (data.from === "opened") {
        isOpen = true;
        opened.resolve(data.at);
      } else if (data.from === "failed") opened.reject(new Error(data.reason));
      else closed.resolve();
    };
    post(first);
    try {
      return new ServingThread(await opened.promise, worker, closed.promise);
    } catch (error) {
      worker.terminate();
      throw error;
    }
  }

  /** Tells it something, which must be a message that it knows. */
  post(message: unknown): void {
    this.#worker.postMessage(message);
  }

  /** Closes the socket and what is connected to it. */
  async close(): Promise<void> {
    this.#worker.postMessage({ to: "close" });
    let timer: ReturnType<typeof setTimeout> | undefined;
    const late = new Promise<void>((resolve) => timer = setTimeout(resolve, CLOSE_MS));
    await Promise.race([this.#closed, late]);
    clearTimeout(timer);
    this.#worker.terminate();
  }
}

function isOwn<Own extends { readonly from: string }>(message: FromServing | Own): message is Own {
  return !["opened", "failed", "closed"].includes(message.from);
}
