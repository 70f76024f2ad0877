/** The Sources tab: lists that unfold, rows that go away, and what is shown while the server is away. */

interface Swap {
  sourceElement?: Element | null;
  sourceEvent?: Event | null;
}

const ROW = ".failed-photo";

function swapOf(event: Event): Swap {
  return (event as CustomEvent<{ ctx?: Swap }>).detail?.ctx ?? {};
}

/** A list of single failures is fetched when it is unfolded. */
function bindLists(): void {
  document.addEventListener(
    "toggle",
    ({ target }) => {
      if (target instanceof HTMLDetailsElement && target.open && target.matches(".singles")) {
        target.dispatchEvent(new CustomEvent("unfolded"));
      }
    },
    true, // it does not bubble
  );
}

/** The button to go on from when a row is taken away: the same one of the next row, or the last. */
export function nextButton(row: Element, pressed: Element | null): HTMLElement | null {
  const next = row.nextElementSibling?.matches(ROW)
    ? row.nextElementSibling
    : row.previousElementSibling?.matches(ROW)
      ? row.previousElementSibling
      : null;
  if (!next) return row.closest("details")?.querySelector("summary") ?? null;
  const buttons = [...next.querySelectorAll<HTMLElement>("button")];
  const same = buttons.find((button) => button.textContent === pressed?.textContent);
  return same ?? buttons[0] ?? null;
}

function bindRows(): void {
  document.addEventListener("htmx:before:swap", (event) => {
    const { sourceElement } = swapOf(event);
    const row = sourceElement?.matches("form") ? sourceElement.closest(ROW) : null;
    if (!row) return;
    const next = nextButton(row, sourceElement?.querySelector("button") ?? null);
    const focused = row.contains(document.activeElement);
    requestAnimationFrame(() => {
      if (focused) next?.focus();
      document.body.dispatchEvent(new CustomEvent("runs-changed"));
    });
  });
}

/** A second press while the first is under way would be answered by a conflict. */
function bindPresses(): void {
  document.addEventListener(
    "submit",
    (event) => {
      const form = event.target;
      if (!(form instanceof HTMLFormElement) || !form.classList.contains("htmx-request")) return;
      event.preventDefault();
      event.stopImmediatePropagation();
    },
    true,
  );
}

/** Says since when the figures are old, where the page's own questions get no answer. */
function bindStale(note: HTMLElement): void {
  const since = note.querySelector("[data-since]");
  let heard = new Date();
  const lost = (event: Event) => {
    if (swapOf(event).sourceElement?.id !== "ingest" || !since) return;
    since.textContent = heard.toLocaleTimeString();
    note.hidden = false;
  };
  document.addEventListener("htmx:error", lost);
  document.addEventListener("htmx:response:error", lost);
  document.addEventListener("htmx:after:swap", (event) => {
    if (!swapOf(event).sourceElement?.closest("#ingest")) return;
    heard = new Date();
    note.hidden = true;
  });
}

/** An address that names a folded source unfolds it. */
function unfoldNamed(): void {
  const named = location.hash ? document.getElementById(location.hash.slice(1)) : null;
  if (!(named instanceof HTMLDetailsElement)) return;
  named.open = true;
  named.scrollIntoView({ block: "start" });
}

export function bindSources(): void {
  const note = document.getElementById("stale");
  if (!note && !document.querySelector(ROW)) return;
  bindLists();
  bindRows();
  bindPresses();
  unfoldNamed();
  if (note) bindStale(note);
}
