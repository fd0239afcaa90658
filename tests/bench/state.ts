/**
 * What a restart with --state costs with a full table: making the bytes, and going on from them.
 * Milliseconds of processor time, medians of ROUNDS.
 *
 *     deno task bench state
 */
import { cpuUsage } from "node:process";
import { parseAddress } from "../../src/wire/address.ts";
import { ACK, SYN } from "../../src/wire/tcp.ts";
import { Pdu } from "../../src/wire/pdu.ts";
import { Translation } from "../../src/flow/translate.ts";
import { CLIENT, PROXY, World } from "../support/world.ts";

const ROUNDS = 7;
const SIZES = [1_000, 65_536, 262_144, 1_000_000];
const BOOT = "a boot";
const NO_BYTES = new DataView(new ArrayBuffer(0));

/** A world with so many connections, all established, 64 of each client. */
function filled(size: number): World {
  const world = World.settled({ maxConn: size });
  const { backends, connections } = world.appliance;
  const target = backends.target("dst-addrs", 0, "in turn");
  const to = new Translation();
  const pdu = new Pdu();
  const take = (fields: Partial<Pdu>, step: "translateAToB" | "translateBToA"): void => {
    Object.assign(pdu, { protocol: 6, dst: parseAddress(PROXY), window: 1000, flow: -1 }, fields);
    connections.classify(NO_BYTES, pdu, 0);
    const reason = connections.steps[step](pdu, target) ||
      connections.commit(NO_BYTES, pdu, 0, to);
    if (reason !== 0) throw new Error(`Cannot open a connection: reason ${reason}`);
  };
  const first = parseAddress(CLIENT) & ~0xff;
  for (let i = 0; i < size; i++) {
    const client = {
      src: first - 2 - (i >>> 6),
      srcPort: 20_000 + (i & 63),
      dstPort: 2000 + (i & 63),
    };
    take({ ...client, tcpFlags: SYN, seq: 0, ack: 0 }, "translateAToB");
    const answer = { src: to.dst, srcPort: to.dstPort, dstPort: to.srcPort };
    take({ ...answer, tcpFlags: SYN | ACK, seq: 0, ack: 1 }, "translateBToA");
    take({ ...client, tcpFlags: ACK, seq: 1, ack: 1 }, "translateAToB");
  }
  return world;
}

/** The processor time of all threads. */
function processorMs(): number {
  const { user, system } = cpuUsage();
  return (user + system) / 1000;
}

function median(values: number[]): string {
  return values.sort((a, b) => a - b)[values.length >> 1]!.toFixed(1).padStart(9);
}

function main(): void {
  say("connections       MB   save ms   load ms");
  for (const size of SIZES) {
    const world = filled(size);
    const [saving, loading]: [number[], number[]] = [[], []];
    let bytes = new Uint8Array();
    for (let round = 0; round < ROUNDS; round++) {
      const start = processorMs();
      bytes = world.appliance.saveState(BOOT, 0);
      saving.push(processorMs() - start);
      const other = new World({ maxConn: size });
      const begun = processorMs();
      const saved = other.appliance.readState(bytes, BOOT, 0, 60_000);
      const { resumed } = other.appliance.resumeState(saved);
      loading.push(processorMs() - begun);
      if (resumed !== size) throw new Error(`Cannot load: ${resumed} of ${size}`);
    }
    const megabytes = (bytes.length / 1e6).toFixed(1).padStart(9);
    say(`${String(size).padStart(11)}${megabytes} ${median(saving)} ${median(loading)}`);
  }
}

function say(line: string): void {
  Deno.stdout.writeSync(new TextEncoder().encode(`${line}\n`));
}

main();
