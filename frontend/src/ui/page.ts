/** What every page does: dialogs, keys, times, copying, the offline notice, patient error pages. */
import { tinykeys } from "tinykeys";
import { isTyping } from "./dom";
import { due, moment } from "./format";
import { Palette } from "./palette";
import { toast } from "./toasts";

const BUSY_MS = 10_000;

function dialog(id: string | undefined): HTMLDialogElement | null {
  const found = id ? document.getElementById(id) : null;
  return found instanceof HTMLDialogElement ? found : null;
}

export function showMoments(root: ParentNode = document): void {
  const now = new Date();
  for (const time of root.querySelectorAll<HTMLTimeElement>("time[data-moment], time[data-due]")) {
    const when = new Date(time.dateTime);
    if (Number.isNaN(when.getTime())) continue;
    time.textContent = "due" in time.dataset ? due(when, now) : moment(when, now);
    time.title = when.toLocaleString();
  }
}

async function copy(id: string): Promise<void> {
  const words = document.getElementById(id)?.textContent ?? "";
  try {
    await navigator.clipboard.writeText(words);
    toast("Copied.", "good");
  } catch {
    // no permission, or a plain-http address: select it so that one key copies it
    const node = document.getElementById(id);
    if (node) getSelection()?.selectAllChildren(node);
    toast("The browser doesn't allow copying here. It is selected: press Ctrl+C.");
  }
}

function bindClicks(palette: Palette | null): void {
  document.addEventListener("click", (event) => {
    const target = event.target instanceof Element ? event.target : null;
    const actor = target?.closest<HTMLElement>(
      "[data-opens], [data-closes], [data-copies], [data-action]",
    );
    if (actor) {
      const { opens, closes, copies, action } = actor.dataset;
      if (opens === "palette") palette?.open();
      else dialog(opens)?.showModal();
      dialog(closes)?.close();
      if (copies) void copy(copies);
      if (action === "back") history.back();
    } else if (target instanceof HTMLDialogElement) {
      // a click on the backdrop
      target.close();
    }
  });
}

function focusSearch(): void {
  const field = document.querySelector<HTMLInputElement>("[data-search-input]");
  if (field) {
    field.focus();
    field.select();
  } else if (document.body.hasAttribute("data-signed-in")) {
    location.assign("/search");
  }
}

function bindKeys(palette: Palette | null): void {
  const onPage = (act: () => void) => (event: KeyboardEvent) => {
    if (isTyping(event)) return;
    event.preventDefault();
    act();
  };
  tinykeys(
    window,
    {
      "[Shift]+/": onPage(focusSearch),
      "[Shift]+?": onPage(() => dialog("keys")?.showModal()),
      "$mod+k": (event) => {
        event.preventDefault();
        palette?.open();
      },
    },
    { ignore: () => false },
  );
}

function bindOffline(): void {
  const notice = document.getElementById("offline");
  if (!notice) return;
  const show = () => {
    notice.hidden = navigator.onLine;
  };
  addEventListener("online", show);
  addEventListener("offline", show);
  show();
}

/** An error that names a wait is tried again by itself, where nothing would be sent twice. */
function bindRetry(): void {
  const note = document.querySelector<HTMLElement>("[data-retry-after]");
  if (!note) return;
  let left = Math.max(1, Number(note.dataset.retryAfter) || 1);
  const timer = setInterval(() => {
    left -= 1;
    note.textContent = left > 0 ? `This page tries again in ${left} s.` : "Trying again.";
    if (left > 0) return;
    clearInterval(timer);
    // a GET of the same address, also after a form was sent
    location.replace(location.href);
  }, 1000);
}

function bindForms(): void {
  document.addEventListener("submit", (event) => {
    if (event.defaultPrevented) return;
    const button = event.submitter;
    if (!(button instanceof HTMLButtonElement)) return;
    if (button.getAttribute("aria-busy") === "true") event.preventDefault();
    else button.setAttribute("aria-busy", "true");
    // a page that never came must not leave the form locked
    setTimeout(() => button.removeAttribute("aria-busy"), BUSY_MS);
  });
  addEventListener("pageshow", () => {
    for (const button of document.querySelectorAll("[aria-busy=true]")) {
      button.removeAttribute("aria-busy");
    }
  });
}

export function bindPage(): void {
  const palette = document.body.hasAttribute("data-signed-in") ? new Palette() : null;
  bindClicks(palette);
  bindKeys(palette);
  bindOffline();
  bindRetry();
  bindForms();
  showMoments();
  setInterval(showMoments, 30_000);
}
