import assert from "node:assert/strict";
import { compile } from "../../../src/policy/engine/compile.ts";
import { PacketView } from "../../../src/policy/engine/packet_view.ts";
import { makePlan } from "../../../src/policy/engine/plan.ts";
import { walker } from "../../../src/policy/engine/walk.ts";
import { DROP, FORWARD } from "../../../src/policy/language/ast.ts";
import * as build from "../../../src/policy/language/build.ts";
import type { Packet } from "../../../src/policy/language/packet.ts";
import { parseAddress } from "../../../src/wire/address.ts";
import { parseAddress6 } from "../../../src/wire/address6.ts";
import { formatHostAddress } from "../../../src/wire/host_address.ts";
import {
  FROM_B,
  OVER_IPV6,
  type Pdu,
  STATE_ESTABLISHED,
  STATE_INVALID,
  STATE_NEW,
} from "../../../src/wire/pdu.ts";
import { ACK, SYN } from "../../../src/wire/tcp.ts";
import { environmentOf, pduOf } from "./environment.ts";

/** Of a PDU that has every field, as those of packets before it are left there. */
const FULL: Partial<Pdu> = {
  src: parseAddress("192.168.0.254"),
  dst: parseAddress("10.0.0.1"),
  ttl: 63,
  totalLength: 1500,
  srcPort: 40_000,
  dstPort: 80,
  tcpFlags: SYN | ACK,
  icmpType: 3,
  icmpCode: 1,
};

const FIELDS = [
  ...["src", "dst", "protocol", "ttl", "length", "isFragment", "isIpv6", "srcPort", "dstPort"],
  ...["tcpFlags", "icmpType", "icmpCode", "state", "isStray", "side"],
] as (keyof Packet)[];

function shown(fields: Partial<Pdu>): Packet {
  const view = new PacketView();
  PacketView.show(view, pduOf({ ...FULL, ...fields }));
  return view;
}

function some(packet: Packet, ...names: (keyof Packet)[]): unknown[] {
  return names.map((name) => packet[name]);
}

Deno.test("PacketView shows what every packet has", () => {
  const packet = shown({ protocol: 47 });
  assert.deepEqual(some(packet, "protocol", "ttl", "length"), [47, 63, 1500]);
  assert.equal(packet.src, parseAddress("192.168.0.254"));
  assert.equal(formatHostAddress(packet.dst), "10.0.0.1");
});

Deno.test("PacketView shows whole addresses of IPv6, and protocols by their own numbers", () => {
  const addresses = Int32Array.of(
    ...[...parseAddress6("2001:db8::1"), ...parseAddress6("2001:db8::64")],
  );
  const tcp = shown({ protocol: OVER_IPV6 | 6, addresses });
  assert.deepEqual([tcp.src, tcp.dst].map(formatHostAddress), ["2001:db8::1", "2001:db8::64"]);
  assert.deepEqual(some(tcp, "isIpv6", "protocol", "srcPort", "icmpType"), [true, 6, 40_000, -1]);
  const icmp = shown({ protocol: OVER_IPV6 | 58, addresses });
  assert.deepEqual(some(icmp, "protocol", "srcPort", "icmpType", "icmpCode"), [58, 0, 3, 1]);
  assert.equal(shown({ protocol: 6 }).isIpv6, false);
});

Deno.test("PacketView shows a protocol's fields for that protocol only", () => {
  const names = ["srcPort", "dstPort", "tcpFlags", "icmpType", "icmpCode"] as const;
  const cases: [number, number[]][] = [
    [1, [0, 0, 0, 3, 1]],
    [6, [40_000, 80, SYN | ACK, -1, -1]],
    [17, [40_000, 80, 0, -1, -1]],
    [47, [0, 0, 0, -1, -1]],
  ];
  for (const [protocol, expected] of cases) {
    assert.deepEqual(some(shown({ protocol }), ...names), expected, `protocol ${protocol}`);
  }
});

Deno.test("PacketView names states and sides as the text does", () => {
  const cases: [Partial<Pdu>, unknown[]][] = [
    [{ state: STATE_NEW }, ["new", false, "a", false]],
    [{ state: STATE_ESTABLISHED, flow: 4, side: FROM_B }, ["established", false, "b", false]],
    [{ state: STATE_INVALID, flow: 4 }, ["invalid", false, "a", false]],
    [{ state: STATE_INVALID, flow: -1, fragment: 1 }, ["invalid", true, "a", true]],
  ];
  for (const [fields, expected] of cases) {
    assert.deepEqual(some(shown(fields), "state", "isStray", "side", "isFragment"), expected);
  }
});

Deno.test("PacketView lets nothing be written, added or taken away", () => {
  const packet = shown({ protocol: 6 });
  for (const name of FIELDS) {
    const before = packet[name];
    assert.throws(() => Object.assign(packet, { [name]: 1 }), TypeError, name);
    assert.equal(packet[name], before);
  }
  assert.throws(() => Object.assign(packet, { memory: 1 }), TypeError);
  assert.deepEqual(Object.keys(packet), [], "no way to the PDU and its offsets");
  const members = Object.getOwnPropertyNames(PacketView.prototype);
  assert.deepEqual(members.sort(), [...FIELDS, "constructor"].sort());
});

Deno.test("a user's functions get one view each, walked and compiled, that shows each packet anew", () => {
  for (const make of [walker, compile]) {
    const views = new Set<Packet>();
    const seen: unknown[][] = [];
    const note = (packet: Packet): void => {
      views.add(packet);
      seen.push(FIELDS.map((name) => packet[name]));
    };
    const isTcp80 = build.customPredicate("web", (packet) => {
      note(packet);
      return packet.dstPort === 80 && packet.protocol === 6;
    });
    const byTtl = (packet: Packet): number => {
      note(packet);
      return packet.ttl - 1;
    };
    const tree = build.filter(
      isTcp80,
      build.customSelector("by-ttl", byTtl, [build.drop, build.forward]),
    );
    const evaluate = make(makePlan(build.policy("drop", tree), environmentOf()));
    const send = (fields: Partial<Pdu>) => evaluate(pduOf({ ...FULL, ...fields }));
    const results = [
      send({ protocol: 6, ttl: 1 }),
      send({ protocol: 6, ttl: 2 }),
      send({ protocol: 6, ttl: 3 }),
      send({ protocol: 17 }),
      send({ protocol: 6, dstPort: 81 }),
    ];
    assert.deepEqual(results, [DROP, FORWARD, DROP, DROP, DROP]);
    assert.equal(views.size, 2);
    assert.deepEqual(seen.map((fields) => fields[3]), [1, 1, 2, 2, 3, 3, 63, 63]);
  }
});

Deno.test("a user's function that writes to its packet has failed, and changed nothing", () => {
  for (const make of [walker, compile]) {
    const environment = environmentOf();
    const greedy = build.customPredicate("greedy", (packet) => {
      (packet as { ttl: number }).ttl = 255;
      return true;
    });
    const tree = build.policy("drop", build.filter(greedy, build.forward));
    const evaluate = make(makePlan(tree, environment));
    const pdu = pduOf(FULL);
    assert.equal(evaluate(pdu), DROP);
    assert.equal(pdu.ttl, 63);
    assert.deepEqual(environment.failed, ["greedy"]);
  }
});
