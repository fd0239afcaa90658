import assert from "node:assert/strict";
import { Count, formatSummary, Metrics } from "../../src/datapath/metrics.ts";
import { SeededRandom } from "../../src/core/random.ts";
import { Reason } from "../../src/core/reason.ts";
import { Backends } from "../../src/flow/backends/backends.ts";
import { Connections } from "../../src/flow/connections.ts";
import { DEFAULT_TIMEOUTS } from "../../src/flow/lifetimes.ts";
import { parseAddress } from "../../src/wire/address.ts";

/** Ten at most, of which so many are there and so many had to go. */
function connections(count = 0, evicted = 0): Connections {
  const connections = new Connections({
    maxConnections: 10,
    ports: { first: 1024, last: 65_535 },
    timeouts: DEFAULT_TIMEOUTS,
    ownAddress: 0,
    backends: new Backends([1]),
    random: new SeededRandom(1),
  });
  for (let i = 0; i < count; i++) connections.table.insertOneSided(1, i, 2, 3);
  connections.evicted = evicted;
  return connections;
}

Deno.test("formatSummary of nothing", () => {
  assert.equal(
    formatSummary(new Metrics(), connections(), []),
    `Summary
Frames      : 0 in, 0 out, 0 ARP in
PDUs in     : 0, 0 bytes
PDUs out    : 0, 0 bytes
Decisions   : none
Drops       : none
Connections : 0 of at most 10, 0 evicted
`,
  );
});

Deno.test("formatSummary names what was counted, in the order of the tables, numbers in full", () => {
  const metrics = new Metrics();
  metrics.counts[Count.framesIn] = 2 ** 40;
  metrics.decisions.set([3, 2, 1, 4]);
  metrics.drop(Reason["send-failed"], 7);
  metrics.drop(Reason.policy);
  metrics.drop(Reason.policy);
  const backend = {
    address: parseAddress("192.168.0.1"),
    status: "unanswered",
    active: 2,
    opened: 9,
  } as const;
  const lines = formatSummary(metrics, connections(2, 3), [backend]).split("\n");
  assert.deepEqual(lines.filter((line) => !line.startsWith("PDUs")), [
    "Summary",
    "Frames      : 1099511627776 in, 0 out, 0 ARP in",
    "Decisions   : Drop 3, Forward 2, Echo_reply 1, Reject 4",
    "Drops       : policy 2, send-failed 7",
    "Connections : 2 of at most 10, 3 evicted",
    "Backend     : 192.168.0.1 unanswered, connections: 9 opened, 2 tracked",
    "",
  ]);
});
