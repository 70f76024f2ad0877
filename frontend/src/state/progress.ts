/** Follows an event's ingests: by the websocket, and by asking again and again while that is down. */
import { getJson } from "./api";
import type { Live } from "./live";
import { isActive, type Progress, readProgress } from "./models";
import { createStore, type Readable } from "./store";

export type Channel = "live" | "polling" | "offline";

export interface Following {
  /** Null until anything has been heard. */
  progress: Progress | null;
  channel: Channel;
}

const POLL_ACTIVE_MS = 2_000;
const POLL_IDLE_MS = 15_000;

export type ProgressSource = (event: string) => Promise<Progress>;

/** The very object that the websocket tells, so that the figures agree whichever way they come. */
const api: ProgressSource = (event) =>
  getJson(`/api/v1/events/${encodeURIComponent(event)}/progress`, (value) => readProgress(value));

export class ProgressFollower {
  readonly #store = createStore<Following>({ progress: null, channel: "live" });
  readonly #event: string;
  readonly #live: Live;
  readonly #ask: ProgressSource;
  readonly #ends: (() => void)[] = [];
  #timer: ReturnType<typeof setTimeout> | undefined;

  constructor(event: string, live: Live, ask: ProgressSource = api) {
    this.#event = event;
    this.#live = live;
    this.#ask = ask;
  }

  get following(): Readable<Following> {
    return this.#store;
  }

  start(): void {
    this.#ends.push(
      this.#live.listen((message) => {
        if (message.type === "progress" && message.event === this.#event) {
          this.#store.set({ progress: message.progress, channel: "live" });
        }
        if (message.type === "refetch") void this.#poll();
      }),
      this.#live.state.subscribe((state) => {
        if (state === "open") {
          clearTimeout(this.#timer);
          this.#store.update((now) => ({ ...now, channel: "live" }));
        } else if (state === "waiting" || state === "refused") {
          void this.#poll();
        }
      }),
    );
    this.#live.subscribe(this.#event);
  }

  stop(): void {
    clearTimeout(this.#timer);
    for (const end of this.#ends.splice(0)) end();
    this.#live.unsubscribe(this.#event);
  }

  async #poll(): Promise<void> {
    clearTimeout(this.#timer);
    let channel: Channel = "polling";
    let { progress } = this.#store.get();
    try {
      progress = await this.#ask(this.#event);
    } catch {
      // shown to the reader as "offline"; the next question tries again
      channel = "offline";
    }
    if (this.#live.state.get() === "open") channel = "live";
    this.#store.set({ progress, channel });
    if (channel === "live") return;
    clearTimeout(this.#timer);
    const wait = progress && isActive(progress) ? POLL_ACTIVE_MS : POLL_IDLE_MS;
    this.#timer = setTimeout(() => void this.#poll(), wait);
  }
}
