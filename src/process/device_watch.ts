/**
 * Watches one device: notices when it is down or gone, takes it out of the appliance meanwhile, and
 * looks for one of its name, which it never creates. Logs each obstacle once.
 */
import type { Log } from "../core/log.ts";
import type { TapDevice } from "../device/tap.ts";
import type { Appliance } from "../datapath/appliance.ts";

export class DeviceWatch {
  readonly device: TapDevice;
  readonly #appliance: Appliance;
  /** Number of the device's link. */
  readonly #number: number;
  readonly #log: Log;
  #obstacle = "";

  constructor(device: TapDevice, appliance: Appliance, number: number, log: Log) {
    this.device = device;
    this.#appliance = appliance;
    this.#number = number;
    this.#log = log;
  }

  /** Looks: true if the device can be used. */
  check(): boolean {
    const obstacle = obstacleOf(this.device);
    const isUp = obstacle === "";
    if (obstacle === this.#obstacle) return isUp;
    if (isUp) {
      this.#log.info(`${this.device.name} is up`);
      this.#appliance.linkUp(this.#number);
    } else {
      this.#log.warning(obstacle);
      this.#appliance.linkDown(this.#number);
    }
    this.#obstacle = obstacle;
    return isUp;
  }
}

/**
 * Why the device can't be used, if need be after an attempt to attach to it again; empty if it can.
 */
function obstacleOf(device: TapDevice): string {
  const error = device.status() === "gone" ? device.reopen() : null;
  if (error?.cause === "ENODEV") {
    return `${device.name} is gone: waiting for a TAP device of that name`;
  }
  if (error !== null) return error.message;
  return device.status() === "up"
    ? ""
    : `${device.name} is down: waiting for 'ip link set ${device.name} up'`;
}
