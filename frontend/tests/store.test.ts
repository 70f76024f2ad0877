import { describe, expect, it } from "vitest";
import { createStore } from "../src/state/store";

describe("createStore", () => {
  it("tells the present value at once and every change with the one before", () => {
    const store = createStore(1);
    const seen: [number, number][] = [];
    store.subscribe((value, before) => seen.push([value, before]));
    store.set(2);
    store.update((value) => value * 10);
    expect(seen).toEqual([
      [1, 1],
      [2, 1],
      [20, 2],
    ]);
  });

  it("says nothing when nothing changed, and nothing after the end", () => {
    const store = createStore("a");
    const seen: string[] = [];
    const end = store.subscribe((value) => seen.push(value));
    store.set("a");
    end();
    store.set("b");
    expect(seen).toEqual(["a"]);
    expect(store.get()).toBe("b");
  });

  it("lets a listener end itself while it is called", () => {
    const store = createStore(0);
    const seen: string[] = [];
    const end = store.subscribe((value) => {
      seen.push(`first ${value}`);
      if (value === 1) end();
    });
    store.subscribe((value) => seen.push(`second ${value}`));
    store.set(1);
    store.set(2);
    expect(seen).toEqual(["first 0", "second 0", "first 1", "second 1", "second 2"]);
  });
});
