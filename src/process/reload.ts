/**
 * What SIGHUP does: reads the flags of a file and the policy again, and applies what can change
 * while the proxy runs, all of it or, if anything is wrong, nothing.
 */
import { isDeepStrictEqual } from "node:util";
import { Overlay } from "../control/overlay.ts";
import { formatTraceMode } from "../console/trace.ts";
import type { PolicyText, Reloaded } from "../control/request.ts";
import type { Appliance, Change } from "../datapath/appliance.ts";
import { type Config, formatBackends, type TapConfig } from "../datapath/config.ts";
import type { SavedChange } from "../datapath/saved_members.ts";
import type { Asked } from "../datapath/interest.ts";
import type { Observer } from "../datapath/observer.ts";
import type { BuiltIn } from "../policy/language/built_in.ts";
import type { Customs } from "../policy/notation/parse.ts";
import { DST_ADDRS, type Policy } from "../policy/language/ast.ts";
import { plainMember } from "../flow/backends/member.ts";
import type { Log } from "../core/log.ts";
import type { ConnectionLog } from "./connection_log.ts";
import type { LogConfig, LogLevel, OperatorLog } from "./log.ts";
import { builtInUse, type PolicyInUse, readPolicyInUse } from "./policy_in_use.ts";
import type { PolicyThread } from "./policies/thread.ts";
import type { CaptureConfig } from "./captures.ts";
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
  readonly captures: CaptureConfig;
  readonly logLevel: LogLevel;
  readonly log: LogConfig;
  /** Most lines a second about connections that open and end; 0: none. */
  readonly logConnections: number;
}

export interface ReloadOptions {
  readonly appliance: Pick<Appliance, "prepare" | "surroundings" | "policy" | "pools">;
  /** What runs now. */
  readonly settings: Settings;
  readonly inUse: PolicyInUse;
  /** Reads the flags again. Rejects with an Error that says what is wrong with them. */
  readonly reread: () => Promise<Settings>;
  readonly builtIn: BuiltIn;
  readonly customs: Customs;
  /** What the console shows. Throws a SyntaxError for a wrong filter. */
  readonly observerOf: (config: Config, asked: Asked) => Observer | null;
  readonly connectionLog: Pick<ConnectionLog, "setRate">;
  readonly work: Work;
  /** Rejects if the file may not be read, or not any more. */
  readonly within: (path: string) => Promise<void>;
  /** Makes policies; null: there are functions of the user's, and they are made in slices here. */
  readonly thread: PolicyThread | null;
  readonly log: OperatorLog;
}

type Reloadable = "policy" | "dstAddrs" | "health" | "timeouts" | "trace";

/** How messages call what only a restart can change. */
const RESTART:
  & Readonly<Record<Exclude<keyof Config, Reloadable>, string>>
  & {
    readonly [key in keyof TapConfig | "control" | "state" | "captures" | "log"]: string;
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
    translateFamilies: "--translate-families",
    clampMss: "--clamp-mss",
    offload: "--offload",
    spinUs: "--spin",
    fastPath: "--fast-path",
    sandbox: "--sandbox, --user or --include-dir",
    admin: "--admin, --admin-host or --admin-insecure-bind",
    control: "--control",
    state: "--state or --state-max-age",
    captures: "--capture, --capture-options or --capture-dir",
    log: "--log",
  };

/** How reloads have ended so far. */
export interface ReloadCounts {
  readonly done: number;
  readonly failed: number;
  /** The last one has failed. */
  readonly hasFailed: boolean;
  /** When the last one was done, as Unix time; -1: never. */
  readonly doneMs: number;
  /** How long it took. */
  readonly tookMs: number;
}

export class Reloads {
  readonly #options: ReloadOptions;
  readonly #counts = { done: 0, failed: 0, hasFailed: false, doneMs: -1, tookMs: 0 };
  /** What runs. */
  #config: Config;
  #logLevel: LogLevel;
  #logConnections: number;
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
    this.#logConnections = options.settings.logConnections;
    this.#inUse = options.inUse;
  }

  get counts(): ReloadCounts {
    return this.#counts;
  }

  /** The file that the running policy was read from; null: the built-in one. */
  policyFile(): string | null {
    return this.#config.policy;
  }

  /** The text of the policy that runs, as it was read. */
  policyText(): PolicyText {
    const { file, text, included } = this.#inUse.text();
    return { file, text, included };
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
      const { appliance } = this.#options;
      const overlay = next(appliance.pools, this.#overlay);
      const swap = await this.#prepare({ pools: overlay.apply(appliance.pools) });
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

  /**
   * Has what was read at the start run, if only the policy thread has it, and the console show it.
   * Rejects if it can't.
   */
  async begin(): Promise<void> {
    const { appliance, observerOf, thread } = this.#options;
    const change = { observer: (asked: Asked) => observerOf(this.#config, asked) };
    if (this.#inUse.policy !== null) thread?.runs(this.#inUse.text);
    const swap = this.#inUse.policy !== null
      ? await this.#prepare(change)
      : await this.#prepare({ ...change, pools: appliance.pools }, this.#inUse);
    swap();
  }

  /** Makes a change ready; with `inUse` it is of the policy, too. */
  async #prepare(change: Change, inUse: PolicyInUse | null = null): Promise<() => void> {
    const { appliance, thread, work } = this.#options;
    const { pools } = change;
    if (thread === null || pools === undefined) {
      const policy = inUse?.policy ?? null;
      return await work(appliance.prepare(policy === null ? change : { ...change, policy }));
    }
    if (inUse !== null && inUse.policy !== null) await thread.load(inUse.text(), false);
    const image = await thread.make(inUse !== null, appliance.surroundings(pools));
    const swap = await work(appliance.prepare({ ...change, image }));
    const { text } = inUse ?? this.#inUse;
    return () => {
      swap();
      thread.runs(text);
    };
  }

  /** One at a time: what is made ready is for the policy that runs. */
  #afterOthers<T>(change: () => Promise<T>): Promise<T> {
    const changed = this.#last.then(change);
    this.#last = changed.catch(() => {});
    return changed;
  }

  async #reload(by: string): Promise<Reloaded> {
    const { log } = this.#options;
    const startMs = performance.now();
    const counts = this.#counts;
    try {
      const { done, warnings } = await this.#apply();
      counts.done++;
      counts.hasFailed = false;
      counts.doneMs = Date.now();
      counts.tookMs = performance.now() - startMs;
      if (done.length + warnings.length === 0) {
        const line = "no --policy file to reload";
        log.info(`${by} ignored: ${line}`, "reload-ignored", { by });
        return { isDone: true, lines: [line] };
      }
      for (const warning of warnings) log.warning(...warning);
      for (const line of done) log.info(...line);
      return { isDone: true, lines: [...warnings, ...done].flatMap(([text]) => text.split("\n")) };
    } catch (error) {
      counts.failed++;
      counts.hasFailed = true;
      const reason = error instanceof Error ? error.message : String(error);
      log.error(`not reloaded, nothing has changed: ${reason}`, "reload-failed", { by, reason });
      return { isDone: false, lines: reason.split("\n") };
    }
  }

  async #apply(): Promise<{ readonly done: Line[]; readonly warnings: Line[] }> {
    const { appliance, settings, reread, builtIn, customs, observerOf, log } = this.#options;
    const { connectionLog, thread, work, within } = this.#options;
    const startMs = performance.now();
    const given = await reread();
    const { config, logLevel, logConnections } = given;
    const running = this.#config;
    const [done, warnings]: [Line[], Line[]] = [[], []];
    const warning = (...line: Line) => void warnings.push(line);
    const reloaded = (text: string, what: string) => void done.push([text, "reloaded", { what }]);
    const inUse = config.policy !== null
      ? await readPolicyInUse(config.policy, customs, { warning }, thread, work, within)
      : running.policy !== null
      ? builtInUse(builtIn(running.links.length))
      : null;
    const hasBackends = !isDeepStrictEqual(config.dstAddrs, running.dstAddrs);
    const hasCheck = !isDeepStrictEqual(config.health, running.health);
    const hasTimeouts = !isDeepStrictEqual(config.timeouts, running.timeouts);
    const hasTrace = !isDeepStrictEqual(config.trace, running.trace);
    const hasLogLevel = logLevel !== this.#logLevel;
    const hasLogConnections = logConnections !== this.#logConnections;
    const { pools } = inUse ?? appliance.policy;
    const hasPools = inUse !== null || hasBackends || hasCheck;
    const readMs = performance.now();
    const change = {
      ...(hasPools ? { pools: this.#overlay.apply(poolsOf(pools, config)) } : {}),
      ...(hasTimeouts ? { timeouts: config.timeouts } : {}),
      // A filter's words may be the policy's.
      ...(hasTrace || (hasPools && typeof config.trace !== "string")
        ? { observer: (asked: Asked) => observerOf(config, asked) }
        : {}),
    };
    const swap = await this.#prepare(change, inUse);
    const preparedMs = performance.now();
    swap();
    const times = {
      read_ms: readMs - startMs,
      prepare_ms: preparedMs - readMs,
      change_ms: performance.now() - preparedMs,
    };
    const [read, prepared, swapped] = Object.values(times).map((ms) => ms.toFixed(1));
    log.debug(
      `reload: read in ${read} ms, prepared in ${prepared} ms, changed in ${swapped} ms`,
      "reload-times",
      times,
    );
    const { policy: file, dstAddrs, health, timeouts, trace } = config;
    this.#config = { ...running, policy: file, dstAddrs, health, timeouts, trace };
    this.#inUse = inUse ?? this.#inUse;
    if (hasLogLevel) log.setLevel(this.#logLevel = logLevel);
    if (hasLogConnections) connectionLog.setRate(this.#logConnections = logConnections);
    if (file !== null) reloaded(`policy "${file}" reloaded`, "policy");
    else if (inUse !== null) reloaded("the built-in policy runs", "policy");
    if (hasBackends) reloaded(`--dst-addrs=${formatBackends(dstAddrs)} from now on`, "dst-addrs");
    if (hasCheck) reloaded("--check changed", "check");
    if (hasTimeouts) reloaded("timeouts changed", "timeouts");
    if (hasTrace) reloaded(`--trace=${formatTraceMode(trace)} from now on`, "trace");
    if (hasLogLevel) reloaded(`--log-level=${logLevel} from now on`, "log-level");
    if (hasLogConnections) {
      reloaded(`--log-connections=${logConnections}/s from now on`, "log-connections");
    }
    for (const [key, what] of Object.entries(RESTART)) {
      if (isDeepStrictEqual(valueOf(given, key), valueOf(settings, key))) continue;
      warning(`${what} changes at the next start only`, "restart-needed", { what });
    }
    return { done, warnings };
  }
}

/** Of the log. */
type Line = Parameters<Log["info"]>;

function poolsOf(pools: Policy["pools"], { dstAddrs, health }: Config): Policy["pools"] {
  return { ...pools, [DST_ADDRS]: { members: dstAddrs.map(plainMember), health } };
}

function valueOf({ config, tap, control, state, captures, log }: Settings, key: string): unknown {
  return ({ ...config, ...tap, control, state, captures, log } as Readonly<
    Record<string, unknown>
  >)[
    key
  ];
}
