/** The websocket's messages, both ways (docs/web.md). */
import { type Progress, readProgress } from "./models";
import { object, oneOf, text, WrongShape } from "./shape";

export type ServerMessage =
  | { type: "progress"; event: string; progress: Progress }
  | { type: "layout"; event: string; version: string }
  | { type: "refetch" }
  | { type: "pong" }
  | { type: "error"; message: string };

export type ClientMessage =
  | { type: "subscribe"; event: string }
  | { type: "unsubscribe"; event: string }
  | { type: "ping" };

const TYPES = ["progress", "layout", "refetch", "pong", "error"] as const;

/** Reads one frame. Throws `WrongShape` where it is none of the known messages. */
export function readMessage(frame: unknown): ServerMessage {
  let parsed: unknown;
  try {
    parsed = JSON.parse(text(frame, "frame"));
  } catch (error) {
    if (error instanceof WrongShape) throw error;
    throw new WrongShape("the frame is not JSON", { cause: error });
  }
  const message = object(parsed, "message");
  const type = oneOf(message.type, "message.type", TYPES);
  switch (type) {
    case "progress":
      return {
        type,
        event: text(message.event, "message.event"),
        progress: readProgress(message.progress, "message.progress"),
      };
    case "layout":
      return { type, event: text(message.event, "message.event"), version: `${message.version}` };
    case "error":
      return { type, message: text(message.message, "message.message") };
    default:
      return { type };
  }
}
