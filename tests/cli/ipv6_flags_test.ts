import assert from "node:assert/strict";
import { parseArgs } from "../../src/cli/args.ts";
import type { Config } from "../../src/datapath/config.ts";
import { formatLink } from "../../src/datapath/config.ts";
import { parseAddress } from "../../src/wire/address.ts";
import {
  formatHostAddress,
  type HostAddress,
  parseHostAddress,
  parseHostSubnet,
} from "../../src/wire/host_address.ts";

const ABOUT = { version: "0.1.0", build: "portable" };
const NET = "--net=tap100";
const DST = "--dst-addrs=192.168.0.1,2001:db8::1";
const IPV6 = "--ipv6=2001:db8::64";
const SIDES = ["--net-b=tap101", "--ipv4-b=10.0.0.1", "--ipv6-b=2001:db8:b::64/64"];
const DST_B = "--dst-addrs=10.0.0.2,2001:db8:b::1";

function configOf(...argv: string[]): Config {
  const command = parseArgs(argv, ABOUT);
  if (command.kind === "run") return command.config;
  assert.fail("message" in command ? command.message : command.kind);
}

function six(text: string): bigint {
  return parseHostAddress(text) as bigint;
}

function routeTo(network: string, nextHop: string) {
  return { to: parseHostSubnet(network), nextHop: parseHostAddress(nextHop) };
}

Deno.test("without --ipv6 there is no IPv6", () => {
  assert.equal(configOf(NET, "--dst-addrs=192.168.0.1").links[0].ipv6, null);
});

Deno.test("parseArgs reads addresses, routes and gateways of both families", () => {
  const config = configOf(
    ...[NET, DST, IPV6, "--ipv6=[2001:DB8:7:0::1]/48", "--host-ipv6=2001:db8::fe"],
    ...["--gateway=fe80::1", "--gateway=192.168.0.254", "--accept-ra=on"],
    ...["--route=2001:db8:f::/48,2001:db8::fd", "--route=10.0.0.0/8,192.168.0.253"],
    ...["--route=2001:db8:e::/48,[fe80::2]"],
  );
  const [link] = config.links;
  assert.deepEqual(link.ipv6, {
    addresses: [
      { address: six("2001:db8::64"), prefixLength: 64 },
      { address: six("2001:db8:7::1"), prefixLength: 48 },
    ],
    routes: [
      routeTo("::/0", "fe80::1"),
      routeTo("2001:db8:f::/48", "2001:db8::fd"),
      routeTo("2001:db8:e::/48", "fe80::2"),
    ],
    host: { address: six("2001:db8::fe"), prefixLength: 64 },
    acceptRa: true,
  });
  assert.deepEqual(link.routes, [
    routeTo("0.0.0.0/0", "192.168.0.254"),
    routeTo("10.0.0.0/8", "192.168.0.253"),
  ]);
  assert.deepEqual(config.dstAddrs, [parseAddress("192.168.0.1"), six("2001:db8::1")]);
  assert.match(
    formatLink(link),
    /^192\.168\.0\.100\/24, 2001:db8::64\/64, 2001:db8:7::1\/48, MAC 02:/,
  );
});

Deno.test("one side is enough where families are translated", () => {
  const on = "--translate-families=on";
  const [netB, ipv4B, ipv6B] = SIDES as [string, string, string];
  for (
    const [flags, sides] of [
      [["--dst-addrs=10.0.0.2", IPV6], [true, false]],
      [["--dst-addrs=2001:db8:b::1", ipv6B], [false, true]],
    ] as const
  ) {
    const { links, translateFamilies } = configOf(NET, netB, ipv4B, on, ...flags);
    assert.deepEqual(links.map(({ ipv6 }) => ipv6 !== null), sides);
    assert.equal(translateFamilies, true);
  }
});

Deno.test("each side has its own addresses and routes of IPv6", () => {
  const [a, b] = configOf(
    ...[NET, ...SIDES, DST_B, IPV6, "--gateway=2001:db8::fd", "--gateway-b=fe80::1"],
    ...["--route=2001:db8:c::/48,2001:db8:b::fd", "--host-ipv6-b=2001:db8:b::fe/60"],
  ).links;
  assert.deepEqual(a.ipv6, {
    addresses: [{ address: six("2001:db8::64"), prefixLength: 64 }],
    routes: [routeTo("::/0", "2001:db8::fd")],
    host: null,
    acceptRa: false,
  });
  assert.deepEqual(b?.ipv6, {
    addresses: [{ address: six("2001:db8:b::64"), prefixLength: 64 }],
    routes: [routeTo("::/0", "fe80::1"), routeTo("2001:db8:c::/48", "2001:db8:b::fd")],
    host: { address: six("2001:db8:b::fe"), prefixLength: 60 },
    acceptRa: false,
  });
});

const usable: { name: string; argv: string[]; backend: HostAddress }[] = [
  {
    name: "a backend beyond the gateway",
    argv: [NET, IPV6, "--gateway=fe80::1", "--dst-addrs=2001:db8:9::1"],
    backend: six("2001:db8:9::1"),
  },
  {
    name: "a backend in the subnet of the second address",
    argv: [NET, IPV6, "--ipv6=2001:db8:7::1", "--dst-addrs=[2001:db8:7::2]"],
    backend: six("2001:db8:7::2"),
  },
  {
    name: "a backend with the first address of a /127",
    argv: [NET, "--ipv6=2001:db8::1/127", "--dst-addrs=2001:db8::"],
    backend: six("2001:db8::"),
  },
  {
    name: "an IPv4 backend beside --ipv6",
    argv: [NET, IPV6, "--dst-addrs=192.168.0.1"],
    backend: parseAddress("192.168.0.1"),
  },
  {
    name: "a backend beyond a router of side B, in text that is not canonical",
    argv: [
      ...[NET, IPV6, ...SIDES, "--gateway=2001:db8::fd"],
      ...["--route=2001:db8:C:0::/60,2001:DB8:b::fd", "--dst-addrs=2001:0db8:00c:0:0:0:0:7"],
    ],
    backend: six("2001:db8:c::7"),
  },
];

for (const { name, argv, backend } of usable) {
  Deno.test(`parseArgs takes ${name}`, () => {
    assert.deepEqual(configOf(...argv).dstAddrs.map(formatHostAddress), [
      formatHostAddress(backend),
    ]);
  });
}

const HOST = "expected the address of one host, not";

const wrong: { name: string; argv: string[]; message: string }[] = [
  {
    name: "a backend of IPv6 without --ipv6",
    argv: [NET, DST],
    message: '--dst-addrs: Cannot use "2001:db8::1" as backend: ' +
      "expected an IPv4 address, or --ipv6 to reach it",
  },
  {
    name: "the same on side B",
    argv: [NET, "--net-b=tap101", "--ipv4-b=10.0.0.1", DST_B],
    message: '--dst-addrs: Cannot use "2001:db8:b::1" as backend: ' +
      "expected an IPv4 address, or --ipv6-b to reach it",
  },
  ...[
    ["::", "no address (::)"],
    ["::1", "loopback (::1)"],
    ["::ffff:192.168.0.1", "an IPv4 address in IPv6 (::ffff:0:0/96)"],
    ["ff02::1", "multicast (ff00::/8)"],
    ["fe80::1", "link-local (fe80::/10)"],
    ["2001:db8::", "any router of 2001:db8::/64"],
  ].map(([backend, kind]) => ({
    name: `${backend} as backend`,
    argv: [NET, IPV6, `--dst-addrs=${backend}`],
    message: `--dst-addrs: Cannot use "${backend}" as backend: ${HOST} ${kind}`,
  })),
  ...[
    ["::", "no address (::)"],
    ["::1", "loopback (::1)"],
    ["::ffff:192.168.0.1", "an IPv4 address in IPv6 (::ffff:0:0/96)"],
    ["ff02::1", "multicast (ff00::/8)"],
    ["fe80::1", "link-local (fe80::/10)"],
    ["2001:db8:5::", "any router of 2001:db8:5::/64"],
  ].map(([own, kind]) => ({
    name: `${own} as own address`,
    argv: [NET, DST, `--ipv6=${own}`],
    message: `--ipv6: Cannot use "${own}/64" as own address: ${HOST} ${kind}`,
  })),
  ...[
    ["::", "no address (::)"],
    ["::ffff:192.168.0.1", "an IPv4 address in IPv6 (::ffff:0:0/96)"],
    ["ff02::1", "multicast (ff00::/8)"],
  ].map(([gateway, kind]) => ({
    name: `${gateway} as gateway`,
    argv: [NET, DST, IPV6, `--gateway=${gateway}`],
    message: `--gateway: Cannot use "${gateway}" as gateway: ${HOST} ${kind}`,
  })),
  {
    name: "a zone",
    argv: [NET, DST, IPV6, "--gateway=fe80::1%eth0"],
    message: '--gateway: Cannot parse "fe80::1%eth0" as IPv6 address: ' +
      'a zone ("%…") is not supported',
  },
  ...["--gateway=nope", "--dst-addrs=nope"].map((flag) => ({
    name: flag,
    argv: [NET, IPV6, ...(flag.startsWith("--dst") ? [] : [DST]), flag],
    message: `${flag.split("=")[0]}: Cannot parse "nope" as address: ` +
      "expected an IPv4 or IPv6 address, as in 192.168.0.1 or 2001:db8::1",
  })),
  ...[["2001:db8::1", "64"], ["192.168.0.1", "24"]].map(([address, prefix]) => ({
    name: `a gateway with a prefix, ${address}/${prefix}`,
    argv: [NET, DST, IPV6, `--gateway=${address}/${prefix}`],
    message: `--gateway: Cannot parse "${address}/${prefix}" as address: ` +
      `expected none with a prefix; did you mean "${address}"?`,
  })),
  {
    name: "a next hop that is no address",
    argv: [NET, DST, IPV6, "--route=2001:db8:f::/48,nope"],
    message: '--route: Cannot parse "nope" as address: ' +
      "expected an IPv4 or IPv6 address, as in 192.168.0.1 or 2001:db8::1",
  },
  {
    name: "an IPv4 address for --ipv6",
    argv: [NET, DST, "--ipv6=10.0.0.1"],
    message: '--ipv6: Cannot use "10.0.0.1": expected an IPv6 address, as in 2001:db8::64/64',
  },
  ...["", "nope", "10.0.0.1/33"].map((value) => ({
    name: `${JSON.stringify(value)} for --ipv6`,
    argv: [NET, DST, `--ipv6=${value}`],
    message: `--ipv6: Cannot use "${value}": expected an IPv6 address, as in 2001:db8::64/64`,
  })),
  ...["--ipv4", "--host-ipv4"].map((flag) => ({
    name: `an IPv6 address for ${flag}`,
    argv: [NET, DST, `${flag}=2001:db8::64/64`],
    message: `${flag}: Cannot use "2001:db8::64/64": ` +
      "expected an IPv4 address, as in 192.168.0.100/24",
  })),
  {
    name: "a prefix that is too long",
    argv: [NET, DST, "--ipv6=2001:db8::1/129"],
    message: '--ipv6: Cannot parse "2001:db8::1/129" as IPv6 address: ' +
      "prefix length must be 0 to 128",
  },
  {
    name: "an own address twice",
    argv: [NET, DST, IPV6, "--ipv6=2001:DB8::64/48"],
    message: '--ipv6: Cannot use "2001:db8::64" twice: expected another address',
  },
  {
    name: "the proxy as backend",
    argv: [NET, IPV6, "--ipv6=2001:db8::65", "--dst-addrs=2001:db8::65"],
    message: '--dst-addrs: Cannot use "2001:db8::65" as backend: ' +
      "expected another host, not the proxy",
  },
  {
    name: "a backend twice, in two texts",
    argv: [NET, IPV6, "--dst-addrs=2001:db8::1,2001:db8:0::1"],
    message: '--dst-addrs: Cannot use "2001:db8::1" as backend: expected each backend once',
  },
  {
    name: "a backend that no route leads to",
    argv: [NET, IPV6, "--ipv6=2001:db8:7::1/48", "--dst-addrs=2001:db8:9::1"],
    message: '--dst-addrs: Cannot use "2001:db8:9::1" as backend: expected an address in ' +
      "2001:db8::/64 or 2001:db8:7::/48, or a --gateway or --route to reach it",
  },
  {
    name: "a backend of IPv6 on side A",
    argv: [NET, IPV6, ...SIDES, "--gateway-b=fe80::1", "--dst-addrs=2001:db8::7"],
    message: '--dst-addrs: Cannot use "2001:db8::7" as backend: ' +
      "expected a host on side B, the routes say side A",
  },
  {
    name: "a gateway of IPv6 without --ipv6",
    argv: [NET, "--dst-addrs=192.168.0.1", "--gateway=fe80::1"],
    message: '--gateway: Cannot use "fe80::1" as gateway: expected an IPv4 address, or --ipv6',
  },
  {
    name: "a gateway outside of the subnets",
    argv: [NET, DST, IPV6, "--gateway=2001:db8:9::1"],
    message: '--gateway: Cannot use "2001:db8:9::1" as gateway: ' +
      "expected an address in 2001:db8::/64",
  },
  {
    name: "two gateways of one family",
    argv: [NET, DST, IPV6, "--gateway=fe80::1", "--gateway=192.168.0.1", "--gateway=fe80::2"],
    message: '--gateway: Cannot use "fe80::2" as second gateway: expected one for each family',
  },
  {
    name: "a route of both families",
    argv: [NET, DST, IPV6, "--route=10.0.0.0/8,2001:db8::1"],
    message: '--route: Cannot parse "10.0.0.0/8,2001:db8::1" as route: ' +
      "expected network and next hop of one family",
  },
  {
    name: "a route with host bits",
    argv: [NET, DST, IPV6, "--route=2001:db8:f::1/48,2001:db8::1"],
    message: '--route: Cannot parse "2001:db8:f::1/48,2001:db8::1" as route: ' +
      'host bits must be zero; did you mean "2001:db8:f::/48"?',
  },
  {
    name: "a second route to a network of IPv6",
    argv: [NET, DST, IPV6, "--gateway=fe80::1", "--route=::/0,2001:db8::1"],
    message: "--route: Cannot use second route to ::/0: expected one",
  },
  {
    name: "a link-local next hop that either side could have",
    argv: [NET, DST_B, IPV6, ...SIDES, "--route=2001:db8:c::/48,fe80::1"],
    message: '--route: Cannot use "fe80::1" as next hop: ' +
      "expected an address of one side, not link-local (fe80::/10)",
  },
  {
    name: "sides whose subnets of IPv6 overlap",
    argv: [NET, DST_B, "--ipv6=2001:db8:b::1/48", ...SIDES],
    message: "--ipv6-b: Cannot use 2001:db8:b::/64 on side B: " +
      "expected another subnet than 2001:db8:b::/48 on side A",
  },
  {
    name: "IPv6 on side A only",
    argv: [NET, DST_B, IPV6, "--net-b=tap101", "--ipv4-b=10.0.0.1"],
    message: "--ipv6-b: Required: expected --ipv6-b=ADDR/LEN, as in --ipv6-b=2001:db8:b::64/64",
  },
  {
    name: "IPv6 on side B only",
    argv: [NET, DST_B, ...SIDES],
    message: "--ipv6: Required: expected --ipv6=ADDR/LEN, as in --ipv6=2001:db8::64/64",
  },
  ...["--host-ipv6=2001:db8::fe", "--accept-ra=on"].map((flag) => ({
    name: `${flag} without --ipv6`,
    argv: [NET, "--dst-addrs=192.168.0.1", flag],
    message: `${flag.split("=")[0]}: Cannot use without --ipv6`,
  })),
  ...["--ipv6-b=2001:db8:b::64", "--host-ipv6-b=2001:db8:b::fe"].map((flag) => ({
    name: `${flag} without --net-b`,
    argv: [NET, DST, IPV6, flag],
    message: `${flag.split("=")[0]}: Cannot use without --net-b`,
  })),
  {
    name: "the proxy's own address for the device itself",
    argv: [NET, DST, IPV6, "--host-ipv6=2001:db8::64/64"],
    message: '--host-ipv6: Cannot use "2001:db8::64": ' +
      "expected another address than the proxy's",
  },
  {
    name: "--host-ipv6 for explain",
    argv: ["explain", DST, IPV6, "--host-ipv6=2001:db8::fe", "icmp 10.0.0.1 > 10.0.0.2"],
    message: 'Cannot use --host-ipv6 with "explain", see proxy explain --help',
  },
];

for (const { name, argv, message } of wrong) {
  Deno.test(`parseArgs refuses ${name}`, () => {
    assert.deepEqual(parseArgs(argv, ABOUT), { kind: "usage-error", message });
  });
}

for (const command of ["explain", "ctl"]) {
  Deno.test(`${command} --help shows an IPv6 address with a port`, () => {
    const page = parseArgs([command, "--help"], ABOUT);
    assert.ok(page.kind === "print");
    assert.match(page.text, /\[2001:db8::1\]:443/);
  });
}
