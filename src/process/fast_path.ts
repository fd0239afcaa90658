/**
 * Has the kernel carry connections (`--fast-path`): makes the memory that is shared with it, loads
 * a program for each link, and runs it for the frames that leave the link's device.
 *
 * All is as large from the start as the limits allow: later, without privileges, nothing can be
 * made. Then a device that was made anew has no program, either; connections on it are the proxy's.
 */
import { BpfKernel } from "../bpf/kernel.ts";
import { printable } from "../core/text.ts";
import type { Config, FastPathMode } from "../datapath/config.ts";
import type { FastPath } from "../datapath/promotions.ts";
import type { TapDevice } from "../device/tap.ts";
import { layoutOf } from "../fastpath/layout.ts";
import { fastPathOf, MEMORY, trialOfIpv6 } from "../fastpath/program.ts";
import { SharedMemory } from "../fastpath/shared_memory.ts";
import type { OperatorLog } from "./log.ts";

const NAME = "treegate";

/** Neighbours on each link beside those that are remembered: backends and gateways. */
const WATCHED = 4096;
/**
 * A request and its answer have fewer plain packets: the kernel would get such a connection only to
 * lose it again.
 */
const LEAST_PACKETS = 8;

/** Ends of the policy at which the kernel's packets can be counted. */
const COUNTERS = 4096;

/** Of the frame on which it is tried what the kernel can do, and its interface. */
const TRIAL_BYTES = 128;
const LOOPBACK = 1;

/** Of what the verifier says: lines, and letters of each. */
const MOST_LINES = 8;
const MOST_LETTERS = 200;

export interface FastPathOptions {
  readonly mode: FastPathMode;
  readonly config: Config;
  readonly devices: readonly TapDevice[];
  /** Path of the built shim. */
  readonly shim: string;
  readonly log: Pick<OperatorLog, "debug" | "info" | "warning">;
}

export interface OpenFastPath extends FastPath {
  /** From now on the proxy gets every frame. */
  close(): void;
}

/** Null: the proxy forwards each packet itself. Throws an Error if that is not what is wanted. */
export async function openFastPath(options: FastPathOptions): Promise<OpenFastPath | null> {
  const { mode, log } = options;
  if (mode === "off") return null;
  try {
    const fastPath = await open(options);
    log.info("fast path: the kernel carries established connections", "fast-path-on");
    return fastPath;
  } catch (error) {
    const { message } = error as Error;
    const lines = verifierLines(error as Error);
    for (const line of lines) {
      log.debug(`fast path: the kernel's verifier: ${line}`, "fast-path-verifier", { line });
    }
    const why = lines.at(-2); // the last one counts instructions
    const said = why === undefined ? "" : `: ${why}`;
    if (mode === "on") throw new Error(`--fast-path=on: ${message}${said}`);
    log.info(
      `fast path: off, the proxy forwards each packet. ${message}${said}`,
      "fast-path-off",
      { reason: `${message}${said}` },
    );
    return null;
  }
}

/** The last lines of what the verifier said about a program that it refused. */
export function verifierLines({ cause }: Error): string[] {
  if (typeof cause !== "string" || cause === "") return [];
  return cause.split("\n").slice(-MOST_LINES).map((line) => printable(line.slice(0, MOST_LETTERS)));
}

async function open({ config, devices, shim, log }: FastPathOptions): Promise<OpenFastPath> {
  // Who reads a connection's ticket before and after its entry relies on the order of loads, and
  // who changes the entry on that of stores. Others would need barriers.
  const { arch } = Deno.build;
  if (arch !== "x86_64") throw new Error(`Cannot use it on ${arch}: this needs x86_64`);
  const kernel = new BpfKernel(shim);
  const waiting = kernel.wait(); // may it be asked? Meanwhile the rest is made.
  waiting.catch(() => {});
  const isIpv6On = config.links.some(({ ipv6 }) => ipv6 !== null) && canCarryIpv6(kernel);
  const layout = layoutOf({
    connections: config.maxConn,
    neighbors: (isIpv6On ? 2 : 1) * devices.length * (config.maxNeighbors + WATCHED),
    counters: COUNTERS,
    processors: processors(),
    isIpv6On,
  });
  const map = kernel.share(NAME, layout.bytes);
  const programs = devices.map((_, link) =>
    kernel.load(NAME, fastPathOf(layout, link).assemble({ [MEMORY]: map.fd }))
  );
  await waiting;
  const attached = devices.map((device, link) => attach(kernel, programs[link]!, device));
  return {
    memory: new SharedMemory(layout, map.buffer),
    wait: () => kernel.wait(),
    leastPackets: LEAST_PACKETS,
    attach: (link) => {
      const device = devices[link]!;
      if (device.index() === attached[link]!.ifindex) return attached[link]!.ifindex;
      kernel.close(attached[link]!.fd);
      try {
        attached[link] = attach(kernel, programs[link]!, device);
      } catch (error) {
        attached[link] = { fd: -1, ifindex: 0 };
        const { message: reason } = error as Error;
        log.warning(
          `${device.name}: no fast path on the new device: ${reason}`,
          "fast-path-lost",
          { device: device.name, reason },
        );
      }
      return attached[link].ifindex;
    },
    close: () => {
      for (const { fd } of attached) kernel.close(fd);
    },
  };
}

/** Where the kernel can't, connections over IPv6 stay with the proxy. */
function canCarryIpv6(kernel: BpfKernel): boolean {
  const program = kernel.load(NAME, trialOfIpv6().assemble({}));
  const frame = new Uint8Array(TRIAL_BYTES);
  const { result } = kernel.run(program, { frame, ifindex: LOOPBACK, gsoSize: 0, mark: 0 });
  kernel.close(program);
  return result === 0;
}

interface Attached {
  /** Descriptor of the link between program and interface. */
  readonly fd: number;
  readonly ifindex: number;
}

function attach(kernel: BpfKernel, program: number, device: TapDevice): Attached {
  const ifindex = device.index();
  if (ifindex <= 0) throw new Error(`Cannot attach the BPF program: ${device.name} is gone`);
  return { fd: kernel.attach(program, ifindex), ifindex };
}

/** How many processors the kernel may ever have, or the runtime knows of. */
function processors(): number {
  try {
    const possible = Deno.readTextFileSync("/sys/devices/system/cpu/possible");
    return 1 + Number(/(\d+)\s*$/.exec(possible)![1]);
  } catch {
    return navigator.hardwareConcurrency;
  }
}
