import assert from "node:assert/strict";
import { type ReasonName, reasonName } from "../../src/core/reason.ts";
import { admit, isHost, type OwnAddress } from "../../src/stack/admit.ts";
import { parseAddress, parseInterface, subnetOf } from "../../src/wire/address.ts";
import { Pdu } from "../../src/wire/pdu.ts";

const CASES: [string, string, string, number, ReasonName][] = [
  // own address, source, destination, sent to every station's MAC, reason
  ["192.168.0.100/24", "192.168.0.254", "192.168.0.100", 0, "none"],
  ["192.168.0.100/24", "8.8.8.8", "192.168.0.100", 0, "none"],
  ["192.168.0.100/24", "192.168.0.254", "192.168.0.255", 1, "broadcast-destination"],
  ["192.168.0.100/24", "192.168.0.254", "192.168.0.255", 0, "broadcast-destination"],
  ["192.168.0.100/24", "192.168.0.254", "192.168.0.0", 1, "broadcast-destination"],
  ["192.168.0.100/24", "192.168.0.254", "255.255.255.255", 1, "broadcast-destination"],
  ["192.168.0.100/24", "0.0.0.0", "255.255.255.255", 1, "broadcast-destination"],
  ["192.168.0.100/24", "192.168.0.254", "224.0.0.1", 1, "multicast-destination"],
  ["192.168.0.100/24", "192.168.0.254", "239.255.255.255", 0, "multicast-destination"],
  ["192.168.0.100/24", "192.168.0.254", "192.168.0.101", 0, "foreign-destination"],
  ["192.168.0.100/24", "192.168.0.254", "192.168.1.255", 1, "foreign-destination"],
  ["192.168.0.100/24", "192.168.0.254", "8.8.8.8", 0, "foreign-destination"],
  ["192.168.0.100/24", "192.168.0.254", "127.0.0.1", 0, "foreign-destination"],
  ["192.168.0.100/24", "192.168.0.254", "240.0.0.1", 0, "foreign-destination"],
  ["192.168.0.100/24", "192.168.0.254", "192.168.0.100", 1, "broadcast-mac"],
  ["192.168.0.100/24", "192.168.0.100", "192.168.0.100", 0, "own-source"],
  ["192.168.0.100/24", "192.168.0.255", "192.168.0.100", 0, "martian-source"],
  ["192.168.0.100/24", "192.168.0.0", "192.168.0.100", 0, "martian-source"],
  ["192.168.0.100/24", "255.255.255.255", "192.168.0.100", 0, "martian-source"],
  ["192.168.0.100/24", "224.0.0.1", "192.168.0.100", 0, "martian-source"],
  ["192.168.0.100/24", "240.0.0.1", "192.168.0.100", 0, "martian-source"],
  ["192.168.0.100/24", "127.0.0.1", "192.168.0.100", 0, "martian-source"],
  ["192.168.0.100/24", "0.0.0.0", "192.168.0.100", 0, "martian-source"],
  ["192.168.0.100/24", "0.1.2.3", "192.168.0.100", 0, "martian-source"],
  ["10.0.0.1/30", "10.0.0.2", "10.0.0.3", 0, "broadcast-destination"],
  ["10.0.0.1/31", "10.0.0.0", "10.0.0.1", 0, "none"],
  ["10.0.0.0/31", "10.0.0.1", "10.0.0.0", 0, "none"],
  ["10.0.0.1/31", "10.0.0.1", "10.0.0.0", 0, "foreign-destination"],
  ["10.0.0.1/32", "10.0.0.0", "10.0.0.1", 0, "none"],
];

function ownOf(text: string): OwnAddress {
  const { address, prefixLength } = parseInterface(text, 24);
  return { address, subnet: subnetOf(address, prefixLength) };
}

for (const [own, src, dst, broadcastFrame, reason] of CASES) {
  const kind = broadcastFrame === 0 ? "to its own MAC" : "to every MAC";
  Deno.test(`admit of ${src} to ${dst}, ${kind}, at ${own} gives ${reason}`, () => {
    const pdu = Object.assign(new Pdu(), {
      src: parseAddress(src),
      dst: parseAddress(dst),
      broadcastFrame,
    });
    assert.equal(reasonName(admit(pdu, ownOf(own))), reason);
  });
}

Deno.test("isHost is true for addresses that one host can have", () => {
  const { subnet } = ownOf("192.168.0.100/24");
  const hosts = [
    "1.0.0.0",
    "126.255.255.255",
    "128.0.0.1",
    "192.168.0.1",
    "192.168.1.255",
    "223.0.0.1",
  ];
  const others = ["0.0.0.0", "127.0.0.1", "192.168.0.0", "192.168.0.255", "224.0.0.1", "240.0.0.1"];
  for (const text of hosts) assert.equal(isHost(parseAddress(text), subnet), true, text);
  for (const text of others) assert.equal(isHost(parseAddress(text), subnet), false, text);
});
