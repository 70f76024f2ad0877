import { afterEach, beforeEach, describe, expect, it, vi } from "vitest";
import { Problem, Unreachable } from "../src/state/api";
import type { SearchAnswer } from "../src/state/models";
import { SearchController } from "../src/state/search";

function answer(query: string, found = 1): SearchAnswer {
  const hit = { width: 3, height: 2, thumb: "t", href: "h", title: "", takenAt: null, score: 0.3 };
  const items = Array.from({ length: found }, (_, id) => ({ ...hit, id, rank: id + 1 }));
  return { query, items, seconds: 0.01 };
}

interface Asked {
  query: string;
  signal: AbortSignal;
  resolve(answer: SearchAnswer): void;
  reject(error: unknown): void;
}

function searching() {
  const asked: Asked[] = [];
  const controller = new SearchController(
    (query, signal) =>
      new Promise((resolve, reject) => asked.push({ query, signal, resolve, reject })),
  );
  return { controller, asked };
}

describe("SearchController", () => {
  beforeEach(() => {
    vi.useFakeTimers();
  });
  afterEach(() => {
    vi.useRealTimers();
  });

  it("asks once, after a pause in the typing", async () => {
    const { controller, asked } = searching();
    for (const words of ["d", "do", "dog"]) {
      controller.type(words);
      await vi.advanceTimersByTimeAsync(100);
    }
    expect(asked).toHaveLength(0);
    await vi.advanceTimersByTimeAsync(50);
    expect(asked.map(({ query }) => query)).toEqual(["dog"]);
    asked[0]?.resolve(answer("dog", 2));
    await vi.advanceTimersByTimeAsync(0);
    expect(controller.state.get()).toMatchObject({ kind: "results", answer: { query: "dog" } });
  });

  it("drops the answer to older words, even when it comes last", async () => {
    const { controller, asked } = searching();
    controller.submit("dog");
    controller.submit("cat");
    expect(asked[0]?.signal.aborted).toBe(true);
    asked[1]?.resolve(answer("cat"));
    await vi.advanceTimersByTimeAsync(0);
    asked[0]?.resolve(answer("dog"));
    await vi.advanceTimersByTimeAsync(0);
    expect(controller.state.get()).toMatchObject({ kind: "results", answer: { query: "cat" } });
  });

  it("drops an answer that comes after clearing", async () => {
    const { controller, asked } = searching();
    controller.submit("dog");
    controller.clear();
    asked[0]?.resolve(answer("dog"));
    await vi.advanceTimersByTimeAsync(0);
    expect(controller.state.get()).toEqual({ kind: "idle" });
  });

  it("does not ask again for the same words with other spaces", async () => {
    const { controller, asked } = searching();
    controller.submit("dog");
    controller.type(" dog ");
    await vi.advanceTimersByTimeAsync(500);
    expect(asked).toHaveLength(1);
  });

  it("says when nothing matches", async () => {
    const { controller, asked } = searching();
    controller.submit("zebra");
    asked[0]?.resolve(answer("zebra", 0));
    await vi.advanceTimersByTimeAsync(0);
    expect(controller.state.get()).toEqual({ kind: "empty", query: "zebra" });
  });

  it("asks again when the warming model said it would be ready", async () => {
    const { controller, asked } = searching();
    controller.submit("dog");
    asked[0]?.reject(new Problem(503, "Warming", "Still warming.", "", 3));
    await vi.advanceTimersByTimeAsync(0);
    expect(controller.state.get()).toMatchObject({ kind: "warming", retryInSeconds: 3 });
    await vi.advanceTimersByTimeAsync(2_999);
    expect(asked).toHaveLength(1);
    await vi.advanceTimersByTimeAsync(1);
    asked[1]?.resolve(answer("dog"));
    await vi.advanceTimersByTimeAsync(0);
    expect(controller.state.get().kind).toBe("results");
  });

  it("stops waiting for the model when the words change", async () => {
    const { controller, asked } = searching();
    controller.submit("dog");
    asked[0]?.reject(new Problem(503, "Warming", "", "", null));
    await vi.advanceTimersByTimeAsync(0);
    controller.clear();
    await vi.advanceTimersByTimeAsync(10_000);
    expect(asked).toHaveLength(1);
  });

  it("shows a failure and lets the same words be tried again", async () => {
    const { controller, asked } = searching();
    controller.submit("dog");
    asked[0]?.reject(new Unreachable("away"));
    await vi.advanceTimersByTimeAsync(0);
    expect(controller.state.get().kind).toBe("failed");
    controller.submit("dog");
    expect(asked).toHaveLength(2);
  });
});
