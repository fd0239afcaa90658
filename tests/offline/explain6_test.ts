import assert from "node:assert/strict";
import type { Config } from "../../src/datapath/config.ts";
import { Explainer, formatExplanation } from "../../src/offline/explain.ts";
import { parsePacket } from "../../src/offline/packet_text.ts";
import type { Policy } from "../../src/policy/language/ast.ts";
import { demo, demoTwoSided } from "../../src/policy/language/built_in.ts";
import { parse } from "../../src/policy/notation/parse.ts";
import { parseHostAddress } from "../../src/wire/host_address.ts";
import { ipv6Config, LINK_B, linkConfig, PROXY6, PROXY6_B, testConfig } from "../support/config.ts";

const ONE = linkConfig({ ipv6: ipv6Config(PROXY6, ["::/0 via fe80::1"]) });
const CONFIG: Config = testConfig({ links: [ONE], dstAddrs: [parseHostAddress("2001:db8::3")] });

function explained(policy: Policy, texts: readonly string[], config: Config = CONFIG): string[] {
  const packets = texts.map(parsePacket);
  const explainer = new Explainer(policy, config, packets.map(({ src }) => src));
  return packets.map((packet) => formatExplanation(packet, explainer.explain(packet)));
}

Deno.test("explain shows a handshake over IPv6, from a client beyond the gateway", () => {
  const shown = explained(demo, [
    "tcp [2001:db8:99::fe]:40000 > [2001:db8::64]:2000 syn",
    "tcp [2001:db8::3]:2000 > [2001:db8::64]:40000 syn ack ttl 9",
  ]);
  assert.equal(
    shown[0],
    `tcp [2001:db8:99::fe]:40000 > [2001:db8::64]:2000 syn ttl 64
new, from side a

not ip.src in $dst-addrs  true
  icmp                    false
  tcp                     true
    tcp.dport = 80        false
    otherwise             true
      translate-a-to-b    taken
      forward             Forward

Decision : Forward
sent     : tcp [2001:db8::64]:40000 > [2001:db8::3]:2000 syn ttl 63 (backend 2001:db8::3)
kernel   : may carry the connection once it is established
`,
  );
  assert.match(
    shown[1]!,
    /^sent +: tcp \[2001:db8::64\]:2000 > \[2001:db8:99::fe\]:40000 syn ack ttl 8 \(backend/m,
  );
});

Deno.test("explain answers every other ping over IPv6, to each of the proxy's addresses", () => {
  const shown = explained(demo, [
    "icmp 2001:db8::fe > 2001:db8::64 id 5",
    "icmp 2001:db8::fe > 2001:db8::64 id 5",
    "icmp fe80::7 > fe80::ff:fe00:100",
    "icmp fe80::7 > fe80::ff:fe00:100 id 7",
  ]);
  assert.match(shown[0]!, /^Decision : Drop/m);
  assert.match(
    shown[1]!,
    /^Decision : Echo_reply\nsent +: icmp 2001:db8::64 > 2001:db8::fe echo-reply ttl 64 id 5$/m,
  );
  assert.match(shown[3]!, /^sent +: icmp fe80::ff:fe00:100 > fe80::7 echo-reply ttl 64 id 7$/m);
});

Deno.test("explain says why a packet over IPv6 does not come to the policy", () => {
  const [none] = explained(demo, ["tcp [2001:db8::fe]:1 > [2001:db8::64]:2 syn"], {
    ...CONFIG,
    links: [linkConfig()],
    dstAddrs: [parseHostAddress("192.168.0.1")],
  });
  assert.match(none!, /Dropped before the policy was asked \(unknown-ethertype\)/);
  const [other] = explained(demo, ["tcp [2001:db8::fe]:1 > [2001:db8::65]:2 syn"]);
  assert.match(other!, /Dropped before the policy was asked \(foreign-destination\)/);
});

Deno.test("explain refuses a client whose family no backend has", () => {
  const [four] = explained(demo, ["tcp 192.168.0.254:40000 > 192.168.0.100:2000 syn"]);
  assert.match(four!, /^Decision : Drop \(no-backend\)$/m);
});

Deno.test("explain shows a connection that goes to a backend of the other family", () => {
  const config = { ...CONFIG, translateFamilies: true };
  const [there, back] = explained(demo, [
    "tcp 192.168.0.254:40000 > 192.168.0.100:2000 syn",
    "tcp [2001:db8::3]:2000 > [2001:db8::64]:40000 syn ack ttl 9",
  ], config);
  assert.ok(
    there!.endsWith(`
Decision : Forward
sent     : tcp [2001:db8::64]:40000 > [2001:db8::3]:2000 syn ttl 63 (backend 2001:db8::3)
kernel   : leaves the connection to the proxy: its sides are of different families
`),
    there,
  );
  assert.match(
    back!,
    /^sent +: tcp 192\.168\.0\.100:2000 > 192\.168\.0\.254:40000 syn ack ttl 8 \(backend/m,
  );
});

Deno.test("explain puts packets over IPv6 on their side", () => {
  const a = linkConfig({ ipv6: ipv6Config(PROXY6) });
  const b = { ...LINK_B, ipv6: ipv6Config(PROXY6_B, ["2001:db8:c::/48 via 2001:db8:b::fd"]) };
  const config = testConfig({ links: [a, b], dstAddrs: [parseHostAddress("2001:db8:c::1")] });
  const shown = explained(demoTwoSided, [
    "tcp [2001:db8::fe]:5353 > [2001:db8::64]:53",
    "tcp [2001:db8:c::1]:53 > [2001:db8:b::64]:5353 syn ack",
  ], config);
  assert.match(shown[0]!, /^new, from side a$/m);
  assert.match(
    shown[0]!,
    /^sent .* \[2001:db8:c::1\]:53 syn ttl 63 to side b \(backend 2001:db8:c::1\)$/m,
  );
  assert.match(shown[1]!, /^established, from side b$/m);
  assert.match(shown[1]!, /^sent .* > \[2001:db8::fe\]:5353 syn ack ttl 63 to side a/m);
});

for (
  const [line, kernel] of [
    ["-> translate-a-to-b, forward", "may carry the connection once it is established"],
    [
      "ipv6 -> limit 9/second burst 9, translate-a-to-b, forward",
      "leaves the connection to the proxy, for packets from the client: limit 9/second burst 9 counts each",
    ],
    [
      "ipv4 -> limit 9/second burst 9, drop\n  otherwise -> translate-a-to-b, forward",
      "may carry the connection once it is established",
    ],
  ]
) {
  Deno.test(`explain says of "${line}" what the kernel may do over IPv6`, () => {
    const text = `default drop
not ip.src in $dst-addrs
  ${line}
otherwise -> translate-b-to-a, forward
`;
    const { policy, errors } = parse(text, { file: "test" });
    assert.ok(policy !== null, JSON.stringify(errors));
    const [shown] = explained(policy, ["tcp [2001:db8::fe]:40000 > [2001:db8::64]:2000 syn"]);
    assert.equal(/^kernel +: (.*)$/m.exec(shown!)![1], kernel);
  });
}

Deno.test("explain names members of IPv6 and where a connection could have gone", () => {
  const { policy } = parse(
    `default drop
pool $web = 192.168.0.1, 2001:db8::1 port 8080, 2001:db8::2
not ip.src in $web -> translate-a-to-b to $web in turn, forward
`,
    { file: "test" },
  );
  assert.ok(policy !== null);
  const [text] = explained(policy, ["tcp [2001:db8::fe]:40000 > [2001:db8::64]:2000 syn"]);
  assert.match(
    text!,
    /^pool +: \$web, \[2001:db8::1\]:8080 out of \[2001:db8::1\]:8080, 2001:db8::2$/m,
  );
  assert.match(text!, /> \[2001:db8::1\]:8080 syn ttl 63 \(backend 2001:db8::1\)$/m);
});
