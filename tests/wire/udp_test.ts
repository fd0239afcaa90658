import assert from "node:assert/strict";
import * as udp from "../../src/wire/udp.ts";

Deno.test("udp getters and setters stand where RFC 768 puts the fields", () => {
  const view = new DataView(new ArrayBuffer(12));
  view.setUint32(2, 0x1234_5678);
  view.setUint32(6, 0xfedc_ba98);
  assert.equal(udp.sourcePort(view, 2), 0x1234);
  assert.equal(udp.destinationPort(view, 2), 0x5678);
  assert.equal(udp.length(view, 2), 0xfedc);
  assert.equal(udp.checksum(view, 2), 0xba98);
  udp.setPorts(view, 2, 1, 65_535);
  assert.equal(view.getUint32(2), 0x0001_ffff);
});

Deno.test("udp.setChecksum writes a computed 0 as 0xffff, all else as it is", () => {
  const view = new DataView(new ArrayBuffer(8));
  for (const [checksum, written] of [[0, 0xffff], [1, 1], [0xffff, 0xffff]] as const) {
    udp.setChecksum(view, 0, checksum);
    assert.equal(view.getUint16(6), written);
  }
});
