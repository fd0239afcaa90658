import assert from "node:assert/strict";
import { Arena } from "../../src/core/arena.ts";
import { SeededRandom } from "../../src/core/random.ts";
import { MemoryDevice } from "../../src/device/memory.ts";
import { Lookahead } from "../../src/flow/lookahead.ts";
import { FlowTable } from "../../src/flow/table.ts";
import { parseAddress } from "../../src/wire/address.ts";
import { AddressDigest } from "../../src/wire/address_digest.ts";
import { parseAddress6 } from "../../src/wire/address6.ts";
import { OVER_IPV6 } from "../../src/wire/pdu.ts";
import { buildIcmp, buildTcp, buildUdp } from "../support/frames.ts";
import { buildTcp6 } from "../support/frames6.ts";

const CLIENT = "10.0.0.1";
const PROXY = "10.0.0.100";
const TCP = 6;
const UDP = 17;

function world(): { table: FlowTable; see: (...frames: Uint8Array[]) => number[] } {
  const table = new FlowTable(100, new SeededRandom(3));
  const lookahead = new Lookahead();
  const see = (...frames: Uint8Array[]): number[] => {
    const device = new MemoryDevice();
    const arena = new Arena();
    device.inbox.push(...frames);
    device.read(arena, 0);
    lookahead.read(arena, table);
    return [...lookahead.candidates.subarray(0, frames.length)];
  };
  return { table, see };
}

const ends = { src: CLIENT, dst: PROXY, srcPort: 1234, dstPort: 80 };

Deno.test("Lookahead sees the connections of a burst's TCP and UDP frames from both sides", () => {
  const { table, see } = world();
  const [client, proxy] = [parseAddress(CLIENT), parseAddress(PROXY)];
  const ports = (1234 << 16) | 80;
  const udp = table.insertOneSided(UDP, client, proxy, ports);
  const tcp = table.insert(TCP, client, proxy, ports, 77, proxy, (80 << 16) | 4000);
  const reply = buildTcp({ src: "0.0.0.77", dst: PROXY, srcPort: 80, dstPort: 4000 });
  const frames = [buildTcp(ends), buildUdp(ends), buildTcp({ ...ends, srcPort: 1235 }), reply];
  assert.deepEqual(see(...frames), [2 * tcp, 2 * udp, -1, 2 * tcp + 1]);
});

Deno.test("Lookahead sees nothing in frames that are too short, and takes any bytes", () => {
  const { table, see } = world();
  table.insertOneSided(TCP, parseAddress(CLIENT), parseAddress(PROXY), (1234 << 16) | 80);
  const whole = buildTcp(ends);
  for (let bytes = 0; bytes < 38; bytes++) {
    // A frame in front leaves its bytes in the arena, where a short one could read them.
    assert.deepEqual(see(whole, whole.subarray(0, bytes)), [0, -1], `${bytes} bytes`);
  }
  const noise = Uint8Array.from({ length: 60 }, (_, i) => i * 37);
  assert.deepEqual(see(noise, buildIcmp({}), whole), [-1, -1, 0]);
});

Deno.test("Lookahead sees connections over IPv6, and keeps the digests", () => {
  const digest = new AddressDigest(new SeededRandom(4));
  const [client, proxy] = ["2001:db8::fe", "2001:db8::64"].map(parseAddress6);
  const whole = { digest, own: proxy!, members: new Int32Array(4) };
  const table = new FlowTable(100, new SeededRandom(3), null, whole);
  const lookahead = new Lookahead(digest);
  const [src, dst] = [client, proxy].map((address) => digest.ofWords(address!, 0));
  const entry = table.insertOneSided(TCP | OVER_IPV6, src!, dst!, (1234 << 16) | 80);
  const over4 = table.insertOneSided(
    TCP,
    parseAddress(CLIENT),
    parseAddress(PROXY),
    1234 << 16 | 80,
  );
  const segment = buildTcp6({
    src: "2001:db8::fe",
    dst: "2001:db8::64",
    srcPort: 1234,
    dstPort: 80,
  });
  const frames = [segment, buildTcp(ends), segment.subarray(0, 53), segment.subarray(0, 54)];
  const device = new MemoryDevice();
  const arena = new Arena();
  device.inbox.push(...frames);
  device.read(arena, 0);
  lookahead.digests.fill(77);
  lookahead.read(arena, table);
  // What is shorter than an IPv6 header has no digests; a packet that ends with it has them.
  assert.deepEqual([...lookahead.candidates.subarray(0, 2)], [2 * entry, 2 * over4]);
  assert.deepEqual([...lookahead.digests.subarray(0, 8)], [src, dst, 77, 77, 77, 77, src, dst]);
  assert.equal(new Lookahead().digests.length, 0);
});
