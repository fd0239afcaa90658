import assert from "node:assert/strict";
import { Arena } from "../../src/core/arena.ts";
import { SeededRandom } from "../../src/core/random.ts";
import { Reason, type ReasonName } from "../../src/core/reason.ts";
import { OwnAddresses6, reasonOfChainFault } from "../../src/stack/admit6.ts";
import { placeStart } from "../../src/stack/datagram.ts";
import { IcmpErrors } from "../../src/stack/icmp.ts";
import { makeEchoReply6 } from "../../src/stack/icmp6.ts";
import { parseAddress6 } from "../../src/wire/address6.ts";
import { chainFaultOf } from "../../src/wire/decode6.ts";
import { ChainFault } from "../../src/wire/extension_headers.ts";
import { bytesOf } from "../support/frames.ts";
import {
  buildIcmp6,
  buildIp6,
  buildTcp6,
  buildUdp6,
  groupMacOf,
  type Icmp6,
  type Ip6,
  readIcmp6,
  ROUTER_ALERT,
} from "../support/frames6.ts";
import { judge, tsharkTest } from "../support/tshark.ts";
import { frameOf, OWN_MAC, takeSent } from "../wire/place.ts";
import { decode6, type Decoded6, decoded6 } from "../wire/place6.ts";

type Header = Ip6["headers"][number];

const CLIENT = "2001:db8::fe";
const OWN = "2001:db8::64";
const LINK_LOCAL = "fe80::ff:fe00:100";
const ALL_NODES = { dst: "ff02::1", dstMac: groupMacOf("ff02::1") };
const TURNED = {
  dstMac: "02:00:00:00:00:fe",
  srcMac: "02:00:00:00:01:00",
  src: OWN,
  dst: CLIENT,
};

const PADDING: Header = [0, [0, 0, 1, 4, 0, 0, 0, 0]];
const DESTINATION: Header = [60, [0, 0, 1, 4, 0, 0, 0, 0]];
const ATOMIC: Header = [44, [0, 0, 0, 0, 1, 2, 3, 4]];

function fragmentHeader(flagsAndOffset: number): Header {
  return [44, [0, 0, flagsAndOffset >> 8, flagsAndOffset & 255, 1, 2, 3, 4]];
}

/** Destination options with one unknown option whose upper bits say what to do. */
function option(action: number): Header {
  return [60, [0, 0, (action << 6) | 0x1e, 4, 0, 0, 0, 0]];
}

const OWN_ADDRESSES = new OwnAddresses6(
  OWN_MAC,
  [parseAddress6(OWN), parseAddress6("2001:db8:1::64")],
  parseAddress6(LINK_LOCAL),
);

function echoed(frame: Uint8Array): Uint8Array {
  const { arena, pdu } = decoded6(frame);
  makeEchoReply6(arena, pdu, OWN_ADDRESSES);
  assert.equal(pdu.totalLength, pdu.end - pdu.ip);
  return frameOf(arena, pdu);
}

Deno.test("makeEchoReply6 turns the request around: hop limit 64, no flow label, all else as it came", () => {
  for (const hopLimit of [1, 64, 255]) {
    for (const length of [0, 1, 7, 56, 1452, 9000]) {
      const payload = Uint8Array.from({ length }, (_, i) => i * 5);
      const fields = { trafficClass: 0xb9, rest: [0x4a, 0x49, 0, 17], payload };
      const request = buildIcmp6({ ...fields, hopLimit, flowLabel: 0xabcde });
      const expected = buildIcmp6({ ...fields, ...TURNED, type: 129, hopLimit: 64 });
      assert.deepEqual(echoed(request), expected, `hop limit ${hopLimit}, ${length} bytes`);
    }
  }
});

Deno.test("makeEchoReply6 answers from the address that was asked; for a group, from one of the sender's scope", () => {
  const cases: [string, Partial<Icmp6>, string][] = [
    [CLIENT, { dst: "2001:db8:1::64" }, "2001:db8:1::64"],
    [CLIENT, { dst: LINK_LOCAL }, LINK_LOCAL],
    ["fe80::7", {}, OWN],
    [CLIENT, ALL_NODES, OWN],
    ["fe80::7", ALL_NODES, LINK_LOCAL],
    [CLIENT, { dst: "ff02::1:ff00:64", dstMac: groupMacOf("ff02::1:ff00:64") }, OWN],
  ];
  for (const [src, to, expected] of cases) {
    const reply = echoed(buildIcmp6({ src, ...to, payload: bytesOf("hello") }));
    const same = { ...TURNED, src: expected, dst: src, type: 129, payload: bytesOf("hello") };
    assert.deepEqual(reply, buildIcmp6(same), `${src} to ${to.dst}`);
  }
});

Deno.test("makeEchoReply6 leaves extension headers and padding behind", () => {
  for (const headers of [[ROUTER_ALERT], [ATOMIC], [PADDING, DESTINATION, ATOMIC, DESTINATION]]) {
    const frame = buildIcmp6({ headers, payload: bytesOf("ab") });
    const padded = new Uint8Array(frame.length + 9).fill(0xa5);
    padded.set(frame);
    assert.deepEqual(echoed(padded), buildIcmp6({ ...TURNED, type: 129, payload: bytesOf("ab") }));
  }
});

Deno.test("makeEchoReply6 keeps every checksum right, whatever it was before", () => {
  for (let id = 0; id < 65_536; id += 257) {
    const rest = [id >> 8, id & 255, 255 - (id >> 8), 255 - (id & 255)];
    const reply = readIcmp6(echoed(buildIcmp6({ rest, payload: [], ...id & 1 ? ALL_NODES : {} })));
    assert.deepEqual([reply.type, reply.rest, reply.src], [129, rest, OWN]);
  }
});

function makeErrors(): IcmpErrors {
  return new IcmpErrors(new SeededRandom(1), 0);
}

const NO_ROUTE = { type: 1, code: 0, rest: 0 };
const TOO_BIG = { type: 2, code: 0, rest: 1280 };

/** The error about the frame, as sent, or null. */
function errorAbout(
  frame: Uint8Array,
  { type, code, rest } = NO_ROUTE,
  errors = makeErrors(),
): Uint8Array | null {
  const { arena, pdu } = decode6(frame);
  const before = arena.bytes.slice(pdu.frame, pdu.frame + frame.length);
  const sent = errors.send6(arena, pdu, OWN_ADDRESSES, type, code, rest, 0);
  assert.deepEqual(arena.bytes.slice(pdu.frame, pdu.frame + frame.length), before);
  const frames = takeSent(arena);
  assert.equal(frames.length, sent ? 1 : 0);
  return frames[0] ?? null;
}

Deno.test("IcmpErrors.send6 quotes the packet to the station that sent it", () => {
  const frames = {
    TCP: buildTcp6({ payload: bytesOf("hello"), hopLimit: 1, trafficClass: 0xff, flowLabel: 7 }),
    UDP: buildUdp6({ payload: bytesOf("hello") }),
    "extension headers": buildTcp6({ headers: [PADDING, ATOMIC] }),
    "no next header": buildIp6({ protocol: 59 }, [1, 2, 3]),
    ping: buildIcmp6(),
    "as long as fits": buildUdp6({ payload: new Uint8Array(1232 - 48) }),
  };
  for (const [name, frame] of Object.entries(frames)) {
    const expected = buildIcmp6({
      ...TURNED,
      ...NO_ROUTE,
      rest: [0, 0, 0, 0],
      payload: frame.slice(14),
    });
    assert.deepEqual(errorAbout(frame), expected, name);
  }
});

Deno.test("IcmpErrors.send6 quotes as much as fits into 1,280 bytes, and no padding", () => {
  for (const length of [1185, 1400, 9000]) {
    const frame = buildUdp6({ payload: new Uint8Array(length).fill(0x61) });
    const error = errorAbout(frame)!;
    assert.equal(error.length, 14 + 1280);
    assert.deepEqual(readIcmp6(error).payload, frame.slice(14, 14 + 1232));
  }
  const frame = buildUdp6({ payload: bytesOf("ab") });
  const padded = new Uint8Array(frame.length + 20).fill(0xa5);
  padded.set(frame);
  assert.deepEqual(readIcmp6(errorAbout(padded)!).payload, frame.slice(14));
});

Deno.test("IcmpErrors.send6 writes type, code and the rest of the header as told", () => {
  const { arena, pdu } = decoded6(buildTcp6());
  assert.ok(makeErrors().send6(arena, pdu, OWN_ADDRESSES, 4, 1, 0x8000_05dc | 0, 0));
  assert.partialDeepStrictEqual(readIcmp6(takeSent(arena)[0]!), {
    type: 4,
    code: 1,
    rest: [0x80, 0, 5, 0xdc],
  });
});

Deno.test("IcmpErrors.send6 is silent about errors, types that may be one, and redirects", () => {
  for (let type = 0; type < 256; type++) {
    for (const headers of [[], [PADDING, DESTINATION, ATOMIC, DESTINATION]]) {
      const error = errorAbout(buildIcmp6({ type, headers }));
      assert.equal(error !== null, type >= 128 && type !== 137, `type ${type}`);
    }
  }
});

Deno.test("IcmpErrors.send6 finds an error behind whatever is wrong with the chain", () => {
  const about = (headers: Header[], type: number) => {
    const frame = buildIcmp6({ headers, type });
    assert.notEqual(chainFaultOf(decode6(frame).result), 0);
    return errorAbout(frame) !== null;
  };
  for (const headers of [[option(3)], [DESTINATION, PADDING], Array(9).fill(DESTINATION)]) {
    assert.deepEqual([about(headers, 1), about(headers, 128)], [false, true]);
  }
  assert.equal(about(Array(10).fill(DESTINATION), 128), false, "too many to be looked through");
});

Deno.test("IcmpErrors.send6: a first fragment shows what it is, a later one of ICMPv6 may be an error", () => {
  const data = buildIcmp6({ type: 1 }).slice(54, 54 + 16);
  const fragment = (flagsAndOffset: number, protocol: number, payload: ArrayLike<number>) =>
    buildIp6({ headers: [fragmentHeader(flagsAndOffset)], protocol }, payload);
  const ping = buildIcmp6().slice(54, 54 + 16);
  assert.equal(errorAbout(fragment(1, 58, data)), null);
  assert.equal(errorAbout(fragment(16, 58, ping)), null);
  assert.notEqual(errorAbout(fragment(1, 58, ping)), null);
  assert.notEqual(errorAbout(fragment(16, 17, ping)), null);
});

Deno.test("IcmpErrors.send6 is silent to who can't be one host, and to itself", () => {
  for (const src of ["::", "::1", "ff02::1", "::ffff:192.0.2.1", OWN, LINK_LOCAL]) {
    assert.equal(errorAbout(buildUdp6({ src })), null, src);
  }
});

Deno.test("IcmpErrors.send6: about packets to groups only packet too big, and options that ask for it", () => {
  const asUnicast = { dstMac: ALL_NODES.dstMac };
  for (const to of [ALL_NODES, asUnicast, { dst: "ff02::1" }, { dstMac: "ff:ff:ff:ff:ff:ff" }]) {
    assert.equal(errorAbout(buildUdp6(to)), null);
    assert.equal(readIcmp6(errorAbout(buildUdp6(to), TOO_BIG)!).src, OWN);
    for (const action of [2, 3]) {
      const frame = buildUdp6({ ...to, headers: [option(action)] });
      const error = errorAbout(frame, { type: 4, code: 2, rest: 42 });
      assert.equal(error !== null, action === 2, `action ${action}`);
      if (error !== null) assert.partialDeepStrictEqual(readIcmp6(error), TURNED);
      assert.equal(errorAbout(frame, { type: 4, code: 1, rest: 42 }), null);
    }
  }
});

/** Errors that are sent about packets from these addresses: `tries` each. */
class Asking {
  readonly errors = makeErrors();
  readonly #decoded: Decoded6 = decoded6(buildTcp6());

  sent(src: string, tries: number, nowMs: number, about = NO_ROUTE, flow = -1): number {
    const { arena, pdu } = this.#decoded;
    pdu.addresses.set(parseAddress6(src));
    pdu.flow = flow;
    let count = 0;
    for (let i = 0; i < tries; i++) {
      const { type, code, rest } = about;
      if (this.errors.send6(arena, pdu, OWN_ADDRESSES, type, code, rest, nowMs)) count++;
      arena.sent();
    }
    return count;
  }
}

Deno.test("IcmpErrors.send6 sends 50 at once and 100 a second, 20 of them to one /64", () => {
  const asking = new Asking();
  const all = (nowMs: number): number[] =>
    [1, 2, 3, 4].map((net) => asking.sent(`2001:db8:${net}::${nowMs / 100}`, 200, nowMs));
  assert.deepEqual(all(0), [20, 20, 10, 0]);
  assert.deepEqual(all(100), [2, 2, 2, 2]);
  assert.deepEqual(all(10_000), [20, 20, 10, 0]);
});

Deno.test("IcmpErrors.send6: nothing else uses up packet too big, 100 a second for each connection", () => {
  const asking = new Asking();
  for (let i = 0; i < 100; i++) asking.sent(`2001:db8:${i}::1`, 1, 0);
  asking.sent(CLIENT, 100, 0);
  assert.equal(asking.sent(CLIENT, 1, 0), 0);
  assert.equal(asking.sent(CLIENT, 200, 0, TOO_BIG), 100);
  assert.equal(asking.sent("2001:db8::1234", 200, 100, TOO_BIG), 10, "the same /64");
  assert.equal(asking.sent(CLIENT, 200, 100, TOO_BIG, 0), 100);
  assert.equal(asking.sent(CLIENT, 200, 100, TOO_BIG, 2), 100);
});

Deno.test("IcmpErrors: both families share what is sent in all", () => {
  const asking = new Asking();
  for (let net = 0; net < 5; net++) asking.sent(`2001:db8:${net}::1`, 10, 0);
  assert.equal(asking.sent("2001:db8:9::1", 10, 0), 0);
});

Deno.test("IcmpErrors.send6 says nothing from an address that may not be used yet", () => {
  const own = new OwnAddresses6(OWN_MAC, [parseAddress6(OWN)], parseAddress6(LINK_LOCAL));
  const { arena, pdu } = decoded6(buildTcp6());
  const send = () => makeErrors().send6(arena, pdu, own, 1, 0, 0, 0);
  for (const index of [0, 1]) own.setUsable(index, false);
  assert.equal(send(), false);
  own.setUsable(1, true);
  assert.equal(send(), true);
  assert.equal(readIcmp6(takeSent(arena)[0]!).src, LINK_LOCAL);
});

Deno.test("IcmpErrors.send6 is false without room", () => {
  const { arena, pdu } = decoded6(buildTcp6());
  while (arena.scratch(100) >= 0);
  assert.equal(makeErrors().send6(arena, pdu, OWN_ADDRESSES, 1, 0, 0, 0), false);
});

Deno.test("IcmpErrors.send6 tells of a datagram that was not whole, by the start of its first fragment", () => {
  const about = (fields: Partial<Ip6>) => {
    const header = fragmentHeader(1);
    const frame = buildIp6(
      { ...fields, protocol: 17, headers: [DESTINATION, header] },
      new Uint8Array(1400),
    );
    const arena = new Arena();
    const pdu = placeStart(arena, frame.slice(0, 14 + 1232))!;
    const isSent = makeErrors().send6(arena, pdu, OWN_ADDRESSES, 3, 1, 0, 0);
    const [sent] = takeSent(arena);
    assert.equal(sent !== undefined, isSent);
    if (sent === undefined) return null;
    const expected = { ...TURNED, type: 3, code: 1, rest: [0, 0, 0, 0] };
    assert.deepEqual(sent, buildIcmp6({ ...expected, payload: frame.slice(14, 14 + 1232) }));
    return sent.length;
  };
  assert.equal(about({}), 14 + 1280);
  assert.equal(about(ALL_NODES), null);
  assert.equal(about({ src: "::" }), null);
});

Deno.test("placeStart is null without room", () => {
  const arena = new Arena();
  while (arena.scratch(100) >= 0);
  assert.equal(placeStart(arena, buildUdp6().slice()), null);
});

/** What is told of the frame's chain: code and pointer. */
function told(frame: Uint8Array): [number, number] | null {
  const { arena, pdu, chain, result } = decode6(frame);
  assert.notEqual(chainFaultOf(result), 0);
  if (!makeErrors().tellChainFault(arena, pdu, OWN_ADDRESSES, chain, 0)) return null;
  const { type, code, rest, payload, ...ip } = readIcmp6(takeSent(arena)[0]!);
  assert.partialDeepStrictEqual(ip, { ...TURNED, hopLimit: 64 });
  assert.deepEqual([type, payload], [4, frame.slice(14)]);
  return [code, (rest[2]! << 8) | rest[3]!];
}

const RH0: Header = [43, [0, 0, 0, 1, 0, 0, 0, 0]];

Deno.test("IcmpErrors.tellChainFault says which field is wrong, to the sender of a packet for the proxy", () => {
  assert.deepEqual(told(buildIp6({ protocol: 99 }, [1, 2, 3])), [1, 6]);
  assert.deepEqual(told(buildIp6({ protocol: 99, headers: [DESTINATION] }, [1])), [1, 40]);
  assert.deepEqual(told(buildTcp6({ headers: [RH0] })), [0, 42]);
  assert.deepEqual(told(buildTcp6({ headers: [option(2)] })), [2, 42]);
  assert.deepEqual(told(buildTcp6({ headers: [option(3)] })), [2, 42]);
  assert.equal(told(buildTcp6({ headers: [option(1)] })), null);
  assert.deepEqual(
    told(buildIp6({ protocol: 6, headers: [fragmentHeader(1)] }, new Uint8Array(8))),
    [3, 0],
  );
  assert.deepEqual(
    told(buildIp6({ protocol: 17, headers: [fragmentHeader(1)] }, new Uint8Array(9))),
    [0, 4],
  );
  assert.deepEqual(told(buildTcp6({ headers: Array(9).fill(DESTINATION) })), [8, 40 + 64]);
});

Deno.test("IcmpErrors.tellChainFault is silent about packets for others, and to groups it is not in", () => {
  assert.equal(told(buildTcp6({ dst: "2001:db8::65", headers: [RH0] })), null);
  assert.equal(told(buildIp6({ ...ALL_NODES, protocol: 99 }, [])), null);
  assert.deepEqual(told(buildTcp6({ ...ALL_NODES, headers: [option(2)] })), [2, 42]);
  const other = { dst: "ff02::2", dstMac: groupMacOf("ff02::2"), headers: [option(2)] };
  assert.equal(told(buildTcp6(other)), null);
});

Deno.test("reasonOfChainFault has a reason for every fault", () => {
  const expected: Record<keyof typeof ChainFault, ReasonName> = {
    "truncated": "header-chain",
    "hop-by-hop-not-first": "header-chain",
    "routing-header": "routing-header",
    "unknown-option": "header-option",
    "option-length": "header-chain",
    "unknown-next-header": "next-header",
    "too-many-headers": "header-chain",
    "chain-too-long": "header-chain",
    "incomplete-chain": "fragment-tiny",
    "fragment-twice": "header-chain",
    "fragment-length": "fragment-length",
    "fragment-end": "fragment-length",
  };
  for (const [name, fault] of Object.entries(ChainFault)) {
    assert.equal(
      reasonOfChainFault(fault),
      Reason[expected[name as keyof typeof ChainFault]],
      name,
    );
  }
});

tsharkTest("tshark finds nothing wrong with ICMPv6 errors and echo replies", async () => {
  const frames = [
    echoed(buildIcmp6({ payload: bytesOf("odd") })),
    echoed(buildIcmp6({ ...ALL_NODES, headers: [ROUTER_ALERT], payload: new Uint8Array(1400) })),
    errorAbout(buildTcp6({ payload: bytesOf("hello") }))!,
    errorAbout(buildUdp6({ payload: new Uint8Array(1400) }), TOO_BIG)!,
    errorAbout(buildTcp6({ headers: [RH0] }), { type: 4, code: 0, rest: 42 })!,
  ];
  assert.deepEqual(await judge(frames), []);
});
