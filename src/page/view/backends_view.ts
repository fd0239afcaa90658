/** The backends: state in word, sign and colour, connections, new ones a second, the last check. */
import type { Shown } from "../model/session.ts";
import { MEMBER_MARKS, short, whole } from "../model/words.ts";
import { byId, make, setMark, setText } from "./dom.ts";

/** Rows that are shown. */
const MOST_ROWS = 200;

/** What a row takes in one line, CSS pixels: for each character of its name, and for the rest. */
const NAME_PX = 8;
const REST_PX = 290;

export class BackendsView {
  readonly #body = byId("backends");
  readonly #table = this.#body.parentElement!;
  readonly #section = this.#table.parentElement!;
  readonly #more = byId("more-backends");
  readonly #open: (place: number) => void;
  #count = -1;
  /** In characters. */
  #longestName = 0;

  /** Calls `open` with the place of the backend whose details are wanted. */
  constructor(open: (place: number) => void) {
    this.#open = open;
    new ResizeObserver(() => this.#layOut()).observe(this.#section);
  }

  show({ tree, counters, rates }: Shown): void {
    const { backends } = tree;
    const count = Math.min(MOST_ROWS, backends.length);
    if (count !== this.#count) {
      this.#body.replaceChildren(...Array.from({ length: count }, (_, i) => this.#makeRow(i)));
      this.#count = count;
    }
    this.#longestName = Math.max(...backends.slice(0, count).map(({ address }) => address.length));
    this.#layOut();
    const more = backends.length - count;
    setText(this.#more, more > 0 ? `and ${whole(more)} more` : "");
    for (let i = 0; i < count; i++) {
      const { address, pool } = backends[i]!;
      const now = counters.backends[i];
      if (now === undefined) continue;
      const [name, state, connections, opened, check] = this.#body.children[i]!.children;
      setText(name!.firstElementChild!, address);
      setText(name!.lastElementChild!, pool);
      setMark(state!.firstElementChild as HTMLElement, MEMBER_MARKS[now.state]);
      (state!.firstElementChild as HTMLElement).dataset.state = now.state;
      setText(connections!, whole(now.connections));
      setText(opened!, `${short(rates?.backends[i] ?? 0)}/s`);
      setText(check!, now.check ?? "none");
    }
  }

  /** Where there is no room for it all in one line, names have a line of their own. */
  #layOut(): void {
    const neededPx = NAME_PX * this.#longestName + REST_PX;
    this.#table.classList.toggle("stacked", this.#section.clientWidth < neededPx);
  }

  #makeRow(place: number): HTMLElement {
    const name = make("button", "link");
    name.type = "button";
    name.addEventListener("click", () => this.#open(place));
    const head = make("th", "", name, make("small"));
    head.scope = "row";
    const state = make("td", "", make("span", "mark"));
    return make(
      "tr",
      "",
      ...[head, state, make("td", "number"), make("td", "number"), make("td", "check")],
    );
  }
}
