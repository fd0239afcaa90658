/**
 * An interpreter of BPF (RFC 9669), stricter than the kernel's machine: it also refuses what the
 * verifier would, as far as it happens in a run: reading a register or a byte of the stack that
 * nobody has written, memory outside of what a program may see, packet pointers from before a call
 * that can move the packet. It decodes instructions by itself, so it is a second opinion about
 * `src/bpf/assembler.ts`.
 *
 * A program runs on a frame as a classifier does (`struct __sk_buff` in linux/bpf.h). The helper
 * functions are those of bpf-helpers(7) that the fast path calls.
 */

/** The fields of `__sk_buff` that a program may see; the rest can't be read. */
export interface SocketBuffer {
  /** Frame, from the Ethernet header on. */
  data: Uint8Array<ArrayBuffer>;
  /** How much of it is in the linear part; default all. */
  linearBytes?: number;
  ifindex: number;
  vlanPresent: number;
  gsoSize: number;
  mark: number;
  /**
   * The layer 4 checksum is left to the interface: the field has the sum of the pseudo-header
   * (CHECKSUM_PARTIAL).
   */
  isPartial: boolean;
}

export interface Outcome {
  /** R0, as a signed 32-bit integer. */
  result: number;
  /** Where `bpf_redirect` was asked to send the frame, and its flags; null: it was not called. */
  redirect: { readonly ifindex: number; readonly flags: number } | null;
  /** Instructions that were executed. */
  steps: number;
}

export interface MachineOptions {
  readonly code: Uint8Array;
  /** Values of maps by their descriptors. */
  readonly maps: ReadonlyMap<number, Uint8Array<ArrayBuffer>>;
  readonly processor?: number;
  nowNs?: () => bigint;
  /** Is called before each instruction: for what other processors do meanwhile. */
  readonly onStep?: (at: number) => void;
}

const CONTEXT = 0x1_0000_0000n;
const CONTEXT_BYTES = 192;
const STACK = 0x2_0000_0000n;
const STACK_BYTES = 512;
/** Packet pointers are 32 bits wide in the context. */
const PACKET = 0x4000_0000n;
const PACKET_STEP = 0x10_0000n;
const MAPS = 0x10_0000_0000n;
const MAP_STEP = 0x10_0000_0000n;

const MOST_STEPS = 1_000_000;

const PSEUDO_HDR = 0x10;
const IPV6 = 0x80;
const MARK_MANGLED_0 = 0x20;
const EFAULT = 14;
const EINVAL = 22;

/** Bytes that a program may see at `start`. */
interface Region {
  readonly name: string;
  readonly start: bigint;
  readonly view: DataView;
  readonly isWritable: boolean;
  /** Of the stack: which bytes have been written. */
  readonly written: Uint8Array | null;
}

export class Machine {
  readonly #options: MachineOptions;
  readonly #code: DataView;
  readonly #count: number;
  readonly #maps: readonly Region[];
  readonly #mapStart: ReadonlyMap<number, bigint>;
  readonly #registers: (bigint | null)[] = [];
  #regions: readonly Region[] = [];
  /** How often packets have been put somewhere. */
  #moves = 0;
  #frame!: SocketBuffer;
  #context!: Region;
  #stack!: Region;
  #redirect: Outcome["redirect"] = null;
  /** The next instruction, and how many have been executed. */
  #at = 0;
  #steps = 0;

  constructor(options: MachineOptions) {
    const { code, maps } = options;
    this.#options = options;
    this.#code = new DataView(code.buffer, code.byteOffset, code.length);
    this.#count = code.length / 8;
    this.#maps = [...maps.entries()].map(([, value], i) => ({
      ...region(
        `map ${i}`,
        MAPS + BigInt(i) * MAP_STEP,
        new DataView(value.buffer, value.byteOffset, value.length),
      ),
      isWritable: true,
    }));
    this.#mapStart = new Map([...maps.keys()].map((fd, i) => [fd, this.#maps[i]!.start]));
  }

  /** Runs the program on `frame`, whose fields it may change. Throws for what it must not do. */
  run(frame: SocketBuffer): Outcome {
    this.begin(frame);
    return this.advance(Infinity)!;
  }

  /** As `run`, which stops before the first instruction: `advance` goes on. */
  begin(frame: SocketBuffer): void {
    this.#frame = frame;
    this.#redirect = null;
    this.#setUp();
    for (let i = 0; i <= 10; i++) this.#registers[i] = null;
    this.#registers[1] = CONTEXT;
    this.#registers[10] = STACK + BigInt(STACK_BYTES);
    this.#at = this.#steps = 0;
  }

  /** Executes up to so many instructions; null: there are more. */
  advance(instructions: number): Outcome | null {
    for (let left = instructions; left > 0; left--) {
      const at = this.#at;
      if (at < 0 || at >= this.#count) throw new Error(`Cannot run instruction ${at}: no such one`);
      this.#options.onStep?.(at);
      if (++this.#steps > MOST_STEPS) {
        throw new Error(`Cannot run more than ${MOST_STEPS} instructions`);
      }
      try {
        this.#at = this.#step(at);
      } catch (error) {
        throw new Error(`Cannot run instruction ${at}: ${(error as Error).message}`);
      }
      if (this.#at < 0) {
        const result = Number(BigInt.asIntN(32, this.#read(0)));
        return { result, redirect: this.#redirect, steps: this.#steps };
      }
    }
    return null;
  }

  // Memory

  /** A new context and stack, and the packet. */
  #setUp(): void {
    const { ifindex, vlanPresent, gsoSize, mark } = this.#frame;
    const context = new DataView(new ArrayBuffer(CONTEXT_BYTES));
    context.setUint32(MARK, mark, true);
    context.setUint32(20, vlanPresent, true);
    context.setUint32(40, ifindex, true);
    context.setUint32(176, gsoSize, true);
    const stack = new DataView(new ArrayBuffer(STACK_BYTES));
    const written = new Uint8Array(STACK_BYTES);
    this.#context = region("context", CONTEXT, context);
    this.#stack = { ...region("stack", STACK, stack), isWritable: true, written };
    this.#movePacket();
  }

  /** Puts the packet at an address where it has not been before. */
  #movePacket(): void {
    const { data, linearBytes = data.length } = this.#frame;
    const start = PACKET + BigInt(this.#moves++ % 64) * PACKET_STEP;
    const packet = region("packet", start, new DataView(data.buffer, data.byteOffset, linearBytes));
    const { view } = this.#context;
    view.setUint32(0, data.length, true);
    view.setUint32(76, Number(start), true);
    view.setUint32(80, Number(start) + linearBytes, true);
    this.#regions = [this.#context, this.#stack, packet, ...this.#maps];
  }

  #find(address: bigint, bytes: number): { region: Region; offset: number } {
    for (const region of this.#regions) {
      const offset = Number(address - region.start);
      if (offset < 0 || offset + bytes > region.view.byteLength) continue;
      if (region.name !== "packet" && offset % bytes !== 0) {
        throw new Error(`${bytes} bytes at offset ${offset} of ${region.name} are not aligned`);
      }
      return { region, offset };
    }
    throw new Error(`${bytes} bytes at 0x${address.toString(16)} are out of reach`);
  }

  #load(address: bigint, bytes: number): bigint {
    const { region: { name, view, written }, offset } = this.#find(address, bytes);
    if (name === "context" && !(bytes === 4 && READABLE.has(offset))) {
      throw new Error(`the context has no field of ${bytes} bytes at ${offset}`);
    }
    if (written !== null && written.subarray(offset, offset + bytes).includes(0)) {
      throw new Error(`the stack at ${offset - STACK_BYTES} has not been written`);
    }
    if (bytes === 8) return view.getBigUint64(offset, true);
    if (bytes === 4) return BigInt(view.getUint32(offset, true));
    return BigInt(bytes === 2 ? view.getUint16(offset, true) : view.getUint8(offset));
  }

  #store(address: bigint, bytes: number, value: bigint): void {
    const { region: { name, view, isWritable, written }, offset } = this.#find(address, bytes);
    const isMark = name === "context" && offset === MARK && bytes === 4;
    if (!isWritable && !isMark) {
      throw new Error(`${bytes} bytes at ${offset} of ${name} must not be written`);
    }
    if (isMark) this.#frame.mark = Number(value & 0xffff_ffffn);
    written?.fill(1, offset, offset + bytes);
    if (bytes === 8) view.setBigUint64(offset, value, true);
    else if (bytes === 4) view.setUint32(offset, Number(value & 0xffff_ffffn), true);
    else if (bytes === 2) view.setUint16(offset, Number(value & 0xffffn), true);
    else view.setUint8(offset, Number(value & 0xffn));
  }

  #read(register: number): bigint {
    const value = this.#registers[register];
    if (value === null || value === undefined) throw new Error(`r${register} has no value`);
    return value;
  }

  #write(register: number, value: bigint): void {
    if (register > 9) throw new Error(`r${register} must not be written`);
    this.#registers[register] = BigInt.asUintN(64, value);
  }

  // Instructions

  /** Executes one; where the next one is, or -1 at the end. */
  #step(at: number): number {
    const opcode = this.#code.getUint8(8 * at);
    const registers = this.#code.getUint8(8 * at + 1);
    const dst = registers & 15;
    const src = registers >> 4;
    const offset = this.#code.getInt16(8 * at + 2, true);
    const imm = this.#code.getInt32(8 * at + 4, true);
    const kind = opcode & 7;
    switch (kind) {
      case 4:
      case 7:
        this.#alu(opcode, kind === 7, dst, src, imm);
        return at + 1;
      case 5:
      case 6:
        return this.#jump(at, opcode, kind === 5, dst, src, offset, imm);
      case 1:
        expect((opcode & 0xe0) === 0x60, "a load of another mode");
        this.#write(dst, this.#load(this.#read(src) + BigInt(offset), bytesOf(opcode)));
        return at + 1;
      case 2:
      case 3:
        this.#storeOrAtomic(opcode, dst, src, offset, imm);
        return at + 1;
      case 0: {
        expect(opcode === 0x18 && src === 2, "a load that is not that of a map's value");
        const start = this.#mapStart.get(imm);
        if (start === undefined) throw new Error(`there is no map of descriptor ${imm}`);
        this.#write(dst, start + BigInt(this.#code.getInt32(8 * at + 12, true)));
        return at + 2;
      }
      default:
        throw new Error(`opcode 0x${opcode.toString(16)} is not known`);
    }
  }

  #alu(opcode: number, is64: boolean, dst: number, src: number, imm: number): void {
    const bits = is64 ? 64 : 32;
    const operation = opcode >> 4;
    if (operation === 13) {
      expect(opcode === 0xdc, "a swap of another kind");
      expect(imm === 16 || imm === 32 || imm === 64, "a swap of so many bits");
      return this.#write(dst, swapped(this.#read(dst), imm));
    }
    const right = BigInt.asUintN(bits, (opcode & 8) !== 0 ? this.#read(src) : BigInt(imm));
    if (operation === 11) return this.#write(dst, right);
    const left = BigInt.asUintN(bits, this.#read(dst));
    this.#write(dst, BigInt.asUintN(bits, computed(operation, left, right, bits)));
  }

  #jump(
    at: number,
    opcode: number,
    is64: boolean,
    dst: number,
    src: number,
    offset: number,
    imm: number,
  ): number {
    if (opcode === 0x95) return -1;
    if (opcode === 0x85) {
      this.#call(imm);
      return at + 1;
    }
    if (opcode === 0x05) return at + 1 + offset;
    const bits = is64 ? 64 : 32;
    const left = BigInt.asUintN(bits, this.#read(dst));
    const right = BigInt.asUintN(bits, (opcode & 8) !== 0 ? this.#read(src) : BigInt(imm));
    return at + 1 + (holds(opcode >> 4, left, right, bits) ? offset : 0);
  }

  #storeOrAtomic(opcode: number, dst: number, src: number, offset: number, imm: number): void {
    const address = this.#read(dst) + BigInt(offset);
    const bytes = bytesOf(opcode);
    if ((opcode & 0xe0) === 0x60) {
      return this.#store(address, bytes, (opcode & 7) === 3 ? this.#read(src) : BigInt(imm));
    }
    expect((opcode & 0xe7) === 0xc3 && imm === 0xf1 && bytes >= 4, "an atomic of another kind");
    const old = this.#load(address, bytes);
    if (old === BigInt.asUintN(8 * bytes, this.#read(0))) {
      this.#store(address, bytes, this.#read(src));
    }
    this.#write(0, old);
  }

  // Helper functions

  #call(helper: number): void {
    const argument = (i: number) => this.#read(i);
    let result: bigint;
    switch (helper) {
      case 8: // get_smp_processor_id
        result = BigInt(this.#options.processor ?? 0);
        break;
      case 160: // ktime_get_coarse_ns
        result = this.#options.nowNs?.() ?? 0n;
        break;
      case 23: // redirect
        this.#redirect = { ifindex: Number(argument(1)), flags: Number(argument(2)) };
        result = 7n;
        break;
      case 11: // l4_csum_replace
        result = BigInt(this.#replaceChecksum(
          argument(1),
          [2, 3, 4, 5].map((i) => {
            return Number(argument(i) & 0xffff_ffffn);
          }),
        ));
        break;
      case 9: // skb_store_bytes
        result = BigInt(this.#storeBytes(argument(1), argument(2), argument(3), argument(4)));
        expect(argument(5) === 0n, "flags of skb_store_bytes");
        break;
      default:
        throw new Error(`helper ${helper} is not known`);
    }
    for (let i = 1; i <= 5; i++) this.#registers[i] = null;
    this.#write(0, result);
  }

  #storeBytes(context: bigint, offset: bigint, from: bigint, length: bigint): number {
    expect(context === CONTEXT, "another context");
    const at = Number(offset);
    const count = Number(length);
    const bytes = Array.from({ length: count }, (_, i) => {
      return Number(this.#load(from + BigInt(i), 1));
    });
    if (at + count > this.#frame.data.length) return -EFAULT;
    this.#frame.data.set(bytes, at);
    this.#movePacket();
    return 0;
  }

  /**
   * bpf_l4_csum_replace by a difference: `inet_proto_csum_replace_by_diff` of net/core/utils.c.
   */
  #replaceChecksum(context: bigint, [offset, from, diff, flags]: readonly number[]): number {
    expect(context === CONTEXT, "another context");
    const known = PSEUDO_HDR | MARK_MANGLED_0 | IPV6;
    if ((flags! & ~known) !== 0 || from !== 0) return -EINVAL;
    const isOfIpv6 = this.#frame.data[12] === 0x86;
    expect(((flags! & IPV6) !== 0) === isOfIpv6, "a checksum of the other family");
    const { data, isPartial } = this.#frame;
    if (offset! + 2 > data.length) return -EFAULT;
    const view = new DataView(data.buffer, data.byteOffset);
    const field = view.getUint16(offset!, true);
    const isMarked = (flags! & MARK_MANGLED_0) !== 0;
    if (isMarked && field === 0) return 0;
    let sum = field;
    if (!isPartial) sum = ~folded((~field & 0xffff) + diff!) & 0xffff;
    else if ((flags! & PSEUDO_HDR) !== 0) sum = folded(field + diff!);
    view.setUint16(offset!, isMarked && sum === 0 ? 0xffff : sum, true);
    this.#movePacket();
    return 0;
  }
}

const MARK = 8;
/** Offsets of the fields above. */
const READABLE = new Set([0, MARK, 20, 40, 76, 80, 176]);

function region(name: string, start: bigint, view: DataView): Region {
  return { name, start, view, isWritable: false, written: null };
}

function expect(condition: boolean, what: string): asserts condition {
  if (!condition) throw new Error(`${what} is not supported`);
}

function bytesOf(opcode: number): number {
  return [4, 2, 1, 8][(opcode >> 3) & 3]!;
}

function swapped(value: bigint, bits: number): bigint {
  let result = 0n;
  for (let i = 0; i < bits; i += 8) result = (result << 8n) | ((value >> BigInt(i)) & 0xffn);
  return result;
}

/** Of unsigned operands; the caller cuts the result. */
function computed(operation: number, left: bigint, right: bigint, bits: number): bigint {
  const shift = right & BigInt(bits - 1);
  switch (operation) {
    case 0:
      return left + right;
    case 1:
      return left - right;
    case 2:
      return left * right;
    case 3:
      return right === 0n ? 0n : left / right;
    case 4:
      return left | right;
    case 5:
      return left & right;
    case 6:
      return left << shift;
    case 7:
      return left >> shift;
    case 9:
      return right === 0n ? left : left % right;
    case 10:
      return left ^ right;
    case 12:
      return BigInt.asIntN(bits, left) >> shift;
    default:
      throw new Error(`arithmetic ${operation} is not supported`);
  }
}

function holds(condition: number, left: bigint, right: bigint, bits: number): boolean {
  const [signedLeft, signedRight] = [BigInt.asIntN(bits, left), BigInt.asIntN(bits, right)];
  switch (condition) {
    case 1:
      return left === right;
    case 2:
      return left > right;
    case 3:
      return left >= right;
    case 4:
      return (left & right) !== 0n;
    case 5:
      return left !== right;
    case 6:
      return signedLeft > signedRight;
    case 7:
      return signedLeft >= signedRight;
    case 10:
      return left < right;
    case 11:
      return left <= right;
    case 12:
      return signedLeft < signedRight;
    case 13:
      return signedLeft <= signedRight;
    default:
      throw new Error(`condition ${condition} is not supported`);
  }
}

/** 16-bit one's complement sum of a sum below 2³³. */
function folded(sum: number): number {
  let rest = sum;
  while (rest > 0xffff) rest = Math.floor(rest / 0x10000) + (rest % 0x10000);
  return rest;
}
