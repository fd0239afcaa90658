import assert from "node:assert/strict";
import { connectionsOf, sliceOf } from "../../src/control/connection_rows.ts";
import { type Filter, readFilter } from "../../src/control/filter.ts";
import { memberNamed } from "../../src/control/members.ts";
import { Overlay, parseMemberName } from "../../src/control/overlay.ts";
import { Parameters } from "../../src/control/parameters.ts";
import { SeededRandom } from "../../src/core/random.ts";
import { Backends } from "../../src/flow/backends/backends.ts";
import { plainMember } from "../../src/flow/backends/member.ts";
import { AddressDigest } from "../../src/wire/address_digest.ts";
import { formatEndpoint, parseHostAddress } from "../../src/wire/host_address.ts";
import { ICMP, syn, UDP, World } from "../flow/connections6_world.ts";

function filterOf(query: string): Filter {
  const values = [...new URLSearchParams(query)].map(([name, value]) => [name, [value]] as const);
  return structuredClone(readFilter(new Parameters(new Map(values))));
}

/** A TCP connection of c1, a UDP one of c2, and a ping of c3 that the proxy has answered. */
function worldOf(isIpv6: boolean): World {
  const world = new World(isIpv6, 4);
  const udp = { ...syn("c2", 5353), protocol: UDP, fields: {} };
  const ping = { ...syn("c3", 77), protocol: ICMP, fields: { icmpType: 8 }, dstPort: 0 };
  assert.match(world.send(syn("c1")), /^proxy:/);
  assert.match(world.send(udp), /^proxy:/);
  assert.equal(world.send({ ...ping, step: "track" }), "tracked");
  return world;
}

function shown(world: World, query = ""): string[] {
  const rows = sliceOf(world.connections, filterOf(query), 0, 1000, 0);
  return connectionsOf(structuredClone(rows)).map(({ protocol, client, virtual, backend }) =>
    [protocol, client, virtual, backend ?? "-"].join(" ")
  );
}

Deno.test("connections over IPv6 are rows of whole addresses, IPv4's are as they were", () => {
  const six = shown(worldOf(true));
  assert.equal(six.length, 3);
  assert.match(
    six[0]!,
    /^tcp \[2001:db8:c:1::1\]:40000 \[2001:db8::64\]:80 \[2001:db8:.*\]:80$/,
  );
  assert.match(six[1]!, /^udp \[2001:db8:c:2::1\]:5353 \[2001:db8::64\]:80 \[2001:db8.*\]:80$/);
  assert.equal(six[2], "icmp [2001:db8:c:3::1]:77 [2001:db8::64]:0 -");
  const four = shown(worldOf(false));
  assert.match(four[0]!, /^tcp 10\.0\.0\.1:40000 192\.168\.0\.100:80 192\.168\.0\.[123]:80$/);
  assert.equal(four[2], "icmp 10.0.0.3:77 192.168.0.100:0 -");
});

for (
  const [query, inSix, inFour] of [
    ["", 3, 3],
    ["protocol=tcp", 1, 1],
    ["protocol=icmp", 1, 1],
    ["source=2001:db8:c::/48", 3, 0],
    ["source=2001:db8:c:2::/64", 1, 0],
    ["source=2001:DB8:c:2::1", 1, 0],
    ["source=::/0", 3, 0],
    ["source=0.0.0.0/0", 0, 3],
    ["source=10.0.0.2", 0, 1],
    ["protocol=udp&source=2001:db8:c:1::1", 0, 0],
    ["port=80", 2, 2],
  ] as const
) {
  Deno.test(`the filter "${query}" takes ${inSix} connections over IPv6, ${inFour} over IPv4`, () => {
    assert.deepEqual([shown(worldOf(true), query).length, shown(worldOf(false), query).length], [
      inSix,
      inFour,
    ]);
  });
}

Deno.test("a filter by backend compares whole addresses, and the port", () => {
  const world = worldOf(true);
  const [row] = connectionsOf(sliceOf(world.connections, filterOf("protocol=tcp"), 0, 9, 0));
  const address = row!.backend!.replace(/:80$/, "");
  const count = (query: string) => shown(world, `protocol=tcp&backend=${query}`).length;
  assert.equal(count(encodeURIComponent(address)), 1);
  assert.equal(count(encodeURIComponent(address.slice(1, -1))), 1);
  assert.equal(count(encodeURIComponent(`${address}:80`)), 1);
  assert.equal(count(encodeURIComponent(`${address}:81`)), 0);
  assert.equal(count("192.168.0.1"), 0);
  assert.equal(count("[2001:db8::99]:80"), 0);
});

Deno.test("a filter of IPv6 that is wrong is refused", () => {
  assert.throws(() => filterOf("source=2001:db8::1/32"), {
    message: 'source: Cannot use "2001:db8::1/32" as network: host bits must be zero; ' +
      'did you mean "2001:db8::/32"?',
  });
  for (const name of ["source", "backend"]) {
    assert.throws(() => filterOf(`${name}=nope`), {
      message: `${name}: Cannot parse "nope" as address: ` +
        "expected an IPv4 or IPv6 address, as in 192.168.0.1 or 2001:db8::1",
    });
  }
  assert.throws(() => filterOf("source=fe80::1%eth0"), /a zone \("%…"\) is not supported/);
  assert.throws(() => filterOf("backend=[2001:db8::1]:x"), /Cannot use "x" as port/);
});

Deno.test("new backends of IPv6 are named in any form, and kept in the canonical one", () => {
  const nameOf = (name: string) => {
    const { pool, address, port } = parseMemberName(name);
    return `${pool} ${formatEndpoint(address, port)}`;
  };
  assert.equal(nameOf("web/[2001:DB8::1]:8080"), "web [2001:db8::1]:8080");
  assert.equal(nameOf("$web/2001:db8:0::1"), "web 2001:db8::1");
  assert.equal(nameOf("web/[2001:db8::1]"), "web 2001:db8::1");
  assert.equal(nameOf("web/10.0.0.1:8080"), "web 10.0.0.1:8080");
  for (
    const name of ["web/[2001:db8::1]:0", "web/[2001:db8::1]:", "web/2001:db8::1%eth0", "web/:"]
  ) {
    assert.throws(() => parseMemberName(name), /Cannot (use|parse)/, name);
  }
  const overlay = new Overlay().with(parseMemberName("web/[2001:db8::1]:8080"), 3);
  const [change] = overlay.changes();
  assert.deepEqual(change, { pool: "web", address: "2001:db8::1", port: 8080, weight: 3 });
  assert.deepEqual(Overlay.of([change!]).changes(), [change]);
});

Deno.test("backends of IPv6 are found by any form of their names", () => {
  const address = parseHostAddress("2001:db8::1");
  const members = [plainMember(address), { ...plainMember(address), port: 8080 }];
  const digest = new AddressDigest(new SeededRandom(1));
  const none = undefined;
  const { all } = new Backends([1], { web: { members } }, none, none, none, none, digest);
  const numberOf = (name: string) => memberNamed(name, all).index;
  assert.equal(numberOf("[2001:db8::1]:8080"), 2);
  assert.equal(numberOf("web/[2001:DB8:0::1]:8080"), 2);
  assert.equal(numberOf("web/2001:db8::1"), 1);
  assert.equal(numberOf("$web/[2001:db8::1]"), 1);
  assert.throws(() => numberOf("2001:db8::1"), /Several backends are called "2001:db8::1"/);
  assert.throws(() => numberOf("2001:db8::2"), /There is no backend "2001:db8::2"/);
});
