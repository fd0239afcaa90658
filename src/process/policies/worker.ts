/**
 * The policy thread: what takes long about a policy, and leaves much for the collector of garbage,
 * happens here. It reads no files: their texts are given to it.
 */
import { buffersOf } from "../../policy/engine/image.ts";
import { Maker } from "./maker.ts";
import type { FromPolicies, ToPolicies } from "./messages.ts";

/** The name by which a thread knows what it is for. */
export const POLICY_THREAD = "policies";

/** The part of the thread's global scope that is used. */
interface Scope {
  postMessage(message: FromPolicies, transfer: Transferable[]): void;
  onmessage: ((event: MessageEvent<ToPolicies>) => void) | null;
}

/** Serves until the thread is ended. */
export function servePolicies(): void {
  const scope = globalThis as unknown as Scope;
  const maker = new Maker();
  scope.onmessage = ({ data }) => {
    const answer = answerTo(data, maker);
    if (answer !== null) scope.postMessage(answer, buffersOf(answer));
  };
  scope.postMessage({ from: "here" }, []);
}

/** What the message is answered with; null: with nothing. */
export function answerTo(message: ToPolicies, maker: Maker): FromPolicies | null {
  try {
    return answerOf(message, maker);
  } catch (error) {
    if (message.to === "know") return null; // then nothing is kept of it
    return { from: "failed", reason: error instanceof Error ? error.message : String(error) };
  }
}

function answerOf(message: ToPolicies, maker: Maker): FromPolicies | null {
  switch (message.to) {
    case "read":
      maker.read(message.piece);
      return null;
    case "know":
      maker.know(message.source);
      return null;
    case "load":
      return { from: "loaded", loaded: maker.load(message.source, message.isChecked) };
    case "make":
      return { from: "made", image: maker.make(message.isLoaded, message.around) };
    case "took":
      maker.took();
      return null;
  }
}
