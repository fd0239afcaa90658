import assert from "node:assert/strict";
import { below, SeededRandom } from "../../../src/core/random.ts";
import {
  FileTime,
  MAX_COMMENT_BYTES,
  mostBlockBytes,
  PacketBlocks,
} from "../../../src/device/capture/packet_blocks.ts";
import { INBOUND, OUTBOUND } from "../../../src/device/capture/pcapng_blocks.ts";
import { packetBlock } from "../../support/pcapng_blocks.ts";

const START_NS = 1_700_000_000_000_000_000n;

Deno.test("PacketBlocks writes what the simple writer does, into memory that is not clean", () => {
  const random = new SeededRandom(5);
  const time = new FileTime(START_NS);
  const blocks = new PacketBlocks();
  for (let round = 0; round < 300; round++) {
    const frame = Uint8Array.from({ length: 14 + below(random, 80) }, () => below(random, 256));
    const capturedBytes = Math.min(frame.length, below(random, 120));
    const comment = "é".repeat(below(random, 9));
    const id = below(random, 2) * (2 ** 32 + round);
    const direction = below(random, 2) === 0 ? INBOUND : OUTBOUND;
    const nowMs = below(random, 1 << 30) / 16;
    time.set(nowMs);
    const memory = new Uint8Array(2000).fill(0xaa);
    blocks.memory = memory.subarray(4);
    const at = blocks.begin(0, 1, time, frame, capturedBytes);
    const end = blocks.end(0, at, direction, id, new TextEncoder().encode(comment));
    const wanted = packetBlock({
      interface: 1,
      timeNs: START_NS + BigInt(Math.floor(nowMs * 1e6)),
      frame: frame.subarray(0, capturedBytes),
      lengthBytes: frame.length,
      direction,
      id: id === 0 ? null : BigInt(id),
      comment: comment === "" ? null : comment,
    });
    assert.deepEqual(memory.subarray(4, 4 + end), wanted);
    assert.deepEqual([memory[3], memory[4 + end]], [0xaa, 0xaa]);
    assert.ok(end <= mostBlockBytes(capturedBytes));
  }
});

Deno.test("PacketBlocks cuts a comment that is too long to what there is room for", () => {
  const blocks = new PacketBlocks();
  const memory = new Uint8Array(4000);
  blocks.memory = memory;
  const at = blocks.begin(0, 0, new FileTime(START_NS), new Uint8Array(60), 60);
  const end = blocks.end(0, at, INBOUND, 1, new Uint8Array(2 * MAX_COMMENT_BYTES).fill(65));
  assert.equal(end, mostBlockBytes(60));
  assert.equal(memory.filter((byte) => byte === 65).length, MAX_COMMENT_BYTES);
});

Deno.test("FileTime carries from one word to the other", () => {
  const time = new FileTime((7n << 32n) - 1n);
  time.set(0);
  assert.equal(time.ns, (7n << 32n) - 1n);
  time.set(0.000001);
  assert.deepEqual([time.high, time.low], [7, 0]);
  time.set(86_400_000 * 365);
  assert.equal(time.ns, (7n << 32n) - 1n + 86_400_000_000_000n * 365n);
});
