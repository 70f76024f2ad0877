/** The photo page: preview over thumbnail, face outlines, keys, chrome that steps back. */
import { tinykeys } from "tinykeys";
import { explain, request } from "../state/api";
import { isTyping, need } from "./dom";

const CALM_MS = 2_000;
const FACES_KEY = "clair:faces";

function bindPreview(): void {
  const preview = need("#preview", HTMLImageElement);
  const trouble = need("#preview-trouble", HTMLElement);
  const words = need("#preview-trouble p", HTMLElement);
  const address = preview.src;

  const shown = () => {
    preview.classList.add("shown");
    trouble.hidden = true;
  };
  const failed = async () => {
    trouble.hidden = false;
    words.textContent = "The original can't be shown.";
    try {
      // an image tells nothing about its failure; the same address answers in words
      await request(address);
      words.textContent = "The preview came damaged. Fetch it again.";
    } catch (error) {
      words.textContent = explain(error);
    }
  };
  preview.addEventListener("load", shown);
  preview.addEventListener("error", () => void failed());
  if (preview.complete) {
    if (preview.naturalWidth > 0) shown();
    else void failed();
  }
  need("#preview-retry", HTMLButtonElement).addEventListener("click", () => {
    trouble.hidden = true;
    preview.removeAttribute("src");
    preview.src = address;
  });
}

function bindFaces(): () => void {
  const button = document.querySelector<HTMLButtonElement>("#faces-toggle");
  const picture = need("#picture", HTMLElement);
  if (!button) return () => {};
  const show = (on: boolean) => {
    button.setAttribute("aria-pressed", `${on}`);
    picture.classList.toggle("faces-on", on);
  };
  const toggle = () => {
    const on = button.getAttribute("aria-pressed") !== "true";
    show(on);
    try {
      localStorage.setItem(FACES_KEY, on ? "1" : "0");
    } catch {
      // storage is off: the choice lasts for this photo
    }
  };
  let kept: string | null = null;
  try {
    kept = localStorage.getItem(FACES_KEY);
  } catch {
    // storage is off: outlines start hidden
  }
  show(kept === "1");
  button.addEventListener("click", toggle);
  return toggle;
}

/** After a while without a movement only the photo is left. */
function bindCalm(): void {
  const stage = need("#stage", HTMLElement);
  let timer: ReturnType<typeof setTimeout> | undefined;
  const stir = () => {
    stage.classList.remove("calm");
    clearTimeout(timer);
    timer = setTimeout(() => stage.classList.add("calm"), CALM_MS);
  };
  for (const kind of ["pointermove", "pointerdown", "keydown"]) addEventListener(kind, stir);
  stir();
}

function follow(selector: string): void {
  document.querySelector<HTMLAnchorElement>(selector)?.click();
}

function bindSwipe(): void {
  const stage = need("#stage", HTMLElement);
  let start: Touch | undefined;
  stage.addEventListener(
    "touchstart",
    (event) => {
      start = event.touches.length === 1 ? event.touches[0] : undefined;
    },
    { passive: true },
  );
  stage.addEventListener("touchend", (event) => {
    const end = event.changedTouches[0];
    if (!start || !end || (visualViewport?.scale ?? 1) > 1.05) return;
    const across = end.clientX - start.clientX;
    const along = Math.abs(end.clientY - start.clientY);
    if (Math.abs(across) < 60 || along > Math.abs(across) / 2) return;
    follow(across > 0 ? "#photo-previous" : "#photo-next");
  });
}

function rememberPhoto(): void {
  const { photo, event } = need("#main", HTMLElement).dataset;
  try {
    sessionStorage.setItem(`clair:photo:${event}`, photo ?? "");
  } catch {
    // storage is off: the gallery opens at its top
  }
}

function bindTurning(): void {
  // turning pages is not travelling: Back leads to the gallery, not through every photo
  for (const link of document.querySelectorAll<HTMLAnchorElement>("#photo-previous, #photo-next")) {
    link.addEventListener("click", (event) => {
      if (event.ctrlKey || event.metaKey || event.shiftKey) return;
      event.preventDefault();
      location.replace(link.href);
    });
    const ahead = document.createElement("link");
    ahead.rel = "prefetch";
    ahead.href = link.href;
    document.head.append(ahead);
  }
}

export function bindPhoto(): void {
  bindPreview();
  const toggleFaces = bindFaces();
  bindCalm();
  bindSwipe();
  bindTurning();
  rememberPhoto();
  const unlessTyping = (act: () => void) => (event: KeyboardEvent) => {
    if (isTyping(event)) return;
    event.preventDefault();
    act();
  };
  tinykeys(window, {
    ArrowLeft: unlessTyping(() => follow("#photo-previous")),
    ArrowRight: unlessTyping(() => follow("#photo-next")),
    Escape: unlessTyping(() => follow("#photo-back")),
    b: unlessTyping(toggleFaces),
  });
}
