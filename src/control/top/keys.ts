/** Keys of a terminal in its raw mode, from the text that it sends (xterm's control sequences). */

/** A printable character, or the name of another key. */
export type Key = string;

const NAMES: Readonly<Record<string, Key>> = {
  "\x03": "interrupt",
  "\t": "tab",
  "\r": "enter",
  "\n": "enter",
  "\b": "backspace",
  "\x7f": "backspace",
  "\x1b": "escape",
  "\x1b[A": "up",
  "\x1b[B": "down",
  "\x1bOA": "up",
  "\x1bOB": "down",
  "\x1b[5~": "page-up",
  "\x1b[6~": "page-down",
  "\x1b[H": "home",
  "\x1b[F": "end",
  "\x1bOH": "home",
  "\x1bOF": "end",
  "\x1b[1~": "home",
  "\x1b[4~": "end",
  "\x1b[Z": "back-tab",
};

/** A sequence, an escape alone, or a character. */
// deno-lint-ignore no-control-regex -- of terminals
const PRESSED = /\x1b(?:\[[0-?]*[ -/]*[@-~]|O[@-~])|[^]/gu;

/** What was pressed; sequences without a name here are left out. */
export function keysOf(text: string): Key[] {
  return (text.match(PRESSED) ?? []).flatMap((pressed) => {
    const name = NAMES[pressed];
    if (name !== undefined) return [name];
    return /^[^\p{C}]$/u.test(pressed) ? [pressed] : [];
  });
}
