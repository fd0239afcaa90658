/**
 * What clients' handshakes say about members: five that fail in a row, towards a port that has
 * answered before, are a reason to look at once. They are never more than that: any client can ask
 * for a port that is closed, and so no number of them marks a member down.
 */

const FAILED_IN_A_ROW = 5;

/** Ports of a member that are remembered; of more, the one that answered first is forgotten. */
const MOST_PORTS = 16;

export class Handshakes<M> {
  /** By member and port: handshakes that have failed since the last one that did not. */
  readonly #failed = new Map<M, Map<number, number>>();
  readonly #suspect: (member: M) => void;

  /** `suspect` is called about a member that should be looked at. */
  constructor(suspect: (member: M) => void) {
    this.#suspect = suspect;
  }

  /** The member's port has answered a SYN with a SYN ACK. */
  answered(member: M, port: number): void {
    let ports = this.#failed.get(member);
    if (ports === undefined) this.#failed.set(member, ports = new Map());
    if (ports.size === MOST_PORTS && !ports.has(port)) {
      for (const first of ports.keys()) {
        ports.delete(first);
        break;
      }
    }
    ports.set(port, 0);
  }

  /** A SYN was refused, or not answered. */
  failed(member: M, port: number): void {
    const ports = this.#failed.get(member);
    const before = ports?.get(port);
    if (ports === undefined || before === undefined) return;
    const isEnough = before + 1 === FAILED_IN_A_ROW;
    ports.set(port, isEnough ? 0 : before + 1);
    if (isEnough) this.#suspect(member);
  }

  /** The member is gone. */
  forget(member: M): void {
    this.#failed.delete(member);
  }
}
