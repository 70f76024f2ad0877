// @vitest-environment happy-dom
import { afterEach, beforeEach, describe, expect, it, vi } from "vitest";
import type { Live, LiveState } from "../src/state/live";
import type { ServerMessage } from "../src/state/messages";
import { type Run, readRun } from "../src/state/models";
import { ProgressFollower } from "../src/state/progress";
import { createStore } from "../src/state/store";
import { renderPill } from "../src/ui/pill";

function run(changes: Record<string, unknown> = {}): Run {
  const counters = { discovered: 1203, fetched: 640, indexed: 612, failed: 3 };
  const speed = { photos_per_second: 34.2, seconds_left: 18 };
  return readRun({ id: 7, state: "working", ...counters, ...speed, ...changes });
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
    const source = { latestRun: vi.fn(), run: vi.fn() };
    const follower = new ProgressFollower("summer", live, source);
    follower.start();
    state.set("open");
    say({ type: "progress", event: "winter", run: run({ id: 1 }) });
    say({ type: "progress", event: "summer", run: run() });
    await vi.advanceTimersByTimeAsync(60_000);
    expect(subscribed).toEqual(["summer"]);
    expect(follower.progress.get()).toMatchObject({ channel: "live", run: { id: 7 } });
    expect(source.latestRun).not.toHaveBeenCalled();
    expect(source.run).not.toHaveBeenCalled();
  });

  it("polls the run while the websocket is down, and stops when it is back", async () => {
    const { live, state, say } = connection();
    let indexed = 612;
    const source = {
      latestRun: vi.fn(async () => run()),
      run: vi.fn(async () => run({ indexed: ++indexed })),
    };
    const follower = new ProgressFollower("summer", live, source);
    follower.start();
    state.set("waiting");
    await vi.advanceTimersByTimeAsync(0);
    expect(follower.progress.get()).toMatchObject({ channel: "polling", run: { indexed: 612 } });
    await vi.advanceTimersByTimeAsync(4_000);
    expect(follower.progress.get().run?.indexed).toBe(614);
    state.set("open");
    say({ type: "progress", event: "summer", run: run({ indexed: 700 }) });
    await vi.advanceTimersByTimeAsync(60_000);
    expect(source.run).toHaveBeenCalledTimes(2);
    expect(follower.progress.get()).toMatchObject({ channel: "live", run: { indexed: 700 } });
  });

  it("says offline when nothing answers, and keeps the last counters", async () => {
    const { live, state, say } = connection();
    const away = async (): Promise<Run> => {
      throw new Error("away");
    };
    const follower = new ProgressFollower("summer", live, { latestRun: away, run: away });
    follower.start();
    say({ type: "progress", event: "summer", run: run() });
    state.set("waiting");
    await vi.advanceTimersByTimeAsync(0);
    expect(follower.progress.get()).toMatchObject({ channel: "offline", run: { indexed: 612 } });
    follower.stop();
  });
});

describe("renderPill", () => {
  function pill(progress: Parameters<typeof renderPill>[1]): HTMLElement {
    const element = document.createElement("div");
    renderPill(element, progress, "/events/summer/sources");
    return element;
  }

  it("says all of a running ingest, with a way to the reasons of failures", () => {
    const element = pill({ run: run(), channel: "live", known: true });
    for (const words of [
      "612 indexed",
      "34 photos/s",
      "18 s left",
      "1,203 found",
      "640 fetched",
      "3 failed",
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
    const early = run({ seconds_left: null, photos_per_second: null, discovered: 0 });
    const element = pill({ run: early, channel: "live", known: true });
    expect(element.textContent).toContain("Looking for photos");
    expect(element.textContent).not.toContain("left");
    expect(element.querySelector("progress")?.hasAttribute("value")).toBe(false);
  });

  it("goes on working while the space is built", () => {
    const built = run({ state: "done", stages: { graph: "done", layout: "working" } });
    const element = pill({ run: built, channel: "live", known: true });
    expect(element.textContent).toContain("Building the space");
    expect(element.dataset.state).toBe("working");
  });

  it("invites to add photos where there was no run", () => {
    const element = pill({ run: null, channel: "live", known: true });
    expect(element.textContent).toContain("Add photos");
  });
});
