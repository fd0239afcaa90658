/**
 * The events that dashboards listen to, as long as there are any: once a second what has changed,
 * and all of it at the beginning, twice a minute, after a change of the tree, and for a listener
 * that has not kept up.
 *
 * Read first: "Server-sent events" in the HTML standard.
 */
import type { ServerResponse } from "node:http";
import type { EventShape } from "../../page/model/feed.ts";
import type { About } from "./messages.ts";
import type { Readings } from "./readings.ts";
import { deltaOf, fullOf } from "./views.ts";

const INTERVAL_MS = 1000;

/** Events from one with everything to the next. */
const FULL_EVERY = 30;

/** Events in a row that a listener may leave unread before it is cut off. */
const MOST_MISSED = 30;

/** What it does with a response. */
export type Stream = Pick<
  ServerResponse,
  "destroy" | "on" | "once" | "write" | "writableNeedDrain" | "writeHead"
>;

interface Listener {
  readonly response: Stream;
  /** Events that it did not get because earlier ones wait to be read. */
  missed: number;
  /** It is to get everything next. */
  isNew: boolean;
}

export interface FeedOptions {
  readonly readings: Pick<Readings, "now">;
  readonly about: About;
  /** Calls again and again, until what it returns is called. */
  readonly every: (ms: number, call: () => void) => () => void;
}

export class Feed {
  readonly #options: FeedOptions;
  readonly #listeners = new Set<Listener>();
  #stopTicking: (() => void) | null = null;
  #isAtWork = false;
  #last: EventShape | null = null;
  #sinceFull = 0;

  constructor(options: FeedOptions) {
    this.#options = options;
  }

  get listeners(): number {
    return this.#listeners.size;
  }

  listen(response: Stream): void {
    const listener = { response, missed: 0, isNew: true };
    this.#listeners.add(listener);
    response.once("close", () => {
      this.#listeners.delete(listener);
      if (this.#listeners.size === 0) this.#stop();
    });
    response.on("error", () => response.destroy());
    response.writeHead(200, { "Content-Type": "text/event-stream" });
    this.#stopTicking ??= this.#options.every(INTERVAL_MS, () => void this.#tick());
    if (this.#last === null) void this.#tick();
    else {
      response.write(eventOf("full", this.#last)); // from which the next changes go on
      listener.isNew = false;
    }
  }

  #stop(): void {
    this.#stopTicking?.();
    this.#stopTicking = null;
    this.#last = null;
  }

  /** Never rejects: while the packet thread does not answer there are no events. */
  async #tick(): Promise<void> {
    if (this.#isAtWork) return;
    this.#isAtWork = true;
    try {
      const { readings, about } = this.#options;
      const reading = await readings.now();
      // What was read for those who have gone would be old for the next one.
      if (this.#listeners.size > 0) this.#send(fullOf(reading, about));
    } catch { /* the page sees that nothing comes */ }
    this.#isAtWork = false;
  }

  #send(now: EventShape): void {
    const before = this.#last;
    const isFull = before === null || before.tree !== now.tree || this.#sinceFull >= FULL_EVERY;
    this.#sinceFull = isFull ? 0 : this.#sinceFull + 1;
    this.#last = now;
    let [full, delta] = ["", ""];
    for (const listener of this.#listeners) {
      const { response } = listener;
      if (response.writableNeedDrain) {
        listener.isNew = true;
        if (++listener.missed > MOST_MISSED) response.destroy();
        continue;
      }
      listener.missed = 0;
      if (isFull || listener.isNew) response.write(full ||= eventOf("full", now));
      else response.write(delta ||= eventOf("delta", deltaOf(before, now)));
      listener.isNew = false;
    }
  }
}

function eventOf(name: string, data: EventShape): string {
  return `event: ${name}\ndata: ${JSON.stringify(data)}\n\n`;
}
