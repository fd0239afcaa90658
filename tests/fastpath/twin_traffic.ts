/** What twins are given: TCP and UDP connections, on networks and with policies of all kinds. */
import { below, type Random, SeededRandom } from "../../src/core/random.ts";
import * as build from "../../src/policy/language/build.ts";
import type { Policy, Tree } from "../../src/policy/language/ast.ts";
import { RAISES_TTL } from "../../src/wire/pdu.ts";
import { repairHeader, repairTransport } from "../fuzz/fuzzer.ts";
import { type Family, IPV4, IPV6, isOver6 } from "../support/families.ts";
import type { Udp } from "../support/frames.ts";
import { buildUdp6 } from "../support/frames6.ts";
import { leaveToNic } from "../support/nic.ts";
import {
  type Deliver,
  header6Of,
  PlainTraffic,
  repairTransport6,
} from "../support/plain_traffic.ts";
import { CLIENT, from, PROXY, PROXY_B_MAC } from "../support/world.ts";
import { Twin, type TwinOptions } from "./twin.ts";

/** Frames of a round, which has connections of its own. */
export const ROUND_FRAMES = 500;
const OPEN_EVERY = 20;
const LEAST_CONNECTIONS = 4;

const { forward, translateAToB } = build;
const TTLS: Readonly<Record<string, [Tree, Partial<TwinOptions>]>> = {
  "": [translateAToB(forward), {}],
  ", a lower TTL set": [translateAToB(build.setTtl(9, forward)), { newTtl: 9 }],
  ", a TTL set": [
    translateAToB(build.setTtl(200, forward, { raise: true })),
    { newTtl: RAISES_TTL | 200 },
  ],
};

const NETWORKS: Readonly<Record<string, TwinOptions>> = {
  "on one interface": {},
  "on two": { twoSided: true, mtus: [1500, 1000] },
  "on two, the source preserved": { twoSided: true, preserveSource: true },
};

function policyOf(side: Tree): Policy {
  return build.policy(
    "drop",
    build.firstMatch([
      [build.not(build.ipSrc.oneOf(build.dstAddrs)), side],
      [build.otherwise, build.translateBToA(forward)],
    ]),
  );
}

/** A round of traffic of a kind. */
export interface Kind {
  readonly name: string;
  /** Gives a new twin a round of frames. */
  readonly run: (more: Partial<TwinOptions> & { readonly seed: number }) => Twin;
}

export const KINDS: readonly Kind[] = Object.entries(NETWORKS).flatMap(([network, options]) => {
  const isTwoSided = options.twoSided ?? false;
  return Object.entries(TTLS).flatMap(([name, [side, ttl]]): Kind[] => {
    const kind = (protocol: string, give: (twin: Twin, seed: number) => void): Kind => ({
      name: `${protocol} ${network}${name}`,
      run: (more) => {
        const twin = new Twin({ ...options, ...ttl, policy: policyOf(side), ...more });
        give(twin, more.seed);
        return twin;
      },
    });
    return [
      kind("TCP", (twin, seed) => runTcp(twin, isTwoSided, seed)),
      kind("UDP", (twin, seed) => runUdp(twin, isTwoSided, seed)),
    ];
  });
});

function runTcp(twin: Twin, isTwoSided: boolean, seed: number): void {
  const { appliance, clock } = twin.world;
  const traffic = new PlainTraffic(new SeededRandom(seed), isTwoSided, (...frame) => {
    clock.advance(traffic.below(20));
    return twin.deliver(...frame);
  });
  for (let i = 0; i < ROUND_FRAMES; i++) {
    if (i % OPEN_EVERY === 0 || traffic.connections < LEAST_CONNECTIONS) traffic.open();
    if (traffic.connections > 0) traffic.exchange();
    if (isTwoSided && traffic.chance(500)) appliance.linkDown(1);
    if (isTwoSided && traffic.chance(100)) appliance.linkUp(1);
  }
}

function runUdp(twin: Twin, isTwoSided: boolean, seed: number): void {
  const datagrams = new Datagrams(new SeededRandom(seed), isTwoSided, (...frame) => {
    twin.world.clock.advance(datagrams.below(20));
    return twin.deliver(...frame);
  });
  for (let i = 0; i < ROUND_FRAMES; i++) {
    if (i % OPEN_EVERY === 0) datagrams.open();
    datagrams.exchange();
  }
}

function sumAt(frame: Uint8Array): number {
  return isOver6(frame) ? 60 : frame[14] === 0x45 ? 40 : 44;
}

/** Over IPv6 a datagram without a checksum, or a fragment, is one that must be dropped. */
function buildAsIpv6(fields: Partial<Udp>): Uint8Array<ArrayBuffer> {
  const { src, dst, noChecksum } = fields;
  const ends = { src: IPV6.of(src!), dst: IPV6.of(dst ?? PROXY) };
  const frame = buildUdp6({ ...fields, ...header6Of(fields), ...ends });
  if (noChecksum && frame[20] === 17) frame.fill(0, 60, 62);
  return frame;
}

/** UDP connections whose datagrams are mostly plain, and over IPv6 at times without a checksum. */
export class Datagrams {
  readonly #deliver: Deliver;
  readonly #family: Family;
  readonly #isB: boolean;
  readonly #random: Random;
  readonly #ends: (readonly [Partial<Udp>, Partial<Udp>])[] = [];

  constructor(random: Random, isTwoSided: boolean, deliver: Deliver, family: Family = IPV4) {
    this.#deliver = deliver;
    this.#family = family;
    this.#random = random;
    this.#isB = isTwoSided;
  }

  open(): void {
    const client = { ...from(CLIENT), srcPort: 30_000 + this.#ends.length, dstPort: 2000 };
    const { buildUdp, readUdp } = this.#family;
    const [sent] = this.#deliver(buildUdp(client), null, 0);
    const { src, dst, srcPort } = readUdp(sent!);
    const backend = {
      ...from(dst),
      dst: src,
      srcPort: 2000,
      dstPort: srcPort,
      ...(this.#isB ? { dstMac: PROXY_B_MAC } : {}),
    };
    this.#deliver(buildUdp(backend), null, 1);
    this.#deliver(buildUdp(client), null, 0);
    this.#ends.push([client, backend]);
  }

  exchange(): void {
    const side = this.below(2);
    const payload = new Uint8Array(this.#pick([0, 1, 2, 37, 959, 973, 1472]));
    payload.forEach((_, i) => payload[i] = this.below(256));
    const fields = {
      ...this.#pick(this.#ends)[side]!,
      noChecksum: this.below(8) === 0,
      ttl: this.#pick([64, 64, 64, 64, 255, 2, 1, 0]),
      fragment: this.#pick([0x4000, 0x4000, 0x4000, 0, 0x8000, 0x2000, 1]),
      options: this.below(30) === 0 ? [1, 1, 1, 0] : [],
      payload,
    };
    const frame = this.#family.ipv6 ? buildAsIpv6(fields) : this.#family.buildUdp(fields);
    const isBare = this.#family.ipv6 ? frame[20] === 17 : true;
    const sum = new DataView(frame.buffer).getUint16(sumAt(frame));
    if (this.below(3) === 0 && sum !== 0 && isBare) {
      const { frame: open, vnet } = leaveToNic(frame);
      this.#deliver(open, vnet, side);
    } else this.#deliver(this.below(6) === 0 ? this.#changed(frame) : frame, null, side);
  }

  #changed(frame: Uint8Array): Uint8Array {
    const changed = Uint8Array.from([...frame, ...new Uint8Array(this.#pick([0, 0, 6]))]);
    if (this.below(3) === 0) return changed;
    if (this.below(8) === 0) return changed.subarray(0, this.below(frame.length));
    changed[this.below(60) % changed.length]! ^= 1 << this.below(8);
    const view = new DataView(changed.buffer);
    if (this.#family.ipv6) {
      if (this.below(2) === 0) repairTransport6(changed, frame.length);
      return changed;
    }
    if (this.below(2) === 0) repairHeader(changed, view, 34);
    if (this.below(2) === 0) repairTransport(changed, view, 34, frame.length);
    return changed;
  }

  below(count: number): number {
    return below(this.#random, count);
  }

  #pick<T>(values: readonly T[]): T {
    return values[this.below(values.length)]!;
  }
}
