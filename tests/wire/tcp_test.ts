import assert from "node:assert/strict";
import * as tcp from "../../src/wire/tcp.ts";

/**
 * What an endpoint sends, by the flags that matter (PSH, URG, ECE and CWR may come with each): the
 * other ten of the sixteen sets are scans or mistakes.
 */
const POSSIBLE = ["SYN", "SYN ACK", "RST", "RST ACK", "ACK", "FIN ACK"];

Deno.test("flagsPossible agrees with the table of words over all sets of six flags", () => {
  const bits = [["FIN", tcp.FIN], ["SYN", tcp.SYN], ["RST", tcp.RST], ["ACK", tcp.ACK]] as const;
  for (let flags = 0; flags < 64; flags++) {
    const word = bits.filter(([, bit]) => (flags & bit) !== 0).map(([name]) => name).join(" ");
    assert.equal(tcp.flagsPossible(flags), POSSIBLE.includes(word), word || "none");
    assert.equal(tcp.flagsPossible(flags | 0xc0), tcp.flagsPossible(flags), "ECE and CWR");
  }
});

Deno.test("tcp getters and setters stand where RFC 9293 §3.1 puts the fields", () => {
  const view = new DataView(new ArrayBuffer(24));
  view.setUint32(2, 0x1234_5678);
  view.setUint32(6, 0x89ab_cdef);
  view.setUint32(10, 0xfedc_ba98);
  view.setUint16(14, 0xf0c3);
  view.setUint16(18, 0xbeef);
  assert.equal(tcp.ports(view, 2), 0x1234_5678);
  assert.equal(tcp.sequence(view, 2), 0x89ab_cdef | 0);
  assert.equal(tcp.acknowledgment(view, 2), 0xfedc_ba98 | 0);
  assert.equal(tcp.headerBytes(view, 2), 60);
  assert.equal(tcp.flags(view, 2), 0xc3);
  assert.equal(tcp.checksum(view, 2), 0xbeef);
  tcp.setPorts(view, 2, 65_535, 1);
  tcp.setChecksum(view, 2, 0xcafe);
  assert.equal(view.getUint32(2), 0xffff_0001);
  assert.equal(view.getUint16(18), 0xcafe);
});
