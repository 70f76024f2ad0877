/** The Photos tab: joins the feed, the search and the grid. */
import { explain } from "../state/api";
import { isActive, type Photo, type Progress } from "../state/models";
import { firstChange, PhotoFeed, type PhotoList, photoPages } from "../state/photos";
import { eventSearch, SearchController, type SearchState } from "../state/search";
import { bindAddressChoice, need } from "./dom";
import { eventProgress } from "./event-head";
import { captureTime, count, whole } from "./format";
import { GalleryMemory } from "./gallery-memory";
import { GalleryMessage } from "./gallery-message";
import { PhotoGrid } from "./grid";
import { bindSearchField } from "./search-field";
import { Stacks } from "./stacks";

/** Between two refreshes while photos arrive, and after a failure. */
const REFRESH_MS = 1_500;
const AGAIN_MS = 5_000;

export class Gallery {
  readonly #root: HTMLElement;
  readonly #status = need("#gallery-status", HTMLElement);
  /** Apart from the status, which is read aloud: it changes with every scroll. */
  readonly #time = need("#gallery-time", HTMLElement);
  readonly #density = need("#density", HTMLInputElement);
  readonly #message = new GalleryMessage();
  readonly #memory: GalleryMemory;
  readonly #grid: PhotoGrid;
  readonly #feed: PhotoFeed;
  readonly #search: SearchController;
  /** "search" while results are shown instead of the event. */
  #mode: "all" | "search" = "all";
  readonly #stacks = new Stacks((group) => {
    if (this.#mode !== "all") return;
    const { photos } = this.#feed.list.get();
    this.#showPhotos(photos);
    // its row was drawn anew: the focus stays on the photo that stands for the stack
    const leader = photos.find((photo) => photo.stack?.group === group);
    if (leader) this.#grid.reveal(leader.id, true);
  });
  /** What the grid shows in the mode "all". */
  #shown: readonly Photo[] = [];
  #refreshTimer: ReturnType<typeof setTimeout> | undefined;
  #seen: string | null = null;
  /** Whether photos may still arrive by themselves. */
  #running: boolean;

  constructor(root: HTMLElement) {
    this.#root = root;
    this.#running = root.dataset.running === "1";
    const event = root.dataset.event ?? "";
    this.#memory = new GalleryMemory(event);
    this.#density.value = `${this.#memory.density()}`;
    this.#grid = new PhotoGrid(root, Number(this.#density.value));
    this.#feed = new PhotoFeed(photoPages(root.dataset.apiUrl ?? ""));
    this.#search = new SearchController(eventSearch(event));
  }

  start(): void {
    this.#root.dataset.mode = Number(this.#root.dataset.total) > 0 ? "loading" : "ready";
    this.#density.addEventListener("input", () => {
      this.#grid.setTargetHeight(Number(this.#density.value));
      this.#memory.keepDensity(Number(this.#density.value));
    });
    bindSearchField(this.#search, () => this.#grid.focus());
    this.#message.onRetry(() => {
      if (this.#search.query) this.#search.submit(this.#search.query);
      else void this.#feed.refresh();
    });
    this.#feed.list.subscribe((now) => this.#listChanged(now));
    this.#stacks.bind(this.#root, (index) =>
      this.#mode === "all" ? this.#shown[index] : undefined,
    );
    bindAddressChoice("#fold", "fold");
    this.#search.state.subscribe((state) => this.#searchChanged(state));
    eventProgress()?.following.subscribe(({ progress }) => this.#progressed(progress));
    addEventListener("scroll", () => this.#showTime(), { passive: true });
    addEventListener("pagehide", () => this.#memory.leave(this.#grid.anchor()));
    addEventListener("online", () => void this.#feed.refresh());
    // results first where the address names a search; the event follows behind it
    const query = need("#event-search", HTMLInputElement).value.trim();
    if (query) this.#search.submit(query);
    void this.#feed.refresh();
  }

  /** The event's photos, with those of open stacks. */
  #showPhotos(photos: readonly Photo[]): void {
    const shown = this.#stacks.unfold(photos);
    if (shown === this.#grid.items) return;
    const unchanged = this.#shown === this.#grid.items ? firstChange(this.#shown, shown) : 0;
    this.#shown = shown;
    this.#grid.setItems(shown, unchanged);
  }

  #listChanged(now: PhotoList): void {
    if (now.inEvent !== null) this.#showTotal(now.inEvent);
    if (this.#mode === "search") return;
    this.#root.dataset.mode = now.total === null && !now.error ? "loading" : "ready";
    this.#showPhotos(now.photos);
    this.#memory.restore(this.#grid, now.complete);
    this.#message.showList(now, this.#running);
    this.#showListStatus(now);
    if (now.error) this.#refreshSoon(AGAIN_MS);
  }

  #showListStatus(list: PhotoList): void {
    if (list.error || list.total === null || list.photos.length === 0) {
      this.#status.textContent = "";
    } else if (!list.complete) {
      const total = Math.max(list.total, list.photos.length);
      this.#status.textContent = `${whole(list.photos.length)} of ${count(total, "photo", "photos")}`;
    } else if (list.inEvent !== null && list.inEvent > list.total) {
      const all = count(list.inEvent, "photo", "photos");
      this.#status.textContent = `${whole(list.total)} shown of ${all}`;
    } else {
      this.#status.textContent = "";
    }
    this.#showTime();
  }

  /** When the topmost photo in view was taken. */
  #showTime(): void {
    const plain = this.#mode === "all" && this.#feed.list.get().complete;
    const takenAt = plain ? this.#grid.firstVisible()?.takenAt : null;
    const time = takenAt ? captureTime(takenAt) : "";
    if (this.#time.textContent !== time) this.#time.textContent = time;
  }

  #showTotal(total: number): void {
    const counter = document.querySelector("[data-photo-count]");
    if (counter) counter.textContent = count(total, "photo", "photos");
  }

  #searchChanged(state: SearchState): void {
    if (state.kind === "idle") {
      if (this.#mode === "all") return;
      this.#mode = "all";
      const list = this.#feed.list.get();
      this.#showPhotos(list.photos);
      this.#message.showList(list, this.#running);
      this.#showListStatus(list);
      return;
    }
    if (this.#mode === "all") this.#message.hide();
    this.#mode = "search";
    this.#showTime();
    this.#root.dataset.mode = "ready";
    this.#root.setAttribute("aria-busy", `${state.kind === "loading"}`);
    this.#message.showSearch(state);
    switch (state.kind) {
      case "loading":
        this.#status.textContent = `Searching for “${state.query}”`;
        break;
      case "results": {
        const { answer } = state;
        this.#grid.replaceItems(answer.items);
        scrollTo({ top: 0, behavior: "instant" });
        const found = count(answer.items.length, "result", "results");
        this.#status.textContent = `${found} in ${answer.seconds.toFixed(2)} s, best first`;
        break;
      }
      case "warming":
        this.#status.textContent = "The search model is warming up";
        this.#grid.setItems([]);
        break;
      default:
        this.#status.textContent = "";
        this.#grid.setItems([]);
        if (state.kind === "failed") this.#status.textContent = explain(state.error);
    }
  }

  #progressed(progress: Progress | null): void {
    if (!progress) return;
    this.#setRunning(isActive(progress));
    // which runs, and how many photos they have embedded: a change of either may show new ones
    const seen = progress.runs.map((run) => `${run.id}:${run.indexed}`).join();
    if (seen === this.#seen) return;
    const first = this.#seen === null;
    this.#seen = seen;
    if (first && !isActive(progress)) return;
    this.#refreshSoon(REFRESH_MS);
  }

  #setRunning(running: boolean): void {
    if (running === this.#running) return;
    this.#running = running;
    const list = this.#feed.list.get();
    if (this.#mode === "all" && list.total === 0) this.#message.showList(list, running);
  }

  /** At most one refresh a while, and always one after the last call. */
  #refreshSoon(wait: number): void {
    this.#refreshTimer ??= setTimeout(() => {
      this.#refreshTimer = undefined;
      void this.#feed.refresh();
    }, wait);
  }
}
