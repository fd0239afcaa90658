/**
 * An interpreter of classic BPF, as far as filters of system calls use it (seccomp(2)). It refuses
 * what the kernel would: jumps and loads that lead out, and programs without an end.
 */

/** What a filter is asked about: `struct seccomp_data`. */
export interface SystemCall {
  /** AUDIT_ARCH_… */
  readonly machine: number;
  readonly number: number;
  readonly arguments?: readonly number[];
}

const DATA_BYTES = 64;
const INSTRUCTION_BYTES = 8;

/** What the program answers, as an unsigned number. */
export function verdictOf(program: Uint8Array<ArrayBuffer>, call: SystemCall): number {
  const data = new DataView(new ArrayBuffer(DATA_BYTES));
  data.setInt32(0, call.number, true);
  data.setUint32(4, call.machine, true);
  for (const [i, value] of (call.arguments ?? []).entries()) {
    data.setBigUint64(16 + 8 * i, BigInt(value), true);
  }
  const code = new DataView(program.buffer, program.byteOffset, program.byteLength);
  let accumulator = 0;
  for (let at = 0; at < program.length / INSTRUCTION_BYTES; at++) {
    const offset = at * INSTRUCTION_BYTES;
    const operation = code.getUint16(offset, true);
    const [yes, no] = [code.getUint8(offset + 2), code.getUint8(offset + 3)];
    const value = code.getUint32(offset + 4, true);
    switch (operation) {
      case 0x20: // ld [k]
        if (value % 4 !== 0 || value + 4 > DATA_BYTES) throw new RangeError(`loads at ${value}`);
        accumulator = data.getUint32(value, true);
        break;
      case 0x54: // and k
        accumulator = (accumulator & value) >>> 0;
        break;
      case 0x15: // jeq k
        at += accumulator === value ? yes : no;
        break;
      case 0x35: // jge k
        at += accumulator >= value ? yes : no;
        break;
      case 0x06: // ret k
        return value;
      default:
        throw new RangeError(`Cannot run operation ${operation}`);
    }
  }
  throw new RangeError("The program does not end");
}
