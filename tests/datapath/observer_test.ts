/**
 * What the appliance hands to its observer: one record for each PDU, with everything that became of
 * it.
 */
import assert from "node:assert/strict";
import { reasonName } from "../../src/core/reason.ts";
import type { Some } from "../../src/datapath/interest.ts";
import type { Observer } from "../../src/datapath/observer.ts";
import { DECISION_NAMES, type Policy } from "../../src/policy/language/ast.ts";
import { parse } from "../../src/policy/notation/parse.ts";
import { formatAddress } from "../../src/wire/address.ts";
import { formatHostAddress } from "../../src/wire/host_address.ts";
import { describeFrame } from "../../src/offline/packet_text.ts";
import { buildIcmp, buildTcp, buildUdp, readTcp } from "../support/frames.ts";
import { cut } from "../support/fragments.ts";
import { from, fromB, packetsOf, World, type WorldOptions } from "../support/world.ts";

interface Seen {
  readonly decision: string;
  readonly reason: string;
  readonly node: number | null;
  readonly label: string | null;
  readonly isRelated: boolean;
  readonly backend: string | null;
  readonly sent: readonly string[];
}

/** Notes each record in words; `wants` may be set to false. */
class Notes implements Observer {
  isWanted = true;
  readonly seen: Seen[] = [];
  /** Source addresses as they came in. */
  readonly sources: string[] = [];
  readonly sides: string[] = [];
  readonly skips: string[] = [];
  readonly refusals: string[] = [];
  ticks = 0;

  readonly seesDrops = false;

  plain(): Some {
    return this.isWanted ? "all" : "none";
  }

  kept(): Some {
    return "all";
  }

  wants(): boolean {
    return this.isWanted;
  }

  received(view: DataView, { ip }: Parameters<Observer["received"]>[1]): void {
    this.sources.push(formatAddress(view.getInt32(ip + 12)));
  }

  takes(): boolean {
    return true;
  }

  decided(
    { decision, reason, backend, sent, pdu, ...rest }: Parameters<Observer["decided"]>[0],
  ) {
    this.sides.push("ab"[pdu.side]!);
    this.seen.push({
      ...rest,
      decision: DECISION_NAMES[decision]!,
      reason: reasonName(reason),
      backend: backend === null ? null : formatHostAddress(backend),
      sent: sent.map(({ view, frame, frameBytes, link }) =>
        `${link}: ${describeFrame(new Uint8Array(view.buffer.slice(frame, frame + frameBytes)))}`
      ),
    });
  }

  skipped(decision: number): void {
    this.skips.push(DECISION_NAMES[decision]!);
  }

  refused(_: unknown, reason: number): void {
    this.refusals.push(reasonName(reason));
  }

  tick(): void {
    this.ticks++;
  }
}

function policyOf(text: string): Policy {
  const parsed = parse(text, { file: "test" });
  assert.ok(parsed.policy !== null, JSON.stringify(parsed.errors));
  return parsed.policy;
}

const POLICY = policyOf(`default drop
ip.src in $dst-addrs -> translate-b-to-a, forward
tcp.dport = 23 -> drop "no telnet"
tcp.dport = 113 -> reject "no ident"
echo-request -> echo
otherwise -> translate-a-to-b, forward
`);

const BACKEND = "192.168.0.1";

function watched(options: WorldOptions = {}): { world: World; notes: Notes } {
  const notes = new Notes();
  const world = World.settled({ policy: POLICY, backends: [BACKEND], observer: notes, ...options });
  return { world, notes };
}

const NOTHING = { node: null, label: null, isRelated: false, backend: null, sent: [] };

Deno.test("Observer: a forwarded PDU has its node, its backend and the frame that left", () => {
  const { world, notes } = watched();
  const [syn] = packetsOf(world.send(buildTcp({ srcPort: 40_000, dstPort: 80 })));
  const { srcPort, seq } = readTcp(syn!);
  world.send(
    buildTcp({ ...from(BACKEND), srcPort: 80, dstPort: srcPort, flags: "SA", ack: seq + 1 }),
  );
  assert.deepEqual(notes.sources, ["192.168.0.254", BACKEND]);
  const [there, back] = notes.seen;
  assert.deepEqual({ ...there, node: null }, {
    ...NOTHING,
    decision: "Forward",
    reason: "none",
    backend: BACKEND,
    sent: [`0: tcp 192.168.0.100:${srcPort} > 192.168.0.1:80 syn ttl 63`],
  });
  assert.deepEqual([back!.backend, back!.decision], [BACKEND, "Forward"]);
  assert.ok(there!.node! > back!.node!, "the later arm's nodes come later");
});

Deno.test("Observer: a drop has its reason, and the policy's own its label", () => {
  const { world, notes } = watched();
  world.send(buildTcp({ dstPort: 23 }));
  world.send(buildTcp({ ...from(BACKEND), dstPort: 9 }));
  const [telnet, stray] = notes.seen;
  assert.deepEqual({ ...telnet, node: null }, {
    ...NOTHING,
    decision: "Drop",
    reason: "policy",
    label: "no telnet",
  });
  assert.deepEqual({ ...stray, node: null }, {
    ...NOTHING,
    decision: "Drop",
    reason: "no-mapping",
  });
  assert.ok(stray!.node !== null, "the node whose step refused it");
});

Deno.test("Observer: a drop after the decision has the error that was sent, and no backend", () => {
  const { world, notes } = watched();
  world.send(buildTcp({ dstPort: 80, ttl: 1 }));
  const { decision, reason, backend, sent } = notes.seen[0]!;
  assert.deepEqual([decision, reason, backend, sent.length], ["Drop", "ttl-expired", null, 1]);
  assert.match(sent[0]!, /^0: icmp .* time-exceeded /);
});

Deno.test("Observer: a reject has its RST, an echo request its reply", () => {
  const { world, notes } = watched();
  world.send(buildTcp({ srcPort: 40_000, dstPort: 113 }), buildIcmp());
  const [reject, echo] = notes.seen;
  assert.deepEqual([reject!.decision, reject!.reason, reject!.label], [
    "Reject",
    "none",
    "no ident",
  ]);
  assert.deepEqual(reject!.sent, [
    "0: tcp 192.168.0.100:113 > 192.168.0.254:40000 rst ack ttl 64",
  ]);
  assert.deepEqual([echo!.decision, echo!.backend], ["Echo_reply", null]);
  assert.match(echo!.sent.join(), /^0: icmp 192\.168\.0\.100 > 192\.168\.0\.254 echo-reply /);
});

Deno.test("Observer: a datagram in fragments is one record, with each fragment that left", () => {
  const { world, notes } = watched();
  const datagram = buildUdp({ dstPort: 53, payload: new Uint8Array(2000) });
  world.send(...cut(datagram, 1000));
  assert.equal(notes.seen.length, 1);
  assert.equal(notes.seen[0]!.decision, "Forward");
  assert.ok(notes.seen[0]!.sent.length > 1);
});

Deno.test("Observer: an error about a connection has no node; it is related and has the backend", () => {
  const { world, notes } = watched();
  const [syn] = packetsOf(world.send(buildTcp({ srcPort: 40_000, dstPort: 80 })));
  world.send(
    buildIcmp({ ...from(BACKEND), type: 3, code: 3, rest: [0, 0], payload: syn!.slice(14) }),
  );
  const { decision, node, isRelated, label, backend, sent } = notes.seen[1]!;
  assert.deepEqual([decision, node, isRelated, label, backend], [
    "Forward",
    null,
    true,
    null,
    BACKEND,
  ]);
  assert.equal(sent.length, 1);
});

Deno.test("Observer: a frame that never becomes a PDU is refused, with the reason alone", () => {
  const { world, notes } = watched();
  world.send(buildIcmp({ dst: "224.0.0.1" }));
  assert.deepEqual(notes.refusals, ["multicast-destination"]);
  assert.deepEqual([notes.seen, notes.sources, notes.skips], [[], [], []]);
});

Deno.test("Observer: what it does not want is told by its decision; each link's frames by number", () => {
  const { world, notes } = watched({ twoSided: true, backends: ["10.0.0.1"] });
  notes.isWanted = false;
  world.send(buildTcp({ dstPort: 23 }), buildTcp({ srcPort: 40_000, dstPort: 80 }));
  assert.deepEqual([notes.skips, notes.seen], [["Drop", "Forward"], []]);
  notes.isWanted = true;
  world.send(buildTcp({ srcPort: 40_001, dstPort: 80 }));
  assert.match(
    notes.seen[0]!.sent.join(),
    /^1: tcp 10\.0\.0\.100:\d+ > 10\.0\.0\.1:80 syn ttl 63$/,
  );
  assert.ok(notes.ticks > 10);
});

Deno.test("Observer: a PDU's side is its interface's, or on a shared one its connection's or source's", () => {
  for (const backend of [BACKEND, "10.0.0.1"]) {
    const { world, notes } = watched({ twoSided: backend !== BACKEND, backends: [backend] });
    const syn = packetsOf(world.send(buildTcp({ srcPort: 40_000, dstPort: 80 }))).map(readTcp)[0]!;
    const back = backend === BACKEND ? from(backend) : fromB(backend);
    world.send(buildTcp({ ...back, srcPort: 80, dstPort: syn.srcPort, flags: "SA" }));
    world.send(buildTcp({ ...back, srcPort: 9, dstPort: 9 }));
    assert.deepEqual(notes.sides, ["a", "b", "b"], backend);
  }
});
