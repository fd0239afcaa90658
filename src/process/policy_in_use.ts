/** The policy of a run and its text: read at the start, and again when somebody asks. */
import type { PolicyText, Reloaded } from "../control/request.ts";
import { Overlay } from "../control/overlay.ts";
import type { Log } from "../core/log.ts";
import type { Appliance } from "../datapath/appliance.ts";
import type { Policy } from "../policy/language/ast.ts";
import type { Customs } from "../policy/notation/parse.ts";
import { print } from "../policy/notation/print.ts";
import { loadPolicyText } from "./policy_file.ts";

export class PolicyInUse {
  readonly #file: string | null;
  readonly #customs: Customs;
  readonly #log: Log;
  /** What was changed about pools at run time. */
  readonly overlay: { current: Overlay } = { current: new Overlay() };
  #text: () => PolicyText;
  #last: Promise<unknown> = Promise.resolve();

  private constructor(
    file: string | null,
    customs: Customs,
    log: Log,
    readonly policy: Policy,
    text: () => PolicyText,
  ) {
    this.#file = file;
    this.#customs = customs;
    this.#log = log;
    this.#text = text;
  }

  /** Reads `file`, or takes the built-in policy. Throws an Error that says what is wrong. */
  static async load(
    file: string | null,
    builtIn: Policy,
    customs: Customs,
    log: Log,
  ): Promise<PolicyInUse> {
    if (file === null) {
      const text = () => ({ file: "built-in", text: print(builtIn), included: new Map() });
      return new PolicyInUse(null, customs, log, builtIn, text);
    }
    const { policy, text } = await loadPolicyText(file, customs);
    return new PolicyInUse(file, customs, log, policy, () => text);
  }

  /** The text of what runs. */
  text(): PolicyText {
    return this.#text();
  }

  /**
   * Reads the file again; if that fails, the policy stays. Logs what was done, too; `by` is who asks. One
   * after the other, so that the last one wins. Never rejects.
   */
  reload(appliance: Appliance, by: string): Promise<Reloaded> {
    const reloading = this.#last.then(() => this.#reload(appliance, by));
    this.#last = reloading;
    return reloading;
  }

  async #reload(appliance: Appliance, by: string): Promise<Reloaded> {
    const file = this.#file;
    if (file === null) {
      const line = "there is no policy file to read again";
      this.#log.info(`${by}: ${line}`);
      return { isDone: true, lines: [line] };
    }
    try {
      const { policy, text } = await loadPolicyText(file, this.#customs);
      appliance.setPolicy(this.overlay.current.apply(policy));
      this.#text = () => text;
      const line = `policy "${file}" read again`;
      this.#log.info(line);
      return { isDone: true, lines: [line] };
    } catch (error) {
      const reason = error instanceof Error ? error.message : String(error);
      this.#log.error(`the policy stays as it was: ${reason}`);
      return { isDone: false, lines: reason.split("\n") };
    }
  }
}
