/**
 * Scenarios with a real TAP device, each run by `namespace.ts` in a network namespace of its own:
 * `tap_child.ts SCENARIO SHIM`. A scenario prints what it saw, one JSON value a line; tests judge
 * it.
 */
import { Arena, SLOT_BYTES, VNET_BYTES } from "../../src/core/arena.ts";
import { OFFLOAD, sortDescriptors, TapDevice, type TapOptions } from "../../src/device/tap.ts";
import { parseHostAddress } from "../../src/wire/host_address.ts";
import { withoutCapability } from "./namespace.ts";

const NAME = "tapt0";
const shim = Deno.args[1]!;

/** What the kernel has refused to leave to the device, by errno. */
const refusals: string[] = [];

/** Where the device was attached last. */
let descriptor = -1;

/** linux/if_tun.h: the request, and IFF_TAP | IFF_NO_PI | IFF_VNET_HDR. */
const TUNSETIFF = 0x400454can;
const TAP_AS_OURS = 0x5002;

const scenarios: Record<string, () => void | Promise<void>> = {
  async "ping"() {
    const { device, arena } = ready();
    const ping = new Deno.Command("ping", {
      args: ["-c", "2", "-i", "0.05", "-W", "2", "192.168.77.2"],
      stdout: "null",
    }).spawn();
    let arps = 0;
    let echoes = 0;
    for (let round = 0; round < 400 && echoes < 2; round++) {
      if (device.read(arena, 10) === 0) await yieldToTimers();
      for (let i = 0; i < arena.rxCount; i++) {
        const [offset, length] = frameAt(arena, i);
        if (answerArp(arena, offset)) arps++;
        else if (answerEcho(arena, offset)) echoes++;
        else continue;
        arena.send(offset, length);
      }
      if (arena.txCount > 0) say({ wrote: device.write(arena), left: arena.txCount });
    }
    say({ arps, echoes, ping: (await ping.status).code, refused: device.refused });
    await device.close();
  },

  async "burst"() {
    const { device, arena } = ready();
    await pingAll(20, ["0", "1", "2", "3", "1472"]);
    say(readAll(device, arena));
    ip("link set tapt0 mtu 65521");
    await pingAll(2, Array(10).fill("60000"));
    say(readAll(device, arena));
    await device.close();
  },

  /** With no file descriptor left the kernel gives no ring. */
  async "burst without a ring"() {
    const { device, arena } = ready();
    await pingAll(10, ["0"]);
    new Deno.Command("prlimit", { args: [`--pid=${Deno.pid}`, "--nofile=200"] }).outputSync();
    const files: Deno.FsFile[] = [];
    try {
      for (;;) files.push(Deno.openSync("/dev/null"));
    } catch {
      // that was the last one
    }
    const read = readAll(device, arena);
    for (let i = 0; i < 3; i++) arena.send(arena.scratch(60), 60);
    const wrote = device.write(arena);
    for (const file of files) file.close();
    say({ ...read, wrote });
    await device.close();
  },

  async "vanish"() {
    ip("tuntap add dev tapt0 mode tap");
    const device = open(false);
    const arena = new Arena();
    say({ created: device.created, status: device.status(), mtu: device.mtu });
    arena.send(arena.scratch(60), 60);
    say({ downWrite: device.write(arena), refused: device.refused, errno: device.refusedErrno });
    ip("link set tapt0 up mtu 1400");
    say({ status: device.status(), mtu: device.mtu });
    while (device.read(arena, 20) > 0);
    arena.send(arena.scratch(60), 60);
    arena.send(arena.scratch(60), 8);
    say({ halfTaken: device.write(arena), refused: device.refused });
    const waiting = device.wait(60_000);
    ip("link del tapt0");
    say({ woke: await waiting, status: device.status() });
    arena.send(arena.scratch(60), 60);
    say({ read: device.read(arena, 5), rxCount: arena.rxCount, write: device.write(arena) });
    say({ reopen: device.reopen()?.cause, stillNone: !exists() });
    ip("tuntap add dev tapt0 mode tap");
    say({ reopen: device.reopen(), status: device.status(), mtu: device.mtu });
    const idle = device.wait(20);
    const closing = device.close();
    say({ read: device.read(arena, 5), write: device.write(arena), status: device.status() });
    await closing;
    say({ idle: await idle, afterClose: await device.wait(5), reopen: device.reopen()?.message });
  },

  async "offload"() {
    ip("tuntap add dev tapt0 mode tap");
    for (const offload of [OFFLOAD, 0, OFFLOAD, 1 << 15]) {
      const device = open(false, offload);
      say({ offload, features: features(), refusals });
      if (offload === 1 << 15) {
        ip("link del tapt0");
        ip("tuntap add dev tapt0 mode tap");
        say({ reopen: device.reopen(), features: features(), refusals });
      }
      await device.close();
    }
  },

  async "create"() {
    const device = open(true);
    const mac = new Uint8Array(6);
    say({
      created: device.created,
      exists: exists(),
      mac: device.kernelMac(mac),
      any: mac.some(Boolean),
    });
    await device.close();
    say({ exists: exists() });
  },

  /** The kernel's end gets addresses of both families, and keeps those that it has. */
  async "hosts"() {
    const hosts = ["192.0.2.1", "2001:db8::1"].map((text, i) => ({
      address: parseHostAddress(text),
      prefixLength: [24, 64][i]!,
    }));
    for (let round = 0; round < 2; round++) {
      const device = TapDevice.open(NAME, { ...options(true, 0), hosts });
      const { stdout } = new Deno.Command("ip", { args: ["-o", "addr", "show", "dev", NAME] })
        .outputSync();
      const lines = new TextDecoder().decode(stdout);
      say({ status: device.status(), addresses: lines.match(/[0-9a-f.:]+\/\d+(?= .*global)/g) });
      await device.close();
      if (round === 0) {
        ip("tuntap add dev tapt0 mode tap");
        ip("addr add 192.0.2.1/24 dev tapt0");
        ip("addr add 2001:db8::1/64 dev tapt0");
      }
    }
  },

  async "allocate nothing"() {
    const { device, arena } = ready();
    const rounds = (count: number): void => {
      for (let i = 0; i < count; i++) {
        device.read(arena, 0);
        const offset = arena.scratch(60);
        arena.bytes[offset] = 2;
        arena.send(offset, 60);
        device.write(arena);
      }
    };
    rounds(30_000);
    const before = Deno.memoryUsage().heapUsed;
    rounds(30_000);
    say({ bytesPerRound: Math.round((Deno.memoryUsage().heapUsed - before) / 30_000) });
    await device.close();
  },

  /** A descriptor that was kept: the device stays, and so do the frames that came meanwhile. */
  async "taken over"() {
    const { device: first } = ready();
    await pingAll(3, ["0"]);
    const sorted = sortDescriptors(shim, [NAME], [0, descriptor]);
    say({ taken: sorted.taken.get(NAME) === descriptor, closed: sorted.closed.length });
    const device = TapDevice.open(NAME, { ...options(true, 0), descriptor });
    const arena = new Arena();
    const frames = device.read(arena, 100) + device.read(arena, 0);
    arena.send(arena.scratch(60), 60);
    say({ created: device.created, status: device.status(), frames, wrote: device.write(arena) });
    say({ features: features() });
    await device.close();
    say({ exists: exists(), read: first.read(arena, 0) });
  },

  /** What is handed over as this device and is none. */
  "not taken over"() {
    const held = (name: string, flags: number): number => {
      const { symbols } = Deno.dlopen(shim, {
        tap_node: { parameters: [], result: "i32" },
      });
      const libc = Deno.dlopen("libc.so.6", {
        ioctl: { parameters: ["i32", "usize", "buffer"], result: "i32" },
      });
      const fd = symbols.tap_node();
      const request = new Uint8Array(40);
      new TextEncoder().encodeInto(name, request);
      new DataView(request.buffer).setInt16(16, flags, true);
      if (libc.symbols.ioctl(fd, TUNSETIFF, request) < 0) throw new Error(`${name}, ${flags}`);
      return fd;
    };
    const sort = (fd: number) => {
      const { taken, closed } = sortDescriptors(shim, [NAME], [fd]);
      return { taken: taken.size, closed: closed.includes(fd) };
    };
    say({ another: sort(held("tapt1", TAP_AS_OURS)) });
    say({ withoutVnetHeader: sort(held(NAME, 0x1002)) });
    say({ multiQueue: sort(held(NAME, TAP_AS_OURS | 0x100)) });
    say({ tun: sort(held(NAME, 0x5001)) });
    const deleted = held(NAME, TAP_AS_OURS);
    ip("link del tapt0");
    say({ deleted: sort(deleted) });
    const moved = held(NAME, TAP_AS_OURS);
    ip("link set tapt0 address 02:00:00:00:00:07");
    const other = new Deno.Command("unshare", { args: ["--net", "sleep", "20"] }).spawn();
    try {
      while (netOf(other.pid) === netOf(Deno.pid)) {
        new Deno.Command("sleep", { args: ["0.05"] }).outputSync();
      }
      ip(`link set tapt0 netns ${other.pid}`);
      // Here is one of the same name and address, too.
      ip("tuntap add dev tapt0 mode tap");
      ip("link set tapt0 address 02:00:00:00:00:07");
      say({ elsewhere: sort(moved) });
      ip("link del tapt0");
    } finally {
      other.kill("SIGKILL");
    }
    say({ left: exists(), standardInput: sort(0) });
  },

  async "busy"() {
    const holder = open(true);
    tryOpen(false);
    const name = Deno.readTextFileSync(`/proc/${Deno.pid}/comm`).trim();
    say({ pid: Deno.pid, name });
    await holder.close();
  },
  "multi_queue"() {
    ip("tuntap add dev tapt0 mode tap multi_queue");
    tryOpen(true);
  },
  "tun"() {
    ip("tuntap add dev tapt0 mode tun");
    tryOpen(true);
  },
  "other kind"() {
    ip("link add tapt0 type veth peer name tapt1");
    tryOpen(true);
  },
  "never created"() {
    tryOpen(false);
    say({ exists: exists() });
  },
  "open"() {
    tryOpen(true);
  },
  "not permitted"() {
    asPlain("open");
  },
  "not the owner"() {
    ip("tuntap add dev tapt0 mode tap user 12345");
    asPlain("open");
  },
};

await scenarios[Deno.args[0]!]!();

function open(create: boolean, offload = OFFLOAD): TapDevice {
  return TapDevice.open(NAME, options(create, offload));
}

function options(create: boolean, offload: number): TapOptions {
  const offloadRefused = (errno: string) => void refusals.push(errno);
  const attached = (fd: number) => descriptor = fd;
  return { shim, create, offload, offloadRefused, hosts: [], spinUs: 100, attached };
}

/** The network namespace of a process. */
function netOf(pid: number): string {
  return Deno.readLinkSync(`/proc/${pid}/ns/net`);
}

/**
 * The device, up, with 192.168.77.1/24 on the kernel's side; what the kernel says by itself is read
 * away.
 */
function ready(): { device: TapDevice; arena: Arena } {
  const device = open(true);
  ip("link set tapt0 addrgenmode none");
  ip("addr add 192.168.77.1/24 dev tapt0");
  ip("link set tapt0 up");
  const arena = new Arena();
  while (device.read(arena, 20) > 0);
  return { device, arena };
}

function frameAt(arena: Arena, i: number): [offset: number, length: number] {
  return [arena.rx[2 * i]!, arena.rx[2 * i + 1]!];
}

/** So many echo requests of each size, which nobody answers. */
async function pingAll(count: number, sizes: readonly string[]): Promise<void> {
  ip("neigh replace 192.168.77.2 lladdr 02:00:00:00:00:02 dev tapt0");
  const times = ["-c", `${count}`, "-l", `${count}`, "-W", "1", "-w", "1"];
  const pings = sizes.map((size) =>
    new Deno.Command("ping", { args: [...times, "-s", size, "192.168.77.2"], stdout: "null" })
      .spawn()
  );
  await Promise.all(pings.map((ping) => ping.status));
}

/** What waits: how many frames a burst, how long they are, and whether each stood in its slot. */
function readAll(device: TapDevice, arena: Arena) {
  const counts: number[] = [];
  const lengths: number[] = [];
  let inSlots = true;
  for (let count = device.read(arena, 0); count > 0; count = device.read(arena, 0)) {
    counts.push(count);
    for (let i = 0; i < count; i++) {
      const [offset, length] = frameAt(arena, i);
      inSlots &&= offset === arena.rxStart + i * SLOT_BYTES + VNET_BYTES;
      lengths.push(length);
    }
  }
  return { counts, lengths: lengths.sort((a, b) => a - b), inSlots };
}

/** Turns an ARP request for 192.168.77.2 into the answer of 02:00:00:00:00:02 (RFC 826). */
function answerArp({ bytes, view }: Arena, at: number): boolean {
  if (view.getUint16(at + 12) !== 0x0806 || view.getUint16(at + 20) !== 1) return false;
  if (view.getUint32(at + 38) !== 0xc0a84d02) return false;
  bytes.copyWithin(at + 32, at + 22, at + 32);
  view.setUint16(at + 20, 2);
  bytes.set([2, 0, 0, 0, 0, 2, 192, 168, 77, 2], at + 22);
  swapMacs(bytes, at);
  return true;
}

/** Turns an echo request into its reply; type 8 → 0 adds 0x0800 to the checksum (RFC 792, 1624). */
function answerEcho({ bytes, view }: Arena, at: number): boolean {
  if (view.getUint16(at + 12) !== 0x0800 || bytes[at + 23] !== 1 || bytes[at + 34] !== 8) {
    return false;
  }
  const source = view.getUint32(at + 26);
  view.setUint32(at + 26, view.getUint32(at + 30));
  view.setUint32(at + 30, source);
  const sum = view.getUint16(at + 36) + 0x0800;
  view.setUint16(at + 36, (sum & 0xffff) + (sum >>> 16));
  bytes[at + 34] = 0;
  swapMacs(bytes, at);
  return true;
}

function swapMacs(bytes: Uint8Array, at: number): void {
  bytes.copyWithin(at, at + 6, at + 12);
  bytes.set([2, 0, 0, 0, 0, 2], at + 6);
}

/** Opens the device and prints the Error that this gives. */
function tryOpen(create: boolean): void {
  try {
    open(create);
    say({ opened: true });
  } catch (error) {
    say({ message: (error as Error).message, cause: (error as Error).cause });
  }
}

/** Runs another scenario here without CAP_NET_ADMIN. */
function asPlain(name: string): void {
  const [program, ...args] = [
    ...withoutCapability("net_admin"),
    ...[Deno.execPath(), "run", "--quiet", "--no-config", "--no-lock", "-A"],
    ...[new URL(import.meta.url).pathname, name, shim],
  ];
  new Deno.Command(program!, { args, stdout: "inherit", stderr: "inherit" }).outputSync();
}

function ip(words: string): void {
  const { success, stderr } = new Deno.Command("ip", { args: words.split(" ") }).outputSync();
  if (!success) throw new Error(`ip ${words}: ${new TextDecoder().decode(stderr)}`);
}

/** Which of the senders' work the device takes on itself, as ethtool tells. */
function features(): string[] {
  const { stdout } = new Deno.Command("ethtool", { args: ["-k", NAME] }).outputSync();
  const lines = new TextDecoder().decode(stdout).split("\n").map((line) => line.trim());
  return lines.flatMap((line) => /^(tx-checksumming|tx-tcp\S*): on/.exec(line)?.[1] ?? []);
}

function exists(): boolean {
  return new Deno.Command("ip", { args: ["link", "show", NAME] }).outputSync().success;
}

function yieldToTimers(): Promise<void> {
  return new Promise((resolve) => setTimeout(resolve, 0));
}

function say(value: unknown): void {
  // deno-lint-ignore no-console
  console.log(JSON.stringify(value));
}
