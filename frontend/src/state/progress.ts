/** Follows the latest run of one event: by the websocket, and by polling while that is down. */
import { getJson } from "./api";
import type { Live } from "./live";
import { isActive, type Run, readRun, readRuns } from "./models";
import { createStore, type Readable } from "./store";

export type Channel = "live" | "polling" | "offline";

export interface Progress {
  run: Run | null;
  channel: Channel;
  /** Whether anything has been heard at all. */
  known: boolean;
}

const POLL_ACTIVE_MS = 2_000;
const POLL_IDLE_MS = 15_000;

export interface ProgressSource {
  latestRun(event: string): Promise<Run | null>;
  run(id: number): Promise<Run>;
}

const api: ProgressSource = {
  async latestRun(event) {
    const runs = await getJson(`/api/v1/events/${encodeURIComponent(event)}/runs`, readRuns);
    return runs.reduce<Run | null>((best, run) => (best && best.id > run.id ? best : run), null);
  },
  run: (id) => getJson(`/api/v1/runs/${id}`, (value) => readRun(value)),
};

export class ProgressFollower {
  readonly #store = createStore<Progress>({ run: null, channel: "live", known: false });
  readonly #event: string;
  readonly #live: Live;
  readonly #source: ProgressSource;
  readonly #ends: (() => void)[] = [];
  #timer: ReturnType<typeof setTimeout> | undefined;

  constructor(event: string, live: Live, source: ProgressSource = api) {
    this.#event = event;
    this.#live = live;
    this.#source = source;
  }

  get progress(): Readable<Progress> {
    return this.#store;
  }

  start(): void {
    this.#ends.push(
      this.#live.listen((message) => {
        if (message.type === "progress" && message.event === this.#event) this.#heard(message.run);
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

  #heard(run: Run | null): void {
    this.#store.set({ run, channel: "live", known: true });
  }

  async #poll(): Promise<void> {
    clearTimeout(this.#timer);
    const { run } = this.#store.get();
    let channel: Channel = "polling";
    let latest = run;
    try {
      latest =
        run && isActive(run)
          ? await this.#source.run(run.id)
          : await this.#source.latestRun(this.#event);
    } catch {
      // shown to the reader as "offline"; the next poll tries again
      channel = "offline";
    }
    if (this.#live.state.get() === "open") channel = "live";
    this.#store.set({ run: latest, channel, known: channel !== "offline" || run !== null });
    if (channel === "live") return;
    clearTimeout(this.#timer);
    const wait = latest && isActive(latest) ? POLL_ACTIVE_MS : POLL_IDLE_MS;
    this.#timer = setTimeout(() => void this.#poll(), wait);
  }
}
