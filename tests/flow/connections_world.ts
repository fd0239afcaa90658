/** Connections with hosts around them: what the appliance does with a PDU, less the bytes. */
import { SeededRandom } from "../../src/core/random.ts";
import { reasonName } from "../../src/core/reason.ts";
import { Backends } from "../../src/flow/backends/backends.ts";
import type { Member } from "../../src/flow/backends/member.ts";
import { Connections } from "../../src/flow/connections.ts";
import { DEFAULT_TIMEOUTS } from "../../src/flow/lifetimes.ts";
import { SIDE_A, SIDE_B } from "../../src/flow/table.ts";
import { Translation } from "../../src/flow/translate.ts";
import type { BalanceMethod } from "../../src/policy/language/ast.ts";
import { formatAddress, parseAddress } from "../../src/wire/address.ts";
import { Pdu } from "../../src/wire/pdu.ts";
import { ACK, SYN } from "../../src/wire/tcp.ts";

export const PROXY: number = parseAddress("192.168.0.100");
export const CLIENT: number = parseAddress("192.168.0.254");
export const BACKENDS: readonly number[] = ["192.168.0.1", "192.168.0.2"].map(parseAddress);
const TCP = 6;

/** No options in it: the PDUs here have no bytes. */
const NO_BYTES = new DataView(new ArrayBuffer(0));

/** Connections, and PDUs sent through them as the appliance does. */
export class World {
  readonly backends: Backends;
  readonly connections: Connections;
  readonly to = new Translation();
  nowMs = 0;
  /** How new connections get their backend. */
  readonly #method: BalanceMethod;

  constructor(
    {
      seed = 1,
      maxConnections = 100,
      maxPerSource = Infinity as number | null,
      first = 1024,
      last = 65_535,
      addresses = BACKENDS as readonly number[],
      timeouts = DEFAULT_TIMEOUTS,
    } = {},
    method: BalanceMethod = "at random",
  ) {
    this.#method = method;
    this.backends = new Backends(addresses);
    this.connections = new Connections({
      maxConnections,
      maxPerSource,
      ports: { first, last },
      timeouts,
      ownAddress: PROXY,
      backends: this.backends,
      random: new SeededRandom(seed),
    });
  }

  /** From a client to the proxy, translated A to B. */
  fromA(fields: Partial<Pdu> = {}): string {
    const pdu = pduOf({ src: CLIENT, srcPort: 40_000, dstPort: 2000, ...fields });
    return this.#run(pdu, "translateAToB");
  }

  /** From the backend that the last PDU from side A went to, unless told otherwise. */
  fromB(fields: Partial<Pdu> = {}): string {
    const { dst, dstPort, srcPort } = this.#lastA;
    const pdu = pduOf({ src: dst, srcPort: dstPort, dstPort: srcPort, ...fields });
    return this.#run(pdu, "translateBToA");
  }

  track(fields: Partial<Pdu> = {}): string {
    const echo = { protocol: 1, icmpType: 8, srcPort: 0x4a49, tcpFlags: 0, src: CLIENT };
    return this.#run(pduOf({ ...echo, ...fields }), "track");
  }

  /** An ICMP query from a client, translated A to B; "port" is its identifier. */
  queryA(fields: Partial<Pdu> = {}): string {
    return this.fromA({
      protocol: 1,
      icmpType: 8,
      srcPort: 0x4a49,
      dstPort: 0,
      tcpFlags: 0,
      ...fields,
    });
  }

  /** The reply of the backend that the last query went to. */
  queryB(fields: Partial<Pdu> = {}): string {
    return this.fromB({ protocol: 1, icmpType: 0, srcPort: 0, tcpFlags: 0, ...fields });
  }

  /** Opens, answers and completes a connection of the client's `srcPort`. */
  establish(fields: Partial<Pdu> = {}): void {
    this.fromA(fields);
    this.fromB({ tcpFlags: SYN | ACK });
    this.fromA({ ...fields, tcpFlags: ACK });
  }

  /** Lets time pass and forgets what has been idle too long, all of it. */
  expire(ms: number): void {
    this.nowMs += ms;
    // A small table is one slice.
    this.connections.expire(this.nowMs);
  }

  get states(): number[] {
    const { table } = this.connections;
    return [...table].map((entry) => table.state(entry));
  }

  get target(): number {
    return this.backends.target("dst-addrs", 0, this.#method);
  }

  /** The backend that the only connection has. */
  get backend(): Member {
    const { table } = this.connections;
    const [entry] = table;
    return this.backends.all[table.member(entry!)]!;
  }

  /** Entries and counts, to see that nothing has changed. */
  snapshot(): unknown {
    const { table } = this.connections;
    const entries = [...table].map((entry) => [
      table.protocol(entry),
      table.state(entry),
      ...[SIDE_A, SIDE_B].flatMap((side) => [
        table.src(entry, side),
        table.dst(entry, side),
        table.srcPort(entry, side),
        table.dstPort(entry, side),
      ]),
    ]);
    return {
      entries,
      backends: this.backends.all.map(({ status, active, load, opened }) => [
        status,
        active,
        load,
        opened,
      ]),
    };
  }

  readonly #lastA = new Translation();

  #run(pdu: Pdu, step: "track" | "translateAToB" | "translateBToA"): string {
    this.connections.classify(NO_BYTES, pdu, this.nowMs);
    const { steps } = this.connections;
    const asked = step === "translateAToB" ? steps[step](pdu, this.target) : steps[step](pdu);
    const reason = asked ||
      this.connections.commit(NO_BYTES, pdu, this.nowMs, this.to);
    if (reason !== 0) return reasonName(reason);
    if (step === "track") return "tracked";
    if (step === "translateAToB") Object.assign(this.#lastA, this.to);
    return `${formatAddress(this.to.src)}:${this.to.srcPort} -> ` +
      `${formatAddress(this.to.dst)}:${this.to.dstPort}`;
  }
}

/**
 * A SYN for the proxy unless told otherwise; of each side, what counts begins at sequence number 1.
 */
export function pduOf(fields: Partial<Pdu>): Pdu {
  const { tcpFlags = SYN } = fields;
  const seq = (tcpFlags & SYN) === 0 ? 1 : 0;
  const ack = (tcpFlags & ACK) === 0 ? 0 : 1;
  const tcp = { tcpFlags, seq, ack, window: 1000 };
  return Object.assign(new Pdu(), { protocol: TCP, dst: PROXY, ...tcp, ...fields });
}
