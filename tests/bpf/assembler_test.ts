/** The assembler: what it writes, by RFC 9669, and what it refuses; and that it runs. */
import assert from "node:assert/strict";
import * as bpf from "../../src/bpf/assembler.ts";
import { Assembler, R0, R1, R10, R2, R3, R9 } from "../../src/bpf/assembler.ts";
import { Machine } from "../support/bpf.ts";

/** Each with its 8 bytes, as RFC 9669 has them. */
const ENCODINGS: readonly [string, (code: Assembler) => void, string][] = [
  ["r1 = r2", (c) => c.op(R1, "=", R2), "bf21000000000000"],
  ["r1 = -1", (c) => c.op(R1, "=", -1), "b7010000ffffffff"],
  ["w1 = 0xffffffff", (c) => c.op32(R1, "=", 0xffff_ffff), "b4010000ffffffff"],
  ["r0 += 7", (c) => c.op(R0, "+=", 7), "0700000007000000"],
  ["w0 -= w9", (c) => c.op32(R0, "-=", R9), "1c90000000000000"],
  ["r3 *= r2", (c) => c.op(R3, "*=", R2), "2f23000000000000"],
  ["r3 /= 1000000", (c) => c.op(R3, "/=", 1_000_000), "3703000040420f00"],
  ["w3 |= 1", (c) => c.op32(R3, "|=", 1), "4403000001000000"],
  ["r3 &= 255", (c) => c.op(R3, "&=", 255), "57030000ff000000"],
  ["r3 <<= 21", (c) => c.op(R3, "<<=", 21), "6703000015000000"],
  ["w3 >>= w2", (c) => c.op32(R3, ">>=", R2), "7c23000000000000"],
  ["r3 %= 3", (c) => c.op(R3, "%=", 3), "9703000003000000"],
  ["w3 ^= w0", (c) => c.op32(R3, "^=", R0), "ac03000000000000"],
  ["r3 s>>= 4", (c) => c.op(R3, "s>>=", 4), "c703000004000000"],
  ["r1 = be16 r1", (c) => c.toBigEndian(R1, 16), "dc01000010000000"],
  ["r1 = be64 r1", (c) => c.toBigEndian(R1, 64), "dc01000040000000"],
  ["r1 = *(u8 *)(r2 + 3)", (c) => c.load(R1, "u8", R2, 3), "7121030000000000"],
  ["r1 = *(u16 *)(r2 - 2)", (c) => c.load(R1, "u16", R2, -2), "6921feff00000000"],
  ["r1 = *(u32 *)(r2 + 76)", (c) => c.load(R1, "u32", R2, 76), "61214c0000000000"],
  ["r1 = *(u64 *)(r2 + 0)", (c) => c.load(R1, "u64", R2, 0), "7921000000000000"],
  ["*(u64 *)(r10 - 8) = r1", (c) => c.store("u64", R10, -8, R1), "7b1af8ff00000000"],
  ["*(u32 *)(r1 + 8) = 0", (c) => c.store("u32", R1, 8, 0), "6201080000000000"],
  ["*(u16 *)(r1 + 2) = r3", (c) => c.store("u16", R1, 2, R3), "6b31020000000000"],
  ["*(u8 *)(r1 + 2) = 9", (c) => c.store("u8", R1, 2, 9), "7201020009000000"],
  [
    "w0 = cmpxchg(r1 + 4, w0, w2)",
    (c) => c.compareExchange("u32", R1, 4, R2),
    "c3210400f1000000",
  ],
  ["call 23", (c) => c.call(23), "8500000017000000"],
  ["exit", (c) => c.exit(), "9500000000000000"],
  ["r1 = map value + 64", (c) => c.address(R1, "m", 64), "18210000090000000000000040000000"],
  ["goto +0", (c) => jumping(c, () => c.jump("x")), "0500000000000000"],
  ["if r1 == 5 goto", (c) => jumping(c, () => c.jumpIf(R1, "==", 5, "x")), "1501000005000000"],
  ["if r1 != r2 goto", (c) => jumping(c, () => c.jumpIf(R1, "!=", R2, "x")), "5d21000000000000"],
  ["if r1 > 5 goto", (c) => jumping(c, () => c.jumpIf(R1, ">", 5, "x")), "2501000005000000"],
  ["if r1 >= 5 goto", (c) => jumping(c, () => c.jumpIf(R1, ">=", 5, "x")), "3501000005000000"],
  ["if r1 & 5 goto", (c) => jumping(c, () => c.jumpIf(R1, "&", 5, "x")), "4501000005000000"],
  ["if r1 s> 5 goto", (c) => jumping(c, () => c.jumpIf(R1, "s>", 5, "x")), "6501000005000000"],
  ["if r1 s>= 5 goto", (c) => jumping(c, () => c.jumpIf(R1, "s>=", 5, "x")), "7501000005000000"],
  ["if r1 < r2 goto", (c) => jumping(c, () => c.jumpIf(R1, "<", R2, "x")), "ad21000000000000"],
  ["if r1 <= 5 goto", (c) => jumping(c, () => c.jumpIf(R1, "<=", 5, "x")), "b501000005000000"],
  ["if w1 s< 0 goto", (c) => jumping(c, () => c.jumpIf32(R1, "s<", 0, "x")), "c601000000000000"],
  [
    "if w1 s<= w2 goto",
    (c) => jumping(c, () => c.jumpIf32(R1, "s<=", R2, "x")),
    "de21000000000000",
  ],
];

/** Jumps to the next instruction. */
function jumping(code: Assembler, jump: () => void): void {
  jump();
  code.label("x");
}

for (const [text, write, hex] of ENCODINGS) {
  Deno.test(`Assembler encodes ${text}`, () => {
    const code = new Assembler();
    write(code);
    assert.equal(code.assemble({ m: 9 }).toHex(), hex);
    assert.equal(code.count, hex.length / 16);
  });
}

Deno.test("Assembler resolves jumps forwards and backwards", () => {
  const code = new Assembler();
  code.label("top");
  code.jumpIf(R1, "==", 0, "end");
  code.jump("top");
  code.label("end");
  code.exit();
  assert.equal(
    code.assemble({}).toHex(),
    "1501010000000000" + "0500feff00000000" + "9500000000000000",
  );
});

Deno.test("Assembler refuses what can't be encoded", () => {
  const refused: readonly [(code: Assembler) => void, RegExp][] = [
    [(c) => c.op(R1, "=", 0x8000_0000), /^Cannot use 2147483648 as immediate: expected/],
    [(c) => c.op32(R1, "=", 0x1_0000_0000), /as immediate/],
    [(c) => c.op(R1, "=", 0.5), /^Cannot use 0.5 as immediate/],
    [(c) => c.load(R1, "u8", R2, 0x8000), /^Cannot use 32768 as offset: expected -32768 to 32767$/],
    [(c) => c.jump("nowhere"), /^Cannot jump to "nowhere": there is no such label$/],
    [(c) => c.address(R1, "other", 0), /^Cannot use map "other": it is not given$/],
    [(c) => [c.label("a"), c.label("a")], /^Cannot set label "a": it is there already$/],
    [(c) => {
      c.jump("far");
      for (let i = 0; i < 0x8000; i++) c.exit();
      c.label("far");
    }, /^Cannot use 32768 as offset/],
  ];
  for (const [write, message] of refused) {
    assert.throws(() => {
      const code = new Assembler();
      write(code);
      code.assemble({});
    }, { message });
  }
});

/** What R0 is after a program that has R1 … R3 at hand. */
function resultOf(write: (code: Assembler) => void): number {
  const code = new Assembler();
  write(code);
  code.exit();
  return run(code).result;
}

function run(code: Assembler, value = new Uint8Array(64), onStep = (_: number) => {}) {
  const machine = new Machine({
    code: code.assemble({ m: 9 }),
    maps: new Map([[9, value]]),
    onStep,
  });
  const data = Uint8Array.from({ length: 60 }, (_, i) => i);
  return machine.run({ data, ifindex: 7, vlanPresent: 0, gsoSize: 0, mark: 5, isPartial: false });
}

/** Each operation with operands whose results differ by width and sign. */
const RESULTS: readonly [string, (code: Assembler) => void, number][] = [
  ["64-bit shifts see the upper half", (c) => {
    c.op(R0, "=", -1);
    c.op(R0, ">>=", 60);
  }, 15],
  ["32-bit operations clear it", (c) => {
    c.op(R0, "=", -1);
    c.op32(R0, "+=", 2);
    c.op(R0, ">>=", 0);
  }, 1],
  ["s>>= keeps the sign", (c) => {
    c.op(R0, "=", -16);
    c.op(R0, "s>>=", 2);
  }, -4],
  ["division is unsigned, and by 0 gives 0", (c) => {
    c.op(R1, "=", 0);
    c.op(R0, "=", 9);
    c.op(R0, "/=", R1);
  }, 0],
  ["the rest by 0 is the dividend", (c) => {
    c.op(R1, "=", 0);
    c.op(R0, "=", 9);
    c.op(R0, "%=", R1);
  }, 9],
  ["bytes are swapped, and the upper ones gone", (c) => {
    c.op(R0, "=", 0x1122_3344);
    c.toBigEndian(R0, 16);
  }, 0x4433],
  ["< is unsigned", (c) => {
    c.op(R0, "=", -1);
    c.jumpIf(R0, "<", 1, "end");
    c.op(R0, "=", 3);
    c.label("end");
  }, 3],
  ["s< is signed", (c) => {
    c.op(R0, "=", -1);
    c.jumpIf32(R0, "s<", 1, "end");
    c.op(R0, "=", 3);
    c.label("end");
  }, -1],
  ["cmpxchg writes if equal, and gives what was there", (c) => {
    c.address(R1, "m", 8);
    c.store("u32", R1, 0, 5);
    c.op(R0, "=", 5);
    c.op(R2, "=", 6);
    c.compareExchange("u32", R1, 0, R2);
    c.load(R1, "u32", R1, 0);
    c.op(R1, "<<=", 8);
    c.op(R0, "|=", R1);
  }, 0x605],
  ["cmpxchg leaves what is not equal", (c) => {
    c.address(R1, "m", 8);
    c.store("u32", R1, 0, 5);
    c.op(R0, "=", 4);
    c.op(R2, "=", 6);
    c.compareExchange("u32", R1, 0, R2);
    c.load(R1, "u32", R1, 0);
    c.op(R1, "<<=", 8);
    c.op(R0, "|=", R1);
  }, 0x505],
  ["the packet is seen through the context", (c) => {
    c.load(R2, "u32", R1, 76);
    c.load(R0, "u16", R2, 12);
    c.toBigEndian(R0, 16);
  }, 0x0c0d],
];

for (const [text, write, expected] of RESULTS) {
  Deno.test(`Machine: ${text}`, () => assert.equal(resultOf(write), expected));
}

Deno.test("Machine refuses what the verifier would", () => {
  const refused: readonly [(code: Assembler) => void, RegExp][] = [
    [(c) => c.op(R0, "=", R2), /r2 has no value/],
    [(c) => c.op(bpf.R10, "=", 1), /r10 must not be written/],
    [(c) => c.load(R0, "u64", R10, -8), /the stack at -8 has not been written/],
    [(c) => c.load(R0, "u32", R10, -516), /out of reach/],
    [(c) => c.load(R0, "u32", R10, -6), /not aligned/],
    [(c) => [c.address(R2, "m", 64), c.load(R0, "u8", R2, 0)], /out of reach/],
    [(c) => c.load(R0, "u32", R1, 4), /no field of 4 bytes at 4/],
    [(c) => c.store("u32", R1, 0, 1), /must not be written/],
    [(c) => [c.label("top"), c.jump("top")], /more than 1000000 instructions/],
    [(c) => c.call(1), /helper 1 is not known/],
    [(c) => {
      c.op(bpf.R6, "=", R1);
      c.load(bpf.R7, "u32", R1, 76);
      c.store("u32", R10, -4, 0);
      c.op(R2, "=", 0);
      c.op(R3, "=", R10);
      c.op(R3, "-=", 4);
      c.op(bpf.R4, "=", 4);
      c.op(bpf.R5, "=", 0);
      c.call(9);
      c.load(R0, "u8", bpf.R7, 0);
    }, /out of reach/],
  ];
  for (const [write, message] of refused) assert.throws(() => resultOf(write), { message });
});
