/** The top of every page of an event: follows its ingest and tells the page about it. */
import { sharedLive } from "../state/live";
import { isActive } from "../state/models";
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
  follower.progress.subscribe((now, before) => {
    renderPill(pill, now, sourcesUrl);
    if (now.run !== before.run) document.body.dispatchEvent(new CustomEvent("runs-changed"));
    const finished = before.run && isActive(before.run) && now.run && !isActive(now.run);
    if (!finished || !now.run || now.run.id !== before.run?.id) return;
    if (now.run.state === "failed") {
      toast("The ingest failed. The Sources tab says why.", "bad");
    } else {
      toast(`The ingest is done: ${count(now.run.indexed, "photo", "photos")} indexed.`, "good");
    }
  });
  follower.start();
}
