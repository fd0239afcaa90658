/**
 * What SIGHUP does: reads the flags of a file and the policy again, and applies what can change while the
 * proxy runs, all of it or, if anything is wrong, nothing.
 */
import type { Log } from "../core/log.ts";
import type { Appliance } from "../datapath/appliance.ts";
import type { Config, TapConfig } from "../datapath/config.ts";
import type { Observer } from "../datapath/observer.ts";
import type { BuiltIn } from "../policy/language/built_in.ts";
import type { Customs } from "../policy/notation/parse.ts";
import { loadPolicy } from "./policy_file.ts";
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

/** How messages call what only a restart can change. */
const RESTART:
  & Readonly<Record<Exclude<keyof Config, "policy" | "timeouts" | "trace">, string>>
  & {
    readonly [key in keyof TapConfig]: string;
  } = {
    links: "an address, route or interface",
    dstAddrs: "--dst-addrs",
    ports: "--ports",
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
   * Reloads, and logs what has become of it. Who asks while one is under way gets the one after it, all of
   * them the same. Never rejects.
   */
  request(): Promise<Outcome> {
    if (this.#current === null) {
      this.#current = this.#reload();
      return this.#current;
    }
    return this.#next ??= this.#current.then(() => {
      this.#next = null;
      return this.#current = this.#reload();
    });
  }

  async #reload(): Promise<Outcome> {
    const { log } = this.#options;
    try {
      const { done, waiting } = await this.#apply();
      for (const line of done) log.info(line);
      for (const line of waiting) log.warning(line);
      return { isDone: true, lines: [...done, ...waiting] };
    } catch (error) {
      const reason = error instanceof Error ? error.message : String(error);
      log.error(`nothing has changed: ${reason}`);
      return { isDone: false, lines: reason.split("\n") };
    } finally {
      if (this.#next === null) this.#current = null;
    }
  }

  async #apply(): Promise<{ readonly done: string[]; readonly waiting: string[] }> {
    const { appliance, settings, reread, builtIn, customs, observerOf, work } = this.#options;
    const { config, tap } = await reread();
    const running = this.#config;
    const done: string[] = [];
    const policy = config.policy !== null
      ? await loadPolicy(config.policy, customs, work)
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
    if (config.policy !== null) done.push(`policy "${config.policy}" read again`);
    else if (policy !== null) done.push("the built-in policy runs");
    if (hasTimeouts) done.push("timeouts changed");
    if (hasTrace) done.push(`--trace=${trace} from now on`);
    const waiting = Object.entries(RESTART)
      .filter(([key]) => !same(valueOf({ config, tap }, key), valueOf(settings, key)))
      .map(([, what]) => `${what} changes at the next start only`);
    if (done.length + waiting.length === 0) {
      done.push("SIGHUP: there is no policy file to read again");
    }
    return { done, waiting };
  }
}

function valueOf({ config, tap }: Settings, key: string): unknown {
  return ({ ...config, ...tap } as Readonly<Record<string, unknown>>)[key];
}

function same(a: unknown, b: unknown): boolean {
  return JSON.stringify(a) === JSON.stringify(b);
}
