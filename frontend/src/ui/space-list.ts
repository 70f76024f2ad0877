/** The space in words: the photos nearest to the middle of the view, as links. */
import { type PhotoCache, photoUrl, thumbUrl } from "../state/photo-cache";
import { make, need } from "./dom";

export class SpaceList {
  readonly #panel = need("#space-list-panel", HTMLElement);
  readonly #toggle = need("#space-list-toggle", HTMLButtonElement);
  readonly #list = need("#space-list", HTMLOListElement);
  readonly #event: string;
  readonly #photos: PhotoCache;
  #shown: readonly number[] = [];

  /** `opened` is called when the list is opened and wants its photos. */
  constructor(event: string, photos: PhotoCache, opened: () => void) {
    this.#event = event;
    this.#photos = photos;
    this.#toggle.addEventListener("click", () => {
      this.#panel.hidden = !this.#panel.hidden;
      this.#toggle.setAttribute("aria-expanded", `${!this.#panel.hidden}`);
      if (!this.#panel.hidden) opened();
    });
  }

  get open(): boolean {
    return !this.#panel.hidden;
  }

  show(ids: readonly number[]): void {
    const same = ids.length === this.#shown.length && ids.every((id, at) => id === this.#shown[at]);
    // a link that has the focus must not vanish under it
    if (same || this.#list.contains(document.activeElement)) return;
    this.#shown = ids;
    this.#list.replaceChildren(...ids.map((id) => this.#entry(id)));
  }

  #entry(id: number): HTMLLIElement {
    const name = make("span", {}, `Photo ${id}`);
    const image = make("img", { src: thumbUrl(id), alt: "", width: 56, height: 44 });
    void this.#photos.get(id).then((photo) => {
      if (photo?.title) name.textContent = photo.title;
    });
    return make("li", {}, make("a", { href: photoUrl(this.#event, id) }, image, name));
  }
}
