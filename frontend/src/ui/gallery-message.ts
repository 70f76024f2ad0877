/** What stands where photos would: nothing yet, nothing found, warming up, out of reach. */
import { explain } from "../state/api";
import type { PhotoList } from "../state/photos";
import type { SearchState } from "../state/search";
import { make, need } from "./dom";

export class GalleryMessage {
  readonly #place = need("#gallery-message", HTMLElement);
  readonly #empty = need("#gallery-empty", HTMLElement);
  #retry: () => void = () => {};

  onRetry(retry: () => void): void {
    this.#retry = retry;
  }

  hide(): void {
    this.#place.hidden = true;
    this.#empty.hidden = true;
  }

  showList(list: PhotoList, running: boolean): void {
    this.hide();
    if (list.photos.length > 0) return;
    if (list.error) {
      this.#say("The photos can't be fetched", explain(list.error), true);
    } else if (list.total === 0 && running) {
      this.#say("Looking for photos", "The first ones appear here as soon as they are read.");
    } else if (list.total === 0) {
      this.#empty.hidden = false;
    }
  }

  showSearch(state: SearchState): void {
    switch (state.kind) {
      case "empty":
        this.#say(
          `Nothing matches “${state.query}”`,
          "Try fewer or plainer words, and say what can be seen rather than what it means.",
        );
        break;
      case "warming":
        this.#say(
          "The search model is warming up",
          `${state.detail} This page asks again every ${state.retryInSeconds} s.`.trim(),
        );
        break;
      case "failed":
        this.#say("The search did not work", explain(state.error), true);
        break;
      case "results":
      case "idle":
        this.hide();
        break;
      case "loading":
    }
  }

  #say(headline: string, words: string, retry = false): void {
    this.#empty.hidden = true;
    const parts: HTMLElement[] = [make("h2", {}, headline), make("p", {}, words)];
    if (retry) {
      const button = make("button", { type: "button", className: "button" }, "Try again");
      button.addEventListener("click", () => this.#retry());
      parts.push(button);
    }
    this.#place.replaceChildren(...parts);
    this.#place.hidden = false;
  }
}
