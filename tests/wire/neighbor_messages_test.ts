import assert from "node:assert/strict";
import { parseMac } from "../../src/wire/address.ts";
import { parseAddress6, UNSPECIFIED } from "../../src/wire/address6.ts";
import { Chain, walkChain } from "../../src/wire/extension_headers.ts";
import { checkDiscovery, DiscoveryOptions } from "../../src/wire/neighbor_discovery.ts";
import * as messages from "../../src/wire/neighbor_messages.ts";
import { address6Bytes, buildIcmp6, type Icmp6 } from "../support/frames6.ts";
import { judge, readFields, tsharkTest } from "../support/tshark.ts";

const MAC = parseMac("02:00:00:00:01:00");
const LINK_LOCAL = "fe80::ff:fe00:100";
const SENDER = { mac: MAC, address: parseAddress6(LINK_LOCAL) };
const OTHER = { mac: parseMac("fe:dc:ba:98:76:54"), address: parseAddress6("2001:db8::ab:cdef") };
const OWN = [2, 0, 0, 0, 1, 0];
const FRAME = 10;

interface Case {
  readonly name: string;
  readonly write: (view: DataView) => number;
  readonly expected: Partial<Icmp6>;
}

const CASES: readonly Case[] = [
  {
    name: "a solicitation to the group",
    write: (view) =>
      messages.writeNeighborSolicitation(view, FRAME, SENDER, { ...OTHER, mac: null }),
    expected: {
      dstMac: "33:33:ff:ab:cd:ef",
      dst: "ff02::1:ffab:cdef",
      type: 135,
      payload: [...address6Bytes("2001:db8::ab:cdef"), 1, 1, ...OWN],
    },
  },
  {
    name: "a probe",
    write: (view) => messages.writeNeighborSolicitation(view, FRAME, SENDER, OTHER),
    expected: {
      dstMac: "fe:dc:ba:98:76:54",
      dst: "2001:db8::ab:cdef",
      type: 135,
      payload: [...address6Bytes("2001:db8::ab:cdef"), 1, 1, ...OWN],
    },
  },
  {
    name: "a duplicate check",
    write: (view) =>
      messages.writeDuplicateCheck(view, FRAME, MAC, SENDER.address, 0xfedc, 0xba98_7654 | 0),
    expected: {
      dstMac: "33:33:ff:00:01:00",
      src: "::",
      dst: "ff02::1:ff00:100",
      type: 135,
      payload: [...address6Bytes(LINK_LOCAL), 14, 1, 0xfe, 0xdc, 0xba, 0x98, 0x76, 0x54],
    },
  },
  {
    name: "an answer",
    write: (view) =>
      messages.writeNeighborAdvertisement(view, FRAME, SENDER, OTHER, SENDER.address, {
        router: false,
        solicited: true,
        override: true,
      }),
    expected: {
      dstMac: "fe:dc:ba:98:76:54",
      dst: "2001:db8::ab:cdef",
      type: 136,
      rest: [0x60, 0, 0, 0],
      payload: [...address6Bytes(LINK_LOCAL), 2, 1, ...OWN],
    },
  },
  {
    name: "an unsolicited advertisement of a router",
    write: (view) =>
      messages.writeNeighborAdvertisement(
        view,
        FRAME,
        SENDER,
        { address: parseAddress6("ff02::1"), mac: null },
        OTHER.address,
        { router: true, solicited: false, override: false },
      ),
    expected: {
      dstMac: "33:33:00:00:00:01",
      dst: "ff02::1",
      type: 136,
      rest: [0x80, 0, 0, 0],
      payload: [...address6Bytes("2001:db8::ab:cdef"), 2, 1, ...OWN],
    },
  },
  {
    name: "a router solicitation",
    write: (view) => messages.writeRouterSolicitation(view, FRAME, SENDER),
    expected: {
      dstMac: "33:33:00:00:00:02",
      dst: "ff02::2",
      type: 133,
      payload: [1, 1, ...OWN],
    },
  },
  {
    name: "a router solicitation without address",
    write: (view) =>
      messages.writeRouterSolicitation(view, FRAME, { mac: MAC, address: UNSPECIFIED }),
    expected: { dstMac: "33:33:00:00:00:02", src: "::", dst: "ff02::2", type: 133, payload: [] },
  },
];

Deno.test("neighbor messages are written as an independent builder writes them", () => {
  for (const { name, write, expected } of CASES) {
    const { bytes, frame } = written(write);
    const fields = { srcMac: "02:00:00:00:01:00", src: LINK_LOCAL, hopLimit: 255 };
    assert.deepEqual(frame, buildIcmp6({ ...fields, rest: [0, 0, 0, 0], ...expected }), name);
    const around = [...bytes.subarray(0, FRAME), ...bytes.subarray(FRAME + frame.length)];
    assert.ok(around.every((byte) => byte === 0xee), name);
  }
});

Deno.test("checkDiscovery accepts what the writers write", () => {
  for (const { name, write } of CASES) {
    const { frame } = written(write);
    const view = new DataView(frame.buffer);
    const chain = new Chain();
    assert.equal(walkChain(view, 14, frame.length, chain), 0, name);
    assert.equal(checkDiscovery(view, 14, frame.length, chain, new DiscoveryOptions()), 0, name);
  }
});

tsharkTest("tshark finds neighbor messages right, and reads what was meant", async () => {
  const frames = CASES.map(({ write }) => written(write).frame);
  assert.deepEqual(await judge(frames), []);
  const found = await readFields(frames, [
    "icmpv6.type",
    "icmpv6.nd.ns.target_address",
    "icmpv6.nd.na.target_address",
    "icmpv6.nd.na.flag",
    "icmpv6.opt.src_linkaddr",
    "icmpv6.opt.target_linkaddr",
    "icmpv6.opt.nonce",
  ]);
  const mac = "02:00:00:00:01:00";
  assert.deepEqual(found, [
    ["135", "2001:db8::ab:cdef", "", "", mac, "", ""],
    ["135", "2001:db8::ab:cdef", "", "", mac, "", ""],
    ["135", LINK_LOCAL, "", "", "", "", "fedcba987654"],
    ["136", "", LINK_LOCAL, "0x60000000", "", mac, ""],
    ["136", "", "2001:db8::ab:cdef", "0x80000000", "", mac, ""],
    ["133", "", "", "", mac, "", ""],
    ["133", "", "", "", "", "", ""],
  ]);
});

function written(
  write: (view: DataView) => number,
): { bytes: Uint8Array; frame: Uint8Array<ArrayBuffer> } {
  const bytes = new Uint8Array(200).fill(0xee);
  const lengthBytes = write(new DataView(bytes.buffer));
  return { bytes, frame: bytes.slice(FRAME, FRAME + lengthBytes) };
}
