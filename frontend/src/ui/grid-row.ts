import type { Stack } from "../state/models";
import type { Box, Row } from "./justified";

export interface GridItem {
  id: number;
  width: number;
  height: number;
  thumb: string;
  href: string;
  title: string;
  takenAt: string | null;
  score?: number;
  /** The group that this photo stands for. */
  stack?: Stack | null;
  /** Whether it is shown because its stack was opened. */
  unfolded?: boolean;
}

function createCell(): HTMLElement {
  const cell = document.createElement("div");
  cell.className = "grid-cell";
  cell.setAttribute("role", "gridcell");
  cell.append(document.createElement("a"));
  return cell;
}

function pictureOf(item: GridItem): HTMLImageElement {
  // a new element: a recycled one would show the photo before until the next has loaded
  const image = new Image();
  image.alt = item.title || `Photo ${item.id}`;
  image.decoding = "async";
  image.addEventListener("load", () => image.classList.add("shown"), { once: true });
  image.addEventListener("error", () => image.classList.add("broken"), { once: true });
  image.src = item.thumb;
  if (image.complete && image.naturalWidth > 0) image.classList.add("shown");
  return image;
}

function badgeOf(stack: Stack): HTMLElement {
  const badge = document.createElement("span");
  badge.className = "stack-badge";
  badge.title = "G opens the stack";
  badge.dataset.group = `${stack.group}`;
  badge.textContent = `${stack.count}`;
  badge.setAttribute("aria-label", `Stack of ${stack.count}`);
  return badge;
}

/** One row of the gallery; its elements are used again for other rows. */
export class GridRow {
  readonly element = document.createElement("div");
  readonly #cells: HTMLElement[] = [];
  #row: Row = { top: 0, height: 0, first: 0, end: 0 };

  constructor() {
    this.element.className = "grid-row";
    this.element.setAttribute("role", "row");
  }

  /** The photo's index of a link in the gallery; null for anything else. */
  static indexOf(target: EventTarget | null): number | null {
    const link = target instanceof Element ? target.closest<HTMLElement>("[data-index]") : null;
    return link ? Number(link.dataset.index) : null;
  }

  fill(
    index: number,
    row: Row,
    boxes: readonly Box[],
    items: readonly GridItem[],
    active: number,
  ): void {
    this.#row = row;
    const { style } = this.element;
    style.transform = `translateY(${row.top}px)`;
    style.height = `${row.height}px`;
    this.element.setAttribute("aria-rowindex", `${index + 1}`);
    for (let at = row.first; at < row.end; at += 1) {
      const box = boxes[at];
      const item = items[at];
      if (box && item) this.#fillCell(at, box, item, at === active);
    }
    const used = row.end - row.first;
    for (const cell of this.#cells.splice(used)) cell.remove();
  }

  #fillCell(at: number, box: Box, item: GridItem, active: boolean): void {
    const slot = at - this.#row.first;
    let cell = this.#cells[slot];
    if (!cell) {
      cell = createCell();
      this.#cells[slot] = cell;
      this.element.append(cell);
    }
    cell.style.left = `${box.left}px`;
    cell.style.width = `${box.width}px`;
    const link = cell.firstElementChild;
    if (!(link instanceof HTMLAnchorElement)) return;
    link.href = item.href;
    link.title = item.title;
    link.dataset.index = `${at}`;
    link.dataset.photo = `${item.id}`;
    link.tabIndex = active ? 0 : -1;
    const parts: Element[] = [pictureOf(item)];
    if (item.score !== undefined) {
      const score = document.createElement("span");
      score.className = "score";
      score.title = "Cosine similarity";
      score.textContent = item.score.toFixed(3);
      parts.push(score);
    }
    if (item.stack) parts.push(badgeOf(item.stack));
    link.classList.toggle("unfolded", item.unfolded === true);
    link.replaceChildren(...parts);
  }

  matches(row: Row): boolean {
    const mine = this.#row;
    return mine.first === row.first && mine.end === row.end && mine.top === row.top;
  }

  setActive(index: number): void {
    for (const cell of this.#cells) {
      const link = cell.firstElementChild;
      if (link instanceof HTMLAnchorElement) {
        link.tabIndex = Number(link.dataset.index) === index ? 0 : -1;
      }
    }
  }

  focus(index: number): void {
    const link = this.#cells[index - this.#row.first]?.firstElementChild;
    if (link instanceof HTMLElement) link.focus({ preventScroll: true });
  }

  /** Out of the document; a download that nobody waits for any more is given up. */
  release(): void {
    for (const image of this.element.querySelectorAll("img")) image.removeAttribute("src");
    this.element.remove();
  }
}
