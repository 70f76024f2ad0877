import type { Cloud } from "./decode";
import type { CloudAnswer, CloudRequest } from "./messages";

/** The cloud could not be fetched or read. `status` is 0 where there was no answer. */
export class CloudUnavailable extends Error {
  override name = "CloudUnavailable";

  constructor(
    readonly status: number,
    message: string,
  ) {
    super(message);
  }
}

interface Waiting {
  resolve(cloud: Cloud): void;
  reject(error: Error): void;
}

/** Loads clouds in one web worker. `dispose` ends it. */
export class CloudLoader {
  readonly #worker = new Worker(new URL("./worker.ts", import.meta.url), { type: "module" });
  readonly #waiting = new Map<number, Waiting>();
  #last = 0;

  constructor() {
    this.#worker.addEventListener("message", (event: MessageEvent<CloudAnswer>) => {
      const waiting = this.#waiting.get(event.data.id);
      this.#waiting.delete(event.data.id);
      if (event.data.ok) waiting?.resolve(event.data.cloud);
      else waiting?.reject(new CloudUnavailable(event.data.status, event.data.message));
    });
    this.#worker.addEventListener("error", () => {
      const error = new CloudUnavailable(0, "The reader of point clouds could not start.");
      for (const waiting of this.#waiting.values()) waiting.reject(error);
      this.#waiting.clear();
    });
  }

  load(url: string): Promise<Cloud> {
    this.#last += 1;
    const request: CloudRequest = { id: this.#last, url: new URL(url, location.href).href };
    return new Promise((resolve, reject) => {
      this.#waiting.set(request.id, { resolve, reject });
      this.#worker.postMessage(request);
    });
  }

  dispose(): void {
    this.#worker.terminate();
    this.#waiting.clear();
  }
}
