/** Whether tests may have programs in the kernel. */
import { Assembler, R0 } from "../../src/bpf/assembler.ts";
import { BpfKernel } from "../../src/bpf/kernel.ts";
import { buildShim } from "../../src/pack/compile_c.ts";
import { permitted } from "../ffi/namespace.ts";

/** Why not, or undefined when they may; it is printed. */
export function whyNoBpf(): string | undefined {
  if (!permitted) return "needs permissions: deno test -A";
  try {
    const code = new Assembler();
    code.op(R0, "=", 0);
    code.exit();
    const kernel = new BpfKernel(buildShim());
    kernel.close(kernel.share("try", 64).fd);
    kernel.close(kernel.load("try", code.assemble({})));
    return undefined;
  } catch (error) {
    const why = (error as Error).message;
    // deno-lint-ignore no-console
    console.log(`skipped: ${why}`);
    return why;
  }
}
