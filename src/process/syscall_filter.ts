/**
 * The program that the kernel asks before each system call (seccomp(2)): classic BPF over
 * `struct seccomp_data`, the call's number, the machine that it is of, and its arguments. What it
 * refuses fails with EPERM; nothing ends the process.
 *
 *     another machine's call, or one of x32 ─▶ EPERM
 *     a checked one                         ─▶ by its arguments
 *     on:      a denied one ─▶ EPERM, else allowed
 *     strict:  an allowed one ─▶ allowed, else EPERM
 *
 * Calls that are allowed whatever their arguments cost nothing: the kernel remembers them.
 */
import { type Machine, syscallsOf } from "./syscalls.ts";

export interface FilterOptions {
  readonly machine: Machine;
  readonly isStrict: boolean;
  /** The own process, to which signals may be sent. */
  readonly pid: number;
}

/** A condition on an argument: its lower 32 bits under the mask are one of these, or none. */
interface Check {
  readonly argument: number;
  readonly mask?: number;
  readonly isNone?: true;
  readonly of: readonly number[];
}

/** The size of `struct sock_filter`. */
export const INSTRUCTION_BYTES = 8;

/** AUDIT_ARCH_… in linux/audit.h. */
const MACHINES: Readonly<Record<Machine, number>> = {
  x86_64: 0xc000_003e,
  aarch64: 0xc000_00b7,
};

/** The bit of a number that makes it one of x32, which is the same machine. */
const X32 = 0x4000_0000;

/** Of linux/filter.h. */
const LOAD = 0x20;
const AND = 0x54;
const JUMP_EQUAL = 0x15;
const JUMP_AT_LEAST = 0x35;
const RETURN = 0x06;

/** Where it is in `struct seccomp_data`. */
const NUMBER = 0;
const MACHINE = 4;
const ARGUMENTS = 16;

const ALLOW = 0x7fff_0000;
const FAIL = 0x0005_0000;
const EPERM = 1;
const ENOSYS = 38;

/** clone(2): CLONE_THREAD, and all that makes a namespace. */
const THREAD = 0x0001_0000;
const NAMESPACES = 0x7e02_0000;

/** Of socket(2). */
const FAMILIES = { unix: 1, inet: 2, inet6: 10 };
const TYPES = { stream: 1, datagram: 2 };
const TYPE_MASK = 0xf;

/** ioctl(2): TIOCSTI, TIOCLINUX and TIOCSETD, which put words into a terminal. */
const TERMINAL = [0x5412, 0x541c, 0x5423];

/** The program, as the kernel takes it. */
export function syscallFilter(options: FilterOptions): Uint8Array<ArrayBuffer> {
  const { machine, isStrict } = options;
  const { denied, checked, allowed } = syscallsOf(machine);
  const code: Instruction[] = [
    load(MACHINE),
    jump(JUMP_EQUAL, MACHINES[machine], 1, 0),
    fail(EPERM),
    load(NUMBER),
  ];
  if (machine === "x86_64") code.push(jump(JUMP_AT_LEAST, X32, 0, 1), fail(EPERM));
  for (const [name, number] of checked) {
    const part = name === "clone3" ? [fail(ENOSYS)] : checksOf(name, options);
    code.push(jump(JUMP_EQUAL, number, 0, part.length), ...part);
  }
  const [listed, verdict, others] = isStrict
    ? [allowed, give(ALLOW), fail(EPERM)]
    : [denied, fail(EPERM), give(ALLOW)];
  for (const number of listed.values()) code.push(jump(JUMP_EQUAL, number, 0, 1), verdict);
  code.push(others);
  return assemble(code);
}

/** What becomes of a checked call. glibc makes threads by `clone` where there is no `clone3`. */
function checksOf(name: string, { pid }: FilterOptions): Instruction[] {
  const { unix, inet, inet6 } = FAMILIES;
  const self = { argument: 0, of: [pid] };
  const checks: Readonly<Record<string, readonly Check[]>> = {
    clone: [{ argument: 0, mask: NAMESPACES | THREAD, of: [THREAD] }],
    socket: [
      { argument: 0, of: [unix, inet, inet6] },
      { argument: 1, mask: TYPE_MASK, of: Object.values(TYPES) },
    ],
    socketpair: [{ argument: 0, of: [unix] }],
    kill: [self],
    tgkill: [self],
    prlimit64: [{ argument: 0, of: [0, pid] }],
    setpriority: [{ argument: 0, of: [0] }, { argument: 1, of: [0] }],
    ioctl: [{ argument: 1, isNone: true, of: TERMINAL }],
  };
  return [...checks[name]!.flatMap(check), give(ALLOW)];
}

/** Goes on behind itself if the condition holds. */
function check({ argument, mask, isNone, of }: Check): Instruction[] {
  const head = [load(ARGUMENTS + 8 * argument)];
  if (mask !== undefined) head.push({ code: AND, yes: 0, no: 0, value: mask });
  // Behind the comparisons there is what fails, and behind that what comes next.
  const body = of.map((value, i) => {
    const last = of.length - 1 - i;
    return isNone === true
      ? jump(JUMP_EQUAL, value, last, last === 0 ? 1 : 0)
      : jump(JUMP_EQUAL, value, last + 1, 0);
  });
  return [...head, ...body, fail(EPERM)];
}

interface Instruction {
  readonly code: number;
  /** How many instructions are left out if it is so, and if not. */
  readonly yes: number;
  readonly no: number;
  readonly value: number;
}

function load(at: number): Instruction {
  return { code: LOAD, yes: 0, no: 0, value: at };
}

function jump(code: number, value: number, yes: number, no: number): Instruction {
  return { code, yes, no, value };
}

function give(value: number): Instruction {
  return { code: RETURN, yes: 0, no: 0, value };
}

function fail(errno: number): Instruction {
  return give(FAIL | errno);
}

function assemble(code: readonly Instruction[]): Uint8Array<ArrayBuffer> {
  const view = new DataView(new ArrayBuffer(code.length * INSTRUCTION_BYTES));
  code.forEach(({ code, yes, no, value }, i) => {
    const at = i * INSTRUCTION_BYTES;
    view.setUint16(at, code, true);
    view.setUint8(at + 2, yes);
    view.setUint8(at + 3, no);
    view.setUint32(at + 4, value, true);
  });
  return new Uint8Array(view.buffer);
}
