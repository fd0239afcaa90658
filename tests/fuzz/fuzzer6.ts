/**
 * Makes hostile frames of IPv6, as `fuzzer.ts` does of IPv4: connections that are alive, neighbour
 * discovery, extension headers of every kind, fragments, errors about what the proxy has sent.
 */
import type { Random } from "../../src/core/random.ts";
import { buildEthernet, naiveChecksum, tagged } from "../support/frames.ts";
import {
  address6Bytes,
  buildAdvertisement,
  buildIcmp6,
  buildIp6,
  buildSolicitation,
  buildTcp6,
  buildUdp6,
  groupMacOf,
  type Ip6,
  isLinkMessage,
  readIcmp6,
  readIp6,
  readTcp6,
  ROUTER_ALERT,
  solicitedNode,
} from "../support/frames6.ts";
import { bareSum, vnetBytes } from "../support/nic.ts";
import {
  BACKENDS6,
  BACKENDS6_B,
  CLIENT6,
  from,
  fromB,
  macOf,
  PROXY6,
  PROXY_MAC,
} from "../support/world.ts";
import { Dice, EDGE_WORDS } from "./dice.ts";
import type { BackendEnd, ClientEnd, Live } from "./fuzzer.ts";

type Header = readonly [number, readonly number[]];

const MAX_LIVE = 64;
const CLIENTS = [
  CLIENT6,
  ...Array.from({ length: 12 }, (_, i) => `2001:db8::${(200 + i).toString(16)}`),
];
const SERVICES = [2000, 2000, 2001, 443, 80];
const TCP_FLAGS = ["A", "A", "PA", "PA", "FA", "R", "RA", "S", "SA", "", "F", "SF", "FPU", "SR"];
const ALL_NODES = "ff02::1";
const ALL_ROUTERS = "ff02::2";
const ADDRESSES = [
  ...[PROXY6, CLIENT6, ...BACKENDS6, "::", "::1", "::ffff:192.168.0.1", ALL_NODES, ALL_ROUTERS],
  ...[
    "ff02::16",
    solicitedNode(PROXY6),
    "fe80::1",
    "fe80::ff:fe00:100",
    "2001:db8:f::8",
    "ff0e::1",
  ],
];
const MACS = [
  ...[PROXY_MAC, "ff:ff:ff:ff:ff:ff", "33:33:00:00:00:01", groupMacOf(solicitedNode(PROXY6))],
  ...["33:33:00:00:00:16", "02:00:00:00:00:77"],
];
/** Options of hop-by-hop and destination headers, six bytes each. */
const OPTIONS = [
  ...[[1, 4, 0, 0, 0, 0], [0, 0, 0, 0, 0, 0], [5, 2, 0, 0, 1, 0]], // padding, router alert
  ...[[0x1e, 4, 0, 0, 0, 0], [0x5e, 4, 0, 0, 0, 0]], // unknown: skip, discard
  ...[[0x9e, 4, 0, 0, 0, 0], [0xde, 4, 0, 0, 0, 0]], // unknown: tell, tell unless to a group
  ...[[1, 9, 0, 0, 0, 0], [0xc2, 4, 0, 1, 0, 0]], // longer than its header, jumbo payload
];
const PROTOCOLS = [4, 41, 47, 50, 51, 59, 60, 132, 139, 140, 253, 255];

// Offsets in a frame whose IPv6 header has no extension headers.
const IP = 14;
const L4 = 54;

export class Fuzzer6 {
  readonly #dice: Dice;
  readonly #isTwoSided: boolean;
  readonly #backends: readonly string[];
  readonly #live: Live[] = [];

  /** Frames made so far to which something was done. */
  mutated = 0;

  constructor(random: Random, isTwoSided = false) {
    this.#dice = new Dice(random);
    this.#isTwoSided = isTwoSided;
    this.#backends = isTwoSided ? BACKENDS6_B : BACKENDS6;
  }

  /** Looks at a frame that the proxy has sent, for connections to meddle with. */
  observe(frame: Uint8Array): void {
    const end = this.opensAt(frame);
    if (end !== null && this.opening !== null) this.meddleWith({ ...this.opening, ...end });
  }

  /** As `Fuzzer.opensAt`. */
  opensAt(frame: Uint8Array): BackendEnd | null {
    if (frame[12] !== 0x86 || frame[13] !== 0xdd || frame[IP + 6] !== 6) return null;
    const tcp = readTcp6(frame);
    if (tcp.flags !== "S" || !this.#backends.includes(tcp.dst)) return null;
    return { backend: tcp.dst, source: tcp.src, sourcePort: tcp.srcPort };
  }

  /** From now on frames may be of that connection. */
  meddleWith(live: Live): void {
    if (this.#live.length === MAX_LIVE) this.#live.splice(this.#dice.below(MAX_LIVE), 1);
    this.#live.push(live);
  }

  /** The connection that the last frame wants to open, if it is a SYN that nothing was done to. */
  opening: ClientEnd | null = null;

  /** A vnet header for a frame that was made here, mostly none; see `Fuzzer.vnet`. */
  vnet(frame: Uint8Array): Uint8Array<ArrayBuffer> | null {
    const dice = this.#dice;
    if (!dice.chance(8) || frame.length < L4 || frame[12] !== 0x86) return null;
    const own = frame[IP + 6] === 17 ? 6 : frame[IP + 6] === 58 ? 2 : 16;
    const fields = {
      flags: dice.pick([1, 1, 1, 1, 0, 2, dice.below(256)]),
      gsoType: dice.pick([0, 0, 0, 4, 4, 0x84, 1, dice.below(256)]),
      headerLength: dice.pick([0, 74, 86, dice.below(0x10000)]),
      gsoSize: dice.pick([8, 16, 536, 1440, ...EDGE_WORDS]),
      csumStart: dice.chance(6) ? dice.pick(EDGE_WORDS) : L4,
      csumOffset: dice.chance(6) ? dice.pick([2, ...EDGE_WORDS]) : own,
    };
    const field = fields.csumStart + fields.csumOffset;
    const isOwn = (fields.flags & 1) !== 0 && field === L4 + own && field + 2 <= frame.length;
    if (isOwn) new DataView(frame.buffer, frame.byteOffset).setUint16(field, bareSum(frame));
    return vnetBytes(fields);
  }

  /** The next frame, now and then with a tag. */
  next(): Uint8Array<ArrayBuffer> {
    const dice = this.#dice;
    const frame = this.#next();
    if (frame.length < IP || !dice.chance(20)) return frame;
    return tagged(frame, dice.pick([0, 0, 0, 0xe000, 1, dice.below(0x1_0000)]));
  }

  #next(): Uint8Array<ArrayBuffer> {
    this.opening = null;
    const valid = this.#valid();
    const changes = this.#dice.pick([0, 1, 1, 1, 2, 3]);
    if (changes === 0) return valid;
    this.opening = null;
    this.mutated++;
    let frame: Uint8Array<ArrayBuffer> = valid.slice();
    for (let i = 0; i < changes; i++) frame = this.#mutate(frame);
    this.#repair(frame);
    return frame;
  }

  // Valid frames

  #valid(): Uint8Array<ArrayBuffer> {
    const dice = this.#dice;
    const live = this.#live.length > 0 ? dice.pick(this.#live) : null;
    switch (dice.below(live === null ? 13 : 25)) {
      case 0:
      case 1:
      case 2:
        return this.#syn();
      case 3:
        return dice.chance(2) ? this.#ping(this.#client()) : this.#fragment();
      case 4:
        return buildIcmp6({ ...this.#host(), type: dice.below(160), code: dice.below(9) });
      case 5:
        return buildUdp6({ ...this.#host(), payload: dice.bytes(100) });
      case 6:
      case 7:
        return this.#discovery();
      case 8:
        return this.#odd();
      case 9:
        return buildIp6({ ...this.#host(), protocol: dice.pick(PROTOCOLS) }, dice.bytes(60));
      case 10:
        return buildTcp6({ ...this.#host(), flags: "S", headers: this.#headers() });
      case 11:
        return this.#stray();
      case 12:
        return this.#ping({ ...this.#host(), headers: this.#headers() });
      case 13:
      case 14:
        return this.#quotation(live!);
      case 15:
      case 16:
      case 17:
      case 18:
      case 19:
        return this.#fromBackend(live!);
      default:
        return this.#fromClient(live!);
    }
  }

  #syn(): Uint8Array<ArrayBuffer> {
    const dice = this.#dice;
    const opening = {
      client: dice.pick(CLIENTS),
      clientPort: 30_000 + dice.below(500),
      service: dice.pick(SERVICES),
    };
    this.opening = opening;
    return buildTcp6({
      ...from(opening.client),
      srcPort: opening.clientPort,
      dstPort: opening.service,
      flags: "S",
      flowLabel: dice.below(0x10_0000),
      tcpOptions: dice.chance(2) ? [2, 4, 5, 160] : [],
    });
  }

  #fromClient(live: Live): Uint8Array<ArrayBuffer> {
    return buildTcp6({
      ...from(live.client),
      srcPort: live.clientPort,
      dstPort: live.service,
      ...this.#segment(),
    });
  }

  #fromBackend(live: Live): Uint8Array<ArrayBuffer> {
    return buildTcp6({
      ...this.#from(live.backend),
      dst: live.source,
      srcPort: live.service,
      dstPort: live.sourcePort,
      ...this.#segment(),
    });
  }

  #segment() {
    const dice = this.#dice;
    return {
      flags: dice.pick(TCP_FLAGS),
      seq: dice.random.uint32(),
      ack: dice.random.uint32(),
      hopLimit: dice.pick([64, 64, 64, 255, 2, 1, 0]),
      trafficClass: dice.below(256),
      payload: dice.bytes(dice.chance(20) ? 1400 : 40),
      headers: dice.chance(12) ? this.#headers() : [],
    };
  }

  #ping(fields: Partial<Ip6>): Uint8Array<ArrayBuffer> {
    const dice = this.#dice;
    const toAll = dice.chance(6) ? { dst: ALL_NODES, dstMac: "33:33:00:00:00:01" } : {};
    return buildIcmp6({ ...fields, ...toAll, rest: [0, dice.below(4), 0, dice.below(100)] });
  }

  /** An error about a forwarded packet, whole or cut short, with a right or a wrong MTU. */
  #quotation(live: Live): Uint8Array<ArrayBuffer> {
    const dice = this.#dice;
    const about = buildTcp6({
      src: live.source,
      dst: live.backend,
      srcPort: live.sourcePort,
      dstPort: live.service,
      headers: dice.chance(6) ? this.#headers() : [],
    });
    const mtu = dice.pick([0, 1279, 1280, 1400, 9000]);
    return buildIcmp6({
      ...this.#from(live.backend),
      dst: live.source,
      type: dice.pick([1, 1, 2, 2, 3, 4]),
      code: dice.below(5),
      rest: [0, 0, mtu >> 8, mtu & 255],
      payload: about.slice(IP, dice.chance(2) ? L4 + 8 : about.length),
    });
  }

  /** Messages of neighbours and routers, and of who asks for listeners, right and wrong. */
  #discovery(): Uint8Array<ArrayBuffer> {
    const dice = this.#dice;
    const sender = dice.pick([
      ...CLIENTS,
      ...this.#backends,
      ...this.#backends,
      "::",
      PROXY6,
      "fe80::9",
    ]);
    const target = dice.pick([PROXY6, PROXY6, sender, CLIENT6, "fe80::ff:fe00:100"]);
    const mac = dice.chance(8) ? dice.pick(MACS) : macOf(sender);
    const fields = {
      src: sender,
      srcMac: mac,
      target,
      ...(dice.chance(10) ? { hopLimit: dice.below(256) } : {}),
      ...(dice.chance(10) ? { headers: this.#headers() } : {}),
      ...(dice.chance(8) ? { mac: null } : {}),
    };
    const toGroup = { dst: ALL_NODES, dstMac: "33:33:00:00:00:01" };
    switch (dice.below(8)) {
      case 0:
      case 1:
      case 2:
        return buildSolicitation(
          dice.chance(3) ? { ...fields, dst: PROXY6, dstMac: PROXY_MAC } : fields,
        );
      case 3:
      case 4:
      case 5: {
        const neighborFlags = dice.pick(["SO", "SO", "O", "", "RSO", "R", "S"]);
        return buildAdvertisement({ ...fields, neighborFlags, ...(dice.chance(4) ? toGroup : {}) });
      }
      case 6:
        return buildIcmp6({
          ...{ hopLimit: 255, src: "fe80::1", srcMac: mac, ...toGroup },
          type: dice.pick([133, 134, 137]),
          payload: [
            ...dice.bytes(8),
            ...address6Bytes(target),
            1,
            dice.pick([0, 1, 1, 2]),
            2,
            0,
            0,
            0,
            0,
            1,
          ],
        });
      default:
        return buildIcmp6({
          ...{ hopLimit: 1, src: dice.pick(["fe80::1", "::", CLIENT6]), srcMac: mac, ...toGroup },
          headers: dice.chance(4) ? [] : [ROUTER_ALERT],
          type: dice.pick([130, 130, 131, 143]),
          payload: [...address6Bytes(dice.pick(["::", solicitedNode(PROXY6)])), 0, 0, 0, 0],
        });
    }
  }

  /** Up to ten extension headers of all kinds; mostly one or two. */
  #headers(): Header[] {
    const dice = this.#dice;
    const count = dice.pick([1, 1, 1, 2, 2, 3, 8, 9, 10]);
    return Array.from({ length: count }, (): Header => {
      switch (dice.below(6)) {
        case 0:
          return [43, [0, 0, dice.pick([0, 2, 4]), dice.below(3), 0, 0, 0, 0]];
        case 1:
          return [44, [0, 0, 0, dice.pick([0, 0, 1, 9]), 0, 0, 0, dice.below(4)]];
        case 2:
        case 3:
          return [0, [0, 0, ...dice.pick(OPTIONS)]];
        default:
          return [60, [0, dice.pick([0, 0, 0, 1, 31]), ...dice.pick(OPTIONS)]];
      }
    });
  }

  /** One of three fragments of a ping, or one that overlaps, or ends where it must not. */
  #fragment(): Uint8Array<ArrayBuffer> {
    const dice = this.#dice;
    const id = dice.below(4);
    const message = buildIcmp6({ ...from(CLIENT6), payload: new Uint8Array(200 + 8 * id) }).slice(
      L4,
    );
    const at = 96 * dice.below(3);
    const start = dice.chance(10) ? at + 8 : at;
    const isLast = at + 96 >= message.length;
    const data = message.slice(at, dice.chance(10) ? at + 91 : at + 96);
    const word = start | (isLast ? 0 : 1);
    const header: Header = [44, [0, 0, word >> 8, word & 255, 0, 0, 0, id]];
    return buildIp6({ ...from(CLIENT6), protocol: 58, headers: [header] }, data);
  }

  /** Frames that are no business of the proxy, and packets that must not get in. */
  #odd(): Uint8Array<ArrayBuffer> {
    const dice = this.#dice;
    switch (dice.below(5)) {
      case 0:
        return buildEthernet(
          {
            dstMac: dice.pick(MACS),
            srcMac: macOf(CLIENT6),
            etherType: dice.pick([0x86dd, 0x86dd, 0x0800]),
          },
          [...dice.bytes(80)],
        );
      case 1:
        return buildTcp6({ ...this.#host(), dstMac: dice.pick(MACS) });
      case 2:
        return buildTcp6({ ...this.#host(), srcMac: dice.pick(MACS) });
      default:
        return buildTcp6({
          ...this.#host(),
          dst: dice.pick(ADDRESSES),
          src: dice.pick(ADDRESSES),
          flags: dice.pick(["S", "A"]),
        });
    }
  }

  /** Belongs to no connection, or to a port that can't be. */
  #stray(): Uint8Array<ArrayBuffer> {
    const dice = this.#dice;
    return buildTcp6({
      ...this.#host(),
      flags: dice.pick(TCP_FLAGS),
      srcPort: dice.pick([0, 1, 1023, 40_000, 65_535]),
      dstPort: dice.pick([0, 80, 2000, 65_535]),
    });
  }

  #client(): Partial<Ip6> {
    return from(this.#dice.pick(CLIENTS));
  }

  #host(): Partial<Ip6> {
    return this.#from(this.#dice.pick([...CLIENTS, ...this.#backends, ...this.#backends]));
  }

  #from(host: string): Partial<Ip6> {
    return this.#isTwoSided && this.#backends.includes(host) ? fromB(host) : from(host);
  }

  // Mutations

  #mutate(frame: Uint8Array<ArrayBuffer>): Uint8Array<ArrayBuffer> {
    return this.#dice.mutate(frame, (view) => {
      if (view.byteLength >= L4 + 20) this.#mutateField(view);
    });
  }

  /** Changes a header field to something that is nearly right, or just wrong. */
  #mutateField(view: DataView): void {
    const dice = this.#dice;
    switch (dice.below(12)) {
      case 0:
        return view.setUint8(IP, dice.pick([0x40, 0x45, 0x50, 0x6f, 0x70]));
      case 1:
        return view.setUint16(IP + 4, view.getUint16(IP + 4) + dice.below(9) - 4);
      case 2:
        return view.setUint16(IP + 4, dice.pick([0, 7, 8, 19, 20, 0xffff]));
      case 3:
        return view.setUint8(IP + 6, dice.pick([0, 6, 17, 43, 44, 58, 59, 60, 253]));
      case 4:
        return view.setUint8(IP + 7, dice.below(3));
      case 5:
        return view.setUint16(IP + 2, dice.pick(EDGE_WORDS));
      case 6:
        return view.setUint16(L4 + 2 * dice.below(2), dice.pick([0, 80, 2000]));
      case 7:
        return view.setUint8(L4 + 12, dice.below(256));
      case 8:
        return view.setUint8(L4 + 13, dice.below(256));
      case 9:
        return view.setUint16(L4 + 4, dice.pick([0, 7, 8, 9, 0xffff]));
      case 10:
        return view.setUint8(
          L4,
          dice.pick([...Array(5).keys(), 128, 129, 130, 133, 134, 135, 136, 137]),
        );
      default: {
        const at = IP + (this.opening === null ? 8 : 24);
        address6Bytes(dice.pick(ADDRESSES)).forEach((byte, i) => view.setUint8(at + i, byte));
      }
    }
  }

  /** Mostly makes the checksum right again, as far as the frame still has the fields for it. */
  #repair(frame: Uint8Array<ArrayBuffer>): void {
    if (frame.length < L4 || frame[12] !== 0x86 || frame[13] !== 0xdd || this.#dice.chance(4)) {
      return;
    }
    repairTransport6(frame);
  }
}

/** Makes the checksum of what the frame carries right, behind extension headers, too. */
export function repairTransport6(frame: Uint8Array<ArrayBuffer>): void {
  let ip: Ip6;
  let l4Bytes: Uint8Array;
  try {
    ({ ip, l4: l4Bytes } = readIp6(frame));
  } catch {
    return; // nobody can tell where it would be
  }
  const offset = new Map([[58, 2], [6, 16], [17, 6]]).get(ip.protocol);
  if (offset === undefined || offset + 2 > l4Bytes.length) return;
  const headerBytes = ip.headers.reduce((sum, [, bytes]) => sum + bytes.length, 0);
  const l4 = L4 + headerBytes;
  const view = new DataView(frame.buffer, frame.byteOffset, frame.length);
  view.setUint16(l4 + offset, 0);
  const isUdp = ip.protocol === 17;
  const lengthBytes = isUdp ? Math.min(l4Bytes.length, view.getUint16(l4 + 4)) : l4Bytes.length;
  const checksum = transportSum(frame, l4, lengthBytes, ip.protocol);
  view.setUint16(l4 + offset, isUdp ? checksum || 0xffff : checksum);
}

function transportSum(
  frame: Uint8Array,
  l4: number,
  lengthBytes: number,
  protocol: number,
): number {
  return naiveChecksum([
    ...frame.subarray(IP + 8, IP + 40),
    ...[0, 0, lengthBytes >> 8, lengthBytes & 255, 0, 0, 0, protocol],
    ...frame.subarray(l4, l4 + lengthBytes),
  ]);
}

/** Throws unless every checksum and length of the frame, which the proxy has sent, is right. */
export function checkSent6(frame: Uint8Array): void {
  const { ip, l4 } = readIp6(frame);
  if (ip.hopLimit === 0) throw new Error("sent with hop limit 0");
  if (isLinkMessage(frame) && ip.protocol === 58) return void readIcmp6(frame);
  if (ip.headers.some(([number, bytes]) => number === 44 && (bytes[2]! | bytes[3]! & 0xf9) !== 0)) {
    return; // a part of a datagram, with the checksum of the whole
  }
  if (ip.protocol === 6) return void readTcp6(frame);
  if (ip.protocol === 58) return void readIcmp6(frame);
  if (ip.protocol !== 17) throw new Error(`sent protocol ${ip.protocol}`);
  // A datagram may end before its packet does.
  const lengthBytes = l4[4]! * 256 + l4[5]!;
  if (lengthBytes < 8 || lengthBytes > l4.length) throw new Error("UDP length is wrong");
  if (transportSum(frame, frame.length - l4.length, lengthBytes, 17) !== 0) {
    throw new Error("UDP checksum is wrong");
  }
}
