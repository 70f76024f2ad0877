/** The command palette (Ctrl+K): pages, events, the present event's tabs, the theme. */
import { getJson } from "../state/api";
import { readEvents } from "../state/models";
import { make, need } from "./dom";
import { previewTheme, type Theme } from "./theme";

interface Command {
  label: string;
  kind: string;
  run(): void;
}

function go(href: string): () => void {
  return () => location.assign(href);
}

function pageCommands(): Command[] {
  const links = document.querySelectorAll<HTMLAnchorElement>(".rail ul a, .tabs a");
  return [...links].map((link) => ({
    label: link.textContent?.trim() ?? "",
    kind: link.closest(".tabs") ? "This event" : "Page",
    run: go(link.href),
  }));
}

function themeCommands(): Command[] {
  const themes: [Theme, string][] = [
    ["dark", "Dark theme"],
    ["light", "Light theme"],
    ["system", "Theme as the system"],
  ];
  return themes.map(([theme, label]) => ({
    label,
    kind: "Setting",
    run: () => previewTheme(theme),
  }));
}

async function eventCommands(): Promise<Command[]> {
  const events = await getJson("/api/v1/events", readEvents);
  return events.map((event) => ({
    label: event.name,
    kind: "Event",
    run: go(`/events/${encodeURIComponent(event.slug)}`),
  }));
}

/** Those whose label holds every word, those that begin with the words first. */
export function matching<T extends { label: string }>(commands: readonly T[], words: string): T[] {
  const wanted = words.toLowerCase().split(/\s+/).filter(Boolean);
  const found = commands.filter((command) => {
    const label = command.label.toLowerCase();
    return wanted.every((word) => label.includes(word));
  });
  const start = wanted.join(" ");
  return found.sort(
    (one, other) =>
      Number(other.label.toLowerCase().startsWith(start)) -
      Number(one.label.toLowerCase().startsWith(start)),
  );
}

export class Palette {
  readonly #dialog = need("#palette", HTMLDialogElement);
  readonly #input = need("#palette-input", HTMLInputElement);
  readonly #list = need("#palette-list", HTMLUListElement);
  #commands: Command[] = [];
  #shown: Command[] = [];
  #selected = 0;

  constructor() {
    this.#input.addEventListener("input", () => this.#show());
    this.#input.addEventListener("keydown", (event) => this.#key(event));
    this.#list.addEventListener("click", (event) => {
      const entry = event.target instanceof Element ? event.target.closest("[role=option]") : null;
      if (entry) this.#run([...this.#list.children].indexOf(entry));
    });
  }

  open(): void {
    if (this.#dialog.open) return;
    this.#input.value = "";
    this.#commands = [...pageCommands(), ...themeCommands()];
    this.#dialog.showModal();
    this.#show();
    eventCommands().then(
      (events) => {
        this.#commands = [...events, ...this.#commands];
        this.#show();
      },
      () => {
        // the palette is still useful without the events; the next opening asks again
      },
    );
  }

  #show(): void {
    const words = this.#input.value.trim();
    this.#shown = matching(this.#commands, words).slice(0, 12);
    if (words) {
      this.#shown.push({
        label: `Search all events for “${words}”`,
        kind: "Search",
        run: go(`/search?q=${encodeURIComponent(words)}`),
      });
    }
    this.#list.replaceChildren(
      ...this.#shown.map(({ label, kind }, index) => {
        const quiet = make("span", { className: "quiet small" }, kind);
        const entry = make("li", { className: "palette-entry" }, make("span", {}, label), quiet);
        entry.id = `palette-${index}`;
        entry.setAttribute("role", "option");
        return entry;
      }),
    );
    this.#select(0);
  }

  #select(index: number): void {
    const { length } = this.#shown;
    this.#selected = length === 0 ? 0 : (index + length) % length;
    for (const [at, entry] of [...this.#list.children].entries()) {
      entry.setAttribute("aria-selected", `${at === this.#selected}`);
      if (at === this.#selected) entry.scrollIntoView({ block: "nearest" });
    }
    this.#input.setAttribute("aria-activedescendant", `palette-${this.#selected}`);
  }

  #key(event: KeyboardEvent): void {
    const steps: Record<string, number> = { ArrowDown: 1, ArrowUp: -1 };
    const step = steps[event.key];
    if (step !== undefined) this.#select(this.#selected + step);
    else if (event.key === "Enter") this.#run(this.#selected);
    else return;
    event.preventDefault();
  }

  #run(index: number): void {
    const command = this.#shown[index];
    if (!command) return;
    this.#dialog.close();
    command.run();
  }
}
