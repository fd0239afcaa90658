/**
 * Captures frames with dumpcap (a part of tshark) and has tshark judge them, with every checksum
 * checked: tshark checks none by default. See tshark(1), "-o".
 */
import { must } from "../support/shell.ts";
import type { Background } from "../support/shell.ts";
import { PAYLOAD_IS_DATA } from "../support/tshark.ts";
import type { Host } from "./lab.ts";

const checksums: readonly string[] = ["ip", "tcp", "udp"]
  .flatMap((protocol) => ["-o", `${protocol}.check_checksum:TRUE`]);

/** Expert notes that a correct TCP exchange can cause: resets, retransmissions, slow readers. */
const ordinary = new RegExp(
  "^(Connection reset \\(RST\\)|This frame is a \\(suspected\\)|Previous segment|ACKed|D-SACK|" +
    "TCP Zero Window|TCP window specified by the receiver is now completely full)",
);

/** The other form of 0 in one's complement: what Linux writes where it completes a checksum. */
const otherZero = "TCP Checksum 0xffff instead of 0x0000";

/** A running capture on one interface. */
export class Capture {
  /** The capture file. */
  readonly file: string;
  readonly #dumpcap: Background;

  private constructor(file: string, dumpcap: Background) {
    this.file = file;
    this.#dumpcap = dumpcap;
  }

  /**
   * Starts capturing; returns once it has begun. `filter` as in pcap-filter(7); of each frame
   * `snapBytes` are kept, default all.
   */
  static async start(
    host: Host,
    device: string,
    filter: string,
    snapBytes = 0,
  ): Promise<Capture> {
    const file = `${host.lab.folder}/${host.name}-${device}-${crypto.randomUUID()}.pcap`;
    const bufferMiB = "16";
    const dumpcap = host.start(
      [
        ...["dumpcap", "-P", "-p", "-B", bufferMiB, "-i", device, "-f", filter, "-w", file],
        ...["-s", `${snapBytes}`],
      ],
    );
    await dumpcap.waitFor("File: ");
    return new Capture(file, dumpcap);
  }

  /** Ends the capture; how many frames the filter let through. */
  async stop(): Promise<number> {
    // What has been captured just now is still on its way to the file.
    await this.#dumpcap.ended(300);
    const { stderr } = await this.#dumpcap.stop("SIGINT");
    const counts = /received\/dropped on interface .*: (\d+)\/(\d+) /.exec(stderr);
    if (counts?.[2] !== "0") throw new Error(`Cannot capture every frame: ${stderr.trim()}`);
    return Number(counts[1]);
  }
}

/**
 * What tshark finds wrong in a capture file, a line for each frame: malformed, a checksum that is
 * wrong or was not checked, or an expert note of level warning or error that isn't ordinary.
 */
export async function complaints(file: string): Promise<string[]> {
  const fields = [
    ...["frame.number", "ip.checksum.status", "tcp.checksum.status", "udp.checksum.status"],
    ...["icmp.checksum.status", "icmpv6.checksum.status"],
    ...["_ws.malformed", "_ws.expert.severity", "_ws.expert.message"],
  ];
  const lines = await dissect(file, "", fields);
  return lines.flatMap((line) => {
    const [number, ip, tcp, udp, icmp, icmpv6, malformed, severities, messages] = line.split("\t");
    const found: string[] = [];
    const texts = messages?.split("|") ?? [];
    const isError = (icmp !== "" || icmpv6 !== "") && (tcp !== "" || udp !== "");
    for (const [protocol, states] of Object.entries({ ip, tcp, udp, icmp, icmpv6 })) {
      // The first is the packet's own; the rest belong to a packet quoted in an ICMP error, and so
      // do all of its transport's: a quotation is mostly too short for its checksum.
      const isQuoted = isError && (protocol === "tcp" || protocol === "udp");
      const isZero = protocol === "tcp" && texts.some((text) => text.startsWith(otherZero));
      const state = isQuoted || isZero ? "" : states?.split("|")[0];
      if (state !== "" && state !== "1") found.push(`${protocol} checksum status ${state}`);
    }
    if (malformed) found.push("malformed");
    for (const [index, severity] of (severities ?? "").split("|").entries()) {
      const text = texts[index] ?? "";
      if (isError && text.startsWith("Bad checksum")) continue; // its own have been looked at
      if (text.startsWith(otherZero)) continue;
      if (Number(severity) >= expertWarning && !ordinary.test(text)) found.push(`"${text}"`);
    }
    return found.length > 0 ? [`frame ${number}: ${found.join(", ")}`] : [];
  });
}

/** `expert.severity` of a warning; errors are above. */
const expertWarning = 0x600000;

/** The values of tshark fields, a line per frame that passes the display filter, tab-separated. */
export async function dissect(
  file: string,
  filter: string,
  fields: readonly string[],
): Promise<string[]> {
  const output = await must([
    ...[
      "tshark",
      "-n",
      "-r",
      file,
      ...checksums,
      ...PAYLOAD_IS_DATA,
      "-T",
      "fields",
      "-E",
      "aggregator=|",
    ],
    ...(filter === "" ? [] : ["-Y", filter]),
    ...fields.flatMap((field) => ["-e", field]),
  ]);
  return output.split("\n").filter((line) => line !== "");
}

/**
 * A copy of a capture file in which one bit of a frame is turned over.
 *
 * @param number the frame's number as tshark counts, from 1
 */
export async function flipBit(
  file: string,
  number: number,
  offsetInFrame: number,
): Promise<string> {
  const bytes = await Deno.readFile(file);
  const view = new DataView(bytes.buffer);
  let record = pcapHeaderBytes;
  for (let skipped = 1; skipped < number; skipped++) {
    record += recordHeaderBytes + view.getUint32(record + capturedLengthOffset, true);
  }
  const index = record + recordHeaderBytes + offsetInFrame;
  bytes[index] = bytes[index]! ^ 0x01;
  const flipped = `${file}-${number}-${offsetInFrame}`;
  await Deno.writeFile(flipped, bytes);
  return flipped;
}

/**
 * The classic capture format, as dumpcap writes it with -P on a little-endian machine;
 * pcap-savefile(5).
 */
const pcapHeaderBytes = 24;
const recordHeaderBytes = 16;
const capturedLengthOffset = 8;
