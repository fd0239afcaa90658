/** `thread_child.ts SCENARIO SHIM`: gives V8's threads a nice value, and prints each thread's. */
import { loadThread } from "../../ffi/thread.ts";

const { symbols } = loadThread(Deno.args[1]!);
const count = symbols.threads_nice(new TextEncoder().encode("V8 \0"), 10);
const threads = [...Deno.readDirSync("/proc/self/task")].map(({ name }) => {
  const stat = Deno.readTextFileSync(`/proc/self/task/${name}/stat`);
  const end = stat.lastIndexOf(")");
  return {
    name: stat.slice(stat.indexOf("(") + 1, end),
    nice: Number(stat.slice(end + 2).split(" ")[16]),
  };
});
// deno-lint-ignore no-console
console.log(JSON.stringify({ count, threads }));
