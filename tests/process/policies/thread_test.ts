/** The thread of policies, and what becomes of a reload when it ends. */
import assert from "node:assert/strict";
import { finish } from "../../../src/core/slices.ts";
import { sourcePlatform } from "../../../src/pack/source.ts";
import { PolicyThread } from "../../../src/process/policies/thread.ts";
import { atOnce } from "../../../src/process/turns.ts";
import { buildIcmp } from "../../support/frames.ts";
import { buildIcmp6, buildTcp6, readTcp6 } from "../../support/frames6.ts";
import { nearThread } from "../../support/policy_thread.ts";
import { packetsOf, World } from "../../support/world.ts";

const ignore = Deno.permissions.querySync({ name: "read" }).state !== "granted";

const BALANCED = `default drop
not ip.src in $dst-addrs
  tcp -> translate-a-to-b, forward
  echo-request -> in turn
    | drop "first"
    | track, echo
otherwise -> translate-b-to-a, forward
`;

function sourceOf(text: string) {
  return { file: "p", text, pieces: [text], included: new Map(), missing: null };
}

/** Has the world's appliance run the policy by the thread, as a reload does. */
async function run({ appliance }: World, thread: PolicyThread, text: string): Promise<void> {
  const { pools } = await thread.load(sourceOf(text), true);
  const all = { ...pools, "dst-addrs": appliance.pools["dst-addrs"]! };
  const image = await thread.make(true, appliance.surroundings(all));
  finish(appliance.prepare({ image, pools: all }))();
  thread.runs(() => sourceOf(text));
}

for (
  const [name, threadOf] of [
    ["near", () => nearThread().thread],
    ["real", () => new PolicyThread(sourcePlatform().policyThread, atOnce)],
  ] as const
) {
  Deno.test({
    name:
      `a ${name} thread's policy goes on where the one before it was, and says why one is wrong`,
    ignore,
    fn: async () => {
      const thread = threadOf();
      const world = World.settled();
      const answers = () => packetsOf(world.send(buildIcmp({ rest: [1, 1] }))).length;
      try {
        await run(world, thread, BALANCED);
        assert.deepEqual([answers(), answers(), answers()], [0, 1, 0]);
        await assert.rejects(thread.load(sourceOf("default drop\ntpc -> drop\n"), true), {
          message: /^p:2:1: Found "tpc", expected a predicate; did you mean "tcp"\?\n/,
        });
        await run(world, thread, BALANCED.replace("  tcp ->", "  udp -> drop\n  tcp ->"));
        assert.deepEqual([answers(), answers()], [1, 0], "the turn goes on");
        const { lines } = world.appliance.snapshot().policy;
        assert.deepEqual(lines.map(({ pdus, text }) => [pdus, text.trim()]).slice(0, 6), [
          [5, "not ip.src in $dst-addrs"],
          [0, "udp -> drop"],
          [0, "tcp -> translate-a-to-b, forward"],
          [5, "echo-request -> in turn"],
          [3, '| drop "first"'],
          [2, "| track, echo"],
        ]);
        const { pools } = world.appliance;
        const again = await thread.make(false, world.appliance.surroundings(pools));
        finish(world.appliance.prepare({ image: again, pools }))();
        assert.equal(answers(), 1, "other pools, the same policy");
      } finally {
        thread.end();
      }
    },
  });
}

Deno.test("a thread's policy runs for both families, with the same counters and turns", async () => {
  const { thread } = nearThread();
  const world = World.settled({ ipv6: true });
  const answers = (frame: Uint8Array<ArrayBuffer>) => packetsOf(world.send(frame)).length;
  const [ping, ping6] = [buildIcmp({ rest: [1, 1] }), buildIcmp6({ rest: [1, 1, 0, 1] })];
  await run(world, thread, BALANCED);
  assert.deepEqual([ping, ping6, ping6, ping6].map(answers), [0, 1, 0, 1]);
  const next = BALANCED.replace(
    "  tcp ->",
    "  ipv6 and ip.src in {10.0.0.0/8, 2001:db8::/112} and tcp.dport = 9 -> reject\n  tcp ->",
  );
  await run(world, thread, next);
  assert.deepEqual([ping6, ping].map(answers), [0, 1], "the turn goes on");
  const syn = { flags: "S", ack: 0, dstPort: 9 };
  const [rst] = packetsOf(world.send(buildTcp6(syn)));
  assert.equal(readTcp6(rst!).flags, "RA");
  const { lines } = world.appliance.snapshot().policy;
  assert.deepEqual(lines.slice(0, 6).map(({ pdus }) => pdus), [7, 1, 0, 6, 3, 3]);
  thread.end();
});

Deno.test("a thread that ends fails what waits for it in one line, and the next one knows what runs", async () => {
  const { thread, started } = nearThread();
  const world = World.settled();
  const answers = () => packetsOf(world.send(buildIcmp({ rest: [1, 1] }))).length;
  await run(world, thread, BALANCED);
  assert.deepEqual([answers(), answers(), answers()], [0, 1, 0]);
  const loading = thread.load(sourceOf(BALANCED), true);
  started[0]!.fail("out\nof memory");
  await assert.rejects(loading, {
    message: "the thread that makes policies has ended: out\\u000aof memory",
  });
  assert.equal(started[0]!.isEnded, true);
  await run(world, thread, BALANCED);
  assert.equal(started.length, 2);
  assert.equal(answers(), 1, "the turn goes on");
});

Deno.test({
  name: "a thread that can't start fails a reload in one line",
  ignore,
  fn: async () => {
    const missing = new URL("./no_such_thread.ts", import.meta.url);
    const thread = new PolicyThread(() => new Worker(missing, { type: "module" }), atOnce);
    await assert.rejects(thread.load(sourceOf(BALANCED), true), {
      message: /^the thread that makes policies has ended: [^\n]+$/,
    });
  },
});

Deno.test({
  name: "a thread tells when its program is loaded; one that can't be loaded keeps nobody waiting",
  ignore,
  fn: async () => {
    const thread = new PolicyThread(sourcePlatform().policyThread, atOnce);
    await thread.loaded();
    await thread.loaded(); // it is there already
    const { pools } = await thread.load(sourceOf(BALANCED), true);
    assert.deepEqual(Object.keys(pools), []);
    thread.end();
    const missing = new URL("./no_such_thread.ts", import.meta.url);
    await new PolicyThread(() => new Worker(missing, { type: "module" }), atOnce).loaded();
  },
});
