/** Bindings for tests: steps that note themselves in the PDU, and refuse it when told to. */
import type { Bindings } from "../../src/tree/evaluate.ts";
import { type Pdu, STEP_A_TO_B, STEP_B_TO_A, STEP_TRACK } from "../../src/wire/pdu.ts";

/** A PDU in this state is refused by `track` with reason 7, in this + 1 by `translateAToB` … */
export const REFUSED_BY_TRACK = 100;

export function bindingsOf(addresses: readonly number[], positions: Int32Array): Bindings {
  const step = (bit: number, refused: number) => (pdu: Pdu): number => {
    if (pdu.state === refused) return 7 + refused - REFUSED_BY_TRACK;
    pdu.steps |= bit;
    return 0;
  };
  return {
    lists: { "$dst-addrs": addresses },
    positions,
    steps: {
      track: step(STEP_TRACK, REFUSED_BY_TRACK),
      translateAToB: step(STEP_A_TO_B, REFUSED_BY_TRACK + 1),
      translateBToA: step(STEP_B_TO_A, REFUSED_BY_TRACK + 2),
    },
  };
}
