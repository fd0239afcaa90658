import assert from "node:assert/strict";
import * as ipv6 from "../../src/wire/ipv6.ts";
import { address6Words, buildIp6 } from "../support/frames6.ts";

const SRC = "2001:db8::8000:1";
const DST = "fe80::ff:fe00:fe";

Deno.test("ipv6 getters read what an independent builder wrote", () => {
  const fields = { src: SRC, dst: DST, hopLimit: 255, trafficClass: 0xab, protocol: 200 };
  for (const flowLabel of [0, 1, 0x8_0000, 0xf_edcb, 0xf_ffff]) {
    const view = new DataView(buildIp6({ ...fields, flowLabel }, [1, 2, 3]).buffer);
    assert.equal(ipv6.version(view, 14), 6);
    assert.equal(ipv6.trafficClass(view, 14), 0xab);
    assert.equal(ipv6.flowLabel(view, 14), flowLabel);
    assert.equal(ipv6.payloadLength(view, 14), 3);
    assert.equal(ipv6.nextHeader(view, 14), 200);
    assert.equal(ipv6.hopLimit(view, 14), 255);
    const words = new Int32Array(9);
    ipv6.readSource(view, 14, words, 1);
    ipv6.readDestination(view, 14, words, 5);
    assert.deepEqual(words, Int32Array.of(0, ...address6Words(SRC), ...address6Words(DST)));
  }
});

Deno.test("ipv6.writeHeader writes what an independent builder writes, and no byte more", () => {
  const fields = { src: SRC, dst: DST, hopLimit: 3, trafficClass: 0xff, flowLabel: 0xf_ffff };
  const expected = buildIp6({ ...fields, protocol: 58 }, new Uint8Array(40_000));
  const bytes = new Uint8Array(60).fill(0xee);
  ipv6.writeHeader(new DataView(bytes.buffer), 14, {
    ...fields,
    payloadLength: 40_000,
    nextHeader: ipv6.PROTOCOL_ICMPV6,
    src: address6Words(SRC),
    dst: address6Words(DST),
  });
  assert.deepEqual(bytes.subarray(14, 54), expected.subarray(14, 54));
  assert.ok([...bytes.subarray(0, 14), ...bytes.subarray(54)].every((byte) => byte === 0xee));
});

Deno.test("ipv6 setters change their field and no other", () => {
  const before = { src: SRC, dst: DST, hopLimit: 64, trafficClass: 0x5a, flowLabel: 0xa_5a5a };
  const view = new DataView(buildIp6({ ...before, protocol: 6 }, []).buffer);
  ipv6.setTrafficClass(view, 14, 0xa5);
  ipv6.setFlowLabel(view, 14, 0x5_a5a5);
  ipv6.setPayloadLength(view, 14, 5);
  ipv6.setNextHeader(view, 14, 58);
  ipv6.setHopLimit(view, 14, 63);
  const words = Int32Array.of(0, ...address6Words("::1:2"), ...address6Words("ff02::16"));
  ipv6.setSource(view, 14, words, 1);
  ipv6.setDestination(view, 14, words, 5);
  const after = { src: "::1:2", dst: "ff02::16", hopLimit: 63, trafficClass: 0xa5 };
  const expected = buildIp6({ ...after, flowLabel: 0x5_a5a5, protocol: 58 }, new Uint8Array(5));
  assert.deepEqual(new Uint8Array(view.buffer), expected.subarray(0, 54));
});
