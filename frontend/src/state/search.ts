/** Search while typing: waits for a pause, drops answers to older words, waits for a warming model. */
import { getJson, isAbort, Problem } from "./api";
import { readSearchAnswer, type SearchAnswer } from "./models";
import { createStore, type Readable } from "./store";

export type SearchState =
  | { kind: "idle" }
  | { kind: "loading"; query: string }
  | { kind: "results"; answer: SearchAnswer }
  | { kind: "empty"; query: string }
  | { kind: "warming"; query: string; retryInSeconds: number; detail: string }
  | { kind: "failed"; query: string; error: unknown };

export type Ask = (query: string, signal: AbortSignal) => Promise<SearchAnswer>;

const DEBOUNCE_MS = 150;
const DEFAULT_RETRY_SECONDS = 2;

export function eventSearch(event: string, limit = 200): Ask {
  return (query, signal) => {
    const parameters = new URLSearchParams({ q: query, limit: `${limit}` });
    const url = `/api/v1/events/${encodeURIComponent(event)}/search?${parameters}`;
    return getJson(url, readSearchAnswer, signal);
  };
}

export class SearchController {
  readonly #ask: Ask;
  readonly #store = createStore<SearchState>({ kind: "idle" });
  #query = "";
  #timer: ReturnType<typeof setTimeout> | undefined;
  #abort: AbortController | null = null;

  constructor(ask: Ask) {
    this.#ask = ask;
  }

  get state(): Readable<SearchState> {
    return this.#store;
  }

  get query(): string {
    return this.#query;
  }

  /** The reader typed. */
  type(words: string): void {
    this.#change(words, DEBOUNCE_MS);
  }

  /** The reader pressed Enter, or the page opened with words: no waiting. */
  submit(words: string): void {
    this.#change(words, 0);
  }

  clear(): void {
    this.#change("", 0);
  }

  #change(words: string, wait: number): void {
    const query = words.trim();
    const unchanged = query === this.#query && this.#store.get().kind !== "failed";
    if (unchanged && wait > 0) return;
    this.#query = query;
    this.#stop();
    if (query === "") {
      this.#store.set({ kind: "idle" });
    } else if (wait > 0) {
      this.#timer = setTimeout(() => void this.#run(query), wait);
    } else {
      void this.#run(query);
    }
  }

  #stop(): void {
    clearTimeout(this.#timer);
    this.#abort?.abort();
    this.#abort = null;
  }

  async #run(query: string): Promise<void> {
    const abort = new AbortController();
    this.#abort = abort;
    if (this.#store.get().kind !== "warming") this.#store.set({ kind: "loading", query });
    try {
      const answer = await this.#ask(query, abort.signal);
      if (abort.signal.aborted) return;
      this.#store.set(
        answer.items.length > 0 ? { kind: "results", answer } : { kind: "empty", query },
      );
    } catch (error) {
      if (abort.signal.aborted || isAbort(error)) return;
      if (error instanceof Problem && error.status === 503) {
        const retryInSeconds = error.retryAfter ?? DEFAULT_RETRY_SECONDS;
        this.#store.set({ kind: "warming", query, retryInSeconds, detail: error.detail });
        this.#timer = setTimeout(() => void this.#run(query), retryInSeconds * 1000);
      } else {
        this.#store.set({ kind: "failed", query, error });
      }
    }
  }
}
