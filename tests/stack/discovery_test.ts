import assert from "node:assert/strict";
import { Arena, VNET_BYTES } from "../../src/core/arena.ts";
import { LimitedLog } from "../../src/core/limited_log.ts";
import { SeededRandom } from "../../src/core/random.ts";
import { reasonName } from "../../src/core/reason.ts";
import { OwnAddresses6 } from "../../src/stack/admit6.ts";
import { NeighborDiscovery } from "../../src/stack/discovery.ts";
import { isLinkMessage } from "../../src/wire/icmpv6.ts";
import { Openers } from "../../src/stack/openers.ts";
import { formatMac, parseMac } from "../../src/wire/address.ts";
import { linkLocalOf, parseAddress6, subnetOf6 } from "../../src/wire/address6.ts";
import { AddressDigest } from "../../src/wire/address_digest.ts";
import { decodeFrame } from "../../src/wire/decode.ts";
import { decodeIpv6, decodeTransport6 } from "../../src/wire/decode6.ts";
import { Chain } from "../../src/wire/extension_headers.ts";
import { addressOfWords, formatHostAddress } from "../../src/wire/host_address.ts";
import { Pdu } from "../../src/wire/pdu.ts";
import {
  address6Bytes,
  address6Text,
  address6Words,
  buildAdvertisement,
  buildIcmp6,
  buildRouterAdvertisement,
  buildSolicitation,
  buildTcp6,
  groupMacOf,
  type Icmp6,
  readIcmp6,
  readIp6,
  readNeighbor,
  type Router6,
  ROUTER_ALERT,
  solicitedNode,
} from "../support/frames6.ts";
import { readEthernet } from "../support/frames.ts";
import { judge, tsharkTest } from "../support/tshark.ts";
import { FRAME_OFFSET, OWN_MAC, place, takeSent } from "../wire/place.ts";

const PROXY = "2001:db8::64";
const PROXY_MAC = "02:00:00:00:01:00";
const LINK_LOCAL = "fe80::ff:fe00:100";
const CLIENT = "2001:db8::fe";
const CLIENT_MAC = "02:00:00:00:00:fe";
const BACKEND = "2001:db8::1";
const BACKEND_MAC = "02:00:00:00:00:01";
const ROUTER = "fe80::1";
const ROUTER_MAC = "02:00:00:00:00:aa";
const ALL_NODES = "ff02::1";
const TICK_MS = 100;

interface Options {
  readonly watched: readonly string[];
  readonly maxNeighbors: number;
  readonly isRouter: boolean;
  readonly acceptRa: boolean;
  readonly hasDefault: boolean;
  readonly addresses: readonly string[];
  readonly seed: number;
}

interface Sent {
  readonly atMs: number;
  readonly frame: Uint8Array<ArrayBuffer>;
}

/** Neighbor Discovery beside a clock; notes what it logs, reports and sends. */
class World {
  readonly arena = new Arena();
  readonly lines: string[] = [];
  readonly events: string[] = [];
  readonly nd: NeighborDiscovery;
  readonly own: OwnAddresses6;
  readonly digest: AddressDigest;
  startMs = 5000.25;
  nowMs = this.startMs;

  constructor(options: Partial<Options> = {}) {
    const {
      watched = [],
      maxNeighbors = 100,
      isRouter = false,
      acceptRa = false,
      hasDefault = false,
      addresses = [PROXY],
      seed = 1,
    } = options;
    const random = new SeededRandom(seed);
    this.digest = new AddressDigest(random);
    this.own = new OwnAddresses6(OWN_MAC, addresses.map(parseAddress6), linkLocalOf(OWN_MAC));
    const noted = (level: string) => (text: string) => this.lines.push(`${level} ${text}`);
    this.nd = new NeighborDiscovery({
      device: "tap0",
      arena: this.arena,
      mac: OWN_MAC,
      digest: this.digest,
      random,
      own: this.own,
      onLink: addresses.map((address) => subnetOf6(parseAddress6(address), 64)),
      watched: watched.map((address) => addressOfWords(address6Words(address))),
      maxNeighbors,
      openers: new Openers(10),
      log: new LimitedLog({
        info: noted("info"),
        warning: noted("warning"),
        error: noted("error"),
      }),
      events: {
        resolved: (who, mac) => this.events.push(`${formatHostAddress(who)} at ${formatMac(mac)}`),
        unanswered: (who) => this.events.push(`${formatHostAddress(who)} unanswered`),
        dropped: (reason, count) => this.events.push(`${reasonName(reason)} ${count}`),
        undelivered: (packets) => {
          for (const packet of packets) {
            this.events.push(`undelivered ${readIp6(packet.slice(VNET_BYTES)).ip.dst}`);
          }
        },
      },
      isRouter,
      acceptRa,
      hasDefault,
      nowMs: this.nowMs,
    });
  }

  /** Lets a frame in: the reason, and what is sent in answer. */
  receive(frame: Uint8Array): { reason: string; sent: Uint8Array<ArrayBuffer>[] } {
    const { arena } = this;
    const groups = { hears: (hi: number, lo: number) => hi === 0x3333 && this.nd.listensTo(lo) };
    const pdu = new Pdu();
    const chain = new Chain();
    place(arena, frame);
    const reason = decodeFrame(arena.view, FRAME_OFFSET, frame.length, OWN_MAC, pdu, groups) ||
      decodeIpv6(arena.view, pdu, this.digest, chain) ||
      decodeTransport6(arena.view, pdu) ||
      this.nd.receive(pdu, chain, this.nowMs);
    return { reason: reasonName(reason), sent: takeSent(arena) };
  }

  /** As `receive`, of a message that counts. */
  take(frame: Uint8Array): Uint8Array<ArrayBuffer>[] {
    const { reason, sent } = this.receive(frame);
    assert.equal(reason, "none");
    return sent;
  }

  /** Sends a packet: the MAC address that it leaves for, or why it does not. */
  send(to: string): string {
    const frame = buildTcp6({ dst: to });
    place(this.arena, frame);
    const words = address6Words(to);
    const key = this.digest.ofWords(words, 0);
    const reason = this.nd.send(FRAME_OFFSET, frame.length, key, words, 0, this.nowMs, -1);
    if (reason !== 0) return reasonName(reason);
    const sent = takeSent(this.arena);
    return sent.length > 0 && readIp6(sent[0]!).ip.protocol === 6
      ? readEthernet(sent[0]!).dstMac
      : "held";
  }

  /** Ticks for so long; what was sent, and when. */
  run(ms: number): Sent[] {
    const sent: Sent[] = [];
    for (const endMs = this.nowMs + ms; this.nowMs < endMs;) {
      this.nowMs += TICK_MS;
      this.nd.tick(this.nowMs);
      const atMs = Math.round(this.nowMs - this.startMs);
      sent.push(...takeSent(this.arena).map((frame) => ({ atMs, frame })));
    }
    return sent;
  }

  get errors(): string[] {
    return this.lines.filter((line) => !line.startsWith("info "));
  }

  /** Whether each address may be used: the flags' first, the link-local last. */
  get usable(): boolean[] {
    return Array.from({ length: this.own.count }, (_, i) => this.own.isUsable(i));
  }
}

/** One that has got its addresses, and has nothing more to say of itself. */
function settled(options: Partial<Options> = {}): World {
  const world = new World(options);
  world.run(10_000);
  assert.ok(world.usable.every((usable) => usable));
  return world;
}

function ofType(sent: readonly Sent[], type: number): Sent[] {
  return sent.filter(({ frame }) => readIcmp6(frame).type === type);
}

/** The next solicitations, as soon as they come. */
function probesOf(world: World): Sent[] {
  for (;;) {
    const probes = ofType(world.run(TICK_MS), 135);
    if (probes.length > 0) return probes;
  }
}

/** A frame from `::`, by which somebody asks whether it may have the target. */
function duplicateCheck(target: string, nonce: readonly number[] = []): Uint8Array {
  const option = nonce.length === 0 ? [] : [14, 1, ...nonce];
  return buildSolicitation({
    src: "::",
    target,
    payload: [...address6Bytes(target), ...option],
  });
}

// Duplicate address detection: RFC 4862 §5.4

Deno.test("NeighborDiscovery tries each address once, from ::, within a second, before it is used", () => {
  const starts = new Set<number>();
  for (let seed = 1; seed <= 20; seed++) {
    const world = new World({ seed });
    const sent = world.run(5000);
    const probes = ofType(sent, 135);
    assert.equal(probes.length, 2);
    const [first, second] = probes.map(({ frame }) => readNeighbor(frame));
    assert.deepEqual([first!.target, second!.target], [PROXY, LINK_LOCAL]);
    for (const { src, dst, dstMac, hopLimit, mac, target } of [first!, second!]) {
      assert.deepEqual([src, hopLimit, mac], ["::", 255, null]);
      assert.deepEqual([dst, dstMac], [solicitedNode(target), groupMacOf(solicitedNode(target))]);
    }
    const nonces = probes.map(({ frame }) =>
      Array.from(readNeighbor(frame).payload).slice(16).join()
    );
    assert.ok(nonces.every((nonce) => nonce.startsWith("14,1,")));
    assert.notEqual(nonces[0], nonces[1]);
    const startMs = probes[0]!.atMs;
    assert.ok(startMs <= 1100, `${startMs}`);
    starts.add(startMs);
    const claims = ofType(sent, 136);
    assert.equal(claims[0]!.atMs - startMs, 1000 + TICK_MS);
  }
  assert.ok(starts.size > 5, "the delay is random");
});

Deno.test("NeighborDiscovery uses no address until a second after its question", () => {
  const world = new World();
  assert.deepEqual(world.usable, [false, false]);
  probesOf(world);
  world.run(900);
  assert.deepEqual(world.usable, [false, false]);
  const early = world.receive(buildSolicitation({ target: PROXY }));
  assert.deepEqual([early.reason, early.sent.length], ["none", 0]);
  assert.equal(world.send(CLIENT), "held");
  world.run(100);
  assert.deepEqual(world.usable, [true, true]);
  const [released, answer, ...others] = world.take(buildSolicitation({ target: PROXY }));
  assert.equal(readIp6(released!).ip.dst, CLIENT);
  assert.equal(readNeighbor(answer!).target, PROXY);
  assert.deepEqual(others, []);
});

Deno.test("NeighborDiscovery announces each address three times, a second apart", () => {
  const world = new World();
  const claims = ofType(world.run(20_000), 136);
  for (const address of [PROXY, LINK_LOCAL]) {
    const own = claims.filter(({ frame }) => readNeighbor(frame).target === address);
    assert.equal(own.length, 3);
    const gaps = own.slice(1).map(({ atMs }, i) => atMs - own[i]!.atMs);
    assert.deepEqual(gaps, [1000, 1000]);
    for (const { frame } of own) {
      const { src, dst, dstMac, mac, neighborFlags, hopLimit } = readNeighbor(frame);
      assert.deepEqual([src, dst, dstMac], [address, ALL_NODES, "33:33:00:00:00:01"]);
      assert.deepEqual([mac, neighborFlags, hopLimit], [PROXY_MAC, "O", 255]);
    }
  }
});

Deno.test("NeighborDiscovery withholds an address that somebody has, or wants at the same time", () => {
  const cases: [string, Uint8Array, string][] = [
    [
      "an advertisement to all",
      buildAdvertisement({ src: PROXY, target: PROXY, dst: ALL_NODES, neighborFlags: "O" }),
      `used by ${CLIENT_MAC}`,
    ],
    ["a question from ::", duplicateCheck(PROXY), "wanted by another station, too"],
    [
      "with a nonce of its own",
      duplicateCheck(PROXY, [1, 2, 3, 4, 5, 6]),
      "wanted by another station, too",
    ],
  ];
  for (const [name, built, by] of cases) {
    for (const isProbing of [false, true]) {
      const world = new World({ seed: 3 });
      const frame = built.slice();
      frame.set([0x33, 0x33, ...frame.subarray(50, 54)], 0);
      if (readIcmp6(frame).type === 136) frame.set([0x33, 0x33, 0, 0, 0, 1], 0);
      if (isProbing) probesOf(world);
      assert.deepEqual(world.take(frame), []);
      world.run(5000);
      assert.deepEqual(world.usable, [false, true], name);
      assert.deepEqual(world.errors, [
        `error ${PROXY}: ${by}: address conflict, ours is withheld and tried again within a ` +
        "minute; one of the two must be given another address",
      ], name);
      assert.deepEqual(world.take(buildSolicitation({ target: PROXY })), []);
      assert.deepEqual(world.take(duplicateCheck(PROXY)), []);
    }
  }
});

Deno.test("NeighborDiscovery tries a withheld address again, and says when it is free", () => {
  const world = new World();
  world.take(duplicateCheck(PROXY));
  const again = ofType(world.run(70_000), 135).filter(({ frame }) =>
    readNeighbor(frame).target === PROXY
  );
  assert.equal(again.length, 1);
  assert.ok(again[0]!.atMs >= 30_000 && again[0]!.atMs <= 60_100, `${again[0]!.atMs}`);
  assert.deepEqual(world.usable, [true, true]);
  assert.equal(world.lines.at(-1), `info ${PROXY} is free, and used from now on`);
});

Deno.test("NeighborDiscovery knows its own question, and asks three times more (RFC 7527)", () => {
  const world = new World();
  for (const { frame } of probesOf(world)) {
    const looped = frame.slice();
    looped.set([2, 0, 0, 0, 0, 9], 6); // as a bridge that gives its own address to what it sends on
    assert.deepEqual(world.take(looped), []);
  }
  const more = ofType(world.run(10_000), 135);
  assert.equal(more.length, 6);
  assert.deepEqual(
    world.errors,
    [PROXY, LINK_LOCAL].map((address) =>
      `warning ${address}: the link has sent our own question back: it is asked three times more`
    ),
  );
  assert.deepEqual(world.usable, [true, true]);
});

Deno.test("NeighborDiscovery lets nobody end the use of an address by asking who has it", () => {
  const world = new World();
  probesOf(world);
  assert.deepEqual(world.take(buildSolicitation({ target: PROXY })), []);
  world.run(5000);
  assert.deepEqual(world.usable, [true, true]);
});

Deno.test("NeighborDiscovery defends an address that it uses, every ten seconds", () => {
  const world = settled();
  const claim = buildAdvertisement({
    src: PROXY,
    dst: ALL_NODES,
    dstMac: groupMacOf(ALL_NODES),
    target: PROXY,
    neighborFlags: "O",
  });
  const [defence, ...others] = world.take(claim);
  assert.deepEqual(others, []);
  const { target, mac, dst, neighborFlags } = readNeighbor(defence!);
  assert.deepEqual([target, mac, dst, neighborFlags], [PROXY, PROXY_MAC, ALL_NODES, "O"]);
  assert.deepEqual(world.take(claim), []);
  world.run(10_000);
  assert.equal(world.take(claim).length, 1);
  assert.deepEqual(world.usable, [true, true]);
  assert.match(
    world.errors[0]!,
    /^error 2001:db8::64: also used by 02:00:00:00:00:fe: address con/,
  );
});

Deno.test("NeighborDiscovery.restart tries all addresses anew", () => {
  const world = settled();
  world.nd.restart(world.nowMs);
  assert.deepEqual(world.usable, [false, false]);
  const sent = world.run(6000);
  assert.equal(ofType(sent, 135).length, 2);
  assert.equal(ofType(sent, 136).length, 6);
  assert.deepEqual(world.usable, [true, true]);
});

Deno.test("NeighborDiscovery listens to all nodes and to the groups of its addresses", () => {
  const world = new World({ addresses: [PROXY, "2001:db8::abcd:64"] });
  const hears = (group: string) => world.nd.listensTo(address6Words(group)[3]!);
  for (const group of [ALL_NODES, ...[PROXY, "2001:db8::abcd:64", LINK_LOCAL].map(solicitedNode)]) {
    assert.equal(hears(group), true, group);
  }
  for (const group of ["ff02::2", "ff02::16", solicitedNode(CLIENT), "ff02::1:ff00:65"]) {
    assert.equal(hears(group), false, group);
  }
});

Deno.test("NeighborDiscovery.resumeAddresses uses at once what the last run has used until now", () => {
  const world = new World();
  world.nd.resumeAddresses(world.nowMs);
  const asked = takeSent(world.arena).map(readNeighbor);
  assert.deepEqual(asked.map(({ type, src, target }) => [type, src, target]), [
    [135, "::", PROXY],
    [135, "::", LINK_LOCAL],
  ]);
  assert.deepEqual(world.usable, [true, true]);
  assert.equal(world.take(buildSolicitation({ target: PROXY })).length, 1);
  assert.deepEqual(world.lines, [
    `info ${PROXY} goes on being used`,
    `info ${LINK_LOCAL} goes on being used`,
  ]);
  const sent = world.run(5000);
  assert.deepEqual(ofType(sent, 135), []);
  assert.equal(ofType(sent, 136).length, 6);
  assert.equal(readIcmp6(ofType(sent, 143)[0]!.frame).src, LINK_LOCAL);
});

// Solicitations: RFC 4861 §7.2.3, §7.2.4

const SECOND_MAC = "02:00:00:00:00:ee";
/** Source × destination × MAC options. What is sent: to which address and MAC address, flags. */
const MATRIX: readonly (readonly [string, string, readonly string[], readonly string[] | null])[] =
  [
    ["::", solicitedNode(PROXY), [], [ALL_NODES, groupMacOf(ALL_NODES), "O"]],
    ["::", solicitedNode(PROXY), [CLIENT_MAC], null],
    ["::", solicitedNode(PROXY), [CLIENT_MAC, SECOND_MAC], null],
    ["::", PROXY, [], null],
    ["::", PROXY, [CLIENT_MAC], null],
    ["::", PROXY, [CLIENT_MAC, SECOND_MAC], null],
    [CLIENT, solicitedNode(PROXY), [], [CLIENT, CLIENT_MAC, "SO"]],
    [CLIENT, solicitedNode(PROXY), [SECOND_MAC], [CLIENT, SECOND_MAC, "SO"]],
    [CLIENT, solicitedNode(PROXY), [SECOND_MAC, CLIENT_MAC], [CLIENT, SECOND_MAC, "SO"]],
    [CLIENT, PROXY, [], [CLIENT, CLIENT_MAC, "SO"]],
    [CLIENT, PROXY, [SECOND_MAC], [CLIENT, SECOND_MAC, "SO"]],
    [CLIENT, PROXY, [SECOND_MAC, CLIENT_MAC], [CLIENT, SECOND_MAC, "SO"]],
  ];

for (const [src, dst, macs, answer] of MATRIX) {
  Deno.test(`NeighborDiscovery: a solicitation ${src} → ${dst} with ${macs.length} MAC addresses`, () => {
    const world = settled();
    const options = macs.flatMap((
      mac,
    ) => [1, 1, ...mac.split(":").map((byte) => parseInt(byte, 16))]);
    const frame = buildSolicitation({
      src,
      dst,
      target: PROXY,
      payload: [...address6Bytes(PROXY), ...options],
    });
    const { reason, sent } = world.receive(frame);
    assert.equal(reason, answer === null ? "discovery-malformed" : "none");
    assert.equal(sent.length, answer === null ? 0 : 1);
    // Whoever asks is known from then on, if he has said where he is.
    const known = src === CLIENT && macs.length > 0 ? macs[0] : "held";
    assert.equal(world.send(CLIENT), known);
    if (answer === null) return;
    const { ...message } = readNeighbor(sent[0]!);
    assert.deepEqual([message.dst, message.dstMac, message.neighborFlags], answer);
    assert.deepEqual([message.type, message.src, message.target], [136, PROXY, PROXY]);
    assert.deepEqual([message.mac, message.hopLimit, message.srcMac], [PROXY_MAC, 255, PROXY_MAC]);
  });
}

Deno.test("NeighborDiscovery answers for its link-local address, and says that it is a router", () => {
  const world = settled({ isRouter: true });
  const [answer] = world.take(
    buildSolicitation({ src: ROUTER, srcMac: ROUTER_MAC, target: LINK_LOCAL }),
  );
  const { src, dst, target, neighborFlags } = readNeighbor(answer!);
  assert.deepEqual([src, dst, target, neighborFlags], [LINK_LOCAL, ROUTER, LINK_LOCAL, "RSO"]);
});

Deno.test("NeighborDiscovery answers nobody who asks for another host of its group", () => {
  const world = settled();
  const other = "2001:db8::1:0:64";
  assert.equal(solicitedNode(other), solicitedNode(PROXY));
  assert.deepEqual(world.take(buildSolicitation({ target: other })), []);
  assert.equal(world.send(CLIENT), "held", "and does not learn from it either");
});

Deno.test("NeighborDiscovery answers a sender that is not on the link, without remembering it", () => {
  const world = settled();
  const far = "2001:db8:1::1";
  assert.equal(world.take(buildSolicitation({ src: far, target: PROXY })).length, 1);
  assert.equal(world.nd.neighbors.count, 0);
});

Deno.test("NeighborDiscovery drops what RFC 4861 wants ignored, each under its reason", () => {
  const world = settled({ acceptRa: true });
  const target = PROXY;
  const group = "33:33:00:00:00:01";
  const advertisement = { src: CLIENT, dst: ALL_NODES, dstMac: group };
  const cases: [string, Uint8Array, string][] = [
    ["hop limit 254", buildSolicitation({ target, hopLimit: 254 }), "discovery-hop-limit"],
    ["code 1", buildSolicitation({ target, code: 1 }), "discovery-malformed"],
    [
      "a group as target",
      buildSolicitation({ target: ALL_NODES, dst: PROXY }),
      "discovery-malformed",
    ],
    [
      "short",
      buildSolicitation({ target, payload: address6Bytes(PROXY).slice(1) }),
      "discovery-malformed",
    ],
    [
      "an option of length 0",
      buildSolicitation({ target, payload: [...address6Bytes(PROXY), 1, 0, 0, 0, 0, 0, 0, 0] }),
      "discovery-malformed",
    ],
    [
      "the proxy's MAC address",
      buildSolicitation({ target, mac: PROXY_MAC }),
      "discovery-malformed",
    ],
    ["a group's", buildSolicitation({ target, mac: "33:33:00:00:00:01" }), "discovery-malformed"],
    ["none", buildSolicitation({ target, mac: "00:00:00:00:00:00" }), "discovery-malformed"],
    ["solicited, to all", buildAdvertisement({ ...advertisement }), "discovery-malformed"],
    [
      "an advertisement of a group's MAC address",
      buildAdvertisement({ ...advertisement, neighborFlags: "O", mac: "33:33:00:00:00:01" }),
      "discovery-malformed",
    ],
    [
      "in an atomic fragment",
      buildSolicitation({ target, headers: [[44, [0, 0, 0, 0, 0, 0, 0, 1]]] }),
      "discovery-fragment",
    ],
    ["a group as source", buildSolicitation({ target, src: "ff02::5" }), "martian-source"],
    [
      "to another host",
      buildSolicitation({ target, dst: BACKEND, dstMac: PROXY_MAC }),
      "foreign-destination",
    ],
    [
      "to another group",
      buildSolicitation({ target, dst: "ff02::2", dstMac: PROXY_MAC }),
      "multicast-destination",
    ],
    [
      "a question to routers",
      router({ type: 133, rest: [0, 0, 0, 0], payload: [] }),
      "router-message",
    ],
    ["a router's global address", router({ src: "2001:db8::aa" }), "discovery-malformed"],
    ["a redirect", redirect(), "redirect"],
    ["a redirect that has passed a router", redirect({ hopLimit: 64 }), "discovery-hop-limit"],
    ["a query that has passed a router", query({ hopLimit: 64 }), "listener-malformed"],
  ];
  for (const [name, frame, reason] of cases) {
    const outcome = world.receive(frame);
    assert.deepEqual([outcome.reason, outcome.sent.length], [reason, 0], name);
  }
  assert.equal(world.nd.neighbors.count, 0);
  assert.equal(world.nd.router(world.nowMs), null);
  assert.deepEqual(world.usable, [true, true]);
  assert.equal(settled().receive(router()).reason, "router-message", "without --accept-ra");
});

Deno.test("isLinkMessage is true for what RFC 4890 §4.3.3 keeps on its link", () => {
  const types = Array.from({ length: 256 }, (_, type) => type).filter(isLinkMessage);
  assert.deepEqual(types, [130, 131, 132, 133, 134, 135, 136, 137, 143]);
});

// Asking

Deno.test("NeighborDiscovery asks the group of the address, and releases what waits for the answer", () => {
  const world = settled();
  const sent: Uint8Array[] = [];
  for (const to of [CLIENT, ROUTER]) {
    const frame = buildTcp6({ dst: to });
    place(world.arena, frame);
    const words = address6Words(to);
    const key = world.digest.ofWords(words, 0);
    assert.equal(world.nd.send(FRAME_OFFSET, frame.length, key, words, 0, world.nowMs, -1), 0);
    sent.push(...takeSent(world.arena));
  }
  const messages = sent.map(readNeighbor);
  assert.deepEqual(
    messages.map(({ type, src, dst, dstMac, target, mac, hopLimit }) => [
      type,
      src,
      dst,
      dstMac,
      target,
      mac,
      hopLimit,
    ]),
    [
      [
        135,
        PROXY,
        solicitedNode(CLIENT),
        groupMacOf(solicitedNode(CLIENT)),
        CLIENT,
        PROXY_MAC,
        255,
      ],
      [
        135,
        LINK_LOCAL,
        solicitedNode(ROUTER),
        groupMacOf(solicitedNode(ROUTER)),
        ROUTER,
        PROXY_MAC,
        255,
      ],
    ],
  );
  const [released] = world.take(
    buildAdvertisement({ src: CLIENT, srcMac: CLIENT_MAC, dst: PROXY }),
  );
  assert.equal(readEthernet(released!).dstMac, CLIENT_MAC);
  assert.equal(readIp6(released!).ip.dst, CLIENT);
  assert.equal(world.send(CLIENT), CLIENT_MAC);
});

Deno.test("NeighborDiscovery asks from the address in the subnet of the one that it asks for", () => {
  const other = "2001:db8:0:2::64";
  const world = settled({ addresses: [PROXY, other] });
  const words = address6Words("2001:db8:0:2::1");
  place(world.arena, buildTcp6({ dst: "2001:db8:0:2::1" }));
  world.nd.send(FRAME_OFFSET, 74, world.digest.ofWords(words, 0), words, 0, world.nowMs, -1);
  assert.equal(readNeighbor(takeSent(world.arena)[0]!).src, other);
});

Deno.test("NeighborDiscovery asks for backends once it has an address, and again every 15 to 45 s", () => {
  const world = new World({ watched: [BACKEND] });
  const own = probesOf(world).map(({ frame }) => readNeighbor(frame).target);
  assert.deepEqual(own, [PROXY, LINK_LOCAL]);
  const first = probesOf(world).map(({ frame }) => readNeighbor(frame));
  assert.deepEqual(first.map(({ src, dst }) => [src, dst]), [[PROXY, solicitedNode(BACKEND)]]);
  const answer = buildAdvertisement({ src: BACKEND, srcMac: BACKEND_MAC, dst: PROXY });
  world.take(answer);
  assert.deepEqual(world.events, [`${BACKEND} at ${BACKEND_MAC}`]);
  const startMs = world.nowMs;
  const probes = probesOf(world);
  const waitedMs = world.nowMs - startMs;
  assert.ok(waitedMs >= 15_000 && waitedMs <= 45_100, `${waitedMs}`);
  const { dst, dstMac } = readNeighbor(probes[0]!.frame);
  assert.deepEqual([dst, dstMac], [BACKEND, BACKEND_MAC]);
  world.run(5000);
  assert.deepEqual(world.events.slice(1), [`${BACKEND} unanswered`]);
  assert.equal(world.send(BACKEND), "arp-unanswered");
  world.take(answer);
  assert.equal(world.events.at(-1), `${BACKEND} at ${BACKEND_MAC}`);
});

Deno.test("NeighborDiscovery draws the time that an answer counts anew every two hours", () => {
  const world = settled();
  const times = new Set<number>();
  for (let hour = 0; hour < 40; hour++) {
    times.add(world.nd.neighbors.freshMs);
    world.nowMs += 3600 * 1000;
    world.nd.tick(world.nowMs);
  }
  assert.ok(times.size >= 20, `${times.size}`);
  for (const ms of times) assert.ok(ms >= 15_000 && ms <= 45_000, `${ms}`);
});

Deno.test("NeighborDiscovery hands back what could not be delivered", () => {
  const world = settled();
  assert.equal(world.send(CLIENT), "held");
  world.run(3100);
  assert.deepEqual(world.events, ["arp-unanswered 1", `undelivered ${CLIENT}`]);
});

Deno.test("NeighborDiscovery takes up neighbours of an earlier run, if they can be such", () => {
  const world = settled();
  const resume = (address: string, mac: string) => {
    const host = addressOfWords(address6Words(address));
    return world.nd.resume(host, parseMac(mac), world.nowMs - 5000, world.nowMs);
  };
  assert.equal(resume(CLIENT, CLIENT_MAC), true);
  assert.equal(world.send(CLIENT), CLIENT_MAC);
  assert.equal(resume(ROUTER, ROUTER_MAC), true);
  for (
    const [address, mac] of [
      [PROXY, CLIENT_MAC],
      ["2001:db8:1::1", CLIENT_MAC],
      [BACKEND, "33:33:00:00:00:01"],
      [BACKEND, PROXY_MAC],
      [BACKEND, "00:00:00:00:00:00"],
    ] as const
  ) assert.equal(resume(address, mac), false, `${address} ${mac}`);
});

Deno.test("NeighborDiscovery keeps backends in a flood of solicitations and of unknown hosts", () => {
  const world = settled({ watched: [BACKEND], maxNeighbors: 50 });
  world.take(buildAdvertisement({ src: BACKEND, srcMac: BACKEND_MAC, dst: PROXY }));
  const before = world.nd.sent;
  for (let i = 0; i < 3000; i++) {
    const src = `2001:db8::${(i % 7).toString(16)}:${(i + 0x1000).toString(16)}`;
    world.take(buildSolicitation({ src, target: PROXY }));
    world.send(`2001:db8::9:${(i + 1).toString(16)}`);
    takeSent(world.arena);
  }
  assert.equal(world.send(BACKEND), BACKEND_MAC);
  assert.equal(world.nd.neighbors.count, 51);
  assert.ok(world.nd.sent - before <= 3000 + 256, "an answer each, and 256 questions");
});

// Routers: RFC 4861 §6.3

/** A router's, with a prefix from which others would make themselves an address. */
function router(fields: Partial<Router6> = {}): Uint8Array<ArrayBuffer> {
  const prefix = [
    ...[3, 4, 64, 0xc0, 0, 0, 255, 255, 0, 0, 255, 255, 0, 0, 0, 0],
    ...address6Bytes("2001:db8:9::"),
  ];
  return buildRouterAdvertisement({ srcMac: ROUTER_MAC, mtu: 1400, options: prefix, ...fields });
}

/** A redirect of packets for a client to another router. */
function redirect(fields: Partial<Icmp6> = {}): Uint8Array<ArrayBuffer> {
  return buildIcmp6({
    type: 137,
    src: ROUTER,
    dst: PROXY,
    hopLimit: 255,
    rest: [0, 0, 0, 0],
    payload: [...address6Bytes("fe80::2"), ...address6Bytes("2001:db8:5::1")],
    ...fields,
  });
}

function routerOf(world: World): string | null {
  const words = world.nd.router(world.nowMs);
  return words === null ? null : formatHostAddress(addressOfWords(words));
}

Deno.test("NeighborDiscovery asks for routers three times, four seconds apart, with --accept-ra only", () => {
  assert.deepEqual(ofType(new World().run(30_000), 133), []);
  const asked = ofType(new World({ acceptRa: true }).run(30_000), 133);
  assert.equal(asked.length, 3);
  assert.ok(asked[0]!.atMs <= 2100);
  assert.deepEqual(asked.slice(1).map(({ atMs }, i) => atMs - asked[i]!.atMs), [4000, 4000]);
  for (const { frame } of asked) {
    const { src, dst, dstMac, hopLimit, payload } = readIcmp6(frame);
    assert.deepEqual([src, dst, dstMac], [LINK_LOCAL, "ff02::2", "33:33:00:00:00:02"]);
    assert.deepEqual([hopLimit, Array.from(payload)], [255, [1, 1, 2, 0, 0, 0, 1, 0]]);
  }
});

Deno.test("NeighborDiscovery stops asking for routers when one has answered", () => {
  const world = new World({ acceptRa: true });
  world.take(router());
  assert.equal(ofType(world.run(30_000), 133).length, 1, "one is sent in any case");
  const other = new World({ acceptRa: true });
  other.run(2500);
  other.take(router({ seconds: 0 }));
  assert.equal(ofType(other.run(5000), 133).length, 1, "that was no default router");
  other.take(router());
  assert.deepEqual(ofType(other.run(30_000), 133), []);
});

Deno.test("NeighborDiscovery asks for routers from :: where its link-local address is taken", () => {
  const world = new World({ acceptRa: true });
  world.take(duplicateCheck(LINK_LOCAL));
  const [asked] = ofType(world.run(5000), 133);
  const { src, payload } = readIcmp6(asked!.frame);
  assert.deepEqual([src, payload.length], ["::", 0]);
});

Deno.test("NeighborDiscovery takes a router for as long as it offers itself", () => {
  const world = settled({ acceptRa: true });
  assert.equal(routerOf(world), null);
  world.take(router({ seconds: 100 }));
  assert.equal(routerOf(world), ROUTER);
  assert.equal(world.send(ROUTER), ROUTER_MAC, "its MAC address was in the message");
  world.nowMs += 99_000;
  assert.equal(routerOf(world), ROUTER);
  world.take(router({ seconds: 100 }));
  world.nowMs += 99_000;
  assert.equal(routerOf(world), ROUTER);
  world.nowMs += 1000;
  assert.equal(routerOf(world), null);
  world.take(router());
  world.take(router({ seconds: 0 }));
  assert.equal(routerOf(world), null, "it takes its offer back");
  world.take(router());
  world.take(
    buildAdvertisement({ src: ROUTER, srcMac: ROUTER_MAC, dst: LINK_LOCAL, neighborFlags: "RSO" }),
  );
  assert.equal(routerOf(world), ROUTER);
  world.take(
    buildAdvertisement({ src: ROUTER, srcMac: ROUTER_MAC, dst: LINK_LOCAL, neighborFlags: "SO" }),
  );
  assert.equal(routerOf(world), null, "it is a host now");
  assert.deepEqual(world.usable, [true, true]);
  assert.equal(world.own.count, 2, "no address of the prefix");
});

Deno.test("NeighborDiscovery prefers a router that answers, and else tries each in turn", () => {
  const world = settled({ acceptRa: true });
  const others = ["fe80::2", "fe80::3", "fe80::4", "fe80::5"];
  const payload = new Array(8).fill(0);
  for (const src of [ROUTER, ...others]) world.take(router({ src, payload }));
  const picked = Array.from({ length: 8 }, () => routerOf(world));
  assert.deepEqual(picked.slice(0, 4).toSorted(), [ROUTER, ...others.slice(0, 3)]);
  assert.deepEqual(picked.slice(4), picked.slice(0, 4));
  world.send("fe80::3");
  world.take(buildAdvertisement({ src: "fe80::3", dst: LINK_LOCAL, neighborFlags: "RSO" }));
  for (let i = 0; i < 5; i++) assert.equal(routerOf(world), "fe80::3");
});

Deno.test("NeighborDiscovery takes an MTU from 1,280 on from a router", () => {
  const world = settled({ acceptRa: true });
  assert.equal(world.nd.mtu, 0);
  const mtus = [[1279, 0], [1280, 1280], [9000, 9000], [65_536, 9000], [0, 9000], [1400, 1400]];
  for (const [mtu, expected] of mtus) {
    world.take(router({ mtu: mtu! }));
    assert.equal(world.nd.mtu, expected, `${mtu}`);
  }
});

Deno.test("NeighborDiscovery logs which default router is taken, changes and is lost, and no turns", () => {
  const world = settled({ acceptRa: true });
  world.lines.length = 0;
  const tell = () => {
    for (let i = 0; i < 5; i++) routerOf(world);
    return world.lines.splice(0);
  };
  const silent = { payload: new Array(8).fill(0) };
  world.take(router({ seconds: 100, ...silent }));
  assert.deepEqual(tell(), [`info tap0: default router is ${ROUTER}`]);
  world.take(router({ src: "fe80::2", seconds: 200, ...silent }));
  assert.deepEqual(tell(), [], "each in turn");
  world.send("fe80::2");
  world.take(buildAdvertisement({ src: "fe80::2", dst: LINK_LOCAL, neighborFlags: "RSO" }));
  assert.deepEqual(tell(), [
    `info tap0: default router is fe80::2, no longer ${ROUTER}: it does not say where it is`,
  ]);
  world.take(router({ src: "fe80::2", seconds: 0, ...silent }));
  assert.deepEqual(tell(), [
    `info tap0: default router is ${ROUTER}, no longer fe80::2: it has taken its offer back`,
  ]);
  world.take(router({ seconds: 0, ...silent }));
  world.take(router({ seconds: 100, ...silent }));
  assert.deepEqual(tell(), [], "it is back before it was missed");
  world.nowMs += 100_000;
  assert.deepEqual(tell(), [
    `warning tap0: default router ${ROUTER} is lost: its time is over; there is no other`,
  ]);
});

Deno.test("NeighborDiscovery says that a default router is not used beside a route to ::/0", () => {
  const world = settled({ acceptRa: true, hasDefault: true });
  world.lines.length = 0;
  world.take(router({ payload: new Array(8).fill(0) }));
  routerOf(world);
  assert.deepEqual(world.lines, [
    `info tap0: default router is ${ROUTER}; the route to ::/0 that was given is used`,
  ]);
});

Deno.test("NeighborDiscovery logs each new MTU of advertisements, within a limit", () => {
  const world = settled({ acceptRa: true });
  world.lines.length = 0;
  for (const mtu of [1400, 1400, 1500, 0, 1279]) world.take(router({ mtu }));
  assert.deepEqual(world.lines.splice(0), [
    `info tap0: router ${ROUTER} advertises an MTU of 1400 bytes for IPv6`,
    `info tap0: router ${ROUTER} advertises an MTU of 1500 bytes for IPv6, before it was 1400`,
  ]);
  for (let i = 0; i < 100; i++) world.take(router({ mtu: 1300 + i }));
  assert.equal(world.lines.length, 8, "ten at once");
});

// Listener discovery: RFC 3810

/** About all groups, of version 2, to be answered within a second, unless told otherwise. */
function query(
  fields: Partial<Icmp6> & { group?: string; withinMs?: number; isVersion1?: boolean } = {},
): Uint8Array<ArrayBuffer> {
  const { group = "::", withinMs = 1000, isVersion1 = false } = fields;
  const dst = group === "::" ? ALL_NODES : group;
  return buildIcmp6({
    type: 130,
    src: ROUTER,
    dst,
    dstMac: groupMacOf(dst),
    hopLimit: 1,
    headers: [ROUTER_ALERT],
    rest: [withinMs >> 8, withinMs & 255, 0, 0],
    payload: [...address6Bytes(group), ...(isVersion1 ? [] : [2, 125, 0, 0])],
    ...fields,
  });
}

/** Records of reports: type and group; `1` for the type in version 1. */
function reported(sent: readonly Sent[]): string[] {
  return sent.flatMap(({ frame }) => {
    const { type, rest, payload, hopLimit, headers, dst } = readIcmp6(frame);
    if (type !== 143 && type !== 131) return [];
    assert.deepEqual([hopLimit, headers], [1, [[ROUTER_ALERT[0], [
      58,
      ...ROUTER_ALERT[1].slice(1),
    ]]]]);
    const bytes = Uint8Array.from(payload);
    const groupAt = (at: number) => address6Text(bytes.subarray(at, at + 16));
    assert.equal(dst, type === 143 ? "ff02::16" : groupAt(0));
    return type === 131
      ? [`1 ${groupAt(0)}`]
      : Array.from({ length: rest[3]! }, (_, i) => `${bytes[20 * i]} ${groupAt(20 * i + 4)}`);
  });
}

const GROUPS = [solicitedNode(PROXY), solicitedNode(LINK_LOCAL)];

Deno.test("NeighborDiscovery reports its groups before it asks, and from its address once it has one", () => {
  const world = new World();
  const sent = world.run(6000);
  const reports = ofType(sent, 143);
  const sources = reports.map(({ frame }) => readIcmp6(frame).src);
  assert.equal(sources[0], "::");
  assert.equal(reports[0]!.atMs, ofType(sent, 135)[0]!.atMs);
  assert.ok(sent.indexOf(reports[0]!) < sent.indexOf(ofType(sent, 135)[0]!));
  assert.equal(sources.filter((src) => src === LINK_LOCAL).length, 2);
  for (const report of reports) {
    assert.deepEqual(reported([report]), GROUPS.map((group) => `4 ${group}`));
  }
  const last = reports.slice(-2).map(({ atMs }) => atMs);
  assert.ok(last[1]! - last[0]! <= 1100);
});

Deno.test("NeighborDiscovery answers a query about all groups once, within the time", () => {
  const times = new Set<number>();
  for (let seed = 1; seed <= 20; seed++) {
    const world = settled({ seed });
    const startMs = world.nowMs - world.startMs;
    assert.deepEqual(world.take(query({ withinMs: 5000 })), []);
    const sent = world.run(30_000);
    assert.deepEqual(reported(sent), GROUPS.map((group) => `2 ${group}`));
    const afterMs = sent[0]!.atMs - startMs;
    assert.ok(afterMs <= 5100, `${afterMs}`);
    times.add(Math.round(afterMs / 500));
    assert.equal(readIcmp6(sent[0]!.frame).src, LINK_LOCAL);
  }
  assert.ok(times.size > 4);
});

Deno.test("NeighborDiscovery answers a query about a group of its own, and none about others", () => {
  const world = settled();
  world.take(query({ group: GROUPS[1]! }));
  assert.deepEqual(reported(world.run(2000)), [`2 ${GROUPS[1]}`]);
  world.take(query({ group: "ff02::5", dst: ALL_NODES, dstMac: groupMacOf(ALL_NODES) }));
  assert.deepEqual(reported(world.run(12_000)), []);
  world.take(query({ withinMs: 0 }));
  world.take(query({ group: GROUPS[1]!, withinMs: 10_000 }));
  assert.deepEqual(reported(world.run(12_000)), GROUPS.map((group) => `2 ${group}`));
});

Deno.test("NeighborDiscovery answers in version 1 for 260 s after a query of version 1", () => {
  const world = settled();
  world.take(query({ isVersion1: true }));
  assert.deepEqual(reported(world.run(2000)), GROUPS.map((group) => `1 ${group}`));
  world.take(query());
  assert.deepEqual(reported(world.run(2000)), GROUPS.map((group) => `1 ${group}`));
  world.run(256_000);
  world.take(query());
  assert.deepEqual(reported(world.run(2000)), GROUPS.map((group) => `2 ${group}`));
});

Deno.test("NeighborDiscovery reports 130 groups in messages of 1,280 bytes", () => {
  const addresses = Array.from({ length: 129 }, (_, i) => `2001:db8::${(i + 1).toString(16)}`);
  const world = new World({ addresses });
  const reports = ofType(world.run(1200), 143);
  const first = reports.filter(({ atMs }) => atMs === reports[0]!.atMs);
  assert.deepEqual(first.map(({ frame }) => readIcmp6(frame).rest[3]), [60, 60, 10]);
  for (const { frame } of first) assert.ok(frame.length <= 14 + 1280);
  assert.equal(new Set(reported(first)).size, 130);
});

Deno.test("NeighborDiscovery ignores what other listeners report", () => {
  const world = settled();
  for (const type of [131, 132]) {
    const group = GROUPS[0]!;
    const frame = query({ type, group, isVersion1: true });
    assert.deepEqual(world.take(frame), []);
  }
  assert.deepEqual(world.run(5000), []);
});

// Everything

Deno.test("NeighborDiscovery survives messages with any byte changed", () => {
  const frames = [
    buildSolicitation({ target: PROXY }),
    duplicateCheck(PROXY, [1, 2, 3, 4, 5, 6]),
    buildAdvertisement({ src: CLIENT, dst: PROXY }),
    router(),
    router({ type: 133, rest: [0, 0, 0, 0], payload: [] }),
    redirect(),
    query(),
    query({ isVersion1: true, group: GROUPS[0]! }),
  ];
  const random = new SeededRandom(7);
  const world = settled({ acceptRa: true, maxNeighbors: 20 });
  const reasons = new Set<string>();
  for (let i = 0; i < 20_000; i++) {
    const frame = frames[random.uint32() % frames.length]!.slice();
    const at = 54 + random.uint32() % (frame.length - 54);
    frame[at] = random.uint32() & 255;
    // Right again, so that it is not the checksum that keeps it out.
    const at6 = frame[20] === 0 ? 62 : 54;
    const view = new DataView(frame.buffer);
    view.setUint16(at6 + 2, 0);
    const { ip, l4 } = { ip: frame.subarray(22, 54), l4: frame.subarray(at6) };
    const pseudo = [...ip, 0, 0, l4.length >> 8, l4.length & 255, 0, 0, 0, 58, ...l4];
    if (pseudo.length % 2 === 1) pseudo.push(0);
    let sum = 0;
    for (let j = 0; j < pseudo.length; j += 2) sum += pseudo[j]! * 256 + pseudo[j + 1]!;
    while (sum > 0xffff) sum = (sum >> 16) + (sum & 0xffff);
    view.setUint16(at6 + 2, ~sum & 0xffff);
    const pdu = new Pdu();
    const chain = new Chain();
    place(world.arena, frame);
    const { view: all } = world.arena;
    const isDecoded = decodeFrame(all, FRAME_OFFSET, frame.length, OWN_MAC, pdu, {
          hears: () => true,
        }) === 0 &&
      decodeIpv6(all, pdu, world.digest, chain) === 0 && decodeTransport6(all, pdu) === 0;
    if (isDecoded && isLinkMessage(pdu.icmpType)) {
      reasons.add(reasonName(world.nd.receive(pdu, chain, world.nowMs)));
    }
    takeSent(world.arena);
    if (i % 50 === 0) world.run(TICK_MS);
  }
  for (const reason of ["none", "discovery-malformed", "router-message", "redirect"]) {
    assert.ok(reasons.has(reason), `${reason}: ${[...reasons]}`);
  }
  assert.ok(world.nd.neighbors.count <= 20);
});

tsharkTest("tshark finds nothing wrong with what NeighborDiscovery sends", async () => {
  const frames: Uint8Array[] = [];
  for (const isRouter of [false, true]) {
    const world = new World({ watched: [BACKEND], acceptRa: true, isRouter });
    const keep = (sent: readonly Sent[]) => frames.push(...sent.map(({ frame }) => frame));
    keep(world.run(3000));
    frames.push(...world.take(buildSolicitation({ target: PROXY })));
    frames.push(...world.take(duplicateCheck(PROXY)));
    world.take(buildAdvertisement({ src: BACKEND, srcMac: BACKEND_MAC, dst: PROXY }));
    keep(world.run(50_000));
    world.take(query());
    keep(world.run(2000));
    world.take(query({ isVersion1: true }));
    keep(world.run(2000));
  }
  const types = new Set(frames.map((frame) => readIcmp6(frame).type));
  assert.deepEqual([...types].toSorted((a, b) => a - b), [131, 133, 135, 136, 143]);
  assert.deepEqual(await judge(frames), []);
});
