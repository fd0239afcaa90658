/** What a shell runs for the names of the backends of a running proxy: one a line. */
export function backendsCommand(name: string): string {
  return `${name} ctl backends --json 2>/dev/null | grep -o '"name":"[^"]*"' | cut -d '"' -f 4`;
}

/** Names of devices: nothing is run for them that is not in the shell or in POSIX. */
export const DEVICES = "ls /sys/class/net";

/** The name of a function or variable of a shell. */
export function identifier(name: string): string {
  return name.replaceAll(/\W/g, "_");
}
