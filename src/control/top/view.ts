/** What the user of `proxy ctl top` has chosen, and what keys do to it. */
import type { Key } from "./keys.ts";

export type Section = "tree" | "backends" | "drops";

export const SECTIONS: readonly Section[] = ["tree", "backends", "drops"];

/** In which orders a section can be shown; the first is the usual one. */
export const ORDERS = {
  tree: ["as written", "rate", "total"],
  backends: ["name", "rate", "open", "status"],
  drops: ["rate", "total", "name"],
} as const satisfies Readonly<Record<Section, readonly string[]>>;

export interface View {
  /** Where `s` and the arrows work. */
  readonly focus: Section;
  /** Place in `ORDERS`. */
  readonly order: Readonly<Record<Section, number>>;
  /** First row that is shown. */
  readonly first: Readonly<Record<Section, number>>;
  /** Only lines with this text, in any case of letters, are shown. */
  readonly filter: string;
  /** The filter is being typed. */
  readonly isTyping: boolean;
  readonly isPaused: boolean;
  readonly hasHelp: boolean;
  readonly isOver: boolean;
}

const NONE = { tree: 0, backends: 0, drops: 0 };

export const FIRST_VIEW: View = {
  focus: "tree",
  order: NONE,
  first: NONE,
  filter: "",
  isTyping: false,
  isPaused: false,
  hasHelp: false,
  isOver: false,
};

const LONGEST_FILTER = 100;

/** Rows that page-up and page-down go. */
const PAGE = 10;

export function press(view: View, key: Key): View {
  if (key === "interrupt") return { ...view, isOver: true };
  if (view.isTyping) return type(view, key);
  if (view.hasHelp) return key === "q" ? { ...view, isOver: true } : { ...view, hasHelp: false };
  switch (key) {
    case "q":
      return { ...view, isOver: true };
    case "p":
    case " ":
      return { ...view, isPaused: !view.isPaused };
    case "?":
    case "h":
      return { ...view, hasHelp: true };
    case "/":
      return { ...view, isTyping: true, filter: "", first: NONE };
    case "escape":
      return { ...view, filter: "", first: NONE };
    case "tab":
      return focusOn(view, 1);
    case "back-tab":
      return focusOn(view, -1);
    case "s": {
      const order = (view.order[view.focus] + 1) % ORDERS[view.focus].length;
      return { ...view, order: { ...view.order, [view.focus]: order }, first: NONE };
    }
    case "up":
    case "k":
      return scroll(view, -1);
    case "down":
    case "j":
      return scroll(view, 1);
    case "page-up":
      return scroll(view, -PAGE);
    case "page-down":
      return scroll(view, PAGE);
    case "home":
    case "g":
      return scroll(view, -Infinity);
    case "end":
    case "G":
      return scroll(view, Number.MAX_SAFE_INTEGER);
    default:
      return view;
  }
}

function type(view: View, key: Key): View {
  switch (key) {
    case "enter":
      return { ...view, isTyping: false };
    case "escape":
      return { ...view, isTyping: false, filter: "" };
    case "backspace":
      return { ...view, filter: Array.from(view.filter).slice(0, -1).join("") };
    default: {
      const isCharacter = Array.from(key).length === 1;
      const isShort = view.filter.length < LONGEST_FILTER;
      return isCharacter && isShort ? { ...view, filter: view.filter + key } : view;
    }
  }
}

function focusOn(view: View, step: number): View {
  const place = SECTIONS.indexOf(view.focus) + step + SECTIONS.length;
  return { ...view, focus: SECTIONS[place % SECTIONS.length]! };
}

/** The end of the rows is known to the picture, which puts it right. */
function scroll(view: View, rows: number): View {
  const first = Math.max(0, view.first[view.focus] + rows);
  return { ...view, first: { ...view.first, [view.focus]: first } };
}
