/**
 * UDP clients with one socket each, as a sender of logs or statistics has: now and then a datagram,
 * to which the backend answers. Once the proxy knows which backends are dead, every datagram must
 * reach a living one and be answered, whatever backend the ones before went to. These frames, and
 * those that find neighbours, are never lost.
 */
import { below, type Random } from "../../src/core/random.ts";
import type { Policy } from "../../src/policy/language/ast.ts";
import {
  drop,
  dstAddrs,
  firstMatch,
  forward,
  fromSide,
  ipSrc,
  isTcp,
  isUdp,
  not,
  or,
  otherwise,
  policy,
  tcpDport,
  translateAToB,
  translateBToA,
} from "../../src/policy/language/build.ts";
import { buildUdp, readUdp } from "../support/frames.ts";
import { buildUdp6, readUdp6 } from "../support/frames6.ts";
import type { HostAddress, SimHost } from "./host.ts";
import { isOverIpv6 } from "./segment.ts";

const SERVICE_PORT = 514;
const CLIENT_PORT = 7000;
const SHORTEST_PAUSE_MS = 5000;
const LONGEST_PAUSE_MS = 25_000;
/** Time for finding neighbours, which may be late. */
const ANSWERED_MS = 4000;

/** The built-in policy without its ping, and with UDP. */
export function withDatagrams(twoSided: boolean): Policy {
  const fromA = twoSided ? fromSide("a") : not(ipSrc.oneOf(dstAddrs));
  return policy(
    "drop",
    firstMatch([
      [fromA, firstMatch([[tcpDport.eq(80), drop], [or(isTcp, isUdp), translateAToB(forward)]])],
      [otherwise, translateBToA(forward)],
    ]),
  );
}

export interface DatagramsOptions {
  readonly random: Random;
  readonly clients: readonly SimHost[];
  readonly backends: readonly SimHost[];
  /** The proxy knows who is dead. */
  readonly isKnown: () => boolean;
  readonly at: (inMs: number, run: () => void) => void;
  /** Hands a frame over to the proxy. */
  readonly arrive: (frame: Uint8Array<ArrayBuffer>, from: SimHost) => void;
  readonly fail: (what: string) => never;
}

type Datagram = Pick<ReturnType<typeof readUdp6>, "srcPort" | "dstPort" | "payload">;

export class Datagrams {
  /** Datagrams that had to be answered. */
  owed = 0;
  readonly #options: DatagramsOptions;
  /** The last datagram of each client, while an answer to it is due. */
  readonly #due: number[];
  #count = 0;

  constructor(options: DatagramsOptions) {
    this.#options = options;
    this.#due = options.clients.map(() => 0);
  }

  start(): void {
    this.#options.clients.forEach((_, i) => this.#next(i));
  }

  /** Who is dead has changed: answers may be lost. */
  disturb(): void {
    this.#due.fill(0);
  }

  /** The proxy sends a UDP frame. */
  emitted(frame: Uint8Array<ArrayBuffer>): void {
    const { clients, backends, at, fail } = this.#options;
    const udp = isOverIpv6(frame) ? readUdp6(frame) : readUdp(frame);
    const backend = backends.find((host) => host.at.text === udp.dst);
    if (backend !== undefined) {
      if (udp.dstMac !== backend.at.macText || udp.dstPort !== SERVICE_PORT) {
        fail("sent a datagram astray");
      }
      return at(1, () => this.#answer(backend, udp));
    }
    const i = clients.findIndex((host) => host.at.text === udp.dst);
    if (udp.srcPort !== SERVICE_PORT || udp.dstPort !== CLIENT_PORT || i < 0) {
      fail("sent a client a datagram that is not from its server");
    }
    if (this.#due[i] === numberOf(udp)) this.#due[i] = 0;
  }

  #next(i: number): void {
    const { random, at } = this.#options;
    at(SHORTEST_PAUSE_MS + below(random, LONGEST_PAUSE_MS - SHORTEST_PAUSE_MS), () => {
      this.#send(i);
      this.#next(i);
    });
  }

  #send(i: number): void {
    const { clients, isKnown, at, arrive, fail } = this.#options;
    const client = clients[i]!;
    const number = ++this.#count;
    if (isKnown()) {
      this.owed++;
      this.#due[i] = number;
      at(ANSWERED_MS, () => {
        if (this.#due[i] === number) fail(`a datagram of ${client.at.name} was not answered`);
      });
    }
    arrive(datagram(client.at, client.proxy, CLIENT_PORT, SERVICE_PORT, number), client);
  }

  #answer(backend: SimHost, { srcPort, dstPort, payload }: Datagram): void {
    if (backend.isDead) return;
    const number = numberOf({ payload });
    this.#options.arrive(datagram(backend.at, backend.proxy, dstPort, srcPort, number), backend);
  }
}

function datagram(
  from: HostAddress,
  to: HostAddress,
  srcPort: number,
  dstPort: number,
  number: number,
): Uint8Array<ArrayBuffer> {
  const payload = new Uint8Array(new Uint32Array([number]).buffer);
  return (from.isIpv6 ? buildUdp6 : buildUdp)({
    srcMac: from.macText,
    dstMac: to.macText,
    src: from.text,
    dst: to.text,
    srcPort,
    dstPort,
    payload,
  });
}

function numberOf({ payload }: Pick<Datagram, "payload">): number {
  return new Uint32Array(Uint8Array.from(payload).buffer)[0]!;
}
