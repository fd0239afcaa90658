/** Connection states of a policy as numbers of a PDU, for the walker and the compiler. */
import { STATE_ESTABLISHED, STATE_INVALID, STATE_NEW } from "../../wire/pdu.ts";

/** `stray` is none of its own: an invalid PDU without a connection (`isStray`). */
export const STATE_NUMBERS = {
  "new": STATE_NEW,
  "established": STATE_ESTABLISHED,
  "invalid": STATE_INVALID,
} as const;
