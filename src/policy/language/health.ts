/**
 * How the proxy finds out whether the members of a pool are there, and what follows: plain frozen
 * data.
 */

/** What is checked. */
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

/** All that is said of the checks of a pool. */
export interface Health {
  /** What is checked. */
  readonly check: Check;
  /** From the beginning of a check to that of the next one, ± 10 %. */
  readonly intervalMs: number;
  /** The same while the state is changing: an up member has failed, a down one has answered. */
  readonly fastinterMs: number;
  /** How long an answer may take. */
  readonly timeoutMs: number;
  /** Failures in a row after which a member is down. */
  readonly fall: number;
  /** Successes in a row after which it is up again. */
  readonly rise: number;
  /** How long the share of a member that comes back grows; 0: it has its whole share at once. */
  readonly slowStartMs: number;
  /** What becomes of the connections of a member that goes down. */
  readonly onDown: "reset" | "keep";
  /** What a new connection gets when no member can take it: nothing, or any of them. */
  readonly allDown: "reject" | "any";
}

/** Ticks are 100 ms apart, so nothing is done more often. */
export const TIME_LIMITS = {
  intervalMs: { least: 100, most: 3_600_000 },
  fastinterMs: { least: 100, most: 3_600_000 },
  timeoutMs: { least: 100, most: 60_000 },
  slowStartMs: { least: 0, most: 3_600_000 },
} as const;
export const MAX_IN_A_ROW = 100;
/** A request is one segment, whatever MSS the backend has. */
export const MAX_PATH = 400;
export const MAX_PAYLOAD_BYTES = 512;

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

/**
 * The health of a pool of which only the check is said, or not even that: `neighbor`.
 *
 * @throws {RangeError} for what the text could not say
 */
export function healthOf(
  check: Check = { kind: "neighbor" },
  changes: Partial<Omit<Health, "check">> = {},
): Health {
  const onDown = check.kind === "tcp" || check.kind === "http" ? "reset" : "keep";
  const health = { check: Object.freeze(check), ...DEFAULTS, onDown, ...changes } as const;
  for (const [key, { least, most }] of Object.entries(TIME_LIMITS)) {
    within(key, health[key as keyof typeof TIME_LIMITS], least, most);
  }
  within("fall", health.fall, 1, MAX_IN_A_ROW);
  within("rise", health.rise, 1, MAX_IN_A_ROW);
  if ("port" in check) within("port", check.port, 1, 65_535);
  if (check.kind === "http") {
    within("status", check.status, 100, 599);
    if (!isPath(check.path)) {
      fail(`path ${JSON.stringify(check.path)}`, 'a path that begins with "/"');
    }
  } else if (check.kind === "udp" && !isPayload(check.payload)) {
    fail("payload", `1 to ${MAX_PAYLOAD_BYTES} bytes in hex digits`);
  }
  return Object.freeze(health);
}

/** Printable ASCII without spaces: a request line that nobody can break. */
export function isPath(text: string): boolean {
  return /^\/[\x21-\x7e]*$/.test(text) && text.length <= MAX_PATH;
}

export function isPayload(text: string): boolean {
  return /^([0-9a-f]{2})+$/.test(text) && text.length <= 2 * MAX_PAYLOAD_BYTES;
}

function within(name: string, value: number, least: number, most: number): void {
  if (Number.isInteger(value) && value >= least && value <= most) return;
  fail(`${name} ${value}`, `an integer ${least} to ${most}`);
}

function fail(what: string, expected: string): never {
  throw new RangeError(`Cannot use ${what} for a check: expected ${expected}`);
}

/** A check for which frames are sent; ARP sees to `neighbor` without one. */
export type ActiveCheck = Exclude<Check, { readonly kind: "off" } | { readonly kind: "neighbor" }>;

/** True for such a check. */
export function isActive(check: Check): check is ActiveCheck {
  return check.kind !== "off" && check.kind !== "neighbor";
}
