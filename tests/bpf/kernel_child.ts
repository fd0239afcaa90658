/**
 * Scenarios with programs in the kernel, each run by `../ffi/namespace.ts` in a network namespace
 * of its own: `kernel_child.ts SCENARIO SHIM`. A scenario prints what it saw, one JSON value a
 * line.
 */
import { Arena } from "../../src/core/arena.ts";
import { Assembler, R0, R1, R2 } from "../../src/bpf/assembler.ts";
import { BpfKernel } from "../../src/bpf/kernel.ts";
import { TapDevice } from "../../src/device/tap.ts";

const shim = Deno.args[1]!;

const scenarios: Record<string, () => void | Promise<void>> = {
  /** The kernel sends ARP requests and the program counts them; all of them come in here, too. */
  async "count"() {
    const kernel = new BpfKernel(shim);
    const { fd, buffer } = kernel.share("count", 64);
    const counted = new Uint32Array(buffer);
    const program = kernel.load("count", counting().assemble({ m: fd }));
    const device = open();
    await requests(device); // and what the kernel sends of its own at the start
    const link = kernel.attach(program, device.index());
    const seen = await requests(device);
    say({ seen, counted: counted[0] });
    kernel.close(link);
    counted[0] = 0;
    say({ seen: await requests(device), counted: counted[0] });
    try {
      kernel.attach(program, 9999);
    } catch (error) {
      say((error as Error).message);
    }
    await device.close();
  },

  /** What is said without capabilities. */
  "refused"() {
    const kernel = new BpfKernel(shim);
    try {
      kernel.share("none", 64);
    } catch (error) {
      say((error as Error).message);
    }
  },
};

/** Counts frames in the first word of map `m`, and leaves them to what comes next. */
function counting(): Assembler {
  const code = new Assembler();
  code.address(R1, "m", 0);
  code.load(R2, "u32", R1, 0);
  code.op(R2, "+=", 1);
  code.store("u32", R1, 0, R2);
  code.op(R0, "=", -1);
  code.exit();
  return code;
}

function open(): TapDevice {
  const device = TapDevice.open("tapt0", {
    shim,
    create: true,
    hosts: [{ address: 0xc0a84d01 | 0, prefixLength: 24 }],
    offload: 0,
    offloadRefused: () => {},
    spinUs: 0,
  });
  new Deno.Command("sysctl", { args: ["-qw", "net.ipv6.conf.tapt0.disable_ipv6=1"] }).outputSync();
  return device;
}

/** The last number of the next host that is not there; one is not asked for again at once. */
let nobody = 9;

/** Has the kernel ask for a host that is not there: how many frames come of it. */
async function requests(device: TapDevice): Promise<number> {
  const arena = new Arena();
  let seen = 0;
  const ping = new Deno.Command("ping", {
    args: ["-c", "1", "-W", "1", `192.168.77.${nobody++}`],
    stdout: "null",
  }).spawn();
  const end = performance.now() + 1500;
  while (performance.now() < end) {
    seen += Math.max(0, device.read(arena, 20));
    await new Promise((resolve) => setTimeout(resolve, 0));
  }
  await ping.status;
  return seen;
}

function say(value: unknown): void {
  // deno-lint-ignore no-console
  console.log(JSON.stringify(value));
}

await scenarios[Deno.args[0]!]!();
Deno.exit(0);
