/**
 * A hash that is the same in every run, so that instances of the proxy agree without communicating.
 */
import type { Pdu } from "./pdu.ts";

/** Hash of addresses, protocol and ports: any 32 bits, signed. */
export function stableHash(pdu: Readonly<Pdu>): number {
  let hash = mix(pdu.src, pdu.protocol);
  hash = mix(pdu.dst, hash);
  return mix((pdu.srcPort << 16) | pdu.dstPort, hash);
}

/** Hash of the two addresses, likewise. */
export function addressesHash(pdu: Readonly<Pdu>): number {
  return mix(pdu.dst, mix(pdu.src, 0));
}

/** The finalizer of MurmurHash3. */
export function mix(value: number, seed: number): number {
  let hash = Math.imul(value ^ seed, 0x85ebca6b);
  hash = Math.imul(hash ^ (hash >>> 13), 0xc2b2ae35);
  return hash ^ (hash >>> 16);
}
