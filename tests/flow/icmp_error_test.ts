import assert from "node:assert/strict";
import { below, SeededRandom } from "../../src/core/random.ts";
import { NOT_MINE, Reason } from "../../src/core/reason.ts";
import { RelatedErrors } from "../../src/flow/icmp_error.ts";
import { FlowTable, SIDE_A, SIDE_B } from "../../src/flow/table.ts";
import { ACK, END, WORDS_PER_SIDE } from "../../src/flow/tcp_window.ts";
import { formatAddress, parseAddress } from "../../src/wire/address.ts";
import {
  buildIcmp,
  buildTcp,
  buildUdp,
  type Icmp,
  readIcmp,
  type Tcp,
  type Udp,
} from "../support/frames.ts";
import { decoded, frameOf } from "../wire/place.ts";

const PROXY = "192.168.0.100";
const CLIENT = "192.168.0.254";
const BACKEND = "192.168.0.1";
const ROUTER = "192.168.0.77";

/** One connection in a table: what each side sends, and what the proxy makes of it. */
interface Flow {
  readonly table: FlowTable;
  readonly fromA: Uint8Array;
  readonly toB: Uint8Array;
  readonly fromB: Uint8Array;
  readonly toA: Uint8Array;
}

type Fields = Partial<Tcp & Udp>;

/** Of the segments here, unless told otherwise. */
const SEQ = 1000;

/** Each side has sent the bytes from `seq` up to `end`, and the other has not acknowledged them. */
function sentAndUnacknowledged(table: FlowTable, entry: number, seq: number, end = seq): void {
  for (const side of [SIDE_A, SIDE_B]) {
    table.setData(entry, side * WORDS_PER_SIDE + END, end | 0);
    table.setData(entry, (1 - side) * WORDS_PER_SIDE + ACK, seq | 0);
  }
}

/** A connection client:40000 → proxy:2000, which the proxy makes proxy:5000 → backend:2000. */
function flow(protocol: "tcp" | "udp" | "echo", fields: Fields = {}): Flow {
  const a = { src: CLIENT, dst: PROXY, srcPort: 40_000, dstPort: 2000 };
  const b = { src: PROXY, dst: BACKEND, srcPort: 5000, dstPort: 2000 };
  const turned = ({ src, dst, srcPort, dstPort }: typeof a) => ({
    ...{ src: dst, dst: src, srcPort: dstPort, dstPort: srcPort },
  });
  const number = { tcp: 6, udp: 17, echo: 1 }[protocol];
  const [aPorts, bPorts] = protocol === "echo"
    ? [40_000 << 16, 5000]
    : [(40_000 << 16) | 2000, (2000 << 16) | 5000];
  const table = new FlowTable(10, new SeededRandom(1));
  const [client, proxy, backend] = [CLIENT, PROXY, BACKEND].map(parseAddress);
  const entry = table.insert(number, client!, proxy!, aPorts, backend!, proxy!, bPorts);
  if (protocol === "tcp") sentAndUnacknowledged(table, entry, SEQ);
  const build = (end: typeof a, type: number) => {
    if (protocol === "tcp") return buildTcp({ ...fields, ...end });
    if (protocol === "udp") return buildUdp({ ...fields, ...end });
    const id = type === 8 ? end.srcPort : end.dstPort;
    return buildIcmp({ ...fields, src: end.src, dst: end.dst, type, rest: [id, 3] });
  };
  return {
    table,
    fromA: build(a, 8),
    toB: build(b, 8),
    fromB: build(turned(b), 0),
    toA: build(turned(a), 0),
  };
}

/** What becomes of an ICMP error: the frame and its next destination, or what `find` said. */
function relay(table: FlowTable, error: Uint8Array): { error: Icmp; dst: string } | number {
  const { arena, pdu } = decoded(error);
  const related = new RelatedErrors(table);
  const found = related.find(arena.view, pdu);
  if (found < 0) {
    assert.deepEqual(frameOf(arena, pdu), error, "left alone");
    return found;
  }
  const dst = related.translate(arena.view, pdu, found);
  return { error: readIcmp(frameOf(arena, pdu)), dst: formatAddress(dst) };
}

/** An error about a frame: `quoteBytes` of its IP packet are quoted. */
function errorAbout(frame: Uint8Array, quoteBytes: number, fields: Partial<Icmp> = {}): Uint8Array {
  const payload = fields.payload ?? frame.slice(14, 14 + quoteBytes);
  return buildIcmp({ type: 3, code: 1, rest: [0, 0], src: ROUTER, dst: PROXY, ...fields, payload });
}

const DATA = new Uint8Array(200).map((_, i) => i * 7);
const OPTIONS = [0x94, 4, 0, 0];
const FLOWS: [string, Flow][] = [
  ["TCP", flow("tcp", { payload: DATA })],
  ["TCP with IP options", flow("tcp", { payload: DATA, options: OPTIONS, flags: "A" })],
  ["TCP, a first fragment", flow("tcp", { payload: DATA, fragment: 0x2000 })],
  ["UDP", flow("udp", { payload: DATA })],
  ["UDP without checksum", flow("udp", { payload: DATA, noChecksum: true })],
  ["an echo", flow("echo", { payload: DATA })],
];

Deno.test("RelatedErrors turns what the proxy sent to B back into what A sent, at every length", () => {
  for (const [name, { table, toB, fromA }] of FLOWS) {
    const headerBytes = (toB[14]! & 15) * 4;
    for (let quoted = headerBytes + 8; quoted <= toB.length - 14; quoted++) {
      const result = relay(table, errorAbout(toB, quoted));
      assert.ok(typeof result === "object", `${name}, ${quoted} bytes: ${result}`);
      const { error, dst } = result;
      assert.deepEqual([error.src, error.dst, dst], [ROUTER, CLIENT, CLIENT], name);
      checkQuote(error.payload, fromA, `${name}, ${quoted} bytes`);
    }
  }
});

Deno.test("RelatedErrors turns what the proxy sent to A back into what B sent, at every length", () => {
  for (const [name, { table, toA, fromB }] of FLOWS) {
    const headerBytes = (toA[14]! & 15) * 4;
    for (let quoted = headerBytes + 8; quoted <= toA.length - 14; quoted++) {
      const result = relay(table, errorAbout(toA, quoted));
      assert.ok(typeof result === "object", `${name}, ${quoted} bytes: ${result}`);
      const { error, dst } = result;
      assert.deepEqual([error.src, error.dst, dst], [PROXY, BACKEND, BACKEND], name);
      checkQuote(error.payload, fromB, `${name}, ${quoted} bytes`);
    }
  }
});

Deno.test("RelatedErrors hides the backend and side A; a router on the way to B shows", () => {
  const { table, toB, toA } = flow("tcp");
  const cases: [string, Uint8Array, string, string][] = [
    ["the backend itself", toB, BACKEND, PROXY],
    ["a router towards the backend", toB, ROUTER, ROUTER],
    ["the client itself", toA, CLIENT, PROXY],
    ["a router towards the client", toA, ROUTER, PROXY],
  ];
  for (const [name, about, src, shown] of cases) {
    const result = relay(table, errorAbout(about, 28, { src }));
    assert.ok(typeof result === "object", name);
    assert.equal(result.error.src, shown, name);
  }
});

Deno.test("RelatedErrors leaves type, code and the bytes behind the checksum as they are", () => {
  const { table, toB, fromA } = flow("tcp", { payload: DATA });
  const quote = toB.slice(14, 14 + 128);
  const extension = [0x20, 0, 0, 0, 0, 8, 1, 1, 0xaa, 0xbb, 0xcc, 0xdd];
  const codes: [number, number[]][] = [
    [3, Array.from({ length: 16 }, (_, code) => code)],
    [11, [0, 1]],
    [12, [0, 1, 2]],
  ];
  for (const [type, list] of codes) {
    for (const code of list) {
      const rest: [number, number] = [32, 1280]; // 32 words of quote, a next-hop MTU of 1280
      const payload = Uint8Array.from([...quote, ...extension]);
      const result = relay(table, errorAbout(toB, 0, { type, code, rest, payload }));
      assert.ok(typeof result === "object", `${type}/${code}`);
      const { error } = result;
      assert.deepEqual([error.type, error.code, error.rest], [type, code, rest]);
      assert.deepEqual([...error.payload.slice(0, 128)], [...fromA.slice(14, 14 + 128)]);
      assert.deepEqual([...error.payload.slice(128)], extension);
    }
  }
});

Deno.test("RelatedErrors writes nothing behind the quote, where extensions may begin", () => {
  for (const quoteWords of [7, 8, 9]) {
    const { table, toB, fromA } = flow("tcp", { payload: DATA });
    const end = 4 * quoteWords;
    const payload = Uint8Array.from([...toB.slice(14, 14 + end), 0x20, 0, 0xab, 0xcd]);
    const result = relay(table, errorAbout(toB, 0, { type: 11, rest: [quoteWords, 0], payload }));
    assert.ok(typeof result === "object", `${quoteWords} words`);
    assert.deepEqual(result.error.payload.slice(0, end), fromA.slice(14, 14 + end));
    assert.deepEqual([...result.error.payload.slice(end)], [0x20, 0, 0xab, 0xcd]);
  }
});

Deno.test("RelatedErrors takes what has no tuple for nothing, be there a query of identifier 0", () => {
  const table = new FlowTable(10, new SeededRandom(1));
  const [client, proxy, backend] = [CLIENT, PROXY, BACKEND].map(parseAddress);
  table.insert(1, client!, proxy!, 0, backend!, proxy!, 0);
  const ends = { src: PROXY, dst: BACKEND, rest: [0, 1] as [number, number] };
  assert.ok(typeof relay(table, errorAbout(buildIcmp(ends), 28)) === "object", "the query itself");
  const others = [
    buildIcmp({ ...ends, type: 3 }),
    buildIcmp({ ...ends, type: 5 }),
    buildIcmp({ ...ends, fragment: 0x2010 }),
  ];
  for (const about of others) assert.equal(relay(table, errorAbout(about, 28)), NOT_MINE);
});

Deno.test("RelatedErrors keeps a wrong quoted checksum as wrong as it was", () => {
  const { table, toB, fromA } = flow("tcp");
  const quote = toB.slice(14);
  quote[36]! ^= 0x10;
  const result = relay(table, errorAbout(toB, 0, { payload: quote }));
  assert.ok(typeof result === "object");
  const right = fromA.slice(14);
  const off = (checksum: Uint8Array, of: Uint8Array) =>
    (((checksum[36]! - of[36]!) * 256 + checksum[37]! - of[37]!) % 0xffff + 0xffff) % 0xffff;
  assert.equal(off(result.error.payload, right), off(quote, toB.slice(14)));
});

Deno.test("RelatedErrors leaves alone what is about no forwarded packet", () => {
  const { table, toB, fromA, fromB } = flow("tcp");
  const [client, proxy] = [CLIENT, PROXY].map(parseAddress);
  table.insertOneSided(1, client!, proxy!, 0x4a49 << 16);
  const cases: [string, Uint8Array][] = [
    ["what the client sent", fromA],
    ["what the backend sent", fromB],
    ["another port", buildTcp({ src: PROXY, dst: BACKEND, srcPort: 5001, dstPort: 2000 })],
    ["another backend", buildTcp({ src: PROXY, dst: "192.168.0.2", srcPort: 5000 })],
    ["another protocol", buildUdp({ src: PROXY, dst: BACKEND, srcPort: 5000, dstPort: 2000 })],
    ["a later fragment", buildTcp({ src: PROXY, dst: BACKEND, srcPort: 5000, fragment: 0x2005 })],
    ["our own echo reply", buildIcmp({ src: PROXY, dst: CLIENT, type: 0 })],
    ["an error of our own", buildIcmp({ src: PROXY, dst: CLIENT, type: 3 })],
  ];
  for (const [name, about] of cases) {
    assert.equal(relay(table, errorAbout(about, about.length - 14)), NOT_MINE, name);
  }
  for (const type of [0, 4, 5, 8, 13, 40]) {
    assert.equal(relay(table, errorAbout(toB, 28, { type })), NOT_MINE, `ICMP type ${type}`);
  }
  assert.equal(relay(table, toB), NOT_MINE, "no ICMP");
});

Deno.test("RelatedErrors names the reason for a quote that can't be used", () => {
  const { table, toB } = flow("tcp");
  assert.equal(relay(table, errorAbout(toB, 27)), Reason["icmp-quote"]);
  const wrong = toB.slice(14, 14 + 28);
  wrong[8]!--;
  const payload = { payload: wrong };
  assert.equal(relay(table, errorAbout(toB, 0, payload)), Reason["icmp-quote-checksum"]);
});

Deno.test("RelatedErrors agrees with the builders on random connections", () => {
  const random = new SeededRandom(4);
  for (let round = 0; round < 300; round++) {
    const port = () => 1 + below(random, 65_535);
    const address = () => formatAddress(random.uint32() | 0);
    const [client, backend] = [address(), address()];
    const [cp, sp, pp] = [port(), port(), port()];
    const table = new FlowTable(4, random);
    const [c, p, b] = [client, PROXY, backend].map(parseAddress);
    const entry = table.insert(6, c!, p!, (cp << 16) | sp, b!, p!, (sp << 16) | pp);
    const common = {
      payload: DATA.slice(0, below(random, 60)),
      seq: random.uint32(),
      ttl: 1 + below(random, 255),
      id: below(random, 65_536),
    };
    sentAndUnacknowledged(table, entry, common.seq);
    const sent = buildTcp({ ...common, src: client, dst: PROXY, srcPort: cp, dstPort: sp });
    const made = buildTcp({ ...common, src: PROXY, dst: backend, srcPort: pp, dstPort: sp });
    const result = relay(table, errorAbout(made, 28 + below(random, 60)));
    assert.ok(typeof result === "object", `${round}`);
    checkQuote(result.error.payload, sent, `${round}`);
  }
});

Deno.test("RelatedErrors believes only what quotes a sequence number under way (RFC 5927 §4.1)", () => {
  for (const first of [1000, 2 ** 31 - 100, 2 ** 32 - 100]) {
    for (
      const [ahead, isBelieved] of [
        ...[[0, true], [1, true], [500, true]],
        ...[[-1, false], [501, false], [2 ** 31, false], [-66_000, false]],
      ] as const
    ) {
      const seq = (first + ahead + 2 ** 32) % 2 ** 32;
      for (const [there, sent] of [["toB", "fromA"], ["toA", "fromB"]] as const) {
        const tcp = flow("tcp", { seq });
        sentAndUnacknowledged(tcp.table, [...tcp.table][0]!, first, first + 500);
        const result = relay(tcp.table, errorAbout(tcp[there], 28));
        const where = `${sent}, ${ahead} from ${first}`;
        if (isBelieved) assert.ok(typeof result === "object", where);
        else assert.equal(result, Reason["out-of-window"], where);
      }
    }
  }
});

/**
 * The quote is the beginning of `sent`. Half a TCP checksum says nothing, nor can it be adjusted.
 */
function checkQuote(quote: Uint8Array, sent: Uint8Array, name: string): void {
  const checksum = (quote[0]! & 15) * 4 + 16;
  const half = quote[9] === 6 && quote.length === checksum + 1;
  const end = half ? checksum : quote.length;
  assert.deepEqual(quote.slice(0, end), sent.slice(14, 14 + end), name);
}
