/** What the gallery remembers: the size of the photos, and the place one comes back to. */
import type { Anchor, PhotoGrid } from "./grid";

/** A phone and a desktop are two tastes. */
function densityKey(): string {
  return innerWidth < 720 ? "clair:density-narrow" : "clair:density";
}

interface Place {
  anchor: Anchor | null;
  query: string;
}

/** Storage may be forbidden or full; remembering is a comfort and never worth an error. */
function attempt<T>(act: () => T): T | null {
  try {
    return act();
  } catch {
    return null;
  }
}

function cameBack(event: string): boolean {
  const [entry] = performance.getEntriesByType("navigation");
  const type = entry instanceof PerformanceNavigationTiming ? entry.type : "navigate";
  if (type !== "navigate") return true;
  return document.referrer.startsWith(`${location.origin}/events/${event}/photos/`);
}

export class GalleryMemory {
  readonly #placeKey: string;
  #pending: Place | null = null;
  #lastPhoto: number | null = null;

  constructor(event: string) {
    this.#placeKey = `clair:place:${event}`;
    history.scrollRestoration = "manual";
    if (!cameBack(event)) return;
    const kept = attempt(() => sessionStorage.getItem(this.#placeKey));
    this.#pending = kept ? attempt(() => JSON.parse(kept) as Place) : null;
    if (this.#pending?.query !== location.search) this.#pending = null;
    this.#lastPhoto = Number(attempt(() => sessionStorage.getItem(`clair:photo:${event}`))) || null;
    const forget = () => {
      this.#pending = null;
    };
    for (const kind of ["wheel", "touchmove", "keydown"]) {
      addEventListener(kind, forget, { once: true, passive: true });
    }
  }

  density(): number {
    const kept = Number(attempt(() => localStorage.getItem(densityKey())));
    return kept || (innerWidth < 720 ? 120 : 200);
  }

  keepDensity(height: number): void {
    attempt(() => localStorage.setItem(densityKey(), `${height}`));
  }

  leave(anchor: Anchor | null): void {
    const place: Place = { anchor, query: location.search };
    attempt(() => sessionStorage.setItem(this.#placeKey, JSON.stringify(place)));
  }

  /** Goes back to the remembered place as soon as its photo is there. */
  restore(grid: PhotoGrid, complete: boolean): void {
    const { anchor } = this.#pending ?? {};
    if (anchor && !grid.restore(anchor) && !complete) return;
    this.#pending = null;
    if (this.#lastPhoto !== null && (grid.reveal(this.#lastPhoto) || complete)) {
      this.#lastPhoto = null;
    }
  }
}
