/**
 * What SIGHUP does: reads the flags of a file and the policy again, and applies what can change
 * while the proxy runs, all of it or, if anything is wrong, nothing.
 */
import { isDeepStrictEqual } from "node:util";
import { Overlay } from "../control/overlay.ts";
import type { PolicyText, Reloaded } from "../control/request.ts";
import type { Appliance } from "../datapath/appliance.ts";
import { type Config, formatBackends, type TapConfig } from "../datapath/config.ts";
import type { SavedChange } from "../datapath/saved_members.ts";
import type { Observer } from "../datapath/observer.ts";
import type { BuiltIn } from "../policy/language/built_in.ts";
import type { Customs } from "../policy/notation/parse.ts";
import { DST_ADDRS, type Policy } from "../policy/language/ast.ts";
import { plainMember } from "../flow/backends/member.ts";
import type { LogLevel, OperatorLog } from "./log.ts";
import { builtInUse, type PolicyInUse, readPolicyInUse } from "./policy_in_use.ts";
import type { StateConfig } from "./state_file.ts";
import type { Work } from "./turns.ts";

/** What a run is told. */
export interface Settings {
  readonly config: Config;
  readonly tap: TapConfig;
  /** Path of the control socket; null: there is none. */
  readonly control: string | null;
  /** Where connections are kept over a restart; null: nowhere. */
  readonly state: StateConfig | null;
  readonly logLevel: LogLevel;
}

export interface ReloadOptions {
  readonly appliance: Pick<Appliance, "prepare" | "policy" | "pools">;
  /** What runs now. */
  readonly settings: Settings;
  readonly inUse: PolicyInUse;
  /** Reads the flags again. Rejects with an Error that says what is wrong with them. */
  readonly reread: () => Promise<Settings>;
  readonly builtIn: BuiltIn;
  readonly customs: Customs;
  readonly observerOf: (config: Config) => Observer | null;
  readonly work: Work;
  readonly log: OperatorLog;
}

type Reloadable = "policy" | "dstAddrs" | "health" | "timeouts" | "trace";

/** How messages call what only a restart can change. */
const RESTART:
  & Readonly<Record<Exclude<keyof Config, Reloadable>, string>>
  & {
    readonly [key in keyof TapConfig | "control" | "state"]: string;
  } = {
    links: "an address, route or interface",
    ports: "--ports",
    retries: "--retries",
    connectTimeout: "--connect-timeout",
    strays: "--strays",
    hashKeyFile: "--hash-key-file",
    maxConn: "--max-conn",
    maxLimitSources: "--max-limit-sources",
    maxNeighbors: "--max-neighbors",
    maxConnPerSource: "--max-conn-per-source",
    seed: "--seed",
    preserveSource: "--preserve-source",
    clampMss: "--clamp-mss",
    offload: "--offload",
    spinUs: "--spin",
    fastPath: "--fast-path",
    control: "--control",
    state: "--state or --state-max-age",
  };

export class Reloads {
  readonly #options: ReloadOptions;
  /** What runs. */
  #config: Config;
  #logLevel: LogLevel;
  #inUse: PolicyInUse;
  /** Laid over each policy that is read. */
  #overlay = new Overlay();
  /** Reads the flags when its turn comes. */
  #next: Promise<Reloaded> | null = null;
  /** What is done last of all that has been asked for. */
  #last: Promise<unknown> = Promise.resolve();

  constructor(options: ReloadOptions) {
    this.#options = options;
    this.#config = options.settings.config;
    this.#logLevel = options.settings.logLevel;
    this.#inUse = options.inUse;
  }

  /** The file that the running policy was read from; null: the built-in one. */
  policyFile(): string | null {
    return this.#config.policy;
  }

  /** The text of the policy that runs, as it was read. */
  policyText(): PolicyText {
    return this.#inUse.text();
  }

  /**
   * Reloads, and logs what has become of it; `by` is who asks. All who ask before it begins share
   * one, while another is under way, too. Never rejects.
   */
  request(by: string): Promise<Reloaded> {
    return this.#next ??= this.#afterOthers(() => {
      this.#next = null;
      return this.#reload(by);
    });
  }

  /**
   * Changes which members pools have, now and in each policy that is read. Rejects with what `next`
   * throws, or with a RangeError for pools that can't be; then nothing has changed.
   */
  changePools(next: (pools: Policy["pools"], overlay: Overlay) => Overlay): Promise<void> {
    return this.#afterOthers(async () => {
      const { appliance, work } = this.#options;
      const overlay = next(appliance.pools, this.#overlay);
      const pools = overlay.apply(appliance.pools);
      const swap = await work(appliance.prepare({ pools }));
      swap();
      this.#overlay = overlay;
    });
  }

  /** Changes of members that are in no file, for the next run. */
  savedChanges(): readonly SavedChange[] {
    return this.#overlay.changes();
  }

  /** Makes those of an earlier run. Rejects as `changePools`. */
  resume(changes: readonly SavedChange[]): Promise<void> {
    return this.changePools(() => Overlay.of(changes));
  }

  /** One at a time: what is made ready is for the policy that runs. */
  #afterOthers<T>(change: () => Promise<T>): Promise<T> {
    const changed = this.#last.then(change);
    this.#last = changed.catch(() => {});
    return changed;
  }

  async #reload(by: string): Promise<Reloaded> {
    const { log } = this.#options;
    try {
      const { done, warnings } = await this.#apply();
      if (done.length + warnings.length === 0) {
        const line = "no --policy file to reload";
        log.info(`${by} ignored: ${line}`);
        return { isDone: true, lines: [line] };
      }
      for (const warning of warnings) log.warning(warning);
      for (const line of done) log.info(line);
      return { isDone: true, lines: [...warnings, ...done].flatMap((line) => line.split("\n")) };
    } catch (error) {
      const reason = error instanceof Error ? error.message : String(error);
      log.error(`not reloaded, nothing has changed: ${reason}`);
      return { isDone: false, lines: reason.split("\n") };
    }
  }

  async #apply(): Promise<{ readonly done: string[]; readonly warnings: string[] }> {
    const { appliance, settings, reread, builtIn, customs, observerOf, work, log } = this.#options;
    const given = await reread();
    const { config, logLevel } = given;
    const running = this.#config;
    const [done, warnings]: [string[], string[]] = [[], []];
    const warning = (text: string) => void warnings.push(text);
    const inUse = config.policy !== null
      ? await readPolicyInUse(config.policy, customs, { warning }, work)
      : running.policy !== null
      ? builtInUse(builtIn(running.links.length))
      : null;
    const hasBackends = !isDeepStrictEqual(config.dstAddrs, running.dstAddrs);
    const hasCheck = !isDeepStrictEqual(config.health, running.health);
    const hasTimeouts = !isDeepStrictEqual(config.timeouts, running.timeouts);
    const hasTrace = config.trace !== running.trace;
    const hasLogLevel = logLevel !== this.#logLevel;
    const policy = inUse?.policy ?? appliance.policy;
    const hasPools = inUse !== null || hasBackends || hasCheck;
    const swap = await work(appliance.prepare({
      ...(inUse === null ? {} : { policy }),
      ...(hasPools ? { pools: this.#overlay.apply(poolsOf(policy, config)) } : {}),
      ...(hasTimeouts ? { timeouts: config.timeouts } : {}),
      ...(hasTrace ? { observer: observerOf(config) } : {}),
    }));
    swap();
    const { policy: file, dstAddrs, health, timeouts, trace } = config;
    this.#config = { ...running, policy: file, dstAddrs, health, timeouts, trace };
    this.#inUse = inUse ?? this.#inUse;
    if (hasLogLevel) log.setLevel(this.#logLevel = logLevel);
    if (file !== null) done.push(`policy "${file}" reloaded`);
    else if (inUse !== null) done.push("the built-in policy runs");
    if (hasBackends) done.push(`--dst-addrs=${formatBackends(dstAddrs)} from now on`);
    if (hasCheck) done.push("--check changed");
    if (hasTimeouts) done.push("timeouts changed");
    if (hasTrace) done.push(`--trace=${trace} from now on`);
    if (hasLogLevel) done.push(`--log-level=${logLevel} from now on`);
    for (const [key, what] of Object.entries(RESTART)) {
      if (isDeepStrictEqual(valueOf(given, key), valueOf(settings, key))) continue;
      warnings.push(`${what} changes at the next start only`);
    }
    return { done, warnings };
  }
}

function poolsOf({ pools }: Policy, { dstAddrs, health }: Config): Policy["pools"] {
  return { ...pools, [DST_ADDRS]: { members: dstAddrs.map(plainMember), health } };
}

function valueOf({ config, tap, control, state }: Settings, key: string): unknown {
  return ({ ...config, ...tap, control, state } as Readonly<Record<string, unknown>>)[key];
}
