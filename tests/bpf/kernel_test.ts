/** Programs in the kernel, with the kernel of this machine. */
import assert from "node:assert/strict";
import { Assembler, R0, R1, R2 } from "../../src/bpf/assembler.ts";
import { BpfKernel } from "../../src/bpf/kernel.ts";
import { buildShim } from "../../src/pack/compile_c.ts";
import { scenario, whyNoTap, withoutCapability } from "../ffi/namespace.ts";
import { whyNoBpf } from "../support/bpf_kernel.ts";

const ignore = whyNoBpf() !== undefined;
const noDevice = ignore || whyNoTap() !== undefined;
const CHILD = new URL("kernel_child.ts", import.meta.url);
const TRIAL = { frame: new Uint8Array(60), ifindex: 1, gsoSize: 0, mark: 9 };

Deno.test({ name: "BpfKernel, shares memory with a program both ways", ignore }, async () => {
  const kernel = new BpfKernel(buildShim());
  const { fd, buffer } = kernel.share("both_ways", 8192);
  const words = new Int32Array(buffer);
  words[2047] = 41;
  const code = new Assembler();
  code.address(R1, "m", 8188);
  code.load(R0, "u32", R1, 0);
  code.op(R2, "=", R0);
  code.op(R2, "+=", 1);
  code.store("u32", R1, 0, R2);
  code.exit();
  const program = kernel.load("both_ways", code.assemble({ m: fd }));
  assert.equal(kernel.run(program, TRIAL).result, 41);
  assert.equal(words[2047], 42);
  await kernel.wait();
  kernel.close(program);
  kernel.close(fd);
});

Deno.test({ name: "BpfKernel.load, says what the verifier said last", ignore }, () => {
  const code = new Assembler();
  code.op(R0, "=", R2);
  code.exit();
  assert.throws(() => new BpfKernel(buildShim()).load("bad", code.assemble({})), (error: Error) => {
    assert.match(error.message, /^Cannot load the BPF program: EACCES, the kernel's verifier /);
    assert.match(String(error.cause), /R2 !read_ok/);
    return true;
  });
});

Deno.test({ name: "BpfKernel.load, is not kept from it by signals", ignore }, async () => {
  const code = new Assembler();
  code.op(R0, "=", 0);
  for (let i = 0; i < 4000; i++) code.op(R0, "+=", 1);
  code.exit();
  const program = code.assemble({});
  const heard = Promise.withResolvers<void>();
  const hear = () => heard.resolve();
  Deno.addSignalListener("SIGUSR2", hear);
  const loop = `while kill -USR2 ${Deno.pid} 2>/dev/null; do :; done`;
  const sender = new Deno.Command("sh", { args: ["-c", loop] }).spawn();
  try {
    await heard.promise;
    const kernel = new BpfKernel(buildShim());
    for (let i = 0; i < 50; i++) kernel.close(kernel.load("signals", program));
  } finally {
    sender.kill("SIGKILL");
    await sender.status;
    Deno.removeSignalListener("SIGUSR2", hear);
  }
});

Deno.test(
  { name: "BpfKernel.attach, sees what leaves a device, and leaves it", ignore: noDevice },
  () => {
    const [first, second, refusal] = scenario("count", "", CHILD) as [
      { seen: number; counted: number },
      { seen: number; counted: number },
      string,
    ];
    assert.ok(first.seen > 0);
    assert.equal(first.counted, first.seen);
    assert.ok(second.seen > 0);
    assert.equal(second.counted, 0);
    assert.match(refusal, /^Cannot attach the BPF program: ENODEV, /);
  },
);

Deno.test({ name: "BpfKernel, names the capabilities that are missing", ignore: noDevice }, () => {
  const drop = ["bpf", "sys_admin"].flatMap(withoutCapability).map((word) => `'${word}'`);
  const [message] = scenario("refused", `set -- ${drop.join(" ")} "$@";`, CHILD);
  assert.equal(
    message,
    "Cannot make a BPF map: EPERM, this needs CAP_BPF, CAP_NET_ADMIN and CAP_PERFMON",
  );
});
