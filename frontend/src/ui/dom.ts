/** Small helpers to find and make elements. */

/** The element, which the page's template promises. Throws where the template broke the promise. */
export function need<T extends Element>(selector: string, type: new () => T): T {
  const found = document.querySelector(selector);
  if (!(found instanceof type)) throw new Error(`The page has no ${selector}.`);
  return found;
}

export function make<K extends keyof HTMLElementTagNameMap>(
  tag: K,
  properties: Partial<Omit<HTMLElementTagNameMap[K], "style" | "dataset">> = {},
  ...children: (Node | string)[]
): HTMLElementTagNameMap[K] {
  const element = document.createElement(tag);
  Object.assign(element, properties);
  element.append(...children);
  return element;
}

export function reducedMotion(): boolean {
  return matchMedia("(prefers-reduced-motion: reduce)").matches;
}

/** Whether a key belongs to a field or an open dialog and not to the page. */
export function isTyping(event: Event): boolean {
  const target = event.target instanceof Element ? event.target : null;
  if (document.querySelector("dialog[open]")) return true;
  const field = target?.closest("input, textarea, select, [contenteditable]");
  return field instanceof HTMLInputElement ? field.type !== "range" : field != null;
}

/** A choice that is part of the address: another one loads the page by it. */
export function bindAddressChoice(selector: string, parameter: string): void {
  const select = document.querySelector(selector);
  if (!(select instanceof HTMLSelectElement)) return;
  select.addEventListener("change", () => {
    const address = new URL(location.href);
    address.searchParams.set(parameter, select.value);
    location.assign(address);
  });
}
