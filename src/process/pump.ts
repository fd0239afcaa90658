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
import { Histogram } from "../core/histogram.ts";
import type { Log } from "../core/log.ts";
import type { TapDevice } from "../device/tap.ts";
import type { Appliance } from "../datapath/appliance.ts";
import { DeviceWatch } from "./device_watch.ts";
import type { Supervisor } from "./supervisor.ts";

const POLL_WAIT_MS = 1;
const TURN_MS = 0.5;
const IDLE_ROUNDS = 10;
const IDLE_WAIT_MS = 250;
const CHECK_MS = 1000;

/** What the pump counts. */
export class PumpCounts {
  /** Turns of the event loop between two bursts, in seconds. */
  readonly turns: Histogram = new Histogram([0.0001, 0.0005, 0.001, 0.002, 0.005, 0.01, 0.02, 0.1]);
  /** Frames that were read at a time. */
  readonly bursts: Histogram = new Histogram([1, 2, 4, 8, 16, 32, 64, 128, 256]);
}

export interface PumpOptions {
  readonly appliance: Appliance;
  /** Those of the appliance. */
  readonly devices: readonly TapDevice[];
  readonly counts: PumpCounts;
  readonly log: Log;
  /** Is told that packets are moved: by nobody else, so that it notices if they are not. */
  readonly supervisor: Pick<Supervisor, "alive" | "aliveEveryMs">;
  /** Ends the pump; a device that is away is not waited for any longer. */
  readonly stop: AbortSignal;
}

/** Runs until `stop` is aborted. */
export async function pump(
  { appliance, devices, counts: { turns, bursts }, supervisor, log, stop }: PumpOptions,
): Promise<void> {
  const watches = devices.map((device, i) => new DeviceWatch(device, appliance, i, log));
  let up = watches;
  let away: DeviceWatch | undefined;
  let idleRounds = 0;
  let turnMs = appliance.nowMs;
  let checkMs = turnMs;
  let aliveMs = turnMs + supervisor.aliveEveryMs;
  while (!stop.aborted) {
    const isIdle = idleRounds >= IDLE_ROUNDS;
    const count = appliance.poll(isIdle ? 0 : POLL_WAIT_MS);
    const { nowMs } = appliance;
    if (nowMs >= aliveMs) {
      aliveMs = nowMs + supervisor.aliveEveryMs;
      supervisor.alive();
    }
    if (count > 0) bursts.add(count);
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
      const startMs = devices[0]!.nowMs();
      await new Promise<void>((resolve) => setImmediate(resolve));
      turns.add((devices[0]!.nowMs() - startMs) / 1000);
      turnMs = nowMs;
    } else if (devices.length > 1 && count <= 0) {
      first.device.waitSpinning((up[1] ?? first).device, idleRounds === 1, POLL_WAIT_MS);
    }
  }
}
