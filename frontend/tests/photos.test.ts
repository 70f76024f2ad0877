import { describe, expect, it } from "vitest";
import type { Photo } from "../src/state/models";
import { firstChange, mergeSwept, PhotoFeed } from "../src/state/photos";

function photo(id: number): Photo {
  return { id, width: 3, height: 2, thumb: "", href: "", title: "", takenAt: null };
}

function ids(photos: readonly Photo[]): number[] {
  return photos.map(({ id }) => id);
}

/** A server whose photos a test changes; cursors are the last id's place, as the real ones are opaque. */
function server(initial: number[], limit: number) {
  const state = { ids: initial, asked: [] as (string | null)[] };
  const feed = new PhotoFeed(async (cursor) => {
    state.asked.push(cursor);
    const start = cursor === null ? 0 : state.ids.indexOf(Number(cursor)) + 1;
    const items = state.ids.slice(start, start + limit).map(photo);
    const more = start + limit < state.ids.length;
    return {
      items,
      next: more ? `${items.at(-1)?.id}` : null,
      total: state.ids.length,
      inEvent: state.ids.length,
    };
  });
  return { state, feed };
}

describe("PhotoFeed", () => {
  it("reads all pages and tells each as it comes", async () => {
    const { feed } = server([1, 2, 3, 4, 5], 2);
    const lengths: number[] = [];
    feed.list.subscribe(({ photos }) => lengths.push(photos.length));
    await feed.refresh();
    expect(lengths).toEqual([0, 2, 4, 5]);
    expect(feed.list.get()).toMatchObject({ complete: true, total: 5, error: null });
  });

  it("reads only the tail when photos came at the end", async () => {
    const { state, feed } = server([1, 2, 3, 4, 5], 2);
    await feed.refresh();
    state.asked.length = 0;
    state.ids = [1, 2, 3, 4, 5, 6, 7];
    await feed.refresh();
    expect(state.asked).toEqual(["4", "6"]);
    expect(ids(feed.list.get().photos)).toEqual([1, 2, 3, 4, 5, 6, 7]);
  });

  it("sweeps when photos came in the middle, and never shows one twice", async () => {
    const { state, feed } = server([10, 20, 30, 40], 2);
    await feed.refresh();
    state.ids = [5, 10, 20, 25, 30, 40];
    feed.list.subscribe(({ photos }) => {
      expect(new Set(ids(photos)).size).toBe(photos.length);
    });
    await feed.refresh();
    expect(ids(feed.list.get().photos)).toEqual([5, 10, 20, 25, 30, 40]);
  });

  it("forgets photos that are gone", async () => {
    const { state, feed } = server([1, 2, 3, 4], 2);
    await feed.refresh();
    state.ids = [1, 3, 4];
    await feed.refresh();
    expect(ids(feed.list.get().photos)).toEqual([1, 3, 4]);
  });

  it("keeps what it has when the server fails, and recovers", async () => {
    let broken = false;
    const feed = new PhotoFeed(async () => {
      if (broken) throw new Error("away");
      return { items: [photo(1)], next: null, total: 1, inEvent: 1 };
    });
    await feed.refresh();
    broken = true;
    await feed.refresh();
    expect(feed.list.get()).toMatchObject({ photos: [{ id: 1 }], error: expect.any(Error) });
    broken = false;
    await feed.refresh();
    expect(feed.list.get().error).toBeNull();
  });
});

describe("merging", () => {
  it("puts fresh photos first and keeps the rest", () => {
    expect(ids(mergeSwept([1, 5, 2].map(photo), [1, 2, 3].map(photo)))).toEqual([1, 5, 2, 3]);
  });

  it("finds the first difference", () => {
    expect(firstChange([1, 2, 3].map(photo), [1, 2, 4].map(photo))).toBe(2);
    expect(firstChange([1, 2].map(photo), [1, 2, 3].map(photo))).toBe(2);
    expect(firstChange([], [photo(1)])).toBe(0);
  });
});
