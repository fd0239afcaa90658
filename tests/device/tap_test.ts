import assert from "node:assert/strict";
import { encodeDeviceName } from "../../src/device/tap.ts";
import { scenario, whyNoTap } from "../ffi/namespace.ts";
import { which } from "../support/shell.ts";

const ignore = whyNoTap() !== undefined;
const noEthtool = ignore || await which("ethtool") === "";

Deno.test("encodeDeviceName, gives the kernel's 16 bytes with NULs at the end", () => {
  assert.equal(new TextDecoder().decode(encodeDeviceName("tap100")), "tap100".padEnd(16, "\0"));
  assert.equal(encodeDeviceName("a23456789012345")[15], 0);
});

Deno.test("encodeDeviceName, refuses what the kernel would refuse, cut or number", () => {
  for (
    const name of ["", ".", "..", "a234567890123456", "a/b", "a:b", "a b", "tap%d", "ä", "a\n"]
  ) {
    assert.throws(() => encodeDeviceName(name), {
      name: "RangeError",
      message: `Cannot use ${JSON.stringify(name)} as device name: ` +
        'must be 1 to 15 ASCII characters without space, "/", ":" or "%"',
    });
  }
});

Deno.test({ name: "TapDevice, carries the kernel's ARP and ping both ways", ignore }, () => {
  const lines = scenario("ping");
  assert.deepEqual(lines.at(-1), { arps: 1, echoes: 2, ping: 0, refused: 0 });
  for (const line of lines.slice(0, -1)) assert.deepEqual(line, { wrote: 1, left: 0 });
});

Deno.test(
  { name: "TapDevice.read, packs at most 64 frames, each record on 4 bytes", ignore },
  () => {
    const [result] = scenario("burst") as [
      { counts: number[]; lengths: number[]; aligned: boolean; packed: boolean },
    ];
    assert.equal(result.counts[0], 64);
    assert.ok(result.counts.every((count) => count <= 64));
    const wanted = [42, 43, 44, 45, 1514].flatMap((length) => Array(20).fill(length));
    assert.deepEqual(result.lengths, wanted);
    assert.ok(result.aligned);
    assert.ok(result.packed);
  },
);

Deno.test(
  { name: "TapDevice, gives errno and status through down, gone and closed", ignore },
  () => {
    const [EIO, EBADF, EBADFD] = [5, 9, 77];
    assert.deepEqual(scenario("vanish"), [
      { created: false, status: "down", mtu: 1500 },
      { downWrite: -EIO, refused: 1, errno: EIO },
      { status: "up", mtu: 1400 },
      { halfTaken: 1, refused: 2 },
      { woke: 1, status: "gone" },
      { read: -EBADFD, rxCount: 0, write: -EBADFD },
      { reopen: "ENODEV", stillNone: true },
      { reopen: null, status: "down", mtu: 1500 },
      { read: -EBADF, write: -EBADF, status: "gone" },
      { idle: 0, afterClose: -EBADF, reopen: 'Cannot attach to "tapt0": closed' },
    ]);
  },
);

Deno.test(
  { name: "TapDevice, asks for offload, and does without what is refused", ignore: noEthtool },
  () => {
    const all = [
      "tx-checksumming",
      "tx-tcp-segmentation",
      "tx-tcp-ecn-segmentation",
      "tx-tcp6-segmentation",
    ];
    assert.deepEqual(scenario("offload"), [
      { offload: 15, features: all, refusals: [] },
      { offload: 0, features: [], refusals: [] },
      { offload: 15, features: all, refusals: [] },
      { offload: 1 << 15, features: [], refusals: ["EINVAL"] },
      { reopen: null, features: [], refusals: ["EINVAL", "EINVAL"] },
    ]);
  },
);

Deno.test({ name: "TapDevice.open, makes a device that ends with it", ignore }, () => {
  assert.deepEqual(scenario("create"), [
    { created: true, exists: true, mac: 0, any: true },
    { exists: false },
  ]);
});

Deno.test({ name: "TapDevice.read and write, allocate nothing", ignore }, () => {
  assert.deepEqual(scenario("allocate nothing"), [{ bytesPerRound: 0 }]);
});
