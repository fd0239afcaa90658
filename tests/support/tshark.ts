/**
 * An independent opinion about frames: tshark dissects them with every checksum checked; by itself
 * it checks none. See tshark(1), "-o" and "-T fields".
 */
import { writePcap } from "./pcap.ts";

/** What is wrong with one frame. */
export interface Complaint {
  /** Index into the frames that were judged. */
  readonly index: number;
  /** E.g. `malformed`, `tcp checksum`, or an expert note of level warning or error. */
  readonly complaints: readonly string[];
}

const PREFERENCES = [
  "ip.check_checksum:TRUE",
  "tcp.check_checksum:TRUE",
  "udp.check_checksum:TRUE",
  // Frames are judged one by one: what went before does not count.
  "tcp.analyze_sequence_numbers:FALSE",
  "arp.detect_duplicate_ips:FALSE",
];

/**
 * Arguments for tshark: what TCP and UDP carry is nobody's protocol, whatever port numbers may
 * suggest.
 */
export const PAYLOAD_IS_DATA: readonly string[] = ["tcp", "udp"]
  .flatMap((protocol) => ["-d", `${protocol}.port==1-65535,data`]);

const CHECKSUMS = ["ip", "tcp", "udp", "icmp", "icmpv6"];
const FIELDS = [
  "eth.type",
  "ip.proto",
  "icmp.type",
  "icmpv6.type",
  ...CHECKSUMS.map((protocol) => `${protocol}.checksum.status`),
  "_ws.malformed",
  "_ws.expert.severity",
  "_ws.expert.message",
];

const ETHERTYPE_IPV6 = "0x86dd";
const CHECKSUM_GOOD = "1";
/** UDP over IPv4 may go without (RFC 768). */
const CHECKSUM_ABSENT = "3";
const EXPERT_WARNING = 0x600000;

/** ICMP errors: unreachable, source quench, redirect, time exceeded, parameter problem. */
const QUOTING_TYPES = ["3", "4", "5", "11", "12"];
/** ICMPv6 errors: unreachable, packet too big, time exceeded, parameter problem. */
const QUOTING_TYPES6 = ["1", "2", "3", "4"];

/** Notes about an ordinary TCP segment: a reset, and data in one (RFC 1122 §4.2.2.12 allows it). */
const ORDINARY = /^(Connection reset \(RST\)|Trailing stray characters)/;

/**
 * The frames in which tshark finds something wrong. What an ICMP error quotes is not judged: it is
 * another's packet, and cut short.
 */
export async function judge(frames: readonly Uint8Array[]): Promise<Complaint[]> {
  const lines = await dissect(frames, FIELDS);
  return lines.map(complaintOf).filter(({ complaints }) => complaints.length > 0);
}

/** The values of these fields in each frame, as tshark writes them; several are joined by `|`. */
export async function readFields(
  frames: readonly Uint8Array[],
  fields: readonly string[],
): Promise<string[][]> {
  return (await dissect(frames, fields)).map((line) => line.split("\t"));
}

/**
 * Declares a test that needs tshark: ignored without permission, or with the reason without tshark.
 */
export function tsharkTest(name: string, fn: () => Promise<void>): void {
  const permitted = isGranted({ name: "run", command: "tshark" });
  if (!permitted) {
    return Deno.test({ name: `${name} (skipped: needs --allow-run)`, ignore: true, fn });
  }
  if (isPresent()) return Deno.test({ name, fn });
  if (isGranted({ name: "env", variable: "CI" }) && Deno.env.get("CI") === "true") {
    return Deno.test(name, () => {
      throw new Error("Cannot find tshark, which CI=true does not allow");
    });
  }
  Deno.test({ name: `${name} (skipped: no tshark)`, ignore: true, fn });
}

/** One line for each frame: its fields, separated by tabs. */
async function dissect(
  frames: readonly Uint8Array[],
  fields: readonly string[],
): Promise<string[]> {
  const capture = writePcap(
    frames.map((frame, index) => ({ timeUs: index, frame, lengthBytes: frame.length })),
  );
  const child = new Deno.Command("tshark", {
    args: [
      ...["-n", "-r", "-", "-T", "fields", "-E", "aggregator=|", ...PAYLOAD_IS_DATA],
      ...PREFERENCES.flatMap((preference) => ["-o", preference]),
      ...fields.flatMap((field) => ["-e", field]),
    ],
    stdin: "piped",
    stdout: "piped",
    stderr: "piped",
  }).spawn();
  const writer = child.stdin.getWriter();
  // If tshark ends early, its words say why.
  const written = writer.write(capture).then(() => writer.close()).catch(() => {});
  const { success, stdout, stderr } = await child.output();
  await written;
  if (!success) throw new Error(`Cannot run tshark: ${new TextDecoder().decode(stderr).trim()}`);
  const lines = new TextDecoder().decode(stdout).split("\n").filter((line) => line !== "");
  if (lines.length !== frames.length) {
    throw new Error(`Cannot judge ${frames.length} frames: tshark saw ${lines.length}`);
  }
  return lines;
}

function complaintOf(line: string, index: number): Complaint {
  const [etherType, protocols, types, types6, ...values] = line.split("\t");
  const complaints: string[] = [];
  // Of several values the first is the packet's own; the rest belong to one quoted in an ICMP
  // error, which may be of another protocol.
  const isOverIpv6 = protocols === "" || firstOf(etherType!) === ETHERTYPE_IPV6;
  const quotes = isOverIpv6
    ? QUOTING_TYPES6.includes(firstOf(types6!))
    : firstOf(protocols!) === "1" && QUOTING_TYPES.includes(firstOf(types!));
  const own = isOverIpv6 ? ["icmpv6"] : ["ip", "icmp"];
  const isOwn = (protocol: string) => !quotes || own.includes(protocol);
  CHECKSUMS.forEach((protocol, i) => {
    const status = firstOf(values[i]!);
    const isLegal = status === CHECKSUM_GOOD || (protocol === "udp" && status === CHECKSUM_ABSENT);
    if (isOwn(protocol) && status !== "" && !isLegal) {
      complaints.push(`${protocol} checksum`);
    }
  });
  if (quotes) return { index, complaints };
  const [malformed, severities, messages] = values.slice(CHECKSUMS.length);
  if (malformed !== "") complaints.push("malformed");
  const texts = messages!.split("|");
  severities!.split("|").forEach((severity, i) => {
    const text = texts[i] ?? "";
    if (Number(severity) >= EXPERT_WARNING && !ORDINARY.test(text)) complaints.push(text);
  });
  return { index, complaints };
}

function firstOf(values: string): string {
  return values.split("|")[0]!;
}

function isPresent(): boolean {
  try {
    return new Deno.Command("tshark", { args: ["--version"], stdout: "null", stderr: "null" })
      .outputSync().success;
  } catch (error) {
    if (error instanceof Deno.errors.NotFound) return false;
    throw error;
  }
}

function isGranted(descriptor: Deno.PermissionDescriptor): boolean {
  return Deno.permissions.querySync(descriptor).state === "granted";
}
