import { describe, expect, it } from "vitest";
import { captureTime, count, duration, moment, rate } from "../src/ui/format";
import { matching } from "../src/ui/palette";
import { describeSource } from "../src/ui/source-hint";

describe("words", () => {
  it("says numbers and durations as people do", () => {
    expect(count(1, "photo", "photos")).toBe("1 photo");
    expect(count(12_345, "photo", "photos")).toBe("12,345 photos");
    expect([duration(0.2), duration(59.6), duration(3599), duration(7260)]).toEqual([
      "0 s",
      "1 min 0 s",
      "59 min 59 s",
      "2 h 1 min",
    ]);
    expect([rate(0.84), rate(34.2)]).toEqual(["0.8", "34"]);
  });

  it("tells how long ago", () => {
    const now = new Date("2025-06-14T12:00:00Z");
    const ago = (seconds: number): Date => new Date(now.getTime() - seconds * 1000);
    expect(moment(ago(5), now)).toBe("just now");
    expect(moment(ago(61), now)).toBe("1 minute ago");
    expect(moment(ago(7300), now)).toBe("2 hours ago");
  });

  it("shows the camera's clock, whatever the zone", () => {
    expect(captureTime("2025-06-14T15:20:00+09:00")).toContain("15:20");
    expect(captureTime("2025-06-14T15:20:00Z")).toContain("15:20");
    expect(captureTime("nonsense")).toBe("");
  });

  it("recognises sources", () => {
    expect(describeSource("https://example.org/list.csv")).toContain("fetched from the web");
    expect(describeSource("/srv/photos")).toContain("folder on the server");
    expect(describeSource("C:\\photos")).toContain("folder on the server");
    expect(describeSource("/srv/list.ndjson")).toContain("list in a file");
    expect(describeSource("ftp://x")).toContain("can't be read");
    expect(describeSource("photos")).toContain("Neither");
    expect(describeSource("  ")).toBeNull();
  });

  it("finds commands by all their words, beginnings first", () => {
    const commands = ["My summer", "Summer festival", "Winter"].map((label) => ({ label }));
    expect(matching(commands, "summer").map(({ label }) => label)).toEqual([
      "Summer festival",
      "My summer",
    ]);
    expect(matching(commands, "fest sum").map(({ label }) => label)).toEqual(["Summer festival"]);
  });
});
