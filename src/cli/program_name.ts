/** How the program is called: `proxy` where it is built, `treegate` where a package installs it. */
import type { Command as Program } from "commander";

/** The name in the texts of `help.ts`. */
export const PROGRAM = "proxy";

/** The last part of the path by which a program was started. */
export function programName(argv0: string): string {
  const name = argv0.slice(argv0.lastIndexOf("/") + 1);
  return /^\w[\w.+-]*$/.test(name) ? name : PROGRAM;
}

/** `text` with the program's own name in its command lines. */
export function called(text: string, name: string): string {
  return text.replaceAll(/\bproxy(?= (?:--|policy|explain|replay|ctl|completion|man)\b)/g, name);
}

/** Has the help page of `command` end with `text`. */
export function addHelp(command: Program, name: string, text: string): Program {
  return command.addHelpText("after", called(text, name));
}
