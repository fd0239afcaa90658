/** One run of the proxy on a real device: starts the parts, and stops them at a signal. */
import type { Log } from "../core/log.ts";
import { CryptoRandom, SeededRandom } from "../core/random.ts";
import { OFFLOAD, sortDescriptors, TapDevice } from "../device/tap.ts";
import type { BuiltIn } from "../policy/language/built_in.ts";
import type { Customs } from "../policy/notation/parse.ts";
import { formatAddress } from "../wire/address.ts";
import { Appliance } from "../datapath/appliance.ts";
import { type Config, formatBackends, formatLink, sideB } from "../datapath/config.ts";
import type { ConnectionResets } from "../datapath/reset_connections.ts";
import type { Outlet } from "./outlet.ts";
import { Control, type ControlOptions } from "./control/control.ts";
import type { OperatorLog } from "./log.ts";
import { builtInUse, readPolicyInUse } from "./policy_in_use.ts";
import { openFastPath } from "./fast_path.ts";
import { giveUp } from "./permissions.ts";
import { Controller } from "../control/controller.ts";
import { Refusal } from "../control/request.ts";
import { loadHashKey } from "./hash_key_file.ts";
import { pump } from "./pump.ts";
import { Reloads, type Settings } from "./reload.ts";
import { inTurns } from "./turns.ts";
import { listen } from "./signals.ts";
import { Supervisor, takeEnvironment } from "./supervisor.ts";
import { StateFile } from "./state_file.ts";
import { formatSummary } from "../console/summary.ts";
import { Trace } from "../console/trace.ts";

/** How long the proxy takes at its end to reset connections. */
const RESETS_MS = 500;

/** How long the answer to `upgrade` may take to leave. */
const ANSWER_MS = 100;

export interface RunOptions {
  readonly settings: Settings;
  /** Reads the flags again, as `Reloads` wants it. */
  readonly reread: () => Promise<Settings>;
  /** The program's own policy, for when the command line names no file. */
  readonly builtIn: BuiltIn;
  /** What `custom NAME` means in a policy file. */
  readonly customs: Customs;
  /** Gives the path of the built shim. */
  readonly shim: () => Promise<string>;
  readonly stdout: Outlet;
  readonly log: OperatorLog;
  /** Starts the thread of the control socket, if there is to be one. */
  readonly controlThread: ControlOptions["thread"];
  readonly about: ControlOptions["about"];
}

/** Of a TAP device's descriptor that belongs to none of the devices. */
const NOT_OURS = "is closed: it is of no device that --net names, as this program attaches to it";

/**
 * Runs until SIGINT or SIGTERM. Throws an Error with a clear message when the device can't be had.
 */
export async function run(options: RunOptions): Promise<void> {
  const { settings, reread, builtIn, customs, shim, stdout, log } = options;
  const { config, tap, state } = settings;
  const stop = new AbortController();
  let summary = () => "";
  let reload: () => void = () => {};
  let control: Control | null = null;
  const unlisten = listen({
    SIGINT: () => stop.abort(),
    SIGTERM: () => stop.abort(),
    SIGHUP: () => reload(),
    SIGUSR2: () => stdout.offer(`${summary()}\n`),
  });
  try {
    const inUse = config.policy === null
      ? builtInUse(builtIn(config.links.length))
      : await readPolicyInUse(config.policy, customs, log);
    const path = await shim();
    using stateFile = state === null ? null : new StateFile(state, path, log);
    using supervisor = new Supervisor(takeEnvironment(), Deno.pid, path, log);
    const { taken, closed } = sortDescriptors(path, netsOf(config), supervisor.handed);
    for (const fd of closed) log.warning(`descriptor ${fd} was handed over, and ${NOT_OURS}`);
    const devices = config.links.map(({ net, host }) =>
      TapDevice.open(net, {
        shim: path,
        create: true,
        host,
        offload: tap.offload ? OFFLOAD : 0,
        offloadRefused: (errno) =>
          log.warning(`${net} does not support offload (${errno}): bulk transfers are slower`),
        spinUs: tap.spinUs,
        descriptor: taken.get(net),
        attached: (fd) => supervisor.keep(net, fd),
      })
    );
    const hashKey = await loadHashKey(config.hashKeyFile);
    const fastPath = await openFastPath({ mode: tap.fastPath, config, devices, shim: path, log });
    const observerOf = ({ trace }: Config) => trace === "off" ? null : new Trace(trace, stdout);
    const appliance = new Appliance({
      devices,
      clock: devices[0]!,
      random: config.seed === null ? new CryptoRandom() : new SeededRandom(config.seed),
      checkRandom: config.seed === null ? new CryptoRandom() : new SeededRandom(~config.seed),
      policy: inUse.policy,
      config,
      hashKey,
      log,
      observer: observerOf(config),
      fastPath,
    });
    summary = () => formatSummary(appliance.snapshot());
    const reloads = new Reloads({
      appliance,
      settings,
      inUse,
      reread,
      builtIn,
      customs,
      observerOf,
      work: inTurns(devices[0]!),
      log,
    });
    const request = async (by: string) => {
      supervisor.reloading(devices[0]!.nowMs());
      const reloaded = await reloads.request(by);
      supervisor.ready();
      return reloaded;
    };
    reload = () => void request("SIGHUP");
    for (const net of taken.keys()) log.info(`${net} is taken over as the last run left it`);
    announce(config, devices, log);
    if (settings.control !== null) {
      const controller = new Controller({
        appliance,
        customs,
        changePools: (next) => reloads.changePools(next),
        reload: () => request("control socket"),
        upgrade: () => {
          checkUpgrade(stateFile, supervisor);
          log.info("control socket: the supervisor is to start the program again");
          setTimeout(() => stop.abort(), ANSWER_MS);
        },
        policyText: () => reloads.policyText(),
        policyFile: () => reloads.policyFile(),
        log,
        pause: () => new Promise((resolve) => setImmediate(resolve)),
      });
      const spareDescriptors = devices[0]!.spareDescriptors();
      control = await Control.open({
        path: settings.control,
        thread: options.controlThread,
        about: options.about,
        controller,
        config,
        hashKey,
        spareDescriptors,
        log,
      });
    }
    giveUp(["net", "sys", "write", "ffi"]); // open listeners and libraries stay
    await stateFile?.resume(appliance, reloads); // last: what fails before leaves the file
    supervisor.ready();
    await pump({ appliance, devices, log, stop: stop.signal });
    await control?.close();
    supervisor.stopping();
    fastPath?.close();
    if (!stateFile?.save(appliance, reloads)) {
      tellResets(appliance.endings.resetAll(RESETS_MS), log);
    }
    await Promise.all(devices.map((device) => device.close()));
    stdout.offer(summary());
  } finally {
    unlisten();
  }
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
  log.info(`connections reset at the end: ${resets.connections}${unsent}${rest}`);
}

function netsOf({ links }: Config): string[] {
  return links.map(({ net }) => net);
}

function announce(config: Config, devices: readonly TapDevice[], log: Log): void {
  for (const [i, link] of config.links.entries()) {
    const { name, mtu, created } = devices[i]!;
    const backends = link === sideB(config.links)
      ? `, backends ${formatBackends(config.dstAddrs)}`
      : "";
    log.info(`${name}: ${formatLink(link)}, MTU ${mtu}${backends}`);
    if (link.host !== null) {
      const host = `${formatAddress(link.host.address)}/${link.host.prefixLength}`;
      log.info(`${name}${created ? " was created and" : ""} is up with ${host}`);
    } else if (created) {
      log.info(
        `${name} did not exist and was created, until the proxy ends; to bring it up: ` +
          `ip addr add ADDRESS/${link.prefixLength} dev ${name} && ip link set ${name} up`,
      );
    }
  }
}
