/** The policy of a run and its text: read at the start, and again when somebody asks. */
import type { PolicyText, Reloaded } from "../control/request.ts";
import { Overlay } from "../control/overlay.ts";
import type { Log } from "../core/log.ts";
import type { Appliance } from "../datapath/appliance.ts";
import { countNodes } from "../policy/engine/footprint.ts";
import type { Policy } from "../policy/language/ast.ts";
import type { Customs } from "../policy/notation/parse.ts";
import { print } from "../policy/printing/print.ts";
import { loadPolicyText } from "./policy_file.ts";
import { checkPolicy } from "./policy_findings.ts";

/** Most nodes of a policy that is checked while packets wait. */
const MAX_CHECKED_NODES = 2000;

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
    const { source, text } = await loadPolicyText(file, customs);
    return new PolicyInUse(file, customs, log, checkPolicy(source, log), () => text);
  }

  /** The text of what runs. */
  text(): PolicyText {
    return this.#text();
  }

  /**
   * Reads the file again; if that fails, the policy stays. Logs what was done, too; `by` is who
   * asks. One after the other, so that the last one wins. Never rejects.
   */
  reload(appliance: Appliance, by: string): Promise<Reloaded> {
    const reloading = this.#last.then(() => this.#reload(appliance, by));
    this.#last = reloading;
    return reloading;
  }

  async #reload(appliance: Appliance, by: string): Promise<Reloaded> {
    const file = this.#file;
    if (file === null) {
      const line = "no --policy file to reload";
      this.#log.info(`${by} ignored: ${line}`);
      return { isDone: true, lines: [line] };
    }
    try {
      const { source, text } = await loadPolicyText(file, this.#customs);
      const { policy } = source;
      const lines: string[] = [];
      const warning = (message: string) => {
        this.#log.warning(message);
        lines.push(...message.split("\n"));
      };
      if (countNodes(policy) <= MAX_CHECKED_NODES) checkPolicy(source, { warning });
      else warning(`policy "${file}" not checked: more than ${MAX_CHECKED_NODES} nodes`);
      appliance.setPolicy(this.overlay.current.apply(policy));
      this.#text = () => text;
      const line = `policy "${file}" reloaded`;
      this.#log.info(line);
      return { isDone: true, lines: [...lines, line] };
    } catch (error) {
      const reason = error instanceof Error ? error.message : String(error);
      this.#log.error(`policy not reloaded, keeping the current one: ${reason}`);
      return { isDone: false, lines: reason.split("\n") };
    }
  }
}
