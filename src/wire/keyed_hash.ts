/**
 * A hash with a key of 128 bits, the same for all who have the key: instances of the proxy agree
 * without talking, and who does not know the key can't choose packets that meet. The permutation of
 * Chaskey (Mouha et al. 2014), 8 rounds, with the key before and after it. It allocates nothing.
 */
import { ADDRESS6_WORDS } from "./address6.ts";
import { isIpv6, type Pdu } from "./pdu.ts";

/** Four 32-bit words. */
export type HashKey = readonly [number, number, number, number];

/** For those who need only agree. */
export const NO_KEY: HashKey = [0, 0, 0, 0];

const ROUNDS = 8;

/** Hash of a block of four words: any 32 bits, signed. */
export function keyedHash(key: HashKey, a: number, b: number, c: number, d: number): number {
  let v0 = a ^ key[0];
  let v1 = b ^ key[1];
  let v2 = c ^ key[2];
  let v3 = d ^ key[3];
  for (let round = 0; round < ROUNDS; round++) {
    v0 = (v0 + v1) | 0;
    v1 = ((v1 << 5) | (v1 >>> 27)) ^ v0;
    v0 = (v0 << 16) | (v0 >>> 16);
    v2 = (v2 + v3) | 0;
    v3 = ((v3 << 8) | (v3 >>> 24)) ^ v2;
    v0 = (v0 + v3) | 0;
    v3 = ((v3 << 13) | (v3 >>> 19)) ^ v0;
    v2 = (v2 + v1) | 0;
    v1 = ((v1 << 7) | (v1 >>> 25)) ^ v2;
    v2 = (v2 << 16) | (v2 >>> 16);
  }
  return v0 ^ key[0];
}

/** Hash of the source address: over IPv6 the whole one, as digests differ from run to run. */
export function keyedSourceHash(key: HashKey, { protocol, src, addresses }: Readonly<Pdu>): number {
  return isIpv6(protocol) ? ofAddress(key, addresses, 0) : keyedHash(key, src, 0, 0, 1);
}

/** Hash of addresses, protocol and ports, likewise. */
export function keyedTupleHash(key: HashKey, pdu: Readonly<Pdu>): number {
  const { protocol, addresses, srcPort, dstPort } = pdu;
  const isOver6 = isIpv6(protocol);
  const src = isOver6 ? ofAddress(key, addresses, 0) : pdu.src;
  const dst = isOver6 ? ofAddress(key, addresses, ADDRESS6_WORDS) : pdu.dst;
  return keyedHash(key, src, dst, (srcPort << 16) | dstPort, protocol << 8 | 2);
}

/** Hash of the IPv6 address at `at`. */
function ofAddress(key: HashKey, words: Readonly<Int32Array>, at: number): number {
  return keyedHash(key, words[at]!, words[at + 1]!, words[at + 2]!, words[at + 3]!);
}

/** The key that so many bytes make, all of which count. */
export function hashKeyOf(bytes: Uint8Array): HashKey {
  const padded = new Uint8Array(Math.ceil(bytes.length / 16) * 16);
  padded.set(bytes);
  const view = new DataView(padded.buffer);
  let key: HashKey = [0x54726565, 0x67617465, bytes.length, 0];
  for (let at = 0; at < padded.length; at += 16) {
    const block = [0, 4, 8, 12].map((word) => view.getInt32(at + word)) as [
      number,
      number,
      number,
      number,
    ];
    const mixed = [0, 1, 2, 3].map((word) => {
      const [a, b, c, d] = block;
      return keyedHash(key, a ^ word, b, c, d);
    });
    key = mixed as unknown as HashKey;
  }
  return key;
}
