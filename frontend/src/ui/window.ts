/** Which rows are near the viewport, and where the arrow keys lead. */
import type { Geometry, Row } from "./justified";

/** Index of the first row whose bottom lies below `y`; the number of rows if there is none. */
export function rowAt(rows: readonly Row[], y: number): number {
  let low = 0;
  let high = rows.length;
  while (low < high) {
    const middle = (low + high) >>> 1;
    const row = rows[middle];
    if (row && row.top + row.height > y) high = middle;
    else low = middle + 1;
  }
  return low;
}

export interface RowWindow {
  first: number;
  end: number;
}

/** Rows that meet [top, bottom], both widened by `overscan` pixels. */
export function rowWindow(
  rows: readonly Row[],
  top: number,
  bottom: number,
  overscan: number,
): RowWindow {
  const first = rowAt(rows, top - overscan);
  let end = first;
  while (end < rows.length && (rows[end]?.top ?? 0) < bottom + overscan) end += 1;
  return { first, end };
}

export function rowOf(rows: readonly Row[], index: number): number {
  let low = 0;
  let high = rows.length;
  while (low < high) {
    const middle = (low + high) >>> 1;
    if ((rows[middle]?.end ?? 0) > index) high = middle;
    else low = middle + 1;
  }
  return low;
}

export type Move = "left" | "right" | "up" | "down" | "home" | "end" | "pageup" | "pagedown";

/** The photo in `row` whose middle is nearest to the middle of photo `index`. */
function nearestInRow(geometry: Geometry, row: Row, index: number): number {
  const from = geometry.boxes[index];
  if (!from) return row.first;
  const middle = from.left + from.width / 2;
  let best = row.first;
  let bestDistance = Number.POSITIVE_INFINITY;
  for (let candidate = row.first; candidate < row.end; candidate += 1) {
    const box = geometry.boxes[candidate];
    if (!box) continue;
    const distance = Math.abs(box.left + box.width / 2 - middle);
    if (distance < bestDistance) {
      best = candidate;
      bestDistance = distance;
    }
  }
  return best;
}

/** Where `move` leads from photo `index`; `page` is the height of the viewport in pixels. */
export function moveFocus(geometry: Geometry, index: number, move: Move, page: number): number {
  const { rows, boxes } = geometry;
  const last = boxes.length - 1;
  if (last < 0) return -1;
  const row = rowOf(rows, index);
  const toRow = (wanted: number): number => {
    const target = rows[Math.min(rows.length - 1, Math.max(0, wanted))];
    return target ? nearestInRow(geometry, target, index) : index;
  };
  switch (move) {
    case "left":
      return Math.max(0, index - 1);
    case "right":
      return Math.min(last, index + 1);
    case "up":
      return row === 0 ? index : toRow(row - 1);
    case "down":
      return row >= rows.length - 1 ? index : toRow(row + 1);
    case "home":
      return 0;
    case "end":
      return last;
    case "pageup":
      return toRow(rowAt(rows, (rows[row]?.top ?? 0) - page));
    case "pagedown":
      return toRow(rowAt(rows, (rows[row]?.top ?? 0) + page));
  }
}
