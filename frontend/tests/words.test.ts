import { describe, expect, it } from "vitest";
import { about, captureTime, count, due, duration, moment, rate, size } from "../src/ui/format";
import { matching } from "../src/ui/palette";

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
    expect([about(18), about(119), about(200), about(7260)]).toEqual([
      "18 s",
      "1 min 59 s",
      "3 min",
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

  it("says bytes and moments to come", () => {
    expect([size(0), size(999), size(12_400), size(3_460_000), size(1.2e9), size(2e12)]).toEqual([
      "0 B",
      "999 B",
      "12 kB",
      "3.5 MB",
      "1.20 GB",
      "2.00 TB",
    ]);
    const now = new Date("2025-06-14T12:00:00Z");
    const to = (seconds: number): Date => new Date(now.getTime() + seconds * 1000);
    expect(due(to(-5), now)).toBe("any moment now");
    expect(due(to(600), now)).toBe("in 10 minutes");
    expect(due(to(21_600), now)).toBe("in 6 hours");
    expect(due(to(604_800), now)).toContain("2025");
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
