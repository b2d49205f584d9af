// Behind the small (i): how an answer was made, layer by layer.

import { h, newId, svg } from "./dom.js";
import { sentence } from "./errors.js";
import { icon } from "./icons.js";
import { bytes, duration, number } from "./words.js";

const PICTURE = { width: 280, height: 56 };

export function pruningButton(pruning) {
    const id = newId("pruning");
    const panel = h("div.pruning", { id, popover: "auto", role: "dialog", "aria-label": "How this answer was made" }, h("h3", {}, "How this answer was made"), body(pruning));
    const button = h("button.icon-button.small", { type: "button", popovertarget: id, "aria-label": "How this answer was made", title: "How this answer was made" }, icon("info"));
    panel.addEventListener("beforetoggle", (event) => event.newState === "open" && place(panel, button));
    return [button, panel];
}

function place(panel, button) {
    const box = button.getBoundingClientRect();
    const width = Math.min(340, innerWidth - 24);
    panel.style.width = `${width}px`;
    panel.style.left = `${Math.max(12, Math.min(box.left - 20, innerWidth - width - 12))}px`;
    panel.style.bottom = `${Math.max(12, innerHeight - box.top + 8)}px`;
    panel.style.maxHeight = `${Math.max(200, box.top - 20)}px`;
}

function body(pruning) {
    const { n_tokens: all, n_kept: kept, layer, n_layer: layers, kv_bytes: memory, kv_bytes_full: memoryFull, reader, reused, timings, policy, reason, notes } = pruning;
    const rows = [];
    const row = (name, value, more) => rows.push(h("div", {}, h("dt", {}, name), h("dd", {}, value, more ? h("small", {}, more) : null)));
    const pruned = kept !== null && kept !== undefined && kept < all;
    if (pruned) row("Read further", `${number(kept)} of ${number(all)} tokens`, share(kept, all));
    else if (all) row("Read", `all ${number(all)} tokens`);
    if (pruned && reader) row("Small model's layers", `${reader.layer + 1} of ${reader.n_layer}`, "as far as it had to read");
    else if (pruned && layers) row("From layer", `${layer + 1} of ${layers}`);
    if (memory) row("Memory", bytes(memory), memoryFull > memory ? `instead of ${bytes(memoryFull)}` : "");
    if (reused) row("Known from before", `${number(reused)} tokens`, "not read again in the first layers");
    if (timings) row("Until the first word", duration(timings.prompt_ms / 1000), speed(timings));
    if (policy) row("Policy", policy);
    return [
        h("p.hint", {}, pruned ? howItWasRead(reader) : reason ? sentence(reason) : "Everything was read to the end; nothing was left out."),
        pruned && layers && !reader ? funnel(kept / all, layer, layers) : null,
        h("dl", {}, rows),
        notes?.length ? h("ul.pruning-notes", {}, notes.map((text) => h("li", {}, text))) : null,
    ];
}

function howItWasRead(reader) {
    const who = reader ? "A small model read everything." : "The first layers read everything.";
    return `${who} Then only the passages that matter for your question went on.`;
}

function speed({ predicted_per_second: rate }) {
    return rate ? `then ${Math.round(rate)} tokens a second` : "";
}

function share(part, whole) {
    return `${Math.round((100 * part) / whole)} %`;
}

/** The layers from left to right; as high as what goes through them. */
function funnel(kept, layer, layers) {
    const { width, height } = PICTURE;
    const wide = width / layers;
    const bars = Array.from({ length: layers }, (_, i) => {
        const high = Math.max(3, height * (i <= layer ? 1 : kept));
        return svg("rect", { x: (i * wide + 0.75).toFixed(2), y: ((height - high) / 2).toFixed(2), width: Math.max(1, wide - 1.5).toFixed(2), height: high.toFixed(2), rx: 1, class: i <= layer ? "whole" : "kept" });
    });
    return svg("svg", { class: "funnel", viewBox: `0 0 ${width} ${height}`, role: "img", "aria-label": `All tokens in the first ${layer + 1} of ${layers} layers, then ${Math.round(100 * kept)} percent` }, ...bars);
}
