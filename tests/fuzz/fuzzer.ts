/**
 * Makes hostile frames: takes a valid one, most often of a connection that is alive, changes a few
 * bytes or fields, and repairs the checksums or not, so that some get deep and others fail early.
 * Everything comes from the random numbers given: the same seed makes the same frames.
 */
import type { Random } from "../../src/core/random.ts";
import {
  buildArp,
  buildEthernet,
  buildIcmp,
  buildIp,
  buildTcp,
  buildUdp,
  type Ip,
  naiveChecksum,
  readIp,
  readTcp,
  tagged,
} from "../support/frames.ts";
import { cut } from "../support/fragments.ts";
import { bareSum, vnetBytes } from "../support/nic.ts";
import { arpReply, BACKENDS, CLIENT, from, macOf, PROXY, PROXY_MAC } from "../support/world.ts";
import { Dice, EDGE_WORDS } from "./dice.ts";

/** A connection that has been seen to be forwarded to a backend. */
export interface Live extends ClientEnd, BackendEnd {}

export interface ClientEnd {
  readonly client: string;
  readonly clientPort: number;
  readonly service: number;
}

export interface BackendEnd {
  readonly backend: string;
  /** As the backend sees it: the proxy's, or the client's own. */
  readonly source: string;
  readonly sourcePort: number;
}

const MAX_LIVE = 64;
const CLIENTS = [CLIENT, ...Array.from({ length: 12 }, (_, i) => `192.168.0.${200 + i}`)];
const SERVICES = [2000, 2000, 2001, 443, 80];
const TCP_FLAGS = ["A", "A", "PA", "PA", "FA", "R", "RA", "S", "SA", "", "F", "SF", "FPU", "SR"];
const ADDRESSES = [
  ...[PROXY, CLIENT, ...BACKENDS, "192.168.0.255", "192.168.0.0", "255.255.255.255"],
  ...["224.0.0.1", "127.0.0.1", "0.0.0.0", "240.0.0.1", "8.8.8.8"],
];
const MACS = [PROXY_MAC, "ff:ff:ff:ff:ff:ff", "01:80:c2:00:00:00", "02:00:00:00:00:77"];
const OPTIONS = [
  [1, 1, 1, 0],
  [7, 7, 4, 0, 0, 0, 0, 0], // record route
  [131, 7, 4, 8, 8, 8, 8, 0], // loose source route
  [137, 7, 4, 8, 8, 8, 8, 0], // strict source route
  [68, 40, 0, 0], // longer than the header
  [148, 0, 0, 0], // length 0
  [1, 1, 1, 148], // its length byte is missing
];

// Offsets in a frame whose IP header has no options.
const IP = 14;
const L4 = 34;

export class Fuzzer {
  readonly #dice: Dice;
  readonly #live: Live[] = [];

  /** Frames made so far to which something was done. */
  mutated = 0;

  constructor(random: Random) {
    this.#dice = new Dice(random);
  }

  /** Looks at a frame that the proxy has sent, for connections to meddle with. */
  observe(frame: Uint8Array): void {
    const end = this.opensAt(frame);
    if (end !== null && this.opening !== null) this.meddleWith({ ...this.opening, ...end });
  }

  /** The backend's end of a connection that the proxy's frame opens there; null: it opens none. */
  opensAt(frame: Uint8Array): BackendEnd | null {
    if (frame[12] !== 8 || frame[13] !== 0 || frame[IP + 9] !== 6) return null;
    const tcp = readTcp(frame);
    if (tcp.flags !== "S" || !BACKENDS.includes(tcp.dst)) return null;
    return { backend: tcp.dst, source: tcp.src, sourcePort: tcp.srcPort };
  }

  /** From now on frames may be of that connection. */
  meddleWith(live: Live): void {
    if (this.#live.length === MAX_LIVE) this.#live.splice(this.#dice.below(MAX_LIVE), 1);
    this.#live.push(live);
  }

  /** The connection that the last frame wants to open, if it is a SYN that nothing was done to. */
  opening: ClientEnd | null = null;

  /**
   * A vnet header for a frame that was made here, mostly none. Whoever leaves the frame's own
   * checksum open has filled its field in: that one lie would be the sender's only.
   */
  vnet(frame: Uint8Array): Uint8Array<ArrayBuffer> | null {
    if (!this.#dice.chance(8)) return null;
    const isTagged = frame[12] === 0x81 && frame[13] === 0;
    const bare = isTagged ? Uint8Array.of(...frame.slice(0, 12), ...frame.slice(16)) : frame;
    const l4 = frame.length - bare.length + (bare.length < L4 ? L4 : IP + (bare[IP]! & 15) * 4);
    const own = bare[IP + 9] === 17 ? 6 : 16;
    const fields = {
      flags: this.#dice.pick([1, 1, 1, 1, 0, 2, this.#dice.below(256)]),
      gsoType: this.#dice.pick([0, 0, 0, 1, 1, 0x81, this.#dice.below(256)]),
      headerLength: this.#dice.pick([0, 54, 66, this.#dice.below(0x10000)]),
      gsoSize: this.#dice.pick([8, 16, 536, 1460, ...EDGE_WORDS]),
      csumStart: this.#dice.chance(6) ? this.#dice.pick(EDGE_WORDS) : l4,
      csumOffset: this.#dice.chance(6) ? this.#dice.pick([2, ...EDGE_WORDS]) : own,
    };
    const field = fields.csumStart + fields.csumOffset;
    const isOwn = (fields.flags & 1) !== 0 && field === l4 + own && field + 2 <= frame.length;
    if (isOwn) new DataView(frame.buffer, frame.byteOffset).setUint16(field, bareSum(bare));
    return vnetBytes(fields);
  }

  /** The next frame, now and then with a tag. */
  next(): Uint8Array<ArrayBuffer> {
    const frame = this.#next();
    if (frame.length < IP || !this.#dice.chance(20)) return frame;
    return tagged(frame, this.#dice.pick([0, 0, 0, 0xe000, 1, this.#dice.below(0x1_0000)]));
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
    const live = this.#live.length > 0 ? this.#dice.pick(this.#live) : null;
    switch (this.#dice.below(live === null ? 12 : 24)) {
      case 0:
      case 1:
      case 2:
        return this.#syn();
      case 3:
        return this.#dice.chance(2)
          ? buildIcmp({ ...this.#client(), rest: [this.#dice.below(4), this.#dice.below(100)] })
          : this.#fragment();
      case 4:
        return buildIcmp({
          ...this.#host(),
          type: this.#dice.below(20),
          code: this.#dice.below(4),
        });
      case 5:
        return buildUdp({
          ...this.#host(),
          payload: this.#dice.bytes(100),
          noChecksum: this.#dice.chance(4),
        });
      case 6:
        return this.#arp();
      case 7:
        return this.#odd();
      case 8:
        return buildIp(
          { ...this.#host(), protocol: this.#dice.pick([2, 4, 41, 47, 50, 132, 255]) },
          this.#dice.bytes(60),
        );
      case 9:
        return buildTcp({ ...this.#host(), options: this.#dice.pick(OPTIONS) });
      case 10:
        return this.#stray();
      case 11:
        return arpReply(this.#dice.pick([...BACKENDS, ...CLIENTS]));
      case 12:
      case 13:
        return this.#quotation(live!);
      case 14:
      case 15:
      case 16:
      case 17:
      case 18:
        return this.#fromBackend(live!);
      default:
        return this.#fromClient(live!);
    }
  }

  #syn(): Uint8Array<ArrayBuffer> {
    const opening = {
      client: this.#dice.pick(CLIENTS),
      clientPort: 30_000 + this.#dice.below(500),
      service: this.#dice.pick(SERVICES),
    };
    this.opening = opening;
    return buildTcp({
      ...from(opening.client),
      srcPort: opening.clientPort,
      dstPort: opening.service,
      tcpOptions: this.#dice.chance(2) ? [2, 4, 5, 180] : [],
    });
  }

  #fromClient(live: Live): Uint8Array<ArrayBuffer> {
    return buildTcp({
      ...from(live.client),
      srcPort: live.clientPort,
      dstPort: live.service,
      ...this.#segment(),
    });
  }

  #fromBackend(live: Live): Uint8Array<ArrayBuffer> {
    return buildTcp({
      ...from(live.backend),
      dst: live.source,
      srcPort: live.service,
      dstPort: live.sourcePort,
      ...this.#segment(),
    });
  }

  #segment(): { flags: string; seq: number; ack: number; ttl: number; payload: Uint8Array } {
    return {
      flags: this.#dice.pick(TCP_FLAGS),
      seq: this.#dice.random.uint32(),
      ack: this.#dice.random.uint32(),
      ttl: this.#dice.pick([64, 64, 64, 255, 2, 1, 0]),
      payload: this.#dice.bytes(this.#dice.chance(20) ? 1400 : 40),
    };
  }

  /** An ICMP error from the backend about a forwarded packet, whole or 8 bytes of it. */
  #quotation(live: Live): Uint8Array<ArrayBuffer> {
    const about = buildTcp({
      src: live.source,
      dst: live.backend,
      srcPort: live.sourcePort,
      dstPort: live.service,
      flags: "A",
    });
    return buildIcmp({
      ...from(live.backend),
      dst: live.source,
      type: this.#dice.pick([3, 3, 4, 5, 11, 12]),
      code: this.#dice.below(5),
      rest: [0, this.#dice.pick([0, 576, 1400])],
      payload: about.slice(IP, this.#dice.chance(2) ? L4 + 8 : about.length),
    });
  }

  #arp(): Uint8Array<ArrayBuffer> {
    const sender = this.#dice.pick([
      ...CLIENTS,
      ...BACKENDS,
      ...BACKENDS,
      "0.0.0.0",
      PROXY,
      "10.0.0.1",
    ]);
    return buildArp({
      senderAddress: sender,
      senderMac: this.#dice.chance(8) ? this.#dice.pick(MACS) : macOf(sender),
      targetAddress: this.#dice.pick([PROXY, PROXY, sender, CLIENT]),
      operation: this.#dice.pick([1, 1, 2]),
    });
  }

  /** Frames that are no business of the proxy, and packets that must not get in. */
  #odd(): Uint8Array<ArrayBuffer> {
    const frame = buildTcp({
      ...this.#host(),
      dst: this.#dice.pick(ADDRESSES),
      src: this.#dice.pick(ADDRESSES),
    });
    switch (this.#dice.below(5)) {
      case 0:
        return buildEthernet(
          {
            dstMac: this.#dice.pick(MACS),
            srcMac: macOf(CLIENT),
            etherType: this.#dice.pick([0x86dd, 0x88cc, 0x0026, 0x8100, 0x88a8, 0x0806, 0x0800]),
          },
          [...this.#dice.bytes(80)],
        );
      case 1:
        return this.#dice.chance(3)
          ? buildTcp({
            ...this.#host(),
            fragment: this.#dice.pick([0x2000, 0x2001, 0x0001, 0x1fff, 0x8000]),
          })
          : this.#fragment();
      case 2:
        return this.#dice.chance(2)
          ? buildTcp({ ...this.#host(), dstMac: this.#dice.pick(MACS) })
          : buildTcp({ ...this.#host(), srcMac: this.#dice.pick(MACS) });
      default:
        return frame;
    }
  }

  /**
   * One of three fragments of a ping; now and then all of them come, and nothing else of its
   * number.
   */
  #fragment(): Uint8Array<ArrayBuffer> {
    const id = this.#dice.below(4);
    const ping = buildIcmp({ ...from(CLIENT), id, payload: new Uint8Array(200 + id), fragment: 0 });
    return this.#dice.pick(cut(ping, 96));
  }

  /** Belongs to no connection, or to a port that cannot be. */
  #stray(): Uint8Array<ArrayBuffer> {
    return buildTcp({
      ...this.#host(),
      flags: this.#dice.pick(TCP_FLAGS),
      srcPort: this.#dice.pick([0, 1, 1023, 40_000, 65_535]),
      dstPort: this.#dice.pick([0, 80, 2000, 65_535]),
    });
  }

  #client(): Partial<Ip> {
    return from(this.#dice.pick(CLIENTS));
  }

  #host(): Partial<Ip> {
    return from(this.#dice.pick([...CLIENTS, ...BACKENDS, ...BACKENDS]));
  }

  // Mutations

  #mutate(frame: Uint8Array<ArrayBuffer>): Uint8Array<ArrayBuffer> {
    return this.#dice.mutate(frame, (view) => {
      if (view.byteLength >= L4 + 20) this.#mutateField(view);
    });
  }

  /** Changes a header field to something that is nearly right, or just wrong. */
  #mutateField(view: DataView): void {
    switch (this.#dice.below(12)) {
      case 0:
        return view.setUint8(IP, this.#dice.pick([0x40, 0x44, 0x46, 0x4f, 0x55, 0x65]));
      case 1:
        return view.setUint16(IP + 2, view.getUint16(IP + 2) + this.#dice.below(9) - 4);
      case 2:
        return view.setUint16(IP + 2, this.#dice.pick([0, 19, 20, 21, 24, 28, 40, 0xffff]));
      case 3:
        return view.setUint16(IP + 6, this.#dice.pick(EDGE_WORDS));
      case 4:
        return view.setUint8(IP + 8, this.#dice.below(3));
      case 5:
        return view.setUint8(IP + 9, this.#dice.pick([1, 6, 17]));
      case 6:
        return view.setUint16(L4 + 2 * this.#dice.below(2), this.#dice.pick([0, 80, 2000]));
      case 7:
        return view.setUint8(L4 + 12, this.#dice.below(256));
      case 8:
        return view.setUint8(L4 + 13, this.#dice.below(256));
      case 9:
        return view.setUint16(L4 + 4, this.#dice.pick([0, 7, 8, 9, 0xffff]));
      case 10:
        return view.setUint8(L4, this.#dice.below(20));
      default:
        this.#dice.pick(ADDRESSES).split(".").forEach((octet, i) =>
          view.setUint8(IP + (this.opening === null ? 12 : 16) + i, Number(octet))
        );
    }
  }

  /** Mostly makes the checksums right again, as far as the frame still has the fields for it. */
  #repair(frame: Uint8Array<ArrayBuffer>): void {
    const view = new DataView(frame.buffer, frame.byteOffset, frame.length);
    if (frame.length < L4 || view.getUint16(12) !== 0x0800) return;
    const headerBytes = Math.max(20, (view.getUint8(IP) & 15) * 4);
    const l4 = IP + headerBytes;
    const end = Math.min(frame.length, IP + view.getUint16(IP + 2));
    if (l4 > frame.length) return;
    if (!this.#dice.chance(4)) repairTransport(frame, view, l4, end);
    if (!this.#dice.chance(6)) repairHeader(frame, view, l4);
  }
}

/** Makes the checksum of the IP header right, which ends at `l4`. */
export function repairHeader(frame: Uint8Array, view: DataView, l4: number): void {
  view.setUint16(IP + 10, 0);
  view.setUint16(IP + 10, naiveChecksum(frame.subarray(IP, l4)));
}

/** Makes the checksum of the segment right that stands from `l4` to `end`. */
export function repairTransport(frame: Uint8Array, view: DataView, l4: number, end: number): void {
  const protocol = view.getUint8(IP + 9);
  const checksumAt = new Map([[1, l4 + 2], [6, l4 + 16], [17, l4 + 6]]).get(protocol);
  if (checksumAt === undefined || checksumAt + 2 > end) return;
  view.setUint16(checksumAt, 0);
  const lengthBytes = protocol === 17 ? Math.min(end - l4, view.getUint16(l4 + 4)) : end - l4;
  const pseudo = protocol === 1 ? [] : [
    ...frame.subarray(IP + 12, IP + 20),
    ...[0, protocol, lengthBytes >> 8, lengthBytes & 255],
  ];
  const checksum = naiveChecksum([...pseudo, ...frame.subarray(l4, l4 + lengthBytes)]);
  view.setUint16(checksumAt, protocol === 17 ? checksum || 0xffff : checksum);
}

/** Throws unless every checksum and length of the frame, which the proxy has sent, is right. */
export function checkSent(frame: Uint8Array): void {
  if (frame[12] !== 8 || frame[13] !== 0) return;
  if (frame[IP + 9] === 6) return void readTcp(frame);
  if (frame[IP + 9] === 17) return checkSentUdp(frame);
  const { l4 } = readIp(frame, 1);
  if (naiveChecksum(l4) !== 0) throw new Error("ICMP checksum is wrong");
}

/** As `readUdp`, for a datagram that may end before its packet does. */
function checkSentUdp(frame: Uint8Array): void {
  const { l4 } = readIp(frame, 17);
  const lengthBytes = l4[4]! * 256 + l4[5]!;
  if (lengthBytes < 8 || lengthBytes > l4.length) throw new Error("UDP length is wrong");
  const datagram = l4.subarray(0, lengthBytes);
  const pseudo = [...frame.subarray(IP + 12, IP + 20), 0, 17, lengthBytes >> 8, lengthBytes & 255];
  const noChecksum = l4[6] === 0 && l4[7] === 0;
  if (!noChecksum && naiveChecksum([...pseudo, ...datagram]) !== 0) {
    throw new Error("UDP checksum is wrong");
  }
}
