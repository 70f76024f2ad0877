import { make } from "./dom";

export type ToastKind = "info" | "good" | "bad";

const STAYS_MS = 6_000;

/** Says something in a corner. A failure stays until it is closed. */
export function toast(message: string, kind: ToastKind = "info"): void {
  const region = document.querySelector("#toasts");
  if (!region) return;
  const close = make("button", { type: "button", ariaLabel: "Close this message" }, "×");
  const note = make("div", { className: `toast ${kind}` }, make("span", {}, message), close);
  close.addEventListener("click", () => note.remove());
  region.append(note);
  if (kind !== "bad") setTimeout(() => note.remove(), STAYS_MS);
}
