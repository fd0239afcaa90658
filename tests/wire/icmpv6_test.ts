import assert from "node:assert/strict";
import * as checksum from "../../src/wire/checksum.ts";
import * as icmpv6 from "../../src/wire/icmpv6.ts";
import { setSource, SOURCE } from "../../src/wire/ipv6.ts";
import { address6Words, buildIcmp6 } from "../support/frames6.ts";
import { judge, readFields, tsharkTest } from "../support/tshark.ts";

const IP = 14;
const ICMP = 54;

Deno.test("ICMPV6_TYPES names every type that IANA has assigned, and no other", () => {
  const assigned = [...range(1, 4), 100, 101, ...range(128, 161), 200, 201];
  assert.deepEqual(Object.keys(icmpv6.ICMPV6_TYPES).map(Number), assigned);
  const names = Object.values(icmpv6.ICMPV6_TYPES).map((type) => type.name);
  assert.equal(new Set(names).size, names.length);
  for (const name of names) assert.match(name, /^[A-Za-z0-9 -]+$/);
  const queries = Object.entries(icmpv6.ICMPV6_TYPES).filter(([, type]) => type.query);
  assert.deepEqual(queries.map(([type]) => Number(type)), [128, 129]);
});

Deno.test("ICMPV6_TYPES names the types that the proxy itself sends or reads", () => {
  const names: [number, string][] = [
    [icmpv6.ICMPV6_UNREACHABLE, "Destination unreachable"],
    [icmpv6.ICMPV6_PACKET_TOO_BIG, "Packet too big"],
    [icmpv6.ICMPV6_TIME_EXCEEDED, "Time exceeded"],
    [icmpv6.ICMPV6_PARAMETER_PROBLEM, "Parameter problem"],
    [icmpv6.ICMPV6_ECHO_REQUEST, "Echo request"],
    [icmpv6.ICMPV6_ECHO_REPLY, "Echo reply"],
    [icmpv6.ICMPV6_LISTENER_QUERY, "Multicast listener query"],
    [icmpv6.ICMPV6_ROUTER_SOLICITATION, "Router solicitation"],
    [icmpv6.ICMPV6_ROUTER_ADVERTISEMENT, "Router advertisement"],
    [icmpv6.ICMPV6_NEIGHBOR_SOLICITATION, "Neighbor solicitation"],
    [icmpv6.ICMPV6_NEIGHBOR_ADVERTISEMENT, "Neighbor advertisement"],
    [icmpv6.ICMPV6_REDIRECT, "Redirect"],
    [icmpv6.ICMPV6_LISTENER_REPORT_V2, "Multicast listener report version 2"],
  ];
  for (const [type, name] of names) assert.equal(icmpv6.ICMPV6_TYPES[type]?.name, name);
});

Deno.test("ICMPV6_TYPES has the codes of RFC 4443, 7112 and 8883 in their places", () => {
  const codes: [number, number, string][] = [
    [1, icmpv6.CODE_NO_ROUTE, "No route to destination"],
    [1, icmpv6.CODE_PROHIBITED, "Communication administratively prohibited"],
    [1, icmpv6.CODE_BEYOND_SCOPE, "Beyond scope of source address"],
    [1, icmpv6.CODE_ADDRESS_UNREACHABLE, "Address unreachable"],
    [1, icmpv6.CODE_PORT_UNREACHABLE6, "Port unreachable"],
    [1, 8, "Headers too long"],
    [3, icmpv6.CODE_HOP_LIMIT_EXCEEDED, "Hop limit exceeded in transit"],
    [3, icmpv6.CODE_REASSEMBLY_TIME_EXCEEDED6, "Fragment reassembly time exceeded"],
    [4, icmpv6.CODE_ERRONEOUS_FIELD, "Erroneous header field"],
    [4, icmpv6.CODE_UNKNOWN_NEXT_HEADER, "Unrecognized next header"],
    [4, icmpv6.CODE_UNKNOWN_OPTION, "Unrecognized IPv6 option"],
    [4, icmpv6.CODE_INCOMPLETE_CHAIN, "Incomplete header chain in first fragment"],
    [4, icmpv6.CODE_CHAIN_TOO_LONG, "Extension header chain too long"],
    [4, icmpv6.CODE_TOO_MANY_HEADERS, "Too many extension headers"],
    [4, 10, "Option too big"],
    [161, 4, "Multiple interfaces satisfy query"],
  ];
  for (const [type, code, name] of codes) {
    assert.equal(icmpv6.ICMPV6_TYPES[type]?.codes?.[code], name);
  }
});

Deno.test("isError is true below 128 (RFC 4443 §2.1)", () => {
  assert.deepEqual([0, 1, 127, 128, 129, 255].map(icmpv6.isError), [
    ...[true, true, true],
    ...[false, false, false],
  ]);
});

Deno.test("icmpv6 getters and setters stand where RFC 4443 puts the fields", () => {
  const view = new DataView(new ArrayBuffer(12));
  icmpv6.writeHeader(view, 2, 3, 1, 0xfedc_ba98 | 0);
  icmpv6.setChecksum(view, 2, 0xbeef);
  const bytes = [...new Uint8Array(view.buffer, 2, 8)];
  assert.deepEqual(bytes, [3, 1, 0xbe, 0xef, 0xfe, 0xdc, 0xba, 0x98]);
  assert.equal(icmpv6.type(view, 2), 3);
  assert.equal(icmpv6.code(view, 2), 1);
  assert.equal(icmpv6.checksum(view, 2), 0xbeef);
  assert.equal(icmpv6.identifier(view, 2), 0xfedc);
  assert.equal(icmpv6.sequence(view, 2), 0xba98);
  assert.equal(icmpv6.mtu(view, 2), 0xfedc_ba98);
  assert.equal(icmpv6.pointer(view, 2), 0xfedc_ba98);
  assert.equal(icmpv6.quoteWords(view, 2), 0xfe);
  icmpv6.setType(view, 2, 129);
  icmpv6.setIdentifier(view, 2, 0x1234);
  assert.equal(icmpv6.type(view, 2), 129);
  assert.equal(icmpv6.identifier(view, 2), 0x1234);
});

Deno.test("the checksum covers message, addresses, length and protocol (RFC 4443 §2.3)", () => {
  for (const lengthBytes of [0, 1, 56, 1453]) {
    const frame = buildIcmp6({ payload: new Uint8Array(lengthBytes).fill(0x5a) });
    const view = new DataView(frame.buffer);
    const right = icmpv6.checksum(view, ICMP);
    assert.ok(icmpv6.isChecksumRight(view, IP, ICMP, frame.length));
    assert.ok(!icmpv6.isChecksumRight(view, IP, ICMP, frame.length - 1));
    for (const at of [IP + 8, IP + 39, ICMP, ICMP + 7, frame.length - 1]) {
      frame[at]! ^= 1;
      assert.ok(!icmpv6.isChecksumRight(view, IP, ICMP, frame.length), `byte ${at}`);
      icmpv6.writeChecksum(view, IP, ICMP, frame.length);
      assert.ok(icmpv6.isChecksumRight(view, IP, ICMP, frame.length));
      frame[at]! ^= 1;
      icmpv6.writeChecksum(view, IP, ICMP, frame.length);
      assert.equal(icmpv6.checksum(view, ICMP), right);
    }
  }
});

Deno.test("updateChecksum follows a change of address, identifier and type", () => {
  const frame = buildIcmp6();
  const view = new DataView(frame.buffer);
  const source = address6Words("fd00::1:2:3:4");
  const delta = checksum.deltaAddress6(view, IP + SOURCE, source, 0) +
    checksum.delta16(icmpv6.identifier(view, ICMP), 0xffff) +
    checksum.delta16(0x8000, 0x8100);
  setSource(view, IP, source, 0);
  icmpv6.setIdentifier(view, ICMP, 0xffff);
  icmpv6.setType(view, ICMP, icmpv6.ICMPV6_ECHO_REPLY);
  icmpv6.updateChecksum(view, ICMP, delta);
  const expected = buildIcmp6({ src: "fd00::1:2:3:4", type: 129, rest: [0xff, 0xff, 0, 1] });
  assert.deepEqual(frame, expected);
});

tsharkTest("tshark reads every kind of error and echo as icmpv6 wrote it", async () => {
  const quote = buildIcmp6().subarray(14);
  const kinds: [number, number, number][] = [
    ...range(0, 4).map((code): [number, number, number] => [1, code, 0]),
    [2, 0, 1280],
    [3, 0, 0],
    [3, 1, 0],
    ...range(0, 3).map((code): [number, number, number] => [4, code, 40 + code]),
  ];
  const frames = kinds.map(([type, code, rest]) => {
    const frame = buildIcmp6({ payload: quote });
    const view = new DataView(frame.buffer);
    icmpv6.writeHeader(view, ICMP, type, code, rest);
    icmpv6.writeChecksum(view, IP, ICMP, frame.length);
    return frame;
  });
  assert.deepEqual(await judge([...frames, buildIcmp6()]), []);
  const fields = ["icmpv6.type", "icmpv6.code", "icmpv6.mtu", "icmpv6.pointer"];
  const found = (await readFields(frames, fields)).map((values) =>
    values.map((value) => value.split("|")[0])
  );
  const expected = kinds.map(([type, code, rest]) => [
    `${type}`,
    `${code}`,
    type === 2 ? `${rest}` : "",
    type === 4 ? `${rest}` : "",
  ]);
  assert.deepEqual(found, expected);
});

function range(first: number, last: number): number[] {
  return Array.from({ length: last - first + 1 }, (_, i) => first + i);
}
