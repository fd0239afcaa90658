/** The filter of system calls, run by an interpreter, on both machines that have one. */
import assert from "node:assert/strict";
import { syscallFilter } from "../../src/process/syscall_filter.ts";
import { type Machine, type Numbers, syscallsOf } from "../../src/process/syscalls.ts";
import { verdictOf } from "../support/classic_bpf.ts";

const ALLOWED = 0x7fff_0000;
const EPERM = 0x0005_0001;
const ENOSYS = 0x0005_0026;
const PID = 4711;
const ARCHES: Readonly<Record<Machine, number>> = { x86_64: 0xc000_003e, aarch64: 0xc000_00b7 };
const MACHINES = Object.keys(ARCHES) as Machine[];

/** Asks a filter about a call by its name or number. */
function filterOf(machine: Machine, isStrict: boolean) {
  const program = syscallFilter({ machine, isStrict, pid: PID });
  const { denied, checked, allowed } = syscallsOf(machine);
  const all: Numbers = new Map([...denied, ...checked, ...allowed]);
  return (call: string | number, ...given: readonly number[]) =>
    verdictOf(program, {
      machine: ARCHES[machine],
      number: typeof call === "number" ? call : all.get(call)!,
      arguments: given,
    });
}

for (const machine of MACHINES) {
  Deno.test(`syscalls of ${machine}: each is in one table, with a number of its own`, () => {
    const { denied, checked, allowed } = syscallsOf(machine);
    const rows = [denied, checked, allowed].flatMap((table) => [...table]);
    assert.equal(new Set(rows.map(([name]) => name)).size, rows.length);
    assert.equal(new Set(rows.map(([, number]) => number)).size, rows.length);
    for (const name of ["execve", "ptrace", "mount", "bpf", "io_uring_setup", "connect"]) {
      assert.ok(denied.has(name), name);
    }
    for (const name of ["exit", "exit_group", "restart_syscall", "membarrier", "io_uring_enter"]) {
      assert.ok(allowed.has(name), name);
    }
  });

  Deno.test(`filter of ${machine}: what is denied fails, what is needed is allowed`, () => {
    const { denied, allowed } = syscallsOf(machine);
    for (const isStrict of [false, true]) {
      const filter = filterOf(machine, isStrict);
      for (const name of denied.keys()) assert.equal(filter(name), EPERM, name);
      for (const name of allowed.keys()) assert.equal(filter(name), ALLOWED, name);
      assert.equal(filter("clone3"), ENOSYS);
      assert.equal(filter(9999), isStrict ? EPERM : ALLOWED, "a call of a later kernel");
    }
  });

  Deno.test(`filter of ${machine}: some calls go by what they are asked for`, () => {
    const cases: readonly (readonly [call: string, given: readonly number[], allowed: boolean])[] =
      [
        ["socket", [1, 1], true],
        ["socket", [2, 0x80802], true], // datagrams, not blocking, closed on exec
        ["socket", [10, 1], true],
        ["socket", [2, 3], false], // raw
        ["socket", [16, 3], false], // netlink
        ["socket", [17, 3], false], // packets
        ["socket", [40, 1], false], // virtual machines
        ["socketpair", [1, 1], true],
        ["socketpair", [16, 1], false],
        ["clone", [0x003d_0f00], true], // a thread, as glibc makes it
        ["clone", [0x11], false], // another process
        ["clone", [0x0001_0000 | 0x4000_0000], false], // in a network of its own
        ["clone", [0x0001_0000 | 0x1000_0000], false],
        ["kill", [PID, 15], true],
        ["kill", [1, 15], false],
        ["tgkill", [PID, PID, 15], true],
        ["tgkill", [1, 1, 15], false],
        ["prlimit64", [0, 7], true],
        ["prlimit64", [PID, 7], true],
        ["prlimit64", [1, 7], false],
        ["setpriority", [0, 0, 10], true],
        ["setpriority", [0, 1, 10], false],
        ["setpriority", [2, 0, 10], false],
        ["ioctl", [5, 0x5421], true],
        ["ioctl", [5, 0x400454ca], true], // TUNSETIFF
        ["ioctl", [5, 0x5412], false], // TIOCSTI
        ["ioctl", [5, 0x541c], false],
        ["ioctl", [5, 0x5423], false],
      ];
    for (const isStrict of [false, true]) {
      const filter = filterOf(machine, isStrict);
      for (const [call, given, isAllowed] of cases) {
        assert.equal(filter(call, ...given), isAllowed ? ALLOWED : EPERM, `${call}(${given})`);
      }
    }
  });

  Deno.test(`filter of ${machine}: the calls of another machine fail`, () => {
    const program = syscallFilter({ machine, isStrict: false, pid: PID });
    // As i386, x32 and 32-bit arm number them.
    for (const other of [0x4000_0003, 0x4000_0028, ARCHES[MACHINES.find((m) => m !== machine)!]]) {
      assert.equal(verdictOf(program, { machine: other, number: 39 }), EPERM);
    }
  });
}

Deno.test("filter of x86_64: the calls of x32 fail, whatever they are", () => {
  for (const isStrict of [false, true]) {
    const filter = filterOf("x86_64", isStrict);
    for (const number of [0x4000_0000, 0x4000_0000 + 39, 0x7fff_ffff, -1]) {
      assert.equal(filter(number), EPERM);
    }
  }
});

const HEADERS: Readonly<Record<Machine, string>> = {
  x86_64: "/usr/include/x86_64-linux-gnu/asm/unistd_64.h",
  aarch64: "/usr/include/asm-generic/unistd.h",
};

for (const machine of MACHINES) {
  const header = textOf(HEADERS[machine]);
  Deno.test({
    name: `syscalls of ${machine}: as far as ${HEADERS[machine]} knows them, it says the same`,
    ignore: header === null,
    fn: () => {
      const { denied, checked, allowed } = syscallsOf(machine);
      const known = new Map(
        [...header!.matchAll(/^#define __NR(?:3264)?_(\w+)\s+(\d+)/gm)]
          .map(([, name, number]) => [name!, Number(number)]),
      );
      const rows = [denied, checked, allowed].flatMap((table) => [...table])
        .filter(([name]) => known.has(name));
      assert.ok(rows.length > 150, `${rows.length} calls`);
      for (const [name, number] of rows) assert.equal(number, known.get(name), name);
    },
  });
}

function textOf(path: string): string | null {
  if (Deno.permissions.querySync({ name: "read", path }).state !== "granted") return null;
  try {
    return Deno.readTextFileSync(path);
  } catch {
    return null;
  }
}
