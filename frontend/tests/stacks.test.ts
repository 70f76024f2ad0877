import { describe, expect, it } from "vitest";
import type { Photo } from "../src/state/models";
import { unfold } from "../src/ui/stacks";

function photo(id: number, group?: number): Photo {
  return {
    id,
    width: 3,
    height: 2,
    thumb: "",
    href: "",
    title: "",
    takenAt: null,
    stack: group === undefined ? null : { group, kind: "burst", count: 3 },
  };
}

describe("what the gallery shows of stacks", () => {
  const photos = [photo(1), photo(2, 7), photo(3)];

  it("is the list itself while none is open", () => {
    expect(unfold(photos, new Map())).toBe(photos);
  });

  it("has the members of an open stack behind the photo that stands for them", () => {
    const open = new Map([[7, [photo(2), photo(8), photo(9)]]]);
    const shown = unfold(photos, open);
    expect(shown.map((each) => each.id)).toEqual([1, 2, 8, 9, 3]);
    expect(shown.map((each) => each.unfolded ?? false)).toEqual([false, false, true, true, false]);
  });

  it("shows no photo twice where groups have changed meanwhile", () => {
    const open = new Map([[7, [photo(2), photo(3), photo(9)]]]);
    expect(unfold(photos, open).map((each) => each.id)).toEqual([1, 2, 9, 3]);
  });

  it("forgets a stack that is no more", () => {
    const open = new Map([[99, [photo(5)]]]);
    expect(unfold(photos, open).map((each) => each.id)).toEqual([1, 2, 3]);
  });
});
