import type { Cloud } from "./decode";

/** What the page asks of the worker, and what comes back. */
export interface CloudRequest {
  id: number;
  url: string;
}

export type CloudAnswer =
  | { id: number; ok: true; cloud: Cloud; bytes: number }
  | { id: number; ok: false; status: number; message: string };
