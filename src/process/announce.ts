/** What the log says of the devices when a run begins. */
import type { Log } from "../core/log.ts";
import { type Config, formatBackends, formatLink, ownTexts, sideB } from "../datapath/config.ts";
import type { TapDevice } from "../device/tap.ts";
import { formatAddress, formatMac } from "../wire/address.ts";

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
    if (link.host !== null) {
      const host = `${formatAddress(link.host.address)}/${link.host.prefixLength}`;
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
