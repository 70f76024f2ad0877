/** One way to ask the API: JSON in and out, problem+json as a typed error. */
import { object } from "./shape";

/** An answer that is not a success. `retryAfter` in seconds, null where the server named none. */
export class Problem extends Error {
  override name = "Problem";

  constructor(
    readonly status: number,
    readonly title: string,
    readonly detail: string,
    readonly cure: string,
    readonly retryAfter: number | null,
  ) {
    super(detail || title);
  }
}

/** No answer at all: the network or the server is away. */
export class Unreachable extends Error {
  override name = "Unreachable";
}

function optionalText(value: unknown): string {
  return typeof value === "string" ? value : "";
}

export async function readProblem(response: Response): Promise<Problem> {
  const header = Number(response.headers.get("Retry-After") ?? Number.NaN);
  const retryAfter = Number.isFinite(header) ? header : null;
  const fallback = `The server answers ${response.status}.`;
  try {
    const body = object(await response.json(), "problem");
    return new Problem(
      response.status,
      optionalText(body.title) || fallback,
      optionalText(body.detail),
      optionalText(body.cure),
      retryAfter,
    );
  } catch {
    // a proxy's error page: there is nothing more to tell than the status
    return new Problem(response.status, fallback, "", "", retryAfter);
  }
}

export function csrfToken(): string {
  return document.querySelector<HTMLMetaElement>('meta[name="csrf-token"]')?.content ?? "";
}

export async function request(url: string, init: RequestInit = {}): Promise<Response> {
  let response: Response;
  try {
    response = await fetch(url, { credentials: "same-origin", ...init });
  } catch (error) {
    if (error instanceof DOMException && error.name === "AbortError") throw error;
    throw new Unreachable("The server can't be reached.", { cause: error });
  }
  if (!response.ok) throw await readProblem(response);
  return response;
}

export async function getJson<T>(
  url: string,
  read: (value: unknown) => T,
  signal?: AbortSignal,
): Promise<T> {
  const init: RequestInit = { headers: { Accept: "application/json" } };
  if (signal) init.signal = signal;
  const response = await request(url, init);
  return read(await response.json());
}

export async function postJson<T>(
  url: string,
  body: unknown,
  read: (value: unknown) => T,
): Promise<T> {
  const response = await request(url, {
    method: "POST",
    headers: {
      Accept: "application/json",
      "Content-Type": "application/json",
      "X-CSRF-Token": csrfToken(),
    },
    body: JSON.stringify(body),
  });
  return read(await response.json());
}

export function isAbort(error: unknown): boolean {
  return error instanceof DOMException && error.name === "AbortError";
}

/** What to tell a person about any failure of a request. */
export function explain(error: unknown): string {
  if (error instanceof Problem) {
    return [error.detail || error.title, error.cure].filter(Boolean).join(" ");
  }
  if (error instanceof Unreachable) {
    return "The server can't be reached. Check the connection.";
  }
  return "The server sent an answer that this page doesn't understand. Reload the page.";
}
