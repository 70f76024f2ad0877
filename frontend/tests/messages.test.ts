import { describe, expect, it } from "vitest";
import { readMessage } from "../src/state/messages";
import { WrongShape } from "../src/state/shape";

const RUN = {
  id: 4,
  event: "e",
  source: "list.csv",
  state: "working",
  discovered: 100,
  fetched: 40,
  indexed: 38,
  unchanged: 0,
  duplicates: 1,
  failed: 2,
  bytes: 12,
  photos_per_second: 21.5,
  seconds_left: null,
  seconds: 3,
  started_at: "2025-06-14T10:00:00Z",
  finished_at: null,
  failures: [],
  stages: { graph: "pending", layout: "none" },
};

describe("readMessage", () => {
  it("reads progress with and without a run", () => {
    const message = readMessage(JSON.stringify({ type: "progress", event: "e", run: RUN }));
    expect(message).toMatchObject({
      type: "progress",
      event: "e",
      run: { id: 4, photosPerSecond: 21.5, secondsLeft: null, stages: { graph: "pending" } },
    });
    expect(readMessage('{"type":"progress","event":"e","run":null}')).toEqual({
      type: "progress",
      event: "e",
      run: null,
    });
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
    ["a run in an unknown state", `{"type":"progress","event":"e","run":{"id":1,"state":"odd"}}`],
    [
      "a run whose count is text",
      `{"type":"progress","event":"e","run":{"id":1,"state":"done","failed":"2"}}`,
    ],
  ])("refuses %s", (_what, frame) => {
    expect(() => readMessage(frame)).toThrow(WrongShape);
  });
});
