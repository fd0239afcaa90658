import assert from "node:assert/strict";
import { below, SeededRandom } from "../../src/core/random.ts";
import { frameOf, minTotalLength, type Packet, packetOf } from "../../src/device/capture/packet.ts";
import { describeFrame, formatPacket, parsePacket } from "../../src/offline/packet_text.ts";
import { parseMac } from "../../src/wire/address.ts";
import {
  addressOfWords,
  formatHostAddress,
  parseHostAddress,
} from "../../src/wire/host_address.ts";
import {
  buildIp6,
  buildSolicitation,
  readIcmp6,
  readIp6,
  readTcp6,
  readUdp6,
} from "../support/frames6.ts";

const FROM = "02:00:00:00:00:fe";
const TO = "02:00:00:00:01:00";
const EMPTY = { srcPort: 0, dstPort: 0, tcpFlags: 0, icmpType: 0, icmpCode: 0, icmpId: 0, ttl: 64 };
const [src, dst] = [parseHostAddress("2001:db8::1"), parseHostAddress("2001:db8::64")];
const TCP = { ...EMPTY, protocol: 6, src, dst, srcPort: 1000, dstPort: 443, totalLength: 60 };
const ICMP = { ...EMPTY, protocol: 58, src, dst, totalLength: 48 };
const ENDS = "[2001:db8::1]:1000 > [2001:db8::64]:443";
const HOSTS = "2001:db8::1 > 2001:db8::64";

const readings: [text: string, packet: Packet, printed: string][] = [
  [`tcp ${ENDS}`, { ...TCP, tcpFlags: 2 }, `tcp ${ENDS} syn ttl 64`],
  [
    "udp [2001:DB8:0::1]:1000>[2001:db8::0:64]:443 length 100 ttl 7",
    { ...TCP, protocol: 17, totalLength: 100, ttl: 7 },
    `udp ${ENDS} ttl 7 length 100`,
  ],
  [`icmp ${HOSTS}`, { ...ICMP, icmpType: 128 }, `icmp ${HOSTS} echo-request ttl 64 id 0`],
  [
    "icmp [2001:db8::1] > [2001:db8::64] echo-reply id 5",
    { ...ICMP, icmpType: 129, icmpId: 5 },
    `icmp ${HOSTS} echo-reply ttl 64 id 5`,
  ],
  [`icmp ${HOSTS} packet-too-big`, { ...ICMP, icmpType: 2 }, `icmp ${HOSTS} packet-too-big ttl 64`],
  [
    `icmp ${HOSTS} destination-unreachable code port-unreachable`,
    { ...ICMP, icmpType: 1, icmpCode: 4 },
    `icmp ${HOSTS} destination-unreachable code port-unreachable ttl 64`,
  ],
  [
    `icmp ${HOSTS} 99 code 1`,
    { ...ICMP, icmpType: 99, icmpCode: 1 },
    `icmp ${HOSTS} 99 code 1 ttl 64`,
  ],
  [
    `proto 1 ${HOSTS}`,
    { ...EMPTY, protocol: 1, src, dst, totalLength: 40 },
    `proto 1 ${HOSTS} ttl 64`,
  ],
];

for (const [text, packet, printed] of readings) {
  Deno.test(`parsePacket reads ${JSON.stringify(text)}`, () => {
    assert.deepEqual(parsePacket(text), packet);
    assert.equal(formatPacket(packet), printed);
    assert.deepEqual(parsePacket(printed), packet);
  });
}

const END = "ADDRESS:PORT, as in 192.168.0.1:80 or [2001:db8::1]:80";
const HOST = "an address, as in 192.168.0.1 or 2001:db8::1";
const FAMILY = "an address of the source's family";

for (
  const [text, complaint] of [
    ["tcp 2001:db8::1 > x", `found "2001:db8::1", expected ${END}`],
    ["tcp [2001:db8::1] > x", `found "[2001:db8::1]", expected ${END}`],
    ["tcp [2001:db8::1]:x > x", `found "[2001:db8::1]:x", expected ${END}`],
    ["tcp [2001:db8::1%eth0]:80 > x", `found "[2001:db8::1%eth0]:80", expected ${END}`],
    ["icmp [2001:db8::1]:80 > x", `found "[2001:db8::1]:80", expected ${HOST}`],
    ["icmp 2001:db8::1 > 10.0.0.1", `found "10.0.0.1", expected ${FAMILY}`],
    ["udp 10.0.0.1:1 > [2001:db8::1]:2", `found "[2001:db8::1]:2", expected ${FAMILY}`],
    [
      `icmp ${HOSTS} source-quench`,
      'found "source-quench", expected an ICMP type by name or as 0 to 255',
    ],
    ["icmp 10.0.0.1 > 10.0.0.2 packet-too-big", 'found "packet-too-big", expected an ICMP type'],
    [`proto 58 ${HOSTS}`, 'found "58", expected "icmp", "tcp" or "udp" for it'],
    [`tcp ${ENDS} length 59`, 'found "59", expected a length, 60 to 65535'],
  ]
) {
  Deno.test(`parsePacket refuses ${JSON.stringify(text)}`, () => {
    assert.throws(() => parsePacket(text!), (error: unknown) => {
      assert.ok(error instanceof SyntaxError && error.message.includes(complaint!), String(error));
      return true;
    });
  });
}

function randomPacket(random: SeededRandom): Packet {
  const any = (count: number): number => below(random, count);
  const address = () => {
    const words = Int32Array.from({ length: 4 }, () => any(3) === 0 ? 0 : random.uint32());
    return addressOfWords(words);
  };
  const protocol = [58, 6, 17, 59][any(4)]!;
  const least = minTotalLength(protocol, true);
  const totalLength = any(2) === 0 ? least : least + any(1500);
  const packet = { ...EMPTY, protocol, src: address(), dst: address(), ttl: any(256), totalLength };
  const ports = { srcPort: 1 + any(65_535), dstPort: 1 + any(65_535) };
  switch (protocol) {
    case 58: {
      const icmpType = [1, 2, 3, 4, 99, 128, 129, 135, 255][any(9)]!;
      const icmpId = icmpType === 128 || icmpType === 129 ? any(65_536) : 0;
      return { ...packet, icmpType, icmpCode: any(20), icmpId };
    }
    case 6:
      return { ...packet, ...ports, tcpFlags: 0x10 | any(4) & 2 };
    case 17:
      return { ...packet, ...ports };
    default:
      return packet;
  }
}

Deno.test("packets of IPv6 come back unchanged from their text and from their frame", () => {
  const random = new SeededRandom(6);
  for (let i = 0; i < 2000; i++) {
    const packet = randomPacket(random);
    const text = formatPacket(packet);
    assert.deepEqual(parsePacket(text), packet, text);
    const frame = frameOf(packet, parseMac(FROM), parseMac(TO));
    assert.deepEqual(packetOf(frame), packet, text);
    assert.equal(describeFrame(frame), text);
    const ip = packet.protocol === 6
      ? readTcp6(frame)
      : packet.protocol === 17
      ? readUdp6(frame)
      : packet.protocol === 58
      ? readIcmp6(frame)
      : readIp6(frame).ip;
    assert.deepEqual(
      [ip.src, ip.dst, ip.hopLimit, ip.protocol, ip.srcMac, ip.dstMac],
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

Deno.test("describeFrame says of any frame of IPv6 what it is", () => {
  assert.equal(
    describeFrame(buildSolicitation({ src: "2001:db8::fe", target: "2001:db8::64" })),
    "icmp 2001:db8::fe > ff02::1:ff00:64 neighbor-solicitation ttl 255 length 72",
  );
  const ends = "2001:db8::fe > 2001:db8::64";
  const parts: [number, number, number, string][] = [
    [17, 1, 16, `udp ${ends} fragment 0 more ttl 64 length 64`],
    [6, 1448, 16, `tcp ${ends} fragment 1448 ttl 64 length 64`],
    [58, 1449, 16, `icmp ${ends} fragment 1448 more ttl 64 length 64`],
    [1, 8, 2, `proto 1 ${ends} fragment 8 ttl 64 length 50`],
    // A first fragment that has not all headers, and one that is a whole packet.
    [17, 1, 0, "EtherType 0x86dd, 62 bytes"],
    [59, 0, 2, `proto 59 ${ends} ttl 64 length 50`],
  ];
  for (const [protocol, offset, bytes, text] of parts) {
    const header = [0, 0, offset >> 8, offset & 255, 0, 0, 0, 9];
    const packet = { src: "2001:db8::fe", dst: "2001:db8::64", protocol };
    const frame = buildIp6({ ...packet, headers: [[44, header]] }, new Uint8Array(bytes));
    assert.equal(describeFrame(frame), text);
    assert.equal(describeFrame(frame.subarray(0, 40)), "EtherType 0x86dd, 40 bytes");
  }
});
