/** The keys of the space (PRODUCT.md). Turning needs the canvas focused; the letters work anywhere. */
import { tinykeys } from "tinykeys";
import { isTyping } from "./dom";

export interface SpaceActions {
  turn(left: number, up: number): void;
  zoom(factor: number): void;
  home(): void;
  next(): void;
  flyToChosen(): void;
  openChosen(): void;
  letGo(): void;
}

const TURN = Math.PI / 24;
const ZOOM = 1.15;

export function bindSpaceKeys(canvas: HTMLCanvasElement, actions: SpaceActions): () => void {
  const on = (act: () => void) => (event: KeyboardEvent) => {
    if (isTyping(event)) return;
    event.preventDefault();
    act();
  };
  const offCanvas = tinykeys(canvas, {
    ArrowLeft: on(() => actions.turn(TURN, 0)),
    ArrowRight: on(() => actions.turn(-TURN, 0)),
    ArrowUp: on(() => actions.turn(0, TURN)),
    ArrowDown: on(() => actions.turn(0, -TURN)),
    Enter: on(actions.flyToChosen),
  });
  const offWindow = tinykeys(window, {
    "[Shift]++": on(() => actions.zoom(ZOOM)),
    "=": on(() => actions.zoom(ZOOM)),
    "-": on(() => actions.zoom(1 / ZOOM)),
    h: on(actions.home),
    n: on(actions.next),
    o: on(actions.openChosen),
    Escape: on(actions.letGo),
  });
  return () => {
    offCanvas();
    offWindow();
  };
}
