/** Says, while it is typed, what kind of source an entry is. */

export function describeSource(entry: string): string | null {
  const source = entry.trim();
  if (source === "") return null;
  if (/^https?:\/\//i.test(source)) {
    return "A list of image addresses, fetched from the web: text, CSV, JSON or NDJSON.";
  }
  if (/^(file:\/\/|~|\/|\.{1,2}\/|[a-z]:[\\/]|\\\\)/i.test(source)) {
    return /\.(txt|csv|json|ndjson|jsonl)$/i.test(source)
      ? "A list in a file on the server."
      : "A folder on the server. Photos are read in place.";
  }
  if (/^[a-z][a-z0-9+.-]*:\/\//i.test(source)) {
    return "This kind of address can't be read yet. Use http, https or a folder on the server.";
  }
  return "Neither an address nor a full path. Begin with https:// or with /.";
}

export function bindSourceHints(): void {
  for (const field of document.querySelectorAll<HTMLInputElement>("[data-source-field]")) {
    const hint = field.closest("form")?.parentElement?.querySelector("[data-source-hint]");
    if (!hint) continue;
    const usual = hint.textContent;
    field.addEventListener("input", () => {
      hint.textContent = describeSource(field.value) ?? usual;
    });
  }
}
