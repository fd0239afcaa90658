/**
 * Mutated IPv6 packets through the proxy's own part of the way: admission, reassembly, what is said
 * about them, and echo replies. Whatever comes, what leaves must be right.
 */
import assert from "node:assert/strict";
import { Arena } from "../../src/core/arena.ts";
import { SeededRandom } from "../../src/core/random.ts";
import { HELD } from "../../src/core/reason.ts";
import { admit6, OwnAddresses6 } from "../../src/stack/admit6.ts";
import { placeStart } from "../../src/stack/datagram.ts";
import { fragments6 } from "../../src/stack/fragment_format.ts";
import { Fragmenter, leavesWhole } from "../../src/stack/fragmentation.ts";
import { IcmpErrors } from "../../src/stack/icmp.ts";
import { makeEchoReply6 } from "../../src/stack/icmp6.ts";
import { Reassembly } from "../../src/stack/reassembly.ts";
import { sendReset } from "../../src/stack/reset.ts";
import { parseAddress6 } from "../../src/wire/address6.ts";
import { decodeFrame } from "../../src/wire/decode.ts";
import { chainFaultOf, decodeIpv6, decodeTransport6 } from "../../src/wire/decode6.ts";
import { Chain } from "../../src/wire/extension_headers.ts";
import { isIcmp, isTcp, Pdu } from "../../src/wire/pdu.ts";
import { cut6, join6, readFragment6 } from "../support/fragments6.ts";
import {
  buildIcmp6,
  buildIp6,
  buildTcp6,
  buildUdp6,
  groupMacOf,
  readIcmp6,
  readIp6,
  readTcp6,
  ROUTER_ALERT,
} from "../support/frames6.ts";
import { FRAME_OFFSET, OWN_MAC, place } from "../wire/place.ts";
import { DIGEST, GROUPS } from "../wire/place6.ts";

const PACKETS = 60_000;
const MTU = 1500;
const PADDING = [0, 0, 1, 4, 0, 0, 0, 0];
const OPTION = [0, 0, 0x9e, 4, 0, 0, 0, 0];
const GROUP = { dst: "ff02::1", dstMac: groupMacOf("ff02::1") };

const SEEDS = [
  buildIcmp6(),
  buildIcmp6({ ...GROUP, headers: [ROUTER_ALERT], src: "fe80::7" }),
  buildIcmp6({ type: 1, payload: buildTcp6().slice(14) }),
  buildIcmp6({ headers: [[60, OPTION]], ...GROUP }),
  buildTcp6({ flags: "S", headers: [[0, PADDING], [60, PADDING], [43, PADDING]] }),
  buildUdp6({ payload: new Uint8Array(1400) }),
  buildIp6({ headers: new Array(8).fill([60, PADDING] as const), protocol: 17 }, PADDING),
  ...cut6(buildIcmp6({ payload: new Uint8Array(3000) }), 1000),
  ...cut6(buildIcmp6({ payload: new Uint8Array(40) }), 16, {}, 77),
  ...cut6(buildUdp6({ headers: [ROUTER_ALERT], payload: new Uint8Array(64) }), 32),
];

/** One frame's way, and what left because of it. */
class Way {
  readonly arena = new Arena();
  readonly sent: Uint8Array[] = [];
  readonly #own = new OwnAddresses6(
    OWN_MAC,
    [parseAddress6("2001:db8::64")],
    parseAddress6("fe80::ff:fe00:100"),
  );
  readonly #pdu = new Pdu();
  readonly #chain = new Chain();
  readonly #random = new SeededRandom(1);
  readonly #errors = new IcmpErrors(this.#random, 0);
  readonly #fragmenter = new Fragmenter(this.#random);
  readonly #reassembly = new Reassembly({
    dropped: () => {},
    timedOut: (start) => {
      const pdu = start === null ? null : placeStart(this.arena, start);
      if (pdu !== null) this.#errors.send6(this.arena, pdu, this.#own, 3, 1, 0, this.nowMs);
    },
  }, fragments6(this.#chain));
  nowMs = 0;

  /** What became of the frame. */
  take(frame: Uint8Array): string {
    place(this.arena, frame);
    const outcome = this.#decode(FRAME_OFFSET, frame.length) ?? this.#answer();
    this.#reassembly.expire(this.nowMs);
    this.#collect();
    return outcome;
  }

  #decode(at: number, lengthBytes: number): string | null {
    const { arena, nowMs } = this;
    const { view } = arena;
    const pdu = this.#pdu;
    pdu.flow = -1;
    if (decodeFrame(view, at, lengthBytes, OWN_MAC, pdu, GROUPS) !== 0) return "dropped";
    const result = decodeIpv6(view, pdu, DIGEST, this.#chain);
    if (chainFaultOf(result) !== 0) {
      const isTold = this.#errors.tellChainFault(arena, pdu, this.#own, this.#chain, nowMs);
      return isTold ? "told" : "dropped";
    }
    if (result !== 0 || admit6(pdu, this.#own) !== 0) return "dropped";
    if (pdu.fragment !== 0) return this.#fragment();
    return decodeTransport6(view, pdu) === 0 ? null : "dropped";
  }

  #fragment(): string | null {
    const { view } = this.arena;
    const at = this.#reassembly.add(this.arena, this.#pdu, this.nowMs);
    if (at === HELD) return "held";
    if (at < 0) return "dropped";
    const outcome = this.#decode(at, 14 + 40 + view.getUint16(at + 18));
    assert.equal(this.#pdu.fragment, 0);
    this.#pdu.fragmentBytes = this.#reassembly.longestBytes;
    return outcome;
  }

  /** Echo reply, RST, or an error. */
  #answer(): string {
    const { arena, nowMs } = this;
    const pdu = this.#pdu;
    if (isIcmp(pdu.protocol) && pdu.icmpType === 128) {
      makeEchoReply6(arena, pdu, this.#own);
      const send = (frame: number, bytes: number) => arena.send(frame, bytes) ? 0 : -1;
      if (leavesWhole(arena, pdu, MTU)) send(pdu.frame, pdu.end - pdu.frame);
      else this.#fragmenter.split(arena, pdu, MTU, send);
      return "echoed";
    }
    const isReset = isTcp(pdu.protocol) && sendReset(arena, pdu, this.#random);
    const isTold = isReset || this.#errors.send6(arena, pdu, this.#own, 1, 4, 0, nowMs);
    return isTold ? "answered" : "silent";
  }

  #collect(): void {
    const { arena } = this;
    for (let i = 0; i < arena.txCount; i++) {
      const offset = arena.tx[2 * i]!;
      this.sent.push(arena.bytes.slice(offset, offset + arena.tx[2 * i + 1]!));
    }
    arena.sent();
  }
}

/** A copy with some bytes changed, most of them in the headers; or as it is. */
function mutated(frame: Uint8Array, random: SeededRandom): Uint8Array {
  const copy = frame.slice();
  for (let changes = random.uint32() % 3; changes > 0; changes--) {
    const end = (random.uint32() & 3) !== 0 ? Math.min(copy.length, 90) : copy.length;
    const at = 14 + random.uint32() % (end - 14);
    copy[at] = (random.uint32() & 1) !== 0
      ? random.uint32()
      : copy[at]! ^ (1 << random.uint32() % 8);
  }
  return copy;
}

Deno.test(`${PACKETS} mutated packets of IPv6: what is said about them is right`, () => {
  const random = new SeededRandom(67);
  const way = new Way();
  const met: Record<string, number> = {};
  for (let i = 0; i < PACKETS; i++) {
    const outcome = way.take(mutated(SEEDS[random.uint32() % SEEDS.length]!, random));
    met[outcome] = (met[outcome] ?? 0) + 1;
    way.nowMs += 100;
    const sent = way.sent.splice(0);
    for (const frame of sent) checkSent(frame);
    const fragments = sent.filter((frame) => readIp6(frame).ip.headers.length > 0);
    if (fragments.length > 0) readIcmp6(join6(fragments));
  }
  for (const outcome of ["dropped", "told", "held", "echoed", "answered"]) {
    assert.ok((met[outcome] ?? 0) > 300, `${outcome}: ${met[outcome]}`);
  }
});

/** Readers throw for a wrong length or checksum. */
function checkSent(frame: Uint8Array): void {
  const { ip } = readIp6(frame);
  assert.deepEqual([ip.srcMac, ip.hopLimit], ["02:00:00:00:01:00", 64]);
  assert.ok(["2001:db8::64", "fe80::ff:fe00:100"].includes(ip.src), ip.src);
  assert.ok(frame.length <= 14 + MTU);
  if (ip.headers.length > 0) return void readFragment6(frame);
  if (ip.protocol === 6) {
    assert.ok(readTcp6(frame).flags.startsWith("R"));
    return;
  }
  const { payload, type } = readIcmp6(frame);
  if (type === 129) return;
  assert.ok([1, 3, 4].includes(type) && frame.length <= 14 + 1280, `type ${type}`);
  assert.equal(payload[0]! >> 4, 6);
}
