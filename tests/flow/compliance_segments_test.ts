/**
 * What RFC 9293 §3.10.7, RFC 5961, RFC 7413 and RFC 5927 have an endpoint do with a segment or an
 * error, as far as it concerns what is in the middle: see tests/COMPLIANCE.md.
 */
import assert from "node:assert/strict";
import { bothFamilies, type Family } from "../support/families.ts";
import { bytesOf, type Tcp } from "../support/frames.ts";
import { from } from "../support/world.ts";
import { BACKEND, deliver, Dialogue, idle, oneBackend, tracked } from "./dialogue.ts";

const DATA = { payload: bytesOf("some data") };

/** A handshake up to the SYN ACK. */
function answered(family: Family): Dialogue {
  const talk = new Dialogue(oneBackend(family));
  assert.ok(talk.a("S") && talk.b("SA"));
  return talk;
}

function closed(family: Family): Dialogue {
  const talk = new Dialogue(oneBackend(family)).open();
  assert.ok(talk.a("FA") && talk.b("FA") && talk.a("A"));
  return talk;
}

/** Connections that the backend was ever chosen for. */
function opened(talk: Dialogue): number {
  return talk.world.appliance.snapshot().pools[0]!.members[0]!.opened;
}

/** Both sides still exchange data. */
function assertAlive(talk: Dialogue): void {
  assert.ok(talk.a("PA", DATA) && talk.b("PA", DATA) && talk.a("A"));
}

/** The client begins another connection from the same port. */
function opensAnew(talk: Dialogue, seqA: number, fields: Partial<Tcp> = {}): boolean {
  const before = opened(talk);
  talk.seqA = seqA;
  return talk.a("S", fields) !== null && opened(talk) === before + 1;
}

bothFamilies(
  "RFC 9293 3.10.7.3: an answer to a SYN acknowledges just that, be it a SYN ACK or an RST",
  (family) => {
    const talk = new Dialogue(oneBackend(family));
    assert.ok(talk.a("S"));
    for (const off of [1, -1, -2, -1000, -0xffff, 0x10000]) {
      for (const flags of ["SA", "RA"]) {
        const forged = talk.fromB(flags, { ack: talk.seqA + off });
        assert.equal(talk.deliverB(forged), null, `${flags} ${off}`);
      }
    }
    for (const side of ["A", "B"] as const) {
      talk[`deliver${side}`](talk[`from${side}`]("R", { seq: 123_456_789, ack: 0 }));
    }
    assert.ok(talk.b("SA") && talk.a("A"));
    assertAlive(talk);
  },
);

bothFamilies(
  "RFC 9293 3.10.7.3: a refused SYN ends what it began, wherever it came on",
  (family) => {
    const prepared: [string, () => Dialogue][] = [
      ["nothing", () => new Dialogue(oneBackend(family))],
      ["an established connection", () => new Dialogue(oneBackend(family)).open()],
      ["a closed one", () => closed(family)],
    ];
    for (const [what, prepare] of prepared) {
      for (const isn of [10_000, -10_000]) {
        const talk = prepare();
        talk.seqA += isn;
        assert.ok(talk.a("S"), what);
        const refusal = talk.fromB("RA", { seq: 0, ack: talk.seqA });
        assert.ok(talk.deliverB(refusal), `after ${what}, ${isn}: the client hears of it`);
        idle(talk.world, 245);
        assert.equal(tracked(talk.world), 0, `after ${what}, ${isn}: nothing is kept`);
      }
    }
  },
);

/** The backend remembers that instead of the SYN: the client resets it and gets through. */
function assertTold(talk: Dialogue, memory: { seq: number; ack: number }, told = ""): void {
  assert.ok(talk.deliverB(talk.fromB("A", memory)), `${told}: its ACK reaches the client`);
  assert.ok(talk.deliverA(talk.fromA("R", { seq: memory.ack })), "the client's RST the backend");
  talk.seqA--;
  assert.ok(talk.a("S") && talk.b("SA") && talk.a("A"));
  assertAlive(talk);
}

bothFamilies(
  "RFC 9293 3.10.7.3: a backend that remembers another connection is told so by the client",
  (family) => {
    for (const forged of [false, true]) {
      const talk = new Dialogue(oneBackend(family));
      assert.ok(talk.a("S"));
      if (forged) talk.deliverB(talk.fromB("S", { seq: 123_456_789 }));
      assertTold(talk, { seq: 77_000, ack: 55_000 });
    }
  },
);

bothFamilies(
  "RFC 9293 3.10.7.3: so is one that remembers neither the last connection nor the next",
  (family) => {
    for (const end of ["closed", "reset"]) {
      const talk = end === "closed" ? closed(family) : new Dialogue(oneBackend(family)).open();
      if (end === "reset") assert.ok(talk.b("R"));
      talk.seqA = 500;
      assert.ok(talk.a("S"), "a lower number: the backend is the judge");
      // A late duplicate of an older SYN has come to it, and its SYN ACK was lost.
      assertTold(talk, { seq: 77_000, ack: 2_000_000_000 }, end);
    }
  },
);

bothFamilies(
  "RFC 9293 3.10.7.3: a SYN ACK undoes a SYN that came under its sender's name",
  (family) => {
    for (const side of ["A", "B"] as const) {
      const talk = new Dialogue(oneBackend(family));
      assert.ok(talk.a("S"));
      talk[`deliver${side}`](talk[`from${side}`]("S", { seq: 123_456_789 }));
      assert.ok(talk.b("SA"), `after a SYN from ${side}`);
      assert.ok(talk.a("A"));
      assertAlive(talk);
    }
  },
);

bothFamilies(
  "RFC 9293 3.10.7.3: the next SYN ACK may have another number, the first having been lost",
  (family) => {
    const talk = answered(family);
    talk.seqB = 33_000;
    assert.ok(talk.b("SA") && talk.a("A"));
    assertAlive(talk);
  },
);

bothFamilies(
  "RFC 9293 3.10.7.4: an RST in the handshake is its sender's next number, others end nothing",
  (family) => {
    for (const side of ["A", "B"] as const) {
      for (const off of [1, 100, 1000, -1, -100]) {
        const talk = answered(family);
        const seq = talk[`seq${side}`] + off;
        talk[`deliver${side}`](talk[`from${side}`]("R", { seq }));
        assert.ok(talk.a("A"), `${side} ${off}`);
        assertAlive(talk);
      }
      const talk = answered(family);
      assert.ok(talk[side === "A" ? "a" : "b"]("R"));
      idle(talk.world, 245);
      assert.equal(tracked(talk.world), 0);
    }
  },
);

bothFamilies(
  "RFC 9293 3.10.7.4: after 60 s any SYN opens the next connection, also one with a lower number",
  (family) => {
    for (const isn of [5000, -5000, -0x7000_0000, 0x7000_0000]) {
      const talk = closed(family);
      idle(talk.world, 61);
      assert.ok(opensAnew(talk, (talk.seqA + isn) >>> 0), `${isn}`);
      assert.ok(talk.b("SA") && talk.a("A"));
      assertAlive(talk);
    }
  },
);

bothFamilies(
  "RFC 9293 3.10.7.4, RFC 6191: within 60 s a higher number or a later timestamp opens the next",
  (family) => {
    const stamped = (tsVal: number): Partial<Tcp> => ({
      tcpOptions: [1, 1, 8, 10, 0, 0, tsVal >>> 8, tsVal & 255, 0, 0, 0, 0],
    });
    assert.ok(opensAnew(closed(family), 50_000));
    for (const [tsVal, opens] of [[900, false], [1003, false], [1100, true]] as const) {
      const talk = new Dialogue(oneBackend(family));
      assert.ok(
        talk.a("S", stamped(1000)) && talk.b("SA", stamped(1)) && talk.a("A", stamped(1001)),
      );
      assert.ok(talk.a("FA", stamped(1002)) && talk.b("FA", stamped(3)));
      assert.ok(talk.a("A", stamped(1003)));
      assert.equal(
        opensAnew(talk, 100, stamped(tsVal)),
        opens,
        `${tsVal}; else its backend judges`,
      );
    }
  },
);

bothFamilies(
  "RFC 9293 3.10.7.4: within 60 s the SYN of the connection that is over goes nowhere",
  (family) => {
    const talk = closed(family);
    assert.equal(talk.deliverA(talk.fromA("S", { seq: 1000 })), null, "the very same");
    assert.ok(talk.deliverA(talk.fromA("S", { seq: 900 })), "any other is its backend's to judge");
    const challenge = talk.fromB("A");
    assert.ok(talk.deliverB(challenge), "which challenges it");
    assert.ok(talk.deliverA(talk.fromA("R", { seq: talk.seqA })), "and hears that it was meant");
  },
);

bothFamilies(
  "RFC 9293 3.10.7.4: before the last ACK, a SYN with a higher number is challenged, too",
  (family) => {
    const talk = new Dialogue(oneBackend(family)).open();
    assert.ok(talk.a("FA") && talk.b("FA"), "its last ACK has been lost, or is under way");
    assert.ok(talk.deliverA(talk.fromA("S", { seq: talk.seqA + 0x1000_0000 })));
    assert.equal(opened(talk), 1);
    assert.ok(talk.deliverB(talk.fromB("A")), "the challenge");
    assert.ok(talk.deliverB(talk.fromB("FA", { seq: talk.seqB - 1 })), "the FIN once more");
    assert.ok(talk.a("A"), "the last ACK");
    assert.ok(opensAnew(talk, talk.seqA + 0x1000_0000), "now it is over");
  },
);

bothFamilies(
  "RFC 5961 3.2: an RST that the other end challenges passes and changes nothing",
  (family) => {
    for (const side of ["A", "B"] as const) {
      const talk = new Dialogue(oneBackend(family)).open();
      assertAlive(talk);
      const seq = talk[`seq${side}`] + 1;
      assert.ok(talk[`deliver${side}`](talk[`from${side}`]("R", { seq })), "it passes");
      const other = side === "A" ? "B" : "A";
      assert.ok(talk[`deliver${other}`](talk[`from${other}`]("A")), "so does the challenge");
      idle(talk.world, 7400);
      assert.equal(tracked(talk.world), 1, `from ${side}: established`);
      assertAlive(talk);
    }
  },
);

bothFamilies(
  "RFC 5961 3.2: an RST ends a connection that has what the other side acknowledged last",
  (family) => {
    for (const side of ["A", "B"] as const) {
      const talk = new Dialogue(oneBackend(family)).open();
      assertAlive(talk);
      const seq = talk[`seq${side}`];
      // Data that is lost behind the proxy: the other end waits for what comes before it.
      assert.ok(talk[side === "A" ? "a" : "b"]("PA", DATA));
      assert.ok(talk[`deliver${side}`](talk[`from${side}`]("R", { seq })));
      idle(talk.world, 245);
      assert.equal(tracked(talk.world), 0, `from ${side}`);
    }
  },
);

bothFamilies(
  "RFC 5961 4.2: a SYN into a connection passes, the challenge comes back, nothing changes",
  (family) => {
    for (const side of ["A", "B"] as const) {
      const other = side === "A" ? "B" : "A";
      const talk = new Dialogue(oneBackend(family)).open();
      assertAlive(talk);
      assert.ok(talk[`deliver${side}`](talk[`from${side}`]("S", { seq: 3_000_000_000 })), side);
      assert.ok(talk[`deliver${other}`](talk[`from${other}`]("A")), "the challenge");
      idle(talk.world, 7400);
      assertAlive(talk);
    }
  },
);

bothFamilies(
  "RFC 5961 5.2: data that acknowledges what was never sent, or long ago, goes nowhere",
  (family) => {
    for (const side of ["A", "B"] as const) {
      const talk = new Dialogue(oneBackend(family)).open();
      assertAlive(talk);
      const ack = talk[side === "A" ? "seqB" : "seqA"];
      for (const off of [1, 1000, -70_000, 0x4000_0000]) {
        const forged = talk[`from${side}`]("PA", { ack: (ack + off) >>> 0, ...DATA });
        assert.equal(talk[`deliver${side}`](forged), null, `${side} ${off}`);
      }
      assertAlive(talk);
    }
  },
);

bothFamilies(
  "RFC 7413 4.2.2: data in a SYN passes with the cookie, answered for the SYN alone or for all",
  (family) => {
    const cookie = { tcpOptions: [34, 10, 1, 2, 3, 4, 5, 6, 7, 8, 1, 1] };
    for (const acksData of [true, false]) {
      const talk = new Dialogue(oneBackend(family));
      const syn = talk.a("S", { ...cookie, ...DATA });
      assert.deepEqual([syn?.tcpOptions, syn?.payload], [cookie.tcpOptions, DATA.payload]);
      const ack = acksData ? talk.seqA : talk.seqA - DATA.payload.length;
      const answer = talk.deliverB(talk.fromB("SA", { ack, ...cookie }));
      assert.deepEqual(answer?.tcpOptions, cookie.tcpOptions);
      talk.seqB++;
      if (!acksData) assert.ok(talk.a("PA", { seq: ack, ...DATA }), "the client sends it again");
      else assert.ok(talk.a("A"));
      assertAlive(talk);
    }
  },
);

bothFamilies(
  "RFC 7413 4.2.2: on a tuple that has an entry, too, a SYN with data is answered for all",
  (family) => {
    for (const flags of ["SA", "RA"]) {
      for (const prepare of [() => closed(family), () => new Dialogue(oneBackend(family)).open()]) {
        const talk = prepare();
        talk.seqA = 500;
        talk.seqB = 7000;
        assert.ok(talk.a("S", DATA), "a lower number: the backend is the judge");
        assert.ok(talk.b(flags), `its ${flags}`);
        if (flags === "RA") continue;
        assert.ok(talk.a("A"));
        assertAlive(talk);
      }
    }
  },
);

bothFamilies(
  "RFC 7413 4.2.2: the server's data may come before the client's ACK, and with the SYN ACK",
  (family) => {
    for (const first of [{}, DATA] as Partial<Tcp>[]) {
      const talk = new Dialogue(oneBackend(family));
      assert.ok(talk.a("S", DATA) && talk.b("SA", first));
      const ack = talk.seqB - (first.payload?.length ?? 0);
      assert.ok(
        talk.b("PA", DATA) && talk.b("PA", DATA),
        "before the client has said anything more",
      );
      assert.ok(talk.a("A", { ack }), "the SYN ACK's SYN alone is acknowledged");
      assert.ok(talk.a("PA", { ack, ...DATA }), "and data sent with it");
      assertAlive(talk);
    }
  },
);

bothFamilies(
  "RFC 5927 4.1: an error is believed about what has been sent and may be unacknowledged",
  (family) => {
    for (const side of ["A", "B"] as const) {
      const talk = new Dialogue(oneBackend(family)).open();
      assertAlive(talk);
      const segment = talk[`from${side}`]("PA", DATA);
      const [sent] = deliver(talk.world, segment);
      talk[`seq${side}`] += DATA.payload.length;
      const router = { ...from(side === "A" ? BACKEND : talk.client), type: 3, code: 1 };
      const errorAbout = (off: number): Uint8Array => {
        const quote = sent!.slice(14, 14 + family.ipBytes + 8);
        const view = new DataView(quote.buffer);
        view.setUint32(family.ipBytes + 4, view.getUint32(family.ipBytes + 4) + off);
        return family.buildIcmp({ ...router, rest: [0, 0], payload: quote });
      };
      assert.equal(family.readTcp(sent!).payload.length, DATA.payload.length);
      assert.equal(deliver(talk.world, errorAbout(0)).length, 1, `about what ${side} sent`);
      for (const off of [DATA.payload.length + 1, 1_000_000, -1_000_000, 0x7fff_0000]) {
        assert.deepEqual(deliver(talk.world, errorAbout(off)), [], `${side} ${off}`);
      }
      assertAlive(talk);
    }
  },
);
