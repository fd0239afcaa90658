/**
 * `deno task soak:page [MINUTES]`: the dashboard with a tree of 500 nodes, all of which have
 * traffic. Measures for ten seconds how many pictures a second Chromium makes, while the tree is
 * scrolled, too, then for so many minutes, of 10 unless told otherwise, what memory the page takes
 * after each collection of garbage. Fails below 30 pictures a second, or if the memory grows.
 */
import type { Page } from "playwright-core";
import { FakeProxy, treeOf } from "../page/fake_proxy.ts";
import { listen, startBrowser } from "../page/browser.ts";

const NODES = 500;
const LEAST_PICTURES = 30;

/** In bytes: what fifteen minutes of history take, and what a heap's size is off by. */
const MOST_GROWN = 2_000_000;

/** How long pictures are counted. */
const MEASURED_MS = 10_000;

const SAMPLES_A_MINUTE = 4;

/** Selectors of five arms each, down to decisions. */
function largeTree(): ReturnType<typeof treeOf> {
  return treeOf(
    Array.from({ length: NODES }, (_, id) => {
      const text = 5 * id + 1 < NODES ? "first match" : id % 3 === 0 ? "drop" : "forward";
      return id === 0
        ? [-1, null, text] as const
        : [Math.floor((id - 1) / 5), `tcp.dport = ${1000 + id}`, text] as const;
    }),
    ["10.0.0.1", "10.0.0.2", "10.0.0.3"],
  );
}

async function soak(minutes: number): Promise<void> {
  const tree = largeTree();
  await using fake = await FakeProxy.start(tree);
  const rates = ratesOf(tree);
  const passing = setInterval(() => {
    fake.pass(1, rates);
    fake.tell();
  }, 1000);
  const browser = await startBrowser();
  try {
    const page = await browser.newPage({ viewport: { width: 1440, height: 900 } });
    const { texts } = listen(page);
    await page.goto(fake.url);
    await page.waitForSelector('#state[data-kind="live"]');
    for (const isScrolled of [false, true]) {
      const { pictures, longestMs } = await picturesOf(page, isScrolled);
      const how = isScrolled ? "scrolled" : "at rest";
      say(
        `${NODES} nodes, ${how}: ${pictures.toFixed(1)} pictures a second, ${
          longestMs.toFixed(0)
        } ms the longest`,
      );
      if (pictures < LEAST_PICTURES) throw new Error(`Too slow: ${pictures} pictures a second`);
    }
    const session = await page.context().newCDPSession(page);
    const bytes: number[] = [];
    for (let sample = 0; sample <= minutes * SAMPLES_A_MINUTE; sample++) {
      await session.send("HeapProfiler.collectGarbage");
      const { usedSize } = await session.send("Runtime.getHeapUsage");
      const { nodes } = await session.send("Memory.getDOMCounters");
      bytes.push(usedSize);
      if (sample % SAMPLES_A_MINUTE === 0) {
        say(
          `${sample / SAMPLES_A_MINUTE} min: ${
            (usedSize / 1e6).toFixed(2)
          } MB, ${nodes} nodes of the document`,
        );
      }
      await page.waitForTimeout(60_000 / SAMPLES_A_MINUTE);
    }
    const grown = bytes.at(-1)! - (bytes[1] ?? bytes[0]!);
    say(`grown by ${(grown / 1e6).toFixed(2)} MB`);
    if (grown > MOST_GROWN) throw new Error(`The page's memory has grown by ${grown} bytes`);
    if (texts.length > 0) throw new Error(`The page complains: ${texts.join("; ")}`);
  } finally {
    clearInterval(passing);
    await browser.close();
  }
}

/** Packets a second of each node: as many as those below it. */
function ratesOf({ nodes }: ReturnType<typeof treeOf>): number[] {
  const rates = nodes.map(({ decision }, id) => decision === null ? 0 : 1 + id % 50);
  for (let id = nodes.length - 1; id > 0; id--) rates[nodes[id]!.parent]! += rates[id]!;
  return rates;
}

/** For ten seconds. */
async function picturesOf(
  page: Page,
  isScrolled: boolean,
): Promise<{ pictures: number; longestMs: number }> {
  return await page.evaluate(`new Promise((resolve) => {
    const scroller = document.getElementById("tree");
    const startMs = performance.now();
    let [pictures, lastMs, longestMs] = [0, startMs, 0];
    const turn = () => {
      const nowMs = performance.now();
      longestMs = Math.max(longestMs, nowMs - lastMs);
      lastMs = nowMs;
      pictures++;
      if (${isScrolled}) scroller.scrollTop = (nowMs - startMs) % scroller.scrollHeight;
      if (nowMs - startMs < ${MEASURED_MS}) requestAnimationFrame(turn);
      else resolve({ pictures: 1000 * pictures / (nowMs - startMs), longestMs });
    };
    requestAnimationFrame(turn);
  })`);
}

function say(line: string): void {
  Deno.stdout.writeSync(new TextEncoder().encode(`${line}\n`));
}

if (import.meta.main) {
  const [minutes = 10] = Deno.args.map(Number);
  if (!(minutes >= 0 && minutes <= 600)) {
    throw new RangeError(`Cannot run "${Deno.args[0]}" minutes: expected 0 to 600`);
  }
  await soak(minutes);
}
