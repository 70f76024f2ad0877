import { csrfToken, explain, request } from "../state/api";
import { toast } from "./toasts";

export type Theme = "dark" | "light" | "system";

function isTheme(value: string): value is Theme {
  return value === "dark" || value === "light" || value === "system";
}

function show(theme: Theme): void {
  document.documentElement.dataset.theme = theme;
  // the scene takes its colours from the theme
  dispatchEvent(new CustomEvent("clair:theme"));
}

/** Shows the theme at once and keeps it. */
export function previewTheme(theme: Theme): void {
  show(theme);
  request("/settings/theme", {
    method: "POST",
    headers: { "X-CSRF-Token": csrfToken() },
    body: new URLSearchParams({ theme, csrf_token: csrfToken() }),
  }).catch((error: unknown) => toast(`The theme is not kept. ${explain(error)}`, "bad"));
}

/** The settings page shows a theme as soon as it is chosen. */
export function bindThemeChoices(): void {
  for (const choice of document.querySelectorAll<HTMLInputElement>("[data-theme-choice]")) {
    choice.addEventListener("change", () => {
      if (choice.checked && isTheme(choice.value)) show(choice.value);
    });
  }
}
