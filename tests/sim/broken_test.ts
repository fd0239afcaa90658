/**
 * The test of the test: each translator here is broken on purpose in a way that has been
 * shipped, and must be caught by the simulator, and by the check for that fault.
 */
import assert from "node:assert/strict";
import { below, SeededRandom } from "../../src/core/random.ts";
import {
  mendChecksums,
  read16,
  read32,
  readSegment,
  Segment,
  write16,
  write32,
} from "./segment.ts";
import { Sim, type SimOptions } from "./sim.ts";

/** A fault that shows only where two clients meet on a port needs some seeds. */
const SEEDS = 10;

type Broken = Pick<SimOptions, "sabotage" | "tamper">;

const TCP_SOURCE_PORT = 34;
const TCP_CHECKSUM = 50;
const IPV4_TTL = 22;
const IPV4_DESTINATION = 30;

const BROKEN: [name: string, caught: RegExp, broken: Broken][] = [
  [
    "no port rewrite: a packet leaves from the client's own port",
    /outside the range|directions of an entry disagree|without a SYN|busy with/,
    {
      tamper: changed((frame, sim, entry) => {
        const { table } = sim.world.appliance.connections;
        if (isToBackend(frame)) write16(frame, TCP_SOURCE_PORT, table.srcPort(entry, 0));
      }),
    },
  ],
  [
    "stale checksum: the TCP checksum stays that of the untranslated packet",
    /wrong TCP checksum/,
    {
      tamper: (frame, sim) => {
        const s = new Segment();
        if (readSegment(frame, s) !== "" || !isToBackend(frame)) return frame;
        const entry = entryOf(frame, sim);
        if (entry < 0) return frame;
        const { table } = sim.world.appliance.connections;
        const stale = frame.slice();
        write32(stale, 26, table.src(entry, 0));
        write32(stale, IPV4_DESTINATION, table.dst(entry, 0));
        write16(stale, TCP_SOURCE_PORT, table.srcPort(entry, 0));
        mendChecksums(stale);
        const broken = frame.slice();
        write16(broken, TCP_CHECKSUM, read16(stale, TCP_CHECKSUM));
        return broken;
      },
    },
  ],
  [
    "stale IPv4 checksum",
    /wrong IPv4 header checksum/,
    {
      tamper: (frame) => {
        const broken = frame.slice();
        if (isTcp(frame)) write16(broken, 24, read16(frame, 24) ^ 0x0101);
        return broken;
      },
    },
  ],
  [
    "wrong direction: a look-up gives the other side of the entry",
    /has not ended|is incomplete|not found from side/,
    {
      sabotage: ({ world: { appliance: { connections: { table } } } }) => {
        const find = table.find.bind(table);
        table.find = (protocol, src, dst, ports) => {
          const reference = find(protocol, src, dst, ports);
          return reference < 0 ? reference : reference ^ 1;
        };
      },
    },
  ],
  [
    "wrong direction: a backend's answer goes to the wrong client",
    /another connection|directions of an entry disagree/,
    {
      tamper: changed((frame, sim) => {
        if (isToBackend(frame)) return;
        const other = sim.clients.find(({ at }) => at.address !== read32(frame, IPV4_DESTINATION))!;
        write32(frame, IPV4_DESTINATION, other.at.address);
        write16(frame, 4, other.at.mac);
      }),
    },
  ],
  [
    "port freed twice: a second connection gets the port of a living one",
    /not found from side|busy with|without a SYN|another connection|disagree/,
    {
      sabotage: ({ world: { appliance: { connections: { table } } } }) => {
        const insert = table.insert.bind(table);
        table.insert = (protocol, aSrc, aDst, aPorts, bSrc, bDst, bPorts) => {
          for (const entry of table) {
            if (table.src(entry, 1) !== bSrc || table.srcPort(entry, 1) !== bPorts >>> 16) continue;
            bPorts = (bPorts & ~0xffff) | table.dstPort(entry, 1);
            break;
          }
          return insert(protocol, aSrc, aDst, aPorts, bSrc, bDst, bPorts);
        };
      },
    },
  ],
  [
    "half an entry: only the client's direction is left",
    /not found from side|directions of an entry disagree|one direction .* missing|is incomplete/,
    {
      sabotage: ({ world: { appliance: { connections: { table } } } }) => {
        const find = table.find.bind(table);
        const random = new SeededRandom(1);
        const lost = new Set<number>();
        table.find = (protocol, src, dst, ports) => {
          const reference = find(protocol, src, dst, ports);
          if ((reference & 1) === 0 || reference < 0) return reference;
          if (below(random, 500) === 0) lost.add(reference);
          return lost.has(reference) ? -1 : reference;
        };
      },
    },
  ],
  [
    "half an entry: the backend's direction survives its removal",
    /counts \d+ entries and has|are left after all timers|not found from side|disagree/,
    {
      sabotage: ({ world: { appliance: { connections: { table } } } }) => {
        const remove = table.remove.bind(table);
        let removed = 0;
        table.remove = (entry) => {
          if (++removed % 20 !== 0) remove(entry);
          else table.count--;
        };
      },
    },
  ],
  [
    "a packet that failed translation is sent as it came",
    /another's name|nobody sent it|for \d+ to MAC/,
    {
      tamper: changed((frame, sim, entry) => {
        const { table } = sim.world.appliance.connections;
        if (isToBackend(frame)) write32(frame, 26, table.src(entry, 0));
      }),
    },
  ],
  [
    "the TTL is not decremented",
    /nobody sent it/,
    { tamper: changed((frame) => void (frame[IPV4_TTL] = 64)) },
  ],
  [
    "a byte of data is changed, with a right checksum",
    /nobody sent it/,
    {
      tamper: changed((frame) => {
        if (frame.length > 54) frame[frame.length - 1]! ^= 1;
      }),
    },
  ],
];

for (const [name, caught, broken] of BROKEN) {
  for (const twoSided of [false, true]) {
    Deno.test(`sim: ${name}${twoSided ? ", two-sided" : ""}: is caught`, () => {
      assert.match(firstFault({ twoSided, ...broken }), caught);
    });
  }
}

Deno.test("sim: a preserved source keeps a port that is taken: is caught", () => {
  const sabotage = ({ world: { appliance: { connections: { table } } } }: Sim) => {
    const insert = table.insert.bind(table);
    table.insert = (protocol, aSrc, aDst, aPorts, bSrc, bDst, bPorts) =>
      insert(protocol, aSrc, aDst, aPorts, bSrc, bDst, (bPorts & ~0xffff) | (aPorts >>> 16));
  };
  const fault = firstFault({ twoSided: true, preserving: true, sabotage });
  assert.match(fault, /not found from side|busy with|another connection|disagree/);
});

/** What the first seed says that fails. */
function firstFault(options: Omit<SimOptions, "seed">): string {
  for (let seed = 1; seed <= SEEDS; seed++) {
    try {
      new Sim({ seed, ...options }).run();
    } catch (error) {
      assert.ok(error instanceof Error);
      return error.message.split("\n")[0]!;
    }
  }
  return "";
}

/** A tamperer that changes TCP frames of living entries and mends their checksums. */
function changed(
  change: (frame: Uint8Array<ArrayBuffer>, sim: Sim, entry: number) => void,
): (frame: Uint8Array<ArrayBuffer>, sim: Sim) => Uint8Array<ArrayBuffer> {
  return (frame, sim) => {
    const entry = isTcp(frame) ? entryOf(frame, sim) : -1;
    if (entry < 0) return frame;
    const copy = frame.slice();
    change(copy, sim, entry);
    mendChecksums(copy);
    return copy;
  };
}

/** The entry that a frame which the proxy sends belongs to, or -1. */
function entryOf(frame: Uint8Array, { world }: Sim): number {
  const s = new Segment();
  if (readSegment(frame, s) !== "") return -1;
  return world.appliance.connections.table
    .find(6, s.dst, s.src, (s.dstPort << 16) | s.srcPort) >> 1;
}

function isTcp(frame: Uint8Array): boolean {
  return frame.length >= 54 && read16(frame, 12) === 0x0800 && frame[23] === 6;
}

/** Backends are .1 to .3, clients lie above. */
function isToBackend(frame: Uint8Array): boolean {
  return isTcp(frame) && (read32(frame, IPV4_DESTINATION) & 255) < 100;
}
