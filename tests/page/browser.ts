/** Debian's Chromium without a screen, for tests and tasks that look at the dashboard. */
import type { Browser, Page } from "playwright-core";

const CHROMIUM = "/usr/bin/chromium";

/** What a page has said that it should not have. */
export interface Complaints {
  readonly texts: string[];
}

/** Starts it; `executable` may be something that starts it elsewhere. */
export async function startBrowser(executable = CHROMIUM): Promise<Browser> {
  const { chromium } = await import("playwright-core"); // reads the environment
  return await chromium.launch({
    executablePath: executable,
    args: ["--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage"],
  });
}

/** Notes errors of a page; unanswered requests and looks at the canvas are a test's own doing. */
export function listen(page: Page): Complaints {
  const texts: string[] = [];
  page.on("pageerror", (error) => texts.push(String(error)));
  page.on("console", (message) => {
    const text = message.text();
    const isOwnDoing = /net::ERR_|status of 503|Canvas2D: Multiple readback/.test(text);
    if (["error", "warning"].includes(message.type()) && !isOwnDoing) texts.push(text);
  });
  return { texts };
}
