/**
 * The websocket: takes a ticket, connects, subscribes again after every break, and backs off.
 * One per page; listeners get typed messages.
 */
import { Problem, postJson } from "./api";
import { type ClientMessage, readMessage, type ServerMessage } from "./messages";
import { object, text, WrongShape } from "./shape";
import { createStore, type Readable } from "./store";

export type LiveState = "closed" | "connecting" | "open" | "waiting" | "refused";

export interface LiveDependencies {
  takeTicket(): Promise<string>;
  openSocket(ticket: string): WebSocket;
  /** In [0, 1): spreads the clients of a restarted server. */
  random(): number;
}

const FIRST_WAIT_MS = 500;
const LONGEST_WAIT_MS = 30_000;
const PING_MS = 25_000;

const browser: LiveDependencies = {
  takeTicket: () =>
    postJson("/ws/ticket", {}, (value) => text(object(value, "ticket").ticket, "ticket.ticket")),
  openSocket: (ticket) => {
    const scheme = location.protocol === "https:" ? "wss" : "ws";
    return new WebSocket(`${scheme}://${location.host}/ws?ticket=${encodeURIComponent(ticket)}`);
  },
  random: Math.random,
};

/** The wait before attempt `attempt` (1 is the first retry), in milliseconds. */
export function backOff(attempt: number, random: number): number {
  const ceiling = Math.min(LONGEST_WAIT_MS, FIRST_WAIT_MS * 2 ** (attempt - 1));
  return ceiling / 2 + (random * ceiling) / 2;
}

export class Live {
  readonly #dependencies: LiveDependencies;
  readonly #state = createStore<LiveState>("closed");
  readonly #listeners = new Set<(message: ServerMessage) => void>();
  readonly #events = new Set<string>();
  #socket: WebSocket | null = null;
  #attempt = 0;
  /** Raised by every open and close, so that an answer to an older attempt is ignored. */
  #generation = 0;
  #retryTimer: ReturnType<typeof setTimeout> | undefined;
  #pingTimer: ReturnType<typeof setInterval> | undefined;

  constructor(dependencies: LiveDependencies = browser) {
    this.#dependencies = dependencies;
  }

  get state(): Readable<LiveState> {
    return this.#state;
  }

  listen(listener: (message: ServerMessage) => void): () => void {
    this.#listeners.add(listener);
    return () => this.#listeners.delete(listener);
  }

  subscribe(event: string): void {
    this.#events.add(event);
    if (this.#state.get() === "open") this.#send({ type: "subscribe", event });
  }

  unsubscribe(event: string): void {
    this.#events.delete(event);
    if (this.#state.get() === "open") this.#send({ type: "unsubscribe", event });
  }

  /** Connects now, whatever the back-off says. */
  open(): void {
    const state = this.#state.get();
    if (state === "open" || state === "connecting") return;
    clearTimeout(this.#retryTimer);
    void this.#connect(++this.#generation);
  }

  close(): void {
    this.#generation += 1;
    clearTimeout(this.#retryTimer);
    clearInterval(this.#pingTimer);
    this.#socket?.close(1000);
    this.#socket = null;
    this.#state.set("closed");
  }

  async #connect(generation: number): Promise<void> {
    this.#state.set("connecting");
    let ticket: string;
    try {
      ticket = await this.#dependencies.takeTicket();
    } catch (error) {
      if (generation !== this.#generation) return;
      // signed out: trying again can't help
      if (error instanceof Problem && (error.status === 401 || error.status === 403)) {
        this.#state.set("refused");
      } else {
        this.#wait();
      }
      return;
    }
    if (generation !== this.#generation) return;
    const socket = this.#dependencies.openSocket(ticket);
    this.#socket = socket;
    socket.addEventListener("open", () => this.#opened(generation));
    socket.addEventListener("message", (message) => this.#received(generation, message.data));
    socket.addEventListener("close", () => this.#closed(generation));
  }

  #opened(generation: number): void {
    if (generation !== this.#generation) return;
    this.#attempt = 0;
    this.#state.set("open");
    for (const event of this.#events) this.#send({ type: "subscribe", event });
    clearInterval(this.#pingTimer);
    this.#pingTimer = setInterval(() => this.#send({ type: "ping" }), PING_MS);
  }

  #received(generation: number, data: unknown): void {
    if (generation !== this.#generation) return;
    let message: ServerMessage;
    try {
      message = readMessage(data);
    } catch (error) {
      if (!(error instanceof WrongShape)) throw error;
      // a newer server may say more than this page knows: fetching again is always right
      message = { type: "refetch" };
    }
    for (const listener of [...this.#listeners]) listener(message);
  }

  #closed(generation: number): void {
    if (generation !== this.#generation) return;
    clearInterval(this.#pingTimer);
    this.#socket = null;
    this.#wait();
  }

  #wait(): void {
    this.#attempt += 1;
    this.#state.set("waiting");
    const wait = backOff(this.#attempt, this.#dependencies.random());
    this.#retryTimer = setTimeout(() => this.#connect(++this.#generation), wait);
  }

  #send(message: ClientMessage): void {
    this.#socket?.send(JSON.stringify(message));
  }
}

let shared: Live | undefined;

/** The page's connection; opened by the first caller, closed while the page is in the back cache. */
export function sharedLive(): Live {
  if (shared) return shared;
  const live = new Live();
  shared = live;
  // an open websocket would keep the page out of the back/forward cache
  addEventListener("pagehide", () => live.close());
  addEventListener("pageshow", (shown) => {
    if (shown.persisted) live.open();
  });
  addEventListener("online", () => live.open());
  live.open();
  return live;
}
