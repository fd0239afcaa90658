/** The devices that a supervisor has kept since the last run. */
import type { Log } from "../core/log.ts";
import { sortDescriptors } from "../device/tap.ts";
import type { Supervisor } from "./supervisor.ts";

/** Of a TAP device's descriptor that belongs to none of the devices. */
const NOT_OURS = "is closed: it is of no device that --net names, as this program attaches to it";

/**
 * Takes those of the devices `nets` over: their descriptors. What else was handed over is closed,
 * and the supervisor told to keep it no longer.
 */
export function takeDevices(
  supervisor: Supervisor,
  nets: readonly string[],
  shim: string,
  log: Log,
): ReadonlyMap<string, number> {
  const { taken, closed } = sortDescriptors(shim, nets, supervisor.handed);
  for (const fd of closed) {
    const text = `descriptor ${fd} was handed over, and ${NOT_OURS}`;
    log.warning(text, "descriptor-closed", { descriptor: fd });
    supervisor.forget(fd);
  }
  for (const [net, fd] of taken) supervisor.keep(net, fd); // another one may have had its name
  return taken;
}
