/** Asks the server, while an address is typed, what it is and what its kind may be told. */
import { csrfToken, isAbort, request } from "../state/api";

const WAIT_MS = 300;

/** The server's own words on an address: it knows every kind of source. */
async function askFields(source: string, kind: string, signal: AbortSignal): Promise<HTMLElement> {
  const response = await request("/source-fields", {
    method: "POST",
    headers: { "X-CSRF-Token": csrfToken() },
    body: new URLSearchParams({ source, kind }),
    signal,
  });
  const parsed = new DOMParser().parseFromString(await response.text(), "text/html");
  const found = parsed.querySelector<HTMLElement>("#source-fields");
  if (!found) throw new Error("The answer holds no fields.");
  return found;
}

/** Calls `show` with what the fields say now, a moment after the last change. */
function whileTyping(
  fields: readonly HTMLElement[],
  ask: () => { source: string; kind: string },
  show: (found: HTMLElement) => void,
): void {
  let timer: ReturnType<typeof setTimeout> | undefined;
  let asking = new AbortController();
  const changed = () => {
    clearTimeout(timer);
    asking.abort();
    timer = setTimeout(async () => {
      asking = new AbortController();
      const { signal } = asking;
      const { source, kind } = ask();
      try {
        const found = await askFields(source, kind, signal);
        if (!signal.aborted) show(found);
      } catch (error) {
        // a hint is no more than a help: what was said before stays, and the form itself decides
        if (!isAbort(error)) return;
      }
    }, WAIT_MS);
  };
  for (const field of fields) field.addEventListener("input", changed);
}

function sentence(found: HTMLElement): string {
  return found.querySelector("[data-sentence]")?.textContent ?? "";
}

/** Short forms: only the sentence. */
function bindHint(field: HTMLInputElement): void {
  const hint = field.closest("form")?.parentElement?.querySelector("[data-source-hint]");
  if (!hint) return;
  const usual = hint.textContent;
  whileTyping(
    [field],
    () => ({ source: field.value, kind: "auto" }),
    (found) => {
      hint.textContent = field.value.trim() ? sentence(found) : usual;
    },
  );
}

/**
 * The whole form: the sentence and the fields of the kind. What was typed into them stays, also
 * while the address is half written and of no kind.
 */
export function showFields(shown: HTMLElement, found: HTMLElement): void {
  const hint = shown.querySelector("[data-sentence]");
  if (hint && (!found.dataset.kind || shown.dataset.kind === found.dataset.kind)) {
    hint.textContent = sentence(found);
    hint.className = found.querySelector("[data-sentence]")?.className ?? "";
  } else {
    shown.dataset.kind = found.dataset.kind ?? "";
    shown.replaceChildren(...found.childNodes);
  }
}

function bindFields(form: HTMLFormElement): void {
  const source = form.querySelector<HTMLInputElement>("#source");
  const kind = form.querySelector<HTMLSelectElement>("#kind");
  const shown = form.querySelector<HTMLElement>("#source-fields");
  if (!source || !kind || !shown) return;
  for (const button of form.querySelectorAll<HTMLElement>("[data-without-script]")) {
    button.hidden = true;
  }
  whileTyping(
    [source, kind],
    () => ({ source: source.value, kind: kind.value }),
    (found) => showFields(shown, found),
  );
}

export function bindSourceHints(): void {
  for (const field of document.querySelectorAll<HTMLInputElement>("[data-source-field]")) {
    bindHint(field);
  }
  const form = document.querySelector<HTMLFormElement>("form[data-fields]");
  if (form) bindFields(form);
}
