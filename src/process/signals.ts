/** Signals: what they call, and what they do while nobody listens. */

/** Calls `handlers` for signals until the returned function is called. */
export function listen(handlers: Partial<Record<Deno.Signal, () => void>>): () => void {
  const entries = Object.entries(handlers) as [Deno.Signal, () => void][];
  for (const [signal, handler] of entries) Deno.addSignalListener(signal, handler);
  return () => {
    for (const [signal, handler] of entries) Deno.removeSignalListener(signal, handler);
  };
}

/**
 * From now on to the end of the process the signals that a run listens for do nothing by
 * themselves. `src/pack/launcher.c` holds them back before. SIGHUP comes first: with the first
 * listener of all the runtime catches it, and lets it end the process if nobody listens.
 */
export function ignoreSignals(): void {
  const nothing = () => {};
  listen({ SIGHUP: nothing, SIGUSR2: nothing });
}

/** Flags that have no value. */
const SWITCHES = ["--preserve-source", "--admin-insecure-bind"];

/** True if the arguments ask for a run: all words are flags or values of flags. */
export function isRun(args: readonly string[]): boolean {
  let isValue = false;
  for (const word of args) {
    const isFlag = word.startsWith("--");
    if (!isFlag && !isValue) return false;
    isValue = isFlag && !word.includes("=") && !SWITCHES.includes(word);
  }
  return true;
}
