/**
 * All photos of one event, fetched page by page and kept in the server's order while it grows.
 *
 * New photos can land anywhere in that order (it is capture time), so a refresh first reads the tail
 * again and, if the total doesn't add up, sweeps through all pages, merging each as it comes.
 */
import { getJson } from "./api";
import { type Photo, type PhotoPage, readPhotoPage } from "./models";
import { createStore, type Readable } from "./store";

export interface PhotoList {
  photos: readonly Photo[];
  /** The server's count; null until the first answer. */
  total: number | null;
  /** Photos of the event, shown or not; null until the first answer. */
  inEvent: number | null;
  /** Whether all pages have been read once. */
  complete: boolean;
  error: unknown;
}

export type FetchPage = (cursor: string | null, signal: AbortSignal) => Promise<PhotoPage>;

export function photoPages(apiUrl: string, limit = 500): FetchPage {
  return (cursor, signal) => {
    const url = new URL(apiUrl, location.href);
    url.searchParams.set("limit", `${limit}`);
    if (cursor !== null) url.searchParams.set("cursor", cursor);
    return getJson(`${url}`, readPhotoPage, signal);
  };
}

/** `fresh` in the server's order, then those of `old` that come after it and aren't in it. */
export function mergeSwept(fresh: readonly Photo[], old: readonly Photo[]): Photo[] {
  const seen = new Set(fresh.map((photo) => photo.id));
  return [...fresh, ...old.filter((photo) => !seen.has(photo.id))];
}

/** Index of the first photo that differs, or the shorter length. */
export function firstChange(before: readonly Photo[], after: readonly Photo[]): number {
  const length = Math.min(before.length, after.length);
  for (let index = 0; index < length; index += 1) {
    if (before[index]?.id !== after[index]?.id) return index;
    if (before[index]?.stack?.count !== after[index]?.stack?.count) return index;
  }
  return length;
}

export class PhotoFeed {
  readonly #fetchPage: FetchPage;
  readonly #store = createStore<PhotoList>({
    photos: [],
    total: null,
    inEvent: null,
    complete: false,
    error: null,
  });
  #abort = new AbortController();
  /** The cursor of the last page and the number of photos before it. */
  #tail: { cursor: string | null; offset: number } = { cursor: null, offset: 0 };
  #running: Promise<void> | null = null;
  #again = false;

  constructor(fetchPage: FetchPage) {
    this.#fetchPage = fetchPage;
  }

  get list(): Readable<PhotoList> {
    return this.#store;
  }

  /** Reads everything; further calls while it runs read once more afterwards. */
  refresh(): Promise<void> {
    if (this.#running) {
      this.#again = true;
      return this.#running;
    }
    this.#running = this.#read().finally(() => {
      this.#running = null;
      if (this.#again && !this.#abort.signal.aborted) {
        this.#again = false;
        void this.refresh();
      }
    });
    return this.#running;
  }

  stop(): void {
    this.#abort.abort();
  }

  async #read(): Promise<void> {
    try {
      if (this.#store.get().complete && (await this.#readTail())) return;
      await this.#sweep();
    } catch (error) {
      if (this.#abort.signal.aborted) return;
      this.#store.update((list) => ({ ...list, error }));
    }
  }

  /** True if what follows the last page's cursor explains the new total. */
  async #readTail(): Promise<boolean> {
    const head = this.#store.get().photos.slice(0, this.#tail.offset);
    const fresh = [...head];
    let [total, inEvent] = [0, 0];
    for (let cursor = this.#tail.cursor, more = true; more; ) {
      const page = await this.#fetchPage(cursor, this.#abort.signal);
      const offset = fresh.length;
      fresh.push(...page.items);
      ({ total, inEvent } = page);
      more = page.next !== null;
      if (more) {
        cursor = page.next;
      } else {
        this.#tail = { cursor, offset };
      }
    }
    if (fresh.length !== total || new Set(fresh.map((photo) => photo.id)).size !== total) {
      return false;
    }
    this.#store.set({ photos: fresh, total, inEvent, complete: true, error: null });
    return true;
  }

  async #sweep(): Promise<void> {
    const before = this.#store.get();
    const fresh: Photo[] = [];
    for (let cursor: string | null = null, more = true; more; ) {
      const page: PhotoPage = await this.#fetchPage(cursor, this.#abort.signal);
      const offset = fresh.length;
      fresh.push(...page.items);
      more = page.next !== null;
      this.#store.set({
        photos: more ? mergeSwept(fresh, before.photos) : [...fresh],
        total: page.total,
        inEvent: page.inEvent,
        complete: before.complete || !more,
        error: null,
      });
      if (more) {
        cursor = page.next;
      } else {
        this.#tail = { cursor, offset };
      }
    }
  }
}
