/**
 * Routers that offer themselves by router advertisements (RFC 4861 §6.3), as default routers and to
 * tell the link's MTU. Prefixes in advertisements make no address and no route.
 */
import type { LimitedLog } from "../core/limited_log.ts";
import type { Mac } from "../wire/address.ts";
import {
  type Address6,
  ADDRESS6_WORDS,
  formatAddress6,
  isAddress6,
  isSameAddress6,
  readAddress6,
  UNSPECIFIED,
} from "../wire/address6.ts";
import { MIN_MTU6_BYTES, SOURCE } from "../wire/ipv6.ts";
import { type DiscoveryOptions, routerLifetimeSeconds } from "../wire/neighbor_discovery.ts";
import { NEIGHBOR_FRAME_BYTES, writeRouterSolicitation } from "../wire/neighbor_messages.ts";
import type { Emit } from "./duplicate_detection.ts";

/** At least two are to be kept (RFC 4861 §6.3.4). */
const MAX_ROUTERS = 4;
/** RFC 4861 §10. */
const SOLICIT_COUNT = 3;
const SOLICIT_INTERVAL_MS = 4000;
/** Of Ethernet; more is no advertisement's to allow. */
const MAX_MTU_BYTES = 65_535;

/** Burst of log lines about routers, and about MTUs. */
const LINES_AT_ONCE = 10;

const TIME_OVER = "its time is over";

/** A default router. */
export interface Router {
  readonly address: Address6;
  /** Digest of the address. */
  readonly key: number;
}

interface KnownRouter extends Router {
  expiresMs: number;
  /** Why it is none any more; null: it is one until its time is over. */
  gone: string | null;
}

export interface DefaultRoutersOptions {
  /** Name of the device, for the log. */
  readonly device: string;
  readonly mac: Mac;
  readonly log: LimitedLog;
  /** A route to ::/0 was given, so that no default router is used. */
  readonly hasDefault: boolean;
  readonly emit: Emit;
  /** The link-local address; null: it may not be used yet. */
  source(): Address6 | null;
  /** False: nobody will ever say that it may be used. */
  isSourceExpected(): boolean;
  /** Whether it is known where the router is. */
  isKnown(router: Router): boolean;
}

export class DefaultRouters {
  readonly #options: DefaultRoutersOptions;
  /** In the order in which they came. */
  readonly #routers: KnownRouter[] = [];
  /** The one that the log has told of last. */
  #used: KnownRouter | null = null;
  /** The link's MTU in bytes, as a router has told it last; 0: none has. */
  mtu = 0;
  #solicitationsLeft = 0;
  #hasSolicited = false;
  #nextMs = 0;
  /** Whose turn it is while it is known of none where it is. */
  #turn = 0;

  constructor(options: DefaultRoutersOptions) {
    this.#options = options;
  }

  /** Asks for advertisements from `startMs` on. */
  restart(startMs: number): void {
    this.#solicitationsLeft = SOLICIT_COUNT;
    this.#hasSolicited = false;
    this.#nextMs = startMs;
  }

  /** An advertisement from the router of that key. */
  advertised(
    view: DataView,
    ip: number,
    icmp: number,
    { mtu }: Readonly<DiscoveryOptions>,
    key: number,
    nowMs: number,
  ): void {
    if (mtu >= MIN_MTU6_BYTES && mtu <= MAX_MTU_BYTES) this.#setMtu(mtu, view, ip, nowMs);
    const lifetimeMs = routerLifetimeSeconds(view, icmp) * 1000;
    const place = this.#routers.findIndex((router) =>
      router.key === key && isAddress6(view, ip + SOURCE, router.address, 0)
    );
    const known = this.#routers[place];
    if (lifetimeMs === 0) {
      if (known !== undefined) this.#drop(place, "it has taken its offer back");
      return;
    }
    // The first solicitation is sent even so: its answer may say more (RFC 4861 §6.3.7).
    this.#solicitationsLeft = this.#hasSolicited ? 0 : 1;
    if (known !== undefined) {
      known.expiresMs = nowMs + lifetimeMs;
      return;
    }
    this.#forgetExpired(nowMs);
    if (this.#routers.length === MAX_ROUTERS) return;
    const address = new Int32Array(ADDRESS6_WORDS);
    readAddress6(view, ip + SOURCE, address, 0);
    this.#routers.push({ address, key, expiresMs: nowMs + lifetimeMs, gone: null });
  }

  /** The host of that address is no router any more (RFC 4861 §7.2.5). */
  remove(key: number, words: Int32Array, from: number): void {
    const place = this.#routers.findIndex((router) =>
      router.key === key && isSameAddress6(router.address, 0, words, from)
    );
    if (place >= 0) this.#drop(place, "it is a router no more");
  }

  /**
   * The default router: the first of which it is known where it is, else each in turn, so that all
   * are asked for (RFC 4861 §6.3.6). Null: there is none.
   */
  pick(nowMs: number): Router | null {
    const picked = this.#pick(nowMs);
    this.#tell(picked, nowMs);
    return picked;
  }

  #pick(nowMs: number): KnownRouter | null {
    let first: KnownRouter | null = null;
    const count = this.#routers.length;
    for (let i = 0; i < count; i++) {
      const router = this.#routers[(this.#turn + i) % count]!;
      if (nowMs >= router.expiresMs) continue;
      if (this.#options.isKnown(router)) return router;
      first ??= router;
    }
    if (first !== null) this.#turn = (this.#routers.indexOf(first) + 1) % count;
    return first;
  }

  /** To be called several times a second. */
  tick(nowMs: number): void {
    if (this.#solicitationsLeft === 0 || nowMs < this.#nextMs) return;
    const { mac, emit, source, isSourceExpected } = this.#options;
    const address = source();
    if (address === null && isSourceExpected()) return;
    const sender = { mac, address: address ?? UNSPECIFIED };
    const write = (view: DataView, frame: number) => writeRouterSolicitation(view, frame, sender);
    if (!emit(NEIGHBOR_FRAME_BYTES, write)) return;
    this.#hasSolicited = true;
    this.#solicitationsLeft--;
    this.#nextMs = nowMs + SOLICIT_INTERVAL_MS;
  }

  #forgetExpired(nowMs: number): void {
    for (let i = this.#routers.length - 1; i >= 0; i--) {
      if (nowMs >= this.#routers[i]!.expiresMs) this.#drop(i, TIME_OVER);
    }
  }

  #drop(place: number, why: string): void {
    const [router] = this.#routers.splice(place, 1);
    router!.gone = why;
  }

  /** Tells of another router; but not of turns while it is known of none where it is. */
  #tell(picked: KnownRouter | null, nowMs: number): void {
    const used = this.#used;
    if (picked === used) return;
    if (picked !== null && used !== null) {
      const isOffered = used.gone === null && nowMs < used.expiresMs;
      if (isOffered && !this.#options.isKnown(picked)) return;
    }
    this.#used = picked;
    if (isSameRouter(picked, used)) return;
    const { device, log, hasDefault } = this.#options;
    const address = textOf(picked);
    const before = textOf(used);
    const why = used === null
      ? null
      : used.gone ?? (nowMs >= used.expiresMs ? TIME_OVER : "it does not say where it is");
    const unused = hasDefault ? "; the route to ::/0 that was given is used" : "";
    log.write(
      picked === null ? "warning" : "info",
      "default-router",
      LINES_AT_ONCE,
      nowMs,
      () =>
        picked === null
          ? `${device}: default router ${before} is lost: ${why}; there is no other${unused}`
          : `${device}: default router is ${address}` +
            (used === null ? "" : `, no longer ${before}: ${why}`) + unused,
      () => ({ device, address, before, why }),
    );
  }

  #setMtu(mtu: number, view: DataView, ip: number, nowMs: number): void {
    const before = this.mtu;
    if (mtu === before) return;
    this.mtu = mtu;
    const { device, log } = this.#options;
    const source = new Int32Array(ADDRESS6_WORDS);
    readAddress6(view, ip + SOURCE, source, 0);
    const router = formatAddress6(source);
    log.write(
      "info",
      "advertised-mtu",
      LINES_AT_ONCE,
      nowMs,
      () =>
        `${device}: router ${router} advertises an MTU of ${mtu} bytes for IPv6` +
        (before === 0 ? "" : `, before it was ${before}`),
      () => ({ device, router, mtu, before: before === 0 ? null : before }),
    );
  }
}

function textOf(router: Router | null): string | null {
  return router === null ? null : formatAddress6(router.address);
}

function isSameRouter(one: Router | null, other: Router | null): boolean {
  return one !== null && other !== null && isSameAddress6(one.address, 0, other.address, 0);
}
