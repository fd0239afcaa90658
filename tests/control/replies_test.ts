/** The control socket's paths, asked without a socket or a second thread. */
import assert from "node:assert/strict";
import type { CaptureOptions } from "../../src/capture/options.ts";
import { SLICE } from "../../src/control/connection_rows.ts";
import { Controller } from "../../src/control/controller.ts";
import { Overlay } from "../../src/control/overlay.ts";
import type { Around } from "../../src/control/pieces.ts";
import { type Reply, replyTo } from "../../src/control/replies.ts";
import { Refusal, type Reloaded, type Request } from "../../src/control/request.ts";
import type {
  BackendShape,
  CaptureShape,
  ConnectionsShape,
  ErrorShape,
  NeighborShape,
  OwnShape,
  StatusShape,
} from "../../src/control/shapes.ts";
import { TABLES } from "../../src/control/tables.ts";
import { finish } from "../../src/core/slices.ts";
import { ESTABLISHED } from "../../src/flow/tcp_state.ts";
import type { Policy } from "../../src/policy/language/ast.ts";
import { demo } from "../../src/policy/language/built_in.ts";
import { parse } from "../../src/policy/notation/parse.ts";
import { print } from "../../src/policy/printing/print.ts";
import { testConfig } from "../support/config.ts";
import { buildIcmp, buildTcp, buildUdp, readTcp } from "../support/frames.ts";
import { buildAdvertisement, buildRouterAdvertisement } from "../support/frames6.ts";
import { NO_KEY } from "../../src/wire/keyed_hash.ts";
import {
  BACKENDS6,
  CLIENT,
  CLIENT6,
  from,
  PROXY,
  PROXY6,
  World,
  type WorldOptions,
} from "../support/world.ts";

const OWN: OwnShape = {
  sandbox: {
    ...{ mode: "on", user: "treegate", landlock: 7, threads: 9 },
    ...{ noNewPrivileges: 9, noCapabilities: 9, emptyBoundingSet: 0, filtered: 8 },
  },
  control: { refused: 7 },
};

/** A world and its control socket. */
class Controlled {
  readonly world: World;
  readonly asked: Request[] = [];
  readonly log: string[] = [];
  reloaded: Reloaded = { isDone: true, lines: ["read again"] };
  policyFile: string | null = null;
  policy: Policy;
  upgradeRefusal: string | null = null;
  capture: CaptureShape | null = null;
  readonly captured: CaptureOptions[] = [];
  overlay = new Overlay();
  #around: Around;

  constructor(options: WorldOptions = {}) {
    this.world = World.settled(options);
    this.policy = options.policy ?? demo;
    const { appliance } = this.world;
    const capturing = () => this.capture;
    const controller = new Controller({
      appliance,
      customs: { predicates: { odd: (packet) => packet.srcPort % 2 === 1 } },
      changePools: (next) => {
        const overlay = next(appliance.pools, this.overlay);
        finish(appliance.prepare({ pools: overlay.apply(appliance.pools) }))();
        this.overlay = overlay;
        return Promise.resolve();
      },
      reload: () => Promise.resolve(this.reloaded),
      upgrade: () => {
        if (this.upgradeRefusal !== null) throw new Refusal(409, this.upgradeRefusal);
      },
      policyFile: () => this.policyFile,
      log: { info: (line) => void this.log.push(line) },
      policyText: () => ({ file: "own", text: print(this.policy), included: new Map() }),
      captures: {
        start: (name, options) => {
          this.captured.push(options);
          return this.capture = { ...CAPTURE, file: name, filter: options.filter };
        },
        stop: () => {
          if (this.capture === null) return Promise.reject(new Refusal(409, "None"));
          const ended = this.capture;
          this.capture = null;
          return Promise.resolve(ended);
        },
        get state() {
          return capturing();
        },
      },
      pause: () => Promise.resolve(),
    });
    this.#around = {
      ask: async (request) => {
        this.asked.push(structuredClone(request));
        return structuredClone(await controller.answer(request)) as never;
      },
      config: testConfig(),
      hashKey: NO_KEY,
      about: { version: "1.2.3", build: "source" },
      own: () => OWN,
      delay: (ms) => Promise.resolve(void this.world.advance(ms)),
      nowMs: () => appliance.nowMs,
    };
  }

  /** The status and what the body says. */
  async call<T>(target: string, method = "GET", body = ""): Promise<[status: number, json: T]> {
    const reply = await replyTo(method, target, body, this.#around);
    if ("json" in reply) return [reply.status, structuredClone(reply.json) as T];
    return [reply.status, JSON.parse(await textOf(reply)) as T];
  }

  async get<T>(target: string): Promise<T> {
    const [status, json] = await this.call<T>(target);
    assert.equal(status, 200, JSON.stringify(json));
    return json;
  }

  async reply(target: string): Promise<Reply> {
    return await replyTo("GET", target, "", this.#around);
  }

  open(...ports: readonly number[]): void {
    const frames = ports.map((srcPort) => buildTcp({ ...from(CLIENT), srcPort, dstPort: 2000 }));
    this.world.send(...frames);
  }
}

async function textOf(reply: Extract<Reply, { pieces: unknown }>): Promise<string> {
  let text = "";
  for await (const piece of reply.pieces) text += piece;
  return text;
}

Deno.test("status, backends, drops and tree agree with the summary", async () => {
  const control = new Controlled();
  control.open(1001, 1002, 1003);
  control.world.send(buildTcp({ ...from(CLIENT), srcPort: 1, dstPort: 80 }));
  control.world.advance(1000);
  const snapshot = control.world.appliance.snapshot();

  const status = await control.get<StatusShape>("/status");
  assert.equal(status.version, "1.2.3");
  assert.deepEqual(status.pdusIn, snapshot.pdusIn);
  assert.deepEqual(status.decisions, snapshot.decisions);
  assert.deepEqual(status.connections, snapshot.connections);
  assert.deepEqual(status.backends, { up: 3 });
  assert.equal(status.links[0]!.address, `${PROXY}/24`);
  assert.ok(status.uptimeMs > 0);
  assert.equal(status.policy, null);
  assert.deepEqual([status.sandbox, status.control], [OWN.sandbox, OWN.control]);
  control.policyFile = "reloaded.policy";
  assert.equal((await control.get<StatusShape>("/status")).policy, "reloaded.policy");

  const backends = await control.get<{ address: string; opened: number; tracked: number }[]>(
    "/backends",
  );
  assert.deepEqual(backends.map(({ address }) => address), control.world.backends);
  assert.equal(backends.reduce((sum, { tracked }) => sum + tracked, 0), 3);

  const drops = await control.get<{ reason: string; count: number }[]>("/drops");
  assert.deepEqual(
    Object.fromEntries(drops.map(({ reason, count }) => [reason, count])),
    control.world.drops(),
  );
  assert.deepEqual(await control.get("/tree"), structuredClone(snapshot.policy));
});

Deno.test("status tells of each own address of IPv6 whether it is used", async () => {
  const control = new Controlled({ ipv6: true });
  const { world } = control;
  const linkLocal = "fe80::ff:fe00:100";
  const ownOf = async () => {
    const status = await control.get<StatusShape>("/status");
    const states = status.links[0]!.own6.map(({ address, state }) => `${address} ${state}`);
    const line = TABLES.status(status).split("\n").find((text) => text.startsWith("IPv6"));
    return [...states, line];
  };
  assert.deepEqual(await ownOf(), [
    `${PROXY6} in-use`,
    `${linkLocal} in-use`,
    `IPv6        : ${PROXY6} in use, ${linkLocal} in use`,
  ]);
  world.appliance.linkDown(0);
  world.appliance.linkUp(0);
  assert.deepEqual((await ownOf()).slice(0, 2), [`${PROXY6} on-trial`, `${linkLocal} on-trial`]);
  world.send(buildAdvertisement({
    ...{ src: PROXY6, srcMac: "02:00:00:00:00:99", target: PROXY6, mac: "02:00:00:00:00:99" },
    ...{ dst: "ff02::1", dstMac: "33:33:00:00:00:01", neighborFlags: "O" },
  }));
  world.advance(5000);
  assert.equal(
    (await ownOf()).at(-1),
    `IPv6        : ${PROXY6} withheld after a conflict, ${linkLocal} in use`,
  );
  assert.deepEqual((await new Controlled().get<StatusShape>("/status")).links[0]!.own6, []);
});

Deno.test("connections, columns as ipvsadm has them, and filters that must all fit", async () => {
  const control = new Controlled();
  control.open(1001, 1002);
  control.world.advance(90_000);
  for (const backend of control.world.backends) control.world.answer(backend);
  control.open(1003);
  const list = async (filter: string) =>
    (await control.get<ConnectionsShape>(`/connections?${filter}`)).connections;
  const all = await list("");
  assert.equal(all.length, 3);
  const { expiresMs, ageMs, backend, ...rest } = all[0]!;
  assert.deepEqual(rest, {
    protocol: "tcp",
    state: "syn-sent",
    client: `${CLIENT}:1001`,
    virtual: `${PROXY}:2000`,
  });
  assert.equal(ageMs, 90_000);
  assert.equal(expiresMs, 150_000, "of 240 s half-open");
  assert.match(backend!, /^192\.168\.0\.[123]:2000$/);

  const counts: readonly (readonly [string, number])[] = [
    ["older=60s", 2],
    ["younger=60s", 1],
    ["older=60s&younger=1m", 0],
    ["state=syn-sent", 3],
    ["state=established", 0],
    ["port=2000", 3],
    ["port=80", 0],
    ["protocol=udp", 0],
    ["protocol=tcp&source=192.168.0.0/24", 3],
    ["source=192.168.0.253", 0],
    [`backend=${backend}`, all.filter((one) => one.backend === backend).length],
    [`backend=${backend!.split(":")[0]}:81`, 0],
  ];
  for (const [filter, count] of counts) assert.equal((await list(filter)).length, count, filter);

  assert.match(
    TABLES.connections({ connections: all, more: false }),
    /^PROTO {2}EXPIRES {2}STATE +CLIENT +VIRTUAL +BACKEND +AGE\ntcp +2:30 {2}syn-sent {2}192\.168\.0\.254:1001/,
  );
});

Deno.test("connections are walked in slices, and limited", async () => {
  const control = new Controlled({ maxConn: 4000 });
  control.open(...Array.from({ length: 2500 }, (_, i) => 1000 + i));
  control.asked.length = 0;
  const all = await control.get<ConnectionsShape>("/connections?limit=4000");
  assert.equal(all.more, false);
  assert.equal(new Set(all.connections.map(({ client }) => client)).size, 2500);
  assert.deepEqual(
    control.asked.map((request) => "from" in request ? request.from : null),
    [0, SLICE, 2 * SLICE],
  );
  for (const [query, count] of [["", 1000], ["?limit=7", 7]] as const) {
    const some = await control.get<ConnectionsShape>(`/connections${query}`);
    assert.deepEqual([some.connections.length, some.more], [count, true]);
  }
});

Deno.test("kill removes what fits, in slices, and nothing unless told what", async () => {
  const control = new Controlled({ maxConn: 4000 });
  const { table } = control.world.appliance.connections;
  control.open(...Array.from({ length: 1500 }, (_, i) => 1000 + i));
  control.world.advance(2000);
  control.open(...Array.from({ length: 1500 }, (_, i) => 5000 + i));
  const [status, { error }] = await control.call<ErrorShape>("/kill", "POST");
  assert.deepEqual([status, table.count], [400, 3000]);
  assert.match(error, /expected a filter, or all=true/);
  assert.deepEqual(await control.call("/kill", "POST", '{"older":"1s"}'), [200, { killed: 1500 }]);
  assert.equal(table.count, 1500);
  const tracked = control.world.appliance.counters().pools[0]!.members
    .map(({ tracked }) => tracked);
  assert.equal(tracked.reduce((sum, one) => sum + one), 1500);
  assert.deepEqual(await control.call("/kill?all=true", "POST"), [200, { killed: 1500 }]);
  assert.equal(table.count, 0);
});

Deno.test("kill resets both ends of a connection, and forgets it; others are forgotten", async () => {
  const control = new Controlled({ backends: ["192.168.0.1"] });
  const { world } = control;
  const { table } = world.appliance.connections;
  const [syn] = world.send(buildTcp({ ...from(CLIENT), srcPort: 1001, dstPort: 2000, seq: 10 }));
  const { srcPort } = readTcp(syn!);
  const numbers = { seq: 500, ack: 11 };
  world.send(
    buildTcp({ ...from("192.168.0.1"), srcPort: 2000, dstPort: srcPort, flags: "SA", ...numbers }),
    buildTcp({ ...from(CLIENT), srcPort: 1001, dstPort: 2000, seq: 11, ack: 501, flags: "A" }),
    buildIcmp({ rest: [7, 1] }),
  );
  control.open(1002);
  world.device.take();
  const target = "/kill?state=established&protocol=tcp";
  assert.deepEqual(await control.call(target, "POST"), [200, { killed: 1 }]);
  const resets = world.device.take().map(readTcp);
  assert.deepEqual(resets.map(({ dst, dstPort, flags, seq }) => [dst, dstPort, flags, seq]), [
    [CLIENT, 1001, "RA", 501],
    ["192.168.0.1", 2000, "RA", 11],
  ]);
  const left = table.count;
  assert.equal([...table].filter((entry) => table.state(entry) === ESTABLISHED).length, 0);
  assert.deepEqual(await control.call("/kill?all=true", "POST"), [200, { killed: left }]);
  assert.equal(table.count, 0);
});

Deno.test("neighbors: backends, clients, and those that do not answer", async () => {
  const control = new Controlled();
  const list = await control.get<{ address: string; state: string; isWatched: boolean }[]>(
    "/neighbors",
  );
  const backend = list.find(({ address }) => address === "192.168.0.1")!;
  assert.deepEqual([backend.state, backend.isWatched], ["known", true]);
  assert.deepEqual(list.find(({ address }) => address === CLIENT)?.isWatched, false);
  control.world.advance(60_000); // nobody answers any more
  const later = await control.get<typeof list>("/neighbors");
  assert.equal(later.find(({ address }) => address === "192.168.0.1")!.state, "unanswered");
});

Deno.test("neighbors of IPv6 follow those of IPv4", async () => {
  const control = new Controlled({ ipv6: true });
  const list = await control.get<{ address: string; state: string; isWatched: boolean }[]>(
    "/neighbors",
  );
  const over6 = list.filter(({ address }) => address.includes(":"));
  assert.deepEqual(over6.map(({ address, state, isWatched }) => [address, state, isWatched]), [
    ...BACKENDS6.map((backend) => [backend, "known", true]),
    [CLIENT6, "known", false],
  ]);
  assert.equal(list.at(-1)!.address, CLIENT6);
});

Deno.test("a default router is a gateway among the neighbors, and its MTU is in the status", async () => {
  const control = new Controlled({ ipv6: true, acceptRa: true, gateway: CLIENT });
  const roles = async () => {
    const list = await control.get<NeighborShape[]>("/neighbors");
    return TABLES.neighbors(list).trim().split("\n").slice(1).map((line) => {
      const [, address, , , role] = line.split(/ {2,}/);
      return `${address} ${role}`;
    });
  };
  const before = await roles();
  assert.ok(before.includes(`${CLIENT} gateway`), before.join());
  assert.ok(before.includes("192.168.0.1 backend") && before.includes(`${CLIENT6} other`));
  const { links: [plain] } = await control.get<StatusShape>("/status");
  assert.deepEqual([plain!.mtu, plain!.mtu6], [1500, 1500]);
  control.world.send(buildRouterAdvertisement({ srcMac: "02:00:00:00:00:aa", mtu: 1400 }));
  control.world.advance(1000);
  assert.ok((await roles()).includes("fe80::1 gateway"));
  const status = await control.get<StatusShape>("/status");
  assert.deepEqual([status.links[0]!.mtu, status.links[0]!.mtu6], [1500, 1400]);
  assert.match(TABLES.status(status), /^Interface +: .*, MTU 1500, of IPv6 1400$/m);
  assert.deepEqual(control.world.log.slice(-2), [
    "info: memory: router fe80::1 advertises an MTU of 1400 bytes for IPv6",
    "info: memory: default router is fe80::1",
  ]);
});

Deno.test("neighbors that were forgotten are not listed", async () => {
  const control = new Controlled({ maxNeighbors: 2 });
  for (const last of [10, 11, 12, 13]) control.world.answer(`192.168.0.${last}`);
  const list = await control.get<{ address: string }[]>("/neighbors");
  assert.equal(list.length, control.world.appliance.links[0]!.arp.neighbors.count);
});

Deno.test("explain is about the policy that runs", async () => {
  const control = new Controlled();
  const target = "/explain?packet=" +
    encodeURIComponent(`tcp ${CLIENT}:40000 > ${PROXY}:80`);
  const before = await control.get<{ explanations: string[] }>(target);
  assert.match(before.explanations[0]!, /tcp\.dport = 80 +true\n.*Drop\n/);
  control.policy = parse("default drop\ntcp -> reject\n", { file: "" }).policy!;
  finish(control.world.appliance.prepare({ policy: control.policy }))();
  const after = await control.get<{ explanations: string[] }>(target);
  assert.match(after.explanations[0]!, /reject +Reject/);
  const [status, { error }] = await control.call<ErrorShape>("/explain?packet=tpc");
  assert.deepEqual([status, /did you mean "tcp"/.test(error)], [400, true]);
});

Deno.test("reload answers what was done, or each error", async () => {
  const control = new Controlled();
  assert.deepEqual(await control.call("/reload", "POST"), [200, { done: ["read again"] }]);
  control.reloaded = { isDone: false, lines: ["a.policy:1:1: wrong", "  1 | x"] };
  assert.deepEqual(await control.call("/reload", "POST"), [
    422,
    { error: "Nothing was changed", details: control.reloaded.lines },
  ]);
});

const wrong: readonly [method: string, target: string, body: string, status: number, RegExp][] = [
  ["GET", "/stauts", "", 404, /did you mean "\/status"/],
  ["GET", "/__proto__", "", 404, /Cannot find/],
  ["POST", "/status", "", 405, /expected GET/],
  ["GET", "/kill", "", 405, /expected POST/],
  ["DELETE", "/connections", "", 405, /expected GET/],
  ["GET", "//", "", 400, /URL/],
  ["GET", "/status?x=1", "", 400, /Unknown parameter "x": expected none/],
  ["GET", "/connections?sorce=1", "", 400, /did you mean "source"/],
  ["GET", "/connections?source=10.0.0.1/8", "", 400, /did you mean "10.0.0.0\/8"/],
  ["GET", "/connections?state=establisd", "", 400, /did you mean "established"/],
  ["GET", "/connections?limit=0", "", 400, /expected an integer 1 to 1000000/],
  ["GET", "/connections?limit=1&limit=2", "", 400, /expected one value, found 2/],
  ["GET", "/connections?older=5x", "", 400, /as in 60s/],
  ["GET", "/connections?backend=1.2.3.4:80:90", "", 400, /ADDR:PORT, without its pool/],
  ["GET", "/connections?backend=web/1.2.3.4", "", 400, /ADDR:PORT, without its pool/],
  ["GET", "/connections?older=99999999999", "", 400, /expected less than 50 days, 1193h/],
  ["POST", "/add?name=web/1.2.3.4:99999", "", 400, /as port: expected 1 to 65535/],
  ["POST", "/kill", "[1]", 400, /expected a JSON object/],
  ["POST", "/kill", "{", 400, /expected a JSON object/],
  ["POST", "/kill", '{"all":{}}', 400, /expected a JSON object/],
  ["POST", "/kill", '{"all":"yes"}', 400, /"true" or "false"/],
  ["GET", "/trace", "", 400, /predicate: required/],
  ["GET", "/trace?predicate=icpm", "", 400, /did you mean "icmp"/],
  ["GET", "/trace?predicate=in+$none", "", 400, /predicate/],
  ["GET", "/trace?predicate=icmp&seconds=2h", "", 400, /expected 1ms to 3600s/],
  ["GET", "/trace?predicate=icmp&seconds=0", "", 400, /expected 1ms to 3600s/],
];
for (const [method, target, body, status, words] of wrong) {
  Deno.test(`${method} ${target} ${body} is refused with ${status}`, async () => {
    const control = new Controlled();
    const [found, { error, details = [] }] = await control.call<ErrorShape>(target, method, body);
    assert.equal(found, status);
    assert.match([error, ...details].join("\n"), words);
  });
}

/** The lines of a trace during which `act` has happened. */
async function traced(control: Controlled, target: string, act: () => void): Promise<unknown[]> {
  const reply = await control.reply(target);
  assert.ok("pieces" in reply, JSON.stringify(reply));
  let text = "";
  let isFirst = true;
  for await (const piece of reply.pieces) {
    if (isFirst) act();
    isFirst = false;
    text += piece;
  }
  return text.trim().split("\n").map((line) => JSON.parse(line));
}

Deno.test("trace shows what its predicate holds for, until its limit, and then costs nothing", async () => {
  const control = new Controlled();
  const { appliance } = control.world;
  const lines = await traced(control, "/trace?predicate=tcp+and+new&limit=2", () => {
    control.world.send(buildIcmp({ rest: [7, 1] }));
    control.open(1001, 1002, 1003);
  });
  assert.deepEqual(lines.slice(0, 1), [{
    packet: `tcp ${CLIENT}:1001 > ${PROXY}:2000 syn ttl 64`,
    state: "new",
    decision: "Forward",
    backend: (lines[0] as { backend: string }).backend,
  }]);
  assert.deepEqual(lines.slice(2), [{ ended: "limit of 2 packets" }]);
  assert.equal(appliance.observer, null);
});

Deno.test("trace knows the policy's lists, users' functions, and states", async () => {
  const text = "default drop\ndefine $here = 192.168.0.254\ntcp -> translate-a-to-b, forward\n";
  const { policy } = parse(text, { file: "" });
  const control = new Controlled({ policy: policy! });
  for (
    const [predicate, count] of [
      ["ip.src in $here", 2],
      ["ip.src in $dst-addrs", 0],
      ["custom odd", 1],
      ["stray", 0],
    ] as const
  ) {
    const target = `/trace?seconds=1s&predicate=${encodeURIComponent(predicate)}`;
    const lines = await traced(control, target, () => control.open(1001, 1002));
    assert.equal(lines.length, count + 1, predicate);
    assert.deepEqual(lines.at(-1), { ended: "1 s are over" });
  }
});

Deno.test("trace looks at a bounded number a second, keeps few, and says what it has missed", async () => {
  const control = new Controlled();
  const datagram = buildUdp({ ...from(CLIENT), srcPort: 5, dstPort: 5 });
  const lines = await traced(control, "/trace?predicate=udp&seconds=1s&limit=10000", () => {
    for (let i = 0; i < 100; i++) control.world.send(...Array(64).fill(datagram));
  });
  const missed = lines.map((line) => (line as { missed?: number }).missed ?? 0)
    .reduce((sum, one) => sum + one, 0);
  assert.equal(lines.filter((line) => "packet" in (line as object)).length, 256);
  assert.equal(missed, 6400 - 256);
  const idle = new Controlled();
  const none = await traced(idle, "/trace?predicate=tcp&seconds=1s", () => {
    for (let i = 0; i < 100; i++) idle.world.send(...Array(64).fill(datagram));
  });
  assert.deepEqual(none[0], { missed: 6400 - 5000 });
});

Deno.test("trace: one at a time; the console goes on beside it; abandoned, it ends", async () => {
  const control = new Controlled({ trace: "all" });
  const { appliance } = control.world;
  const console = appliance.observer;
  const reply = await control.reply("/trace?predicate=tcp");
  assert.ok("pieces" in reply);
  const [status, { error }] = await control.call<ErrorShape>("/trace?predicate=tcp");
  assert.deepEqual([status, error], [409, "Another trace is under way: one at a time"]);
  await control.world.printed();
  control.open(1001);
  assert.match(await control.world.printed(), /Decision : Forward/);
  control.world.advance(6000);
  assert.equal(appliance.observer, console);

  // The end of the abandoned one does not end the next.
  const next = await control.reply("/trace?predicate=tcp");
  assert.ok("pieces" in next);
  const first = reply.pieces[Symbol.asyncIterator]();
  await first.next();
  await assert.rejects(first.next(), { message: "The trace has ended" });
  assert.notEqual(appliance.observer, console);

  // A reload changes what the console shows; the trace goes on, and its end brings nothing back.
  finish(appliance.prepare({ observer: () => null }))();
  assert.notEqual(appliance.observer, null);
  control.world.advance(6000);
  assert.equal(appliance.observer, null);
});

Deno.test("trace ends with the client", async () => {
  const control = new Controlled();
  const reply = await control.reply("/trace?predicate=tcp");
  assert.ok("pieces" in reply);
  for await (const _ of reply.pieces) break;
  assert.equal(control.world.appliance.observer, null);
});

const POOLS = `default drop
pool $web = 192.168.0.1 port 8080, 192.168.0.2 port 8080 weight 2
pool $other = 192.168.0.2 port 8080
not ip.src in $dst-addrs -> translate-a-to-b to $web, forward
otherwise                -> translate-b-to-a, forward
`;

interface Backend {
  readonly name: string;
  readonly status: string;
  readonly weight: number;
  readonly open: number;
  readonly tracked: number;
}

/** What `/backends` says of one. */
async function backend(control: Controlled, name: string): Promise<Backend | undefined> {
  return (await control.get<Backend[]>("/backends")).find((one) => one.name === name);
}

function withPools(text = POOLS, options: WorldOptions = {}): Controlled {
  const { policy, errors } = parse(text, { file: "" });
  assert.deepEqual(errors, []);
  const control = new Controlled({ ...options, policy: policy! });
  for (const host of control.world.backends) control.world.answer(host);
  return control;
}

Deno.test("drain, maintenance, ready and weight change a member, and survive a reload", async () => {
  const control = withPools();
  control.open(...Array.from({ length: 30 }, (_, i) => 1000 + i));
  const pools = await control.get<{ name: string; members: number; tracked: number }[]>("/pools");
  assert.deepEqual(pools.map(({ name, members, tracked }) => [name, members, tracked]), [
    ["dst-addrs", 3, 0],
    ["web", 2, 30],
    ["other", 1, 0],
  ]);

  const drained = await control.call<Backend>("/drain?name=192.168.0.1:8080", "POST");
  assert.deepEqual([drained[0], drained[1].status], [200, "draining"]);
  const { tracked } = drained[1];
  assert.ok(tracked > 0 && tracked < 30);
  control.open(...Array.from({ length: 30 }, (_, i) => 2000 + i));
  assert.equal((await backend(control, "web/192.168.0.1:8080"))!.tracked, tracked);

  const weighed = await control.call<Backend>(
    "/weight",
    "POST",
    '{"name":"$web/192.168.0.2:8080","weight":7}',
  );
  assert.deepEqual([weighed[0], weighed[1].weight], [200, 7]);
  await control.call("/maintenance?name=other/192.168.0.2:8080", "POST");
  finish(control.world.appliance.prepare({ policy: parse(POOLS, { file: "" }).policy! }))();
  control.world.advance(60_000);
  assert.equal((await backend(control, "web/192.168.0.1:8080"))!.status, "draining");
  assert.equal((await backend(control, "web/192.168.0.2:8080"))!.weight, 7);
  assert.equal((await backend(control, "other/192.168.0.2:8080"))!.status, "maintenance");

  for (const host of control.world.backends) control.world.answer(host);
  const ready = await control.call<Backend>("/ready?name=web/192.168.0.1:8080", "POST");
  assert.deepEqual([ready[0], ready[1].status], [200, "up"]);
  control.open(...Array.from({ length: 60 }, (_, i) => 3000 + i));
  const { tracked: again } = (await backend(control, "web/192.168.0.1:8080"))!;
  assert.ok(again > ready[1].tracked);
});

Deno.test("drain waits until no connection is open, or says how many are", async () => {
  const control = new Controlled({ backends: ["192.168.0.1"], timeouts: { halfOpen: 10 } });
  control.open(1001, 1002);
  const [status, { error }] = await control.call<ErrorShape>(
    "/drain?name=192.168.0.1&wait=2s",
    "POST",
  );
  assert.deepEqual([status, error], [504, "Connections open after 2 s: 2"]);
  control.open(1003);
  const gone = await control.call<Backend>("/drain?name=192.168.0.1&wait=60s", "POST");
  assert.deepEqual([gone[0], gone[1].tracked, gone[1].status], [200, 0, "draining"]);
  assert.equal(control.world.drops()["no-backend"], 1, "it takes no new connection");
});

Deno.test("drain does not wait for connections that are over", async () => {
  const control = new Controlled({ backends: ["192.168.0.1"] });
  const { world } = control;
  const [syn] = world.send(buildTcp({ ...from(CLIENT), srcPort: 1001, dstPort: 2000, seq: 10 }));
  const ports = { srcPort: 2000, dstPort: readTcp(syn!).srcPort };
  const back = { ...from("192.168.0.1"), ...ports };
  const there = { ...from(CLIENT), srcPort: 1001, dstPort: 2000 };
  world.send(
    buildTcp({ ...back, flags: "SA", seq: 500, ack: 11 }),
    buildTcp({ ...there, flags: "A", seq: 11, ack: 501 }),
  );
  const target = "/drain?name=192.168.0.1&wait=1s";
  assert.equal((await control.call(target, "POST"))[0], 504);
  world.send(
    buildTcp({ ...there, flags: "FA", seq: 11, ack: 501 }),
    buildTcp({ ...back, flags: "FA", seq: 501, ack: 12 }),
    buildTcp({ ...there, flags: "A", seq: 12, ack: 502 }),
  );
  const [status, { open, tracked }] = await control.call<Backend>(target, "POST");
  assert.deepEqual([status, open, tracked], [200, 0, 1]);
});

Deno.test("what is changed about a backend is logged, once", async () => {
  const control = withPools();
  for (
    const target of [
      "/drain?name=web/192.168.0.1:8080",
      "/drain?name=web/192.168.0.1:8080",
      "/ready?name=web/192.168.0.1:8080",
      "/weight?name=web/192.168.0.2:8080&weight=7",
      "/add?name=web/192.168.0.9:81&weight=3",
      "/maintenance?name=web/192.168.0.9:81",
      "/remove?name=web/192.168.0.9:81",
      "/remove?name=web/192.168.0.9:81",
      "/weight?name=nobody&weight=7",
    ]
  ) await control.call(target, "POST");
  assert.deepEqual(control.log, [
    "control socket: backend 192.168.0.1:8080 of $web is draining, weight 1",
    "control socket: backend 192.168.0.1:8080 of $web is up, weight 1",
    "control socket: backend 192.168.0.2:8080 of $web is up, weight 7",
    "control socket: backend 192.168.0.9:81 of $web is added, unknown, weight 3",
    "control socket: backend 192.168.0.9:81 of $web is in maintenance, weight 3",
    "control socket: backend 192.168.0.9:81 of $web is removed",
  ]);
});

Deno.test("a message has one line, whatever a name has in it", async () => {
  const control = withPools();
  for (const name of ["a\nb", "a\nb/1.2.3.4", "web/1.2.3.4\u202e", "web/192.168.0.9:0"]) {
    for (const path of ["/drain", "/add"]) {
      const body = JSON.stringify({ name });
      const [, { error, details }] = await control.call<ErrorShape>(path, "POST", body);
      assert.match(error, /^(There is|Cannot use|The policy)[ -~]*$/);
      assert.equal(details, undefined);
    }
  }
  const body = JSON.stringify({ source: "1.2.3.4\n" });
  const [, { error }] = await control.call<ErrorShape>("/kill", "POST", body);
  assert.match(error, /^source: Cannot parse "1\.2\.3\.4\\u000a"/);
});

Deno.test("a backend is named without doubt, or not changed", async () => {
  const control = withPools();
  const calls: readonly [string, number, RegExp][] = [
    ["/drain?name=192.168.0.2:8080", 409, /"web\/192\.168\.0\.2:8080", "other\//],
    ["/drain?name=web/192.168.0.1:8081", 404, /did you mean "web\/192\.168\.0\.1:8080"/],
    ["/drain?name=other/192.168.0.2", 404, /did you mean "other\/192\.168\.0\.2:/],
    ["/drain?name=10.9.9.9", 404, /There is no backend/],
    ["/drain", 400, /name: required/],
    ["/weight?name=192.168.0.3&weight=257", 400, /0 to 256/],
    ["/weight?name=192.168.0.3", 400, /weight: required/],
  ];
  for (const [target, status, words] of calls) {
    const [found, { error }] = await control.call<ErrorShape>(target, "POST");
    assert.equal(found, status, target);
    assert.match(error, words);
  }
  const all = await control.get<Backend[]>("/backends");
  assert.ok(all.every(({ status, weight }) => status === "up" && weight < 3));
});

Deno.test("trace knows pools by name, too", async () => {
  const control = withPools();
  const target = `/trace?seconds=1s&predicate=${encodeURIComponent("not ip.src in $web and tcp")}`;
  const lines = await traced(control, target, () => control.open(1001));
  assert.equal(lines.length, 2);
});

Deno.test("add tells host and port: the last group of an IPv6 address is no port", async () => {
  const control = withPools(POOLS, { ipv6: true });
  const told = async (name: string) => {
    const target = `/add?name=${encodeURIComponent(name)}`;
    const [status, backend] = await control.call<BackendShape>(target, "POST");
    assert.equal(status, 200, JSON.stringify(backend));
    return TABLES.add(backend).split("\n")[0];
  };
  assert.equal(
    await told("web/2001:db8::3:80"),
    "added to $web: host 2001:db8::3:80, the port of each connection",
  );
  assert.equal(
    await told("web/[2001:db8::3]:80"),
    "added to $web: host 2001:db8::3, port 80",
  );
  assert.equal(
    await told("web/192.168.0.9:80"),
    "added to $web: host 192.168.0.9, port 80",
  );
});

Deno.test("add and remove change a pool, its name in predicates too, and survive a reload", async () => {
  const text = `default drop
pool $web = 192.168.0.1 port 8080, 192.168.0.2 port 8080
not ip.src in { $dst-addrs, $web } -> translate-a-to-b to $web, forward
otherwise                          -> translate-b-to-a, forward
`;
  const control = withPools(text);
  const added = await control.call<Backend>("/add?name=web/192.168.0.9:81&weight=3", "POST");
  assert.deepEqual(
    [added[0], added[1].name, added[1].status, added[1].weight],
    [200, "web/192.168.0.9:81", "unknown", 3],
  );
  control.open(...Array.from({ length: 30 }, (_, i) => 1000 + i));
  assert.equal((await backend(control, "web/192.168.0.9:81"))!.tracked, 0, "not before it answers");
  control.world.advance(1000);
  control.world.answer("192.168.0.9");
  control.open(...Array.from({ length: 30 }, (_, i) => 2000 + i));
  assert.ok((await backend(control, "web/192.168.0.9:81"))!.tracked > 5);
  control.world.send(buildTcp({ ...from("192.168.0.9"), srcPort: 81, dstPort: 9, flags: "S" }));
  assert.equal(control.world.drops()["no-mapping"], 1, "it is on side B");

  const { appliance } = control.world;
  const policy = parse(text, { file: "" }).policy!;
  const dstAddrs = { "dst-addrs": appliance.pools["dst-addrs"]! };
  const reload = () => {
    const pools = control.overlay.apply({ ...policy.pools, ...dstAddrs });
    finish(appliance.prepare({ policy, pools }))();
  };
  reload();
  assert.equal((await backend(control, "web/192.168.0.9:81"))!.status, "up");

  const refusals: readonly [string, number, RegExp][] = [
    ["/add?name=web/192.168.0.9:81", 409, /already/],
    ["/add?name=none/192.168.0.9", 409, /no pool "\$none"/],
    ["/add?name=dst-addrs/192.168.0.9:81", 409, /no port of their own/],
    ["/add?name=192.168.0.9", 400, /POOL\/ADDR\[:PORT\]/],
    ["/add?name=web/192.168.0.100", 400, /not the proxy/],
    ["/remove?name=web/192.168.0.1:8080", 409, /status is up: expected maintenance/],
    ["/remove?name=192.168.0.3", 409, /status is up: expected maintenance/],
  ];
  for (const [target, status, words] of refusals) {
    const [found, { error }] = await control.call<ErrorShape>(target, "POST");
    assert.equal(found, status, `${target}: ${error}`);
    assert.match(error, words);
  }
  for (const name of ["192.168.0.1:8080", "192.168.0.9:81"]) {
    await control.call(`/maintenance?name=web/${name}`, "POST");
    assert.deepEqual((await control.call(`/remove?name=web/${name}`, "POST"))[0], 200);
  }
  await control.call("/maintenance?name=web/192.168.0.2:8080", "POST");
  const last = await control.call<ErrorShape>("/remove?name=web/192.168.0.2:8080", "POST");
  assert.match(last[1].error, /last one of its pool/);
  reload();
  await control.call("/kill?all=true", "POST");
  const names = (await control.get<Backend[]>("/backends")).map(({ name }) => name);
  assert.deepEqual(names.filter((name) => name.startsWith("web/")), ["web/192.168.0.2:8080"]);
});

Deno.test("POST /upgrade ends the run, or says why it goes on; it takes no path", async () => {
  const controlled = new Controlled();
  assert.deepEqual(await controlled.call("/upgrade", "POST"), [200, { upgrading: true }]);
  controlled.upgradeRefusal = "The proxy goes on: there is no supervisor";
  assert.deepEqual(await controlled.call("/upgrade", "POST"), [
    409,
    { error: "The proxy goes on: there is no supervisor" },
  ]);
  const asked = controlled.asked.length;
  const [status] = await controlled.call("/upgrade?path=/bin/x", "POST");
  const [method] = await controlled.call("/upgrade");
  assert.deepEqual([status, method, controlled.asked.length], [400, 405, asked]);
});

const CAPTURE: CaptureShape = {
  file: "",
  filter: null,
  dropsOnly: false,
  packets: 0,
  lost: 0,
  bytes: 0,
  fault: null,
};

Deno.test("POST /capture/start and stop: options are read, and status shows it meanwhile", async () => {
  const control = new Controlled();
  const query = "name=web.pcapng&filter=tcp.dport+%3D+80&drops-only=true&snaplen=96&" +
    "max-size=10M&rotate=4&duration=60s";
  const begun = { ...CAPTURE, file: "web.pcapng", filter: "tcp.dport = 80" };
  assert.deepEqual(await control.call(`/capture/start?${query}`, "POST"), [200, begun]);
  assert.deepEqual(control.captured, [{
    filter: "tcp.dport = 80",
    dropsOnly: true,
    snapBytes: 96,
    maxBytes: 10 << 20,
    files: 4,
    durationMs: 60_000,
  }]);
  const status = await control.get<StatusShape>("/status");
  assert.deepEqual(status.capture, begun);
  assert.match(
    TABLES.status(status),
    /^Capture +: "web.pcapng" of tcp.dport = 80: 0 packets, 0 lost, 0 bytes$/m,
  );
  assert.deepEqual(await control.call("/capture/stop", "POST"), [200, begun]);
  assert.equal((await control.get<StatusShape>("/status")).capture, null);
  assert.equal((await control.call("/capture/stop", "POST"))[0], 409);
});

Deno.test("POST /capture/start says what is wrong with an option", async () => {
  const control = new Controlled();
  for (
    const [query, words] of [
      ["", /^name: required$/],
      ["name=x&snaplen=1", /^snaplen: .*expected an integer 14 to 262144$/],
      ["name=x&max-size=9", /^max-size: .*expected 128K to 1024G, as in 10M$/],
      ["name=x&max-size=1T", /^max-size: /],
      ["name=x&rotate=4", /^rotate: expected max-size, too/],
      ["name=x&duration=soon", /^duration: /],
      ["name=x&duration=0s", /^duration: Cannot use "0s" as duration: expected more than 0$/],
      ["name=x&drops-only=maybe", /^drops-only: /],
      ["name=x&limit=3", /^Unknown parameter "limit"/],
    ] as const
  ) {
    const [status, { error }] = await control.call<ErrorShape>(`/capture/start?${query}`, "POST");
    assert.deepEqual([status, control.captured.length], [400, 0], query);
    assert.match(error, words);
  }
});
