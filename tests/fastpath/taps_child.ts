/**
 * Run by `../ffi/namespace.ts` in a network namespace of its own: `taps_child.ts twin SHIM`. Gives
 * the twins' frames to the kernel as a sender would, with vnet headers, and compares what comes:
 *
 *     frame, vnet ──▶ tapt1 ─ bridge ─▶ tapt0, where the program is ──▶ left: read here
 *                       ▲       │                │
 *     redirected: read here ◀───┴────────────────┘
 *
 * Prints how many it has compared.
 */
import assert from "node:assert/strict";
import { BpfKernel } from "../../src/bpf/kernel.ts";
import { Arena } from "../../src/core/arena.ts";
import { OFFLOAD, TapDevice } from "../../src/device/tap.ts";
import * as at from "../../src/fastpath/layout.ts";
import { fastPathOf, MEMORY } from "../../src/fastpath/program.ts";
import { readVnet, refusalOf } from "../support/nic.ts";
import { timeless } from "./timeless.ts";
import { LAYOUT, type Trial } from "./twin.ts";
import { KINDS } from "./twin_traffic.ts";

const shim = Deno.args[1]!;
const ROUNDS = 3;
/** Of Ethernet and IPv4. */
const HEADER_BYTES = 34;
const LINK = LAYOUT.at.settings / 4 + at.LINKS;

const counts = { forwarded: 0, left: 0, partial: 0, segmented: 0, long: 0 };
const kernel = new BpfKernel(shim);
const { fd, buffer } = kernel.share("twin", LAYOUT.bytes);
const bytes = new Uint8Array(buffer);
const words = new Int32Array(buffer);
const program = kernel.load("twin", fastPathOf(LAYOUT, 0).assemble({ [MEMORY]: fd }));
const [own, other] = ["tapt0", "tapt1"].map((name) =>
  TapDevice.open(name, {
    shim,
    create: false,
    hosts: [],
    offload: OFFLOAD,
    offloadRefused: (errno) => assert.fail(errno),
    spinUs: 0,
  })
) as [TapDevice, TapDevice];
kernel.attach(program, own.index());
const arena = new Arena();

for (const { name, run } of KINDS) {
  // The other link's program does the same; each way out is an interface's number.
  if (name.includes("on two")) continue;
  for (let seed = 1; seed <= ROUNDS; seed++) run({ seed, also });
}
// deno-lint-ignore no-console
console.log(JSON.stringify(counts));
Deno.exit(0);

function also({ frame, before, after, result, bytes: made }: Trial): void {
  if (!comesThrough(frame) || refusalOf(frame.bytes, frame.vnet) !== "") return;
  bytes.set(before);
  const ifindex = words[LINK + at.LINK_IFINDEX]!;
  words[LINK + at.LINK_IFINDEX] = ifindex === 0 ? 0 : own.index();
  const record = new Uint8Array([...frame.vnet, ...frame.bytes]);
  assert.ok(arena.sendCopy(record) >= 0);
  assert.equal(other.write(arena), 1);
  const isLeft = result < 0;
  const [here, there] = [received(own), received(other)];
  const told = `${frame.vnet.toHex()} ${frame.bytes.toHex()}`;
  assert.equal(there.length, isLeft ? 0 : 1, told);
  // What is left the kernel looks at again before it is read, if it is to be cut up.
  const isRefused = isLeft && here.length === 0 && frame.gsoSize > 0;
  assert.equal(here.length, isLeft && !isRefused ? 1 : 0, told);
  for (const { bytes, vnet } of [...here, ...there]) {
    assert.equal(bytes.toHex(), made.toHex());
    const [given, now] = [readVnet(frame.vnet), readVnet(vnet)];
    assert.deepEqual([now.flags & 1, now.gsoType], [given.flags & 1, given.gsoType], told);
    if (given.gsoType !== 0) assert.equal(now.gsoSize, given.gsoSize);
  }
  words[LINK + at.LINK_IFINDEX] = ifindex;
  assert.equal(timeless(bytes), timeless(after));
  if (isLeft) counts.left++;
  else {
    counts.forwarded++;
    counts.partial += Number(frame.isPartial);
    counts.segmented += Number(frame.gsoSize > 0);
    counts.long += Number(frame.bytes.length > 3500);
  }
}

/**
 * A bridge drops what comes from a group; and where there is no more data than `gso_size`, the
 * kernel has nothing to cut up.
 */
function comesThrough({ bytes, gsoSize }: Trial["frame"]): boolean {
  if (bytes.length < HEADER_BYTES || (bytes[6]! & 1) !== 0) return false;
  if (gsoSize > 0) {
    const tcpBytes = (bytes[HEADER_BYTES + 12]! >> 4) * 4;
    if (bytes.length - HEADER_BYTES - tcpBytes <= gsoSize) return false;
  }
  return bytes.subarray(6, 12).some((byte) => byte !== 0);
}

/** What has come to the device. */
function received(device: TapDevice): { bytes: Uint8Array; vnet: Uint8Array }[] {
  const into = new Arena();
  const count = device.read(into, 0);
  return Array.from({ length: Math.max(0, count) }, (_, i) => {
    const [start, length] = [into.rx[2 * i]!, into.rx[2 * i + 1]!];
    return {
      bytes: into.bytes.slice(start, start + length),
      vnet: into.bytes.slice(start - 10, start),
    };
  });
}
