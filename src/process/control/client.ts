/** Asks a running proxy at its control socket. */
import { request } from "node:http";
import { printable } from "../../core/text.ts";
import { tooLongPath } from "./socket_path.ts";

export interface Answer {
  /** HTTP's. */
  readonly status: number;
  /** The body as it comes. */
  readonly pieces: AsyncIterable<string>;
}

/**
 * Sends one request, until `stop` is aborted. Rejects with an Error of one line if nobody answers.
 */
export function askProxy(
  path: string,
  method: string,
  target: string,
  stop?: AbortSignal,
): Promise<Answer> {
  return new Promise((resolve, reject) => {
    const asked = request({
      socketPath: path,
      method,
      path: target,
      headers: { Host: "localhost", Connection: "close" },
      ...(stop === undefined ? {} : { signal: stop }),
    }, (response) => {
      response.setEncoding("utf8");
      resolve({ status: response.statusCode ?? 500, pieces: piecesOf(response) });
    });
    asked.on("error", (error) => reject(unreachable(path, error)));
    asked.end();
  });
}

async function* piecesOf(response: AsyncIterable<string>): AsyncGenerator<string> {
  try {
    yield* response;
  } catch {
    throw new Error("The proxy has closed the connection before the end of its answer");
  }
}

function unreachable(path: string, error: Error): Error {
  const fail = `Cannot reach a proxy at "${printable(path)}"`;
  const tooLong = tooLongPath(path);
  if (tooLong !== null) return new Error(`${fail}: ${tooLong}`);
  switch ((error as { code?: string }).code) {
    case "ENOENT":
      return new Error(
        `${fail}: there is no such socket; a proxy opens it with --control=${printable(path)}`,
      );
    case "EACCES":
    case "EPERM":
      return new Error(`${fail}: permission denied, expected the proxy's own user, or root`);
    case "ECONNREFUSED":
      if (!isSocket(path)) return new Error(`${fail}: it is no socket`);
      return new Error(`${fail}: nobody listens there, the proxy has ended`);
    case "ENOTSOCK":
    case "ENOTDIR":
      return new Error(`${fail}: it is no socket`);
    case "ABORT_ERR":
      return new Error(`${fail}: it does not answer`);
    case "ECONNRESET":
    case "EPIPE":
      return new Error(`${fail}: it has closed the connection; are there too many?`);
    default:
      return new Error(`${fail}: ${printable(error.message)}`);
  }
}

/** The kernel refuses files of other kinds with the same word. */
function isSocket(path: string): boolean {
  try {
    return Deno.statSync(path).isSocket === true;
  } catch {
    return true; // it is not known to be anything else
  }
}
