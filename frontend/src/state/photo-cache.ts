/** Single photos by id, fetched once. */
import { getJson } from "./api";
import { type Photo, readPhoto } from "./models";

const LIMIT = 2_000;

export class PhotoCache {
  readonly #photos = new Map<number, Promise<Photo | null>>();

  /** Null where the photo can't be fetched now; the next call asks again. */
  get(id: number): Promise<Photo | null> {
    const known = this.#photos.get(id);
    if (known) return known;
    const asked = getJson(`/api/v1/photos/${id}`, (value) => readPhoto(value)).catch(() => {
      this.#photos.delete(id);
      return null;
    });
    this.#photos.set(id, asked);
    const [oldest] = this.#photos.keys();
    if (this.#photos.size > LIMIT && oldest !== undefined) this.#photos.delete(oldest);
    return asked;
  }
}

/** The newest thumbnail, revalidated by its ETag. */
export function thumbUrl(id: number): string {
  return `/media/thumb/${id}.webp`;
}

export function photoUrl(event: string, id: number): string {
  return `/events/${encodeURIComponent(event)}/photos/${id}`;
}
