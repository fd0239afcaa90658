import assert from "node:assert/strict";
import { writeAll } from "../../src/process/write_all.ts";

/** A stream that takes at most `step` bytes at a time, and fails as told before each write. */
function stream(step: number, failures: (string | null)[] = []) {
  const taken: number[] = [];
  return {
    text: () => new TextDecoder().decode(Uint8Array.from(taken)),
    write(bytes: Uint8Array): Promise<number> {
      const failure = failures.shift() ?? null;
      if (failure !== null) {
        return Promise.reject(Object.assign(new Error(`${failure} (os error)`), { name: failure }));
      }
      const part = bytes.subarray(0, step);
      taken.push(...part);
      return Promise.resolve(part.length);
    },
  };
}

Deno.test("writeAll writes all of a long text to a stream that takes little at a time", async () => {
  const text = "é line\n".repeat(20_000);
  const out = stream(4093);
  assert.equal(await writeAll(out, text), true);
  assert.equal(out.text(), text);
});

Deno.test("writeAll waits where the stream is full", async () => {
  const out = stream(2, [null, "WouldBlock", "WouldBlock", null]);
  assert.equal(await writeAll(out, "abcdef"), true);
  assert.equal(out.text(), "abcdef");
});

Deno.test("writeAll stops when the reader is gone", async () => {
  const out = stream(2, [null, "BrokenPipe"]);
  assert.equal(await writeAll(out, "abcdef"), false);
  assert.equal(out.text(), "ab");
});

for (
  const [name, out, message] of [
    ["fails", stream(2, ["StorageFull"]), "Cannot write output: StorageFull (os error)"],
    ["takes nothing", stream(0), "Cannot write output: it takes no bytes"],
  ] as const
) {
  Deno.test(`writeAll throws when the stream ${name}`, async () => {
    await assert.rejects(() => writeAll(out, "abc"), { name: "Error", message });
  });
}
