/**
 * A network interface as the appliance needs it: bursts of Ethernet frames between the device and
 * one arena. Devices compose: a pcap writer or a fault injector wraps another device.
 *
 * Every call returns a count ≥ 0, or a negative errno; nothing here throws once a device is open.
 */
import type { Arena } from "../core/arena.ts";
import type { HostAddress } from "../wire/host_address.ts";

export interface Device {
  /** Name used in messages, e.g. `tap100`. */
  readonly name: string;

  /** Largest IP packet that fits in one frame, in bytes; `status()` refreshes it. */
  readonly mtu: number;

  /**
   * Reads frames into `arena` from `arena.rxStart` on and describes them in `arena.rx`; waits up to
   * `waitMs` milliseconds for the first one (0: not at all). Sets `arena.rxCount` and returns it,
   * or `-errno`.
   */
  read(arena: Arena, waitMs: number): number;

  /** False if more may wait than the last `read` took; default true. */
  readonly isDrained?: boolean;

  /**
   * Sends the `arena.txCount` frames that `arena.tx` describes and empties the list. Returns how
   * many the device took, or `-errno` when it took none because of that error.
   */
  write(arena: Arena): number;
}

/** An address of the kernel's end and its prefix length. */
export interface HostEnd {
  readonly address: HostAddress;
  readonly prefixLength: number;
}
