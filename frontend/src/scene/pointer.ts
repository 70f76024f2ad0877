/** Mouse and touch on the canvas: hover, click, double click, tap; never while turning the camera. */
import type { SpaceScene } from "./scene";

const CLICK_PX = 5;
const CLICK_MS = 400;
/** A click waits this long for its second half. */
const DOUBLE_MS = 260;

export interface PointerEvents {
  hover(index: number): void;
  /** A mouse click on a point. */
  click(index: number): void;
  /** A finger's tap on a point. */
  tap(index: number): void;
  doubleClick(index: number): void;
  /** A click or tap on nothing. */
  nothing(): void;
}

export function bindPointer(
  canvas: HTMLCanvasElement,
  scene: SpaceScene,
  events: PointerEvents,
): () => void {
  const abort = new AbortController();
  const { signal } = abort;
  let down: { x: number; y: number; at: number } | null = null;
  let clickTimer: ReturnType<typeof setTimeout> | undefined;
  let frame = 0;
  let last = { x: 0, y: 0 };

  const place = (event: MouseEvent): { x: number; y: number } => {
    const box = canvas.getBoundingClientRect();
    return { x: event.clientX - box.left, y: event.clientY - box.top };
  };
  const hover = (index: number): void => {
    canvas.classList.toggle("over-point", index >= 0);
    events.hover(index);
  };

  canvas.addEventListener(
    "pointermove",
    (event) => {
      if (event.pointerType === "touch" || event.buttons !== 0) return;
      last = place(event);
      if (frame !== 0) return;
      frame = requestAnimationFrame(() => {
        frame = 0;
        hover(scene.pick(last.x, last.y));
      });
    },
    { signal },
  );
  canvas.addEventListener("pointerleave", () => hover(-1), { signal });
  canvas.addEventListener(
    "pointerdown",
    (event) => {
      clearTimeout(clickTimer);
      down = { ...place(event), at: event.timeStamp };
      if (!event.isPrimary || event.button !== 0) down = null;
    },
    { signal },
  );
  canvas.addEventListener(
    "pointerup",
    (event) => {
      const start = down;
      down = null;
      if (!start) return;
      const end = place(event);
      const moved = Math.hypot(end.x - start.x, end.y - start.y);
      if (moved > CLICK_PX || event.timeStamp - start.at > CLICK_MS) return;
      const index = scene.pick(end.x, end.y);
      if (index < 0) events.nothing();
      else if (event.pointerType === "touch") events.tap(index);
      else clickTimer = setTimeout(() => events.click(index), DOUBLE_MS);
    },
    { signal },
  );
  canvas.addEventListener(
    "dblclick",
    (event) => {
      clearTimeout(clickTimer);
      const { x, y } = place(event);
      const index = scene.pick(x, y);
      if (index >= 0) events.doubleClick(index);
    },
    { signal },
  );

  return () => {
    abort.abort();
    clearTimeout(clickTimer);
    cancelAnimationFrame(frame);
  };
}
