/**
 * `proxy replay --pcap=FILE …`: runs a capture through the appliance in memory, of both sides, or
 * one of each side's interface, merged by time. No TAP device, no root. Prints what a run prints,
 * its summary, and how the frames compare with those of the capture.
 */
import type { PcapRecord } from "../device/capture/pcap.ts";
import { readCaptures } from "../device/capture/records.ts";
import { printable } from "../core/text.ts";
import {
  type Address,
  formatAddress,
  formatMac,
  inSubnet,
  type Mac,
  stableMac,
} from "../wire/address.ts";
import { CaptureWriter, readCaptureFile } from "../process/capture_file.ts";
import { type CommandOptions, reported } from "./command.ts";
import {
  type Config,
  formatBackends,
  formatLink,
  type LinkConfig,
  mapLinks,
  subnetOn,
  subnetsFor,
} from "../datapath/config.ts";
import {
  advertisementFrame,
  arpReplyFrame,
  endsOf,
  endsOf6,
  isArp,
  isFrom,
  isTo,
  ownerOf,
  senderOf,
} from "../device/capture/frame.ts";
import { inHostSubnet } from "../wire/host_address.ts";
import { loadHashKey } from "../process/hash_key_file.ts";
import { loadPolicyOr } from "../process/policy_file.ts";
import { type Neighbor6, Replay } from "../offline/replay.ts";
import { writeAll } from "../process/write_all.ts";

export interface ReplayCommand {
  readonly config: Config;
  /** One for each of `config.links`. */
  readonly captures: readonly CaptureFiles[];
}

export interface CaptureFiles {
  /** Take the proxy's MAC address from the capture instead of the configuration. */
  readonly findMac: boolean;
  /** Path of the capture; null: side A's has this side, too. */
  readonly pcap: string | null;
  /** Path for a capture of what is sent, or null. */
  readonly out: string | null;
  /** MTU of the interface. */
  readonly mtu: number;
}

/** The console's text is written in pieces of about this length. */
const PIECE_LENGTH = 1 << 16;

/**
 * Runs the command; the exit code: 0, or 1 for a failure, for a capture that can't be read to its
 * end, and when frames differ.
 */
export async function replayCommand(
  command: ReplayCommand,
  { stdout, stderr, builtIn, customs }: CommandOptions,
): Promise<number> {
  return await reported(stderr, async () => {
    const { config: given, captures } = command;
    const { length } = given.links;
    const policy = await loadPolicyOr(builtIn, length, given.policy, customs);
    const paths = captures.flatMap(({ pcap }) => pcap ?? []);
    const files = await Promise.all(paths.map(readCaptureFile));
    const records = readCaptures(files, length, paths.map(printable));
    const recordsOf = (link: number) => wholeRecords(files, length, link);
    const links = mapLinks(
      given.links,
      (link, i) => captures[i]!.findMac ? withMacOf(recordsOf(i), link) : link,
    );
    const config: Config = { ...given, links };
    const silent = links.map((link, i) => silentNeighbors(recordsOf(i), link));
    const known6 = links.map((link, i) => knownNeighbors6(recordsOf(i), link));
    using writers = new DisposableStack();
    const outs: (CaptureWriter | null)[] = [];
    for (const { out } of captures) {
      outs.push(out === null ? null : writers.use(await CaptureWriter.create(out)));
    }
    const texts = { stdout: "", stderr: "" };
    const replay = new Replay(
      policy,
      config,
      {
        print: (text) => texts.stdout += text,
        complain: (text) => texts.stderr += text,
        sent: (record, link) => outs[link]?.add(record),
      },
      links.map((link, i) => ({
        mtu: captures[i]!.mtu,
        first: [
          ...silent[i]!.map((neighbor) => arpReplyFrame(neighbor, link)),
          ...known6[i]?.map((neighbor) => advertisementFrame(neighbor, own6On(link))) ?? [],
        ],
        neighbors6: known6[i] ?? null,
      })),
      await loadHashKey(config.hashKeyFile),
      customs,
    );
    const flush = async (all: boolean): Promise<void> => {
      const { stdout: printed, stderr: complaints } = texts;
      if (printed.length + complaints.length < PIECE_LENGTH && !all) return;
      texts.stdout = texts.stderr = "";
      await writeAll(stdout, printed);
      await writeAll(stderr, complaints);
    };
    for (const [i, link] of links.entries()) {
      texts.stdout += `${printable(captures[i]!.pcap ?? paths[0]!)}: ${formatLink(link)}, ` +
        `backends ${formatBackends(config.dstAddrs)}\n`;
    }
    for (const { address, mac } of silent.flat()) {
      const where = `${formatAddress(address)} to be at ${formatMac(mac)}`;
      texts.stdout += `taking ${where}: the capture has no ARP packet from it\n`;
    }
    const broken = await readable(records, async ([record, link]) => {
      replay.take(record, link);
      await flush(false);
      for (const out of outs) await out?.flush(false);
    });
    for (const out of outs) await out?.flush(true);
    texts.stdout += replay.summary();
    if (broken !== null) texts.stderr += `error: ${broken}\n`;
    await flush(true);
    return broken !== null || replay.differs() ? 1 : 0;
  });
}

/** Hands the records on; what is wrong with the one that can't be read, else null. */
async function readable<T>(
  records: Iterator<T>,
  take: (record: T) => Promise<void>,
): Promise<string | null> {
  for (;;) {
    let next: IteratorResult<T>;
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
  readonly address: Address;
  readonly mac: Mac;
}

/** Most neighbours that are introduced, as many as the ARP cache holds. */
const MAX_SILENT = 4096;

/**
 * Hosts of the own subnet that have sent packets to the proxy or through it, but never an ARP
 * packet: the capture did not begin early enough to show where they are.
 */
function silentNeighbors(
  records: Iterable<PcapRecord>,
  link: LinkConfig,
): readonly Neighbor[] {
  const { address: own, mac: ownMac } = link;
  const subnet = subnetOn(link);
  const spoken = new Set<number>();
  const silent = new Map<number, Mac>();
  for (const { frame } of records) {
    const ends = endsOf(frame);
    if (ends === null || ends.src === own || !inSubnet(ends.src, subnet)) continue;
    if (isArp(frame)) {
      spoken.add(ends.src);
      silent.delete(ends.src);
    } else if (isTo(frame, ownMac) && !spoken.has(ends.src)) {
      if (silent.size < MAX_SILENT) silent.set(ends.src, senderOf(frame));
    }
  }
  return Array.from(silent, ([address, mac]) => ({ address, mac }));
}

/**
 * Hosts of the link's subnets of IPv6 that have sent packets to the proxy or through it; null if
 * the capture begins before the proxy uses its addresses, and gets to know its neighbours.
 */
function knownNeighbors6(
  records: Iterable<PcapRecord>,
  link: LinkConfig,
): readonly Neighbor6[] | null {
  if (link.ipv6 === null) return null;
  const known = new Map<bigint, Mac>();
  let isFirst = true;
  for (const { frame } of records) {
    const ends = endsOf6(frame);
    if (ends === null) continue;
    if (isFrom(frame, link.mac)) {
      if (isFirst && ends.src === 0n) return null; // asks whether its addresses are free
      isFirst = false;
      continue;
    }
    const { src } = ends;
    const isKnown = known.has(src) || known.size === MAX_SILENT || !isTo(frame, link.mac);
    if (!isKnown && subnetsFor(src, link).some((subnet) => inHostSubnet(src, subnet))) {
      known.set(src, senderOf(frame));
    }
  }
  return Array.from(known, ([address, mac]) => ({ address, mac }));
}

/** The proxy as its neighbours over IPv6 see it; `link` has an address of that. */
function own6On({ ipv6, mac }: LinkConfig): Neighbor6 {
  return { address: ipv6!.addresses[0]!.address, mac };
}

/** Those of a link, up to one that can't be read, which is said when the replay comes to it. */
function* wholeRecords(
  files: readonly Uint8Array[],
  links: number,
  link: number,
): Generator<PcapRecord> {
  try {
    for (const [record, number] of readCaptures(files, links)) if (number === link) yield record;
  } catch (error) {
    if (!(error instanceof SyntaxError)) throw error;
  }
}

/** The link with the MAC address that the proxy's address has in the capture. */
function withMacOf(records: Iterable<PcapRecord>, link: LinkConfig): LinkConfig {
  const own = [link.address, ...link.ipv6?.addresses.map(({ address }) => address) ?? []];
  for (const { frame } of records) {
    for (const address of own) {
      const mac = ownerOf(frame, address);
      if (mac !== null) return { ...link, mac };
    }
  }
  return { ...link, mac: stableMac("replay", link.address) };
}
