/** One run of the proxy on a real device: puts the parts together, and takes them apart at a signal. */
import type { Log } from "../core/log.ts";
import { CryptoRandom, SeededRandom } from "../core/random.ts";
import { TapDevice } from "../device/tap.ts";
import { DECISION_NAMES, type Policy } from "../tree/ast.ts";
import { formatAddress, formatMac } from "../wire/address.ts";
import { Appliance } from "./appliance.ts";
import type { Config } from "./config.ts";
import type { Outlet } from "./outlet.ts";
import { pump } from "./pump.ts";
import { listen, SystemClock } from "./system.ts";
import { Trace } from "./trace.ts";

export interface RunOptions {
  readonly config: Config;
  readonly policy: Policy;
  /** Gives the path of the built shim. */
  readonly shim: () => Promise<string>;
  readonly stdout: Outlet;
  readonly log: Log;
}

/** Runs until SIGINT or SIGTERM. Throws an Error with a clear message when the device can't be had. */
export async function run({ config, policy, shim, stdout, log }: RunOptions): Promise<void> {
  const stop = new AbortController();
  let summary = () => "";
  const unlisten = listen({
    SIGINT: () => stop.abort(),
    SIGTERM: () => stop.abort(),
    SIGUSR2: () => stdout.offer(`${summary()}\n`),
  });
  try {
    const clock = new SystemClock();
    const device = TapDevice.open(config.net, { shim: await shim(), create: true });
    const appliance = new Appliance({
      device,
      clock,
      random: config.seed === null ? new CryptoRandom() : new SeededRandom(config.seed),
      policy,
      config,
      log,
      trace: config.trace === "off" ? null : new Trace(config.trace, stdout, DECISION_NAMES),
    });
    summary = () => appliance.summary();
    announce(config, device, log);
    await pump({ appliance, device, clock, log, stop: stop.signal });
    await device.close();
    stdout.offer(summary());
  } finally {
    unlisten();
  }
}

function announce(config: Config, device: TapDevice, log: Log): void {
  const { name } = device;
  log.info(
    `${name}: ${formatAddress(config.address)}/${config.prefixLength}, ` +
      `MAC ${formatMac(config.mac)}, MTU ${device.mtu}, ` +
      `backends ${config.dstAddrs.map(formatAddress).join(", ")}`,
  );
  if (device.created) {
    log.info(
      `${name} did not exist and was created, until the proxy ends; to bring it up: ` +
        `ip addr add ADDRESS/${config.prefixLength} dev ${name} && ip link set ${name} up`,
    );
  }
}
