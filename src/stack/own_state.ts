/** Whether an own IPv6 address is used (`duplicate_detection.ts`). */

/** Nobody objects; it is still asked for; somebody has, or wants, it. */
export const OWN_STATES = ["in-use", "on-trial", "withheld"] as const;

export type OwnState = typeof OWN_STATES[number];

/** `2001:db8::64 withheld after a conflict`. */
export function ownText(
  { address, state }: { readonly address: string; readonly state: OwnState },
): string {
  return `${address} ${
    state === "withheld" ? "withheld after a conflict" : state.replace("-", " ")
  }`;
}
