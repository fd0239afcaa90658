/** Reassembly of IPv6: what differs from IPv4, whose tests are in `reassembly_test.ts`. */
import assert from "node:assert/strict";
import { Arena } from "../../src/core/arena.ts";
import { SeededRandom } from "../../src/core/random.ts";
import { HELD, type ReasonName, reasonName } from "../../src/core/reason.ts";
import { fragments6, REASSEMBLY6_TIMEOUT_MS } from "../../src/stack/fragment_format.ts";
import { MAX_SOURCE_DATAGRAMS, Reassembly } from "../../src/stack/reassembly.ts";
import { chainFaultOf } from "../../src/wire/decode6.ts";
import { Chain, ChainFault } from "../../src/wire/extension_headers.ts";
import { permutations, shuffled } from "../support/fragments.ts";
import { cut6, fragment6 } from "../support/fragments6.ts";
import {
  buildIcmp6,
  buildTcp6,
  buildUdp6,
  type Ip6,
  readIp6,
  ROUTER_ALERT,
} from "../support/frames6.ts";
import { decode6, decoded6 } from "../wire/place6.ts";

type Outcome = Uint8Array<ArrayBuffer> | "held" | ReasonName;

/** A Reassembly of IPv6, what it told, and an account of every fragment. */
class Table {
  readonly arena = new Arena();
  readonly chain = new Chain();
  readonly reassembly: Reassembly;
  readonly dropped: Partial<Record<ReasonName, number>> = {};
  readonly timedOut: (Uint8Array | null)[] = [];
  nowMs = 0;

  constructor() {
    const events = {
      dropped: (reason: number, fragments: number) => {
        const name = reasonName(reason);
        this.dropped[name] = (this.dropped[name] ?? 0) + fragments;
      },
      timedOut: (start: Uint8Array | null) => void this.timedOut.push(start),
    };
    this.reassembly = new Reassembly(events, fragments6(this.chain));
  }

  add(frame: Uint8Array): Outcome {
    const { arena, chain } = this;
    const { pdu, result } = decode6(frame, arena, chain);
    assert.deepEqual([result, pdu.fragment], [0, 1]);
    const added = this.reassembly.add(arena, pdu, this.nowMs);
    if (added === HELD) return "held";
    if (added < 0) return reasonName(added);
    assert.deepEqual([...arena.bytes.subarray(added - 10, added)], Array(10).fill(0));
    const lengthBytes = 14 + 40 + arena.view.getUint16(added + 18);
    const completed = arena.bytes.slice(added, added + lengthBytes);
    arena.sent();
    return completed;
  }

  addAll(frames: readonly Uint8Array[]): string[] {
    return frames.map((frame) => {
      const outcome = this.add(frame);
      return typeof outcome === "string" ? outcome : "whole";
    });
  }

  assertEmpty(): void {
    assert.deepEqual([this.reassembly.count, this.reassembly.heldBytes], [0, 0]);
  }
}

function bytes(length: number, factor = 7): Uint8Array {
  return Uint8Array.from({ length }, (_, i) => i * factor);
}

const PADDING: Ip6["headers"][number] = [0, [0, 0, 1, 4, 0, 0, 0, 0]];
const DESTINATION: Ip6["headers"][number] = [60, [0, 0, 1, 4, 0, 0, 0, 0]];
const ROUTED: Ip6["headers"][number] = [43, [0, 1, 0, 0, ...Array<number>(12).fill(0)]];

Deno.test("Reassembly of IPv6 completes a datagram with its last missing fragment, in every order", () => {
  const frames = {
    UDP: buildUdp6({ payload: bytes(88), trafficClass: 0x10, flowLabel: 0xabcde }),
    TCP: buildTcp6({ flags: "PA", payload: bytes(70) }),
    "echo request": buildIcmp6({ payload: bytes(93) }),
    "behind headers": buildUdp6({ headers: [PADDING, DESTINATION, ROUTED], payload: bytes(90) }),
    "behind a router alert": buildUdp6({ headers: [ROUTER_ALERT], payload: bytes(80) }),
  };
  for (const [name, frame] of Object.entries(frames)) {
    const table = new Table();
    const fragments = cut6(frame, 32);
    for (const order of permutations(fragments)) {
      const outcomes = order.map((one) => table.add(one));
      assert.deepEqual(outcomes.slice(0, -1), order.slice(1).map(() => "held"), name);
      assert.deepEqual(outcomes.at(-1), frame, name);
      assert.equal(table.reassembly.longestBytes, fragments[0]!.length - 14);
      table.assertEmpty();
    }
    assert.deepEqual(table.dropped, {});
  }
});

Deno.test("Reassembly of IPv6 makes what decodes: 65,527 bytes of ping in random orders", () => {
  const random = new SeededRandom(1);
  const frame = buildIcmp6({ payload: bytes(65_527) });
  const table = new Table();
  for (const dataBytes of [1232, 1448, 8952, 65_528 - 8]) {
    const outcomes = shuffled(random, cut6(frame, dataBytes)).map((one) => table.add(one));
    assert.ok(outcomes.slice(0, -1).every((outcome) => outcome === "held"));
    assert.deepEqual(outcomes.at(-1), frame, `${dataBytes} bytes each`);
    assert.equal(decoded6(outcomes.at(-1) as Uint8Array).pdu.fragment, 0);
    table.assertEmpty();
  }
});

Deno.test("Reassembly of IPv6 keeps datagrams apart by all 32 bits of the number and all of both addresses", () => {
  const frame = (fields: Partial<Ip6>, factor: number) =>
    buildUdp6({ ...fields, payload: bytes(100, factor) });
  const kinds: [Uint8Array<ArrayBuffer>, number][] = [
    [frame({}, 3), 1],
    [frame({}, 5), 0x8000_0001],
    [frame({ src: "2001:db8::1:0:0:fe" }, 11), 1],
    [frame({ src: "2001:db8:8000::fe" }, 13), 1],
    [frame({ dst: "2001:db8::65" }, 17), 1],
  ];
  const random = new SeededRandom(2);
  for (let round = 0; round < 20; round++) {
    const table = new Table();
    const wholes: Uint8Array[] = [];
    for (const one of shuffled(random, kinds.flatMap(([one, id]) => cut6(one, 16, {}, id)))) {
      const outcome = table.add(one);
      if (outcome !== "held") wholes.push(outcome as Uint8Array);
    }
    assert.deepEqual(new Set(wholes), new Set(kinds.map(([one]) => one)));
    table.assertEmpty();
  }
});

Deno.test("Reassembly of IPv6 takes the first fragment's headers, whatever the others say", () => {
  const frame = buildUdp6({ payload: bytes(56) });
  const first = {
    srcMac: "02:00:00:00:00:01",
    hopLimit: 9,
    trafficClass: 0x20,
    headers: [ROUTER_ALERT],
  };
  const [a, , c] = cut6(frame, 24, first);
  const { l4 } = readIp6(frame);
  const b = fragment6(24, l4.subarray(24, 48), false, {
    hopLimit: 200,
    protocol: 6,
    headers: [DESTINATION],
  });
  for (const order of permutations([a!, b, c!])) {
    const table = new Table();
    const completed = order.map((one) => table.add(one)).at(-1);
    assert.deepEqual(completed, buildUdp6({ ...first, payload: bytes(56) }));
  }
});

Deno.test("Reassembly of IPv6 keeps a router's congestion mark, whichever fragment bears it", () => {
  const frame = buildUdp6({ payload: bytes(56) });
  for (const marked of [-1, 0, 1, 2]) {
    const table = new Table();
    const fragments = [0, 1, 2].map((i) =>
      cut6(frame, 24, { trafficClass: 0xb8 | (i === marked ? 3 : 2) })[i]!
    );
    const completed = fragments.map((one) => table.add(one)).at(-1) as Uint8Array;
    assert.equal(readIp6(completed).ip.trafficClass, 0xb8 | (marked < 0 ? 2 : 3), `${marked}`);
  }
});

Deno.test("Reassembly of IPv6 ignores exact duplicates; any other overlap drops all and what follows", () => {
  const [a, b, c] = cut6(buildUdp6({ payload: bytes(64) }), 24);
  const table = new Table();
  assert.deepEqual(table.addAll([a!, a!, b!, b!, c!]), ["held", "held", "held", "held", "whole"]);
  const overlaps = {
    "one byte unlike": fragment6(24, bytes(24, 3), false),
    "its end": fragment6(16, bytes(16), false),
    "all of it": fragment6(8, bytes(64), false),
    "behind the last": fragment6(72, bytes(8), true),
    "another end": fragment6(80, bytes(8), true),
  };
  for (const [name, overlap] of Object.entries(overlaps)) {
    const table = new Table();
    assert.deepEqual(table.addAll([b!, c!]), ["held", "held"]);
    assert.equal(table.add(overlap), "fragment-overlap", name);
    assert.deepEqual(table.dropped, { "fragment-overlap": 2 });
    assert.deepEqual(table.addAll([a!, b!, c!]), Array(3).fill("fragment-overlap"), name);
    table.nowMs = REASSEMBLY6_TIMEOUT_MS;
    table.reassembly.expire(table.nowMs);
    assert.deepEqual(table.timedOut, [], "no ICMPv6 error (RFC 8200 §4.5)");
    table.assertEmpty();
  }
});

Deno.test("Reassembly of IPv6 waits 60 s, and tells of the first fragment as far as an error quotes it", () => {
  const [a, b] = cut6(buildUdp6({ payload: bytes(3000) }), 1448);
  const [, other] = cut6(buildUdp6({ payload: bytes(3000) }), 1448, {}, 2);
  const table = new Table();
  assert.deepEqual(table.addAll([a!, other!]), ["held", "held"]);
  table.reassembly.expire(REASSEMBLY6_TIMEOUT_MS - 1);
  assert.deepEqual(table.timedOut, []);
  table.reassembly.expire(REASSEMBLY6_TIMEOUT_MS);
  assert.deepEqual(table.timedOut, [a!.slice(0, 14 + 1232), null]);
  assert.deepEqual(table.dropped, { "fragment-timeout": 2 });
  table.assertEmpty();
  table.nowMs = REASSEMBLY6_TIMEOUT_MS;
  assert.equal(table.add(b!), "held");
});

Deno.test("Reassembly of IPv6 drops a last fragment without data, and a whole that is too long", () => {
  const table = new Table();
  assert.equal(table.add(fragment6(8, [], true)), "fragment-length");
  assert.equal(table.reassembly.count, 0);
  // Allowed by itself, but the first fragment has headers that the last one had not.
  assert.equal(table.add(fragment6(65_520, bytes(8), true)), "held");
  const long = { headers: [DESTINATION, DESTINATION] };
  for (let start = 8; start < 65_520; start += 8 * 1023) {
    const data = new Uint8Array(Math.min(8 * 1023, 65_520 - start));
    assert.equal(table.add(fragment6(start, data, false)), "held");
  }
  assert.equal(table.add(fragment6(0, bytes(8), false, long)), "fragment-length");
  assert.deepEqual(table.dropped, { "fragment-length": 10 });
  table.assertEmpty();
});

Deno.test("Reassembly of IPv6 gives a /64 its share only, however many addresses it uses", () => {
  const table = new Table();
  for (let i = 0; i < 2000; i++) {
    const src = `2001:db8:1::${(i >> 8).toString(16)}:${(i & 255).toString(16)}:1`;
    assert.equal(table.add(fragment6(0, bytes(8), false, { src })), "held");
  }
  assert.equal(table.reassembly.count, MAX_SOURCE_DATAGRAMS);
  assert.deepEqual(table.dropped, { "fragment-limit": 2000 - MAX_SOURCE_DATAGRAMS });
});

Deno.test("Reassembly of IPv6 never sees what its headers' walk refuses, nor an atomic fragment", () => {
  const cases: [keyof typeof ChainFault, Uint8Array][] = [
    ["fragment-length", fragment6(0, bytes(15), false)],
    ["fragment-end", fragment6(65_528, bytes(16), true)],
    ["incomplete-chain", fragment6(0, bytes(16), false, { protocol: 6 })],
  ];
  for (const [name, frame] of cases) {
    assert.equal(chainFaultOf(decode6(frame).result), ChainFault[name], name);
  }
  const atomic = fragment6(0, readIp6(buildUdp6({ payload: bytes(8) })).l4, true);
  assert.equal(decoded6(atomic).pdu.fragment, 0);
});
