/** What a demonstration prints: commands with their output, and steps that held or did not. */

/** Prints as it goes, and remembers whether every step held. */
export class Transcript {
  failed = 0;
  interrupted = false;

  say(line: string): void {
    if (this.interrupted) return;
    Deno.stdout.writeSync(new TextEncoder().encode(`${line}\n`));
  }

  /** A command that a user would type, and its output. */
  command(line: string, output: string): void {
    this.say(`\n$ ${line}`);
    for (const one of output.trimEnd().split("\n")) this.say(`    ${one}`.trimEnd());
  }

  step(holds: boolean, text: string): void {
    this.say(`${holds ? "✓" : "✗"} ${text}`);
    if (!holds) this.failed++;
  }
}
