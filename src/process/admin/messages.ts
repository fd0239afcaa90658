/** What the packet thread and the admin thread send each other. */
import type { Outline } from "../../policy/engine/outline.ts";
import type { AdminConfig } from "../../datapath/config.ts";
import type { OwnSnapshot } from "../../datapath/snapshot.ts";

/** What does not change while the proxy runs. */
export interface About {
  readonly version: string;
  readonly build: string;
  /** Of the host. */
  readonly name: string;
  readonly links: readonly {
    /** Name of the device. */
    readonly net: string;
    readonly side: "a" | "b" | "both";
    /** With its prefix, as in `192.168.0.100/24`. */
    readonly address: string;
  }[];
  readonly hasFastPath: boolean;
  readonly hasIpv6: boolean;
  /** The most there can be. */
  readonly connections: number;
  /** Source ports towards each port of a backend. */
  readonly ports: number;
  /** When the program started, and when the packet thread's clock was 0: Unix time, in ms. */
  readonly startMs: number;
  readonly epochMs: number;
}

/** What is told of the policy that runs, with the memory for its numbers. */
export interface Shape {
  readonly memory: SharedArrayBuffer;
  readonly memberRows: number;
  readonly pools: readonly {
    readonly name: string;
    /** As `--check` has it. */
    readonly check: string;
  }[];
  readonly outline: SharedOutline;
}

/** An outline that no collector of garbage and no copy holds up. */
export interface SharedOutline extends Pick<Outline, "default"> {
  readonly sizes: Int32Array;
  readonly heads: Int32Array;
  readonly words: Int32Array;
  readonly labels: Int32Array;
  readonly kinds: Int32Array;
  readonly bytes: Uint8Array;
  readonly ends: Uint32Array;
}

/** To the admin thread. */
export type ToAdmin =
  | {
    readonly to: "open";
    readonly config: AdminConfig;
    readonly about: About;
    readonly maxConnections: number;
    /** Path of the shim. */
    readonly shim: string;
  }
  | { readonly to: "shape"; readonly shape: Shape }
  /** The next text of why checks fail. */
  | { readonly to: "failure"; readonly text: string }
  /** The proxy's addresses of IPv6, when one of them has another state. */
  | { readonly to: "own"; readonly own: readonly OwnSnapshot[] }
  /** The numbers are up to date, and stay so until they are asked for again. */
  | { readonly to: "filled"; readonly tookMs: number }
  | { readonly to: "close" };

/** From the admin thread, beside what every such thread says. */
export interface FromAdmin {
  readonly from: "fill";
}
