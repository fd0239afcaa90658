/** How the proxy finds out whether the members of a pool are there, and what follows: plain frozen data. */

export type Check =
  | { readonly kind: "off" }
  | { readonly kind: "neighbor" }
  | { readonly kind: "icmp" }
  | { readonly kind: "tcp"; readonly port: number }
  | {
    readonly kind: "http";
    readonly port: number;
    readonly path: string;
    readonly status: number;
  }
  /** `payload` in hex digits, two a byte. */
  | { readonly kind: "udp"; readonly port: number; readonly payload: string };

export interface Health {
  readonly check: Check;
  /** From the beginning of a check to that of the next one, ± 10 %. */
  readonly intervalMs: number;
  /** The same while the state is changing: an up member has failed, a down one has answered. */
  readonly fastinterMs: number;
  readonly timeoutMs: number;
  /** Failures in a row after which a member is down, and successes after which it is up again. */
  readonly fall: number;
  readonly rise: number;
  /** How long the share of a member that comes back grows; 0: it has its whole share at once. */
  readonly slowStartMs: number;
  /** What becomes of the connections of a member that goes down. */
  readonly onDown: "reset" | "keep";
  /** What a new connection gets when no member can take it: nothing, or any of them. */
  readonly allDown: "reject" | "any";
}

/** All but what depends on the check. */
const DEFAULTS: Omit<Health, "check" | "onDown"> = {
  intervalMs: 2000,
  fastinterMs: 500,
  timeoutMs: 1000,
  fall: 3,
  rise: 2,
  slowStartMs: 0,
  allDown: "reject",
};

/** The health of a pool of which only the check is said, or not even that. */
export function healthOf(
  check: Check = { kind: "neighbor" },
  changes: Partial<Health> = {},
): Health {
  const onDown = check.kind === "tcp" || check.kind === "http" ? "reset" : "keep";
  return Object.freeze({ check: Object.freeze(check), ...DEFAULTS, onDown, ...changes });
}

/** A check for which frames are sent; ARP sees to `neighbor` without one. */
export type ActiveCheck = Exclude<Check, { readonly kind: "off" } | { readonly kind: "neighbor" }>;

export function isActive(check: Check): check is ActiveCheck {
  return check.kind !== "off" && check.kind !== "neighbor";
}
