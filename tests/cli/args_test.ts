import type { Config } from "../../src/datapath/config.ts";
import assert from "node:assert/strict";
import { WHOLE_CAPTURE } from "../../src/capture/options.ts";
import { formatAddress, formatMac, parseAddress, parseMac } from "../../src/wire/address.ts";
import { formatHostAddress } from "../../src/wire/host_address.ts";
import { parseArgs } from "../../src/cli/args.ts";
import { healthOf } from "../../src/policy/language/health.ts";
import { routeOf } from "../support/config.ts";

const ABOUT = { version: "0.1.0", build: "portable" };
const NET = "--net=tap100";
const DST = "--dst-addrs=192.168.0.1,192.168.0.2";
const TIMEOUTS = ["half-open", "established", "half-closed", "closing", "reset", "udp", "icmp"];

function configOf(...argv: string[]): Config {
  const command = parseArgs(argv, ABOUT);
  assert.equal(command.kind, "run", JSON.stringify(command));
  return (command as { config: Config }).config;
}

Deno.test("parseArgs fills in the defaults", () => {
  const config = configOf(NET, DST);
  assert.equal(config.links.length, 1);
  const [link] = config.links;
  assert.equal(link.net, "tap100");
  assert.deepEqual(config.dstAddrs.map(formatHostAddress), ["192.168.0.1", "192.168.0.2"]);
  assert.equal(formatAddress(link.address), "192.168.0.100");
  assert.equal(link.prefixLength, 24);
  assert.deepEqual(link.routes, []);
  assert.deepEqual(config.ports, { first: 1024, last: 65_535 });
  assert.equal(config.maxConn, 262_144);
  assert.equal(config.maxLimitSources, 262_144);
  assert.equal(config.maxConnPerSource, null);
  assert.deepEqual(config.timeouts, {
    halfOpen: 240,
    established: 7440,
    halfClosed: 7440,
    closing: 240,
    reset: 240,
    udp: 300,
    unanswered: 30,
    icmp: 60,
  });
  assert.equal(config.seed, null);
  assert.equal(config.trace, "auto");
  assert.equal(config.hashKeyFile, null);
  assert.equal(config.policy, null);
});

Deno.test("parseArgs tells what the device is to do", () => {
  const tapOf = (...flags: string[]) => {
    const command = parseArgs([NET, DST, ...flags], ABOUT);
    assert.equal(command.kind, "run", JSON.stringify(command));
    return command.kind === "run" ? command.tap : undefined;
  };
  const fastPath = "auto";
  const sandbox = { mode: "on", user: null, includeDirs: [] };
  assert.deepEqual(tapOf(), { offload: true, spinUs: 100, fastPath, sandbox, admin: null });
  assert.deepEqual(tapOf("--offload=off", "--spin=0"), {
    offload: false,
    spinUs: 0,
    fastPath,
    sandbox,
    admin: null,
  });
  assert.deepEqual(
    tapOf("--offload", "on", "--spin", "1000", "--fast-path=off"),
    { offload: true, spinUs: 1000, fastPath: "off", sandbox, admin: null },
  );
  assert.deepEqual(
    tapOf("--sandbox=strict", "--user=treegate", "--include-dir=/a,b", "--include-dir=c")?.sandbox,
    { mode: "strict", user: "treegate", includeDirs: ["/a", "b", "c"] },
  );
});

Deno.test("parseArgs tells where the state is kept", () => {
  const stateOf = (...flags: string[]) => {
    const command = parseArgs([NET, DST, ...flags], ABOUT);
    assert.equal(command.kind, "run", JSON.stringify(command));
    return command.kind === "run" ? command.state : undefined;
  };
  assert.equal(stateOf(), null);
  assert.deepEqual(stateOf("--state=s"), { file: "s", maxAgeMs: 60_000 });
  assert.deepEqual(stateOf("--state", "/run/s", "--state-max-age=5"), {
    file: "/run/s",
    maxAgeMs: 5000,
  });
});

Deno.test("parseArgs takes every flag, with = or as the next argument", () => {
  const flags: [string, string][] = [
    ["--net", "tap7"],
    ["--dst-addrs", "10.0.0.5,10.9.0.1"],
    ["--check", "http 80 /up 200, fall 2"],
    ["--ipv4", "10.0.0.9/30"],
    ["--gateway", "10.0.0.10"],
    ["--route", "172.16.0.0/12,10.0.0.10"],
    ["--mac", "02-00-5E-10-00-01"],
    ["--ports", "5000-5000"],
    ["--max-conn", "1"],
    ["--max-limit-sources", "16"],
    ["--max-neighbors", "2"],
    ["--max-conn-per-source", "1000000"],
    ["--timeout-half-open", "1"],
    ["--timeout-established", "1000000"],
    ["--timeout-half-closed", "2"],
    ["--timeout-closing", "3"],
    ["--timeout-reset", "4"],
    ["--timeout-udp", "5"],
    ["--timeout-icmp", "6"],
    ["--timeout-unanswered", "7"],
    ["--translate-families", "off"],
    ["--clamp-mss", "off"],
    ["--retries", "8"],
    ["--connect-timeout", "60"],
    ["--strays", "drop"],
    ["--hash-key-file", "key"],
    ["--policy", "web.policy"],
    ["--seed", "4294967295"],
    ["--trace", "all"],
  ];
  const config = configOf(...flags.map(([name, value]) => `${name}=${value}`));
  assert.deepEqual(
    config,
    {
      links: [{
        net: "tap7",
        address: parseAddress("10.0.0.9"),
        prefixLength: 30,
        mac: parseMac("02:00:5e:10:00:01"),
        routes: [routeOf("0.0.0.0/0 via 10.0.0.10"), routeOf("172.16.0.0/12 via 10.0.0.10")],
        host: null,
        ipv6: null,
      }],
      dstAddrs: [0x0a000005, 0x0a090001],
      health: healthOf({ kind: "http", port: 80, path: "/up", status: 200 }, { fall: 2 }),
      ports: { first: 5000, last: 5000 },
      maxConn: 1,
      maxConnPerSource: 1_000_000,
      maxNeighbors: 2,
      maxLimitSources: 16,
      timeouts: {
        halfOpen: 1,
        established: 1_000_000,
        halfClosed: 2,
        closing: 3,
        reset: 4,
        udp: 5,
        unanswered: 7,
        icmp: 6,
      },
      seed: 0xffff_ffff,
      trace: "all",
      preserveSource: false,
      translateFamilies: false,
      clampMss: false,
      retries: 8,
      connectTimeout: 60,
      strays: "drop",
      hashKeyFile: "key",
      policy: "web.policy",
    },
  );
  assert.deepEqual(configOf(...flags.flat()), config);
});

Deno.test("parseArgs remembers as many neighbours as there may be connections, unless told", () => {
  assert.equal(configOf(NET, DST).maxNeighbors, 262_144);
  assert.equal(configOf(NET, DST, "--max-conn=500").maxNeighbors, 500);
  assert.equal(configOf(NET, DST, "--max-conn=500", "--max-neighbors=900").maxNeighbors, 900);
});

const SIDES = ["--net-b=tap101", "--ipv4-b=10.0.0.1/24"];
const DST_B = "--dst-addrs=10.0.0.2,10.7.0.2";

Deno.test("parseArgs reads an interface for each side, and puts each route where its next hop is", () => {
  const config = configOf(
    ...[NET, ...SIDES, DST_B, "--gateway=192.168.0.254", "--mac-b=02:00:00:00:00:0b"],
    ...[
      "--route=10.7.0.0/16,10.0.0.9",
      "--route=172.16.0.0/12,192.168.0.9",
      "--gateway-b=10.0.0.8",
    ],
  );
  const [a, b] = config.links;
  assert.deepEqual(a.routes, [
    routeOf("0.0.0.0/0 via 192.168.0.254"),
    routeOf("172.16.0.0/12 via 192.168.0.9"),
  ]);
  assert.deepEqual(b, {
    net: "tap101",
    address: parseAddress("10.0.0.1"),
    prefixLength: 24,
    mac: parseMac("02:00:00:00:00:0b"),
    routes: [routeOf("0.0.0.0/0 via 10.0.0.8"), routeOf("10.7.0.0/16 via 10.0.0.9")],
    host: null,
    ipv6: null,
  });
});

Deno.test("parseArgs reads explain and replay with two sides, which side B's address tells", () => {
  const explain = parseArgs(["explain", "--ipv4-b=10.0.0.1", "--dst-addrs=10.0.0.2", SYN], ABOUT);
  assert.ok(explain.kind === "explain");
  assert.equal(explain.config.links.length, 2);
  const captures = [
    ...["--pcap=a.pcap", "--pcap-b=b.pcap", "--out-b=o", "--mtu-b=9000"],
    "--mac-b=02:00:00:00:00:0b",
  ];
  const replay = parseArgs(
    ["replay", "--ipv4-b=10.0.0.1", "--dst-addrs=10.0.0.2", ...captures],
    ABOUT,
  );
  assert.ok(replay.kind === "replay");
  assert.deepEqual(replay.captures, [
    { findMac: true, pcap: "a.pcap", out: null, mtu: 1500 },
    { findMac: false, pcap: "b.pcap", out: "o", mtu: 9000 },
  ]);
  const one = ["replay", "--ipv4-b=10.0.0.1", "--dst-addrs=10.0.0.2", "--pcap=both.pcapng"];
  const shared = parseArgs(one, ABOUT);
  assert.ok(shared.kind === "replay");
  assert.deepEqual(shared.captures.map(({ pcap }) => pcap), ["both.pcapng", null]);
});

Deno.test("parseArgs takes an address for the device itself, on either side", () => {
  const [a, b] = configOf(
    ...[NET, ...SIDES, DST_B, "--gateway-b=10.0.0.9"],
    ...["--host-ipv4=192.168.0.254/16", "--host-ipv4-b=10.0.0.2"],
  ).links;
  assert.deepEqual(a.host, { address: parseAddress("192.168.0.254"), prefixLength: 16 });
  assert.deepEqual(b?.host, { address: parseAddress("10.0.0.2"), prefixLength: 24 });
});

Deno.test("parseArgs takes --preserve-source, which has no value", () => {
  assert.equal(configOf(NET, DST).preserveSource, false);
  assert.equal(configOf(NET, "--preserve-source", DST).preserveSource, true);
});

const SYN = "tcp 192.168.0.254:40000 > 192.168.0.100:2000 syn";

const edges: { name: string; argv: string[]; holds: (config: Config) => boolean }[] = [
  {
    name: "a bare address means /24",
    argv: [NET, DST, "--ipv4=192.168.0.9"],
    holds: (config) => config.links[0].prefixLength === 24,
  },
  {
    name: "/31 has no network and no broadcast address",
    argv: [NET, "--dst-addrs=10.0.0.0", "--ipv4=10.0.0.1/31"],
    holds: (config) => config.dstAddrs[0] === 0x0a000000,
  },
  {
    name: "a gateway makes backends of other subnets usable, 10.0.0.255 among them",
    argv: [NET, "--dst-addrs=10.0.0.255", "--gateway=192.168.0.254"],
    holds: (config) => config.dstAddrs[0] === 0x0a0000ff,
  },
  {
    name: "so does a route, and it may be more precise than the own subnet",
    argv: [
      NET,
      "--dst-addrs=10.0.0.255",
      "--route=10.0.0.0/8,192.168.0.254",
      "--route=192.168.0.128/25,192.168.0.1",
    ],
    holds: (config) => config.links[0].routes.length === 2,
  },
  {
    name: "a gateway may be a backend",
    argv: [NET, DST, "--gateway=192.168.0.1"],
    holds: (config) => config.links[0].routes[0]?.nextHop === config.dstAddrs[0],
  },
  {
    name: "a device name has at most 15 bytes",
    argv: ["--net=abcdefghijklmno", DST],
    holds: (config) => config.links[0].net.length === 15,
  },
  {
    name: "seed 0 is a seed",
    argv: [NET, DST, "--seed=0"],
    holds: (config) => config.seed === 0,
  },
];
for (const { name, argv, holds } of edges) {
  Deno.test(`parseArgs: ${name}`, () => assert.ok(holds(configOf(...argv))));
}

Deno.test("parseArgs makes a MAC that depends on device and address alone", () => {
  const mac = formatMac(configOf(NET, DST).links[0].mac);
  assert.equal(formatMac(configOf(DST, NET, "--seed=1").links[0].mac), mac);
  assert.notEqual(formatMac(configOf("--net=tap101", DST).links[0].mac), mac);
  assert.notEqual(formatMac(configOf(NET, DST, "--ipv4=192.168.0.101").links[0].mac), mac);
});

const BACKEND = "--dst-addrs: Cannot use";
const SHAPE_OF_ROUTE = "expected CIDR,ADDR, as in 10.0.0.0/8,192.168.0.1";
const HOST = "expected the address of one host, not";

/** Every way to get the command line wrong, with the one line that the user reads. */
const errors: { name: string; argv: string[]; message: string }[] = [
  {
    name: "no --net",
    argv: [DST],
    message: "--net: Required: expected --net=DEVICE, as in --net=tap100",
  },
  {
    name: "no --dst-addrs",
    argv: [NET],
    message: "--dst-addrs: Required: expected --dst-addrs=ADDR[,ADDR…], " +
      "as in --dst-addrs=192.168.0.1,192.168.0.2",
  },
  {
    name: "nothing at all",
    argv: [],
    message: "--net: Required: expected --net=DEVICE, as in --net=tap100",
  },
  {
    name: "unknown flag",
    argv: [NET, DST, "--frobnicate"],
    message: "Unknown option '--frobnicate', see --help",
  },
  {
    name: "misspelt flag with a value",
    argv: [NET, "--dst-addr=192.168.0.1"],
    message: "Unknown option '--dst-addr' (Did you mean --dst-addrs?), see --help",
  },
  {
    name: "unknown short flag",
    argv: [NET, DST, "-A"],
    message: "Unknown option '-A', see --help",
  },
  {
    name: "flag without its value at the end",
    argv: [DST, "--net"],
    message: "Option '--net=DEVICE' argument missing, see --help",
  },
  {
    name: "flag without its value before another",
    argv: ["--net", DST],
    message: `--net: Missing value before "--dst-addrs"`,
  },
  {
    name: "flag given twice",
    argv: [NET, DST, "--seed=1", "--seed=2"],
    message: `--seed: Cannot use "2" as second value: expected one`,
  },
  {
    name: "argument that is no flag",
    argv: [NET, DST, "192.168.0.3"],
    message: `Cannot use argument "192.168.0.3": expected flags only, see --help`,
  },
  {
    name: "empty argument",
    argv: [NET, DST, ""],
    message: `Cannot use argument "": expected flags only, see --help`,
  },
  {
    name: "argument after --",
    argv: [NET, DST, "--", "-x"],
    message: `Cannot use argument "-x": expected flags only, see --help`,
  },
  {
    name: "empty device name",
    argv: ["--net=", DST],
    message: `--net: Cannot use "" as device name: expected 1 to 15 characters, found 0`,
  },
  {
    name: "device name of 16 characters",
    argv: ["--net=abcdefghijklmnop", DST],
    message: `--net: Cannot use "abcdefghijklmnop" as device name: ` +
      "expected 1 to 15 characters, found 16",
  },
  {
    name: "device name that is not ASCII",
    argv: ["--net=é", DST],
    message: `--net: Cannot use "é" as device name: ` +
      `expected ASCII characters without space, "/", ":" or "%", not "." or ".."`,
  },
  ...[".", "..", "a/b", "a b", "tap%d", "a:1"].map((name) => ({
    name: `device name "${name}"`,
    argv: [`--net=${name}`, DST],
    message: `--net: Cannot use "${name}" as device name: ` +
      `expected ASCII characters without space, "/", ":" or "%", not "." or ".."`,
  })),
  {
    name: "device name that would drive the terminal",
    argv: ["--net=\x1b[2J\n", DST],
    message: `--net: Cannot use "\\x1b[2J\\x0a" as device name: ` +
      `expected ASCII characters without space, "/", ":" or "%", not "." or ".."`,
  },
  {
    name: "no backend",
    argv: [NET, "--dst-addrs="],
    message: `--dst-addrs: Cannot parse "" as address: ` +
      "expected an IPv4 or IPv6 address, as in 192.168.0.1 or 2001:db8::1",
  },
  {
    name: "comma at the end",
    argv: [NET, "--dst-addrs=192.168.0.1,"],
    message: `--dst-addrs: Cannot parse "" as address: ` +
      "expected an IPv4 or IPv6 address, as in 192.168.0.1 or 2001:db8::1",
  },
  {
    name: "backend 300.1.1.1",
    argv: [NET, "--dst-addrs=300.1.1.1"],
    message: `--dst-addrs: Cannot parse "300.1.1.1" as IPv4 address: octet must be ≤ 255`,
  },
  {
    name: "backend by name",
    argv: [NET, "--dst-addrs=localhost"],
    message: `--dst-addrs: Cannot parse "localhost" as address: ` +
      "expected an IPv4 or IPv6 address, as in 192.168.0.1 or 2001:db8::1",
  },
  {
    name: "duplicate backend",
    argv: [NET, "--dst-addrs=192.168.0.1,192.168.0.2,192.168.0.1"],
    message: `${BACKEND} "192.168.0.1" as backend: expected each backend once`,
  },
  {
    name: "limited broadcast backend",
    argv: [NET, "--dst-addrs=255.255.255.255"],
    message: `${BACKEND} "255.255.255.255" as backend: ${HOST} broadcast`,
  },
  {
    name: "directed broadcast backend",
    argv: [NET, "--dst-addrs=192.168.0.255"],
    message: `${BACKEND} "192.168.0.255" as backend: ${HOST} ` +
      "the broadcast address of 192.168.0.0/24",
  },
  {
    name: "network address backend",
    argv: [NET, "--dst-addrs=192.168.0.0"],
    message: `${BACKEND} "192.168.0.0" as backend: ${HOST} the network address of 192.168.0.0/24`,
  },
  {
    name: "multicast backend",
    argv: [NET, "--dst-addrs=224.0.0.1"],
    message: `${BACKEND} "224.0.0.1" as backend: ${HOST} multicast (224.0.0.0/4)`,
  },
  {
    name: "reserved backend",
    argv: [NET, "--dst-addrs=240.0.0.1", "--gateway=192.168.0.254"],
    message: `${BACKEND} "240.0.0.1" as backend: ${HOST} reserved (240.0.0.0/4)`,
  },
  {
    name: "loopback backend",
    argv: [NET, "--dst-addrs=127.0.0.1"],
    message: `${BACKEND} "127.0.0.1" as backend: ${HOST} loopback (127.0.0.0/8)`,
  },
  {
    name: "backend in 0.0.0.0/8",
    argv: [NET, "--dst-addrs=0.0.0.0"],
    message: `${BACKEND} "0.0.0.0" as backend: ${HOST} "this network" (0.0.0.0/8)`,
  },
  {
    name: "the proxy's own address as backend",
    argv: [NET, "--dst-addrs=192.168.0.1,192.168.0.100"],
    message: `${BACKEND} "192.168.0.100" as backend: expected another host, not the proxy`,
  },
  {
    name: "off-link backend without --gateway",
    argv: [NET, "--dst-addrs=10.0.0.1"],
    message: `${BACKEND} "10.0.0.1" as backend: ` +
      "expected an address in 192.168.0.0/24, or a --gateway or --route to reach it",
  },
  {
    name: "own address with a bad octet",
    argv: [NET, DST, "--ipv4=192.168.0.256/24"],
    message: `--ipv4: Cannot parse "192.168.0.256" as IPv4 address: octet must be ≤ 255`,
  },
  {
    name: "own address with a bad prefix length",
    argv: [NET, DST, "--ipv4=192.168.0.9/33"],
    message: `--ipv4: Cannot parse "192.168.0.9/33" as IPv4 address: prefix length must be 0 to 32`,
  },
  {
    name: "own address with /32",
    argv: [NET, DST, "--ipv4=192.168.0.9/32"],
    message: `--ipv4: Cannot use "192.168.0.9/32" as own address: ` +
      "expected a prefix length of at most 31, /32 has no neighbours",
  },
  ...[
    ["192.168.0.0/24", "the network address of 192.168.0.0/24"],
    ["10.255.255.255/8", "the broadcast address of 10.0.0.0/8"],
    ["255.255.255.255/24", "broadcast"],
    ["224.0.0.1/24", "multicast (224.0.0.0/4)"],
    ["127.0.0.1/8", "loopback (127.0.0.0/8)"],
    ["0.0.0.1/24", `"this network" (0.0.0.0/8)`],
    ["240.1.1.1/24", "reserved (240.0.0.0/4)"],
  ].map(([own, kind]) => ({
    name: `own address ${own}`,
    argv: [NET, DST, `--ipv4=${own}`],
    message: `--ipv4: Cannot use "${own}" as own address: ${HOST} ${kind}`,
  })),
  {
    name: "off-link gateway",
    argv: [NET, DST, "--gateway=10.0.0.1"],
    message: `--gateway: Cannot use "10.0.0.1" as gateway: expected an address in 192.168.0.0/24`,
  },
  {
    name: "the proxy as its gateway",
    argv: [NET, DST, "--gateway=192.168.0.100"],
    message: `--gateway: Cannot use "192.168.0.100" as gateway: ` +
      "expected another host, not the proxy",
  },
  {
    name: "broadcast gateway",
    argv: [NET, DST, "--gateway=192.168.0.255"],
    message: `--gateway: Cannot use "192.168.0.255" as gateway: ${HOST} ` +
      "the broadcast address of 192.168.0.0/24",
  },
  {
    name: "network gateway",
    argv: [NET, DST, "--gateway=192.168.0.0"],
    message: `--gateway: Cannot use "192.168.0.0" as gateway: ${HOST} ` +
      "the network address of 192.168.0.0/24",
  },
  ...[
    ["10.0.0.0/8", SHAPE_OF_ROUTE],
    ["10.0.0.0,192.168.0.1", SHAPE_OF_ROUTE],
    ["10.0.0.0/8,192.168.0.1,192.168.0.2", SHAPE_OF_ROUTE],
    ["10.0.0.1/8,192.168.0.1", 'host bits must be zero; did you mean "10.0.0.0/8"?'],
  ].map(([route, expected]) => ({
    name: `route ${route}`,
    argv: [NET, DST, `--route=${route}`],
    message: `--route: Cannot parse "${route}" as route: ${expected}`,
  })),
  {
    name: "route with an off-link next hop",
    argv: [NET, DST, "--route=10.0.0.0/8,192.168.1.1"],
    message: `--route: Cannot use "192.168.1.1" as next hop: expected an address in 192.168.0.0/24`,
  },
  {
    name: "second route to a network",
    argv: [NET, DST, "--route=10.0.0.0/8,192.168.0.1", "--route=10.0.0.0/8,192.168.0.2"],
    message: "--route: Cannot use second route to 10.0.0.0/8: expected one",
  },
  {
    name: "route to the own subnet",
    argv: [NET, DST, "--route=192.168.0.0/24,192.168.0.1"],
    message: "--route: Cannot use second route to 192.168.0.0/24: expected one",
  },
  {
    name: "second default route",
    argv: [NET, DST, "--gateway=192.168.0.1", "--route=0.0.0.0/0,192.168.0.2"],
    message: "--route: Cannot use second route to 0.0.0.0/0: expected one",
  },
  {
    name: "side B without an address",
    argv: [NET, DST_B, "--net-b=tap101"],
    message: "--ipv4-b: Required: expected --ipv4-b=ADDR/LEN, as in --ipv4-b=10.0.0.1/24",
  },
  ...["--ipv4-b=10.0.0.1", "--gateway-b=10.0.0.9", "--mac-b=02:00:00:00:00:0b"].map((flag) => ({
    name: `${flag} without --net-b`,
    argv: [NET, DST, flag],
    message: `${flag.split("=")[0]}: Cannot use without --net-b`,
  })),
  {
    name: "the proxy's own address for the device itself",
    argv: [NET, DST, "--host-ipv4=192.168.0.100/24"],
    message: '--host-ipv4: Cannot use "192.168.0.100": ' +
      "expected another address than the proxy's",
  },
  ...["10.0.0.1 --host-ipv4", "192.168.0.100 --host-ipv4-b"].map((text) => {
    const [address, flag] = text.split(" ");
    return {
      name: `the proxy's address on the other side for ${flag}`,
      argv: [NET, DST_B, ...SIDES, `${flag}=${address}`, "--route=10.7.0.0/16,10.0.0.9"],
      message: `${flag}: Cannot use "${address}": expected another address than the proxy's`,
    };
  }),
  {
    name: "next hop on neither side",
    argv: [NET, DST_B, ...SIDES, "--route=10.7.0.0/16,10.1.0.1"],
    message: '--route: Cannot use "10.1.0.1" as next hop: ' +
      "expected an address in 192.168.0.0/24 or 10.0.0.0/24",
  },
  {
    name: "a gateway of side B without its address, where there are no devices",
    argv: ["explain", DST, "--gateway-b=10.0.0.9", SYN],
    message: "--ipv4-b: Required: expected --ipv4-b=ADDR/LEN, as in --ipv4-b=10.0.0.1/24",
  },
  {
    name: "--host-ipv4 for explain",
    argv: ["explain", DST, "--host-ipv4=192.168.0.254", SYN],
    message: 'Cannot use --host-ipv4 with "explain", see proxy explain --help',
  },
  {
    name: "a value for --preserve-source",
    argv: [NET, DST, "--preserve-source=on"],
    message: '--preserve-source: Cannot use "on": this flag has no value',
  },
  {
    name: "--translate-families without IPv6",
    argv: [NET, DST, "--translate-families=on"],
    message: "--translate-families: Cannot use without --ipv6 or --ipv6-b",
  },
  {
    name: "--translate-families with clients' addresses",
    argv: [NET, DST, "--ipv6=2001:db8::64", "--preserve-source", "--translate-families=on"],
    message: "--translate-families: Cannot use with --preserve-source: " +
      "no client has an address of the other family",
  },
  {
    name: "one device for both sides",
    argv: [NET, DST_B, ...SIDES, "--net-b=tap100"].filter((flag) => flag !== SIDES[0]),
    message: '--net-b: Cannot use "tap100" twice: expected another device',
  },
  {
    name: "sides whose subnets overlap",
    argv: [NET, DST, "--net-b=tap101", "--ipv4-b=192.168.1.1/16"],
    message: "--ipv4-b: Cannot use 192.168.0.0/16 on side B: " +
      "expected another subnet than 192.168.0.0/24 on side A",
  },
  {
    name: "backend on side A",
    argv: [NET, DST, ...SIDES, "--gateway-b=10.0.0.9"],
    message:
      `${BACKEND} "192.168.0.1" as backend: expected a host on side B, the routes say side A`,
  },
  {
    name: "backend without a way on side B",
    argv: [NET, DST_B, ...SIDES, "--gateway=192.168.0.254"],
    message: `${BACKEND} "10.7.0.2" as backend: ` +
      "expected an address in 10.0.0.0/24, or a --gateway-b or --route to reach it",
  },
  {
    name: "own address on side A as backend",
    argv: [NET, "--dst-addrs=192.168.0.100", ...SIDES],
    message: `${BACKEND} "192.168.0.100" as backend: expected another host, not the proxy`,
  },
  {
    name: "captures of side B without side B",
    argv: ["replay", DST, "--pcap=a", "--pcap-b=b"],
    message: "--pcap-b: Cannot use without --ipv4-b",
  },
  {
    name: "MTU of side B without side B",
    argv: ["replay", DST, "--pcap=a", "--mtu-b=9000"],
    message: "--mtu-b: Cannot use without --ipv4-b",
  },
  ...["67", "65522", "1e3", ""].map((mtu) => ({
    name: `"${mtu}" as MTU`,
    argv: ["replay", DST, "--pcap=a", `--mtu=${mtu}`],
    message: `--mtu: Cannot parse "${mtu}" as MTU in bytes: expected an integer 68 to 65521`,
  })),
  {
    name: "broken MAC",
    argv: [NET, DST, "--mac=02:00"],
    message: `--mac: Cannot parse "02:00" as MAC address: ` +
      "expected six hex octets, as in 02:00:5e:10:00:01",
  },
  {
    name: "multicast MAC",
    argv: [NET, DST, "--mac=01:00:5e:00:00:01"],
    message: `--mac: Cannot use "01:00:5e:00:00:01" as MAC address: ` +
      "expected a unicast address, the first octet even",
  },
  {
    name: "zero MAC",
    argv: [NET, DST, "--mac=00:00:00:00:00:00"],
    message: `--mac: Cannot use "00:00:00:00:00:00" as MAC address: ` +
      "expected one that is not zero",
  },
  {
    name: "a check with a wrong port",
    argv: [NET, DST, "--check=tcp 70000"],
    message: `--check: Cannot parse "tcp 70000" as check: ` +
      `expected a port, 1 to 65535, found "70000"`,
  },
  {
    name: "one port",
    argv: [NET, DST, "--ports=70000"],
    message: `--ports: Cannot parse "70000" as port range: expected FIRST-LAST, as in 1024-65535`,
  },
  ...["0-10", "1-65536", "70000-70001"].map((range) => ({
    name: `ports ${range}`,
    argv: [NET, DST, `--ports=${range}`],
    message: `--ports: Cannot parse "${range}" as port range: port must be 1 to 65535`,
  })),
  {
    name: "ports backwards",
    argv: [NET, DST, "--ports=2000-1999"],
    message: `--ports: Cannot parse "2000-1999" as port range: first port must be ≤ last port`,
  },
  ...["max-conn", "max-conn-per-source"].flatMap((flag) =>
    ["0", "1000001", "-1", "1e3", "", "12x"].map((count) => ({
      name: `${count || "no number"} as ${flag}`,
      argv: [NET, DST, `--${flag}=${count}`],
      message: `--${flag}: Cannot parse "${count}" as number of connections: ` +
        "expected an integer 1 to 1000000",
    }))
  ),
  ...["0", "10000001", "-1", "many"].map((count) => ({
    name: `${count} as buckets`,
    argv: [NET, DST, `--max-limit-sources=${count}`],
    message: `--max-limit-sources: Cannot parse "${count}" as number of buckets: ` +
      "expected an integer 1 to 10000000",
  })),
  ...["0", "1000001", "many"].map((count) => ({
    name: `${count} as neighbours`,
    argv: [NET, DST, `--max-neighbors=${count}`],
    message: `--max-neighbors: Cannot parse "${count}" as number of neighbours: ` +
      "expected an integer 1 to 1000000",
  })),
  ...TIMEOUTS.flatMap((timeout) =>
    ["0", "1000001", "5s", ""].map((time) => ({
      name: `${time || "no time"} as ${timeout} timeout`,
      argv: [NET, DST, `--timeout-${timeout}=${time}`],
      message: `--timeout-${timeout}: Cannot parse "${time}" as time in seconds: ` +
        "expected an integer 1 to 1000000",
    }))
  ),
  ...["4294967296", "-1", "0x10", "1.5"].map((seed) => ({
    name: `seed ${seed}`,
    argv: [NET, DST, `--seed=${seed}`],
    message: `--seed: Cannot parse "${seed}" as seed: expected an integer 0 to 4294967295`,
  })),
  {
    name: "options of no capture",
    argv: [NET, DST, "--capture-options=drops-only"],
    message: "--capture-options: Cannot use without --capture",
  },
  {
    name: "unknown option of a capture",
    argv: [NET, DST, "--capture=x", "--capture-options=drop-only=true"],
    message: '--capture-options: Unknown parameter "drop-only": expected "max-size", ' +
      '"rotate", "filter", "drops-only", "snaplen" or "duration"; did you mean "drops-only"?',
  },
  {
    name: "an option of a capture without a value",
    argv: [NET, DST, "--capture=x", "--capture-options=drops-only all"],
    message: '--capture-options: Cannot use "all" as option of a capture: expected NAME=VALUE, ' +
      'or "drops-only"',
  },
  {
    name: "unknown trace mode",
    argv: [NET, DST, "--trace=some"],
    message:
      `--trace: Cannot parse "some" as trace mode: expected auto, all, drops, off or a predicate, ` +
      "as in 'tcp.dport = 443'",
  },
  {
    name: "neither on nor off",
    argv: [NET, DST, "--offload=yes"],
    message: `--offload: Cannot parse "yes" as switch: expected on or off`,
  },
  ...["1001", "-1", "", "0.5"].map((spin) => ({
    name: `${spin || "no time"} as spin`,
    argv: [NET, DST, `--spin=${spin}`],
    message: `--spin: Cannot parse "${spin}" as time in microseconds: ` +
      "expected an integer 0 to 1000",
  })),
  {
    name: "no file for the state",
    argv: [NET, DST, "--state="],
    message: `--state: Cannot use "" as file name: expected a path`,
  },
  {
    name: "an age of a state that is not kept",
    argv: [NET, DST, "--state-max-age=5"],
    message: "--state-max-age: Cannot use without --state",
  },
  {
    name: "no age",
    argv: [NET, DST, "--state=s", "--state-max-age=0"],
    message: `--state-max-age: Cannot parse "0" as time in seconds: expected an integer 1 to 86400`,
  },
  {
    name: "a state for explain",
    argv: [DST, "--state=s", "explain", "icmp 192.168.0.254 > 192.168.0.100"],
    message: 'Cannot use --state with "explain", see proxy explain --help',
  },
];
for (const { name, argv, message } of errors) {
  Deno.test(`parseArgs refuses ${name}`, () => {
    assert.deepEqual(parseArgs(argv, ABOUT), { kind: "usage-error", message });
  });
}

Deno.test("parseArgs --version tells version and build, whatever else is given", () => {
  const expected = { kind: "print", text: "treegate 0.1.0 (portable build)\n" };
  assert.deepEqual(parseArgs(["--version"], ABOUT), expected);
  assert.deepEqual(parseArgs([NET, "--version"], ABOUT), expected);
});

Deno.test("parseArgs --help has every flag and its default on a page 80 columns wide", () => {
  const command = parseArgs(["--help"], ABOUT);
  assert.equal(command.kind, "print");
  const { text } = command as { text: string };
  const flags = [
    "net",
    "dst-addrs",
    "check",
    "ipv4",
    "gateway",
    "route",
    "mac",
    "host-ipv4",
    "host-ipv4-b",
    ...["ipv6", "ipv6-b", "host-ipv6", "host-ipv6-b", "accept-ra"],
    "translate-families",
    "clamp-mss",
    "retries",
    "connect-timeout",
    "strays",
    "net-b",
    "ipv4-b",
    "gateway-b",
    "mac-b",
    "ports",
    "max-conn",
    "max-neighbors",
    "max-conn-per-source",
    ...TIMEOUTS.map((name) => `timeout-${name}`),
    "seed",
    "trace",
    "capture",
    "capture-options",
    "capture-dir",
    "offload",
    "spin",
    "state",
    "state-max-age",
  ];
  for (const flag of flags) {
    assert.match(text, new RegExp(`^  --${flag}=[^]*?\\((required|default)`, "m"));
  }
  for (const flag of ["-h, --help", "--version"]) {
    assert.match(text, new RegExp(`^  ${flag} `, "m"));
  }
  assert.ok(text.split("\n").every((line) => line.length <= 80));
  assert.ok(text.endsWith("command line.\n") && !text.endsWith("\n\n"));
});

Deno.test("parseArgs takes -h and help for --help, and no help page is wider than 80 columns", () => {
  const pages = [[], ["policy"], ["explain"], ["replay"], ["ctl"], ["completion"], ["man"]].map(
    (command) => {
      const page = parseArgs([...command, "--help"], ABOUT);
      assert.ok(page.kind === "print");
      assert.deepEqual(parseArgs([...command, "-h"], ABOUT), page);
      assert.deepEqual(parseArgs(["help", ...command], ABOUT), page);
      for (const line of page.text.split("\n")) assert.ok(line.length <= 80, line);
      return page.text;
    },
  );
  assert.equal(new Set(pages).size, 7);
});

Deno.test("parseArgs --help shows examples that work", () => {
  const { text } = parseArgs(["--help"], ABOUT) as { text: string };
  const examples = [...text.replaceAll("\\\n", "").matchAll(/^ {4}proxy (.*)$/gm)];
  assert.equal(examples.length, 3);
  for (const [, line] of examples) configOf(...line!.split(/ +/));
});

Deno.test("parseArgs takes the command policy, for a file or the built-in policy", () => {
  for (const view of ["check", "print", "format", "mermaid", "dot", "svg"]) {
    assert.deepEqual(parseArgs(["policy", view], ABOUT), { kind: "policy", view, file: null });
    for (const file of ["web.policy", "-", "a b", "./--net"]) {
      assert.deepEqual(parseArgs(["policy", view, file], ABOUT), { kind: "policy", view, file });
    }
    assert.deepEqual(parseArgs(["policy", view, "--", "--x"], ABOUT), {
      kind: "policy",
      view,
      file: "--x",
    });
  }
});

const VIEWS = "expected check, print, format, mermaid, dot or svg";
const policyErrors: { argv: string[]; message: string }[] = [
  { argv: ["policy"], message: `Missing word after "policy": ${VIEWS}` },
  { argv: ["policy", "draw"], message: `Cannot use "draw" after "policy": ${VIEWS}` },
  { argv: ["policy", "constructor"], message: `Cannot use "constructor" after "policy": ${VIEWS}` },
  {
    argv: ["policy", "svg", "a", "b"],
    message: 'Cannot use "b" as second file: expected one',
  },
  { argv: ["policy", "svg", ""], message: 'Cannot use "" as file name: expected a path' },
  {
    argv: ["policy", "svg", DST],
    message: 'Cannot use --dst-addrs with "policy": expected no flags',
  },
  { argv: [NET, "policy", "svg"], message: 'Cannot use --net with "policy": expected no flags' },
  { argv: ["policy", "svg", "--foo"], message: "Unknown option '--foo', see --help" },
  {
    argv: [NET, DST, "svg"],
    message: 'Cannot use argument "svg": expected a command; did you mean "policy svg"?',
  },
  {
    argv: ["status"],
    message: 'Cannot use argument "status": expected a command; did you mean "ctl status"?',
  },
  {
    argv: ["polcy", "check"],
    message: 'Cannot use argument "polcy": expected a command; did you mean "policy"?',
  },
  {
    argv: ["policy", "chekc"],
    message: `Cannot use "chekc" after "policy": ${VIEWS}; did you mean "check"?`,
  },
  {
    argv: ["explian"],
    message: 'Cannot use argument "explian": expected a command; did you mean "explain"?',
  },
  {
    argv: ["help", "explian"],
    message: 'Cannot use "explian" after "help": expected "policy", "explain", "replay", "ctl", ' +
      '"completion", "man" or "help"; did you mean "explain"?',
  },
];
for (const { argv, message } of policyErrors) {
  Deno.test(`parseArgs refuses ${JSON.stringify(argv.join(" "))}`, () => {
    assert.deepEqual(parseArgs(argv, ABOUT), { kind: "usage-error", message });
  });
}

Deno.test("parseArgs --help names the command policy, whose own page names its words", () => {
  const text = (...argv: string[]) => {
    const command = parseArgs(argv, ABOUT);
    assert.ok(command.kind === "print");
    return command.text;
  };
  assert.match(
    text("--help"),
    /^Commands:\n {2}policy \[VIEW\] \[FILE\] +check, print or draw a policy/m,
  );
  const page = text("policy", "--help");
  assert.match(page, /^Usage: proxy policy check\|print\|format\|mermaid\|dot\|svg \[FILE\]\n/);
  for (const view of ["check", "print", "format", "mermaid", "dot", "svg"]) {
    assert.match(page, new RegExp(`^ {2}${view} +\\w`, "m"));
  }
});

Deno.test("parseArgs reads explain, its flags on either side, and one packet or several", () => {
  const ping = "icmp 192.168.0.254 > 192.168.0.100";
  const command = parseArgs(["--seed=7", "explain", DST, SYN, "--policy=x", ping], ABOUT);
  assert.ok(command.kind === "explain");
  const { config, packets } = command;
  assert.deepEqual(packets.map(({ protocol, dstPort }) => [protocol, dstPort]), [[6, 2000], [
    1,
    0,
  ]]);
  assert.deepEqual([config.seed, config.policy, config.links[0].routes], [7, "x", []]);
  assert.deepEqual(config.dstAddrs.map(formatHostAddress), ["192.168.0.1", "192.168.0.2"]);
});

Deno.test("parseArgs reads captures", () => {
  const capturesOf = (...flags: string[]) => {
    const command = parseArgs([NET, DST, ...flags], ABOUT);
    assert.ok(command.kind === "run", JSON.stringify(command));
    return command.captures;
  };
  assert.deepEqual(capturesOf(), { file: null, options: WHOLE_CAPTURE, dir: null });
  assert.deepEqual(capturesOf("--capture=x", "--capture-dir=/d"), {
    file: "x",
    options: WHOLE_CAPTURE,
    dir: "/d",
  });
  const options = "drops-only snaplen=96  max-size=10M rotate=4 duration=1h " +
    "filter=tcp.dport = 443 and filter=x";
  assert.deepEqual(capturesOf("--capture=x", `--capture-options=${options}`).options, {
    filter: "tcp.dport = 443 and filter=x",
    dropsOnly: true,
    snapBytes: 96,
    maxBytes: 10 << 20,
    files: 4,
    durationMs: 3_600_000,
  });
  assert.deepEqual(capturesOf("--capture=x", "--capture-options=filter=tcp").options, {
    ...WHOLE_CAPTURE,
    filter: "tcp",
  });
});

Deno.test("parseArgs reads what --trace shows: a word, or a predicate for later", () => {
  for (
    const [text, trace] of [
      ["drops", "drops"],
      ["tcp", { filter: "tcp" }],
      ["tcp.dport = 443 and ip.src in $web", { filter: "tcp.dport = 443 and ip.src in $web" }],
    ] as const
  ) {
    const command = parseArgs([NET, DST, `--trace=${text}`], ABOUT);
    assert.ok(command.kind === "run");
    assert.deepEqual(command.config.trace, trace);
  }
});

Deno.test("parseArgs reads replay, with trace all unless told, and the MAC address if given", () => {
  const command = parseArgs(["replay", DST, "--pcap=in.pcap"], ABOUT);
  assert.ok(command.kind === "replay");
  const { config, ...rest } = command;
  assert.deepEqual(rest, {
    kind: "replay",
    captures: [{ findMac: true, pcap: "in.pcap", out: null, mtu: 1500 }],
  });
  assert.deepEqual([config.trace, config.seed, config.maxConn], ["all", null, 262_144]);
  const flags = ["--out", "o", "--pcap", "p", "--trace=off", "--mac=02:00:00:00:00:01", "--seed=9"];
  const other = parseArgs(["replay", ...flags, DST, "--mtu=65521", "--ports=5000-6000"], ABOUT);
  assert.ok(other.kind === "replay");
  assert.deepEqual(other.captures, [{ findMac: false, pcap: "p", out: "o", mtu: 65_521 }]);
  assert.deepEqual([other.config.trace, other.config.seed, other.config.ports.last], [
    "off",
    9,
    6000,
  ]);
});

const memoryErrors: { argv: string[]; message: string }[] = [
  {
    argv: ["explain", DST],
    message:
      `Missing packet after "explain": expected one, as in 'icmp 192.168.0.254 > 192.168.0.100'`,
  },
  {
    argv: ["explain", SYN],
    message: "--dst-addrs: Required: expected --dst-addrs=ADDR[,ADDR…], " +
      "as in --dst-addrs=192.168.0.1,192.168.0.2",
  },
  {
    argv: ["explain", DST, "tcp"],
    message: 'Cannot read packet "tcp": found its end, ' +
      "expected ADDRESS:PORT, as in 192.168.0.1:80 or [2001:db8::1]:80",
  },
  {
    argv: ["explain", DST, NET, SYN],
    message: 'Cannot use --net with "explain", see proxy explain --help',
  },
  {
    argv: ["explain", DST, "--trace=all", SYN],
    message: 'Cannot use --trace with "explain", see proxy explain --help',
  },
  { argv: ["explain", DST, "--pcap=x", SYN], message: "Unknown option '--pcap', see --help" },
  {
    argv: ["replay", DST],
    message: "--pcap: Required: expected --pcap=FILE, as in --pcap=in.pcap",
  },
  {
    argv: ["replay", DST, "--pcap="],
    message: '--pcap: Cannot use "" as file name: expected a path',
  },
  {
    argv: ["replay", DST, "--pcap=a", "--pcap=b"],
    message: '--pcap: Cannot use "b" as second value: expected one',
  },
  {
    argv: ["replay", DST, "--pcap", "--out=b"],
    message: '--pcap: Missing value before "--out"',
  },
  {
    argv: ["replay", DST, NET, "--pcap=a"],
    message: 'Cannot use --net with "replay", see proxy replay --help',
  },
  {
    argv: ["replay", DST, "--pcap=a", "b"],
    message: 'Cannot use argument "b": expected flags only, see --help',
  },
  { argv: [NET, DST, "--pcap=a"], message: "Unknown option '--pcap', see --help" },
];
for (const { argv, message } of memoryErrors) {
  Deno.test(`parseArgs refuses ${JSON.stringify(argv.join(" "))}`, () => {
    assert.deepEqual(parseArgs(argv, ABOUT), { kind: "usage-error", message });
  });
}

Deno.test("parseArgs prints help pages of explain and replay, whose examples are right", () => {
  for (const name of ["explain", "replay"]) {
    const command = parseArgs([name, "--help"], ABOUT);
    assert.ok(command.kind === "print");
    assert.match(command.text, new RegExp(`^Usage: proxy ${name} --dst-addrs=`));
    assert.ok(command.text.split("\n").every((line) => line.length <= 80), command.text);
    const examples = [...command.text.replaceAll("\\\n", "").matchAll(/^ {2}proxy (.*)$/gm)];
    assert.ok(examples.length >= 2);
    for (const [, words] of examples) {
      const argv = [...words!.matchAll(/'([^']*)'|(\S+)/g)].map(([, quoted, word]) =>
        quoted ?? word!
      );
      assert.equal(parseArgs(argv, ABOUT).kind, name, words);
    }
  }
});

function ctlOf(...argv: string[]): Record<string, unknown> {
  const { kind, ...command } = parseArgs(["ctl", ...argv], ABOUT);
  assert.equal(kind, "ctl", JSON.stringify(command));
  return command;
}

Deno.test("parseArgs reads --control, and nothing for a run without", () => {
  const controlOf = (...flags: string[]) => {
    const command = parseArgs([NET, DST, ...flags], ABOUT);
    return command.kind === "run" ? command.control : command.kind;
  };
  assert.equal(controlOf(), null);
  assert.equal(controlOf("--control=/run/x"), "/run/x");
});

Deno.test("parseArgs reads --admin, --admin-host and --admin-insecure-bind", () => {
  const adminOf = (...flags: string[]) => {
    const command = parseArgs([NET, DST, ...flags], ABOUT);
    return command.kind === "run" ? command.tap.admin : (command as { message: string }).message;
  };
  assert.equal(adminOf(), null);
  assert.deepEqual(adminOf("--admin=127.0.0.1:9100"), {
    host: "127.0.0.1",
    port: 9100,
    names: [],
  });
  assert.deepEqual(adminOf("--admin=[0:0::1]:9100"), { host: "[::1]", port: 9100, names: [] });
  assert.deepEqual(adminOf("--admin=[2001:DB8::1]:80", "--admin-insecure-bind"), {
    host: "[2001:db8::1]",
    port: 80,
    names: [],
  });
  assert.deepEqual(
    adminOf("--admin=0.0.0.0:80", "--admin-insecure-bind", "--admin-host=Proxy1,p.example"),
    { host: "0.0.0.0", port: 80, names: ["proxy1", "p.example"] },
  );
  const wrong: readonly (readonly [flags: readonly string[], message: string])[] = [
    [
      ["--admin=0.0.0.0:9100"],
      "--admin: Cannot listen at 0.0.0.0:9100: others could read it, expected 127.0.0.1 or [::1], or " +
      "--admin-insecure-bind",
    ],
    [
      ["--admin=[::]:9100"],
      "--admin: Cannot listen at [::]:9100: others could read it, expected 127.0.0.1 or [::1], or " +
      "--admin-insecure-bind",
    ],
    [
      ["--admin=[fe80::1]:9100", "--admin-insecure-bind"],
      '--admin: Cannot parse "[fe80::1]:9100" as address to listen at: a link-local address ' +
      "belongs to a device, expected another",
    ],
    [
      ["--admin=[fe80::1%eth0]:9100", "--admin-insecure-bind"],
      '--admin: Cannot parse "[fe80::1%eth0]" as IPv6 address: a zone ("%…") is not supported',
    ],
    [
      ["--admin=::1:9100"],
      '--admin: Cannot parse "::1:9100" as address to listen at: expected ADDR:PORT, as in ' +
      "127.0.0.1:9100 or [::1]:9100",
    ],
    [
      ["--admin=[::1]:"],
      '--admin: Cannot parse "[::1]:" as address to listen at: expected ADDR:PORT, as in ' +
      "127.0.0.1:9100 or [::1]:9100",
    ],
    [
      ["--admin=9100"],
      '--admin: Cannot parse "9100" as address to listen at: expected ADDR:PORT, as in ' +
      "127.0.0.1:9100 or [::1]:9100",
    ],
    [
      ["--admin=127.0.0.1:0"],
      '--admin: Cannot parse "127.0.0.1:0" as address to listen at: port must be 1 to 65535',
    ],
    [
      ["--admin=127.0.0.1:9100", "--admin-host=a,b c"],
      '--admin-host: Cannot use "b c" as host name: expected one as in proxy1.example.org',
    ],
    [["--admin-host=a"], "--admin-host: Cannot use without --admin"],
    [["--admin-insecure-bind"], "--admin-insecure-bind: Cannot use without --admin"],
  ];
  for (const [flags, message] of wrong) assert.equal(adminOf(...flags), message);
});

Deno.test("parseArgs reads --log-level", () => {
  const levelOf = (...flags: string[]) => {
    const command = parseArgs([NET, DST, ...flags], ABOUT);
    return command.kind === "run" ? command.logLevel : command;
  };
  assert.equal(levelOf(), "info");
  assert.equal(levelOf("--log-level=error"), "error");
  assert.equal(levelOf("--log-level=debug"), "debug");
  assert.deepEqual(levelOf("--log-level=verbose"), {
    kind: "usage-error",
    message:
      '--log-level: Cannot parse "verbose" as log level: expected debug, info, warning or error',
  });
});

Deno.test("parseArgs reads --log-connections as lines a second", () => {
  const rateOf = (...flags: string[]) => {
    const command = parseArgs([NET, DST, ...flags], ABOUT);
    return command.kind === "run"
      ? command.logConnections
      : "message" in command && command.message;
  };
  assert.equal(rateOf(), 0);
  assert.equal(rateOf("--log-connections=10/s"), 10);
  assert.equal(rateOf("--log-connections=0/s"), 0);
  for (const text of ["10", "x/s", "-1/s", "1.5/s", "10/m"]) {
    const message = `Cannot parse "${text}" as rate: expected N/s, as in 10/s`;
    assert.equal(rateOf(`--log-connections=${text}`), `--log-connections: ${message}`);
  }
  assert.equal(
    rateOf("--log-connections=1001/s"),
    '--log-connections: Cannot parse "1001" as lines a second: expected an integer 0 to 1000',
  );
});

Deno.test("parseArgs reads ctl top with its interval", () => {
  const top = { kind: "top", control: "/run/treegate/control.sock" };
  assert.deepEqual(parseArgs(["ctl", "top"], ABOUT), { ...top, intervalMs: 1000, isOnce: false });
  assert.deepEqual(
    parseArgs(["ctl", "--control=/x", "top", "--interval=200ms", "--once"], ABOUT),
    { ...top, control: "/x", intervalMs: 200, isOnce: true },
  );
});

Deno.test("parseArgs reads commands of ctl as requests", () => {
  const usual = { control: "/run/treegate/control.sock", isJson: false, isWatching: false };
  assert.deepEqual(ctlOf("status"), {
    ...{ ...usual, name: "status", method: "GET", target: "/status" },
  });
  assert.deepEqual(ctlOf("status", "--control=/x", "--json", "--watch"), {
    ...{ name: "status", method: "GET", target: "/status" },
    ...{ control: "/x", isJson: true, isWatching: true },
  });
  const targets: readonly [string[], string][] = [
    [
      ["connections", "state=established", "source=10.0.0.0/8"],
      "GET /connections?state=established&source=10.0.0.0%2F8",
    ],
    [["kill", "all"], "POST /kill?all=true"],
    [["kill", "backend=10.0.0.1:80"], "POST /kill?backend=10.0.0.1%3A80"],
    [["reload"], "POST /reload"],
    [["upgrade"], "POST /upgrade"],
    [["drain", "web/10.0.0.1:80", "--wait=60s"], "POST /drain?name=web%2F10.0.0.1%3A80&wait=60s"],
    [["add", "web/10.0.0.1", "weight=7"], "POST /add?name=web%2F10.0.0.1&weight=7"],
    [["weight", "10.0.0.1", "7"], "POST /weight?name=10.0.0.1&weight=7"],
    [["explain", "icmp 10.0.0.1 > 10.0.0.2"], "GET /explain?packet=icmp+10.0.0.1+%3E+10.0.0.2"],
    [
      ["capture", "start", "web", "filter=tcp.dport = 80", "drops-only", "max-size=1M"],
      "POST /capture/start?name=web&filter=tcp.dport+%3D+80&drops-only=true&max-size=1M",
    ],
    [["capture", "stop"], "POST /capture/stop"],
    [["trace", "tcp and new", "limit=3"], "GET /trace?predicate=tcp+and+new&limit=3"],
  ];
  for (const [argv, target] of targets) {
    const command = ctlOf(...argv);
    assert.equal(`${command.method} ${command.target}`, target);
  }
});

Deno.test("parseArgs tells the beginning of what is wrong where it is long", () => {
  const long = "1".repeat(100_000);
  for (
    const argv of [
      [`--net=${long}`, DST],
      ["--net", long, DST],
      [NET, `--dst-addrs=192.168.0.1,${long}`],
      [NET, DST, `--route=10.0.0.0/8,${long}`],
      [NET, DST, long],
      [NET, DST, `--${long}=x`],
      ["explain", DST, long],
      ["ctl", long],
    ]
  ) {
    const command = parseArgs(argv, ABOUT);
    assert.ok(command.kind === "usage-error", command.kind);
    assert.match(command.message, /^[^\n]{40,500}$/);
  }
});

const wrongCtl: readonly [string[], RegExp][] = [
  [[], /^Missing word after "ctl": expected "status", /],
  [["stauts"], /^Cannot use "stauts" after "ctl": did you mean "status"\?$/],
  [["status", "now"], /^Cannot use "now" after "ctl status": expected nothing$/],
  [["status", "--net=tap0"], /^Cannot use --net with "ctl"/],
  [["connections", "10.0.0.1"], /expected NAME=VALUE$/],
  [["capture"], /^Missing word after "ctl capture": expected "start NAME"/],
  [["capture", "start"], /expected "start NAME", as in start web.pcapng, or "stop"$/],
  [["capture", "begin", "x"], /^Cannot use "begin x" after "ctl capture"/],
  [["capture", "stop", "x"], /^Cannot use "x" after "ctl capture stop": expected nothing/],
  [
    ["capture", "start", "x", "fast"],
    /^Cannot use "fast" after "ctl capture": expected NAME=VALUE/,
  ],
  [["trace"], /^Missing predicate/],
  [["trace", "tcp", "and", "new"], /a predicate is one argument, in quotes$/],
  [["drain"], /^Missing word after "ctl drain": expected a backend, as in 192/],
  [["weight"], /^Missing word after "ctl weight": expected a backend and its weight/],
  [["kill"], /^Missing word after "ctl kill": expected a filter, as in backend=.*, or "all"$/],
  [["explain", "tcp", "10.0.0.1:1"], /^Cannot use "tcp" as packet: expected one argument in quo/],
  [["status", "--json=yes"], /^--json: Cannot use "yes": this flag has no value$/],
  [["weight", "10.0.0.1"], /expected a backend and its weight/],
  [["ready", "10.0.0.1", "--wait=1s"], /^Cannot use --wait with "ready"/],
  [["explain"], /^Missing packet/],
  [["reload", "--watch"], /^Cannot use --watch with "reload"$/],
  [["top", "tree"], /^Cannot use "tree" after "ctl top": expected nothing$/],
  [["top", "--json"], /^Cannot use --json with "top"$/],
  [["top", "--watch"], /^Cannot use --watch with "top"$/],
  [["top", "--wait=1s"], /^Cannot use --wait with "top"$/],
  [["top", "--interval=soon"], /^--interval: Cannot use "soon" as time: expected a number and /],
  [["top", "--interval=100ms"], /^--interval: Cannot use "100ms": expected 200ms to 1h$/],
  [["top", "--interval=2h"], /^--interval: Cannot use "2h": expected 200ms to 1h$/],
  [["tree", "--interval=2s"], /^Cannot use --interval with "tree": expected "top"$/],
  [["tree", "--once"], /^Cannot use --once with "tree": expected "top"$/],
  [["upgrade", "/bin/x"], /^Cannot use "\/bin\/x" after "ctl upgrade": expected nothing$/],
  [["--jsno", "status"], /--json/],
];
for (const [argv, message] of wrongCtl) {
  Deno.test(`parseArgs refuses ctl ${argv.join(" ")}`, () => {
    const command = parseArgs(["ctl", ...argv], ABOUT);
    assert.equal(command.kind, "usage-error", JSON.stringify(command));
    assert.match((command as { message: string }).message, message);
  });
}
