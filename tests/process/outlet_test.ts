import assert from "node:assert/strict";
import { Outlet } from "../../src/process/outlet.ts";
import type { Writer } from "../../src/process/writer.ts";

const LONG_MS = 5000;

/** Collects what is written; takes at most `chunkBytes` at a time, waits while `gate` is closed. */
class Sink implements Writer {
  text = "";
  writes = 0;
  inFlight = 0;
  mostInFlight = 0;
  error: Error | null = null;
  chunkBytes = Infinity;
  #gate: Promise<void> | null = null;
  #open = () => {};
  #decoder = new TextDecoder();

  close(): void {
    this.#gate = new Promise((resolve) => this.#open = resolve);
  }

  open(): void {
    this.#gate = null;
    this.#open();
  }

  async write(bytes: Uint8Array): Promise<number> {
    this.writes++;
    this.inFlight++;
    this.mostInFlight = Math.max(this.mostInFlight, this.inFlight);
    await this.#gate;
    this.inFlight--;
    if (this.error !== null) throw this.error;
    const written = Math.min(bytes.length, this.chunkBytes);
    this.text += this.#decoder.decode(bytes.subarray(0, written), { stream: true });
    return written;
  }
}

/** Lets everything that can go on go on. */
const settle = () => new Promise((resolve) => setTimeout(resolve, 0));

Deno.test("Outlet writes entries in order, those offered in one go with one write", async () => {
  const sink = new Sink();
  const outlet = new Outlet(sink);
  for (const text of ["one\n", "two\n", "drei … ü\n"]) assert.equal(outlet.offer(text), true);
  assert.equal(sink.writes, 0);
  await outlet.flush(LONG_MS);
  assert.equal(sink.text, "one\ntwo\ndrei … ü\n");
  assert.equal(sink.writes, 1);
  assert.equal(outlet.lost, 0);
});

Deno.test("Outlet goes on after each flush and after idle time", async () => {
  const sink = new Sink();
  const outlet = new Outlet(sink);
  await outlet.flush(LONG_MS);
  for (const text of ["a", "b", "c"]) {
    outlet.offer(text);
    await outlet.flush(LONG_MS);
  }
  assert.equal(sink.text, "abc");
});

for (const chunkBytes of [1, 2, 3, 7]) {
  Deno.test(`Outlet goes on after a partial write of ${chunkBytes} bytes`, async () => {
    const sink = new Sink();
    sink.chunkBytes = chunkBytes;
    const outlet = new Outlet(sink);
    outlet.offer("… ünïcödé 🌳\n");
    outlet.offer("next\n");
    await outlet.flush(LONG_MS);
    assert.equal(sink.text, "… ünïcödé 🌳\nnext\n");
  });
}

Deno.test("Outlet has one write in flight and loses whole entries while the reader stands", async () => {
  const sink = new Sink();
  sink.close();
  const outlet = new Outlet(sink, 512);
  const entry = (i: number) => `entry ${String(i).padStart(3, "0")} ${"x".repeat(89)}\n`; // 100 bytes
  outlet.offer(entry(0));
  await settle(); // entry 0 is in flight
  const taken = Array.from({ length: 20 }, (_, i) => outlet.offer(entry(i + 1)));
  assert.deepEqual(taken.map(Number), [1, 1, ...new Array(18).fill(0)]);
  assert.equal(outlet.full, true);
  assert.equal(outlet.lost, 18);
  await settle();
  assert.equal(sink.writes, 1);

  sink.open();
  await outlet.flush(LONG_MS);
  assert.equal(outlet.full, false);
  outlet.offer(entry(99));
  await outlet.flush(LONG_MS);
  const notice = "… 18 entries lost: the console was too slow\n";
  assert.equal(sink.text, entry(0) + entry(1) + entry(2) + notice + entry(99));
  assert.equal(sink.mostInFlight, 1);
  assert.equal(outlet.lost, 18);
});

Deno.test("Outlet takes nothing between a loss and its notice, even if it would fit", async () => {
  const sink = new Sink();
  sink.close();
  const outlet = new Outlet(sink, 256);
  assert.equal(outlet.offer("a".repeat(100)), true);
  assert.equal(outlet.offer("b".repeat(100)), false);
  assert.equal(outlet.offer("c"), false);
  sink.open();
  await outlet.flush(LONG_MS);
  assert.equal(sink.text, "a".repeat(100) + "… 2 entries lost: the console was too slow\n");
});

Deno.test("Outlet loses an entry that is longer than it can ever take, and says so", async () => {
  const sink = new Sink();
  const outlet = new Outlet(sink, 256);
  assert.equal(outlet.offer("x".repeat(129)), false);
  assert.equal(outlet.offer("…".repeat(43)), false); // 129 bytes in 43 characters
  await outlet.flush(LONG_MS);
  assert.equal(outlet.offer("x".repeat(128)), true);
  await outlet.flush(LONG_MS);
  assert.equal(sink.text, "… 2 entries lost: the console was too slow\n" + "x".repeat(128));
});

Deno.test("Outlet turns itself off when a write fails, and counts what is lost", async () => {
  const sink = new Sink();
  sink.close();
  const outlet = new Outlet(sink);
  outlet.offer("in flight");
  await settle();
  outlet.offer("waiting");
  outlet.offer("waiting");
  sink.error = new Deno.errors.BrokenPipe("Broken pipe");
  sink.open();
  await outlet.flush(LONG_MS);
  assert.equal(outlet.closed, true);
  assert.equal(outlet.full, true);
  assert.equal(outlet.lost, 3);
  assert.equal(outlet.offer("later"), false);
  await outlet.flush(LONG_MS);
  assert.equal(outlet.lost, 4);
  assert.equal(sink.writes, 1);
});

Deno.test("Outlet goes on when a full disk has room again, in the middle of a line, too", async () => {
  const sink = new Sink();
  sink.chunkBytes = 3;
  let room = 5;
  const told: string[] = [];
  const writer: Writer = {
    write: (bytes) => {
      if (room <= 0) return Promise.reject(new Error("No space left on device (os error 28)"));
      room -= 3;
      return sink.write(bytes);
    },
  };
  const outlet = new Outlet(writer, 256, (reason) => told.push(reason), undefined, 1);
  const until = async (isSo: () => boolean) => {
    while (!isSo()) await new Promise((resolve) => setTimeout(resolve, 1));
  };
  outlet.offer("one two three\n");
  await until(() => told.length === 1);
  assert.equal(sink.text, "one tw");
  assert.equal(outlet.closed, false);
  assert.equal(outlet.offer("x".repeat(120) + "\n"), true, "the other half takes it");
  assert.equal(outlet.offer("y".repeat(120) + "\n"), false);
  room = Infinity;
  const notice = "… 1 entry lost: its disk was full\n";
  await until(() => sink.text.endsWith(notice));
  assert.equal(sink.text, "one two three\n" + "x".repeat(120) + "\n" + notice);
  assert.deepEqual([told.length, outlet.lost, outlet.full], [1, 1, false]);
  // At the end nobody waits for room.
  room = 0;
  outlet.offer("last\n");
  await until(() => told.length === 2);
  await outlet.flush(LONG_MS);
  assert.deepEqual([outlet.closed, outlet.lost, told.length], [true, 2, 2]);
});

const failures: [string, () => Promise<number>, told: string[]][] = [
  ["throws at once", () => {
    throw new Error("at once");
  }, ["at once"]],
  ["takes no bytes", () => Promise.resolve(0), ["it takes no bytes"]],
  ["rejects with no Error", () => Promise.reject("no Error"), ["no Error"]],
  [
    "has no reader",
    () => Promise.reject(Object.assign(new Error("Broken pipe"), { name: "BrokenPipe" })),
    [],
  ],
];
for (const [name, write, wanted] of failures) {
  Deno.test(`Outlet turns itself off when the writer ${name}, and says why`, async () => {
    const told: string[] = [];
    const outlet = new Outlet({ write }, undefined, (reason) => told.push(reason));
    outlet.offer("text");
    await outlet.flush(LONG_MS);
    assert.equal(outlet.closed, true);
    assert.equal(outlet.lost, 1);
    outlet.offer("more");
    await outlet.flush(LONG_MS);
    assert.deepEqual(told, wanted);
  });
}

Deno.test("Outlet tries again when a non-blocking stream is full", async () => {
  const sink = new Sink();
  let refusals = 2;
  const outlet = new Outlet({
    write: (bytes) => {
      if (refusals-- > 0) return Promise.reject(new Deno.errors.WouldBlock("os error 11"));
      return sink.write(bytes);
    },
  });
  outlet.offer("text");
  await outlet.flush(LONG_MS);
  assert.equal(sink.text, "text");
  assert.equal(outlet.lost, 0);
});

Deno.test("Outlet.flush ends at its deadline while the reader stands", async () => {
  const sink = new Sink();
  sink.close();
  const outlet = new Outlet(sink);
  outlet.offer("text");
  let ended = false;
  const flushed = outlet.flush(30).then(() => ended = true);
  await settle();
  assert.equal(ended, false, "not before its deadline");
  await flushed;
  assert.equal(sink.text, "");
  sink.error = new Error("fails after the deadline"); // and must not surface anywhere
  sink.open();
  await settle();
  assert.equal(outlet.closed, true);
});

Deno.test("Outlet must have room for its own notice", () => {
  assert.throws(() => new Outlet(new Sink(), 255), {
    name: "RangeError",
    message: "Cannot make outlet of 255 bytes: must be ≥ 256",
  });
});

Deno.test("Outlet keeps every entry whole under a random reader", async () => {
  const sink = new Sink();
  const outlet = new Outlet(sink, 1024);
  let state = 12345; // seed
  const random = (n: number) => {
    state = (Math.imul(state, 1_103_515_245) + 12_345) & 0x7fff_ffff;
    return (state >> 8) % n;
  };
  let taken = 0;
  for (let i = 0; i < 5000; i++) {
    if (outlet.offer(`<${i} ${"é".repeat(random(60))}>\n`)) taken++;
    sink.chunkBytes = 1 + random(50);
    if (random(20) === 0) await settle();
  }
  await outlet.flush(LONG_MS);
  const lines = sink.text.split("\n").slice(0, -1);
  const notices = lines.filter((line) => line.startsWith("…"));
  const entries = lines.filter((line) => /^<\d+ é*>$/.test(line));
  assert.equal(entries.length + notices.length, lines.length);
  assert.equal(entries.length, taken);
  assert.ok(outlet.lost > 0 && taken > 0);
  assert.equal(taken + outlet.lost, 5000);
  const counts = notices.map((line) => Number(/^… (\d+) entr(y|ies) lost/.exec(line)![1]));
  assert.equal(counts.reduce((sum, count) => sum + count, 0), outlet.lost);
});
