// A bar of a prefill: how far, which layer, how long still.

import { h, newId } from "./dom.js";
import { timeLeft } from "./words.js";

export class ProgressBar {
    constructor(title) {
        this.fill = h("span.progress-fill");
        const id = newId("progress");
        this.title = h("span.progress-title", { id }, title);
        this.left = h("span.progress-left");
        this.layer = h("span.progress-layer");
        this.bar = h(
            "div.progress-track",
            { role: "progressbar", "aria-labelledby": id, "aria-valuemin": 0, "aria-valuemax": 100 },
            this.fill,
        );
        this.element = h("div.progress", {}, h("div.progress-line", {}, this.title, this.left), this.bar, this.layer);
    }

    /** Take a `prompt_progress` of the server. */
    update(progress) {
        const { total = 0, cache = 0, processed = 0, layer, n_layer: layers, seconds_left: seconds, queue_position: queue } = progress;
        if (queue) {
            this.left.textContent = queue === 1 ? "one other question comes first" : `${queue} other questions come first`;
            this.layer.textContent = "";
            this.element.classList.add("waiting");
            return;
        }
        this.element.classList.remove("waiting");
        const share = shareOf({ total, cache, processed, layer, layers });
        this.fill.style.transform = `scaleX(${share})`;
        this.bar.setAttribute("aria-valuenow", String(Math.round(share * 100)));
        this.left.textContent = seconds === null || seconds === undefined ? "" : timeLeft(seconds);
        this.layer.textContent = layers ? `Layer ${Math.min((layer ?? 0) + 1, layers)} of ${layers}` : "";
        this.bar.setAttribute("aria-valuetext", [this.layer.textContent, this.left.textContent].filter(Boolean).join(", "));
    }
}

/** Of the work, 0 to 1: the tokens where they move, else the layers. */
function shareOf({ total, cache, processed, layer, layers }) {
    if (total > cache && processed > cache) return Math.min(1, (processed - cache) / (total - cache));
    return layers ? Math.min(1, (layer ?? 0) / layers) : 0;
}
