/**
 * Pieces of which the fast path's program is made, and its variables. Where no register is named,
 * R6 is the context and R7 the frame, and R0 … R5 are lost.
 */
import {
  type Assembler,
  R0,
  R1,
  R10,
  R2,
  R3,
  R4,
  R5,
  R6,
  R7,
  R8,
  R9,
  type Register,
} from "../bpf/assembler.ts";
import * as at from "./layout.ts";

/** The name of the shared memory in the program. */
export const MEMORY = "memory";

/** Most attempts at storing a word that another processor changes as well. */
const MOST_ATTEMPTS = 4;

/** Of struct __sk_buff (linux/bpf.h): where the frame's linear part ends. */
const FRAME_END = 80;

// Helper functions (bpf-helpers(7)), and a flag.
const STORE_BYTES = 9;
export const REPLACE_CHECKSUM = 11;
export const PSEUDO_HEADER = 0x10;

export const WORD = 4;

/** Variables on the stack, by their distance from its end: words, named as header prediction's. */
export const Var = {
  /** The first four lie in the frame like this. */
  newTtlWord: -16,
  newSrc: -12,
  newDst: -8,
  newPorts: -4,
  /** And so do the Ethernet header's addresses. */
  mac0: -28,
  mac1: -24,
  mac2: -20,
  ttlWord: -32,
  src: -36,
  dst: -40,
  ports: -44,
  seq: -48,
  ack: -52,
  flags: -56,
  end: -60,
  window: -64,
  totalLength: -68,
  /** The longest packet that it leaves in. */
  longest: -72,
  ttlChange: -76,
  ticket: -80,
  /** 0 or 1: the direction that the tuple is of. */
  side: -84,
  nowMs: -88,
  ifindex: -92,
  /** Not at a multiple of 8: there the verifier would know what was stored. */
  slot: -100,
  /** Addresses in the shared memory. */
  counter: -112,
  nextHop: -120,
  lastHop: -128,
  /** OVER_IPV6, or 0; only with IPv6, as all that follows. */
  family: -136,
  entry: -132,
  /** Source and destination as they came, then new; ports follow, as in the frame. */
  addresses: -172,
  newPorts6: -140,
  /** Where those of the other direction are. */
  answerAddresses: -184,
} as const;

/** The frame R7 has so many bytes in its linear part. */
export function needs(code: Assembler, bytes: number): void {
  code.load(R0, "u32", R6, FRAME_END);
  code.op(R1, "=", R7);
  code.op(R1, "+=", bytes);
  code.jumpIf(R1, ">", R0, "leave");
}

/** A 32-bit word of the frame R7. */
export function loadWord(code: Assembler, to: Register, offset: number): void {
  code.load(to, "u32", R7, offset);
  code.toBigEndian(to, 32);
}

/** The direction; masked, as the verifier does not know what was stored. */
export function loadSide(code: Assembler, to: Register): void {
  code.load(to, "u32", R10, Var.side);
  code.op(to, "&=", 1);
}

/** A word that will be in the frame; its register is of no use after that. */
export function storeWord(code: Assembler, variable: number, from: Register): void {
  code.toBigEndian(from, 32);
  code.store("u32", R10, variable, from);
}

/** `pointer += factor * number`. */
export function addTimes(
  code: Assembler,
  pointer: Register,
  number: Register,
  factor: number,
  scratch: Register,
): void {
  code.op(scratch, "=", number);
  code.op(scratch, "*=", factor);
  code.op(pointer, "+=", scratch);
}

/** Folds a sum below 2³⁷ into 16 bits, as `fold` of wire/checksum.ts. */
export function fold(code: Assembler, sum: Register, scratch: Register): void {
  for (let i = 0; i < 3; i++) {
    code.op(scratch, "=", sum);
    code.op(scratch, ">>=", 16);
    code.op(sum, "&=", 0xffff);
    code.op(sum, "+=", scratch);
  }
}

/** Adds the change from a variable's value to `now`, as `delta32` of wire/checksum.ts. */
export function addChange(code: Assembler, sum: Register, old: number, now: Register): void {
  code.load(R2, "u32", R10, old);
  code.op32(R2, "^=", 0xffff_ffff);
  code.op(sum, "+=", R2);
  code.op(sum, "+=", now);
}

/** Adds to the hash R0 the part of that byte of R3; the tables are at R1. */
export function hashByte(code: Assembler, table: number, shift: number): void {
  code.op32(R4, "=", R3);
  if (shift > 0) code.op32(R4, ">>=", shift);
  code.op32(R4, "&=", 0xff);
  code.op(R4, "<<=", 2);
  code.op(R5, "=", R1);
  code.op(R5, "+=", R4);
  code.load(R4, "u32", R5, WORD * 256 * table);
  code.op32(R0, "^=", R4);
}

/** Address of the neighbour whose number is at `base + offset`. */
export function neighborOf(
  code: Assembler,
  layout: at.Layout,
  to: Register,
  base: Register,
  offset: number,
): void {
  code.load(R1, "u32", base, offset);
  code.op32(R1, "&=", (1 << at.NEIGHBOR_BITS) - 1);
  code.jumpIf(R1, ">=", layout.neighbors, "leave");
  code.address(to, MEMORY, layout.at.neighbors);
  addTimes(code, to, R1, WORD * at.NEIGHBOR_WORDS, R2);
}

/** Goes on only if the ticket in the ways R9 is still the one that was read first. */
export function unlessDemoted(code: Assembler): void {
  code.load(R1, "u32", R9, WORD * at.TICKET);
  code.load(R2, "u32", R10, Var.ticket);
  code.jumpIf32(R1, "!=", R2, "leave");
}

/** Raises the word at `base + offset` to R4, modulo 2³², whoever else does so at the same time. */
export function raise(code: Assembler, base: Register, offset: number, name: string): void {
  const [again, done] = [`raise ${name}`, `raised ${name}`];
  code.load(R0, "u32", base, offset);
  code.op(R3, "=", MOST_ATTEMPTS);
  code.label(again);
  code.op32(R1, "=", R4);
  code.op32(R1, "-=", R0);
  code.jumpIf32(R1, "s<=", 0, done);
  code.op32(R1, "=", R0);
  code.compareExchange("u32", base, offset, R4);
  code.jumpIf32(R0, "==", R1, done);
  code.op(R3, "-=", 1);
  code.jumpIf(R3, "!=", 0, again);
  code.jump("leave");
  code.label(done);
}

/**
 * Adjusts the checksum there: a partial one is the sum of the pseudo-header, without ports. A
 * kernel that does not know one of the flags changes nothing, and the proxy gets the frame.
 */
export function replaceSums(code: Assembler, offset: number, flags: number): void {
  for (const [change, more, failed] of [[R8, PSEUDO_HEADER, "leave"], [R7, 0, "drop"]] as const) {
    code.op(R1, "=", R6);
    code.op(R2, "=", offset);
    code.op(R3, "=", 0);
    code.op(R4, "=", change);
    code.op(R5, "=", flags | more);
    code.call(REPLACE_CHECKSUM);
    code.jumpIf32(R0, "!=", 0, failed);
  }
}

/** Writes so many bytes of the stack, from a variable on, to an offset of the frame. */
export function storeBytes(code: Assembler, offset: number, variable: number, bytes: number): void {
  code.op(R1, "=", R6);
  code.op(R2, "=", offset);
  code.op(R3, "=", R10);
  code.op(R3, "+=", variable);
  code.op(R4, "=", bytes);
  code.op(R5, "=", 0);
  code.call(STORE_BYTES);
  code.jumpIf32(R0, "!=", 0, "drop");
}

export function linkAt(layout: at.Layout, link: number): number {
  return layout.at.settings + WORD * (at.LINKS + link * at.LINK_WORDS);
}
