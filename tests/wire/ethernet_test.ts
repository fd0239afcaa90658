import assert from "node:assert/strict";
import { parseMac } from "../../src/wire/address.ts";
import * as ethernet from "../../src/wire/ethernet.ts";
import { buildEthernet } from "../support/frames.ts";

const HEADER = { dstMac: "fe:dc:ba:98:76:54", srcMac: "02:00:80:00:00:01", etherType: 0x88a8 };

Deno.test("ethernet getters read what an independent builder wrote", () => {
  const view = new DataView(buildEthernet(HEADER, []).buffer);
  const destination = {
    hi: ethernet.destinationHi(view, 0),
    lo: ethernet.destinationLo(view, 0),
  };
  const source = { hi: ethernet.sourceHi(view, 0), lo: ethernet.sourceLo(view, 0) };
  assert.deepEqual(destination, parseMac(HEADER.dstMac));
  assert.deepEqual(source, parseMac(HEADER.srcMac));
  assert.equal(ethernet.etherType(view, 0), ethernet.ETHERTYPE_QINQ);
});

Deno.test("ethernet setters write what an independent builder writes", () => {
  const bytes = new Uint8Array(ethernet.ETHERNET_BYTES);
  const view = new DataView(bytes.buffer);
  const [destination, source] = [parseMac(HEADER.dstMac), parseMac(HEADER.srcMac)];
  ethernet.setDestination(view, 0, destination.hi, destination.lo);
  ethernet.setSource(view, 0, source.hi, source.lo);
  ethernet.setEtherType(view, 0, HEADER.etherType);
  assert.deepEqual(bytes, buildEthernet(HEADER, []));
});
