import assert from "node:assert/strict";
import { Arena } from "../../src/core/arena.ts";
import { below, SeededRandom } from "../../src/core/random.ts";
import { IcmpErrors, makeEchoReply } from "../../src/stack/icmp.ts";
import * as icmpv4 from "../../src/wire/icmpv4.ts";
import { buildIcmp, buildIp, buildTcp, buildUdp, bytesOf, readIcmp } from "../support/frames.ts";
import { decodeAll, decoded, decodeInto, place, takeSent } from "../wire/place.ts";
import { Pdu } from "../../src/wire/pdu.ts";

const CLIENT_MAC = "02:00:00:00:00:fe";
const PROXY_MAC = "02:00:00:00:01:00";
const TURNED = {
  dstMac: CLIENT_MAC,
  srcMac: PROXY_MAC,
  src: "192.168.0.100",
  dst: "192.168.0.254",
};

/** The request as its reply, queued. */
function echoReply(arena: Arena, pdu: Pdu): boolean {
  makeEchoReply(arena.view, pdu);
  return arena.send(pdu.frame, pdu.end - pdu.frame);
}

function reply(frame: Uint8Array): Uint8Array {
  const { arena, pdu } = decoded(frame);
  assert.equal(echoReply(arena, pdu), true);
  const sent = takeSent(arena);
  assert.equal(sent.length, 1);
  return sent[0]!;
}

Deno.test("makeEchoReply: the reply is the request turned around, TTL 64, all else as it came", () => {
  for (const ttl of [1, 38, 64, 255]) {
    for (const length of [0, 1, 7, 56, 1472]) {
      const payload = Uint8Array.from({ length }, (_, i) => i * 5);
      const fields = { ttl, tos: 0x10, rest: [0x4a49, 17] as [number, number], payload };
      const expected = buildIcmp({ ...fields, ...TURNED, type: 0, ttl: 64 });
      assert.deepEqual(reply(buildIcmp(fields)), expected, `TTL ${ttl}, ${length} bytes`);
    }
  }
});

Deno.test("makeEchoReply: the reply keeps every checksum right, whatever it was before", () => {
  const arena = new Arena();
  for (let id = 0; id < 65_536; id += 5) {
    const fields = { id, rest: [id, 0xffff - id] as [number, number], payload: bytesOf("!") };
    assert.ok(echoReply(arena, decodeInto(arena, buildIcmp(fields))));
    const [sent] = takeSent(arena);
    assert.partialDeepStrictEqual(readIcmp(sent!), { ...fields, ...TURNED, type: 0 });
  }
});

Deno.test("makeEchoReply: the reply leaves padding behind", () => {
  const frame = buildIcmp({ payload: bytesOf("ab") });
  const padded = new Uint8Array(60).fill(0xa5);
  padded.set(frame);
  assert.deepEqual(reply(padded), buildIcmp({ ...TURNED, type: 0, payload: bytesOf("ab") }));
});

function makeErrors(): IcmpErrors {
  return new IcmpErrors(new SeededRandom(1), 0);
}

/** Host unreachable about the frame, as sent, or null. */
function errorAbout(frame: Uint8Array, errors = makeErrors(), nowMs = 0): Uint8Array | null {
  const { arena, pdu } = decoded(frame);
  const before = arena.bytes.slice(pdu.frame, pdu.frame + frame.length);
  const sent = errors.send(
    arena,
    pdu,
    pdu.dst,
    icmpv4.ICMP_UNREACHABLE,
    icmpv4.CODE_HOST_UNREACHABLE,
    0,
    nowMs,
  );
  assert.deepEqual(arena.bytes.slice(pdu.frame, pdu.frame + frame.length), before);
  const frames = takeSent(arena);
  assert.equal(frames.length, sent ? 1 : 0);
  return frames[0] ?? null;
}

Deno.test("IcmpErrors.send quotes the packet to the station that sent it", () => {
  const frames = {
    TCP: buildTcp({ payload: bytesOf("hello"), ttl: 1 }),
    UDP: buildUdp({ payload: bytesOf("hello") }),
    "IP options": buildTcp({ options: [1, 1, 1, 0] }),
    "another protocol": buildIp({ protocol: 47 }, [1, 2, 3]),
    ping: buildIcmp(),
    "as long as fits": buildUdp({ payload: new Uint8Array(520) }),
  };
  for (const [name, frame] of Object.entries(frames)) {
    const error = readIcmp(errorAbout(frame)!);
    assert.partialDeepStrictEqual(error, {
      ...TURNED,
      ttl: 64,
      tos: 0xc0,
      fragment: 0,
      options: [],
      type: 3,
      code: 1,
      rest: [0, 0],
    }, name);
    assert.deepEqual(error.payload, frame.slice(14), name);
  }
});

Deno.test("IcmpErrors.send quotes as much as fits into 576 bytes", () => {
  for (const length of [521, 522, 1000, 1472]) {
    const frame = buildUdp({ payload: new Uint8Array(length).fill(0x61) });
    const error = errorAbout(frame)!;
    assert.equal(error.length, 14 + 576);
    assert.deepEqual(readIcmp(error).payload, frame.slice(14, 14 + 548));
  }
});

Deno.test("IcmpErrors.send quotes no padding", () => {
  const frame = buildUdp({ payload: bytesOf("ab") });
  const padded = new Uint8Array(60).fill(0xa5);
  padded.set(frame);
  assert.deepEqual(readIcmp(errorAbout(padded)!).payload, frame.slice(14));
});

Deno.test("IcmpErrors.send writes type, code and the rest of the header as told", () => {
  const { arena, pdu } = decoded(buildTcp());
  makeErrors().send(arena, pdu, pdu.dst, 11, 1, 0x8000_05dc | 0, 0);
  assert.partialDeepStrictEqual(readIcmp(takeSent(arena)[0]!), {
    type: 11,
    code: 1,
    rest: [0x8000, 0x05dc],
  });
});

Deno.test("IcmpErrors.send is silent about ICMP errors and types that may be one, not about queries", () => {
  const queries = [0, 8, 13, 14, 15, 16, 17, 18];
  for (let type = 0; type < 256; type++) {
    const error = errorAbout(buildIcmp({ type, payload: new Uint8Array() }));
    assert.equal(error !== null, queries.includes(type), `type ${type}`);
  }
});

Deno.test("IcmpErrors.send takes a stale ICMP type for nothing in TCP", () => {
  const arena = new Arena();
  const pdu = new Pdu();
  for (const frame of [buildIcmp({ type: 3 }), buildTcp()]) {
    place(arena, frame);
    assert.equal(decodeAll(arena, frame.length, pdu), 0);
  }
  assert.equal(makeErrors().send(arena, pdu, pdu.dst, 3, 1, 0, 0), true);
});

/**
 * Errors that are sent about packets of `source`: by default host unreachable, `tries` at a time.
 */
class Asking {
  readonly #errors = makeErrors();
  readonly #placed = decoded(buildTcp());

  constructor() {
    this.#placed.pdu.flow = -1;
  }

  sent(source: number, tries: number, nowMs: number, { code = 1, flow = -1 } = {}): number {
    const { arena, pdu } = this.#placed;
    let count = 0;
    pdu.src = source;
    pdu.flow = flow;
    for (let i = 0; i < tries; i++) {
      if (this.#errors.send(arena, pdu, pdu.dst, 3, code, 0, nowMs)) count++;
      arena.sent();
    }
    return count;
  }
}

const VICTIM = 0x0a00_0001;
const ATTACKER = 0x0b00_0001;
const TOO_LONG = { code: 4 };

Deno.test("IcmpErrors.send sends 50 at once and 100 a second, 20 of them to one source", () => {
  const asking = new Asking();
  const all = (nowMs: number): number[] =>
    [1, 2, 3, 4].map((source) => asking.sent(ATTACKER + source, 200, nowMs));
  assert.deepEqual(all(0), [20, 20, 10, 0]);
  assert.deepEqual(all(100), [2, 2, 2, 2]);
  assert.deepEqual(all(10_000), [20, 20, 10, 0]);
});

Deno.test("IcmpErrors.send: other errors, to however many, take nothing of fragmentation needed", () => {
  const asking = new Asking();
  for (let i = 0; i < 1000; i++) asking.sent(ATTACKER + i, 1, 0);
  asking.sent(VICTIM, 100, 0);
  assert.equal(asking.sent(VICTIM, 1, 0), 0);
  assert.equal(asking.sent(VICTIM, 200, 0, TOO_LONG), 100);
  assert.equal(asking.sent(VICTIM, 200, 100, TOO_LONG), 10);
});

Deno.test("IcmpErrors.send: nor do 100,000 a second that ask for it from 1,000,000 addresses", () => {
  const asking = new Asking();
  const random = new SeededRandom(2);
  let [told, attacker] = [0, 0];
  for (let ms = 0; ms < 2000; ms++) {
    for (let i = 0; i < 100; i++) {
      attacker += asking.sent(ATTACKER + below(random, 1_000_000), 1, ms, TOO_LONG);
    }
    if (ms % 20 === 0) told += asking.sent(VICTIM, 1, ms, TOO_LONG);
  }
  assert.equal(told, 100);
  assert.ok(attacker > 0);
  assert.ok(asking.sent(ATTACKER, 300, 2000, TOO_LONG) <= 100, "per source");
});

Deno.test("IcmpErrors.send: nor those in the victim's name, once it has a connection", () => {
  const asking = new Asking();
  assert.equal(asking.sent(VICTIM, 1000, 0, TOO_LONG), 100);
  assert.equal(asking.sent(VICTIM, 100, 0, { ...TOO_LONG, flow: 0 }), 100);
  assert.equal(asking.sent(VICTIM, 100, 0, { ...TOO_LONG, flow: 2 }), 100);
});

Deno.test("IcmpErrors.send spends nothing of its rate on packets that it is silent about", () => {
  const errors = makeErrors();
  const { arena, pdu } = decoded(buildIcmp({ type: 3 }));
  for (let i = 0; i < 200; i++) assert.equal(errors.send(arena, pdu, pdu.dst, 3, 1, 0, 0), false);
  assert.notEqual(errorAbout(buildTcp(), errors), null);
});

Deno.test("IcmpErrors.send is false when there is no room", () => {
  const { arena, pdu } = decoded(buildTcp());
  while (arena.scratch(60_000) >= 0);
  while (arena.scratch(40) >= 0);
  assert.equal(makeErrors().send(arena, pdu, pdu.dst, 3, 1, 0, 0), false);
});
