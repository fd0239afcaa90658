/** The policy thread in this thread: what crosses is cloned and transferred as between two. */
import { buffersOf } from "../../src/policy/engine/image.ts";
import { Maker } from "../../src/process/policies/maker.ts";
import type { ToPolicies } from "../../src/process/policies/messages.ts";
import { PolicyThread } from "../../src/process/policies/thread.ts";
import { atOnce } from "../../src/process/turns.ts";
import { answerTo } from "../../src/process/policies/worker.ts";

export class NearThread {
  onmessage: ((event: MessageEvent) => void) | null = null;
  onerror: ((event: ErrorEvent) => void) | null = null;
  isEnded = false;
  readonly #maker = new Maker();

  postMessage(message: ToPolicies): void {
    const answer = answerTo(structuredClone(message), this.#maker);
    if (answer === null) return;
    const data = structuredClone(answer, { transfer: buffersOf(answer) });
    queueMicrotask(() => this.onmessage?.(new MessageEvent("message", { data })));
  }

  terminate(): void {
    this.isEnded = true;
  }

  /** As when the thread has thrown. */
  fail(message: string): void {
    this.onerror?.(new ErrorEvent("error", { message, cancelable: true }));
  }
}

/** A thread of policies, and those that it has started. */
export function nearThread(): { readonly thread: PolicyThread; readonly started: NearThread[] } {
  const started: NearThread[] = [];
  const thread = new PolicyThread(() => {
    started.push(new NearThread());
    return started.at(-1) as unknown as Worker;
  }, atOnce);
  return { thread, started };
}
