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
  /** That it can't be attached to was seen at the last look, and not told yet. */
  #refusal = "";

  constructor(device: TapDevice, appliance: Appliance, number: number, log: Log) {
    this.device = device;
    this.#appliance = appliance;
    this.#number = number;
    this.#log = log;
  }

  /** Looks: true if the device can be used. */
  check(): boolean {
    const refusal = refusalOf(this.device);
    const isSecond = refusal === this.#refusal;
    this.#refusal = refusal;
    // Whoever makes a device holds it for a moment.
    if (refusal !== "" && !isSecond) return false;
    const obstacle = refusal || obstacleOf(this.device);
    const isUp = obstacle === "";
    if (obstacle === this.#obstacle) return isUp;
    const { name } = this.device;
    if (isUp) {
      this.#log.info(`${name} is up`, "device-up", { device: name });
      this.#appliance.linkUp(this.#number);
    } else {
      this.#log.warning(obstacle, "device-down", { device: name });
      this.#appliance.linkDown(this.#number);
    }
    this.#obstacle = obstacle;
    return isUp;
  }
}

/** Attaches again to a device that was gone: why there is one that refuses; empty otherwise. */
function refusalOf(device: TapDevice): string {
  const error = device.status() === "gone" ? device.reopen() : null;
  return error === null || error.cause === "ENODEV" ? "" : error.message;
}

/** Why the device can't be used; empty if it can. */
function obstacleOf(device: TapDevice): string {
  switch (device.status()) {
    case "up":
      return "";
    case "down":
      return `${device.name} is down: waiting for 'ip link set ${device.name} up'`;
    case "gone":
      return `${device.name} is gone: waiting for a TAP device of that name`;
  }
}
