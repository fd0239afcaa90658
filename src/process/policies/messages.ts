/** What the packet thread and the policy thread send each other. */
import type { Surroundings } from "../../datapath/running_policy.ts";
import type { Image } from "../../policy/engine/image.ts";
import type { Policy } from "../../policy/language/ast.ts";

/** To the policy thread. */
export type ToPolicies =
  /** More of the texts of the next policy: its own, and then those of its files. */
  | { readonly to: "read"; readonly piece: string }
  /** This is the policy that runs, and a thread that has just begun does not know it. */
  | { readonly to: "know"; readonly source: SourceOutline }
  | { readonly to: "load"; readonly source: SourceOutline; readonly isChecked: boolean }
  /** Of the policy that was loaded, or of the one that runs with other pools. */
  | { readonly to: "make"; readonly isLoaded: boolean; readonly around: Surroundings }
  /** What was made last runs now. */
  | { readonly to: "took" };

/** A policy but for its texts, which have come before in pieces. */
export interface SourceOutline {
  readonly file: string;
  readonly missing: string | null;
  /** Of the policy's own text. */
  readonly length: number;
  /** By path: a file's name, and the length of its text; or what is wrong with it. */
  readonly included: ReadonlyMap<
    string,
    { readonly file: string; readonly length: number } | { readonly problem: string }
  >;
}

export interface Loaded {
  readonly pools: Policy["pools"];
  readonly warnings: readonly string[];
}

/** From the policy thread: `here` first, then one for each `load` and `make`, in that order. */
export type FromPolicies =
  /** It has been loaded: from now on it reads nothing of the program. */
  | { readonly from: "here" }
  | { readonly from: "loaded"; readonly loaded: Loaded }
  | { readonly from: "made"; readonly image: Image }
  | { readonly from: "failed"; readonly reason: string };
