import { afterEach, beforeEach, describe, expect, it, vi } from "vitest";
import { Problem } from "../src/state/api";
import { backOff, Live } from "../src/state/live";
import type { ServerMessage } from "../src/state/messages";

/** The browser's end of a connection, driven by the test as the server would. */
class Socket extends EventTarget {
  readonly sent: string[] = [];
  closed = false;

  send(text: string): void {
    this.sent.push(text);
  }

  close(): void {
    this.closed = true;
  }

  opens(): void {
    this.dispatchEvent(new Event("open"));
  }

  says(data: unknown): void {
    this.dispatchEvent(new MessageEvent("message", { data }));
  }

  breaks(): void {
    this.dispatchEvent(new Event("close"));
  }
}

function connection(takeTicket: () => Promise<string>) {
  const sockets: Socket[] = [];
  const tickets: string[] = [];
  const live = new Live({
    takeTicket,
    openSocket: (ticket) => {
      const socket = new Socket();
      sockets.push(socket);
      tickets.push(ticket);
      return socket as unknown as WebSocket;
    },
    random: () => 0,
  });
  return { live, sockets, tickets };
}

describe("Live", () => {
  beforeEach(() => {
    vi.useFakeTimers();
  });
  afterEach(() => {
    vi.useRealTimers();
  });

  it("takes a new ticket and subscribes again after every break", async () => {
    let number = 0;
    const { live, sockets, tickets } = connection(async () => `t${++number}`);
    live.subscribe("summer");
    live.open();
    await vi.advanceTimersByTimeAsync(0);
    sockets[0]?.opens();
    expect(live.state.get()).toBe("open");
    expect(sockets[0]?.sent).toEqual(['{"type":"subscribe","event":"summer"}']);
    sockets[0]?.breaks();
    expect(live.state.get()).toBe("waiting");
    await vi.advanceTimersByTimeAsync(250);
    sockets[1]?.opens();
    expect(tickets).toEqual(["t1", "t2"]);
    expect(sockets[1]?.sent).toEqual(['{"type":"subscribe","event":"summer"}']);
  });

  it("waits longer each time the server is away, and not for ever", async () => {
    const waits = [1, 2, 3, 10, 40].map((attempt) => backOff(attempt, 0));
    expect(waits).toEqual([250, 500, 1000, 15_000, 15_000]);
    expect(backOff(1, 0.999)).toBeLessThan(500);
    const takeTicket = vi.fn(async (): Promise<string> => {
      throw new Problem(503, "", "", "", null);
    });
    const { live } = connection(takeTicket);
    live.open();
    await vi.advanceTimersByTimeAsync(250 + 500 + 1000 + 10);
    expect(takeTicket).toHaveBeenCalledTimes(4);
  });

  it("stops asking when signed out", async () => {
    const takeTicket = vi.fn(async (): Promise<string> => {
      throw new Problem(401, "", "", "", null);
    });
    const { live } = connection(takeTicket);
    live.open();
    await vi.advanceTimersByTimeAsync(60_000);
    expect(live.state.get()).toBe("refused");
    expect(takeTicket).toHaveBeenCalledTimes(1);
  });

  it("hands on messages and takes an unknown one as a reason to fetch again", async () => {
    const { live, sockets } = connection(async () => "t");
    const heard: ServerMessage[] = [];
    live.listen((message) => heard.push(message));
    live.open();
    await vi.advanceTimersByTimeAsync(0);
    sockets[0]?.opens();
    sockets[0]?.says('{"type":"layout","event":"e","version":"2"}');
    sockets[0]?.says('{"type":"from the future"}');
    expect(heard).toEqual([{ type: "layout", event: "e", version: "2" }, { type: "refetch" }]);
  });

  it("hears nothing from a connection that it has given up", async () => {
    const { live, sockets } = connection(async () => "t");
    const heard: ServerMessage[] = [];
    live.listen((message) => heard.push(message));
    live.open();
    await vi.advanceTimersByTimeAsync(0);
    sockets[0]?.opens();
    live.close();
    sockets[0]?.says('{"type":"pong"}');
    sockets[0]?.breaks();
    await vi.advanceTimersByTimeAsync(60_000);
    expect(heard).toEqual([]);
    expect(sockets[0]?.closed).toBe(true);
    expect(sockets).toHaveLength(1);
  });
});
