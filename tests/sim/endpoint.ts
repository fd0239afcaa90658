/**
 * One end of a simulated TCP connection (RFC 9293, with the challenge ACKs of RFC 5961): small,
 * without SACK or congestion control worth the name, but with what a translator in the middle must
 * live with: retransmission, out-of-order data, windows that close and open, window scaling,
 * half-close, simultaneous open and close, keep-alive probes, aborts.
 *
 * Positions in the own stream count from the SYN: 0 is the SYN, 1 + n the n-th byte of data, and
 * the FIN comes after the last. In the other's stream they count from its first byte of data.
 */
import { ACK, FIN, PSH, RST, type Segment, SYN, TIMESTAMPS_BYTES } from "./segment.ts";

export type TcpState =
  | "closed"
  | "syn-sent"
  | "syn-received"
  | "established"
  | "fin-wait-1"
  | "fin-wait-2"
  | "closing"
  | "time-wait"
  | "close-wait"
  | "last-ack";

/** How an endpoint ended: "" while it has not. */
export type End = "" | "closed" | "reset" | "aborted" | "timeout" | "replaced" | "vanished";

/** What the application at this end does. */
export interface Behaviour {
  readonly sendBytes: number;
  /** Bytes to be received before the first is sent. */
  readonly sendAfterBytes: number;
  /** A pause of `pauseMs` once so many bytes have been sent. */
  readonly pauseAtBytes: number;
  readonly pauseMs: number;
  /** Close only after the other end has; else as soon as everything is sent. */
  readonly closeLast: boolean;
  /** Abort once so many bytes have been sent and received together; -1: never. */
  readonly abortAtBytes: number;
  /** What aborts tells nobody: a host that crashed, or lost its power. */
  readonly vanishes: boolean;
  /** Abort at once when the connection is open. */
  readonly probe: boolean;
  readonly mss: number;
  readonly windowBytes: number;
  /** Window scale that is offered, or -1. */
  readonly scale: number;
  readonly sackPermitted: boolean;
  /** How often the application reads; 0: whatever comes, at once. */
  readonly readEveryMs: number;
  readonly keepAliveMs: number;
  /**
   * Segments that it sends as one, for its interface to cut up, and whether that makes checksums,
   * too.
   */
  readonly segmentsAtOnce: number;
  /** Most that are under way. */
  readonly segmentsInFlight: number;
  readonly opensChecksums: boolean;
  /** Answer a SYN with a SYN of one's own first, as if both had been sent at the same time. */
  readonly simultaneous: boolean;
  /** As client: knows no simultaneous open. One that does, a SYN that anybody forges confuses. */
  readonly deafToSyn: boolean;
  /** Offers timestamps (RFC 7323). */
  readonly timestamps: boolean;
  readonly timeWaitMs: number;
}

/** What an endpoint needs from its host. */
export interface Host {
  nowMs(): number;
  /**
   * Sends a segment, which may be longer than `endpoint.mss`; `offset` and `lengthBytes` say which
   * bytes of the endpoint's stream it carries.
   */
  transmit(
    endpoint: Endpoint,
    flags: number,
    seq: number,
    ack: number,
    offset: number,
    lengthBytes: number,
  ): void;
  /** Calls `endpoint.wake` at that time. */
  wakeAt(endpoint: Endpoint, atMs: number): void;
  /** Data has arrived; checks that it is what was sent. */
  received(
    endpoint: Endpoint,
    offset: number,
    segment: Segment,
    skip: number,
    lengthBytes: number,
  ): void;
  ended(endpoint: Endpoint): void;
}

const RTO_MS = 250;
const SYN_RTO_MS = 1000;
const RTO_MAX_MS = 4000;
const MAX_RETRIES = 16;
const MAX_PROBES = 10;
const PROBE_INTERVAL_MS = 2000;

export class Endpoint {
  state: TcpState = "closed";
  end: End = "";
  /** Bytes of data received in order, and whether the other's FIN has been. */
  deliveredBytes = 0;
  eof = false;
  retransmissions = 0;
  /** SYNs that were sent again until the answer came; -1: none has come. */
  openRetries = -1;
  /** When the application had nothing more to expect; 0: not yet. */
  overAtMs = 0;
  /** Number of the host at the other end, as this host sees it. */
  remoteAddress = 0;
  /** What this host's clock of timestamps is ahead of the simulation's. */
  tsOffset = 0;
  /** Both have offered timestamps, and the last that has come. */
  stamps = false;
  tsRecent = 0;
  readonly behaviour: Behaviour;
  readonly localPort: number;
  readonly remotePort: number;
  readonly iss: number;
  /** Numbers of the streams of `streams.ts`; -1: none is expected. */
  readonly outStream: number;
  readonly inStream: number;
  readonly #host: Host;
  // Sending: positions in the own stream.
  #una = 0;
  #nxt = 0;
  #max = 0;
  #sendWindow = 0;
  #windowSeq = 0;
  #windowAck = 0;
  #sendScale = 0;
  #mss: number;
  #inFlight = 2;
  #duplicates = 0;
  // Receiving: positions in the other's stream.
  #irs = 0;
  #early: [start: number, end: number][] = [];
  #finAt = -1;
  #readBytes = 0;
  #scaled = false;
  // Timers: 0 is off; the pause is -1 when it is over.
  #rtoAtMs = 0;
  #rtoMs = SYN_RTO_MS;
  #retries = 0;
  #quietSinceMs = 0;
  #probes = 0;
  #probeAtMs = 0;
  #pauseUntilMs = 0;
  #readAtMs = 0;
  #doneAtMs = 0;
  #wokenAtMs = Infinity;

  constructor(
    host: Host,
    behaviour: Behaviour,
    localPort: number,
    remotePort: number,
    iss: number,
    outStream: number,
    inStream: number,
  ) {
    this.#host = host;
    this.behaviour = behaviour;
    this.localPort = localPort;
    this.remotePort = remotePort;
    this.iss = iss;
    this.outStream = outStream;
    this.inStream = inStream;
    this.#mss = behaviour.mss;
  }

  /** Most data in a packet. */
  get mss(): number {
    return this.#mss - (this.stamps ? TIMESTAMPS_BYTES : 0);
  }

  /** The sequence number behind all that was sent. */
  get sendNext(): number {
    return (this.iss + this.#max) | 0;
  }

  /**
   * Both ends may still exchange data: neither has closed its direction, and the handshake is done.
   */
  get busy(): boolean {
    return this.state === "established";
  }

  /** Nothing more is expected of the application at this end. */
  get over(): boolean {
    return this.end !== "" || this.state === "time-wait";
  }

  /** All data, and the FIN, have been acknowledged. */
  get sentAll(): boolean {
    return this.#una === this.#finPosition + 1;
  }

  /** The sequence number that is expected next. */
  get receiveNext(): number {
    return (this.#irs + 1 + this.deliveredBytes + (this.eof ? 1 : 0)) | 0;
  }

  /** True for data that has not come yet, or an acknowledgment of more than before. */
  isNews(s: Segment): boolean {
    if ((s.flags & (SYN | RST)) !== 0) return false;
    const end = (s.seq + s.payloadBytes + (s.flags & FIN)) | 0;
    return ((end - this.receiveNext) | 0) > 0 || this.#positionOf(s.ack) > this.#una;
  }

  /** The window field of a segment; it is never scaled in a SYN. */
  windowField(syn: boolean): number {
    const free = Math.max(0, this.behaviour.windowBytes - (this.deliveredBytes - this.#readBytes));
    return Math.min(0xffff, syn || !this.#scaled ? free : free >> this.behaviour.scale);
  }

  connect(): void {
    this.state = "syn-sent";
    this.#quietSinceMs = this.#host.nowMs();
    this.#transmit(SYN, 0, 0, 0);
    this.#nxt = this.#max = 1;
    this.#arm();
  }

  /** Opens passively, upon a SYN. */
  accept(syn: Segment): void {
    this.#synchronize(syn);
    this.state = "syn-received";
    this.#quietSinceMs = this.#host.nowMs();
    if (this.behaviour.simultaneous) this.#transmit(SYN, 0, 0, 0);
    this.#transmit(SYN | ACK, 0, 0, 0);
    this.#nxt = this.#max = 1;
    this.#arm();
  }

  abort(): void {
    if (this.end !== "") return;
    if (this.behaviour.vanishes) {
      this.#acknowledge();
      return this.#finish("vanished");
    }
    this.#transmit(RST | ACK, this.#max, 0, 0);
    this.#finish("aborted");
  }

  /** Makes room for the tuple's next connection. */
  replace(): void {
    this.#finish("replaced");
  }

  receive(s: Segment): void {
    if (this.end !== "") return;
    this.#quietSinceMs = this.#host.nowMs();
    this.#probes = 0;
    if (this.state === "syn-sent") this.#receiveInSynSent(s);
    else this.#receiveSynchronized(s);
    if (this.end === "") this.#arm();
  }

  /** Time has come for something. */
  wake(): void {
    const nowMs = this.#host.nowMs();
    if (nowMs < this.#wokenAtMs) return;
    this.#wokenAtMs = Infinity;
    if (this.end !== "") return;
    if (this.#doneAtMs !== 0 && nowMs >= this.#doneAtMs) return this.#finish("closed");
    if (this.#readAtMs !== 0 && nowMs >= this.#readAtMs) this.#read();
    if (this.#pauseUntilMs > 0 && nowMs >= this.#pauseUntilMs) {
      this.#pauseUntilMs = -1;
      this.#output(false);
    }
    if (this.#rtoAtMs !== 0 && nowMs >= this.#rtoAtMs) this.#retransmit();
    if (this.end === "" && this.#probeAtMs !== 0 && nowMs >= this.#probeAtMs) {
      this.#keepAlive(nowMs);
    }
    if (this.end === "") this.#arm();
  }

  // Receiving

  #receiveInSynSent(s: Segment): void {
    const acks = (s.flags & ACK) !== 0;
    if (acks && this.#positionOf(s.ack) !== 1) {
      if ((s.flags & RST) === 0) this.#raw(RST, s.ack, 0);
      return;
    }
    if ((s.flags & RST) !== 0) {
      if (!acks) return;
      this.openRetries = this.#retries;
      return this.#finish("reset");
    }
    if ((s.flags & SYN) === 0 || (!acks && this.behaviour.deafToSyn)) return;
    this.openRetries = this.#retries;
    this.#synchronize(s);
    this.#rtoMs = RTO_MS;
    if (!acks) {
      this.state = "syn-received";
      this.#transmit(SYN | ACK, 0, 0, 0);
      return;
    }
    this.#una = 1;
    this.#establish(s);
    if (this.end === "") this.#acknowledge();
  }

  #receiveSynchronized(s: Segment): void {
    const { flags } = s;
    if (this.state === "syn-received" && (flags & SYN) !== 0 && s.seq === this.#irs) {
      if ((flags & ACK) === 0) this.#transmit(SYN | ACK, 0, 0, 0);
      else if (this.#positionOf(s.ack) === 1) this.#opened(s);
      return;
    }
    const offset = (s.seq - ((this.#irs + 1) | 0)) | 0; // in the other's stream
    const lengthBytes = s.payloadBytes + (flags & FIN);
    const isLater = this.stamps && s.hasTimestamps && ((s.tsVal - this.tsRecent) | 0) > 0;
    if (isLater && s.seq === this.receiveNext) this.tsRecent = s.tsVal;
    if (!this.#acceptable(offset, lengthBytes)) {
      if ((flags & RST) === 0) this.#acknowledge();
      return;
    }
    if ((flags & RST) !== 0) {
      if (s.seq === this.receiveNext) this.#finish("reset");
      else this.#acknowledge();
      return;
    }
    if ((flags & SYN) !== 0) return this.#acknowledge();
    if ((flags & ACK) === 0) return;
    if (this.state === "syn-received") {
      if (this.#positionOf(s.ack) !== 1) return this.#raw(RST, s.ack, 0);
      this.#opened(s);
      if (this.end !== "") return;
    }
    const acked = this.#positionOf(s.ack);
    if (acked > this.#max || acked < this.#una - 0x10000) return this.#acknowledge();
    this.#acked(acked, s, lengthBytes);
    if (this.end !== "") return;
    if (lengthBytes > 0) this.#data(s, offset);
    if (this.end === "") this.#output(false);
  }

  /**
   * RFC 9293 §3.10.7.4, first check; an empty segment may lie on the window's edge, as Linux has
   * it.
   */
  #acceptable(offset: number, lengthBytes: number): boolean {
    const next = this.deliveredBytes + (this.eof ? 1 : 0);
    const edge = this.#readBytes + this.behaviour.windowBytes + (this.eof ? 1 : 0);
    if (lengthBytes === 0) return offset === next || (offset >= next && offset <= edge);
    if (edge <= next) return false;
    const last = offset + lengthBytes - 1;
    return (offset >= next && offset < edge) || (last >= next && last < edge);
  }

  #synchronize(s: Segment): void {
    this.#irs = s.seq;
    this.#scaled = s.scale >= 0 && this.behaviour.scale >= 0;
    this.#sendScale = this.#scaled ? s.scale : 0;
    this.stamps = s.hasTimestamps && this.behaviour.timestamps;
    this.tsRecent = s.tsVal;
    if (s.mss !== 0) this.#mss = Math.min(this.#mss, s.mss);
    this.#sendWindow = s.window;
    this.#windowSeq = s.seq;
    this.#windowAck = s.ack;
  }

  #opened(s: Segment): void {
    this.#una = 1;
    this.#establish(s);
    if (this.end === "" && (s.flags & SYN) !== 0) this.#acknowledge();
  }

  #establish(s: Segment): void {
    this.state = "established";
    this.#nxt = Math.max(this.#nxt, 1);
    this.#retries = 0;
    this.#rtoMs = RTO_MS;
    this.#rtoAtMs = 0;
    this.#sendWindow = s.window << ((s.flags & SYN) !== 0 ? 0 : this.#sendScale);
    this.#windowSeq = s.seq;
    this.#windowAck = s.ack;
    if (this.behaviour.probe) return this.abort();
    if ((s.flags & SYN) !== 0) this.#output(false);
  }

  #acked(acked: number, s: Segment, lengthBytes: number): void {
    const outstanding = this.#max > this.#una;
    const advances = acked > this.#una;
    if (advances) {
      this.#una = acked;
      if (this.#nxt < acked) this.#nxt = acked;
      this.#retries = 0;
      this.#rtoMs = RTO_MS;
      this.#rtoAtMs = 0;
      this.#duplicates = 0;
      const { segmentsInFlight } = this.behaviour;
      this.#inFlight = Math.min(segmentsInFlight, this.#inFlight + segmentsInFlight / 8);
      this.#ownFinAcked();
      if (this.#abortDue()) return this.abort();
    } else if (acked === this.#una && outstanding && lengthBytes === 0) {
      if (this.#sendWindow === 0) this.#retries = 0; // alive, and not reading
      else if (++this.#duplicates === 3) this.#again();
    }
    if (acked < this.#una) return; // what an old acknowledgment says of the window is old, too
    const newer = (s.seq - this.#windowSeq) | 0;
    if (advances || newer > 0 || (newer === 0 && ((s.ack - this.#windowAck) | 0) >= 0)) {
      const opened = this.#sendWindow === 0 && s.window !== 0;
      this.#sendWindow = s.window << this.#sendScale;
      this.#windowSeq = s.seq;
      this.#windowAck = s.ack;
      if (opened) {
        this.#rtoAtMs = 0;
        this.#rtoMs = RTO_MS;
        this.#nxt = this.#una;
      }
    }
  }

  #ownFinAcked(): void {
    if (!this.sentAll) return;
    if (this.state === "fin-wait-1") this.state = "fin-wait-2";
    else if (this.state === "closing") this.#timeWait();
    else if (this.state === "last-ack") this.#finish("closed");
  }

  #data(s: Segment, offset: number): void {
    const room = this.#readBytes + this.behaviour.windowBytes;
    const start = Math.max(offset, this.deliveredBytes);
    const end = Math.min(offset + s.payloadBytes, room);
    if (end > start) {
      this.#host.received(this, start, s, start - offset, end - start);
      this.#keep(start, end);
    }
    if ((s.flags & FIN) !== 0) this.#finAt = offset + s.payloadBytes;
    const finNow = !this.eof && this.#finAt === this.deliveredBytes;
    if (finNow) this.#otherFin();
    if (this.behaviour.readEveryMs === 0) this.#readBytes = this.deliveredBytes;
    else if (this.#readAtMs === 0) this.#readAtMs = this.#host.nowMs() + this.behaviour.readEveryMs;
    if (this.#abortDue()) return this.abort();
    this.#acknowledge();
  }

  /** Notes that the bytes from `start` to `end` are here, and moves on over what is complete. */
  #keep(start: number, end: number): void {
    this.#early.push([start, end]);
    this.#early.sort((a, b) => a[0] - b[0]);
    while (this.#early.length > 0 && this.#early[0]![0] <= this.deliveredBytes) {
      const [, reached] = this.#early.shift()!;
      if (reached > this.deliveredBytes) this.deliveredBytes = reached;
    }
  }

  #otherFin(): void {
    this.eof = true;
    if (this.state === "established") this.state = "close-wait";
    else if (this.state === "fin-wait-1") this.state = "closing";
    else if (this.state === "fin-wait-2") this.#timeWait();
  }

  #timeWait(): void {
    this.state = "time-wait";
    this.overAtMs = this.#host.nowMs();
    this.#rtoAtMs = 0;
    this.#doneAtMs = this.overAtMs + this.behaviour.timeWaitMs;
  }

  #read(): void {
    const before = this.windowField(false);
    this.#readBytes = this.deliveredBytes;
    this.#readAtMs = 0;
    if (before < this.#mss && !this.eof) this.#acknowledge(); // the window opens
  }

  // Sending

  #abortDue(): boolean {
    const { abortAtBytes } = this.behaviour;
    return abortAtBytes >= 0 && this.state !== "time-wait" &&
      Math.max(0, this.#una - 1) + this.deliveredBytes >= abortAtBytes;
  }

  /** Bytes of data that the application has handed over. */
  #offered(): number {
    const { sendAfterBytes, sendBytes, pauseAtBytes, pauseMs } = this.behaviour;
    if (this.deliveredBytes < sendAfterBytes) return 0;
    if (pauseMs === 0 || this.#pauseUntilMs === -1) return sendBytes;
    if (this.#pauseUntilMs === 0 && this.#una - 1 >= pauseAtBytes) {
      this.#pauseUntilMs = this.#host.nowMs() + pauseMs;
    }
    return Math.min(pauseAtBytes, sendBytes);
  }

  /** The application has nothing more to say, or will not have. */
  #closes(): boolean {
    const { closeLast, sendBytes } = this.behaviour;
    return this.#offered() === sendBytes && (!closeLast || this.eof);
  }

  get #finPosition(): number {
    return 1 + this.behaviour.sendBytes;
  }

  /** Sends what may be sent; with `forced` at least one byte, whatever the window. */
  #output(forced: boolean): void {
    const sends = this.state !== "syn-received" && this.state !== "fin-wait-2" &&
      this.state !== "time-wait";
    if (!sends || this.#una === 0) return;
    const offered = this.#offered();
    const closes = this.#closes();
    let edge = this.#una + this.#sendWindow;
    if (forced && edge <= this.#nxt) edge = this.#nxt + 1;
    edge = Math.min(edge, this.#una + this.#inFlight * this.mss);
    for (let room = edge - this.#nxt; room > 0; room = edge - this.#nxt) {
      const most = this.mss * this.behaviour.segmentsAtOnce;
      const lengthBytes = Math.max(0, Math.min(most, room, 1 + offered - this.#nxt));
      const fin = closes && room > lengthBytes && this.#nxt + lengthBytes === this.#finPosition;
      if (lengthBytes === 0 && !fin) break;
      const last = this.#nxt + lengthBytes === 1 + offered;
      const flags = ACK | (fin ? FIN : 0) | (last && lengthBytes > 0 ? PSH : 0);
      if (this.#nxt < this.#max) this.retransmissions++;
      this.#transmit(flags, this.#nxt, this.#nxt - 1, lengthBytes);
      this.#nxt += lengthBytes + (fin ? 1 : 0);
      if (this.#nxt > this.#max) this.#max = this.#nxt;
      if (fin && this.state === "established") this.state = "fin-wait-1";
      else if (fin && this.state === "close-wait") this.state = "last-ack";
    }
  }

  /** Sends the oldest segment once more. */
  #again(): void {
    const nxt = this.#nxt;
    const inFlight = this.#inFlight;
    this.#nxt = this.#una;
    this.#inFlight = 1;
    this.#output(false);
    this.#nxt = Math.max(nxt, this.#nxt);
    this.#inFlight = inFlight;
  }

  #retransmit(): void {
    if (++this.#retries > MAX_RETRIES) return this.#finish("timeout");
    this.#rtoAtMs = 0;
    this.#rtoMs = Math.min(2 * this.#rtoMs, RTO_MAX_MS);
    this.retransmissions++;
    if (this.state === "syn-sent") return this.#transmit(SYN, 0, 0, 0);
    if (this.state === "syn-received") return this.#transmit(SYN | ACK, 0, 0, 0);
    this.#nxt = this.#una;
    this.#inFlight = 1;
    this.#output(true);
  }

  #keepAlive(nowMs: number): void {
    if (++this.#probes > MAX_PROBES) return this.#finish("timeout");
    this.#probeAtMs = nowMs + PROBE_INTERVAL_MS;
    this.#transmit(ACK, this.#max - 1, 0, 0);
  }

  #acknowledge(): void {
    this.#transmit(ACK, this.#max, 0, 0);
  }

  #transmit(flags: number, position: number, offset: number, lengthBytes: number): void {
    const ack = (flags & ACK) !== 0 ? this.receiveNext : 0;
    const seq = (this.iss + position) | 0;
    this.#host.transmit(this, flags, seq, ack, offset, lengthBytes);
  }

  #raw(flags: number, seq: number, ack: number): void {
    this.#host.transmit(this, flags, seq, ack, 0, 0);
  }

  #positionOf(ack: number): number {
    return (ack - this.iss) | 0;
  }

  #finish(end: End): void {
    this.end = end;
    this.state = "closed";
    if (this.overAtMs === 0) this.overAtMs = this.#host.nowMs();
    this.#host.ended(this);
  }

  /** Sets the timers that the state wants and asks to be woken for the first of them. */
  #arm(): void {
    const nowMs = this.#host.nowMs();
    const waitsForWindow = this.#sendWindow === 0 && this.#una > 0 && this.#unsent();
    if (this.#max > this.#una || waitsForWindow) {
      if (this.#rtoAtMs === 0) this.#rtoAtMs = nowMs + this.#rtoMs;
    } else {
      this.#rtoAtMs = 0;
    }
    const idles = this.#rtoAtMs === 0 && this.state !== "time-wait";
    if (!idles) this.#probeAtMs = 0;
    else if (this.#probes === 0) this.#probeAtMs = this.#quietSinceMs + this.behaviour.keepAliveMs;
    let atMs = Infinity;
    if (this.#rtoAtMs !== 0) atMs = this.#rtoAtMs;
    if (this.#probeAtMs !== 0) atMs = Math.min(atMs, this.#probeAtMs);
    if (this.#pauseUntilMs > 0) atMs = Math.min(atMs, this.#pauseUntilMs);
    if (this.#readAtMs !== 0) atMs = Math.min(atMs, this.#readAtMs);
    if (this.#doneAtMs !== 0) atMs = Math.min(atMs, this.#doneAtMs);
    if (atMs < this.#wokenAtMs) {
      this.#wokenAtMs = atMs;
      this.#host.wakeAt(this, atMs);
    }
  }

  #unsent(): boolean {
    return this.#nxt < 1 + this.#offered() || (this.#closes() && this.#nxt === this.#finPosition);
  }
}
