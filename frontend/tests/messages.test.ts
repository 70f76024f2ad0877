import { describe, expect, it } from "vitest";
import { readMessage } from "../src/state/messages";
import { WrongShape } from "../src/state/shape";

const FIGURES = {
  event: "e",
  state: "working",
  discovered: 100,
  waiting: 60,
  fetched: 40,
  indexed: 38,
  unchanged: 0,
  failed: 2,
  ignored: 0,
  cancelled: 0,
  bytes: 12,
  photos_per_second: 21.5,
  seconds_left: null,
};
const RUN = {
  ...FIGURES,
  id: 4,
  source_id: 3,
  source: "list.csv",
  duplicates: 1,
  seconds: 3,
  started_at: "2025-06-14T10:00:00Z",
  finished_at: null,
  failures: [],
  stages: { graph: "pending", layout: "none" },
};

describe("readMessage", () => {
  it("reads progress with and without a run", () => {
    const told = (progress: unknown) =>
      readMessage(JSON.stringify({ type: "progress", event: "e", progress }));
    expect(told({ ...FIGURES, runs: [RUN] })).toMatchObject({
      type: "progress",
      event: "e",
      progress: {
        state: "working",
        photosPerSecond: 21.5,
        secondsLeft: null,
        runs: [{ id: 4, stages: { graph: "pending" } }],
      },
    });
    expect(told({ ...FIGURES, state: "none", runs: [] })).toMatchObject({
      progress: { state: "none", runs: [] },
    });
  });

  it.each(["pending", "paused", "done", "failed", "cancelled"])("knows the state %s", (state) => {
    const runs = [{ ...RUN, state }];
    const frame = { type: "progress", event: "e", progress: { ...FIGURES, state, runs } };
    expect(readMessage(JSON.stringify(frame))).toMatchObject({ progress: { state } });
  });

  it("reads the other messages", () => {
    expect(readMessage('{"type":"layout","event":"e","version":12}')).toEqual({
      type: "layout",
      event: "e",
      version: "12",
    });
    expect(readMessage('{"type":"refetch","more":1}')).toEqual({ type: "refetch" });
    expect(readMessage('{"type":"pong"}')).toEqual({ type: "pong" });
    expect(readMessage('{"type":"error","message":"no"}')).toEqual({
      type: "error",
      message: "no",
    });
  });

  it.each([
    ["no JSON", "{"],
    ["no object", "[]"],
    ["no text", new ArrayBuffer(2)],
    ["an unknown type", '{"type":"delta"}'],
    ["a missing event", '{"type":"layout","version":"1"}'],
    [
      "a run in an unknown state",
      `{"type":"progress","event":"e","progress":{"event":"e","state":"odd","runs":[]}}`,
    ],
    [
      "figures that are text",
      `{"type":"progress","event":"e","progress":{"event":"e","state":"done","failed":"2","runs":[]}}`,
    ],
  ])("refuses %s", (_what, frame) => {
    expect(() => readMessage(frame)).toThrow(WrongShape);
  });
});
