/**
 * The control socket's HTTP, in a thread of its own. Whoever connects is the operator or has his
 * rights, and may still be a program gone wrong: connections, the time for a request, its size, and
 * what waits to be sent are bounded. A page in a browser that has been led here, by a forwarded
 * port, is refused.
 *
 * Read first: RFC 9112; `http.Server` in Node's manual for what the limits mean.
 */
import type { IncomingMessage, Server, ServerResponse } from "node:http";
import type { Around } from "../../control/pieces.ts";
import { failure, failureOf, type Reply, replyTo } from "../../control/replies.ts";
import { makeHttpServer, sendPiece } from "../http_limits.ts";

const MAX_BODY_BYTES = 65_536;

/** Makes the server; `maxConnections` at most are open at a time, `refused` hears of others. */
export function makeServer(around: Around, maxConnections: number, refused: () => void): Server {
  return makeHttpServer(
    (request, response) => serve(request, response, around),
    maxConnections,
    refused,
  );
}

async function serve(
  request: IncomingMessage,
  response: ServerResponse,
  around: Around,
): Promise<void> {
  const refused = refusalOf(request);
  const body = refused === null ? await readBody(request) : "";
  const reply = refused ??
    (body === null
      ? failure(413, `The body is too long: expected at most ${MAX_BODY_BYTES} bytes`)
      : await replyTo(request.method ?? "", request.url ?? "/", body, around));
  // What was not read of a request would be taken for the next one.
  if (refused !== null || body === null) response.setHeader("Connection", "close");
  await send(response, reply);
}

/** Why a request is refused whatever it asks for. */
function refusalOf({ headers }: IncomingMessage): Extract<Reply, { json: unknown }> | null {
  const browsers = ["origin", "referer", "sec-fetch-site"].find((name) => name in headers);
  if (browsers !== undefined) {
    return failure(403, `Requests of browsers are refused: found the header "${browsers}"`);
  }
  const host = headers.host ?? "";
  if (host === "" || host === "localhost") return null;
  return failure(403, 'Requests to another host are refused: expected "Host: localhost"');
}

/** The body as text; null: it is too long. What is not UTF-8 becomes what no JSON has. */
async function readBody(request: IncomingMessage): Promise<string | null> {
  if (Number(request.headers["content-length"] ?? 0) > MAX_BODY_BYTES) return null;
  const chunks: Uint8Array[] = [];
  let lengthBytes = 0;
  for await (const chunk of request) {
    lengthBytes += chunk.length;
    if (lengthBytes > MAX_BODY_BYTES) return null;
    chunks.push(chunk);
  }
  const decoder = new TextDecoder();
  return chunks.map((chunk) => decoder.decode(chunk, { stream: true })).join("") +
    decoder.decode();
}

async function send(response: ServerResponse, reply: Reply): Promise<void> {
  if ("json" in reply) {
    if (reply.allow !== undefined) response.setHeader("Allow", reply.allow);
    const text = `${JSON.stringify(reply.json, null, 2)}\n`;
    response.writeHead(reply.status, { "Content-Type": "application/json" });
    await sendPiece(response, text);
  } else {
    const type = reply.type === "lines" ? "application/x-ndjson" : "application/json";
    const pieces = reply.pieces[Symbol.asyncIterator]();
    try {
      // The first piece comes before the headers: what fails at once is an error with its status.
      let piece = await pieces.next();
      response.writeHead(reply.status, { "Content-Type": type });
      response.flushHeaders();
      for (; !piece.done; piece = await pieces.next()) await sendPiece(response, piece.value);
    } catch (error) {
      if (response.headersSent) throw error;
      return await send(response, failureOf(error));
    } finally {
      await pieces.return?.();
    }
  }
  response.end();
}
