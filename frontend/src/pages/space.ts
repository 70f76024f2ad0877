/** The Space tab: joins the cloud, the scene and the words around it. */
import "./base";
import "../styles/space.css";
import { CloudLoader, CloudUnavailable } from "../cloud/load";
import { installHook } from "../scene/hook";
import { bindPointer } from "../scene/pointer";
import { type Covered, SpaceScene } from "../scene/scene";
import { explain, getJson, Problem } from "../state/api";
import { sharedLive } from "../state/live";
import { readManifest } from "../state/models";
import { PhotoCache, photoUrl } from "../state/photo-cache";
import { bindAddressChoice, need, reducedMotion } from "../ui/dom";
import { count } from "../ui/format";
import { SpaceCard } from "../ui/space-card";
import { bindSpaceKeys } from "../ui/space-keys";
import { SpaceList } from "../ui/space-list";
import { SpaceMessage } from "../ui/space-message";
import { toast } from "../ui/toasts";

const LISTED = 12;
const RETRY_MS = 5_000;

class SpacePage {
  readonly #root = need("#space", HTMLElement);
  readonly #canvas = need("#space-canvas", HTMLCanvasElement);
  readonly #status = need("#space-status", HTMLElement);
  readonly #event = this.#root.dataset.event ?? "";
  readonly #photos = new PhotoCache();
  readonly #message = new SpaceMessage();
  readonly #card = new SpaceCard(this.#event, this.#photos);
  readonly #list = new SpaceList(this.#event, this.#photos, () => this.#showList());
  readonly #loader = new CloudLoader();
  readonly #scene: SpaceScene;
  readonly #ends: (() => void)[] = [];
  #version: string | null = null;
  #chosen = -1;
  #hovered = -1;
  #visited = new Set<number>();
  #retryTimer: ReturnType<typeof setTimeout> | undefined;

  constructor() {
    this.#scene = new SpaceScene(this.#canvas, {
      settled: () => this.#settled(),
      covered: () => this.#covered(),
      lost: (lost) =>
        this.#say(lost ? "The graphics card is busy; waiting for it" : this.#summary()),
    });
    this.#colour();
    this.#bind();
    bindAddressChoice("#space-name", "name");
  }

  async load(): Promise<void> {
    clearTimeout(this.#retryTimer);
    try {
      const manifest = await getJson(this.#root.dataset.manifestUrl ?? "", readManifest);
      if (manifest.version === this.#version) return;
      const cloud = await this.#loader.load(manifest.url);
      const again = this.#version !== null;
      this.#version = manifest.version;
      this.#scene.setCloud(cloud);
      this.#choose(-1);
      this.#message.hide();
      this.#say(this.#summary());
      if (cloud.count === 0) this.#empty();
      else if (again) toast("A new space is here: photos were added.", "good");
    } catch (error) {
      this.#failed(error);
    }
  }

  dispose(): void {
    clearTimeout(this.#retryTimer);
    for (const end of this.#ends.splice(0)) end();
    this.#loader.dispose();
    this.#scene.dispose();
  }

  /** By the status above and the bar below. */
  #covered(): Covered {
    const canvas = this.#canvas.getBoundingClientRect();
    const bar = need(".space-bar", HTMLElement).getBoundingClientRect();
    return {
      top: this.#status.getBoundingClientRect().bottom - canvas.top,
      bottom: canvas.bottom - bar.top,
    };
  }

  #bind(): void {
    const motion = matchMedia("(prefers-reduced-motion: reduce)");
    this.#scene.setJump(reducedMotion());
    motion.addEventListener("change", () => this.#scene.setJump(reducedMotion()));
    const colour = () => this.#colour();
    addEventListener("clair:theme", colour);
    matchMedia("(prefers-color-scheme: light)").addEventListener("change", colour);
    need("#space-home", HTMLButtonElement).addEventListener("click", () => this.#scene.home());
    need("#space-next", HTMLButtonElement).addEventListener("click", () => this.#next());
    const size = need("#space-point-size", HTMLInputElement);
    size.addEventListener("input", () => this.#scene.setPointSize(Number(size.value)));
    this.#ends.push(
      installHook(this.#scene),
      bindPointer(this.#canvas, this.#scene, {
        hover: (index) => this.#hover(index),
        click: (index) => this.#open(index),
        tap: (index) => this.#choose(index),
        doubleClick: (index) => this.#flyTo(index),
        nothing: () => this.#choose(-1),
      }),
      bindSpaceKeys(this.#canvas, {
        turn: (left, up) => this.#scene.turn(left, up),
        zoom: (factor) => this.#scene.zoom(factor),
        home: () => this.#scene.home(),
        next: () => this.#next(),
        flyToChosen: () => this.#flyTo(this.#chosen >= 0 ? this.#chosen : this.#hovered),
        openChosen: () => this.#open(this.#chosen >= 0 ? this.#chosen : this.#hovered),
        letGo: () => this.#choose(-1),
      }),
      sharedLive().listen((message) => {
        const mine = message.type === "layout" && message.event === this.#event;
        if (mine || message.type === "refetch") void this.load();
      }),
    );
  }

  #hover(index: number): void {
    if (index === this.#hovered && index < 0) return;
    this.#hovered = index;
    this.#scene.mark(this.#chosen, index);
    this.#placeCard();
  }

  #choose(index: number): void {
    this.#chosen = index;
    if (index < 0) this.#visited.clear();
    else this.#visited.add(index);
    this.#scene.mark(index, this.#hovered);
    this.#placeCard();
  }

  /** The card is beside the point under the mouse, else beside the chosen one. */
  #placeCard(): void {
    const index = this.#hovered >= 0 ? this.#hovered : this.#chosen;
    const place = index >= 0 ? this.#scene.project(index) : null;
    const id = this.#scene.cloud?.ids[index];
    if (!place || id === undefined) this.#card.hide();
    else this.#card.show(id, place.x, place.y, index === this.#hovered);
  }

  #flyTo(index: number): void {
    if (index < 0) return;
    this.#choose(index);
    this.#scene.flyTo(index);
  }

  /** The nearest photo that hasn't been visited on this walk. */
  #next(): void {
    let from = this.#chosen;
    if (from < 0) {
      from = this.#scene.nearestToTarget(1)[0] ?? -1;
      if (from >= 0) this.#flyTo(from);
      return;
    }
    const next = this.#scene.neighbour(from, (index) => this.#visited.has(index));
    if (next >= 0) this.#flyTo(next);
    else this.#say("Every photo has been visited");
  }

  #open(index: number): void {
    const id = this.#scene.cloud?.ids[index];
    if (id !== undefined) location.assign(photoUrl(this.#event, id));
  }

  #settled(): void {
    this.#placeCard();
    if (this.#list.open) this.#showList();
  }

  #showList(): void {
    const { cloud } = this.#scene;
    if (!cloud) return;
    this.#list.show(this.#scene.nearestToTarget(LISTED).map((index) => cloud.ids[index] ?? 0));
  }

  #colour(): void {
    const { backgroundColor } = getComputedStyle(this.#root);
    const { color } = getComputedStyle(this.#status.ownerDocument.body);
    this.#scene.setColours(backgroundColor, color);
  }

  #summary(): string {
    return `${count(this.#scene.cloud?.count ?? 0, "photo", "photos")}, alike ones close together`;
  }

  #say(words: string): void {
    this.#status.textContent = words;
  }

  #empty(): void {
    const photos = Number(this.#root.dataset.photos);
    this.#say("");
    this.#message.show(
      photos > 0 ? "The space is not built yet" : "No photos yet",
      photos > 0
        ? "It is built when the ingest settles, a moment after the last photo. It then opens here by itself."
        : "Add a source on the Sources tab. The space is built when its ingest settles, and opens here by itself.",
    );
  }

  #failed(error: unknown): void {
    if (error instanceof Problem && error.status === 404) {
      this.#empty();
      return;
    }
    // what is shown stays; the next try may succeed
    const why = error instanceof CloudUnavailable ? error.message : explain(error);
    if (this.#version === null) {
      this.#message.show("The space can't be fetched", `${why} This page tries again by itself.`);
    }
    this.#say("");
    this.#retryTimer = setTimeout(() => void this.load(), RETRY_MS);
  }
}

function hasWebGl2(): boolean {
  const probe = document.createElement("canvas").getContext("webgl2");
  probe?.getExtension("WEBGL_lose_context")?.loseContext();
  return probe !== null;
}

if (hasWebGl2()) {
  const page = new SpacePage();
  void page.load();
  addEventListener("pagehide", (hidden) => {
    if (!hidden.persisted) page.dispose();
  });
} else {
  need("#space-status", HTMLElement).textContent = "";
  new SpaceMessage().show(
    "This browser can't draw in 3D",
    "It has no WebGL2, or it is switched off. The same photos are in the grid, and the search works there too.",
  );
}
