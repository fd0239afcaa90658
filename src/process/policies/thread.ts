/**
 * The packet thread's side of the policy thread: starts it, again if it has ended, and asks it one
 * thing at a time.
 */
import { printable } from "../../core/text.ts";
import type { Surroundings } from "../../datapath/running_policy.ts";
import type { Image } from "../../policy/engine/image.ts";
import type { PolicySource } from "../policy_file.ts";
import type { Work } from "../turns.ts";
import type { FromPolicies, Loaded, ToPolicies } from "./messages.ts";
import { outlineOf } from "./texts.ts";

export class PolicyThread {
  readonly #thread: () => Worker;
  readonly #work: Work;
  /** Null: it has not begun, or has ended. */
  #worker: Worker | null = null;
  /** It has been told what runs. */
  #knows = false;
  /** What runs; null: nothing yet. */
  #running: (() => PolicySource) | null = null;
  #answer: PromiseWithResolvers<FromPolicies> = Promise.withResolvers();
  #here: PromiseWithResolvers<void> = Promise.withResolvers();

  /** `thread` starts one that runs `servePolicies`; `work` sends it texts. */
  constructor(thread: () => Worker, work: Work) {
    this.#thread = thread;
    this.#work = work;
    this.#answer.promise.catch(() => {}); // nobody may have asked when the thread ends
  }

  /** Starts the thread unless it is there; who does that waits some 40 ms for it. */
  start(): Worker {
    if (this.#worker !== null) return this.#worker;
    const worker = this.#thread();
    const here = this.#here = Promise.withResolvers();
    worker.onmessage = ({ data }: MessageEvent<FromPolicies>) => {
      if (data.from === "here") here.resolve();
      else this.#answer.resolve(data);
    };
    worker.onerror = (event) => {
      event.preventDefault();
      worker.terminate();
      this.#worker = null;
      this.#knows = false;
      const why = `the thread that makes policies has ended: ${printable(event.message)}`;
      this.#answer.reject(new Error(why));
      here.resolve(); // who asks next hears of it
    };
    this.#knows = false;
    return this.#worker = worker;
  }

  /** Starts the thread unless it is there; resolves when its program is loaded, or it has ended. */
  async loaded(): Promise<void> {
    this.start();
    await this.#here.promise;
  }

  /** Reads and checks a policy. Rejects with an Error that says what is wrong. */
  async load(source: PolicySource, isChecked: boolean): Promise<Loaded> {
    const answer = await this.#ask({ to: "load", source: outlineOf(source), isChecked }, source);
    if (answer.from === "loaded") return answer.loaded;
    throw reasonOf(answer);
  }

  /**
   * Makes what was loaded last, or what runs with other pools. Rejects with an Error if that can't
   * run.
   */
  async make(isLoaded: boolean, around: Surroundings): Promise<Image> {
    const answer = await this.#ask({ to: "make", isLoaded, around });
    if (answer.from === "made") return answer.image;
    throw reasonOf(answer);
  }

  /** This policy runs: what was made last, if there is a thread already. */
  runs(source: () => PolicySource): void {
    this.#running = source;
    if (this.#knows) post(this.start(), { to: "took" });
  }

  end(): void {
    this.#worker?.terminate();
    this.#worker = null;
  }

  /** Sends the message, and before it the `source` that it is about. */
  async #ask(message: ToPolicies, source: PolicySource | null = null): Promise<FromPolicies> {
    const answer = this.#answer = Promise.withResolvers();
    answer.promise.catch(() => {}); // the thread may end while it is told the texts
    const worker = this.start();
    if (!this.#knows && this.#running !== null) {
      const running = this.#running();
      await this.#send(worker, running);
      post(worker, { to: "know", source: outlineOf(running) });
    }
    this.#knows = this.#worker === worker;
    if (source !== null) await this.#send(worker, source);
    post(worker, message);
    return await answer.promise;
  }

  #send(worker: Worker, source: PolicySource): Promise<void> {
    return this.#work((function* () {
      for (const piece of source.pieces) {
        post(worker, { to: "read", piece });
        yield;
      }
    })());
  }
}

function post(worker: Worker, message: ToPolicies): void {
  worker.postMessage(message);
}

function reasonOf(answer: FromPolicies): Error {
  return new Error("reason" in answer ? answer.reason : `Cannot use the answer "${answer.from}"`);
}
