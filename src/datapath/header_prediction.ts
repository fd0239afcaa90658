/**
 * The way of most packets, made short. A *plain segment* has ACK and no SYN, FIN or RST, lies in
 * the window of an established connection, and came whole, in an IPv4 packet without options (V.
 * Jacobson, "4BSD TCP Header Prediction", 1990). In one function, with its fields in local
 * variables, it goes
 *
 *     decode ─ admit ─ classify ─ tree ─ TTL, MTU, route ─ commit ─ translate ─ ARP
 *
 * as the files of these names have it, where the comments stand that say why. A frame that is not
 * plain, or not right in any way, is left to them; tests hold the two ways against each other.
 */
import { OFFSET_BITS } from "../core/arena.ts";
import { NOT_MINE } from "../core/reason.ts";
import type { Connections } from "../flow/connections.ts";
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
import { ttlToSend } from "../flow/translate.ts";
import { leavesWhole } from "../stack/fragmentation.ts";
import { FORWARD } from "../policy/language/ast.ts";
import type { Evaluate } from "../policy/engine/environment.ts";
import { CORRECT, delta16, delta32, fold, halves, sumBytes, updated } from "../wire/checksum.ts";
import * as ethernet from "../wire/ethernet.ts";
import * as ipv4 from "../wire/ipv4.ts";
import { type Pdu, STATE_ESTABLISHED, STEP_A_TO_B, STEP_B_TO_A } from "../wire/pdu.ts";
import * as tcp from "../wire/tcp.ts";
import { decodeVnet, leavesOnlyTcp } from "../wire/vnet.ts";
import type { Dispatch } from "./dispatch.ts";
import type { Ask } from "./interest.ts";
import type { Link } from "./link.ts";
import { Count, type Metrics } from "./metrics.ts";
import type { Promotions } from "./promotions.ts";

/** EtherType, version and header length. */
const IPV4_WITHOUT_OPTIONS = (ethernet.ETHERTYPE_IPV4 << 8) | 0x45;

const ESTABLISHED_TCP = (ESTABLISHED << STATE_SHIFT) | ipv4.PROTOCOL_TCP;

export interface PlainOptions {
  readonly connections: Connections;
  readonly metrics: Metrics;
  readonly dispatch: Dispatch;
  /** Null: the kernel carries no connections. */
  readonly promotions: Promotions | null;
}

export class PlainSegments {
  readonly #options: PlainOptions;
  readonly #words: Int32Array<ArrayBuffer>;

  constructor(options: PlainOptions) {
    this.#options = options;
    this.#words = options.connections.table.words;
  }

  /**
   * Takes a plain segment the whole way: the decision that was carried out, or a reason. NOT_MINE
   * for any other frame, and for those that are `wanted`; then nothing in `pdu` means anything.
   * `flow` is its connection, as it was seen ahead.
   */
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
    const l4 = ip + ipv4.IPV4_MIN_BYTES;
    if (
      ethernet.destinationHi(view, frame) !== link.mac.hi ||
      ethernet.destinationLo(view, frame) !== link.mac.lo ||
      !ethernet.isFromStation(view, frame, link.mac) ||
      (view.getInt32(ip - 2) >>> 8) !== IPV4_WITHOUT_OPTIONS
    ) return NOT_MINE;
    const lengths = view.getInt32(ip);
    const fragment = view.getInt32(ip + 4);
    const ttlWord = view.getInt32(ip + 8);
    const src = ipv4.source(view, ip);
    const dst = ipv4.destination(view, ip);
    const ports = tcp.ports(view, l4);
    const seq = tcp.sequence(view, l4);
    const ack = tcp.acknowledgment(view, l4);
    const flags = view.getInt32(l4 + 12);
    const checksumWord = view.getInt32(l4 + tcp.CHECKSUM);
    const totalLength = lengths & 0xffff;
    const lengthBytes = totalLength - ipv4.IPV4_MIN_BYTES;
    const headerBytes = (flags >>> 28) << 2;
    const tcpFlags = (flags >>> 16) & 0xff;
    const addresses = halves(src) + halves(dst);
    // These lengths are the frame's: what it is too short for was the arena's, and changes nothing.
    if (
      totalLength > frameBytes - ethernet.ETHERNET_BYTES ||
      (fragment & (ipv4.MORE_FRAGMENTS | ipv4.FRAGMENT_OFFSET)) !== 0 ||
      ((ttlWord >>> 16) & 0xff) !== ipv4.PROTOCOL_TCP ||
      fold(halves(lengths) + halves(fragment) + halves(ttlWord) + addresses) !== CORRECT ||
      headerBytes < tcp.TCP_MIN_BYTES || headerBytes > lengthBytes ||
      (tcpFlags & (tcp.SYN | tcp.FIN | tcp.RST | tcp.ACK)) !== tcp.ACK ||
      !leavesOnlyTcp(view, frame, l4)
    ) return NOT_MINE;

    // Classify
    const words = this.#words;
    const side = flow & 1;
    const base = baseOf(flow >>> 1);
    const tuple = base + side * TUPLE_WORDS;
    const meta = words[base + META]!;
    if (
      words[tuple + SRC] !== src || words[tuple + DST] !== dst || words[tuple + PORTS] !== ports ||
      (meta & TYPE_MASK) !== ESTABLISHED_TCP
    ) return NOT_MINE;
    const own = base + DATA + side * WORDS_PER_SIDE;
    const peer = base + DATA + WORDS_PER_SIDE - side * WORDS_PER_SIDE;
    const ownWindow = words[own + MAX_WIN]!;
    const peerWindow = words[peer + MAX_WIN]!;
    const end = (seq + (lengthBytes - headerBytes)) | 0;
    const ahead = (end - words[own + END]!) | 0;
    const behind = (words[peer + END]! - ack) | 0;
    if (
      ownWindow <= 0 || peerWindow <= 0 || ((seq - words[own + MAX_END]!) | 0) > 0 ||
      ((ahead + peerWindow) | 0) < 0 || behind < 0 ||
      (behind > OLD_ACK_BYTES && behind > ownWindow)
    ) return NOT_MINE;

    // Admit: an established connection has had both its tuples admitted, each on its link.
    const { dispatch, metrics } = this.#options;
    if (link !== dispatch.linkTowards(flow)) return NOT_MINE;

    pdu.frame = frame;
    pdu.frameBytes = frameBytes;
    pdu.ip = ip;
    pdu.l4 = l4;
    pdu.end = ip + totalLength;
    pdu.etherType = ethernet.ETHERTYPE_IPV4;
    pdu.broadcastFrame = 0;
    pdu.src = src;
    pdu.dst = dst;
    pdu.protocol = ipv4.PROTOCOL_TCP;
    pdu.ttl = ttlWord >>> 24;
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
    if (decodeVnet(view, pdu) !== 0) return NOT_MINE;
    if (pdu.partialChecksum === 0) {
      const sum = addresses + ipv4.PROTOCOL_TCP + lengthBytes + halves(ports) + halves(seq) +
        halves(ack) + halves(flags) + halves(checksumWord);
      const rest = lengthBytes - tcp.TCP_MIN_BYTES;
      if (sumBytes(view, l4 + tcp.TCP_MIN_BYTES, rest, sum) !== CORRECT) return NOT_MINE;
    }

    if (wanted !== null && wanted(pdu)) return NOT_MINE;

    const { counts } = metrics;
    counts[Count.pdusIn + link.number]!++;
    counts[Count.pduBytesIn + link.number]! += totalLength;
    const outcome = evaluate(pdu);
    const out = dispatch.linkTowards(flow ^ 1);
    const other = base + TUPLE_WORDS - side * TUPLE_WORDS;
    const newDst = words[other + SRC]!;
    const nextHop = out.routes.nextHop(newDst);
    if (
      outcome !== FORWARD || (pdu.steps & (STEP_A_TO_B | STEP_B_TO_A)) === 0 || pdu.ttl <= 1 ||
      !out.isUp || !leavesWhole(out.arena, pdu, out.device.mtu) || nextHop === 0
    ) return dispatch.carryOut(link, pdu, outcome, nowMs);

    // Commit
    const window = Math.max(1, pdu.window << scaleOf(meta >>> OFFERS_SHIFT, side));
    const { promotions } = this.#options;
    if (promotions !== null && promotions.hasCarried(flow >>> 1)) {
      raiseAll(words, own, peer, end, ack, window);
    } else {
      const allowed = (ack + window) | 0;
      if (ahead > 0) words[own + END] = end;
      if (window > ownWindow) words[own + MAX_WIN] = window;
      if (((ack - words[own + ACK]!) | 0) > 0) words[own + ACK] = ack;
      if (((allowed - words[peer + MAX_END]!) | 0) > 0) words[peer + MAX_END] = allowed;
    }
    words[base + LAST_SEEN] = nowMs | 0;

    // Translate
    const newSrc = words[other + DST]!;
    const answerPorts = words[other + PORTS]!;
    const newPorts = (answerPorts << 16) | (answerPorts >>> 16);
    const newTtl = ttlToSend(pdu);
    const changed = delta32(src, newSrc) + delta32(dst, newDst);
    const header = updated(ttlWord & 0xffff, changed + delta16(pdu.ttl << 8, newTtl << 8));
    view.setInt32(ip + 8, (newTtl << 24) | (ipv4.PROTOCOL_TCP << 16) | header);
    ipv4.setSource(view, ip, newSrc);
    ipv4.setDestination(view, ip, newDst);
    const checksum = checksumWord >>> 16;
    tcp.setChecksum(
      view,
      l4,
      pdu.partialChecksum !== 0
        ? fold(checksum + changed)
        : updated(checksum, changed + delta32(ports, newPorts)),
    );
    tcp.setPorts(view, l4, newPorts >>> 16, newPorts & 0xffff);
    const leavingBytes = ethernet.ETHERNET_BYTES + totalLength;
    const reason = out.arp.send(frame, leavingBytes, nextHop, nowMs, flow >>> 1);
    if (reason !== 0) {
      // Who watches drops sees it as it came.
      view.setInt32(ip + 8, ttlWord);
      ipv4.setSource(view, ip, src);
      ipv4.setDestination(view, ip, dst);
      tcp.setPorts(view, l4, ports >>> 16, ports & 0xffff);
      tcp.setChecksum(view, l4, checksum);
      return reason;
    }
    counts[Count.pdusOut + out.number]!++;
    counts[Count.pduBytesOut + out.number]! += totalLength;
    return FORWARD;
  }
}
