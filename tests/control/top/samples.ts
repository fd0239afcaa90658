/** Answers of a proxy that `ctl top` shows. */
import type { Sample } from "../../../src/control/top/figures.ts";
import type { BackendShape, StatusShape } from "../../../src/control/shapes.ts";

export function statusAt(seconds: number, part: Partial<StatusShape> = {}): StatusShape {
  return {
    version: "1.2.3",
    build: "portable",
    uptimeMs: 1000 * seconds,
    links: [{
      device: "tap100",
      side: "both",
      isUp: true,
      address: "192.168.0.100/24",
      mac: "02:00:00:00:00:01",
      mtu: 1500,
      mtu6: null,
      own6: [],
    }],
    policy: "web.policy",
    frames: { in: 0, out: 0 },
    arp: { in: 0, out: 0 },
    nd: null,
    pdusIn: { count: 1000 * seconds, bytes: 125_000 * seconds },
    pdusOut: { count: 500 * seconds, bytes: 62_500 * seconds },
    carried: { count: 250 * seconds, bytes: 0 },
    decisions: {},
    connections: { tracked: 1204, capacity: 262_144, evicted: 0 },
    sandbox: {
      ...{ mode: "off", user: null, landlock: null, threads: 0 },
      ...{ noNewPrivileges: 0, noCapabilities: 0, emptyBoundingSet: 0, filtered: 0 },
    },
    control: { refused: 0 },
    backends: {},
    capture: null,
    ...part,
  };
}

export function backend(address: string, part: Partial<BackendShape> = {}): BackendShape {
  return {
    ...{ name: `web/${address}`, pool: "web", address, port: 0, status: "up", failure: null },
    ...{ weight: 1, isBackup: false, maxconn: 0, opened: 0, open: 0, tracked: 0 },
    ...part,
  };
}

/** After so many seconds of steady traffic. */
export function sampleAt(seconds: number, part: Partial<Sample> = {}): Sample {
  return {
    status: statusAt(seconds),
    tree: {
      lines: [
        { pdus: 800 * seconds, depth: 0, text: "not ip.src in $web" },
        { pdus: 300 * seconds, depth: 1, text: "icmp -> echo" },
        { pdus: 500 * seconds, depth: 1, text: "tcp" },
        { pdus: 0, depth: 2, text: 'tcp.dport = 80 -> drop "naive http"' },
        {
          pdus: 500 * seconds,
          depth: 2,
          text: `otherwise -> translate-a-to-b (${seconds} refused), forward`,
        },
        { pdus: 200 * seconds, depth: 0, text: "otherwise -> translate-b-to-a, forward" },
      ],
      hiddenLines: 0,
    },
    backends: [
      backend("192.168.0.1", { opened: 30 * seconds, open: 7 }),
      backend("192.168.0.2", { opened: 10 * seconds, open: 90, status: "draining" }),
      backend("192.168.0.3", { status: "down", failure: "tcp 80: no answer in 2 s" }),
      backend("192.168.0.9", { isBackup: true, weight: 0, status: "maintenance" }),
    ],
    drops: [
      { reason: "policy", count: 40 * seconds, meaning: "the policy decided Drop" },
      { reason: "no-route", count: 2 * seconds, meaning: "no route to the destination" },
    ],
    ...part,
  };
}
