/** What RFC 4443, 4890, 6980, 7112, 8200 and 8504 require, as far as no other test shows it. */
import assert from "node:assert/strict";
import { parse } from "../../src/policy/notation/parse.ts";
import type { Policy } from "../../src/policy/language/ast.ts";
import { cut6, fragment6, fragmentHeader } from "../support/fragments6.ts";
import {
  address6Bytes,
  buildIcmp6,
  buildIp6,
  buildSolicitation,
  buildTcp6,
  buildUdp6,
  type Icmp6,
  isLinkMessage,
  readIcmp6,
  readIp6,
  readTcp6,
  ROUTER_ALERT,
  type Tcp6,
} from "../support/frames6.ts";
import { complete, leaveToNic, vnetBytes } from "../support/nic.ts";
import {
  CLIENT6,
  from,
  fromB,
  packetsOf,
  PROXY6,
  PROXY6_B,
  PROXY_B_MAC,
  World,
  type WorldOptions,
} from "../support/world.ts";

const ROUTER_B = "2001:db8:b::77";
const LINK_LOCAL = "fe80::ff:fe00:100";

function policyOf(text: string): Policy {
  return parse(text, { file: "test" }).policy!;
}

/** Forwards whatever a translator can take. */
const EVERYTHING = policyOf(
  "default drop\nfrom side a -> translate-a-to-b, forward\notherwise -> translate-b-to-a, forward\n",
);

function settled(options: WorldOptions = {}): World {
  return World.settled({ ipv6: true, twoSided: true, ...options });
}

/** A client's SYN through the proxy, as the backend gets it. */
function open(world: World): { readonly frame: Uint8Array<ArrayBuffer>; readonly syn: Tcp6 } {
  const [frame] = packetsOf(world.send(buildTcp6({ flags: "S", ack: 0 })));
  return { frame: frame!, syn: readTcp6(frame!) };
}

function kindsOf(frames: readonly Uint8Array<ArrayBuffer>[]): string[] {
  return packetsOf(frames).map(readIcmp6).map(({ dst, type, code }) => `${type}/${code} ${dst}`);
}

Deno.test("RFC 4443 3.1: an unreachable says by its code what is wrong", () => {
  const reject = policyOf("default drop\notherwise -> reject\n");
  const syn = buildTcp6({ flags: "S", ack: 0 });
  const ofOneLink = buildTcp6({ src: "fe80::7", dst: LINK_LOCAL, flags: "S", ack: 0 });
  const down = settled();
  down.appliance.linkDown(1);
  assert.deepEqual(kindsOf(down.send(syn)), [`1/0 ${CLIENT6}`], "no way there");
  assert.deepEqual(kindsOf(settled().send(ofOneLink)), ["1/2 fe80::7"], "beyond its scope");
  const rejecting = settled({ policy: reject });
  assert.deepEqual(kindsOf(rejecting.send(buildUdp6())), [`1/4 ${CLIENT6}`], "no such port");
  assert.deepEqual(kindsOf(rejecting.send(buildIcmp6())), [`1/1 ${CLIENT6}`], "prohibited");
  const [reset] = packetsOf(rejecting.send(syn)).map(readTcp6);
  assert.equal(reset!.flags, "RA", "TCP has a word of its own");
  assert.deepEqual(rejecting.send(syn.with(54 + 16, syn[54 + 16]! ^ 1)), [], "broken on the way");
});

/** An error about what a backend got, from a router on side B. */
function errorAbout(frame: Uint8Array, fields: Partial<Icmp6>): Uint8Array<ArrayBuffer> {
  return buildIcmp6({
    ...{ ...from(ROUTER_B), dst: readIp6(frame).ip.src, dstMac: PROXY_B_MAC },
    ...{ rest: [0, 0, 5, 0], payload: frame.slice(14), ...fields },
  });
}

Deno.test("RFC 4890 4.3.1, 4.3.2: errors about a connection pass, with each code", () => {
  const codes: [type: number, codes: number][] = [[1, 7], [2, 1], [3, 2], [4, 3]];
  for (const preserveSource of [false, true]) {
    const world = settled({ preserveSource, retries: 0 });
    const { frame } = open(world);
    for (const [type, count] of codes) {
      for (let code = 0; code < count; code++) {
        const told = kindsOf(world.send(errorAbout(frame, { type, code })));
        assert.deepEqual(told, [`${type}/${code} ${CLIENT6}`]);
      }
    }
    assert.deepEqual(world.drops(), {});
  }
});

/** Of Neighbor Discovery, of multicast listeners and routers, and SEND. */
const OF_ONE_LINK = [
  130,
  131,
  132,
  133,
  134,
  135,
  136,
  137,
  141,
  142,
  143,
  148,
  149,
  151,
  152,
  153,
];
/** Mobility, router renumbering, node information, experiments, and what is not assigned. */
const OTHERS = [5, 99, 100, 101, 102, 126, 127, 138, 139, 140, 144, 145, 146, 147, 150, 154, 199]
  .concat([200, 201, 202, 254, 255]);

Deno.test("RFC 4890 4.3.3: messages of one link cross to no other, whatever the policy says", () => {
  for (const preserveSource of [false, true]) {
    const world = settled({ policy: EVERYTHING, preserveSource, retries: 0 });
    open(world);
    const payload = [...address6Bytes(CLIENT6), ...address6Bytes(CLIENT6)];
    for (const type of OF_ONE_LINK) {
      for (const hopLimit of [1, 255]) {
        const message = { type, hopLimit, payload, rest: [0, 0, 0, 0], headers: [ROUTER_ALERT] };
        const back = { ...from(ROUTER_B), dst: CLIENT6, dstMac: PROXY_B_MAC };
        world.send(buildIcmp6(message));
        world.send(
          buildIcmp6({ ...message, ...back }),
          buildIcmp6({ ...message, ...fromB(ROUTER_B) }),
        );
        const sent = world.advance(100).filter((frame) => !isLinkMessage(frame));
        assert.deepEqual(sent, [], `type ${type}, hop limit ${hopLimit}`);
      }
    }
  }
});

Deno.test("RFC 4890 4.3.4, 4.3.5, 4.4.5: what is neither query, error nor of the link goes nowhere", () => {
  for (const preserveSource of [false, true]) {
    const world = settled({ policy: EVERYTHING, preserveSource });
    const { frame, syn } = open(world);
    for (const type of OTHERS) {
      const sent = world.send(
        buildIcmp6({ type }),
        errorAbout(frame, { type }),
        buildIcmp6({ type, ...fromB(syn.dst) }),
      );
      assert.deepEqual(packetsOf(sent), [], `type ${type}`);
    }
    assert.equal(world.appliance.connections.table.count, 1);
  }
});

Deno.test("RFC 6980 5: neighbours are not heard in fragments, nor told anything in them", () => {
  const world = settled();
  const neighbors = () => world.appliance.links[0]!.v6!.nd.neighbors.count;
  const before = neighbors();
  const stranger = { src: "2001:db8::99", srcMac: "02:00:00:00:00:99", target: PROXY6 };
  const atomic = buildSolicitation({ ...stranger, headers: [fragmentHeader(0)] });
  const halves = cut6(buildSolicitation(stranger), 16);
  assert.equal(halves.length, 2);
  assert.deepEqual(world.send(atomic, ...halves), []);
  assert.deepEqual(world.drops(), { "discovery-fragment": 2 });
  assert.equal(neighbors(), before);
  const start = new World({ ipv6: true, twoSided: true });
  const said = start.advance(20_000).filter(isLinkMessage);
  assert.ok(said.length > 10 && said.every((frame) => frame.length <= 14 + 1280));
  assert.ok(said.every((frame) => readIp6(frame).ip.headers.every(([number]) => number !== 44)));
});

Deno.test("RFC 3810 6.2: a query is answered, in one piece or in fragments", () => {
  const query = buildIcmp6({
    ...{ type: 130, src: "fe80::1", srcMac: "02:00:00:00:00:aa", dst: "ff02::1", hopLimit: 1 },
    ...{ dstMac: "33:33:00:00:00:01", rest: [0, 100, 0, 0], headers: [ROUTER_ALERT] },
    payload: [...address6Bytes("::"), 2, 125, 0, 0],
  });
  const reports = (...frames: Uint8Array[]) => {
    const world = settled();
    const sent = [...world.send(...frames), ...world.advance(1000)];
    return sent.filter(isLinkMessage).filter((frame) => readIcmp6(frame).type === 143).length;
  };
  assert.deepEqual([reports(), reports(query)], [0, 1]);
  assert.equal(reports(...cut6(query, 16)), 1);
});

Deno.test("RFC 7112 5: a first fragment without the whole chain is told of by code 3, and is gone", () => {
  const segment = [...buildTcp6({ payload: new Uint8Array(100) }).subarray(54)];
  const option: [number, number[]] = [60, [0, 0, 1, 4, 0, 0, 0, 0]];
  const cases: [string, Uint8Array<ArrayBuffer>][] = [
    ["half a TCP header", fragment6(0, segment.slice(0, 16), false, { protocol: 6 })],
    ["no byte of UDP", fragment6(0, [], false, { protocol: 17 })],
    [
      "a header of options that goes on in the next",
      buildIp6({
        headers: [fragmentHeader(1)],
        protocol: 60,
      }, [6, 2, 1, 4, 0, 0, 0, 0]),
    ],
    [
      "behind options",
      fragment6(0, segment.slice(0, 8), false, { protocol: 6, headers: [option] }),
    ],
  ];
  for (const [name, first] of cases) {
    const world = settled();
    const [told, ...more] = packetsOf(world.send(first)).map(readIcmp6);
    assert.deepEqual(more, [], name);
    assert.deepEqual([told!.type, told!.code, told!.rest, told!.dst], [
      4,
      3,
      [0, 0, 0, 0],
      CLIENT6,
    ]);
    assert.deepEqual(world.drops(), { "fragment-tiny": 1 }, name);
    // Nothing waits for the others: no time is exceeded.
    assert.deepEqual(packetsOf(world.advance(61_000)), [], name);
  }
});

Deno.test("RFC 8021, 8504 5.1: an atomic fragment is a whole packet, and leaves as one", () => {
  const headers = [fragmentHeader(0)];
  for (const preserveSource of [false, true]) {
    const world = settled({ preserveSource, retries: 0 });
    const syn = { flags: "S", ack: 0 };
    const [first] = packetsOf(world.send(buildTcp6({ ...syn, headers })));
    assert.deepEqual(readIp6(first!).ip.headers, []);
    assert.equal(readTcp6(first!).flags, "S");
    const [told] = packetsOf(world.send(errorAbout(first!, { type: 1, code: 3, headers })));
    assert.deepEqual([readIp6(told!).ip.headers, readIcmp6(told!).dst], [[], CLIENT6]);
    // One whose checksum is left to the interface.
    const { frame: open } = leaveToNic(buildTcp6({ ...syn, srcPort: 40_001 }));
    const fragment = Uint8Array.from([...open.subarray(0, 54), 6, 0, 0, 0, 1, 2, 3, 4].concat([
      ...open.subarray(54),
    ]));
    fragment[19]! += 8;
    fragment[20] = 44;
    const vnet = vnetBytes({ flags: 1, csumStart: 54 + 8, csumOffset: 16 });
    world.devices[0]!.vnet.set(fragment, vnet);
    const [sent] = packetsOf(world.send(fragment));
    const whole = complete(sent!, world.vnetOf(sent!)!);
    assert.deepEqual([readIp6(whole).ip.headers, readTcp6(whole).flags], [[], "S"]);
    assert.deepEqual(world.drops(), {});
  }
});

Deno.test("RFC 8200 3, 4.7: hop limit 0 is no fault at the destination; nothing to carry is nothing", () => {
  const world = settled();
  for (const hopLimit of [0, 1]) { // every other ping is answered
    const pings = [1, 2].map((seq) => buildIcmp6({ hopLimit, rest: [9, hopLimit, 0, seq] }));
    assert.deepEqual(kindsOf(world.send(...pings)), [`129/0 ${CLIENT6}`]);
  }
  assert.deepEqual(world.send(buildIp6({ protocol: 59 }, [1, 2, 3])), []);
});

Deno.test("RFC 8200 5: nobody is told of an MTU below 1,280, whatever the device has", () => {
  const world = settled({ mtus: [1500, 1000], policy: EVERYTHING });
  const payload = new Uint8Array(1281 - 48);
  const [told] = packetsOf(world.send(buildUdp6({ payload }))).map(readIcmp6);
  assert.deepEqual([told!.type, told!.rest], [2, [0, 0, 5, 0]]);
  const sent = packetsOf(world.send(buildUdp6({ payload: payload.subarray(1) })));
  assert.deepEqual(sent.map(({ length }) => length), [14 + 1280]);
});

Deno.test("RFC 8200 6, 7: flow label and traffic class pass as they are, the hop limit one less", () => {
  for (const careful of [false, true]) {
    const world = settled({ careful });
    const { syn } = open(world);
    const back = { ...fromB(syn.dst), dst: PROXY6_B, srcPort: 2000, dstPort: syn.srcPort };
    const header = { flowLabel: 0xabcde, trafficClass: 0xb9, hopLimit: 77 };
    const script = [
      buildTcp6({ ...back, ...header, flags: "SA", seq: 9000, ack: 1001 }),
      buildTcp6({ ...header, flags: "A", seq: 1001, ack: 9001 }),
      buildTcp6({ ...header, flags: "PA", seq: 1001, ack: 9001, payload: [1] }),
      buildTcp6({ ...back, ...header, flags: "PA", seq: 9001, ack: 1002, payload: [2] }),
    ];
    for (const frame of script) {
      const [sent] = packetsOf(world.send(frame)).map(readTcp6);
      const { flowLabel, trafficClass, hopLimit } = sent!;
      assert.deepEqual({ flowLabel, trafficClass, hopLimit }, { ...header, hopLimit: 76 });
    }
  }
});
