/**
 * The HTTP of `--admin`: metrics for Prometheus, and the dashboard with what it shows. It only
 * reads. It may be reached by other users of the host and, through their browsers, by any web page:
 * so the Host header has to be a name that was given (a page elsewhere can have its own name lead
 * here), nothing but GET is taken, and connections, their time and sizes are bounded.
 *
 * Read first: RFC 9110 §7.2 and §15.5; `http.Server` in Node's manual for what the limits mean.
 */
import type { IncomingMessage, Server, ServerResponse } from "node:http";
import type { AdminConfig } from "../../datapath/config.ts";
import { makeHttpServer, sendPiece } from "../http_limits.ts";
import type { Exposition } from "./exposition.ts";
import type { Feed } from "./feed.ts";
import type { About } from "./messages.ts";
import type { Page } from "./page.ts";
import { NoAnswer, type Readings } from "./readings.ts";
import { treeOf } from "./views.ts";

export interface ServerOptions {
  readonly config: AdminConfig;
  readonly about: About;
  readonly readings: Pick<Readings, "now">;
  readonly exposition: Exposition;
  /** Null: it was not built. */
  readonly page: Page | null;
  readonly feed: Feed;
  readonly maxConnections: number;
  /** A connection was not taken. */
  readonly refused: () => void;
}

interface Answer {
  readonly status: number;
  readonly type: string;
  readonly text: string;
  /** What the text may do in a browser, which is nothing unless told here. */
  readonly policy?: string;
}

const LOOPBACK = /^(127\.|\[::1\]$)/;
/** With the one of IPv6 it is asked over IPv4, too. */
const ANY = ["0.0.0.0", "[::]"];
const ADDRESS = /^([\d.]+|\[[\da-f:.]+\])$/;

export function makeAdminServer(options: ServerOptions): Server {
  return makeHttpServer(
    (request, response) => serve(request, response, options),
    options.maxConnections,
    options.refused,
  );
}

async function serve(
  request: IncomingMessage,
  response: ServerResponse,
  options: ServerOptions,
): Promise<void> {
  response.setHeader("Cache-Control", "no-store");
  response.setHeader("X-Content-Type-Options", "nosniff");
  response.setHeader("X-Frame-Options", "DENY");
  const answer = refusalOf(request, options.config) ?? await answerTo(request.url ?? "", options);
  if (answer === null) {
    options.feed.listen(response);
    return await new Promise((resolve) => response.once("close", resolve));
  }
  const { status, type, text, policy = "default-src 'none'" } = answer;
  if (status === 405) response.setHeader("Allow", "GET");
  // What was not read of a request would be taken for the next one.
  if (status >= 400) response.setHeader("Connection", "close");
  response.writeHead(status, { "Content-Type": type, "Content-Security-Policy": policy });
  await sendPiece(response, text);
  response.end();
}

/** Why a request is refused whatever it asks for. */
function refusalOf(
  { headers: { host }, method }: IncomingMessage,
  { host: bound, names }: AdminConfig,
): Answer | null {
  const name = hostName(host ?? "");
  const isOwn = name === bound || names.includes(name) ||
    (LOOPBACK.test(bound) && name === "localhost") ||
    (ANY.includes(bound) && ADDRESS.test(name)); // whoever asks for an address has no page elsewhere
  if (!isOwn) {
    return failure(
      421,
      "The Host header names another host: expected the address, or a name of --admin-host",
    );
  }
  return method === "GET" ? null : failure(405, "Nothing can be changed here: expected GET");
}

/** The header's name without the port, in small letters. */
function hostName(host: string): string {
  return host.replace(/:\d*$/, "").toLowerCase();
}

/** Null: the client listens to the feed from now on. */
async function answerTo(target: string, options: ServerOptions): Promise<Answer | null> {
  const { about, readings, exposition, page, feed, maxConnections } = options;
  const [path = "", query = ""] = target.split("?", 2);
  const hasAllNodes = path === "/metrics" && query === "nodes=all";
  if (query !== "" && !hasAllNodes) {
    return failure(400, 'Unknown parameter: expected none, or "nodes=all" of /metrics');
  }
  try {
    switch (path) {
      case "/":
        if (page === null) return failure(503, "The page was not built: run deno task page");
        return {
          status: 200,
          type: "text/html; charset=utf-8",
          text: page.html,
          policy: page.policy,
        };
      case "/metrics": {
        const text = await exposition.text(await readings.now(), hasAllNodes);
        return { status: 200, type: exposition.contentType, text };
      }
      case "/api/tree": {
        const text = JSON.stringify(treeOf(await readings.now(), about));
        return { status: 200, type: "application/json", text };
      }
      case "/events":
        if (feed.listeners < maxConnections / 2) return null;
        return failure(503, "Too many listen to the events already");
      default:
        return failure(404, "There is no such page: expected /, /metrics, /api/tree or /events");
    }
  } catch (error) {
    if (error instanceof NoAnswer) return failure(503, error.message);
    throw error;
  }
}

function failure(status: number, line: string): Answer {
  return { status, type: "text/plain; charset=utf-8", text: `${line}\n` };
}
