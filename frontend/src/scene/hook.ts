/** `window.__scene`: what browser tests need to see and steer the space. */
import type { SceneStats, SpaceScene } from "./scene";

export interface SceneHook {
  readonly stats: SceneStats;
  info(): Record<string, unknown>;
  setCamera(pose: { position: [number, number, number]; target: [number, number, number] }): void;
  renderSync(): void;
  /** RGBA bytes, the bottom row first. */
  readPixels(): { width: number; height: number; data: Uint8Array };
  /** Photo id at CSS pixels of the canvas, null for none. */
  pick(x: number, y: number): number | null;
  /** Place of a photo in CSS pixels of the canvas, null where it isn't in front of the camera. */
  project(id: number): { x: number; y: number; depth: number } | null;
}

declare global {
  interface Window {
    __scene?: SceneHook;
  }
}

export function installHook(scene: SpaceScene): () => void {
  window.__scene = {
    stats: scene.stats,
    info: () => scene.info(),
    setCamera: ({ position, target }) => scene.setCamera(position, target),
    renderSync: () => scene.renderSync(),
    readPixels: () => scene.readPixels(),
    pick: (x, y) => {
      const index = scene.pick(x, y);
      return index < 0 ? null : (scene.cloud?.ids[index] ?? null);
    },
    project: (id) => {
      const index = scene.cloud?.ids.indexOf(id) ?? -1;
      return index < 0 ? null : scene.project(index);
    },
  };
  return () => {
    delete window.__scene;
  };
}
