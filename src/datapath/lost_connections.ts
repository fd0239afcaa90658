/**
 * Connections of members that are gone, and that are to be reset for both ends, some between two
 * bursts. Where only a SYN was sent, nobody is: the client's next one goes to another member.
 */
import type { FlowTable } from "../flow/table.ts";
import { SYN_SENT } from "../flow/tcp_state.ts";
import type { Member } from "../flow/backends/member.ts";
import type { ConnectionResets } from "./reset_connections.ts";

/**
 * Slices of the table that are looked at between two bursts. What is reset then is one transmit
 * list at most.
 */
const SLICES = 8;

export interface LostConnectionsOptions {
  readonly table: FlowTable;
  /** Begins to reset open connections. */
  readonly resets: (isMeant: (entry: number) => boolean) => ConnectionResets;
}

export class LostConnections {
  readonly #options: LostConnectionsOptions;
  /** Numbers of members whose turn comes after that of those at hand. */
  #waiting = new Set<number>();
  /** Of those at hand. */
  #members = new Set<number>();
  #resets: ConnectionResets | null = null;

  constructor(options: LostConnectionsOptions) {
    this.#options = options;
  }

  /** The member is down: its connections are of no use. */
  add({ index }: Member): void {
    this.#waiting.add(index);
  }

  /** It is up again: what is open now is no longer meant. */
  keep({ index }: Member): void {
    this.#waiting.delete(index);
    this.#members.delete(index);
  }

  /** Goes on; true while there is more to do. */
  step(nowMs: number): boolean {
    if (this.#resets === null) {
      if (this.#waiting.size === 0) return false;
      const members = this.#members = this.#waiting;
      this.#waiting = new Set();
      const { table, resets } = this.#options;
      this.#resets = resets((entry) =>
        members.has(table.member(entry)) && table.state(entry) !== SYN_SENT
      );
    }
    for (let slice = 0; slice < SLICES && this.#resets !== null; slice++) {
      if (!this.#resets.step(nowMs)) this.#resets = null;
    }
    return this.#resets !== null || this.#waiting.size > 0;
  }
}
