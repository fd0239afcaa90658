/** The HTTP of `--admin` against clients that do what they should not. */
import assert from "node:assert/strict";
import { request } from "node:http";
import { connect, type Socket } from "node:net";
import { Exposition } from "../../../src/process/admin/exposition.ts";
import { Feed } from "../../../src/process/admin/feed.ts";
import { NoAnswer, type Reading } from "../../../src/process/admin/readings.ts";
import { every } from "../../../src/process/admin/worker.ts";
import { makeAdminServer } from "../../../src/process/admin/server.ts";
import { ABOUT, Watched } from "./watched.ts";

const ignore = Deno.permissions.querySync({ name: "net" }).state !== "granted";

interface Answer {
  readonly status: number;
  readonly headers: Readonly<Record<string, string | string[] | undefined>>;
  readonly text: string;
}

class Served implements AsyncDisposable {
  readonly watched = new Watched();
  refused = 0;
  /** Of the numbers. */
  readings = 0;
  isAlive = true;
  readonly #sockets: Socket[] = [];
  readonly #server;
  readonly #feed: Feed;
  port = 0;

  private constructor(host: string, names: readonly string[], maxConnections: number) {
    const readings = {
      now: (): Promise<Reading> => {
        this.readings++;
        return this.isAlive
          ? this.watched.read()
          : Promise.reject(new NoAnswer("The packet thread has not answered"));
      },
    };
    this.#feed = new Feed({ readings, about: ABOUT, every });
    this.#server = makeAdminServer({
      config: { host, port: 0, names },
      about: ABOUT,
      readings,
      exposition: new Exposition(ABOUT, this),
      page: { html: "<p>page</p>", policy: "default-src x" },
      feed: this.#feed,
      maxConnections,
      refused: () => this.refused++,
    });
  }

  static async start(
    { host = "127.0.0.1", names = [], maxConnections = 64 }: {
      host?: string;
      names?: readonly string[];
      maxConnections?: number;
    } = {},
  ): Promise<Served> {
    const served = new Served(host, names, maxConnections);
    await new Promise<void>((resolve) =>
      served.#server.listen({ host: "127.0.0.1", port: 0 }, resolve)
    );
    served.port = (served.#server.address() as { port: number }).port;
    return served;
  }

  call(path: string, { method = "GET", host = "127.0.0.1" } = {}): Promise<Answer> {
    return new Promise((resolve, reject) => {
      const asked = request({
        host: "127.0.0.1",
        port: this.port,
        method,
        path,
        headers: { Host: host, Connection: "close" },
      }, (response) => {
        let text = "";
        response.setEncoding("utf8");
        response.on("data", (piece) => text += piece);
        response.on(
          "end",
          () => resolve({ status: response.statusCode!, headers: response.headers, text }),
        );
        response.on("error", reject);
      });
      asked.on("error", reject);
      asked.end();
    });
  }

  /** A connection, on which `text` is sent; gives what comes until the other side closes it. */
  raw(text: string): { socket: Socket; closed: Promise<string> } {
    const socket = connect({ host: "127.0.0.1", port: this.port });
    this.#sockets.push(socket);
    let got = "";
    socket.on("data", (bytes) => got += bytes);
    socket.on("error", () => {});
    const closed = new Promise<string>((resolve) => socket.once("close", () => resolve(got)));
    socket.write(text);
    return { socket, closed };
  }

  async [Symbol.asyncDispose](): Promise<void> {
    for (const socket of this.#sockets) socket.destroy();
    this.#server.closeAllConnections();
    await new Promise((resolve) => this.#server.close(resolve));
  }
}

Deno.test({
  name: "the admin server has metrics, the tree, and nothing else",
  ignore,
  fn: async () => {
    await using served = await Served.start();
    const metrics = await served.call("/metrics");
    assert.equal(metrics.status, 200);
    assert.equal(metrics.headers["content-security-policy"], "default-src 'none'");
    assert.match(String(metrics.headers["content-type"]), /^text\/plain; version=0\.0\.4/);
    assert.match(metrics.text, /^treegate_build_info\{version="1\.2\.3",build="source"\} 1$/m);
    assert.doesNotMatch(metrics.text, /node="0"/);
    assert.match((await served.call("/metrics?nodes=all")).text, /\{node="0",label=""\} 0$/m);
    const page = await served.call("/");
    assert.equal(page.status, 200);
    assert.equal(page.headers["content-type"], "text/html; charset=utf-8");
    assert.equal(page.headers["content-security-policy"], "default-src x");
    assert.equal(page.text, "<p>page</p>");
    const tree = await served.call("/api/tree");
    assert.equal(tree.headers["content-type"], "application/json");
    const { nodes, backends, devices } = JSON.parse(tree.text);
    assert.deepEqual([nodes.length, backends.length, devices[0].mtu], [13, 3, 1500]);
    assert.equal(tree.headers["x-content-type-options"], "nosniff");
  },
});

const wrong: readonly [
  path: string,
  options: { method?: string; host?: string },
  status: number,
][] = [
  ["/metrics", { method: "POST" }, 405],
  ["/metrics", { method: "HEAD" }, 405],
  ["/metrics", { method: "DELETE" }, 405],
  ["/metrics", { host: "evil.example" }, 421],
  ["/metrics", { host: "127.0.0.1.evil.example:9100" }, 421],
  ["/metrics", { host: "10.0.0.1" }, 421],
  ["/events", { host: "evil.example" }, 421],
  ["/metrics?nodes=some", {}, 400],
  ["/api/tree?nodes=all", {}, 400],
  ["/favicon.ico", {}, 404],
  ["/metrics/", {}, 404],
  ["/../etc/passwd", {}, 404],
  [`/${"x".repeat(20_000)}`, {}, 431],
];

for (const [path, options, status] of wrong) {
  const name = `${options.method ?? "GET"} ${path.slice(0, 20)} of ${options.host ?? "its host"}`;
  Deno.test({
    name: `the admin server answers ${status} to ${name}, and asks for no numbers`,
    ignore,
    fn: async () => {
      await using served = await Served.start();
      assert.equal((await served.call(path, options)).status, status);
      assert.equal(served.readings, 0);
    },
  });
}

const hosts: readonly [bound: string, names: readonly string[], host: string, isRight: boolean][] =
  [
    ["127.0.0.1", [], "localhost:8080", true],
    ["127.0.0.1", [], "LOCALHOST", true],
    ["127.0.0.1", ["proxy1"], "proxy1:9100", true],
    ["127.0.0.1", ["proxy1"], "proxy2", false],
    ["192.0.2.1", [], "192.0.2.1:9100", true],
    ["192.0.2.1", [], "localhost", false],
    ["0.0.0.0", [], "192.0.2.7:9100", true],
    ["0.0.0.0", [], "rebound.example", false],
    ["[::1]", [], "[::1]:9100", true],
    ["[::1]", [], "[::1]", true],
    ["[::1]", [], "localhost:9100", true],
    ["[::1]", [], "::1", false],
    ["[::1]", [], "[::1].evil.example:9100", false],
    ["[::1]", [], "127.0.0.1:9100", false],
    ["[2001:db8::1]", [], "[2001:DB8::1]:9100", true],
    ["[2001:db8::1]", [], "localhost", false],
    ["[2001:db8::1]", ["proxy1"], "proxy1", true],
    ["[::]", [], "[2001:db8::7]:9100", true],
    ["[::]", [], "192.0.2.7:9100", true],
    ["[::]", [], "rebound.example", false],
    ["[::]", [], "dead:beef", false],
  ];

for (const [bound, names, host, isRight] of hosts) {
  const around = names.length === 0 ? bound : `${bound} and ${names}`;
  Deno.test({
    name: `the admin server at ${around} is ${isRight ? "" : "not "}asked as ${host}`,
    ignore,
    fn: async () => {
      await using served = await Served.start({ host: bound, names });
      assert.equal((await served.call("/metrics", { host })).status, isRight ? 200 : 421);
    },
  });
}

Deno.test({
  name: "the admin server says so while the packet thread does not answer",
  ignore,
  fn: async () => {
    await using served = await Served.start();
    served.isAlive = false;
    const { status, text } = await served.call("/metrics");
    assert.deepEqual([status, text], [503, "The packet thread has not answered\n"]);
    served.isAlive = true;
    assert.equal((await served.call("/metrics")).status, 200);
  },
});

Deno.test({
  name: "the admin server takes 64 of 300 connections, counts the others, and serves after them",
  ignore,
  fn: async () => {
    await using served = await Served.start();
    const held = Array.from({ length: 300 }, () => served.raw("GET /metrics HTTP/1.1\r\n"));
    let closed = 0;
    for (const one of held) void one.closed.then(() => closed++);
    while (closed < 236) await new Promise((resolve) => setTimeout(resolve, 10));
    assert.equal(served.refused, 236);
    for (const { socket } of held) socket.destroy();
    await Promise.all(held.map(({ closed }) => closed));
    const { text } = await retried(() => served.call("/metrics"));
    assert.match(text, /^treegate_admin_connections_refused_total \d+$/m);
  },
});

/** Until the server has seen that others have gone. */
async function retried<T>(call: () => Promise<T>): Promise<T> {
  for (let tries = 0; tries < 100; tries++) {
    try {
      return await call();
    } catch {
      await new Promise((resolve) => setTimeout(resolve, 20));
    }
  }
  return await call();
}

Deno.test({
  name: "the admin server cuts off who never ends a request, and who asks for two at once",
  ignore,
  fn: async () => {
    await using served = await Served.start();
    const slow = served.raw("GET /metrics HTTP/1.1\r\nHost: 127.0.0.1\r\n");
    const two = "GET /events HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n";
    const pipelined = served.raw(two + two);
    assert.match(await slow.closed, /^(HTTP\/1\.1 408 [^]*)?$/);
    await pipelined.closed;
  },
});

Deno.test({
  name: "the admin server cuts off who asks for more on a connection that listens",
  ignore,
  fn: async () => {
    await using served = await Served.start();
    const get = "GET /events HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n";
    const { socket, closed } = served.raw(get);
    await new Promise((resolve) => socket.once("data", resolve));
    socket.write(get);
    assert.equal(eventsOf(await closed).length, 1);
  },
});

/** The events in a stream. */
function eventsOf(text: string): { event: string; data: Record<string, unknown> }[] {
  return [...text.matchAll(/event: (\w+)\ndata: (.*)\n\n/g)].map(([, event, data]) => ({
    event: event!,
    data: JSON.parse(data!),
  }));
}

Deno.test({
  name:
    "the feed has everything first, then what has changed; at most half of the connections listen",
  ignore,
  fn: async () => {
    await using served = await Served.start({ maxConnections: 4 });
    const get = "GET /events HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n";
    let got = "";
    const { socket } = served.raw(get);
    const until = async (count: number) => {
      while (eventsOf(got).length < count) await new Promise((done) => setTimeout(done, 10));
      return eventsOf(got);
    };
    socket.on("data", (bytes) => got += bytes);
    const [first] = await until(1);
    assert.equal(first!.event, "full");
    assert.equal((first!.data["hits"] as number[]).length, 13);
    assert.deepEqual(Object.keys(first!.data["backends"] as object), ["0", "1", "2"]);
    const { status } = await served.call("/metrics");
    assert.equal(status, 200);
    const [, second] = await until(2);
    assert.equal(second!.event, "delta");
    assert.deepEqual([second!.data["hits"], second!.data["backends"]], [{}, {}]);
    const second_ = served.raw(get);
    await until(3);
    assert.equal((await served.call("/events")).status, 503);
    second_.socket.destroy();
  },
});
