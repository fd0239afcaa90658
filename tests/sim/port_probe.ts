/**
 * Whether every port of the range can be used: opens connections to one backend, without
 * impairments, until each port is in use, and then one more, which must be rejected.
 */
import { packetsOf, type World } from "../support/world.ts";
import type { SimHost } from "./host.ts";
import { ACK, readSegment, Segment, SYN, writeSegment } from "./segment.ts";

/** Client ports, which the range must not hold. */
const FIRST_CLIENT_PORT = 1000;
const SERVER_PORT = 2000;

/** Returns what is wrong, or "". The world must have one backend and an empty table. */
export function probePorts(
  world: World,
  client: SimHost,
  backend: SimHost,
  ports: { readonly first: number; readonly last: number },
): string {
  world.answer(backend.at.text, backend.at.macText);
  world.answer(client.at.text, client.at.macText);
  const size = ports.last - ports.first + 1;
  const seen = new Set<number>();
  for (let i = 0; i < size; i++) {
    const clientPort = FIRST_CLIENT_PORT + i;
    const [syn] = packetsOf(world.send(segment(client, clientPort, SERVER_PORT, SYN)));
    const s = new Segment();
    if (syn === undefined || readSegment(syn, s) !== "" || s.dst !== backend.at.address) {
      return `only ${i} of ${size} ports of the range can be had`;
    }
    if (seen.has(s.srcPort)) return `port ${s.srcPort} was given twice`;
    seen.add(s.srcPort);
    world.send(segment(backend, SERVER_PORT, s.srcPort, SYN | ACK));
    world.send(segment(client, clientPort, SERVER_PORT, ACK));
  }
  const answers = world.send(segment(client, FIRST_CLIENT_PORT + size, SERVER_PORT, SYN));
  const said = packetsOf(answers);
  if (said.length !== 1) return `one connection too many got ${said.length} answers`;
  const s = new Segment();
  if (readSegment(said[0]!, s) === "" && s.dst === backend.at.address) {
    return "one connection too many was let in";
  }
  return "";
}

/** Sequence numbers: the first of each side is 1000. */
function segment(
  from: SimHost,
  srcPort: number,
  dstPort: number,
  flags: number,
): Uint8Array<ArrayBuffer> {
  const s = new Segment();
  s.srcMac = from.at.mac;
  s.dstMac = from.proxy.mac;
  s.isIpv6 = from.at.isIpv6;
  s.src = from.at.address;
  s.dst = from.proxy.address;
  s.srcPort = srcPort;
  s.dstPort = dstPort;
  s.seq = (flags & SYN) !== 0 ? 1000 : 1001;
  s.ack = (flags & ACK) !== 0 ? 1001 : 0;
  s.flags = flags;
  s.window = 4096;
  return writeSegment(s);
}
