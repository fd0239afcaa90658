/**
 * Members of pools by name, and what is changed about them while the proxy runs. A reload leaves it
 * as it is, unless the policy says something else of the member than before.
 *
 *     192.168.0.1       the member at this address, if there is one alone
 *     10.0.0.1:8080     with a port of its own
 *     web/10.0.0.1      of this pool
 *     web/2001:db8::1   in any form, also in brackets
 *     web/[2001:db8::1]:8080
 */
import type { Appliance } from "../datapath/appliance.ts";
import { closest, quote } from "../core/text.ts";
import type { Member } from "../flow/backends/member.ts";
import {
  formatEndpoint,
  formatHostAddress,
  parseHostAddress,
  splitEndpoint,
} from "../wire/host_address.ts";
import { Refusal } from "./request.ts";

/** `weight` 0 … 256; the others are what becomes of the member's status. */
export type Change =
  | { readonly to: "drain" | "maintenance" | "ready" }
  | { readonly to: "weight"; readonly weight: number }
  /** Nothing: the member is only looked at. */
  | { readonly to: "same" };

/** The member of that name. Throws a Refusal if there is none, or more than one. */
export function memberNamed(given: string, members: readonly Member[]): Member {
  const name = canonical(given);
  const found = members.filter((member) => {
    const end = endOf(member);
    return name === end || name.replace(/^\$/, "") === `${member.pool.name}/${end}` ||
      (member.port !== 0 && name === formatHostAddress(member.address));
  });
  if (found.length === 1) return found[0]!;
  const names = members.map(nameOf);
  if (found.length > 1) {
    const words = found.slice(0, 10).map((member) => quote(nameOf(member)));
    throw new Refusal(409, `Several backends are called ${quote(name)}: ${words.join(", ")}`);
  }
  const sameButPort = members.find(({ pool, address }) =>
    name.replace(/^\$/, "") === `${pool.name}/${formatHostAddress(address)}`
  );
  const near = sameButPort === undefined
    ? closest(name, [...names, ...members.map(endOf)])
    : nameOf(sameButPort);
  const hint = near === null ? '"backends" lists them' : `did you mean ${quote(near)}?`;
  throw new Refusal(404, `There is no backend ${quote(name)}: ${hint}`);
}

/** The name with its address as the proxy writes it, if it is an IPv6 address. */
function canonical(name: string): string {
  const [, pool = "", end = ""] = /^([^/]*\/)?(.*:.*:.*)$/.exec(name) ?? [];
  const { host, port } = splitEndpoint(end);
  try {
    const address = formatHostAddress(parseHostAddress(host));
    return pool + (port === null ? address : `[${address}]:${port}`);
  } catch {
    return name;
  }
}

/** Changes the member from the next connection on. */
export function changeMember(appliance: Appliance, member: Member, change: Change): void {
  const { backends } = appliance;
  switch (change.to) {
    case "drain":
      return backends.setStatus(member, "draining");
    case "maintenance":
      return backends.setStatus(member, "maintenance");
    case "ready":
      if (member.isLeaving) {
        throw new Refusal(409, `The policy does not have ${quote(nameOf(member))} any more`);
      }
      if (member.status !== "draining" && member.status !== "maintenance") return;
      return appliance.returnToService(member);
    case "weight":
      return backends.setWeight(member, change.weight);
  }
}

/** `web/10.0.0.1:8080`. */
export function nameOf(member: Pick<Member, "address" | "port" | "pool">): string {
  return `${member.pool.name}/${endOf(member)}`;
}

function endOf({ address, port }: Pick<Member, "address" | "port">): string {
  return formatEndpoint(address, port);
}
