/** What the packet thread and the control thread send each other. */
import type { Request } from "../../control/request.ts";
import type { SandboxShape, VersionShape } from "../../control/shapes.ts";
import type { Config } from "../../datapath/config.ts";
import type { HashKey } from "../../wire/keyed_hash.ts";

/** To the control thread. */
export type ToControl =
  | {
    readonly to: "open";
    readonly path: string;
    readonly config: Config;
    readonly hashKey: HashKey;
    readonly about: VersionShape;
    readonly maxConnections: number;
    /** Path of the shim. */
    readonly shim: string;
  }
  | {
    readonly to: "answer";
    readonly number: number;
    readonly answer: unknown;
    /** Of the packet thread, in milliseconds. */
    readonly tookMs: number;
  }
  | {
    readonly to: "refuse";
    readonly number: number;
    readonly tookMs: number;
    /** HTTP status. */
    readonly status: number;
    readonly message: string;
    readonly details: readonly string[];
  }
  /** What the run has given up, as soon as it has. */
  | { readonly to: "sandbox"; readonly sandbox: SandboxShape }
  | { readonly to: "close" };

/** From the control thread, beside what every such thread says. */
export interface FromControl {
  readonly from: "request";
  readonly number: number;
  readonly request: Request;
}
