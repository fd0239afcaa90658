/** Looks for findings of `check` that are not true: what they say can't happen has happened. */
import type { Predicate, Tree } from "../../../src/policy/language/ast.ts";
import * as build from "../../../src/policy/language/build.ts";
import type { Finding } from "../../../src/policy/check/check.ts";
import type { Plan } from "../../../src/policy/engine/plan.ts";
import { holds, type Visitor } from "../../../src/policy/engine/walk.ts";
import { ICMP_TYPES } from "../../../src/wire/icmpv4.ts";
import { isIcmp, isIpv6, isTcp, type Pdu, STATE_NEW } from "../../../src/wire/pdu.ts";

/** Looks on as a PDU walks and remembers a finding that proves wrong. */
export function watcher(
  plan: Plan,
  findings: readonly Finding[],
): { (pdu: Pdu): Visitor; refuted(): Finding | null } {
  const byNode = new Map<object, Finding[]>();
  for (const finding of findings) {
    byNode.set(finding.node, [...byNode.get(finding.node) ?? [], finding]);
  }
  let refuted: Finding | null = null;
  const refute = (node: object, ...checks: readonly Finding["check"][]): void => {
    refuted ??= byNode.get(node)?.find(({ check }) => checks.includes(check)) ?? null;
  };
  /** A finding about all of the policy is refuted by a PDU anywhere. */
  const refuteMessage = (part: string): void => {
    refuted ??= findings.find(({ message }) => message.includes(part)) ?? null;
  };
  const watch = (pdu: Pdu): Visitor => ({
    enter: ({ tree }) => {
      if (tree.node !== "decide" || SHARED.has(tree)) return;
      const isWrong = byNode.get(tree)?.find(({ message }) =>
        message.includes("(ttl-expired)") && pdu.ttl > 1 ||
        message.startsWith("reject answers nothing") && isAnswered(pdu)
      );
      refuted ??= isWrong ?? null;
    },
    asked: ({ tree }, index, predicate, value) => {
      const node = tree.node === "first-match" ? tree.arms[index]! : tree;
      refute(node, value ? "never-holds" : "always-holds");
      if (predicate.test !== "any") return;
      for (const part of predicate.of) {
        // A predicate that is shared, as `isFragment`, may hold elsewhere.
        if (!SHARED.has(part) && holds(part, pdu, plan)) refute(part, "never-holds");
      }
    },
    chose: ({ tree }, index) => {
      if (index < 0) return;
      refute(tree.node === "first-match" ? tree.arms[index]! : tree, "unreachable", "never-holds");
      if (tree.node !== "first-match") return;
      for (const above of tree.arms.slice(0, index)) refute(above, "otherwise-not-last");
    },
    stepped: ({ tree }, reason) => {
      if (reason !== 0) return;
      refute(tree, "never-holds");
      if (tree.node === "translate-b-to-a") refuteMessage("what backends answer comes to no");
      if (tree.node === "translate-a-to-b" && pdu.state === STATE_NEW) {
        refuteMessage("nothing that opens a connection comes to");
      }
    },
  });
  return Object.assign(watch, { refuted: () => refuted });
}

/** True if `reject` says something to the sender. */
function isAnswered(pdu: Pdu): boolean {
  if (isTcp(pdu.protocol)) return (pdu.tcpFlags & 4) === 0;
  if (!isIcmp(pdu.protocol)) return true;
  return isIpv6(pdu.protocol) ? pdu.icmpType >= 128 : ICMP_TYPES[pdu.icmpType]?.query === true;
}

/** What stands in many places: a finding is about one of them. */
const SHARED: ReadonlySet<Predicate | Tree> = new Set<Predicate | Tree>([
  build.drop,
  build.forward,
  build.echo,
  build.reject,
  build.otherwise,
  build.isFragment,
  build.isTcp,
  build.isUdp,
  build.isIcmp,
  build.isIpv4,
  build.isIpv6,
]);
