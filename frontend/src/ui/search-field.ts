/** The event's search field: types into the controller and keeps `?q=` in the address. */
import type { SearchController } from "../state/search";
import { isTyping, need } from "./dom";

function keepAddress(query: string): void {
  const url = new URL(location.href);
  if (query) url.searchParams.set("q", query);
  else url.searchParams.delete("q");
  if (url.href !== location.href) history.replaceState(history.state, "", url);
}

/** `leave` moves the focus to the results. */
export function bindSearchField(search: SearchController, leave: () => void): void {
  const form = need("#event-search-form", HTMLFormElement);
  const field = need("#event-search", HTMLInputElement);
  field.addEventListener("input", () => {
    search.type(field.value);
    keepAddress(search.query);
  });
  form.addEventListener("submit", (event) => {
    event.preventDefault();
    search.submit(field.value);
    keepAddress(search.query);
  });
  const clear = () => {
    field.value = "";
    search.clear();
    keepAddress("");
  };
  addEventListener("keydown", (event) => {
    if (event.key === "Escape" && !isTyping(event)) clear();
  });
  field.addEventListener("keydown", (event) => {
    if (event.key === "Escape") {
      event.preventDefault();
      if (field.value === "") field.blur();
      clear();
    } else if (event.key === "ArrowDown") {
      event.preventDefault();
      leave();
    }
  });
}
