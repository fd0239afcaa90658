/** What the appliance itself says over IPv6: to pings of groups, of fragments, of wrong headers. */
import assert from "node:assert/strict";
import { cut6, join6 } from "../support/fragments6.ts";
import {
  buildIcmp6,
  buildIp6,
  buildTcp6,
  buildUdp6,
  groupMacOf,
  type Icmp6,
  type Ip6,
  readIcmp6,
  readTcp6,
} from "../support/frames6.ts";
import { BACKENDS6, CLIENT6, packetsOf, PROXY6, World } from "../support/world.ts";

const LINK_LOCAL = "fe80::ff:fe00:100";
const PING = { type: 128, rest: [1, 2, 0, 1] };

function toGroup(dst: string): Pick<Ip6, "dst" | "dstMac"> {
  return { dst, dstMac: groupMacOf(dst) };
}

/** Destination options with one unknown option whose upper bits say what to do. */
function option(action: number): Ip6["headers"] {
  return [[60, [0, 0, (action << 6) | 0x1e, 4, 0, 0, 0, 0]]];
}

/** The ICMPv6 messages among the frames, in short: source, destination, type, code, rest. */
function said(frames: readonly Uint8Array<ArrayBuffer>[]): string[] {
  return packetsOf(frames).map((frame) => {
    const { src, dst, type, code, rest } = readIcmp6(frame);
    return `${src} to ${dst}: ${type}/${code} ${rest[2]! * 256 + rest[3]!}`;
  });
}

Deno.test("IPv6: pings of a group are answered from an address of the sender's scope", () => {
  const cases: [Partial<Icmp6>, string][] = [
    [toGroup("ff02::1"), `${PROXY6} to ${CLIENT6}: 129/0 1`],
    [{ ...toGroup("ff02::1"), src: "fe80::fe" }, `${LINK_LOCAL} to fe80::fe: 129/0 1`],
    [toGroup("ff02::1:ff00:64"), `${PROXY6} to ${CLIENT6}: 129/0 1`],
    [{ src: "fe80::fe", dst: LINK_LOCAL }, `${LINK_LOCAL} to fe80::fe: 129/0 1`],
  ];
  for (const [fields, expected] of cases) {
    const world = World.settled({ ipv6: true });
    const ping = buildIcmp6({ ...PING, ...fields });
    assert.deepEqual(said(world.send(ping, ping)), [expected], "every other one");
    assert.deepEqual(world.drops(), { policy: 1 });
  }
});

Deno.test("IPv6: nothing else to a group is answered, and nothing in a group's frame", () => {
  const world = World.settled({ ipv6: true });
  const frames = [
    buildTcp6({ ...toGroup("ff02::1"), flags: "S" }),
    buildUdp6(toGroup("ff02::1")),
    buildIcmp6({ ...PING, ...toGroup("ff02::2") }),
    buildIcmp6({ ...PING, dstMac: groupMacOf("ff02::1") }),
  ];
  assert.deepEqual(said(world.send(...frames)), []);
  assert.deepEqual(world.drops(), {
    "multicast-mac": 1,
    "multicast-destination": 2,
    "broadcast-mac": 1,
  });
});

Deno.test("IPv6: a datagram that is not whole after 60 s is told of, if its first fragment came", () => {
  const world = World.settled({ ipv6: true });
  const [first, second] = cut6(buildUdp6({ payload: new Uint8Array(2000) }), 1400);
  const [, other] = cut6(buildUdp6({ payload: new Uint8Array(2000) }), 1400, {}, 99);
  assert.deepEqual(world.send(first!, other!), []);
  assert.deepEqual(said(world.advance(59_800)), []);
  assert.deepEqual(said(world.advance(400)), [`${PROXY6} to ${CLIENT6}: 3/1 0`]);
  assert.equal(world.drops()["fragment-timeout"], 2);
  assert.deepEqual(said(world.send(second!)), [], "it waits for another first one");
});

Deno.test("IPv6: the sender of wrong headers hears which, also of a group if it asks for that", () => {
  const tell = (frame: Uint8Array) => {
    const world = World.settled({ ipv6: true });
    return [...said(world.send(frame)), ...Object.keys(world.drops())];
  };
  const from = `${PROXY6} to ${CLIENT6}:`;
  const group = toGroup("ff02::1");
  assert.deepEqual(tell(buildIp6({ protocol: 99 }, [1])), [`${from} 4/1 6`, "next-header"]);
  assert.deepEqual(tell(buildTcp6({ headers: option(3) })), [`${from} 4/2 42`, "header-option"]);
  assert.deepEqual(tell(buildTcp6({ headers: option(1) })), ["header-option"]);
  const told = [`${from} 4/2 42`, "multicast-destination"];
  assert.deepEqual(tell(buildTcp6({ ...group, headers: option(2) })), told);
  assert.deepEqual(tell(buildTcp6({ ...group, headers: option(3) })), ["multicast-destination"]);
  assert.deepEqual(tell(buildTcp6({ src: "::", headers: option(2) })), ["martian-source"]);
  assert.deepEqual(tell(buildTcp6({ dst: "2001:db8::99", headers: option(2) })), [
    "foreign-destination",
  ]);
});

Deno.test("IPv6: a client with a link-local address alone is served on its own link", () => {
  const world = World.settled({ ipv6: true });
  const [syn] = packetsOf(world.send(buildTcp6({ src: "fe80::fe", flags: "S", ack: 0 })));
  const { src, dst, srcPort } = readTcp6(syn!);
  assert.ok(src === PROXY6 && BACKENDS6.includes(dst));
  const answer = { src: dst, srcMac: readTcp6(syn!).dstMac, srcPort: 2000, dstPort: srcPort };
  const [back] = packetsOf(world.send(buildTcp6({ ...answer, flags: "SA", ack: 1001 })));
  assert.partialDeepStrictEqual(readTcp6(back!), { src: PROXY6, dst: "fe80::fe", flags: "SA" });
});

Deno.test("IPv6: the longest ping comes back whole, in fragments as long as it came in", () => {
  const world = World.settled({ ipv6: true });
  const payload = Uint8Array.from({ length: 65_527 }, (_, i) => i % 99);
  const fragments = cut6(buildIcmp6({ ...PING, payload }), 1232);
  world.send(...fragments);
  const sent = packetsOf(world.send(...fragments));
  assert.equal(sent.length, fragments.length);
  const { type, payload: back } = readIcmp6(join6(sent));
  assert.deepEqual([type, Uint8Array.from(back)], [129, payload]);
});
