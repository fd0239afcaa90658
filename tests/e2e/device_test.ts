/**
 * What happens to the proxy when its TAP device is missing, deleted or taken down, or not for it.
 */
import assert from "node:assert/strict";
import type { Background } from "../support/shell.ts";
import { type Host, Lab } from "../lab/lab.ts";
import { connectPeer, startEcho } from "../lab/peer.ts";
import { lastSummary, proxyCommand, startProxy, usualOptions } from "../lab/proxy.ts";
import { labTests, type Needs } from "../lab/suite.ts";
import { bridged, proxyAddress, tap, tapCommands, type Topology } from "../lab/topology.ts";
import { addTwins, twinOf, twinOptions } from "../lab/twins.ts";

const labTest = await labTests("ping", "setpriv");
const proxy6 = twinOf(proxyAddress);

labTest("proxy waits for a device that was deleted or taken down, then goes on", async () => {
  await using topology = await bridged("on the bridge");
  await addTwins(topology.lab);
  const { host } = topology;
  const proxy = await startProxy(host, twinOptions(usualOptions));
  await answersAgain(topology);
  await answersAgain(topology, proxy6);

  await host.script(`ip link set ${tap} down`);
  await proxy.waitFor(`warning: ${tap} is down: waiting for 'ip link set ${tap} up'`);
  await host.script(`ip link set ${tap} up`);
  await proxy.waitFor(`${tap} is up`);
  await answersAgain(topology);
  await isTriedAgain(proxy, 2);
  await answersAgain(topology, proxy6);

  await host.script(`ip link del ${tap}`);
  await proxy.waitFor(`warning: ${tap} is gone: waiting for a TAP device of that name`);
  // Never created by the proxy, however long it takes.
  await proxy.ended(1500);
  assert.notEqual((await host.run(["ip", "link", "show", "dev", tap])).code, 0);
  await host.script(`ip tuntap add dev ${tap} mode tun`);
  await until(() => proxy.stderr.includes(`"${tap}": EINVAL, it is a TUN device (layer 3)`));
  await host.script(`ip link del ${tap}`);
  const seenBefore = proxy.stderr.length;
  await host.script(tapCommands);
  await until(() => proxy.stderr.slice(seenBefore).includes(`${tap} is up`));
  await answersAgain(topology);
  await isTriedAgain(proxy, 3);
  await answersAgain(topology, proxy6);

  // Gone again, and ended while it waits.
  const timesGone = () => proxy.stderr.split(`${tap} is gone`).length;
  const goneBefore = timesGone();
  await host.script(`ip link del ${tap}`);
  await until(() => timesGone() > goneBefore);
  const { code, timedOut, stdout } = await proxy.stop();
  assert.deepEqual({ code, timedOut }, { code: 0, timedOut: false });
  assert.match(lastSummary(stdout), /Echo_reply 6/);
});

labTest(
  "proxy sees each of five times that its device comes up for less than a second",
  async () => {
    await using topology = await bridged("on the bridge");
    const { host } = topology;
    const proxy = await startProxy(host);
    await host.script(`ip link set ${tap} down`);
    for (let time = 1; time <= 5; time++) {
      await until(() => proxy.stderr.split(`${tap} is down`).length > time);
      await host.script(`ip link set ${tap} up; sleep 0.4; ip link set ${tap} down`);
      assert.equal(proxy.stderr.split(`${tap} is up`).length - 1, time);
    }
    await proxy.stop();
  },
);

labTest(
  "proxy creates a device that is missing at start, and tells how to bring it up",
  async () => {
    await using lab = await Lab.make();
    const host = await lab.host("host");
    const proxy = host.start(proxyCommand());
    await proxy.waitFor(`${tap} did not exist and was created`, 20_000);
    const [, commands] = await proxy.waitFor(/to bring it up: (.+)\n/);
    await proxy.waitFor(`${tap} is down`);
    await host.script(commands!.replace("ADDRESS", "192.168.0.254"));
    await proxy.waitFor(`${tap} is up`);
    const { stdout } = await host.run(["ping", "-c", "2", "-i", "0.2", "-W", "1", proxyAddress]);
    assert.match(stdout, /icmp_seq=2 ttl=64/);
    assert.equal((await proxy.stop()).code, 0);
    assert.notEqual((await host.run(["ip", "link", "show", "dev", tap])).code, 0);
  },
);

labTest(
  "proxy with --host-ipv4 and --host-ipv6 needs no ip commands, on either side, also for a device " +
    "that returns if it has kept its privileges",
  async () => {
    await using lab = await Lab.make();
    const host = await hostOfBoth(lab);
    const backends = ["10.0.0.2", twinOf("10.0.0.2")];
    const proxy = host.start(proxyCommand([
      ...twinOptions(["--net=tap100", "--dst-addrs=10.0.0.2"]),
      ...["--net-b=tap101", "--ipv4-b=10.0.0.1/24", `--ipv6-b=${twinOf("10.0.0.1")}/64`],
      ...["--host-ipv4=192.168.0.254/24", `--host-ipv6=${host6}/64`],
      ...["--host-ipv4-b=10.0.0.2/24", `--host-ipv6-b=${backends[1]}/64`, "--sandbox=off"],
    ]));
    await proxy.waitFor(`tap100 was created and is up with 192.168.0.254/24, ${host6}/64`, 20_000);
    await proxy.waitFor(`tap101 was created and is up with 10.0.0.2/24, ${backends[1]}/64`);
    const areServed = async () => {
      for (const [i, address] of [proxyAddress, proxy6].entries()) {
        const report = await connectPeer(host, address, 2000, 5, 10_000);
        assert.deepEqual(report, { byBackend: { [backends[i]!]: 5 }, failures: [] });
      }
    };
    for (const address of backends) {
      await proxy.waitFor(`backend ${address} is at `);
      await startEcho(host, address, 2000);
    }
    await isTriedAgain(proxy, 1);
    await areServed();

    await host.script("ip link del tap100");
    await proxy.waitFor("warning: tap100 is gone");
    await host.script("ip tuntap add dev tap100 mode tap");
    await proxy.waitFor("tap100 is up\n");
    await isTriedAgain(proxy, 2);
    // The kernel asks who has its address, too, and takes another until it knows.
    await until(async () => await host.must(["ip", "-6", "addr", "show", "tentative"]) === "");
    await areServed();
    assert.equal((await proxy.stop()).code, 0);
  },
);

labTest(
  "proxy without privileges leaves the address of a device that returns to others",
  async () => {
    await using lab = await Lab.make();
    const host = await hostOfBoth(lab);
    const proxy = host.start(proxyCommand([
      ...twinOptions(["--net=tap100", "--dst-addrs=192.168.0.1"]),
      ...["--host-ipv4=192.168.0.254/24", `--host-ipv6=${host6}/64`],
    ]));
    await proxy.waitFor(`tap100 was created and is up with 192.168.0.254/24, ${host6}/64`, 20_000);
    await proxy.waitFor("sandbox: on: ");
    await host.script("ip link del tap100");
    await proxy.waitFor("warning: tap100 is gone");
    await host.script("ip tuntap add dev tap100 mode tap");
    const warnings = [4, 6].map((family) =>
      `warning: tap100 is new, and does not get the address of --host-ipv${family}: EPERM\n`
    );
    for (const warning of warnings) await proxy.waitFor(warning);
    await proxy.waitFor("tap100 is down");
    await host.script("ip addr add 192.168.0.254/24 dev tap100; ip link set tap100 up");
    await proxy.waitFor("tap100 is up\n");
    const pings = await host.must(["ping", "-c", "2", "-i", "0.2", "-W", "1", proxyAddress]);
    assert.match(pings, /1 received/, "the other one was dropped in turn");
    for (const warning of warnings) assert.equal(proxy.stderr.split(warning).length, 2, "once");
    assert.equal((await proxy.stop()).code, 0);
  },
);

const host6 = twinOf("192.168.0.254");

/** A host whose devices have IPv6 as soon as they are made. */
async function hostOfBoth(lab: Lab): Promise<Host> {
  const host = await lab.host("host");
  await host.script("echo 0 > /proc/sys/net/ipv6/conf/all/disable_ipv6");
  return host;
}

const withoutRight = ["setpriv", "--bounding-set=-net_admin", "--inh-caps=-net_admin"];

interface ErrorCase {
  readonly name: string;
  /** Shell lines run in the host first. */
  readonly before: string;
  /** Words in front of the proxy's own. */
  readonly through?: readonly string[];
  readonly needs?: Needs;
  /** Flags beside the usual ones. */
  readonly options?: readonly string[];
  readonly says: RegExp;
}

const errorCases: readonly ErrorCase[] = [
  {
    name: "EPERM, creating",
    before: "",
    through: withoutRight,
    says: /^error: Cannot create TAP device "tap100": EPERM, .*CAP_NET_ADMIN.*\n$/,
  },
  {
    name: "EPERM, another user's device",
    before: `ip tuntap add dev ${tap} mode tap user 4242`,
    through: withoutRight,
    needs: { otherUsers: true },
    says: /^error: Cannot attach to TAP device "tap100": EPERM, .*user.*\n$/,
  },
  {
    name: "EINVAL, a multi-queue device",
    before: `ip tuntap add dev ${tap} mode tap multi_queue`,
    says: /^error: Cannot attach to TAP device "tap100": EINVAL, .*multi_queue.*\n$/,
  },
  {
    name: "EINVAL, a TUN device",
    before: `ip tuntap add dev ${tap} mode tun`,
    says: /^error: Cannot attach to TAP device "tap100": EINVAL, .*TUN device.*\n$/,
  },
  {
    name: "EINVAL, an interface of another kind",
    before: `ip link add ${tap} type bridge`,
    says: /^error: Cannot attach to TAP device "tap100": EINVAL, .*another kind.*\n$/,
  },
  {
    name: "ENOENT, no /dev/net/tun",
    before: "",
    through: ["unshare", "--mount", "sh", "-ec", 'mount -t tmpfs none /dev/net; exec "$0" "$@"'],
    says: /^error: Cannot open "\/dev\/net\/tun": ENOENT, .*modprobe tun.*\n$/,
  },
  {
    name: "EPERM, an address for the host's end",
    before: `ip tuntap add dev ${tap} mode tap user 0`,
    through: withoutRight,
    options: ["--host-ipv4=192.168.0.254/24"],
    says:
      /^error: Cannot give TAP device "tap100" the address 192\.168\.0\.254\/24: EPERM, .*ip addr add.*\n$/,
  },
  {
    name: "EPERM, an IPv6 address for the host's end",
    before: `ip tuntap add dev ${tap} mode tap user 0`,
    through: withoutRight,
    options: [`--ipv6=${proxy6}/64`, `--host-ipv6=${host6}/64`],
    says:
      /^error: Cannot give TAP device "tap100" the address 2001:db8:c0a8::fe\/64: EPERM, .*ip addr add.*\n$/,
  },
  {
    name: "EACCES, an IPv6 address where IPv6 is off",
    before: "",
    options: [`--ipv6=${proxy6}/64`, `--host-ipv6=${host6}/64`],
    says:
      /^error: Cannot give TAP device "tap100" the address 2001:db8:c0a8::fe\/64: EACCES, .*\n$/,
  },
];

for (const { name, before, through = [], needs, options = [], says } of errorCases) {
  labTest(`proxy, device error ${name}: one clear line and exit code 1`, async () => {
    await using lab = await Lab.make();
    const host = await lab.host("host");
    await host.script(before || "true");
    const { code, stdout, stderr } = await host.run([
      ...through,
      ...proxyCommand([...usualOptions, ...options]),
    ]);
    assert.match(stderr, says);
    assert.deepEqual({ code, stdout }, { code: 1, stdout: "" });
  }, needs);
}

labTest(
  "proxy, device error EBUSY: a second proxy on the device says so, the first goes on",
  async () => {
    await using topology = await bridged("on the bridge");
    await using first = await startProxy(topology.host);
    const second = await topology.host.run(proxyCommand());
    assert.match(
      second.stderr,
      /^error: Cannot attach to TAP device "tap100": EBUSY, process \d+ \(\w+\) is attached to it; .*\n$/,
    );
    assert.equal(second.code, 1);
    await answersAgain(topology);
    assert.equal((await first.stop()).code, 0);
  },
);

labTest("proxy, wrong usage: one line and exit code 2, before any device is touched", async () => {
  await using lab = await Lab.make();
  const host = await lab.host("host");
  for (const options of [[], ["--net=tap100"], [...usualOptions, "--ports=70000"]]) {
    const { code, stdout, stderr } = await host.run(proxyCommand(options));
    assert.deepEqual({ code, stdout }, { code: 2, stdout: "" });
    assert.match(stderr, /^[^\n]+\n$/);
  }
});

/** Two pings, the second answered: a proxy that has answered an even number of them so far. */
async function answersAgain({ client }: Topology, address = proxyAddress): Promise<void> {
  const { stdout } = await client.run(["ping", "-c", "2", "-i", "0.2", "-W", "1", address]);
  assert.match(stdout, /2 packets transmitted, 1 received/);
  assert.match(stdout, /icmp_seq=2 ttl=64/);
}

/** Nobody else has the proxy's address of IPv6: so it has found that many times. */
async function isTriedAgain(proxy: Background, times: number): Promise<void> {
  await until(() => proxy.stderr.split(`${proxy6} is free`).length > times);
}

async function until(holds: () => boolean | Promise<boolean>): Promise<void> {
  const deadline = performance.now() + 10_000;
  while (!await holds()) {
    assert.ok(performance.now() < deadline, `not within 10 s: ${holds}`);
    await new Promise((resolve) => setTimeout(resolve, 20));
  }
}
