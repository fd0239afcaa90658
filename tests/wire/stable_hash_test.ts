import assert from "node:assert/strict";
import { parseAddress } from "../../src/wire/address.ts";
import { parseAddress6 } from "../../src/wire/address6.ts";
import { OVER_IPV6, Pdu } from "../../src/wire/pdu.ts";
import {
  addressesHash,
  destinationHash,
  mix,
  sourceHash,
  stableHash,
} from "../../src/wire/stable_hash.ts";

function tcpOverIpv4(src: string, dst: string): Pdu {
  const [srcPort, dstPort] = [40_000, 80];
  return Object.assign(new Pdu(), {
    ...{ protocol: 6, srcPort, dstPort },
    ...{ src: parseAddress(src), dst: parseAddress(dst) },
  });
}

function tcpOverIpv6(src: string, dst: string): Pdu {
  const pdu = Object.assign(new Pdu(), {
    ...{ protocol: 6 | OVER_IPV6, srcPort: 40_000, dstPort: 80 },
  });
  pdu.addresses.set(parseAddress6(src), 0);
  pdu.addresses.set(parseAddress6(dst), 4);
  return pdu;
}

Deno.test("hashes over IPv4 are those of the two addresses, protocol and ports", () => {
  const pdu = tcpOverIpv4("10.0.0.1", "192.168.0.100");
  const { src, dst } = pdu;
  assert.equal(sourceHash(pdu), mix(src, 0));
  assert.equal(destinationHash(pdu), mix(dst, 0));
  assert.equal(addressesHash(pdu), mix(dst, mix(src, 0)));
  assert.equal(stableHash(pdu), mix((40_000 << 16) | 80, mix(dst, mix(src, 6))));
});

Deno.test("hashes over IPv6 depend on every word of the addresses, and not on their digests", () => {
  const hashes = [sourceHash, destinationHash, addressesHash, stableHash];
  const asks = [[true, false], [false, true], [true, true], [true, true]];
  const pdu = tcpOverIpv6("2001:db8::1", "2001:db8::100");
  const before = hashes.map((hash) => hash(pdu));
  assert.equal(new Set(before).size, hashes.length);
  for (let word = 0; word < 8; word++) {
    pdu.addresses[word]! ^= 1;
    for (const [i, hash] of hashes.entries()) {
      const isAsked = asks[i]![word < 4 ? 0 : 1]!;
      assert.equal(hash(pdu) !== before[i], isAsked, `${hash.name}, word ${word}`);
    }
    pdu.addresses[word]! ^= 1;
  }
  Object.assign(pdu, { src: 1, dst: 2 });
  assert.deepEqual(hashes.map((hash) => hash(pdu)), before);
});

Deno.test("hashes over IPv6 are the same in every run", () => {
  const pdu = tcpOverIpv6("2001:db8::1", "2001:db8::100");
  const hashes = [sourceHash(pdu), destinationHash(pdu), addressesHash(pdu)];
  assert.deepEqual(hashes, [-1_758_435_047, 1_167_235_273, 1_311_710_868]);
});
