/**
 * What each path of the control socket answers. GET reads, POST changes; parameters are in the
 * query or, of a POST, in a JSON object as well.
 *
 *     GET  /                the paths
 *     GET  /version /status /pools /backends /drops /tree /neighbors
 *     GET  /connections     [filter] [limit=1000]
 *     GET  /explain         packet=… [packet=…]
 *     GET  /trace           predicate=… [limit=100] [seconds=60]       a JSON object a line
 *     POST /reload /upgrade
 *     POST /maintenance /ready                 name=[POOL/]ADDRESS[:PORT]
 *     POST /drain           name, [wait=60s]   waits until no connection is open
 *     POST /add             name=POOL/ADDRESS[:PORT], [weight=1]
 *     POST /remove          name, of a backend in maintenance
 *     POST /weight          name, weight=0 … 256
 *     POST /kill            filter, or all=true
 *     POST /capture/start   name, [filter=…] [drops-only=true] [snaplen=N] [max-size=10M]
 *                           [rotate=N] [duration=60s]
 *     POST /capture/stop
 */
import { closest, printable, quote } from "../core/text.ts";
import { parseYes, readCaptureOptions } from "./capture_options.ts";
import { explainPackets } from "./explain_packets.ts";
import { isEverything, parseDuration, readFilter } from "./filter.ts";
import { MAX_MEMBER_WEIGHT } from "../policy/language/limits.ts";
import type { Change } from "./members.ts";
import { integer, Parameters } from "./parameters.ts";
import { type Around, connectionPieces, neighborPieces, tracePieces } from "./pieces.ts";
import { type Answers, Refusal } from "./request.ts";
import type {
  CaptureShape,
  ErrorShape,
  ExplainShape,
  KillShape,
  ReloadShape,
  RemoveShape,
  UpgradeShape,
} from "./shapes.ts";
import { backendOf, backendsOf, dropsOf, poolsOf, statusOf } from "./views.ts";

/** An answer: whole, or in pieces that are made as fast as they are taken. */
export type Reply =
  | { readonly status: number; readonly json: unknown; readonly allow?: string }
  | {
    readonly status: 200;
    /** `lines`: each piece is a JSON object and a line break. */
    readonly type: "json" | "lines";
    readonly pieces: AsyncIterable<string>;
  };

const DEFAULT_LIMIT = 1000;
const MAX_LIMIT = 1_000_000;
const TRACE_LIMIT = 100;
const MAX_TRACE_LIMIT = 10_000;
const TRACE_MS = 60_000;
const MAX_TRACE_MS = 3_600_000;
/** How often a drain looks how many connections are open. */
const DRAIN_POLL_MS = 200;

type Run = (parameters: Parameters, around: Around) => Promise<Reply> | Reply;

const PATHS: Readonly<Record<string, { readonly method: "GET" | "POST"; readonly run: Run }>> = {
  "/": { method: "GET", run: plain(() => json(pathList())) },
  "/version": { method: "GET", run: plain(({ about }) => json(about)) },
  "/status": {
    method: "GET",
    run: plain(async ({ ask, config, about, own }) =>
      json(statusOf(await ask({ ask: "counters" }), config, about, own()))
    ),
  },
  "/backends": {
    method: "GET",
    run: plain(async ({ ask }) => json(backendsOf(await ask({ ask: "counters" })))),
  },
  "/pools": {
    method: "GET",
    run: plain(async ({ ask }) => json(poolsOf(await ask({ ask: "counters" })))),
  },
  "/drain": { method: "POST", run: drain },
  "/maintenance": { method: "POST", run: changing(() => ({ to: "maintenance" })) },
  "/ready": { method: "POST", run: changing(() => ({ to: "ready" })) },
  "/weight": {
    method: "POST",
    run: changing((parameters) => ({
      to: "weight",
      weight: parameters.need("weight", integer(0, MAX_MEMBER_WEIGHT)),
    })),
  },
  "/add": {
    method: "POST",
    run: async (parameters, { ask }) => {
      const name = parameters.need("name", (text) => text);
      const weight = parameters.read("weight", integer(0, MAX_MEMBER_WEIGHT)) ?? 1;
      parameters.done();
      const { pool, member } = await ask({ ask: "add", name, weight });
      return json(backendOf(pool, member));
    },
  },
  "/remove": {
    method: "POST",
    run: async (parameters, { ask }) => {
      const name = parameters.need("name", (text) => text);
      parameters.done();
      await ask({ ask: "remove", name });
      return json({ removed: name } satisfies RemoveShape);
    },
  },
  "/drops": {
    method: "GET",
    run: plain(async ({ ask }) => json(dropsOf(await ask({ ask: "counters" })))),
  },
  "/tree": { method: "GET", run: plain(async ({ ask }) => json(await ask({ ask: "tree" }))) },
  "/neighbors": {
    method: "GET",
    run: plain((around) => inPieces("json", neighborPieces(around))),
  },
  "/connections": {
    method: "GET",
    run: (parameters, around) => {
      const filter = readFilter(parameters);
      const limit = parameters.read("limit", integer(1, MAX_LIMIT)) ?? DEFAULT_LIMIT;
      parameters.done();
      return inPieces("json", connectionPieces(around, filter, limit));
    },
  },
  "/explain": {
    method: "GET",
    run: async (parameters, { ask, config, hashKey }) => {
      const packets = parameters.all("packet", (text) => text);
      parameters.done();
      const running = await ask({ ask: "policy" });
      const explanations = explainPackets(packets, running, config, hashKey);
      return json({ explanations } satisfies ExplainShape);
    },
  },
  "/trace": { method: "GET", run: startTrace },
  "/capture/start": {
    method: "POST",
    run: async (parameters, { ask }) => {
      const name = parameters.need("name", (text) => text);
      const options = readCaptureOptions(parameters);
      parameters.done();
      return json(await ask({ ask: "capture", name, options }) satisfies CaptureShape);
    },
  },
  "/capture/stop": {
    method: "POST",
    run: plain(async ({ ask }) => json(await ask({ ask: "uncapture" }) satisfies CaptureShape)),
  },
  "/reload": {
    method: "POST",
    run: plain(async ({ ask }) => {
      const { isDone, lines } = await ask({ ask: "reload" });
      if (isDone) return json({ done: lines } satisfies ReloadShape);
      throw new Refusal(422, "Nothing was changed", lines);
    }),
  },
  "/upgrade": {
    method: "POST",
    run: plain(async ({ ask }) => {
      await ask({ ask: "upgrade" });
      return json({ upgrading: true } satisfies UpgradeShape);
    }),
  },
  "/kill": {
    method: "POST",
    run: async (parameters, { ask }) => {
      const filter = readFilter(parameters);
      const isAll = parameters.read("all", parseYes) ?? false;
      parameters.done();
      if (isEverything(filter) && !isAll) {
        throw new RangeError(
          "Cannot kill every connection without being told to: expected a filter, or all=true",
        );
      }
      let killed = 0;
      for (let from: number | null = 0; from !== null;) {
        const part: Answers["kill"] = await ask({ ask: "kill", filter, from });
        killed += part.killed;
        from = part.next;
      }
      return json({ killed } satisfies KillShape);
    },
  },
};

/** Of a path that changes a member, which `name` names. */
function changing(read: (parameters: Parameters) => Change): Run {
  return async (parameters, { ask }) => {
    const name = parameters.need("name", (text) => text);
    const change = read(parameters);
    parameters.done();
    const { pool, member } = await ask({ ask: "member", name, change });
    return json(backendOf(pool, member));
  };
}

/**
 * No new connections; with `wait` the answer comes when none is open, or an error when time is up.
 * Those that are over are tracked for minutes, but nothing is lost with them.
 */
async function drain(parameters: Parameters, { ask, delay, nowMs }: Around): Promise<Reply> {
  const name = parameters.need("name", (text) => text);
  const waitMs = parameters.read("wait", parseDuration) ?? 0;
  parameters.done();
  const endMs = nowMs() + waitMs;
  let { pool, member } = await ask({ ask: "member", name, change: { to: "drain" } });
  while (member.open > 0 && nowMs() < endMs) {
    await delay(DRAIN_POLL_MS);
    ({ pool, member } = await ask({ ask: "member", name, change: { to: "same" } }));
  }
  if (member.open === 0 || waitMs === 0) return json(backendOf(pool, member));
  throw new Refusal(504, `Connections open after ${waitMs / 1000} s: ${member.open}`);
}

/** Of a path that takes no parameters. */
function plain(run: (around: Around) => Promise<Reply> | Reply): Run {
  return (parameters, around) => {
    parameters.done();
    return run(around);
  };
}

/** Answers a request; what is wrong with it is an answer, too. Never rejects. */
export async function replyTo(
  method: string,
  target: string,
  body: string,
  around: Around,
): Promise<Reply> {
  try {
    const { pathname, searchParams } = new URL(target, "http://localhost");
    const path = PATHS[pathname];
    if (path === undefined) return failure(404, unknownPath(pathname));
    if (path.method !== method) {
      const words = `Cannot ${printable(method)} ${pathname}: expected ${path.method}`;
      return { ...failure(405, words), allow: path.method };
    }
    const values = new Map<string, string[]>();
    for (const [name, value] of [...searchParams, ...readBody(body)]) {
      values.set(name, [...values.get(name) ?? [], value]);
    }
    return await path.run(new Parameters(values), around);
  } catch (error) {
    return failureOf(error);
  }
}

export function failureOf(error: unknown): Extract<Reply, { json: unknown }> {
  if (error instanceof Refusal) return failure(error.status, error.message, error.details);
  if (error instanceof SyntaxError || error instanceof RangeError || error instanceof TypeError) {
    const [first, ...details] = error.message.split("\n");
    return failure(400, first!, details);
  }
  return failure(500, error instanceof Error ? error.message : String(error));
}

export function failure(
  status: number,
  error: string,
  details: readonly string[] = [],
): Extract<Reply, { json: unknown }> {
  const shape: ErrorShape = details.length === 0 ? { error } : { error, details };
  return { status, json: shape };
}

function json(value: unknown): Reply {
  return { status: 200, json: value };
}

function inPieces(type: "json" | "lines", pieces: AsyncIterable<string>): Reply {
  return { status: 200, type, pieces };
}

function pathList(): readonly string[] {
  return Object.entries(PATHS).map(([path, { method }]) => `${method} ${path}`);
}

function unknownPath(path: string): string {
  const near = closest(path, Object.keys(PATHS));
  const hint = near === null ? "GET / lists them" : `did you mean ${quote(near)}?`;
  return `Cannot find ${quote(printable(path))}: ${hint}`;
}

/** The members of a JSON object: text, numbers, `true` and `false`. */
function* readBody(body: string): Generator<[string, string]> {
  if (body.trim() === "") return;
  const fail = `Cannot read body: expected a JSON object of text and numbers`;
  let value: unknown;
  try {
    value = JSON.parse(body);
  } catch {
    throw new SyntaxError(fail);
  }
  if (typeof value !== "object" || value === null || Array.isArray(value)) {
    throw new SyntaxError(fail);
  }
  for (const [name, member] of Object.entries(value)) {
    if (!["string", "number", "boolean"].includes(typeof member)) throw new SyntaxError(fail);
    yield [name, String(member)];
  }
}

async function startTrace(parameters: Parameters, around: Around): Promise<Reply> {
  const predicate = parameters.need("predicate", (text) => text);
  const limit = parameters.read("limit", integer(1, MAX_TRACE_LIMIT)) ?? TRACE_LIMIT;
  const ms = parameters.read("seconds", parseTraceTime) ?? TRACE_MS;
  parameters.done();
  const trace = await around.ask({ ask: "trace", predicate });
  return inPieces("lines", tracePieces(around, trace, limit, ms));
}

function parseTraceTime(text: string): number {
  const ms = parseDuration(text);
  if (ms >= 1 && ms <= MAX_TRACE_MS) return ms;
  throw new RangeError(`Cannot use ${quote(text)}: expected 1ms to ${MAX_TRACE_MS / 1000}s`);
}
