/**
 * What a shell runs for the names of the backends of a running proxy: one a line. `control` is its
 * expression for the flags `--control=PATH` that have been typed.
 */
export function backendsCommand(name: string, control: string): string {
  return `${name} ctl backends --json ${control} 2>/dev/null | grep -o '"name":"[^"]*"' | cut -d '"' -f 4`;
}

/** Names of devices: nothing is run for them that is not in the shell or in POSIX. */
export const DEVICES = "ls /sys/class/net";

/** The name of a function or variable of a shell. */
export function identifier(name: string): string {
  return name.replaceAll(/\W/g, "_");
}
