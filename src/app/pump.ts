/**
 * The pump: one thread that moves bursts through the appliance.
 *
 *     busy     poll, poll, poll …            a turn of the event loop every millisecond, so that
 *                                            signals, timers and console writes get theirs
 *     quiet    poll waits up to 1 ms         after IDLE_ROUNDS of these:
 *     idle     await the device (≤ 100 ms)   costs no processor time
 *     away     the device is down or gone: looked for by name once a second, never created
 */
import type { Log } from "../core/log.ts";
import type { TapDevice } from "../device/tap.ts";
import type { Appliance } from "./appliance.ts";
import type { Clock } from "../core/clock.ts";

const POLL_WAIT_MS = 1;
const TURN_MS = 1;
const IDLE_ROUNDS = 20;
const IDLE_WAIT_MS = 100;
const CHECK_MS = 1000;

export interface PumpOptions {
  readonly appliance: Appliance;
  readonly device: TapDevice;
  readonly clock: Clock;
  readonly log: Log;
  /** Ends the pump; a device that is away is not waited for any longer. */
  readonly stop: AbortSignal;
}

/** Runs until `stop` is aborted. */
export async function pump({ appliance, device, clock, log, stop }: PumpOptions): Promise<void> {
  let idleRounds = 0;
  let turnMs = clock.nowMs();
  let checkMs = turnMs;
  while (!stop.aborted) {
    const count = appliance.poll(POLL_WAIT_MS);
    const nowMs = clock.nowMs();
    if (count < 0 || nowMs >= checkMs) {
      checkMs = nowMs + CHECK_MS;
      if (device.status() !== "up") {
        await untilUp(device, log, stop);
        appliance.linkUp(0);
      }
    }
    idleRounds = count > 0 ? 0 : idleRounds + 1;
    if (idleRounds >= IDLE_ROUNDS) {
      await device.wait(IDLE_WAIT_MS);
    } else if (nowMs - turnMs >= TURN_MS) {
      await new Promise<void>((resolve) => setImmediate(resolve));
      turnMs = nowMs;
    }
  }
}

/** Waits for a device that is down or gone, and says each thing that stands in the way once. */
async function untilUp(device: TapDevice, log: Log, stop: AbortSignal): Promise<void> {
  let reported = "";
  for (;;) {
    const obstacle = obstacleOf(device);
    if (obstacle === "") return log.info(`${device.name} is up`);
    if (stop.aborted) return;
    if (obstacle !== reported) log.warning(obstacle);
    reported = obstacle;
    await delay(CHECK_MS, stop);
  }
}

/** Why the device can't be used, if need be after an attempt to attach to it again; empty if it can. */
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

/** Resolves after `ms` milliseconds or when `stop` is aborted. */
function delay(ms: number, stop: AbortSignal): Promise<void> {
  return new Promise((resolve) => {
    const done = () => {
      clearTimeout(timer);
      stop.removeEventListener("abort", done);
      resolve();
    };
    const timer = setTimeout(done, ms);
    stop.addEventListener("abort", done);
  });
}
