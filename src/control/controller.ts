/** Answers the control thread's requests in the packet thread, between two bursts. */
import type { Appliance } from "../datapath/appliance.ts";
import { snapshotOfMember } from "../datapath/snapshot.ts";
import type { Customs } from "../policy/notation/parse.ts";
import { SLICE, sliceOf } from "./connection_rows.ts";
import { fits } from "./filter.ts";
import type { Answers, Ask, PolicyText, Reloaded, Request } from "./request.ts";
import { changeMember, memberNamed } from "./members.ts";
import { Tracer } from "./tracer.ts";

export interface ControllerOptions {
  readonly appliance: Appliance;
  /** Reads the policy again. Never rejects. */
  readonly reload: () => Promise<Reloaded>;
  /** The text of the running policy. */
  readonly policyText: () => PolicyText;
  /** What `custom NAME` means in a predicate. */
  readonly customs: Customs;
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
    const { appliance, pause, policyText, reload } = this.#options;
    switch (request.ask) {
      case "counters":
        return {
          counters: appliance.counters(),
          uptimeMs: appliance.nowMs - this.#startMs,
          links: appliance.links.map(({ isUp, device: { mtu } }) => ({ isUp, mtu })),
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
        const members = appliance.backends.pools.flatMap(({ members }) => members);
        const member = memberNamed(request.name, members);
        changeMember(appliance, member, request.change);
        return { pool: member.pool.name, member: snapshotOfMember(member) };
      }
      case "neighbors":
        return this.#neighbors(request.link, request.from);
      case "reload":
        return reload();
      case "policy":
        return policyText();
      case "trace":
        this.#tracer.start(request.predicate);
        return null;
      case "traced":
        return this.#tracer.take();
      case "untrace":
        this.#tracer.stop();
        return null;
    }
  }

  #kill({ filter, from }: Extract<Request, { ask: "kill" }>): Answers["kill"] {
    const { connections } = this.#options.appliance;
    const { table } = connections;
    const nowMs = this.#now();
    const end = Math.min(table.end, from + SLICE);
    let killed = 0;
    for (let entry = from; entry < end; entry++) {
      if (!table.isUsed(entry) || !fits(filter, connections, entry, nowMs)) continue;
      connections.remove(entry);
      killed++;
    }
    return { killed, next: end < table.end ? end : null };
  }

  #neighbors(link: number, from: number): Answers["neighbors"] {
    const { links, nowMs } = this.#options.appliance;
    const { neighbors } = links[link]!.arp;
    const end = Math.min(neighbors.end, from + SLICE);
    const found = Array.from({ length: end - from }, (_, i) => neighbors.look(from + i, nowMs));
    return {
      neighbors: found.filter((neighbor) => neighbor !== null),
      next: end < neighbors.end ? end : null,
    };
  }

  /** The time as the flow table counts it. */
  #now(): number {
    return Math.trunc(this.#options.appliance.nowMs) | 0;
  }
}
