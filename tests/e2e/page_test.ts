/**
 * The dashboard in Chromium, without a screen: beside a proxy under traffic, and through all that
 * can happen to it.
 */
import assert from "node:assert/strict";
import type { AxeResults } from "axe-core";
import type { Page } from "playwright-core";
import { demo } from "../../src/policy/language/built_in.ts";
import { print } from "../../src/policy/printing/print.ts";
import { startEcho } from "../lab/peer.ts";
import { labTests } from "../lab/suite.ts";
import { proxyAddress } from "../lab/topology.ts";
import { listen, startBrowser } from "../page/browser.ts";
import { FakeProxy, treeOf } from "../page/fake_proxy.ts";
import { ADMIN, WatchedPage } from "../page/watched_page.ts";

const POLICY = print(demo).replace("80 -> drop", '80 -> drop "<b>x"');

const labTest = await labTests("ping", "nc", "chromium");

/** Waits until the page says that it stands so. */
async function stands(page: Page, kind: string): Promise<void> {
  await page.waitForSelector(`#state[data-kind="${kind}"]`, { timeout: 20_000 });
}

/** What the page says of each node that something leads to: that, and its packets. */
async function armsOn(page: Page): Promise<[arm: string, packets: number][]> {
  const labels = await page.$$eval(
    "#boxes .box",
    (boxes) => boxes.map((box) => box.textContent),
  );
  return labels.flatMap((label) => {
    const [, arm, count] = /^(.*?) → .*, ([\d,]+) packets/.exec(label) ?? [];
    return arm === undefined ? [] : [[arm, Number(count!.replaceAll(",", ""))]];
  });
}

/** The same of `ctl tree --json`, whose lines are what something leads to, and what follows. */
function armsOf(text: string, arms: readonly string[]): [arm: string, packets: number][] {
  const lines: { text: string; pdus: number }[] = JSON.parse(text).lines;
  return lines
    .filter(({ text }) => !text.startsWith("default "))
    .map(({ text, pdus }, i) => [text.startsWith(arms[i] ?? "?") ? arms[i]! : text, pdus]);
}

labTest("the dashboard shows what ctl says, and all that can happen to a proxy", async () => {
  await using watched = await WatchedPage.start(POLICY);
  const { topology: { client, host, backends }, browser } = watched;
  const page = await browser.newPage({ viewport: { width: 1440, height: 1000 } });
  const complaints = listen(page);
  await page.goto(`http://${ADMIN}/`);
  await stands(page, "idle");

  // Under traffic the numbers move.
  for (const { address, host } of backends) await startEcho(host, address, 2001);
  const pings = client.start(["ping", "-i", "0.05", proxyAddress]);
  await stands(page, "live");
  const [, before] = (await armsOn(page))[0]!;
  while ((await armsOn(page))[0]![1] < before + 20) await page.waitForTimeout(100);
  assert.notEqual(await page.textContent("#packets"), "0/s");
  for (let i = 0; i < 6; i++) {
    await client.run(["nc", "-N", "-w", "5", proxyAddress, "2001"], { stdin: "" });
  }
  await client.run(["nc", "-w", "1", proxyAddress, "80"]);
  await pings.stop("SIGINT");

  // When it is quiet they are those of ctl.
  await stands(page, "idle");
  const arms = await armsOn(page);
  assert.deepEqual(arms, armsOf(await watched.ctl("--json", "tree"), arms.map(([arm]) => arm)));
  assert.ok(arms.length > 8 && arms.some(([arm, packets]) => arm === "icmp" && packets > 20));
  const drops = await page.$$eval("#drops li", (items) => items.map((item) => item.textContent));
  const { decisions } = JSON.parse(await watched.ctl("--json", "status"));
  const count = String(decisions.Drop).replace(/\B(?=(\d{3})+$)/g, ",");
  assert.ok(drops.some((text) => text!.startsWith(`policy${count} ·`)), String(drops));
  const states = await page.$$eval("#backends .mark", (all) => all.map((one) => one.textContent));
  assert.deepEqual(states, ["●up", "●up", "●up"]);
  assert.match((await page.textContent('.box[data-decision="drop"] >> nth=1'))!, /drop "<b>x"/);

  // A reload.
  await Deno.writeTextFile(watched.policy, print(demo).replace("80 -> drop", "80 -> reject"));
  await watched.ctl("reload");
  await stands(page, "reloaded");
  await page.waitForSelector('.box[data-decision="reject"]');

  // A pause.
  await page.keyboard.press("p");
  await stands(page, "paused");
  const paused = await page.textContent("#uptime");
  await client.run(["ping", "-c", "2", "-i", "0.5", "-W", "1", proxyAddress]);
  assert.equal(await page.textContent("#uptime"), paused);
  await page.keyboard.press("p");
  while (await page.textContent("#uptime") === paused) await page.waitForTimeout(100);

  // The proxy hangs.
  watched.proxy.signal("SIGSTOP");
  await stands(page, "stale");
  watched.proxy.signal("SIGCONT");
  await page.waitForSelector('#state:not([data-kind="stale"])');

  // The network is cut.
  await host.script("ip link set lo down");
  await stands(page, "lost");
  await host.script("ip link set lo up");
  await page.waitForSelector('#state:not([data-kind="lost"])', { timeout: 20_000 });

  // The proxy ends, and comes back.
  assert.equal((await watched.proxy.stop()).code, 0);
  await stands(page, "lost");
  await watched.restart();
  await stands(page, "reloaded");
  await client.run(["ping", "-c", "2", "-W", "1", proxyAddress]);
  await page.waitForSelector('.box:has-text("icmp → "):has-text(", 2 packets")');
  assert.deepEqual(complaints.texts, []);
  await watched.proxy.stop();
});

labTest("the dashboard is used by keys alone, by all, and on a phone", async () => {
  await using watched = await WatchedPage.start(POLICY);
  const { topology: { client }, browser } = watched;
  await client.run(["ping", "-c", "4", "-i", "0.05", "-W", "1", proxyAddress]);
  const page = await browser.newPage({ viewport: { width: 1440, height: 1000 } });
  const complaints = listen(page);
  await page.goto(`http://${ADMIN}/`);
  await page.waitForSelector(".box");
  const focused = () => page.evaluate<string | null>("document.activeElement?.textContent");
  const isOpen = (id: string) => page.evaluate(`document.getElementById("${id}").open`);

  // From link to buttons, filter, tree.
  for (let i = 0; i < 5 && !/^first match/.test(await focused() ?? ""); i++) {
    await page.keyboard.press("Tab");
  }
  assert.match(await focused() ?? "", /^first match, 4 packets/);
  await page.keyboard.press("ArrowRight");
  assert.match(await focused() ?? "", /^not ip\.src in \$dst-addrs → /);
  const all = await page.locator(".box").count();
  await page.keyboard.press("ArrowLeft");
  assert.match(await focused() ?? "", / folded$/);
  assert.ok(await page.locator(".box").count() < all);
  await page.keyboard.press("ArrowRight");
  await page.keyboard.press("End");
  assert.match(await focused() ?? "", /^forward, 0 packets/);
  await page.keyboard.press("Enter");
  assert.equal(await isOpen("drawer"), true);
  assert.equal(await page.textContent("#drawer-title"), "forward");
  await page.keyboard.press("Escape");
  assert.equal(await isOpen("drawer"), false);
  assert.match(await focused() ?? "", /^forward, 0 packets/);
  await page.keyboard.press("/");
  await page.keyboard.type("Request");
  assert.equal(await page.textContent("#found"), "1 found");
  await page.keyboard.press("Enter");
  assert.match(await focused() ?? "", /^echo-request → /);
  await page.keyboard.press("Escape");
  assert.equal(await page.locator(".box").count(), all);
  await page.keyboard.press("?");
  assert.equal(await isOpen("help"), true);
  await page.keyboard.press("Escape");
  await page.keyboard.press("p");
  await stands(page, "paused");
  await page.keyboard.press("p");
  await page.click("#backends button");
  assert.equal(await page.textContent("#drawer-title"), "192.168.0.1");
  await page.keyboard.press("Escape");

  // Nothing serious for axe, in light and dark, with drawer and help.
  for (const colorScheme of ["light", "dark"] as const) {
    await page.emulateMedia({ colorScheme });
    assert.deepEqual(await faultsOf(page), [], colorScheme);
    await page.click("#ask-help");
    assert.deepEqual(await faultsOf(page), [], `${colorScheme}, help`);
    await page.keyboard.press("Escape");
    await page.click(".box");
    assert.deepEqual(await faultsOf(page), [], `${colorScheme}, drawer`);
    await page.keyboard.press("Escape");
  }

  // Motion stops where it is unwanted.
  const pings = client.start(["ping", "-i", "0.05", proxyAddress]);
  await stands(page, "live");
  await page.waitForSelector('#dots[data-dots]:not([data-dots="0"])');
  await page.waitForTimeout(500); // some pictures
  assert.equal(await hasDots(page), true);
  await page.emulateMedia({ reducedMotion: "reduce" });
  await page.waitForSelector('#dots[data-dots="0"]');
  assert.equal(await hasDots(page), false);
  await pings.stop("SIGINT");

  // A phone.
  await page.setViewportSize({ width: 360, height: 740 });
  await page.waitForSelector("#tree.list");
  const widths = [];
  for (const selector of ["html", "#tree"]) {
    widths.push(await page.$eval(selector, (one) => one.scrollWidth - one.clientWidth));
  }
  assert.deepEqual(widths, [0, 0]);
  const lefts = await page.$$eval(
    "#boxes .box",
    (boxes) => boxes.slice(0, 3).map((box) => box.getBoundingClientRect().left),
  );
  assert.deepEqual(lefts, lefts.toSorted((a, b) => a - b));
  assert.ok(lefts[2]! > lefts[0]!);
  assert.deepEqual(complaints.texts, []);
  await watched.proxy.stop();
});

labTest(
  "the dashboard folds what is quiet in a large tree, and has boxes for what is in sight",
  async () => {
    const tree = treeOf(
      Array.from({ length: 600 }, (_, id) => {
        const text = id < 100 ? "first match" : "<img src=x> drop";
        return [id === 0 ? -1 : Math.floor((id - 1) / 6), id === 0 ? null : `${id}`, text] as const;
      }),
    );
    await using fake = await FakeProxy.start(tree);
    const rates = tree.nodes.map(() => 0);
    for (let id = 599; id >= 0; id = tree.nodes[id]?.parent ?? -1) rates[id] = 600;
    const browser = await startBrowser();
    try {
      const page = await browser.newPage({ viewport: { width: 1440, height: 2400 } });
      const complaints = listen(page);
      await page.goto(fake.url);
      await page.waitForSelector(".box.folded");
      assert.equal(await page.locator(".box").count(), 7);
      assert.match((await page.textContent(".box.folded"))!, /^1 → .* · \+\d+ folded$/);
      fake.pass(1, rates);
      fake.tell();
      await stands(page, "live");
      // The way to the last node is unfolded, and what is beside it is not.
      await page.keyboard.press("/");
      await page.keyboard.type("599");
      await page.keyboard.press("Enter");
      const focused = page.locator(":focus");
      assert.match((await focused.textContent())!, /^599 → <img src=x> drop, 600 packets, 600\/s/);
      await page.keyboard.press("Escape");
      assert.match((await focused.textContent())!, /^599 → /);
      assert.equal(await page.locator(".box").count(), 1 + 6 + 6 + 6 + 5);
      assert.equal(await page.locator(".box.folded").count(), 5 + 5 + 2); // others are leaves
      assert.equal(await page.locator("img").count(), 0);
      fake.pass(1, tree.nodes.map(() => 1)); // all is unfolded
      fake.tell();
      await page.waitForFunction("document.querySelectorAll('.box').length > 6");
      assert.ok(await page.locator(".box").count() < 100);
      await page.keyboard.press("Home");
      assert.match((await page.locator(":focus").textContent())!, /^first match, 601 packets/);
      // Counters that are another proxy's are no rates.
      fake.hangUp();
      await stands(page, "lost");
      fake.pass(0, rates, { uptime_s: 1, hits: tree.nodes.map(() => 0) });
      await stands(page, "reloaded");
      assert.equal(await page.textContent("#packets"), "–");
      // An own address is withheld.
      assert.equal(await page.textContent("#devices"), "tap100 192.168.0.100/24");
      const unused = { link: 0, address: "2001:db8::64", state: "withheld" } as const;
      fake.pass(1, rates, { not_in_use: [unused] });
      fake.tell();
      const words = "tap100 192.168.0.100/24 (not in use: 2001:db8::64 withheld after a conflict)";
      await page.waitForSelector(`#devices:text-is("${words}")`);
      assert.deepEqual(complaints.texts, []);
    } finally {
      await browser.close();
    }
  },
);

labTest("the dashboard has room for long names in windows of any size", async () => {
  const short = ["192.168.0.1", "192.168.0.2"];
  const long = [...short, "[2001:db8:1111:2222:3333:4444:5555:6666]:65535"];
  const check = "failed: it does not answer Neighbor Discovery";
  await using browser = await startBrowser();
  for (const addresses of [short, long]) {
    const tree = treeOf([[-1, null, "first match"], [0, "otherwise", "drop"]], addresses);
    await using fake = await FakeProxy.start(tree);
    const backends = addresses.map((_, i) => [i, { ...fake.counters.backends[i]!, check }]);
    fake.counters = { ...fake.counters, backends: Object.fromEntries(backends) };
    const page = await browser.newPage();
    const complaints = listen(page);
    await page.goto(fake.url);
    await page.waitForSelector(`.check:text-is("${check}") >> nth=${addresses.length - 1}`);
    for (
      const [width, height] of [[1920, 1080], [1440, 900], [1024, 600], [910, 300], [360, 740]]
    ) {
      await page.setViewportSize({ width: width!, height: height! });
      const at = `${addresses.length} backends, ${width} × ${height}`;
      const isStacked = addresses === long || width! < 1440;
      await page.waitForSelector(isStacked ? "table.stacked" : "table:not(.stacked)");
      for (const selector of ["html", "aside", "aside > section"]) {
        const beyond = await page.$eval(selector, (one) => one.scrollWidth - one.clientWidth);
        assert.equal(beyond, 0, `${at}: ${selector}`);
      }
      const lines = await page.$$eval(
        "#backends td",
        (cells) => cells.map((cell) => cell.getBoundingClientRect().height / 20),
      );
      assert.ok(Math.max(...lines) < 6, `${at}: ${Math.max(...lines)} lines in a cell`);
      const [bottom, top] = await Promise.all([
        page.$eval("#history", (one) => one.getBoundingClientRect().bottom),
        page.$eval("footer", (one) => one.getBoundingClientRect().top),
      ]);
      assert.ok(bottom <= top, `${at}: the footer is at ${top}, the chart ends at ${bottom}`);
    }
    assert.deepEqual(complaints.texts, []);
  }
});

/** Whether there is a dot on the canvas. */
function hasDots(page: Page): Promise<boolean> {
  return page.evaluate(`(() => {
    const { width, height } = document.querySelector("#dots");
    const context = document.querySelector("#dots").getContext("2d");
    return context.getImageData(0, 0, width, height).data.some((value) => value > 0);
  })()`);
}

/** What axe-core finds serious or worse. */
async function faultsOf(page: Page): Promise<string[]> {
  const { default: axe } = await import("axe-core"); // reads the environment
  await page.evaluate(axe.source);
  const found = await page.evaluate<AxeResults>("axe.run()");
  return found.violations
    .filter(({ impact }) => impact === "serious" || impact === "critical")
    .map(({ id, nodes }) => `${id}: ${nodes.map(({ html }) => html).join(" ")}`);
}
