/**
 * Makes sure that the programs a lab needs are installed: root on Debian or Ubuntu gets what is
 * missing, anyone else is told the one line to run.
 */
import { must, which } from "../support/shell.ts";

/** Program → the Debian packages that bring it. */
const packages: Readonly<Record<string, string>> = {
  cc: "gcc libc6-dev",
  ip: "iproute2",
  ping: "iputils-ping",
  nc: "netcat-openbsd",
  unshare: "util-linux",
  nsenter: "util-linux",
};

const installTimeoutMs = 300_000;

/**
 * Checks for programs and installs the missing ones where that is possible.
 *
 * @param say is told what gets installed
 * @throws {Error} with the line to run, where nothing can be installed
 */
export async function provide(
  programs: readonly string[],
  say: (line: string) => void,
): Promise<void> {
  const missing = await missingOf(programs);
  if (missing.length === 0) return;
  const wanted = [...new Set(missing.flatMap((program) => (packages[program] ?? "").split(" ")))];
  const isDebian = await which("apt-get") !== "";
  if (!isDebian || Deno.uid() !== 0) {
    const line = isDebian
      ? `run: sudo apt-get update && sudo apt-get install -y ${wanted.join(" ")}`
      : "install what brings them";
    throw new Error(`Cannot find ${missing.map((one) => `"${one}"`).join(", ")}: ${line}`);
  }
  say(`installing ${wanted.join(" ")}, because there is no ${missing.join(", ")}`);
  const options = { timeoutMs: installTimeoutMs, env: { DEBIAN_FRONTEND: "noninteractive" } };
  await must(["apt-get", "update", "-qq"], options);
  await must(["apt-get", "install", "-y", "-qq", "--no-install-recommends", ...wanted], options);
  const still = await missingOf(programs);
  if (still.length > 0) throw new Error(`Cannot install ${still.join(", ")}`);
}

async function missingOf(programs: readonly string[]): Promise<string[]> {
  const found = await Promise.all(programs.map(which));
  return programs.filter((_program, index) => found[index] === "");
}
