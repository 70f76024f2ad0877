/** The ingest pill at the top of an event: the latest run in words and numbers. */
import { isActive, type Run, settled } from "../state/models";
import type { Progress } from "../state/progress";
import { make } from "./dom";
import { count, duration, rate, whole } from "./format";

function failures(run: Run, sourcesUrl: string): HTMLElement | string {
  if (run.failed === 0) return "";
  return make(
    "a",
    { href: `${sourcesUrl}#failures`, className: "bad-text" },
    `${whole(run.failed)} failed`,
  );
}

function line(className: string, ...parts: (HTMLElement | string)[]): HTMLElement {
  const kept = parts
    .filter((part) => part !== "")
    .map((part) => (typeof part === "string" ? make("span", {}, part) : part));
  return make("div", { className: `pill-line ${className}` }, ...kept);
}

function dot(): HTMLElement {
  return make("span", { className: "dot" });
}

const STAGE_WORDS: Record<string, string> = {
  graph: "Linking photos that look alike",
  layout: "Building the space",
};

/** The stage that works now, in words; "" if none does. */
export function workingStage(run: Run): string {
  const working = Object.entries(run.stages).find(([, state]) => state === "working");
  return working ? (STAGE_WORDS[working[0]] ?? "Finishing") : "";
}

function activeLines(run: Run, channel: string, sourcesUrl: string): HTMLElement[] {
  const speed = run.photosPerSecond ? `${rate(run.photosPerSecond)} photos/s` : "";
  const left = run.secondsLeft === null ? "" : `${duration(run.secondsLeft)} left`;
  const headline = run.discovered === 0 ? "Looking for photos" : `${whole(run.indexed)} indexed`;
  const bar = make("progress", { ariaLabel: "Progress of the ingest" });
  if (run.discovered > 0) {
    bar.max = run.discovered;
    bar.value = Math.min(run.discovered, settled(run));
  }
  const note = channel === "live" ? "" : make("span", { className: "quiet" }, "updates are slower");
  return [
    line("", dot(), make("strong", {}, headline), speed, left),
    bar,
    line(
      "quiet",
      `${whole(run.discovered)} found`,
      `${whole(run.fetched)} fetched`,
      run.unchanged > 0 ? `${whole(run.unchanged)} unchanged` : "",
      failures(run, sourcesUrl),
      note,
    ),
  ];
}

function settledLines(run: Run, sourcesUrl: string): HTMLElement[] {
  if (run.state === "failed") {
    const why = make("a", { href: `${sourcesUrl}#failures` }, "See why");
    return [line("", dot(), make("strong", {}, "The last ingest failed"), why)];
  }
  const stage = workingStage(run);
  const headline = stage || "Up to date";
  const took = run.seconds === null ? "" : ` in ${duration(run.seconds)}`;
  return [
    line("", dot(), make("strong", {}, headline), failures(run, sourcesUrl)),
    line("quiet", `Last run: ${count(run.indexed, "photo", "photos")} indexed${took}`),
  ];
}

function stateOf(run: Run): string {
  if (isActive(run) || (run.state === "done" && workingStage(run) !== "")) return "working";
  return run.state;
}

export function renderPill(pill: HTMLElement, progress: Progress, sourcesUrl: string): void {
  const focused = pill.contains(document.activeElement);
  fill(pill, progress, sourcesUrl);
  // it is made anew twice a second: a link in it must not lose the focus by that
  if (focused) pill.querySelector("a")?.focus();
}

function fill(pill: HTMLElement, progress: Progress, sourcesUrl: string): void {
  const { run, channel, known } = progress;
  if (channel === "offline") {
    pill.dataset.state = "offline";
    pill.replaceChildren(
      line("", dot(), make("strong", {}, "Progress can't be seen")),
      line("quiet", "No answer from the server. Trying again."),
    );
  } else if (run === null) {
    pill.dataset.state = "idle";
    pill.replaceChildren(
      known
        ? line("", dot(), make("a", { href: sourcesUrl }, "Add photos"))
        : line("quiet", dot(), "Checking the latest run"),
    );
  } else {
    pill.dataset.state = stateOf(run);
    pill.replaceChildren(
      ...(isActive(run) ? activeLines(run, channel, sourcesUrl) : settledLines(run, sourcesUrl)),
    );
  }
}
