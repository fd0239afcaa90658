/**
 * TCP connections whose segments are mostly plain (`src/datapath/header_prediction.ts`): the next
 * ones of a connection, some with numbers at the edges of the window, with rare flags, short TTLs
 * or fragments, with work that is left to the interface, and some changed on the way.
 */
import { below, type Random } from "../../src/core/random.ts";
import { repairHeader, repairTransport } from "../fuzz/fuzzer.ts";
import { cut } from "./fragments.ts";
import { buildTcp, type Ip, naiveChecksum, readTcp, type Tcp } from "./frames.ts";
import { buildTcp6, type Ip6, readTcp6 } from "./frames6.ts";
import { leaveToNic, vnetBytes } from "./nic.ts";
import { CLIENT, from, packetsOf, PROXY_B_MAC } from "./world.ts";

const ISN = 1_000_000;
const ISN_B = -500_000;
const SERVICE = 2000;
const CLIENT6 = "2001:db8::fe";

/** What differs between the families. */
interface Family {
  /** One whose MAC address the proxy never learns, and one to whom no route leads. */
  readonly clients: readonly string[];
  /** Offset of the segment in a frame whose IP header has no options. */
  readonly l4: number;
  /** Of fields as those of IPv4. */
  build(fields: Partial<Tcp>): Uint8Array<ArrayBuffer>;
  /** The frame's segment, if it has one. */
  read(frame: Uint8Array): Pick<Tcp, "src" | "srcPort" | "dst" | "flags"> | null;
  cut(frame: Uint8Array): readonly Uint8Array[];
  repairHeader(frame: Uint8Array): void;
  /** Of a segment that ends at `end`. */
  repairTransport(frame: Uint8Array, end: number): void;
}

const IPV4: Family = {
  clients: [CLIENT, CLIENT, CLIENT, "192.168.0.201", "172.16.0.9"],
  l4: 34,
  build: buildTcp,
  read: (frame) => frame[12] === 0x08 && frame[23] === 6 ? readTcp(frame) : null,
  cut: (frame) => cut(frame, 400),
  repairHeader: (frame) => repairHeader(frame, viewOf(frame), 34),
  repairTransport: (frame, end) => repairTransport(frame, viewOf(frame), 34, end),
};

const IPV6: Family = {
  clients: [CLIENT6, CLIENT6, CLIENT6, "2001:db8::c9", "2001:db8:f::9"],
  l4: 54,
  build: buildAsIpv6,
  read: (frame) => frame[12] === 0x86 && frame[20] === 6 ? readTcp6(frame) : null,
  cut: (frame) => [frame],
  repairHeader: () => {},
  repairTransport: repairTransport6,
};

function buildAsIpv6(fields: Partial<Tcp>): Uint8Array<ArrayBuffer> {
  return buildTcp6({ ...fields, ...header6Of(fields) });
}

/**
 * A header of IPv4 as one of IPv6: a later fragment has a fragment header; where there are options,
 * a header of destination options.
 */
export function header6Of({ fragment = 0, options = [], ttl = 64 }: Partial<Ip>): Partial<Ip6> {
  const offset = (fragment & 0x1fff) << 3;
  return {
    etherType: 0x86dd,
    hopLimit: ttl,
    headers: offset !== 0
      ? [[44, [0, 0, offset >> 8, offset & 255, 0, 0, 0, 7]]]
      : options.length > 0
      ? [[60, [0, 0, 1, 4, 0, 0, 0, 0]]]
      : [],
  };
}

/** As `repairTransport`, of a TCP segment or a datagram over IPv6. */
export function repairTransport6(frame: Uint8Array, end: number): void {
  const isUdp = frame[20] === 17;
  const at = 54 + (isUdp ? 6 : 16);
  if (end < at + 2) return;
  frame.fill(0, at, at + 2);
  const wholeBytes = end - 54;
  const lengthBytes = isUdp ? Math.min(viewOf(frame).getUint16(58), wholeBytes) : wholeBytes;
  const pseudo = [...frame.subarray(22, 54), 0, frame[20]!, lengthBytes >> 8, lengthBytes & 255];
  const checksum = naiveChecksum([...pseudo, ...frame.subarray(54, 54 + lengthBytes)]);
  viewOf(frame).setUint16(at, isUdp ? checksum || 0xffff : checksum);
}

function viewOf(frame: Uint8Array): DataView {
  return new DataView(frame.buffer, frame.byteOffset, frame.length);
}

const FLAGS = ["A", "A", "A", "A", "A", "PA", "PA", "PA", "UA", "EA", "CA", "PAEC"];
const RARE_FLAGS = ["FA", "RA", "R", "S", "SA", "", "P", "SFA", "FPU"];
const STEPS = [
  -(1 << 30),
  -70_000,
  -66_001,
  -66_000,
  -65_536,
  -65_535,
  -65_534,
  -1461,
  -1,
  1,
  1460,
  64_239,
  64_240,
  64_241,
];

/**
 * One end of a connection: what its segments have in common, and what it sends and acknowledges
 * next.
 */
interface End {
  readonly fields: Partial<Tcp>;
  readonly device: number;
  seq: number;
  ack: number;
}

/** Hands a frame to all who are to get it; what they send. */
export type Deliver = (
  frame: Uint8Array,
  vnet: Uint8Array | null,
  device: number,
) => Uint8Array<ArrayBuffer>[];

export class PlainTraffic {
  readonly #random: Random;
  readonly #ends: (readonly [End, End])[] = [];
  /** There is an interface on each side. */
  readonly #isB: boolean;
  readonly #deliver: Deliver;
  readonly #family: Family;

  constructor(random: Random, isTwoSided: boolean, deliver: Deliver, isIpv6 = false) {
    this.#random = random;
    this.#family = isIpv6 ? IPV6 : IPV4;
    this.#isB = isTwoSided;
    this.#deliver = deliver;
  }

  /** How many have been opened. */
  get connections(): number {
    return this.#ends.length;
  }

  /** A handshake, as far as the policy lets it pass. */
  open(): void {
    const { build, clients, read } = this.#family;
    const host = this.pick(clients);
    const client: Partial<Tcp> = {
      ...from(host),
      srcPort: 30_000 + this.below(6),
      dstPort: SERVICE,
    };
    const tcpOptions = this.chance(2) ? [3, 3, 7, 1] : [];
    const window = this.pick([64_240, 64_240, 0]);
    const first = build({ ...client, flags: "S", seq: ISN, tcpOptions, window });
    const syn = this.#deliver(first, null, 0).map(read).find((segment) => segment?.flags === "S");
    if (!syn) return;
    const backend: Partial<Tcp> = {
      ...from(syn.dst),
      dst: syn.src,
      srcPort: SERVICE,
      dstPort: syn.srcPort,
      ...(this.#isB ? { dstMac: PROXY_B_MAC } : {}),
    };
    if (this.#ends.length > 0) this.exchange();
    const answer = { ...backend, seq: ISN_B, ack: ISN + 1, tcpOptions, window };
    this.#deliver(build({ ...answer, flags: "SA" }), null, 1);
    const last = { ...client, seq: ISN + 1, ack: ISN_B + 1, window };
    this.#deliver(build({ ...last, flags: "A" }), null, 0);
    this.#ends.push([
      { fields: client, device: 0, seq: ISN + 1, ack: ISN_B + 1 },
      { fields: backend, device: 1, seq: ISN_B + 1, ack: ISN + 1 },
    ]);
  }

  /** A segment from one end to the other, mostly a plain one. */
  exchange(): void {
    const pair = this.pick(this.#ends);
    const side = this.below(2);
    const end = pair[side]!;
    const isLong = this.chance(16);
    const lengths = isLong ? [2900, 9000, 30_000] : [0, 0, 1, 2, 3, 37, 536, 959, 961, 1460];
    const payload = new Uint8Array(this.pick(lengths));
    payload.forEach((_, i) => payload[i] = this.below(256));
    const isNext = !this.chance(4);
    const fields = {
      ...end.fields,
      flags: this.chance(100) ? this.pick(RARE_FLAGS) : this.pick(FLAGS),
      seq: isNext ? end.seq : (end.seq + this.#step()) | 0,
      ack: isNext || this.chance(2) ? end.ack : (end.ack + this.#step()) | 0,
      window: this.pick([64_240, 64_240, 0, 1, 65_535]),
      ttl: this.pick([64, 64, 64, 64, 64, 255, 2, 1, 0]),
      fragment: this.pick([0x4000, 0x4000, 0x4000, 0, 0, 0x8000, 0x2000, 1]),
      options: this.chance(30) ? [1, 1, 1, 0] : [],
      tcpOptions: this.chance(2) ? [1, 1, 8, 10, 0, 0, 0, 1, 0, 0, 0, 2] : [],
      payload,
    };
    const whole = this.#family.build(fields);
    const { frame, vnet } = isLong
      ? leaveToNic(whole, this.pick([536, 900, 1448]), this.chance(2))
      : this.#left(whole);
    const changed = this.chance(10) ? this.#change(frame) : frame;
    const isAstray = this.#isB && this.chance(50);
    const device = isAstray ? 1 - end.device : end.device;
    if (isAstray && changed.length > 5) changed[4] = device + 1; // to the MAC address there
    const isCut = vnet === null && changed === frame && this.chance(20);
    const sent = (isCut ? this.#family.cut(changed) : [changed])
      .flatMap((one) => this.#deliver(one, vnet, device));
    if (packetsOf(sent).length === 0 || !isNext) return;
    end.seq = (end.seq + payload.length) | 0;
    pair[1 - side]!.ack = end.seq;
  }

  #step(): number {
    return this.chance(4) ? this.#random.uint32() : this.pick(STEPS);
  }

  /** What the sender leaves to its interface, if anything. */
  #left(frame: Uint8Array): { frame: Uint8Array; vnet: Uint8Array | null } {
    const { l4 } = this.#family;
    switch (this.below(10)) {
      case 0:
      case 1:
      case 2:
        return leaveToNic(frame);
      case 3:
        return leaveToNic(frame, this.pick([8, 500, 1000, 1460]), this.chance(2));
      case 4: {
        const csumStart = this.pick([0, 14, l4 - 1, l4, l4, l4 + 2]);
        const csumOffset = this.pick([0, 2, 16, 16, 18]);
        const gsoType = this.chance(10) ? this.pick([1, 3, 4]) : 0;
        const flags = this.pick([0, 1, 1, 2]);
        return { frame, vnet: vnetBytes({ flags, gsoType, gsoSize: 500, csumStart, csumOffset }) };
      }
      default:
        return { frame, vnet: null };
    }
  }

  /** Something is wrong with it now, or only padded. */
  #change(frame: Uint8Array): Uint8Array {
    const changed = Uint8Array.from([...frame, ...new Uint8Array(this.pick([0, 0, 6]))]);
    if (this.chance(4)) return changed.subarray(0, this.below(frame.length));
    if (this.chance(3)) return changed;
    if (this.chance(8)) changed.set(this.chance(2) ? [1] : changed.subarray(0, 6), 6); // the source
    changed[this.below(80) % changed.length]! ^= 1 << this.below(8);
    const { l4, repairHeader, repairTransport } = this.#family;
    if (this.chance(4)) changed[l4 + 12] = this.pick([0x40, 0x50, 0x60, 0xf0]);
    if (this.chance(2)) repairHeader(changed);
    if (this.chance(2)) repairTransport(changed, frame.length);
    return changed;
  }

  below(count: number): number {
    return below(this.#random, count);
  }

  chance(oneIn: number): boolean {
    return this.below(oneIn) === 0;
  }

  pick<T>(values: readonly T[]): T {
    return values[this.below(values.length)]!;
  }
}
