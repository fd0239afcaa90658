/** What the connections of one simulated run do, drawn from its randomness. */
import { below, type Random } from "../../src/core/random.ts";
import type { Behaviour, Endpoint } from "./endpoint.ts";
import { readSegment, Segment } from "./segment.ts";

export type Kind =
  | "transfer"
  | "client-aborts"
  | "server-aborts"
  /**
   * The client is gone without a word, in the middle or half-closed; only where ports come round.
   */
  | "client-vanishes"
  /** SYN, SYN/ACK, RST. */
  | "probe"
  /** To a port where nobody listens, or nobody any more. */
  | "refused"
  /** To a port that the policy drops. */
  | "blocked";

export const SERVER_PORTS: readonly number[] = [2000, 2001];
export const CLOSED_PORT = 2009;
export const BLOCKED_PORT = 80;

const TIME_WAIT_MS = 8000;
const LINUX_TIME_WAIT_MS = 60_000;
const LINUX_KEEP_ALIVE_MS = 2 * 3600_000;

/** One connection: what is meant to happen, and its endpoints once they exist. */
export class Connection {
  readonly number: number;
  readonly kind: Kind;
  readonly serverPort: number;
  readonly client: Behaviour;
  readonly server: Behaviour;
  /** Address and port of the client. */
  clientAddress = 0;
  clientPort = 0;
  beganMs = 0;
  /** The proxy has said no in its own name. */
  refusedByProxy = false;
  /** Its port was given to another one before both ends were open, or after one had closed. */
  evicted = false;
  /** Its backend died, or may have been dead without the proxy's knowing. */
  struck = false;
  /**
   * How often its SYN may be sent again, for reasons that the simulation knows; see `returns.ts`.
   */
  excusedRetries = 0;
  /** When a stranger has sent a SYN under the client's name; -1: never. */
  forgedMs = -1;
  clientTsOffset = 0;
  serverTsOffset = 0;
  clientEnd: Endpoint | null = null;
  /** Usually one; a SYN may reach two backends when the first stopped answering ARP. */
  readonly serverEnds: Endpoint[] = [];

  constructor(
    number: number,
    kind: Kind,
    serverPort: number,
    client: Behaviour,
    server: Behaviour,
  ) {
    this.number = number;
    this.kind = kind;
    this.serverPort = serverPort;
    this.client = client;
    this.server = server;
  }

  get clientStream(): number {
    return 2 * this.number;
  }

  get serverStream(): number {
    return 2 * this.number + 1;
  }

  /** Both ends are in the middle of it. */
  get busy(): boolean {
    return this.clientEnd?.busy === true && this.serverEnds.some((end) => end.busy);
  }

  get over(): boolean {
    if (this.clientEnd?.end === "vanished") return true; // the server may wait for ever
    return this.clientEnd?.over === true && this.serverEnds.every((end) => end.over);
  }

  /** True for a frame between these ports, on either side of the proxy. */
  owns(frame: Uint8Array): boolean {
    const s = new Segment();
    if (readSegment(frame, s) !== "") return false;
    if (s.srcPort !== this.serverPort && s.dstPort !== this.serverPort) return false;
    const near = s.srcPort === this.serverPort ? s.dstPort : s.srcPort;
    const atClient = s.src === this.clientAddress || s.dst === this.clientAddress;
    return (atClient && near === this.clientPort) ||
      (!atClient && this.serverEnds.some(({ remotePort }) => remotePort === near));
  }

  /** Nothing in words, or what is wrong with how the connection ended. */
  fault(): string {
    const { clientEnd, serverEnds } = this;
    if (clientEnd === null) return "was never begun";
    if (!this.over) {
      return `has not ended: client ${clientEnd.state}, server ${
        serverEnds.map((end) => end.state).join(", ") || "none"
      }`;
    }
    if (this.evicted || this.struck) return "";
    const served = serverEnds.some((end) =>
      end.eof && end.deliveredBytes === this.client.sendBytes
    );
    const fetched = clientEnd.eof && clientEnd.deliveredBytes === this.server.sendBytes;
    switch (this.kind) {
      case "transfer":
        if (served && fetched) return "";
        if (this.refusedByProxy && serverEnds.length === 0) return "";
        return `is incomplete: client ${clientEnd.end}, got ${clientEnd.deliveredBytes} of ` +
          `${this.server.sendBytes}; server ${serverEnds.map((end) => end.end).join(", ")}, got ` +
          `${serverEnds.map((end) => end.deliveredBytes).join(", ")} of ${this.client.sendBytes}`;
      case "client-vanishes":
        return clientEnd.end === "vanished" || (served && fetched)
          ? ""
          : `did not vanish: client ${clientEnd.end}`;
      case "refused":
        return clientEnd.end === "reset" ? "" : `was not refused: ${clientEnd.end}`;
      case "blocked":
        return clientEnd.end === "timeout" ? "" : `was not blocked: ${clientEnd.end}`;
      default:
        // Aborted on purpose, which the other end need not hear of; what was delivered has been
        // checked.
        return ["aborted", "reset"].includes(clientEnd.end) || served || fetched ||
            serverEnds.some(({ end }) => end === "aborted")
          ? ""
          : `was not aborted: client ${clientEnd.end}`;
    }
  }
}

/** How the connections of a run differ from the usual. */
export interface Style {
  /**
   * Ports come round: clients vanish at times, and servers keep TIME-WAIT as long as Linux does.
   */
  readonly returns: boolean;
  /** The client offers timestamps; null: nobody does, and no simulated host knows them. */
  readonly timestamps: boolean | null;
  /** Clients know no simultaneous open. */
  readonly deafToSyn: boolean;
  /** Some transfers are long, with large windows; clients vanish at times. */
  readonly isBulky: boolean;
}

export const USUAL: Style = { returns: false, timestamps: null, deafToSyn: false, isBulky: false };

export function drawConnection(number: number, random: Random, style: Style): Connection {
  const { returns, timestamps, deafToSyn, isBulky } = style;
  const kind = drawKind(random, returns || isBulky);
  const isBulk = isBulky && below(random, BULK_EVERY) === 0;
  const bulkFrom = isBulky ? below(random, isBulk ? 3 : 1) : 0; // 0: the server, 1: the client, 2: both
  const clientBytes = isBulk && bulkFrom > 0 ? drawBulk(random) : drawBytes(random);
  const serverBytes = isBulk && bulkFrom !== 1 ? drawBulk(random) : drawBytes(random);
  const total = clientBytes + serverBytes;
  // At most one end waits for the other to close, at most one for the other's data.
  const closeLast = below(random, 4); // 0: client, 1: server, else both close when they are done
  const sendAfter = below(random, 4);
  const timeWaitMs = returns ? LINUX_TIME_WAIT_MS : TIME_WAIT_MS;
  const clientAborts = kind === "client-aborts" || kind === "client-vanishes";
  const client = drawBehaviour(random, {
    sendBytes: clientBytes,
    sendAfterBytes: sendAfter === 0 ? serverBytes : 0,
    closeLast: closeLast === 0,
    abortAtBytes: clientAborts ? below(random, total + 2) : -1,
    vanishes: kind === "client-vanishes",
    probe: kind === "probe",
    simultaneous: false,
    deafToSyn,
    timestamps: timestamps === true,
    timeWaitMs,
  });
  const server = drawBehaviour(random, {
    sendBytes: serverBytes,
    sendAfterBytes: sendAfter === 1 ? clientBytes : 0,
    closeLast: closeLast === 1,
    abortAtBytes: kind === "server-aborts" ? below(random, total + 1) : -1,
    vanishes: false,
    probe: false,
    simultaneous: kind === "transfer" && below(random, 16) === 0,
    deafToSyn,
    timestamps: timestamps !== null && below(random, 4) !== 0,
    timeWaitMs,
  });
  const windowBytes = isBulk ? [65_535, 65_535, 500_000][below(random, 3)]! : 0;
  // Some send, and close, in the middle of what they get.
  const isMiddle = isBulk && below(random, 2) === 0;
  const bulk = (isSender: boolean, otherBytes: number) => {
    const sendAfterBytes = isMiddle && !isSender ? below(random, otherBytes) : 0;
    return isBulk ? { ...BULK, windowBytes, sendAfterBytes } : {};
  };
  const keepAliveMs = kind === "client-vanishes" ? LINUX_KEEP_ALIVE_MS : server.keepAliveMs;
  return new Connection(
    number,
    kind,
    drawPort(random, kind, returns),
    { ...client, ...bulk(bulkFrom !== 0, serverBytes) },
    { ...server, ...bulk(bulkFrom !== 1, clientBytes), keepAliveMs },
  );
}

/** Where ports come round, what is refused is so by the server of the others. */
function drawPort(random: Random, kind: Kind, returns: boolean): number {
  if (kind === "blocked") return BLOCKED_PORT;
  if (returns) return SERVER_PORTS[0]!;
  return kind === "refused" ? CLOSED_PORT : SERVER_PORTS[below(random, SERVER_PORTS.length)]!;
}

function drawKind(random: Random, vanishes: boolean): Kind {
  const n = below(random, 100);
  if (n < 12 && vanishes) return "client-vanishes";
  if (n < 74) return "transfer";
  if (n < 82) return "client-aborts";
  if (n < 90) return "server-aborts";
  if (n < 94) return "probe";
  return n < 98 ? "refused" : "blocked";
}

/** Mostly little, at times nothing or a lot. */
function drawBytes(random: Random): number {
  const n = below(random, 10);
  if (n === 0) return 0;
  return 1 + below(random, n < 8 ? 1500 : 8000);
}

/** A long transfer, in few segments for who carries them. */
const BULK_EVERY = 5;
const BULK = {
  mss: 1460,
  scale: 7,
  readEveryMs: 0,
  segmentsAtOnce: 40,
  segmentsInFlight: 200,
  opensChecksums: true,
} as const;

function drawBulk(random: Random): number {
  return 100_000 + below(random, 900_000);
}

type Drawn =
  | "mss"
  | "windowBytes"
  | "scale"
  | "sackPermitted"
  | "readEveryMs"
  | "keepAliveMs"
  | "pauseAtBytes"
  | "pauseMs"
  | "segmentsAtOnce"
  | "segmentsInFlight"
  | "opensChecksums";

function drawBehaviour(random: Random, given: Omit<Behaviour, Drawn>): Behaviour {
  const slow = below(random, 12) === 0;
  const pauses = below(random, 8) === 0;
  return {
    ...given,
    mss: [1460, 536, 1000, 300][below(random, 4)]!,
    windowBytes: slow ? 1500 : [4096, 16_384, 65_535, 200_000][below(random, 4)]!,
    scale: below(random, 3) === 0 ? -1 : below(random, 9),
    sackPermitted: below(random, 2) === 0,
    readEveryMs: slow ? 400 : 0,
    keepAliveMs: 6000 + below(random, 4000),
    pauseAtBytes: below(random, given.sendBytes + 1),
    pauseMs: pauses ? below(random, 15_000) : 0,
    segmentsInFlight: 8,
    ...[
      { segmentsAtOnce: 1, opensChecksums: false },
      { segmentsAtOnce: 1, opensChecksums: true },
      { segmentsAtOnce: 2 + below(random, 7), opensChecksums: true },
    ][below(random, 3)]!,
  };
}
