/** RFC 5508 and the ICMP part of RFC 7857, requirement by requirement: see tests/COMPLIANCE.md. */
import assert from "node:assert/strict";
import { bothFamilies, IPV4 } from "../support/families.ts";
import type { Icmp } from "../support/frames.ts";
import { buildIcmp6 } from "../support/frames6.ts";
import { CLIENT, from, PROXY } from "../support/world.ts";
import {
  BACKEND,
  deliver,
  Dialogue,
  EVERYTHING,
  idle,
  oneBackend,
  type SpokenWorld,
  tracked,
} from "./dialogue.ts";

/** A client's query through the proxy, as the backend gets it; null if it does not. */
function ask(world: SpokenWorld, fields: Partial<Icmp> = {}): Icmp | null {
  const { family } = world;
  const [frame] = deliver(world, family.buildIcmp({ ...from(CLIENT), ...fields }));
  return frame === undefined ? null : family.readIcmp(frame);
}

/** The backend's reply to what it got, as the client gets it. */
function answer(world: SpokenWorld, { type, rest, payload }: Icmp): Icmp | null {
  const { family } = world;
  const reply = { type: type === 8 ? 0 : type + 1, rest, payload };
  const [frame] = deliver(world, family.buildIcmp({ ...from(BACKEND), ...reply }));
  return frame === undefined ? null : family.readIcmp(frame);
}

bothFamilies(
  "RFC 5508 REQ-1: queries and their replies pass where the policy forwards them",
  (family) => {
    const world = oneBackend(family, { policy: EVERYTHING });
    for (const type of family.ipv6 ? [8] : [8, 13]) { // IPv6 has no timestamps
      const rest: [number, number] = [0x4a49, 17];
      const payload = Uint8Array.from({ length: 12 }, (_, i) => i);
      const got = ask(world, { type, rest, payload });
      assert.ok(got);
      assert.deepEqual([got.src, got.dst, got.type, got.rest[1]], [PROXY, BACKEND, type, 17]);
      const back = answer(world, got);
      assert.ok(back);
      assert.deepEqual([back.src, back.dst, back.rest, back.payload], [
        PROXY,
        CLIENT,
        rest,
        payload,
      ]);
    }
  },
);

bothFamilies(
  "RFC 5508 REQ-1 a: a client's identifier is mapped once, other clients' to others",
  (family) => {
    const world = oneBackend(family, { policy: EVERYTHING });
    const identifiers = Array.from({ length: 40 }, (_, i) => {
      const query = { ...from(`192.168.0.${10 + i}`), rest: [7000, 1] as [number, number] };
      const first = ask(world, query)!.rest[0];
      assert.equal(ask(world, query)!.rest[0], first);
      return first;
    });
    assert.equal(new Set(identifiers).size, 40);
  },
);

bothFamilies(
  "RFC 5508 REQ-2: a query may take 30 s to be answered, or as its flag says, and lives 60 s",
  (family) => {
    for (const seconds of [30, 60]) {
      const world = oneBackend(family, { policy: EVERYTHING, timeouts: { unanswered: seconds } });
      const got = ask(world)!;
      idle(world, seconds - 1);
      assert.ok(answer(world, got));
      idle(world, 59);
      assert.ok(answer(world, got));
    }
    const world = oneBackend(family, { policy: EVERYTHING });
    const got = ask(world)!;
    assert.ok(answer(world, got));
    idle(world, 61);
    assert.equal(tracked(world), 0);
    assert.equal(answer(world, got), null);
  },
);

bothFamilies(
  "RFC 5508 REQ-6: an error about a query is translated, and neither refreshes nor ends it",
  (family) => {
    const { ipBytes: l4, addressesAt } = family;
    const world = oneBackend(family, { policy: EVERYTHING });
    const sent = family.buildIcmp({ ...from(CLIENT), rest: [500, 9] });
    const [toB] = deliver(world, sent);
    const got = family.readIcmp(toB!);
    assert.ok(answer(world, got));
    const error = family.buildIcmp({
      ...{ ...from("192.168.0.77"), type: 11, rest: [0, 0] as [number, number] },
      payload: toB!.slice(14, 14 + l4 + 8),
    });
    for (let round = 0; round < 4; round++) {
      idle(world, 14);
      const [frame] = deliver(world, error);
      const { dst, payload } = family.readIcmp(frame!);
      assert.equal(dst, CLIENT);
      // The query as it was sent: addresses, type, code, checksum, identifier, sequence number.
      assert.deepEqual(
        payload.slice(addressesAt, l4 + 8),
        sent.slice(14 + addressesAt, 14 + l4 + 8),
      );
    }
    assert.ok(answer(world, got), "56 s after the query");
    idle(world, 55);
    deliver(world, error);
    idle(world, 6);
    assert.equal(tracked(world), 0);
  },
);

bothFamilies(
  "RFC 5508 REQ-8: no room for one more is told at once, and what was there goes on",
  (family) => {
    const world = oneBackend(family, { policy: EVERYTHING, maxConn: 2 });
    const talks = [40_000, 40_001].map((srcPort) => new Dialogue(world, { srcPort }).open());
    const [rst] = deliver(world, family.buildTcp({ ...from(CLIENT), srcPort: 40_002 }));
    assert.equal(family.readTcp(rst!).flags, "RA");
    const errors = [family.buildUdp(from(CLIENT)), family.buildIcmp(from(CLIENT))].map((frame) => {
      const { type, code, dst } = family.readIcmp(deliver(world, frame)[0]!);
      return [type, code, dst];
    });
    assert.deepEqual(errors, [[3, 3, CLIENT], [3, 13, CLIENT]]);
    for (const talk of talks) assert.ok(talk.a("A") && talk.b("A"));
    assert.deepEqual(world.drops(), { "table-full": 3 });
  },
);

Deno.test("RFC 5508 REQ-10 b: of what a translator may support, timestamps pass; routes do not change", () => {
  const world = oneBackend(IPV4, { policy: EVERYTHING });
  assert.ok(ask(world, { type: 13, payload: new Uint8Array(12) }));
  for (const type of [5, 9, 10]) assert.equal(ask(world, { type }), null, `type ${type}`);
  assert.deepEqual(world.drops(), { invalid: 3 });
});

bothFamilies(
  "RFC 5508 REQ-11: ICMP that is neither query nor error is dropped, and counted",
  (family) => {
    const world = oneBackend(family, { policy: EVERYTHING });
    for (const type of family.ipv6 ? [139, 140, 200, 255] : [9, 40, 41, 255]) {
      const frame = family.ipv6 ? buildIcmp6({ type }) : family.buildIcmp({ type });
      assert.deepEqual(deliver(world, frame), [], `type ${type}`);
    }
    assert.equal(tracked(world), 0);
    assert.deepEqual(world.drops(), { invalid: 4 });
  },
);
