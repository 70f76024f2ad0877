// @vitest-environment happy-dom
import { describe, expect, it } from "vitest";
import { showFields } from "../src/ui/source-hint";
import { nextButton } from "../src/ui/sources";

function parsed(html: string): HTMLElement {
  const holder = document.createElement("div");
  holder.innerHTML = html;
  const [found] = holder.children;
  if (!(found instanceof HTMLElement)) throw new Error("no element");
  return found;
}

function fields(kind: string, sentence: string): HTMLElement {
  const input = kind ? `<input name="option.${kind}">` : "";
  return parsed(`<div data-kind="${kind}"><p data-sentence>${sentence}</p>${input}</div>`);
}

describe("the fields of a kind", () => {
  it("keep what was typed while the kind stays, and change with it", () => {
    const shown = fields("s3", "A bucket a.");
    const typed = shown.querySelector("input");
    if (typed) typed.value = "eu-west-1";
    showFields(shown, fields("s3", "A bucket ab."));
    expect(shown.textContent).toBe("A bucket ab.");
    expect(shown.querySelector("input")?.value).toBe("eu-west-1");
    showFields(shown, fields("", "No address yet."));
    expect(shown.textContent).toBe("No address yet.");
    expect(shown.querySelector("input")?.value).toBe("eu-west-1");
    showFields(shown, fields("webdav", "A share."));
    expect(shown.querySelector("input")?.name).toBe("option.webdav");
    expect(shown.dataset.kind).toBe("webdav");
  });
});

describe("the button to go on from", () => {
  const row = (id: string) =>
    `<li class="failed-photo" id="${id}"><button>Retry</button><button>Ignore</button></li>`;
  const list = parsed(`<details><summary>Show</summary><ul>${row("a")}${row("b")}</ul></details>`);
  const [first, last] = list.querySelectorAll("li");

  it("is the same one of the next row, or of the one before at the end", () => {
    if (!first || !last) throw new Error("no rows");
    const [, ignore] = first.querySelectorAll("button");
    expect(nextButton(first, ignore ?? null)).toBe(last.querySelectorAll("button")[1]);
    expect(nextButton(last, ignore ?? null)).toBe(ignore);
    last.remove();
    expect(nextButton(first, ignore ?? null)).toBe(list.querySelector("summary"));
  });
});
