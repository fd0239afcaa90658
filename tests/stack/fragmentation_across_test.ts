import assert from "node:assert/strict";
import { SeededRandom } from "../../src/core/random.ts";
import type { Pdu } from "../../src/wire/pdu.ts";
import { Fragmenter, leavesWhole } from "../../src/stack/fragmentation.ts";
import { ARENA, crossedPdu, ID, placed, TTL, type Tuple } from "../flow/across_place.ts";
import { join } from "../support/fragments.ts";
import { join6 } from "../support/fragments6.ts";
import { buildTcp, buildUdp } from "../support/frames.ts";
import { buildTcp6, buildUdp6 } from "../support/frames6.ts";
import { judge, tsharkTest } from "../support/tshark.ts";

const TO4: Tuple = { src: "192.168.0.100", dst: "192.168.0.1", srcPort: 5000, dstPort: 2001 };
const TO6: Tuple = { src: "2001:db8:b::64", dst: "2001:db8:b::1", srcPort: 5000, dstPort: 2001 };
const DATA = Uint8Array.from({ length: 65_000 }, (_, i) => i * 7);

/** The frames in which a packet leaves by a link with that MTU, after it has crossed. */
function left(frame: Uint8Array, fragmentBytes: number, mtuBytes: number): Uint8Array[] {
  const { pdu } = placed(frame);
  pdu.fragmentBytes = fragmentBytes;
  const { out } = crossedPdu(pdu, frame[12] === 8 ? TO6 : TO4);
  return sent(out, mtuBytes);
}

function sent(out: Pdu, mtuBytes: number): Uint8Array[] {
  const frames: Uint8Array[] = [];
  if (leavesWhole(ARENA, out, mtuBytes)) return [ARENA.bytes.slice(out.frame, out.end)];
  const fragmenter = new Fragmenter(new SeededRandom(1));
  const reason = fragmenter.split(ARENA, out, mtuBytes, (frame, bytes) => {
    frames.push(ARENA.bytes.slice(frame, frame + bytes));
    return 0;
  });
  ARENA.sent();
  assert.equal(reason, 0);
  return frames;
}

/** Lengths of their IP packets. */
function lengths(frames: readonly Uint8Array[]): number[] {
  return frames.map((frame) => frame.length - 14);
}

Deno.test("fragments across: an IPv4 packet without DF leaves in 1,280 bytes each, whatever the MTU (RFC 7915 4.1)", () => {
  for (const mtu of [1280, 1500, 9000]) {
    for (const fragmentBytes of [0, 576, 1500]) {
      const payload = DATA.subarray(0, 3000);
      const frames = left(buildUdp({ payload, fragment: 0 }), fragmentBytes, mtu);
      assert.deepEqual(lengths(frames), [1280, 1280, 592]);
      const expected = buildUdp6({ ...TO6, hopLimit: TTL, payload });
      assert.deepEqual(join6(frames), expected);
    }
  }
});

Deno.test("fragments across: a packet that fits leaves whole, without a fragment header (RFC 7915 4)", () => {
  for (const [fragment, most] of [[0, 1260], [0x4000, 1480]] as const) {
    const payload = DATA.subarray(0, most - 40);
    const frames = left(buildTcp({ payload, fragment, ack: 2000 }), 0, 1500);
    assert.deepEqual(frames, [buildTcp6({ ...TO6, flags: "S", hopLimit: TTL, payload })]);
  }
});

Deno.test("fragments across: IPv6's leave as IPv4's of their length, less what headers take (RFC 7915 5.1.1)", () => {
  const payload = DATA.subarray(0, 3000);
  const frame = buildUdp6({ payload });
  const cases: [fragmentBytes: number, mtu: number, most: number][] = [
    [1500, 1500, 1472],
    [1280, 1500, 1252],
    [1500, 1280, 1280],
    [1280, 576, 576],
  ];
  for (const [fragmentBytes, mtu, most] of cases) {
    const frames = left(frame, fragmentBytes, mtu);
    const [first] = lengths(frames);
    assert.ok(first! <= most && first! > most - 8, `${first} of ${most}`);
    const whole = join(frames);
    const id = whole[18]! * 256 + whole[19]!;
    assert.notEqual(id, ID);
    assert.deepEqual(whole, buildUdp({ ...TO4, ttl: TTL, id, fragment: 0, payload }));
  }
});

Deno.test("fragments across: what IPv6 sends whole is cut where the IPv4 link takes less than 1,260 bytes", () => {
  const payload = DATA.subarray(0, 1232);
  const frames = left(buildUdp6({ payload }), 0, 576);
  assert.ok(lengths(frames).every((length) => length <= 576));
  const whole = join(frames);
  const id = whole[18]! * 256 + whole[19]!;
  assert.deepEqual(whole, buildUdp({ ...TO4, ttl: TTL, id, fragment: 0, payload }));
});

Deno.test("fragments across: the longest datagrams, whole and back", () => {
  const payload = DATA.subarray(0, 65_000);
  const to6 = left(buildUdp({ payload, fragment: 0 }), 1500, 1500);
  assert.deepEqual(join6(to6), buildUdp6({ ...TO6, hopLimit: TTL, payload }));
  const to4 = join(left(buildUdp6({ payload }), 1500, 1500));
  const id = to4[18]! * 256 + to4[19]!;
  assert.deepEqual(to4, buildUdp({ ...TO4, ttl: TTL, id, fragment: 0, payload }));
});

tsharkTest("tshark finds nothing wrong in fragments of packets that crossed", async () => {
  const payload = DATA.subarray(0, 3000);
  const frames = [
    ...left(buildUdp({ payload, fragment: 0 }), 1500, 1500),
    ...left(buildUdp6({ payload }), 1500, 1500),
  ];
  assert.deepEqual(await judge(frames), []);
});
