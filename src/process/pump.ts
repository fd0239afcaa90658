/**
 * The pump: one thread that moves bursts through the appliance.
 *
 *     busy     poll, poll, poll …            a turn of the event loop every half millisecond,
 *                                            so that signals, timers and console get theirs
 *     quiet    wait up to 1 ms for a frame, on one device or two; after IDLE_ROUNDS of these:
 *     idle     await the devices (≤ 250 ms)  costs no processor time
 *     away     a device is down or gone: looked for when a link has changed, and once a second,
 *              while another goes on
 */
import type { Log } from "../core/log.ts";
import type { TapDevice } from "../device/tap.ts";
import type { Appliance } from "../datapath/appliance.ts";
import { DeviceWatch } from "./device_watch.ts";

const POLL_WAIT_MS = 1;
const TURN_MS = 0.5;
const IDLE_ROUNDS = 10;
const IDLE_WAIT_MS = 250;
const CHECK_MS = 1000;

export interface PumpOptions {
  readonly appliance: Appliance;
  /** Those of the appliance. */
  readonly devices: readonly TapDevice[];
  readonly log: Log;
  /** Ends the pump; a device that is away is not waited for any longer. */
  readonly stop: AbortSignal;
}

/** Runs until `stop` is aborted. */
export async function pump({ appliance, devices, log, stop }: PumpOptions): Promise<void> {
  const watches = devices.map((device, i) => new DeviceWatch(device, appliance, i, log));
  let up = watches;
  let away: DeviceWatch | undefined;
  let idleRounds = 0;
  let turnMs = appliance.nowMs;
  let checkMs = turnMs;
  while (!stop.aborted) {
    const isIdle = idleRounds >= IDLE_ROUNDS;
    const count = appliance.poll(isIdle ? 0 : POLL_WAIT_MS);
    const { nowMs } = appliance;
    if (count < 0 || nowMs >= checkMs || away?.device.linksChanged()) {
      checkMs = nowMs + CHECK_MS;
      up = watches.filter((watch) => watch.check());
      away = watches.find((watch) => !up.includes(watch));
    }
    const first = up[0];
    if (first === undefined) {
      await away?.device.waitForLinks(IDLE_WAIT_MS);
      continue;
    }
    idleRounds = count > 0 ? 0 : idleRounds + 1;
    if (idleRounds >= IDLE_ROUNDS) {
      await (away === undefined
        ? first.device.wait(IDLE_WAIT_MS, up[1]?.device)
        : away.device.waitForLinks(IDLE_WAIT_MS, first.device));
    } else if (nowMs - turnMs >= TURN_MS) {
      await new Promise<void>((resolve) => setImmediate(resolve));
      turnMs = nowMs;
    } else if (devices.length > 1 && count <= 0) {
      first.device.waitSpinning((up[1] ?? first).device, idleRounds === 1, POLL_WAIT_MS);
    }
  }
}
