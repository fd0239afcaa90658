/** Why packets were dropped, as bars: the most first. */
import type { Shown } from "../model/session.ts";
import { short, whole } from "../model/words.ts";
import { byId, make, setText } from "./dom.ts";

export class DropsView {
  readonly #list = byId("drops");
  readonly #none = byId("no-drops");

  show({ counters, rates }: Shown): void {
    const drops = Object.entries(counters.drops).sort(([, a], [, b]) => b - a);
    this.#none.hidden = drops.length > 0;
    while (this.#list.childElementCount > drops.length) this.#list.lastElementChild!.remove();
    while (this.#list.childElementCount < drops.length) {
      this.#list.append(make("li", "", make("span"), make("span", "number"), make("i")));
    }
    const most = drops[0]?.[1] ?? 1;
    for (const [i, [reason, count]] of drops.entries()) {
      const [name, numbers, bar] = this.#list.children[i]!.children;
      setText(name!, reason);
      setText(numbers!, `${whole(count)} · ${short(rates?.drops[reason] ?? 0)}/s`);
      (bar as HTMLElement).style.transform = `scaleX(${(count / most).toFixed(3)})`;
    }
  }
}
