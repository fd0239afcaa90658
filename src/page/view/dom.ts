/** Elements, and their text: what a policy says is always text, never HTML. */

/** The element of the page with this id. */
export function byId<Element extends HTMLElement = HTMLElement>(id: string): Element {
  const found = document.getElementById(id);
  if (found === null) throw new Error(`There is no "${id}" in the page`);
  return found as Element;
}

export function make<Tag extends keyof HTMLElementTagNameMap>(
  tag: Tag,
  className = "",
  ...children: (Node | string)[]
): HTMLElementTagNameMap[Tag] {
  const element = document.createElement(tag);
  if (className !== "") element.className = className;
  element.append(...children);
  return element;
}

/** Touches the page only if the text is another one. */
export function setText(element: Element, text: string): void {
  if (element.textContent !== text) element.textContent = text;
}

export function setAttribute(element: Element, name: string, value: string | null): void {
  if (element.getAttribute(name) === value) return;
  if (value === null) element.removeAttribute(name);
  else element.setAttribute(name, value);
}

/** A sign that is not read out, beside its word. */
export function setMark(
  element: HTMLElement,
  { sign, word }: { readonly sign: string; readonly word: string },
): void {
  if (element.childElementCount !== 2) {
    const hidden = make("span", "sign");
    hidden.setAttribute("aria-hidden", "true");
    element.replaceChildren(hidden, make("span"));
  }
  setText(element.children[0]!, sign);
  setText(element.children[1]!, word);
}
