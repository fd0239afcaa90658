/** One run of the proxy on a real device: starts the parts, and stops them at a signal. */
import type { Log } from "../core/log.ts";
import { CryptoRandom, SeededRandom } from "../core/random.ts";
import { OFFLOAD, TapDevice } from "../device/tap.ts";
import type { Policy } from "../policy/language/ast.ts";
import type { BuiltIn } from "../policy/language/built_in.ts";
import type { Customs } from "../policy/notation/parse.ts";
import { type Config, hostsOf, ownTexts, sideOf } from "../datapath/config.ts";
import { isIpv6 } from "../wire/host_address.ts";
import { Appliance } from "../datapath/appliance.ts";
import type { ConnectionResets } from "../datapath/reset_connections.ts";
import { announce } from "./announce.ts";
import type { Outlet } from "./outlet.ts";
import { type AdminOptions, openAdmin } from "./admin/admin.ts";
import { Filler } from "./admin/filler.ts";
import { type ControlOptions, openControl, tellSandbox } from "./control/control.ts";
import { ConnectionLog } from "./connection_log.ts";
import type { OperatorLog } from "./log.ts";
import { builtInUse, readPolicyInUse } from "./policy_in_use.ts";
import { PolicyThread } from "./policies/thread.ts";
import { openFastPath } from "./fast_path.ts";
import { Captures } from "./captures.ts";
import { makeCompilersYield } from "./compilers.ts";
import { giveUp } from "./permissions.ts";
import { Controller } from "../control/controller.ts";
import { Refusal } from "../control/request.ts";
import { takeDevices } from "./handed_devices.ts";
import { loadHashKey } from "./hash_key_file.ts";
import { pump, PumpCounts } from "./pump.ts";
import { Reloads, type Settings } from "./reload.ts";
import { Sandbox } from "./sandbox.ts";
import { inTurns } from "./turns.ts";
import { listen } from "./signals.ts";
import type { ServingThread } from "./serving_thread.ts";
import { Supervisor, takeEnvironment } from "./supervisor.ts";
import { StateFile } from "./state_file.ts";
import { formatSummary } from "../console/summary.ts";
import { traceOf } from "../console/trace.ts";

/** How long the proxy takes at its end to reset connections. */
const RESETS_MS = 500;

/** How long the answer to `upgrade` may take to leave. */
const ANSWER_MS = 100;

export interface RunOptions {
  readonly settings: Settings;
  /** The file of `--config`; null: there is none. */
  readonly configFile: string | null;
  /** Reads the flags again, as `Reloads` wants it. */
  readonly reread: () => Promise<Settings>;
  /** The program's own policy, for when the command line names no file. */
  readonly builtIn: BuiltIn;
  /** What `custom NAME` means in a policy file. */
  readonly customs: Customs;
  /** Gives the path of the built shim. */
  readonly shim: () => Promise<string>;
  /** The folder from which threads are loaded; null: they are within the program. */
  readonly sources: string | null;
  readonly stdout: Outlet;
  /** Where the log goes. */
  readonly stderr: Outlet;
  readonly log: OperatorLog;
  /** Starts the thread of `--admin`, if it is to be served. */
  readonly adminThread: AdminOptions["thread"];
  /** Starts the thread of the control socket, if there is to be one. */
  readonly controlThread: ControlOptions["thread"];
  /** Starts the thread that makes policies. */
  readonly policyThread: () => Worker;
  readonly about: ControlOptions["about"];
}

/**
 * Runs until SIGINT or SIGTERM. Throws an Error with a clear message when the device can't be had.
 */
export async function run(options: RunOptions): Promise<void> {
  const { settings, configFile, reread, builtIn, customs, shim, stdout, stderr, log } = options;
  const { config, tap, state } = settings;
  const stop = new AbortController();
  let summary = () => "";
  let reload: () => void = () => {};
  const serving: ServingThread[] = [];
  const closeServing = () => Promise.all(serving.splice(0).map((thread) => thread.close()));
  const unlisten = listen({
    SIGINT: () => stop.abort(),
    SIGTERM: () => stop.abort(),
    SIGHUP: () => reload(),
    SIGUSR2: () => stdout.offer(`${summary()}\n`),
  });
  const own = builtIn(config.links.length);
  const thread = hasFunction([customs, own])
    ? null
    : new PolicyThread(options.policyThread, inTurns({ nowMs: () => performance.now() }));
  try {
    const path = await shim();
    makeCompilersYield(path);
    const { sources } = options;
    using sandbox = await Sandbox.open({ settings, configFile, shim: path, sources, log });
    const within = (file: string) => sandbox.within(file);
    const inUse = config.policy === null
      ? builtInUse(own)
      : await readPolicyInUse(config.policy, customs, log, thread, undefined, within);
    sandbox.checkUser(inUse.text());
    using stateFile = state === null ? null : new StateFile(state, path, log);
    using supervisor = new Supervisor(takeEnvironment(), Deno.pid, path, log);
    const taken = takeDevices(supervisor, netsOf(config), path, log);
    const devices = config.links.map((link) => {
      const { net } = link;
      return TapDevice.open(net, {
        shim: path,
        create: true,
        hosts: hostsOf(link),
        offload: tap.offload ? OFFLOAD : 0,
        offloadRefused: (errno) =>
          log.warning(
            `${net} does not support offload (${errno}): bulk transfers are slower`,
            "offload-refused",
            { device: net, error: errno },
          ),
        hostRefused: (errno, { address }) =>
          log.warning(
            `${net} is new, and does not get the address of ` +
              `--host-ipv${isIpv6(address) ? 6 : 4}: ${errno}`,
            "host-refused",
            { device: net, error: errno },
          ),
        spinUs: tap.spinUs,
        descriptor: taken.get(net),
        attached: (fd) => supervisor.keep(net, fd),
      });
    });
    const hashKey = await loadHashKey(config.hashKeyFile);
    const fastPath = await openFastPath({ mode: tap.fastPath, config, devices, shim: path, log });
    const appliance = new Appliance({
      devices,
      clock: devices[0]!,
      random: config.seed === null ? new CryptoRandom() : new SeededRandom(config.seed),
      checkRandom: config.seed === null ? new CryptoRandom() : new SeededRandom(~config.seed),
      policy: inUse.policy ?? dropping(inUse.pools),
      config,
      hashKey,
      log,
      observer: null,
      fastPath,
    });
    using captures = new Captures({
      config: settings.captures,
      links: config.links,
      appliance,
      customs,
      shim: path,
      application: `treegate ${options.about.version}`,
      wallMs: Date.now,
      log,
    });
    summary = () => formatSummary(appliance.snapshot(), captures.counts);
    using connectionLog = new ConnectionLog({
      connections: appliance.connections,
      perSecond: settings.logConnections,
      nowMs: () => appliance.nowMs,
      log,
    });
    const reloads = new Reloads({
      appliance,
      settings,
      inUse,
      reread,
      builtIn,
      customs,
      observerOf: ({ trace }, asked) => traceOf(trace, stdout, asked, customs),
      connectionLog,
      work: inTurns(devices[0]!),
      within,
      thread,
      log,
    });
    await reloads.begin();
    // Later packets would wait for its start.
    const mayReload = [config.policy, settings.control, configFile].some((one) => one !== null);
    if (mayReload) thread?.start();
    const request = async (by: string) => {
      supervisor.reloading(devices[0]!.nowMs());
      const reloaded = await reloads.request(by);
      supervisor.ready();
      return reloaded;
    };
    reload = () => void request("SIGHUP");
    for (const net of taken.keys()) {
      const text = `${net} is taken over as the last run left it`;
      log.info(text, "device-taken-over", { device: net });
    }
    announce(config, devices, log);
    const descriptors = {
      spare: devices[0]!.spareDescriptors(),
      threads: Number(settings.control !== null) + Number(tap.admin !== null),
    };
    let control: ServingThread | null = null;
    if (settings.control !== null) {
      const controller = new Controller({
        appliance,
        customs,
        changePools: (next) => reloads.changePools(next),
        reload: () => request("control socket"),
        upgrade: () => {
          checkUpgrade(stateFile, supervisor);
          log.info("control socket: the supervisor is to start the program again", "upgrade");
          setTimeout(() => stop.abort(), ANSWER_MS);
        },
        captures,
        policyText: () => reloads.policyText(),
        policyFile: () => reloads.policyFile(),
        log,
        pause: () => new Promise((resolve) => setImmediate(resolve)),
      });
      control = await openControl({
        path: settings.control,
        thread: options.controlThread,
        about: options.about,
        controller,
        config,
        hashKey,
        shim: path,
        descriptors,
        log,
      });
      serving.push(control);
    }
    const counts = new PumpCounts();
    if (tap.admin !== null) {
      serving.push(
        await openAdmin({
          config: tap.admin,
          thread: options.adminThread,
          about: adminAbout(options.about, config, devices, fastPath !== null),
          filler: (post) =>
            new Filler({
              appliance,
              nowMs: () => devices[0]!.nowMs(),
              pump: counts,
              reloads: reloads.counts,
              trace: stdout,
              log: stderr,
              captures,
              post,
            }),
          work: inTurns(devices[0]!),
          shim: path,
          descriptors,
          log,
        }),
      );
    }
    giveUp(["net", "sys", "write", "ffi"]); // open listeners and libraries stay
    if (mayReload) await thread?.loaded(); // its program may be out of reach then
    tellSandbox(control, sandbox.apply());
    captures.begin(); // its files are those of the user that it is now
    await stateFile?.resume(appliance, reloads); // last: what fails before leaves the file
    supervisor.ready();
    await pump({ appliance, devices, counts, supervisor, log, stop: stop.signal });
    await closeServing();
    supervisor.stopping();
    if (fastPath !== null) {
      const { resting } = appliance;
      const text = `fast path: ${resting} freed entries wait at the end`;
      log.debug(text, "fast-path-resting", { entries: resting });
    }
    fastPath?.close();
    if (!stateFile?.save(appliance, reloads)) {
      tellResets(appliance.endings.resetAll(RESETS_MS), log);
    }
    await captures.close();
    await Promise.all(devices.map((device) => device.close()));
    stdout.offer(summary());
  } finally {
    thread?.end();
    await closeServing(); // a start that fails leaves no socket behind
    unlisten();
  }
}

/** True if there is a user's function somewhere in it: such can't cross threads. */
function hasFunction(part: unknown, seen: Set<unknown> = new Set()): boolean {
  if (typeof part === "function") return true;
  if (typeof part !== "object" || part === null || seen.has(part)) return false;
  seen.add(part);
  return Object.values(part).some((one) => hasFunction(one, seen));
}

/** For as long as the policy of a run is not there. */
function dropping(pools: Policy["pools"]): Policy {
  const next = { node: "decide", decision: "drop", label: null } as const;
  return { default: "drop", pools, lists: {}, subtrees: {}, next };
}

/** Throws a Refusal if a run that ends now would not go on in the next one. */
function checkUpgrade(stateFile: StateFile | null, { isThere }: Supervisor): void {
  const missing = stateFile === null
    ? "it was started without --state, and connections would be lost"
    : isThere
    ? null
    : "no supervisor that it can tell has started it ($NOTIFY_SOCKET), and nobody would start it again";
  if (missing !== null) throw new Refusal(409, `The proxy goes on: ${missing}`);
}

/** Says how many connections were reset at the end, and how many could not be. */
function tellResets(resets: ConnectionResets, log: Log): void {
  const left = resets.left();
  if (resets.connections + left === 0) return;
  const unsent = resets.unsent === 0 ? "" : `, ${resets.unsent} of their ends are out of reach`;
  const rest = left === 0 ? "" : `, ${left} were left for lack of time`;
  log.info(
    `connections reset at the end: ${resets.connections}${unsent}${rest}`,
    "connections-reset",
    { connections: resets.connections, unreachable: resets.unsent, left },
  );
}

/** What the admin thread is told at the start. */
function adminAbout(
  about: ControlOptions["about"],
  { links, maxConn, ports }: Config,
  devices: readonly TapDevice[],
  hasFastPath: boolean,
): AdminOptions["about"] {
  const startMs = Date.now();
  return {
    ...about,
    name: Deno.hostname(),
    links: links.map((link) => ({
      net: link.net,
      side: sideOf(links, link),
      address: ownTexts(link).join(", "),
    })),
    hasFastPath,
    hasIpv6: links.some(({ ipv6 }) => ipv6 !== null),
    connections: maxConn,
    ports: ports.last - ports.first + 1,
    startMs,
    epochMs: startMs - devices[0]!.nowMs(),
  };
}

function netsOf({ links }: Config): string[] {
  return links.map(({ net }) => net);
}
