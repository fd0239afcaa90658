/**
 * What is wrong with a policy, without running it: arms that no PDU can reach, tests that can't
 * hold where they are, translators and decisions that don't fit. Each finding is true of every PDU:
 * where the check can't be sure it says nothing.
 *
 * The tree is walked from the root with the set of PDUs that can come to each node (`facts.ts`); in
 * a selector, each arm removes from the set what it takes (`remaining.ts`).
 *
 * Long because each kind of node has its own rule, and all share what is known on the way down.
 */
import type { HostAddress } from "../../wire/host_address.ts";
import {
  type Arm,
  type Decision,
  listsOf,
  type Policy,
  type Predicate,
  type Tree,
} from "../language/ast.ts";
import { AddressSpace } from "./address_space.ts";
import { COMING } from "./coming.ts";
import { Contradictions, type Tests } from "./contradiction.ts";
import { EVERYTHING, type Facts, Restrictor, withoutOpaque } from "./facts.ts";
import { type Finding, type Path, quoted } from "./finding.ts";
import {
  allExpired,
  mayComeWithTtl,
  mayOpen,
  neverAnswered,
  othersThanEchoRequests,
  passing,
  somethingComes,
  type Step,
  valid,
} from "./fit.ts";
import { type Note, Place } from "./place.ts";
import { printStep } from "../printing/print.ts";
import { Remaining } from "./remaining.ts";
import { checkStructure } from "./structure.ts";

export type { CheckName, Finding } from "./finding.ts";

export interface CheckOptions {
  /** The backends, if they are known; some findings may then be true of these only. */
  readonly dstAddrs?: readonly HostAddress[];
}

/** What concerns names and sizes first, then definitions, then the tree, each in writing order. */
export function check(policy: Policy, options: CheckOptions = {}): readonly Finding[] {
  const { findings, sound } = checkStructure(policy);
  if (!sound) return findings;
  return [...findings, ...new Analysis(policy, options.dstAddrs ?? null).run()];
}

/** How a PDU came to a place. */
interface Way {
  readonly path: Path;
  /** Tests that held above, the nearest first. */
  readonly tests: Tests;
  readonly aToB: boolean;
  readonly bToA: boolean;
}

/** An arm, or what a filter has of one; `node` is what a finding is about. */
interface Case extends Arm {
  readonly node: object;
}

type SetTtl = Extract<Tree, { node: "set-ttl" }>;

/** Most arms, in all, that are looked at to find the one that makes another unreachable. */
const MAX_SEARCHED = 50_000;

class Analysis {
  readonly #policy: Policy;
  readonly #restrictor: Restrictor;
  readonly #contradictions: Contradictions;
  readonly #whole = new Place();
  readonly #root = new Place();
  readonly #definitions = new Map<string, Place>();
  #searched = 0;
  /** Blames the first translator of each kind, for want of one of the other kind. */
  #blameAToB: (() => void) | null = null;
  #blameBToA: (() => void) | null = null;
  /** A PDU that opens a connection comes to a translator A → B; one that answers to one B → A. */
  #opens = false;
  #returns = false;

  constructor(policy: Policy, dstAddrs: readonly HostAddress[] | null) {
    this.#policy = policy;
    const space = AddressSpace.of(policy, dstAddrs);
    this.#restrictor = new Restrictor(listsOf(policy), dstAddrs, COMING, space);
    this.#contradictions = new Contradictions(policy, dstAddrs, space, this.#restrictor);
    for (const name of Object.keys(policy.subtrees)) this.#definitions.set(name, new Place());
  }

  run(): readonly Finding[] {
    const way: Way = { path: null, tests: null, aToB: false, bToA: false };
    this.#visit(this.#root, this.#policy.next, EVERYTHING, way);
    if (!this.#returns) this.#blameAToB?.();
    if (!this.#opens) this.#blameBToA?.();
    const findings: Finding[] = [];
    for (const place of [this.#whole, ...this.#definitions.values(), this.#root]) {
      place.collect(findings);
    }
    return findings;
  }

  /** If `facts` are empty no PDU comes here, and the tree is not checked. */
  #visit(place: Place, tree: Tree, facts: Facts, way: Way): void {
    if (facts.boxes.length === 0) return;
    switch (tree.node) {
      case "first-match": {
        const cases = tree.arms.map((arm) => ({ node: arm, when: arm.when, then: arm.then }));
        return this.#select(place, cases, facts, way);
      }
      case "filter":
        return this.#select(place, [{ node: tree, when: tree.when, then: tree.then }], facts, way);
      case "balance":
        return this.#branches(place, tree.branches.map(({ then }) => then), facts, way);
      case "select": // which branches the function really picks is not known
        return this.#branches(place, tree.branches, { ...facts, exact: false }, way);
      case "limit":
        this.#default(facts, way);
        return this.#visit(place.child(0), tree.then, facts, way);
      case "track":
      case "translate-a-to-b":
      case "translate-b-to-a":
        return this.#step(place, tree, facts, way);
      case "set-ttl":
        if (tree.raise) this.#raise(place, tree, facts, way);
        return this.#visit(place.child(0), tree.then, facts, way);
      case "use": {
        const definition = this.#definitions.get(tree.name);
        if (definition === undefined) return;
        const path = { step: `use ${tree.name}`, up: way.path };
        return this.#visit(definition, this.#policy.subtrees[tree.name]!, facts, { ...way, path });
      }
      case "decide":
        return this.#decide(place, tree, tree.decision, facts, way);
    }
  }

  #branches(place: Place, branches: readonly Tree[], facts: Facts, way: Way): void {
    branches.forEach((then, i) => {
      const path = branches.length === 1 ? way.path : { step: `branch ${i + 1}`, up: way.path };
      this.#visit(place.child(i), then, facts, { ...way, path });
    });
  }

  // Selectors by predicates

  #select(place: Place, cases: readonly Case[], facts: Facts, way: Way): void {
    const remaining = new Remaining(this.#restrictor, facts);
    for (const [i, one] of cases.entries()) {
      const child = place.child(i);
      child.looks++;
      const inside: Way = {
        ...way,
        path: { step: one.when, up: way.path },
        tests: { held: one.when, up: way.tests },
      };
      const coming = this.#restrictor.restrict(facts, one.when);
      if (coming.boxes.length === 0) {
        this.#neverHolds(child, one.node, one.when, way.tests, inside.path);
        continue;
      }
      this.#holds(child, one, facts, inside);
      const reaching = remaining.reaching(one.when);
      if (reaching.boxes.length === 0) this.#unreachable(child, cases, i, coming, inside.path);
      this.#visit(child.child(0), one.then, reaching, inside);
      if (one.when.test === "always") {
        if (i + 1 < cases.length) otherwiseNotLast(child, one, cases.length - i - 1, inside.path);
        return;
      }
      remaining.take(one.when);
    }
    this.#default(remaining.rest(), way);
  }

  #neverHolds(place: Place, node: object, when: Predicate, tests: Tests, path: Path): void {
    const here = `${quoted(when)} can never hold here`;
    const message = this.#contradictions.why(when, tests) ?? here;
    place.note({
      level: "error",
      check: "never-holds",
      node,
      message,
      path,
      plain: here,
      needs: "every",
    });
  }

  /** Looks for tests that say nothing, in a predicate that may hold. */
  #holds(place: Place, { node, when }: Case, facts: Facts, { path }: Way): void {
    if (when.test === "always") return;
    if (this.#restrictor.restrict(facts, when, false).boxes.length === 0) {
      const message = `${quoted(when)} always holds here`;
      place.note({ level: "warning", check: "always-holds", node, message, path, needs: "every" });
    }
    if (when.test !== "any") return;
    for (const [i, part] of when.of.entries()) {
      if (this.#restrictor.restrict(facts, part).boxes.length > 0) continue;
      const message = `${quoted(part)} can never hold here, so ${quoted(when)} need not name it`;
      place.note(
        { level: "warning", check: "never-holds", node: part, message, path, needs: "every" },
        `part ${i}`,
      );
    }
  }

  /** The arm gets nothing of what it asks for, as others come first. */
  #unreachable(
    place: Place,
    cases: readonly Case[],
    index: number,
    coming: Facts,
    path: Path,
  ): void {
    const { node, when } = cases[index]!;
    const plain = `${quoted(when)} is unreachable: the arms above it take all that comes here`;
    const first = this.#takerOfAll(cases, index, coming);
    const message = first === null
      ? plain
      : `${quoted(when)} is unreachable: ${quoted(first)} above it takes all of it`;
    const level = when.test === "always" ? "warning" : "error";
    place.note({ level, check: "unreachable", node, message, path, plain, needs: "every" });
  }

  #takerOfAll(cases: readonly Case[], end: number, coming: Facts): Predicate | null {
    for (let i = 0; i < end && this.#searched < MAX_SEARCHED; i++, this.#searched++) {
      const { when } = cases[i]!;
      if (this.#restrictor.restrict(coming, when, false).boxes.length === 0) return when;
    }
    return null;
  }

  // Scanner and translators

  #step(place: Place, tree: Step, facts: Facts, way: Way): void {
    place.looks++;
    const { node } = tree;
    const through = passing(node, facts, this.#restrictor);
    const opposite = node === "translate-a-to-b" ? way.bToA : node !== "track" && way.aToB;
    if (through.boxes.length === 0 && !opposite) {
      const reason = node === "track" || valid(facts, this.#restrictor).boxes.length === 0
        ? "all that comes is invalid"
        : node === "translate-a-to-b"
        ? "it takes TCP, UDP and ICMP requests only"
        : "it takes only what backends answer in TCP, UDP and ICMP queries";
      const message = `${node} lets nothing pass here: ${reason}`;
      place.note(error("never-holds", tree, message, way.path, "every"));
    }
    // What a user's predicate says may depend on the steps that a PDU has taken.
    const after = withoutOpaque(through);
    if (node === "track") return this.#visit(place.child(0), tree.then, after, way);
    this.#translator(place, tree, through, way);
    return this.#visit(place.child(0), tree.then, after, {
      ...way,
      aToB: way.aToB || node === "translate-a-to-b",
      bToA: way.bToA || node === "translate-b-to-a",
    });
  }

  /** `through` is what the translator lets pass. */
  #translator(place: Place, tree: Step, through: Facts, { path, aToB, bToA }: Way): void {
    const forth = tree.node === "translate-a-to-b";
    if (forth ? bToA : aToB) {
      const other = forth ? "translate-b-to-a" : "translate-a-to-b";
      const message = `${tree.node} below ${other} drops every PDU: each comes from one side only`;
      place.note(error("translated-twice", tree, message, path), "opposite");
    }
    if (forth ? aToB : bToA) {
      const message = `${tree.node} is below another one: a PDU is translated only once`;
      place.note(warning("translated-twice", tree, message, path));
    }
    if (forth) {
      this.#opens ||= mayOpen(through, this.#restrictor);
      this.#blameAToB ??= () => {
        const message = "translate-a-to-b has no counterpart: " +
          (this.#blameBToA === null
            ? "there is no translate-b-to-a for what backends answer"
            : "what backends answer comes to no translate-b-to-a");
        place.note(warning("no-counterpart", tree, message, path));
      };
    } else {
      this.#returns ||= through.boxes.length > 0;
      this.#blameBToA ??= () => {
        const message = "translate-b-to-a has no counterpart: " +
          (this.#blameAToB === null
            ? "there is no translate-a-to-b that opens connections"
            : "nothing that opens a connection comes to translate-a-to-b");
        place.note(warning("no-counterpart", tree, message, path));
      };
    }
  }

  /**
   * In a loop a packet comes back with the TTL that was set: only one that lowers it ends the loop.
   */
  #raise(place: Place, tree: SetTtl, facts: Facts, { path }: Way): void {
    if (!mayComeWithTtl(facts, tree.ttl, this.#restrictor)) return;
    const message = `${printStep(tree)} disables loop protection: ` +
      "what two routers send to each other goes round for ever";
    place.note(warning("raised-ttl", tree, message, path));
  }

  // Decisions

  #decide(place: Place, node: object, decision: Decision, facts: Facts, way: Way): void {
    place.looks++;
    const note = (message: string, needs: Note["needs"] = "one"): void =>
      place.note(warning("decision-misfit", node, message, way.path, needs));
    if (decision === "forward" && !way.aToB && !way.bToA) {
      note("forward drops every PDU here (not-translated): no translator is above it");
    } else if (decision === "forward" && allExpired(facts, this.#restrictor)) {
      note(
        "forward drops every PDU here (ttl-expired): each has come with a TTL of 0 or 1",
        "every",
      );
    }
    if (decision === "echo-reply" && othersThanEchoRequests(facts, this.#restrictor)) {
      note("echo drops what is no echo request (not-echo-request), and such PDUs come here");
    }
    if (decision === "reject" && neverAnswered(facts, this.#restrictor)) {
      note("reject answers nothing here: ICMP errors and TCP resets get no answer", "every");
    }
  }

  /** The default decision is taken for what `facts` say, or a part of it. */
  #default(facts: Facts, way: Way): void {
    const decision = this.#policy.default;
    if (decision === "drop" || decision === "reject") return;
    const fits = decision === "forward"
      ? way.aToB || way.bToA || !somethingComes(facts)
      : !othersThanEchoRequests(facts, this.#restrictor);
    if (fits) return;
    const message = decision === "forward"
      ? "default forward drops PDUs that come to no translator (not-translated)"
      : "default echo-reply drops what is no echo request (not-echo-request)";
    this.#whole.note(warning("decision-misfit", this.#policy, message, null));
  }
}

function otherwiseNotLast(place: Place, { node }: Case, below: number, path: Path): void {
  const arms = below === 1 ? "the arm" : `the ${below} arms`;
  const message = `"otherwise" is not the last arm: ${arms} below it can never be taken`;
  place.note(error("otherwise-not-last", node, message, path));
}

function error(
  check: Note["check"],
  node: object,
  message: string,
  path: Path,
  needs: Note["needs"] = "one",
): Note {
  return { level: "error", check, node, message, path, needs };
}

function warning(...[check, node, message, path, needs]: Parameters<typeof error>): Note {
  return { ...error(check, node, message, path, needs), level: "warning" };
}
