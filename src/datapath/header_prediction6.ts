/**
 * Header prediction for plain segments of IPv6: the same way in one function as in
 * `header_prediction.ts`, which says what a plain segment is, of a packet without extension
 * headers.
 *
 * There is no header checksum, and an address has four words, of which the flow table's tuples have
 * digests only: the look-ahead has computed them to find the entry. Here the packet's whole
 * addresses are compared with the connection's, and nothing is computed of them again: their sums,
 * and the neighbour that is the next hop, are noted beside them (`flow/whole_addresses.ts`).
 *
 * What is alike stands in both files: with functions for it IPv4's way took 2 to 4 % longer.
 */
import { OFFSET_BITS } from "../core/arena.ts";
import { NOT_MINE } from "../core/reason.ts";
import {
  baseOf,
  DATA,
  DST,
  LAST_SEEN,
  META,
  OFFERS_SHIFT,
  PORTS,
  REFERENCE_MASK,
  SRC,
  STATE_SHIFT,
  TUPLE_WORDS,
  TYPE_MASK,
} from "../flow/entry.ts";
import { ESTABLISHED } from "../flow/tcp_state.ts";
import { scaleOf } from "../flow/tcp_offers.ts";
import {
  ACK,
  END,
  MAX_END,
  MAX_WIN,
  OLD_ACK_BYTES,
  raiseAll,
  WORDS_PER_SIDE,
} from "../flow/tcp_window.ts";
import { Translation, ttlToSend } from "../flow/translate.ts";
import {
  HOP,
  HOP_SERIAL,
  noteAt,
  SUM,
  type WholeAddresses,
  wholeTupleAt,
} from "../flow/whole_addresses.ts";
import { FORWARD } from "../policy/language/ast.ts";
import type { Evaluate } from "../policy/engine/environment.ts";
import { leavesWhole } from "../stack/fragmentation.ts";
import { ADDRESS6_WORDS } from "../wire/address6.ts";
import { CORRECT, delta32, fold, halves, sumBytes, updated } from "../wire/checksum.ts";
import * as ethernet from "../wire/ethernet.ts";
import { PROTOCOL_TCP } from "../wire/ipv4.ts";
import * as ipv6 from "../wire/ipv6.ts";
import { OVER_IPV6, type Pdu, STATE_ESTABLISHED, STEP_A_TO_B, STEP_B_TO_A } from "../wire/pdu.ts";
import * as tcp from "../wire/tcp.ts";
import { decodeVnet6, leavesOnlyTcp } from "../wire/vnet.ts";
import type { PlainOptions } from "./header_prediction.ts";
import type { Ask } from "./interest.ts";
import type { Link } from "./link.ts";
import type { Link6 } from "./link6.ts";
import { Count } from "./metrics.ts";

/** EtherType and version. */
const IPV6 = (ethernet.ETHERTYPE_IPV6 << 4) | 6;

const TCP6 = PROTOCOL_TCP | OVER_IPV6;
const ESTABLISHED_TCP6 = (ESTABLISHED << STATE_SHIFT) | TCP6;

/** The sum of the complements of two addresses, to which the sum of their words was added. */
const NO_ADDRESSES = 16 * 0xffff;

/** True if the frame, of at least 16 bytes, has an IPv6 packet. */
export function isIpv6Frame(view: DataView, frame: number): boolean {
  return (view.getInt32(frame + 12) >>> 12) === IPV6;
}

export class PlainSegments6 {
  readonly #options: PlainOptions;
  readonly #words: Int32Array<ArrayBuffer>;
  readonly #whole: WholeAddresses;
  readonly #to = new Translation();

  /** `whole` is the table's. */
  constructor(options: PlainOptions, whole: WholeAddresses) {
    this.#options = options;
    this.#words = options.connections.table.words;
    this.#whole = whole;
  }

  /** As `PlainSegments.take`, of a frame that `isIpv6Frame` is true of. */
  take(
    link: Link,
    frame: number,
    frameBytes: number,
    flow: number,
    pdu: Pdu,
    evaluate: Evaluate,
    wanted: Ask | null,
    nowMs: number,
  ): number {
    // Decode
    if (flow < 0) return NOT_MINE;
    flow &= REFERENCE_MASK;
    frame &= OFFSET_BITS;
    const { view } = link.arena;
    const ip = frame + ethernet.ETHERNET_BYTES;
    const l4 = ip + ipv6.IPV6_BYTES;
    if (
      ethernet.destinationHi(view, frame) !== link.mac.hi ||
      ethernet.destinationLo(view, frame) !== link.mac.lo ||
      !ethernet.isFromStation(view, frame, link.mac)
    ) return NOT_MINE;
    const lengthWord = view.getInt32(ip + ipv6.PAYLOAD_LENGTH); // with next header and hop limit
    const ports = tcp.ports(view, l4);
    const seq = tcp.sequence(view, l4);
    const ack = tcp.acknowledgment(view, l4);
    const flags = view.getInt32(l4 + 12);
    const checksumWord = view.getInt32(l4 + tcp.CHECKSUM);
    const lengthBytes = lengthWord >>> 16;
    const totalLength = ipv6.IPV6_BYTES + lengthBytes;
    const headerBytes = (flags >>> 28) << 2;
    const tcpFlags = (flags >>> 16) & 0xff;
    // These lengths are the frame's: what it is too short for was the arena's, and changes nothing.
    if (
      totalLength > frameBytes - ethernet.ETHERNET_BYTES ||
      ((lengthWord >>> 8) & 0xff) !== PROTOCOL_TCP ||
      headerBytes < tcp.TCP_MIN_BYTES || headerBytes > lengthBytes ||
      (tcpFlags & (tcp.SYN | tcp.FIN | tcp.RST | tcp.ACK)) !== tcp.ACK ||
      !leavesOnlyTcp(view, frame, l4)
    ) return NOT_MINE;

    // Classify
    const { dispatch, metrics } = this.#options;
    const { notes, words: whole } = this.#whole;
    const words = this.#words;
    const side = flow & 1;
    const base = baseOf(flow >>> 1);
    const tuple = base + side * TUPLE_WORDS;
    const meta = words[base + META]!;
    if (words[tuple + PORTS] !== ports || (meta & TYPE_MASK) !== ESTABLISHED_TCP6) return NOT_MINE;
    if (!copyIfSame(view, ip + ipv6.SOURCE, whole, wholeTupleAt(flow), pdu.addresses)) {
      return NOT_MINE;
    }
    const own = base + DATA + side * WORDS_PER_SIDE;
    const peer = base + DATA + WORDS_PER_SIDE - side * WORDS_PER_SIDE;
    const end = (seq + (lengthBytes - headerBytes)) | 0;
    if (!isInWindow(words, own, peer, seq, end, ack)) return NOT_MINE;

    // Admit: an established connection has had both its tuples admitted, each on its link; but
    // an address of ours may be on trial again, or another host's, where it comes in or leaves.
    const out = dispatch.linkTowards(flow ^ 1);
    const { v6 } = out;
    if (
      link !== dispatch.linkTowards(flow) || (v6 !== null && !v6.own.areAllUsable) ||
      (link !== out && !link.v6!.own.areAllUsable)
    ) return NOT_MINE;

    pdu.frame = frame;
    pdu.frameBytes = frameBytes;
    pdu.ip = ip;
    pdu.l4 = l4;
    pdu.end = ip + totalLength;
    pdu.etherType = ethernet.ETHERTYPE_IPV6;
    pdu.broadcastFrame = 0;
    pdu.src = words[tuple + SRC]!;
    pdu.dst = words[tuple + DST]!;
    pdu.protocol = TCP6;
    pdu.ttl = lengthWord & 0xff;
    pdu.totalLength = totalLength;
    pdu.fragment = 0;
    pdu.fragmentBytes = 0;
    pdu.srcPort = ports >>> 16;
    pdu.dstPort = ports & 0xffff;
    pdu.tcpFlags = tcpFlags;
    pdu.seq = seq;
    pdu.ack = ack;
    pdu.window = flags & 0xffff;
    pdu.payload = l4 + headerBytes;
    pdu.flow = flow;
    pdu.side = dispatch.sideOf(link, flow);
    pdu.state = STATE_ESTABLISHED;
    pdu.invalid = 0;
    pdu.verdict = ESTABLISHED;
    pdu.steps = 0;
    pdu.newTtl = 0;
    pdu.opened = 0;
    if (decodeVnet6(view, pdu) !== 0) return NOT_MINE;
    const addressSum = notes[noteAt(flow) + SUM]!;
    if (pdu.partialChecksum === 0) {
      const sum = addressSum + PROTOCOL_TCP + lengthBytes + halves(ports) + halves(seq) +
        halves(ack) + halves(flags) + halves(checksumWord);
      const rest = lengthBytes - tcp.TCP_MIN_BYTES;
      if (sumBytes(view, l4 + tcp.TCP_MIN_BYTES, rest, sum) !== CORRECT) return NOT_MINE;
    }

    if (wanted !== null && wanted(pdu)) return NOT_MINE;

    const { counts } = metrics;
    counts[Count.pdusIn + link.number]!++;
    counts[Count.pduBytesIn + link.number]! += totalLength;
    const outcome = evaluate(pdu);
    const to = this.#to;
    const other = base + TUPLE_WORDS - side * TUPLE_WORDS;
    const answer = wholeTupleAt(flow ^ 1);
    const note = noteAt(flow ^ 1);
    const hop = notes[note + HOP]!;
    const isHop = v6 !== null && v6.nd.neighbors.isStill(hop, notes[note + HOP_SERIAL]!);
    to.dst = words[other + SRC]!;
    if (
      outcome !== FORWARD || (pdu.steps & (STEP_A_TO_B | STEP_B_TO_A)) === 0 || pdu.ttl <= 1 ||
      !out.isUp || v6 === null ||
      (totalLength > ipv6.MIN_MTU6_BYTES &&
        !leavesWhole(out.arena, pdu, v6.mtuOf(out.device.mtu))) ||
      !(isHop || v6.routes.routeTo(to, whole, answer))
    ) return dispatch.carryOut(link, pdu, outcome, nowMs);

    // Commit
    const window = Math.max(1, pdu.window << scaleOf(meta >>> OFFERS_SHIFT, side));
    const { promotions } = this.#options;
    if (promotions !== null && promotions.hasCarried(flow >>> 1)) {
      raiseAll(words, own, peer, end, ack, window);
    } else {
      advance(words, own, peer, end, ack, window);
    }
    words[base + LAST_SEEN] = nowMs | 0;

    // Translate
    const answerPorts = words[other + PORTS]!;
    const newPorts = (answerPorts << 16) | (answerPorts >>> 16);
    const changed = NO_ADDRESSES - addressSum + notes[note + SUM]!;
    ipv6.setSource(view, ip, whole, answer + ADDRESS6_WORDS);
    ipv6.setDestination(view, ip, whole, answer);
    const checksum = checksumWord >>> 16;
    ipv6.setHopLimit(view, ip, ttlToSend(pdu));
    tcp.setChecksum(
      view,
      l4,
      pdu.partialChecksum !== 0
        ? fold(checksum + changed)
        : updated(checksum, changed + delta32(ports, newPorts)),
    );
    tcp.setPorts(view, l4, newPorts >>> 16, newPorts & 0xffff);
    const leavingBytes = ethernet.ETHERNET_BYTES + totalLength;
    const reason = isHop
      ? v6.nd.neighbors.sendTo(hop, frame, leavingBytes, nowMs)
      : this.#send(v6, frame, leavingBytes, nowMs, flow);
    if (reason !== 0) {
      // Who watches drops sees it as it came.
      ipv6.setHopLimit(view, ip, pdu.ttl);
      ipv6.setSource(view, ip, pdu.addresses, 0);
      ipv6.setDestination(view, ip, pdu.addresses, ADDRESS6_WORDS);
      tcp.setPorts(view, l4, ports >>> 16, ports & 0xffff);
      tcp.setChecksum(view, l4, checksum);
      return reason;
    }
    counts[Count.pdusOut + out.number]!++;
    counts[Count.pduBytesOut + out.number]! += totalLength;
    return FORWARD;
  }

  /** Sends to the next hop of `#to`, and notes which neighbour it is. */
  #send(v6: Link6, frame: number, bytes: number, nowMs: number, flow: number): number {
    const to = this.#to;
    const reason = v6.send(frame, bytes, to, nowMs, flow >>> 1);
    const number = v6.numberOfNextHop(to);
    if (number >= 0) {
      this.#whole.noteHop(flow ^ 1, number, v6.nd.neighbors.serialOf(number));
    }
    return reason;
  }
}

/**
 * Copies source and destination at `offset` of a packet to `copy` if they are those at `at` in
 * `words`; else false.
 */
function copyIfSame(
  view: DataView,
  offset: number,
  words: Int32Array,
  at: number,
  copy: Int32Array,
): boolean {
  const src0 = view.getInt32(offset);
  const src1 = view.getInt32(offset + 4);
  const src2 = view.getInt32(offset + 8);
  const src3 = view.getInt32(offset + 12);
  const dst0 = view.getInt32(offset + 16);
  const dst1 = view.getInt32(offset + 20);
  const dst2 = view.getInt32(offset + 24);
  const dst3 = view.getInt32(offset + 28);
  const different = (src0 ^ words[at]!) | (src1 ^ words[at + 1]!) | (src2 ^ words[at + 2]!) |
    (src3 ^ words[at + 3]!) | (dst0 ^ words[at + 4]!) | (dst1 ^ words[at + 5]!) |
    (dst2 ^ words[at + 6]!) | (dst3 ^ words[at + 7]!);
  if (different !== 0) return false;
  copy[0] = src0;
  copy[1] = src1;
  copy[2] = src2;
  copy[3] = src3;
  copy[4] = dst0;
  copy[5] = dst1;
  copy[6] = dst2;
  copy[7] = dst3;
  return true;
}

/**
 * True if the segment `seq` … `end` fits the windows of its connection, both of which are known;
 * `own` and `peer` are where the words of its sender and of its receiver begin.
 */
function isInWindow(
  words: Int32Array<ArrayBuffer>,
  own: number,
  peer: number,
  seq: number,
  end: number,
  ack: number,
): boolean {
  const ownWindow = words[own + MAX_WIN]!;
  const peerWindow = words[peer + MAX_WIN]!;
  const ahead = (end - words[own + END]!) | 0;
  const behind = (words[peer + END]! - ack) | 0;
  return ownWindow > 0 && peerWindow > 0 && ((seq - words[own + MAX_END]!) | 0) <= 0 &&
    ((ahead + peerWindow) | 0) >= 0 && behind >= 0 &&
    (behind <= OLD_ACK_BYTES || behind <= ownWindow);
}

/** Notes what such a segment has brought: its end, its acknowledgment, and its scaled window. */
function advance(
  words: Int32Array<ArrayBuffer>,
  own: number,
  peer: number,
  end: number,
  ack: number,
  window: number,
): void {
  const allowed = (ack + window) | 0;
  if (((end - words[own + END]!) | 0) > 0) words[own + END] = end;
  if (window > words[own + MAX_WIN]!) words[own + MAX_WIN] = window;
  if (((ack - words[own + ACK]!) | 0) > 0) words[own + ACK] = ack;
  if (((allowed - words[peer + MAX_END]!) | 0) > 0) words[peer + MAX_END] = allowed;
}
