/** What covers the space while there is nothing to show. */
import { need } from "./dom";

export class SpaceMessage {
  readonly #place = need("#space-message", HTMLElement);
  readonly #headline = need("#space-message h2", HTMLElement);
  readonly #words = need("#space-message p", HTMLElement);

  show(headline: string, words: string): void {
    this.#headline.textContent = headline;
    this.#words.textContent = words;
    this.#place.hidden = false;
  }

  hide(): void {
    this.#place.hidden = true;
  }
}
