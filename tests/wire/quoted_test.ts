import assert from "node:assert/strict";
import { reasonName } from "../../src/core/reason.ts";
import { parseAddress } from "../../src/wire/address.ts";
import { decodeQuoted, Quoted, quotesPacket } from "../../src/wire/quoted.ts";
import { buildIcmp, buildIp, buildTcp, buildUdp, type Icmp } from "../support/frames.ts";
import { decoded } from "./place.ts";

const SENT = { src: "192.168.0.100", dst: "192.168.0.1", srcPort: 5000, dstPort: 2000 };
const ECHO = { src: "192.168.0.100", dst: "192.168.0.1", rest: [0x4a49, 7] as [number, number] };

/** Decodes what an error with this payload quotes: "ok" or the reason's name. */
function quote(payload: Uint8Array, fields: Partial<Icmp> = {}): [string, Quoted] {
  const error = { type: 3, code: 4, rest: [0, 1280] as [number, number], src: "192.168.0.1" };
  const { arena, pdu } = decoded(buildIcmp({ ...error, ...fields, payload }));
  const quoted = new Quoted();
  const reason = decodeQuoted(arena.view, pdu, quoted);
  return [reason === 0 ? "ok" : reasonName(reason), quoted];
}

/** The IP packet in a frame, or its first bytes. */
function packet(frame: Uint8Array, lengthBytes = frame.length - 14): Uint8Array {
  return frame.slice(14, 14 + lengthBytes);
}

function patched(bytes: Uint8Array, at: number, value: number): Uint8Array {
  bytes[at] = value;
  return bytes;
}

Deno.test("decodeQuoted finds addresses, ports and the quote's end", () => {
  const options = [1, 1, 1, 1, 1, 1, 1, 0];
  const cases: [string, Uint8Array, [number, number, number], [number, number]][] = [
    ["TCP, 8 bytes", packet(buildTcp(SENT), 28), [6, 5000, 2000], [20, 28]],
    ["TCP, whole", packet(buildTcp(SENT)), [6, 5000, 2000], [20, 40]],
    ["TCP behind options", packet(buildTcp({ ...SENT, options }), 36), [6, 5000, 2000], [28, 36]],
    ["UDP", packet(buildUdp(SENT)), [17, 5000, 2000], [20, 28]],
    ["echo request", packet(buildIcmp(ECHO), 28), [1, 0x4a49, 0], [20, 28]],
    ["echo reply", packet(buildIcmp({ ...ECHO, type: 0 }), 28), [1, 0, 0x4a49], [20, 28]],
    ["timestamp request", packet(buildIcmp({ ...ECHO, type: 13 })), [1, 0x4a49, 0], [20, 84]],
    ["first fragment", packet(buildUdp({ ...SENT, fragment: 0x2000 })), [17, 5000, 2000], [20, 28]],
    [
      "trailing bytes that are not the packet's",
      Uint8Array.from([...packet(buildUdp(SENT)), ...new Uint8Array(12)]),
      [17, 5000, 2000],
      [20, 28],
    ],
  ];
  for (const [name, payload, tuple, [l4, end]] of cases) {
    const [verdict, quoted] = quote(payload);
    assert.equal(verdict, "ok", name);
    assert.deepEqual([quoted.protocol, quoted.srcPort, quoted.dstPort], tuple, name);
    assert.deepEqual([quoted.l4 - quoted.ip, quoted.end - quoted.ip], [l4, end], name);
    assert.equal(quoted.src, parseAddress(SENT.src), name);
    assert.equal(quoted.dst, parseAddress(SENT.dst), name);
    assert.equal(quoted.hasTuple, 1, name);
  }
});

Deno.test("decodeQuoted knows what has no tuple: later fragments, errors, other protocols", () => {
  const cases: [string, Uint8Array][] = [
    ["later fragment", packet(buildTcp({ ...SENT, fragment: 0x2001 }))],
    ["last fragment", packet(buildTcp({ ...SENT, fragment: 0x0010 }))],
    ["an error", packet(buildIcmp({ ...ECHO, type: 3, code: 1 }))],
    ["a redirect", packet(buildIcmp({ ...ECHO, type: 5 }))],
    ["GRE", packet(buildIp({ protocol: 47 }, new Uint8Array(16)))],
  ];
  for (const [name, payload] of cases) {
    const [verdict, quoted] = quote(payload);
    assert.equal(verdict, "ok", name);
    assert.deepEqual([quoted.hasTuple, quoted.srcPort, quoted.dstPort], [0, 0, 0], name);
  }
});

Deno.test("decodeQuoted ends the quote where RFC 4884 says that extensions begin", () => {
  const whole = packet(buildTcp({ ...SENT, payload: new Uint8Array(300).fill(7) }), 128);
  const extension = [0x20, 0, 0, 0, 0, 8, 1, 1, 0xaa, 0xbb, 0xcc, 0xdd];
  const payload = Uint8Array.from([...whole, ...extension]);
  const [verdict, quoted] = quote(payload, { type: 11, code: 0, rest: [32, 0] });
  assert.equal(verdict, "ok");
  assert.equal(quoted.end - quoted.ip, 128);
  const [, beyond] = quote(payload, { type: 11, code: 0, rest: [255, 0] });
  assert.equal(beyond.end - beyond.ip, 140, "a length beyond the message means all of it");
  const [tooShort] = quote(payload, { type: 11, code: 0, rest: [6, 0] });
  assert.equal(tooShort, "icmp-quote");
});

Deno.test("decodeQuoted refuses what is no IPv4 packet, or too little of one", () => {
  const sent = () => packet(buildTcp(SENT));
  const cases: [string, string, Uint8Array][] = [
    ["nothing", "icmp-quote", new Uint8Array()],
    ["half a header", "icmp-quote", packet(buildTcp(SENT), 19)],
    ["a header alone", "icmp-quote", packet(buildTcp(SENT), 20)],
    ["7 bytes of layer 4", "icmp-quote", packet(buildTcp(SENT), 27)],
    ["version 6", "icmp-quote", patched(sent(), 0, 0x65)],
    ["IHL 4", "icmp-quote", patched(sent(), 0, 0x44)],
    ["IHL beyond the quote", "icmp-quote", patched(packet(buildTcp(SENT), 40), 0, 0x4f)],
    ["total length below header and 8", "icmp-quote", packet(totalLength(buildTcp(SENT), 27))],
    ["wrong header checksum", "icmp-quote-checksum", patched(sent(), 11, 0xff)],
  ];
  for (const [name, reason, payload] of cases) assert.equal(quote(payload)[0], reason, name);
});

Deno.test("decodeQuoted does not look at the quoted layer 4 checksum (RFC 5508 REQ-3 c)", () => {
  assert.equal(quote(patched(packet(buildTcp(SENT)), 36, 0x55))[0], "ok");
});

Deno.test("decodeQuoted survives every length and random bytes", () => {
  const whole = packet(buildTcp({ ...SENT, options: [1, 1, 1, 0] }));
  for (let length = 0; length <= whole.length; length++) {
    assert.equal(quote(whole.slice(0, length))[0], length < 32 ? "icmp-quote" : "ok", `${length}`);
  }
  let state = 1;
  for (let round = 0; round < 500; round++) {
    const payload = Uint8Array.from({ length: round % 64 }, (_, i) => {
      state = Math.imul(state, 1_103_515_245) + 12_345;
      return i === 0 && round % 2 === 0 ? 0x45 : state >>> 24;
    });
    assert.match(quote(payload, { rest: [state >>> 24, 0] })[0], /^(ok|icmp-quote(-checksum)?)$/);
  }
});

Deno.test("quotesPacket is true of the errors that concern connections", () => {
  const types = Array.from({ length: 256 }, (_, type) => type).filter(quotesPacket);
  assert.deepEqual(types, [3, 11, 12]);
});

/** The frame with another total length and a header checksum to match. */
function totalLength(frame: Uint8Array<ArrayBuffer>, lengthBytes: number): Uint8Array {
  const view = new DataView(frame.buffer);
  const old = view.getUint16(14 + 2);
  view.setUint16(14 + 2, lengthBytes);
  view.setUint16(14 + 10, view.getUint16(14 + 10) + old - lengthBytes);
  return frame;
}
