/**
 * What SIGHUP does: reads the flags of a file and the policy again, and applies what can change
 * while the proxy runs, all of it or, if anything is wrong, nothing.
 */
import type { Log } from "../core/log.ts";
import type { Appliance } from "../datapath/appliance.ts";
import type { Config, TapConfig } from "../datapath/config.ts";
import type { Observer } from "../datapath/observer.ts";
import type { BuiltIn } from "../policy/language/built_in.ts";
import type { Customs } from "../policy/notation/parse.ts";
import { countNodes } from "../policy/engine/footprint.ts";
import type { Policy } from "../policy/language/ast.ts";
import { loadPolicy } from "./policy_file.ts";
import { checkPolicy } from "./policy_findings.ts";
import type { Work } from "./turns.ts";

/** What a run is told. */
export interface Settings {
  readonly config: Config;
  readonly tap: TapConfig;
}

export interface ReloadOptions {
  readonly appliance: Pick<Appliance, "prepare">;
  /** What runs now. */
  readonly settings: Settings;
  /** Reads the flags again. Rejects with an Error that says what is wrong with them. */
  readonly reread: () => Promise<Settings>;
  readonly builtIn: BuiltIn;
  readonly customs: Customs;
  readonly observerOf: (config: Config) => Observer | null;
  readonly work: Work;
  readonly log: Log;
}

/** What has become of it, in lines for a person. */
export interface Outcome {
  readonly isDone: boolean;
  readonly lines: readonly string[];
}

/** Most nodes of a policy that is checked while packets wait. */
const MAX_CHECKED_NODES = 2000;

/** How messages call what only a restart can change. */
const RESTART:
  & Readonly<Record<Exclude<keyof Config, "policy" | "timeouts" | "trace">, string>>
  & {
    readonly [key in keyof TapConfig]: string;
  } = {
    links: "an address, route or interface",
    dstAddrs: "--dst-addrs",
    ports: "--ports",
    health: "--check",
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
  };

export class Reloads {
  readonly #options: ReloadOptions;
  /** What runs. */
  #config: Config;
  #current: Promise<Outcome> | null = null;
  #next: Promise<Outcome> | null = null;

  constructor(options: ReloadOptions) {
    this.#options = options;
    this.#config = options.settings.config;
  }

  /**
   * Reloads, and logs what has become of it; `by` is who asks. Who asks while one is under way gets
   * the one after it, all of them the same. Never rejects.
   */
  request(by: string): Promise<Outcome> {
    if (this.#current === null) {
      this.#current = this.#reload(by);
      return this.#current;
    }
    return this.#next ??= this.#current.then(() => {
      this.#next = null;
      return this.#current = this.#reload(by);
    });
  }

  async #reload(by: string): Promise<Outcome> {
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
    } finally {
      if (this.#next === null) this.#current = null;
    }
  }

  async #apply(): Promise<{ readonly done: string[]; readonly warnings: string[] }> {
    const { appliance, settings, reread, builtIn, observerOf, work } = this.#options;
    const { config, tap } = await reread();
    const running = this.#config;
    const [done, warnings]: [string[], string[]] = [[], []];
    const policy = config.policy !== null
      ? await this.#load(config.policy, warnings)
      : running.policy !== null
      ? builtIn(running.links.length)
      : null;
    const hasTimeouts = !same(config.timeouts, running.timeouts);
    const hasTrace = config.trace !== running.trace;
    const swap = await work(appliance.prepare({
      ...(policy === null ? {} : { policy }),
      ...(hasTimeouts ? { timeouts: config.timeouts } : {}),
      ...(hasTrace ? { observer: observerOf(config) } : {}),
    }));
    swap();
    const { timeouts, trace } = config;
    this.#config = { ...running, policy: config.policy, timeouts, trace };
    if (config.policy !== null) done.push(`policy "${config.policy}" reloaded`);
    else if (policy !== null) done.push("the built-in policy runs");
    if (hasTimeouts) done.push("timeouts changed");
    if (hasTrace) done.push(`--trace=${trace} from now on`);
    for (const [key, what] of Object.entries(RESTART)) {
      if (same(valueOf({ config, tap }, key), valueOf(settings, key))) continue;
      warnings.push(`${what} changes at the next start only`);
    }
    return { done, warnings };
  }

  /** The policy of the file, checked if that is soon done. */
  async #load(file: string, warnings: string[]): Promise<Policy> {
    const { customs, work } = this.#options;
    const source = await loadPolicy(file, customs, work);
    const warning = (text: string) => void warnings.push(text);
    const nodes = await work(countNodes(source.policy));
    if (nodes <= MAX_CHECKED_NODES) return checkPolicy(source, { warning });
    warning(`policy "${file}" not checked: more than ${MAX_CHECKED_NODES} nodes`);
    return source.policy;
  }
}

function valueOf({ config, tap }: Settings, key: string): unknown {
  return ({ ...config, ...tap } as Readonly<Record<string, unknown>>)[key];
}

function same(a: unknown, b: unknown): boolean {
  return JSON.stringify(a) === JSON.stringify(b);
}
