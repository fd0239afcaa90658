/**
 * `deno task screenshots [FOLDER] [SECONDS]`: pictures of the dashboard in a folder, of
 * `/tmp/treegate-screenshots` unless told otherwise: `busy`, in `light` and `dark` and on a `phone`
 * after so many seconds of traffic of both families, of 100 unless told otherwise, then `idle` and
 * `lost`. README's picture is `busy`.
 */
import { startPaced } from "../lab/paced.ts";
import { startEcho } from "../lab/peer.ts";
import { SteadyConnections } from "../lab/steady.ts";
import { backendAddresses, proxyAddress, type Topology } from "../lab/topology.ts";
import { addTwins, twinOf } from "../lab/twins.ts";
import { ADMIN, WatchedPage } from "../page/watched_page.ts";

const POLICY = `default drop
ip.src in $dst-addrs -> translate-b-to-a, forward "answers"
icmp
  echo-request -> in turn: drop "every other ping" | track, echo
tcp
  tcp.dport = 80   -> drop "naive http"
  tcp.dport = 2001 -> translate-a-to-b, forward "web"
  otherwise        -> reject "no such service"
`;

/** For the pictures under traffic. */
const END_SECONDS = 20;

const SIZE = { width: 1440, height: 1080 };

async function take(folder: string, seconds: number): Promise<void> {
  await Deno.mkdir(folder, { recursive: true });
  await using watched = await WatchedPage.start(
    POLICY,
    `--ipv6=${twinOf(proxyAddress)}/64`,
    `--dst-addrs=${[...backendAddresses, ...backendAddresses.map(twinOf)].join(",")}`,
    "--check=tcp 2001, interval 1s",
  );
  const { topology, browser, proxy } = watched;
  await addTwins(topology.lab);
  for (const { address, host } of topology.backends) {
    for (const one of [address, twinOf(address)]) await startEcho(host, one, 2001);
  }
  const page = await browser.newPage({ viewport: SIZE });
  await page.goto(`http://${ADMIN}/`);
  await page.waitForSelector('.mark[data-state="up"] >> nth=5'); // by their checks
  const picture = async (name: string, isWhole = false) => {
    await page.waitForTimeout(1500); // the next event
    const path = `${folder}/${name}.png`;
    const { length } = await page.screenshot({ path, fullPage: isWhole });
    say(`${path}: ${Math.round(length / 1000)} kB`);
  };

  const pings = [proxyAddress, twinOf(proxyAddress)].map((address) =>
    topology.client.start(["ping", "-q", "-i", "0.04", address])
  );
  await makeTraffic(topology, 1000 * seconds, async () => {
    await page.emulateMedia({ colorScheme: "light" });
    await picture("busy");
    await page.click('.box:has-text("echo-request")');
    await picture("drawer");
    await page.keyboard.press("Escape");
    await page.emulateMedia({ colorScheme: "dark" });
    await picture("dark");
    await page.setViewportSize({ width: 360, height: 740 });
    await page.emulateMedia({ colorScheme: "light" });
    await picture("phone", true);
    await page.setViewportSize(SIZE);
    await picture("light");
  });
  for (const each of pings) await each.stop("SIGINT");
  await page.waitForSelector('#state[data-kind="idle"]', { timeout: 120_000 });
  await picture("idle");
  await proxy.stop();
  await page.waitForSelector('#state[data-kind="lost"]');
  await picture("lost");
}

/** Connections, of which one backend stops to take any; `end` is called while they go on. */
async function makeTraffic(
  { client, backends }: Topology,
  ms: number,
  end: () => Promise<void>,
): Promise<void> {
  const seconds = Math.ceil(ms / 1000) + END_SECONDS;
  const addresses = [proxyAddress, twinOf(proxyAddress)];
  const steady = await Promise.all(
    addresses.map((address) => SteadyConnections.open(client, address, 2001, 6)),
  );
  for (const perSecond of [8, 20, 12]) {
    const opened = addresses.map((address) =>
      startPaced(client, address, 2001, perSecond, seconds)
    );
    await new Promise((resolve) => setTimeout(resolve, ms / 4));
    await Promise.all(opened);
    for (const address of addresses) {
      void client.run(["nc", "-z", "-w", "5", address, "80"]);
      await client.run(["nc", "-z", "-w", "1", address, "90"]);
    }
  }
  await backends[2]!.host.script("ip link set eth0 down");
  await new Promise((resolve) => setTimeout(resolve, ms / 4));
  await end();
  for (const each of steady) await each.stop();
}

function say(line: string): void {
  Deno.stdout.writeSync(new TextEncoder().encode(`${line}\n`));
}

if (import.meta.main) {
  const [folder = "/tmp/treegate-screenshots", seconds = "100"] = Deno.args;
  if (!(Number(seconds) >= 4 && Number(seconds) <= 900)) {
    throw new RangeError(`Cannot take pictures after "${seconds}" seconds: expected 4 to 900`);
  }
  await take(folder, Number(seconds));
}
