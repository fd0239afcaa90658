/** What an operator sees: the console text of a short run, and the summary at its end. */
import assert from "node:assert/strict";
import { echo, forward, policy } from "../../src/policy/language/build.ts";
import { buildIcmp, buildTcp, buildUdp, bytesOf, readTcp } from "../support/frames.ts";
import { from, packetsOf, World } from "../support/world.ts";
import SHORT_RUN from "../golden/short_run.txt" with { type: "text" };

const BACKEND = "192.168.0.1";

/** Two pings, a connection with data, port 80, UDP, and a backend that nobody has asked. */
function shortRun(world: World): void {
  const payload = Uint8Array.from({ length: 56 }, (_, i) => i);
  world.send(buildIcmp({ rest: [0x4a49, 1], payload }));
  world.send(buildIcmp({ rest: [0x4a49, 2], payload }));
  const [syn] = packetsOf(world.send(buildTcp({ srcPort: 40_000, seq: 0xfffffffe })));
  const back = { ...from(BACKEND), srcPort: 2000, dstPort: readTcp(syn!).srcPort };
  world.send(buildTcp({ ...back, flags: "SA", seq: 7, ack: 0xffffffff }));
  world.send(
    buildTcp({ flags: "PA", seq: 0xffffffff, ack: 8, payload: bytesOf("clear: \x1b[2J, é\r\n") }),
  );
  world.send(buildTcp({ dstPort: 80 }));
  world.send(buildUdp({ payload: bytesOf("x".repeat(300)) }));
  world.send(buildTcp({ ...from(BACKEND), dstPort: 9 }));
  world.send(buildTcp({ ttl: 1 }));
}

Deno.test("Appliance shows each PDU and its decision", async () => {
  const world = World.settled({ backends: [BACKEND], trace: "auto" });
  shortRun(world);
  assert.equal(await world.printed(), SHORT_RUN);
});

Deno.test("Appliance shows at most 50 PDUs a second, and counts the others", async () => {
  const world = World.settled({ trace: "auto" });
  for (let i = 0; i < 120; i++) world.send(buildIcmp());
  world.advance(1100);
  const text = await world.printed();
  assert.equal(text.match(/Received pdu/g)?.length, 50);
  assert.match(text, /\n… 70 more PDUs in the last second: 35 Drop, 35 Echo_reply\n\n$/);
});

Deno.test("Appliance does the same with its console on, off, or showing all", () => {
  const frames = (["off", "auto", "all"] as const).map((trace) => {
    const world = World.settled({ backends: [BACKEND], trace });
    shortRun(world);
    return world.summary();
  });
  assert.equal(frames[1], frames[0]);
  assert.equal(frames[2], frames[0]);
});

Deno.test("The summary tells PDUs, decisions, drops by reason, connections per backend", () => {
  const world = World.settled({ backends: [BACKEND, "192.168.0.2"], maxConn: 77 });
  world.send(buildIcmp(), buildIcmp(), buildTcp({ dstPort: 80 }), buildIcmp({ dst: "224.0.0.1" }));
  world.send(buildTcp(from(BACKEND)));
  assert.equal(
    world.summary(),
    `Summary
Frames      : 8 in, 8 out, 3 ARP in, 7 ARP out
PDUs in     : 4, 248 bytes
PDUs out    : 1, 84 bytes
Decisions   : Drop 3, Echo_reply 1
Drops       : policy 2, multicast-destination 1, no-mapping 1
Connections : 1 of at most 77, 0 evicted
Backend     : 192.168.0.1 up, connections: 0 opened, 0 tracked
Backend     : 192.168.0.2 up, connections: 0 opened, 0 tracked
        PDUs  Tree
           3  not ip.src in $dst-addrs
           2    icmp
           2      echo-request -> in turn
           1        | drop
           1        | track, echo
           1    tcp
           1      tcp.dport = 80 -> drop
           0      otherwise -> translate-a-to-b, forward
           1  otherwise -> translate-b-to-a (1 refused), forward
`,
  );
});

Deno.test("Appliance drops what a policy can't mean, and says why", async () => {
  const cases = [
    { policy: policy("drop", forward), frame: buildTcp(), reason: "not-translated" },
    { policy: policy("forward", forward), frame: buildIcmp(), reason: "not-translated" },
    { policy: policy("drop", echo), frame: buildTcp(), reason: "not-echo-request" },
    { policy: policy("drop", echo), frame: buildIcmp({ type: 0 }), reason: "not-echo-request" },
  ];
  for (const { policy, frame, reason } of cases) {
    const world = World.settled({ policy, trace: "auto" });
    assert.deepEqual(world.send(frame), [], reason);
    assert.deepEqual(world.drops(), { [reason]: 1 });
    assert.ok((await world.printed()).endsWith(`\nDecision : Drop (${reason})\n\n`), reason);
  }
});
