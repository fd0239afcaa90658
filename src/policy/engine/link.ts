/**
 * Makes functions of a compiled policy (`compile.ts`), text by text, each all at once: the engine
 * would else translate a function when the first packet comes to it, and that packet would wait.
 */
import type { Slices } from "../../core/slices.ts";
import { textAt, type Texts } from "../../core/texts.ts";
import type { Pdu } from "../../wire/pdu.ts";
import type { LeavingAddresses, Steps } from "./environment.ts";
import { findArm, findArm6 } from "./arm_index.ts";
import type { Chooser } from "./chooser.ts";
import { findRange, findRange6, NOWHERE } from "./interval_map.ts";

/** A compiled policy, as data. */
export interface Code {
  /** Bodies of functions; each gives an array of the next ones. A policy's own is the last. */
  readonly texts: Texts;
  /** What they look up. */
  readonly numbers: Int32Array<ArrayBuffer>;
}

/** What the functions have around them. */
export interface Linkage {
  readonly steps: Steps;
  /** How many PDUs ended at each node, by number. */
  readonly exits: Float64Array<ArrayBuffer>;
  /** By number of their nodes. */
  readonly choosers: readonly (Chooser | undefined)[];
  /** Numbers of the targets of translators. */
  readonly targets: Int32Array<ArrayBuffer>;
  readonly leaving: readonly LeavingAddresses[];
  readonly customs: readonly ((pdu: Readonly<Pdu>) => boolean)[];
}

/** A function of the PDU and the base. */
export type Made = (pdu: Pdu, base: number) => number | boolean;

export function* link({ texts, numbers }: Code, linkage: Linkage): Slices<readonly Made[]> {
  const functions: Made[] = [];
  const around = {
    ...linkage,
    ...{ numbers, functions, find: findArm, find6: findArm6, has: hasRange, has6: hasRange6 },
  };
  for (let i = 0; i < texts.ends.length; i++) {
    yield;
    const make = new Function(...Object.keys(around), textAt(texts, i));
    functions.push(...make(...Object.values(around)));
  }
  return functions;
}

function hasRange6(numbers: Int32Array, at: number, words: Int32Array, from: number): boolean {
  return findRange6(numbers, at, words, from) !== NOWHERE;
}

function hasRange(numbers: Int32Array, at: number, value: number): boolean {
  return findRange(numbers, at, value) !== NOWHERE;
}
