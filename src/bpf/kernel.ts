/**
 * Programs in the kernel, and memory shared with them: bpf(2) through the shim. What fails throws
 * an Error whose message is one line (errno name, what happened, what to do); its `cause` is what
 * the verifier said last, or "".
 *
 * Needed are CAP_BPF, CAP_NET_ADMIN and CAP_PERFMON: without the last one the verifier refuses
 * loops over pointers and has every access masked. Once all is loaded and attached, they are not.
 */
import { addressOf, type BpfLibrary, errnoName, loadBpf, memoryAt } from "../../ffi/bpf.ts";

// Commands and constants of linux/bpf.h.
const MAP_CREATE = 0;
const PROG_LOAD = 5;
const PROG_TEST_RUN = 10;
const LINK_CREATE = 28;
const MAP_TYPE_ARRAY = 2;
const PROG_TYPE_SCHED_CLS = 3;
/** Frames that are about to leave a device; Linux 6.6. */
const TCX_EGRESS = 47;
const F_MMAPABLE = 1 << 10;

const INSTRUCTION_BYTES = 8;
const ATTR_BYTES = 128;
const SOCKET_BUFFER_BYTES = 192;
const LOG_BYTES = 1 << 16;
/** Of what the verifier says, so many lines at the end are kept. */
const LOG_LINES = 8;

const CAPABILITIES = "CAP_BPF, CAP_NET_ADMIN and CAP_PERFMON";

/** Memory that programs in the kernel see as the value of a map. */
export interface SharedMap {
  /** Its descriptor. */
  readonly fd: number;
  /** All 0 at first; it stays as long as the process. */
  readonly buffer: ArrayBuffer;
}

/** What a program is to be tried on, and what came of it. */
export interface Trial {
  readonly frame: Uint8Array;
  readonly ifindex: number;
  readonly gsoSize: number;
  readonly mark: number;
}

export interface TrialResult {
  readonly result: number;
  readonly frame: Uint8Array<ArrayBuffer>;
  readonly mark: number;
}

export class BpfKernel {
  readonly #library: BpfLibrary;

  /** Uses the shim at that path. */
  constructor(shim: string) {
    this.#library = loadBpf(shim);
  }

  /** A map with one value of so many bytes, and its memory. */
  share(name: string, bytes: number): SharedMap {
    const attr = new Attributes();
    attr.u32(0, MAP_TYPE_ARRAY);
    attr.u32(4, 4); // bytes of a key
    attr.u32(8, bytes);
    attr.u32(12, 1); // entries
    attr.u32(16, F_MMAPABLE);
    attr.name(28, name);
    const fd = this.#call(MAP_CREATE, attr);
    if (fd < 0) throw new Error(`Cannot make a BPF map: ${adviceOf(fd)}`, { cause: "" });
    const error = new Int32Array(new ArrayBuffer(4));
    const memory = this.#library.symbols.bpf_map(fd, bytes, error);
    if (memory !== null) return { fd, buffer: memoryAt(memory, bytes) };
    this.close(fd);
    throw new Error(`Cannot map a BPF map into memory: ${errnoName(error[0]!)}`, { cause: "" });
  }

  /** Loads a program that is run for frames; its descriptor. */
  load(name: string, code: Uint8Array<ArrayBuffer>): number {
    const program = this.#load(name, code, null);
    if (program >= 0) return program;
    const log = new Uint8Array(new ArrayBuffer(LOG_BYTES));
    this.#load(name, code, log);
    const lines = new TextDecoder().decode(log).split("\0")[0]!.trimEnd().split("\n");
    throw new Error(`Cannot load the BPF program: ${adviceOf(program)}`, {
      cause: lines.slice(-LOG_LINES).join("\n"),
    });
  }

  #load(name: string, code: Uint8Array<ArrayBuffer>, log: Uint8Array<ArrayBuffer> | null): number {
    const license = bytesOf("MIT\0");
    const attr = new Attributes();
    attr.u32(0, PROG_TYPE_SCHED_CLS);
    attr.u32(4, code.length / INSTRUCTION_BYTES);
    attr.bytes(8, code);
    attr.bytes(16, license);
    if (log !== null) {
      attr.u32(24, 1);
      attr.u32(28, log.length);
      attr.bytes(32, log);
    }
    attr.name(48, name);
    return this.#call(PROG_LOAD, attr);
  }

  /**
   * Runs the program for every frame that is about to leave the interface, before what is attached
   * there already; until the link is closed, the process ends, or the interface is deleted.
   */
  attach(program: number, ifindex: number): number {
    const attr = new Attributes();
    attr.u32(0, program);
    attr.u32(4, ifindex);
    attr.u32(8, TCX_EGRESS);
    const link = this.#call(LINK_CREATE, attr);
    if (link >= 0) return link;
    const why = errnoName(link) === "EINVAL"
      ? "EINVAL, this needs Linux 6.6 or later"
      : adviceOf(link);
    throw new Error(`Cannot attach the BPF program: ${why}`, { cause: "" });
  }

  /** Tries the program on a frame that nobody sends. */
  run(program: number, { frame, ifindex, gsoSize, mark }: Trial): TrialResult {
    const input = bytesOf(frame);
    const output = new Uint8Array(new ArrayBuffer(frame.length + 64));
    const [context, after] = [0, 0].map(() => {
      return new Uint8Array(new ArrayBuffer(SOCKET_BUFFER_BYTES));
    }) as [Uint8Array<ArrayBuffer>, Uint8Array<ArrayBuffer>];
    const view = new DataView(context.buffer);
    view.setUint32(8, mark, true);
    view.setUint32(40, ifindex, true);
    view.setUint32(176, gsoSize, true);
    const attr = new Attributes();
    attr.u32(0, program);
    attr.u32(8, input.length);
    attr.u32(12, output.length);
    attr.bytes(16, input);
    attr.bytes(24, output);
    attr.u32(32, 1);
    attr.u32(40, SOCKET_BUFFER_BYTES);
    attr.u32(44, SOCKET_BUFFER_BYTES);
    attr.bytes(48, context);
    attr.bytes(56, after);
    const status = this.#call(PROG_TEST_RUN, attr);
    if (status < 0) throw new Error(`Cannot try the BPF program: ${errnoName(status)}`);
    return {
      result: attr.view.getInt32(4, true),
      frame: output.slice(0, attr.view.getUint32(12, true)),
      mark: new DataView(after.buffer).getUint32(8, true),
    };
  }

  /** Resolves when all programs that run now have ended. */
  async wait(): Promise<void> {
    const status = await this.#library.symbols.bpf_wait();
    if (status < 0) throw new Error(`Cannot wait for programs: membarrier: ${errnoName(status)}`);
  }

  /** Closes a map, program or link. */
  close(fd: number): void {
    this.#library.symbols.tap_close(fd);
  }

  #call(command: number, attr: Attributes): number {
    return this.#library.symbols.bpf_call(command, attr.data, ATTR_BYTES);
  }
}

/** `union bpf_attr`. */
class Attributes {
  readonly data: Uint8Array<ArrayBuffer> = new Uint8Array(new ArrayBuffer(ATTR_BYTES));
  readonly view: DataView = new DataView(this.data.buffer);
  /** Keeps what the kernel is pointed to. */
  readonly #kept: Uint8Array[] = [];

  u32(offset: number, value: number): void {
    this.view.setUint32(offset, value, true);
  }

  /** Where these bytes are. */
  bytes(offset: number, bytes: Uint8Array<ArrayBuffer>): void {
    this.#kept.push(bytes);
    this.view.setBigUint64(offset, addressOf(bytes), true);
  }

  /** A name of up to 15 letters, digits and underscores. */
  name(offset: number, name: string): void {
    this.data.set(new TextEncoder().encode(name), offset);
  }
}

/** A copy that does not move. */
function bytesOf(source: string | Uint8Array): Uint8Array<ArrayBuffer> {
  const bytes = typeof source === "string" ? new TextEncoder().encode(source) : source;
  const copy = new Uint8Array(new ArrayBuffer(bytes.length));
  copy.set(bytes);
  return copy;
}

function adviceOf(status: number): string {
  const code = errnoName(status);
  switch (code) {
    case "EPERM":
      return `${code}, this needs ${CAPABILITIES}`;
    case "ENOSYS":
      return `${code}, this kernel has no bpf(2)`;
    case "ENOMEM":
      return `${code}, there is not enough memory for it`;
    case "EACCES":
    case "EINVAL":
      return `${code}, the kernel's verifier refuses it; this needs Linux 6.6 or later and ` +
        CAPABILITIES;
    default:
      return `${code}, the kernel refused it`;
  }
}
