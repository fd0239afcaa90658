import assert from "node:assert/strict";
import { parseMac } from "../../src/wire/address.ts";
import { Chain, walkChain } from "../../src/wire/extension_headers.ts";
import * as discovery from "../../src/wire/neighbor_discovery.ts";
import { DiscoveryFault, DiscoveryOptions } from "../../src/wire/neighbor_discovery.ts";
import { address6Bytes, buildIcmp6, type Icmp6 } from "../support/frames6.ts";

const IP = 14;
const ICMP = 54;

const HOST = "fe80::ff:fe00:fe";
const ROUTER = "fe80::1";
const TARGET = "2001:db8::64";
const GROUP = "ff02::1:ff00:64";
const SOURCE_MAC = [1, 1, 2, 0, 0, 0, 0, 0xfe];
const TARGET_MAC = [2, 1, 0xfe, 0xdc, 0xba, 0x98, 0x76, 0x54];
const MTU = [5, 1, 0, 0, 0, 0, 5, 0xdc];
const NONCE = [14, 1, 1, 2, 3, 4, 5, 6];
const PREFIX = [
  ...[3, 4, 64, 0xc0, 0, 0x27, 0x8d, 0, 0, 9, 0x3a, 0x80, 0, 0, 0, 0],
  ...address6Bytes("2001:db8::"),
];
const UNKNOWN = [200, 2, ...new Array<number>(14).fill(0xaa)];

/** Messages as they should be; `options` come after the fixed part. */
interface Message extends Partial<Icmp6> {
  fixed?: readonly number[];
  options?: readonly number[];
}

const SOLICITATION: Message = {
  type: 135,
  src: HOST,
  dst: GROUP,
  fixed: address6Bytes(TARGET),
  options: SOURCE_MAC,
};
const DUPLICATE_CHECK: Message = { ...SOLICITATION, src: "::", options: NONCE };
const ADVERTISEMENT: Message = {
  type: 136,
  src: HOST,
  dst: "fe80::2",
  rest: [0xe0, 0, 0, 0],
  fixed: address6Bytes(TARGET),
  options: TARGET_MAC,
};
const ROUTER_SOLICITATION: Message = { type: 133, src: HOST, dst: "ff02::2", options: SOURCE_MAC };
const ROUTER_ADVERTISEMENT: Message = {
  type: 134,
  src: ROUTER,
  dst: "ff02::1",
  rest: [64, 0, 0x07, 0x08],
  fixed: [0, 0, 0x75, 0x30, 0, 0, 0x03, 0xe8],
  options: [...SOURCE_MAC, ...MTU, ...PREFIX],
};
const REDIRECT: Message = {
  type: 137,
  src: ROUTER,
  dst: TARGET,
  fixed: [...address6Bytes("fe80::2"), ...address6Bytes("2001:db8:1::1")],
  options: TARGET_MAC,
};
const ALL = {
  SOLICITATION,
  DUPLICATE_CHECK,
  ADVERTISEMENT,
  ROUTER_SOLICITATION,
  ROUTER_ADVERTISEMENT,
  REDIRECT,
};

function build(message: Message): Uint8Array<ArrayBuffer> {
  return buildIcmp6({
    hopLimit: 255,
    rest: [0, 0, 0, 0],
    ...message,
    payload: [...message.fixed ?? [], ...message.options ?? []],
  });
}

function check(
  frame: Uint8Array<ArrayBuffer>,
): { fault: number; chain: Chain; options: DiscoveryOptions; view: DataView } {
  const view = new DataView(frame.buffer);
  const chain = new Chain();
  const options = new DiscoveryOptions();
  for (const key of Object.keys(options) as (keyof DiscoveryOptions)[]) options[key] = 77;
  assert.equal(walkChain(view, IP, frame.length, chain), 0);
  const fault = discovery.checkDiscovery(view, IP, frame.length, chain, options);
  return { fault, chain, options, view };
}

Deno.test("checkDiscovery accepts every kind of message, with options and without", () => {
  for (const [name, message] of Object.entries(ALL)) {
    for (const options of [message.options!, [], [...UNKNOWN, ...message.options!]]) {
      assert.equal(check(build({ ...message, options })).fault, 0, name);
    }
  }
});

Deno.test("checkDiscovery ignores what RFC 4861 wants ignored of a message that is right", () => {
  const cases: [string, Message][] = [
    ["reserved bits of a solicitation", { ...SOLICITATION, rest: [255, 255, 255, 255] }],
    ["reserved bits of an advertisement", { ...ADVERTISEMENT, rest: [0x1f, 255, 255, 255] }],
    ["another message's option", { ...SOLICITATION, options: [...TARGET_MAC, ...MTU] }],
    ["a solicitation to a unicast address", { ...SOLICITATION, dst: TARGET }],
    ["one from a global address", { ...SOLICITATION, src: "2001:db8::1" }],
    ["an unsolicited one to all nodes", {
      ...ADVERTISEMENT,
      rest: [0x20, 0, 0, 0],
      dst: "ff02::1",
    }],
    ["a router solicitation from ::", { ...ROUTER_SOLICITATION, src: "::", options: [] }],
    ["a redirect to the destination", {
      ...REDIRECT,
      fixed: [...address6Bytes(TARGET), ...address6Bytes(TARGET)],
    }],
  ];
  for (const [name, message] of cases) assert.equal(check(build(message)).fault, 0, name);
});

Deno.test("checkDiscovery refuses what RFC 4861 §6.1, §7.1 and §8.1 and RFC 6980 refuse", () => {
  const cases: [string, Message, keyof typeof DiscoveryFault][] = [];
  for (const [name, message] of Object.entries(ALL)) {
    const options = message.options!;
    cases.push(
      [`${name}: hop limit 254`, { ...message, hopLimit: 254 }, "hop-limit"],
      [`${name}: hop limit 0`, { ...message, hopLimit: 0 }, "hop-limit"],
      [`${name}: code 1`, { ...message, code: 1 }, "code"],
      [`${name}: option of length 0`, { ...message, options: [1, 0] }, "option-length"],
      [
        `${name}: a later option of length 0`,
        { ...message, options: [...options, ...UNKNOWN, 200, 0, 0, 0, 0, 0, 0, 0] },
        "option-length",
      ],
      [
        `${name}: an option beyond the end`,
        { ...message, options: [...options, 200, 2, 0, 0, 0, 0, 0, 0] },
        "option-length",
      ],
      [
        `${name}: half an option's header`,
        { ...message, options: [...options, 200] },
        "option-length",
      ],
      [
        `${name}: in an atomic fragment`,
        { ...message, headers: [[44, [0, 0, 0, 0, 1, 2, 3, 4]]] },
        "fragment",
      ],
    );
    if (message.fixed !== undefined) {
      const fixed = message.fixed.slice(0, -1);
      cases.push([`${name}: short by one`, { ...message, fixed, options: [] }, "length"]);
    }
  }
  cases.push(
    ["multicast target", { ...SOLICITATION, fixed: address6Bytes("ff02::1") }, "multicast-target"],
    ["of an answer", { ...ADVERTISEMENT, fixed: address6Bytes("ff02::1") }, "multicast-target"],
    ["from :: to a unicast address", { ...DUPLICATE_CHECK, dst: TARGET }, "unspecified-to-others"],
    ["from :: to all nodes", { ...DUPLICATE_CHECK, dst: "ff02::1" }, "unspecified-to-others"],
    ["from :: with MAC", { ...DUPLICATE_CHECK, options: SOURCE_MAC }, "unspecified-with-mac"],
    [
      "from :: with a MAC of another length",
      { ...DUPLICATE_CHECK, options: [1, 2, ...new Array<number>(14).fill(0)] },
      "unspecified-with-mac",
    ],
    [
      "a router solicitation from :: with MAC",
      { ...ROUTER_SOLICITATION, src: "::" },
      "unspecified-with-mac",
    ],
    ["solicited, to all nodes", { ...ADVERTISEMENT, dst: "ff02::1" }, "solicited-to-group"],
    [
      "a router's global address",
      { ...ROUTER_ADVERTISEMENT, src: "2001:db8::1" },
      "router-not-link-local",
    ],
    ["a redirect from one", { ...REDIRECT, src: "2001:db8::1" }, "router-not-link-local"],
    ["a redirect from ::", { ...REDIRECT, src: "::" }, "router-not-link-local"],
    [
      "a redirect about a group",
      { ...REDIRECT, fixed: [...address6Bytes("fe80::2"), ...address6Bytes("ff05::1")] },
      "multicast-target",
    ],
    [
      "a redirect to a third address",
      { ...REDIRECT, fixed: [...address6Bytes(TARGET), ...address6Bytes("2001:db8::65")] },
      "redirect-target",
    ],
    ["an echo request", { type: 128, fixed: address6Bytes(TARGET) }, "no-discovery"],
    ["a type beyond", { ...REDIRECT, type: 138 }, "no-discovery"],
  );
  for (const [name, message, fault] of cases) {
    assert.equal(check(build(message)).fault, DiscoveryFault[fault], name);
  }
  for (const [name, message] of Object.entries(ALL)) {
    const frame = build(message);
    frame[ICMP + 3]! ^= 1;
    assert.equal(check(frame).fault, DiscoveryFault["checksum"], name);
  }
  const met = new Set([...cases.map(([, , fault]) => fault), "checksum"]);
  assert.deepEqual(met, new Set(Object.keys(DiscoveryFault)));
});

Deno.test("checkDiscovery needs 8 bytes to know a message", () => {
  for (let lengthBytes = 0; lengthBytes < 8; lengthBytes++) {
    const frame = build(SOLICITATION).slice(0, ICMP + lengthBytes);
    const view = new DataView(frame.buffer);
    const chain = new Chain();
    view.setUint16(IP + 4, lengthBytes);
    assert.equal(walkChain(view, IP, frame.length, chain), 0);
    const fault = discovery.checkDiscovery(view, IP, frame.length, chain, new DiscoveryOptions());
    assert.equal(fault, DiscoveryFault["length"]);
  }
});

Deno.test("checkDiscovery finds the options, in any order and the first of each kind", () => {
  const none = {
    sourceMac: 0,
    hasSourceMac: 0,
    targetMac: 0,
    nonce: 0,
    nonceBytes: 0,
    mtu: 0,
  };
  const start = ICMP + 24;
  const long = [14, 2, ...new Array<number>(14).fill(9)];
  const cases: [string, readonly number[], Partial<DiscoveryOptions>][] = [
    ["none", [], {}],
    ["an unknown one", UNKNOWN, {}],
    ["the sender's MAC", SOURCE_MAC, { sourceMac: start + 2, hasSourceMac: 1 }],
    ["the target's MAC", TARGET_MAC, { targetMac: start + 2 }],
    ["behind an unknown one", [...UNKNOWN, ...TARGET_MAC], { targetMac: start + 18 }],
    ["two of them", [...TARGET_MAC, ...TARGET_MAC], { targetMac: start + 2 }],
    ["a MAC of another length", [1, 2, ...new Array<number>(14).fill(0)], { hasSourceMac: 1 }],
    ["MTU", MTU, { mtu: 1500 }],
    ["two MTUs", [...MTU, 5, 1, 0, 0, 0, 0, 5, 0], { mtu: 1500 }],
    ["MTU of another length", [5, 2, ...new Array<number>(14).fill(1)], {}],
    ["MTU 2³² - 1", [5, 1, 0, 0, 255, 255, 255, 255], { mtu: 0xffff_ffff }],
    ["nonce", NONCE, { nonce: start + 2, nonceBytes: 6 }],
    ["two nonces", [...long, ...NONCE], { nonce: start + 2, nonceBytes: 14 }],
    ["a prefix, and an MTU behind it", [...PREFIX, ...MTU], { mtu: 1500 }],
    ["a prefix of another length", [3, 1, 0, 0, 0, 0, 0, 0], {}],
  ];
  for (const [name, bytes, expected] of cases) {
    const { fault, options } = check(build({ ...SOLICITATION, options: bytes }));
    assert.equal(fault, 0, name);
    assert.deepEqual({ ...options }, { ...none, ...expected }, name);
  }
});

Deno.test("getters read the fields of a message where RFC 4861 §4 draws them", () => {
  const target = check(build(ADVERTISEMENT));
  const at = target.options.targetMac;
  const mac = { hi: discovery.macHi(target.view, at), lo: discovery.macLo(target.view, at) };
  assert.deepEqual(mac, parseMac("fe:dc:ba:98:76:54"));
  assert.deepEqual(bytesAt(target.view, discovery.targetAt(ICMP)), address6Bytes(TARGET));
  for (const [byte, flags] of [[0x80, "R"], [0x40, "S"], [0x20, "O"], [0x1f, ""], [0xe0, "RSO"]]) {
    target.view.setUint8(ICMP + 4, byte as number);
    const found = (discovery.isRouter(target.view, ICMP) ? "R" : "") +
      (discovery.isSolicited(target.view, ICMP) ? "S" : "") +
      (discovery.isOverride(target.view, ICMP) ? "O" : "");
    assert.equal(found, flags);
  }
  const { view } = check(build(ROUTER_ADVERTISEMENT));
  assert.equal(discovery.routerLifetimeSeconds(view, ICMP), 1800);
});

function bytesAt(view: DataView, at: number): number[] {
  return [...new Uint8Array(view.buffer, at, 16)];
}
