/** What a policy needs around it to run, and what comes out. */
import type { HostAddress } from "../../wire/host_address.ts";
import type { Clock } from "../../core/clock.ts";
import type { Random } from "../../core/random.ts";
import type { Pdu } from "../../wire/pdu.ts";
import type { Affinity } from "./affinity.ts";
import type { PickMethod, PoolMember } from "../language/ast.ts";
import type { SourceLimits } from "./source_limits.ts";

/**
 * What scanners and modifiers ask of the flow layer. A step checks that it can be done and notes it
 * on the PDU; it changes nothing else until the whole tree has decided. Returns 0 or the reason to
 * drop.
 */
export interface Steps {
  track(pdu: Pdu): number;
  /** A new connection goes to the target of that number. */
  translateAToB(pdu: Pdu, target: number): number;
  translateBToA(pdu: Pdu): number;
  /** `raise`: also above the TTL that the PDU came with. */
  setTtl(pdu: Pdu, ttl: number, raise: boolean): number;
}

/** Some addresses, of either family: a packet's is looked up as it is there. */
export interface LeavingAddresses {
  /** For an IPv4 address. */
  has(address: number): boolean;
  /** For the IPv6 address whose four words are at `at`. */
  has6(words: Int32Array, at: number): boolean;
}

/** Where a member of a pool is. */
export type Place = Pick<PoolMember, "address" | "port">;

export interface Environment {
  /** Packets of IPv6 come, too: the tree is compiled for both families. */
  readonly isIpv6On: boolean;
  /** The list `$dst-addrs`. */
  readonly dstAddrs: readonly HostAddress[];
  readonly steps: Steps;
  /** Number of a translator's target, the same for equal ones. */
  readonly target: (pool: string, port: number, by: PickMethod) => number;
  /**
   * Addresses that the pool has beside those of its `members`, now or once these are its members:
   * live, as time goes on there are fewer. Null if there can be none.
   */
  readonly leaving: (pool: string, members: readonly Place[]) => LeavingAddresses | null;
  readonly random: Random;
  readonly clock: Clock;
  /** Connections are numbered below this by `pdu.flow >> 1`. */
  readonly maxConnections: number;
  /** To be told of each connection that is opened, and what became of each PDU. */
  readonly affinity: Affinity;
  readonly sourceLimits: SourceLimits;
  /** A user's function threw; it counts as false, or as no branch. Told once a name. */
  readonly customFailed: (name: string, error: unknown) => void;
}

/**
 * The decision's number, or the reason for which a step refused the PDU. Notes on
 * the PDU which node it ended at and counts that.
 */
export type Evaluate = (pdu: Pdu) => number;
