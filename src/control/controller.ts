/** Answers the control thread's requests in the packet thread, between two bursts. */
import type { CaptureOptions } from "../capture/options.ts";
import type { Appliance } from "../datapath/appliance.ts";
import { type Member, nameOf } from "../flow/backends/member.ts";
import type { Log } from "../core/log.ts";
import type { Policy, PoolMember } from "../policy/language/ast.ts";
import { quote } from "../core/text.ts";
import type { Customs } from "../policy/notation/parse.ts";
import { addressOfWords, type HostAddress } from "../wire/host_address.ts";
import { SLICE, sliceOf } from "./connection_rows.ts";
import { fits } from "./filter.ts";
import {
  type Answers,
  type Ask,
  type PolicyText,
  Refusal,
  type Reloaded,
  type Request,
} from "./request.ts";
import { changeMember, memberNamed } from "./members.ts";
import { checkPool, type Overlay, parseMemberName } from "./overlay.ts";
import type { CaptureShape } from "./shapes.ts";
import { Tracer } from "./tracer.ts";

/** How captures are started and stopped; both throw or reject as `answer` does. */
export interface CaptureControl {
  readonly start: (name: string, options: CaptureOptions) => CaptureShape;
  readonly stop: () => Promise<CaptureShape>;
  readonly state: CaptureShape | null;
}

export interface ControllerOptions {
  readonly appliance: Appliance;
  /** Reads the policy again. Never rejects. */
  readonly reload: () => Promise<Reloaded>;
  /** Ends the run for the next one to go on. Throws a Refusal if there will be none. */
  readonly upgrade: () => void;
  /** The text of the running policy. */
  readonly policyText: () => PolicyText;
  /** The file that it was read from; null: the built-in one. */
  readonly policyFile: () => string | null;
  /** Changes which members pools have, as `next` says; rejects with what that throws. */
  readonly changePools: (
    next: (pools: Policy["pools"], overlay: Overlay) => Overlay,
  ) => Promise<void>;
  /** What `custom NAME` means in a predicate. */
  readonly customs: Customs;
  /** Hears of every change that was asked for. */
  readonly log: Pick<Log, "info">;
  readonly captures: CaptureControl;
  /** Resolves after other work has had its turn. */
  readonly pause: () => Promise<void>;
}

type Answer = Answers[Ask];

export class Controller {
  readonly #options: ControllerOptions;
  readonly #startMs: number;
  readonly #tracer: Tracer;

  constructor(options: ControllerOptions) {
    this.#options = options;
    this.#startMs = options.appliance.nowMs;
    this.#tracer = new Tracer(options.appliance, options.customs);
  }

  /** Throws a Refusal, a SyntaxError or a RangeError of one line for what can't be done. */
  answer(request: Request): Answer | Promise<Answer> {
    const { appliance, captures, pause, policyFile, policyText, reload } = this.#options;
    switch (request.ask) {
      case "counters":
        return {
          counters: appliance.counters(),
          uptimeMs: appliance.nowMs - this.#startMs,
          policy: policyFile(),
          links: appliance.links.map(({ isUp, device: { mtu }, v6 }) => ({
            isUp,
            mtu,
            mtu6: v6?.mtuOf(mtu) ?? null,
            own6: v6?.ownStates() ?? [],
          })),
          capture: captures.state,
        };
      case "tree":
        return appliance.tree(pause);
      case "connections": {
        const { filter, from, most } = request;
        return sliceOf(appliance.connections, filter, from, most, this.#now());
      }
      case "kill":
        return this.#kill(request);
      case "member": {
        const member = this.#memberNamed(request.name);
        const before = stateOf(member);
        changeMember(appliance, member, request.change);
        if (stateOf(member) !== before) this.#tell(member, stateOf(member));
        return { pool: member.pool.name, member: appliance.snapshotOf(member) };
      }
      case "add":
        return this.#add(request);
      case "remove":
        return this.#remove(request.name);
      case "neighbors":
        return this.#neighbors(request);
      case "reload":
        return reload();
      case "upgrade":
        this.#options.upgrade();
        return null;
      case "policy":
        return { ...policyText(), pools: appliance.pools };
      case "trace":
        return this.#tracer.start(request.predicate);
      case "traced":
        return this.#tracer.take(request.trace);
      case "untrace":
        this.#tracer.end(request.trace);
        return null;
      case "capture":
        return captures.start(request.name, request.options);
      case "uncapture":
        return captures.stop();
    }
  }

  #memberNamed(name: string): Member {
    const { backends } = this.#options.appliance;
    return memberNamed(name, backends.pools.flatMap(({ members }) => members));
  }

  /** New members are used when they have been found, or while no other one is up. */
  async #add({ name, weight }: Extract<Request, { ask: "add" }>): Promise<Answers["add"]> {
    const { appliance, changePools } = this.#options;
    const key = parseMemberName(name);
    const isSame = ({ address, port }: Pick<PoolMember, "address" | "port">) =>
      address === key.address && port === key.port;
    await changePools((pools, overlay) => {
      checkPool(pools, key);
      if (pools[key.pool]!.members.some(isSame)) {
        throw new Refusal(409, `The pool has ${quote(name)} already`);
      }
      return overlay.with(key, weight);
    });
    const pool = appliance.backends.pools.find(({ name }) => name === key.pool)!;
    const member = pool.members.find(isSame)!;
    this.#tell(member, `added, ${stateOf(member)}`);
    return { pool: key.pool, member: appliance.snapshotOf(member) };
  }

  #tell(member: Member, what: string): void {
    const backend = nameOf(member);
    this.#options.log.info(`control socket: backend ${backend} is ${what}`, "backend-changed", {
      backend,
      change: what,
    });
  }

  async #remove(name: string): Promise<null> {
    let removed: Member;
    await this.#options.changePools((pools, overlay) => {
      removed = this.#memberNamed(name);
      const { address, port, pool, status } = removed;
      const key = { pool: pool.name, address, port };
      checkPool(pools, key);
      if (status !== "maintenance") {
        throw new Refusal(409, `The backend's status is ${status}: expected maintenance`);
      }
      if (pools[pool.name]!.members.length === 1) {
        throw new Refusal(409, "The backend is the last one of its pool");
      }
      return overlay.without(key);
    });
    this.#tell(removed!, "removed");
    return null;
  }

  #kill({ filter, from }: Extract<Request, { ask: "kill" }>): Answers["kill"] {
    const { appliance } = this.#options;
    const nowMs = this.#now();
    return appliance.endings.kill(
      (entry) => fits(filter, appliance.connections, entry, nowMs),
      from,
    );
  }

  #neighbors(
    { link, isIpv6, from }: Extract<Request, { ask: "neighbors" }>,
  ): Answers["neighbors"] {
    const { links, nowMs } = this.#options.appliance;
    const { arp, v6, routes } = links[link]!;
    const neighbors = isIpv6 ? v6?.nd.neighbors : arp.neighbors;
    if (neighbors === undefined) return { neighbors: [], next: null };
    const end = Math.min(neighbors.end, from + SLICE);
    const found = Array.from({ length: end - from }, (_, i) => neighbors.look(from + i, nowMs));
    const gateways: ReadonlySet<HostAddress> = isIpv6
      ? new Set(v6!.routes.gateways.map((words) => addressOfWords(words)))
      : routes.gateways;
    return {
      neighbors: found.filter((neighbor) => neighbor !== null)
        .map((neighbor) => ({ ...neighbor, isGateway: gateways.has(neighbor.address) })),
      next: end < neighbors.end ? end : null,
    };
  }

  /** The time as the flow table counts it. */
  #now(): number {
    return Math.trunc(this.#options.appliance.nowMs) | 0;
  }
}

function stateOf({ status, weight }: Member): string {
  return `${status === "maintenance" ? "in maintenance" : status}, weight ${weight}`;
}
