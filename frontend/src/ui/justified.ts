/** Justified rows, laid out again only from the first photo that changed. */
import justifiedLayout from "justified-layout";

export interface Box {
  left: number;
  top: number;
  width: number;
  height: number;
}

export interface Row {
  top: number;
  height: number;
  /** Index of the first photo, and one past the last. */
  first: number;
  end: number;
}

export interface Geometry {
  boxes: Box[];
  rows: Row[];
  height: number;
}

export interface LayoutOptions {
  width: number;
  targetHeight: number;
  gap: number;
}

export const NOTHING: Geometry = { boxes: [], rows: [], height: 0 };

/** A panorama or a tall screenshot must not make a row of its own size. */
const NARROWEST = 0.4;
const WIDEST = 3.5;

export function layoutAspect(width: number, height: number): number {
  return Math.min(WIDEST, Math.max(NARROWEST, width / height));
}

/** How many rows of `previous` stay right when photos change from index `from` on. */
function rowsKept(previous: Geometry, from: number): number {
  // the last row may be unfinished, so it is never kept
  let kept = Math.max(0, previous.rows.length - 1);
  while (kept > 0 && (previous.rows[kept - 1]?.end ?? 0) > from) kept -= 1;
  return kept;
}

/**
 * Lays out photos of the given aspect ratios (width / height). Rows of `previous`, which must have
 * been made with the same options, are kept up to the photo `from`.
 */
export function layoutRows(
  aspects: readonly number[],
  options: LayoutOptions,
  previous: Geometry = NOTHING,
  from = 0,
): Geometry {
  const kept = rowsKept(previous, from);
  const rows = previous.rows.slice(0, kept);
  const lastKept = rows.at(-1);
  const start = lastKept?.end ?? 0;
  const top = lastKept ? lastKept.top + lastKept.height + options.gap : 0;
  const boxes = previous.boxes.slice(0, start);
  const rest = aspects.slice(start);
  if (rest.length === 0) {
    return { boxes, rows, height: lastKept ? lastKept.top + lastKept.height : 0 };
  }
  const layout = justifiedLayout(rest, {
    containerWidth: options.width,
    containerPadding: 0,
    boxSpacing: options.gap,
    targetRowHeight: options.targetHeight,
    targetRowHeightTolerance: 0.25,
  });
  let row: Row | null = null;
  for (const [offset, placed] of layout.boxes.entries()) {
    const { left, width, height } = placed;
    const box = { left, top: placed.top + top, width, height };
    boxes.push(box);
    if (row === null || Math.abs(box.top - row.top) > 0.5) {
      row = { top: box.top, height: box.height, first: start + offset, end: start + offset + 1 };
      rows.push(row);
    } else {
      row.end = start + offset + 1;
    }
  }
  const last = rows.at(-1);
  return { boxes, rows, height: last ? last.top + last.height : 0 };
}
