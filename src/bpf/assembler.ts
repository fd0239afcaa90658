/**
 * An assembler of BPF: instructions are written one after the other, jumps go to labels, and maps
 * have names until their descriptors are known. Read first: RFC 9669 §3 to §5. An instruction takes
 * 8 bytes:
 *
 *     | opcode: 8 bits | destination: 4 | source: 4 | offset: 16 | immediate: 32 |
 *
 * It writes little-endian code only, and checks what it can see: ranges of immediates and offsets,
 * labels. Whether the program is safe is for the kernel's verifier to say.
 */

const INSTRUCTION_BYTES = 8;

/** A register: R0 is what calls return, R1 … R5 their arguments, R10 the end of the stack. */
export class Register {
  readonly number: number;

  constructor(number: number) {
    this.number = number;
  }
}

export const R0: Register = new Register(0);
export const R1: Register = new Register(1);
export const R2: Register = new Register(2);
export const R3: Register = new Register(3);
export const R4: Register = new Register(4);
export const R5: Register = new Register(5);
export const R6: Register = new Register(6);
export const R7: Register = new Register(7);
export const R8: Register = new Register(8);
export const R9: Register = new Register(9);
export const R10: Register = new Register(10);

/** A register, or an immediate: a 32-bit integer, which 64-bit operations sign-extend. */
export type Operand = Register | number;

// Classes (§3.2).
const LDX = 1;
const ST = 2;
const STX = 3;
const ALU = 4;
const JMP = 5;
const JMP32 = 6;
const ALU64 = 7;

/** Operand is a register, not the immediate. */
const SOURCE_REGISTER = 8;

/** Arithmetic (§4.1), without signed division. `s>>=` keeps the sign. */
const ARITHMETIC = {
  "+=": 0x00,
  "-=": 0x10,
  "*=": 0x20,
  "/=": 0x30,
  "|=": 0x40,
  "&=": 0x50,
  "<<=": 0x60,
  ">>=": 0x70,
  "%=": 0x90,
  "^=": 0xa0,
  "=": 0xb0,
  "s>>=": 0xc0,
} as const;
export type Arithmetic = keyof typeof ARITHMETIC;

/** To big-endian from the machine's order (§4.2). */
const TO_BIG_ENDIAN = 0xd0 | SOURCE_REGISTER | ALU;

/** Conditions (§4.3): unsigned, or signed with an `s`; `&`: have a bit in common. */
const CONDITIONS = {
  "==": 0x10,
  ">": 0x20,
  ">=": 0x30,
  "&": 0x40,
  "!=": 0x50,
  "s>": 0x60,
  "s>=": 0x70,
  "<": 0xa0,
  "<=": 0xb0,
  "s<": 0xc0,
  "s<=": 0xd0,
} as const;
export type Condition = keyof typeof CONDITIONS;
const JUMP = 0x00 | JMP;
const CALL = 0x80 | JMP;
const EXIT = 0x90 | JMP;

/** Sizes and modes of loads and stores (§5). */
const SIZES = { u8: 0x10, u16: 0x08, u32: 0x00, u64: 0x18 } as const;
export type Size = keyof typeof SIZES;
const MEMORY = 0x60;
const ATOMIC = 0xc0;
const COMPARE_EXCHANGE = 0xf1;

/** A 64-bit immediate, here the address of a byte in the one value of an array map (§5.4). */
const LOAD_ADDRESS = 0x18;
const MAP_VALUE = 2;

export class Assembler {
  #bytes = new Uint8Array(new ArrayBuffer(4096));
  #view = new DataView(this.#bytes.buffer);
  #count = 0;
  readonly #labels = new Map<string, number>();
  readonly #jumps: { readonly at: number; readonly label: string }[] = [];
  readonly #maps: { readonly at: number; readonly map: string }[] = [];

  /** Instructions so far; one with a 64-bit immediate counts as two. */
  get count(): number {
    return this.#count;
  }

  /** The next instruction is where jumps to `name` go. */
  label(name: string): void {
    if (this.#labels.has(name)) throw new Error(`Cannot set label "${name}": it is there already`);
    this.#labels.set(name, this.#count);
  }

  /** `destination operation operand` on all 64 bits. */
  op(destination: Register, operation: Arithmetic, operand: Operand): void {
    this.#operate(ALU64 | ARITHMETIC[operation], destination, operand, false);
  }

  /** As `op` on the lower 32 bits; the upper ones become 0. */
  op32(destination: Register, operation: Arithmetic, operand: Operand): void {
    this.#operate(ALU | ARITHMETIC[operation], destination, operand, true);
  }

  /** Swaps the bytes of the lower 16, 32 or 64 bits; the upper ones become 0. */
  toBigEndian(register: Register, bits: 16 | 32 | 64): void {
    this.#emit(TO_BIG_ENDIAN, register, null, 0, bits);
  }

  /** `destination = [base + offset]`, zero-extended. */
  load(destination: Register, size: Size, base: Register, offset: number): void {
    this.#emit(LDX | MEMORY | SIZES[size], destination, base, offset, 0);
  }

  /** `[base + offset] = operand`. */
  store(size: Size, base: Register, offset: number, operand: Operand): void {
    const opcode = MEMORY | SIZES[size];
    if (operand instanceof Register) this.#emit(STX | opcode, base, operand, offset, 0);
    else this.#emit(ST | opcode, base, null, offset, operand);
  }

  /** If `[base + offset]` equals R0, it becomes `value`; R0 becomes what it was. Atomic. */
  compareExchange(size: "u32" | "u64", base: Register, offset: number, value: Register): void {
    this.#emit(STX | ATOMIC | SIZES[size], base, value, offset, COMPARE_EXCHANGE);
  }

  /** `destination` = address of byte `offset` of the one value that array map `map` has. */
  address(destination: Register, map: string, offset: number): void {
    this.#maps.push({ at: this.#count, map });
    this.#put(LOAD_ADDRESS, destination.number, MAP_VALUE, 0, 0);
    this.#put(0, 0, 0, 0, immediate(offset, false));
  }

  jump(label: string): void {
    this.#jumps.push({ at: this.#count, label });
    this.#emit(JUMP, R0, null, 0, 0);
  }

  /** Jumps if `left condition right`, by all 64 bits. */
  jumpIf(left: Register, condition: Condition, right: Operand, label: string): void {
    this.#jumps.push({ at: this.#count, label });
    this.#operate(JMP | CONDITIONS[condition], left, right, false);
  }

  /** As `jumpIf` by the lower 32 bits. */
  jumpIf32(left: Register, condition: Condition, right: Operand, label: string): void {
    this.#jumps.push({ at: this.#count, label });
    this.#operate(JMP32 | CONDITIONS[condition], left, right, true);
  }

  /** Calls the helper function of that number (bpf-helpers(7)); R1 … R5 are lost. */
  call(helper: number): void {
    this.#emit(CALL, R0, null, 0, helper);
  }

  exit(): void {
    this.#emit(EXIT, R0, null, 0, 0);
  }

  /**
   * The program's bytes; `maps` has the descriptor of each map by its name. Throws an Error for a
   * label or a map that is not there, a RangeError for a jump that is too far.
   */
  assemble(maps: Readonly<Record<string, number>>): Uint8Array<ArrayBuffer> {
    const code = this.#bytes.slice(0, this.#count * INSTRUCTION_BYTES);
    const view = new DataView(code.buffer);
    for (const { at, label } of this.#jumps) {
      const target = this.#labels.get(label);
      if (target === undefined) {
        throw new Error(`Cannot jump to "${label}": there is no such label`);
      }
      view.setInt16(at * INSTRUCTION_BYTES + 2, offset16(target - at - 1), true);
    }
    for (const { at, map } of this.#maps) {
      const descriptor = maps[map];
      if (descriptor === undefined) throw new Error(`Cannot use map "${map}": it is not given`);
      view.setInt32(at * INSTRUCTION_BYTES + 4, descriptor, true);
    }
    return code;
  }

  #operate(opcode: number, destination: Register, operand: Operand, is32: boolean): void {
    if (operand instanceof Register) {
      this.#emit(opcode | SOURCE_REGISTER, destination, operand, 0, 0);
    } else {
      this.#put(opcode, destination.number, 0, 0, immediate(operand, is32));
    }
  }

  #emit(
    opcode: number,
    destination: Register,
    source: Register | null,
    offset: number,
    value: number,
  ): void {
    this.#put(opcode, destination.number, source?.number ?? 0, offset, immediate(value, false));
  }

  #put(opcode: number, destination: number, source: number, offset: number, value: number): void {
    const at = this.#count++ * INSTRUCTION_BYTES;
    if (at === this.#bytes.length) {
      const longer = new Uint8Array(2 * at);
      longer.set(this.#bytes);
      this.#bytes = longer;
      this.#view = new DataView(longer.buffer);
    }
    this.#view.setUint8(at, opcode);
    this.#view.setUint8(at + 1, (source << 4) | destination);
    this.#view.setInt16(at + 2, offset16(offset), true);
    this.#view.setInt32(at + 4, value, true);
  }
}

/** 32-bit operations may have an unsigned immediate; a 64-bit one would be sign-extended. */
function immediate(value: number, is32: boolean): number {
  const most = is32 ? 0xffff_ffff : 0x7fff_ffff;
  if (!Number.isInteger(value) || value < -0x8000_0000 || value > most) {
    throw new RangeError(`Cannot use ${value} as immediate: expected -2147483648 to ${most}`);
  }
  return value | 0;
}

function offset16(offset: number): number {
  if (!Number.isInteger(offset) || offset < -0x8000 || offset > 0x7fff) {
    throw new RangeError(`Cannot use ${offset} as offset: expected -32768 to 32767`);
  }
  return offset;
}
