import assert from "node:assert/strict";
import { buildArp, buildIcmp, buildTcp, buildUdp, bytesOf } from "./frames.ts";
import { judge, tsharkTest } from "./tshark.ts";

const payload = bytesOf("twenty bytes of data");
const FRAMES = [
  buildTcp({ flags: "PA", payload }),
  buildTcp({ flags: "RA" }),
  buildUdp({ payload }),
  buildUdp({ payload, noChecksum: true }),
  buildIcmp({ payload }),
  buildArp(),
];

tsharkTest("judge finds nothing wrong with right frames", async () => {
  // A UDP checksum of 0 means none; tshark says that it was not checked.
  assert.deepEqual((await judge(FRAMES)).filter(({ index }) => index !== 3), []);
});

tsharkTest("judge catches one flipped bit in every header and in the data", async () => {
  const ETHERNET = 14;
  const cases: [number, number, RegExp][] = [
    [0, ETHERNET + 8, /ip checksum/],
    [0, ETHERNET + 20 + 5, /tcp checksum/],
    [0, ETHERNET + 40 + 19, /tcp checksum/],
    [2, ETHERNET + 20 + 1, /udp checksum/],
    [2, ETHERNET + 28 + 19, /udp checksum/],
    [4, ETHERNET + 20 + 7, /icmp checksum/],
    [4, ETHERNET + 28 + 19, /icmp checksum/],
  ];
  const flipped = cases.map(([frame, at]) => {
    const copy = FRAMES[frame]!.slice();
    copy[at] = copy[at]! ^ 1;
    return copy;
  });
  const found = await judge(flipped);
  cases.forEach(([frame, at, expected], index) => {
    const complaint = found.find((one) => one.index === index);
    assert.match(complaint?.complaints.join() ?? "", expected, `frame ${frame}, byte ${at}`);
  });
});

tsharkTest("judge catches a frame that ends too early", async () => {
  assert.deepEqual(
    (await judge([FRAMES[0]!, FRAMES[0]!.subarray(0, 40)])).map(({ index }) => index),
    [1],
  );
});
