/** A policy on its way to the policy thread, without its texts: they cross in pieces. */
import type { Included } from "../../policy/notation/include.ts";
import type { ParsableText } from "../policy_file.ts";
import type { SourceOutline } from "./messages.ts";

export function outlineOf({ file, missing, text, included }: ParsableText): SourceOutline {
  const files = [...included].map(([path, one]) =>
    [path, "text" in one ? { file: one.file, length: one.text.length } : one] as const
  );
  return { file, missing, length: text.length, included: new Map(files) };
}

/** The policy of an outline and of its texts one after the other. */
export function sourceOf(outline: SourceOutline, all: string): ParsableText {
  const { file, missing, length } = outline;
  let at = length;
  const files = [...outline.included].map(([path, one]): [string, Included] => [
    path,
    "length" in one ? { file: one.file, text: all.slice(at, at += one.length) } : one,
  ]);
  return { file, missing, text: all.slice(0, length), included: new Map(files) };
}
