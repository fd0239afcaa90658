import assert from "node:assert/strict";
import { Chain, ChainFault, SILENT, walkChain } from "../../src/wire/extension_headers.ts";
import * as headers from "../../src/wire/extension_headers.ts";
import * as ipv6 from "../../src/wire/ipv6.ts";
import { address6Words, buildIcmp6, buildIp6, type Ip6, ROUTER_ALERT } from "../support/frames6.ts";
import { judge, readFields, tsharkTest } from "../support/tshark.ts";

const IP = 14;
type Header = readonly [number, readonly number[]];

const PADDING = [0, 0, 1, 4, 0, 0, 0, 0];
const HOP_BY_HOP: Header = [0, PADDING];
const DESTINATION: Header = [60, PADDING];
const LONG_DESTINATION: Header = [60, [0, 15, 1, 124, ...new Array<number>(124).fill(0)]];
const ROUTED: Header = [43, [0, 0, 0, 0, 0, 0, 0, 0]];
const UDP = [0x9c, 0x40, 0x07, 0xd0, 0, 8, 0, 0];
const TCP = [...new Array<number>(12).fill(0), 0x50, ...new Array<number>(7).fill(0)];

function fragment(offset: number, more: number): Header {
  return [44, [0, 0, offset >> 8, (offset & 0xf8) | more, 1, 2, 3, 4]];
}

/** Walks a chain in a view that ends where the packet ends, so that no byte beyond can be read. */
function walk(fields: Partial<Ip6>, payload: ArrayLike<number>): { fault: number; chain: Chain } {
  const frame = buildIp6(fields, payload);
  const chain = new Chain();
  // What an earlier walk has left must not matter.
  for (const key of Object.keys(chain) as (keyof Chain)[]) chain[key] = 77;
  return { fault: walkChain(new DataView(frame.buffer), IP, frame.length, chain), chain };
}

interface Accepted {
  readonly name: string;
  readonly headers: readonly Header[];
  readonly protocol: number;
  readonly payload: readonly number[];
  readonly fragment?: number;
  readonly routerAlert?: 1;
  readonly unusual?: 1;
}

const ACCEPTED: readonly Accepted[] = [
  { name: "no extension header", headers: [], protocol: 6, payload: TCP },
  { name: "no next header", headers: [], protocol: 59, payload: [] },
  { name: "no next header, and bytes", headers: [], protocol: 59, payload: [1, 2, 3] },
  { name: "hop-by-hop padding", headers: [HOP_BY_HOP], protocol: 17, payload: UDP },
  { name: "eight Pad1", headers: [[0, [0, 0, 0, 0, 0, 0, 0, 0]]], protocol: 17, payload: UDP },
  { name: "router alert", headers: [ROUTER_ALERT], protocol: 58, payload: [], routerAlert: 1 },
  {
    name: "router alert of a wrong length",
    headers: [[0, [0, 0, 5, 1, 0, 1, 1, 0]]],
    protocol: 58,
    payload: [],
    unusual: 1,
  },
  {
    name: "router alert in destination options",
    headers: [[60, [0, 0, 5, 2, 0, 0, 1, 0]]],
    protocol: 58,
    payload: [],
    unusual: 1,
  },
  {
    name: "an unknown option to skip",
    headers: [[0, [0, 0, 0x1e, 2, 9, 9, 1, 0]]],
    protocol: 17,
    payload: UDP,
    unusual: 1,
  },
  { name: "destination", headers: [DESTINATION], protocol: 17, payload: UDP, unusual: 1 },
  {
    name: "a routing header that has been everywhere",
    headers: [ROUTED],
    protocol: 17,
    payload: UDP,
    unusual: 1,
  },
  {
    name: "all kinds in the recommended order",
    headers: [HOP_BY_HOP, DESTINATION, ROUTED, fragment(0, 1), DESTINATION],
    protocol: 17,
    payload: UDP,
    fragment: 78,
    unusual: 1,
  },
  {
    name: "atomic fragment",
    headers: [fragment(0, 0)],
    protocol: 17,
    payload: UDP,
    fragment: 54,
  },
  {
    name: "atomic fragment with a part of a header, which others check",
    headers: [fragment(0, 0)],
    protocol: 6,
    payload: [1, 2, 3],
    fragment: 54,
  },
  {
    name: "first fragment with all of UDP",
    headers: [fragment(0, 1)],
    protocol: 17,
    payload: UDP,
    fragment: 54,
  },
  {
    name: "first fragment with all of TCP",
    headers: [fragment(0, 1)],
    protocol: 6,
    payload: [...TCP, 0, 0, 0, 0],
    fragment: 54,
  },
  {
    name: "first fragment with ICMPv6",
    headers: [fragment(0, 1)],
    protocol: 58,
    payload: [128, 0, 0, 0, 0, 0, 0, 0],
    fragment: 54,
  },
  {
    name: "a later fragment of any protocol, whose data is no header",
    headers: [fragment(8, 1)],
    protocol: 60,
    payload: [255, 255, 255, 255, 255, 255, 255, 255],
    fragment: 54,
  },
  {
    name: "a last fragment of 3 bytes",
    headers: [HOP_BY_HOP, fragment(64, 0)],
    protocol: 0,
    payload: [1, 2, 3],
    fragment: 62,
  },
  {
    name: "the last fragment of the longest packet",
    headers: [fragment(65_528, 0)],
    protocol: 17,
    payload: [1, 2, 3, 4, 5, 6, 7],
    fragment: 54,
  },
  {
    name: "eight headers",
    headers: new Array<Header>(8).fill(DESTINATION),
    protocol: 17,
    payload: UDP,
    unusual: 1,
  },
  {
    name: "256 bytes",
    headers: [LONG_DESTINATION, LONG_DESTINATION],
    protocol: 17,
    payload: UDP,
    unusual: 1,
  },
];

Deno.test("walkChain finds what is behind the headers, and how they are", () => {
  for (const { name, headers, protocol, payload, ...expected } of ACCEPTED) {
    const { fault, chain } = walk({ headers, protocol }, payload);
    assert.equal(fault, 0, name);
    const lengthBytes = headers.reduce((sum, [, bytes]) => sum + bytes.length, 0);
    const last = headers.at(-1);
    const found = { ...chain };
    assert.deepEqual(found, {
      l4: IP + 40 + lengthBytes,
      protocol,
      protocolAt: last === undefined ? IP + 6 : IP + 40 + lengthBytes - last[1].length,
      fragment: 0,
      routerAlert: 0,
      unusual: 0,
      code: SILENT,
      pointer: 0,
      ...expected,
    }, name);
  }
});

interface Refused {
  readonly name: string;
  readonly headers?: readonly Header[];
  readonly protocol?: number;
  readonly payload?: readonly number[];
  readonly fault: keyof typeof ChainFault;
  /** Code and pointer of the ICMPv6 error, counted from the IPv6 header. */
  readonly told: readonly [number, number] | "silent";
  /** To a group, too. */
  readonly toGroup?: true;
}

const option = (type: number): Header => [0, [0, 0, 1, 0, type, 2, 0, 0]];

const REFUSED: readonly Refused[] = [
  { name: "nothing behind", protocol: 60, fault: "truncated", told: [0, 4] },
  {
    name: "seven bytes behind",
    protocol: 60,
    payload: [17, 0, 0, 0, 0, 0, 0],
    fault: "truncated",
    told: [0, 4],
  },
  {
    name: "a header longer than the packet",
    headers: [HOP_BY_HOP],
    protocol: 60,
    payload: [17, 1, 0, 0, 0, 0, 0, 0],
    fault: "truncated",
    told: [0, 49],
  },
  {
    name: "an atomic fragment that ends in the chain",
    headers: [fragment(0, 0)],
    protocol: 60,
    payload: [17, 1, 0, 0, 0, 0, 0, 0],
    fault: "truncated",
    told: [0, 49],
  },
  {
    name: "hop-by-hop second",
    headers: [DESTINATION, HOP_BY_HOP],
    payload: UDP,
    fault: "hop-by-hop-not-first",
    told: [1, 40],
  },
  {
    name: "hop-by-hop twice",
    headers: [HOP_BY_HOP, HOP_BY_HOP],
    payload: UDP,
    fault: "hop-by-hop-not-first",
    told: [1, 40],
  },
  {
    name: "hop-by-hop behind a first fragment",
    headers: [fragment(0, 1), HOP_BY_HOP],
    payload: UDP,
    fault: "hop-by-hop-not-first",
    told: [1, 40],
  },
  {
    name: "routing type 0, one station left",
    headers: [[43, [0, 0, 0, 1, 0, 0, 0, 0]]],
    payload: UDP,
    fault: "routing-header",
    told: [0, 42],
  },
  {
    name: "another routing type, stations left",
    headers: [HOP_BY_HOP, [43, [0, 0, 4, 255, 0, 0, 0, 0]]],
    payload: UDP,
    fault: "routing-header",
    told: [0, 50],
  },
  { name: "option 01", headers: [option(0x40)], fault: "unknown-option", told: "silent" },
  {
    name: "option 10",
    headers: [option(0x9e)],
    fault: "unknown-option",
    told: [2, 44],
    toGroup: true,
  },
  { name: "option 11", headers: [option(0xc2)], fault: "unknown-option", told: [2, 44] },
  {
    name: "the first of two unknown options decides",
    headers: [[60, [0, 0, 0x41, 0, 0xc1, 0, 0x81, 0]]],
    fault: "unknown-option",
    told: "silent",
  },
  {
    name: "option 11 in destination options",
    headers: [HOP_BY_HOP, [60, [0, 0, 0, 0, 0, 0, 0xff, 0]]],
    fault: "unknown-option",
    told: [2, 54],
  },
  {
    name: "an option longer than its header by one",
    headers: [[0, [0, 0, 1, 5, 0, 0, 0, 0]]],
    payload: UDP,
    fault: "option-length",
    told: [0, 42],
  },
  {
    name: "an option without its length",
    headers: [[60, [0, 0, 1, 3, 0, 0, 0, 1]]],
    payload: UDP,
    fault: "option-length",
    told: [0, 47],
  },
  {
    name: "one at the end of the packet",
    headers: [[60, [0, 0, 1, 3, 0, 0, 0, 1]]],
    protocol: 59,
    fault: "option-length",
    told: [0, 47],
  },
  {
    name: "an unknown option, too long",
    headers: [[60, [0, 0, 0xc1, 255, 0, 0, 0, 0]]],
    payload: UDP,
    fault: "option-length",
    told: [0, 42],
  },
  { name: "unknown protocol", protocol: 132, fault: "unknown-next-header", told: [1, 6] },
  { name: "ESP", protocol: 50, fault: "unknown-next-header", told: [1, 6] },
  {
    name: "authentication header behind others",
    headers: [HOP_BY_HOP, DESTINATION],
    protocol: 51,
    fault: "unknown-next-header",
    told: [1, 48],
  },
  {
    name: "ICMP of IPv4 in a first fragment",
    headers: [fragment(0, 1)],
    protocol: 1,
    payload: UDP,
    fault: "unknown-next-header",
    told: [1, 40],
  },
  {
    name: "nine headers",
    headers: new Array<Header>(9).fill(DESTINATION),
    payload: UDP,
    fault: "too-many-headers",
    told: [8, 40 + 64],
  },
  {
    name: "264 bytes",
    headers: [LONG_DESTINATION, LONG_DESTINATION, DESTINATION],
    payload: UDP,
    fault: "chain-too-long",
    told: [7, 40 + 256],
  },
  {
    name: "a first fragment that ends in the chain",
    headers: [fragment(0, 1)],
    protocol: 60,
    payload: [17, 1, 0, 0, 0, 0, 0, 0],
    fault: "incomplete-chain",
    told: [3, 0],
  },
  {
    name: "a first fragment of nothing",
    headers: [fragment(0, 1)],
    protocol: 60,
    fault: "incomplete-chain",
    told: [3, 0],
  },
  {
    name: "a first fragment without UDP's header",
    headers: [fragment(0, 1)],
    protocol: 17,
    fault: "incomplete-chain",
    told: [3, 0],
  },
  {
    name: "a first fragment without ICMPv6's header",
    headers: [fragment(0, 1)],
    protocol: 58,
    fault: "incomplete-chain",
    told: [3, 0],
  },
  {
    name: "a first fragment with a part of TCP's header",
    headers: [fragment(0, 1)],
    protocol: 6,
    payload: TCP.slice(0, 16),
    fault: "incomplete-chain",
    told: [3, 0],
  },
  {
    name: "a first fragment without all of TCP's options",
    headers: [fragment(0, 1)],
    protocol: 6,
    payload: [...TCP.slice(0, 12), 0x70, ...new Array<number>(11).fill(0)],
    fault: "incomplete-chain",
    told: [3, 0],
  },
  {
    name: "a fragment of a fragment",
    headers: [fragment(0, 1), fragment(0, 1)],
    protocol: 17,
    payload: UDP,
    fault: "fragment-twice",
    told: [0, 40],
  },
  {
    name: "a fragment of 9 bytes before others",
    headers: [fragment(0, 1)],
    protocol: 17,
    payload: [...UDP, 1],
    fault: "fragment-length",
    told: [0, 4],
  },
  {
    name: "a fragment of 12 bytes before others",
    headers: [HOP_BY_HOP, fragment(8, 1)],
    protocol: 17,
    payload: [...UDP, 1, 2, 3, 4],
    fault: "fragment-length",
    told: [0, 4],
  },
  {
    name: "a fragment that ends beyond 65,535 bytes",
    headers: [fragment(65_528, 0)],
    protocol: 17,
    payload: UDP,
    fault: "fragment-end",
    told: [0, 42],
  },
  {
    name: "one that does so with the headers before it",
    headers: [HOP_BY_HOP, fragment(65_520, 1)],
    protocol: 17,
    payload: UDP,
    fault: "fragment-end",
    told: [0, 50],
  },
];

Deno.test("walkChain refuses a chain with the fault, code and pointer that RFC 8200 names", () => {
  for (const { name, headers = [], protocol = 17, payload = [], fault, told } of REFUSED) {
    const found = walk({ headers, protocol }, payload);
    assert.equal(found.fault, ChainFault[fault], name);
    if (told === "silent") assert.equal(found.chain.code, SILENT, name);
    else assert.deepEqual([found.chain.code, found.chain.pointer], told, name);
  }
});

Deno.test("walkChain tells no fault of a packet to a group, but an option that wants it", () => {
  for (const { name, headers = [], protocol = 17, payload = [], fault, ...rest } of REFUSED) {
    const found = walk({ headers, protocol, dst: "ff02::1" }, payload);
    assert.equal(found.fault, ChainFault[fault], name);
    assert.equal(found.chain.code, rest.toGroup === true ? rest.told[0] : SILENT, name);
  }
});

Deno.test("every fault has a test that meets it", () => {
  assert.deepEqual(new Set(REFUSED.map(({ fault }) => fault)), new Set(Object.keys(ChainFault)));
});

Deno.test("fragment headers are written as RFC 8200 §4.5 draws them, and read back", () => {
  const bytes = new Uint8Array(12).fill(0xee);
  const view = new DataView(bytes.buffer);
  headers.writeFragmentHeader(view, 2, 17, 0xfff0 | headers.MORE_FRAGMENTS6, 0xfedc_ba98 | 0);
  assert.deepEqual([...bytes], [
    ...[0xee, 0xee],
    ...[17, 0, 0xff, 0xf1, 0xfe, 0xdc, 0xba, 0x98],
    ...[0xee, 0xee],
  ]);
  assert.equal(headers.fragmentFlagsAndOffset(view, 2), 0xfff1);
  assert.equal(headers.fragmentIdentification(view, 2), 0xfedc_ba98 | 0);
  const cases: [number, boolean][] = [[0, true], [1, false], [8, false], [6, true], [
    0xfff8,
    false,
  ]];
  for (const [word, atomic] of cases) {
    view.setUint16(4, word);
    assert.equal(headers.isAtomic(view, 2), atomic, `${word}`);
  }
});

Deno.test("writeRouterAlert writes what an independent builder writes", () => {
  const bytes = new Uint8Array(10).fill(0xee);
  headers.writeRouterAlert(new DataView(bytes.buffer), 1, 58);
  assert.deepEqual([...bytes], [0xee, 58, ...ROUTER_ALERT[1].slice(1), 0xee]);
});

tsharkTest(
  "tshark finds in accepted chains the protocol and fragment that walkChain does",
  async () => {
    const frames = ACCEPTED.map(({ headers, protocol, payload }) =>
      buildIp6({ headers, protocol }, payload)
    );
    const found = await readFields(frames, ["ipv6.fraghdr.offset", "ipv6.opt.router_alert"]);
    ACCEPTED.forEach(({ name, fragment, routerAlert }, i) => {
      assert.equal(found[i]![0] !== "", fragment !== undefined, name);
      if (routerAlert === 1) assert.equal(found[i]![1], "0", name);
    });
    const headers = [[HOP_BY_HOP], [ROUTER_ALERT], [HOP_BY_HOP, DESTINATION, fragment(0, 0)]];
    assert.deepEqual(await judge(headers.map((chain) => buildIcmp6({ headers: chain }))), []);
  },
);

tsharkTest("tshark reads headers and fragment header as they were written", async () => {
  const bytes = new Uint8Array(14 + 40 + 8 + 16);
  bytes.set(buildIp6({}, []).subarray(0, 14));
  const view = new DataView(bytes.buffer);
  ipv6.writeHeader(view, IP, {
    trafficClass: 0xb8,
    flowLabel: 0xf_edcb,
    payloadLength: 24,
    nextHeader: headers.HEADER_FRAGMENT,
    hopLimit: 63,
    src: address6Words("2001:db8::1"),
    dst: address6Words("2001:db8::2"),
  });
  headers.writeFragmentHeader(view, IP + 40, 17, 1232 | headers.MORE_FRAGMENTS6, 0xfedc_ba98 | 0);
  assert.deepEqual(await judge([bytes]), []);
  const [found] = await readFields([bytes], [
    ...["ipv6.src", "ipv6.dst"],
    ...["ipv6.tclass", "ipv6.flow", "ipv6.plen", "ipv6.nxt", "ipv6.hlim"],
    ...["ipv6.fraghdr.nxt", "ipv6.fraghdr.offset", "ipv6.fraghdr.more", "ipv6.fraghdr.ident"],
  ]);
  assert.deepEqual(found!.slice(0, 2), ["2001:db8::1", "2001:db8::2"]);
  // The offset is told in units of 8 bytes.
  const numbers = [0xb8, 0xf_edcb, 24, 44, 63, 17, 1232 / 8, 1, 0xfedc_ba98];
  assert.deepEqual(found!.slice(2).map(Number), numbers);
});
