import assert from "node:assert/strict";
import { formatSummary } from "../../src/console/summary.ts";
import type { Snapshot } from "../../src/datapath/snapshot.ts";
import { buildIcmp, buildTcp } from "../support/frames.ts";
import { arpsOf, World } from "../support/world.ts";

Deno.test("formatSummary of nothing", () => {
  const world = new World({ backends: ["192.168.0.1"], maxConn: 10 });
  assert.equal(
    formatSummary({ ...world.appliance.snapshot(), policy: { lines: [], hiddenLines: 3 } }),
    `Summary
Frames      : 0 in, 0 out, 0 ARP in, 0 ARP out
PDUs in     : 0, 0 bytes
PDUs out    : 0, 0 bytes
Decisions   : none
Drops       : none
Connections : 0 of at most 10, 0 evicted
Backend     : 192.168.0.1 unknown, connections: 0 opened, 0 tracked
        PDUs  Tree
              … 3 more lines
`,
  );
});

Deno.test("formatSummary names what was counted, in the order of the tables, numbers in full", () => {
  const empty = new World().appliance.snapshot();
  const member = empty.pools[0]!.members[0]!;
  const lines = formatSummary({
    ...empty,
    frames: { in: 2 ** 40, out: 0, arpIn: 0, arpOut: 5, neighbors: { in: 3, out: 4 } },
    pdusIn: { count: 10, bytes: 1000 },
    carried: { count: 9, bytes: 900 },
    decisions: { ...empty.decisions, Drop: 3, Forward: 2, Echo_reply: 1, Reject: 4 },
    drops: { ...empty.drops, "send-failed": 7, policy: 2 },
    connections: { tracked: 2, capacity: 10, evicted: 3 },
    checks: { framesOut: 12, framesIn: 11 },
    pools: [
      {
        name: "dst-addrs",
        members: [{ ...member, status: "down", failure: "no", opened: 9, tracked: 2 }],
      },
      { name: "web", members: [{ ...member, port: 8080, status: "up", opened: 1, tracked: 0 }] },
    ],
    own6: [
      { link: 0, address: "2001:db8::64", state: "withheld" },
      { link: 0, address: "2001:db8::65", state: "in-use" },
      { link: 0, address: "fe80::1", state: "on-trial" },
    ],
    policy: { lines: [{ pdus: 7, depth: 1, text: "tcp -> drop" }], hiddenLines: 0 },
  }).split("\n");
  assert.deepEqual(lines.filter((line) => !line.startsWith("PDUs")), [
    "Summary",
    "Not in use  : 2001:db8::64 withheld after a conflict, fe80::1 on trial",
    "Frames      : 1099511627776 in, 0 out, 0 ARP in, 5 ARP out, 3 ND in, 4 ND out",
    "Carried     : 9 by the kernel, 900 bytes (90%)",
    "Decisions   : Drop 3, Forward 2, Echo_reply 1, Reject 4",
    "Drops       : policy 2, send-failed 7",
    "Connections : 2 of at most 10, 3 evicted",
    "Checks      : 12 frames out, 11 frames in",
    "Backend     : 192.168.0.1 down (no), connections: 9 opened, 2 tracked",
    "Backend     : 192.168.0.1:8080 of $web up, connections: 1 opened, 0 tracked",
    "        PDUs  Tree",
    "           7    tcp -> drop",
    "",
  ]);
});

Deno.test("Appliance.snapshot is plain frozen data: through JSON and back the summary is the same", () => {
  const world = World.settled();
  world.send(buildTcp(), buildIcmp(), buildIcmp({ dst: "224.0.0.1" }));
  const snapshot = world.appliance.snapshot();
  const copy = JSON.parse(JSON.stringify(snapshot)) as Snapshot;
  assert.deepEqual(copy, snapshot);
  assert.equal(formatSummary(copy), world.summary());
  assert.ok(isFrozen(snapshot));
  world.send(buildTcp({ srcPort: 9 }));
  assert.deepEqual(snapshot, copy, "a snapshot does not change any more");
  assert.equal(world.appliance.snapshot().pdusIn.count, snapshot.pdusIn.count + 1);
});

Deno.test("Appliance.snapshot counts every ARP frame that leaves, on both interfaces", () => {
  const world = new World({ twoSided: true });
  let arps = 0;
  for (let i = 0; i < 100; i++) arps += arpsOf(world.advance(100)).length;
  assert.ok(arps > 5);
  assert.equal(world.appliance.snapshot().frames.arpOut, arps);
});

function isFrozen(data: unknown): boolean {
  return typeof data !== "object" || data === null ||
    (Object.isFrozen(data) && Object.values(data).every(isFrozen));
}
