/** Counts the memory of typed arrays, whenever garbage is collected. */

const KINDS = [
  ...["Uint8Array", "Uint16Array", "Uint32Array", "Int32Array", "Float64Array"] as const,
] as const;

/** Bytes of the typed arrays that `run` makes. */
export function arrayBytes(run: () => void): number {
  let bytes = 0;
  const real = KINDS.map((kind) => globalThis[kind]);
  const counting = {
    construct(kind: new (...args: unknown[]) => ArrayBufferView, args: unknown[]) {
      const made = new kind(...args);
      if (!(args[0] instanceof ArrayBuffer)) bytes += made.byteLength;
      return made;
    },
  };
  try {
    for (const [i, kind] of KINDS.entries()) {
      Object.assign(globalThis, { [kind]: new Proxy(real[i]!, counting as ProxyHandler<never>) });
    }
    run();
  } finally {
    for (const [i, kind] of KINDS.entries()) Object.assign(globalThis, { [kind]: real[i] });
  }
  return bytes;
}
