/**
 * `stray`: what belongs to no connection at all may be reset, and living connections stay, however
 * wrong a segment of theirs is.
 */
import assert from "node:assert/strict";
import { parse } from "../../src/policy/notation/parse.ts";
import { buildIcmp, buildTcp, bytesOf, readIcmp, readTcp, type Tcp } from "../support/frames.ts";
import { CLIENT, from, PROXY, World } from "../support/world.ts";

const REJECTING = `default drop
stray -> reject
not ip.src in $dst-addrs
  tcp -> translate-a-to-b, forward
otherwise -> translate-b-to-a, forward
`;

function worldOf(text: string): World {
  const { policy, errors } = parse(text, { file: "test" });
  assert.deepEqual(errors, []);
  return World.settled({ policy: policy!, backends: ["192.168.0.1"] });
}

/** Opens 40000 → 2000 and returns the fields of both sides' next segments. */
function opened(world: World): { readonly there: Partial<Tcp>; readonly back: Partial<Tcp> } {
  const there = { srcPort: 40_000, dstPort: 2000, ack: 9001, window: 1000 };
  const [syn] = world.send(buildTcp({ ...there, flags: "S", seq: 1000, ack: 0 }));
  const back = {
    ...from("192.168.0.1"),
    srcPort: 2000,
    dstPort: readTcp(syn!).srcPort,
    window: 1000,
  };
  world.send(buildTcp({ ...back, flags: "SA", seq: 9000, ack: 1001 }));
  world.send(buildTcp({ ...there, flags: "A", seq: 1001 }));
  return { there, back };
}

Deno.test("stray -> reject: a living connection's segment outside the window is dropped, not reset", () => {
  const world = worldOf(REJECTING);
  const { there, back } = opened(world);
  const payload = bytesOf("x");
  const wrong = { flags: "PA", payload };
  assert.deepEqual(world.send(buildTcp({ ...there, ...wrong, seq: 500_000 })), []);
  assert.deepEqual(world.send(buildTcp({ ...back, ...wrong, seq: 700_000, ack: 1001 })), []);
  assert.deepEqual(world.drops(), { "out-of-window": 2 });
  const next = world.send(buildTcp({ ...there, ...wrong, seq: 1001 }));
  assert.deepEqual(next.map((frame) => readTcp(frame).dst), ["192.168.0.1"]);
});

Deno.test("invalid -> reject: means what it meant, the living connection's sender is reset", () => {
  const world = worldOf(REJECTING.replace("stray", "invalid"));
  const { there } = opened(world);
  const sent = world.send(buildTcp({ ...there, flags: "PA", seq: 500_000, payload: bytesOf("x") }));
  assert.deepEqual(sent.map((frame) => readTcp(frame).flags), ["R"]);
});

Deno.test("stray -> reject: a segment of no connection is reset, and a first SYN opens one", () => {
  const world = worldOf(REJECTING);
  opened(world);
  const other = { srcPort: 40_001, dstPort: 2000, ack: 9001, seq: 1001 };
  for (const flags of ["A", "PA", "FA", "SA"]) {
    const [reset, ...more] = world.send(buildTcp({ ...other, flags }));
    assert.deepEqual(more, [], flags);
    const { src, dst, srcPort, dstPort, flags: found, seq } = readTcp(reset!);
    assert.deepEqual({ src, dst, srcPort, dstPort, found, seq }, {
      ...{ src: PROXY, dst: CLIENT, srcPort: 2000, dstPort: 40_001, found: "R", seq: 9001 },
    }, flags);
  }
  assert.deepEqual(world.send(buildTcp({ ...other, flags: "R" })), [], "an RST is never answered");
  const [syn] = world.send(buildTcp({ ...other, flags: "S", ack: 0 }));
  assert.equal(readTcp(syn!).dst, "192.168.0.1");
});

Deno.test("stray: of ICMP, replies to no query and errors about no connection; never UDP", () => {
  const world = worldOf(`default drop
udp and stray -> echo "never"
stray and not icmp -> drop "tcp"
stray -> reject
icmp -> track, echo
`);
  const [answer] = world.send(buildIcmp({ type: 0, code: 0 }));
  assert.deepEqual([readIcmp(answer!).type, readIcmp(answer!).code], [3, 13]);
  assert.deepEqual(world.send(buildIcmp({ type: 5, code: 1 })), [], "errors get no answer");
  const [reply] = world.send(buildIcmp({ type: 8, code: 0 }));
  assert.equal(readIcmp(reply!).type, 0);
  assert.equal(world.appliance.metrics.decisions.join(), "0,0,1,2");
});
