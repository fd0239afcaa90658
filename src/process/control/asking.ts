/** What the control thread asks the packet thread, so that packets do not wait for it. */
import { type Answers, type Ask, Refusal, type Request } from "../../control/request.ts";
import type { FromControl, ToControl } from "./messages.ts";

/** Most of the packet thread's time that all who ask have together. */
const SHARE = 1 / 20;

/** What an answer takes at least, with the messages there and back. */
const LEAST_MS = 0.05;

/** Longest rest after an answer: some are made in many turns. */
const MAX_REST_MS = 100;

export interface AskingOptions {
  readonly post: (message: FromControl) => void;
  readonly delay: (ms: number) => Promise<void>;
}

interface Waiting {
  readonly resolve: (answer: unknown) => void;
  readonly reject: (error: Error) => void;
}

/**
 * Asks one thing at a time, so that a turn of the packet thread holds at most one, however many
 * clients there are; and after each answer waits until the thread has had its SHARE for packets. A
 * reload, which waits for files, is not waited for by others.
 */
export class Asking {
  readonly #options: AskingOptions;
  readonly #waiting = new Map<number, Waiting>();
  #next = 0;
  #last: Promise<unknown> = Promise.resolve();
  /** What the last answer took of the packet thread. */
  #tookMs = 0;

  constructor(options: AskingOptions) {
    this.#options = options;
  }

  ask<A extends Ask>(request: Extract<Request, { ask: A }>): Promise<Answers[A]> {
    if (request.ask === "reload") return this.#send(request) as Promise<Answers[A]>;
    const answer = this.#last.then(() => this.#send(request));
    this.#last = answer.catch(() => {}).then(() => this.#rest());
    return answer as Promise<Answers[A]>;
  }

  settle(message: Extract<ToControl, { number: number }>): void {
    const waiting = this.#waiting.get(message.number);
    this.#waiting.delete(message.number);
    this.#tookMs = message.tookMs;
    if (message.to === "answer") waiting?.resolve(message.answer);
    else waiting?.reject(new Refusal(message.status, message.message, message.details));
  }

  #send(request: Request): Promise<unknown> {
    const number = this.#next++;
    return new Promise((resolve, reject) => {
      this.#waiting.set(number, { resolve, reject });
      this.#options.post({ from: "request", number, request });
    });
  }

  #rest(): Promise<void> {
    const restMs = Math.max(LEAST_MS, this.#tookMs) * (1 / SHARE - 1);
    return this.#options.delay(Math.min(MAX_REST_MS, restMs));
  }
}
