/**
 * A restart under load, of both families at once: what --state keeps, with and without a supervisor
 * that keeps the device.
 */
import assert from "node:assert/strict";
import { IPV4, IPV6 } from "../lab/families.ts";
import { startEcho } from "../lab/peer.ts";
import type { Background } from "../support/shell.ts";
import { lastSummary, proxyCommand, startProxy, usualOptions } from "../lab/proxy.ts";
import { SteadyConnections } from "../lab/steady.ts";
import { labTests } from "../lab/suite.ts";
import { Supervised } from "../lab/supervisor.ts";
import { backendAddresses, bridged, proxyAddress, type Topology } from "../lab/topology.ts";
import { addTwins, twinOptions } from "../lab/twins.ts";

const mayAsk = await Deno.permissions.query({ name: "env", variable: "SOAK" });
/** With SOAK=true more of everything. */
const isSoak = mayAsk.state === "granted" && Deno.env.get("SOAK") === "true";

const FAMILIES = [IPV4, IPV6];
/** Of each family. */
const CONNECTIONS = 20;
const DOWNLOADS = isSoak ? 4 : 2;
const DOWNLOAD_MB = isSoak ? 120 : 20;
const RESTARTS = isSoak ? 10 : 2;
const PINGS = isSoak ? 1200 : 300;
/** Between two reads of a download, 64 KiB each. */
const PAUSE_MS = 10;

const labTest = await labTests("sha256sum", "cc", "ping");

const OWN = FAMILIES.map(({ of }) => of(proxyAddress));
const BACKENDS = FAMILIES.flatMap(({ of }) => backendAddresses.map(of));
const bothOptions = twinOptions(usualOptions);

/**
 * Serves the same random bytes on port 3000 of each backend, and echoes on port 2000, in both
 * families; their checksum.
 */
async function serve({ lab, backends }: Topology): Promise<string> {
  await addTwins(lab);
  const file = `${lab.folder}/download`;
  await lab.must(["sh", "-ec", `head -c ${DOWNLOAD_MB}M /dev/urandom > ${file}`]);
  for (const { address, host } of backends) {
    for (const { of } of FAMILIES) await startEcho(host, of(address), 2000);
    const program = `
      const serve = async (hostname) => {
        for await (const connection of Deno.listen({ hostname, port: 3000 })) {
          const file = await Deno.open("${file}");
          file.readable.pipeTo(connection.writable).catch(() => {});
        }
      };
      ${JSON.stringify(FAMILIES.map(({ of }) => of(address)))}.forEach(serve);
      console.log("listening");`;
    const server = host.start([Deno.execPath(), "eval", program]);
    await server.waitFor("listening");
  }
  const [sum] = (await lab.must(["sha256sum", file])).split(" ");
  return sum!;
}

/**
 * Starts downloads, all in one process, that take longer than a restart: it prints their checksums.
 */
async function download({ client }: Topology): Promise<Background> {
  const program = `
    const sum = async (_, i) => {
      const hostname = ${JSON.stringify(OWN)}[i % 2];
      const connection = await Deno.connect({ hostname, port: 3000 });
      const parts = [];
      for await (const part of connection.readable) {
        if (parts.length === 0) console.log("begun");
        parts.push(part);
        await new Promise((resolve) => setTimeout(resolve, ${PAUSE_MS}));
      }
      const digest = await crypto.subtle.digest("SHA-256", await new Blob(parts).arrayBuffer());
      return new Uint8Array(digest).toHex();
    };
    console.log((await Promise.all(Array.from({ length: ${2 * DOWNLOADS} }, sum))).join(" "));`;
  const downloads = client.start([Deno.execPath(), "eval", program]);
  await downloads.waitFor(new RegExp(`(begun\n){${2 * DOWNLOADS}}`));
  return downloads;
}

/** Connections of both families. */
function openBoth({ client }: Topology): Promise<SteadyConnections[]> {
  return Promise.all(OWN.map((own) => SteadyConnections.open(client, own, 2000, CONNECTIONS)));
}

/** Throws unless none of them has failed and each goes on. */
async function areUnbroken(steady: readonly SteadyConnections[]): Promise<void> {
  await Promise.all(steady.map((one) => one.isUnbroken()));
}

/** A policy file as the built-in one, but for the answer to every ping. */
async function answerAllPings(folder: string): Promise<string> {
  const file = `${folder}/policy`;
  await Deno.writeTextFile(
    file,
    "default drop\nicmp and echo-request -> echo\n" +
      "not ip.src in $dst-addrs -> translate-a-to-b, forward\n" +
      "otherwise -> translate-b-to-a, forward\n",
  );
  return file;
}

labTest(
  "proxy with --state, stopped and started again under load, loses no connection of either family",
  async () => {
    await using topology = await bridged("behind a port");
    const { lab, host } = topology;
    const sum = await serve(topology);
    const state = `${lab.folder}/state`;
    const options = [...bothOptions, `--state=${state}`, "--trace=off"];
    let proxy = await startProxy(host, options, BACKENDS);
    const steady = await openBoth(topology);
    const downloads = await download(topology);
    for (let restart = 1; restart <= RESTARTS; restart++) {
      const signal = restart % 2 === 0 ? "SIGINT" : "SIGTERM";
      const { code, stderr } = await proxy.stop(signal);
      assert.equal(code, 0);
      assert.match(stderr, / info: \d+ connections saved to "[^"]+\/state"$/m);
      assert.equal((await Deno.stat(state)).mode! & 0o777, 0o600);
      proxy = host.start(proxyCommand(options));
      const [, taken] = await proxy.waitFor(/ went on from ".+": (\d+) connections, /, 20_000);
      await proxy.waitFor(`${OWN[1]} goes on being used`);
      assert.ok(Number(taken) >= 2 * (CONNECTIONS + DOWNLOADS));
      await areUnbroken(steady);
      assert.ok(!proxy.stderr.includes("Cannot"), proxy.stderr);
    }
    assert.ok(await downloads.ended(180_000), "downloads end");
    assert.ok(
      (await downloads.result()).stdout.endsWith(`\n${Array(2 * DOWNLOADS).fill(sum).join(" ")}\n`),
    );
    const { stdout } = await proxy.stop();
    // Counters go on, too: every connection was opened by the first run.
    const opened = [...lastSummary(stdout).matchAll(/connections: (\d+) opened/g)];
    const all = opened.reduce((total, [, count]) => total + Number(count), 0);
    assert.equal(all, 2 * (CONNECTIONS + DOWNLOADS));
  },
);

labTest("proxy with --state, takes nothing from a file that is not its own", async () => {
  await using topology = await bridged("on the bridge");
  const { lab, host } = topology;
  const options = [...usualOptions, `--state=${lab.folder}/state`];
  await Deno.writeTextFile(`${lab.folder}/state`, "treegate, but not really\n");
  const proxy = await startProxy(host, options);
  await proxy.waitFor(
    /warning: Cannot go on from ".+": it is cut short or damaged; starting without/,
  );
  assert.equal((await proxy.stop()).code, 0);
  // A start that fails leaves the state to the next one.
  const failed = await host.run(proxyCommand([...options, "--control=/nowhere/s"]));
  assert.equal(failed.code, 1);
  const next = await startProxy(host, options);
  await next.waitFor(" went on from ");
  assert.equal((await next.stop()).code, 0);
});

labTest(
  "proxy whose device a supervisor keeps, started again under load, loses nothing",
  async () => {
    // Segments as their senders leave them: in packets of 1,500 bytes downloads alone would fill
    // the device's queue.
    await using topology = await bridged("behind a port", "nobody");
    const { lab, host, client } = topology;
    const sum = await serve(topology);
    const policy = await answerAllPings(lab.folder);
    const options = [`--state=${lab.folder}/state`, "--trace=off", `--policy=${policy}`];
    const supervisor = await Supervised.start(host, "abstract", [...bothOptions, ...options]);
    const steady = await openBoth(topology);
    const downloads = await download(topology);
    const ping = ["ping", "-i", "0.02", "-c", `${PINGS}`, "-W", "20"];
    const pings = OWN.map((own) => client.start([...ping, own]));
    for (let restart = 1; restart <= RESTARTS; restart++) {
      const log = await supervisor.restart("SIGUSR1", / info: went on from /);
      assert.match(log, /^notify: STOPPING=1$/m);
      assert.match(log, / info: \d+ connections saved to /);
      assert.match(log, / info: tap100 is taken over as the last run left it$/m);
      assert.match(log, / info: went on from "[^"]+": 4\d connections, /);
      await areUnbroken(steady);
    }
    for (const one of pings) {
      assert.ok(await one.ended(180_000), "pings end");
      assert.match(
        (await one.result()).stdout,
        new RegExp(`${PINGS} packets transmitted, ${PINGS} received, 0% packet loss`),
      );
    }
    assert.ok(await downloads.ended(180_000), "downloads end");
    assert.ok(
      (await downloads.result()).stdout.endsWith(`\n${Array(2 * DOWNLOADS).fill(sum).join(" ")}\n`),
    );

    // A reload is told, too.
    supervisor.program.signal("SIGHUP");
    await supervisor.program.waitFor(
      /notify: RELOADING=1 MONOTONIC_USEC=\d+\n[^]*notify: READY=1\n/,
    );
    assert.equal((await supervisor.program.stop()).code, 0);
  },
);

labTest(
  "proxy, told to upgrade, ends for the supervisor to start the new file, and loses nothing",
  async () => {
    await using topology = await bridged("behind a port", "nobody");
    const { lab, host, client } = topology;
    await serve(topology);
    const folder = `${lab.folder}/control`;
    await Deno.mkdir(folder, { mode: 0o700 });
    const control = `--control=${folder}/s`;
    const ctl = (...words: string[]) => host.run(proxyCommand(["ctl", control, ...words]));
    const file = `${lab.folder}/proxy`;
    const install = async (...options: string[]) => {
      const words = proxyCommand([...bothOptions, ...options]).map((word) => `'${word}'`);
      await Deno.writeTextFile(`${file}.new`, `#!/bin/sh\nexec ${words.join(" ")} "$@"\n`);
      await Deno.chmod(`${file}.new`, 0o755);
      await Deno.rename(`${file}.new`, file);
    };
    const options = ["--trace=off", control, `--policy=${await answerAllPings(lab.folder)}`];
    await install(...options);
    const supervisor = await Supervised.start(host, "abstract", [], [
      file,
      `--state=${lab.folder}/state`,
    ]);
    await supervisor.program.waitFor("control socket");
    const steady = await openBoth(topology);
    const pings = client.start(["ping", "-i", "0.02", "-c", "200", "-W", "20", proxyAddress]);

    await install(...options, "--max-conn=99999");
    const { stdout, stderr } = supervisor.program;
    const answer = await ctl("upgrade");
    assert.deepEqual([answer.code, answer.stderr], [0, ""]);
    assert.equal(
      answer.stdout,
      "the proxy saves its state and ends; its supervisor starts the new one\n",
    );
    const log = await supervisor.restarted(
      stdout.length,
      stderr.length,
      / info: went on from "[^"]+": 40 connections, /, // the last step of a start
    );
    assert.match(log, /^notify: STOPPING=1$/m);
    assert.match(log, / info: 40 connections saved to /);
    await areUnbroken(steady);
    assert.match((await ctl("status")).stdout, /99,?999/);
    assert.ok(await pings.ended(180_000), "pings end");
    assert.match((await pings.result()).stdout, / 200 received, 0% packet loss/);
    assert.equal((await supervisor.program.stop()).code, 0);
  },
);

labTest("proxy, told to upgrade without --state or a supervisor, says so and goes on", async () => {
  await using topology = await bridged("on the bridge");
  const { lab, host } = topology;
  const folder = `${lab.folder}/control`;
  await Deno.mkdir(folder, { mode: 0o700 });
  const control = `--control=${folder}/s`;
  const options = [...usualOptions, control, "--trace=off"];
  const refused = async (reason: string) => {
    const { code, stdout, stderr } = await host.run(proxyCommand(["ctl", control, "upgrade"]));
    assert.deepEqual([code, stdout], [1, ""]);
    assert.ok(stderr.startsWith(`error: The proxy goes on: ${reason}`), stderr);
    const status = await host.run(proxyCommand(["ctl", control, "status"]));
    assert.equal(status.code, 0);
  };
  const alone = await startProxy(host, [...options, `--state=${lab.folder}/state`]);
  await alone.waitFor("control socket");
  await refused("no supervisor that it can tell has started it ($NOTIFY_SOCKET)");
  assert.equal((await alone.stop()).code, 0);
  const supervisor = await Supervised.start(host, "path", options);
  await supervisor.program.waitFor("control socket");
  await refused("it was started without --state");
  assert.equal(supervisor.program.stdout.match(/READY=1/g)!.length, 1);
  assert.equal((await supervisor.program.stop()).code, 0);
});

labTest(
  "proxy, killed under a supervisor, finds its device and the frames that came meanwhile",
  async () => {
    await using topology = await bridged("behind a port");
    const { host, client } = topology;
    const supervisor = await Supervised.start(host, "path", [...usualOptions, "--trace=off"]);
    const pings = client.start(["ping", "-i", "0.05", "-c", "100", "-W", "20", proxyAddress]);
    const log = await supervisor.restart("SIGUSR2", / info: tap100: /);
    assert.match(log, / info: tap100 is taken over as the last run left it$/m);
    assert.ok(await pings.ended(180_000), "pings end");
    // In turn, from the first of each run on: what was in its hands when it died, at most, is lost.
    const [, received] = /(\d+) received/.exec((await pings.result()).stdout)!;
    assert.ok(Number(received) >= 48, `${received} of 100 are answered, every other one`);
    assert.equal((await supervisor.program.stop()).code, 0);
  },
);
