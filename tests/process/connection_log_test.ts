/** `--log-connections`: the lines, and what is left out of them. */
import assert from "node:assert/strict";
import type { LogFields } from "../../src/core/log.ts";
import { ConnectionLog } from "../../src/process/connection_log.ts";
import { ACK, FIN } from "../../src/wire/tcp.ts";
import { BACKENDS, World } from "../flow/connections_world.ts";

function make(perSecond: number) {
  const world = new World({ addresses: BACKENDS.slice(0, 1) });
  const lines: [string, string, LogFields | undefined][] = [];
  const info = (...[message, event, fields]: [string, string, LogFields?]) =>
    void lines.push([event, message, fields]);
  const log = new ConnectionLog({
    connections: world.connections,
    perSecond,
    nowMs: () => world.nowMs,
    log: { info, warning: assert.fail, error: assert.fail },
  });
  return { world, lines, log };
}

Deno.test("ConnectionLog tells of each connection when it opens and when it ends", () => {
  const { world, lines, log } = make(10);
  world.establish();
  world.nowMs += 1234;
  world.fromB({ tcpFlags: FIN | ACK });
  world.fromA({ tcpFlags: FIN | ACK });
  world.track();
  log[Symbol.dispose]();
  const ends = {
    protocol: "tcp",
    client: "192.168.0.254:40000",
    service: "192.168.0.100:2000",
    backend: "192.168.0.1:2000",
  };
  assert.deepEqual(lines.slice(0, 2), [
    [
      "connection-opened",
      "tcp 192.168.0.254:40000 to 192.168.0.100:2000 opened, at 192.168.0.1:2000",
      ends,
    ],
    [
      "connection-closed",
      "tcp 192.168.0.254:40000 to 192.168.0.100:2000 closed after 1.2 s, at 192.168.0.1:2000: " +
      "closed, was fin-backend",
      { ...ends, duration_ms: 1234, state: "fin-backend", reason: "closed" },
    ],
  ]);
  assert.equal(lines.length, 3);
  assert.equal(lines[2]![2]!["backend"], null, "the proxy answers itself");
  assert.match(lines[2]![1], /^icmp 192\.168\.0\.254:\d+ to 192\.168\.0\.100:\d+ opened$/);
});

Deno.test("ConnectionLog says at the end how many lines were left out, of each kind", () => {
  const { world, lines, log } = make(1);
  for (let srcPort = 1; srcPort <= 3; srcPort++) world.fromA({ srcPort });
  world.connections.remove(0);
  log[Symbol.dispose]();
  assert.deepEqual(lines.map(([event, message]) => [event, message]), [
    ["connection-opened", lines[0]![1]],
    ["lines-left-out", "connection-opened: 2 more lines were left out"],
    ["lines-left-out", "connection-closed: 1 more lines were left out"],
  ]);
  assert.deepEqual(lines[1]![2], { kind: "connection-opened", count: 2 });
});

Deno.test("ConnectionLog is on and off as the rate says, and then nobody is told", () => {
  const { world, lines, log } = make(0);
  assert.equal(world.connections.events, null);
  world.fromA({ srcPort: 1 });
  log.setRate(5);
  world.fromA({ srcPort: 2 });
  log.setRate(0);
  assert.equal(world.connections.events, null);
  world.fromA({ srcPort: 3 });
  log[Symbol.dispose]();
  assert.deepEqual(lines.map(([, message]) => message.split(" ")[1]), ["192.168.0.254:2"]);
});
