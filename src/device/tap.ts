/**
 * A Linux TAP device: bursts of Ethernet frames between the arena and the kernel, through the shim.
 * Opening throws an Error that says what to do; after that every call returns a count or a
 * negative errno, also when the device is down, deleted or closed.
 *
 * See linux/Documentation/networking/tuntap.rst and `ffi/tap.c`.
 *
 * Long because a device's whole life is here: opened, read, written, waited for, reopened.
 */
import {
  errnoName,
  holderOf,
  hostError,
  KIND_NONE,
  loadTap,
  tapError,
  type TapLibrary,
} from "../../ffi/tap.ts";
import type { Clock } from "../core/clock.ts";
import { type Arena, BURST_FRAMES, SLOT_BYTES } from "../core/arena.ts";
import { maskOf } from "../wire/address.ts";
import { ADDRESS6_BYTES, writeAddress6 } from "../wire/address6.ts";
import { formatHostAddress, isIpv6, wordsOf } from "../wire/host_address.ts";
import type { Device, HostEnd } from "./device.ts";
import { encodeDeviceName } from "./device_name.ts";

export { errnoName };

export interface TapOptions {
  /** Path of the built shim. */
  readonly shim: string;

  /** Creates the device if it does not exist; it is then deleted when closed. */
  readonly create: boolean;

  /**
   * Addresses for the kernel's end, of either family, which is then brought up; none: leaves
   * addresses and state unchanged.
   */
  readonly hosts: readonly HostEnd[];

  /** Offloads the kernel may use, `TUN_F_*` bits: `OFFLOAD`, or 0. */
  readonly offload: number;

  /**
   * Called with the errno's name when the kernel refuses `offload`, at opening or later; offload is
   * then off.
   */
  readonly offloadRefused: (errno: string) => void;

  /**
   * Called with the errno's name when a device that was made anew can't be given an address of
   * `hosts`.
   */
  readonly hostRefused?: (errno: string, host: HostEnd) => void;

  /** Where the device is attached already, as `sortDescriptors` has found. */
  readonly descriptor?: number | undefined;

  /**
   * Is told the descriptor by which the device is attached, at opening and whenever it was attached
   * again.
   */
  readonly attached?: (fd: number) => void;

  /**
   * How long `read` busy-polls an empty device before it sleeps, in µs, if the read before it got
   * frames.
   */
  readonly spinUs: number;
}

/** `down`: exists but is not up; `gone`: deleted, or moved to another namespace. */
export type TapStatus = "up" | "down" | "gone";

const IFF_UP = 1;
const EBADF = 9;
const EBADFD = 77;
const LONGEST_WAIT_MS = 250;

/**
 * Approximate limit of a burst: frames are still in the processor's cache when they are sent, and
 * the event loop never waits long for the end of a burst.
 */
const BURST_BYTES = 1 << 18;

/**
 * TUN_F_CSUM, TUN_F_TSO4, TUN_F_TSO_ECN and TUN_F_TSO6 (linux/if_tun.h), which `wire/vnet.ts`
 * supports. The last one also in a run without IPv6: else a bridge would have to segment what it
 * floods to us.
 */
export const OFFLOAD = 0x01 | 0x02 | 0x08 | 0x04;

type Symbols = TapLibrary["symbols"];

export class TapDevice implements Clock, Device {
  readonly name: string;

  /** Whether opening created the device. */
  readonly created: boolean;

  /** Frames that the device refused since it was opened, and the last errno for one (≥ 0). */
  refused = 0;
  refusedErrno = 0;

  readonly #library: TapLibrary;
  readonly #options: TapOptions;
  readonly #tapRead: Symbols["tap_read"];
  readonly #tapWrite: Symbols["tap_write"];
  readonly #tapNow: Symbols["tap_now"];

  /** Off the V8 heap: an array on the heap may move, which rules out V8's fast calls. */
  readonly #outcome = new Uint32Array(new ArrayBuffer(8));

  #fd: number;
  /** Attached to nothing, for when no other can be opened any more; negative: there is none. */
  #spare: number;
  /** Tells when a link has changed; negative where the kernel gives no such socket. */
  readonly #links: number;
  #mtu: number;
  #spinNext = false;
  isDrained = true;
  /** How many frames to request at once. */
  #batch = 1;
  #closed = false;
  #nowMs = 0;
  #waiting: Promise<unknown> = Promise.resolve();

  /**
   * Attaches to the TAP device `name`, e.g. `TapDevice.open("tap100", { shim, create: false })`.
   *
   * Throws a RangeError for an impossible name, else an Error whose message is one line (errno
   * name, what happened, what to do) and whose `cause` is the errno's name.
   */
  static open(name: string, options: TapOptions): TapDevice {
    const nameBytes = encodeDeviceName(name);
    const library = loadTap(options.shim);
    library.symbols.tap_title();
    library.symbols.tap_unblock(); // by now the program listens for its signals
    library.symbols.tap_ring();
    try {
      const { symbols } = library;
      if (options.descriptor !== undefined) {
        configureHost(symbols, options.descriptor, name, options.hosts);
        return new TapDevice(name, library, options.descriptor, false, options);
      }
      const kind = symbols.tap_kind(nameBytes);
      const fd = attach(symbols, name, kind, options.create, options.hosts);
      return new TapDevice(name, library, fd, kind === KIND_NONE, options);
    } catch (error) {
      library.close();
      throw error;
    }
  }

  private constructor(
    name: string,
    library: TapLibrary,
    fd: number,
    created: boolean,
    options: TapOptions,
  ) {
    this.name = name;
    this.created = created;
    this.#library = library;
    this.#options = options;
    this.#tapRead = library.symbols.tap_read;
    this.#tapWrite = library.symbols.tap_write;
    this.#tapNow = library.symbols.tap_now;
    this.#fd = fd;
    this.#spare = library.symbols.tap_node();
    this.#links = library.symbols.tap_links();
    this.#mtu = Math.max(0, library.symbols.tap_mtu(fd));
    this.#askOffload();
    options.attached?.(fd);
  }

  get mtu(): number {
    return this.#mtu;
  }

  /** Number of the interface, or `-errno`. */
  index(): number {
    return this.#closed ? -EBADF : this.#library.symbols.tap_index(this.#fd);
  }

  /**
   * The kernel's monotonic clock, at a third of the cost of `performance.now` on the packet path,
   * and less with bulk traffic, which evicts that from the processor's cache. It stops when the
   * device is closed.
   */
  nowMs(): number {
    if (!this.#closed) this.#nowMs = this.#tapNow();
    return this.#nowMs;
  }

  read(arena: Arena, waitMs: number): number {
    if (this.#closed) return -EBADF;
    const count = this.#tapRead(
      this.#fd,
      arena.bytes,
      arena.rxStart,
      SLOT_BYTES,
      arena.rx,
      this.#batch,
      this.#spinNext && waitMs > 0 ? this.#options.spinUs : 0,
      waitMs,
    );
    this.#spinNext = count > 0;
    this.isDrained = count < this.#batch;
    this.#batch = nextBatch(arena.rx, count, this.#batch);
    arena.rxCount = count > 0 ? count : 0;
    return count;
  }

  write(arena: Arena): number {
    if (this.#closed) return -EBADF;
    const outcome = this.#outcome;
    const taken = this.#tapWrite(
      this.#fd,
      arena.bytes,
      arena.bytes.length,
      arena.tx,
      arena.txCount,
      outcome,
    );
    if (outcome[0]! > 0) {
      this.refused += outcome[0]!;
      this.refusedErrno = outcome[1]!;
    }
    arena.sent();
    return taken;
  }

  /** Asks the kernel for the device's status, and refreshes `mtu`. */
  status(): TapStatus {
    if (this.#closed) return "gone";
    const flags = this.#library.symbols.tap_flags(this.#fd);
    if (flags < 0) return "gone";
    const mtu = this.#library.symbols.tap_mtu(this.#fd);
    if (mtu >= 0) this.#mtu = mtu;
    return (flags & IFF_UP) !== 0 ? "up" : "down";
  }

  /** How many more descriptors the process may open, or `-errno`. */
  spareDescriptors(): number {
    return this.#closed ? -EBADF : this.#library.symbols.tap_spare();
  }

  /** The Ethernet address of the kernel's end, 6 bytes into `mac`; 0, or `-errno`. */
  kernelMac(mac: Uint8Array<ArrayBuffer>): number {
    return this.#closed ? -EBADF : this.#library.symbols.tap_mac(this.#fd, mac);
  }

  /**
   * Attaches again after the device was `gone`; never creates it. Returns null or an Error, whose
   * `cause` is "ENODEV" while there is no device of this name.
   */
  reopen(): Error | null {
    if (this.#closed) return new Error(`Cannot attach to "${this.name}": closed`);
    const { symbols } = this.#library;
    const kind = symbols.tap_kind(encodeDeviceName(this.name));
    const node = symbols.tap_node();
    const fd = node < 0 && this.#spare >= 0 ? this.#spare : node;
    try {
      attachTo(symbols, fd, this.name, kind, false);
    } catch (error) {
      if (fd === node) symbols.tap_close(fd);
      return error as Error;
    }
    const old = this.#fd;
    this.#fd = fd;
    this.#configureHost();
    this.#askOffload();
    this.#options.attached?.(fd);
    this.status();
    // The next one can't be opened either, but that of a deleted device is free.
    if (fd === this.#spare) this.#spare = symbols.tap_flags(old) === -EBADFD ? old : -1;
    if (old !== this.#spare) this.#waiting = this.#waiting.then(() => symbols.tap_close(old));
    return null;
  }

  #configureHost(): void {
    const { hosts, hostRefused } = this.#options;
    for (const host of hosts) {
      const status = giveHost(this.#library.symbols, this.#fd, host);
      if (status < 0) hostRefused?.(errnoName(status), host);
    }
  }

  /**
   * Waits up to `waitMs` until this device or the other has something to read, or is gone: 1; else
   * 0. Busy-polls first if `spin` is true. `read` does this for a single device.
   */
  waitSpinning(other: TapDevice, spin: boolean, waitMs: number): number {
    if (this.#closed) return -EBADF;
    const spinUs = spin ? this.#options.spinUs : 0;
    return this.#library.symbols.tap_spin(this.#fd, other.#fd, spinUs, waitMs);
  }

  /**
   * Resolves to 1 when this device or the other has something to read, or is gone, and to 0 after
   * `waitMs`, at most 250. Uses no processor time meanwhile, but costs about 40 µs.
   */
  wait(waitMs: number, other: TapDevice = this): Promise<number> {
    if (this.#closed) return Promise.resolve(-EBADF);
    return this.#wait(this.#fd, waitMs, other);
  }

  /** True if a link of this network namespace has come, gone or changed since the last call. */
  linksChanged(): boolean {
    return !this.#closed && this.#library.symbols.tap_links_changed(this.#links) > 0;
  }

  /**
   * As `wait`, while this device is away: resolves when a link has changed, which may be this one,
   * or the other device has something to read.
   */
  waitForLinks(waitMs: number, other: TapDevice = this): Promise<number> {
    if (this.#closed) return Promise.resolve(-EBADF);
    return this.#wait(this.#links, waitMs, other);
  }

  #wait(fd: number, waitMs: number, other: TapDevice): Promise<number> {
    const { tap_wait } = this.#library.symbols;
    const otherFd = other === this ? -1 : other.#fd;
    const waiting = tap_wait(fd, otherFd, Math.min(waitMs, LONGEST_WAIT_MS));
    this.#waiting = this.#waiting.then(() => waiting);
    other.#waiting = other.#waiting.then(() => waiting);
    return waiting;
  }

  /** Sets the offloads, even to 0: a device keeps those that an earlier program set. */
  #askOffload(): void {
    const { tap_offload: ask } = this.#library.symbols;
    const status = ask(this.#fd, this.#options.offload);
    if (status >= 0) return;
    ask(this.#fd, 0);
    this.#options.offloadRefused(errnoName(status));
  }

  /** Detaches from the device once a running `wait` has ended; reads and writes fail at once. */
  async close(): Promise<void> {
    if (this.#closed) return;
    this.#closed = true;
    const fd = this.#fd;
    this.#fd = -1;
    await this.#waiting;
    this.#library.symbols.tap_close(fd);
    this.#library.symbols.tap_close(this.#links);
    this.#library.symbols.tap_close(this.#spare);
    this.#library.close();
  }
}

/** As many frames as came, of the `batch` requested; twice as many if more may be waiting. */
function nextBatch(rx: Uint32Array, count: number, batch: number): number {
  if (count <= 0) return 1;
  let bytes = 0;
  for (let i = 0; i < count; i++) bytes += rx[2 * i + 1]!;
  const wanted = count < batch ? count : 2 * batch;
  return Math.min(wanted, BURST_FRAMES, Math.ceil(BURST_BYTES * count / bytes));
}

function attach(
  symbols: Symbols,
  name: string,
  kind: number,
  create: boolean,
  hosts: readonly HostEnd[],
): number {
  const fd = symbols.tap_node();
  try {
    attachTo(symbols, fd, name, kind, create);
  } catch (error) {
    symbols.tap_close(fd);
    throw error;
  }
  configureHost(symbols, fd, name, hosts);
  return fd;
}

/** Attaches `fd`, or throws the Error that says why not; a negative one could not be opened. */
function attachTo(
  symbols: Symbols,
  fd: number,
  name: string,
  kind: number,
  create: boolean,
): void {
  if (fd < 0) throw tapError("node", fd, name, kind);
  const status = symbols.tap_attach(fd, encodeDeviceName(name), create ? 1 : 0);
  if (status >= 0) return;
  const isBusy = errnoName(status) === "EBUSY";
  const holder = isBusy ? holderOf(symbols, encodeDeviceName(name)) : null;
  throw tapError("attach", status, name, kind, holder);
}

/** Gives the kernel's end its addresses; closes `fd` if that fails. */
function configureHost(
  symbols: Symbols,
  fd: number,
  name: string,
  hosts: readonly HostEnd[],
): void {
  for (const host of hosts) {
    const status = giveHost(symbols, fd, host);
    if (status >= 0) continue;
    symbols.tap_close(fd);
    throw hostError(status, name, `${formatHostAddress(host.address)}/${host.prefixLength}`);
  }
}

function giveHost(symbols: Symbols, fd: number, { address, prefixLength }: HostEnd): number {
  if (isIpv6(address)) {
    const bytes = new DataView(new ArrayBuffer(ADDRESS6_BYTES));
    writeAddress6(bytes, 0, wordsOf(address), 0);
    return symbols.tap_host6(fd, bytes, prefixLength);
  }
  return symbols.tap_host(fd, address >>> 0, maskOf(prefixLength) >>> 0);
}

/** What became of descriptors that somebody has kept for a run. */
export interface SortedDescriptors {
  /** By the device that each is attached to. */
  readonly taken: ReadonlyMap<string, number>;
  /** Those attached to other TAP devices, or to one of these in another way or elsewhere. */
  readonly closed: readonly number[];
}

/**
 * Sorts `descriptors` by the devices `names`. What is no TAP device's is somebody else's, and left
 * alone.
 */
export function sortDescriptors(
  shim: string,
  names: readonly string[],
  descriptors: readonly number[],
): SortedDescriptors {
  const taken = new Map<string, number>();
  const closed: number[] = [];
  if (descriptors.length === 0) return { taken, closed };
  const library = loadTap(shim);
  const { tap_take, tap_flags, tap_close } = library.symbols;
  for (const fd of descriptors) {
    const own = names.find((name) => !taken.has(name) && tap_take(fd, encodeDeviceName(name)) >= 0);
    if (own !== undefined) {
      taken.set(own, fd);
      continue;
    }
    const status = tap_flags(fd);
    if (status < 0 && !["ENODEV", "EBADFD"].includes(errnoName(status))) continue;
    tap_close(fd);
    closed.push(fd);
  }
  library.close();
  return { taken, closed };
}
