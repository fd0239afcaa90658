import assert from "node:assert/strict";
import * as icmpv4 from "../../src/wire/icmpv4.ts";

Deno.test("ICMP_TYPES names every type that IANA has assigned, and no other", () => {
  const assigned = [0, 3, 4, 5, 6, ...range(8, 18), ...range(30, 43), 253, 254];
  assert.deepEqual(Object.keys(icmpv4.ICMP_TYPES).map(Number), assigned);
  const names = Object.values(icmpv4.ICMP_TYPES).map((type) => type.name);
  assert.equal(new Set(names).size, names.length);
  for (const name of names) assert.match(name, /^[A-Za-z0-9 -]+$/);
});

Deno.test("ICMP_TYPES names the types that the proxy itself sends or answers", () => {
  const names: [number, string][] = [
    [icmpv4.ICMP_ECHO_REPLY, "Echo reply"],
    [icmpv4.ICMP_UNREACHABLE, "Destination unreachable"],
    [icmpv4.ICMP_ECHO_REQUEST, "Echo request"],
    [icmpv4.ICMP_TIME_EXCEEDED, "Time exceeded"],
  ];
  for (const [type, name] of names) assert.equal(icmpv4.ICMP_TYPES[type]?.name, name);
});

Deno.test("ICMP_TYPES marks the queries, which have an identifier", () => {
  const queries = Object.entries(icmpv4.ICMP_TYPES).filter(([, type]) => type.query);
  assert.deepEqual(queries.map(([type]) => Number(type)), [0, 8, 13, 14, 15, 16, 17, 18]);
});

Deno.test("ICMP_TYPES has the codes of RFC 792, 1122, 1812 and 4884 in their places", () => {
  const codes: [number, number, string][] = [
    [3, icmpv4.CODE_NET_UNREACHABLE, "Net unreachable"],
    [3, icmpv4.CODE_HOST_UNREACHABLE, "Host unreachable"],
    [3, 2, "Protocol unreachable"],
    [3, icmpv4.CODE_PORT_UNREACHABLE, "Port unreachable"],
    [3, icmpv4.CODE_FRAGMENTATION_NEEDED, "Fragmentation needed"],
    [3, 5, "Source route failed"],
    [3, 9, "Network administratively prohibited"],
    [3, icmpv4.CODE_ADMIN_PROHIBITED, "Communication administratively prohibited"],
    [3, 15, "Precedence cutoff in effect"],
    [5, 1, "Host"],
    [11, 0, "TTL exceeded in transit"],
    [11, 1, "Reassembly time exceeded"],
    [12, 2, "Bad length"],
  ];
  for (const [type, code, name] of codes) {
    assert.equal(icmpv4.ICMP_TYPES[type]?.codes?.[code], name);
  }
  assert.equal(icmpv4.ICMP_TYPES[3]?.codes?.length, 16);
});

Deno.test("icmpv4 getters and setters stand where RFC 792 puts the fields", () => {
  const view = new DataView(new ArrayBuffer(12));
  icmpv4.writeHeader(view, 2, 11, 1, 0xfedc_ba98 | 0);
  icmpv4.setChecksum(view, 2, 0xbeef);
  assert.deepEqual([...new Uint8Array(view.buffer, 2, 8)], [
    ...[11, 1, 0xbe, 0xef],
    ...[0xfe, 0xdc, 0xba, 0x98],
  ]);
  assert.equal(icmpv4.type(view, 2), 11);
  assert.equal(icmpv4.code(view, 2), 1);
  assert.equal(icmpv4.checksum(view, 2), 0xbeef);
  assert.equal(icmpv4.identifier(view, 2), 0xfedc);
  assert.equal(icmpv4.sequence(view, 2), 0xba98);
  icmpv4.setType(view, 2, 0);
  assert.equal(icmpv4.type(view, 2), 0);
});

function range(first: number, last: number): number[] {
  return Array.from({ length: last - first + 1 }, (_, i) => first + i);
}
