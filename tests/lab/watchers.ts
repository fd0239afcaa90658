/**
 * Who looks at a proxy's `--admin`, until SIGTERM: scrapers, each ten times a second on a
 * connection of its own, and dashboards that listen to events. Or somebody else who is looked at,
 * and has nothing to count: a text of the length of the metrics, and an event a second.
 *
 *     deno run --allow-net watchers.ts look ADDR:PORT SCRAPERS DASHBOARDS
 *     deno run --allow-net watchers.ts serve ADDR:PORT
 *
 * Who looks says at the end how many scrapes and events there were, and how many scrapes failed.
 */
import { createServer } from "node:http";

const [mode, at = "", scrapers = "", dashboards = ""] = Deno.args;
const INTERVAL_MS = 100;
const counts = { scrapes: 0, failures: 0, events: 0 };

const METRICS = "treegate_packets_total{} 1234567890\n".repeat(500);
const EVENT = `event: delta\ndata: ${"x".repeat(400)}\n\n`;

async function scrape(): Promise<never> {
  for (let nextMs = performance.now();; nextMs += INTERVAL_MS) {
    await new Promise((resolve) => setTimeout(resolve, nextMs - performance.now()));
    try {
      const text = await (await fetch(`http://${at}/metrics`)).text();
      if (text.includes("\ntreegate_packets_total{")) counts.scrapes++;
      else counts.failures++;
    } catch {
      counts.failures++;
    }
  }
}

async function listen(): Promise<void> {
  const { body } = await fetch(`http://${at}/events`);
  for await (const text of body!.pipeThrough(new TextDecoderStream())) {
    counts.events += text.split("event: ").length - 1;
  }
}

function look(): void {
  Deno.addSignalListener("SIGTERM", () => {
    Deno.stdout.writeSync(new TextEncoder().encode(`${JSON.stringify(counts)}\n`));
    Deno.exit(0);
  });
  for (let i = 0; i < Number(dashboards); i++) void listen();
  for (let i = 0; i < Number(scrapers); i++) void scrape();
}

function serve(): void {
  const server = createServer(({ url }, response) => {
    if (url === "/metrics") return void response.end(METRICS);
    const timer = setInterval(() => response.write(EVENT), 1000);
    response.once("close", () => clearInterval(timer));
  });
  const [host, port] = at.split(":");
  server.listen({ host, port: Number(port) }, () => {
    Deno.stdout.writeSync(new TextEncoder().encode("serving\n"));
  });
}

if (mode === "serve") serve();
else look();
