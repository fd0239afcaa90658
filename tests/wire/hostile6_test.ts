/**
 * Mutated IPv6 packets through everything that reads them: in a view that ends with the packet, so
 * that a read beyond it throws. A loop without end would never finish the test.
 */
import assert from "node:assert/strict";
import { SeededRandom } from "../../src/core/random.ts";
import { Chain, MAX_CHAIN_BYTES, SILENT, walkChain } from "../../src/wire/extension_headers.ts";
import { ICMPV6_BYTES, type, writeChecksum } from "../../src/wire/icmpv6.ts";
import { IPV6_BYTES } from "../../src/wire/ipv6.ts";
import * as mld from "../../src/wire/mld.ts";
import * as discovery from "../../src/wire/neighbor_discovery.ts";
import { address6Bytes, buildIcmp6, buildIp6, ROUTER_ALERT } from "../support/frames6.ts";

const PACKETS = 100_000;
const PADDING = [0, 0, 1, 4, 0, 0, 0, 0];
const FRAGMENT = [0, 0, 0, 1, 1, 2, 3, 4];
const SOURCE_MAC = [1, 1, 2, 0, 0, 0, 0, 0xfe];
const PREFIX = [3, 4, 64, 0xc0, ...new Array<number>(28).fill(0)];

const SEEDS = [
  buildIp6({ headers: [[0, PADDING], [60, PADDING], [43, PADDING], [44, FRAGMENT]] }, PADDING),
  buildIp6({ headers: new Array(8).fill([60, PADDING] as const), protocol: 17 }, PADDING),
  buildIp6({ headers: [[44, FRAGMENT]], protocol: 6 }, new Uint8Array(32).fill(0x50)),
  message(133, "fe80::1", "ff02::2", SOURCE_MAC),
  message(134, "fe80::1", "ff02::1", [...new Array<number>(8).fill(0), ...SOURCE_MAC, ...PREFIX]),
  message(135, "fe80::1", "ff02::1:ff00:64", [...address6Bytes("2001:db8::64"), ...SOURCE_MAC]),
  message(136, "fe80::1", "fe80::2", [...address6Bytes("2001:db8::64"), ...SOURCE_MAC]),
  message(137, "fe80::1", "fe80::2", [
    ...address6Bytes("fe80::2"),
    ...address6Bytes("2001:db8::64"),
    ...SOURCE_MAC,
  ]),
  buildIcmp6({
    type: 130,
    src: "fe80::1",
    dst: "ff02::1",
    hopLimit: 1,
    headers: [ROUTER_ALERT],
    payload: [...address6Bytes("::"), 2, 125, 0, 1, ...address6Bytes("2001:db8::1")],
  }),
].map((frame) => frame.slice(14));

Deno.test(`${PACKETS} mutated packets: no read beyond the end, no fault without a meaning`, () => {
  const random = new SeededRandom(66);
  const chain = new Chain();
  const options = new discovery.DiscoveryOptions();
  const met = { walked: 0, refused: 0, discovered: 0, queried: 0 };
  for (let i = 0; i < PACKETS; i++) {
    const { view, ip, end } = mutated(SEEDS[random.uint32() % SEEDS.length]!, random);
    const fault = walkChain(view, ip, end, chain);
    if (fault !== 0) {
      met.refused++;
      assert.ok(chain.code === SILENT || chain.pointer <= end - ip, `packet ${i}`);
      continue;
    }
    met.walked++;
    assert.ok(chain.l4 >= ip + IPV6_BYTES && chain.l4 <= end, `packet ${i}`);
    assert.ok(chain.l4 - ip - IPV6_BYTES <= MAX_CHAIN_BYTES, `packet ${i}`);
    // Half of what is mutated has a right checksum again, so that more is read of it.
    if (end - chain.l4 >= ICMPV6_BYTES && (random.uint32() & 1) === 0) {
      writeChecksum(view, ip, chain.l4, end);
    }
    if (discovery.checkDiscovery(view, ip, end, chain, options) === 0) {
      met.discovered++;
      readAll(view, chain.l4, options, end);
    }
    if (mld.checkQuery(view, ip, end, chain) === 0) {
      met.queried++;
      readQuery(view, chain.l4, end);
    }
  }
  for (const [name, count] of Object.entries(met)) assert.ok(count > 500, `${name}: ${count}`);
});

/** The packet at the end of a buffer, with a few bytes changed, or cut short, or made longer. */
function mutated(
  packet: Uint8Array,
  random: SeededRandom,
): { view: DataView; ip: number; end: number } {
  const ip = random.uint32() % 8;
  const cut = random.uint32() % 4 === 0 ? random.uint32() % (packet.length - IPV6_BYTES + 1) : 0;
  const more = random.uint32() % 8 === 0 ? random.uint32() % 40 : 0;
  const bytes = new Uint8Array(ip + packet.length - cut + more);
  bytes.set(packet.subarray(0, packet.length - cut), ip);
  for (let changes = random.uint32() % 4; changes > 0; changes--) {
    const at = ip + random.uint32() % (bytes.length - ip);
    const kinds = [random.uint32(), 0, 1, 255, bytes[at]! ^ (1 << (random.uint32() & 7))];
    bytes[at] = kinds[random.uint32() % kinds.length]!;
  }
  return { view: new DataView(bytes.buffer), ip, end: bytes.length };
}

/** Everything that an accepted message can be asked. */
function readAll(
  view: DataView,
  icmp: number,
  options: discovery.DiscoveryOptions,
  end: number,
): void {
  const { sourceMac, targetMac, nonce, nonceBytes } = options;
  for (const mac of [sourceMac, targetMac]) {
    if (mac !== 0) assert.ok(discovery.macHi(view, mac) + discovery.macLo(view, mac) < 2 ** 33);
  }
  assert.ok(nonce + nonceBytes <= end);
  const kind = type(view, icmp);
  if (kind === 135 || kind === 136) view.getInt32(discovery.targetAt(icmp) + 12);
}

function readQuery(view: DataView, icmp: number, end: number): void {
  assert.ok(mld.maxResponseMs(view, icmp, end) <= 8_387_584);
  view.getInt32(mld.groupAt(icmp) + 12);
}

function message(
  kind: number,
  src: string,
  dst: string,
  payload: readonly number[],
): Uint8Array<ArrayBuffer> {
  return buildIcmp6({ type: kind, src, dst, hopLimit: 255, rest: [0, 0, 0, 0], payload });
}
