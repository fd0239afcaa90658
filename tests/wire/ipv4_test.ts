import assert from "node:assert/strict";
import { parseAddress } from "../../src/wire/address.ts";
import * as ipv4 from "../../src/wire/ipv4.ts";
import { buildIp } from "../support/frames.ts";

Deno.test("ipv4 getters read what an independent builder wrote", () => {
  const frame = buildIp({
    src: "203.0.113.9",
    dst: "255.1.2.3",
    ttl: 255,
    fragment: 0x3fff,
    protocol: 200,
    options: [1, 1, 1, 0],
  }, [1, 2, 3]);
  const view = new DataView(frame.buffer);
  assert.equal(ipv4.version(view, 14), 4);
  assert.equal(ipv4.headerBytes(view, 14), 24);
  assert.equal(ipv4.totalLength(view, 14), 27);
  assert.equal(ipv4.flagsAndOffset(view, 14), 0x3fff);
  assert.equal(ipv4.ttl(view, 14), 255);
  assert.equal(ipv4.protocol(view, 14), 200);
  assert.equal(ipv4.source(view, 14), parseAddress("203.0.113.9"));
  assert.equal(ipv4.destination(view, 14), parseAddress("255.1.2.3"));
  assert.equal(ipv4.checksum(view, 14), frame[24]! * 256 + frame[25]!);
});

Deno.test("ipv4.writeHeader and the setters write what an independent builder writes", () => {
  const expected = buildIp({ tos: 0xc0, id: 0xbeef, fragment: 0x4000, ttl: 7, protocol: 1 }, []);
  const view = new DataView(new Uint8Array(34).fill(0xff).buffer);
  ipv4.writeHeader(view, 14, {
    totalLength: 20,
    tos: 0xc0,
    id: 0xbeef,
    flags: ipv4.DONT_FRAGMENT,
    ttl: 64,
    protocol: ipv4.PROTOCOL_ICMP,
    src: 0,
    dst: 0,
  });
  assert.equal(ipv4.checksum(view, 14), 0);
  ipv4.setTtl(view, 14, 7);
  ipv4.setSource(view, 14, parseAddress("192.168.0.254"));
  ipv4.setDestination(view, 14, parseAddress("192.168.0.100"));
  ipv4.setChecksum(view, 14, expected[24]! * 256 + expected[25]!);
  assert.deepEqual(new Uint8Array(view.buffer, 14), expected.subarray(14));
});

Deno.test("optionsAcceptable wants well-formed options without a source route", () => {
  const cases: [string, number[], boolean][] = [
    ["no-operations", [1, 1, 1, 1], true],
    ["end of list, whatever follows", [0, 131, 0, 0], true],
    ["record route", [7, 7, 4, 0, 0, 0, 0, 0], true],
    ["timestamp", [68, 8, 5, 0, 0, 0, 0, 0], true],
    ["router alert", [148, 4, 0, 0], true],
    ["an unknown option of two bytes", [222, 2, 1, 1], true],
    ["loose source route", [131, 7, 4, 1, 2, 3, 4, 0], false],
    ["strict source route", [137, 7, 4, 1, 2, 3, 4, 0], false],
    ["a source route behind others", [1, 148, 4, 0, 0, 131, 3, 4], false],
    ["length 0", [7, 0, 0, 0], false],
    ["length 1", [7, 1, 0, 0], false],
    ["length beyond the header by one", [7, 5, 4, 0], false],
    ["length far beyond the header", [7, 255, 4, 0], false],
    ["length cut off", [1, 1, 1, 7], false],
  ];
  for (const [name, options, acceptable] of cases) {
    for (const behind of [0x00, 0xff, 0x02]) {
      const bytes = new Uint8Array(80).fill(behind);
      bytes.set(options, 20);
      const view = new DataView(bytes.buffer);
      assert.equal(ipv4.optionsAcceptable(view, 0, 20 + options.length), acceptable, name);
    }
  }
});
