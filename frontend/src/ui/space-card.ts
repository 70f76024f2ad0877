/** The small card beside a point: its thumbnail, title and time. */
import { type PhotoCache, photoUrl, thumbUrl } from "../state/photo-cache";
import { need } from "./dom";
import { captureTime } from "./format";

const MARGIN_PX = 16;

export class SpaceCard {
  readonly #card = need("#space-card", HTMLAnchorElement);
  readonly #text = need("#space-card .space-card-text", HTMLElement);
  readonly #photos: PhotoCache;
  readonly #event: string;
  #id = -1;

  constructor(event: string, photos: PhotoCache) {
    this.#event = event;
    this.#photos = photos;
  }

  /** Beside (x, y) in CSS pixels of the space. `passing`: under the mouse only, can't be clicked. */
  show(id: number, x: number, y: number, passing: boolean): void {
    this.#card.classList.toggle("passing", passing);
    this.#card.hidden = false;
    if (id !== this.#id) this.#fill(id);
    const place = this.#card.parentElement;
    if (!place) return;
    const { offsetWidth: width, offsetHeight: height } = this.#card;
    const right = x + MARGIN_PX + width <= place.clientWidth;
    const left = right ? x + MARGIN_PX : Math.max(MARGIN_PX, x - MARGIN_PX - width);
    const lowest = Math.max(MARGIN_PX, place.clientHeight - height - MARGIN_PX);
    const top = Math.min(lowest, Math.max(MARGIN_PX, y - height / 2));
    this.#card.style.transform = `translate(${Math.round(left)}px, ${Math.round(top)}px)`;
  }

  hide(): void {
    this.#card.hidden = true;
    this.#id = -1;
  }

  #fill(id: number): void {
    this.#id = id;
    this.#card.href = photoUrl(this.#event, id);
    this.#text.textContent = `Photo ${id}`;
    const image = new Image(240, 180);
    image.alt = "";
    image.src = thumbUrl(id);
    this.#card.querySelector("img")?.replaceWith(image);
    void this.#photos.get(id).then((photo) => {
      if (!photo || this.#id !== id) return;
      const time = photo.takenAt ? captureTime(photo.takenAt) : "";
      this.#text.textContent = [photo.title, time].filter(Boolean).join(" · ") || `Photo ${id}`;
    });
  }
}
