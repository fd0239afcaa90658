/**
 * What tshark counts of the proxy's packets, at the interfaces of those that it talks to: all that
 * they send to its address comes in, and all that they receive from there has gone out, whoever has
 * carried it.
 */
import { Capture, dissect } from "./capture.ts";
import { proxyAddress, type Topology } from "./topology.ts";

/** Headers are enough. */
const SNAP_BYTES = 128;

/** Nobody is connected to it: what comes from there the proxy has made. */
const CLOSED_PORT = "80";

/** FIN, PSH, URG. */
const XMAS = 0x29;
const SYN = 0x02;
const SYN_ACK = 0x12;
const ECHO_REPLY = "0";

export interface Traffic {
  readonly count: number;
  readonly bytes: number;
}

/** What has passed while there was a witness. */
export interface Seen {
  /** Less segments with impossible flags: these are no PDUs. */
  readonly in: Traffic;
  /** Less what the proxy says itself. */
  readonly out: Traffic;
  /** RSTs of the proxy, from the port that is closed. */
  readonly resets: number;
  /** Segments of a scan, with FIN, PSH and URG alone. */
  readonly xmas: number;
  /** Echo replies from the proxy. */
  readonly echoReplies: number;
  /** SYNs from the proxy: each opens a connection to a backend. */
  readonly opened: number;
}

export class Witness {
  readonly #captures: readonly Capture[];

  private constructor(captures: readonly Capture[]) {
    this.#captures = captures;
  }

  static async start({ client, backends }: Topology): Promise<Witness> {
    const hosts = [client, ...backends.map(({ host }) => host)];
    const filter = `ip host ${proxyAddress}`;
    return new Witness(
      await Promise.all(hosts.map((host) => Capture.start(host, "eth0", filter, SNAP_BYTES))),
    );
  }

  async stop(): Promise<Seen> {
    const seen = {
      in: { count: 0, bytes: 0 },
      out: { count: 0, bytes: 0 },
      resets: 0,
      xmas: 0,
      echoReplies: 0,
      opened: 0,
    };
    const fields = ["ip.src", "ip.len", "icmp.type", "tcp.flags", "tcp.srcport"];
    for (const capture of this.#captures) {
      await capture.stop();
      for (const line of await dissect(capture.file, "", fields)) {
        // Of several values the first is the packet's own; the rest are of one in an ICMP error.
        const values = line.split("\t").map((text) => text.split("|")[0]!);
        const [source, length, type, flags, port] = values;
        if (Number(flags) === XMAS) {
          seen.xmas++;
          continue;
        }
        const isOut = source === proxyAddress;
        if (isOut && port === CLOSED_PORT) {
          seen.resets++;
          continue;
        }
        const way = isOut ? seen.out : seen.in;
        way.count++;
        way.bytes += Number(length);
        if (!isOut) continue;
        if (type === ECHO_REPLY) seen.echoReplies++;
        if ((Number(flags) & SYN_ACK) === SYN) seen.opened++;
      }
    }
    return seen;
  }
}
