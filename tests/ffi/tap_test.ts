import assert from "node:assert/strict";
import { errnoName, loadTap, tapError } from "../../ffi/tap.ts";
import { permitted, scenario, whyNoTap } from "./namespace.ts";

const ignore = whyNoTap() !== undefined;
const MAKE = "sudo ip tuntap add dev tapt0 mode tap user $USER";

Deno.test("errnoName, names what a device gives, negated or not", () => {
  assert.equal(errnoName(16), "EBUSY");
  assert.equal(errnoName(-77), "EBADFD");
  assert.equal(errnoName(-4000), "errno 4000");
});

Deno.test("tapError, has one line for the causes that no test machine shows", () => {
  const cases = [
    [
      tapError("node", -1, "tapt0", 0),
      'Cannot open "/dev/net/tun": EPERM, the container or sandbox forbids this device; allow it there',
    ],
    [
      tapError("node", -19, "tapt0", 0),
      `Cannot open "/dev/net/tun": ENODEV, the kernel's TUN/TAP driver is not there; ` +
      "load it with: sudo modprobe tun (in a container, pass the device in)",
    ],
    [
      tapError("node", -24, "tapt0", 0),
      'Cannot open "/dev/net/tun": EMFILE, it should be the character device 10:200',
    ],
    [
      tapError("attach", -12, "tapt0", 3),
      'Cannot attach to TAP device "tapt0": ENOMEM, the kernel refused it',
    ],
  ] as const;
  for (const [error, message] of cases) assert.equal(error.message, message);
});

Deno.test({ name: "loadTap, names a shim that is not there", ignore: !permitted }, () => {
  assert.throws(() => loadTap("/nowhere/libtap.so"), {
    message: /^Cannot load the TAP shim "\/nowhere\/libtap\.so": [^\n]+$/,
  });
});

const NO_NODE = "mount -t tmpfs none /dev/net;";
const CLOSED_NODE = `${NO_NODE} mknod -m 0 /dev/net/tun c 10 200;`;

/** Every way in which opening fails for a cause an operator can act on. */
const failures: readonly {
  name: string;
  scenario: string;
  before?: string;
  cause: string;
  message: string;
}[] = [
  {
    name: "no rights to make a device",
    scenario: "not permitted",
    cause: "EPERM",
    message: 'Cannot create TAP device "tapt0": EPERM, this needs CAP_NET_ADMIN; run as root, ' +
      `or make the device first with: ${MAKE}`,
  },
  {
    name: "another user's device",
    scenario: "not the owner",
    cause: "EPERM",
    message: 'Cannot attach to TAP device "tapt0": EPERM, it was not made for this user; ' +
      `run as root, or delete it and make it with: ${MAKE}`,
  },
  {
    name: "a multi_queue device",
    scenario: "multi_queue",
    cause: "EINVAL",
    message: 'Cannot attach to TAP device "tapt0": EINVAL, it was made with multi_queue; ' +
      `delete it and make it without, with: ${MAKE}`,
  },
  {
    name: "a TUN device",
    scenario: "tun",
    cause: "EINVAL",
    message: 'Cannot attach to TAP device "tapt0": EINVAL, it is a TUN device (layer 3); ' +
      `delete it and make a TAP device with: ${MAKE}`,
  },
  {
    name: "an interface of another kind",
    scenario: "other kind",
    cause: "EINVAL",
    message: 'Cannot attach to TAP device "tapt0": EINVAL, ' +
      "this name belongs to an interface of another kind; use another name",
  },
  {
    name: "no driver",
    scenario: "open",
    before: NO_NODE,
    cause: "ENOENT",
    message: `Cannot open "/dev/net/tun": ENOENT, the kernel's TUN/TAP driver is not there; ` +
      "load it with: sudo modprobe tun (in a container, pass the device in)",
  },
  {
    name: "a closed device node",
    scenario: "open",
    before: CLOSED_NODE,
    cause: "EACCES",
    message: 'Cannot open "/dev/net/tun": EACCES, this user may not read and write it; ' +
      "run as root, or allow it with: sudo chmod 0666 /dev/net/tun",
  },
];

for (const { name, before, cause, message, ...failure } of failures) {
  Deno.test({
    name: `TapDevice.open, says ${cause} and what to do for ${name}`,
    ignore: ignore || (before === CLOSED_NODE && Deno.uid() !== 0),
  }, () => {
    assert.deepEqual(scenario(failure.scenario, before), [{ message, cause }]);
  });
}

Deno.test({ name: "TapDevice.open, says EBUSY and which process holds the device", ignore }, () => {
  const [error, holder] = scenario("busy") as [{ message: string; cause: string }, unknown];
  const { pid, name } = holder as { pid: number; name: string };
  assert.deepEqual(error, {
    message:
      `Cannot attach to TAP device "tapt0": EBUSY, process ${pid} (${name}) is attached to it; ` +
      "stop it or use another device",
    cause: "EBUSY",
  });
});

Deno.test("tapError, EBUSY without a process that can be found", () => {
  assert.equal(
    tapError("attach", -16, "tapt0", 3).message,
    'Cannot attach to TAP device "tapt0": EBUSY, another process is attached to it; ' +
      "stop that process or use another device",
  );
});

Deno.test(
  { name: "TapDevice.open, gives the kernel's end addresses of both families", ignore },
  () => {
    const end = { status: "up", addresses: ["192.0.2.1/24", "2001:db8::1/64"] };
    assert.deepEqual(scenario("hosts"), [end, end]);
  },
);

Deno.test({ name: "TapDevice.open, without create never makes a device", ignore }, () => {
  assert.deepEqual(scenario("never created"), [
    {
      message: 'Cannot attach to TAP device "tapt0": ENODEV, there is no such device; ' +
        `make it with: ${MAKE}`,
      cause: "ENODEV",
    },
    { exists: false },
  ]);
});

Deno.test({ name: "TapDevice.open, takes over a descriptor that was kept", ignore }, () => {
  const [sorted, reading, { features }, end] = scenario("taken over") as [
    unknown,
    { frames: number },
    { features: string[] },
    unknown,
  ];
  assert.deepEqual(sorted, { taken: true, closed: 0 });
  assert.deepEqual(reading, { created: false, status: "up", frames: reading.frames, wrote: 1 });
  assert.ok(reading.frames > 0, "what came meanwhile has waited");
  assert.deepEqual(features, [], "the offloads are asked for anew");
  assert.deepEqual(end, { exists: false, read: -9 }, "the descriptor was the same one");
});

Deno.test(
  { name: "sortDescriptors, takes nothing but the device as --net means it", ignore },
  () => {
    const closed = { taken: 0, closed: true };
    assert.deepEqual(scenario("not taken over"), [
      { another: closed },
      { withoutVnetHeader: closed },
      { multiQueue: closed },
      { tun: closed },
      { deleted: closed },
      { elsewhere: closed },
      { left: false, standardInput: { taken: 0, closed: false } },
    ]);
  },
);
