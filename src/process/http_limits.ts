/**
 * What bounds the clients of an HTTP server in a thread of its own: their time, their sizes, and
 * what waits to be sent to them.
 *
 * Read first: `http.Server` in Node's manual for what the limits mean.
 */
import { createServer, type IncomingMessage, type Server, type ServerResponse } from "node:http";
import type { Socket } from "node:net";

/** A client that sends its request, or takes the answer, slower than this is cut off. */
const SLOW_MS = 5000;

const LIMITS = {
  connectionsCheckingInterval: 500,
  headersTimeout: SLOW_MS,
  requestTimeout: SLOW_MS,
  keepAliveTimeout: 5000,
  maxHeaderSize: 16_384,
};

/** Answers a request; rejects if it can't, and the connection is closed. */
export type Serve = (request: IncomingMessage, response: ServerResponse) => Promise<void>;

/**
 * Makes a server that takes one request of a connection at a time. Connections beyond so many are
 * closed at once, and `refused` hears of each.
 */
export function makeHttpServer(
  serve: Serve,
  maxConnections: number,
  refused: () => void,
): Server {
  const busy = new WeakSet<Socket>();
  const server = createServer(LIMITS, (request, response) => {
    const { socket } = request;
    if (busy.has(socket)) { // more than one at a time would wait in memory
      socket.destroy();
      return;
    }
    busy.add(socket);
    serve(request, response)
      .catch(() => socket.destroy())
      .finally(() => busy.delete(socket));
  });
  limitConnections(server, maxConnections, refused);
  return server;
}

/** An answer goes out in pieces of this size, each when the one before is on its way. */
const PIECE_LENGTH = 65_536;

/** How long the thread sleeps between two turns when many connections come. */
const REST_MS = 10;

/**
 * As `Server.maxConnections`, which tells nobody: this runtime has no event "drop". And has the
 * thread sleep after each new connection, and while no more are taken: to take a connection only to
 * close it costs the packets more than to let it wait, and `node:net` can't do that.
 */
function limitConnections(server: Server, maxConnections: number, refused: () => void): void {
  const never = new Int32Array(new SharedArrayBuffer(4));
  const rest = () => void Atomics.wait(never, 0, 0, REST_MS);
  let open = 0;
  let isResting = false;
  const restWhileFull = () => {
    rest();
    isResting = open >= maxConnections;
    if (isResting) setImmediate(restWhileFull);
  };
  server.on("connection", (socket: Socket) => {
    socket.once("close", () => open--);
    if (++open > maxConnections) {
      refused();
      socket.destroy();
    }
    if (isResting) return;
    isResting = true;
    setImmediate(restWhileFull);
  });
}

/** Sends the text as fast as the client takes it. Throws an Error if it is gone or too slow. */
export async function sendPiece(response: ServerResponse, text: string): Promise<void> {
  for (let at = 0; at < text.length; at += PIECE_LENGTH) {
    if (response.destroyed || response.socket?.destroyed !== false) throw new Error("gone");
    if (!response.write(text.slice(at, at + PIECE_LENGTH))) await drained(response);
  }
  if (response.destroyed || response.socket?.destroyed !== false) throw new Error("gone");
}

function drained(response: ServerResponse): Promise<void> {
  return new Promise((resolve, reject) => {
    const settle = (error: Error | null) => {
      clearTimeout(timer);
      response.off("drain", onDrain);
      response.off("close", onClose);
      if (error === null) resolve();
      else reject(error);
    };
    const onDrain = () => settle(null);
    const onClose = () => settle(new Error("gone"));
    const timer = setTimeout(() => settle(new Error("too slow")), SLOW_MS);
    response.once("drain", onDrain);
    response.once("close", onClose);
  });
}
