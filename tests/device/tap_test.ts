import assert from "node:assert/strict";
import { encodeDeviceName } from "../../src/device/device_name.ts";
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
      message: new RegExp(`^Cannot use "${RegExp.escape(name)}" as device name: expected `),
    });
  }
});

Deno.test({ name: "TapDevice, carries the kernel's ARP and ping both ways", ignore }, () => {
  const lines = scenario("ping");
  assert.deepEqual(lines.at(-1), { arps: 1, echoes: 2, ping: 0, refused: 0 });
  // A burst that is read late holds two requests.
  const writes = lines.slice(0, -1) as { wrote: number; left: number }[];
  assert.equal(writes.reduce((sum, { wrote }) => sum + wrote, 0), 3);
  assert.ok(writes.every(({ left }) => left === 0));
});

Deno.test(
  {
    name: "TapDevice.read, asks for twice as many frames while more wait, not too many bytes",
    ignore,
  },
  () => {
    assert.deepEqual(scenario("burst"), [
      {
        counts: [1, 2, 4, 8, 16, 32, 37],
        lengths: [42, 43, 44, 45, 1514].flatMap((length) => Array(20).fill(length)),
        inSlots: true,
      },
      // 256 KiB of 60,042 bytes each: five.
      { counts: [1, 2, 4, 5, 5, 3], lengths: Array(20).fill(60_042), inSlots: true },
    ]);
  },
);

Deno.test({ name: "TapDevice, reads and writes bursts without io_uring", ignore }, () => {
  assert.deepEqual(scenario("burst without a ring"), [
    { counts: [1, 2, 4, 3], lengths: Array(10).fill(42), inSlots: true, wrote: 3 },
  ]);
});

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
