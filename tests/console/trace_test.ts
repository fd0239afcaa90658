import type { TraceMode } from "../../src/datapath/config.ts";
import assert from "node:assert/strict";
import { Outlet } from "../../src/process/outlet.ts";
import { formatDecision } from "../../src/console/summary.ts";
import { Trace } from "../../src/console/trace.ts";
import { Reason } from "../../src/core/reason.ts";
import type { Outcome } from "../../src/datapath/observer.ts";
import { DROP, ECHO_REPLY, FORWARD, REJECT } from "../../src/policy/language/ast.ts";
import { PROTOCOL_UDP } from "../../src/wire/ipv4.ts";
import { Pdu } from "../../src/wire/pdu.ts";

/** A datagram as the appliance shows it. */
const PDU = new Pdu();
PDU.protocol = PROTOCOL_UDP;
const VIEW = new DataView(new ArrayBuffer(0));
const TEXT = `Received pdu
Layer 3 | IPv4     | src  0.0.0.0
                   | dst  0.0.0.0
Layer 4 | UDP      | src port 0
                   | dst port 0
                   | data
`;

function outcomeOf(fields: Partial<Outcome>): Outcome {
  return {
    pdu: PDU,
    decision: FORWARD,
    reason: 0,
    node: 0,
    label: null,
    isRelated: false,
    backend: null,
    sent: [],
    ...fields,
  };
}

/** A trace, and a function that gives what it printed since the last call. */
function make(
  mode: Extract<TraceMode, string>,
): { trace: Trace; printed: () => Promise<string>; outlet: Outlet } {
  let text = "";
  const decoder = new TextDecoder();
  const outlet = new Outlet({
    write: (bytes) => {
      text += decoder.decode(bytes);
      return Promise.resolve(bytes.length);
    },
  });
  const printed = async () => {
    await outlet.flush(5000);
    const result = text;
    text = "";
    return result;
  };
  return { trace: new Trace(mode, outlet), printed, outlet };
}

/** One PDU as the appliance handles it; true when shown. */
function pdu(trace: Trace, nowMs: number, decision: number): boolean {
  const wanted = trace.wants(nowMs, PDU);
  if (wanted) {
    trace.received(VIEW, PDU);
    if (trace.takes(PDU, decision)) trace.decided(outcomeOf({ decision }));
  } else {
    trace.skipped(decision, nowMs);
  }
  return wanted;
}

function shown(trace: Trace, count: number, nowMs: number, decision: number): number {
  let total = 0;
  for (let i = 0; i < count; i++) if (pdu(trace, nowMs, decision)) total++;
  return total;
}

Deno.test("Trace shows a PDU, its decision and an empty line as one entry", async () => {
  const { trace, printed } = make("auto");
  assert.equal(trace.wants(0, PDU), true);
  trace.received(VIEW, PDU);
  assert.equal(await printed(), "");
  trace.decided(outcomeOf({ decision: DROP, reason: Reason["no-mapping"], backend: 1 }));
  assert.equal(await printed(), `${TEXT}Decision : Drop (no-mapping)\n\n`);
});

Deno.test("formatDecision adds the label, and the reason where the policy did not choose", () => {
  const cases: [number, number, string | null, string][] = [
    [DROP, Reason.policy, null, "Decision : Drop"],
    [DROP, Reason.policy, "naive http", 'Decision : Drop "naive http"'],
    [DROP, Reason.policy, "", 'Decision : Drop ""'],
    [DROP, Reason["no-mapping"], null, "Decision : Drop (no-mapping)"],
    [DROP, Reason["ttl-expired"], "web", 'Decision : Drop "web" (ttl-expired)'],
    [FORWARD, 0, null, "Decision : Forward"],
    [ECHO_REPLY, 0, null, "Decision : Echo_reply"],
    [REJECT, 0, "closed", 'Decision : Reject "closed"'],
  ];
  for (const [decision, reason, label, text] of cases) {
    assert.equal(formatDecision(outcomeOf({ decision, reason, label })), text);
  }
  assert.equal(
    formatDecision(outcomeOf({ node: null, isRelated: true })),
    'Decision : Forward "related"',
  );
});

Deno.test("formatDecision lets no label drive the terminal", () => {
  const label = "a\u001b[31m\n\u009b0m\u202e";
  const text = formatDecision(outcomeOf({ decision: DROP, reason: Reason.policy, label }));
  assert.doesNotMatch(text, /[^ -~]/);
});

Deno.test("Trace auto shows 50 PDUs and counts the rest in one line after a second", async () => {
  const { trace, printed } = make("auto");
  assert.equal(shown(trace, 50, 0, FORWARD), 50);
  assert.equal(shown(trace, 1000, 10, FORWARD), 0);
  assert.equal(shown(trace, 234, 999, DROP), 0);
  assert.equal((await printed()).match(/Decision/g)!.length, 50);
  trace.tick(1009);
  assert.equal(await printed(), "");
  trace.tick(1010);
  trace.tick(1020);
  assert.equal(
    await printed(),
    "… 1234 more PDUs in the last second: 1000 Forward, 234 Drop\n\n",
  );
  trace.tick(5000);
  assert.equal(await printed(), "");
});

Deno.test("Trace auto shows at most 50 PDUs in any second, wherever the second starts", () => {
  const { trace } = make("auto");
  const shownMs: number[] = [];
  for (let nowMs = 0; nowMs < 10_000; nowMs += 1 + (nowMs * 7) % 13) {
    for (let i = 0; i < nowMs % 4; i++) if (pdu(trace, nowMs, DROP)) shownMs.push(nowMs);
  }
  assert.ok(shownMs.length > 400, `${shownMs.length}`);
  for (let i = 50; i < shownMs.length; i++) assert.ok(shownMs[i]! - shownMs[i - 50]! >= 1000);
});

Deno.test("Trace auto never counts at 50 PDUs a second", async () => {
  const { trace, printed } = make("auto");
  for (let nowMs = 0; nowMs < 5000; nowMs += 20) {
    assert.equal(pdu(trace, nowMs, FORWARD), true);
    trace.tick(nowMs);
  }
  assert.doesNotMatch(await printed(), /more/);
});

const lines: { name: string; skip: number[]; tickMs: number; line: string }[] = [
  {
    name: "one PDU",
    skip: [DROP],
    tickMs: 1000,
    line: "… 1 more PDU in the last second: 1 Drop",
  },
  {
    name: "equal counts in the order of the decisions",
    skip: [FORWARD, DROP],
    tickMs: 1400,
    line: "… 2 more PDUs in the last second: 1 Drop, 1 Forward",
  },
  {
    name: "a tick that comes late",
    skip: [FORWARD],
    tickMs: 2900,
    line: "… 1 more PDU in the last 3 seconds: 1 Forward",
  },
];
for (const { name, skip, tickMs, line } of lines) {
  Deno.test(`Trace counting line: ${name}`, async () => {
    const { trace, printed } = make("auto");
    shown(trace, 50, 0, FORWARD);
    await printed();
    for (const decision of skip) pdu(trace, 0, decision);
    trace.tick(tickMs);
    assert.equal(await printed(), `${line}\n\n`);
  });
}

Deno.test("Trace all shows every PDU and dumps it whole", async () => {
  const { trace, printed } = make("all");
  assert.equal(shown(trace, 1000, 0, FORWARD), 1000);
  trace.tick(1000);
  assert.equal((await printed()).match(/Decision/g)!.length, 1000);
  assert.equal(trace.dumpLimitBytes, 65_535);
});

Deno.test("Trace auto dumps 256 bytes of a PDU", () => {
  assert.equal(make("auto").trace.dumpLimitBytes, 256);
});

Deno.test("Trace off shows nothing and counts nothing", async () => {
  const { trace, printed } = make("off");
  assert.equal(shown(trace, 1000, 0, FORWARD), 0);
  trace.tick(1000);
  trace.tick(3000);
  assert.equal(await printed(), "");
});

Deno.test("Trace all formats no PDU while the console has no room, and counts it", async () => {
  const { trace, printed, outlet } = make("all");
  assert.equal(outlet.offer("x".repeat(1 << 20)), false);
  assert.equal(pdu(trace, 0, FORWARD), false);
  trace.tick(1000);
  assert.equal(await printed(), "… 1 entry lost: the console was too slow\n");
  trace.tick(1100);
  assert.equal(await printed(), "… 1 more PDU in the last second: 1 Forward\n\n");
});

Deno.test("Trace wants nothing once the console's reader has gone", async () => {
  const outlet = new Outlet({ write: () => Promise.reject(new Error("Broken pipe")) });
  const trace = new Trace("all", outlet);
  assert.equal(pdu(trace, 0, FORWARD), true);
  await outlet.flush(5000);
  assert.equal(pdu(trace, 1, FORWARD), false);
  trace.tick(1001);
  assert.equal(outlet.lost, 1);
});
