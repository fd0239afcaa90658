/** The trace of drops and of a filter: it shows these, and the others don't come to it. */
import assert from "node:assert/strict";
import { traceOf } from "../../src/console/trace.ts";
import { finish } from "../../src/core/slices.ts";
import type { TraceMode } from "../../src/datapath/config.ts";
import type { Observer } from "../../src/datapath/observer.ts";
import { parse } from "../../src/policy/notation/parse.ts";
import type { Pdu } from "../../src/wire/pdu.ts";
import { buildIcmp, buildTcp, buildUdp, readTcp } from "../support/frames.ts";
import { from, packetsOf, World } from "../support/world.ts";

const BACKEND = "192.168.0.1";

const POLICY = `default drop
define $known = 192.168.0.254
ip.src in $dst-addrs -> translate-b-to-a, forward
tcp.dport = 23 -> drop "no telnet"
ip.ttl = 9 -> drop
otherwise -> translate-a-to-b, forward
`;

/** A world with a trace of that mode, which notes what it is asked about. */
function traced(mode: TraceMode) {
  const { policy } = parse(POLICY, { file: "test" });
  const world = World.settled({ policy: policy!, backends: [BACKEND] });
  let text = "";
  const sink = { full: false, offer: (more: string) => (text += more, true) };
  let looks = 0;
  const counting = (trace: Observer): Observer => {
    const wants = trace.wants.bind(trace);
    trace.wants = (nowMs: number, pdu: Pdu) => (looks++, wants(nowMs, pdu));
    return trace;
  };
  finish(world.appliance.prepare({
    observer: (asked) => counting(traceOf(mode, sink, asked, {})!),
  }))();
  const printed = () => {
    const all = text;
    text = "";
    return all;
  };
  return { world, sink, printed, looks: () => looks };
}

/** Opens a connection; what sends a plain segment of it with that TTL. */
function open(world: World, srcPort: number, dstPort: number): (ttl?: number) => void {
  const [syn] = packetsOf(world.send(buildTcp({ srcPort, dstPort, seq: 1000 })));
  const { srcPort: port } = readTcp(syn!);
  const back = { ...from(BACKEND), srcPort: dstPort, dstPort: port };
  world.send(buildTcp({ ...back, flags: "SA", seq: 5000, ack: 1001 }));
  return (ttl = 64) =>
    void world.send(buildTcp({ srcPort, dstPort, ttl, flags: "A", seq: 1001, ack: 5001 }));
}

/** Ports and decisions of the entries. */
function entriesOf(text: string): string[] {
  return text.split(/^(?=Received pdu$)/m).filter((entry) => entry !== "").map((entry) => {
    const [, srcPort] = /src port (\d+)/.exec(entry) ?? [];
    const [, decision] = /^Decision : (.*)$/m.exec(entry)!;
    return `${srcPort ?? "icmp"} ${decision}`;
  });
}

Deno.test("Trace of drops shows what was dropped, a plain segment too, and nothing else", () => {
  const { world, printed, looks } = traced("drops");
  const send = open(world, 40_000, 80);
  send();
  const before = looks();
  for (let i = 0; i < 5; i++) send();
  assert.equal(looks(), before, "forwarded plain segments are not looked at");
  send(9);
  send(1);
  world.send(buildTcp({ srcPort: 40_001, dstPort: 23 }), buildIcmp());
  world.advance(1100);
  assert.deepEqual(entriesOf(printed()), [
    "40000 Drop",
    "40000 Drop (ttl-expired)",
    '40001 Drop "no telnet"',
  ]);
});

Deno.test("Trace of drops shows 50 a second, and counts other drops", () => {
  const { world, printed } = traced("drops");
  const send = open(world, 40_000, 80);
  for (let i = 0; i < 60; i++) {
    world.send(buildTcp({ srcPort: 40_001, dstPort: 23 }));
    send();
  }
  world.advance(1100);
  const text = printed();
  assert.equal(entriesOf(text).length, 50);
  assert.match(text, /\n… 10 more PDUs in the last second: 10 Drop\n\n$/);
});

Deno.test("Trace of a filter shows what it is for; other plain segments don't come to it", () => {
  const { world, printed, looks } = traced({ filter: "tcp.dport = 443 and ip.src in $known" });
  const [other, meant] = [open(world, 40_000, 80), open(world, 40_001, 443)];
  other();
  const before = looks();
  for (let i = 0; i < 5; i++) other();
  assert.equal(looks(), before);
  meant();
  meant(9);
  world.send(buildTcp({ srcPort: 40_002, dstPort: 443, src: "192.168.0.77" }), buildUdp());
  world.advance(1100);
  assert.deepEqual(entriesOf(printed()), ["40001 Forward", "40001 Forward", "40001 Drop"]);
});

Deno.test("Trace of a filter asks for what is known after the headers, too", () => {
  for (
    const [filter, shown] of [
      ["new", ["40000 Forward", "40001 Forward"]],
      ["tcp and established and tcp.sport = 40001", ["40001 Forward"]],
      ["from side b", ["80 Forward", "80 Forward"]],
      ["not established and not from side a", []],
    ] as const
  ) {
    const { world, printed } = traced({ filter });
    open(world, 40_000, 80);
    open(world, 40_001, 80)();
    assert.deepEqual(entriesOf(printed()), shown, filter);
  }
});

Deno.test("Trace of a filter shows 50 a second, and counts only what it is for", () => {
  const { world, printed } = traced({ filter: "tcp.dport = 443" });
  const [other, meant] = [open(world, 40_000, 80), open(world, 40_001, 443)];
  for (let i = 0; i < 60; i++) {
    meant();
    other();
  }
  world.advance(1100);
  const text = printed();
  assert.equal(entriesOf(text).length, 50);
  assert.match(text, /\n… 11 more PDUs in the last second: 11 Forward\n\n$/);
});

Deno.test("Trace of a filter, its console full, formats nothing and counts", () => {
  const { world, sink, printed } = traced({ filter: "tcp" });
  sink.full = true;
  open(world, 40_000, 80)();
  sink.full = false;
  world.advance(1100);
  assert.equal(printed(), "… 3 more PDUs in the last second: 3 Forward\n\n");
});

Deno.test("A wrong filter is an error that says where, and the trace that runs goes on", () => {
  const { world, sink, printed } = traced({ filter: "tcp" });
  for (
    const [filter, wrong] of [
      ["tcp.dport = x", /^--trace: predicate:1:13: /],
      ["ip.src in $unknown", /^--trace: predicate:1:11: .*\$unknown/],
      ["tcp and", /^--trace: predicate:1:8: /],
    ] as const
  ) {
    const observer = (asked: Parameters<typeof traceOf>[2]) => traceOf({ filter }, sink, asked, {});
    assert.throws(() => finish(world.appliance.prepare({ observer })), { message: wrong });
  }
  open(world, 40_000, 80);
  assert.equal(entriesOf(printed()).length, 2);
});

Deno.test("A filter's words are those of the policy that a reload brings", () => {
  const { world, sink, printed } = traced({ filter: "ip.src in $known" });
  const text = POLICY.replace("$known = 192.168.0.254", "$known = 192.168.0.1");
  const { policy } = parse(text, { file: "test" });
  finish(world.appliance.prepare({
    policy: policy!,
    observer: (asked) => traceOf({ filter: "ip.src in $known" }, sink, asked, {}),
  }))();
  open(world, 40_000, 80);
  assert.deepEqual(entriesOf(printed()), ["80 Forward"]);
});
