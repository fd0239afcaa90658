/** `--config=FILE`: flags from a file, and every message about them. */
import assert from "node:assert/strict";
import { parseArgs } from "../../src/cli/args.ts";
import { formatAddress } from "../../src/wire/address.ts";
import { formatHostAddress } from "../../src/wire/host_address.ts";

const ABOUT = { version: "0.1.0", build: "portable" };

function read(text: string, ...argv: string[]) {
  return parseArgs([...argv, "--config=etc/web.conf"], ABOUT, { file: "etc/web.conf", text });
}

const TEXT = `\ufeff# the balancer of the web\r
net=tap100
  dst-addrs = 192.168.0.1,192.168.0.2   # two
policy = web#1.policy
route = 10.0.0.0/8,192.168.0.1
route = 11.0.0.0/8,192.168.0.1

preserve-source
timeout-udp = 7
max-conn = 5
state = kept
`;

Deno.test("parseArgs asks for the file of --config first, whatever the command", () => {
  const expected = { kind: "read-config", path: "a.conf" };
  assert.deepEqual(parseArgs(["--config=a.conf"], ABOUT), expected);
  assert.deepEqual(
    parseArgs(["explain", "--config=a.conf", "icmp 1.2.3.4 > 1.2.3.5"], ABOUT),
    expected,
  );
  assert.deepEqual(parseArgs(["replay", "--config", "a.conf", "--pcap=a"], ABOUT), expected);
});

Deno.test("--config gives the flags that the command line does not", () => {
  const command = read(TEXT, "--max-conn=9", "--route=12.0.0.0/8,192.168.0.1");
  assert.ok(command.kind === "run", JSON.stringify(command));
  const { config } = command;
  const [link] = config.links;
  assert.equal(link.net, "tap100");
  assert.deepEqual(config.dstAddrs.map(formatHostAddress), ["192.168.0.1", "192.168.0.2"]);
  assert.equal(config.policy, "etc/web#1.policy", "relative to the folder of the file");
  assert.deepEqual(command.state, { file: "etc/kept", maxAgeMs: 60_000 });
  assert.equal(config.preserveSource, true);
  assert.equal(config.timeouts.udp, 7);
  assert.equal(config.maxConn, 9);
  assert.deepEqual(link.routes.map(({ to }) => formatAddress(to.network)), ["12.0.0.0"]);
});

Deno.test("--config: folders of --include-dir are relative to the file, and add up", () => {
  const command = read(`${TEXT}include-dir = a,/b\ninclude-dir = c\n`);
  assert.ok(command.kind === "run", JSON.stringify(command));
  assert.deepEqual(command.tap.sandbox.includeDirs, ["etc/a", "/b", "etc/c"]);
});

Deno.test("explain and replay pass over what only a run has a use for", () => {
  const text = `${TEXT}host-ipv4 = 192.168.0.254\nspin = 5\ntrace = off\n`;
  const explain = read(text, "explain", "icmp 192.168.0.254 > 192.168.0.100");
  assert.ok(explain.kind === "explain", JSON.stringify(explain));
  assert.equal(explain.config.maxConn, 5);
  const replay = read(text, "replay", "--pcap=a.pcap");
  assert.ok(replay.kind === "replay", JSON.stringify(replay));
  assert.equal(replay.config.trace, "off");
});

const NEEDED = "net = tap100\ndst-addrs = 192.168.0.1\n";

const WRONG: [string, string][] = [
  [
    "nte = tap100",
    'etc/web.conf:1:1: Found "nte", expected a flag without its dashes; did you mean "net"?',
  ],
  [
    "--net = tap100",
    'etc/web.conf:1:1: Found "--net", expected a flag without its dashes; did you mean "net"?',
  ],
  [
    "  maxconn = 5",
    'etc/web.conf:1:3: Found "maxconn", expected a flag without its dashes; did you mean "max-conn"?',
  ],
  ["= 5", 'etc/web.conf:1:1: Found "=", expected a flag without its dashes'],
  ["net tap100", 'etc/web.conf:1:5: Found "tap100", expected "=" and a value'],
  ["net", 'etc/web.conf:1:4: Found the end of the line, expected "=" and a value'],
  ["net = # none", "etc/web.conf:1:6: Found the end of the line, expected a value"],
  [
    "preserve-source = on",
    'etc/web.conf:1:19: Found "on", expected the end of the line: this flag has no value',
  ],
  [
    'net = "tap100"',
    "etc/web.conf:1:7: Found a value in quotes, expected it without; did you mean tap100?",
  ],
  [
    `${NEEDED}check = 'tcp 80'`,
    "etc/web.conf:3:9: Found a value in quotes, expected it without; did you mean tcp 80?",
  ],
  [
    `${NEEDED}net = tap1`,
    'etc/web.conf:3:1: Found "net" a second time, expected it once; it is in line 1, too',
  ],
  [
    "config = other.conf",
    'etc/web.conf:1:1: Found "config", expected a flag that a file may have; it is for the command line',
  ],
  [
    `${NEEDED}ports = 9-1`,
    'etc/web.conf:3:9: ports: Cannot parse "9-1" as port range: first port must be ≤ last port',
  ],
  [
    `${NEEDED}route = 10.0.0.0/8,192.168.0.1\nroute = 7`,
    'etc/web.conf:4:9: route: Cannot parse "7" as route: expected CIDR,ADDR, as in 10.0.0.0/8,192.168.0.1',
  ],
  [`${NEEDED}mac-b = 02:00:00:00:00:01`, "etc/web.conf:3:9: mac-b: Cannot use without --net-b"],
  [
    "n\u001bt = 1",
    'etc/web.conf:1:1: Found "n\\u001bt", expected a flag without its dashes; did you mean "net"?',
  ],
];

for (const [text, message] of WRONG) {
  Deno.test(`--config: ${JSON.stringify(text)} is told with its place`, () => {
    const command = read(text);
    assert.ok(command.kind === "usage-error", JSON.stringify(command));
    const [first, source, caret] = command.message.split("\n");
    assert.equal(first, message);
    assert.match(source!, /^ {2}\d+ \| /);
    assert.match(caret!, /^ +\| +\^+$/);
  });
}

Deno.test("--config: all that is misspelt is told in one go, and what is wrong on the command line as always", () => {
  const several = read("nte = 1\nports 5\n");
  assert.ok(several.kind === "usage-error");
  assert.equal(several.message.split("\n").length, 6);
  const endless = read("x\n".repeat(100_000));
  assert.ok(endless.kind === "usage-error");
  assert.equal(endless.message.split("\n").length, 300);
  assert.deepEqual(read("net = tap100\n"), {
    kind: "usage-error",
    message: "--dst-addrs: Required: expected --dst-addrs=ADDR[,ADDR…], as in " +
      "--dst-addrs=192.168.0.1,192.168.0.2",
  });
  assert.deepEqual(read(`${NEEDED}ports = 1-2\n`, "--ports=9-1"), {
    kind: "usage-error",
    message: '--ports: Cannot parse "9-1" as port range: first port must be ≤ last port',
  });
  assert.deepEqual(parseArgs(["--config=-"], ABOUT), {
    kind: "usage-error",
    message: '--config: Cannot use "-" as config file: expected a path',
  });
});

Deno.test("a config file may have addresses and gateways of IPv6 several times", () => {
  const text = "net = tap0\nipv6 = 2001:db8::64\nipv6 = 2001:db8:7::1/48 # and another\n" +
    "gateway = fe80::1\ngateway = 192.168.0.254\ndst-addrs = [2001:db8::1]\n";
  const command = read(text);
  assert.ok(command.kind === "run");
  const { config } = command;
  const [link] = config.links;
  assert.deepEqual(link.ipv6?.addresses.map(({ prefixLength }) => prefixLength), [64, 48]);
  assert.equal(link.routes.length + link.ipv6!.routes.length, 2);
  assert.deepEqual(config.dstAddrs.map(formatHostAddress), ["2001:db8::1"]);
});
