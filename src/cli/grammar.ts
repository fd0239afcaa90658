/**
 * What the command line takes, as data: the man page and the completions of shells are made from
 * it. Flags and texts are those of the help pages; `args.ts` and `ctl_args.ts` declare them.
 */
import type { Command as Program } from "commander";

/** What can be in a place of the command line, for those who complete it. */
export type Place =
  | { readonly kind: "any" | "file" | "folder" | "device" | "backend" }
  | { readonly kind: "one of"; readonly words: readonly string[] };

export interface FlagWords {
  /** With its dashes. */
  readonly name: string;
  /** What follows "=" on the help page; null: nothing does. */
  readonly value: string | null;
  readonly place: Place;
  /** One line. */
  readonly text: string;
  /** Declared by this command; others are of a run, and described there. */
  readonly isOwn: boolean;
}

const HELP: FlagWords = {
  name: "--help",
  value: null,
  place: { kind: "any" },
  text: "print the help page; each command has its own",
  isOwn: false,
};

/** A word after a command, and what may follow it. */
export interface Word {
  readonly word: string;
  readonly then: Place;
  /** NAME= of the parameters that may follow. */
  readonly parameters?: readonly string[];
}

export interface CommandWords {
  /** Empty: without a command, a run. */
  readonly name: string;
  /** What follows the program's name. */
  readonly usage: string;
  readonly summary: string;
  readonly description: string;
  readonly flags: readonly FlagWords[];
  /** Of these one follows first, if there are any. */
  readonly words: readonly Word[];
  /** What its help page says after the flags. */
  readonly help: string;
}

/** What can't be seen in commander's data. */
export interface CommandFacts {
  /** Which flags of a run it takes, too. */
  readonly takes: (flag: string) => boolean;
  readonly words: readonly Word[];
  readonly help: string;
}

/** Words for values that are called by these names on the help page. */
export type Values = Readonly<Record<string, readonly string[]>>;

/** The run first, then each command; each must have its facts. */
export function grammarOf(
  program: Program,
  facts: Readonly<Record<string, CommandFacts>>,
  values: Values,
): readonly CommandWords[] {
  return [program, ...program.commands].map((command) => {
    const name = command === program ? "" : command.name();
    const { takes, words, help } = facts[name]!;
    const taken = program.options.filter(({ long }) => takes(long!.slice(2)));
    const own = command === program ? [] : command.options;
    const flags = [...own, ...taken].map((option): FlagWords => {
      const [, value = null] = / <(.*)>$/.exec(option.flags) ?? [];
      return {
        name: option.long!,
        value,
        place: placeOf(value, values),
        text: option.description,
        isOwn: command.options.includes(option),
      };
    });
    return {
      name,
      usage: command.usage(),
      summary: command.summary(),
      description: command.description(),
      flags: [...flags, { ...HELP, isOwn: command === program }],
      words,
      help,
    };
  });
}

function placeOf(value: string | null, values: Values): Place {
  switch (value) {
    case "FILE":
    case "PATH":
      return { kind: "file" };
    case "FOLDER":
    case "FOLDER,…":
      return { kind: "folder" };
    case "DEVICE":
      return { kind: "device" };
  }
  const words = (value ?? "").split("|").flatMap((word) => values[word] ?? word)
    .filter((word) => /^[a-z]+$/.test(word));
  return words.length === 0 ? { kind: "any" } : { kind: "one of", words };
}
