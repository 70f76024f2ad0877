/** The ingest pill at the top of an event: its runs in words and numbers. */
import { isActive, type Progress, type Run, settled } from "../state/models";
import type { Following } from "../state/progress";
import { make } from "./dom";
import { about, count, duration, rate, size, whole } from "./format";

function failures(progress: Progress, sourcesUrl: string): HTMLElement | string {
  if (progress.failed === 0) return "";
  return make(
    "a",
    { href: `${sourcesUrl}#failures`, className: "bad-text" },
    `${whole(progress.failed)} failed`,
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
  groups: "Finding copies and bursts",
  clusters: "Finding scenes",
  layout: "Building the space",
};

/** The stage that works now, in words; "" if none does. */
export function workingStage(run: Run | undefined): string {
  const working = Object.entries(run?.stages ?? {}).find(([, state]) => state === "working");
  return working ? (STAGE_WORDS[working[0]] ?? "Finishing") : "";
}

function bar(progress: Progress): HTMLProgressElement {
  const made = make("progress", { ariaLabel: "Progress of the ingest" });
  if (progress.discovered > 0) {
    made.max = progress.discovered;
    made.value = Math.min(progress.discovered, settled(progress));
  }
  return made;
}

function counts(progress: Progress, channel: string, sourcesUrl: string): HTMLElement {
  return line(
    "quiet one-line",
    `${whole(progress.discovered)} found`,
    `${whole(progress.fetched)} fetched`,
    failures(progress, sourcesUrl),
    channel === "live" ? "" : "updates are slower",
    progress.unchanged > 0 ? `${whole(progress.unchanged)} unchanged` : "",
    progress.bytes > 0 ? size(progress.bytes) : "",
  );
}

function openLines(progress: Progress, channel: string, sourcesUrl: string): HTMLElement[] {
  const looking = progress.discovered === 0 ? "Looking for photos" : "";
  const embedded = `${whole(progress.indexed)} embedded`;
  if (progress.state === "paused") {
    const waiting = `${count(progress.waiting, "photo waits", "photos wait")}`;
    const resume = make("a", { href: sourcesUrl }, "Resume");
    return [
      line("one-line", dot(), make("strong", {}, "Paused"), waiting, resume),
      bar(progress),
      counts(progress, channel, sourcesUrl),
    ];
  }
  const speed = progress.photosPerSecond ? `${rate(progress.photosPerSecond)} photos/s` : "";
  const left = progress.secondsLeft === null ? "" : `${about(progress.secondsLeft)} left`;
  return [
    line("one-line", dot(), make("strong", {}, looking || embedded), speed, left),
    bar(progress),
    counts(progress, channel, sourcesUrl),
  ];
}

function settledLines(progress: Progress, sourcesUrl: string): HTMLElement[] {
  const [run] = progress.runs;
  if (progress.state === "failed") {
    const why = make("a", { href: `${sourcesUrl}#failures` }, "See why");
    return [line("", dot(), make("strong", {}, "The last ingest failed"), why)];
  }
  const cancelled = progress.state === "cancelled" ? "The last ingest was cancelled" : "";
  const headline = workingStage(run) || cancelled || "Up to date";
  const took = run?.seconds == null ? "" : ` in ${duration(run.seconds)}`;
  return [
    line("", dot(), make("strong", {}, headline), failures(progress, sourcesUrl)),
    line("quiet", `Last run: ${count(progress.indexed, "photo", "photos")} embedded${took}`),
  ];
}

function stateOf(progress: Progress): string {
  if (isActive(progress)) return "working";
  return progress.state === "done" && workingStage(progress.runs[0]) ? "working" : progress.state;
}

export function renderPill(pill: HTMLElement, following: Following, sourcesUrl: string): void {
  const focused = pill.contains(document.activeElement);
  fill(pill, following, sourcesUrl);
  // it is made anew twice a second: a link in it must not lose the focus by that
  if (focused) pill.querySelector("a")?.focus();
}

function fill(pill: HTMLElement, { progress, channel }: Following, sourcesUrl: string): void {
  if (channel === "offline") {
    pill.dataset.state = "offline";
    pill.replaceChildren(
      line("", dot(), make("strong", {}, "Progress can't be seen")),
      line("quiet", "No answer from the server. Trying again."),
    );
  } else if (progress === null || progress.state === "none") {
    pill.dataset.state = "idle";
    pill.replaceChildren(
      progress
        ? line("", dot(), make("a", { href: sourcesUrl }, "Add photos"))
        : line("quiet", dot(), "Checking the latest run"),
    );
  } else {
    pill.dataset.state = stateOf(progress);
    const open = isActive(progress) || progress.state === "paused";
    pill.replaceChildren(
      ...(open ? openLines(progress, channel, sourcesUrl) : settledLines(progress, sourcesUrl)),
    );
  }
}
