/** V8's own threads, which compile what runs often. */
import { loadThread } from "../../ffi/thread.ts";

/** How their names begin. */
const NAMES = "V8 ";

/** On a full machine a tenth of what packets get (sched(7)). */
const NICE = 10;

/**
 * Has V8 compile beside the packets, not before them: after a start its threads would take as much
 * of the processors as the packets do.
 */
export function makeCompilersYield(shim: string): void {
  const threads = loadThread(shim);
  threads.symbols.threads_nice(new TextEncoder().encode(`${NAMES}\0`), NICE);
  threads.close();
}
