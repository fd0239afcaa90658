import { equal, ok } from "node:assert/strict";
import { scenario, whyNoTap } from "./namespace.ts";

const child = new URL("thread_child.ts", import.meta.url);

Deno.test({
  name: "threads_nice, reaches the threads of that name and no other",
  ignore: whyNoTap() !== undefined,
}, () => {
  const [{ count, threads }] = scenario("", "", child) as [
    { count: number; threads: { name: string; nice: number }[] },
  ];
  const nice = threads.filter((thread) => thread.nice === 10);
  ok(nice.length > 0, "V8 has threads of its own");
  equal(count, nice.length);
  for (const { name, nice } of threads) equal(nice, name.startsWith("V8 ") ? 10 : 0, name);
});
