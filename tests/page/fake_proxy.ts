/**
 * A server in the place of a proxy's `--admin`, with the real page and a tree and counters of the
 * caller's: for trees and states that a lab does not come to by itself.
 */
import { createServer, type ServerResponse } from "node:http";
import type { AddressInfo } from "node:net";
import { buildPage } from "../../src/pack/build_page.ts";
import type { Counters, EventShape, NodeShape, TreeShape } from "../../src/page/model/feed.ts";
import { pageOf } from "../../src/process/admin/page.ts";

const START_MS = 1_700_000_000_000;

export class FakeProxy implements AsyncDisposable {
  tree: TreeShape;
  counters: Counters;
  readonly #page = pageOf(Deno.readTextFileSync(buildPage()))!;
  readonly #listeners = new Set<ServerResponse>();
  readonly #server = createServer((request, response) => {
    response.setHeader("Cache-Control", "no-store");
    switch (request.url) {
      case "/":
        response.setHeader("Content-Security-Policy", this.#page.policy);
        response.setHeader("Content-Type", "text/html; charset=utf-8");
        response.end(this.#page.html);
        break;
      case "/api/tree":
        response.end(JSON.stringify(this.tree));
        break;
      case "/events":
        response.writeHead(200, { "Content-Type": "text/event-stream" });
        this.#listeners.add(response);
        response.once("close", () => this.#listeners.delete(response));
        this.#write(response, "full", this.counters);
        break;
      default:
        response.statusCode = 404;
        response.end();
    }
  });

  private constructor(tree: TreeShape) {
    this.tree = tree;
    this.counters = countersOf(tree);
  }

  static async start(tree: TreeShape, port = 0): Promise<FakeProxy> {
    const fake = new FakeProxy(tree);
    await new Promise<void>((resolve) => {
      fake.#server.listen({ host: "127.0.0.1", port }, resolve);
    });
    return fake;
  }

  get url(): string {
    return `http://127.0.0.1:${(this.#server.address() as AddressInfo).port}/`;
  }

  get port(): number {
    return (this.#server.address() as AddressInfo).port;
  }

  /** Time passes, and packets come: so many to each node a second. */
  pass(seconds: number, rates: readonly number[], more: Partial<Counters> = {}): void {
    const before = this.counters;
    const packets = Math.round(seconds * (rates[0] ?? 0));
    const drops = this.tree.nodes.reduce(
      (sum, { decision }, id) => sum + (decision === "drop" ? Math.round(seconds * rates[id]!) : 0),
      0,
    );
    this.counters = {
      ...before,
      ms: before.ms + 1000 * seconds,
      uptime_s: before.uptime_s + seconds,
      in: { packets: before.in.packets + packets, bytes: before.in.bytes + 800 * packets },
      out: {
        packets: before.out.packets + packets - drops,
        bytes: before.out.bytes + 800 * (packets - drops),
      },
      dropped: before.dropped + drops,
      drops: drops > 0
        ? { ...before.drops, policy: (before.drops.policy ?? 0) + drops }
        : before.drops,
      carried: before.carried + Math.round(0.7 * packets),
      hits: before.hits.map((count, id) => count + Math.round(seconds * rates[id]!)),
      ...more,
    };
  }

  /** Tells those who listen. */
  tell(name: "full" | "delta" = "full"): void {
    for (const response of this.#listeners) this.#write(response, name, this.counters);
  }

  /** Ends the connections of those who listen. */
  hangUp(): void {
    for (const response of this.#listeners) response.destroy();
  }

  #write(response: ServerResponse, name: string, event: EventShape): void {
    response.write(`event: ${name}\ndata: ${JSON.stringify(event)}\n\n`);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#server.closeAllConnections();
    await new Promise((resolve) => this.#server.close(resolve));
  }
}

export function countersOf(tree: TreeShape): Counters {
  return {
    tree: tree.tree,
    ms: START_MS,
    uptime_s: 3723,
    in: { packets: 0, bytes: 0 },
    out: { packets: 0, bytes: 0 },
    dropped: 0,
    connections: 0,
    opened: 0,
    carried: 0,
    hits: tree.nodes.map(() => 0),
    drops: {},
    backends: Object.fromEntries(tree.backends.map((_, i) => [i, {
      state: "unknown",
      weight: 1,
      connections: 0,
      opened: 0,
      check: null,
    }])),
    not_in_use: [],
  };
}

/** A tree with one device and these nodes: each its parent, what leads to it, and its words. */
export function treeOf(
  nodes: readonly (readonly [parent: number, arm: string | null, text: string])[],
  backends: readonly string[] = [],
): TreeShape {
  return {
    tree: 1,
    name: "gate",
    version: "1.2.3",
    devices: [{ net: "tap100", side: "both", address: "192.168.0.100/24", mtu: 1500 }],
    fast_path: true,
    max_connections: 1_000_000,
    nodes: nodes.map(([parent, arm, text], id) => ({
      id,
      parent,
      text,
      arm,
      label: /"(.*)"/.exec(text)?.[1] ?? null,
      ...kindOf(text),
    })),
    hidden_nodes: 0,
    backends: backends.map((address) => ({
      address,
      pool: "web",
      weight: 1,
      check: "tcp 2s",
    })),
    reasons: ["policy", "checksum"],
  };
}

function kindOf(text: string): Pick<NodeShape, "kind" | "decision"> {
  const decision = (["drop", "forward", "echo-reply", "reject"] as const)
    .find((one) => text.startsWith(one)) ?? null;
  return decision === null ? { kind: "selector", decision } : { kind: "decision", decision };
}
