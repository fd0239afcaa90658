/**
 * Runs `tap_child.ts`, one scenario at a time, in a network namespace of its own, because a process
 * cannot move its own threads there. The namespace and all that is in it end with the child.
 */
import { buildShim } from "../../src/pack/compile_c.ts";

const NEEDED = ["read", "write", "run", "ffi", "env", "sys"] as const;

/** Whether this test run may touch the machine at all. */
export const permitted: boolean = NEEDED.every((name) =>
  Deno.permissions.querySync({ name }).state === "granted"
);

/**
 * Why TAP tests cannot run on this machine, or undefined when they can. It is printed; with
 * `CI=true` it is thrown.
 */
export function whyNoTap(): string | undefined {
  if (!permitted) return "needs permissions: deno test -A";
  const { success, stderr } = command(isolated(["ip", "tuntap", "add", "tapt0", "mode", "tap"]));
  if (success) return undefined;
  const why = `no TAP device in a network namespace here: ${stderr.trim()}`;
  if (Deno.env.get("CI") === "true") throw new Error(why);
  // deno-lint-ignore no-console
  console.log(`skipped: ${why}`);
  return why;
}

/**
 * What a scenario printed: the JSON values of its lines. Throws with its error output if it failed.
 * `child` is the file that has it, if not `tap_child.ts`.
 */
export function scenario(
  name: string,
  before = "",
  child: URL = new URL("tap_child.ts", import.meta.url),
): unknown[] {
  const script = child.pathname;
  const { success, stdout, stderr } = command(isolated([
    "sh",
    "-ec",
    `${before} exec "$@"`,
    "sh",
    ...(before.includes("mount ") ? withoutCapability("dac_override") : []),
    ...[Deno.execPath(), "run", "--quiet", "--no-config", "--no-lock", "-A", script],
    ...[name, buildShim()],
  ]));
  if (!success) throw new Error(`scenario "${name}" failed: ${stderr}${stdout}`);
  return stdout.trim().split("\n").map((line) => JSON.parse(line));
}

/** Command prefix that takes one capability away from root. */
export function withoutCapability(name: string): string[] {
  return ["setpriv", `--bounding-set=-${name}`, `--inh-caps=-${name}`];
}

function isolated(args: string[]): string[] {
  const user = Deno.uid() === 0 ? [] : ["--user", "--map-root-user"];
  return ["unshare", ...user, "--net", "--mount", ...args];
}

function command([program, ...args]: string[]): {
  success: boolean;
  stdout: string;
  stderr: string;
} {
  try {
    const result = new Deno.Command(program!, { args, stdin: "null" }).outputSync();
    const text = new TextDecoder();
    return {
      success: result.success,
      stdout: text.decode(result.stdout),
      stderr: text.decode(result.stderr),
    };
  } catch (error) {
    return { success: false, stdout: "", stderr: String(error) };
  }
}
