/** The control socket's HTTP against clients that do what they should not. */
import assert from "node:assert/strict";
import { request } from "node:http";
import { connect, type Socket } from "node:net";
import type { Around } from "../../../src/control/pieces.ts";
import { makeServer } from "../../../src/process/control/server.ts";
import { NO_KEY } from "../../../src/wire/keyed_hash.ts";
import { testConfig } from "../../support/config.ts";

const ignore = !(["read", "write", "net"] as const).every((name) =>
  Deno.permissions.querySync({ name }).state === "granted"
);

/** A server on a socket in a folder of its own, and what it has asked the packet thread for. */
class Served implements AsyncDisposable {
  readonly #folder = Deno.makeTempDirSync();
  readonly path: string = `${this.#folder}/s`;
  readonly asked: string[] = [];
  refused = 0;
  readonly #server;
  readonly #clients: Socket[] = [];

  private constructor(connections: number) {
    const around: Around = {
      ask: (request) => {
        this.asked.push(request.ask);
        return Promise.resolve((request.ask === "connections" ? ROWS : NOTHING) as never);
      },
      config: testConfig(),
      hashKey: NO_KEY,
      about: { version: "1.2.3", build: "source" },
      own: () => assert.fail("nobody asks for it"),
      delay: () => Promise.resolve(),
      nowMs: () => 0,
    };
    this.#server = makeServer(around, connections, () => this.refused++);
  }

  static async start(connections = 8): Promise<Served> {
    const served = new Served(connections);
    await new Promise<void>((resolve) => served.#server.listen({ path: served.path }, resolve));
    return served;
  }

  /** One whole request. */
  call(
    path: string,
    options: { method?: string; headers?: Record<string, string>; body?: string } = {},
  ): Promise<{ status: number; text: string }> {
    const { method = "GET", headers = {}, body = "" } = options;
    return new Promise((resolve, reject) => {
      const asked = request({
        socketPath: this.path,
        method,
        path,
        headers: { Host: "localhost", Connection: "close", ...headers },
      }, (response) => {
        let text = "";
        response.setEncoding("utf8");
        response.on("data", (piece) => text += piece);
        response.on("end", () => resolve({ status: response.statusCode!, text }));
        response.on("error", reject);
      });
      asked.on("error", reject);
      asked.end(body);
    });
  }

  /** A connection to write anything to; reads nothing unless `isReading`. */
  async client(isReading = true): Promise<Client> {
    const socket = connect({ path: this.path });
    this.#clients.push(socket);
    const client = new Client(socket, isReading);
    await client.connected;
    return client;
  }

  /** Connections that are open. */
  connections(): Promise<number> {
    return new Promise((resolve) => this.#server.getConnections((_, count) => resolve(count)));
  }

  async [Symbol.asyncDispose](): Promise<void> {
    for (const socket of this.#clients) socket.destroy();
    this.#server.closeAllConnections();
    await new Promise((resolve) => this.#server.close(resolve));
    Deno.removeSync(this.#folder, { recursive: true });
  }
}

class Client {
  readonly connected: Promise<void>;
  readonly closed: Promise<void>;
  text = "";

  constructor(readonly socket: Socket, isReading: boolean) {
    this.connected = new Promise((resolve) => socket.once("connect", () => resolve()));
    this.closed = new Promise((resolve) => socket.once("close", () => resolve()));
    socket.on("error", () => {});
    if (isReading) socket.on("data", (bytes) => this.text += bytes);
    else socket.pause();
  }
}

/** A slice of a table without end. */
const ROWS = { rows: new Int32Array(10 * 1000), next: 0 };

const NOTHING = { killed: 0, next: null };

const GET = "GET /version HTTP/1.1\r\nHost: localhost\r\n\r\n";

Deno.test({
  name: "the server answers JSON",
  ignore,
  fn: async () => {
    await using served = await Served.start();
    const { status, text } = await served.call("/version");
    assert.deepEqual([status, JSON.parse(text)], [200, { version: "1.2.3", build: "source" }]);
  },
});

const headers: readonly [Record<string, string>, number][] = [
  [{ Host: "localhost" }, 200],
  [{ Host: "evil.example" }, 403],
  [{ Host: "localhost:80" }, 403],
  [{ Origin: "http://localhost" }, 403],
  [{ Referer: "http://evil.example/" }, 403],
  [{ "Sec-Fetch-Site": "cross-site" }, 403],
];
for (const [given, expected] of headers) {
  Deno.test({
    name: `the server answers ${
      JSON.stringify(given)
    } with ${expected}, and refuses without asking`,
    ignore,
    fn: async () => {
      await using served = await Served.start();
      assert.equal((await served.call("/version", { headers: given })).status, expected);
      const post = await served.call("/kill?all=true", { method: "POST", headers: given });
      assert.equal(post.status === 403, expected === 403);
      if (expected === 403) assert.deepEqual(served.asked, []);
    },
  });
}

Deno.test({
  name: "the server refuses bodies above 64 KiB, told or not",
  ignore,
  fn: async () => {
    await using served = await Served.start();
    const most = `{"source":"10.0.0.1"${" ".repeat(65_536 - 21)}}`;
    assert.equal(most.length, 65_536);
    const taken = await served.call("/version", { method: "POST", body: most });
    assert.equal(taken.status, 405, "read, and then refused for its method");
    const told = await served.client();
    told.socket.write(
      "POST /kill HTTP/1.1\r\nHost: localhost\r\nContent-Length: 10000000\r\n\r\n",
    );
    await told.closed;
    assert.match(told.text, /^HTTP\/1.1 413 /);
    const untold = await served.client();
    untold.socket.write(
      "POST /kill HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\n",
    );
    const chunk = `2710\r\n${"x".repeat(10_000)}\r\n`;
    for (let i = 0; i < 1000 && !untold.socket.destroyed; i++) {
      untold.socket.write(chunk);
      if (i % 50 === 0) await new Promise((resolve) => setTimeout(resolve, 1));
    }
    await untold.closed;
    assert.deepEqual(served.asked, []);
    assert.equal((await served.call("/version")).status, 200);
  },
});

Deno.test({
  name: "the server cuts off who does not finish a request",
  ignore,
  fn: async () => {
    await using served = await Served.start();
    const beginnings = [
      "",
      "GET /ver",
      "GET /version HTTP/1.1\r\nHost: local",
      "POST /kill HTTP/1.1\r\nHost: localhost\r\nContent-Length: 9\r\n\r\n{",
    ];
    const clients = await Promise.all(beginnings.map(() => served.client()));
    clients.forEach(({ socket }, i) => socket.write(beginnings[i]!));
    await Promise.all(clients.map(({ closed }) => closed));
    assert.deepEqual(served.asked, []);
    assert.equal((await served.call("/version")).status, 200);
  },
});

Deno.test({
  name: "the server takes so many connections, and closes and counts others",
  ignore,
  fn: async () => {
    await using served = await Served.start(3);
    const held = await Promise.all([1, 2, 3].map(() => served.client()));
    for (const { socket } of held) socket.write("GET ");
    const others = await Promise.all(Array.from({ length: 200 }, () => served.client()));
    await Promise.all(others.map(({ closed }) => closed));
    assert.equal(served.refused, others.length);
    for (const { socket } of held) socket.write(GET.slice(4));
    for (const client of held) {
      while (!client.text.includes("1.2.3")) {
        await new Promise((resolve) => client.socket.once("data", resolve));
      }
      client.socket.destroy();
    }
  },
});

Deno.test({
  name: "the server closes a connection with two requests at once",
  ignore,
  fn: async () => {
    await using served = await Served.start();
    const client = await served.client();
    client.socket.write(
      "GET /connections?limit=100000 HTTP/1.1\r\nHost: localhost\r\n\r\n".repeat(1000),
    );
    await client.closed;
    assert.ok(served.asked.length < 100, `${served.asked.length}`);
  },
});

Deno.test({
  name: "the server makes no more of an answer than is taken, and cuts off who takes nothing",
  ignore,
  fn: async () => {
    await using served = await Served.start();
    const client = await served.client(false);
    client.socket.write("GET /connections?limit=1000000 HTTP/1.1\r\nHost: localhost\r\n\r\n");
    while (await served.connections() > 0) await new Promise((resolve) => setTimeout(resolve, 50));
    // A slice is some 150 KB as text: the kernel's buffers and ours hold a few, not a thousand.
    assert.ok(served.asked.length < 20, `${served.asked.length} slices`);
    assert.equal((await served.call("/version")).status, 200);
  },
});

for (
  const bytes of [
    "\0\0\0\0\r\n\r\n",
    "GET / HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n",
    "\x16\x03\x01\x02",
  ]
) {
  Deno.test({
    name: `the server survives ${JSON.stringify(bytes)}`,
    ignore,
    fn: async () => {
      await using served = await Served.start();
      const client = await served.client();
      client.socket.end(bytes);
      await client.closed;
      assert.equal((await served.call("/version")).status, 200);
    },
  });
}
