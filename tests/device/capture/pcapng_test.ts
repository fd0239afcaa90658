import assert from "node:assert/strict";
import { below, SeededRandom } from "../../../src/core/random.ts";
import type { PcapRecord } from "../../../src/device/capture/pcap.ts";
import {
  INBOUND,
  interfaceBlock,
  OUTBOUND,
  sectionBlock,
  statisticsBlock,
} from "../../../src/device/capture/pcapng_blocks.ts";
import { packetBlock } from "../../support/pcapng_blocks.ts";
import { isPcapng, readPcapng } from "../../../src/device/capture/pcapng.ts";
import { readCaptures } from "../../../src/device/capture/records.ts";
import { writePcap } from "../../support/pcap.ts";
import { joined } from "../../support/pcapng.ts";
import { buildTcp } from "../../support/frames.ts";
import { tsharkTest } from "../../support/tshark.ts";

const TIME_NS = 1_700_000_000_123_456_789n;
const FRAME = buildTcp({ srcPort: 40_000, dstPort: 80 });

/** Both sides, a packet in and out, and what was counted. */
function wholeFile(): Uint8Array<ArrayBuffer> {
  const packet = { frame: FRAME, lengthBytes: FRAME.length, id: 7n };
  return joined(
    sectionBlock("treegate", "drops only"),
    interfaceBlock({ name: "tap100", description: "side a", snapBytes: 0 }),
    interfaceBlock({ name: "tap101", description: "side b", snapBytes: 96 }),
    packetBlock({
      ...packet,
      interface: 0,
      timeNs: TIME_NS,
      direction: INBOUND,
      comment: 'Drop "naive http"',
    }),
    packetBlock({
      ...packet,
      interface: 1,
      timeNs: TIME_NS + 1000n,
      frame: FRAME.subarray(0, 41),
      direction: OUTBOUND,
      id: null,
      comment: null,
    }),
    ...[0, 1].map((number) =>
      statisticsBlock({
        interface: number,
        startNs: TIME_NS,
        endNs: TIME_NS + 5n,
        received: 3,
        dropped: number,
      })
    ),
  );
}

Deno.test("packetBlock writes what draft-ietf-opsawg-pcapng says, byte by byte", () => {
  const bytes = packetBlock({
    interface: 1,
    timeNs: 0x0102_0304_0506_0708n,
    frame: Uint8Array.of(1, 2, 3, 4, 5),
    lengthBytes: 1500,
    direction: OUTBOUND,
    id: 9n,
    comment: "Drop",
  });
  // deno-fmt-ignore
  assert.deepEqual([...bytes], [
    6, 0, 0, 0, 72, 0, 0, 0,
    1, 0, 0, 0, 4, 3, 2, 1, 8, 7, 6, 5, 5, 0, 0, 0, 0xdc, 5, 0, 0,
    1, 2, 3, 4, 5, 0, 0, 0,
    2, 0, 4, 0, 2, 0, 0, 0,
    5, 0, 8, 0, 9, 0, 0, 0, 0, 0, 0, 0,
    1, 0, 4, 0, 68, 114, 111, 112,
    0, 0, 0, 0,
    72, 0, 0, 0,
  ]);
});

Deno.test("readPcapng reads what is written, and counts frames that were cut", () => {
  const file = wholeFile();
  assert.ok(isPcapng(file) && !isPcapng(writePcap([])));
  const timeUs = Number(TIME_NS / 1000n);
  const wanted = [
    [{ timeUs, frame: FRAME, lengthBytes: FRAME.length }, 0],
    [{ timeUs: timeUs + 1, frame: FRAME.subarray(0, 41), lengthBytes: FRAME.length }, 1],
  ];
  assert.deepEqual([...readPcapng(file)], wanted);
  const larger = joined(new Uint8Array(5), file, new Uint8Array(3));
  assert.deepEqual([...readPcapng(larger.subarray(5, 5 + file.length))], wanted);
});

/** A block of a program of another kind: any byte order, any type and body. */
function blockOf(
  type: number,
  body: readonly [value: number | bigint, bytes: 1 | 2 | 4 | 8][],
  littleEndian = true,
): Uint8Array<ArrayBuffer> {
  const bodyBytes = body.reduce((sum, [, bytes]) => sum + bytes, 0);
  const view = new DataView(new ArrayBuffer(12 + bodyBytes));
  view.setUint32(0, type, littleEndian);
  view.setUint32(4, view.byteLength, littleEndian);
  view.setUint32(8 + bodyBytes, view.byteLength, littleEndian);
  let at = 8;
  for (const [value, bytes] of body) {
    if (bytes === 8) view.setBigInt64(at, BigInt(value), littleEndian);
    else if (bytes === 4) view.setUint32(at, Number(value), littleEndian);
    else if (bytes === 2) view.setUint16(at, Number(value), littleEndian);
    else view.setUint8(at, Number(value));
    at += bytes;
  }
  return new Uint8Array(view.buffer);
}

function sectionOf(littleEndian = true, magic = 0x1a2b3c4d, version = 1) {
  return blockOf(0x0a0d0d0a, [[magic, 4], [version, 2], [0, 2], [-1n, 8]], littleEndian);
}

/** With options: resolution, and an offset in seconds. */
function interfaceOf(
  { resolution, offset = 0n, littleEndian = true, linkType = 1 }: {
    resolution?: number;
    offset?: bigint | undefined;
    littleEndian?: boolean;
    linkType?: number;
  } = {},
) {
  return blockOf(1, [
    ...[[linkType, 2], [0, 2], [0, 4]] as [number, 2 | 4][],
    ...(resolution === undefined ? [] : [[9, 2], [1, 2], [resolution, 1], [0, 1], [0, 2]]) as [
      number,
      1 | 2,
    ][],
    [14, 2],
    [8, 2],
    [offset, 8],
    [0, 4],
  ], littleEndian);
}

function packetOf(time: bigint, littleEndian = true, number = 0, capturedBytes = 4) {
  return blockOf(6, [
    [number, 4],
    [time >> 32n, 4],
    [time & 0xffff_ffffn, 4],
    [capturedBytes, 4],
    [60, 4],
    [1, 1],
    [2, 1],
    [3, 1],
    [4, 1],
  ], littleEndian);
}

const RECORD: PcapRecord = {
  timeUs: 1_700_000_000_123_456,
  frame: Uint8Array.of(1, 2, 3, 4),
  lengthBytes: 60,
};

Deno.test("readPcapng reads either byte order and every resolution, in each section its own", () => {
  const cases: [resolution: number | undefined, time: bigint, timeUs: number, offset?: bigint][] = [
    [undefined, 1_700_000_000_123_456n, RECORD.timeUs], // microseconds
    [6, 1_700_000_000_123_456n, RECORD.timeUs],
    [9, 1_700_000_000_123_456_789n, RECORD.timeUs],
    [9, 123_456_789n, RECORD.timeUs, 1_700_000_000n],
    [3, 1_700_000_000_123n, 1_700_000_000_123_000],
    [0, 1_700_000_000n, 1_700_000_000_000_000],
    [0x80 | 10, 1_700_000_000n * 1024n + 512n, 1_700_000_000_500_000], // of 1/1024 s
  ];
  for (const littleEndian of [true, false]) {
    const parts = cases.flatMap(([resolution, time, , offset]) => [
      sectionOf(littleEndian),
      interfaceOf({ littleEndian, ...(resolution === undefined ? {} : { resolution }), offset }),
      packetOf(time, littleEndian),
    ]);
    assert.deepEqual(
      [...readPcapng(joined(...parts))],
      cases.map(([, , timeUs]) => [{ ...RECORD, timeUs }, 0]),
    );
  }
  const mixed = [true, false, true].flatMap((littleEndian) => [
    sectionOf(littleEndian),
    interfaceOf({ littleEndian }),
    packetOf(BigInt(RECORD.timeUs), littleEndian),
  ]);
  assert.deepEqual([...readPcapng(joined(...mixed))], Array(3).fill([RECORD, 0]));
});

Deno.test("readPcapng reads the obsolete packet block, and skips blocks without a packet", () => {
  const obsolete = blockOf(2, [
    [1, 2],
    [0xffff, 2],
    [0, 4],
    [5, 4],
    [3, 4],
    [60, 4],
    [0x01020304, 4],
  ]);
  const file = joined(
    sectionOf(),
    blockOf(4, [[0, 4]]), // names
    blockOf(0x0bad, [[0x0102, 4], [1n, 8]]),
    interfaceOf(),
    interfaceOf(),
    blockOf(10, []), // secrets
    obsolete,
    blockOf(5, [[0, 4], [0n, 8]]),
  );
  assert.deepEqual([...readPcapng(file)], [
    [{ timeUs: 5, frame: Uint8Array.of(4, 3, 2), lengthBytes: 60 }, 1],
  ]);
});

Deno.test("readPcapng says what is wrong with a file, after the packets before that point", () => {
  const good = joined(sectionOf(), interfaceOf());
  const length = (bytes: number, end = bytes) => {
    const block = packetOf(0n);
    new DataView(block.buffer).setUint32(4, bytes, true);
    new DataView(block.buffer).setUint32(block.length - 4, end, true);
    return block;
  };
  const at = (text: string) => `Cannot read block 3 of capture, at byte ${good.length}: ${text}`;
  const cases: [Uint8Array, string][] = [
    [
      sectionOf().subarray(0, 9),
      "Cannot read block 1 of capture, at byte 0: the file ends after 9 of 12 bytes",
    ],
    [interfaceOf(), "Cannot read block 1 of capture, at byte 0: expected a section header"],
    [
      sectionOf(true, 0x01020304),
      'Cannot read block 1 of capture, at byte 0: byte-order magic is "04030201"',
    ],
    [
      sectionOf(true, undefined, 2),
      'Cannot read block 1 of capture, at byte 0: pcapng version "2.0": expected 1.0',
    ],
    [
      blockOf(0x0a0d0d0a, [[0x1a2b3c4d, 4]]),
      "Cannot read block 1 of capture, at byte 0: the block has room for 4 of 6 bytes",
    ],
    [joined(good, packetOf(0n).subarray(0, 20)), at("the file ends after 20 of 36 bytes")],
    [joined(good, length(8)), at('block length "8" must be a multiple of 4, at least 12')],
    [joined(good, length(37)), at('block length "37" must be a multiple of 4, at least 12')],
    [joined(good, length(0xffff_fffc)), at("the file ends after 36 of 4294967292 bytes")],
    [joined(good, length(36, 32)), at('block length "36" is "32" at the block\'s end')],
    [joined(good, packetOf(0n, true, 1)), at("interface 1 has not been described")],
    [joined(good, packetOf(0n, true, 0, 5)), at("the block has room for 24 of 25 bytes")],
    [
      joined(good, packetOf(0n, true, 0, 0xffff_ffff)),
      at('frame length "4294967295" must be ≤ 262144'),
    ],
    [joined(good, packetOf(2n ** 63n)), at("its time is not between 1970 and 2106")],
    [
      joined(good, blockOf(3, [[4, 4], [0, 4]])),
      at("a simple packet block, expected packets with a time"),
    ],
    [joined(good, blockOf(6, [[0, 4]])), at("the block has room for 4 of 8 bytes")],
    [
      joined(sectionOf(), interfaceOf({ linkType: 113 }), packetOf(0n)),
      `Cannot read block 3 of capture, at byte ${good.length}: link type "113": expected 1 (Ethernet)`,
    ],
    [
      joined(sectionOf(), ...Array(1001).fill(interfaceOf())),
      `Cannot read block 1002 of capture, at byte ${
        28 + 1000 * interfaceOf().length
      }: more than 1000 interfaces`,
    ],
    [
      joined(sectionOf(), interfaceOf({ offset: -1n }), packetOf(0n)),
      at("its time is not between 1970 and 2106"),
    ],
  ];
  for (const [file, message] of cases) {
    assert.throws(() => [...readPcapng(file)], new SyntaxError(message));
  }
  const read: unknown[] = [];
  assert.throws(() => {
    for (const one of readPcapng(joined(good, packetOf(1n), length(8)))) read.push(one);
  }, SyntaxError);
  assert.equal(read.length, 1);
});

Deno.test("readPcapng gives packets or a SyntaxError, whatever the file", () => {
  const random = new SeededRandom(16);
  const originals = [
    wholeFile(),
    joined(sectionOf(false), interfaceOf({ littleEndian: false }), packetOf(1n, false)),
    joined(sectionOf(), interfaceOf(), packetOf(1n), sectionOf(false), packetOf(1n, false)),
  ];
  let [refused, read] = [0, 0];
  for (let round = 0; round < 30_000; round++) {
    const original = originals[round % originals.length]!;
    const file = original.slice(
      0,
      random.uint32() % 4 === 0 ? below(random, original.length) : undefined,
    );
    for (let changes = below(random, 4); changes >= 0 && file.length > 0; changes--) {
      const at = below(random, file.length);
      file[at] = [0, 1, 4, 0x7f, 0x80, 0xff, random.uint32() & 0xff][below(random, 7)]!;
    }
    try {
      for (const [{ timeUs, frame }] of readPcapng(file)) {
        assert.ok(Number.isSafeInteger(timeUs) && timeUs >= 0 && frame.length <= file.length);
        read++;
      }
    } catch (error) {
      assert.ok(error instanceof SyntaxError, `round ${round}: ${error}`);
      assert.doesNotMatch(error.message, /[^ -~≤]/);
      refused++;
    }
  }
  assert.ok(refused > 1000 && read > 1000, `${refused} refused, ${read} packets read`);
});

Deno.test("readCaptures takes one file for each link, or a pcapng file for both", () => {
  const both = wholeFile();
  assert.deepEqual([...readCaptures([both], 2)].map(([, link]) => link), [0, 1]);
  assert.deepEqual(
    [...readCaptures([joined(sectionOf(), interfaceOf(), packetOf(7n)), writePcap([RECORD])], 2)]
      .map(([{ timeUs }, link]) => [timeUs, link]),
    [[7, 0], [RECORD.timeUs, 1]],
  );
  assert.throws(
    () => readCaptures([writePcap([RECORD])], 2),
    new SyntaxError(
      "Cannot read both sides from a pcap file: expected a pcapng file, or one for each side",
    ),
  );
  assert.throws(
    () => [...readCaptures([both], 1)],
    new SyntaxError(
      "Cannot use packet of interface 1 of capture: expected one interface a file",
    ),
  );
  const third = joined(
    sectionOf(),
    interfaceOf(),
    interfaceOf(),
    interfaceOf(),
    packetOf(1n, true, 2),
  );
  assert.throws(
    () => [...readCaptures([third], 2)],
    new SyntaxError("Cannot use packet of interface 2 of capture: expected 0 to 1"),
  );
});

tsharkTest("tshark reads what is written: names, nanoseconds, direction, comments", async () => {
  const fields = [
    ...[
      "frame.interface_name",
      "frame.time_epoch",
      "frame.comment",
      "frame.packet_flags_direction",
    ],
    ...["frame.len", "frame.cap_len"],
  ];
  const child = new Deno.Command("tshark", {
    args: [
      ...["-n", "-r", "-", "-T", "fields", "-E", "separator=|"],
      ...fields.flatMap((field) => ["-e", field]),
    ],
    stdin: "piped",
    stdout: "piped",
    stderr: "piped",
  }).spawn();
  const writer = child.stdin.getWriter();
  await writer.write(wholeFile()).then(() => writer.close());
  const { success, stdout, stderr } = await child.output();
  assert.ok(success, new TextDecoder().decode(stderr));
  assert.deepEqual(new TextDecoder().decode(stdout).trimEnd().split("\n"), [
    `tap100|1700000000.123456789|Drop "naive http"|0x00000001|${FRAME.length}|${FRAME.length}`,
    `tap101|1700000000.123457789||0x00000002|${FRAME.length}|41`,
  ]);
});
