/**
 * Checks in the whole appliance: what backends see of them, what becomes of clients, and what is
 * said.
 */
import assert from "node:assert/strict";
import { finish } from "../../src/core/slices.ts";
import { changeMember } from "../../src/control/members.ts";
import { TABLES } from "../../src/control/tables.ts";
import { backendOf } from "../../src/control/views.ts";
import { parse } from "../../src/policy/notation/parse.ts";
import { parseHealth } from "../../src/policy/notation/parse_health.ts";
import { buildTcp, buildUdp, readArp, readIp, readTcp, type Tcp } from "../support/frames.ts";
import {
  BACKENDS,
  BACKENDS6,
  CLIENT,
  from,
  fromB,
  isArp,
  PROXY,
  World,
  type WorldOptions,
} from "../support/world.ts";

type Behaviour = "answers" | "refuses" | "is silent";

/** The usual world with checks, and backends that behave as told to everyone. */
class Checked {
  readonly world: World;
  readonly behaviour: Record<string, Behaviour> = {};
  /** Frames to backends and to the client. */
  readonly sent: Tcp[] = [];
  #port = 10_000;

  constructor(check = "tcp 2000", options: WorldOptions = {}) {
    this.world = new World({ ...options, check });
    for (const backend of this.world.backends) this.behaviour[backend] = "answers";
    this.#deliver(this.world.poll());
    for (const host of [...this.world.backends, CLIENT]) this.world.answer(host);
    this.world.log.length = 0;
  }

  /** Lets time pass; backends answer SYNs at once. */
  advance(ms: number): void {
    for (let left = ms; left > 0; left -= 100) this.#deliver(this.world.advance(100));
  }

  /** A client's SYN; what the client gets. */
  connect(srcPort = this.#port++): Tcp | undefined {
    this.sent.length = 0;
    this.#deliver(this.world.send(buildTcp({ srcPort, flags: "S", seq: 1000 })));
    return this.sent.find(({ dst, dstPort }) => dst === CLIENT && dstPort === srcPort);
  }

  /** Which backends got the client's SYNs of so many connections. */
  spread(count: number): Set<string> {
    const found = new Set<string>();
    for (let i = 0; i < count; i++) {
      this.connect();
      for (const { dst, flags } of this.sent) if (flags === "S") found.add(dst);
    }
    return found;
  }

  #deliver(frames: readonly Uint8Array[]): void {
    for (const frame of frames) {
      if (isArp(frame)) {
        const { targetAddress } = readArp(frame);
        if (this.behaviour[targetAddress] !== undefined) this.world.answer(targetAddress);
        continue;
      }
      if (isOfIpv6(frame)) continue; // nobody answers
      const segment = readTcp(frame);
      this.sent.push(segment);
      const behaviour = this.behaviour[segment.dst];
      if (behaviour === undefined || behaviour === "is silent" || segment.flags !== "S") continue;
      this.#deliver(this.world.send(buildTcp({
        ...(segment.src === PROXY ? from(segment.dst) : fromB(segment.dst)),
        srcPort: segment.dstPort,
        dstPort: segment.srcPort,
        flags: behaviour === "answers" ? "SA" : "RA",
        seq: 9000,
        ack: segment.seq + 1,
      })));
    }
  }

  statuses(): string[] {
    return this.world.appliance.snapshot().pools[0]!.members.map(({ status }) => status);
  }
}

function isOfIpv6(frame: Uint8Array): boolean {
  return frame[12] === 0x86 && frame[13] === 0xdd;
}

const [FIRST] = BACKENDS;

for (const twoSided of [false, true]) {
  Deno.test(`checks: a service that dies is down after ${"`fall`"}, others are not${twoSided ? ", two-sided" : ""}`, () => {
    const checked = new Checked("tcp 2000", { twoSided });
    const [first] = checked.world.backends;
    checked.advance(3000);
    assert.deepEqual(checked.statuses(), ["up", "up", "up"]);
    checked.behaviour[first!] = "refuses";
    checked.advance(7000);
    assert.deepEqual(checked.statuses(), ["down", "up", "up"]);
    assert.deepEqual(checked.spread(30), new Set(checked.world.backends.slice(1)));
    checked.behaviour[first!] = "answers";
    checked.advance(5000);
    assert.deepEqual(checked.statuses(), ["up", "up", "up"]);
    assert.equal(checked.spread(60).size, 3);
  });
}

Deno.test("checks: one line a change says who, what, why, how long, and who is left", () => {
  const checked = new Checked();
  checked.advance(3000);
  checked.behaviour[FIRST!] = "refuses";
  checked.advance(7000);
  checked.behaviour[FIRST!] = "answers";
  checked.advance(5000);
  const lines = checked.world.log.filter((line) => line.includes(`${FIRST} is`));
  assert.deepEqual(lines, [
    `info: backend ${FIRST} is up: tcp 2000: it answers (1 check, the last 0.0 ms); 3 of 3 left`,
    `warning: backend ${FIRST} is down: tcp 2000: the connection was refused ` +
    "(3 checks, the last 0.0 ms); 2 of 3 left",
    `info: backend ${FIRST} is up: tcp 2000: it answers (2 checks, the last 0.0 ms); 3 of 3 left`,
  ]);
});

Deno.test("checks: in a pool of both families those of the backend's family are left", () => {
  const backends = [...BACKENDS.slice(0, 2), ...BACKENDS6.slice(0, 2)];
  const { log } = World.settled({ ipv6: true, backends, check: "tcp 2000" });
  const left = log.filter((line) => line.includes(" is down: "))
    .map((line) => line.replace(/.*; /, ""));
  assert.deepEqual(left.filter((words) => words.endsWith("IPv4")), [
    "1 of 2 left for IPv4",
    "0 of 2 left for IPv4",
  ]);
  assert.deepEqual(left.filter((words) => words.endsWith("IPv6")), [
    "1 of 2 left for IPv6",
    "0 of 2 left for IPv6",
  ]);
  assert.equal(left.length, 4);

  // All are of use where families are translated.
  const across = World.settled({
    ipv6: true,
    backends,
    check: "tcp 2000",
    translateFamilies: true,
  });
  assert.deepEqual(
    across.log.filter((line) => line.includes(" is down: ")).map((line) =>
      line.replace(/.*; /, "")
    ),
    ["3 of 4 left", "2 of 4 left", "1 of 4 left", "0 of 4 left"],
  );
});

Deno.test("checks: their frames never come to the tree, nor to the console; the summary counts them apart", async () => {
  const checked = new Checked("tcp 2000", { trace: "all" });
  checked.advance(10_000);
  const { pdusIn, checks } = checked.world.appliance.snapshot();
  assert.deepEqual([pdusIn.count, checked.world.drops()], [0, {}]);
  assert.ok(checks!.framesIn >= 12 && checks!.framesOut === 2 * checks!.framesIn);
  assert.equal(await checked.world.printed(), "");
  assert.match(checked.world.summary(), /^Checks {6}: \d+ frames out, \d+ frames in$/m);
});

Deno.test("checks: what has not been checked yet is used", () => {
  const checked = new Checked("tcp 2000, interval 60s");
  assert.equal(checked.spread(60).size, 3);
});

Deno.test("checks: ARP alone makes nobody up, and its loss nobody down before checks do", () => {
  const checked = new Checked();
  for (const backend of BACKENDS) checked.behaviour[backend] = "refuses";
  checked.advance(3000);
  checked.world.answer(FIRST!, "02:00:00:00:00:77"); // a new MAC address: ARP has found it
  assert.deepEqual(checked.statuses(), ["down", "down", "down"]);
});

Deno.test("checks: with all down, a SYN is refused at once; with `all-down any` it goes to anyone", () => {
  for (const [check, flags] of [["tcp 2000", "RA"], ["tcp 2000, all-down any", undefined]]) {
    const checked = new Checked(check);
    for (const backend of BACKENDS) checked.behaviour[backend] = "is silent";
    checked.advance(12_000);
    assert.deepEqual(checked.statuses(), ["down", "down", "down"]);
    assert.equal(checked.connect()?.flags, flags);
    assert.deepEqual(checked.world.drops()["all-down"], flags === undefined ? undefined : 1);
  }
});

Deno.test("checks: with `all-down any` a client's datagrams stay with one backend, though all are down", () => {
  const { policy } = parse(
    `default drop
udp and not ip.src in $dst-addrs -> translate-a-to-b, forward
otherwise -> translate-b-to-a, forward
`,
    { file: "x" },
  );
  for (const [allDown, most] of [["any", 1], ["reject", 0]] as const) {
    const checked = new Checked(`tcp 9999, all-down ${allDown}`, { policy: policy! });
    for (const backend of BACKENDS) checked.behaviour[backend] = "refuses";
    checked.advance(5000);
    const reached = new Set<string>();
    for (let i = 0; i < 20; i++) {
      const sent = checked.world.send(buildUdp()).map((frame) => readIp(frame).ip);
      for (const { dst } of sent) if (dst !== CLIENT) reached.add(dst);
    }
    assert.equal(reached.size, most);
  }
});

Deno.test("checks: all silent within one interval may be our link, and is said so", () => {
  const checked = new Checked();
  checked.advance(3000);
  for (const backend of BACKENDS) checked.behaviour[backend] = "is silent";
  checked.advance(12_000);
  const lines = checked.world.log.filter((line) => line.includes("link"));
  assert.deepEqual(lines, [
    "warning: all 3 backends that were up have fallen silent together: " +
    "that may be the proxy's own link, connections stay as they are",
  ]);
});

Deno.test("checks: all of IPv6 silent may be our way there, though backends of IPv4 answer", () => {
  const checked = new Checked("tcp 2000", {
    ipv6: true,
    backends: [...BACKENDS.slice(0, 2), ...BACKENDS6.slice(0, 2)],
  });
  checked.advance(15_000);
  assert.deepEqual(checked.statuses(), ["up", "up", "down", "down"]);
  const lines = checked.world.log.filter((line) => line.includes("silent"));
  assert.deepEqual(lines, [
    "warning: all 2 backends of IPv6 that were up have fallen silent together: " +
    "that may be the proxy's own way there over IPv6, connections stay as they are",
  ]);
});

Deno.test("checks: a link that is down says nothing about backends", () => {
  const checked = new Checked();
  checked.advance(3000);
  checked.world.appliance.linkDown(0);
  checked.advance(20_000);
  assert.deepEqual(checked.statuses(), ["up", "up", "up"]);
  checked.world.appliance.linkUp(0);
  checked.sent.length = 0;
  checked.advance(1900);
  assert.deepEqual(checked.sent, [], "nor in the first interval after");
  checked.advance(5000);
  assert.ok(checked.sent.length > 0);
});

Deno.test("checks: five refused clients in a row hasten the check, and clients alone mark nobody down", () => {
  const checked = new Checked("tcp 9999, interval 60s", { backends: [FIRST!] });
  checked.advance(60_000);
  assert.equal(checked.connect()?.flags, "SA"); // port 2000 has answered
  checked.behaviour[FIRST!] = "refuses";
  const probes = () => checked.sent.filter(({ dstPort }) => dstPort === 9999).length;
  for (let i = 0; i < 4; i++) checked.connect();
  checked.sent.length = 0;
  checked.advance(1000);
  assert.equal(probes(), 0);
  checked.connect();
  checked.behaviour[FIRST!] = "answers"; // the check itself finds nothing wrong
  checked.advance(1000);
  assert.equal(probes(), 2, "a SYN and its RST");
  assert.deepEqual(checked.statuses(), ["up"]);
});

Deno.test("checks: refusals that clients never hear of hasten the check, too", () => {
  const checked = new Checked("tcp 9999, interval 60s");
  checked.advance(60_000);
  const opened = () => checked.connect()?.flags === "SA";
  for (let i = 0; i < 50; i++) assert.ok(opened()); // port 2000 of each has answered
  checked.behaviour[FIRST!] = "refuses";
  checked.sent.length = 0;
  for (let i = 0; i < 50; i++) assert.ok(opened(), "somebody else answers");
  checked.advance(1000);
  assert.ok(checked.sent.some(({ dst, dstPort }) => dst === FIRST && dstPort === 9999));
});

Deno.test("checks: a port that has never answered hastens nothing, whoever asks for it", () => {
  const checked = new Checked("tcp 9999, interval 60s", { backends: [FIRST!] });
  checked.advance(60_000);
  checked.behaviour[FIRST!] = "refuses";
  for (let i = 0; i < 50; i++) checked.connect();
  checked.sent.length = 0;
  checked.advance(1000);
  assert.deepEqual(checked.sent, []);
});

Deno.test("checks: with slow-start, who comes back takes its share little by little", () => {
  const checked = new Checked("tcp 9999, slow-start 20s, on-down keep", { maxConn: 20_000 });
  checked.advance(3000);
  /** How many of 300 new connections the first backend gets; a fair share is 100. */
  const share = () => {
    let count = 0;
    for (let i = 0; i < 300; i++) {
      checked.connect();
      if (checked.sent.some(({ dst, flags }) => dst === FIRST && flags === "S")) count++;
    }
    return count;
  };
  assert.ok(share() > 70, "at the program's start it has its whole share");
  checked.behaviour[FIRST!] = "refuses";
  checked.advance(6000);
  assert.equal(share(), 0);
  checked.behaviour[FIRST!] = "answers";
  while (checked.statuses()[0] !== "up") checked.advance(100);
  assert.ok(share() < 25);
  checked.advance(10_000);
  const half = share();
  assert.ok(half > 30 && half < 90, `${half}`);
  checked.advance(11_000);
  assert.ok(share() > 70);
});

Deno.test("checks: a `backup` gets connections only while all others are down", () => {
  const { policy, errors } = parse(
    `default drop
pool $web = 192.168.0.1, 192.168.0.2, 192.168.0.3 backup check tcp 9999
not ip.src in $web -> translate-a-to-b to $web, forward
otherwise -> translate-b-to-a, forward
`,
    { file: "x" },
  );
  assert.deepEqual(errors, []);
  const checked = new Checked("neighbor", { policy: policy! });
  checked.advance(3000);
  const [first, second, backup] = BACKENDS;
  assert.deepEqual(checked.spread(40), new Set([first, second]));
  checked.behaviour[first!] = checked.behaviour[second!] = "refuses";
  checked.advance(7000);
  assert.deepEqual(checked.spread(20), new Set([backup]));
  checked.behaviour[backup!] = "refuses";
  checked.advance(7000);
  assert.equal(checked.connect()?.flags, "RA");
  assert.equal(checked.world.drops()["all-down"], 1);
  const [line] = checked.world.log.filter((line) => line.includes("192.168.0.3 of $web is down"));
  assert.match(line!, /0 of 3 left/);
});

Deno.test("checks: a member that a reload brings is used once it has answered, the others go on as they were", () => {
  const policyOf = (members: string, check = "check tcp 9999, interval 4s") =>
    parse(
      `default drop
pool $web = ${members} ${check}
not ip.src in $dst-addrs -> translate-a-to-b to $web, forward
otherwise -> translate-b-to-a, forward
`,
      { file: "x" },
    ).policy!;
  const [first, second, third] = BACKENDS;
  const checked = new Checked("neighbor", { policy: policyOf(`${first}, ${second}`) });
  const statuses = () =>
    checked.world.appliance.snapshot().pools[1]!.members.map(({ status }) => status);
  checked.behaviour[second!] = "refuses";
  checked.advance(5000);
  assert.deepEqual(statuses(), ["up", "down"]);
  finish(checked.world.appliance.prepare({ policy: policyOf(`${first}, ${second}, ${third}`) }))();
  assert.deepEqual(statuses(), ["up", "down", "down"]);
  assert.deepEqual(checked.spread(20), new Set([first]));
  checked.advance(4100);
  assert.deepEqual(statuses(), ["up", "down", "up"]);
  assert.deepEqual(checked.spread(40), new Set([first, third]));

  // Without a member, and with another check: nobody falls who was up.
  finish(
    checked.world.appliance.prepare({
      policy: policyOf(`${second}, ${third}`, "check tcp 9998, fall 2"),
    }),
  )();
  assert.deepEqual(statuses().slice(0, 2), ["down", "up"]);
  checked.sent.length = 0;
  checked.advance(5000);
  const probed = checked.sent.filter(({ dstPort }) => dstPort >= 9998);
  assert.deepEqual(
    new Set(probed.map(({ dst, dstPort }) => `${dst} ${dstPort}`)),
    new Set([
      `${second} 9998`,
      `${third} 9998`,
    ]),
  );
  finish(
    checked.world.appliance.prepare({ policy: policyOf(`${second}, ${third}`, "check off") }),
  )();
  assert.deepEqual(statuses().slice(0, 2), ["up", "up"]);
  checked.sent.length = 0;
  checked.advance(5000);
  assert.deepEqual(checked.sent, []);
});

Deno.test("checks: without them, in `explain` and `replay`, ARP tells", () => {
  const { pools } = World.settled().appliance.snapshot();
  assert.deepEqual(pools[0]!.members.map(({ status }) => status), ["up", "up", "up"]);
  assert.equal(parseHealth("neighbor").check.kind, "neighbor");
});

/**
 * Opens a client's connection to any backend; what backend, and both sides' RSTs are given by
 * `resets`.
 */
function open(checked: Checked, srcPort: number): string {
  const answer = checked.connect(srcPort);
  assert.equal(answer?.flags, "SA");
  const { dst } = checked.sent.find(({ flags }) => flags === "S")!;
  checked.world.send(buildTcp({ srcPort, flags: "A", seq: 1001, ack: answer!.seq + 1 }));
  checked.sent.length = 0;
  return dst;
}

/** The RSTs to the client, and to backends that are no end of a check. */
function resets(checked: Checked): string[] {
  return checked.sent.filter(({ flags, dstPort }) => flags.includes("R") && dstPort !== 9999)
    .map(({ dst, dstPort, seq }) => `${dst} ${dst === CLIENT ? dstPort : "port"} ${seq}`).sort();
}

Deno.test("checks: who goes down loses its connections, both ends, with numbers that they take", () => {
  const checked = new Checked("tcp 9999");
  checked.advance(3000);
  const backends = [5001, 5002, 5003, 5004, 5005, 5006].map((port) => open(checked, port));
  const lost = backends[0]!;
  checked.behaviour[lost] = "refuses";
  checked.advance(7000);
  const ports = [5001, 5002, 5003, 5004, 5005, 5006].filter((_, i) => backends[i] === lost);
  assert.deepEqual(
    resets(checked),
    [...ports.map((port) => `${CLIENT} ${port} 9001`), ...ports.map(() => `${lost} port 1001`)]
      .sort(),
  );
  const [line] = checked.world.log.filter((line) => line.includes(`${lost} is down`));
  assert.ok(line!.endsWith(`2 of 3 left, connections: ${ports.length} reset`), line);
  checked.sent.length = 0;
  checked.behaviour[lost] = "answers";
  checked.advance(10_000);
  assert.deepEqual(resets(checked), [], "once");
});

Deno.test("checks: a client whose SYN nobody has answered is not reset: its next SYN goes to another backend", () => {
  const checked = new Checked("tcp 9999", { backends: BACKENDS.slice(0, 2) });
  checked.advance(3000);
  checked.behaviour[FIRST!] = "is silent";
  const ports = [6001, 6002, 6003, 6004, 6005, 6006].filter((port) => !checked.connect(port));
  assert.ok(ports.length > 0);
  checked.advance(7000);
  assert.deepEqual(checked.statuses(), ["down", "up"]);
  assert.deepEqual(resets(checked), []);
  for (const port of ports) assert.equal(checked.connect(port)?.flags, "SA");
});

Deno.test("checks: with `on-down keep` connections of who goes down stay", () => {
  const checked = new Checked("tcp 9999, on-down keep");
  checked.advance(3000);
  const lost = open(checked, 5001);
  checked.behaviour[lost] = "refuses";
  checked.advance(7000);
  assert.deepEqual(resets(checked), []);
  assert.ok(checked.world.log.some((line) => line.endsWith("2 of 3 left, connections: 1 kept")));
});

Deno.test("checks: of backends that fall silent together no connection is reset", () => {
  const checked = new Checked("tcp 9999");
  checked.advance(3000);
  open(checked, 5001);
  for (const backend of BACKENDS) checked.behaviour[backend] = "is silent";
  checked.advance(20_000);
  assert.deepEqual(checked.statuses(), ["down", "down", "down"]);
  assert.deepEqual(resets(checked), []);
});

Deno.test("checks: thousands of connections are reset some at a time, each once", () => {
  const checked = new Checked("tcp 9999", { backends: [FIRST!], maxConn: 5000 });
  checked.advance(3000);
  for (let port = 10_001; port <= 13_000; port++) open(checked, port);
  checked.behaviour[FIRST!] = "refuses";
  let [most, before] = [0, 0];
  for (let ms = 0; ms < 10_000; ms += 100) {
    checked.advance(100);
    const now = resets(checked).length;
    most = Math.max(most, now - before);
    before = now;
  }
  const clients = checked.sent.filter(({ dst, flags }) => dst === CLIENT && flags.includes("R"));
  assert.equal(new Set(clients.map(({ dstPort }) => dstPort)).size, 3000);
  assert.equal(clients.length, 3000);
  assert.ok(most <= 2000, `${most} RSTs between two bursts`);
});

Deno.test("checks: `neighbor` with `on-down reset` does so when ARP has given a backend up", () => {
  const checked = new Checked("neighbor, on-down reset");
  checked.advance(3000);
  const lost = open(checked, 5001);
  delete checked.behaviour[lost];
  checked.advance(60_000);
  assert.deepEqual(resets(checked).filter((line) => line.startsWith(CLIENT)), [
    `${CLIENT} 5001 9001`,
  ]);
});

/** Puts the first backend out of service, changes how it behaves, and puts it back into service. */
function serviced(check: string, before: Behaviour, meanwhile: Behaviour, waitMs = 20_000): string {
  const checked = new Checked(check);
  const { appliance } = checked.world;
  const member = appliance.backends.pools[0]!.members[0]!;
  checked.behaviour[FIRST!] = before;
  checked.advance(20_000);
  changeMember(appliance, member, { to: "maintenance" });
  checked.behaviour[FIRST!] = meanwhile;
  checked.advance(waitMs);
  assert.equal(member.status, "maintenance");
  changeMember(appliance, member, { to: "ready" });
  return member.status;
}

Deno.test("checks: a backend that is in service again is what checks have found meanwhile", () => {
  assert.equal(serviced("tcp 2000", "answers", "answers"), "up");
  assert.equal(serviced("tcp 2000", "refuses", "refuses"), "down", "though ARP answers");
  assert.equal(serviced("tcp 2000", "answers", "refuses"), "down");
  assert.equal(serviced("tcp 2000", "refuses", "answers"), "up");
  assert.equal(serviced("neighbor", "answers", "answers"), "up");
  assert.equal(serviced("off", "refuses", "refuses"), "up");
});

Deno.test("checks: why the last one failed is told of each backend", () => {
  const checked = new Checked();
  checked.behaviour[FIRST!] = "refuses";
  checked.advance(20_000);
  const { appliance } = checked.world;
  const [first, second] = appliance.counters().pools[0]!.members;
  assert.deepEqual([first!.failure, second!.failure], ["the connection was refused", null]);
  const member = appliance.backends.pools[0]!.members[0]!;
  const shown = backendOf("dst-addrs", appliance.snapshotOf(member));
  assert.match(TABLES.backends([shown]), /FAILURE\n.* the connection was refused\n$/);
});
