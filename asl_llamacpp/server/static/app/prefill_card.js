// The card over the foot of the document while it is prefilled.

import { byId, h } from "./dom.js";
import { icon } from "./icons.js";
import { announce } from "./notices.js";
import { ProgressBar } from "./progress_bar.js";

export function startPrefillCard(prefill) {
    const place = byId("prefill");
    let bar = null;
    let shown = "idle";

    const build = (state) => {
        if (state === "running") {
            bar = new ProgressBar("Getting to know the document");
            const stop = h("button.icon-button.small", { type: "button", "aria-label": "Stop getting to know the document", title: "Stop", onclick: () => prefill.stop() }, icon("stop"));
            place.replaceChildren(bar.element, stop);
        } else if (state === "stopped" || state === "failed") {
            const text = state === "stopped" ? "Stopped. It will be read with your first question." : prefill.error.message;
            const again = h("button.quiet", { type: "button", onclick: () => prefill.run(prefill.id) }, state === "stopped" ? "Go on" : "Try again");
            place.replaceChildren(h(`p.${state === "failed" ? "error-text" : "hint"}`, state === "failed" ? { role: "alert" } : {}, text), again);
        }
        if (state === "idle" && shown === "running") announce("The document is ready for questions");
        place.classList.toggle("shown", state !== "idle");
        place.inert = state === "idle";
        shown = state;
    };

    prefill.addEventListener("change", () => {
        if (prefill.state !== shown) build(prefill.state);
        if (prefill.state === "running") bar.update(prefill.progress);
    });
}
