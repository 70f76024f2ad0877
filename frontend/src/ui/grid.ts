/** The gallery: justified rows of which only those near the viewport are in the document. */

import type { GridItem } from "./grid-row";
import { GridRow } from "./grid-row";
import { type Geometry, type LayoutOptions, layoutAspect, layoutRows, NOTHING } from "./justified";
import { type Move, moveFocus, rowAt, rowOf, rowWindow } from "./window";

export type { GridItem } from "./grid-row";

const OVERSCAN_PX = 600;
const GAP_PX = 4;

const MOVES: Record<string, Move> = {
  ArrowLeft: "left",
  ArrowRight: "right",
  ArrowUp: "up",
  ArrowDown: "down",
  Home: "home",
  End: "end",
  PageUp: "pageup",
  PageDown: "pagedown",
};

export interface Anchor {
  id: number;
  /** Distance of the photo's top from the top of the viewport, in pixels. */
  offset: number;
}

export class PhotoGrid {
  readonly #container: HTMLElement;
  readonly #rows = new Map<number, GridRow>();
  readonly #spare: GridRow[] = [];
  readonly #abort = new AbortController();
  readonly #resize: ResizeObserver;
  #items: readonly GridItem[] = [];
  #aspects: number[] = [];
  #geometry: Geometry = NOTHING;
  #options: LayoutOptions;
  /** The photo that Tab reaches. */
  #active = 0;
  #frame = 0;

  constructor(container: HTMLElement, targetHeight: number) {
    this.#container = container;
    this.#options = { width: container.clientWidth, targetHeight, gap: GAP_PX };
    const { signal } = this.#abort;
    addEventListener("scroll", () => this.#schedule(), { passive: true, signal });
    container.addEventListener("keydown", (event) => this.#key(event), { signal });
    container.addEventListener("focusin", (event) => this.#focused(event), { signal });
    this.#resize = new ResizeObserver(() => this.#resized());
    this.#resize.observe(container);
  }

  get items(): readonly GridItem[] {
    return this.#items;
  }

  /** Shows `items`; the first `unchanged` of them are the ones that were shown before. */
  setItems(items: readonly GridItem[], unchanged = 0): void {
    const anchor = unchanged > 0 || this.#items.length > 0 ? this.anchor() : null;
    const activeId = this.#items[this.#active]?.id;
    this.#aspects.length = Math.min(unchanged, this.#aspects.length);
    for (const item of items.slice(this.#aspects.length)) {
      this.#aspects.push(layoutAspect(item.width, item.height));
    }
    this.#items = items;
    const kept = activeId === undefined ? -1 : items.findIndex((item) => item.id === activeId);
    this.#active = Math.max(0, kept);
    this.#layout(unchanged);
    this.#recycleFrom(unchanged);
    if (anchor) this.restore(anchor, false);
    this.#render();
  }

  /** Shows other photos than before, from the first on. */
  replaceItems(items: readonly GridItem[]): void {
    this.#items = [];
    this.#active = 0;
    this.setItems(items);
  }

  setTargetHeight(height: number): void {
    const anchor = this.anchor();
    this.#options = { ...this.#options, targetHeight: height };
    this.#layoutAll(anchor);
  }

  /** The topmost photo in view, null above the first or in an empty grid. */
  anchor(): Anchor | null {
    const above = -this.#container.getBoundingClientRect().top;
    if (above <= 0) return null;
    const row = this.#geometry.rows[rowAt(this.#geometry.rows, above)];
    const item = row && this.#items[row.first];
    return row && item ? { id: item.id, offset: row.top - above } : null;
  }

  /** Scrolls so that the anchor's photo is where it was. False where the photo isn't there (yet). */
  restore(anchor: Anchor, evenIfAbsent = true): boolean {
    const index = this.#items.findIndex((item) => item.id === anchor.id);
    const box = this.#geometry.boxes[index];
    if (!box) return false;
    const now = this.#container.getBoundingClientRect().top + box.top;
    const shift = now - anchor.offset;
    if (evenIfAbsent || Math.abs(shift) > 0.5) scrollBy({ top: shift, behavior: "instant" });
    return true;
  }

  /** Makes the photo the one that Tab reaches, in view. */
  reveal(id: number, focus = false): boolean {
    const index = this.#items.findIndex((item) => item.id === id);
    if (index < 0) return false;
    this.#activate(index, focus);
    return true;
  }

  focus(): void {
    if (this.#items.length > 0) this.#activate(this.#active, true);
  }

  /** The first photo whose row is in view. */
  firstVisible(): GridItem | undefined {
    const above = Math.max(0, -this.#container.getBoundingClientRect().top);
    return this.#items[this.#geometry.rows[rowAt(this.#geometry.rows, above)]?.first ?? 0];
  }

  destroy(): void {
    this.#abort.abort();
    this.#resize.disconnect();
    cancelAnimationFrame(this.#frame);
    for (const row of this.#rows.values()) row.release();
    this.#rows.clear();
    this.#container.replaceChildren();
  }

  #layoutAll(anchor: Anchor | null): void {
    this.#layout(0);
    this.#recycleFrom(0);
    if (anchor) this.restore(anchor);
    this.#render();
  }

  #layout(unchanged: number): void {
    const previous = unchanged > 0 ? this.#geometry : NOTHING;
    this.#geometry = layoutRows(this.#aspects, this.#options, previous, unchanged);
    this.#container.style.height = `${Math.ceil(this.#geometry.height)}px`;
    if (this.#items.length > 0) {
      this.#container.setAttribute("role", "grid");
      this.#container.setAttribute("aria-label", this.#container.dataset.label ?? "");
      this.#container.setAttribute("aria-rowcount", `${this.#geometry.rows.length}`);
    } else {
      this.#container.removeAttribute("role");
      this.#container.removeAttribute("aria-label");
      this.#container.removeAttribute("aria-rowcount");
    }
  }

  #resized(): void {
    const width = this.#container.clientWidth;
    if (width === this.#options.width || width === 0) return;
    const anchor = this.anchor();
    this.#options = { ...this.#options, width };
    this.#layoutAll(anchor);
  }

  #schedule(): void {
    if (this.#frame !== 0) return;
    this.#frame = requestAnimationFrame(() => {
      this.#frame = 0;
      this.#render();
    });
  }

  #render(): void {
    const above = -this.#container.getBoundingClientRect().top;
    const { rows } = this.#geometry;
    const near = rowWindow(rows, above, above + innerHeight, OVERSCAN_PX);
    // the row that holds the focus stays, or the focus would be lost by scrolling
    const held = this.#container.contains(document.activeElement) ? rowOf(rows, this.#active) : -1;
    for (const [index, row] of this.#rows) {
      if ((index < near.first || index >= near.end) && index !== held) this.#recycle(index, row);
    }
    for (let index = near.first; index < near.end; index += 1) this.#show(index);
    if (held >= 0) this.#show(held);
    for (const spare of this.#spare) spare.element.remove();
  }

  #show(index: number): void {
    const row = this.#geometry.rows[index];
    if (!row || this.#rows.has(index)) return;
    const shown = this.#spare.pop() ?? new GridRow();
    shown.fill(index, row, this.#geometry.boxes, this.#items, this.#active);
    this.#rows.set(index, shown);
    this.#container.append(shown.element);
  }

  #recycle(index: number, row: GridRow): void {
    this.#rows.delete(index);
    row.release();
    this.#spare.push(row);
  }

  /** Takes out every shown row that holds a photo from `unchanged` on. */
  #recycleFrom(unchanged: number): void {
    for (const [index, row] of this.#rows) {
      const now = this.#geometry.rows[index];
      if (!now || now.end > unchanged || !row.matches(now)) this.#recycle(index, row);
    }
  }

  #focused(event: FocusEvent): void {
    const index = GridRow.indexOf(event.target);
    if (index !== null) this.#setActive(index);
  }

  #setActive(index: number): void {
    this.#active = index;
    for (const row of this.#rows.values()) row.setActive(index);
  }

  #key(event: KeyboardEvent): void {
    const move = MOVES[event.key];
    if (!move || event.ctrlKey || event.metaKey || event.altKey) return;
    const from = GridRow.indexOf(event.target);
    if (from === null) return;
    event.preventDefault();
    const to = moveFocus(this.#geometry, from, move, innerHeight * 0.8);
    if (to >= 0) this.#activate(to, true);
  }

  #activate(index: number, focus: boolean): void {
    this.#setActive(index);
    const box = this.#geometry.boxes[index];
    if (!box) return;
    const top = this.#container.getBoundingClientRect().top + box.top;
    // room for the bar that sticks to the top and the one at a phone's bottom
    const margin = 80;
    if (top < margin) scrollBy({ top: top - margin, behavior: "instant" });
    else if (top + box.height > innerHeight - margin) {
      scrollBy({ top: top + box.height - innerHeight + margin, behavior: "instant" });
    }
    const row = rowOf(this.#geometry.rows, index);
    this.#show(row);
    if (focus) this.#rows.get(row)?.focus(index);
    this.#render();
  }
}
