/**
 * The program in the kernel (`BPF_PROG_TEST_RUN`) does what it does in the interpreter, which
 * `twin_test.ts` holds against the appliance: the same frames, results and words of the shared
 * memory, but for the time. The kernel makes frames of one piece here, and complete checksums;
 * partial ones and long segments are for the lab.
 */
import assert from "node:assert/strict";
import { BpfKernel } from "../../src/bpf/kernel.ts";
import { LAST_SEEN } from "../../src/flow/entry.ts";
import * as at from "../../src/fastpath/layout.ts";
import { fastPathOf, MEMORY } from "../../src/fastpath/program.ts";
import { buildShim } from "../../src/pack/compile_c.ts";
import { whyNoBpf } from "../support/bpf_kernel.ts";
import { LAYOUT, type Trial } from "./twin.ts";
import { KINDS } from "./twin_traffic.ts";

const ignore = whyNoBpf() !== undefined;
const ROUNDS = 3;
/** Longer ones are in several pieces. */
const MOST_BYTES = 3500;
const LEAST_BYTES = 34;
const LOOPBACK = 1;

for (const { name, run } of KINDS) {
  Deno.test({ name: `fast path is the same in the kernel, ${name}`, ignore }, () => {
    const kernel = new BpfKernel(buildShim());
    const { fd, buffer } = kernel.share("twin", LAYOUT.bytes);
    const bytes = new Uint8Array(buffer);
    const programs = [0, 1].map((link) =>
      kernel.load("twin", fastPathOf(LAYOUT, link).assemble({ [MEMORY]: fd }))
    );
    let forwarded = 0;
    let left = 0;
    const also = ({ link, frame, before, after, result, bytes: made }: Trial) => {
      const { length } = frame.bytes;
      if (frame.isPartial || length > MOST_BYTES || length < LEAST_BYTES) return;
      bytes.set(before);
      const { gsoSize } = frame;
      const trial = { frame: frame.bytes, ifindex: LOOPBACK, gsoSize, mark: 77 };
      const outcome = kernel.run(programs[link]!, trial);
      assert.equal(outcome.result, result);
      assert.equal(outcome.frame.toHex(), made.toHex());
      assert.equal(outcome.mark, result < 0 ? 77 : 0);
      assert.equal(timeless(bytes), timeless(after));
      if (result < 0) left++;
      else forwarded++;
    };
    for (let seed = 1; seed <= ROUNDS; seed++) run({ seed, also });
    assert.ok(forwarded > 50 && left > 50, `${forwarded} forwarded, ${left} left`);
    for (const open of [...programs, fd]) kernel.close(open);
  });
}

/** The memory without what tells the time and the processor. */
function timeless(memory: Uint8Array): string {
  const copy = memory.slice();
  const words = new Int32Array(copy.buffer);
  for (let entry = 0; entry < LAYOUT.connections; entry++) {
    words[LAYOUT.at.entries / 4 + 16 * entry + LAST_SEEN] = 0;
  }
  for (let neighbor = 0; neighbor < LAYOUT.neighbors; neighbor++) {
    const base = LAYOUT.at.neighbors / 4 + at.NEIGHBOR_WORDS * neighbor;
    for (const time of [at.USED, at.ASKED, at.ANSWERED]) words[base + time] &&= 1;
  }
  const counters = new BigUint64Array(copy.buffer, LAYOUT.at.counters);
  const perProcessor = 2 * LAYOUT.counters;
  for (let i = 0; i < perProcessor; i++) {
    counters[i]! += counters[perProcessor + i]!;
    counters[perProcessor + i] = 0n;
  }
  return copy.toHex();
}
