/**
 * The programs of the side-by-side benchmark: builds its own, and says which of the others are
 * missing.
 */
import { fileURLToPath } from "node:url";
import { compileC } from "../../src/pack/compile_c.ts";
import { must, which } from "../support/shell.ts";

/** Paths of what was built. */
export interface Tools extends Disposable {
  readonly proxy: string;
  readonly reference: string;
  readonly frames: string;
  readonly requests: string;
}

/** Program → the Debian package that brings it. */
const packages: Readonly<Record<string, string>> = {
  cc: "gcc libc6-dev",
  haproxy: "haproxy",
  ip: "iproute2",
  iperf3: "iperf3",
  nft: "nftables",
  taskset: "util-linux",
};

const buildTimeoutMs = 300_000;
const root = fileURLToPath(new URL("../../", import.meta.url));

/**
 * Builds `./proxy` (or takes the one that the environment variable PROXY names) and the C programs
 * of this folder, these into a folder that goes with the result.
 *
 * @throws {Error} that says what to install where a program is missing
 */
export async function buildTools(): Promise<Tools> {
  const missing = [];
  for (const [program, names] of Object.entries(packages)) {
    if (!await which(program)) missing.push(names);
  }
  if (missing.length > 0) {
    throw new Error(`Cannot compare: run: sudo apt-get install -y ${missing.join(" ")}`);
  }
  const proxy = Deno.env.get("PROXY") ?? await buildProxy();
  const folder = await Deno.makeTempDir({ prefix: "treegate-bench-" });
  const build = (name: string): string => {
    compileC([`${root}tests/bench/${name}.c`], `${folder}/${name}`, []);
    return `${folder}/${name}`;
  };
  return {
    proxy,
    reference: build("reference"),
    frames: build("frames"),
    requests: build("requests"),
    [Symbol.dispose]: () => Deno.removeSync(folder, { recursive: true }),
  };
}

async function buildProxy(): Promise<string> {
  await must([Deno.execPath(), "task", "build"], { cwd: root, timeoutMs: buildTimeoutMs });
  return `${root}proxy`;
}
