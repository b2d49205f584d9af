// The numbered passages below an answer: pointing shows one in the document, pressing goes there.

import { h, newId } from "./dom.js";
import { count, first, placeOf } from "./words.js";

const LONGEST = 260;

/** How many passages of an answer are shown at first. */
export const SHOWN = 4;

/** `all`: how many there were, `passages` being the best. `on`: {point(number or null), go(number), all()}. */
export function passagesView(passages, all, on) {
    const id = newId("passages");
    const list = h("ol.passages", { "aria-labelledby": id });
    const draw = (n) => list.replaceChildren(...passages.slice(0, n).map((passage) => entry(passage, on)));
    draw(SHOWN);
    const more = passages.length > SHOWN
        ? h("button.quiet.more", {
            type: "button",
            onclick: () => {
                draw(passages.length);
                on.all();
                if (all > passages.length) more.replaceWith(h("p.hint", {}, `These are the best ${passages.length} of ${all}.`));
                else more.remove();
                list.children[SHOWN].querySelector("button").focus();
            },
        }, `Show ${count(passages.length - SHOWN, "more passage")}`)
        : null;
    return h("section.evidence", { "aria-labelledby": id }, h("h3.evidence-title", { id }, "Where it looked"), list, more);
}

function entry(passage, { point, go }) {
    const { number, text, score } = passage;
    const place = placeOf(passage);
    const strength = h("span.strength", { "aria-hidden": "true" }, h("span"));
    strength.firstChild.style.transform = `scaleX(${Math.max(0.04, Math.min(1, score ?? 0))})`;
    const button = h(
        "button.passage",
        {
            type: "button",
            "data-passage": number,
            "aria-label": `Passage ${number}${place ? `, ${place}` : ""}: ${first(text, LONGEST)}. Show it in the document`,
            onpointerenter: () => point(number),
            onpointerleave: () => point(null),
            onfocus: () => point(number),
            onblur: () => point(null),
            onclick: () => go(number),
        },
        h("span.passage-number", { "aria-hidden": "true" }, String(number)),
        h("span.passage-words", {}, h("span.passage-text", {}, first(text, LONGEST)), h("span.passage-place", {}, place || "In the text", strength)),
    );
    return h("li", {}, button);
}
