import assert from "node:assert/strict";
import { frameOf, minTotalLength, type Packet, packetOf } from "../../src/device/capture/packet.ts";
import { describeFrame, formatPacket, parsePacket } from "../../src/offline/packet_text.ts";
import { below, SeededRandom } from "../../src/core/random.ts";
import { parseAddress, parseMac } from "../../src/wire/address.ts";
import { formatHostAddress } from "../../src/wire/host_address.ts";
import {
  buildArp,
  buildEthernet,
  buildIp,
  readIcmp,
  readIp,
  readTcp,
  readUdp,
} from "../support/frames.ts";

const FROM = "02:00:00:00:00:fe";
const TO = "02:00:00:00:01:00";
const A = parseAddress("192.168.0.254");
const B = parseAddress("192.168.0.100");

const EMPTY = { srcPort: 0, dstPort: 0, tcpFlags: 0, icmpType: 0, icmpCode: 0, icmpId: 0, ttl: 64 };
const TCP = {
  ...EMPTY,
  protocol: 6,
  src: A,
  dst: B,
  srcPort: 40_000,
  dstPort: 2000,
  totalLength: 40,
};
const ICMP = { ...EMPTY, protocol: 1, src: A, dst: B, totalLength: 28 };

const ENDS = "192.168.0.254:40000 > 192.168.0.100:2000";
const HOSTS = "192.168.0.254 > 192.168.0.100";

const readings: [text: string, packet: Packet, printed: string][] = [
  [`tcp ${ENDS}`, { ...TCP, tcpFlags: 2 }, `tcp ${ENDS} syn ttl 64`],
  [`tcp ${ENDS} ack syn`, { ...TCP, tcpFlags: 0x12 }, `tcp ${ENDS} syn ack ttl 64`],
  [`tcp ${ENDS} none`, { ...TCP, tcpFlags: 0 }, `tcp ${ENDS} none ttl 64`],
  [
    "  tcp\t192.168.0.254:40000>192.168.0.100:2000 rst length 60 ttl 1 ",
    { ...TCP, tcpFlags: 4, totalLength: 60, ttl: 1 },
    `tcp ${ENDS} rst ttl 1 length 60`,
  ],
  [
    `udp ${ENDS} length 512`,
    { ...TCP, protocol: 17, totalLength: 512 },
    `udp ${ENDS} ttl 64 length 512`,
  ],
  [`icmp ${HOSTS}`, { ...ICMP, icmpType: 8 }, `icmp ${HOSTS} echo-request ttl 64 id 0`],
  [
    `icmp ${HOSTS} ttl 9 id 77`,
    { ...ICMP, icmpType: 8, ttl: 9, icmpId: 77 },
    `icmp ${HOSTS} echo-request ttl 9 id 77`,
  ],
  [
    `icmp ${HOSTS} destination-unreachable code port-unreachable`,
    { ...ICMP, icmpType: 3, icmpCode: 3 },
    `icmp ${HOSTS} destination-unreachable code port-unreachable ttl 64`,
  ],
  [
    `icmp ${HOSTS} 3 code 99`,
    { ...ICMP, icmpType: 3, icmpCode: 99 },
    `icmp ${HOSTS} destination-unreachable code 99 ttl 64`,
  ],
  [
    `icmp ${HOSTS} 44 code 1`,
    { ...ICMP, icmpType: 44, icmpCode: 1 },
    `icmp ${HOSTS} 44 code 1 ttl 64`,
  ],
  [
    `proto 47 ${HOSTS} ttl 0`,
    { ...EMPTY, protocol: 47, src: A, dst: B, totalLength: 20, ttl: 0 },
    `proto 47 ${HOSTS} ttl 0`,
  ],
];
for (const [text, packet, printed] of readings) {
  Deno.test(`parsePacket reads ${JSON.stringify(text)}`, () => {
    assert.deepEqual(parsePacket(text), packet);
    assert.equal(formatPacket(packet), printed);
    assert.deepEqual(parsePacket(printed), packet);
  });
}

const PROTOCOLS = '"tcp", "udp", "icmp" or "proto"';
const END = "ADDRESS:PORT, as in 192.168.0.1:80 or [2001:db8::1]:80";
const HOST = "an address, as in 192.168.0.1 or 2001:db8::1";
const wrong: [text: string, complaint: string][] = [
  ["", `found its end, expected ${PROTOCOLS}`],
  ["tpc a > b", `found "tpc", expected ${PROTOCOLS}; did you mean "tcp"?`],
  ["tcp", `found its end, expected ${END}`],
  ["tcp 192.168.0.254 > 192.168.0.100", `found "192.168.0.254", expected ${END}`],
  ["tcp 192.168.0.254:1:2 > x", `found "192.168.0.254:1:2", expected ${END}`],
  ["udp 1.2.3.4:65536 > x", `found "1.2.3.4:65536", expected ${END}`],
  ["udp 1.2.3.400:1 > x", `found "1.2.3.400:1", expected ${END}`],
  ["udp 1.2.3.4:1 1.2.3.4:2", 'found "1.2.3.4:2", expected ">"'],
  ["udp 1.2.3.4:1 >", `found its end, expected ${END}`],
  ["icmp 1.2.3.4:8 > 1.2.3.4", `found "1.2.3.4:8", expected ${HOST}`],
  [`tcp ${ENDS} sny`, 'found "sny", expected a TCP flag, "ttl" or "length"; did you mean "syn"?'],
  [`tcp ${ENDS} syn none`, 'found "none", expected a TCP flag, "ttl" or "length"'],
  [`tcp ${ENDS} ttl 5 syn`, 'found "syn", expected flags before everything else'],
  [`tcp ${ENDS} ttl`, "found its end, expected a TTL, 0 to 255"],
  [`tcp ${ENDS} ttl 256`, 'found "256", expected a TTL, 0 to 255'],
  [`tcp ${ENDS} length 39`, 'found "39", expected a length, 40 to 65535'],
  [`tcp ${ENDS} id 1`, 'found "id", expected a TCP flag, "ttl" or "length"'],
  [`udp ${ENDS} syn`, 'found "syn", expected "ttl" or "length"'],
  [
    `icmp ${HOSTS} echo-reqest`,
    'found "echo-reqest", expected an ICMP type by name or as 0 to 255; did you mean "echo-request"?',
  ],
  [`icmp ${HOSTS} 256`, 'found "256", expected an ICMP type by name or as 0 to 255'],
  [
    `icmp ${HOSTS} redirect code hots`,
    'found "hots", expected an ICMP code by name or as 0 to 255; did you mean "host"?',
  ],
  [
    `icmp ${HOSTS} constructor`,
    'found "constructor", expected an ICMP type by name or as 0 to 255',
  ],
  [`proto 6 ${HOSTS}`, 'found "6", expected "icmp", "tcp" or "udp" for it'],
  [`proto gre ${HOSTS}`, 'found "gre", expected a protocol number, 0 to 255'],
];
for (const [text, complaint] of wrong) {
  Deno.test(`parsePacket refuses ${JSON.stringify(text)}`, () => {
    assert.throws(() => parsePacket(text), (error: unknown) => {
      assert.ok(error instanceof SyntaxError);
      assert.ok(error.message.startsWith("Cannot read packet "), error.message);
      assert.ok(error.message.endsWith(`: ${complaint}`), error.message);
      return true;
    });
  });
}

Deno.test("parsePacket shows no control characters and cuts long texts", () => {
  assert.throws(() => parsePacket(`tcp \u001b[31m${"x".repeat(1000)}`), (error: unknown) => {
    const { message } = error as Error;
    assert.doesNotMatch(message, /\p{Cc}/u);
    assert.ok(message.length < 300, message);
    return true;
  });
});

function randomPacket(random: SeededRandom): Packet {
  const any = (count: number): number => below(random, count);
  const protocol = [1, 6, 17, 47, 0, 255][any(6)]!;
  const minBytes = minTotalLength(protocol);
  const packet = {
    ...EMPTY,
    protocol,
    src: random.uint32() | 0,
    dst: random.uint32() | 0,
    ttl: any(256),
    totalLength: any(2) === 0 ? minBytes : minBytes + any(1500),
  };
  switch (protocol) {
    case 1: {
      const icmpType = [0, 3, 5, 8, 11, 13, 44, 255][any(8)]!;
      const query = [0, 8, 13].includes(icmpType);
      return { ...packet, icmpType, icmpCode: any(20), icmpId: query ? any(65_536) : 0 };
    }
    case 6:
      return {
        ...packet,
        srcPort: 1 + any(65_535),
        dstPort: 1 + any(65_535),
        tcpFlags: 0x10 | any(4) & 2,
      };
    case 17:
      return { ...packet, srcPort: 1 + any(65_535), dstPort: 1 + any(65_535) };
    default:
      return packet;
  }
}

Deno.test("packets come back unchanged from their text and from their frame", () => {
  const random = new SeededRandom(5);
  for (let i = 0; i < 2000; i++) {
    const packet = randomPacket(random);
    const text = formatPacket(packet);
    assert.deepEqual(parsePacket(text), packet, text);
    const frame = frameOf(packet, parseMac(FROM), parseMac(TO));
    assert.deepEqual(packetOf(frame), packet, text);
    assert.equal(describeFrame(frame), text);
    const { ip } = packet.protocol === 6
      ? { ip: readTcp(frame) }
      : packet.protocol === 17
      ? { ip: readUdp(frame) }
      : packet.protocol === 1
      ? { ip: readIcmp(frame) }
      : readIp(frame);
    assert.deepEqual(
      [ip.src, ip.dst, ip.ttl, ip.protocol, ip.srcMac, ip.dstMac],
      [
        formatHostAddress(packet.src),
        formatHostAddress(packet.dst),
        packet.ttl,
        packet.protocol,
        FROM,
        TO,
      ],
    );
  }
});

Deno.test("describeFrame says of any bytes what they are", () => {
  assert.equal(
    describeFrame(buildArp()),
    "arp request for 192.168.0.100 from 192.168.0.254 at 02:00:00:00:00:fe",
  );
  assert.equal(
    describeFrame(buildArp({ operation: 2 })),
    "arp reply: 192.168.0.254 is at 02:00:00:00:00:fe",
  );
  assert.equal(describeFrame(new Uint8Array(3)), "3 bytes");
  const fields = { dstMac: TO, srcMac: FROM, etherType: 0x86dd };
  assert.equal(describeFrame(buildEthernet(fields, [1, 2])), "EtherType 0x86dd, 16 bytes");
  const parts: [number, number, string][] = [
    [0x2000, 6, "tcp 192.168.0.254 > 192.168.0.100 fragment 0 more ttl 64 length 44"],
    [0x2003, 17, "udp 192.168.0.254 > 192.168.0.100 fragment 24 more ttl 64 length 44"],
    [0x0003, 1, "icmp 192.168.0.254 > 192.168.0.100 fragment 24 ttl 64 length 44"],
    [0x0001, 58, "proto 58 192.168.0.254 > 192.168.0.100 fragment 8 ttl 64 length 44"],
  ];
  for (const [fragment, protocol, text] of parts) {
    assert.equal(describeFrame(buildIp({ fragment, protocol }, new Uint8Array(24))), text);
  }
  const random = new SeededRandom(6);
  for (let i = 0; i < 500; i++) {
    const frame = buildIp({ protocol: 6 }, new Uint8Array(20)).map((byte, at) =>
      at > 13 && below(random, 8) === 0 ? random.uint32() & 255 : byte
    );
    assert.doesNotMatch(describeFrame(frame.subarray(0, below(random, 55))), /[^ -~]/);
  }
});
