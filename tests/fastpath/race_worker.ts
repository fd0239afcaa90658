/** A processor that runs the fast path's program for `race_test.ts`, on a thread of its own. */
import { BpfKernel } from "../../src/bpf/kernel.ts";

/** What it is told. */
export interface Race {
  readonly shim: string;
  readonly program: number;
  readonly frame: Uint8Array;
  readonly runs: number;
  /** By the last number of a backend's address: all else that goes with it. */
  readonly expected: ReadonlyMap<number, string>;
  /** 1 once it has ended. */
  readonly done: Int32Array<SharedArrayBuffer>;
}

/** What it saw; `mixed` is a frame that belongs to no connection. */
export interface Seen {
  readonly forwarded: number;
  readonly left: number;
  readonly mixed: string | null;
}

/** Of a frame, what its backend determines. */
export function partsOf(frame: Uint8Array): string {
  const view = new DataView(frame.buffer, frame.byteOffset);
  return [frame.subarray(0, 6).toHex(), view.getUint8(22), view.getUint32(34)].join();
}

if ("onmessage" in globalThis) {
  const scope = globalThis as unknown as {
    onmessage: (event: MessageEvent<Race>) => void;
    postMessage: (seen: Seen) => void;
  };
  scope.onmessage = ({ data: { shim, program, frame, runs, expected, done } }) => {
    const kernel = new BpfKernel(shim);
    let forwarded = 0;
    let mixed: string | null = null;
    for (let i = 0; i < runs; i++) {
      const run = kernel.run(program, { frame, ifindex: 1, gsoSize: 0, mark: 0 });
      if (run.result < 0) continue;
      forwarded++;
      if (partsOf(run.frame) !== expected.get(run.frame[33]!)) mixed ??= run.frame.toHex();
    }
    scope.postMessage({ forwarded, left: runs - forwarded, mixed });
    Atomics.store(done, 0, 1);
  };
}
