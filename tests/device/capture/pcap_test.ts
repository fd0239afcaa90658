import assert from "node:assert/strict";
import { pcapHeader, type PcapRecord, readPcap } from "../../../src/device/capture/pcap.ts";
import { writePcap } from "../../support/pcap.ts";

const RECORDS: readonly PcapRecord[] = [
  { timeUs: 1_700_000_000_123_456, frame: Uint8Array.of(1, 2, 3), lengthBytes: 3 },
  { timeUs: 0, frame: new Uint8Array(), lengthBytes: 60 },
  { timeUs: 999_999, frame: new Uint8Array(1514).fill(7), lengthBytes: 1514 },
];

Deno.test("writePcap, then readPcap is the identity", () => {
  assert.deepEqual([...readPcap(writePcap(RECORDS))], RECORDS);
  assert.deepEqual([...readPcap(writePcap([]))], []);
});

Deno.test("writePcap writes what pcap-savefile(5) says", () => {
  const file = writePcap(RECORDS.slice(0, 1));
  // deno-fmt-ignore
  assert.deepEqual([...file], [
    0xd4, 0xc3, 0xb2, 0xa1, 2, 0, 4, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 4, 0, 1, 0, 0, 0,
    0x00, 0xf1, 0x53, 0x65, 0x40, 0xe2, 0x01, 0x00, 3, 0, 0, 0, 3, 0, 0, 0, 1, 2, 3,
  ]);
  assert.deepEqual(file.subarray(0, 24), pcapHeader());
});

Deno.test("writePcap refuses a frame that no reader takes", () => {
  const frame = new Uint8Array(262_145);
  assert.throws(
    () => writePcap([{ timeUs: 0, frame, lengthBytes: frame.length }]),
    new RangeError("Cannot write frame of 262145 bytes to a capture: must be ≤ 262144"),
  );
});

Deno.test("readPcap reads either byte order, microseconds and nanoseconds", () => {
  const cases = [
    { magic: 0xa1b2c3d4, littleEndian: true, fraction: 123_456 },
    { magic: 0xa1b2c3d4, littleEndian: false, fraction: 123_456 },
    { magic: 0xa1b23c4d, littleEndian: true, fraction: 123_456_789 },
    { magic: 0xa1b23c4d, littleEndian: false, fraction: 123_456_789 },
  ];
  for (const { magic, littleEndian, fraction } of cases) {
    const file = build({ magic, littleEndian, fraction, linkType: 1 });
    assert.deepEqual([...readPcap(file)], RECORDS.slice(0, 1), JSON.stringify({ magic }));
  }
});

Deno.test("readPcap ignores the bits about an FCS beside the link type", () => {
  assert.equal([...readPcap(build({ linkType: 0xf400_0001 }))].length, 1);
});

Deno.test("readPcap reads a file that is part of a larger buffer", () => {
  const file = writePcap(RECORDS);
  const larger = new Uint8Array(file.length + 7);
  larger.set(file, 5);
  assert.deepEqual([...readPcap(larger.subarray(5, 5 + file.length))], RECORDS);
});

Deno.test("readPcap says what is wrong with a file that it can't read", () => {
  const cases: [Uint8Array, string][] = [
    [new Uint8Array(), "Cannot read capture of 0 bytes: the file header alone has 24"],
    [
      build({ magic: 0x7f454c46, littleEndian: false }),
      'Cannot read capture: it begins with "7f454c46", expected a pcap or pcapng file',
    ],
    [build({ major: 3 }), 'Cannot read capture of pcap version "3.4": expected 2.4'],
    [build({ linkType: 113 }), 'Cannot read capture of link type "113": expected 1 (Ethernet)'],
    [
      build({ capturedBytes: 262_145 }),
      'Cannot read record 1 of capture, at byte 24: frame length "262145" must be ≤ 262144',
    ],
  ];
  for (const [file, message] of cases) {
    assert.throws(() => readPcap(file).next(), new SyntaxError(message));
  }
});

Deno.test("readPcap, cut at any byte, gives the whole records and then a clear SyntaxError", () => {
  const file = writePcap(RECORDS.slice(0, 2)); // 24 + (16 + 3) + (16 + 0)
  for (let cut = 24; cut < file.length; cut++) {
    const seen: PcapRecord[] = [];
    const readAll = () => {
      for (const record of readPcap(file.subarray(0, cut))) seen.push(record);
    };
    if (cut === 24 || cut === 43) readAll();
    else assert.throws(readAll, { name: "SyntaxError", message: expectedAt(cut) });
    assert.deepEqual(seen, RECORDS.slice(0, cut < 43 ? 0 : 1), `cut at ${cut}`);
  }
});

function expectedAt(cut: number): RegExp {
  if (cut < 40) return RegExp(`record 1 .* byte 24: the file ends after ${cut - 24} of 16 header`);
  if (cut < 43) return RegExp(`record 1 .* byte 24: the file ends after ${cut - 40} of 3 frame`);
  return RegExp(`record 2 .* byte 43: the file ends after ${cut - 43} of 16 header`);
}

/** A file of the first record, with details as told. */
function build(details: {
  magic?: number;
  littleEndian?: boolean;
  fraction?: number;
  major?: number;
  linkType?: number;
  capturedBytes?: number;
}): Uint8Array {
  const d = {
    ...{ magic: 0xa1b2c3d4, littleEndian: true, fraction: 123_456, major: 2, linkType: 1 },
    ...{ capturedBytes: 3 },
    ...details,
  };
  const file = new Uint8Array(43);
  const view = new DataView(file.buffer);
  view.setUint32(0, d.magic, d.littleEndian);
  view.setUint16(4, d.major, d.littleEndian);
  view.setUint16(6, 4, d.littleEndian);
  view.setUint32(20, d.linkType, d.littleEndian);
  view.setUint32(24, 1_700_000_000, d.littleEndian);
  view.setUint32(28, d.fraction, d.littleEndian);
  view.setUint32(32, d.capturedBytes, d.littleEndian);
  view.setUint32(36, 3, d.littleEndian);
  file.set([1, 2, 3], 40);
  return file;
}
