// @vitest-environment happy-dom
import { beforeEach, describe, expect, it, vi } from "vitest";
import { type GridItem, PhotoGrid } from "../src/ui/grid";

const WIDTH = 1200;

function items(count: number, from = 0): GridItem[] {
  return Array.from({ length: count }, (_, index) => ({
    id: from + index + 1,
    width: index % 3 === 0 ? 2000 : 3000,
    height: index % 3 === 0 ? 3000 : 2000,
    thumb: `/media/thumb/${from + index + 1}.webp`,
    href: `/events/e/photos/${from + index + 1}`,
    title: `Photo ${from + index + 1}`,
    takenAt: null,
  }));
}

function frame(): Promise<void> {
  return new Promise((resolve) => requestAnimationFrame(() => resolve()));
}

describe("PhotoGrid", () => {
  let container: HTMLElement;
  let scrolled = 0;

  beforeEach(() => {
    scrolled = 0;
    container = document.createElement("div");
    document.body.replaceChildren(container);
    // happy-dom lays nothing out: the two measures that the grid takes are given here
    vi.spyOn(container, "clientWidth", "get").mockReturnValue(WIDTH);
    vi.spyOn(container, "getBoundingClientRect").mockImplementation(
      () => new DOMRect(0, -scrolled, WIDTH, 0),
    );
    vi.stubGlobal("scrollBy", ({ top }: { top: number }) => {
      scrolled += top;
    });
  });

  async function scrollTo(top: number): Promise<void> {
    scrolled = top;
    window.dispatchEvent(new Event("scroll"));
    await frame();
  }

  function shown(): number[] {
    return [...container.querySelectorAll<HTMLElement>("a")].map((link) =>
      Number(link.dataset.photo),
    );
  }

  it("keeps few elements in the document for 10,000 photos, wherever one scrolls", async () => {
    const grid = new PhotoGrid(container, 200);
    grid.setItems(items(10_000));
    const height = Number.parseFloat(container.style.height);
    expect(height).toBeGreaterThan(200_000);
    for (const share of [0, 0.1, 0.5, 0.52, 0.9, 0.99, 0.3]) {
      await scrollTo(height * share);
      expect(container.querySelectorAll("*").length).toBeLessThan(600);
      expect(shown().length).toBeGreaterThan(10);
      expect(new Set(shown()).size).toBe(shown().length);
    }
    grid.destroy();
    expect(container.children).toHaveLength(0);
  });

  it("is a grid with rows and cells only while there are photos", () => {
    const grid = new PhotoGrid(container, 200);
    grid.setItems(items(30));
    expect(container.getAttribute("role")).toBe("grid");
    expect(Number(container.getAttribute("aria-rowcount"))).toBeGreaterThan(2);
    for (const row of container.children) expect(row.getAttribute("role")).toBe("row");
    grid.setItems([]);
    expect(container.hasAttribute("role")).toBe(false);
    expect(container.children).toHaveLength(0);
  });

  it("moves the focus by arrows, also to rows that are not in the document yet", () => {
    const grid = new PhotoGrid(container, 200);
    grid.setItems(items(5_000));
    grid.focus();
    const press = (key: string) =>
      document.activeElement?.dispatchEvent(new KeyboardEvent("keydown", { key, bubbles: true }));
    const focused = () => (document.activeElement as HTMLElement).dataset.photo;
    expect(focused()).toBe("1");
    press("ArrowRight");
    expect(focused()).toBe("2");
    press("End");
    expect(focused()).toBe("5000");
    press("Home");
    expect(focused()).toBe("1");
    expect(container.querySelectorAll('a[tabindex="0"]')).toHaveLength(1);
    grid.destroy();
  });

  it("keeps the photo in view in its place when others arrive above it", async () => {
    const grid = new PhotoGrid(container, 200);
    const later = items(1_000, 500);
    grid.setItems(later);
    await scrollTo(20_000);
    const before = grid.anchor();
    grid.setItems([...items(500), ...later], 0);
    expect(grid.anchor()?.id).toBe(before?.id);
    expect(grid.anchor()?.offset).toBeCloseTo(before?.offset ?? Number.NaN, 0);
    grid.destroy();
  });

  it("shows scores of search results and none otherwise", () => {
    const grid = new PhotoGrid(container, 200);
    grid.setItems(items(3).map((item) => ({ ...item, score: 0.25 })));
    expect(container.querySelector(".score")?.textContent).toBe("0.250");
    grid.setItems(items(3));
    expect(container.querySelector(".score")).toBeNull();
    grid.destroy();
  });

  it("begins at the first photo where others replace those that were shown", () => {
    const grid = new PhotoGrid(container, 200);
    const all = items(30);
    grid.setItems(all);
    grid.replaceItems([...all].reverse());
    grid.focus();
    expect(document.activeElement).toBe(container.querySelector("[data-index='0']"));
  });
});
