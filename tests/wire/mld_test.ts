import assert from "node:assert/strict";
import { parseMac } from "../../src/wire/address.ts";
import { parseAddress6, UNSPECIFIED } from "../../src/wire/address6.ts";
import { Chain, walkChain } from "../../src/wire/extension_headers.ts";
import * as mld from "../../src/wire/mld.ts";
import { address6Bytes, address6Words, buildIcmp6, ROUTER_ALERT } from "../support/frames6.ts";
import type { Icmp6 } from "../support/frames6.ts";
import { judge, readFields, tsharkTest } from "../support/tshark.ts";

const IP = 14;
const ICMP = 62;
const GROUP = "ff02::1:ffab:cdef";
const PADDING = [0, [0, 0, 1, 4, 0, 0, 0, 0]] as const;

/** A general query of version 2 unless told otherwise. */
function buildQuery(fields: Partial<Icmp6> = {}): Uint8Array<ArrayBuffer> {
  return buildIcmp6({
    type: 130,
    src: "fe80::1",
    dst: "ff02::1",
    hopLimit: 1,
    headers: [ROUTER_ALERT],
    rest: [0x27, 0x10, 0, 0],
    payload: [...address6Bytes("::"), 2, 125, 0, 0],
    ...fields,
  });
}

function check(frame: Uint8Array<ArrayBuffer>): number {
  const view = new DataView(frame.buffer);
  const chain = new Chain();
  assert.equal(walkChain(view, IP, frame.length, chain), 0);
  return mld.checkQuery(view, IP, frame.length, chain);
}

Deno.test("checkQuery accepts queries of both versions, general and about groups", () => {
  const sources = [...address6Bytes("2001:db8::1"), ...address6Bytes("2001:db8::2")];
  const cases: [string, Partial<Icmp6>][] = [
    ["general, version 2", {}],
    ["general, version 1", { payload: address6Bytes("::") }],
    ["about a group", { dst: GROUP, payload: [...address6Bytes(GROUP), 2, 125, 0, 0] }],
    ["and two sources", { payload: [...address6Bytes(GROUP), 2, 125, 0, 2, ...sources] }],
    ["bytes behind, which are ignored", {
      payload: [...address6Bytes("::"), 2, 125, 0, 0, 1, 2, 3],
    }],
    ["to a unicast address", { dst: "fe80::2" }],
    ["code and reserved bits are ignored", { code: 7, rest: [0x27, 0x10, 255, 255] }],
  ];
  for (const [name, fields] of cases) assert.equal(check(buildQuery(fields)), 0, name);
});

Deno.test("checkQuery refuses what RFC 3810 §6.2 and §8.1 refuse", () => {
  const sources = address6Bytes("2001:db8::1");
  const cases: [string, Partial<Icmp6>, keyof typeof mld.QueryFault][] = [
    ["a report", { type: 143 }, "no-query"],
    ["a query of version 1 that is short by one", {
      payload: address6Bytes("::").slice(1),
    }, "length"],
    ["one that is of no version", { payload: [...address6Bytes("::"), 2, 125, 0] }, "length"],
    ["fewer sources than told", {
      payload: [...address6Bytes(GROUP), 2, 125, 0, 2, ...sources],
    }, "length"],
    ["65,535 sources", { payload: [...address6Bytes(GROUP), 2, 125, 255, 255] }, "length"],
    ["hop limit 2", { hopLimit: 2 }, "hop-limit"],
    ["hop limit 255", { hopLimit: 255 }, "hop-limit"],
    ["no router alert", { headers: [PADDING] }, "router-alert"],
    ["a router's global address", { src: "2001:db8::1" }, "not-link-local"],
    ["no address", { src: "::" }, "not-link-local"],
  ];
  for (const [name, fields, fault] of cases) {
    assert.equal(check(buildQuery(fields)), mld.QueryFault[fault], name);
  }
  const frame = buildQuery();
  frame[ICMP + 3]! ^= 1;
  assert.equal(check(frame), mld.QueryFault["checksum"]);
  const met = new Set([...cases.map(([, , fault]) => fault), "checksum"]);
  assert.deepEqual(met, new Set(Object.keys(mld.QueryFault)));
});

Deno.test("a query's getters read the fields where RFC 3810 §5.1 draws them", () => {
  const source = address6Bytes("2001:db8::1");
  const frame = buildQuery({ payload: [...address6Bytes(GROUP), 0xfd, 9, 0, 1, ...source] });
  const view = new DataView(frame.buffer);
  const bytesAt = (at: number) => [...frame.subarray(at, at + 16)];
  assert.deepEqual(bytesAt(mld.groupAt(ICMP)), address6Bytes(GROUP));
  assert.ok(!mld.isGeneralQuery(view, ICMP));
  assert.ok(!mld.isVersion1(ICMP, frame.length));
  const general = buildQuery({ payload: address6Bytes("::") });
  assert.ok(mld.isGeneralQuery(new DataView(general.buffer), ICMP));
  assert.ok(mld.isVersion1(ICMP, general.length));
});

Deno.test("response times above a limit are floating-point (RFC 3810 §5.1)", () => {
  const frame = buildQuery();
  const view = new DataView(frame.buffer);
  const times: [number, number][] = [
    [0, 0],
    [10_000, 10_000],
    [0x7fff, 32_767],
    [0x8000, 32_768],
    [0x8001, 32_776],
    [0x9000, 65_536],
    [0xffff, 8_387_584],
  ];
  for (const [code, ms] of times) {
    view.setUint16(ICMP + 4, code);
    assert.equal(mld.maxResponseMs(view, ICMP, frame.length), ms);
    assert.equal(mld.maxResponseMs(view, ICMP, ICMP + 24), code, "version 1");
  }
});

const MAC = parseMac("02:00:00:00:01:00");
const LINK_LOCAL = "fe80::ff:fe00:100";
const REPORTS: [string, string, keyof typeof mld.RecordType, string[]][] = [
  ["of one group", LINK_LOCAL, "to-exclude", [GROUP]],
  ["before there is an address", "::", "to-exclude", ["ff02::1:ff00:100"]],
  ["of three groups", LINK_LOCAL, "is-exclude", [GROUP, "ff02::1:ff00:100", "ff05::1:3"]],
];

function writeReport(
  [, src, type, groups]: typeof REPORTS[number],
): { bytes: Uint8Array; frame: Uint8Array<ArrayBuffer> } {
  const bytes = new Uint8Array(300).fill(0xee);
  const words = Int32Array.from(groups.flatMap((group) => [...address6Words(group)]));
  const address = src === "::" ? UNSPECIFIED : parseAddress6(src);
  const sender = { mac: MAC, address };
  const view = new DataView(bytes.buffer);
  const lengthBytes = mld.writeReport(view, 10, sender, mld.RecordType[type], words);
  return { bytes, frame: bytes.slice(10, 10 + lengthBytes) };
}

Deno.test("writeReport writes what an independent builder writes (RFC 3810 §5.2)", () => {
  for (const report of REPORTS) {
    const [name, src, type, groups] = report;
    const { bytes, frame } = writeReport(report);
    const record = { "is-exclude": 2, "to-exclude": 4 }[type];
    const expected = buildIcmp6({
      dstMac: "33:33:00:00:00:16",
      srcMac: "02:00:00:00:01:00",
      src,
      dst: "ff02::16",
      hopLimit: 1,
      headers: [ROUTER_ALERT],
      type: 143,
      rest: [0, 0, 0, groups.length],
      payload: groups.flatMap((group) => [record, 0, 0, 0, ...address6Bytes(group)]),
    });
    assert.deepEqual(frame, expected, name);
    assert.equal(frame.length, mld.reportBytes(groups.length));
    const around = [...bytes.subarray(0, 10), ...bytes.subarray(10 + frame.length)];
    assert.ok(around.every((byte) => byte === 0xee), name);
  }
});

function writeReportV1(): Uint8Array<ArrayBuffer> {
  const bytes = new Uint8Array(300).fill(0xee);
  const sender = { mac: MAC, address: parseAddress6(LINK_LOCAL) };
  const view = new DataView(bytes.buffer);
  const lengthBytes = mld.writeReportV1(view, 10, sender, parseAddress6(GROUP));
  assert.equal(lengthBytes, mld.REPORT_V1_BYTES);
  assert.ok(bytes.subarray(10 + lengthBytes).every((byte) => byte === 0xee));
  return bytes.slice(10, 10 + lengthBytes);
}

Deno.test("writeReportV1 writes what an independent builder writes (RFC 2710 §3)", () => {
  const expected = buildIcmp6({
    dstMac: "33:33:ff:ab:cd:ef",
    srcMac: "02:00:00:00:01:00",
    src: LINK_LOCAL,
    dst: GROUP,
    hopLimit: 1,
    headers: [ROUTER_ALERT],
    type: 131,
    rest: [0, 0, 0, 0],
    payload: address6Bytes(GROUP),
  });
  assert.deepEqual(writeReportV1(), expected);
});

tsharkTest("tshark finds reports right, and reads the groups that were meant", async () => {
  const frames = REPORTS.map((report) => writeReport(report).frame);
  assert.deepEqual(await judge([...frames, writeReportV1()]), []);
  const found = await readFields(frames, [
    "icmpv6.type",
    "ipv6.opt.router_alert",
    "icmpv6.mldr.nb_mcast_records",
    "icmpv6.mldr.mar.record_type",
    "icmpv6.mldr.mar.multicast_address",
  ]);
  assert.deepEqual(
    found,
    REPORTS.map(([, , type, groups]) => [
      "143",
      "0",
      `${groups.length}`,
      groups.map(() => `${mld.RecordType[type]}`).join("|"),
      groups.join("|"),
    ]),
  );
});
