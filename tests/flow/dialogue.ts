/**
 * Both ends of one TCP connection through the appliance, with the sequence numbers that they would
 * have there: what `tests/flow/compliance_*_test.ts` talk in.
 */
import assert from "node:assert/strict";
import {
  dstAddrs,
  firstMatch,
  forward,
  ipSrc,
  not,
  otherwise,
  policy,
  translateAToB,
  translateBToA,
} from "../../src/policy/language/build.ts";
import type { Policy } from "../../src/policy/language/ast.ts";
import type { Family } from "../support/families.ts";
import type { Tcp } from "../support/frames.ts";
import { CLIENT, from, packetsOf, PROXY, World, type WorldOptions } from "../support/world.ts";

export const BACKEND = "192.168.0.1";

/** Forwards whatever comes: UDP and queries too. */
export const EVERYTHING: Policy = policy(
  "drop",
  firstMatch([[not(ipSrc.oneOf(dstAddrs)), translateAToB(forward)], [
    otherwise,
    translateBToA(forward),
  ]]),
);

/** A world whose hosts speak one family. */
export interface SpokenWorld extends World {
  readonly family: Family;
}

/** A settled world with one backend, or those of `options`, which are given as of IPv4. */
export function oneBackend(family: Family, options: WorldOptions = {}): SpokenWorld {
  const backends = (options.backends ?? [BACKEND]).map(family.of);
  const world = World.settled({ ...options, ipv6: family.ipv6, backends });
  return Object.assign(world, { family });
}

/** Delivers a frame while everybody says where it is, and returns the IP packets that leave. */
export function deliver(world: SpokenWorld, ...frames: Uint8Array[]): Uint8Array<ArrayBuffer>[] {
  const hosts = [...world.backends, world.family.of(CLIENT)];
  const sent = hosts.flatMap((host) => world.answer(host));
  return packetsOf([...sent, ...world.send(...frames)]);
}

/** Lets time pass in one step, and the proxy look at its timers. */
export function idle(world: World, seconds: number): void {
  world.clock.advance(seconds * 1000 - 300);
  world.advance(300);
}

/** Connections that are tracked. */
export function tracked(world: World): number {
  return world.appliance.connections.table.count;
}

export interface Sides {
  readonly client?: string;
  readonly srcPort?: number;
  readonly dstPort?: number;
}

export class Dialogue {
  /** Next sequence numbers. */
  seqA = 1000;
  seqB = 900_000;
  /** The port with which the proxy speaks to the backend. */
  proxyPort = 0;
  readonly world: SpokenWorld;
  readonly client: string;
  readonly srcPort: number;
  readonly dstPort: number;

  constructor(
    world: SpokenWorld,
    { client = CLIENT, srcPort = 40_000, dstPort = 2000 }: Sides = {},
  ) {
    this.world = world;
    this.client = client;
    this.srcPort = srcPort;
    this.dstPort = dstPort;
  }

  /** A segment as the client sends it now. */
  fromA(flags: string, fields: Partial<Tcp> = {}): Uint8Array<ArrayBuffer> {
    const { client, srcPort, dstPort, seqA: seq } = this;
    const ack = flags.includes("A") ? this.seqB : 0;
    const ends = { ...from(client), dst: PROXY, srcPort, dstPort };
    return this.world.family.buildTcp({ ...ends, flags, seq, ack, ...fields });
  }

  /** A segment as the backend sends it now. */
  fromB(flags: string, fields: Partial<Tcp> = {}): Uint8Array<ArrayBuffer> {
    const ends = { ...from(BACKEND), dst: PROXY, srcPort: this.dstPort, dstPort: this.proxyPort };
    const ack = flags.includes("A") ? this.seqA : 0;
    return this.world.family.buildTcp({ ...ends, flags, seq: this.seqB, ack, ...fields });
  }

  /** The client sends, and its sequence number moves on. What the backend gets, or null. */
  a(flags: string, fields: Partial<Tcp> = {}): Tcp | null {
    const got = this.deliverA(this.fromA(flags, fields));
    this.seqA += lengthOf(flags, fields);
    return got;
  }

  /** As `a`, from the backend to the client. */
  b(flags: string, fields: Partial<Tcp> = {}): Tcp | null {
    const got = this.deliverB(this.fromB(flags, fields));
    this.seqB += lengthOf(flags, fields);
    return got;
  }

  /** Delivers a client's segment: as the backend gets it, or null. */
  deliverA(frame: Uint8Array): Tcp | null {
    const got = this.#deliver(frame, BACKEND);
    if (got !== null) this.proxyPort = got.srcPort;
    return got;
  }

  deliverB(frame: Uint8Array): Tcp | null {
    return this.#deliver(frame, this.client);
  }

  /** SYN, SYN ACK, ACK. */
  open(): this {
    assert.ok(this.a("S") && this.b("SA") && this.a("A"), "a handshake");
    return this;
  }

  /** The one packet that leaves, if it is TCP from the proxy to `receiver`. */
  #deliver(frame: Uint8Array, receiver: string): Tcp | null {
    const { family } = this.world;
    const packets = deliver(this.world, frame).filter((one) => family.protocolOf(one) === 6);
    const segments = packets.map(family.readTcp).filter(({ dst }) => dst === receiver);
    const [segment, ...others] = segments;
    // A SYN that the proxy remembers follows the RST that makes room for it.
    const isOne = others.length === 0 || segment!.flags === "R" && others[0]!.flags === "S";
    assert.ok(isOne && others.length <= 1, "one segment in, at most one out");
    if (segment === undefined) return null;
    assert.equal(segment.src, PROXY);
    return segment;
  }
}

function lengthOf(flags: string, { payload, seq }: Partial<Tcp>): number {
  if (seq !== undefined) return 0; // sent out of turn
  return (payload?.length ?? 0) + (flags.includes("S") ? 1 : 0) + (flags.includes("F") ? 1 : 0);
}
