import assert from "node:assert/strict";
import { SeededRandom } from "../../src/core/random.ts";
import { NOT_MINE, reasonName } from "../../src/core/reason.ts";
import { RelatedErrors } from "../../src/flow/icmp_error.ts";
import { FlowTable, SIDE_A, SIDE_B } from "../../src/flow/table.ts";
import { ACK, END, WORDS_PER_SIDE } from "../../src/flow/tcp_window.ts";
import { Translation } from "../../src/flow/translate.ts";
import { formatAddress6, parseAddress6 } from "../../src/wire/address6.ts";
import { OVER_IPV6 } from "../../src/wire/pdu.ts";
import {
  buildIcmp6,
  buildTcp6,
  buildUdp6,
  type Icmp6,
  readIcmp6,
  readUdp6,
} from "../support/frames6.ts";
import { decoded6, DIGEST } from "../wire/place6.ts";

const PROXY = "2001:db8::64";
const CLIENT = "2001:db8:c::fe";
const BACKEND = "2001:db8::1";
const ROUTER = "2001:db8::77";
const SEQ = 1000;

type Protocol = "tcp" | "udp" | "echo";

/** One connection in a table: what each side sends, and what the proxy makes of it. */
interface Flow {
  readonly table: FlowTable;
  readonly fromA: Uint8Array;
  readonly toB: Uint8Array;
  readonly fromB: Uint8Array;
  readonly toA: Uint8Array;
}

/** client:40000 → proxy:2000, which the proxy makes proxy:5000 → backend:2000. */
function flow(protocol: Protocol, payload: Uint8Array = new Uint8Array(), preserved = false): Flow {
  const seenByB = preserved ? CLIENT : PROXY;
  const a = { src: CLIENT, dst: PROXY, srcPort: 40_000, dstPort: 2000 };
  const b = { src: seenByB, dst: BACKEND, srcPort: 5000, dstPort: 2000 };
  const turned = ({ src, dst, srcPort, dstPort }: typeof a) => ({
    ...{ src: dst, dst: src, srcPort: dstPort, dstPort: srcPort },
  });
  const number = { tcp: 6, udp: 17, echo: 58 }[protocol] | OVER_IPV6;
  const [aPorts, bPorts] = protocol === "echo"
    ? [40_000 << 16, 5000]
    : [(40_000 << 16) | 2000, (2000 << 16) | 5000];
  const [client, own, members] = [CLIENT, PROXY, BACKEND].map(parseAddress6);
  const [clientKey, ownKey, memberKey] = [client!, own!, members!].map((words) =>
    DIGEST.ofWords(words, 0)
  );
  const whole = { digest: DIGEST, own: own!, members: members! };
  const table = new FlowTable(10, new SeededRandom(1), null, whole);
  const entry = table.insert(
    ...[number, clientKey!, ownKey!, aPorts, memberKey!] as [
      number,
      number,
      number,
      number,
      number,
    ],
    preserved ? clientKey! : ownKey!,
    bPorts,
  );
  table.whole!.setSideA(entry, client!, 0, ownKey!);
  table.whole!.setSideB(entry, 0, preserved ? clientKey! : ownKey!);
  table.setMember(entry, 0);
  for (const side of [SIDE_A, SIDE_B]) {
    table.setData(entry, side * WORDS_PER_SIDE + END, SEQ);
    table.setData(entry, (1 - side) * WORDS_PER_SIDE + ACK, SEQ);
  }
  const build = (end: typeof a, type: number) => {
    if (protocol === "tcp") return buildTcp6({ ...end, seq: SEQ, payload });
    if (protocol === "udp") return buildUdp6({ ...end, payload });
    const id = type === 128 ? end.srcPort : end.dstPort;
    return buildIcmp6({ ...end, type, rest: [id >> 8, id & 255, 0, 3], payload });
  };
  return {
    table,
    fromA: build(a, 128),
    toB: build(b, 128),
    fromB: build(turned(b), 129),
    toA: build(turned(a), 129),
  };
}

/** What becomes of an error: the message that goes on, or what `find` said. */
function relay(table: FlowTable, error: Uint8Array): Icmp6 | string {
  const { arena, pdu } = decoded6(error);
  const { view } = arena;
  const related = new RelatedErrors(table, DIGEST);
  const found = related.find(view, pdu);
  if (found === NOT_MINE) return "not mine";
  if (found < 0) return reasonName(found);
  const to = new Translation();
  related.translate6(view, pdu, found, to);
  const icmp = readIcmp6(arena.bytes.slice(pdu.frame, pdu.end));
  const ends = [0, 4].map((at) => formatAddress6(to.addresses, at));
  assert.deepEqual(ends, [icmp.src, icmp.dst]);
  assert.equal(to.src, DIGEST.ofWords(to.addresses, 0));
  assert.equal(to.dst, DIGEST.ofWords(to.addresses, 4));
  return icmp;
}

function errorAbout(packet: Uint8Array, fields: Partial<Icmp6>, bytes = 1232): Uint8Array {
  const payload = packet.slice(14, 14 + bytes);
  return buildIcmp6({ type: 2, rest: [0, 0, 5, 0], src: ROUTER, dst: PROXY, payload, ...fields });
}

function assertRelayed(found: Icmp6 | string, ends: { src: string; dst: string }): Icmp6 {
  if (typeof found === "string") throw new Error(found);
  assert.deepEqual({ src: found.src, dst: found.dst }, ends);
  return found;
}

for (const protocol of ["tcp", "udp", "echo"] as const) {
  Deno.test(`RelatedErrors over IPv6: ${protocol}, to each end its own packet, whole or cut`, () => {
    for (const payload of [0, 1, 100, 1183]) {
      const data = Uint8Array.from({ length: payload }, (_, i) => i & 255);
      const { table, toB, fromA, toA, fromB } = flow(protocol, data);
      for (const bytes of [1232, 48, 60, 81]) {
        const router = assertRelayed(relay(table, errorAbout(toB, {}, bytes)), {
          src: ROUTER,
          dst: CLIENT,
        });
        assert.deepEqual(Uint8Array.from(router.payload), fromA.slice(14, 14 + bytes));
        const backend = errorAbout(toB, { src: BACKEND, type: 1, code: 4, rest: [0, 0, 0, 0] });
        assertRelayed(relay(table, backend), { src: PROXY, dst: CLIENT });
        const client = assertRelayed(relay(table, errorAbout(toA, { src: CLIENT }, bytes)), {
          src: PROXY,
          dst: BACKEND,
        });
        assert.deepEqual(Uint8Array.from(client.payload), fromB.slice(14, 14 + bytes));
      }
    }
  });
}

Deno.test("RelatedErrors over IPv6: where the source is preserved a router stays who it is", () => {
  const { table, toB, toA, fromA, fromB } = flow("tcp", new Uint8Array(9), true);
  const toClient = assertRelayed(relay(table, errorAbout(toB, { dst: CLIENT })), {
    src: ROUTER,
    dst: CLIENT,
  });
  assert.deepEqual(Uint8Array.from(toClient.payload), fromA.slice(14));
  const toBackend = assertRelayed(relay(table, errorAbout(toA, {})), { src: ROUTER, dst: BACKEND });
  assert.deepEqual(Uint8Array.from(toBackend.payload), fromB.slice(14));
});

Deno.test("RelatedErrors over IPv6: a router's link-local address does not go on", () => {
  const { table, toB } = flow("udp");
  assertRelayed(relay(table, errorAbout(toB, { src: "fe80::77" })), { src: PROXY, dst: CLIENT });
});

Deno.test("RelatedErrors over IPv6: a wrong quoted checksum stays wrong", () => {
  const { table, toB } = flow("udp", new Uint8Array(4));
  const wrong = toB.slice();
  wrong[wrong.length - 1]! ^= 1;
  const { payload } = assertRelayed(relay(table, errorAbout(wrong, {})), {
    src: ROUTER,
    dst: CLIENT,
  });
  const quoted = Uint8Array.from([...wrong.slice(0, 14), ...Array.from(payload)]);
  assert.throws(() => readUdp6(quoted), /checksum/);
});

Deno.test("RelatedErrors over IPv6: what is no connection's, or can't be believed", () => {
  const { table, toB } = flow("tcp");
  /** An error about a packet of which one byte is another. */
  const about = (at: number, mask: number, fields: Partial<Icmp6> = {}) => {
    const packet = toB.slice();
    packet[14 + at]! ^= mask;
    return relay(table, errorAbout(packet, fields));
  };
  assert.equal(typeof about(0, 0), "object");
  assert.equal(about(0, 0, { rest: [0, 0, 4, 0xff] }), "mtu-below-minimum");
  assert.equal(about(0, 0, { type: 128 }), "not mine");
  assert.equal(about(0, 0, { type: 100 }), "not mine");
  assert.equal(about(41, 1), "not mine"); // another port
  assert.equal(about(39, 1), "not mine"); // another backend
  assert.equal(about(44, 0x40), "out-of-window");
  assert.equal(about(0, 0x20), "icmp-quote");
  assert.equal(about(6, 0x80), "icmp-quote"); // an unknown next header
  assert.equal(relay(table, errorAbout(toB, {}, 47)), "icmp-quote");
});
