// @vitest-environment happy-dom
import { describe, expect, it } from "vitest";
import { nextGroup, wouldMake } from "../src/ui/duplicates";

describe("what a step of the slider would make", () => {
  const counts = {
    "50": { exact: [1, 2], burst: [12, 40], lookalike: [3, 45] } as Record<
      string,
      [number, number]
    >,
  };

  it("says groups of each kind, and the photos of the widest", () => {
    expect(wouldMake(counts, 50)).toBe(
      "1 set of exact copies, 12 bursts, 3 sets of look-alikes; 45 photos are in a group",
    );
  });

  it("says nothing where nothing is known", () => {
    expect(wouldMake(counts, 55)).toBe("");
    expect(wouldMake({}, 50)).toBe("");
  });
});

describe("the group to go on with", () => {
  const list = (...decided: boolean[]) => {
    document.body.innerHTML = `<ol>${decided
      .map((each) => `<li class="group-row${each ? " decided" : ""}"></li>`)
      .join("")}<li class="more"></li></ol>`;
    return [...document.querySelectorAll<HTMLElement>(".group-row")];
  };

  it("is the next one that is left to decide", () => {
    const rows = list(false, true, false);
    expect(nextGroup(rows[0] as Element)).toBe(rows[2]);
  });

  it("is the last one before where none comes after", () => {
    const rows = list(false, true, false);
    expect(nextGroup(rows[2] as Element)).toBe(rows[0]);
  });

  it("is none where all are decided", () => {
    const rows = list(true, false, true);
    expect(nextGroup(rows[1] as Element)).toBeNull();
  });
});
