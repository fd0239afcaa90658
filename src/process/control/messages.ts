/** What the packet thread and the control thread send each other. */
import type { Request } from "../../control/request.ts";
import type { VersionShape } from "../../control/shapes.ts";
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
  }
  | { readonly to: "answer"; readonly number: number; readonly answer: unknown }
  | {
    readonly to: "refuse";
    readonly number: number;
    /** HTTP status. */
    readonly status: number;
    readonly message: string;
    readonly details: readonly string[];
  }
  | { readonly to: "close" };

/** From the control thread. */
export type FromControl =
  | { readonly from: "opened"; readonly path: string }
  | { readonly from: "failed"; readonly reason: string }
  | { readonly from: "request"; readonly number: number; readonly request: Request }
  | { readonly from: "closed" };
