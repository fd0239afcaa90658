import assert from "node:assert/strict";
import type { Config } from "../../src/datapath/config.ts";
import { explainCommand } from "../../src/cli/explain_command.ts";
import { Explainer, formatExplanation } from "../../src/offline/explain.ts";
import {
  frameOf,
  hasIcmpId,
  minTotalLength,
  type Packet,
} from "../../src/device/capture/packet.ts";
import { describeFrame, formatPacket, parsePacket } from "../../src/offline/packet_text.ts";
import { below, SeededRandom } from "../../src/core/random.ts";
import type { Policy } from "../../src/policy/language/ast.ts";
import * as build from "../../src/policy/language/build.ts";
import {
  customPredicate,
  customSelector,
  decide,
  drop,
  firstMatch,
  limit,
  policy,
} from "../../src/policy/language/build.ts";
import { demo, demoTwoSided } from "../../src/policy/language/built_in.ts";
import { parse } from "../../src/policy/notation/parse.ts";
import { parseAddress, parseMac } from "../../src/wire/address.ts";
import { formatHostAddress } from "../../src/wire/host_address.ts";
import { gatewayOf, LINK_B, linkConfig, testConfig } from "../support/config.ts";
import { ADDRESSES, LENGTHS, PORTS, randomPolicy, TTLS } from "../support/random_policy.ts";
import { BACKENDS, CLIENT, macOf, packetsOf, PROXY, World } from "../support/world.ts";

const CONFIG: Config = testConfig();

function policyOf(text: string): Policy {
  const parsed = parse(text, { file: "test" });
  assert.ok(parsed.policy !== null, JSON.stringify(parsed.errors));
  return parsed.policy;
}

/** The explanations of the packets, one after the other. */
function explained(policy: Policy, texts: readonly string[], config: Config = CONFIG): string[] {
  const packets = texts.map(parsePacket);
  const explainer = new Explainer(policy, config, packets.map(({ src }) => src));
  return packets.map((packet) => formatExplanation(packet, explainer.explain(packet)));
}

Deno.test("explain shows path, decision and both forms of the packets of a handshake", () => {
  const shown = explained(demo, [
    "tcp 192.168.0.254:40000 > 192.168.0.100:2000 syn",
    "tcp 192.168.0.3:2000 > 192.168.0.100:40000 syn ack",
    "tcp 192.168.0.2:2000 > 192.168.0.100:40000 syn ack ttl 9 length 60",
  ], { ...CONFIG, dstAddrs: [parseAddress("192.168.0.3")] });
  assert.equal(
    shown[0],
    `tcp 192.168.0.254:40000 > 192.168.0.100:2000 syn ttl 64
new, from side a

not ip.src in $dst-addrs  true
  icmp                    false
  tcp                     true
    tcp.dport = 80        false
    otherwise             true
      translate-a-to-b    taken
      forward             Forward

Decision : Forward
sent     : tcp 192.168.0.100:40000 > 192.168.0.3:2000 syn ttl 63 (backend 192.168.0.3)
kernel   : may carry the connection once it is established
`,
  );
  assert.equal(
    shown[1],
    `tcp 192.168.0.3:2000 > 192.168.0.100:40000 syn ack ttl 64
established, from side b

not ip.src in $dst-addrs  false
otherwise                 true
  translate-b-to-a        taken
  forward                 Forward

Decision : Forward
sent     : tcp 192.168.0.100:2000 > 192.168.0.254:40000 syn ack ttl 63 (backend 192.168.0.3)
`,
  );
  assert.equal(
    shown[2],
    `tcp 192.168.0.2:2000 > 192.168.0.100:40000 syn ack ttl 9 length 60
invalid, stray, from side a

not ip.src in $dst-addrs  true
  icmp                    false
  tcp                     true
    tcp.dport = 80        false
    otherwise             true
      translate-a-to-b    refused: stray

Decision : Drop (stray)
because  : a TCP segment that belongs to no connection and opens none
sent     : tcp 192.168.0.100:40000 > 192.168.0.2:2000 rst ttl 64
`,
  );
});

Deno.test("explain shows what balancers choose: pings in turn, the default where no arm holds", () => {
  const ping = "icmp 192.168.0.254 > 192.168.0.100 id 5";
  const [first, second, other] = explained(demo, [
    ping,
    ping,
    `${ping.replace(" id 5", "")} redirect`,
  ]);
  assert.match(first!, /\n {6}in turn +branch 1 of 2\n {8}drop +Drop\n\nDecision : Drop\n$/);
  assert.match(
    second!,
    /\n {6}in turn +branch 2 of 2\n {8}track +taken\n {8}echo +Echo_reply\n\nDecision : Echo_reply\nsent {5}: icmp 192\.168\.0\.100 > 192\.168\.0\.254 echo-reply ttl 64 id 5\n$/,
  );
  assert.match(other!, /\n {4}echo-request +false\n {4}default drop +Drop\n\nDecision : Drop\n$/);
});

Deno.test("explain tells of several pools which it was, who could be chosen, and who was", () => {
  const shown = explained(
    policyOf(`default drop
pool $web = 192.168.0.4 maxconn 1, 192.168.0.5 port 81, 192.168.0.6 state drain
not ip.src in {$web, $dst-addrs}
  tcp.dport = 443 -> translate-a-to-b to $web port 8443 in turn, forward
  otherwise -> translate-a-to-b, forward
otherwise -> translate-b-to-a, forward
`),
    [1, 2, 3].map((port) => `tcp 192.168.0.254:${port} > 192.168.0.100:443`)
      .concat("tcp 192.168.0.254:9 > 192.168.0.100:9"),
    { ...CONFIG, dstAddrs: [parseAddress("192.168.0.1")] },
  );
  assert.match(shown[0]!, /^ *translate-a-to-b to \$web port 8443 in turn +taken$/m);
  assert.deepEqual(shown.map((text) => /^pool {5}: (.*)$/m.exec(text)![1]), [
    "$web, 192.168.0.4 out of 192.168.0.4, 192.168.0.5:81",
    "$web, 192.168.0.5:81 out of 192.168.0.5:81",
    "$web, 192.168.0.5:81 out of 192.168.0.5:81",
    "$dst-addrs, 192.168.0.1 out of 192.168.0.1",
  ]);
  assert.match(shown[0]!, /> 192.168.0.4:8443 syn ttl 63 \(backend 192.168.0.4\)$/m);
});

const CAN = "may carry the connection once it is established";
const CLIENT_PACKETS = "leaves the connection to the proxy, for packets from the client: ";
const BACKEND_PACKETS = "leaves the connection to the proxy, for packets from the backend: ";
const TO_B = "translate-a-to-b, forward";

/** What side A's packets meet, then side B's. */
const KERNEL: [fromA: string, fromB: string, kernel: string][] = [
  [`  -> ${TO_B}`, "translate-b-to-a, forward", CAN],
  [`  -> track, ${TO_B}`, "track, translate-b-to-a, forward", CAN],
  [`  tcp.dport = 443 -> drop\n  otherwise -> ${TO_B}`, "translate-b-to-a, forward", CAN],
  [`  -> by hash: ${TO_B} | track, ${TO_B}`, "translate-b-to-a, forward", CAN],
  [`  -> in turn per connection: ${TO_B} | ${TO_B}`, "translate-b-to-a, forward", CAN],
  [
    `  ip.length in 1401-65535 -> drop\n  otherwise -> ${TO_B}`,
    "translate-b-to-a, forward",
    `${CLIENT_PACKETS}ip.length in 1401-65535 asks for the length of each`,
  ],
  [
    `  tcp.dport = 9 and not (udp or ip.ttl = 5) -> ${TO_B}`,
    "translate-b-to-a, forward",
    `${CLIENT_PACKETS}ip.ttl = 5 asks for the TTL of each`,
  ],
  [
    `  tcp.flags psh -> drop\n  otherwise -> ${TO_B}`,
    "translate-b-to-a, forward",
    `${CLIENT_PACKETS}tcp.flags psh asks for the flags of each`,
  ],
  [
    `  -> limit 9/second burst 9, ${TO_B}`,
    "translate-b-to-a, forward",
    `${CLIENT_PACKETS}limit 9/second burst 9 counts each`,
  ],
  [
    `  -> in turn: ${TO_B} | ${TO_B}`,
    "translate-b-to-a, forward",
    `${CLIENT_PACKETS}in turn chooses for each`,
  ],
  [
    `  -> ${TO_B}`,
    "set-ttl 64, translate-b-to-a, forward",
    CAN,
  ],
  [
    `  -> ${TO_B}`,
    "in turn per connection: translate-b-to-a, forward | drop",
    `${BACKEND_PACKETS}in turn per connection has not chosen for the connection yet`,
  ],
  [
    `  new -> ${TO_B}\n  otherwise -> reject "late"`,
    "translate-b-to-a, forward",
    `${CLIENT_PACKETS}they end at reject "late"`,
  ],
  [`  new -> ${TO_B}`, "translate-b-to-a, forward", `${CLIENT_PACKETS}they end at default drop`],
  [
    `  new -> ${TO_B}\n  otherwise -> forward`,
    "translate-b-to-a, forward",
    `${CLIENT_PACKETS}no translator comes before forward`,
  ],
  [
    `  -> ${TO_B}`,
    TO_B,
    `${BACKEND_PACKETS}translate-a-to-b refuses them (invalid)`,
  ],
];

for (const [fromA, fromB, kernel] of KERNEL) {
  Deno.test(`explain: of a new connection the kernel ${kernel}`, () => {
    for (
      const [isA, backend, links] of [
        ["not ip.src in $dst-addrs", "192.168.0.1", CONFIG.links],
        ["from side a", "10.0.0.1", [linkConfig(), LINK_B]],
      ] as const
    ) {
      const packet = "tcp 192.168.0.254:7 > 192.168.0.100:9";
      const [syn, again] = explained(
        policyOf(`default drop\n${isA}\n${fromA}\notherwise -> ${fromB}\n`),
        [packet, packet],
        { ...CONFIG, links, dstAddrs: [parseAddress(backend)] },
      );
      assert.equal(/^kernel {3}: (.*)$/m.exec(syn!)?.[1], kernel, syn);
      assert.doesNotMatch(again!, /^kernel/m); // it is no new connection
    }
  });
}

Deno.test("explain: a client on the backends' network is on side b, for the kernel, too", () => {
  const [syn] = explained(
    policyOf(
      "default drop\nfrom side b\n  ip.src in $dst-addrs -> translate-b-to-a, forward\n" +
        "  otherwise -> translate-a-to-b, forward\n",
    ),
    ["tcp 10.0.0.9:7 > 10.0.0.100:9"],
    { ...CONFIG, links: [linkConfig(), LINK_B], dstAddrs: [parseAddress("10.0.0.1")] },
  );
  assert.match(syn!, /^new, from side b$/m);
  assert.match(syn!, new RegExp(`^kernel {3}: ${CAN}$`, "m"));
});

Deno.test("explain tells of functions that keep a connection, and nothing of pings that are forwarded", () => {
  const odd = customPredicate("odd", () => false);
  const translated = build.translateAToB(build.forward);
  const kernelOf = (policy: Policy, packet: string) =>
    /^kernel {3}: (.*)$/m.exec(explained(policy, [packet])[0]!)?.[1];
  const tcp = "udp 192.168.0.254:7 > 192.168.0.100:9";
  const tree = firstMatch([[odd, drop], [build.otherwise, translated]]);
  assert.equal(
    kernelOf(policy("drop", tree), tcp),
    `${CLIENT_PACKETS}custom odd is asked about each`,
  );
  const pick = customSelector("pick", () => 0, [translated]);
  assert.equal(
    kernelOf(policy("drop", pick), tcp),
    `${CLIENT_PACKETS}custom pick is asked about each`,
  );
  const ping = "icmp 192.168.0.254 > 192.168.0.100";
  assert.match(explained(policy("drop", translated), [ping])[0]!, /^sent {5}: icmp/m);
  assert.equal(kernelOf(policy("drop", translated), ping), undefined);
});

Deno.test("explain asks the parts of a predicate only up to the one that settles it", () => {
  const text = policyOf(
    "default drop\ntcp and (udp or not ip.ttl = 1 or icmp) and not (new and tcp.dport = 80 and fragment)" +
      ' -> reject "no"\nudp or icmp -> drop\n',
  );
  const [syn, udp] = explained(text, [
    "tcp 192.168.0.254:40000 > 192.168.0.100:81 syn",
    "udp 192.168.0.254:40000 > 192.168.0.100:81",
  ]);
  const lines = (text: string) =>
    text.split("\n").map((line) => line.replace(/ {2,}(?=\S+$)/, " = "));
  assert.deepEqual(lines(syn!).slice(3), [
    "tcp and (udp or not ip.ttl = 1 or icmp) and not (new and tcp.dport = 80 and fragment) = true",
    "  · tcp = true",
    "  · udp or not ip.ttl = 1 or icmp = true",
    "    · udp = false",
    "    · not ip.ttl = 1 = true",
    "  · not (new and tcp.dport = 80 and fragment) = true",
    "    · new = true",
    "    · tcp.dport = 80 = false",
    '  reject "no" = Reject',
    "",
    'Decision : Reject "no"',
    "sent     : tcp 192.168.0.100:81 > 192.168.0.254:40000 rst ack ttl 64",
    "",
  ]);
  assert.deepEqual(lines(udp!).slice(4, 8), [
    "  · tcp = false",
    "udp or icmp = true",
    "  · udp = true",
    "  drop = Drop",
  ]);
});

Deno.test("explain tells limits, custom functions and their failures", () => {
  const fails = customPredicate("fails", () => {
    throw new Error("oh");
  });
  const tree = policy(
    "drop",
    firstMatch([
      [fails, drop],
      [
        customPredicate("big", ({ length }) => length > 40),
        limit({ perSecond: 1, burst: 1 }, decide("reject")),
      ],
      [
        customPredicate("all", () => true),
        customSelector("pick", ({ dstPort }) => dstPort - 1, [drop, drop]),
      ],
    ]),
  );
  const packet = (port: number, length: number) =>
    `udp 192.168.0.254:7 > 192.168.0.100:${port} length ${length}`;
  const shown = explained(tree, [packet(1, 41), packet(1, 41), packet(2, 40), packet(9, 40)])
    .map((text) =>
      text.split("\n").slice(3, -1).map((line) => line.trim().replace(/ {2,}/, " = "))
    );
  assert.deepEqual(shown[0]!.slice(0, 5), [
    "custom fails threw: Error: oh = error",
    "custom fails = false",
    "custom big = true",
    "limit 1/second burst 1 = within the limit",
    "reject = Reject",
  ]);
  assert.deepEqual(shown[1]!.slice(2), [
    "limit 1/second burst 1 = above the limit",
    "default drop = Drop",
    "",
    "Decision : Drop",
  ]);
  assert.deepEqual(shown[2]!.slice(3, 5), ["custom pick = branch 2 of 2", "drop = Drop"]);
  assert.deepEqual(shown[3]!.slice(3, 5), ["custom pick = no branch", "default drop = Drop"]);
});

const early: [packet: string, reason: string][] = [
  ["udp 192.168.0.254:1 > 192.168.0.101:2", "foreign-destination"],
  ["udp 192.168.0.100:1 > 192.168.0.100:2", "own-source"],
  ["udp 192.168.0.254:1 > 192.168.0.100:0", "port-zero"],
  ["tcp 192.168.0.254:1 > 192.168.0.100:2 none", "tcp-flags"],
  ["proto 47 224.0.0.1 > 192.168.0.100", "martian-source"],
];
for (const [packet, reason] of early) {
  Deno.test(`explain says that ${packet} does not come to the policy`, () => {
    const [text] = explained(demo, [packet]);
    assert.match(
      text!,
      new RegExp(`\n\nDropped before the policy was asked \\(${reason}\\)\nbecause`),
    );
  });
}

Deno.test("explain shows a drop after the decision, its reason, and the ICMP error", () => {
  const [expired, back, notEcho] = explained(
    policyOf(
      "default drop\ntcp -> translate-a-to-b, forward\nip.ttl = 2 -> forward\notherwise -> echo\n",
    ),
    [
      "tcp 192.168.0.254:40000 > 192.168.0.100:2000 ttl 1",
      "udp 192.168.0.254:40000 > 192.168.0.100:2000 ttl 2",
      "udp 192.168.0.254:40000 > 192.168.0.100:2000",
    ],
  );
  assert.match(
    expired!,
    /Drop \(ttl-expired\)\nbecause {2}: TTL or hop limit would reach 0\nsent {5}: icmp .* time-exceeded code ttl-exceeded-in-transit /,
  );
  assert.match(back!, /\n {2}forward +Forward\n\nDecision : Drop \(not-translated\)\n/);
  assert.match(notEcho!, /Decision : Drop \(not-echo-request\)\nbecause {2}: .*\n$/);
});

Deno.test("explain reaches clients and backends behind the gateway", () => {
  const [syn, reply] = explained(demo, [
    "tcp 1.2.3.4:40000 > 192.168.0.100:2000",
    "tcp 10.9.0.1:2000 > 192.168.0.100:40000 syn ack",
  ], {
    ...CONFIG,
    dstAddrs: [parseAddress("10.9.0.1")],
    links: [linkConfig({ routes: [gatewayOf("192.168.0.7")] })],
  });
  assert.match(
    syn!,
    /\nsent {5}: tcp 192\.168\.0\.100:40000 > 10\.9\.0\.1:2000 syn ttl 63 \(backend 10\.9\.0\.1\)\nkernel/,
  );
  assert.match(
    reply!,
    /\nsent {5}: tcp 192\.168\.0\.100:2000 > 1\.2\.3\.4:40000 syn ack ttl 63 \(backend 10\.9\.0\.1\)\n$/,
  );
});

Deno.test("explain tells by which side a packet comes and goes", () => {
  const [syn, reply, liar] = explained(
    demoTwoSided,
    [
      "tcp 192.168.0.254:40000 > 192.168.0.100:2000",
      "tcp 10.0.0.1:2000 > 10.0.0.100:40000 syn ack",
      "tcp 10.0.0.1:40000 > 192.168.0.100:2000",
    ],
    testConfig({
      links: [linkConfig(), LINK_B],
      dstAddrs: [parseAddress("10.0.0.1")],
    }),
  );
  assert.match(syn!, /\nnew, from side a\n\nfrom side a {13}true\n/);
  assert.match(
    syn!,
    /sent {5}: tcp 10\.0\.0\.100:40000 > 10\.0\.0\.1:2000 syn ttl 63 to side b \(backend 10\.0\.0\.1\)\nkernel/,
  );
  assert.match(reply!, /\nestablished, from side b\n/);
  assert.match(
    reply!,
    /\nsent {5}: tcp .*:2000 > 192\.168\.0\.254:40000 syn ack ttl 63 to side a \(backend 10\.0\.0\.1\)\n$/,
  );
  assert.match(liar!, /\nDropped before the policy was asked \(wrong-side\)\n/);
});

/** Runs the command with what it prints in memory. */
async function command(config: Config, ...packets: string[]) {
  const out = { stdout: "", stderr: "" };
  const into = (name: "stdout" | "stderr") => ({
    write(bytes: Uint8Array) {
      out[name] += new TextDecoder().decode(bytes);
      return Promise.resolve(bytes.length);
    },
  });
  const code = await explainCommand({ config, packets: packets.map(parsePacket) }, {
    stdout: into("stdout"),
    stderr: into("stderr"),
    builtIn: () => demo,
    customs: {},
  });
  return { code, ...out };
}

Deno.test("explainCommand prints the explanations with an empty line between", async () => {
  const packets = ["icmp 192.168.0.254 > 192.168.0.100", "icmp 192.168.0.9 > 192.168.0.100"];
  assert.deepEqual(await command(CONFIG, ...packets), {
    code: 0,
    stdout: explained(demo, packets).join("\n"),
    stderr: "",
  });
});

const canRead = Deno.permissions.querySync({ name: "read" }).state === "granted";
for (
  const [why, ignore] of [
    ["there is no such file or folder", !canRead],
    ["this program may not do that", canRead],
  ] as const
) {
  const name = `explainCommand prints one error for a policy that cannot be read: ${why}`;
  Deno.test({ name, ignore }, async () => {
    const packet = "icmp 192.168.0.254 > 192.168.0.100";
    assert.deepEqual(await command({ ...CONFIG, policy: "/nowhere/x.policy" }, packet), {
      code: 1,
      stdout: "",
      stderr: `error: Cannot read policy "/nowhere/x.policy": ${why}\n`,
    });
  });
}

// Agreement with the real thing, which runs the compiled tree.

const HOSTS = [CLIENT, "192.168.0.9", ...BACKENDS].map(parseAddress);

/**
 * From the constants of random policies or their neighbours, or from a small world of hosts and
 * ports.
 */
function randomPacket(random: SeededRandom): Packet {
  const one = <T>(list: readonly T[]): T => list[below(random, list.length)]!;
  const near = (list: readonly number[], min: number, max: number): number =>
    Math.max(min, Math.min(max, one(list) + one([-1, 0, 0, 1])));
  const protocol = one([1, 1, 6, 6, 6, 17, 17, 47]);
  const hasPorts = protocol === 6 || protocol === 17;
  const port = () => hasPorts ? one([2000, 40_000, near(PORTS, 1, 65_535)]) : 0;
  const packet = {
    protocol,
    src: one([...HOSTS, ...HOSTS, one(ADDRESSES)]),
    dst: CONFIG.links[0].address,
    ttl: near(TTLS, 0, 255),
    totalLength: near(LENGTHS, minTotalLength(protocol), 1500),
    srcPort: port(),
    dstPort: port(),
    tcpFlags: protocol === 6 ? one([0x02, 0x02, 0x12, 0x10, 0x18, 0x11, 0x04]) : 0,
    icmpType: protocol === 1 ? one([8, 8, 0, 3, 11, 44]) : 0,
    icmpCode: protocol === 1 ? below(random, 3) : 0,
    icmpId: 0,
  };
  return hasIcmpId(packet) ? { ...packet, icmpId: one([7, 2000]) } : packet;
}

Deno.test("Explainer agrees with the appliance on decisions and frames, packet after packet", async () => {
  const seed = 20_261;
  const random = new SeededRandom(seed);
  const decisions = new Map<string, number>();
  let packets = 0;
  for (let round = 0; round < 150; round++) {
    const tree = round % 10 === 0 ? demo : randomPolicy(random, { maxNodes: 40 });
    const scene = Array.from({ length: 40 }, () => randomPacket(random));
    const world = new World({ policy: tree, trace: "all", seed: round });
    world.poll();
    const hosts = [...new Set([...CONFIG.dstAddrs, ...scene.map(({ src }) => src)])];
    const inSubnet = hosts.map(formatHostAddress).filter((host) => host.startsWith("192.168.0."));
    for (const host of inSubnet) if (host !== PROXY) world.answer(host);
    const explainer = new Explainer(tree, { ...CONFIG, seed: round }, scene.map(({ src }) => src));
    for (const packet of scene) {
      const about = `seed ${seed}, round ${round}: ${formatPacket(packet)}`;
      await world.printed();
      const before = world.drops();
      const mac = parseMac(macOf(formatHostAddress(packet.src)));
      const sent = packetsOf(world.send(frameOf(packet, mac, CONFIG.links[0].mac))).map(
        describeFrame,
      );
      const decision = (await world.printed()).trimEnd().split("\n").at(-1)!;
      const explanation = explainer.explain(packet);
      assert.deepEqual(explanation.sent.map(({ frame }) => describeFrame(frame)), sent, about);
      packets++;
      if (decision === "") {
        const after = world.drops();
        const reason = Object.keys(after).find((name) => after[name] !== before[name]);
        assert.equal(
          explanation.decision,
          `Dropped before the policy was asked (${reason})`,
          about,
        );
        assert.deepEqual(explanation.path, [], about);
      } else {
        assert.equal(explanation.decision, decision, about);
        assert.ok(explanation.path.length > 0 || /icmp-quote|related/.test(decision), about);
        const name = decision.replace(/"(\\.|[^"\\])*"/, '"…"');
        decisions.set(name, (decisions.get(name) ?? 0) + 1);
      }
    }
  }
  assert.equal(packets, 6000);
  for (const name of ["Drop", "Forward", "Echo_reply", "Reject", "Drop (invalid)"]) {
    assert.ok((decisions.get(`Decision : ${name}`) ?? 0) > 20, `${name}: ${[...decisions]}`);
  }
});
