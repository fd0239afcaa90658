/**
 * The program in the kernel (`BPF_PROG_TEST_RUN`) does what it does in the interpreter, which
 * `twin_test.ts` holds against the appliance: the same frames, results and words of the shared
 * memory, but for the time. The kernel makes frames of one piece here, and complete checksums;
 * partial ones and long segments come through a second TAP device (`taps_child.ts`).
 */
import assert from "node:assert/strict";
import { BpfKernel } from "../../src/bpf/kernel.ts";
import { fastPathOf, MEMORY } from "../../src/fastpath/program.ts";
import { buildShim } from "../../src/pack/compile_c.ts";
import { whyNoBpf } from "../support/bpf_kernel.ts";
import { scenario, whyNoTap } from "../ffi/namespace.ts";
import { timeless } from "./timeless.ts";
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

/** Two TAP devices on a bridge that learns nothing: what comes from one goes to the other. */
const TAPS = `
for name in tapt0 tapt1; do
  ip tuntap add dev $name mode tap
  echo 1 > /proc/sys/net/ipv6/conf/$name/disable_ipv6
  ip link set $name mtu 65000
done
ip link add brt type bridge stp_state 0 forward_delay 0 mcast_snooping 0
echo 1 > /proc/sys/net/ipv6/conf/brt/disable_ipv6
ip link set tapt0 master brt
ip link set tapt1 master brt
ip link set brt mtu 65000 up
bridge link set dev tapt0 learning off
bridge link set dev tapt1 learning off
ip link set tapt0 up
ip link set tapt1 up
for nf in /proc/sys/net/bridge/bridge-nf-call-ip*tables; do
  if [ -e $nf ]; then echo 0 > $nf; fi
done
sleep 0.2
`;

Deno.test(
  {
    name: "fast path is the same in the kernel for open checksums and long segments",
    ignore: ignore || whyNoTap() !== undefined,
  },
  () => {
    const [counts] = scenario("twin", TAPS, new URL("taps_child.ts", import.meta.url)) as [
      Record<"forwarded" | "left" | "partial" | "segmented" | "long", number>,
    ];
    for (const [name, count] of Object.entries(counts)) {
      assert.ok(count > 20, `${name}: ${JSON.stringify(counts)}`);
    }
  },
);
