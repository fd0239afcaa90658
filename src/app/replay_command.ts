/**
 * `proxy replay --pcap=FILE …`: runs a capture through the appliance in memory. No TAP device, no root.
 * Prints what a run prints, its summary, and how the frames compare with those of the capture.
 */
import { type PcapRecord, readPcap } from "../device/pcap.ts";
import { printable } from "../tree/policy_error.ts";
import {
  formatAddress,
  formatMac,
  inSubnet,
  type Mac,
  stableMac,
  subnetOf,
} from "../wire/address.ts";
import { CaptureWriter, readCaptureFile } from "./capture_file.ts";
import { type CommandOptions, reported } from "./command.ts";
import type { Config } from "./config.ts";
import { arpReplyFrame, endsOf, isArp, isFrom, ownerOf, senderOf } from "./frame_kind.ts";
import { loadPolicy } from "./policy_file.ts";
import { Replay } from "./replay.ts";
import { writeAll } from "./write_all.ts";

export interface ReplayCommand {
  readonly config: Config;
  /** Take the proxy's MAC address from the capture instead of `config`. */
  readonly findMac: boolean;
  /** Path of the capture. */
  readonly pcap: string;
  /** Path for a capture of what is sent, or null. */
  readonly out: string | null;
}

/** The console's text is written in pieces of about this length. */
const PIECE_LENGTH = 1 << 16;

/**
 * Runs the command; the exit code: 0, or 1 for a failure, for a capture that can't be read to its end,
 * and when frames differ.
 */
export async function replayCommand(
  command: ReplayCommand,
  { stdout, stderr, builtIn, customs }: CommandOptions,
): Promise<number> {
  return await reported(stderr, async () => {
    const { policy: file } = command.config;
    const policy = file === null ? builtIn : await loadPolicy(file, customs);
    const bytes = await readCaptureFile(command.pcap);
    const records = readPcap(bytes);
    const config = command.findMac ? withMacOf(bytes, command.config) : command.config;
    const silent = silentNeighbors(bytes, config);
    using out = command.out === null ? null : await CaptureWriter.create(command.out);
    const texts = { stdout: "", stderr: "" };
    const replay = new Replay(policy, config, {
      print: (text) => texts.stdout += text,
      complain: (text) => texts.stderr += text,
      sent: (record) => out?.add(record),
    }, silent.map((neighbor) => arpReplyFrame(neighbor, config)));
    const flush = async (all: boolean): Promise<void> => {
      const { stdout: printed, stderr: complaints } = texts;
      if (printed.length + complaints.length < PIECE_LENGTH && !all) return;
      texts.stdout = texts.stderr = "";
      await writeAll(stdout, printed);
      await writeAll(stderr, complaints);
    };
    texts.stdout += `${printable(command.pcap)}: ${formatConfig(config)}\n`;
    for (const { address, mac } of silent) {
      const where = `${formatAddress(address)} to be at ${formatMac(mac)}`;
      texts.stdout += `taking ${where}: the capture has no ARP packet from it\n`;
    }
    const broken = await readable(records, async (record) => {
      replay.take(record);
      await flush(false);
      await out?.flush(false);
    });
    await out?.flush(true);
    texts.stdout += replay.summary();
    if (broken !== null) texts.stderr += `error: ${broken}\n`;
    await flush(true);
    return broken !== null || replay.differs() ? 1 : 0;
  });
}

/** Hands the records on; what is wrong with the one that can't be read, else null. */
async function readable(
  records: Iterator<PcapRecord>,
  take: (record: PcapRecord) => Promise<void>,
): Promise<string | null> {
  for (;;) {
    let next: IteratorResult<PcapRecord>;
    try {
      next = records.next();
    } catch (error) {
      if (error instanceof SyntaxError) return error.message;
      throw error;
    }
    if (next.done) return null;
    await take(next.value);
  }
}

/** A host on the link. */
interface Neighbor {
  readonly address: number;
  readonly mac: Mac;
}

/** Most neighbours that are introduced, as many as the ARP cache holds. */
const MAX_SILENT = 4096;

/**
 * Hosts of the own subnet that have sent packets to the proxy, but never an ARP packet: the capture did
 * not begin early enough to show where they are.
 */
function silentNeighbors(bytes: Uint8Array, config: Config): readonly Neighbor[] {
  const { address: own, prefixLength, mac: ownMac } = config;
  const subnet = subnetOf(own, prefixLength);
  const spoken = new Set<number>();
  const silent = new Map<number, Mac>();
  for (const { frame } of wholeRecords(bytes)) {
    const ends = endsOf(frame);
    if (ends === null || ends.src === own || !inSubnet(ends.src, subnet)) continue;
    if (isArp(frame)) {
      spoken.add(ends.src);
      silent.delete(ends.src);
    } else if (ends.dst === own && !spoken.has(ends.src) && !isFrom(frame, ownMac)) {
      if (silent.size < MAX_SILENT) silent.set(ends.src, senderOf(frame));
    }
  }
  return Array.from(silent, ([address, mac]) => ({ address, mac }));
}

/** The records up to one that can't be read, which is said when the replay comes to it. */
function* wholeRecords(bytes: Uint8Array): Generator<PcapRecord> {
  try {
    yield* readPcap(bytes);
  } catch (error) {
    if (!(error instanceof SyntaxError)) throw error;
  }
}

/** The configuration with the MAC address that the proxy's address has in the capture. */
function withMacOf(bytes: Uint8Array, config: Config): Config {
  const { address } = config;
  for (const { frame } of wholeRecords(bytes)) {
    const mac = ownerOf(frame, address);
    if (mac !== null) return { ...config, mac };
  }
  return { ...config, mac: stableMac("replay", address) };
}

function formatConfig({ address, prefixLength, mac, dstAddrs }: Config): string {
  return `${formatAddress(address)}/${prefixLength}, MAC ${formatMac(mac)}, ` +
    `backends ${dstAddrs.map(formatAddress).join(", ")}`;
}
