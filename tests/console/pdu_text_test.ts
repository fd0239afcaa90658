import assert from "node:assert/strict";
import { formatFlags, formatPdu } from "../../src/console/pdu_text.ts";
import golden from "../golden/seed_pdus.txt" with { type: "text" };
import { buildIcmp, buildIp, buildTcp, buildUdp, bytesOf } from "../support/frames.ts";
import { buildIcmp6, buildIp6, buildTcp6, buildUdp6 } from "../support/frames6.ts";
import { decoded } from "../wire/place.ts";
import { decoded6 } from "../wire/place6.ts";

const ADDRESSES = `Received pdu
Layer 3 | IPv4     | src  192.168.0.254
                   | dst  192.168.0.100
`;

function text(frame: Uint8Array, dumpLimitBytes = Infinity): string {
  const { arena, pdu } = decoded(frame);
  return formatPdu(arena.view, pdu, dumpLimitBytes);
}

/** The payload of the seed's pings: a time of day, then the numbers 0x10 to 0x37. */
function pingPayload(timeOfDay: readonly number[]): Uint8Array {
  return Uint8Array.from([...timeOfDay, ...Array.from({ length: 40 }, (_, i) => 0x10 + i)]);
}

Deno.test("formatPdu prints the seed's two PDUs, column for column", () => {
  const pings = [
    { seq: 17, time: [0x5f, 0xa8, 0xa4, 0x5c, 0, 0, 0, 0, 0x8a, 0x40, 0x0c, 0, 0, 0, 0, 0] },
    { seq: 18, time: [0x60, 0xa8, 0xa4, 0x5c, 0, 0, 0, 0, 0xce, 0xa3, 0x0c, 0, 0, 0, 0, 0] },
  ].map(({ seq, time }) => buildIcmp({ rest: [0x4a49, seq], payload: pingPayload(time) }));
  const decisions = ["Decision : Drop\n\n", "Decision : Echo_reply\n\n"];
  assert.equal(pings.map((ping, i) => text(ping) + decisions[i]).join(""), golden);
});

const cases: { name: string; frame: Uint8Array; expected: string; limit?: number }[] = [
  {
    name: "a SYN without data",
    frame: buildTcp({ seq: 0xffff_fffe, ack: 0 }),
    expected: `${ADDRESSES}Layer 4 | TCP      | src port 40000
                   | dst port 2000
                   | flags SYN
                   | seq 4294967294
                   | ack 0
                   | data
`,
  },
  {
    name: "TCP data, its options left out, the last row padded",
    frame: buildTcp({
      flags: "PA",
      seq: 1,
      ack: 0x8000_0000,
      tcpOptions: [1, 1, 1, 1],
      payload: bytesOf("GET / HTTP/1.1\r\n\r\nx"),
    }),
    expected: `${ADDRESSES}Layer 4 | TCP      | src port 40000
                   | dst port 2000
                   | flags PSH ACK
                   | seq 1
                   | ack 2147483648
                   | data
                   |      00000000: 4745 5420 2f20 4854 5450 2f31 2e31 0d0a  GET / HTTP/1.1..
                   |      00000001: 0d0a 78                                  ..x
`,
  },
  {
    name: "UDP",
    frame: buildUdp({ srcPort: 53, dstPort: 65_535, payload: bytesOf("ab") }),
    expected: `${ADDRESSES}Layer 4 | UDP      | src port 53
                   | dst port 65535
                   | data
                   |      00000000: 6162                                     ab
`,
  },
  {
    name: "another protocol",
    frame: buildIp({ protocol: 47 }, [0, 0, 8, 0]),
    expected: `${ADDRESSES}Layer 4 | Other    | protocol 47
                   | data
                   |      00000000: 0000 0800                                ....
`,
  },
  {
    name: "another protocol without data",
    frame: buildIp({ protocol: 0 }, []),
    expected: `${ADDRESSES}Layer 4 | Other    | protocol 0
                   | data
`,
  },
  {
    name: "an echo reply, its identifier as four digits and its sequence number in decimal",
    frame: buildIcmp({ type: 0, rest: [0x000f, 0xffff], payload: new Uint8Array() }),
    expected: `${ADDRESSES}Layer 3 | ICMPv4   | type Echo reply, id 000f, seq 65535
                   | data
                   |      00000000: 0000 fff0 000f ffff                      ........
`,
  },
  {
    name: "an ICMP error with a named code",
    frame: buildIcmp({ type: 3, code: 1, rest: [0, 0], payload: new Uint8Array() }),
    expected: `${ADDRESSES}Layer 3 | ICMPv4   | type Destination unreachable, code Host unreachable
                   | data
                   |      00000000: 0301 fcfe 0000 0000                      ........
`,
  },
  {
    name: "a code without a name as its number",
    frame: buildIcmp({ type: 3, code: 99, rest: [0, 0], payload: new Uint8Array() }),
    expected: `${ADDRESSES}Layer 3 | ICMPv4   | type Destination unreachable, code 99
                   | data
                   |      00000000: 0363 fc9c 0000 0000                      .c......
`,
  },
  {
    name: "a type without a name as its number",
    frame: buildIcmp({ type: 200, code: 7, rest: [0, 0], payload: new Uint8Array() }),
    expected: `${ADDRESSES}Layer 3 | ICMPv4   | type 200, code 7
                   | data
                   |      00000000: c807 37f8 0000 0000                      ..7.....
`,
  },
  {
    name: "data up to the limit, the rest only counted",
    frame: buildUdp({ payload: bytesOf("0123456789abcdef0123456789") }),
    limit: 20,
    expected: `${ADDRESSES}Layer 4 | UDP      | src port 40000
                   | dst port 2000
                   | data
                   |      00000000: 3031 3233 3435 3637 3839 6162 6364 6566  0123456789abcdef
                   |      00000001: 3031 3233                                0123
                   |      … 6 more bytes
`,
  },
  {
    name: "no data with a limit of 0",
    frame: buildUdp({ payload: bytesOf("abc") }),
    limit: 0,
    expected: `${ADDRESSES}Layer 4 | UDP      | src port 40000
                   | dst port 2000
                   | data
                   |      … 3 more bytes
`,
  },
  {
    name: "all data when it is as long as the limit",
    frame: buildUdp({ payload: bytesOf("0123456789abcdef") }),
    limit: 16,
    expected: `${ADDRESSES}Layer 4 | UDP      | src port 40000
                   | dst port 2000
                   | data
                   |      00000000: 3031 3233 3435 3637 3839 6162 6364 6566  0123456789abcdef
`,
  },
];

for (const { name, frame, expected, limit } of cases) {
  Deno.test(`formatPdu prints ${name}`, () => assert.equal(text(frame, limit), expected));
}

Deno.test("formatPdu shows every byte that is not printable ASCII as a dot", () => {
  const payload = Uint8Array.from({ length: 256 }, (_, byte) => byte);
  const printed = text(buildUdp({ payload }));
  assert.match(printed, /^[\x20-\x7e\n]*$/);
  const shown = printed.split("\n").filter((line) => line.includes(": ")).map((line) =>
    line.slice(-16)
  ).join("");
  const expected = [...payload].map((byte) =>
    byte >= 32 && byte <= 126 ? String.fromCharCode(byte) : "."
  ).join("");
  assert.equal(shown, expected);
});

Deno.test("formatPdu numbers its rows in hexadecimal", () => {
  const rows = text(buildUdp({ payload: new Uint8Array(16 * 17) })).split("\n").slice(6, -1);
  assert.equal(rows.length, 17);
  assert.ok(rows[9]!.startsWith(" ".repeat(19) + "|" + " ".repeat(6) + "00000009: "));
  assert.ok(rows[16]!.startsWith(" ".repeat(19) + "|" + " ".repeat(6) + "00000010: "));
});

Deno.test("formatPdu leaves padding behind the IP packet out", () => {
  const frame = buildUdp({ payload: bytesOf("ab") });
  const padded = new Uint8Array(60).fill(0x7a);
  padded.set(frame);
  assert.equal(text(padded), text(frame));
});

Deno.test("formatFlags names the flags from FIN to CWR, none for an empty set", () => {
  const flags: [number, string][] = [
    [0x00, "none"],
    [0x01, "FIN"],
    [0x02, "SYN"],
    [0x12, "SYN ACK"],
    [0x14, "RST ACK"],
    [0xc2, "SYN ECE CWR"],
    [0xff, "FIN SYN RST PSH ACK URG ECE CWR"],
  ];
  for (const [bits, expected] of flags) assert.equal(formatFlags(bits), expected);
});

const ADDRESSES6 = `Received pdu
Layer 3 | IPv6     | src  2001:db8::fe
                   | dst  2001:db8::64
`;

const cases6: { name: string; frame: Uint8Array; expected: string }[] = [
  {
    name: "an echo request",
    frame: buildIcmp6({ rest: [0x4a, 0x49, 0, 17], payload: [0x5f] }),
    expected: `${ADDRESSES6}Layer 3 | ICMPv6   | type Echo request, id 4a49, seq 17
                   | data
                   |      00000000: 8000 798d 4a49 0011 5f                   ..y.JI.._
`,
  },
  {
    name: "an error with a code that has a name",
    frame: buildIcmp6({ type: 1, code: 3, rest: [0, 0, 0, 0], payload: [] }),
    expected:
      `${ADDRESSES6}Layer 3 | ICMPv6   | type Destination unreachable, code Address unreachable
                   | data
                   |      00000000: 0103 a1e6 0000 0000                      ........
`,
  },
  {
    name: "a type of IPv6 alone",
    frame: buildIcmp6({ type: 2, rest: [0, 0, 5, 0], payload: [] }),
    expected: `${ADDRESSES6}Layer 3 | ICMPv6   | type Packet too big, code 0
                   | data
                   |      00000000: 0200 9be9 0000 0500                      ........
`,
  },
  {
    name: "a type without a name",
    frame: buildIcmp6({ type: 99, code: 7, rest: [0, 0, 0, 0], payload: [] }),
    expected: `${ADDRESSES6}Layer 3 | ICMPv6   | type 99, code 7
                   | data
                   |      00000000: 6307 3fe2 0000 0000                      c.?.....
`,
  },
  {
    name: "TCP behind extension headers",
    frame: buildTcp6({
      headers: [[60, [0, 0, 1, 4, 0, 0, 0, 0]]],
      flags: "SA",
      payload: bytesOf("ab"),
    }),
    expected: `${ADDRESSES6}Layer 4 | TCP      | src port 40000
                   | dst port 2000
                   | flags SYN ACK
                   | seq 1000
                   | ack 2000
                   | data
                   |      00000000: 6162                                     ab
`,
  },
  {
    name: "UDP",
    frame: buildUdp6({ src: "fe80::1", dst: "2001:db8:0:1::64", payload: bytesOf("ab") }),
    expected: `Received pdu
Layer 3 | IPv6     | src  fe80::1
                   | dst  2001:db8:0:1::64
Layer 4 | UDP      | src port 40000
                   | dst port 2000
                   | data
                   |      00000000: 6162                                     ab
`,
  },
  {
    name: "what has no layer 4",
    frame: buildIp6({ protocol: 59 }, [0, 0, 8, 0]),
    expected: `${ADDRESSES6}Layer 4 | Other    | protocol 59
                   | data
                   |      00000000: 0000 0800                                ....
`,
  },
];

for (const { name, frame, expected } of cases6) {
  Deno.test(`formatPdu prints over IPv6 ${name}`, () => {
    const { arena, pdu } = decoded6(frame);
    assert.equal(formatPdu(arena.view, pdu, Infinity), expected);
  });
}
