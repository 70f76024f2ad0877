/** The top of every page of an event: follows its ingest and tells the page about it. */
import { sharedLive } from "../state/live";
import { isActive, type Progress } from "../state/models";
import { ProgressFollower } from "../state/progress";
import { count } from "./format";
import { renderPill } from "./pill";
import { toast } from "./toasts";

let follower: ProgressFollower | null = null;

/** The follower of the page's event; null on pages of none. */
export function eventProgress(): ProgressFollower | null {
  return follower;
}

export function bindEventHead(): void {
  const pill = document.querySelector<HTMLElement>("#ingest-pill");
  const event = pill?.dataset.event;
  if (!pill || !event) return;
  const sourcesUrl = `/events/${encodeURIComponent(event)}/sources`;
  follower = new ProgressFollower(event, sharedLive());
  follower.following.subscribe((now, before) => {
    renderPill(pill, now, sourcesUrl);
    if (now.progress === before.progress) return;
    document.body.dispatchEvent(new CustomEvent("runs-changed"));
    if (before.progress && isActive(before.progress) && now.progress) tellEnd(now.progress);
  });
  follower.start();
}

function tellEnd(progress: Progress): void {
  if (progress.state === "failed") {
    toast("The ingest failed. The Sources tab says why.", "bad");
  } else if (progress.state === "done") {
    toast(`The ingest is done: ${count(progress.indexed, "photo", "photos")} embedded.`, "good");
  }
}
