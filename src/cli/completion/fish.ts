/** Completion for fish(1): a line for each flag and word. Read first: complete(1). */
import type { CommandWords, FlagWords, Place } from "../grammar.ts";
import { backendsCommand, DEVICES } from "./backends.ts";

const TYPED_CONTROL = "(string match -- '--control=*' (commandline -opc))";

export function fishCompletion(name: string, grammar: readonly CommandWords[]): string {
  const [run, ...commands] = grammar;
  const names = commands.map(({ name }) => name).join(" ");
  const none = `not __fish_seen_subcommand_from ${names}`;
  const lines = [
    `# Completion of ${name} for fish, printed by: ${name} completion fish`,
    line("-f"),
    ...run!.flags.map((one) => flag(none, one)),
    ...commands.flatMap((command) => {
      const seen = `__fish_seen_subcommand_from ${command.name}`;
      const words = command.words.map(({ word }) => word).join(" ");
      return [
        line(when(none), "-a", quote(command.name), "-d", quote(command.summary)),
        ...command.flags.map((one) => flag(seen, one)),
        ...(words === "" ? [] : [
          line(when(`${seen}; and not __fish_seen_subcommand_from ${words}`), "-a", quote(words)),
        ]),
        ...command.words.flatMap(({ word, then, parameters = [] }) => {
          const after = when(`${seen}; and __fish_seen_subcommand_from ${word}`);
          const named = parameters.map((one) => `${one}=`).join(" ");
          return [
            ...(then.kind === "any" ? [] : [line(after, ...answer(then))]),
            ...(named === "" ? [] : [line(after, "-a", quote(named))]),
          ];
        }),
      ];
    }),
  ];
  return `${lines.join("\n")}\n`;

  function line(...words: readonly string[]): string {
    return ["complete", "-c", name, ...words].join(" ");
  }

  function flag(condition: string, { name, value, place, text }: FlagWords): string {
    const words = value === null ? [] : place.kind === "any" ? ["-x"] : answer(place);
    return line(when(condition), "-l", name.slice(2), ...words, "-d", quote(text));
  }

  function answer(place: Place): string[] {
    switch (place.kind) {
      case "any":
        return ["-x"];
      case "file":
        return ["-r", "-F"];
      case "folder":
        return ["-x", "-a", quote("(__fish_complete_directories)")];
      case "device":
        return ["-x", "-a", quote(`(${DEVICES})`)];
      case "backend":
        return ["-x", "-a", quote(`(${backendsCommand(name, TYPED_CONTROL)})`)];
      case "one of":
        return ["-x", "-a", quote(place.words.join(" "))];
    }
  }
}

function when(condition: string): string {
  return `-n ${quote(condition)}`;
}

function quote(text: string): string {
  return `'${text.replaceAll("\\", "\\\\").replaceAll("'", "\\'")}'`;
}
