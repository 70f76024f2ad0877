// @vitest-environment happy-dom
import { afterEach, beforeEach, describe, expect, it, vi } from "vitest";
import type { Live, LiveState } from "../src/state/live";
import type { ServerMessage } from "../src/state/messages";
import { type Progress, readProgress } from "../src/state/models";
import { ProgressFollower } from "../src/state/progress";
import { createStore } from "../src/state/store";
import { renderPill } from "../src/ui/pill";

/** An event with one run, whose figures are therefore the event's. */
function progress(
  changes: Record<string, unknown> = {},
  run: Record<string, unknown> = {},
): Progress {
  const counters = { discovered: 1203, fetched: 640, indexed: 612, failed: 3, waiting: 588 };
  const speed = { photos_per_second: 34.2, seconds_left: 18, bytes: 1_240_000_000 };
  const figures = { state: "working", ...counters, ...speed, ...changes };
  const state = figures.state === "none" ? "done" : figures.state;
  const runs = figures.state === "none" ? [] : [{ id: 7, ...figures, state, ...run }];
  return readProgress({ event: "summer", ...figures, runs });
}

/** The connection as the follower sees it, moved by the test. */
function connection() {
  const state = createStore<LiveState>("connecting");
  const listeners: ((message: ServerMessage) => void)[] = [];
  const subscribed: string[] = [];
  const live = {
    state,
    listen: (listener: (message: ServerMessage) => void) => {
      listeners.push(listener);
      return () => {};
    },
    subscribe: (event: string) => subscribed.push(event),
    unsubscribe: () => {},
  } as unknown as Live;
  const say = (message: ServerMessage): void => {
    for (const listener of listeners) listener(message);
  };
  return { live, state, subscribed, say };
}

describe("ProgressFollower", () => {
  beforeEach(() => {
    vi.useFakeTimers();
  });
  afterEach(() => {
    vi.useRealTimers();
  });

  it("takes its own event's progress from the websocket and asks nothing else", async () => {
    const { live, state, subscribed, say } = connection();
    const ask = vi.fn();
    const follower = new ProgressFollower("summer", live, ask);
    follower.start();
    state.set("open");
    say({ type: "progress", event: "winter", progress: progress({ indexed: 1 }) });
    say({ type: "progress", event: "summer", progress: progress() });
    await vi.advanceTimersByTimeAsync(60_000);
    expect(subscribed).toEqual(["summer"]);
    expect(follower.following.get()).toMatchObject({ channel: "live", progress: { indexed: 612 } });
    expect(ask).not.toHaveBeenCalled();
  });

  it("asks while the websocket is down, and stops when it is back", async () => {
    const { live, state, say } = connection();
    let indexed = 612;
    const ask = vi.fn(async () => progress({ indexed: indexed++ }));
    const follower = new ProgressFollower("summer", live, ask);
    follower.start();
    state.set("waiting");
    await vi.advanceTimersByTimeAsync(0);
    expect(follower.following.get()).toMatchObject({
      channel: "polling",
      progress: { indexed: 612 },
    });
    await vi.advanceTimersByTimeAsync(4_000);
    expect(follower.following.get().progress?.indexed).toBe(614);
    state.set("open");
    say({ type: "progress", event: "summer", progress: progress({ indexed: 700 }) });
    await vi.advanceTimersByTimeAsync(60_000);
    expect(ask).toHaveBeenCalledTimes(3);
    expect(follower.following.get()).toMatchObject({ channel: "live", progress: { indexed: 700 } });
  });

  it("asks once where messages were dropped", async () => {
    const { live, state, say } = connection();
    const ask = vi.fn(async () => progress({ indexed: 900 }));
    const follower = new ProgressFollower("summer", live, ask);
    follower.start();
    state.set("open");
    say({ type: "refetch" });
    await vi.advanceTimersByTimeAsync(60_000);
    expect(ask).toHaveBeenCalledTimes(1);
    expect(follower.following.get()).toMatchObject({ channel: "live", progress: { indexed: 900 } });
  });

  it("says offline when nothing answers, and keeps the last counters", async () => {
    const { live, state, say } = connection();
    const away = async (): Promise<Progress> => {
      throw new Error("away");
    };
    const follower = new ProgressFollower("summer", live, away);
    follower.start();
    say({ type: "progress", event: "summer", progress: progress() });
    state.set("waiting");
    await vi.advanceTimersByTimeAsync(0);
    expect(follower.following.get()).toMatchObject({
      channel: "offline",
      progress: { indexed: 612 },
    });
    follower.stop();
  });
});

describe("renderPill", () => {
  function pill(following: Parameters<typeof renderPill>[1]): HTMLElement {
    const element = document.createElement("div");
    renderPill(element, following, "/events/summer/sources");
    return element;
  }

  it("says all of a running ingest, with a way to the reasons of failures", () => {
    const element = pill({ progress: progress(), channel: "live" });
    for (const words of [
      "612 embedded",
      "34 photos/s",
      "18 s left",
      "1,203 found",
      "640 fetched",
      "3 failed",
      "1.24 GB",
    ]) {
      expect(element.textContent).toContain(words);
    }
    expect(element.querySelector("a")?.getAttribute("href")).toBe(
      "/events/summer/sources#failures",
    );
    expect(element.querySelector("progress")?.getAttribute("max")).toBe("1203");
    expect(element.dataset.state).toBe("working");
  });

  it("promises no time that isn't known", () => {
    const early = progress({ seconds_left: null, photos_per_second: null, discovered: 0 });
    const element = pill({ progress: early, channel: "live" });
    expect(element.textContent).toContain("Looking for photos");
    expect(element.textContent).not.toContain("left");
    expect(element.querySelector("progress")?.hasAttribute("value")).toBe(false);
  });

  it("says that it is paused, what waits, and where to resume it", () => {
    const still = { state: "paused", photos_per_second: null, seconds_left: null };
    const element = pill({ progress: progress(still), channel: "live" });
    expect(element.dataset.state).toBe("paused");
    expect(element.textContent).toContain("Paused");
    expect(element.textContent).toContain("588 photos wait");
    expect(element.textContent).not.toContain("photos/s");
    expect(element.querySelector("a")?.getAttribute("href")).toBe("/events/summer/sources");
  });

  it("counts what a person gave up as settled", () => {
    const given = { discovered: 10, indexed: 4, failed: 1, ignored: 2, cancelled: 3 };
    const element = pill({ progress: progress(given), channel: "live" });
    expect(element.querySelector("progress")?.value).toBe(10);
  });

  it("goes on working while the space is built", () => {
    const built = progress({ state: "done" }, { stages: { graph: "done", layout: "working" } });
    const element = pill({ progress: built, channel: "live" });
    expect(element.textContent).toContain("Building the space");
    expect(element.dataset.state).toBe("working");
  });

  it("invites to add photos where there was no run", () => {
    const element = pill({ progress: progress({ state: "none" }), channel: "live" });
    expect(element.textContent).toContain("Add photos");
    expect(pill({ progress: null, channel: "live" }).textContent).toContain("Checking");
  });
});
