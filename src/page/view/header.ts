/** The line at the top: how it stands, and the figures of the whole. */
import type { LinkState } from "../model/link.ts";
import type { Shown } from "../model/session.ts";
import { ownText } from "../../stack/own_state.ts";
import { duration, linkMark, percent, short, whole } from "../model/words.ts";
import { byId, setMark, setText } from "./dom.ts";

export class Header {
  readonly #state = byId("state");
  readonly #pause = byId("pause");

  showState(state: LinkState, isPaused: boolean): void {
    setMark(this.#state, linkMark(state, isPaused));
    const isTroubled = state.kind === "stale" || state.kind === "lost";
    const kind = isPaused && !isTroubled ? "paused" : state.kind;
    if (this.#state.dataset.kind !== kind) this.#state.dataset.kind = kind;
    document.body.classList.toggle("old", isTroubled);
    setText(this.#pause, isPaused ? "Go on" : "Pause");
    this.#pause.setAttribute("aria-pressed", String(isPaused));
  }

  show({ tree, counters, rates }: Shown): void {
    setText(byId("name"), tree.name);
    if (document.title !== `${tree.name} – Treegate`) document.title = `${tree.name} – Treegate`;
    const devices = tree.devices.map(({ net, side, address }, i) => {
      const unused = counters.not_in_use.filter(({ link }) => link === i);
      const name = side === "both" ? net : `${net} (side ${side})`;
      return `${name} ${address}` +
        (unused.length === 0 ? "" : ` (not in use: ${unused.map(ownText).join(", ")})`);
    });
    setText(byId("devices"), devices.join(", "));
    setText(byId("uptime"), duration(counters.uptime_s));
    setText(byId("packets"), rates === null ? "–" : `${short(rates.packetsIn)}/s`);
    setText(
      byId("bits"),
      rates === null ? "–" : `${short(rates.bitsIn)}bit/s`.replace(/(\d)b/, "$1 b"),
    );
    setText(
      byId("connections"),
      `${whole(counters.connections)} of ${whole(tree.max_connections)}`,
    );
    const share = rates === null ? "–" : percent(rates.carried, rates.packetsIn);
    setText(byId("fast-path"), tree.fast_path ? share : "off");
    setText(byId("version"), tree.version);
  }
}
