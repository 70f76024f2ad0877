/** Fetches and decodes clouds off the main thread; arrays are handed over, not copied. */
import { decodeCloud } from "./decode";
import type { CloudAnswer, CloudRequest } from "./messages";

async function answer(request: CloudRequest): Promise<CloudAnswer> {
  const { id, url } = request;
  try {
    const response = await fetch(url, { credentials: "same-origin" });
    if (!response.ok) {
      const message = `The server answers ${response.status}.`;
      return { id, ok: false, status: response.status, message };
    }
    const buffer = await response.arrayBuffer();
    return { id, ok: true, cloud: decodeCloud(buffer), bytes: buffer.byteLength };
  } catch (error) {
    const message = error instanceof Error ? error.message : `${error}`;
    return { id, ok: false, status: 0, message };
  }
}

self.addEventListener("message", async (event: MessageEvent<CloudRequest>) => {
  const message = await answer(event.data);
  const transfer = message.ok
    ? [message.cloud.positions.buffer, message.cloud.clusters.buffer, message.cloud.ids.buffer]
    : [];
  self.postMessage(message, { transfer });
});
