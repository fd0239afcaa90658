/**
 * Connections: what the tree's scanner and translators do.
 *
 *     classify ──▶ (the tree runs; its steps only check and note) ──▶ commit
 *
 * Nothing is written before the tree has decided and the TTL has been checked. Then
 *
 *     A → B   client:cp → proxy:sp    becomes   proxy:pp → backend:sp
 *     B → A   backend:sp → proxy:pp   becomes   proxy:sp → client:cp
 */
import type { Random } from "../core/random.ts";
import { Reason } from "../core/reason.ts";
import type { BalanceMethod } from "../tree/ast.ts";
import type { Steps } from "../tree/environment.ts";
import { ICMP_ECHO_REQUEST } from "../wire/icmpv4.ts";
import { PROTOCOL_ICMP, PROTOCOL_TCP, PROTOCOL_UDP } from "../wire/ipv4.ts";
import {
  type Pdu,
  STATE_ESTABLISHED,
  STATE_INVALID,
  STATE_NEW,
  STEP_A_TO_B,
  STEP_B_TO_A,
  STEP_TRACK,
} from "../wire/pdu.ts";
import { ACK, SYN } from "../wire/tcp.ts";
import type { Backends } from "./backends.ts";
import { choosePort, type PortRange } from "./ports.ts";
import { FlowTable, SIDE_A, SIDE_B } from "./table.ts";
import { defaultTimeouts, ICMP_QUERY, isOver, nextState, SYN_SENT, UDP_FLOW } from "./tcp_state.ts";
import type { Translation } from "./translate.ts";

export interface ConnectionsOptions {
  readonly maxConnections: number;
  readonly ports: PortRange;
  /** The address that forwarded packets leave with. */
  readonly ownAddress: number;
  readonly backends: Backends;
  readonly random: Random;
}

export class Connections {
  readonly table: FlowTable;
  readonly #options: ConnectionsOptions;
  readonly #timeoutsMs: Int32Array = defaultTimeouts();
  readonly #remove = (entry: number): void => this.remove(entry);
  /** How the translator at hand picks a backend. */
  #method: BalanceMethod = "random";

  constructor(options: ConnectionsOptions) {
    this.table = new FlowTable(options.maxConnections, options.random);
    this.#options = options;
  }

  /** Finds the PDU's connection: sets `pdu.flow` and `pdu.state`. */
  classify(pdu: Pdu): void {
    const ports = (pdu.srcPort << 16) | pdu.dstPort;
    pdu.steps = 0;
    pdu.newTtl = 0;
    pdu.opened = 0;
    pdu.flow = this.table.find(pdu.protocol, pdu.src, pdu.dst, ports);
    if (pdu.flow >= 0) {
      pdu.state = this.#opens(pdu) ? STATE_NEW : STATE_ESTABLISHED;
    } else if (pdu.protocol === PROTOCOL_TCP) {
      pdu.state = isFirstSyn(pdu) ? STATE_NEW : STATE_INVALID;
    } else if (pdu.protocol === PROTOCOL_ICMP) {
      pdu.state = pdu.icmpType === ICMP_ECHO_REQUEST ? STATE_NEW : STATE_INVALID;
    } else {
      pdu.state = STATE_NEW;
    }
  }

  /** What the tree's nodes call. They check and note; `commit` does. */
  readonly steps: Steps = {
    track: (pdu) => {
      if (pdu.state === STATE_INVALID) return Reason.invalid;
      pdu.steps |= STEP_TRACK;
      return 0;
    },
    translateAToB: (pdu, backend) => {
      if (pdu.state === STATE_INVALID) return Reason.invalid;
      if (pdu.flow >= 0 && !this.#translatable(pdu, SIDE_A)) return Reason.invalid;
      if (pdu.protocol !== PROTOCOL_TCP && pdu.protocol !== PROTOCOL_UDP) return Reason.invalid;
      pdu.steps |= STEP_A_TO_B;
      this.#method = backend;
      return 0;
    },
    translateBToA: (pdu) => {
      if (pdu.flow < 0 || !this.#translatable(pdu, SIDE_B)) return Reason["no-mapping"];
      pdu.steps |= STEP_B_TO_A;
      return 0;
    },
    setTtl: (pdu, ttl) => {
      pdu.newTtl = ttl;
      return 0;
    },
  };

  /**
   * Does what the tree's steps noted: makes or refreshes the entry and tells in `to` what the PDU's
   * addresses and ports become. Returns 0, or the reason why it can't be done; then nothing changed.
   */
  commit(pdu: Pdu, nowMs: number, to: Translation): number {
    if ((pdu.steps & (STEP_A_TO_B | STEP_B_TO_A)) === 0) {
      return (pdu.steps & STEP_TRACK) === 0 ? 0 : this.#track(pdu, nowMs);
    }
    if (pdu.flow < 0 || this.#opens(pdu)) {
      const reason = this.#open(pdu);
      if (reason !== 0) return reason;
    }
    const table = this.table;
    const entry = pdu.flow >>> 1;
    const side = pdu.flow & 1;
    const other = 1 - side;
    if (pdu.protocol === PROTOCOL_TCP) {
      table.setState(entry, nextState(table.state(entry), side, pdu.tcpFlags));
    }
    table.touch(entry, nowMs);
    to.src = table.dst(entry, other);
    to.dst = table.src(entry, other);
    to.srcPort = table.dstPort(entry, other);
    to.dstPort = table.srcPort(entry, other);
    return 0;
  }

  /** Forgets connections that have been idle too long; a bounded slice of the table a call. */
  expire(nowMs: number): void {
    this.table.expire(nowMs, this.#timeoutsMs, this.#remove);
  }

  remove(entry: number): void {
    if (this.table.hasSideB(entry)) {
      const backend = this.#options.backends.get(this.table.src(entry, SIDE_B));
      if (backend !== undefined) backend.active--;
    }
    this.table.remove(entry);
  }

  #translatable(pdu: Pdu, side: number): boolean {
    return (pdu.flow & 1) === side && this.table.hasSideB(pdu.flow >>> 1);
  }

  /**
   * True for a SYN that begins a connection although its tuple has an entry: the earlier one is over, or
   * its backend was chosen before it stopped answering.
   */
  #opens(pdu: Pdu): boolean {
    if (pdu.protocol !== PROTOCOL_TCP || !isFirstSyn(pdu) || (pdu.flow & 1) !== SIDE_A) {
      return false;
    }
    const entry = pdu.flow >>> 1;
    const state = this.table.state(entry);
    if (isOver(state)) return true;
    const backend = this.#options.backends.get(this.table.src(entry, SIDE_B));
    return state === SYN_SENT && backend?.status === "unanswered";
  }

  #open(pdu: Pdu): number {
    const { backends, ownAddress, ports, random } = this.#options;
    const backend = backends.pick(this.#method, pdu, random);
    if (backend === null) return Reason["no-backend"];
    const earlier = pdu.flow >> 1;
    const port = choosePort(
      this.table,
      ports,
      random,
      pdu.protocol,
      backend.address,
      ownAddress,
      pdu.dstPort,
      pdu.srcPort,
      earlier,
    );
    if (port < 0) return Reason["no-port"];
    if (earlier >= 0) this.remove(earlier);
    const entry = this.table.insert(
      pdu.protocol,
      pdu.src,
      pdu.dst,
      (pdu.srcPort << 16) | pdu.dstPort,
      backend.address,
      ownAddress,
      (pdu.dstPort << 16) | port,
    );
    if (entry < 0) return Reason["table-full"];
    this.table.setState(entry, pdu.protocol === PROTOCOL_TCP ? SYN_SENT : UDP_FLOW);
    backend.active++;
    backend.opened++;
    pdu.flow = (entry << 1) | SIDE_A;
    pdu.opened = 1;
    return 0;
  }

  /** An entry for a connection that ends here: an echo request's addresses and identifier. */
  #track(pdu: Pdu, nowMs: number): number {
    if (pdu.flow < 0) {
      const ports = (pdu.srcPort << 16) | pdu.dstPort;
      const entry = this.table.insertOneSided(pdu.protocol, pdu.src, pdu.dst, ports);
      if (entry < 0) return Reason["table-full"];
      this.table.setState(entry, ICMP_QUERY);
      pdu.flow = (entry << 1) | SIDE_A;
      pdu.opened = 1;
    }
    this.table.touch(pdu.flow >>> 1, nowMs);
    return 0;
  }
}

function isFirstSyn(pdu: Pdu): boolean {
  return (pdu.tcpFlags & (SYN | ACK)) === SYN;
}
