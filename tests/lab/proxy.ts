/**
 * Starts the proxy in a lab: the executable named by the environment variable PROXY, or without it
 * the sources, with exactly the permissions of the task `proxy` in deno.json.
 */
import { fileURLToPath } from "node:url";
import type { Background } from "../support/shell.ts";
import { type Family, IPV4 } from "./families.ts";
import type { Host } from "./lab.ts";
import { backendAddresses, tap } from "./topology.ts";
import { tapB, twoSidedOptions } from "./two_sides.ts";

/** The options of the seed's demonstration, with all three backends. */
export const usualOptions: readonly string[] = [
  `--net=${tap}`,
  `--dst-addrs=${backendAddresses.join(",")}`,
];

/**
 * For tests that judge a capture of the proxy's own device: of what the kernel carries it has only
 * what was sent on, with a checksum that the sender may have left to its interface.
 */
export const allOnDevice = "--fast-path=off";

/** From its sources the proxy may first have to compile its shim. */
const startTimeoutMs = 20_000;

/**
 * The words that start the proxy, from any folder. The environment variable FAST_PATH is its
 * `--fast-path`, unless the options have one or begin with another command.
 */
export function proxyCommand(options: readonly string[] = usualOptions): string[] {
  const executable = Deno.env.get("PROXY");
  const words = executable ? [Deno.realPathSync(executable)] : sourceCommand();
  const mode = Deno.env.get("FAST_PATH");
  const isTold = !mode || options[0]?.startsWith("--") === false ||
    options.some((option) => option.startsWith("--fast-path"));
  return [...words, ...options, ...(isTold ? [] : [`--fast-path=${mode}`])];
}

/** Starts the proxy in a host, and waits until it knows where the backends `resolved` are. */
export async function startProxy(
  host: Host,
  options: readonly string[] = usualOptions,
  resolved: readonly string[] = backendAddresses,
): Promise<Background> {
  const proxy = host.start(proxyCommand(options));
  await proxy.waitFor(`${tap}: `, startTimeoutMs);
  for (const address of resolved) {
    await proxy.waitFor(`backend ${address} is at `);
  }
  await hasAddresses(proxy, options);
  return proxy;
}

/**
 * As `startProxy`, with an interface on each side; a flag in `more` takes the place of the usual
 * one.
 */
export function startTwoSided(host: Host, ...more: readonly string[]): Promise<Background> {
  return startBetween(host, IPV4, ...more);
}

/** As `startTwoSided`, with backends and routes of that family. */
export async function startBetween(
  host: Host,
  family: Family,
  ...more: readonly string[]
): Promise<Background> {
  const isReplaced = (one: string): boolean =>
    more.some((other) => other.split("=")[0] === one.split("=")[0]);
  const options = twoSidedOptions.filter((one) => !isReplaced(one));
  const flags = family.options([...options, ...more]);
  const proxy = host.start(proxyCommand(flags));
  await proxy.waitFor(`${tapB}: `, startTimeoutMs);
  await proxy.waitFor(/(backend|gateway) \S+ is at /);
  await hasAddresses(proxy, flags);
  return proxy;
}

/** Waits until the proxy has found that nobody else has the addresses of IPv6 that it is told. */
async function hasAddresses(proxy: Background, options: readonly string[]): Promise<void> {
  for (const option of options) {
    const [, address] = /^--ipv6(?:-b)?=(.*)\/\d+$/.exec(option) ?? [];
    if (address !== undefined) await proxy.waitFor(`${address} is free`);
  }
}

/** The lines of a proxy's log, without their times. */
export function logLines(stderr: string): string[] {
  return [...stderr.matchAll(/^\d{4}-\d\d-\d\dT[\d:.]+Z (.*)$/gm)].map(([, line]) => line!);
}

/** The summary's text in what a proxy has printed: the last one. */
export function lastSummary(output: string): string {
  const start = output.lastIndexOf("Summary\n");
  if (start < 0) throw new Error(`Cannot find a summary in "${output.slice(-1000)}"`);
  return output.slice(start);
}

/** A count from a summary by name, e.g. that of the drop reason `foreign-mac`; 0 if not listed. */
export function summaryCount(summary: string, name: string): number {
  return Number(new RegExp(`(?<![\\w-])${name} (\\d+)`).exec(summary)?.[1] ?? 0);
}

/** Has a running proxy print its summary, and returns it. */
export async function askSummary(proxy: Background): Promise<string> {
  const from = proxy.stdout.length;
  proxy.signal("SIGUSR2");
  const deadline = performance.now() + askTimeoutMs;
  while (!/^Summary\n(.+\n)+\n/m.test(proxy.stdout.slice(from))) {
    if (await proxy.ended(20)) throw new Error(`Cannot ask the proxy: it ended: ${proxy.stderr}`);
    if (performance.now() > deadline) throw new Error("Cannot ask the proxy: it does not answer");
  }
  return lastSummary(proxy.stdout);
}

const askTimeoutMs = 5_000;

/** How many connections are tracked, as a summary tells. */
export function trackedIn(summary: string): number {
  return Number(/^Connections : (\d+) of/m.exec(summary)?.[1] ?? NaN);
}

function sourceCommand(): string[] {
  const root = fileURLToPath(new URL("../../", import.meta.url));
  const { tasks } = JSON.parse(Deno.readTextFileSync(`${root}deno.json`));
  const [, command, ...words] = tasks.proxy.split(" && ").at(-1).split(" ") as string[];
  const flags = words.filter((word) => word.startsWith("-"));
  return [Deno.execPath(), command!, ...flags, `${root}main.ts`];
}
