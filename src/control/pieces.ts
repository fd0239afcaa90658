/** Answers of any length: made in pieces, each of one small question to the packet thread. */
import type { Config } from "../datapath/config.ts";
import type { HashKey } from "../wire/keyed_hash.ts";
import { connectionsOf } from "./connection_rows.ts";
import type { Filter } from "./filter.ts";
import type { Answers, Ask, Request } from "./request.ts";
import type { NeighborShape, OwnShape, TraceShape, VersionShape } from "./shapes.ts";
import { neighborOf, traceOf } from "./views.ts";

/** How often a trace looks what has come. */
const TRACE_POLL_MS = 100;

/** What answers need around them. */
export interface Around {
  /** Asks the packet thread. Rejects with a Refusal, SyntaxError or RangeError. */
  ask<A extends Ask>(request: Extract<Request, { ask: A }>): Promise<Answers[A]>;
  readonly config: Config;
  /** Of `--hash-key-file`. */
  readonly hashKey: HashKey;
  readonly about: VersionShape;
  /** What is so now. */
  own(): OwnShape;
  delay(ms: number): Promise<void>;
  nowMs(): number;
}

export async function* connectionPieces(
  { ask }: Around,
  filter: Filter,
  limit: number,
): AsyncGenerator<string> {
  let comma = "";
  let from: number | null = 0;
  let left = limit;
  yield '{"connections":[';
  while (from !== null && left > 0) {
    const part: Answers["connections"] = await ask({
      ask: "connections",
      filter,
      from,
      most: left,
    });
    const connections = connectionsOf(part);
    from = part.next;
    left -= connections.length;
    if (connections.length === 0) continue;
    yield comma + connections.map((connection) => JSON.stringify(connection)).join(",\n");
    comma = ",\n";
  }
  yield `],"more":${from !== null}}\n`;
}

export async function* neighborPieces({ ask, config }: Around): AsyncGenerator<string> {
  let comma = "";
  yield "[";
  for (const [link, { net }] of config.links.entries()) {
    for (const isIpv6 of [false, true]) {
      for (let from: number | null = 0; from !== null;) {
        const part: Answers["neighbors"] = await ask({ ask: "neighbors", link, isIpv6, from });
        from = part.next;
        const shapes = part.neighbors.map((one): NeighborShape => neighborOf(one, net));
        if (shapes.length === 0) continue;
        yield comma + shapes.map((shape) => JSON.stringify(shape)).join(",\n");
        comma = ",\n";
      }
    }
  }
  yield "]\n";
}

export async function* tracePieces(
  around: Around,
  trace: number,
  limit: number,
  ms: number,
): AsyncGenerator<string> {
  const line = (shape: TraceShape) => `${JSON.stringify(shape)}\n`;
  const endMs = around.nowMs() + ms;
  let left = limit;
  try {
    yield ""; // the headers leave now
    for (;;) {
      const { packets, missed } = await around.ask({ ask: "traced", trace });
      const shown = packets.slice(0, left);
      left -= shown.length;
      const lines = shown.map((packet) => line(traceOf(packet)));
      if (missed > 0) lines.push(line({ missed }));
      if (left === 0) lines.push(line({ ended: `limit of ${limit} packets` }));
      else if (around.nowMs() >= endMs) lines.push(line({ ended: `${ms / 1000} s are over` }));
      if (lines.length > 0) yield lines.join("");
      if (left === 0 || around.nowMs() >= endMs) return;
      await around.delay(TRACE_POLL_MS);
    }
  } finally {
    await around.ask({ ask: "untrace", trace });
  }
}
