/** What is read is what was built, and tshark finds nothing wrong in it. */
import assert from "node:assert/strict";
import {
  address6Bytes,
  address6Text,
  buildAdvertisement,
  buildIcmp6,
  buildSolicitation,
  buildTcp6,
  buildUdp6,
  groupMacOf,
  isLinkMessage,
  readIcmp6,
  readIp6,
  readNeighbor,
  readTcp6,
  readUdp6,
  ROUTER_ALERT,
  solicitedNode,
} from "./frames6.ts";
import { judge, tsharkTest } from "./tshark.ts";

const frames = [
  buildTcp6({ flags: "SA", headers: [ROUTER_ALERT], trafficClass: 0x12, flowLabel: 0xabcde }),
  buildUdp6({ payload: [1, 2, 3] }),
  buildIcmp6(),
  buildSolicitation({ target: "2001:db8::12:3456" }),
  buildAdvertisement(),
];

Deno.test("frames6 reads what it has built", () => {
  const tcp = readTcp6(frames[0]!);
  assert.partialDeepStrictEqual(tcp, {
    ...{ src: "2001:db8::fe", dst: "2001:db8::64", hopLimit: 64, trafficClass: 0x12 },
    ...{ flowLabel: 0xabcde, flags: "SA", srcPort: 40_000, dstPort: 2000, seq: 1000, ack: 2000 },
  });
  assert.deepEqual(tcp.headers, [[0, [6, 0, 5, 2, 0, 0, 1, 0]]]);
  assert.deepEqual(Array.from(readUdp6(frames[1]!).payload), [1, 2, 3]);
  assert.deepEqual(readIcmp6(frames[2]!).rest, [0x4a, 0x49, 0, 1]);
});

Deno.test("frames6 reads messages of neighbours", () => {
  const asked = readNeighbor(frames[3]!);
  assert.partialDeepStrictEqual(asked, {
    ...{ type: 135, target: "2001:db8::12:3456", mac: "02:00:00:00:00:fe", hopLimit: 255 },
    ...{ dst: "ff02::1:ff12:3456", dstMac: "33:33:ff:12:34:56", neighborFlags: "" },
  });
  const told = readNeighbor(frames[4]!);
  assert.partialDeepStrictEqual(told, {
    ...{ type: 136, target: "2001:db8::fe", mac: "02:00:00:00:00:fe", neighborFlags: "SO" },
  });
  assert.deepEqual(frames.map(isLinkMessage), [false, false, false, true, true]);
});

Deno.test("frames6 notices every flipped bit that a checksum covers", () => {
  for (const [frame, read] of [[frames[1]!, readUdp6], [frames[2]!, readIcmp6]] as const) {
    for (const at of [22, 37, 38, 53, frame.length - 1]) {
      const broken = frame.slice();
      broken[at]! ^= 1;
      assert.throws(() => read(broken), /checksum is wrong/);
    }
  }
  assert.throws(() => readIp6(frames[1]!.subarray(0, 60)), /payload length/);
});

Deno.test("address6Text, canonical", () => {
  for (
    const text of [
      ...["::", "::1", "1::", "2001:db8::1", "1:2:3:4:5:6:7:8", "2001:db8::1:0:0:1"],
      ...["1:0:2:3:4:5:6:7", "1:0:0:2::3", "fe80::10:0:0"],
    ]
  ) assert.equal(address6Text(address6Bytes(text)), text);
  assert.equal(solicitedNode("2001:db8::64"), "ff02::1:ff00:64");
  assert.equal(groupMacOf("ff02::1:ff00:64"), "33:33:ff:00:00:64");
});

tsharkTest("tshark finds nothing wrong in what frames6 builds", async () => {
  assert.deepEqual(await judge(frames), []);
});
