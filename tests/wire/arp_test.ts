import assert from "node:assert/strict";
import { parseAddress, parseMac } from "../../src/wire/address.ts";
import * as arp from "../../src/wire/arp.ts";
import { buildArp, readArp } from "../support/frames.ts";

Deno.test("writeArp writes frames that an independent reader understands", () => {
  const sender = { mac: parseMac("02:00:00:00:01:00"), address: parseAddress("192.168.0.100") };
  const cases: [string | null, string][] = [
    ["fe:dc:ba:98:76:54", "fe:dc:ba:98:76:54"],
    [null, "ff:ff:ff:ff:ff:ff"],
  ];
  for (const operation of [arp.ARP_REQUEST, arp.ARP_REPLY]) {
    for (const [mac, dstMac] of cases) {
      const bytes = new Uint8Array(60).fill(0xee);
      const target = {
        mac: mac === null ? null : parseMac(mac),
        address: parseAddress("10.1.2.3"),
      };
      arp.writeArp(new DataView(bytes.buffer), 10, operation, sender, target);
      assert.deepEqual(readArp(bytes.subarray(10)), {
        dstMac,
        srcMac: "02:00:00:00:01:00",
        etherType: 0x0806,
        operation,
        senderMac: "02:00:00:00:01:00",
        senderAddress: "192.168.0.100",
        targetMac: mac ?? "00:00:00:00:00:00",
        targetAddress: "10.1.2.3",
      });
      assert.ok(bytes.subarray(0, 10).every((byte) => byte === 0xee));
      assert.ok(bytes.subarray(52).every((byte) => byte === 0xee));
    }
  }
});

Deno.test("arp getters read what an independent builder wrote", () => {
  const view = new DataView(
    buildArp({
      operation: 2,
      senderMac: "fe:dc:ba:98:76:54",
      senderAddress: "192.168.0.7",
      targetAddress: "200.1.2.3",
    }).buffer,
  );
  assert.equal(arp.operation(view, 14), arp.ARP_REPLY);
  assert.deepEqual(
    { hi: arp.senderHi(view, 14), lo: arp.senderLo(view, 14) },
    parseMac("fe:dc:ba:98:76:54"),
  );
  assert.equal(arp.senderAddress(view, 14), parseAddress("192.168.0.7"));
  assert.equal(arp.targetAddress(view, 14), parseAddress("200.1.2.3"));
});

Deno.test("isEthernetIpv4 takes requests and replies for IPv4 over Ethernet alone", () => {
  const cases: [string, number, number, boolean][] = [
    ["request", 7, 1, true],
    ["reply", 7, 2, true],
    ["operation 0", 7, 0, false],
    ["RARP request", 7, 3, false],
    ["operation 257", 6, 1, false],
    ["hardware type 6", 1, 6, false],
    ["protocol type 0x0801", 3, 1, false],
    ["hardware length 8", 4, 8, false],
    ["protocol length 16", 5, 16, false],
  ];
  for (const [name, at, value, expected] of cases) {
    const frame = buildArp();
    frame[14 + at] = value;
    assert.equal(arp.isEthernetIpv4(new DataView(frame.buffer), 14), expected, name);
  }
});
