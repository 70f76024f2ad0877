/** The Duplicates tab: keys, the slider's live count, sharper pictures where one looks. */
import { tinykeys } from "tinykeys";
import { explain, getJson, postJson } from "../state/api";
import { object } from "../state/shape";
import { isTyping, need } from "./dom";
import { count } from "./format";
import { toast } from "./toasts";

const ROW = ".group-row";
const ASK_MS = 700;
const KINDS = ["exact", "burst", "lookalike"] as const;

type Kind = (typeof KINDS)[number];
/** For each step of the slider and each kind: how many groups, how many photos in them. */
export type Counts = Record<string, Partial<Record<Kind, [number, number]>>>;

const NAMES: Record<Kind, [string, string]> = {
  exact: ["set of exact copies", "sets of exact copies"],
  burst: ["burst", "bursts"],
  lookalike: ["set of look-alikes", "sets of look-alikes"],
};

/** What a step of the slider would make, in words. */
export function wouldMake(counts: Counts, value: number): string {
  const step = counts[`${value}`];
  if (!step) return "";
  const parts = KINDS.map((kind) => count(step[kind]?.[0] ?? 0, ...NAMES[kind]));
  const photos = Math.max(...KINDS.map((kind) => step[kind]?.[1] ?? 0));
  return `${parts.join(", ")}; ${count(photos, "photo is", "photos are")} in a group`;
}

/** The group to go to from this one: the next that is left to decide, else the one before. */
export function nextGroup(row: Element): HTMLElement | null {
  for (const direction of ["nextElementSibling", "previousElementSibling"] as const) {
    let other = row[direction];
    while (other) {
      if (other instanceof HTMLElement && other.matches(`${ROW}:not(.decided)`)) return other;
      other = other[direction];
    }
  }
  return null;
}

function currentGroup(): HTMLElement | null {
  const focused = document.activeElement?.closest<HTMLElement>(ROW);
  return focused ?? document.querySelector<HTMLElement>(`${ROW}:not(.decided)`);
}

function focusGroup(row: HTMLElement | null): void {
  if (!row) return;
  const first = row.querySelector<HTMLElement>(".frames a") ?? row;
  first.focus({ preventScroll: true });
  row.scrollIntoView({ block: "nearest" });
}

function moveGroup(step: 1 | -1): void {
  const rows = [...document.querySelectorAll<HTMLElement>(ROW)];
  const focused = document.activeElement?.closest<HTMLElement>(ROW);
  const now = focused ? rows.indexOf(focused) : -1;
  focusGroup(rows[Math.min(rows.length - 1, Math.max(0, now + step))] ?? null);
}

function moveFrame(step: 1 | -1): void {
  const row = currentGroup();
  const frames = [...(row?.querySelectorAll<HTMLElement>(".frames a") ?? [])];
  const now = frames.indexOf(document.activeElement as HTMLElement);
  frames[Math.min(frames.length - 1, Math.max(0, now + step))]?.focus();
}

function press(selector: string): void {
  currentGroup()?.querySelector<HTMLButtonElement>(selector)?.click();
}

/** The photo that has the focus becomes the best of its group. */
function pressBest(): void {
  const card = document.activeElement?.closest(".frame-card");
  card?.querySelector<HTMLButtonElement>("[data-best]")?.click();
}

async function turnBack(event: string, deed: "undo" | "redo"): Promise<void> {
  try {
    const answer = await postJson(`/api/v1/events/${event}/${deed}`, {}, (body) =>
      object(body, "change"),
    );
    if (answer.batch === null) toast(deed === "undo" ? "Nothing to undo." : "Nothing to redo.");
    else location.reload();
  } catch (error) {
    toast(explain(error), "bad");
  }
}

/** Previews are made from the originals on demand, so only those that are looked at. */
function sharpen(row: Element): void {
  for (const link of row.querySelectorAll<HTMLAnchorElement>(".frame-card.best a[data-large]")) {
    const image = link.querySelector("img");
    const address = link.dataset.large;
    delete link.dataset.large;
    if (!image || !address) continue;
    const large = new Image();
    large.addEventListener("load", () => {
      image.src = address;
    });
    large.src = address;
  }
}

function bindKeys(event: string): void {
  const unlessTyping = (act: () => void) => (key: KeyboardEvent) => {
    if (isTyping(key) || (key.target instanceof Element && key.target.closest("input"))) return;
    key.preventDefault();
    act();
  };
  tinykeys(window, {
    ArrowDown: unlessTyping(() => moveGroup(1)),
    ArrowUp: unlessTyping(() => moveGroup(-1)),
    ArrowRight: unlessTyping(() => moveFrame(1)),
    ArrowLeft: unlessTyping(() => moveFrame(-1)),
    k: unlessTyping(() => press('[data-verdict="keep-best"]')),
    a: unlessTyping(() => press('[data-verdict="keep-all"]')),
    b: unlessTyping(pressBest),
    "$mod+z": unlessTyping(() => void turnBack(event, "undo")),
    "$mod+Shift+Z": unlessTyping(() => void turnBack(event, "redo")),
  });
}

/** A group that was decided shrinks to a line; the focus goes on to the next one. */
function bindSwaps(): void {
  let next: HTMLElement | null = null;
  document.addEventListener("htmx:before:swap", (event) => {
    const source = (event as CustomEvent<{ ctx?: { sourceElement?: Element } }>).detail?.ctx
      ?.sourceElement;
    const row = source?.closest(ROW);
    if (!row) return;
    const judged = source?.querySelector("[data-verdict]") !== null;
    next = judged ? nextGroup(row) : null;
    const id = row.id;
    requestAnimationFrame(() => {
      focusGroup(next ?? document.getElementById(id));
      if (!document.querySelector(`${ROW}:not(.decided), .more`)) location.reload();
    });
  });
}

class Sensitivity {
  readonly #form = need("#sensitivity", HTMLFormElement);
  readonly #input = need("#sensitivity-value", HTMLInputElement);
  readonly #said = need("#sensitivity-said", HTMLElement);
  readonly #event = this.#form.dataset.event ?? "";
  #counts: Counts = {};

  start(): void {
    try {
      this.#counts = JSON.parse(this.#form.dataset.counts ?? "{}") as Counts;
    } catch {
      this.#counts = {};
    }
    this.#input.addEventListener("input", () => this.#tell());
    this.#input.addEventListener("change", () => void this.#set());
    if (this.#form.dataset.building === "1") void this.#reloadWhenDone();
    else this.#tell();
  }

  #tell(): void {
    this.#said.textContent = wouldMake(this.#counts, Number(this.#input.value));
  }

  async #set(): Promise<void> {
    try {
      await postJson(
        `/api/v1/events/${this.#event}/sensitivity`,
        { value: Number(this.#input.value) },
        (body) => object(body, "sensitivity"),
      );
      this.#said.textContent = "The photos are being grouped anew.";
      await this.#reloadWhenDone();
    } catch (error) {
      toast(explain(error), "bad");
    }
  }

  async #reloadWhenDone(): Promise<void> {
    for (;;) {
      await new Promise((resolve) => setTimeout(resolve, ASK_MS));
      if (document.hidden) continue;
      try {
        const status = await getJson(`/api/v1/events/${this.#event}/stages`, (body) =>
          object(body, "stages"),
        );
        if (status.grouped === true) break;
      } catch (error) {
        toast(explain(error), "bad");
        return;
      }
    }
    location.reload();
  }
}

export function bindDuplicates(): void {
  const sensitivity = new Sensitivity();
  sensitivity.start();
  const event = need("#sensitivity", HTMLFormElement).dataset.event ?? "";
  bindKeys(event);
  bindSwaps();
  document.addEventListener("focusin", ({ target }) => {
    const row = target instanceof Element ? target.closest(ROW) : null;
    if (row) sharpen(row);
  });
  const undo = document.querySelector<HTMLFormElement>("[data-undo]");
  undo?.addEventListener("submit", (submit) => {
    submit.preventDefault();
    void turnBack(event, "undo");
  });
}
