/**
 * The binding of the shim: `ffi/tap.c`, function by function, and the one place where a status of
 * opening a device becomes an Error that says what to do. After opening, statuses stay numbers.
 *
 * Read first: `ffi/tap.c`, and `TUNSETIFF` in linux/drivers/net/tun.c for who gets which errno.
 */

import { errnoName, loadShim } from "./shim.ts";

export { errnoName };

/**
 * The shim's functions with its own parameter names. All but `tap_now` return a value ≥ 0, or
 * `-errno`.
 */
const symbols = {
  /** () */
  tap_unblock: { parameters: [], result: "i32" },
  tap_spare: { parameters: [], result: "i32" },
  /** () */
  tap_ring: { parameters: [], result: "i32" },
  /** () */
  tap_title: { parameters: [], result: "i32" },
  /** () */
  tap_node: { parameters: [], result: "i32" },
  /** (name) */
  tap_kind: { parameters: ["buffer"], result: "i32" },
  /** (fd, name, create) */
  tap_attach: { parameters: ["i32", "buffer", "i32"], result: "i32" },
  /** (fd, name) */
  tap_take: { parameters: ["i32", "buffer"], result: "i32" },
  /** (name, comm) */
  tap_holder: { parameters: ["buffer", "buffer"], result: "i32" },
  /** (fd, features) */
  tap_offload: { parameters: ["i32", "u32"], result: "i32" },
  /** (fd) */
  tap_flags: { parameters: ["i32"], result: "i32" },
  /** (fd) */
  tap_mtu: { parameters: ["i32"], result: "i32" },
  /** (fd, mac) */
  tap_mac: { parameters: ["i32", "buffer"], result: "i32" },
  /** (fd) */
  tap_index: { parameters: ["i32"], result: "i32" },
  /** () */
  tap_links: { parameters: [], result: "i32" },
  /** (fd) */
  tap_links_changed: { parameters: ["i32"], result: "i32" },
  /** (fd, address, mask) */
  tap_host: { parameters: ["i32", "u32", "u32"], result: "i32" },
  /** (fd, address, prefix_length) */
  tap_host6: { parameters: ["i32", "buffer", "u32"], result: "i32" },
  /** (fd, arena, start, slot_bytes, frames, batch, spin_us, wait_ms) */
  tap_read: {
    parameters: ["i32", "buffer", "u32", "u32", "buffer", "u32", "i32", "i32"],
    result: "i32",
  },
  /** (fd, arena, arena_bytes, frames, count, outcome) */
  tap_write: { parameters: ["i32", "buffer", "u32", "buffer", "u32", "buffer"], result: "i32" },
  /** (fd, other, wait_ms), on a thread of its own */
  tap_wait: { parameters: ["i32", "i32", "i32"], result: "i32", nonblocking: true },
  /** (fd, other, spin_us, wait_ms) */
  tap_spin: { parameters: ["i32", "i32", "i32", "i32"], result: "i32" },
  /** () */
  tap_now: { parameters: [], result: "f64" },
  /** (fd) */
  tap_close: { parameters: ["i32"], result: "i32" },
} as const satisfies Deno.ForeignLibraryInterface;

/** The loaded shim; `close()` unloads it. */
export type TapLibrary = Deno.DynamicLibrary<typeof symbols>;

/** Loads the shim at `path`. Throws an Error that names the path when that is not possible. */
export function loadTap(path: string): TapLibrary {
  return loadShim(path, symbols);
}

/** What `tap_kind` says a name belongs to. */
export const KIND_NONE = 0;
const KIND_OTHER = 1;
const KIND_TUN = 2;

/** The act that failed: opening `/dev/net/tun`, or attaching to the device. */
export type TapStep = "node" | "attach";

/** The process that is attached to a device. */
export interface Holder {
  readonly pid: number;
  /** As `ps -o comm` shows it; may be empty. */
  readonly name: string;
}

/**
 * Who is attached to the device of that name (16 bytes, NUL-terminated); null if that can't be
 * found.
 */
export function holderOf(
  symbols: TapLibrary["symbols"],
  name: Uint8Array<ArrayBuffer>,
): Holder | null {
  const comm = new Uint8Array(16);
  const pid = symbols.tap_holder(name, comm);
  const text = new TextDecoder().decode(comm.subarray(0, comm.indexOf(0)));
  return pid > 0 ? { pid, name: text.replaceAll(/\p{C}/gu, "?") } : null;
}

/**
 * The Error for a negative `status` of `step`: errno name, what happened, what to do. `kind` is
 * what `tap_kind` said about `name` before, `holder` who is attached to the device. Its `cause` is
 * the errno's name.
 */
export function tapError(
  step: TapStep,
  status: number,
  name: string,
  kind: number,
  holder: Holder | null = null,
): Error {
  const code = errnoName(status);
  const act = step === "node"
    ? 'Cannot open "/dev/net/tun"'
    : kind === KIND_NONE && code !== "ENODEV"
    ? `Cannot create TAP device "${name}"`
    : `Cannot attach to TAP device "${name}"`;
  const advice = step === "node" ? nodeAdvice(code) : attachAdvice(code, name, kind, holder);
  return new Error(`${act}: ${code}, ${advice}`, { cause: code });
}

/**
 * The Error for a negative `status` of giving the kernel's end its address, e.g.
 * "192.168.0.254/24".
 */
export function hostError(status: number, name: string, address: string): Error {
  const code = errnoName(status);
  const advice = code === "EPERM"
    ? "this needs CAP_NET_ADMIN; run as root, or do it yourself, without the flag, with: " +
      `sudo ip addr add ${address} dev ${name} && sudo ip link set ${name} up`
    : "the kernel refused it";
  return new Error(`Cannot give TAP device "${name}" the address ${address}: ${code}, ${advice}`, {
    cause: code,
  });
}

function nodeAdvice(code: string): string {
  switch (code) {
    case "EACCES":
      return "this user may not read and write it; run as root, or allow it with: sudo chmod 0666 /dev/net/tun";
    case "EPERM":
      return "the container or sandbox forbids this device; allow it there";
    case "ENOENT":
    case "ENODEV":
    case "ENXIO":
      return "the kernel's TUN/TAP driver is not there; load it with: sudo modprobe tun (in a container, pass the device in)";
    default:
      return "it should be the character device 10:200";
  }
}

function attachAdvice(code: string, name: string, kind: number, holder: Holder | null): string {
  const make = `sudo ip tuntap add dev ${name} mode tap user $USER`;
  switch (code) {
    case "EPERM":
      return kind === KIND_NONE
        ? `this needs CAP_NET_ADMIN; run as root, or make the device first with: ${make}`
        : `it was not made for this user; run as root, or delete it and make it with: ${make}`;
    case "EBUSY":
      return holder === null
        ? "another process is attached to it; stop that process or use another device"
        : `process ${holder.pid} (${holder.name}) is attached to it; stop it or use another device`;
    case "EINVAL":
      return kind === KIND_OTHER
        ? "this name belongs to an interface of another kind; use another name"
        : kind === KIND_TUN
        ? `it is a TUN device (layer 3); delete it and make a TAP device with: ${make}`
        : `it was made with multi_queue; delete it and make it without, with: ${make}`;
    case "ENODEV":
      return `there is no such device; make it with: ${make}`;
    default:
      return "the kernel refused it";
  }
}
