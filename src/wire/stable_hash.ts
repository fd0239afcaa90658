/**
 * A hash that is the same in every run, so that instances of the proxy agree without communicating.
 * Over IPv6 it is of the whole addresses: their digests are keyed, and others in every run.
 */
import { OVER_IPV6, type Pdu } from "./pdu.ts";

/** Offsets in `Pdu.addresses`. */
const SRC = 0;
const DST = 4;

/** Hash of addresses, protocol and ports: any 32 bits, signed. */
export function stableHash(pdu: Readonly<Pdu>): number {
  let hash = pdu.protocol;
  if ((hash & OVER_IPV6) === 0) hash = mix(pdu.dst, mix(pdu.src, hash));
  else hash = mixAddress(pdu.addresses, DST, mixAddress(pdu.addresses, SRC, hash));
  return mix((pdu.srcPort << 16) | pdu.dstPort, hash);
}

/** Hash of the two addresses, likewise. */
export function addressesHash(pdu: Readonly<Pdu>): number {
  const hash = sourceHash(pdu);
  return isIpv6(pdu) ? mixAddress(pdu.addresses, DST, hash) : mix(pdu.dst, hash);
}

/** Hash of the source address, likewise. */
export function sourceHash(pdu: Readonly<Pdu>): number {
  return isIpv6(pdu) ? mixAddress(pdu.addresses, SRC, 0) : mix(pdu.src, 0);
}

/** Hash of the destination address, likewise. */
export function destinationHash(pdu: Readonly<Pdu>): number {
  return isIpv6(pdu) ? mixAddress(pdu.addresses, DST, 0) : mix(pdu.dst, 0);
}

function isIpv6({ protocol }: Readonly<Pdu>): boolean {
  return (protocol & OVER_IPV6) !== 0;
}

/** Hash of the IPv6 address at `at`, whose four words each count. */
export function mixAddress(words: Int32Array, at: number, seed: number): number {
  return mix(words[at + 3]!, mix(words[at + 2]!, mix(words[at + 1]!, mix(words[at]!, seed))));
}

/** The finalizer of MurmurHash3. */
export function mix(value: number, seed: number): number {
  let hash = Math.imul(value ^ seed, 0x85ebca6b);
  hash = Math.imul(hash ^ (hash >>> 13), 0xc2b2ae35);
  return hash ^ (hash >>> 16);
}
