/** The commands `completion` and `man`: what the command line takes, for shells and for man(1). */
import type { Command as Program } from "commander";
import { oneOf, quote } from "../core/text.ts";
import type { Command } from "./args.ts";
import { bashCompletion } from "./completion/bash.ts";
import { fishCompletion } from "./completion/fish.ts";
import { zshCompletion } from "./completion/zsh.ts";
import { type Flags, kebabCase } from "./flag_values.ts";
import type { CommandWords } from "./grammar.ts";
import { manPage } from "./man.ts";

const COMPLETIONS = { bash: bashCompletion, zsh: zshCompletion, fish: fishCompletion };

export const SHELLS = Object.keys(COMPLETIONS) as readonly (keyof typeof COMPLETIONS)[];

/** `grammar` is asked when all commands are there. */
export function addShellCommands(
  program: Program,
  version: string,
  grammar: () => readonly CommandWords[],
  take: (command: Command) => void,
): void {
  const name = program.name();
  program.command("completion")
    .usage(SHELLS.join("|"))
    .summary(`print the completions of a shell, as in: source <(${name} completion bash)`)
    .description("Prints what has a shell complete the words of this program.")
    .argument("[SHELL]")
    .configureHelp({ ...program.configureHelp(), visibleArguments: () => [] })
    .action((_shell, _options, { args }: Program) => {
      refuseMore(program, "completion", args, 1);
      const shell = SHELLS.find((one) => one === args[0]);
      if (shell === undefined) {
        const what = args[0] === undefined ? "Missing word" : `Cannot use ${quote(args[0])}`;
        throw new SyntaxError(`${what} after "completion": expected ${oneOf(SHELLS)}`);
      }
      take({ kind: "print", text: COMPLETIONS[shell](name, grammar()) });
    });
  program.command("man")
    .usage("| man -l -")
    .summary(`print the manual page, as in: ${name} man | man -l -`)
    .description("Prints the manual page, for man(1) to lay out.")
    .configureHelp(program.configureHelp())
    .action((_options, { args }: Program) => {
      refuseMore(program, "man", args, 0);
      take({ kind: "print", text: manPage(name, version, grammar()) });
    });
}

function refuseMore(program: Program, name: string, args: readonly string[], most: number): void {
  const [flag] = Object.keys(program.opts<Flags>());
  if (flag !== undefined) {
    throw new SyntaxError(`Cannot use --${kebabCase(flag)} with "${name}": expected no flags`);
  }
  if (args.length <= most) return;
  throw new SyntaxError(`Cannot use ${quote(args[most]!)} after "${name}": expected nothing`);
}
