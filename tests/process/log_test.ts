import assert from "node:assert/strict";
import { openLog } from "../../src/process/log.ts";
import { Outlet } from "../../src/process/outlet.ts";

/** A log, and a function that gives what reached stdout and stderr. */
function make() {
  const texts = ["", ""];
  const decoder = new TextDecoder();
  const outlets = texts.map((_, i) =>
    new Outlet({
      write: (bytes) => {
        texts[i] += decoder.decode(bytes);
        return Promise.resolve(bytes.length);
      },
    })
  );
  const printed = async () => {
    for (const outlet of outlets) await outlet.flush(5000);
    return { stdout: texts[0], stderr: texts[1] };
  };
  return { log: openLog(outlets[0]!, outlets[1]!), printed };
}

Deno.test("openLog sends information to stdout, the rest with its level to stderr", async () => {
  const { log, printed } = make();
  log.info("tap100 is up");
  log.warning("backend 192.168.0.1 does not answer");
  log.error("address conflict");
  log.info("and on");
  assert.deepEqual(await printed(), {
    stdout: "tap100 is up\nand on\n",
    stderr: "warning: backend 192.168.0.1 does not answer\nerror: address conflict\n",
  });
});

Deno.test("openLog takes messages as they are, braces and percent signs too", async () => {
  const { log, printed } = make();
  const message = '{net} {{}} %s %d ${x} \\ " … 🌳';
  log.info(message);
  log.error(message);
  assert.deepEqual(await printed(), { stdout: `${message}\n`, stderr: `error: ${message}\n` });
});

Deno.test("openLog survives a console that has gone", async () => {
  const gone = new Outlet({ write: () => Promise.reject(new Error("Broken pipe")) });
  const log = openLog(gone, gone);
  for (let i = 0; i < 3; i++) {
    log.info("text");
    log.error("text");
    await gone.flush(5000);
  }
  assert.equal(gone.lost, 6);
});

Deno.test("openLog opened again writes to the new console only", async () => {
  const first = make();
  const second = make();
  second.log.info("text");
  assert.deepEqual(await first.printed(), { stdout: "", stderr: "" });
  assert.deepEqual(await second.printed(), { stdout: "text\n", stderr: "" });
});
