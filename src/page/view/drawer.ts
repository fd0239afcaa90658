/** Details of a node or a backend, which go on while it is open. */
import type { Shown } from "../model/session.ts";
import { MEMBER_MARKS, nodeWords, percent, short, whole } from "../model/words.ts";
import { byId, make, setText } from "./dom.ts";
import { shareOf } from "./tree_view.ts";

type Subject = { readonly node: number } | { readonly backend: number };

export class Drawer {
  readonly #dialog = byId<HTMLDialogElement>("drawer");
  readonly #title = byId("drawer-title");
  readonly #list = byId("details");
  #subject: Subject | null = null;

  constructor() {
    this.#dialog.addEventListener("close", () => this.#subject = null);
    this.#dialog.addEventListener("click", ({ target }) => {
      if (target === this.#dialog) this.#dialog.close(); // beside it
    });
  }

  open(subject: Subject, shown: Shown | null): void {
    if (shown === null) return;
    this.#subject = subject;
    this.show(shown);
    if (!this.#dialog.open) this.#dialog.showModal();
  }

  close(): void {
    this.#dialog.close();
  }

  show(shown: Shown): void {
    if (this.#subject === null) return;
    const told = "node" in this.#subject
      ? nodeDetails(shown, this.#subject.node)
      : backendDetails(shown, this.#subject.backend);
    if (told === null) return this.close(); // a reload has taken it away
    const [title, details] = told;
    setText(this.#title, title);
    while (this.#list.childElementCount > 2 * details.length) this.#list.lastElementChild!.remove();
    while (this.#list.childElementCount < 2 * details.length) {
      this.#list.append(make("dt"), make("dd"));
    }
    for (const [i, [term, text]] of details.entries()) {
      setText(this.#list.children[2 * i]!, term);
      setText(this.#list.children[2 * i + 1]!, text);
    }
  }
}

type Told = [title: string, details: (readonly [term: string, text: string])[]] | null;

function nodeDetails(shown: Shown, id: number): Told {
  const { tree: { nodes }, counters: { hits }, rates } = shown;
  const node = nodes[id];
  if (node === undefined) return null;
  const path: string[] = [];
  for (let at = node; at.parent >= 0;) {
    at = nodes[at.parent]!;
    path.unshift(nodeWords(at));
  }
  return [nodeWords(node), [
    ["Number", String(id)],
    ["Kind", node.decision ?? node.kind],
    ...node.label === null ? [] : [["Label", node.label] as const],
    ["Packets", whole(hits[id]!)],
    ["A second", rates === null ? "–" : short(rates.hits[id]!)],
    ["Of its parent", node.parent < 0 ? "–" : percent(...shareOf(shown, id))],
    ["Of all", percent(hits[id]!, hits[0]!)],
    ["Path", path.length === 0 ? "the root" : path.join(" ⟩ ")],
  ]];
}

function backendDetails({ tree, counters, rates }: Shown, place: number): Told {
  const [backend, now] = [tree.backends[place], counters.backends[place]];
  if (backend === undefined || now === undefined) return null;
  const { sign, word } = MEMBER_MARKS[now.state];
  return [backend.address, [
    ["Pool", backend.pool],
    ["State", `${sign} ${word}`],
    ["Weight", String(now.weight)],
    ["Connections", whole(now.connections)],
    ["Opened", whole(now.opened)],
    ["New a second", rates === null ? "–" : short(rates.backends[place] ?? 0)],
    ["Check", backend.check],
    ["Last check", now.check ?? "none"],
  ]];
}
