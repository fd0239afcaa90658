/** Calls `handlers` for signals until the returned function is called. */
export function listen(handlers: Partial<Record<Deno.Signal, () => void>>): () => void {
  const entries = Object.entries(handlers) as [Deno.Signal, () => void][];
  for (const [signal, handler] of entries) Deno.addSignalListener(signal, handler);
  return () => {
    for (const [signal, handler] of entries) Deno.removeSignalListener(signal, handler);
  };
}
