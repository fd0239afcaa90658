/**
 * The checks of a run: ties the members' health (`flow/backends/health.ts`) to the proxy's own
 * client (`stack/client`), and says in the log what has changed.
 *
 *     tick ─▶ MemberHealth ─ start ─▶ Prober ─▶ link towards the backends
 *     take ─▶ Prober ─ ended ─▶ MemberHealth ─ changed ─▶ status, log ─ lost ─▶ LostConnections
 */
import type { LimitedLog } from "../core/limited_log.ts";
import type { LogFields } from "../core/log.ts";
import type { Random } from "../core/random.ts";
import type { Backends } from "../flow/backends/backends.ts";
import { type Change, type Checked, type Family, MemberHealth } from "../flow/backends/health.ts";
import { isInService, type Member, nameOf } from "../flow/backends/member.ts";
import { type Health, isActive } from "../policy/language/health.ts";
import { printCheck, printHealth } from "../policy/notation/parse_health.ts";
import type { Probe } from "../stack/client/probe.ts";
import { type OwnPorts, Prober } from "../stack/client/prober.ts";
import type { AddressDigest } from "../wire/address_digest.ts";
import { isIpv6 } from "../wire/host_address.ts";
import type { Pdu } from "../wire/pdu.ts";
import type { Link } from "./link.ts";
import type { LostConnections } from "./lost_connections.ts";

const FAMILIES = ["IPv4", "IPv6"] as const;

/** Lines at once, of those that tell of each member when it is up or down. */
const LINES_AT_ONCE = 100;

export interface HealthChecksOptions {
  readonly backends: Backends;
  /** Towards the backends. */
  readonly link: Link;
  /** Of IPv6 addresses; null: there are none. */
  readonly digest: AddressDigest | null;
  readonly ports: OwnPorts;
  readonly lost: LostConnections;
  /** A client may get a backend of the other family. */
  readonly translatesFamilies: boolean;
  readonly random: Random;
  readonly log: LimitedLog;
  readonly nowMs: number;
}

export class HealthChecks {
  readonly #options: HealthChecksOptions;
  readonly #health: MemberHealth<Member>;
  readonly #prober: Prober;
  readonly #probes = new Map<Member, Probe>();
  readonly #memberOf = new Map<Probe, Member>();

  constructor(options: HealthChecksOptions) {
    const { backends, link, nowMs, ports, random } = options;
    const { v6 } = link;
    this.#options = options;
    this.#prober = new Prober({
      arena: link.arena,
      arp: link.arp,
      routes: link.routes,
      own: link.own.address,
      v6: v6 === null
        ? null
        : { nd: v6.nd, routes: v6.routes, own: v6.own, digest: options.digest! },
      ports,
      random,
      ended: (probe, failure, isSilent, atMs) =>
        this.#health.result(this.#memberOf.get(probe)!, failure, isSilent, atMs),
    });
    this.#health = new MemberHealth<Member>({
      random,
      familyOf,
      start: ({ member }, atMs) => this.#prober.start(this.#probes.get(member)!, atMs),
      stop: ({ member }, atMs) => this.#prober.stop(this.#probes.get(member)!, atMs),
      changed: (change, atMs) => this.#changed(change, atMs),
      share: (member, share) => backends.setShare(member, share),
      lost: ({ member, health }) => {
        if (health.onDown === "reset") options.lost.add(member);
      },
      allSilent: (family, count, atMs) => this.#allSilent(family, count, atMs),
    });
    this.#watch(nowMs, false);
  }

  /**
   * Members or pools have changed: checks those that there are now. One that is new is used once it
   * has answered.
   */
  update(nowMs: number): void {
    this.#watch(nowMs, true);
  }

  #watch(nowMs: number, isLater: boolean): void {
    const { backends } = this.#options;
    const members = new Set(
      backends.pools.flatMap(({ members }) => members.filter(({ isLeaving }) => !isLeaving)),
    );
    for (const [member, probe] of this.#probes) {
      const { health, state } = this.#health.of(member)!;
      if (members.has(member) && printHealth(health) === printHealth(member.pool.health)) {
        members.delete(member);
        if (member.status === "unknown") backends.setStatus(member, state); // in service again
        continue;
      }
      this.#health.remove(member, nowMs);
      this.#prober.remove(probe, nowMs);
      this.#probes.delete(member);
      this.#memberOf.delete(probe);
    }
    for (const member of members) {
      const { health } = member.pool;
      if (!isActive(health.check)) continue;
      const probe = this.#prober.probe(health.check, member.address);
      this.#probes.set(member, probe);
      this.#memberOf.set(probe, member);
      const { status } = member;
      this.#health.add(
        member,
        health,
        nowMs,
        status === "up" || status === "down" ? status : "unknown",
      );
      if (isLater && status === "unknown") backends.setStatus(member, "down");
    }
  }

  /** What the members' statuses say is known of them, from an earlier run. */
  resume(): void {
    for (const member of this.#probes.keys()) {
      const { status } = member;
      if (status === "up" || status === "down") this.#health.resume(member, status);
    }
  }

  /** Members that are checked. */
  get count(): number {
    return this.#health.count;
  }

  /** Frames that checks have sent and received. */
  get frames(): { readonly out: number; readonly in: number } {
    return { out: this.#prober.sent, in: this.#prober.received };
  }

  /** Takes a PDU that answers a check; it came in by the link towards the backends. */
  take(pdu: Pdu, nowMs: number): boolean {
    return this.#prober.take(this.#options.link.arena.view, pdu, nowMs);
  }

  /** Something speaks against the member. */
  hurry(member: Member, nowMs: number): void {
    this.#health.hurry(member, nowMs);
  }

  /** What is known of a member that is checked. */
  of(member: Member): Readonly<Checked<Member>> | undefined {
    return this.#health.of(member);
  }

  linkDown(nowMs: number): void {
    this.#health.linkDown(nowMs);
  }

  linkUp(nowMs: number): void {
    this.#health.linkUp(nowMs);
  }

  tick(nowMs: number): void {
    this.#health.tick(nowMs);
  }

  #changed(change: Change<Member>, nowMs: number): void {
    const { checked: { member, state } } = change;
    if (isInService(member)) this.#options.backends.setStatus(member, state);
    if (state === "up") this.#options.lost.keep(member);
    const level = state === "down" ? "warning" : "info";
    this.#options.log.write(
      level,
      "backend-health",
      LINES_AT_ONCE,
      nowMs,
      () => lineAbout(change, this.#hasBoth(), this.#options.translatesFamilies),
      () => fieldsOf(change),
    );
  }

  /** True if backends of both families are checked. */
  #hasBoth(): boolean {
    return new Set([...this.#probes.keys()].map(familyOf)).size > 1;
  }

  #allSilent(family: Family, count: number, nowMs: number): void {
    const name = FAMILIES[family];
    const [of, where] = this.#hasBoth() ? [` of ${name}`, `way there over ${name}`] : ["", "link"];
    const who = count === 1
      ? `the only backend${of} that was up has`
      : `all ${count} backends${of} that were up have`;
    this.#options.log.write(
      "warning",
      "backends-silent",
      LINES_AT_ONCE,
      nowMs,
      () =>
        `${who} fallen silent together: that may be the proxy's own ${where}, ` +
        "connections stay as they are",
      () => ({ count, family: name }),
    );
  }
}

/**
 * `backend 192.168.0.1 is down: tcp 80: the connection was refused (3 checks, the last 0.4 ms); 2
 * of 3 left`; where the pool has both families, `… left for IPv4`: others are of no use to clients,
 * unless families are translated.
 */
function lineAbout(
  { checked, checks, from, isDoubtful }: Change<Member>,
  hasBoth: boolean,
  isAcross: boolean,
): string {
  const { member, health, state, failure, tookMs } = checked;
  const all = member.pool.members;
  const members = all.filter(({ address }) =>
    isAcross || isIpv6(address) === isIpv6(member.address)
  );
  const name = FAMILIES[familyOf(member)];
  const family = members.length === all.length ? "" : ` for ${name}`;
  const left = members.filter(({ status }) => status === "up" || status === "unknown").length;
  const times = checks === 1 ? "1 check" : `${checks} checks`;
  const why = `${printCheck(health.check)}: ${failure ?? "it answers"}`;
  const grows = state === "up" && from === "down" && health.slowStartMs > 0
    ? `, its share grows for ${health.slowStartMs / 1000} s`
    : "";
  const touched = state === "down" && member.active > 0
    ? `, connections: ${member.active} ${fateOf(health, isDoubtful, hasBoth ? ` of ${name}` : "")}`
    : "";
  return `backend ${nameOf(member)} is ${state}: ${why} (${times}, the last ${
    formatMs(tookMs)
  }); ` +
    `${left} of ${members.length} left${family}${grows}${touched}`;
}

function fieldsOf({ checked, checks }: Change<Member>): LogFields {
  const { member, health, state, failure, tookMs } = checked;
  return {
    backend: nameOf(member),
    pool: member.pool.name,
    status: state,
    check: printCheck(health.check),
    failure: failure ?? null,
    checks,
    took_ms: tookMs,
    connections: member.active,
  };
}

function familyOf({ address }: Member): Family {
  return isIpv6(address) ? 1 : 0;
}

function formatMs(ms: number): string {
  return `${ms < 10 ? ms.toFixed(1) : ms.toFixed(0)} ms`;
}

function fateOf({ onDown }: Health, isDoubtful: boolean, of: string): string {
  if (onDown === "keep") return "kept";
  return isDoubtful ? `reset unless all backends${of} fall silent` : "reset";
}
