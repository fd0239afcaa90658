/** What the log says of the devices when a run begins. */
import type { Log } from "../core/log.ts";
import {
  type Config,
  formatBackends,
  formatEnd,
  formatLink,
  hostsOf,
  ownTexts,
  sideB,
} from "../datapath/config.ts";
import type { TapDevice } from "../device/tap.ts";
import { formatMac } from "../wire/address.ts";

export function announce(config: Config, devices: readonly TapDevice[], log: Log): void {
  for (const [i, link] of config.links.entries()) {
    const { name, mtu, created } = devices[i]!;
    const isB = link === sideB(config.links);
    const backends = formatBackends(config.dstAddrs);
    log.info(
      `${name}: ${formatLink(link)}, MTU ${mtu}${isB ? `, backends ${backends}` : ""}`,
      "device",
      {
        device: name,
        address: ownTexts(link).join(", "),
        mac: formatMac(link.mac),
        mtu,
        ...(isB ? { backends } : {}),
      },
    );
    const hosts = hostsOf(link);
    if (hosts.length > 0) {
      const host = hosts.map(formatEnd).join(", ");
      log.info(
        `${name}${created ? " was created and" : ""} is up with ${host}`,
        created ? "device-created" : "device-up",
        { device: name, host },
      );
    } else if (created) {
      log.info(
        `${name} did not exist and was created, until the proxy ends; to bring it up: ` +
          `ip addr add ADDRESS/${link.prefixLength} dev ${name} && ip link set ${name} up`,
        "device-created",
        { device: name },
      );
    }
  }
}
