import { describe, expect, it } from "vitest";
import { type Geometry, layoutAspect, layoutRows, NOTHING } from "../src/ui/justified";
import { moveFocus, rowAt, rowOf, rowWindow } from "../src/ui/window";

const OPTIONS = { width: 1200, targetHeight: 200, gap: 4 };

/** Aspect ratios as a camera makes them, always the same. */
function aspects(count: number): number[] {
  const shapes = [1.5, 0.667, 1.5, 1.333, 1.778, 1, 0.75];
  return Array.from({ length: count }, (_, index) => shapes[(index * 5 + 3) % 7] ?? 1.5);
}

function expectWhole(geometry: Geometry, count: number): void {
  expect(geometry.boxes).toHaveLength(count);
  let next = 0;
  for (const row of geometry.rows) {
    expect(row.first).toBe(next);
    expect(row.end).toBeGreaterThan(row.first);
    next = row.end;
  }
  expect(next).toBe(count);
}

describe("layoutRows", () => {
  it("fills every row but the last to the full width, with the gap between photos", () => {
    const geometry = layoutRows(aspects(200), OPTIONS);
    expectWhole(geometry, 200);
    for (const row of geometry.rows.slice(0, -1)) {
      const last = geometry.boxes[row.end - 1];
      expect((last?.left ?? 0) + (last?.width ?? 0)).toBeCloseTo(OPTIONS.width, 0);
    }
    for (const [index, row] of geometry.rows.entries()) {
      const above = geometry.rows[index - 1];
      if (above) expect(row.top).toBeCloseTo(above.top + above.height + OPTIONS.gap, 3);
    }
  });

  it("gives the same when photos arrive page by page as when all are there at once", () => {
    const all = aspects(1730);
    let grown = NOTHING;
    let before = 0;
    for (const count of [1, 2, 500, 1000, 1001, 1730]) {
      grown = layoutRows(all.slice(0, count), OPTIONS, grown, before);
      before = count;
    }
    const whole = layoutRows(all, OPTIONS);
    expectWhole(grown, all.length);
    expect(grown.rows.length).toBe(whole.rows.length);
    expect(grown.height).toBeCloseTo(whole.height, 3);
    for (const index of [0, 499, 500, 999, 1000, 1729]) {
      expect(grown.boxes[index]?.top).toBeCloseTo(whole.boxes[index]?.top ?? -1, 3);
      expect(grown.boxes[index]?.left).toBeCloseTo(whole.boxes[index]?.left ?? -1, 3);
    }
  });

  it("lays out again from a photo that came in the middle", () => {
    const before = aspects(300);
    const after = [...before.slice(0, 120), 0.5, ...before.slice(120)];
    const geometry = layoutRows(after, OPTIONS, layoutRows(before, OPTIONS), 120);
    expect(geometry.boxes).toEqual(
      layoutRows(after, OPTIONS).boxes.map((box) => ({
        ...box,
        top: expect.closeTo(box.top, 3),
      })),
    );
  });

  it("forgets photos that went away, down to none", () => {
    const full = layoutRows(aspects(50), OPTIONS);
    expectWhole(layoutRows(aspects(50).slice(0, 20), OPTIONS, full, 20), 20);
    expect(layoutRows([], OPTIONS, full, 0)).toEqual({ boxes: [], rows: [], height: 0 });
  });

  it("keeps panoramas and towers within bounds", () => {
    expect(layoutAspect(20_000, 1000)).toBe(3.5);
    expect(layoutAspect(100, 5000)).toBe(0.4);
    expect(layoutAspect(3000, 2000)).toBe(1.5);
  });
});

describe("rowWindow", () => {
  const geometry = layoutRows(aspects(10_000), OPTIONS);

  it("covers the viewport and stays small, wherever one scrolls in 10,000 photos", () => {
    for (let top = 0; top < geometry.height; top += 9_973) {
      const { first, end } = rowWindow(geometry.rows, top, top + 900, 600);
      const firstRow = geometry.rows[first];
      const lastRow = geometry.rows[end - 1];
      expect(firstRow && (first === 0 || firstRow.top <= top)).toBe(true);
      expect(
        lastRow && (end === geometry.rows.length || lastRow.top + lastRow.height >= top + 900),
      ).toBe(true);
      expect(end - first).toBeLessThan(18);
    }
  });

  it("is empty above and below the rows", () => {
    expect(rowWindow(geometry.rows, -5000, -4000, 0)).toEqual({ first: 0, end: 0 });
    const { first, end } = rowWindow(geometry.rows, geometry.height + 1, geometry.height + 9, 0);
    expect(end - first).toBe(0);
  });

  it("finds the row of a pixel and of a photo", () => {
    const row = geometry.rows[700];
    if (!row) throw new Error("there are more than 700 rows");
    expect(rowAt(geometry.rows, row.top + 1)).toBe(700);
    expect(rowOf(geometry.rows, row.first)).toBe(700);
    expect(rowOf(geometry.rows, row.end - 1)).toBe(700);
  });
});

describe("moveFocus", () => {
  const geometry = layoutRows(aspects(500), OPTIONS);

  it("goes down and up to the photo whose middle is nearest", () => {
    for (const index of [0, 3, 17, 200]) {
      const below = moveFocus(geometry, index, "down", 800);
      expect(rowOf(geometry.rows, below)).toBe(rowOf(geometry.rows, index) + 1);
      const middle = (at: number): number =>
        (geometry.boxes[at]?.left ?? 0) + (geometry.boxes[at]?.width ?? 0) / 2;
      const row = geometry.rows[rowOf(geometry.rows, below)];
      for (let other = row?.first ?? 0; other < (row?.end ?? 0); other += 1) {
        expect(Math.abs(middle(below) - middle(index))).toBeLessThanOrEqual(
          Math.abs(middle(other) - middle(index)),
        );
      }
    }
  });

  it("stops at both ends", () => {
    expect(moveFocus(geometry, 0, "left", 800)).toBe(0);
    expect(moveFocus(geometry, 0, "up", 800)).toBe(0);
    expect(moveFocus(geometry, 499, "right", 800)).toBe(499);
    expect(moveFocus(geometry, 499, "down", 800)).toBe(499);
    expect(moveFocus(geometry, 250, "home", 800)).toBe(0);
    expect(moveFocus(geometry, 250, "end", 800)).toBe(499);
    expect(moveFocus(NOTHING, 0, "right", 800)).toBe(-1);
  });

  it("turns pages by whole screens", () => {
    const down = moveFocus(geometry, 0, "pagedown", 800);
    const rows = rowOf(geometry.rows, down);
    expect(rows).toBeGreaterThanOrEqual(3);
    expect(rowOf(geometry.rows, moveFocus(geometry, down, "pageup", 800))).toBeLessThan(rows);
  });
});
