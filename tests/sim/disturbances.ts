/**
 * What happens to a proxy whose connections the kernel carries (`carrier.ts`), now and then: the
 * policy changes, a link goes down and comes up, a backend is told to be down, a connection is
 * forgotten while a program is at work on it. Nothing but the last ends an open connection; but
 * what the policy drops, or can't be sent, its ends have to send again.
 */
import { below, type Random } from "../../src/core/random.ts";
import { finish } from "../../src/core/slices.ts";
import type { Appliance } from "../../src/datapath/appliance.ts";
import type { Policy, Tree } from "../../src/policy/language/ast.ts";
import {
  drop,
  dstAddrs,
  firstMatch,
  forward,
  fromSide,
  ipSrc,
  isTcp,
  isUdp,
  limit,
  not,
  or,
  otherwise,
  policy,
  tcpDport,
  tcpSport,
  translateAToB,
  translateBToA,
} from "../../src/policy/language/build.ts";
import { BLOCKED_PORT, SERVER_PORTS } from "./plan.ts";
import { readSegment, Segment } from "./segment.ts";

const LONGEST_CALM_MS = 3000;
const LONGEST_MS = 1500;
/** Until addresses of IPv6 are no longer on trial, and neighbours are known again. */
const LINK_SETTLES_MS = 6000;

export interface DisturbancesOptions {
  readonly random: Random;
  readonly appliance: Appliance;
  readonly twoSided: boolean;
  /** The policy that runs is another one, and stays. */
  readonly keepsPolicy: boolean;
  readonly nowMs: () => number;
  readonly at: (inMs: number, run: () => void) => void;
  /** The run is at its end: all becomes well, and stays so. */
  readonly isOver: () => boolean;
  /** Nothing can come in by that link, or leave. */
  readonly linkDown: (link: number) => void;
  /** A backend is about to be told to be down. */
  readonly memberDown: () => void;
  /** A connection is forgotten. */
  readonly forget: () => void;
  /** What is under way now may be dropped. */
  readonly changed: () => void;
}

type Rule = "usual" | "one service is blocked" | "all is limited";

export class Disturbances {
  isMemberDown = false;
  readonly #options: DisturbancesOptions;
  readonly #s = new Segment();
  #rule: Rule = "usual";
  #settledMs = 0;

  constructor(options: DisturbancesOptions) {
    this.#options = options;
  }

  start(): void {
    const { random, at, isOver } = this.#options;
    at(1 + below(random, LONGEST_CALM_MS), () => {
      if (!isOver()) this.#disturb();
    });
  }

  /** Why the kernel must not have sent this frame by that link; "" if it may. */
  fault(frame: Uint8Array<ArrayBuffer>, link: number): string {
    if (!this.#options.appliance.links[link]!.isUp) return "carried a frame by a link that is down";
    if (this.#rule === "all is limited") return "carried a frame that the policy limits";
    if (this.#rule !== "one service is blocked") return "";
    readSegment(frame, this.#s);
    const isBlocked = [this.#s.srcPort, this.#s.dstPort].includes(SERVER_PORTS[1]!);
    return isBlocked ? "carried a frame that the policy drops" : "";
  }

  /** Whether a packet to or from that port of a server must be sent on. */
  isOwed(serverPort: number): boolean {
    const isBlocked = this.#rule === "one service is blocked" && serverPort === SERVER_PORTS[1];
    return !isBlocked && this.#options.nowMs() >= this.#settledMs;
  }

  #disturb(): void {
    const { random } = this.#options;
    const kind = below(random, 8);
    if (kind > 5) {
      this.#options.forget();
      this.start();
    } else if (kind === 0) this.#flap();
    else if (kind === 1) this.#loseMember();
    else if (kind < 4) this.#govern("one service is blocked");
    else this.#govern("all is limited");
  }

  #govern(rule: Rule): void {
    const { keepsPolicy } = this.#options;
    if (keepsPolicy) return this.start();
    this.#become(rule);
    this.#later(() => this.#become("usual"));
  }

  #become(rule: Rule): void {
    const { appliance, twoSided, changed } = this.#options;
    finish(appliance.prepare({ policy: policyOf(rule, twoSided) }))();
    this.#rule = rule;
    changed();
  }

  #flap(): void {
    const { random, appliance, linkDown, nowMs, changed } = this.#options;
    const link = below(random, appliance.links.length);
    appliance.linkDown(link);
    linkDown(link);
    this.#settledMs = Infinity;
    changed();
    this.#later(() => {
      appliance.linkUp(link);
      this.#settledMs = nowMs() + LINK_SETTLES_MS;
    });
  }

  #loseMember(): void {
    const { random, appliance: { backends }, memberDown } = this.#options;
    const member = backends.all[below(random, backends.all.length)]!;
    if (member.status !== "up") return this.start();
    memberDown();
    backends.setStatus(member, "down");
    this.isMemberDown = true;
    this.#later(() => {
      backends.setStatus(member, "up");
      this.isMemberDown = false;
    });
  }

  #later(end: () => void): void {
    const { random, at } = this.#options;
    at(1 + below(random, LONGEST_MS), () => {
      end();
      this.start();
    });
  }
}

/** The policy of carried runs. */
export function policyOf(rule: Rule, twoSided: boolean): Policy {
  const fromA = twoSided ? fromSide("a") : not(ipSrc.oneOf(dstAddrs));
  const [there, back] = [translateAToB(forward), translateBToA(forward)];
  const isLimited = rule === "all is limited";
  const limited = (tree: Tree) => isLimited ? limit({ perSecond: 1e6, burst: 1e6 }, tree) : tree;
  const port = rule === "one service is blocked" ? SERVER_PORTS[1]! : BLOCKED_PORT;
  return policy(
    "drop",
    firstMatch([
      [
        fromA,
        firstMatch([
          [or(tcpDport.eq(BLOCKED_PORT), tcpDport.eq(port)), drop],
          [or(isTcp, isUdp), limited(there)],
        ]),
      ],
      [otherwise, firstMatch([[tcpSport.eq(port), drop], [otherwise, limited(back)]])],
    ]),
  );
}
