/** Asks for the tree and listens to the events, and again when the connection is lost. */
import type { EventShape, TreeShape } from "../model/feed.ts";
import type { Session } from "../model/session.ts";

const ANSWER_MS = 5000;

/** How often it is looked whether there is something to do. */
export const LOOK_MS = 250;

export class FeedClient {
  readonly #session: Session;
  /** Something has come. */
  readonly #heard: () => void;
  #events: EventSource | null = null;
  #isAsking = false;

  constructor(session: Session, heard: () => void) {
    this.#session = session;
    this.#heard = heard;
  }

  async connect(): Promise<void> {
    this.#session.tries(performance.now());
    try {
      await this.#askTree();
    } catch {
      this.#fail();
      return;
    }
    const events = this.#events = new EventSource("/events");
    for (const name of ["full", "delta"]) {
      events.addEventListener(name, ({ data }) => this.#hear(name === "full", JSON.parse(data)));
    }
    events.onerror = () => this.#fail();
  }

  /** Tries again when it is time, and gives up what is silent. */
  look(): void {
    const nowMs = performance.now();
    if (this.#session.link.isDue(nowMs)) void this.connect();
    else if (this.#session.link.isSilent(nowMs)) this.#fail();
  }

  /** With a time of its own after each failure. */
  #fail(): void {
    this.#events?.close();
    this.#events = null;
    this.#session.failed(performance.now());
    this.#heard();
  }

  #hear(isFull: boolean, event: EventShape): void {
    const isOther = this.#session.heardEvent(isFull, event, performance.now());
    if (isOther && !this.#isAsking) void this.#askTree().catch(() => {}); // the next event asks again
    this.#heard();
  }

  async #askTree(): Promise<void> {
    this.#isAsking = true;
    try {
      const answer = await fetch("/api/tree", { signal: AbortSignal.timeout(ANSWER_MS) });
      if (!answer.ok) throw new Error(await answer.text());
      const tree: TreeShape = await answer.json();
      this.#session.heardTree(tree, performance.now());
      this.#heard();
    } finally {
      this.#isAsking = false;
    }
  }
}
