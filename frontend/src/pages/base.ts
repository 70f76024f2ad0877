/** Every page: styles, htmx, dialogs and keys, and the event's head where there is one. */
import "../styles/tokens.css";
import "../styles/base.css";
import "../styles/frame.css";
import "../styles/controls.css";
import "../styles/pages.css";
import "../styles/sources.css";
import "htmx.org";
import { readProblem } from "../state/api";
import { bindEventHead } from "../ui/event-head";
import { bindPage, showMoments } from "../ui/page";
import { bindSourceHints } from "../ui/source-hint";
import { bindSources } from "../ui/sources";
import { bindThemeChoices } from "../ui/theme";
import { toast } from "../ui/toasts";

/** What asks by itself must not pile up messages; its next answer tells the truth. */
function asksByItself(ctx: { sourceEvent?: Event } | undefined): boolean {
  return ctx?.sourceEvent?.type === "every" || ctx?.sourceEvent?.type === "runs-changed";
}

function bindHtmx(): void {
  document.addEventListener("htmx:after:swap", () => showMoments());
  document.addEventListener("htmx:response:error", (event) => {
    const { ctx } = (event as CustomEvent).detail;
    if (asksByItself(ctx)) return;
    const body = new Response(ctx?.text ?? "", {
      status: ctx?.response?.status ?? 500,
      headers: ctx?.response?.headers ?? {},
    });
    void readProblem(body).then((problem) => {
      toast([problem.detail || problem.title, problem.cure].filter(Boolean).join(" "), "bad");
      // what was asked for did not fit what there is now: show that
      document.body.dispatchEvent(new CustomEvent("runs-changed"));
    });
  });
  document.addEventListener("htmx:error", (event) => {
    const { ctx } = (event as CustomEvent).detail;
    if (!ctx || asksByItself(ctx)) return;
    toast("The server can't be reached. Nothing was changed; try again.", "bad");
  });
}

bindPage();
bindHtmx();
bindThemeChoices();
bindSourceHints();
bindSources();
bindEventHead();
